"""Settings of the tests: everything the package needs, and nothing of the demo."""

import os
from pathlib import Path
from tempfile import gettempdir
from typing import Any

SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["localhost", "testserver"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "channels",
    "mcp_channels",
    "tests.shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "static/"
ROOT_URLCONF = "tests.urls"
ASGI_APPLICATION = "tests.asgi.application"
# A file, since Django never closes a database in memory: a pooled thread would keep it
# open into tests that may not touch one. Of this process, since others may test, too.
_FOLDER = Path(gettempdir())


def _database(name: str) -> dict[str, Any]:
    path = _FOLDER / f"mcp_channels_{name}_{os.getpid()}.sqlite3"
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "TEST": {"NAME": path},
    }


DATABASES = {"default": _database("tests"), "archive": _database("archive")}
MCP_CHANNELS = {"SERVER_NAME": "tests", "ALLOW_ANONYMOUS": True}
