"""
What a client wants to hear of, and is told.

A client with a handshake subscribes to URIs and is told of changed lists unasked; MCP
2026-07-28 opens listens, each with a filter, and tags what it sends for one with the
listen's id. MCP 2025-11-25, server/resources; MCP 2026-07-28,
basic/patterns/subscriptions.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

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
    Change,
    Kind,
    News,
    PrimitivesChanged,
    ResourceUpdated,
)
from mcp_channels.server.resources import ResourceTemplate, is_readable

if TYPE_CHECKING:
    from mcp_channels.server.context import Session

__all__ = ["Subscriptions", "listen", "subscribe", "unsubscribe"]

logger = logging.getLogger("mcp_channels")

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
        self._pending: dict[Change, None] = {}  # a set that keeps its order
        self._held: dict[News, None] = {}  # until the handshake is over
        self._is_looking = False
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
            self._session.audience.watch(self._session, [uri])

    def unsubscribe(self, uri: str) -> None:
        """Tell of `uri` no more."""
        self._uris.pop(uri, None)
        self._unwatch([uri])

    async def listen(self, request: Request, wanted: SubscriptionFilter) -> None:
        """
        Tell of what `wanted` names and is offered, until end() or a cancellation.

        Raise InvalidRequest when there are too many.
        """
        listen = await self._open(request, wanted)
        self._listens[request] = listen
        self._session.audience.watch(self._session, listen.uris)
        # "The first message MUST be the acknowledgement": nothing can come between.
        self._session.connection.send_acknowledged(request, listen.honoured)
        self._session.wake()
        try:
            await listen.ended.wait()
        finally:
            del self._listens[request]
            self._unwatch(listen.uris)

    def end(self) -> None:
        """Let every listen end with its result."""
        for listen in self._listens.values():
            listen.ended.set()

    # Of the site

    def notify(self, event: Change) -> None:
        """Tell the client of `event`, soon, if it wants to hear of it. Call it in the
        event loop."""
        self._pending[event] = None
        self._session.audience.schedule(self)

    def tell(self) -> None:
        """Tell the client of what has happened, and may be told; at once, unless that
        has to be looked up."""
        if self._is_looking:
            return  # it goes on when that is over
        events = list(self._pending)
        self._pending.clear()
        if any(map(self._must_look, events)):
            self._is_looking = True
            self._session.do(self._look_and_tell(events))
        else:
            for item in _news_of(events):
                self._deliver(item, is_gone=False)
            self._session.wake()

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
        audience = self._session.audience
        for uris in (self._uris, *(listen.uris for listen in self._listens.values())):
            audience.unwatch(self._session, uris)

    def _unwatch(self, uris: Iterable[str]) -> None:
        listens = self._listens.values()
        unwanted = [
            uri
            for uri in uris
            if uri not in self._uris and not any(uri in one.uris for one in listens)
        ]
        self._session.audience.unwatch(self._session, unwanted)

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

    def _concerns_permissions(self, event: Change) -> bool:
        """Tell whether the catalogue may be out of date, for `event`."""
        if not isinstance(event, ResourceUpdated):
            return True
        found = self._session.catalogue.find_resource(event.uri)
        return found is not None and found.resource.needs_permission

    def _must_look(self, event: Change) -> bool:
        """Tell whether anything has to be looked up before `event` can be told."""
        return self._may_be_gone(event) or self._concerns_permissions(event)

    def _may_be_gone(self, event: Change) -> bool:
        """Tell whether only reading says that what `event` is about is still there."""
        if not isinstance(event, ResourceUpdated):
            return False
        found = self._session.catalogue.find_resource(event.uri)
        return found is not None and isinstance(found.resource, ResourceTemplate)

    async def _look_and_tell(self, events: list[Change]) -> None:
        try:
            for item in await self._look(events):
                self._deliver(item, is_gone=await self._is_gone(item))
                self._session.wake()
        except Exception:
            # The database may be back soon; nobody is told of what was not checked.
            logger.exception("Subscribers not told yet")
            self._pending = dict.fromkeys([*events, *self._pending])
            self._try_again()
        finally:
            self._is_looking = False
            if self._pending and self._timer is None:
                self._session.audience.schedule(self)

    async def _look(self, events: list[Change]) -> Collection[News]:
        """See to it that the catalogue is that of now, and return what is to be told
        of it."""
        news = dict.fromkeys(_news_of(events))
        if any(map(self._concerns_permissions, events)):
            found = list(map(PrimitivesChanged, await self._session.refresh()))
            if any(isinstance(event, AccessChanged) for event in events):
                news.update(dict.fromkeys(found))
            else:
                # Found on the way: the event that says so may be on its way as well,
                # and both are one.
                self._pending.update({e: None for e in found if e not in news})
        # It may be over, with what was seen.
        return {} if self._session.connection.closing is not None else news

    def _try_again(self) -> None:
        if self._timer is None:
            self._timer = self._session.audience.loop.call_later(_RETRIED, self._retry)

    def _retry(self) -> None:
        self._timer = None
        self._session.audience.schedule(self)

    async def _is_readable(self, request: Request, uri: str) -> bool:
        return await is_readable(Context(request, self._session), uri)

    async def _is_gone(self, event: News) -> bool:
        """Tell whether it is the last of its URI, which cannot be read any more by
        those who subscribed to it."""
        if isinstance(event, PrimitivesChanged) or not self._may_be_gone(event):
            return False
        # All of them are one identity's: it does not matter for which it is asked.
        requests = [self._uris[event.uri]] if event.uri in self._uris else []
        requests += [listen.request for listen in self._listens_for(event)]
        return bool(requests) and not await self._is_readable(requests[0], event.uri)

    def _deliver(self, event: News, *, is_gone: bool) -> None:
        """Send what is due for `event`; again later when there is no room for it.
        `is_gone` says that it is the last of its URI."""
        connection = self._session.connection
        # What may be seen is decided now, not when it was subscribed to.
        if isinstance(event, ResourceUpdated) and not self._is_seen(event.uri):
            for listen in self._listens_for(event):
                # It was acknowledged for more than it gets: a new one will not be.
                listen.ended.set()
            return
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
            self._unwatch([event.uri])
        if not is_sent:
            # The outbox is full: news can wait, answers cannot.
            self._pending[event] = None
            self._try_again()

    def _is_seen(self, uri: str) -> bool:
        return self._session.catalogue.find_resource(uri) is not None


def _news_of(events: Iterable[Change]) -> list[News]:
    return [event for event in events if not isinstance(event, AccessChanged)]


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
