"""The ASGI application of the tests, written as the README tells a site to."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

from mcp_channels.routing import application as mcp

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": mcp()})
