"""publish(): from anywhere, to every connection of the process, and never too early."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import transaction
from django.db.utils import ConnectionDoesNotExist

from mcp_channels import PrimitivesChanged, ResourceUpdated, publish
from mcp_channels.server.audience import Audience
from mcp_channels.worker import get_worker
from tests.sites import LEGACY, MODERN, Site, both_eras

A = "shop://a"
UPDATED = "notifications/resources/updated"
EVENT = ResourceUpdated(A)
WATCHED = [A, *(f"shop://{number}" for number in range(100))]


class Listener:
    """A connection that notes what it hears."""

    id = "1"

    def __init__(self, audience: Audience) -> None:
        self.subscriptions = self
        self.heard: list[Any] = []
        self.told = asyncio.Event()
        audience.add(self)  # type: ignore[arg-type]
        audience.watch(self, [*WATCHED, "shop://inside", "shop://never"])  # type: ignore[arg-type]

    def notify(self, event: Any) -> None:
        self.heard.append(event)
        self.told.set()

    async def next(self) -> Any:
        """Wait for an event; return all so far."""
        async with asyncio.timeout(5):
            await self.told.wait()
        self.told.clear()
        return self.heard


@pytest.fixture(autouse=True)
def _nobody_is_left() -> Iterator[None]:
    assert not get_worker().audiences

    yield

    assert not get_worker().audiences


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    audience = get_worker().enter()
    yield Listener(audience)
    get_worker().leave(audience)


async def test_publish_comes_back_before_anybody_is_told(listener: Listener) -> None:
    publish(EVENT)

    assert listener.heard == []
    assert await listener.next() == [EVENT]


def in_a_thread(publish_it: Callable[[], None]) -> None:
    thread = threading.Thread(target=publish_it)
    thread.start()
    thread.join()


async def test_publish_never_waits_for_a_busy_loop(listener: Listener) -> None:
    # The loop stands still for as long as these threads run, all of them.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, [EVENT] * 1000))

    assert await listener.next() == [EVENT]


async def test_events_keep_their_order(listener: Listener) -> None:
    events = list(map(ResourceUpdated, WATCHED))
    for event in events:
        publish(event)
    while len(listener.heard) < len(WATCHED):
        await listener.next()

    assert listener.heard == events


def test_publish_without_anybody_does_nothing() -> None:
    publish(EVENT)
    publish(PrimitivesChanged("tools"))


# Transactions


@pytest.mark.django_db(transaction=True)
async def test_event_waits_for_the_commit(listener: Listener) -> None:
    inside = ResourceUpdated("shop://inside")

    def save() -> None:
        with transaction.atomic():
            publish(inside)
            with transaction.atomic():
                User.objects.create(username="ada")
                publish(PrimitivesChanged("tools"))
            # Of another thread, with no transaction.
            in_a_thread(lambda: publish(EVENT))

    await sync_to_async(save)()
    while len(listener.heard) < 3:
        await listener.next()

    assert listener.heard == [EVENT, inside, PrimitivesChanged("tools")]


@pytest.mark.django_db(transaction=True)
async def test_event_of_a_rollback_is_forgotten(listener: Listener) -> None:
    def save() -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            publish(ResourceUpdated("shop://never"))
            raise ZeroDivisionError
        with transaction.atomic():
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                publish(ResourceUpdated("shop://neither"))
                raise ZeroDivisionError
            publish(EVENT)

    await sync_to_async(save)()

    assert await listener.next() == [EVENT]


@pytest.mark.django_db(transaction=True)
async def test_transaction_of_another_database_is_not_waited_for(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcp_channels import broadcast

    def save() -> None:
        with transaction.atomic():
            publish(EVENT)
            # As if there were another one, without a transaction.
            other = SimpleNamespace(in_atomic_block=False)
            with monkeypatch.context() as patch:
                patch.setattr(broadcast, "connections", {"other": other})
                publish(PrimitivesChanged("tools"), using="other")

    await sync_to_async(save)()
    while len(listener.heard) < 2:
        await listener.next()

    assert listener.heard == [PrimitivesChanged("tools"), EVENT]


def test_database_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(ConnectionDoesNotExist):
        publish(EVENT, using="nothing")


def test_publish_opens_no_connection() -> None:
    # Without the marker that allows a test to, pytest-django refuses it.
    publish(EVENT)


# From end to end


@pytest.fixture
def site() -> Site:
    site = Site()
    site.resource(A)(lambda: "x")
    return site


@pytest.fixture
async def told(site: Site) -> Any:
    """Connect a client of each era, and wait until both are told of A."""
    async with site.client() as modern, site.client(revision=LEGACY) as legacy:
        await modern.listen({"resourceSubscriptions": [A]})
        await legacy.request("resources/subscribe", {"uri": A})

        async def told() -> None:
            for client in (modern, legacy):
                assert (await client.notification(UPDATED))["uri"] == A

        yield told


Told = Callable[[], Awaitable[None]]


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.django_db(transaction=True)
async def test_tool_tells_the_clients(site: Site, told: Told, atomic: bool) -> None:
    @site.tool(atomic=atomic)
    def touch() -> None:
        User.objects.create(username="ada")
        publish(EVENT)

    async with site.client() as client:
        assert not (await client.call_tool("touch")).get("isError")

    await told()


async def test_asynchronous_tool_tells_the_clients(site: Site, told: Told) -> None:
    @site.tool
    async def touch() -> None:
        publish(EVENT)

    async with site.client() as client:
        assert not (await client.call_tool("touch")).get("isError")

    await told()


@pytest.mark.django_db(transaction=True)
async def test_tool_that_is_rolled_back_tells_nobody(site: Site, told: Told) -> None:
    never = []

    @site.resource("shop://never")
    def unread() -> str:
        return "x"

    @site.tool(atomic=True)
    def fail() -> None:
        User.objects.create(username="ada")
        publish(EVENT)
        raise ValueError

    async with site.client(revision=LEGACY) as client:
        await client.request("resources/subscribe", {"uri": A})
        await client.request("resources/subscribe", {"uri": "shop://never"})

        assert (await client.call_tool("fail"))["isError"]

        publish(ResourceUpdated("shop://never"))
        never.append((await client.notification(UPDATED))["uri"])

    assert never == ["shop://never"]
    assert not await User.objects.aexists()


@both_eras
async def test_client_that_has_gone_is_forgotten(site: Site, revision: str) -> None:
    async with site.client(revision=revision) as client:
        if revision == MODERN:
            await client.listen({"resourceSubscriptions": [A]})
        (audience,) = get_worker().audiences

        assert len(audience.sessions) == 1

        publish(EVENT)

    assert not audience.sessions


async def test_client_that_was_refused_never_joins(settings: Any, site: Site) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": False}
    client = site.client()

    with pytest.raises(ConnectionRefusedError):
        await client.connect()

    assert not any(audience.sessions for audience in get_worker().audiences)

    await client.disconnect()
