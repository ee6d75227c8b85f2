"""
System checks: what is wrong with a site's configuration, before it runs.

E001 MCP_CHANNELS is wrong. E002 it names what is not there. E003 a ModelTools is wrong.
W001 a tool has no description. W002 anybody may call a tool that writes. W003 no server
can speak WebSocket. W004 there are no tables. W005 anybody may call a tool that writes,
as a row says. W006 a row names a permission or a group that does not exist. W007 a
field that looks secret is exposed.
"""

from collections.abc import Iterable, Sequence
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string
from msgspec import UNSET

from mcp_channels.conf import Settings, get_settings, problems
from mcp_channels.policy import Policy, compile_policy, is_migrated
from mcp_channels.server.permissions import Identity, may_see
from mcp_channels.server.registry import Registry, registry
from mcp_channels.server.tools import Tool

if TYPE_CHECKING:
    from mcp_channels.modeltools.exposure import Exposure

__all__ = ["check_registry", "check_rows", "check_settings", "check_tables"]


def check_settings(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Check MCP_CHANNELS and what else the server needs of the settings."""
    found: list[CheckMessage] = [
        Error(f"MCP_CHANNELS: {problem}", id="mcp_channels.E001")
        for problem in problems()
    ]
    if not found:
        found += _check_names(get_settings())
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


def check_tables(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """Check that the tables are there, where databases are checked at all."""
    from mcp_channels.models import Endpoint

    if Endpoint.objects.db not in (databases or ()) or is_migrated():
        return []
    # No error: that would keep `migrate` from making them.
    return [
        Warning(
            "The tables of mcp_channels are missing.",
            hint="Run manage.py migrate. Until then the settings alone say what is "
            "served, and there are no access tokens.",
            id="mcp_channels.W004",
        )
    ]


def check_rows(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """Check what the rows of endpoints and primitives say."""
    from mcp_channels.models import Endpoint

    if problems() or Endpoint.objects.db not in (databases or ()) or not is_migrated():
        return []
    policy = compile_policy()
    return [
        *_check_endpoints(policy, registry),
        *_check_requirements(policy),
    ]


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


def _check_models(exposures: Iterable["Exposure"]) -> Iterable[CheckMessage]:
    for exposure in exposures:
        # A site without models does not need the room that they are exposed in.
        from mcp_channels.modeltools.exposure import looks_secret

        kind = type(exposure.tools)
        place = f"{kind.__module__}.{kind.__qualname__}"
        for problem in exposure.problems:
            yield Error(
                f"{place}: {problem}",
                hint="Nothing of the model is exposed until this is mended.",
                obj=exposure.label,
                id="mcp_channels.E003",
            )
        for path in exposure.allowlist.by_path:
            if looks_secret(path):
                yield Warning(
                    f"{place}: the field {path!r} looks as if it held a secret.",
                    hint="Take it out of the fields. Agents, and whoever reads along, "
                    "see what is in it; where that is meant, silence this check.",
                    obj=exposure.label,
                    id="mcp_channels.W007",
                )


def _check_endpoints(policy: Policy, registry: Registry) -> Iterable[CheckMessage]:
    from django.contrib.auth.models import AnonymousUser

    for endpoint in policy.endpoints.values():
        if not endpoint.enabled or not endpoint.allow_anonymous:
            continue
        anybody = Identity(AnonymousUser(), endpoint=endpoint)
        writes = [
            primitive.name
            for primitive in policy.offer(registry)
            if not primitive.needs_permission
            and not primitive.is_read_only
            and may_see(anybody, primitive)
        ]
        if writes:
            yield Warning(
                f"Endpoint {endpoint.slug!r} lets anybody call what may write: "
                f"{', '.join(writes)}.",
                hint="Switch it to read-only, choose what it serves, or let nobody in "
                "without credentials.",
                id="mcp_channels.W005",
            )


def _check_requirements(policy: Policy) -> Iterable[CheckMessage]:
    from django.contrib.auth.models import Group, Permission

    named = [
        *(
            (f"Endpoint {endpoint.slug!r}", endpoint.requirement)
            for endpoint in policy.endpoints.values()
        ),
        *(
            (f"{kind.capitalize()} {key!r}", primitive.requirement)
            for (kind, key), primitive in policy.primitives.items()
            if primitive.requirement is not None
        ),
    ]
    groups = set(Group.objects.values_list("name", flat=True))
    permissions = {
        f"{app}.{codename}"
        for app, codename in Permission.objects.values_list(
            "content_type__app_label", "codename"
        )
    }
    for label, requirement in named:
        missing = sorted(
            {*requirement.groups} - groups | {*requirement.permissions} - permissions
        )
        if missing:
            yield Warning(
                f"{label} requires what does not exist: {', '.join(missing)}.",
                hint="Until it does, only superusers get by.",
                id="mcp_channels.W006",
            )


def _check_names(settings: Settings) -> Iterable[CheckMessage]:
    for path in settings.AUTHENTICATORS:
        try:
            is_right = callable(import_string(path))
            is_right = is_right and not iscoroutinefunction(import_string(path))
        except ImportError:
            is_right = False
        if not is_right:
            yield Error(
                f"AUTHENTICATORS: {path!r} is no function that can be called.",
                hint="Write the dotted path of a synchronous function that takes a "
                "Handshake.",
                id="mcp_channels.E002",
            )
    if settings.CACHE not in django_settings.CACHES:
        yield Error(
            f"CACHE: {settings.CACHE!r} is none of CACHES.",
            hint="Write the alias of a cache, best of one that all workers share.",
            id="mcp_channels.E002",
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
