"""
A worker's line to the others: what arrives, what happens when the broker does not do
its work, and that everybody knows of it afterwards.
"""

import asyncio
import gc
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from channels.layers import channel_layers

from mcp_channels import AccessChanged, PrimitivesChanged, ResourceUpdated, hub, letters
from mcp_channels.hub import Hub
from mcp_channels.letters import Letter, encode_letter
from mcp_channels.server.events import EverythingChanged
from tests.brokers import Broker
from tests.redis import CORE, PUBSUB, Redis

PATIENCE = 10.0

A, B = ResourceUpdated("shop://a"), ResourceUpdated("shop://b")
EVERYTHING = EverythingChanged()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the shortest of times."""
    for name, seconds in {
        "_SILENCE": 0.05,
        "_ECHO": 0.3,
        "_POSTSCRIPT": 0.05,
        "_FIRST_DELAY": 0.005,
        "_LONGEST_DELAY": 0.02,
        "_LONGEST_FLAPPING": 0.02,
    }.items():
        monkeypatch.setattr(hub, name, seconds)


class Worker:
    """A hub, and what it received."""

    def __init__(self, name: str, make_layer: Callable[[], Any]) -> None:
        self.received: queue.Queue[Any] = queue.Queue()
        self.hub = Hub(name, make_layer, self.received.put)

    def join(self) -> None:
        self.hub.join()
        asyncio.run(self.hub.settle())

    def next(self) -> Any:
        return self.received.get(timeout=PATIENCE)

    def until(self, event: Any) -> list[Any]:
        """Wait for an event; return those before it."""
        before = []
        while (found := self.next()) != event:
            before.append(found)
        return before

    @property
    def nothing(self) -> bool:
        return self.received.empty()


def until(is_true: Callable[[], Any]) -> None:
    """Wait until something is true that tells nobody of it."""
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def broker() -> Broker:
    return Broker()


Hire = Callable[..., Worker]


@pytest.fixture
def hire(broker: Broker) -> Iterator[Hire]:
    """Make workers, which are members, and whose hubs end with the test."""
    with ExitStack() as stack:

        def hire(name: str, *, joins: bool = True) -> Worker:
            worker = Worker(name, broker.make_layer)
            stack.callback(worker.hub.close)
            if joins:
                worker.join()
            return worker

        yield hire


# All is well


def test_event_reaches_all_others_once(hire: Hire) -> None:
    a, b, c = hire("a"), hire("b"), hire("c")
    a.hub.send(A)

    assert [b.next(), c.next()] == [A, A]

    b.hub.send(B)

    assert [a.next(), c.next()] == [B, B]
    assert a.nothing and b.nothing and c.nothing


def test_event_for_one_reaches_nobody_else(hire: Hire) -> None:
    a, b, c = hire("a"), hire("b"), hire("c")
    a.hub.send(A, to="b")
    a.hub.send(B)

    assert [b.next(), b.next(), c.next()] == [A, B, B]


def test_events_keep_their_order(hire: Hire) -> None:
    a, b = hire("a"), hire("b")
    events = [ResourceUpdated(f"shop://{number}") for number in range(500)]
    for event in events:
        a.hub.send(event)

    assert [b.next() for _ in events] == events


def test_one_message_goes_to_the_broker_however_many_there_are(
    broker: Broker, hire: Hire
) -> None:
    a, b, _ = hire("a"), hire("b"), hire("c")
    a.hub.send(PrimitivesChanged("tools"))
    b.next()
    texts = [m["text"] for _, m in broker.sent if "PrimitivesChanged" in m["text"]]

    assert len(texts) == 1


def test_who_only_sends_is_no_member(broker: Broker, hire: Hire) -> None:
    a, b = hire("a", joins=False), hire("b")
    a.hub.send(A)

    assert b.next() == A
    assert len(broker.members("mcp_channels")) == 1

    b.hub.send(B)
    b.hub.send(B, to="a")
    a.hub.send(A)

    assert b.next() == A
    assert a.nothing


async def test_who_wants_answers_is_reached_without_being_a_member(
    broker: Broker, hire: Hire
) -> None:
    a, b = hire("a", joins=False), hire("b", joins=False)
    for _ in range(2):
        async with a.hub.reached(PATIENCE), a.hub.reached(PATIENCE):
            b.hub.send(A)
            b.hub.send(B, to="a")

            assert await asyncio.to_thread(a.next) == B

        await asyncio.to_thread(until, lambda: not broker.members("mcp_channels.a"))

    assert broker.members("mcp_channels") == []


async def test_who_cannot_be_reached_learns_it(broker: Broker, hire: Hire) -> None:
    broker.error = ConnectionError("gone")
    a = hire("a", joins=False)
    with pytest.raises(TimeoutError):
        async with a.hub.reached(0.05):
            pass


def test_nothing_comes_after_leaving(broker: Broker, hire: Hire) -> None:
    a, b = hire("a"), hire("b")
    b.hub.leave()
    until(lambda: len(broker.members("mcp_channels")) == 1)
    a.hub.send(A)
    until(lambda: not a.hub.outbox.has_letters)
    b.join()
    a.hub.send(B)

    # It is new, and has not missed anything.
    assert b.next() == B
    assert b.nothing


def test_who_leaves_and_comes_back_at_once_stays(hire: Hire) -> None:
    a, b = hire("a"), hire("b")
    for _ in range(20):
        b.hub.leave()
        b.join()
    a.hub.send(A)

    # It may have missed something in between.
    assert set(b.until(A)) <= {EVERYTHING}


def test_nothing_happens_without_need() -> None:
    threads = threading.active_count()
    worker = Worker("a", Broker().make_layer)
    worker.hub.close()

    assert threading.active_count() == threads


def test_what_is_due_is_sent_before_the_end(hire: Hire) -> None:
    a, b = hire("a", joins=False), hire("b")
    for number in range(300):
        a.hub.send(ResourceUpdated(f"shop://{number}"))
    a.hub.close()

    assert len([b.next() for _ in range(300)]) == 300
    assert not a.hub.outbox.has_letters


def test_member_that_ends_leaves(broker: Broker, hire: Hire) -> None:
    a = hire("a")
    a.hub.close()
    a.hub.close()

    assert broker.members("mcp_channels") == broker.members("mcp_channels.a") == []


def test_receiver_that_fails_hears_the_next(
    hire: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = hire("a"), hire("b")
    put, events = b.received.put, [A]

    def fail(event: Any) -> None:
        if event in events:
            raise ZeroDivisionError
        put(event)

    b.hub._receive = fail
    a.hub.send(A)
    a.hub.send(B)

    assert b.next() == B
    assert "ResourceUpdated not taken" in caplog.text


# The broker, or what comes from it


def test_broker_that_is_away_is_waited_for(
    broker: Broker, hire: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = hire("a"), hire("b")
    broker.fail(ConnectionError("gone"))
    until(lambda: caplog.text.count("The channel layer does not work") == 2)
    a.hub.send(A)
    time.sleep(0.05)
    broker.error = None

    # Both look at everything, once, since nobody knows what they have missed.
    assert a.next() == EVERYTHING
    assert set(b.until(EVERYTHING)) <= {A}

    until(lambda: not a.hub.outbox.has_letters)
    b.hub.send(B)

    assert a.next() == B

    a.hub.send(B)

    assert set(b.until(B)) <= {A}

    messages = [record.message for record in caplog.records]
    assert messages.count("The channel layer does not work: ConnectionError: gone") == 2
    assert messages.count("The channel layer works again") == 2


def test_connection_does_not_wait_long_for_a_broker_that_is_away(
    broker: Broker, hire: Hire
) -> None:
    broker.error = ConnectionError("gone")
    a = hire("a")  # which settles at once

    assert a.nothing

    broker.error = None

    # Whoever has come in meanwhile has missed something.
    assert a.next() == EVERYTHING


def test_connection_does_not_wait_long_for_a_broker_that_hangs(
    broker: Broker, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_WELCOME", 0.05)
    opened = threading.Event()
    make_layer = broker.make_layer

    def hang() -> Any:
        opened.wait(PATIENCE)
        return make_layer()

    monkeypatch.setattr(broker, "make_layer", hang)
    a = hire("a")

    assert a.nothing

    opened.set()

    assert a.next() == EVERYTHING


def test_broker_that_answers_nothing_is_given_up(
    broker: Broker, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = hire("a"), hire("b")
    monkeypatch.setattr(hub, "_PATIENCE", 0.05)
    layer = broker.layers[0]

    async def hang(*arguments: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(layer, "group_send", hang)
    a.hub.send(A)

    # The letter is sent over the next line.
    assert b.until(A) == []
    assert a.next() == EVERYTHING


def test_membership_that_was_forgotten_is_noticed(broker: Broker, hire: Hire) -> None:
    a, b = hire("a"), hire("b")
    broker.flush()

    assert [a.next(), b.next()] == [EVERYTHING, EVERYTHING]

    a.hub.send(A)

    assert b.until(A) == []


def test_membership_is_renewed(
    broker: Broker, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_SIGN_OF_LIFE", 0.02)
    a, _ = hire("a"), hire("b")
    adding = broker.layers[0].group_add
    added: queue.Queue[str] = queue.Queue()

    async def note(group: str, channel: str) -> None:
        added.put(group)
        await adding(group, channel)

    monkeypatch.setattr(broker.layers[0], "group_add", note)

    assert [added.get(timeout=PATIENCE) for _ in range(3)] == ["mcp_channels"] * 3
    assert a.nothing


def test_silence_is_broken_by_few(broker: Broker, hire: Hire) -> None:
    for name in "abcdef":
        hire(name)
    before = len(broker.sent)
    time.sleep(0.5)

    # Each of them alone would have sent ten.
    assert 3 < len(broker.sent) - before < 25


def test_letter_that_is_lost_is_noticed_by_the_next(
    broker: Broker, hire: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = hire("a"), hire("b")
    until(lambda: b.hub._line is not None and b.hub._line._ledger._writers)
    broker.change = lambda message: [] if "shop://a" in message["text"] else [message]
    a.hub.send(A)

    # A postscript follows, whatever else happens.
    assert b.next() == EVERYTHING
    assert "A message was lost" in caplog.text


def test_last_letter_of_somebody_new_is_noticed_when_it_is_lost(
    broker: Broker, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "_UNDERWAY", 0.0)
    b = hire("b")
    broker.change = lambda message: [] if "shop://a" in message["text"] else [message]
    a = hire("a", joins=False)
    a.hub.send(A)

    assert b.next() == EVERYTHING

    a.hub.send(B)

    assert b.next() == B


def test_duplicates_are_told_once(broker: Broker, hire: Hire) -> None:
    a, b = hire("a"), hire("b")
    broker.change = lambda message: [message] * 3
    for event in (A, B):
        a.hub.send(event)
    until(lambda: not a.hub.outbox.has_letters)
    broker.change = lambda message: [message]
    a.hub.send(AccessChanged("everybody"))

    assert b.until(AccessChanged("everybody")) == [A, B]


def test_letters_in_another_order_are_all_told(broker: Broker, hire: Hire) -> None:
    a, b = hire("a"), hire("b")
    kept: list[Any] = []

    def swap(message: Any) -> list[Any]:
        if "shop://a" in message["text"]:
            kept.append(message)
            return []
        if "shop://b" in message["text"]:
            return [message, *kept]
        return [message]

    a.hub.send(PrimitivesChanged("tools"))
    b.next()  # and knows how many letters there were
    broker.change = swap
    a.hub.send(A)
    until(lambda: kept)
    a.hub.send(B)
    events = [b.next() for _ in range(3)]

    # Until the first one came it seemed to be lost.
    assert sorted(map(str, events)) == sorted(map(str, [B, EVERYTHING, A]))


@pytest.mark.parametrize(
    "message",
    [
        {"type": "mcp_channels.letter", "text": '{"writer":"x"}:forged'},
        {"type": "chat.message", "room": 5},
        "x",
    ],
)
def test_forged_messages_are_refused(
    broker: Broker, hire: Hire, message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = hire("a"), hire("b")
    broker.send("mcp_channels", message)
    a.hub.send(A)

    assert b.until(A) == []
    assert "Message on the channel layer refused" in caplog.text


def test_letters_of_a_newer_version_are_ignored(broker: Broker, hire: Hire) -> None:
    a, b = hire("a"), hire("b")
    newer = encode_letter(Letter("n", number=1, version=2))
    broker.send("mcp_channels", newer)
    a.hub.send(A)

    assert b.until(A) == []


def test_clock_of_the_machine_does_not_matter(
    hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = hire("a"), hire("b")
    for moved in (-86_400.0, 86_400.0):
        now = time.time() + moved
        monkeypatch.setattr(time, "time", lambda now=now: now)
        a.hub.send(A)

        assert b.next() == A

    assert a.nothing and b.nothing


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[float]:
    """Do not sleep between two lines, but note for how long."""
    slept: queue.Queue[float] = queue.Queue()
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=slept.put)
    monkeypatch.setattr(hub, "time", clock)
    monkeypatch.setattr(hub.random, "uniform", lambda least, most: most)
    return slept


def flap(broker: Broker, worker: Worker, slept: queue.Queue[float]) -> float:
    """Let a line fail as soon as it works; return for how long there is none then."""
    broker.interrupt(ConnectionError("flapping"))
    seconds = slept.get(timeout=PATIENCE)
    worker.until(EVERYTHING)  # it works again
    return seconds


def test_broker_that_seems_to_work_but_does_not_is_tried_less_often(
    broker: Broker, hire: Hire, slept: queue.Queue[float], monkeypatch: Any
) -> None:
    monkeypatch.setattr(hub, "_LONGEST_FLAPPING", 0.07)
    a = hire("a")

    assert [flap(broker, a, slept) for _ in range(6)] == [
        0.005,
        0.01,
        0.02,
        0.04,
        0.07,
        0.07,
    ]


def test_line_that_lasted_makes_up_for_earlier_ones(
    broker: Broker, hire: Hire, slept: queue.Queue[float], monkeypatch: Any
) -> None:
    monkeypatch.setattr(hub, "_GOOD", 0.0)
    a = hire("a")

    assert [flap(broker, a, slept) for _ in range(3)] == [0.005] * 3


def test_hub_ends_in_time_when_there_is_no_broker(
    broker: Broker, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_FAREWELL", 0.1)
    broker.error = ConnectionError("gone")
    a = hire("a")
    a.hub.send(A)
    began = time.monotonic()
    a.hub.close()

    assert time.monotonic() - began < 5
    until(lambda: a.hub._thread is not None and not a.hub._thread.is_alive())


def test_hub_without_letters_does_not_wait_for_a_broker_to_end(
    broker: Broker, hire: Hire
) -> None:
    broker.error = ConnectionError("gone")
    a = hire("a")
    a.hub.close()

    assert a.hub._thread is not None
    assert not a.hub._thread.is_alive()


# Over Redis


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as redis:
        yield redis


@pytest.fixture(scope="module")
def second_redis() -> Iterator[Redis]:
    with Redis() as redis:
        yield redis


@pytest.fixture(
    params=[(CORE, 1), (PUBSUB, 1), (CORE, 2), (PUBSUB, 2)],
    ids=["core", "pubsub", "core-shards", "pubsub-shards"],
)
def layers(
    request: pytest.FixtureRequest,
    redis: Redis,
    second_redis: Redis,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Redis]:
    """Configure a channel layer; return its brokers."""
    monkeypatch.setattr(hub, "_SILENCE", 0.2)
    monkeypatch.setattr(hub, "_ECHO", 1.0)
    backend, shards = request.param
    brokers = [redis, second_redis][:shards]
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": backend,
            "CONFIG": {"hosts": [broker.url for broker in brokers]},
        }
    }
    return brokers


@pytest.fixture
def employ(layers: list[Redis]) -> Iterator[Hire]:
    """Make workers at the configured layer."""
    with ExitStack() as stack:

        def employ(name: str) -> Worker:
            worker = Worker(name, partial(channel_layers.make_backend, "default"))
            stack.callback(worker.hub.close)
            worker.join()
            return worker

        yield employ
    gc.collect()  # what is found only now is of this test


def test_real_broker_takes_events_to_all_or_to_one(employ: Hire) -> None:
    a, b, c = employ("a"), employ("b"), employ("c")
    a.hub.send(A)
    a.hub.send(B, to="c")

    assert [b.next(), c.next(), c.next()] == [A, A, B]

    c.hub.leave()
    b.hub.send(B)

    assert a.next() == B
    assert b.nothing


# What redis-py leaves unclosed when its server goes away.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_real_broker_may_be_restarted(
    layers: list[Redis], employ: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "channels_redis")
    a, b = employ("a"), employ("b")
    for number, broker in enumerate(layers * 2):
        event = ResourceUpdated(f"shop://{number}")
        broker.kill()
        a.hub.send(event)
        broker.start()

        # It comes, or the news that anything may have happened. Not every shard is
        # used for everything.
        while b.next() not in (event, EVERYTHING):
            pass


@pytest.mark.parametrize("layers", [(CORE, 1), (CORE, 2)], indirect=True)
def test_real_broker_may_be_emptied(layers: list[Redis], employ: Hire) -> None:
    # Nothing of pub/sub is kept there.
    a, b = employ("a"), employ("b")
    for broker in layers:
        broker.ask("FLUSHALL")
    for worker in (a, b):
        assert worker.until(EVERYTHING) == []
    a.hub.send(A)

    assert set(b.until(A)) <= {EVERYTHING}


@pytest.mark.parametrize("layers", [(CORE, 1), (PUBSUB, 1)], indirect=True)
def test_real_broker_may_be_slow(layers: list[Redis], employ: Hire) -> None:
    a, b = employ("a"), employ("b")
    layers[0].pause()
    began = time.monotonic()
    a.hub.send(A)

    assert time.monotonic() - began < 0.1

    time.sleep(0.3)
    layers[0].resume()

    assert set(b.until(A)) <= {EVERYTHING}


def test_name_of_the_broker_is_looked_up_without_a_thread() -> None:
    loop = hub._Loop()
    loop.set_default_executor = None  # type: ignore[assignment]
    try:
        found = loop.run_until_complete(loop.getaddrinfo("localhost", 5))
    finally:
        loop.close()

    assert any(address[1] == 5 for *_, address in found)
