"""The demo in a process of its own, as its users start it."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from project.demo import HOST
from project.peer import CheckFailed

__all__ = ["served"]

ROOT = Path(__file__).resolve().parents[2]

START_TIMEOUT = 180  # seconds to load the data and listen; a busy machine takes twenty
STOP_TIMEOUT = 15  # seconds for the server to end when told to


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[int]:
    """
    Serve the demo in a child process, and yield its port.

    Raise CheckFailed when it does not start, or does not end when it should, or wrote
    a traceback.
    """
    lines: list[str] = []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "project.demo", "--port", "0"),
        cwd=ROOT,
        env={
            **os.environ,
            "DEMO_DATABASE": str(directory / "check.sqlite3"),
            "DEMO_DEBUG": "1",
            "DEMO_PAGE_SIZE": "4",
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "PYTHONUNBUFFERED": "1",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    reader = asyncio.create_task(collect(process, lines, port))
    try:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                number = await port
        except TimeoutError:
            raise CheckFailed(f"The demo did not start in {START_TIMEOUT} s") from None
        yield number
        if process.returncode is not None:
            raise CheckFailed(f"The server ended by itself, {process.returncode}")
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await process.wait()
        except TimeoutError:
            raise CheckFailed("The server did not end when told to") from None
        await reader
        if any("Traceback" in line for line in lines):
            raise CheckFailed("The server wrote a traceback")
    except BaseException:
        print("What the server wrote, its last 60 lines:", *lines[-60:], sep="\n   | ")
        raise
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reader.cancel()


async def collect(
    process: asyncio.subprocess.Process, lines: list[str], port: asyncio.Future[int]
) -> None:
    """Keep what the server writes, and find in it where it listens."""
    assert process.stdout is not None
    async for line in process.stdout:
        lines.append(line.decode(errors="replace").rstrip())
        found = re.search(rf"ws://{re.escape(HOST)}:(\d+)/", lines[-1])
        if found and not port.done():
            port.set_result(int(found[1]))
    if not port.done():
        port.set_exception(CheckFailed("The demo ended before it listened"))
