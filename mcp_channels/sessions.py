"""Who is signed in to the site, by the session cookie or as a middleware says."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    load_backend,
)
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from mcp_channels.auth import Handshake, Refused
from mcp_channels.models import digest_of
from mcp_channels.server.permissions import Identity

__all__ = ["Session", "authenticate", "find_living"]

# Keys of one query: databases differ in how many they take.
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Session:
    """A session, which can be asked whose it is now."""

    key: str = field(repr=False)

    def __call__(self) -> Identity | None:
        """Return its identity, None when it is over or nobody's."""
        user = _find_user(self.key)
        return None if user is None else self.identify(user)

    def identify(self, user: Any) -> Identity:
        """Return the identity of `user`, who is signed in with it."""
        digest = digest_of(self.key)
        return Identity(user, session=digest, credential="session", renew=self)


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
        identity = None if key is None else Session(key)()
    # A browser adds the cookie to what a page asks, whoever wrote the page: "*" as an
    # origin would let every one of them act as its visitor.
    is_by_page = "cookie" in handshake.headers
    if identity is None or handshake.is_known_origin or not is_by_page:
        return identity
    if handshake.has_credential:
        # Then the cookie says nothing.
        return None
    raise Refused(403, "A session cookie needs the Origin of a known site")


def find_living(keys: Iterable[str]) -> set[str]:
    """Return the keys of sessions that are not over."""
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    keys = list(keys)
    if not hasattr(store, "get_model_class"):
        return {key for key in keys if store(key).load()}
    living = store.get_model_class().objects.filter(expire_date__gt=timezone.now())
    found: set[str] = set()
    for start in range(0, len(keys), _AT_ONCE):
        part = living.filter(session_key__in=keys[start : start + _AT_ONCE])
        found.update(part.values_list("session_key", flat=True))
    return found


def _find_user(key: str) -> Any:
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
        return Session(key).identify(user)
    return Identity(user, credential="session")
