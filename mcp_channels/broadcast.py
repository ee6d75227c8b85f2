"""
News for clients: publish() takes an event to every connection that may want it.

    from mcp_channels import PrimitivesChanged, ResourceUpdated, publish

    publish(ResourceUpdated("shop://orders/5"))
"""

from django.db import connections, transaction

from mcp_channels.server.events import Event
from mcp_channels.worker import get_worker

__all__ = ["publish"]


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
        transaction.on_commit(lambda: get_worker().send(event), using=using)
    else:
        get_worker().send(event)
