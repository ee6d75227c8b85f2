"""
What both sides say, as far as it must outlive a connection.

A Conversation knows no socket and no clock. Frames of the client go in by send() and
come out by next_frame(); frames of the server go in by receive() and come out of the
inbox, together with what the client is told in the server's place.

What happens after a drop:

- the handshake, the log level and the subscriptions are said again, and listens are
  opened again, and the answers to that are kept from the client;
- a request that may run twice is sent again under its id; any other that was sent
  fails with OUTCOME_UNKNOWN; one that was not sent yet is sent now;
- the client is told that what it lists and watches has changed, since it may have;
- questions of the server are taken back, and late answers to them are dropped.
"""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from mcp_channels.client.agreement import LISTEN, SUBSCRIPTION_ID, Agreement, look
from mcp_channels.client.errors import (
    CONNECTION_LOST,
    MESSAGE_TOO_LARGE,
    OUTCOME_UNKNOWN,
    REQUEST_TIMED_OUT,
)
from mcp_channels.client.inbox import Inbox
from mcp_channels.protocol.messages import (
    BatchMessage,
    InvalidMessage,
    Message,
    NotificationMessage,
    RequestId,
    RequestMessage,
    ResponseMessage,
    decode,
    decode_member,
    encode_notification,
    encode_request,
    is_request_id,
)

__all__ = ["Conversation"]

logger = logging.getLogger("mcp_channels.client")

_DEEPEST: Final = 500  # arrays and objects inside each other; decode() takes no more

# A request with which connections break again and again may be what breaks them. Short
# ones are cut ten times by chance only where nothing works any more.
_MOST_LOSSES: Final = 10


class _Params(Struct):
    """What is looked at in the params of a request."""

    name: Any = None
    uri: Any = None
    meta: Any = field(default=None, name="_meta")


class _Notified(Struct):
    """What is looked at in the params of a notification."""

    request_id: Any = field(default=None, name="requestId")
    progress_token: Any = field(default=None, name="progressToken")
    progress: Any = None
    notifications: Any = None
    meta: Any = field(default=None, name="_meta")


class _Response(Struct):
    id: RequestId
    result: Raw | UnsetType
    error: Raw | UnsetType
    jsonrpc: str = "2.0"


_decode_params: Final = msgspec.json.Decoder(_Params).decode
_decode_notified: Final = msgspec.json.Decoder(_Notified).decode


class _Request(Struct, eq=False):
    """A request of the client that is not answered yet."""

    id: RequestId
    method: str
    params: Raw | None
    frame: str  # "" once it was sent and may not be sent again
    name: Any  # of the tool or the resource, as far as it has one
    token: Any  # of its progress
    is_repeatable: bool
    deadline: float | None
    is_sent: bool = False  # it may have arrived
    losses: int = 0  # connections that broke meanwhile; see lost()
    progress: float | None = None  # the highest that the client was told
    honoured: Any = None  # what of a listen is acknowledged


class _Reply(Struct, eq=False):
    """The client's answer to a question of the connection of now."""

    frame: str


_Item: TypeAlias = _Request | _Reply | str  # str: a notification


