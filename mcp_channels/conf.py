"""
The settings, read from MCP_CHANNELS at the moment of use.

    MCP_CHANNELS = {"SERVER_NAME": "shop", "ALLOW_ANONYMOUS": True}

What a name means, its unit and its default stand here and nowhere else; a wrong name or
type is found by the system checks.
"""

import re
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, get_type_hints

import msgspec
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from mcp_channels import __version__

__all__ = ["Settings", "get_settings", "problems"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a site can set, with its default. None disables a limit."""

    # What the server says of itself
    SERVER_NAME: str = "django-mcp-channels"
    SERVER_VERSION: str = __version__
    SERVER_TITLE: str | None = None  # for people
    INSTRUCTIONS: str | None = None  # for models: how the tools are meant
    WEBSITE_URL: str | None = None

    # Where it is and who may come in
    PATH: str = "ws"  # below the root path, without slashes at the ends
    ALLOW_ANONYMOUS: bool = False  # connections without credentials
    # Besides the site's own: "https://app.example.com"; "*" for every one, though not
    # for a page that comes with somebody's cookie.
    ALLOWED_ORIGINS: tuple[str, ...] = ()
    AUTHENTICATORS: tuple[str, ...] = (  # dotted paths; see mcp_channels.auth
        "mcp_channels.tokens.authenticate",
        "mcp_channels.tickets.authenticate",
        "mcp_channels.sessions.authenticate",
    )
    MAX_FAILED_ATTEMPTS: int | None = 20  # of one address in a minute; then 429
    TRUSTED_PROXIES: int = 0  # how many write X-Forwarded-For before it comes here
    CACHE: str = "default"  # the alias of where failed attempts are counted
    ACCESS_INTERVAL: float = 10.0  # seconds between looks for what nobody told of

    # What it offers
    AUTODISCOVER_MODULE: str = "mcp"  # imported from every installed app
    PAGE_SIZE: int = 100  # items of a list page

    # What one connection may use
    MAX_FRAME_BYTES: int | None = 1024 * 1024  # of UTF-8; a larger one closes, 1009
    MAX_JSON_DEPTH: int = 64  # arrays and objects inside each other, at most 500
    MAX_BATCH_LENGTH: int | None = 50  # messages in a batch of 2025-03-26
    MAX_REQUESTS_IN_FLIGHT: int | None = 64
    MAX_OUTBOX_FRAMES: int | None = 1_000  # waiting for a slow reader; then 1013
    MAX_OUTBOX_BYTES: int | None = 8 * 1024 * 1024
    MAX_SUBSCRIPTIONS: int | None = 1_024  # URIs, and listens
    MAX_VIOLATIONS: int | None = 100  # malformed messages; one more closes, 1008
    IDLE_TIMEOUT: float | None = None  # seconds without a frame or a call; then 1000

    # How it works
    CALL_TIMEOUT: float | None = 60.0  # seconds for a call that has no own timeout
    INTERACTION_TIMEOUT: float | None = 600.0  # seconds for an answer of the client
    SYNC_THREADS: int = 32  # at most, for synchronous functions of one process
    # Of CHANNEL_LAYERS: it takes events from one process to the others. None: nothing
    # does.
    CHANNEL_LAYER: str | None = "default"


_AT_LEAST_ONE = (
    "PAGE_SIZE",
    "MAX_FAILED_ATTEMPTS",
    "MAX_FRAME_BYTES",
    "MAX_JSON_DEPTH",
    "MAX_BATCH_LENGTH",
    "MAX_REQUESTS_IN_FLIGHT",
    "MAX_OUTBOX_FRAMES",
    "MAX_OUTBOX_BYTES",
    "MAX_SUBSCRIPTIONS",
    "SYNC_THREADS",
)
_MORE_THAN_NOTHING = (
    "ACCESS_INTERVAL",
    "CALL_TIMEOUT",
    "IDLE_TIMEOUT",
    "INTERACTION_TIMEOUT",
)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", re.IGNORECASE)


@cache
def get_settings() -> Settings:
    """Return the settings of now. Raise ImproperlyConfigured when they are wrong."""
    found = problems()
    if found:
        raise ImproperlyConfigured(f"MCP_CHANNELS: {found[0]}")
    return msgspec.convert(_given(), Settings)


def problems() -> list[str]:
    """Return one sentence for everything that is wrong in MCP_CHANNELS."""
    given = _given()
    if not isinstance(given, dict):
        return ["It must be a dictionary."]
    known = {setting.name for setting in fields(Settings)}
    found = [f"{name!r} is not a setting." for name in given if name not in known]
    types = get_type_hints(Settings)
    for name in known & given.keys():
        value = given[name]
        try:
            msgspec.convert(value, types[name])
        except msgspec.ValidationError as exc:
            found.append(f"{name}: {exc}.")
            continue
        if value is None:
            continue
        if name in _AT_LEAST_ONE and value < 1:
            found.append(f"{name} must be at least 1.")
        if name == "MAX_JSON_DEPTH" and value > 500:
            found.append("MAX_JSON_DEPTH must be at most 500.")
        if name in ("MAX_VIOLATIONS", "TRUSTED_PROXIES") and value < 0:
            found.append(f"{name} must be at least 0.")
        if name in _MORE_THAN_NOTHING and not value > 0:  # NaN is neither
            found.append(f"{name} must be more than 0 seconds.")
        if name == "ALLOWED_ORIGINS":
            found += [
                f"ALLOWED_ORIGINS: {origin!r} is no origin: use a scheme and a host, "
                f"as in 'https://app.example.com', without a path."
                for origin in value
                if origin != "*" and not _ORIGIN.fullmatch(origin)
            ]
        if name == "PATH" and value != value.strip("/"):
            found.append("PATH must not begin or end with a slash.")
    return sorted(found)


def _given() -> Any:
    return getattr(django_settings, "MCP_CHANNELS", {})


@receiver(setting_changed)
def _reset(*, setting: str, **kwargs: Any) -> None:
    if setting == "MCP_CHANNELS":
        get_settings.cache_clear()
