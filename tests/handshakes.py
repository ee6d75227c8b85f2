"""Handshakes of clients, and what is made of them."""

from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore

from mcp_channels.auth import Refused, authenticate
from mcp_channels.server.permissions import EndpointPolicy

__all__ = [
    "SITE",
    "bearer",
    "cookie",
    "enter_now",
    "log_in",
    "make_scope",
    "status_now",
    "status_of",
]

SITE = (b"origin", b"http://testserver")


def make_scope(*headers: tuple[bytes, bytes], **scope: Any) -> dict[str, Any]:
    """Return a scope with these headers, and a Host if there is none."""
    if not any(name.lower() == b"host" for name, _ in headers):
        headers = ((b"host", b"testserver"), *headers)
    return {"type": "websocket", "path": "/ws", "headers": [*headers], **scope}


async def status_of(
    scope: dict[str, Any], endpoint: EndpointPolicy | None = None
) -> int | None:
    """Return the HTTP status of a refusal, None when `scope` is let in."""
    try:
        await authenticate(scope, endpoint)
    except Refused as exc:
        assert str(exc) == exc.reason
        return exc.status
    return None


# For tests that use the database themselves.
enter_now = async_to_sync(authenticate)
status_now = async_to_sync(status_of)


def log_in(user: Any, **data: Any) -> SessionStore:
    """Return a session as django.contrib.auth.login() leaves it."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = django_settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.update(data)
    session.save()
    return session


def cookie(session: SessionStore, name: str = "sessionid") -> tuple[bytes, bytes]:
    return b"cookie", f"csrftoken=x; {name}={session.session_key}".encode()


def bearer(token: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {token}".encode()
