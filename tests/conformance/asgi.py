"""The conformance site's ASGI application: MCP over WebSocket at /ws."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

from mcp_channels.routing import application as mcp
from tests.conformance.site import ConformanceConsumer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.conformance.settings")

application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": mcp(ConformanceConsumer)}
)
