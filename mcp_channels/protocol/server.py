"""
The server's side of one channel.

    events = connection.receive(text)        # what happened, for the dispatcher
    connection.send_result(request, result)  # an answer, in the words of its revision
    while frame := connection.next_frame():  # what to send, in this order
        ...

A peer's fault never raises: its error is in the outbox, and events is empty.
`initialize`, `ping`, `server/discover` and `logging/setLevel` are answered here;
whether another method exists is decided here, by the tables of `methods` and by what is
offered.
"""

from typing import Any, Final

from msgspec import UNSET, Raw, Struct

from mcp_channels.protocol.connection import (
    Cancelled,
    Connection,
    Event,
    Initialized,
    Limits,
    Request,
)
from mcp_channels.protocol.description import ServerDescription
from mcp_channels.protocol.envelope import (
    CLIENT_CAPABILITIES,
    PROTOCOL_VERSION,
    SUBSCRIPTION_ID,
    read_envelope,
    read_meta,
)
from mcp_channels.protocol.errors import (
    InternalError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    MissingClientCapability,
    ProtocolError,
    UnsupportedProtocolVersion,
)
from mcp_channels.protocol.legacy import Batch, Handshake, Peer, allows_batches
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
    encode_error,
    encode_notification,
    encode_result,
    is_request_id,
    join_result,
)
from mcp_channels.protocol.methods import (
    NOTIFICATIONS,
    REQUESTS,
    InitializeRequestParams,
    LoggingMessageNotificationParams,
    Method,
    ProgressNotificationParams,
    SetLevelRequestParams,
    SubscriptionsAcknowledgedNotificationParams,
    find_request,
)
from mcp_channels.protocol.notices import encode_list_changed, encode_resource_updated
from mcp_channels.protocol.projection import SharedResult, project, project_result
from mcp_channels.protocol.types import (
    LOGGING_LEVELS,
    ClientCapabilities,
    DiscoverResult,
    EmptyResult,
    InitializeResult,
    LoggingLevel,
    SubscriptionFilter,
)
from mcp_channels.protocol.versions import (
    LATEST_HANDSHAKE,
    MODERN_REVISIONS,
    Era,
    Revision,
    negotiate,
)

__all__ = ["ServerConnection"]

_NO_META: Final[dict[str, Any]] = {}


