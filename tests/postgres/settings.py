"""Settings of the tests on PostgreSQL; tests.plugins.postgres says where that is."""

from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as APPS

INSTALLED_APPS = [*APPS, "django.contrib.postgres", "tests.postgres"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the quickest


def _database(name: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": "postgres",
        # The models of tests have no migrations, and refer to models that do.
        "TEST": {"MIGRATE": False},
    }


DATABASES = {"default": _database("tests"), "archive": _database("archive")}
