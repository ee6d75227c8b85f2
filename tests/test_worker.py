"""This process among others: its connections by event loop, and its line to others."""

import asyncio
import os
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from mcp_channels import AccessChanged, PrimitivesChanged, ResourceUpdated, worker
from mcp_channels.hub import Hub
from mcp_channels.server.audience import Audience
from mcp_channels.worker import Worker, get_worker
from tests.brokers import Broker

EVENT = AccessChanged("user", "5")  # which is heard at once


class Layer:
    """A channel layer of the settings, at the broker of the test."""

    broker = Broker()

    def __new__(cls, **config: Any) -> Any:
        return cls.broker.make_layer()


class Nearby(InMemoryChannelLayer):
    """A layer of the site that reaches no further than the process."""


LAYERS = {"default": {"BACKEND": f"{__name__}.Layer"}}


@pytest.fixture
def broker(settings: Any) -> Iterator[Broker]:
    """Configure a layer that reaches other processes; return its broker."""
    Layer.broker = Broker()
    settings.CHANNEL_LAYERS = LAYERS
    yield Layer.broker
    get_worker().close()


class Listener:
    """A connection that notes what it hears, and in which thread."""

    def __init__(self, audience: Audience, id: str = "1") -> None:
        self.id = id
        self.subscriptions = self
        self.heard: list[Any] = []
        self.threads = set[int]()
        self._told = asyncio.Event()
        audience.add(self)  # type: ignore[arg-type]

    def notify(self, event: Any) -> None:
        self.heard.append(event)
        self.threads.add(threading.get_ident())
        self._told.set()

    async def next(self) -> Any:
        """Wait for events; return all so far."""
        async with asyncio.timeout(10):
            await self._told.wait()
        self._told.clear()
        return self.heard


# Inside the process


async def test_event_comes_to_the_connections_of_the_loop_in_its_thread() -> None:
    here = Worker()
    audience = here.enter()
    listener = Listener(audience)
    thread = threading.Thread(target=here.send, args=[EVENT])
    thread.start()
    thread.join()

    assert listener.heard == []  # the loop had no turn
    assert await listener.next() == [EVENT]
    assert listener.threads == {threading.get_ident()}

    here.leave(audience)


async def test_audience_is_there_for_as_long_as_connections_are() -> None:
    here = Worker()
    first, second = here.enter(), here.enter()

    assert first is second
    assert here.audiences == [first]

    here.leave(first)

    assert here.audiences == [first]

    first.receive(PrimitivesChanged("tools"))
    here.leave(second)

    assert here.audiences == []
    assert first.is_quiet  # it is shut


def test_each_loop_has_its_own() -> None:
    here = Worker()
    entered = threading.Barrier(4, timeout=10)

    async def serve() -> bool:
        audience = here.enter()
        listener = Listener(audience)
        await asyncio.to_thread(entered.wait)
        await listener.next()
        here.leave(audience)
        return listener.threads == {threading.get_ident()}

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(asyncio.run, serve()) for _ in range(3)]
        entered.wait()

        assert len(here.audiences) == 3

        here.send(EVENT)

        assert [future.result(10) for future in running] == [True] * 3


async def test_loop_that_was_closed_is_forgotten() -> None:
    here = Worker()
    left_behind: list[Audience] = []

    async def serve() -> None:
        left_behind.append(here.enter())

    await asyncio.to_thread(asyncio.run, serve())
    audience = here.enter()
    listener = Listener(audience)

    assert len(here.audiences) == 2

    here.send(EVENT)

    assert await listener.next() == [EVENT]
    assert here.audiences == [audience]

    here.leave(left_behind[0])  # late
    here.leave(audience)

    assert here.audiences == []


def test_ids_of_connections_are_unlike() -> None:
    here, there = Worker(), Worker()
    ids = {w.next_connection_id() for w in (here, there) for _ in range(100)}

    assert len(ids) == 200
    assert {id.partition("-")[0] for id in ids} == {here.id, there.id}


def test_child_process_is_another_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = get_worker()

    assert get_worker() is parent

    monkeypatch.setattr(os, "getpid", lambda: -1)
    child = get_worker()

    assert child is not parent
    assert child.id != parent.id
    assert child is get_worker()

    monkeypatch.undo()

    assert get_worker() is not child


