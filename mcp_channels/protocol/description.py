"""What a server says of itself, and so which methods it offers."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from mcp_channels.protocol.envelope import SERVER_INFO
from mcp_channels.protocol.methods import TASKS_EXTENSION, Method
from mcp_channels.protocol.types import Implementation, ServerCapabilities
from mcp_channels.protocol.versions import Era, Revision

__all__ = ["ServerDescription"]

# What `subscriptions/listen` can tell of: a server with none of it has no such method.
_SUBSCRIBABLE: Final = frozenset(
    {
        "tools.listChanged",
        "prompts.listChanged",
        "resources.listChanged",
        "resources.subscribe",
        f"extensions.{TASKS_EXTENSION}",
    }
)


@dataclass(frozen=True)
class ServerDescription:
    """What a server says of itself, and so which methods it offers."""

    info: Implementation
    capabilities: ServerCapabilities
    instructions: str | UnsetType = UNSET
    offered: frozenset[str] = field(init=False)  # capabilities by dotted name
    stamp: dict[str, Any] = field(init=False)  # `_meta` of every modern result

    def __post_init__(self) -> None:
        offered = set[str]()
        for name, capability in msgspec.to_builtins(self.capabilities).items():
            offered.add(name)
            if isinstance(capability, dict):
                offered.update(
                    f"{name}.{key}"
                    for key in capability
                    if capability[key] is not False
                )
        object.__setattr__(self, "offered", frozenset(offered))
        info = Raw(msgspec.json.encode(self.info))
        object.__setattr__(self, "stamp", {SERVER_INFO: info})

    def offers(self, method: Method, revision: Revision) -> bool:
        """Tell whether the capability is there that a request of `revision` needs."""
        needed = method.server_capability
        if method.extension is not None and revision.era is Era.MODERN:
            needed = f"extensions.{method.extension}"
        if method.name == "subscriptions/listen":
            return not self.offered.isdisjoint(_SUBSCRIBABLE)
        return needed is None or needed in self.offered
