"""
For programs that connect to an MCP server over WebSocket, this one or any other.

It needs the extra `client`, and knows nothing of Django.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_channels.client.configuration import WebSocketConfig
    from mcp_channels.client.errors import (
        CONNECTION_LOST,
        MESSAGE_TOO_LARGE,
        OUTCOME_UNKNOWN,
        REQUEST_TIMED_OUT,
        ConnectionFailed,
    )
    from mcp_channels.client.synchronous import SyncClient
    from mcp_channels.client.websocket import WebSocketTransport

__all__ = [
    "CONNECTION_LOST",
    "MESSAGE_TOO_LARGE",
    "OUTCOME_UNKNOWN",
    "REQUEST_TIMED_OUT",
    "ConnectionFailed",
    "SyncClient",
    "WebSocketConfig",
    "WebSocketTransport",
]

# Imported at first use: the bridge needs none of the SDK, which takes ten times as long
# to import as the bridge takes to start.
_MODULES = {
    "CONNECTION_LOST": "errors",
    "MESSAGE_TOO_LARGE": "errors",
    "OUTCOME_UNKNOWN": "errors",
    "REQUEST_TIMED_OUT": "errors",
    "ConnectionFailed": "errors",
    "SyncClient": "synchronous",
    "WebSocketConfig": "configuration",
    "WebSocketTransport": "websocket",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