# To other processes


@pytest.mark.parametrize(
    ("layers", "alias"),
    [
        ({}, "default"),
        (LAYERS, None),
        (LAYERS, "other"),
        ({"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}, "default"),
        ({"default": {"BACKEND": f"{__name__}.Nearby"}}, "default"),
    ],
)
async def test_without_a_layer_that_reaches_others_there_is_no_hub(
    settings: Any, layers: Any, alias: str | None
) -> None:
    settings.CHANNEL_LAYERS = layers
    settings.MCP_CHANNELS = {"CHANNEL_LAYER": alias}
    here = Worker()
    audience = here.enter()
    await here.settle()
    here.send(EVENT)
    here.leave(audience)
    here.close()

    assert here.hub is None


def test_layer_is_chosen_by_its_alias(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"other": {"BACKEND": f"{__name__}.Layer"}}
    settings.MCP_CHANNELS = {"CHANNEL_LAYER": "other"}
    here = Worker()

    assert isinstance(here.hub, Hub)
    assert here.hub is here.hub


async def test_layer_that_cannot_be_had_costs_only_the_others(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "no.such.Layer"}}
    here = Worker()
    audience = here.enter()
    await here.settle()
    listener = Listener(audience)
    here.send(EVENT)

    assert await listener.next() == [EVENT]
    assert "InvalidChannelLayerError: Cannot import BACKEND" in caplog.text

    here.leave(audience)
    await asyncio.to_thread(here.close)


async def test_workers_hear_each_other(broker: Broker) -> None:
    here, there = Worker(), Worker()
    audiences = [here.enter(), there.enter()]
    await asyncio.gather(here.settle(), there.settle())
    listeners = [Listener(audience) for audience in audiences]
    here.send(EVENT)

    assert [await listener.next() for listener in listeners] == [[EVENT]] * 2

    there.send(EVENT)

    assert [await listener.next() for listener in listeners] == [[EVENT] * 2] * 2

    for one, audience in zip((here, there), audiences, strict=True):
        one.leave(audience)
        await asyncio.to_thread(one.close)

    assert broker.members("mcp_channels") == []


async def test_worker_without_connections_hears_nothing(broker: Broker) -> None:
    here = Worker()
    audience = here.enter()
    await here.settle()

    assert len(broker.members("mcp_channels")) == 1

    second = here.enter()
    here.leave(second)
    await here.settle()

    assert len(broker.members("mcp_channels")) == 1

    here.leave(audience)
    async with asyncio.timeout(10):
        while broker.members("mcp_channels"):
            await asyncio.sleep(0.001)
    await asyncio.to_thread(here.close)


def test_sending_is_possible_after_closing(broker: Broker) -> None:
    here = Worker()
    received: queue.Queue[Any] = queue.Queue()
    there = Hub("there", Layer, received.put)
    there.join()
    asyncio.run(there.settle())
    here.send(ResourceUpdated("shop://a"))
    here.close()
    here.send(ResourceUpdated("shop://b"))
    here.close()

    assert [received.get(timeout=10).uri[-1] for _ in "ab"] == ["a", "b"]

    there.close()


def test_hub_is_another_one_with_other_settings(settings: Any) -> None:
    settings.CHANNEL_LAYERS = LAYERS
    here = get_worker()
    first = here.hub
    settings.ROOT_URLCONF = "nothing.of.it"

    assert here.hub is first

    settings.MCP_CHANNELS = {"CHANNEL_LAYER": None}

    assert here.hub is None

    settings.MCP_CHANNELS = {}

    assert here.hub not in (None, first)

    settings.CHANNEL_LAYERS = {}

    assert here.hub is None
    assert get_worker() is here


def test_last_events_are_sent_when_the_interpreter_ends(broker: Broker) -> None:
    received: queue.Queue[Any] = queue.Queue()
    there = Hub("there", Layer, received.put)
    there.join()
    asyncio.run(there.settle())
    get_worker().send(EVENT)
    worker._close()

    assert received.get(timeout=10) == EVENT

    there.close()
