"""Ways to a server: a transport for the official SDK's Client, and a bare socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

__all__ = ["Peer", "open_peer", "websocket_client"]

PATIENCE = 15.0  # seconds that a test waits for what must happen


@asynccontextmanager
async def websocket_client(url: str, **options: Any) -> AsyncIterator[TransportStreams]:
    """
    Connect the official SDK's Client to a WebSocket, with options of websockets.

    It is what a Client takes in place of an URL: streams of messages, both ways.
    """
    arrived, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, leaving = anyio.create_memory_object_stream[SessionMessage](0)

    async def receive(socket: ClientConnection) -> None:
        async with arrived:
            async for text in socket:
                try:
                    message = jsonrpc_message_adapter.validate_json(text, by_name=False)
                except ValueError as exc:
                    await arrived.send(exc)
                else:
                    await arrived.send(SessionMessage(message))

    async def send(socket: ClientConnection) -> None:
        async with leaving:
            async for item in leaving:
                message = item.message
                await socket.send(
                    message.model_dump_json(by_alias=True, exclude_unset=True)
                )

    async with (
        connect(url, subprotocols=["mcp"], proxy=None, **options) as socket,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(receive, socket)
        tasks.start_soon(send, socket)
        try:
            yield read, write
        finally:
            tasks.cancel_scope.cancel()
            await read.aclose()
            await write.aclose()


class Peer:
    """A client that speaks by hand, one revision at a time."""

    def __init__(self, socket: ClientConnection, revision: str) -> None:
        self.socket = socket
        self.revision = revision
        self.notifications: list[dict[str, Any]] = []
        self.last_id = 0

    @property
    def is_modern(self) -> bool:
        return self.revision >= "2026"

    async def send(self, message: Any) -> None:
        """Send a text frame: JSON of anything, text as it is."""
        is_text = isinstance(message, str)
        await self.socket.send(message if is_text else json.dumps(message))

    async def receive(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self.socket.recv())

    async def notify(self, method: str, **params: Any) -> None:
        await self.send({"jsonrpc": "2.0", "method": method, "params": params})

    async def ask(self, method: str, **params: Any) -> int:
        """Send a request, and return its id."""
        self.last_id += 1
        if self.is_modern:
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": self.revision,
                "io.modelcontextprotocol/clientCapabilities": {},
                **params.get("_meta", {}),
            }
        request = {"id": self.last_id, "method": method, "params": params}
        await self.send({"jsonrpc": "2.0", **request})
        return self.last_id

    async def answer(self, id: int | str) -> dict[str, Any]:
        """Return the answer to one request, the next to come besides notifications."""
        while True:
            message = await self.receive()
            if "method" not in message:
                assert message["id"] == id
                return message
            self.notifications.append(message)

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask, and return the result."""
        answer = await self.answer(await self.ask(method, **params))
        result: dict[str, Any] = answer["result"]
        return result

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        return await self.request("tools/call", name=name, arguments=arguments)

    async def initialize(self) -> dict[str, Any]:
        result = await self.request(
            "initialize",
            protocolVersion=self.revision,
            capabilities={},
            clientInfo={"name": "by hand", "version": "1"},
        )
        await self.notify("notifications/initialized")
        return result

    async def close_code(self) -> int:
        """Read until the connection is closed, and return with which code."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        code = self.socket.close_code
        assert code is not None
        return code


@asynccontextmanager
async def open_peer(
    url: str, revision: str = "2026-07-28", **options: Any
) -> AsyncIterator[Peer]:
    """Connect a client, and shake hands if its revision wants that."""
    options = {"subprotocols": ["mcp"], "proxy": None, "max_size": None, **options}
    async with connect(url, **options) as socket:
        peer = Peer(socket, revision)
        if not peer.is_modern:
            await peer.initialize()
        yield peer
