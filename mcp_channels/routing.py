"""
The one line for a site's asgi.py.

    from mcp_channels.routing import application as mcp

    application = ProtocolTypeRouter(
        {"http": get_asgi_application(), "websocket": mcp()}
    )

A site with sockets of its own puts MCPConsumer.as_asgi() into its URLRouter instead.
"""

import re
from typing import Any, Final

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
)
from django.core.exceptions import ImproperlyConfigured

from mcp_channels.auth import Refused
from mcp_channels.conf import get_settings
from mcp_channels.consumers import MCPConsumer, refuse

__all__ = ["application"]

_SLUG: Final = re.compile(r"[-a-zA-Z0-9_]+")


def application(consumer: type[MCPConsumer] = MCPConsumer) -> ASGI3Application:
    """
    Return the ASGI application for WebSocket connections.

    It serves `consumer` at PATH, below the root path if there is one, and the endpoint
    of that slug at PATH/slug; every other path is refused with 404. Raise
    ImproperlyConfigured when MCP_CHANNELS or a ModelTools is wrong: a server does not
    run the system checks, and should not start.
    """
    get_settings()
    for exposure in consumer.registry.exposures.values():
        if exposure.problems:
            raise ImproperlyConfigured(f"{exposure.label}: {exposure.problems[0]}")
    serve = consumer.as_asgi()

    async def route(
        scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        # Some servers put the root path before the path, others do not.
        root = scope.get("root_path", "").rstrip("/")
        path = scope["path"]
        if path.startswith(f"{root}/"):
            path = path[len(root) :]
        found = _find_endpoint(path.strip("/"), get_settings().PATH)
        if found is not None:
            # Where a URLRouter puts it, too.
            scope = {**scope, "url_route": {"args": (), "kwargs": {"endpoint": found}}}
            await serve(scope, receive, send)
        else:
            await receive()  # websocket.connect
            await refuse(scope, send, Refused(404, "There is nothing here"))

    return route


def _find_endpoint(path: str, own: str) -> str | None:
    """Return the slug of what is asked for, None when there can be nothing."""
    if path == own:
        return ""
    prefix = f"{own}/" if own else ""
    slug = path.removeprefix(prefix)
    return slug if path.startswith(prefix) and _SLUG.fullmatch(slug) else None
