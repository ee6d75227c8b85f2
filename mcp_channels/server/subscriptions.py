"""
Events, and who is told of them.

A client with a handshake subscribes to URIs and is told of changed lists unasked; MCP
2026-07-28 opens listens, each with a filter, and tags what it sends for one with the
listen's id. MCP 2025-11-25, server/resources; MCP 2026-07-28,
basic/patterns/subscriptions.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import UnsetType

from mcp_channels.protocol.connection import Request
from mcp_channels.protocol.envelope import SUBSCRIPTION_ID
from mcp_channels.protocol.errors import InvalidRequest, ResourceNotFound
from mcp_channels.protocol.methods import (
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    UnsubscribeRequestParams,
)
from mcp_channels.protocol.types import (
    EmptyResult,
    SubscriptionFilter,
    SubscriptionsListenResult,
)
from mcp_channels.server.context import Context
from mcp_channels.server.events import (
    KINDS,
    AccessChanged,
    Event,
    Kind,
    PrimitivesChanged,
    ResourceUpdated,
)
from mcp_channels.server.resources import is_readable

if TYPE_CHECKING:
    from mcp_channels.server.context import Session

__all__ = ["Subscriptions", "listen", "subscribe", "unsubscribe"]

logger = logging.getLogger("mcp_channels")

# What a client can be told.
News: TypeAlias = PrimitivesChanged | ResourceUpdated

# Seconds that events are collected: long enough to coalesce the rows of one save, too
# short to be noticed.
_COLLECTED: Final = 0.05
# Seconds until a client whose outbox was full is told again.
_RETRIED: Final = 1.0


@dataclass(slots=True, eq=False)
class _Listen:
    """One open subscriptions/listen."""

    request: Request
    honoured: SubscriptionFilter
    uris: set[str]
    ended: asyncio.Event

    def wants(self, event: News) -> bool:
        if isinstance(event, ResourceUpdated):
            return event.uri in self.uris
        return getattr(self.honoured, f"{event.kind}_list_changed") is True


class Subscriptions:
    """What one connection wants to hear of: at most `limit` URIs and listens, None
    for any number."""

    def __init__(self, session: "Session", *, limit: int | None) -> None:
        self._session = session
        self._limit = limit
        # Of a client with a handshake, with the request that subscribed.
        self._uris: dict[str, Request] = {}
        self._listens: dict[Request, _Listen] = {}
        self._pending: dict[Event, None] = {}  # a set that keeps its order
        self._held: dict[News, None] = {}  # until the handshake is over
        self._timer: asyncio.TimerHandle | None = None

    # Of the client

    async def subscribe(self, request: Request, uri: str) -> None:
        """Tell of `uri` from now on. Raise ResourceNotFound when it does not exist,
        InvalidRequest when there are too many."""
        if not await self._is_readable(request, uri):
            raise ResourceNotFound(uri)
        if uri not in self._uris:
            self._check_limit(1)
            self._uris[uri] = request

    def unsubscribe(self, uri: str) -> None:
        """Tell of `uri` no more."""
        self._uris.pop(uri, None)

    async def listen(self, request: Request, wanted: SubscriptionFilter) -> None:
        """
        Tell of what `wanted` names and is offered, until end() or a cancellation.

        Raise InvalidRequest when there are too many.
        """
        listen = await self._open(request, wanted)
        self._listens[request] = listen
        # "The first message MUST be the acknowledgement": nothing can come between.
        self._session.connection.send_acknowledged(request, listen.honoured)
        self._session.wake()
        try:
            await listen.ended.wait()
        finally:
            del self._listens[request]

    def end(self) -> None:
        """Let every listen end with its result."""
        for listen in self._listens.values():
            listen.ended.set()

    # Of the site

    def notify(self, event: Event) -> None:
        """Tell the client of `event`, soon, if it wants to hear of it. Call it in the
        event loop."""
        # What nobody wants is not kept, so that a site that publishes much of it costs
        # a connection nothing. A changed list matters to the catalogue, too.
        if isinstance(event, ResourceUpdated) and not (
            event.uri in self._uris or any(self._listens_for(event))
        ):
            return
        self._pending[event] = None
        self._schedule(_COLLECTED)

    def release(self) -> None:
        """Tell what was held back until the handshake was over."""
        for event in self._held:
            self.notify(event)
        self._held.clear()

    def shut(self) -> None:
        """Forget everything, because the channel is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._pending.clear()
        self._held.clear()

    async def _open(self, request: Request, wanted: SubscriptionFilter) -> _Listen:
        asked = wanted.resource_subscriptions
        uris = [] if isinstance(asked, UnsetType) else list(dict.fromkeys(asked))
        # Before the URIs are looked for: a frame holds very many.
        self._check_limit(1 + len(uris))
        # Missing and hidden look the same: neither is acknowledged.
        uris = [uri for uri in uris if await self._is_readable(request, uri)]
        self._check_limit(1 + len(uris))
        honoured = SubscriptionFilter()
        for kind in KINDS:
            name = f"{kind}_list_changed"
            if getattr(wanted, name) is True and self._offers(kind):
                setattr(honoured, name, True)
        if uris:
            honoured.resource_subscriptions = uris
        return _Listen(request, honoured, set(uris), asyncio.Event())

    def _offers(self, kind: Kind) -> bool:
        offered = self._session.connection.description.offered
        return f"{kind}.listChanged" in offered

    def _listens_for(self, event: News) -> list[_Listen]:
        # One that was cancelled is closed at once, but its task goes a little later.
        is_open = self._session.connection.is_open
        return [
            listen
            for listen in self._listens.values()
            if listen.wants(event) and is_open(listen.request)
        ]

    def _check_limit(self, more: int) -> None:
        if self._limit is None:
            return
        count = len(self._uris) + more
        count += sum(1 + len(listen.uris) for listen in self._listens.values())
        if count > self._limit:
            raise InvalidRequest(f"There may be {self._limit} subscriptions")

    def _schedule(self, seconds: float) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._start_telling)

    def _start_telling(self) -> None:
        self._timer = None
        self._session.do(self._tell())

    async def _tell(self) -> None:
        events = list(self._pending)
        self._pending.clear()
        news = {event: None for event in events if not isinstance(event, AccessChanged)}
        if any(self._concerns_permissions(event) for event in events):
            try:
                changed = await self._session.refresh()
                news.update(dict.fromkeys(map(PrimitivesChanged, changed)))
            except Exception:
                # The database may be back soon; nobody is told of what was not checked.
                logger.exception("Subscribers not told yet")
                self._pending = dict.fromkeys([*events, *self._pending])
                self._schedule(_RETRIED)
                return
            if self._session.connection.closing is not None:
                return
        for item in news:
            if not await self._deliver(item):
                # The outbox is full: news can wait, answers cannot.
                self._pending[item] = None
        if self._pending:
            self._schedule(_RETRIED)
        self._session.wake()

    def _concerns_permissions(self, event: Event) -> bool:
        """Tell whether the catalogue may be out of date, for `event`."""
        if not isinstance(event, ResourceUpdated):
            return True
        found = self._session.catalogue.find_resource(event.uri)
        return found is not None and found.resource.permission is not None

    async def _is_readable(self, request: Request, uri: str) -> bool:
        return await is_readable(Context(request, self._session), uri)

    async def _is_gone(self, uri: str) -> bool:
        """Tell whether `uri` cannot be read any more by those who subscribed to it."""
        # All of them are one identity's: it does not matter for which it is asked.
        requests = [self._uris[uri]] if uri in self._uris else []
        requests += [
            listen.request for listen in self._listens_for(ResourceUpdated(uri))
        ]
        return bool(requests) and not await self._is_readable(requests[0], uri)

    async def _deliver(self, event: News) -> bool:
        """Send what is due for `event`; False when some of it found no room."""
        connection = self._session.connection
        is_gone = False
        if isinstance(event, ResourceUpdated):
            # What may be seen is decided now, not when it was subscribed to.
            if self._session.catalogue.find_resource(event.uri) is None:
                for listen in self._listens_for(event):
                    # It was acknowledged for more than it gets: a new one will not be.
                    listen.ended.set()
                return True
            is_gone = await self._is_gone(event.uri)
        listens = self._listens_for(event)
        if isinstance(event, ResourceUpdated):
            send = partial(connection.send_resource_updated, event.uri)
            is_subscribed = event.uri in self._uris
        else:
            send = partial(connection.send_list_changed, event.kind)
            is_subscribed = self._offers(event.kind)
        is_sent = True
        handshake = connection.handshake
        if handshake is not None and is_subscribed:
            if handshake.is_complete:
                is_sent = send(None)
            else:
                self._held[event] = None
        for listen in listens:
            is_sent = send(listen.request) and is_sent
        if isinstance(event, ResourceUpdated) and is_gone and is_sent:
            # That it went is the last that is told of it: a row was deleted, or given
            # to somebody else.
            self._uris.pop(event.uri, None)
            for listen in listens:
                listen.uris.discard(event.uri)
        return is_sent


async def subscribe(context: Context, params: SubscribeRequestParams) -> EmptyResult:
    """Answer resources/subscribe. Raise ResourceNotFound for what does not exist."""
    await context.session.subscriptions.subscribe(context.request, params.uri)
    return EmptyResult()


async def unsubscribe(
    context: Context, params: UnsubscribeRequestParams
) -> EmptyResult:
    """Answer resources/unsubscribe, also for what was not subscribed to."""
    context.session.subscriptions.unsubscribe(params.uri)
    return EmptyResult()


async def listen(
    context: Context, params: SubscriptionsListenRequestParams
) -> SubscriptionsListenResult:
    """Answer subscriptions/listen, when it ends."""
    request = context.request
    await context.session.subscriptions.listen(request, params.notifications)
    return SubscriptionsListenResult(meta={SUBSCRIPTION_ID: request.id})
