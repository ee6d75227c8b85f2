"""
The envelope of a modern request: `_meta` says all that a handshake used to settle.

MCP 2026-07-28, basic, requests.
"""

from typing import Any, Final

import msgspec

from mcp_channels.protocol.errors import InvalidParams, UnsupportedProtocolVersion
from mcp_channels.protocol.legacy import Peer
from mcp_channels.protocol.types import (
    LOGGING_LEVELS,
    ClientCapabilities,
    Implementation,
    LoggingLevel,
)
from mcp_channels.protocol.versions import Era, Revision

__all__ = [
    "CLIENT_CAPABILITIES",
    "CLIENT_INFO",
    "LOG_LEVEL",
    "PROTOCOL_VERSION",
    "SERVER_INFO",
    "SUBSCRIPTION_ID",
    "Envelope",
    "read_envelope",
    "read_meta",
]

# Keys of a request's `_meta`; the first two must be there.
PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
# The key of a result's `_meta`.
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
# The key of the `_meta` of what is sent for a listen: its id.
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"

_REQUIRED: Final = {PROTOCOL_VERSION, CLIENT_CAPABILITIES}
_LEVELS: Final = ", ".join(LOGGING_LEVELS)


class _Params(msgspec.Struct):
    """Any params, for their `_meta` alone."""

    meta: Any = msgspec.field(default=None, name="_meta")


_decode_meta: Final = msgspec.json.Decoder(_Params).decode


class Envelope(msgspec.Struct, frozen=True):
    """What one request says of its sender."""

    revision: Revision
    peer: Peer
    log_level: LoggingLevel | None  # None: no log messages are wanted


def read_meta(params: msgspec.Raw | None) -> dict[str, Any] | None:
    """
    Return `_meta` of `params`, None unless it is an object.

    Raise InvalidParams when `params` is no object, or holds a number beyond any float.
    """
    if params is None:
        return None
    try:
        meta = _decode_meta(params).meta
    except msgspec.ValidationError as exc:
        raise InvalidParams(f"Invalid params: {exc}") from None
    return meta if isinstance(meta, dict) else None


def read_envelope(meta: dict[str, Any]) -> Envelope:
    """
    Read the envelope out of a request's `_meta`.

    Raise InvalidParams when a key is missing or malformed, and after that
    UnsupportedProtocolVersion when the revision is not a modern one.
    """
    if not meta.keys() >= _REQUIRED:
        missing = ", ".join(sorted(_REQUIRED - meta.keys()))
        raise InvalidParams(f"Missing in params._meta: {missing}")
    version, capabilities = meta[PROTOCOL_VERSION], meta[CLIENT_CAPABILITIES]
    if not isinstance(version, str):
        raise InvalidParams(f"{PROTOCOL_VERSION} must be a string")
    if not isinstance(capabilities, dict):
        raise InvalidParams(f"{CLIENT_CAPABILITIES} must be an object")
    log_level = meta.get(LOG_LEVEL)
    if log_level is not None and log_level not in LOGGING_LEVELS:
        raise InvalidParams(f"{LOG_LEVEL} must be one of {_LEVELS}")
    info = meta.get(CLIENT_INFO)
    if info is not None:
        try:
            info = msgspec.convert(info, Implementation)
        except msgspec.ValidationError as exc:
            raise InvalidParams(f"{CLIENT_INFO}: {exc}") from None
    revision = Revision.find(version)
    if revision is None or revision.era is Era.LEGACY:
        raise UnsupportedProtocolVersion(version)
    peer = Peer(msgspec.convert(capabilities, ClientCapabilities), info)
    return Envelope(revision, peer, log_level)
