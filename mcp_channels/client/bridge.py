"""
For hosts that know servers only as programs: standard input and output, one message to
a line, and a WebSocket on the other side.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from mcp_channels.client.channel import Channel
from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.threads import run_in_daemon

__all__ = ["run_bridge"]

logger = logging.getLogger("mcp_channels.client")

_CHUNK: Final = 65_536  # bytes: what a pipe holds
# Seconds after the end of the input for what was asked to be answered. Who asked may be
# gone, and then nobody ends the bridge.
_GRACE: Final = 10.0


async def run_bridge(
    config: WebSocketConfig, input: int = 0, output: int = 1
) -> str | None:
    """
    Pass messages on until the host or the server ends; return why the server did.

    `input` and `output` are file descriptors. SIGTERM and SIGINT end it as the end of
    the input does, only sooner.
    """
    channel = Channel(config, insists=True)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # on Windows
            loop.add_signal_handler(number, stopped.set)
    tasks: list[asyncio.Task[Any]] = []
    try:
        await channel.open()
        asking = loop.create_task(_pass_to_server(channel, input))
        answering = loop.create_task(_pass_to_host(channel, output))
        stopping = loop.create_task(stopped.wait())
        tasks += [asking, answering, stopping]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if asking.done() and not stopping.done():
            asking.result()
            await asyncio.wait(
                tasks[1:], timeout=_GRACE, return_when=asyncio.FIRST_COMPLETED
            )
        return answering.result() if answering.done() else None
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await channel.close()


async def _pass_to_server(channel: Channel, input: int) -> None:
    # Either side may be gone, and _pass_to_host() says which.
    with suppress(OSError):
        async for line in read_lines(input):
            # What is no UTF-8 is refused further on, as anything that is no JSON.
            await channel.send(line.decode("utf-8", "surrogateescape"))
    channel.finish()


async def _pass_to_host(channel: Channel, output: int) -> str | None:
    """Write what the server says. Return why it ended; None when the host did."""
    try:
        while (frame := await channel.receive()) is not None:
            await run_in_daemon(_write, output, _make_line(frame))
    except BrokenPipeError:
        logger.info("The host reads no more")
        return None
    return None if channel.failure is None else channel.failure.reason


async def read_lines(input: int) -> AsyncIterator[bytes]:
    """Give the lines that come, without their ends and without empty ones."""
    buffer = bytearray()
    while chunk := await run_in_daemon(os.read, input, _CHUNK):
        searched = len(buffer)
        buffer += chunk
        while (end := buffer.find(b"\n", searched)) >= 0:
            line = bytes(buffer[:end]).strip()
            del buffer[: end + 1]
            searched = 0
            if line:
                yield line
    if rest := bytes(buffer).strip():
        yield rest


def _make_line(frame: str) -> bytes:
    # In JSON an end of line stands between tokens only, where any space will do.
    return frame.replace("\r", " ").replace("\n", " ").encode() + b"\n"


def _write(output: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(output, rest) :]
