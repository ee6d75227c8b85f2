"""
The JSON-RPC envelope: what one frame holds, and the frame for one message.

MCP, basic: every message is a JSON object with `jsonrpc` exactly "2.0". A batch is
an array of them and exists in 2025-03-26 only; what may be in one is decided in
`legacy`.
"""

import re
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from mcp_channels.protocol.errors import InvalidRequest, ParseError, ProtocolError

__all__ = [
    "BatchMessage",
    "InvalidMessage",
    "Message",
    "NotificationMessage",
    "RequestId",
    "RequestMessage",
    "ResponseMessage",
    "decode",
    "decode_member",
    "encode_error",
    "encode_notification",
    "encode_request",
    "encode_result",
    "is_request_id",
    "join_result",
]

# JSON keeps 1 and "1" apart, and so do Python's int and str as keys. Booleans and
# floats, which Python takes for integers, never become an id.
RequestId: TypeAlias = int | str


class RequestMessage(Struct, frozen=True):
    """A method with an id: it must be answered."""

    id: RequestId
    method: str
    params: Raw | None  # None when absent or null


class NotificationMessage(Struct, frozen=True):
    """A method without an id: it must never be answered."""

    method: str
    params: Raw | None  # None when absent or null


class ResponseMessage(Struct, frozen=True):
    """An answer: exactly one of `result` and `error` is set."""

    id: RequestId
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


class InvalidMessage(Struct, frozen=True):
    """Something that must be answered with `error`."""

    id: RequestId | None  # None when it could not be read; null on the wire
    error: ProtocolError


class BatchMessage(Struct, frozen=True):
    """An array of what may be messages; see decode_member()."""

    members: list[Raw]


Message: TypeAlias = (
    RequestMessage | NotificationMessage | ResponseMessage | InvalidMessage
)


class _Envelope(Struct):
    """Any JSON object, with the members that JSON-RPC gives a meaning."""

    jsonrpc: Any = UNSET
    id: Any = UNSET
    method: Any = UNSET
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode_anything: Final = msgspec.json.Decoder(Raw).decode
_decode_array: Final = msgspec.json.Decoder(list[Raw]).decode

_NOT_A_MESSAGE: Final = "A message is a JSON object with a method"

# Whatever reads a part of a frame again must not meet Python's own limit of 1000.
_DEEPEST: Final = 500

# A string, so that brackets inside one do not count; and all that is no bracket.
_NOT_BRACKETS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^\[\]{}"]+', re.DOTALL)
_SQUARE: Final = str.maketrans("{}", "[]")


def is_request_id(value: object) -> bool:
    """Tell whether `value` is a JSON string or a JSON integer."""
    return type(value) is int or type(value) is str


def decode(text: str, *, max_depth: int) -> Message | BatchMessage | None:
    """
    Decode one frame. None means: ignore it.

    `max_depth` is how many arrays and objects may be inside each other. Never
    raises for what a peer can send: a fault comes back as InvalidMessage.
    """
    try:
        try:
            envelope = _decode_envelope(text)
        except msgspec.ValidationError:
            # No object, or a number beyond any float; not yet read to its end.
            if text.lstrip(" \t\r\n")[:1] != "[":
                _decode_anything(text)
                return InvalidMessage(None, InvalidRequest(_NOT_A_MESSAGE))
            members = _decode_array(text)
            _check_depth(text, max_depth)
            return BatchMessage(members)
        # Only now: a regular expression can be slow on what is not JSON.
        _check_depth(text, max_depth)
    except ParseError as exc:
        return InvalidMessage(None, exc)
    except msgspec.DecodeError as exc:
        return InvalidMessage(None, ParseError(f"Parse error: {exc}"))
    except UnicodeEncodeError:
        return InvalidMessage(None, ParseError("Parse error: not valid Unicode"))
    except RecursionError:
        return InvalidMessage(None, ParseError("Parse error: nested too deeply"))
    return _classify(envelope)