class ServerConnection(Connection):
    """
    Decide what each frame of a client means, and how each answer is worded.

    The era is a property of each request: one with an envelope in `_meta` is modern
    and sees nothing of the connection; all else belongs to the handshake.
    """

    def __init__(self, description: ServerDescription, limits: Limits) -> None:
        super().__init__(limits)
        self.description = description
        self._handshake: Handshake | None = None
        self._served_modern = False
        self._violations = 0

    @property
    def handshake(self) -> Handshake | None:
        """What `initialize` agreed on; None before, and for a modern client."""
        return self._handshake

    # In

    def receive(self, text: str) -> list[Event]:
        """
        Take one text frame and return what it asks for, oldest first.

        Each Request stays open until send_result() or send_error(),
        or until a Cancelled event names it. Drain next_frame() after this call.
        """
        message = decode(text, max_depth=self.limits.max_json_depth)
        if isinstance(message, BatchMessage):
            return self._receive_batch(message.members)
        event = self._receive(message, None)
        return [] if event is None else [event]

    def _receive_batch(self, members: list[Raw]) -> list[Event]:
        if not allows_batches(self._handshake):
            return self._refuse_batch("A batch is not allowed here")
        if not members:
            return self._refuse_batch("A batch must not be empty")
        limit = self.limits.max_batch_length
        if limit is not None and len(members) > limit:
            return self._refuse_batch(f"A batch must not hold more than {limit}")
        batch = Batch()
        events = []
        for member in members:
            event = self._receive(decode_member(member), batch)
            if event is not None:
                events.append(event)
        frame = batch.seal()
        if frame is not None:
            self._put(frame)
        return events

    def _refuse_batch(self, reason: str) -> list[Event]:
        self._violate()
        self._refuse(None, InvalidRequest(reason), None)
        return []

    def _receive(self, message: Message | None, batch: Batch | None) -> Event | None:
        if isinstance(message, RequestMessage):
            if batch is not None:
                batch.expect()
            try:
                return self._receive_request(message, batch)
            except InvalidRequest as exc:
                self._violate()
                self._refuse(message.id, exc, batch)
            except ProtocolError as exc:
                self._refuse(message.id, exc, batch)
            return None
        if isinstance(message, NotificationMessage):
            return self._receive_notification(message)
        if isinstance(message, ResponseMessage):
            return self._receive_response(message)
        if isinstance(message, InvalidMessage):
            self._violate()
            if batch is not None:
                batch.expect()
            self._refuse(message.id, message.error, batch)
        return None

    def _receive_request(
        self, message: RequestMessage, batch: Batch | None
    ) -> Request | None:
        """Raise ProtocolError when it is refused."""
        if message.id in self._in_flight or (
            batch is not None and message.id in batch.ids
        ):
            # The first one goes on undisturbed.
            raise InvalidRequest("This request id is already in flight")
        if batch is not None:
            batch.ids.add(message.id)
        meta = read_meta(message.params) or _NO_META
        if self._is_modern(message.method, meta):
            request = self._admit_modern(message, meta)
        else:
            request = self._admit_legacy(message, meta, batch)
        answer = _ANSWERED_HERE.get(request.method)
        if answer is None:
            request.batch = batch
            self._open(request)
            return request
        result = answer(self, request)
        self._put_reply(batch, self._encode(request, result))
        return None

    def _is_modern(self, method: str, meta: dict[str, Any]) -> bool:
        """Tell the era of a request. Without a handshake also half an envelope makes
        it modern, and so does a method that no other era has: then the answer says
        what is missing."""
        if PROTOCOL_VERSION in meta:
            return True
        return self._handshake is None and (
            CLIENT_CAPABILITIES in meta or method in _MODERN_ONLY
        )

    def _admit_modern(self, message: RequestMessage, meta: dict[str, Any]) -> Request:
        """MCP 2026-07-28, basic, requests. The envelope is judged before the method,
        the method before its params."""
        envelope = read_envelope(meta)
        method = self._find(message.method, envelope.revision)
        extension = method.extension
        if extension and not envelope.peer.capabilities.declares(
            "extensions", extension
        ):
            raise MissingClientCapability({"extensions": {extension: {}}})
        params = method.decode_params(message.params)
        # The probe leaves the choice of the era open: a client that does not see the
        # answer in time goes on to `initialize`.
        if message.method != "server/discover":
            self._served_modern = True
        return Request(
            id=message.id,
            method=message.method,
            params=params,
            revision=envelope.revision,
            peer=envelope.peer,
            meta=meta,
            progress_token=_read_token(meta),
            log_level=envelope.log_level,
        )

    def _admit_legacy(
        self, message: RequestMessage, meta: dict[str, Any], batch: Batch | None
    ) -> Request:
        handshake = self._handshake
        revision = LATEST_HANDSHAKE if handshake is None else handshake.revision
        if message.method == "initialize":
            self._check_initialize(message, batch)
        method = self._find(message.method, revision)
        if handshake is None and message.method not in ("initialize", "ping"):
            raise InvalidParams(
                f"Not initialized: send initialize first, or {PROTOCOL_VERSION} and "
                f"{CLIENT_CAPABILITIES} in params._meta"
            )
        return Request(
            id=message.id,
            method=message.method,
            params=method.decode_params(message.params),
            revision=revision,
            peer=_NOBODY if handshake is None else handshake.peer,
            meta=meta,
            progress_token=_read_token(meta),
            log_level=None,
        )

    def _check_initialize(self, message: RequestMessage, batch: Batch | None) -> None:
        if batch is not None:
            # "initialize MUST NOT be part of a JSON-RPC batch."
            raise InvalidRequest("initialize must not be in a batch")
        if self._handshake is not None:
            raise InvalidRequest("Already initialized")
        if self._served_modern:
            method = self._find(message.method, LATEST_HANDSHAKE)
            params = method.decode_params(message.params)
            raise UnsupportedProtocolVersion(params.protocol_version)

    def _find(self, name: str, revision: Revision) -> Method:
        """Raise MethodNotFound for what `revision` does not have or nobody offers."""
        method = find_request(name, revision)
        if method is None or not self.description.offers(method, revision):
            raise MethodNotFound(name)
        return method

    def _receive_notification(self, message: NotificationMessage) -> Event | None:
        # "Receivers MUST NOT respond to notifications", not even to broken ones.
        method = NOTIFICATIONS.get(message.method)
        if method is None:
            return None
        if message.method == "notifications/cancelled":
            try:
                params = method.decode_params(message.params)
            except InvalidParams:
                return None
            request = self.cancel(params.request_id)
            reason = params.reason
            return request and Cancelled(request, reason or None)
        if message.method == "notifications/initialized":
            handshake = self._handshake
            if handshake is None or handshake.is_complete:
                return None
            handshake.is_complete = True
            return Initialized()
        return None

    def _violate(self) -> None:
        """Count a message that no well-meaning client sends."""
        self._violations += 1
        limit = self.limits.max_violations
        if limit is not None and self._violations > limit:
            self.close(1008, "Too many malformed messages")

    # Answered here

    def _initialize(self, request: Request) -> Struct:
        params: InitializeRequestParams = request.params
        request.revision = negotiate(params.protocol_version)
        self._handshake = Handshake(
            request.revision, Peer(params.capabilities, params.client_info)
        )
        description = self.description
        return InitializeResult(
            protocol_version=request.revision.value,
            capabilities=description.capabilities,
            server_info=description.info,
            instructions=description.instructions,
        )

    def _ping(self, request: Request) -> Struct:
        return EmptyResult()

    def _discover(self, request: Request) -> Struct:
        return DiscoverResult(
            supported_versions=[revision.value for revision in MODERN_REVISIONS],
            capabilities=self.description.capabilities,
            instructions=self.description.instructions,
        )

    def _set_level(self, request: Request) -> Struct:
        params: SetLevelRequestParams = request.params
        assert self._handshake is not None  # the method is refused before it
        self._handshake.log_level = params.level
        return EmptyResult()

    # Out

    def send_request(self, method: str, params: Struct) -> RequestId:
        """Ask the client of the handshake, in the words of its revision; a Response
        event brings the answer under the returned id."""
        if self._handshake is not None:
            params = project(params, self._handshake.revision)
        return super().send_request(method, params)

    def send_result(self, request: Request, result: Struct | SharedResult) -> None:
        """
        Answer `request`; do nothing when it was cancelled or answered before.

        `result` is one of the result structs of `types`, in its neutral form. Raise
        TypeError, ValueError or RecursionError when it cannot be encoded; then nothing
        was sent, and the request is still open.
        """
        if self.is_open(request):
            frame = self._encode(request, result)
            self._finish(request)
            self._put_reply(request.batch, frame)

    def send_error(self, request: Request, error: ProtocolError) -> None:
        """Refuse `request`; do nothing when it was cancelled or answered before."""
        if self._finish(request):
            self._refuse(request.id, error, request.batch, request.revision)

    def send_progress(
        self,
        request: Request,
        progress: float,
        total: float | None = None,
        message: str | None = None,
    ) -> bool:
        """
        Tell how far `request` has come; False when that was not sent.

        It is not when the peer did not ask for it, when the request is over, when
        `progress` is not more than the last time, or when the outbox is full. MCP,
        basic/patterns/progress.
        """
        token = request.progress_token
        if token is None or not self.is_open(request):
            return False
        if request.last_progress is not None and progress <= request.last_progress:
            return False
        request.last_progress = progress
        params = ProgressNotificationParams(
            progress_token=token,
            progress=progress,
            total=UNSET if total is None else total,
            message=UNSET if message is None else message,
        )
        return self._put_notice(
            encode_notification(
                "notifications/progress", project(params, request.revision)
            )
        )

    def send_log(
        self,
        request: Request,
        level: LoggingLevel,
        data: Any,
        logger: str | None = None,
    ) -> bool:
        """
        Send a log message about `request`; False when the peer does not want it, the
        request is over, or the outbox is full.

        `data` is any JSON value without secrets. A modern peer asks in the request
        itself, a legacy one with `logging/setLevel`. MCP, server/utilities/logging.
        """
        least = request.log_level
        if request.revision.era is Era.LEGACY and self._handshake is not None:
            least = self._handshake.log_level
        if (
            least is None
            or "logging" not in self.description.offered
            or _RANK[level] < _RANK[least]
            or not self.is_open(request)
        ):
            return False
        params = LoggingMessageNotificationParams(
            level=level, data=data, logger=UNSET if logger is None else logger
        )
        return self._put_notice(encode_notification("notifications/message", params))

    def send_acknowledged(self, request: Request, honoured: SubscriptionFilter) -> None:
        """Say what a listen will hear of. MCP 2026-07-28,
        basic/patterns/subscriptions: it is the first message of every listen."""
        params = SubscriptionsAcknowledgedNotificationParams(
            notifications=honoured, meta={SUBSCRIPTION_ID: request.id}
        )
        method = "notifications/subscriptions/acknowledged"
        if self.is_open(request):
            self._put(encode_notification(method, params))

    def send_list_changed(self, kind: str, listen: Request | None) -> bool:
        """Tell that a list of `kind` has changed: a listen, or for None the client of
        the handshake. False when the outbox is full."""
        return self._put_notice(encode_list_changed(kind, listen and listen.id))

    def send_resource_updated(self, uri: str, listen: Request | None) -> bool:
        """Tell that `uri` reads differently now; otherwise as send_list_changed()."""
        return self._put_notice(encode_resource_updated(uri, listen and listen.id))

    def _encode(self, request: Request, result: Struct | SharedResult) -> str:
        revision, stamp = request.revision, self.description.stamp
        if isinstance(result, SharedResult):
            return join_result(request.id, result.encode(revision, stamp))
        return encode_result(request.id, project_result(result, revision, stamp))

    def _refuse(
        self,
        id: RequestId | None,
        error: ProtocolError,
        batch: Batch | None,
        revision: Revision | None = None,
    ) -> None:
        try:
            frame = encode_error(
                id, error.code_for(revision), error.message, error.data
            )
        except (TypeError, ValueError, RecursionError):
            # Whoever raised it put something into it that JSON cannot say.
            unsaid = InternalError()
            frame = encode_error(id, unsaid.code, unsaid.message, UNSET)
        self._put_reply(batch, frame)


_ANSWERED_HERE: Final = {
    "initialize": ServerConnection._initialize,
    "ping": ServerConnection._ping,
    "server/discover": ServerConnection._discover,
    "logging/setLevel": ServerConnection._set_level,
}

_MODERN_ONLY: Final = frozenset(
    name
    for name, method in REQUESTS.items()
    if method.from_client and method.from_client <= frozenset(MODERN_REVISIONS)
)
_RANK: Final = {level: rank for rank, level in enumerate(LOGGING_LEVELS)}
_NOBODY: Final = Peer(ClientCapabilities())


def _read_token(meta: dict[str, Any]) -> RequestId | None:
    token = meta.get("progressToken")
    return token if is_request_id(token) else None
