"""
System checks: what is wrong with a site's configuration, before it runs.

E001 MCP_CHANNELS is wrong. E002 a ModelTools is wrong. W001 a tool has no description.
W002 anybody may call a tool that writes. W003 no server can speak WebSocket. W004 a
field that looks secret is exposed.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning
from msgspec import UNSET

from mcp_channels.conf import get_settings, problems
from mcp_channels.modeltools.exposure import Exposure, looks_secret
from mcp_channels.server.registry import registry
from mcp_channels.server.tools import Tool

__all__ = ["check_registry", "check_settings"]


def check_settings(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Check MCP_CHANNELS and what else the server needs of the settings."""
    found: list[CheckMessage] = [
        Error(f"MCP_CHANNELS: {problem}", id="mcp_channels.E001")
        for problem in problems()
    ]
    if getattr(django_settings, "ASGI_APPLICATION", None) is None:
        found.append(
            Warning(
                "ASGI_APPLICATION is not set.",
                hint="MCP is served over WebSocket, which needs an ASGI server: set it "
                "to the application in your asgi.py.",
                id="mcp_channels.W003",
            )
        )
    return found


def check_registry(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Check what the site's code has registered."""
    if problems():
        return []
    return [
        *_check_models(registry.exposures.values()),
        *_check_tools(registry.tools.values()),
    ]


def _check_models(exposures: Iterable[Exposure]) -> Iterable[CheckMessage]:
    for exposure in exposures:
        kind = type(exposure.tools)
        place = f"{kind.__module__}.{kind.__qualname__}"
        for problem in exposure.problems:
            yield Error(
                f"{place}: {problem}",
                hint="Nothing of the model is exposed until this is mended.",
                obj=exposure.label,
                id="mcp_channels.E002",
            )
        for path in exposure.allowlist.by_path:
            if looks_secret(path):
                yield Warning(
                    f"{place}: the field {path!r} looks as if it held a secret.",
                    hint="Take it out of the fields. Agents, and whoever reads along, "
                    "see what is in it; where that is meant, silence this check.",
                    obj=exposure.label,
                    id="mcp_channels.W004",
                )


def _check_tools(tools: Iterable[Tool]) -> Iterable[CheckMessage]:
    is_open = get_settings().ALLOW_ANONYMOUS
    for tool in tools:
        if tool.definition.description is UNSET:
            yield Warning(
                f"Tool {tool.name!r} has no description.",
                hint="A model chooses a tool by its description: give the function a "
                "docstring.",
                obj=tool.place,
                id="mcp_channels.W001",
            )
        if is_open and tool.permission is None and not tool.is_read_only:
            yield Warning(
                f"Tool {tool.name!r} may be called by anybody, and may write.",
                hint="Declare it read_only=True, give it a permission, or set "
                "ALLOW_ANONYMOUS to False.",
                obj=tool.place,
                id="mcp_channels.W002",
            )
