"""A site made for one test: what it offers, and the clients that come to it."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from mcp_channels.consumers import MCPConsumer
from mcp_channels.server.registry import Registry
from mcp_channels.testing import MCPCommunicator, RequestFailed
from mcp_channels.worker import get_worker

__all__ = [
    "LEGACY",
    "MODERN",
    "Clerk",
    "Site",
    "both_eras",
    "refusal",
    "settled",
    "silence",
]

LEGACY, MODERN = "2025-11-25", "2026-07-28"

both_eras = pytest.mark.parametrize("revision", [LEGACY, MODERN])


class Site(Registry):
    """A registry of its own, with a consumer that serves it."""

    def __init__(self) -> None:
        super().__init__()
        self.consumer = type("Consumer", (MCPConsumer,), {"registry": self})

    def client(self, user: Any = None, **options: Any) -> MCPCommunicator:
        """Return a client, to be connected with `async with`."""
        return MCPCommunicator(user, consumer=self.consumer, **options)


class Clerk:
    """A user without a database, with the permissions of now."""

    is_authenticated = True
    pk = None

    def __init__(self, *permissions: str) -> None:
        self.permissions = set(permissions)

    def has_perm(self, permission: str, obj: Any = None) -> bool:
        return permission in self.permissions


async def refusal(asking: Awaitable[Any]) -> RequestFailed:
    """Return the error that a request is answered with."""
    with pytest.raises(RequestFailed) as caught:
        await asking
    return caught.value


async def settled() -> None:
    """Wait until everything that was published so far is told to whom it concerns."""
    async with asyncio.timeout(5):
        await asyncio.sleep(0)  # publish() left it to the loop
        (audience,) = get_worker().audiences
        while not audience.is_quiet or any(
            session.subscriptions._pending or session.subscriptions._is_looking
            for session in audience.sessions.values()
        ):
            await asyncio.sleep(0)


async def silence(client: MCPCommunicator) -> bool:
    """Tell whether the client hears of nothing that was published so far."""
    await settled()
    await client.list_tools()
    return not client.notifications
