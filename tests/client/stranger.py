"""An MCP server that is not ours: the library websockets, and a table of answers."""

import asyncio
import contextlib
import inspect
import json
import logging
import ssl
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

__all__ = ["PATIENCE", "Refusal", "Stranger", "Visit"]

PATIENCE = 15.0  # seconds that a test waits for what must happen

CAPABILITIES = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {},
    "logging": {},
}

# The server's own log is of no interest, and may hold the token that a test looks for.
_silent = logging.Logger("stranger")


class Refusal:
    """How a connection is refused, once `gate` is set."""

    def __init__(self, status: int, body: str = "", **headers: str) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.response = Response(
            status,
            HTTPStatus(status).phrase if status in set(HTTPStatus) else "Odd",
            Headers(
                {
                    "Content-Length": str(len(body)),
                    "Content-Type": "text/plain; charset=utf-8",
                    **{name.replace("_", "-"): text for name, text in headers.items()},
                }
            ),
            body.encode(),
        )


class Visit:
    """One connection, and all that came on it."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.messages: list[Any] = []

    def asked(self, method: str) -> list[Any]:
        return [one for one in self.messages if one.get("method") == method]

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps({"jsonrpc": "2.0", **message}))


class Stranger:
    """
    A server of one test.

    `answers` holds by method what a request is answered with: a result, or a function
    of the params that returns one, or raises; None leaves it without an answer.
    `refusals` are for the next connections that come.
    """

    def __init__(
        self, *, context: ssl.SSLContext | None = None, **options: Any
    ) -> None:
        self.answers: dict[str, Any] = {
            "initialize": lambda params: {
                "protocolVersion": params["protocolVersion"],
                "capabilities": CAPABILITIES,
                "serverInfo": {"name": "stranger", "version": "1"},
            },
            "ping": {},
            "logging/setLevel": {},
            "resources/subscribe": {},
            "resources/unsubscribe": {},
            "tools/list": {"tools": []},
        }
        self.refusals: deque[Refusal] = deque()
        self.requests: list[Request] = []
        self.visits: list[Visit] = []
        self._context = context
        self._options = options
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: Server

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            port,
            subprotocols=["mcp"],  # type: ignore[list-item]
            process_request=self._look,
            ssl=self._context,
            logger=_silent,
            max_size=None,
            ping_interval=None,
            close_timeout=1,
            **self._options,
        )
        self.port: int = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        scheme = "ws" if self._context is None else "wss"
        return f"{scheme}://localhost:{self.port}/ws"

    @property
    def last(self) -> Visit:
        return self.visits[-1]

    async def _look(
        self, socket: ServerConnection, request: Request
    ) -> Response | None:
        self.requests.append(request)
        self._news.set()
        if not self.refusals:
            return None
        refusal = self.refusals.popleft()
        await refusal.gate.wait()
        return refusal.response

    async def _serve(self, socket: ServerConnection) -> None:
        visit, task = Visit(socket), asyncio.current_task()
        self.visits.append(visit)
        self._news.set()
        assert task is not None
        self._tasks.add(task)
        try:
            async for text in socket:
                message = json.loads(text)
                visit.messages.append(message)
                self._news.set()
                if "method" in message and "id" in message:
                    answering = asyncio.create_task(self._answer(visit, message))
                    self._tasks.add(answering)
                    answering.add_done_callback(self._tasks.discard)
        except ConnectionClosed:
            pass
        finally:
            self._tasks.discard(task)

    async def _answer(self, visit: Visit, message: Any) -> None:
        refusal = {"code": -32601, "message": "Method not found"}
        answer = self.answers.get(message["method"], refusal)
        try:
            result = answer(message.get("params")) if callable(answer) else answer
            if inspect.isawaitable(result):
                result = await result
        except KeyError as exc:
            result = refusal = {"code": -32602, "message": str(exc)}
        with contextlib.suppress(ConnectionClosed):
            if result is refusal:
                await visit.send(id=message["id"], error=refusal)
            elif result is not None:
                await visit.send(id=message["id"], result=result)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something that the server sees is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()
