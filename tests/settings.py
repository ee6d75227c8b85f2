"""Settings of the tests: everything the package needs, and nothing of the demo."""

import os
from pathlib import Path
from tempfile import gettempdir

SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["localhost", "testserver"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "mcp_channels",
    "tests.shop",
]
ASGI_APPLICATION = "tests.asgi.application"
# A file, since Django never closes a database in memory: a pooled thread would keep it
# open into tests that may not touch one. Of this process, since others may test, too.
_DATABASE = Path(gettempdir()) / f"mcp_channels_tests_{os.getpid()}.sqlite3"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _DATABASE,
        "TEST": {"NAME": _DATABASE},
    }
}
MCP_CHANNELS = {"SERVER_NAME": "tests", "ALLOW_ANONYMOUS": True}
