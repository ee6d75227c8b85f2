"""Settings of the tests that run on PostgreSQL; conftest.py says where that is."""

from tests.settings import *  # noqa: F403

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "channels",
    "mcp_channels",
    "tests.shop",
    "tests.postgres",
]
# Of the admin only the history is wanted, which needs neither.
SILENCED_SYSTEM_CHECKS = ["admin.E403", "admin.E408", "admin.E409", "admin.E410"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "tests",
        "USER": "postgres",
        # The models of tests have none, and refer to models that do.
        "TEST": {"MIGRATE": False},
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the quickest
