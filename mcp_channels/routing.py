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

from mcp_channels.auth import Refused
from mcp_channels.conf import get_settings
from mcp_channels.consumers import MCPConsumer, refuse

__all__ = ["application"]


def application(consumer: type[MCPConsumer] = MCPConsumer) -> ASGI3Application:
    """
    Return the ASGI application for WebSocket connections.

    It serves `consumer` at PATH, below the root path if there is one, and refuses every
    other path with 404.
    """
    serve = consumer.as_asgi()

    async def route(
        scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.strip("/") == get_settings().PATH:
            await serve(scope, receive, send)
        else:
            await receive()  # websocket.connect
            await refuse(scope, send, Refused(404, "There is nothing here"))

    return route
