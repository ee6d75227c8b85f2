"""What a server says of itself, and so which methods it offers."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from mcp_channels.protocol.envelope import SERVER_INFO
from mcp_channels.protocol.types import Implementation, ServerCapabilities

__all__ = ["ServerDescription"]


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
