"""The application of the servers, whose consumer has a bug that can be asked for."""

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


application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": mcp(Clumsy)}
)
