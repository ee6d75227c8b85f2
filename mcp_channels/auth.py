"""
Who may open a connection: a scope becomes an Identity, or is refused.

Decided before the socket is accepted. Each of AUTHENTICATORS looks at the handshake for
a credential that it knows:

    def authenticate(handshake: Handshake) -> Identity | None: ...

It returns None when there is none, and raises Refused when there is one that is not
good. It is called in a thread.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qs, unquote_to_bytes

from django.http import parse_cookie
from django.utils import timezone
from django.utils.module_loading import import_string

from mcp_channels.conf import get_settings
from mcp_channels.origins import is_allowed_host, is_known_origin
from mcp_channels.protocol.versions import Revision
from mcp_channels.server.concurrency import get_access_workers
from mcp_channels.server.permissions import EndpointPolicy, Identity
from mcp_channels.throttle import address_of, count_failure, is_throttled

__all__ = [
    "Handshake",
    "Refused",
    "admit",
    "authenticate",
    "choose_subprotocol",
    "read_bearer",
    "read_handshake",
    "renew",
    "without_credentials",
]

logger = logging.getLogger("mcp_channels")

_AUTH: Final = "mcp.auth."  # what a subprotocol begins with that is a token
# Longer than any credential: what is longer is not even looked up.
_LONGEST: Final = 8_192


class Refused(Exception):
    """The connection is not accepted; `reason` is shown to the client."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status  # of HTTP
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """What a client brings along to open a connection. Nothing secret is shown."""

    # By lower-case name; one that comes several times is joined.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    bearer: str | None = field(default=None, repr=False)
    ticket: str | None = field(default=None, repr=False)
    is_known_origin: bool = False  # a page of the site, or of one listed by name
    address: str = ""  # of the client; empty when it cannot be known
    scope: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def has_credential(self) -> bool:
        """Whether the client means to be known, and not only a browser that adds its
        cookies to whatever a page asks."""
        return self.bearer is not None or self.ticket is not None


async def authenticate(
    scope: Mapping[str, Any], endpoint: EndpointPolicy | None = None
) -> Identity:
    """
    Return who opens the connection of `scope` to `endpoint`, None for the default one.

    Raise Refused with 401 for a credential that is not good and for nobody where
    nobody is let in, with 403 for a Host or Origin that is not allowed and for who may
    not use the endpoint, and with 429 for an address with too many failures.
    """
    handshake = read_handshake(scope)
    # In a thread: there the database and the cache may be waited for.
    workers = get_access_workers()
    return await workers.run(_enter, handshake, endpoint or EndpointPolicy())


def read_handshake(scope: Mapping[str, Any]) -> Handshake:
    """
    Return what the handshake brings along.

    Raise Refused when it contradicts itself, or its Host or Origin is not allowed.
    """
    headers = _read_headers(scope["headers"])
    host, origin = headers.get("host", ""), headers.get("origin")
    if not is_allowed_host(host):
        raise Refused(403, "This host is not served here")
    is_known = False
    if origin is not None:
        is_known = is_known_origin(origin, host, scope.get("scheme", "ws"))
        if not is_known and "*" not in get_settings().ALLOWED_ORIGINS:
            raise Refused(403, "This origin is not allowed")
    tokens = [
        name.removeprefix(_AUTH)
        for name in scope.get("subprotocols", ())
        if name.startswith(_AUTH)
    ]
    bearer = read_bearer(headers.get("authorization", ""))
    if bearer is not None:
        tokens.append(bearer)
    client = scope.get("client") or ("",)
    return Handshake(
        headers=headers,
        cookies=parse_cookie(headers.get("cookie", "")),
        bearer=_only(tokens),
        ticket=_only(_read_tickets(scope.get("query_string", b""))),
        is_known_origin=is_known,
        address=address_of(client[0], headers.get("x-forwarded-for", "")),
        scope=scope,
    )


def _enter(handshake: Handshake, endpoint: EndpointPolicy) -> Identity:
    """Return who it is, after all that may be against it."""
    if handshake.has_credential and is_throttled(handshake.address):
        raise Refused(429, "Too many failed attempts: try again in a minute")
    try:
        identity = _identify(handshake)
    except Refused as exc:
        if exc.status == 401:
            count_failure(handshake.address)
        raise
    identity = replace(identity, endpoint=endpoint)
    admit(identity)
    return identity


def _identify(handshake: Handshake) -> Identity:
    from django.contrib.auth.models import AnonymousUser

    found: list[Identity] = []
    for path in get_settings().AUTHENTICATORS:
        one: Identity | None = import_string(path)(handshake)
        if one is not None:
            found.append(one)
    if handshake.has_credential and all(i.credential == "session" for i in found):
        # Going on without it would make somebody else of who meant to be known.
        raise Refused(401, "This credential is not known here")
    if not found:
        return Identity(AnonymousUser())
    # Whichever allows less: a token never stands back behind a cookie.
    identity = max(found, key=lambda one: one.token is not None)
    for other in found:
        if other.user != identity.user or other.token not in (None, identity.token):
            raise Refused(401, "These credentials are not of one and the same")
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
    found: Identity | None
    if identity.renew is not None:
        found = identity.renew()
    else:
        user = _look_up(identity.user)
        found = None if user is None else replace(identity, user=user)
    if found is None or (
        found.expires_at is not None and found.expires_at <= timezone.now()
    ):
        return None
    return replace(found, endpoint=identity.endpoint)


def _look_up(user: Any) -> Any:
    """Return the user as it is now, None when it was deleted or deactivated."""
    manager = getattr(user.__class__, "_default_manager", None)
    if manager is None:
        # The anonymous one, or one that is known without a database.
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
    if any(not name.startswith(_AUTH) for name in offered):
        raise Refused(400, "The subprotocol to offer is mcp")
    return None


def read_bearer(authorization: str) -> str | None:
    """Return the token of an Authorization header, None when that has another scheme:
    it is the site's, such as that of a proxy in front of it."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def without_credentials(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return `scope` without tokens and tickets: whoever logs it later shows none."""
    return {
        **scope,
        "headers": [
            (name, value)
            for name, value in scope["headers"]
            if name.lower() != b"authorization"
        ],
        "subprotocols": [
            name for name in scope.get("subprotocols", ()) if not name.startswith(_AUTH)
        ],
        "query_string": b"&".join(
            pair
            for pair in scope.get("query_string", b"").split(b"&")
            if unquote_to_bytes(pair.partition(b"=")[0]) != b"ticket"
        ),
    }


def _read_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by lower-case name. Raise Refused when one that decides
    comes twice."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key not in headers:
            headers[key] = text
        elif key in ("host", "origin", "authorization"):
            raise Refused(400, f"More than one {key} header")
        else:
            # RFC 9113, 8.2.3: HTTP/2 may split the cookies into several fields.
            headers[key] += f"; {text}" if key == "cookie" else f", {text}"
    return headers


def _read_tickets(query: bytes) -> list[str]:
    return parse_qs(query.decode("latin-1"), keep_blank_values=True).get("ticket", [])


def _only(credentials: list[str]) -> str | None:
    """Return the one there is, None for none. Raise Refused for several, and for what
    can be none."""
    if not credentials:
        return None
    first = credentials[0]
    if any(other != first for other in credentials):
        raise Refused(401, "These credentials are not of one and the same")
    if len(first) > _LONGEST:
        raise Refused(401, "This credential is not known here")
    return first
