"""
For a site's own tests: a client without a network.

    async def test_count(settings):
        async with MCPCommunicator(user=user) as client:
            result = await client.call_tool("count_orders", {"status": "paid"})
            assert result["structuredContent"] == 3

Everything goes through the real consumer, as text frames. `mcp_channels.pytest_plugin`
has fixtures.
"""

import json
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from channels.testing import WebsocketCommunicator

from mcp_channels.consumers import MCPConsumer
from mcp_channels.protocol.envelope import (
    CLIENT_CAPABILITIES,
    CLIENT_INFO,
    PROTOCOL_VERSION,
)
from mcp_channels.protocol.versions import MODERN_REVISIONS, Era, Revision

__all__ = ["MCPCommunicator", "RequestFailed"]

JSONObject = dict[str, Any]

_CLIENT = {"name": "mcp_channels.testing", "version": "1"}


class RequestFailed(Exception):
    """The server answered with a JSON-RPC error."""

    def __init__(self, error: JSONObject) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


class MCPCommunicator:
    """
    One client of a consumer.

    `user` is a Django user, None for an anonymous one. `revision` is what it speaks,
    the newest by default; as a context manager it connects, shakes hands if its
    revision wants that, and disconnects. `capabilities` are the client's. `timeout` is
    how many seconds it waits for any answer.
    """

    def __init__(
        self,
        user: Any = None,
        *,
        revision: str = MODERN_REVISIONS[-1].value,
        capabilities: JSONObject | None = None,
        consumer: type[MCPConsumer] = MCPConsumer,
        headers: list[tuple[bytes, bytes]] | None = None,
        subprotocols: list[str] | None = None,
        timeout: float = 5.0,
    ) -> None:
        found = Revision.find(revision)
        if found is None:
            raise ValueError(f"There is no revision {revision!r}.")
        self.revision = found
        self.capabilities = capabilities or {}
        self.notifications: deque[JSONObject] = deque()
        self._timeout = timeout
        self._last_id = 0
        self._answers: dict[Any, JSONObject] = {}
        headers = headers or []
        has_host = any(name.lower() == b"host" for name, _ in headers)
        self._socket = WebsocketCommunicator(
            consumer.as_asgi(),
            "/ws",
            # The host that Django's own test client has, and test runs always allow.
            headers=[*headers, *([] if has_host else [(b"host", b"testserver")])],
            subprotocols=subprotocols,
        )
        scope: Any = self._socket.scope
        scope["extensions"] = {"websocket.http.response": {}}
        if user is not None:
            scope["user"] = user

    async def __aenter__(self) -> Self:
        await self.connect()
        if self.revision.era is Era.LEGACY:
            await self.initialize()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.disconnect()

    async def connect(self) -> str | None:
        """Open the socket and return the subprotocol. Raise ConnectionRefusedError,
        with the HTTP status, when it is refused."""
        await self._socket.send_input({"type": "websocket.connect"})
        message = await self._socket.receive_output(self._timeout)
        if message["type"] != "websocket.accept":
            await self.disconnect()
            raise ConnectionRefusedError(message.get("status", 403))
        subprotocol: str | None = message["subprotocol"]
        return subprotocol

    async def disconnect(self) -> None:
        """Close the socket, and wait until the consumer has ended."""
        await self._socket.disconnect(timeout=self._timeout)

    async def initialize(self) -> JSONObject:
        """Shake hands, as legacy revisions must, and return the server's answer."""
        result: JSONObject = await self.request(
            "initialize",
            {
                "protocolVersion": self.revision.value,
                "capabilities": self.capabilities,
                "clientInfo": _CLIENT,
            },
        )
        await self.notify("notifications/initialized")
        return result

    async def request(self, method: str, params: JSONObject | None = None) -> Any:
        """Ask, and return the result. Raise RequestFailed for an error."""
        return await self.answer_to(await self.send_request(method, params))

    async def send_request(self, method: str, params: JSONObject | None = None) -> int:
        """Ask without waiting for the answer, and return the id to wait for."""
        self._last_id += 1
        params = dict(params or {})
        if self.revision.era is Era.MODERN:
            params["_meta"] = {
                PROTOCOL_VERSION: self.revision.value,
                CLIENT_CAPABILITIES: self.capabilities,
                CLIENT_INFO: _CLIENT,
                **params.get("_meta", {}),
            }
        await self.send(
            {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        )
        return self._last_id

    async def answer_to(self, id: int) -> Any:
        """Wait for the answer to request `id`, and return its result. Raise
        RequestFailed for an error, TimeoutError when none comes."""
        while id not in self._answers:
            message = await self.receive()
            if "method" in message:
                self.notifications.append(message)
            else:
                self._answers[message["id"]] = message
        answer = self._answers.pop(id)
        if "error" in answer:
            raise RequestFailed(answer["error"])
        return answer["result"]

    async def notify(self, method: str, params: JSONObject | None = None) -> None:
        """Send a notification."""
        await self.send({"jsonrpc": "2.0", "method": method, "params": params or {}})

    async def list_tools(self) -> list[JSONObject]:
        """Return all tools, page after page."""
        tools: list[JSONObject] = []
        params: JSONObject = {}
        while True:
            page = await self.request("tools/list", params)
            tools += page["tools"]
            if "nextCursor" not in page:
                return tools
            params = {"cursor": page["nextCursor"]}

    async def call_tool(
        self,
        name: str,
        arguments: JSONObject | None = None,
        *,
        on_progress: Callable[[JSONObject], None] | None = None,
    ) -> JSONObject:
        """
        Call a tool and return its result, which may be one with `isError`.

        `on_progress` gets the params of each progress notification for this call.
        """
        params: JSONObject = {"name": name, "arguments": arguments or {}}
        if on_progress is not None:
            params["_meta"] = {"progressToken": self._last_id + 1}
        id = await self.send_request("tools/call", params)
        result: JSONObject = await self.answer_to(id)
        if on_progress is not None:
            for message in list(self.notifications):
                if message["params"].get("progressToken") == id:
                    self.notifications.remove(message)
                    on_progress(message["params"])
        return result

    async def send(self, message: Any) -> None:
        """Send any JSON."""
        await self.send_text(json.dumps(message))

    async def send_text(self, text: str) -> None:
        """Send a frame as it is."""
        await self._socket.send_input({"type": "websocket.receive", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary frame."""
        await self._socket.send_input({"type": "websocket.receive", "bytes": data})

    async def receive(self) -> Any:
        """
        Wait for one frame and return its JSON.

        Raise ConnectionResetError, with the close code, when the server closes instead,
        and TimeoutError when nothing comes.
        """
        message = await self._socket.receive_output(self._timeout)
        if message["type"] == "websocket.close":
            raise ConnectionResetError(message.get("code", 1000))
        return json.loads(message["text"])

    async def receive_nothing(self, seconds: float = 0.05) -> bool:
        """Tell whether no frame comes for so many seconds."""
        nothing: bool = await self._socket.receive_nothing(seconds)
        return nothing
