"""
One side of one channel: ids in flight both ways, and the outbox.

Which messages are allowed, and what they hold, is for `server` to say.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any, TypeAlias

from msgspec import Raw, Struct, UnsetType

from mcp_channels.protocol.legacy import Batch, Peer
from mcp_channels.protocol.messages import (
    RequestId,
    ResponseMessage,
    encode_notification,
    encode_request,
)
from mcp_channels.protocol.types import LoggingLevel
from mcp_channels.protocol.versions import Revision

__all__ = [
    "Cancelled",
    "Closing",
    "Connection",
    "Event",
    "Initialized",
    "Limits",
    "Request",
    "Response",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may use. None disables a limit."""

    max_json_depth: int = 64  # arrays and objects inside each other; at most 500
    max_batch_length: int | None = 50  # members
    max_outbox_frames: int | None = 1_000
    max_outbox_bytes: int | None = 8 * 1024 * 1024  # characters of JSON text
    max_violations: int | None = 100  # malformed messages, see ServerConnection


class Request(Struct, eq=False):
    """Something to answer, with send_result() or send_error()."""

    id: RequestId
    method: str
    params: Any  # the method's params struct
    revision: Revision
    peer: Peer
    meta: dict[str, Any]  # the request's `_meta`
    progress_token: RequestId | None  # None: the peer wants no progress
    log_level: LoggingLevel | None  # None: the peer wants no log messages
    batch: Batch | None = None
    last_progress: float | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Stop working on `request`; nothing more can be sent for it."""

    request: Request
    reason: str | None  # the peer's own text, for logs only


@dataclass(frozen=True, slots=True)
class Initialized:
    """The handshake is over; requests may now be sent to the peer."""


@dataclass(frozen=True, slots=True)
class Response:
    """The peer's answer to request `id` of send_request()."""

    id: RequestId
    result: Raw | UnsetType  # exactly one of result and error is set
    error: Raw | UnsetType


Event: TypeAlias = Request | Cancelled | Initialized | Response


@dataclass(frozen=True, slots=True)
class Closing:
    """Why the channel must be closed."""

    code: int  # a WebSocket close code
    reason: str  # at most 123 bytes


class Connection:
    """
    The book-keeping of one channel.

    Drain next_frame() after each call, and look at `closing`.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.closing: Closing | None = None
        self._in_flight: dict[RequestId, Request] = {}
        self._asked: set[RequestId] = set()
        self._last_id = 0
        self._frames: deque[str] = deque()
        self._size = 0

    # Requests of the peer

    def is_open(self, request: Request) -> bool:
        """Tell whether anything may still be sent for `request`."""
        return self._in_flight.get(request.id) is request

    def _open(self, request: Request) -> None:
        self._in_flight[request.id] = request

    def _finish(self, request: Request) -> bool:
        """Forget `request`. False when it was cancelled or answered before."""
        # "The receiver MUST NOT send anything further for it": with the id
        # forgotten, nothing late gets out, and the id may be used again.
        if not self.is_open(request):
            return False
        del self._in_flight[request.id]
        return True

    def cancel(self, id: RequestId) -> Request | None:
        """Forget the request with this id; None when there is none. MCP,
        basic/patterns/cancellation."""
        request = self._in_flight.pop(id, None)
        if request is not None and request.batch is not None:
            self._put_reply(request.batch, None)
        return request

    def abandon(self) -> list[Request]:
        """Forget all that is in flight, as when the channel is gone; return it."""
        requests = list(self._in_flight.values())
        self._in_flight.clear()
        self._asked.clear()
        self._frames.clear()
        self._size = 0
        return requests

    # Requests to the peer

    def send_request(self, method: str, params: Struct) -> RequestId:
        """Ask the peer; a Response event brings the answer under the returned id."""
        self._last_id += 1
        frame = encode_request(self._last_id, method, params)
        self._asked.add(self._last_id)
        self._put(frame)
        return self._last_id

    def forget(self, id: RequestId, reason: str) -> None:
        """Tell the peer that request `id` of send_request() is no longer wanted."""
        if id in self._asked:
            self._asked.discard(id)
            params = {"requestId": id, "reason": reason}
            self._put(encode_notification("notifications/cancelled", params))

    def _receive_response(self, message: ResponseMessage) -> Response | None:
        # An answer nobody waits for is ignored: answering it could loop.
        if message.id not in self._asked:
            return None
        self._asked.discard(message.id)
        return Response(message.id, message.result, message.error)

    # The outbox

    @property
    def has_frames(self) -> bool:
        """Whether next_frame() has one to give."""
        return bool(self._frames)

    def next_frame(self) -> str | None:
        """Take the oldest frame out of the outbox; None when it is empty."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._size -= len(frame)
        return frame

    def close(self, code: int, reason: str) -> None:
        """Ask for the channel to be closed. The first reason wins."""
        if self.closing is None:
            self.closing = Closing(code, reason)

    def _is_full(self) -> bool:
        frames, size = self.limits.max_outbox_frames, self.limits.max_outbox_bytes
        return (frames is not None and len(self._frames) >= frames) or (
            size is not None and self._size >= size
        )

    def _put(self, frame: str) -> None:
        """Queue a frame that must arrive; without room the channel closes."""
        if self._frames and self._is_full():
            # An answer is never dropped: rather the peer learns that it is too slow.
            self.close(1013, "The client reads too slowly")
            return
        self._frames.append(frame)
        self._size += len(frame)

    def _put_notice(self, frame: str) -> bool:
        """Queue a frame that may be lost; False when there is no room."""
        if self._is_full():
            return False
        self._frames.append(frame)
        self._size += len(frame)
        return True

    def _put_reply(self, batch: Batch | None, frame: str | None) -> None:
        """Queue an answer. None: there is none, but others of a batch may wait."""
        if batch is not None:
            frame = batch.add(frame)
        if frame is not None:
            self._put(frame)
