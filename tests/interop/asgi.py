"""The application of the servers, with a bug and a middleware for who asks for them."""

from typing import Any

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

from mcp_channels.consumers import MCPConsumer
from mcp_channels.routing import application as mcp


class Clumsy(MCPConsumer):
    async def websocket_receive(self, message: Any) -> None:
        if message.get("text") == "stumble":
            raise RuntimeError("A bug of the site")
        await super().websocket_receive(message)


served = mcp(Clumsy)


async def websocket(scope: Any, receive: Any, send: Any) -> None:
    async def send_on(message: Any) -> None:
        await send(message)

    # Some middleware hands on its own function for sending, as AuthMiddlewareStack.
    is_wrapped = scope["query_string"] == b"wrapped"
    await served(scope, receive, send_on if is_wrapped else send)


application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": websocket}
)
