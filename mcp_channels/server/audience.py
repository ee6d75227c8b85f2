"""
The connections of one event loop, and who of them hears of what, and when.

Events are collected for a moment, so that a busy site does not tell its clients all the
time, and each connection is asked but for those that it may want.
"""

import asyncio
import logging
import math
from collections.abc import Iterable
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Final

from mcp_channels.server.events import (
    KINDS,
    AccessChanged,
    Change,
    Event,
    EverythingChanged,
    News,
    PrimitivesChanged,
    ResourceUpdated,
)

if TYPE_CHECKING:
    from mcp_channels.server.context import Session
    from mcp_channels.server.subscriptions import Subscriptions

__all__ = ["Audience"]

logger = logging.getLogger("mcp_channels")

# Seconds that news are collected: the first ones only for as long as the rows of one
# save take to come, and what follows them until the time is over.
_COLLECTED: Final = 0.002
_BETWEEN: Final = 0.05
# How many connections are told before others have their turn: a few milliseconds.
_AT_ONCE: Final = 200


class Audience:
    """Make it in the event loop that it is for, and use it nowhere else."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.sessions: dict[str, Session] = {}  # by their ids
        # How many events came that change what somebody may see.
        self.heard = 0
        # When the last one came that says so of somebody, by monotonic().
        self.heard_at = -math.inf
        self._watchers: dict[str, dict[Session, None]] = {}  # sets that keep their
        self._news: dict[News, None] = {}  # order
        self._due: dict[Subscriptions, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._last_told = self.loop.time() - _BETWEEN

    def add(self, session: "Session") -> None:
        """Let a connection hear of events, until discard()."""
        self.sessions[session.id] = session

    def discard(self, session: "Session") -> None:
        """Let a connection hear of nothing more."""
        self.sessions.pop(session.id, None)
        self._due.pop(session.subscriptions, None)

    def watch(self, session: "Session", uris: Iterable[str]) -> None:
        """Let a connection hear of these URIs."""
        for uri in uris:
            self._watchers.setdefault(uri, {})[session] = None

    def unwatch(self, session: "Session", uris: Iterable[str]) -> None:
        """Let it hear of them no more."""
        for uri in uris:
            watchers = self._watchers.get(uri, {})
            watchers.pop(session, None)
            if not watchers:
                self._watchers.pop(uri, None)

    def receive(self, event: Event) -> None:
        """Tell everybody of `event`, soon, who wants to hear of it and may."""
        if isinstance(event, EverythingChanged):
            self.receive(AccessChanged("everybody"))
            for kind in KINDS:
                self.receive(PrimitivesChanged(kind))
            for uri in list(self._watchers):
                self.receive(ResourceUpdated(uri))
        elif isinstance(event, AccessChanged):
            # At once: whatever is asked from now on has to wait for the decision.
            self.heard += 1
            self.heard_at = monotonic()
            self._notify(list(self.sessions.values()), event)
        elif isinstance(event, PrimitivesChanged) or event.uri in self._watchers:
            self.heard += isinstance(event, PrimitivesChanged)
            self._news[event] = None
            self._schedule()

    def schedule(self, subscriptions: "Subscriptions") -> None:
        """Have tell() of it called soon."""
        self._due[subscriptions] = None
        self._schedule()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is to be told."""
        return not self._news and not self._due

    def shut(self) -> None:
        """Forget everything, because the last connection has gone."""
        self._news.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        if self._timer is None:
            at = max(self.loop.time() + _COLLECTED, self._last_told + _BETWEEN)
            self._timer = self.loop.call_at(at, self._tell)

    def _tell(self) -> None:
        news, self._news = self._news, {}
        for event in news:
            if isinstance(event, ResourceUpdated):
                listeners = list(self._watchers.get(event.uri, ()))
            else:
                listeners = list(self.sessions.values())
            self._notify(listeners, event)
        for subscriptions in list(islice(self._due, _AT_ONCE)):
            self._due.pop(subscriptions, None)
            try:
                subscriptions.tell()
            except Exception:
                logger.exception("Subscriber not told")
        self._last_told = self.loop.time()
        # The rest have their turn after whatever has waited meanwhile.
        self._timer = self.loop.call_later(0, self._tell) if self._due else None

    def _notify(self, sessions: "Iterable[Session]", event: Change) -> None:
        for session in sessions:
            try:
                session.notify(event)
            except Exception:
                # A bug with one connection is not the others'.
                logger.exception("Connection not told")