class Conversation:
    """
    One client's side of everything.

    Call opened() when a connection is there, and lost() when it is gone. Take frames
    with next_frame() only while they can be sent: one that was taken counts as sent.

    `tells_lists` is for a client that keeps lists even where no server may tell it of
    a change unasked: it is told after each drop.
    """

    def __init__(self, *, tells_lists: bool = False) -> None:
        self.failure: str | None = None  # why no other connection will do
        self.is_ready = False  # connected, and hands are shaken again
        self.answers = 0  # to requests of the client, so far
        self.outgoing = 0  # characters that wait to be sent
        self.inbox = Inbox()
        self._tells_lists = tells_lists
        self._agreement = Agreement()
        self._connections = 0  # so far
        self._answers_before = 0  # to those of the connections before
        self._open: dict[RequestId, _Request] = {}
        self._outbox: deque[_Item] = deque()
        self._first: deque[str] = deque()  # leaves before the outbox does
        self._replays: dict[RequestId, Callable[[ResponseMessage], None]] = {}
        self._last_replay = 0
        # Questions of the server: the client's id of each, and the server's.
        self._asked: dict[RequestId, RequestId] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether something is to be sent or answered; a listen is neither."""
        return bool(self._outbox) or any(
            request.method != LISTEN for request in self._open.values()
        )

    # What the client says

    def send(self, frame: str, deadline: float | None = None) -> None:
        """
        Take a frame of the client, that waits for an answer until `deadline`.

        What is no message is answered here: a server would count it as a violation.
        """
        message = decode(frame, max_depth=_DEEPEST)
        if isinstance(message, BatchMessage):
            # Its members may have different fates, so they travel alone.
            for member in message.members:
                self._send(bytes(member).decode(), decode_member(member), deadline)
        else:
            self._send(frame, message, deadline)

    def _send(
        self, frame: str, message: Message | None, deadline: float | None
    ) -> None:
        match message:
            case RequestMessage():
                self._send_request(frame, message, deadline)
            case NotificationMessage():
                self._send_notification(frame, message)
            case ResponseMessage():
                self._send_response(frame, message)
            case InvalidMessage(id=id, error=error):
                self.inbox.put_error(id, error.code, error.message)

    def _send_request(
        self, frame: str, message: RequestMessage, deadline: float | None
    ) -> None:
        method = message.method
        params = look(_decode_params, message.params) or _Params()
        request = _Request(
            id=message.id,
            method=method,
            params=message.params,
            frame=frame,
            name=params.uri if params.name is None else params.name,
            token=params.meta.get("progressToken")
            if isinstance(params.meta, dict)
            else None,
            is_repeatable=self._agreement.is_repeatable(method, params.name),
            # A listen is answered when it ends.
            deadline=None if method == LISTEN else deadline,
        )
        self._open[request.id] = request
        self._put(request)

    def _send_notification(self, frame: str, message: NotificationMessage) -> None:
        if message.method == "notifications/initialized":
            self._agreement.is_initialized = True
            if self._agreement.handshake is not None and not self.is_ready:
                return  # it follows the handshake that is said again
        elif message.method == "notifications/cancelled":
            params = look(_decode_notified, message.params)
            request = self._find(params.request_id if params else None)
            if request is not None:
                del self._open[request.id]
                if not request.is_sent:
                    return  # the server will hear of neither
        self._put(frame)

    def _send_response(self, frame: str, message: ResponseMessage) -> None:
        asked = self._asked.pop(message.id, None)
        if asked is None:
            return  # whoever asked that is gone
        if asked != message.id:
            response = _Response(asked, message.result, message.error)
            frame = msgspec.json.encode(response).decode()
        self._put(_Reply(frame))

    def _put(self, item: _Item) -> None:
        self._outbox.append(item)
        self.outgoing += _length(item)

    def _find(self, id: Any) -> _Request | None:
        return self._open.get(id) if is_request_id(id) else None

    # Connections

    def opened(self) -> None:
        """A connection is there."""
        self._connections += 1
        self._answers_before = self.answers
        handshake = self._agreement.handshake
        if handshake is None:
            self._get_ready()
            if self._tells_lists and self._connections > 1:
                self.inbox.put_lists_changed(self._agreement.lists)
        else:
            self._replay("initialize", handshake, self._receive_handshake)

    def lost(self, reason: str, *, is_too_large: bool = False) -> None:
        """
        The connection is gone.

        `is_too_large` says that a message was, so that it must not be tried again.
        """
        self.is_ready = False
        self._first.clear()
        self._replays.clear()
        for id in self._asked:
            self.inbox.put_cancelled(id)
        self._asked.clear()
        was_useful = self.answers > self._answers_before
        waiting: deque[_Item] = deque()
        for request in [one for one in self._open.values() if one.is_sent]:
            # A connection that brought nothing at all counts twice.
            request.losses += 1 if was_useful else 2
            if not request.is_repeatable:
                self._fail(request, OUTCOME_UNKNOWN, _describe_unknown(request))
            elif request.method == LISTEN:
                waiting.append(request)
            elif is_too_large:
                self._fail(request, MESSAGE_TOO_LARGE, reason)
            elif request.losses >= _MOST_LOSSES:
                why = f"Connections broke again and again: {reason}"
                self._fail(request, CONNECTION_LOST, why)
            else:
                waiting.append(request)
        for request in self._open.values():
            request.is_sent = False
        waiting.extend(filter(self._outlives_connection, self._outbox))
        self._outbox = waiting
        self.outgoing = sum(map(_length, waiting))

    def _outlives_connection(self, item: _Item) -> bool:
        if isinstance(item, str):
            message = decode(item, max_depth=_DEEPEST)
            return isinstance(message, NotificationMessage) and message.method not in (
                "notifications/cancelled",
                "notifications/initialized",
                "notifications/progress",
            )
        return isinstance(item, _Request)

    def give_up(self, reason: str) -> None:
        """There will be no connection any more: fail all that waits."""
        for request in list(self._open.values()):
            self._fail(request, CONNECTION_LOST, reason)
        self._first.clear()
        self._outbox.clear()
        self.outgoing = 0

    def next_frame(self) -> str | None:
        """Take the next frame to send; None while there is none."""
        if self._first:
            return self._first.popleft()
        while self.is_ready and self._outbox:
            item = self._outbox.popleft()
            self.outgoing -= _length(item)
            if isinstance(item, str):
                return item
            if isinstance(item, _Reply):
                return item.frame
            if self._open.get(item.id) is item:  # else it was cancelled meanwhile
                frame, item.is_sent = item.frame, True
                if not item.is_repeatable:
                    item.frame = ""
                return frame
        return None

    def _get_ready(self) -> None:
        """Say again what was agreed on, and let the outbox go."""
        self.is_ready = True
        agreement = self._agreement
        if agreement.handshake is not None and agreement.is_initialized:
            self._first.append(encode_notification("notifications/initialized", UNSET))
        if agreement.level is not None:
            self._replay("logging/setLevel", agreement.level, lambda message: None)
        for uri, params in agreement.subscriptions.items():
            receive = partial(self._receive_subscribed, uri)
            self._replay("resources/subscribe", params, receive)

    def _replay(
        self, method: str, params: Any, receive: Callable[[ResponseMessage], None]
    ) -> None:
        """Send a request that the client sent before; `receive` takes the answer."""
        self._last_replay += 1
        id = f"mcp_channels.client/{self._last_replay}"
        self._replays[id] = receive
        self._first.append(encode_request(id, method, params))

    def _receive_handshake(self, message: ResponseMessage) -> None:
        try:
            kinds = self._agreement.confirm(message.result)
        except ValueError as exc:
            self.failure = str(exc)
        else:
            self._get_ready()
            self.inbox.put_lists_changed(kinds)

    def _receive_subscribed(self, uri: str, message: ResponseMessage) -> None:
        if isinstance(message.result, UnsetType):
            self._agreement.subscriptions.pop(uri, None)
        # Only now, so that nothing is missed between reading and watching. When it is
        # no longer there, reading will tell.
        self.inbox.put_updated({"uri": uri})

    # The clock

    @property
    def next_deadline(self) -> float | None:
        """When to call expire(); None when nothing has a deadline."""
        deadlines = (request.deadline for request in self._open.values())
        return min((one for one in deadlines if one is not None), default=None)

    def expire(self, now: float) -> None:
        """Fail every request whose deadline is over."""
        for request in list(self._open.values()):
            if request.deadline is None or request.deadline > now:
                continue
            self._fail(request, REQUEST_TIMED_OUT, f"{request.method}: timed out")
            # "The initialize request MUST NOT be cancelled by clients."
            if request.is_sent and request.method != "initialize":
                params = {"requestId": request.id, "reason": "timed out"}
                self._put(encode_notification("notifications/cancelled", params))

    # What the server says

    def receive(self, frame: str) -> None:
        """Take a frame of the server. What is no message is ignored."""
        message = decode(frame, max_depth=_DEEPEST)
        if isinstance(message, BatchMessage):
            for member in message.members:
                self._receive(bytes(member).decode(), decode_member(member))
        else:
            self._receive(frame, message)

    def _receive(self, frame: str, message: Message | None) -> None:
        match message:
            case ResponseMessage():
                self._receive_response(frame, message)
            case NotificationMessage():
                self._receive_notification(frame, message)
            case RequestMessage():
                self._receive_question(frame, message)
            case _:
                # Without its text, which may be anybody's data.
                logger.warning("Ignored %d characters, no message", len(frame))

    def _receive_response(self, frame: str, message: ResponseMessage) -> None:
        replay = self._replays.pop(message.id, None)
        if replay is not None:
            replay(message)
            return
        request = self._open.pop(message.id, None)
        if request is None:
            return  # it was cancelled, or timed out
        self.answers += 1
        if not isinstance(message.result, UnsetType):
            self._agreement.learn(
                request.method, request.params, request.name, message.result
            )
        self.inbox.put(frame)

    def _receive_notification(self, frame: str, message: NotificationMessage) -> None:
        match message.method:
            case "notifications/tools/list_changed":
                self._agreement.forget_tools()
            case "notifications/progress":
                params = look(_decode_notified, message.params)
                if params is not None and self._is_behind(params):
                    return
            case "notifications/cancelled":
                params = look(_decode_notified, message.params)
                if params is not None and self._receive_cancelled(params.request_id):
                    return
            case "notifications/subscriptions/acknowledged":
                params = look(_decode_notified, message.params)
                if params is not None and self._receive_acknowledged(frame, params):
                    return
        self.inbox.put(frame)

    def _is_behind(self, params: _Notified) -> bool:
        """Tell whether the client heard of as much progress before the drop."""
        # "The progress value MUST increase", though the call began anew.
        token, progress = params.progress_token, params.progress
        for request in self._open.values():
            if request.token == token and isinstance(progress, int | float):
                known = request.progress
                if known is not None and progress <= known:
                    return request.losses > 0
                request.progress = progress
        return False

    def _receive_cancelled(self, id: object) -> bool:
        """Forget what the server takes back. True when the client was told."""
        request = self._find(id)
        if request is not None and request.method == LISTEN:
            del self._open[request.id]
        for known, asked in self._asked.items():
            if asked == id:
                del self._asked[known]
                self.inbox.put_cancelled(known)
                return True
        return False

    def _receive_acknowledged(self, frame: str, params: _Notified) -> bool:
        """Take what is honoured of a listen. True when the client was told."""
        meta = params.meta if isinstance(params.meta, dict) else {}
        request = self._find(meta.get(SUBSCRIPTION_ID))
        if request is None:
            return False
        before, request.honoured = request.honoured, params.notifications
        if before is None:
            return False
        if before != params.notifications:
            self.inbox.put(frame)
        self.inbox.put_changes(request.id, params.notifications)
        return True

    def _receive_question(self, frame: str, message: RequestMessage) -> None:
        id: RequestId = message.id
        if self._connections > 1:
            # The server counts from the start again, and the client may still work on
            # a question of the connection before.
            id = f"{self._connections}:{message.id!r}"
            params = UNSET if message.params is None else message.params
            frame = encode_request(id, message.method, params)
        self._asked[id] = message.id
        self.inbox.put(frame)

    def _fail(self, request: _Request, code: int, message: str) -> None:
        """Answer a request in the server's place."""
        del self._open[request.id]
        data = {"method": request.method}
        if isinstance(request.name, str):
            data["name"] = request.name
        self.inbox.put_error(request.id, code, message, data)


def _length(item: _Item) -> int:
    return len(item if isinstance(item, str) else item.frame)


def _describe_unknown(request: _Request) -> str:
    what = (
        f"tool {request.name!r}" if request.method == "tools/call" else request.method
    )
    return (
        f"The connection was lost while {what} was running, and the outcome is "
        f"unknown: find out what happened before you try again."
    )
