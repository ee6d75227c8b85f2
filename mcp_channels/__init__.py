"""A Model Context Protocol server over WebSocket for existing Django sites."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_channels.auth import Handshake, Refused
    from mcp_channels.broadcast import publish
    from mcp_channels.modeltools.changes import rows_changed
    from mcp_channels.modeltools.options import ModelTools
    from mcp_channels.modeltools.registration import register
    from mcp_channels.protocol.content import (
        Annotations,
        AudioContent,
        ContentBlock,
        EmbeddedResource,
        Icon,
        ImageContent,
        Resource,
        ResourceContents,
        ResourceLink,
        TextContent,
    )
    from mcp_channels.protocol.elicitation import (
        CreateMessageResult,
        ModelHint,
        ModelPreferences,
        SamplingMessage,
        ToolChoice,
    )
    from mcp_channels.protocol.errors import ProtocolError, ResourceNotFound
    from mcp_channels.protocol.types import (
        CallToolResult,
        GetPromptResult,
        PromptMessage,
        ReadResourceResult,
        Root,
    )
    from mcp_channels.server.context import Context
    from mcp_channels.server.events import (
        AccessChanged,
        PrimitivesChanged,
        ResourceUpdated,
    )
    from mcp_channels.server.interaction import (
        ClientRefused,
        Declined,
        Elicit,
        ElicitURL,
        ListRoots,
        Sample,
    )
    from mcp_channels.server.permissions import Asker, Identity
    from mcp_channels.server.registry import (
        Registry,
        prompt,
        registry,
        resource,
        tool,
    )
    from mcp_channels.server.tools import ToolError

__version__ = "0.1.0"

__all__ = [
    "AccessChanged",
    "Annotations",
    "Asker",
    "AudioContent",
    "CallToolResult",
    "ClientRefused",
    "ContentBlock",
    "Context",
    "CreateMessageResult",
    "Declined",
    "Elicit",
    "ElicitURL",
    "EmbeddedResource",
    "GetPromptResult",
    "Handshake",
    "Icon",
    "Identity",
    "ImageContent",
    "ListRoots",
    "ModelHint",
    "ModelPreferences",
    "ModelTools",
    "PrimitivesChanged",
    "PromptMessage",
    "ProtocolError",
    "ReadResourceResult",
    "Refused",
    "Registry",
    "Resource",
    "ResourceContents",
    "ResourceLink",
    "ResourceNotFound",
    "ResourceUpdated",
    "Root",
    "Sample",
    "SamplingMessage",
    "TextContent",
    "ToolChoice",
    "ToolError",
    "prompt",
    "publish",
    "register",
    "registry",
    "resource",
    "rows_changed",
    "tool",
]

# Imported at first use: Django imports this package to find the app in it, in every
# process, long before anything of it is needed.
_MODULES = {
    "AccessChanged": "server.events",
    "Annotations": "protocol.content",
    "Asker": "server.permissions",
    "AudioContent": "protocol.content",
    "CallToolResult": "protocol.types",
    "ClientRefused": "server.interaction",
    "ContentBlock": "protocol.content",
    "Context": "server.context",
    "CreateMessageResult": "protocol.elicitation",
    "Declined": "server.interaction",
    "Elicit": "server.interaction",
    "ElicitURL": "server.interaction",
    "EmbeddedResource": "protocol.content",
    "GetPromptResult": "protocol.types",
    "Handshake": "auth",
    "Icon": "protocol.content",
    "Identity": "server.permissions",
    "ImageContent": "protocol.content",
    "ListRoots": "server.interaction",
    "ModelHint": "protocol.elicitation",
    "ModelPreferences": "protocol.elicitation",
    "ModelTools": "modeltools.options",
    "PrimitivesChanged": "server.events",
    "PromptMessage": "protocol.types",
    "ProtocolError": "protocol.errors",
    "ReadResourceResult": "protocol.types",
    "Refused": "auth",
    "Registry": "server.registry",
    "Resource": "protocol.content",
    "ResourceContents": "protocol.content",
    "ResourceLink": "protocol.content",
    "ResourceNotFound": "protocol.errors",
    "ResourceUpdated": "server.events",
    "Root": "protocol.types",
    "Sample": "server.interaction",
    "SamplingMessage": "protocol.elicitation",
    "TextContent": "protocol.content",
    "ToolChoice": "protocol.elicitation",
    "ToolError": "server.tools",
    "prompt": "server.registry",
    "publish": "broadcast",
    "register": "modeltools.registration",
    "registry": "server.registry",
    "resource": "server.registry",
    "rows_changed": "modeltools.changes",
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
