"""
What a peer can be told is wrong.

ProtocolError
 +-- ParseError                      -32700
 +-- InvalidRequest                  -32600
 +-- MethodNotFound                  -32601
 +-- InvalidParams                   -32602
 |    +-- ResourceNotFound           -32002 up to 2025-11-25
 +-- InternalError                   -32603
 +-- MissingClientCapability         -32021
 +-- UnsupportedProtocolVersion      -32022
"""

from typing import Any, ClassVar, Final

from msgspec import UNSET, UnsetType

from mcp_channels.protocol.versions import MODERN_REVISIONS, Era, Revision

__all__ = [
    "HEADER_MISMATCH",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "METHOD_NOT_FOUND",
    "MISSING_CLIENT_CAPABILITY",
    "PARSE_ERROR",
    "RESOURCE_NOT_FOUND",
    "UNSUPPORTED_PROTOCOL_VERSION",
    "URL_ELICITATION_REQUIRED",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "MethodNotFound",
    "MissingClientCapability",
    "ParseError",
    "ProtocolError",
    "ResourceNotFound",
    "UnsupportedProtocolVersion",
]

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

RESOURCE_NOT_FOUND: Final = -32002  # up to 2025-11-25, never on the modern wire
URL_ELICITATION_REQUIRED: Final = -32042  # 2025-11-25 only
HEADER_MISMATCH: Final = -32020  # HTTP only
MISSING_CLIENT_CAPABILITY: Final = -32021
UNSUPPORTED_PROTOCOL_VERSION: Final = -32022


class ProtocolError(Exception):
    """
    A fault that is answered with a JSON-RPC error.

    `message` and `data` are shown to the peer: put no secret, path or trace in
    them. `data` is any JSON value, UNSET when absent.
    """

    code: int = INTERNAL_ERROR

    def __init__(
        self, message: str, *, code: int | None = None, data: Any = UNSET
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.message = message
        self.data: Any | UnsetType = data

    def code_for(self, revision: Revision | None) -> int:
        """Return the code on the wire of `revision`; None before one is agreed."""
        return self.code


class ParseError(ProtocolError):
    """The frame is not one JSON document."""

    code = PARSE_ERROR


class InvalidRequest(ProtocolError):
    """The JSON is not a message, or not one that is allowed now."""

    code = INVALID_REQUEST


class MethodNotFound(ProtocolError):
    """The method does not exist in this revision, or is not offered here."""

    code = METHOD_NOT_FOUND

    def __init__(self, method: str) -> None:
        # A hostile name may be as long as a frame.
        super().__init__(f"Method not found: {method[:100]}")


class InvalidParams(ProtocolError):
    """The params are malformed, or name something that does not exist."""

    code = INVALID_PARAMS


class ResourceNotFound(InvalidParams):
    """No resource has this URI, or none that may be seen."""

    legacy_code: ClassVar[int] = RESOURCE_NOT_FOUND

    def __init__(self, uri: str) -> None:
        super().__init__("Resource not found", data={"uri": uri})

    def code_for(self, revision: Revision | None) -> int:
        """MCP 2025-11-25 and before say -32002, MCP 2026-07-28 says -32602."""
        legacy = revision is None or revision.era is Era.LEGACY
        return self.legacy_code if legacy else self.code


class InternalError(ProtocolError):
    """A fault of this side. The peer learns nothing but that."""

    code = INTERNAL_ERROR

    def __init__(self, message: str = "Internal error") -> None:
        super().__init__(message)


class MissingClientCapability(ProtocolError):
    """
    The request needs a capability that it does not declare.

    `required` is shaped like ClientCapabilities, such as `{"sampling": {}}`.
    MCP 2026-07-28, basic, error codes.
    """

    code = MISSING_CLIENT_CAPABILITY

    def __init__(self, required: dict[str, Any]) -> None:
        super().__init__(
            "Missing required client capability",
            data={"requiredCapabilities": required},
        )

    def code_for(self, revision: Revision | None) -> int:
        """The code exists since MCP 2026-07-28; before, it is an internal error."""
        # None: an envelope was read, since only one can lack a capability that early.
        legacy = revision is not None and revision.era is Era.LEGACY
        return INTERNAL_ERROR if legacy else self.code


class UnsupportedProtocolVersion(ProtocolError):
    """The envelope, or a late `initialize`, names a revision not served here."""

    code = UNSUPPORTED_PROTOCOL_VERSION

    def __init__(self, requested: str) -> None:
        # Only modern revisions: a client that finds none it speaks falls back
        # to `initialize`, and listing legacy ones here would mislead it.
        super().__init__(
            "Unsupported protocol version",
            data={
                "supported": [revision.value for revision in MODERN_REVISIONS],
                "requested": requested[:100],
            },
        )
