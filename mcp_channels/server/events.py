"""
What happened on the site that connections may have to know.

Events are small, so that they can go to other processes. News say that something is
other than before, never what it is now: whoever hears one looks. So news that come
twice, late or in another order do no harm. A new kind of event is a class here and a
name in `Event`.
"""

from collections.abc import Hashable
from typing import Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Raw, Struct

__all__ = [
    "KINDS",
    "AccessChanged",
    "Change",
    "Event",
    "EverythingChanged",
    "Kind",
    "News",
    "PrimitivesChanged",
    "ResourceUpdated",
    "Subject",
    "decode_event",
    "encode_event",
]

Kind: TypeAlias = Literal["tools", "prompts", "resources"]
KINDS: Final = get_args(Kind)

Subject: TypeAlias = Literal["user", "token", "session", "policy", "everybody"]
_SUBJECTS: Final = get_args(Subject)


class _Event(Struct, frozen=True, tag=True):
    @property
    def merges_with(self) -> Hashable:
        """What waits to be sent under the same key is replaced by the newer one."""
        return self


class PrimitivesChanged(_Event, frozen=True):
    """
    A list has other items than before, or says something else of them.

    Raise ValueError for a kind that has no list.
    """

    kind: Kind

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is none of {', '.join(KINDS)}.")


class ResourceUpdated(_Event, frozen=True):
    """
    Reading this URI gives something else than before.

    Raise TypeError for what is no text.
    """

    uri: str

    def __post_init__(self) -> None:
        if not isinstance(self.uri, str):
            raise TypeError(f"{self.uri!r} is no URI: it must be a string.")


class AccessChanged(_Event, frozen=True):
    """
    Somebody may do something else than before, or nothing any more.

    `key` is the primary key of a user or of an access token, or the digest of a session
    that is over; "policy", for what the rows of the admin say, and "everybody" have
    none. Raise ValueError for an unknown subject.
    """

    subject: Subject
    key: str = ""

    def __post_init__(self) -> None:
        if self.subject not in _SUBJECTS:
            raise ValueError(f"{self.subject!r} is none of {', '.join(_SUBJECTS)}.")


class EverythingChanged(_Event, frozen=True):
    """Nobody knows what has changed, since events were lost."""


# What a client can be told.
News: TypeAlias = PrimitivesChanged | ResourceUpdated
# What a connection has to look at.
Change: TypeAlias = AccessChanged | News
Event: TypeAlias = Change | EverythingChanged

_decode: Final = msgspec.json.Decoder(Event).decode


def encode_event(event: Event) -> bytes:
    """Return `event` as JSON."""
    return msgspec.json.encode(event)


def decode_event(data: bytes | Raw) -> Event | None:
    """Return the event that encode_event() made `data` of; None when it is of a kind
    that is not known here, or no event at all."""
    try:
        event: Event = _decode(data)
    except msgspec.DecodeError:
        return None
    return event
