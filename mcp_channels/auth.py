"""
Who may open a connection: a scope becomes an Identity, or is refused.

Decided before the socket is accepted. A page of another site can open a WebSocket with
the cookies of its visitor, so an Origin is looked at whenever there is one, and a known
one is needed when a cookie is the credential.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

from channels.auth import get_user
from django.apps import apps
from django.conf import settings as django_settings
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host
from django.utils import timezone

from mcp_channels.conf import get_settings
from mcp_channels.protocol.versions import Revision
from mcp_channels.server.concurrency import get_workers
from mcp_channels.server.permissions import EndpointPolicy, Identity, Requirement

__all__ = ["Refused", "admit", "authenticate", "choose_subprotocol", "renew"]

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
# What Django allows when DEBUG is on and ALLOWED_HOSTS is empty.
_LOOPBACK: Final = (".localhost", "127.0.0.1", "[::1]")


class Refused(Exception):
    """The connection is not accepted; `reason` is shown to the client."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status  # of HTTP
        self.reason = reason


async def authenticate(
    scope: Mapping[str, Any], endpoint: EndpointPolicy | None = None
) -> Identity:
    """
    Return who opens the connection of `scope` to `endpoint`, None for the default one.

    That is the user of the session cookie, or the one that a middleware of the site
    put into the scope, or the anonymous user where that is allowed. Raise Refused with
    401 when that leaves nobody, and with 403 when the Host or the Origin is not
    allowed, or somebody may not use the endpoint.
    """
    endpoint = endpoint or EndpointPolicy()
    headers = _headers(scope["headers"])
    host = headers.get("host", "")
    _check_host(host)
    origin = headers.get("origin")
    is_known = origin is not None and _is_known(origin, host, scope.get("scheme", "ws"))
    allows_all = "*" in get_settings().ALLOWED_ORIGINS
    if origin is not None and not is_known and not allows_all:
        raise Refused(403, "This origin is not allowed")
    if headers.get("authorization", "").lower().startswith("bearer "):
        # Going on without it would make somebody anonymous who meant to be known.
        raise Refused(401, "This credential is not known here")
    user = scope.get("user")
    if user is None:
        user = await _session_user(headers.get("cookie", ""))
    # A browser adds the cookie to what a page asks, whoever wrote the page: "*"
    # would let every one of them act as its visitor.
    if user.is_authenticated and "cookie" in headers and not is_known:
        raise Refused(403, "A session cookie needs the Origin of a known site")
    identity = Identity(user, endpoint=endpoint)
    if endpoint.requirement == Requirement():
        admit(identity)
    else:
        await get_workers(get_settings().SYNC_THREADS).run(admit, identity)
    return identity


def admit(identity: Identity) -> None:
    """Raise Refused when `identity` may not use its endpoint. May read the database."""
    endpoint = identity.endpoint
    is_open = endpoint.allow_anonymous
    if is_open is None:
        is_open = get_settings().ALLOW_ANONYMOUS
    if not identity.user.is_authenticated and not is_open:
        raise Refused(401, "Credentials are required")
    token = identity.token
    if token is not None and token.endpoints and endpoint.slug not in token.endpoints:
        raise Refused(403, "This token is for other endpoints")
    if not endpoint.requirement.admits(identity):
        raise Refused(403, "This endpoint is for others")


def renew(identity: Identity) -> Identity | None:
    """Return what `identity` is now, None when it is nobody any more. Call it in a
    thread."""
    if identity.renew is not None:
        return identity.renew()
    if identity.expires_at is not None and identity.expires_at <= timezone.now():
        return None
    user = _look_up(identity.user)
    return None if user is None else replace(identity, user=user)


def _look_up(user: Any) -> Any:
    """Return the user as it is now, None when it was deleted or deactivated."""
    manager = getattr(user.__class__, "_default_manager", None)
    if manager is None:
        # The anonymous one, or one that a middleware of the site knows without a
        # database.
        return user
    found = manager.filter(pk=user.pk).first()
    return found if found is not None and found.is_active else None


def choose_subprotocol(offered: Iterable[str]) -> str | None:
    """
    Return the subprotocol to accept with; None for none.

    Only what was offered is chosen, and never what carries a credential. Raise Refused
    with 400 when nothing that was offered is spoken here.
    """
    offered = list(offered)
    if "mcp" in offered:
        return "mcp"
    for name in offered:
        prefix, _, version = name.rpartition(".")
        if prefix == "mcp.version" and Revision.find(version) is not None:
            return name
    if any(not name.startswith("mcp.auth.") for name in offered):
        raise Refused(400, "The subprotocol to offer is mcp")
    return None


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by lower-case name. Raise Refused when one that decides
    comes twice."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.decode("latin-1").lower()
        if key in headers and key in ("host", "origin", "authorization"):
            raise Refused(400, f"More than one {key} header")
        text = value.decode("latin-1")
        # RFC 9113, 8.2.3: HTTP/2 may split the cookies into several fields.
        is_split = key == "cookie" and key in headers
        headers[key] = f"{headers[key]}; {text}" if is_split else text
    return headers


def _check_host(host: str) -> None:
    # A name that resolves to this machine, but is not ours, is DNS rebinding.
    allowed = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed:
        allowed = list(_LOOPBACK)
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, allowed):
        raise Refused(403, "This host is not served here")


def _is_known(origin: str, host: str, scheme: str) -> bool:
    """Tell whether `origin` is the site's own, or listed by name."""
    asked = _split_origin(origin)
    if asked is None:
        return False
    if asked in map(_split_origin, get_settings().ALLOWED_ORIGINS):
        return True
    # Behind a proxy that ends TLS the scheme is "ws" though the page is https.
    same_scheme = asked[0] == "https" or (asked[0] == "http" and scheme != "wss")
    return same_scheme and asked == _split_origin(f"{asked[0]}://{host}")


def _split_origin(origin: str) -> tuple[str, str, str] | None:
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


async def _session_user(cookie: str) -> Any:
    from django.contrib.auth.models import AnonymousUser

    key = parse_cookie(cookie).get(django_settings.SESSION_COOKIE_NAME)
    if key is None or not apps.is_installed("django.contrib.sessions"):
        return AnonymousUser()
    engine = import_module(django_settings.SESSION_ENGINE)
    scope: Any = {"session": engine.SessionStore(key)}  # all that it looks at
    return await get_user(scope)
