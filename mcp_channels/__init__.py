"""A Model Context Protocol server over WebSocket for existing Django sites."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_channels.protocol.content import (
        Annotations,
        AudioContent,
        ContentBlock,
        EmbeddedResource,
        Icon,
        ImageContent,
        ResourceContents,
        ResourceLink,
        TextContent,
    )
    from mcp_channels.protocol.errors import ProtocolError
    from mcp_channels.protocol.types import CallToolResult
    from mcp_channels.server.context import Context
    from mcp_channels.server.permissions import Identity
    from mcp_channels.server.registry import Registry, registry, tool
    from mcp_channels.server.tools import ToolError

__version__ = "0.1.0"

__all__ = [
    "Annotations",
    "AudioContent",
    "CallToolResult",
    "ContentBlock",
    "Context",
    "EmbeddedResource",
    "Icon",
    "Identity",
    "ImageContent",
    "ProtocolError",
    "Registry",
    "ResourceContents",
    "ResourceLink",
    "TextContent",
    "ToolError",
    "registry",
    "tool",
]

# Imported at first use: Django imports this package to find the app in it, in every
# process, long before anything of it is needed.
_MODULES = {
    "Annotations": "protocol.content",
    "AudioContent": "protocol.content",
    "CallToolResult": "protocol.types",
    "ContentBlock": "protocol.content",
    "Context": "server.context",
    "EmbeddedResource": "protocol.content",
    "Icon": "protocol.content",
    "Identity": "server.permissions",
    "ImageContent": "protocol.content",
    "ProtocolError": "protocol.errors",
    "Registry": "server.registry",
    "ResourceContents": "protocol.content",
    "ResourceLink": "protocol.content",
    "TextContent": "protocol.content",
    "ToolError": "server.tools",
    "registry": "server.registry",
    "tool": "server.registry",
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
