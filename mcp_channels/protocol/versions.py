"""The five protocol revisions, the two eras, and choosing one."""

from enum import Enum
from typing import Final

__all__ = [
    "HANDSHAKE_REVISIONS",
    "LATEST_HANDSHAKE",
    "MODERN_REVISIONS",
    "Era",
    "Revision",
    "negotiate",
]


class Era(Enum):
    """How a revision agrees on itself: once per connection, or in each request."""

    LEGACY = "legacy"  # `initialize` first; state belongs to the connection
    MODERN = "modern"  # every request carries its envelope; no state


class Revision(Enum):
    """A published revision of the protocol, oldest first."""

    V2024_11_05 = "2024-11-05"
    V2025_03_26 = "2025-03-26"
    V2025_06_18 = "2025-06-18"
    V2025_11_25 = "2025-11-25"
    V2026_07_28 = "2026-07-28"

    # Members are singletons; the hash that enum gives them is computed in Python, and
    # tables by revision are looked into for every message.
    __hash__ = object.__hash__

    era: Era
    rank: int  # position in time; revisions are an enumeration, not a number

    def __init__(self, text: str) -> None:
        self.rank = len(type(self).__members__)
        self.era = Era.LEGACY if text < "2026" else Era.MODERN

    @classmethod
    def find(cls, text: object) -> "Revision | None":
        """Return the revision that `text` names exactly, None for anything else."""
        return _BY_TEXT.get(text) if isinstance(text, str) else None


_BY_TEXT: Final = {revision.value: revision for revision in Revision}

HANDSHAKE_REVISIONS: Final = tuple(r for r in Revision if r.era is Era.LEGACY)
MODERN_REVISIONS: Final = tuple(r for r in Revision if r.era is Era.MODERN)
LATEST_HANDSHAKE: Final = HANDSHAKE_REVISIONS[-1]


def negotiate(requested: str) -> Revision:
    """
    Choose the revision of a connection from what `initialize` asks for.

    An unknown or modern revision is answered with the newest handshake revision;
    whether to go on is the client's decision. MCP 2025-11-25, basic/lifecycle,
    version negotiation.
    """
    revision = Revision.find(requested)
    if revision is None or revision.era is Era.MODERN:
        return LATEST_HANDSHAKE
    return revision
