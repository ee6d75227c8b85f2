"""Who comes with an access token, for as long as that is good."""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Final

from django.db.models import Q
from django.utils import timezone

from mcp_channels.auth import Handshake, Refused
from mcp_channels.models import AccessToken, digest_of, is_token
from mcp_channels.server.permissions import Identity, TokenGrant

__all__ = ["authenticate", "identify_token", "note_use"]

# A connection that is open for a year does not write a row for every call.
_NOTED: Final = timedelta(minutes=1)


def authenticate(handshake: Handshake) -> Identity | None:
    """Return the user of an access token, and what that lets through. Raise Refused
    with 401 when it is none, or is not good any more."""
    if handshake.bearer is None or not is_token(handshake.bearer):
        return None
    identity = identify_token(digest_of(handshake.bearer))
    if identity is None or identity.token is None:
        # Unknown, expired and revoked look the same.
        raise Refused(401, "This credential is not known here")
    note_use([identity.token.pk])
    return identity


def identify_token(digest: str) -> Identity | None:
    """Return the identity of the token with this digest, None when nobody may use it
    any more."""
    token = AccessToken.objects.find_by_digest(digest)
    if token is None or not token.user.is_active:
        return None
    ends = [token.expires_at]
    if digest != token.digest:
        ends.append(token.previous_expires_at)
    return Identity(
        token.user,
        token=TokenGrant(
            pk=str(token.pk),
            name=token.name,
            endpoints=frozenset(token.endpoints),
            read_only=token.read_only,
            patterns=tuple(token.patterns),
            rate=token.rate,
        ),
        expires_at=min((end for end in ends if end is not None), default=None),
        credential="token",
        renew=partial(identify_token, digest),
    )


def note_use(keys: Iterable[str]) -> None:
    """Note that tokens are in use, once a minute."""
    now = timezone.now()
    AccessToken.objects.filter(
        Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - _NOTED), pk__in=keys
    ).update(last_used_at=now)
