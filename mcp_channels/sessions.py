"""Who is signed in to the site, by the session cookie or as a middleware says."""

from functools import partial
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    load_backend,
)
from django.utils.crypto import constant_time_compare

from mcp_channels.auth import Handshake, Refused
from mcp_channels.models import digest_of
from mcp_channels.server.permissions import Identity

__all__ = ["authenticate", "find_session_user", "identify_session"]


def authenticate(handshake: Handshake) -> Identity | None:
    """
    Return the user of the session, or the one that a middleware put into the scope.

    Raise Refused with 403 when it came with a cookie, and from a page of nobody knows
    where.
    """
    user = handshake.scope.get("user")
    if user is not None:
        identity = _identify_user(user, handshake.scope.get("session"))
    else:
        key = handshake.cookies.get(django_settings.SESSION_COOKIE_NAME)
        identity = None if key is None else identify_session(key)
    # A browser adds the cookie to what a page asks, whoever wrote the page: "*" as an
    # origin would let every one of them act as its visitor.
    is_by_page = "cookie" in handshake.headers
    if identity is None or handshake.is_known_origin or not is_by_page:
        return identity
    if handshake.has_credential:
        # Then the cookie says nothing.
        return None
    raise Refused(403, "A session cookie needs the Origin of a known site")


def identify_session(key: str) -> Identity | None:
    """Return the identity of a session, None when it is over or nobody's."""
    user = find_session_user(key)
    if user is None:
        return None
    return Identity(
        user,
        session=digest_of(key),
        credential="session",
        renew=partial(identify_session, key),
    )


def find_session_user(key: str) -> Any:
    """Return the user who is signed in with a session, None when there is none, or not
    any more."""
    if not apps.is_installed("django.contrib.sessions"):
        return None
    session = import_module(django_settings.SESSION_ENGINE).SessionStore(key)
    try:
        backend, user_id = session[BACKEND_SESSION_KEY], session[SESSION_KEY]
    except KeyError:
        return None
    if backend not in django_settings.AUTHENTICATION_BACKENDS:
        return None
    user: Any = load_backend(backend).get_user(user_id)
    if user is None or not user.is_active:
        return None
    # As Django does: who has changed the password is out of all other sessions.
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    own = session.get(HASH_SESSION_KEY, "")
    return user if any(constant_time_compare(own, other) for other in hashes) else None


def _identify_user(user: Any, session: Any) -> Identity | None:
    if not user.is_authenticated or not getattr(user, "is_active", True):
        return None
    key = getattr(session, "session_key", None)
    if key is not None:
        return Identity(
            user,
            session=digest_of(key),
            credential="session",
            renew=partial(identify_session, key),
        )
    return Identity(user, credential="session")
