"""
The one line for a site's asgi.py.

    from mcp_channels.routing import application as mcp

    application = ProtocolTypeRouter(
        {"http": get_asgi_application(), "websocket": mcp()}
    )

A site with sockets of its own puts MCPConsumer.as_asgi() into its URLRouter instead.
"""

from typing import Any

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


def application(consumer: type[MCPConsumer] = MCPConsumer) -> ASGI3Application:
    """
    Return the ASGI application for WebSocket connections.

    It serves `consumer` at PATH, below the root path if there is one, and refuses every
    other path with 404. Raise ImproperlyConfigured when MCP_CHANNELS or a ModelTools is
    wrong: a server does not run the system checks, and should not start.
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
        if path.strip("/") == get_settings().PATH:
            await serve(scope, receive, send)
        else:
            await receive()  # websocket.connect
            await refuse(scope, send, Refused(404, "There is nothing here"))

    return route
