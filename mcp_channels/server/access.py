"""
Who is behind a connection and what that somebody sees, for as long as it lasts.

Decided when the connection is opened, and again when something happens that concerns
it; a call then only looks at what was decided.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from django.utils import timezone

from mcp_channels.protocol.connection import Request
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.events import AccessChanged, Kind, Subject
from mcp_channels.server.permissions import Identity
from mcp_channels.server.prompts import find_prompt
from mcp_channels.server.resources import find_resource
from mcp_channels.server.tools import find_tool

if TYPE_CHECKING:
    from mcp_channels.server.dispatch import Dispatcher

__all__ = ["Access", "Renew", "Renewed", "check_visible", "concerns"]

Renewed: TypeAlias = tuple[Identity, Catalogue]

# Returns what holds now, None when nothing does any more. It goes by no policy that was
# known before the time of monotonic() it is given, and looks the identity itself up
# again if so told.
Renew: TypeAlias = Callable[[Identity, float, bool], Awaitable[Renewed | None]]

# What a request may be about, which may be hidden while it is worked on.
_FINDERS: Final[Mapping[str, Callable[[Catalogue, Any], object]]] = {
    "prompts/get": lambda catalogue, params: find_prompt(catalogue, params.name),
    "resources/read": lambda catalogue, params: find_resource(catalogue, params.uri),
    "tools/call": lambda catalogue, params: find_tool(catalogue, params.name),
}

# Seconds a timer is set for at most: far ones are lost when the machine sleeps.
_LONGEST_WAIT: Final = 3_600.0


def concerns(event: AccessChanged, identity: Identity) -> bool:
    """Tell whether `event` may have changed what `identity` may do."""
    if event.subject == "user":
        return str(identity.user.pk) == event.key
    if event.subject == "token":
        return identity.token is not None and identity.token.pk == event.key
    if event.subject == "session":
        return identity.session == event.key
    return True


def check_visible(catalogue: Catalogue, request: Request) -> None:
    """Raise the ProtocolError that `request` is answered with when what it is about is
    not in `catalogue`."""
    find = _FINDERS.get(request.method)
    if find is not None:
        find(catalogue, request.params)


class Access:
    """
    What one connection may do.

    While it is not `is_current`, something has happened that was not looked at yet.
    """

    def __init__(
        self,
        session: "Dispatcher",
        identity: Identity,
        catalogue: Catalogue,
        renew: Renew,
    ) -> None:
        self.identity = identity
        self.catalogue = catalogue
        self.is_current = True
        self._session = session
        self._renew = renew
        self._refreshing = asyncio.Lock()
        self._since = -math.inf
        self._due: set[Subject] = set()  # what was heard of and not looked at
        self._became_current = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._watch_expiry()

    def notify(self, event: AccessChanged) -> bool:
        """Hear of `event`; tell whether a refresh() is due."""
        if not concerns(event, self.identity):
            return False
        if event.subject == "session":
            # A session that is over never comes back, and whoever ends it may not have
            # deleted it yet.
            self._session.revoke()
            return False
        self.is_current = False
        self._became_current.clear()
        self.expect(event.subject)
        return True

    def expect(self, subject: Subject) -> None:
        """Have the next refresh() look at this, whether anybody waits for it or not."""
        self._due.add(subject)
        if subject in ("policy", "everybody"):
            self._since = monotonic()

    async def wait_until_current(self) -> None:
        """Wait for the refresh() that is due."""
        await self._became_current.wait()

    async def refresh(self) -> Collection[Kind]:
        """
        Decide anew, and return the kinds of which something else is seen than before.

        The connection ends when nothing may be seen any more. Raise what looking
        raises, such as DatabaseError: then it has to be tried again.
        """
        # One after the other, lest an older one be found last.
        async with self._refreshing:
            before, due, self._due = self.catalogue, self._due, set()
            try:
                # What only the policy says differently is the same user's.
                renewed = await self._renew(
                    self.identity, self._since, due != {"policy"}
                )
            except BaseException:
                self._due |= due
                raise
            if renewed is None:
                self._session.revoke()
                return []
            self.identity, self.catalogue = renewed
            self._watch_expiry()
            if not self._due:
                self.is_current = True
                self._became_current.set()
            return self.catalogue.differences(before)

    def shut(self) -> None:
        """Watch no more, because the channel is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch_expiry(self) -> None:
        self.shut()
        expires_at = self.identity.expires_at
        if expires_at is not None:
            left = (expires_at - timezone.now()).total_seconds()
            self._timer = self._session.loop.call_later(
                min(max(left, 0.0), _LONGEST_WAIT), self._look_at_expiry
            )

    def _look_at_expiry(self) -> None:
        expires_at = self.identity.expires_at
        if expires_at is not None and expires_at <= timezone.now():
            self._session.notify(AccessChanged("everybody"))
        else:
            self._watch_expiry()
