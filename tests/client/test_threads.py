"""Waiting for what only a thread can wait for."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from mcp_channels.client.threads import run_in_daemon


async def test_result_comes_from_another_thread():
    def where(*words: str, end: str) -> tuple[threading.Thread, str]:
        return threading.current_thread(), "".join(words) + end

    thread, text = await run_in_daemon(where, "a", "b", end="!")

    assert thread is not threading.current_thread()
    assert thread.daemon
    assert text == "ab!"


async def test_exception_is_raised_here():
    with pytest.raises(ZeroDivisionError):
        await run_in_daemon(lambda: 1 / 0)


async def test_others_run_meanwhile():
    here, there = os.pipe()
    reading = asyncio.create_task(run_in_daemon(os.read, here, 1))
    await asyncio.sleep(0)
    assert not reading.done()
    os.write(there, b"x")

    assert await reading == b"x"
    os.close(here)
    os.close(there)


async def test_who_stops_waiting_is_let_go():
    gate, ended = threading.Event(), threading.Event()

    def wait() -> str:
        gate.wait(10)
        loop.call_soon_threadsafe(lambda: None)
        ended.set()
        return "late"

    loop = asyncio.get_running_loop()
    waiting = asyncio.create_task(run_in_daemon(wait))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    await asyncio.to_thread(ended.wait, 10)
    # The result comes after that, and finds nobody.
    await asyncio.to_thread(_join_daemons)
    await asyncio.sleep(0)


def _join_daemons() -> None:
    for thread in threading.enumerate():
        if thread.daemon and thread.name.endswith("(run)"):
            thread.join(10)


def test_result_that_comes_after_the_loop_is_dropped():
    gate = threading.Event()

    async def leave() -> None:
        asyncio.create_task(run_in_daemon(gate.wait, 10))  # noqa: RUF006
        await asyncio.sleep(0)

    asyncio.run(leave())
    gate.set()
    _join_daemons()


def test_program_ends_though_a_thread_reads():
    script = (
        "import asyncio, os\n"
        "from mcp_channels.client.threads import run_in_daemon\n"
        "async def main():\n"
        "    asyncio.create_task(run_in_daemon(os.read, 0, 1))\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
        "print('ended')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert (run.stdout, run.stderr) == ("ended\n", "")
