"""
The one line for a site's asgi.py.

    from mcp_channels.routing import application as mcp

    application = ProtocolTypeRouter(
        {"http": get_asgi_application(), "websocket": mcp()}
    )

A site with sockets of its own puts MCPConsumer.as_asgi() into its URLRouter instead.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mcp_channels.auth import Refused
from mcp_channels.conf import get_settings
from mcp_channels.consumers import MCPConsumer, Receive, Send, refuse

__all__ = ["application"]

ASGIApplication = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def application(consumer: type[MCPConsumer] = MCPConsumer) -> ASGIApplication:
    """
    Return the ASGI application for WebSocket connections.

    It serves `consumer` at PATH, below the root path if there is one, and refuses every
    other path with 404.
    """
    serve = consumer.as_asgi()

    async def route(
        scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.strip("/") == get_settings().PATH:
            await serve(scope, receive, send)
        else:
            await receive()  # websocket.connect
            await refuse(scope, send, Refused(404, "There is nothing here"))

    return route
