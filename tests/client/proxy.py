"""A TCP proxy between a client and a server, to break what is between them."""

import asyncio
import random
from types import TracebackType
from typing import Self

__all__ = ["Proxy"]


class Proxy:
    """
    Passes bytes on to `port` of this machine, until it is told otherwise.

    cut() resets all connections, freeze() makes them silent without closing them.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.connections = 0  # so far
        self._left: int | None = None
        self._was_cut = asyncio.Event()
        self._random = random.Random(7)
        self._is_flowing_up, self._is_flowing_down = asyncio.Event(), asyncio.Event()
        self.thaw()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        while self._writers:
            await asyncio.sleep(0)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def cut_within(self, chunks: int) -> None:
        """Reset a connection in the middle of the chunk after so many, either way."""
        self._left = chunks
        self._was_cut.clear()
        await self._was_cut.wait()

    def freeze(self, *, only_up: bool = False) -> None:
        """Pass nothing on, or nothing to the server, and close nothing."""
        self._is_flowing_up.clear()
        if not only_up:
            self._is_flowing_down.clear()

    def thaw(self) -> None:
        self._is_flowing_up.set()
        self._is_flowing_down.set()

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        try:
            there, here = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, here)
        self._writers.update(ends)
        tasks = {
            asyncio.create_task(self._pass_on(reader, here, ends, self._is_flowing_up)),
            asyncio.create_task(
                self._pass_on(there, writer, ends, self._is_flowing_down)
            ),
        }
        self._tasks |= tasks
        await asyncio.wait(tasks)
        self._tasks -= tasks
        for end in ends:
            end.transport.abort()
        self._writers.difference_update(ends)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        is_flowing: asyncio.Event,
    ) -> None:
        try:
            while data := await reader.read(65_536):
                await is_flowing.wait()
                if self._is_due():
                    # A part of it gets through, or none, or all.
                    writer.write(data[: self._random.randint(0, len(data))])
                    for end in ends:
                        end.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            for end in ends:
                end.transport.abort()

    def _is_due(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        if self._left >= 0:
            return False
        self._left = None
        self._was_cut.set()
        return True
