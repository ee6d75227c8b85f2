"""Settings of the servers that other programs are let loose on."""

import json
import os

SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "channels",
    "mcp_channels",
    os.environ.get("INTEROP_APP", "tests.interop"),  # its module `mcp` has the tools
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["INTEROP_DATABASE"],
    }
}
if "INTEROP_REDIS" in os.environ:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [os.environ["INTEROP_REDIS"]]},
        }
    }
ASGI_APPLICATION = "tests.interop.asgi.application"
MCP_CHANNELS = {
    "SERVER_NAME": "interop",
    "ALLOW_ANONYMOUS": True,
    "AUTHENTICATORS": [
        "tests.interop.credentials.authenticate",
        "mcp_channels.sessions.authenticate",
    ],
    **json.loads(os.environ.get("MCP_CHANNELS", "{}")),
}
