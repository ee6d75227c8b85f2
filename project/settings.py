"""
Settings of the demo site. It serves this machine only and keeps no secret.

Five things may be changed from the environment: DEMO_DATABASE (path of the SQLite
file), DEMO_DEBUG ("0" turns DEBUG off), DEMO_PAGE_SIZE (items per list page),
DEMO_REDIS (address of a Redis that several processes share) and DEMO_SECRET_KEY.
"""

import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent

# Anyone may read this default: it signs the sessions of a site nobody else reaches.
SECRET_KEY = os.environ.get("DEMO_SECRET_KEY", "django-insecure-demo-of-mcp-channels")
DEBUG = os.environ.get("DEMO_DEBUG", "1") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

INSTALLED_APPS = [
    "daphne",  # first, so that runserver is Daphne's and speaks WebSocket
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "mcp_channels",
    "project.atlas",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"

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

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE") or ROOT / "demo.sqlite3",
        "OPTIONS": {
            # Readers go on while one writer writes.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            # A transaction that reads first and writes later cannot be made to wait
            # by SQLite, only to fail; one that asks for the lock at once waits.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,  # seconds
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# One process serves the demo; more of them need a layer they share.
REDIS = os.environ.get("DEMO_REDIS")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [REDIS]},
    }
    if REDIS
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

MCP_CHANNELS = {
    "SERVER_NAME": "atlas",
    "SERVER_TITLE": "Atlas for travellers",
    "SERVER_VERSION": "1.0",
    "INSTRUCTIONS": (
        "Countries, 34,000 cities, and the trips of whoever is signed in. "
        "Tools that take a city accept its name, its name with a country "
        "('Lisbon, Portugal'), or the geonameid that find_city gives, which is "
        "never ambiguous. Distances are great circles, not roads. Countries and trips "
        "are resources as well, and a trip can be watched for changes."
    ),
    # The geography is public, and a first try should need no account. Tools that
    # touch somebody's trips check for a signed-in user themselves.
    "ALLOW_ANONYMOUS": True,
    # Small pages let the check walk several of them with a dozen things to list.
    "PAGE_SIZE": int(os.environ.get("DEMO_PAGE_SIZE", "100")),
}

# What the atlas logs while it answers a client, the client may read, if it wants to.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"client": {"class": "mcp_channels.logging.ClientHandler"}},
    "loggers": {"project.atlas": {"handlers": ["client"], "level": "INFO"}},
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
