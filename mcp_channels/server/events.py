"""
What happened on the site that connections may have to know.

Events are small and hold only text, so that they can go to other processes. They say
that something is other than before, never what it is now: whoever hears one looks.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

__all__ = [
    "KINDS",
    "AccessChanged",
    "Event",
    "Kind",
    "PrimitivesChanged",
    "ResourceUpdated",
]

Kind: TypeAlias = Literal["tools", "prompts", "resources"]
KINDS: Final = get_args(Kind)

Subject: TypeAlias = Literal["user", "token", "session", "policy", "everybody"]
_SUBJECTS: Final = get_args(Subject)


@dataclass(frozen=True, slots=True)
class PrimitivesChanged:
    """
    A list has other items than before, or says something else of them.

    Raise ValueError for a kind that has no list.
    """

    kind: Kind

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is none of {', '.join(KINDS)}.")


@dataclass(frozen=True, slots=True)
class ResourceUpdated:
    """Reading this URI gives something else than before."""

    uri: str


@dataclass(frozen=True, slots=True)
class AccessChanged:
    """
    Somebody may do something else than before, or nothing any more.

    `key` is the primary key of a user or of an access token, the digest of a session
    that is over, or the revision of the policy; "everybody" has none. Raise ValueError
    for an unknown subject.
    """

    subject: Subject
    key: str = ""

    def __post_init__(self) -> None:
        if self.subject not in _SUBJECTS:
            raise ValueError(f"{self.subject!r} is none of {', '.join(_SUBJECTS)}.")


Event: TypeAlias = AccessChanged | PrimitivesChanged | ResourceUpdated
