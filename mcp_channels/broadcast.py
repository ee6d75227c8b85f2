"""
News for clients: publish() takes an event to every connection that may want it.

    from mcp_channels import PrimitivesChanged, ResourceUpdated, publish

    publish(ResourceUpdated("shop://orders/5"))
"""

import asyncio
import threading
from typing import Final

from django.db import connections, transaction

from mcp_channels.server.dispatch import Dispatcher
from mcp_channels.server.events import Event

__all__ = ["join", "leave", "publish"]

# The connections of this process, by the event loop they live in.
_dispatchers: Final[dict[asyncio.AbstractEventLoop, set[Dispatcher]]] = {}
_changing: Final = threading.Lock()


def publish(event: Event, *, using: str = "default") -> None:
    """
    Tell every client of `event` that wants to hear of it and may.

    From any thread, and never waits. Inside a transaction of the database `using` the
    event is kept until the commit, so that nobody is told of what is not so yet; after
    a rollback nobody is told. Raise ConnectionDoesNotExist for an unknown database.
    """
    # on_commit() outside of a transaction opens a connection, which an event loop may
    # not do.
    if connections[using].in_atomic_block:
        transaction.on_commit(lambda: _deliver(event), using=using)
    else:
        _deliver(event)


def join(dispatcher: Dispatcher) -> None:
    """Let `dispatcher` hear of events, until leave()."""
    with _changing:
        _dispatchers.setdefault(dispatcher.loop, set()).add(dispatcher)


def leave(dispatcher: Dispatcher) -> None:
    """Let `dispatcher` hear of nothing more."""
    with _changing:
        others = _dispatchers.get(dispatcher.loop, set())
        others.discard(dispatcher)
        if not others:
            _dispatchers.pop(dispatcher.loop, None)


def _deliver(event: Event) -> None:
    with _changing:
        loops = list(_dispatchers)
    for loop in loops:
        try:
            loop.call_soon_threadsafe(_notify, loop, event)
        except RuntimeError:
            # It was closed without them leaving.
            with _changing:
                _dispatchers.pop(loop, None)


def _notify(loop: asyncio.AbstractEventLoop, event: Event) -> None:
    for dispatcher in list(_dispatchers.get(loop, ())):
        dispatcher.notify(event)