def decode_member(member: Raw) -> Message | None:
    """Decode one member of a batch. None means: ignore it."""
    try:
        return _classify(_decode_envelope(member))
    except msgspec.ValidationError:
        return InvalidMessage(None, InvalidRequest(_NOT_A_MESSAGE))


def _classify(envelope: _Envelope) -> Message | None:
    id, method, params = envelope.id, envelope.method, envelope.params
    if method is UNSET and params is UNSET and id is not UNSET:
        has_result = envelope.result is not UNSET
        if (
            has_result == (envelope.error is not UNSET)
            or not is_request_id(id)
            or envelope.jsonrpc != "2.0"
        ):
            # It is a broken response, or the peer's complaint about a frame it
            # could not read. Answering either could go on for ever.
            return None
        return ResponseMessage(id, envelope.result, envelope.error)
    if method is UNSET and (
        envelope.result is not UNSET or envelope.error is not UNSET
    ):
        return None
    known_id = id if is_request_id(id) else None
    if envelope.jsonrpc != "2.0":
        return InvalidMessage(known_id, InvalidRequest('"jsonrpc" must be "2.0"'))
    if type(method) is not str:
        return InvalidMessage(known_id, InvalidRequest('"method" must be a string'))
    given = None
    if not isinstance(params, UnsetType) and bytes(params) != b"null":
        given = params
    if id is UNSET:
        return NotificationMessage(method, given)
    if known_id is None:
        return InvalidMessage(
            None, InvalidRequest('"id" must be a string or an integer')
        )
    return RequestMessage(known_id, method, given)


def _check_depth(text: str, limit: int) -> None:
    """Raise ParseError when arrays and objects are more than `limit` deep."""
    limit = min(limit, _DEEPEST)
    # Counting all brackets is quick and settles almost every frame.
    if text.count("[") + text.count("{") <= limit:
        return
    brackets = _NOT_BRACKETS.sub("", text).translate(_SQUARE)
    for _ in range(limit):
        brackets = brackets.replace("[]", "")  # the innermost level
        if not brackets:
            return
    raise ParseError(f"Parse error: nested deeper than {limit} levels")


class _Result(Struct):
    id: RequestId
    result: Any
    jsonrpc: str = "2.0"


class _Error(Struct):
    id: RequestId | None
    error: dict[str, Any]
    jsonrpc: str = "2.0"


class _Request(Struct):
    id: RequestId
    method: str
    params: Any
    jsonrpc: str = "2.0"


class _Notification(Struct):
    method: str
    params: Any
    jsonrpc: str = "2.0"


_encode: Final = msgspec.json.Encoder().encode


def encode_result(id: RequestId, result: Any) -> str:
    """Return the frame that answers request `id`. Raise TypeError, ValueError or
    RecursionError when `result` holds what JSON cannot."""
    return _encode(_Result(id, result)).decode()


def join_result(id: RequestId, result: str) -> str:
    """Return the frame that answers request `id` with JSON text."""
    return f'{{"id":{_encode(id).decode()},"result":{result},"jsonrpc":"2.0"}}'


def encode_error(id: RequestId | None, code: int, message: str, data: Any) -> str:
    """Return the frame that refuses request `id`; None when it could not be read."""
    # JSON-RPC 2.0, section 5: an unreadable id is null. The newest schemas allow
    # leaving it out, but null is what every client parses.
    error = {"code": code, "message": message}
    if data is not UNSET:
        error["data"] = data
    return _encode(_Error(id, error)).decode()


def encode_request(id: RequestId, method: str, params: Any) -> str:
    """Return the frame of a request; raises as encode_result() does."""
    return _encode(_Request(id, method, params)).decode()


def encode_notification(method: str, params: Any) -> str:
    """Return the frame of a notification; raises as encode_result() does."""
    return _encode(_Notification(method, params)).decode()
