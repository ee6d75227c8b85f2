"""
A transport for the official SDK, which has none for WebSocket.

    async with Client(WebSocketTransport("wss://example.com/ws")) as client:
        await client.call_tool("find_books", {"text": "sea"})
"""

from types import TracebackType
from typing import Self

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from mcp_channels.client.channel import Channel
from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.errors import ConnectionFailed

__all__ = ["WebSocketTransport"]


class WebSocketTransport:
    """
    What the SDK's Client takes in the place of a URL; or its ClientSession, by the
    streams that `async with` gives.

    A connection that drops comes back, and the client hardly notices: docs/clients.md
    says what it does notice. It needs asyncio, and is used once at a time.
    """

    def __init__(self, config: WebSocketConfig | str) -> None:
        self.config = WebSocketConfig(config) if isinstance(config, str) else config
        self._channel: Channel | None = None
        self._is_open = False

    @property
    def failure(self) -> ConnectionFailed | None:
        """Why the connection ended; None when it has not."""
        return None if self._channel is None else self._channel.failure

    async def __aenter__(self) -> tuple["_ReadStream", "_WriteStream"]:
        """Connect. Raise ConnectionFailed when that does not succeed."""
        if self._is_open:
            raise RuntimeError("A WebSocketTransport is used once at a time.")
        self._is_open = True
        channel = self._channel = Channel(self.config, tells_lists=True)
        try:
            await channel.open()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return _ReadStream(channel), _WriteStream(channel)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        if self._channel is not None:
            # The SDK leaves in a scope that is cancelled already.
            with anyio.CancelScope(shield=True):
                await self._channel.close()


class _Stream:
    """What both streams share. They end with the channel, not before."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._is_closed = False

    async def aclose(self) -> None:
        self._is_closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        await self.aclose()
        return None


class _ReadStream(_Stream):
    """What the server says, and in the end why nothing more comes."""

    _has_told = False  # of the end

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        if self._is_closed:
            raise anyio.ClosedResourceError
        frame = await self._channel.receive()
        if frame is not None:
            try:
                message = jsonrpc_message_adapter.validate_json(frame, by_name=False)
            except ValueError as exc:
                return exc
            return SessionMessage(message)
        failure = self._channel.failure
        if failure is None or self._has_told:
            raise StopAsyncIteration
        self._has_told = True
        return failure


class _WriteStream(_Stream):
    """What the client says."""

    async def send(self, item: SessionMessage, /) -> None:
        if self._is_closed:
            raise anyio.ClosedResourceError
        frame = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            await self._channel.send(frame)
        except ConnectionError:
            raise anyio.BrokenResourceError from None
