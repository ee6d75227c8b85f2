"""Our side: a Django site's `asgi.py`, as the documentation shows it."""

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

from mcp_channels.routing import application as mcp

application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": mcp()})
