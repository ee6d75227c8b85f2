"""
Which site was asked, and which site the page is of that asks.

A page of another site can open a WebSocket with the cookies of its visitor: `Origin`
is all that tells.
"""

from typing import Final
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.http.request import split_domain_port, validate_host

from mcp_channels.conf import get_settings

__all__ = ["is_allowed_host", "is_known_origin"]

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
# What Django allows when DEBUG is on and ALLOWED_HOSTS is empty.
_LOOPBACK: Final = (".localhost", "127.0.0.1", "[::1]")


def is_allowed_host(host: str) -> bool:
    """Tell whether a Host header names what is served here."""
    # A name that resolves to this machine, but is not ours, is DNS rebinding.
    allowed = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed:
        allowed = list(_LOOPBACK)
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)


def is_known_origin(origin: str, host: str, scheme: str) -> bool:
    """Tell whether `origin` is the site's own, or listed by name. `scheme` is that of
    the connection."""
    asked = _split(origin)
    if asked is None:
        return False
    if asked in map(_split, get_settings().ALLOWED_ORIGINS):
        return True
    # Behind a proxy that ends TLS the scheme is "ws" though the page is https.
    same_scheme = asked[0] == "https" or (asked[0] == "http" and scheme != "wss")
    return same_scheme and asked == _split(f"{asked[0]}://{host}")


def _split(origin: str) -> tuple[str, str, str] | None:
    """Return scheme, host and port, in lower case; None for "null" and what is no
    origin."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or parts.path or parts.query:
        return None
    return (
        parts.scheme,
        parts.hostname,
        str(port) if port is not None else _DEFAULT_PORTS.get(parts.scheme, ""),
    )
