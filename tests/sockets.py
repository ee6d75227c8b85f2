"""A consumer for the tools of one test, and a socket whose client may read slowly."""

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from mcp_channels.consumers import MCPConsumer
from mcp_channels.server.registry import Registry

PATIENCE = 10.0  # seconds that a test waits for what must happen


def make_consumer(
    *functions: Callable[..., Any],
    kind: type[MCPConsumer] = MCPConsumer,
    **options: Any,
) -> type[MCPConsumer]:
    """Return a consumer that serves these functions as tools, and no others."""
    registry = Registry()
    for function in functions:
        registry.tool(**options)(function)
    return type("Consumer", (kind,), {"registry": registry})


class Socket:
    """
    The server's end of one connection.

    Everything the application sends is in `sent` at once; but it has to wait for its
    own sending until `reading` is set.
    """

    def __init__(self, application: Any, path: str = "/ws", **scope: Any) -> None:
        self.application = application
        self.scope = {
            "type": "websocket",
            "path": path,
            "headers": [(b"host", b"testserver")],
            "subprotocols": [],
            **scope,
        }
        self.sent: list[dict[str, Any]] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(
            self.application(self.scope, self._inbox.get, self._send)
        )
        self.task.add_done_callback(lambda task: self._news.set())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.reading.set()
        self.put("websocket.disconnect", code=1006)
        await asyncio.wait({self.task}, timeout=PATIENCE)
        self.task.cancel()

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self._news.set()
        await self.reading.wait()

    def put(self, type: str, **message: Any) -> None:
        """Let the server tell the application something."""
        self._inbox.put_nowait({"type": type, **message})

    def put_frame(self, message: Any) -> None:
        """Let the client send a text frame: JSON of anything, text as it is."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.put("websocket.receive", text=text)

    async def until(self, count: int) -> list[dict[str, Any]]:
        """Wait until the application has sent so many messages; return all. Raise what
        the application raises, AssertionError when it ends before."""
        async with asyncio.timeout(PATIENCE):
            while len(self.sent) < count:
                if self.task.done():
                    self.task.result()
                    raise AssertionError(f"It ended after {self.sent}")
                self._news.clear()
                await self._news.wait()
        return self.sent

    async def connect(self) -> dict[str, Any]:
        """Open the connection and return the first thing the application says."""
        self.put("websocket.connect")
        return (await self.until(1))[0]
