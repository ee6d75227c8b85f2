"""The demo site's ASGI application: pages over HTTP, MCP over WebSocket."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

from mcp_channels.routing import application as mcp

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": mcp()})
