"""Who of a loop's connections hears of what, and when."""

import asyncio
from typing import Any

import pytest

from mcp_channels import AccessChanged, PrimitivesChanged, ResourceUpdated
from mcp_channels.server import audience
from mcp_channels.server.audience import Audience
from mcp_channels.server.events import KINDS, EverythingChanged

A, B = ResourceUpdated("shop://a"), ResourceUpdated("shop://b")
TOOLS = PrimitivesChanged("tools")


class Session:
    """A connection that notes what it hears of, and when it is asked to tell."""

    def __init__(self, audience: Audience, id: str) -> None:
        self.id = id
        self.audience = audience
        self.subscriptions: Any = self
        self.heard: list[Any] = []
        self.told: list[Any] = []
        self.error: Exception | None = None
        audience.add(self)  # type: ignore[arg-type]

    def notify(self, event: Any) -> None:
        self.heard.append(event)
        if isinstance(self.error, ZeroDivisionError):
            raise self.error
        self.audience.schedule(self)  # type: ignore[arg-type]

    def tell(self) -> None:
        self.told.append(list(self.heard))
        if self.error is not None:
            raise self.error


async def quiet(audience: Audience) -> None:
    async with asyncio.timeout(5):
        while not audience.is_quiet:
            await asyncio.sleep(0.001)


async def test_lists_concern_everybody_and_a_uri_those_who_watch_it() -> None:
    everybody = Audience()
    a, b = Session(everybody, "a"), Session(everybody, "b")
    everybody.watch(a, ["shop://a", "shop://x"])  # type: ignore[arg-type]
    for event in (A, TOOLS, B):
        everybody.receive(event)
    await quiet(everybody)

    assert a.heard == [A, TOOLS]
    assert b.heard == [TOOLS]


async def test_events_are_collected_and_told_together() -> None:
    everybody = Audience()
    a = Session(everybody, "a")
    everybody.watch(a, ["shop://a"])  # type: ignore[arg-type]
    for _ in range(100):
        everybody.receive(A)
        everybody.receive(TOOLS)

    assert a.heard == []

    await quiet(everybody)

    assert a.told == [[A, TOOLS]]


async def test_first_event_is_told_soon_and_the_next_a_little_later() -> None:
    everybody = Audience()
    a = Session(everybody, "a")
    times = []
    for _ in range(2):
        began = everybody.loop.time()
        everybody.receive(TOOLS)
        await quiet(everybody)
        times.append(everybody.loop.time() - began)

    assert times[0] < audience._BETWEEN - audience._COLLECTED
    assert times[1] >= audience._BETWEEN - 0.005
    assert len(a.told) == 2


async def test_what_nobody_watches_is_not_kept() -> None:
    everybody = Audience()
    a = Session(everybody, "a")
    everybody.watch(a, ["shop://a", "shop://b"])  # type: ignore[arg-type]
    everybody.unwatch(a, ["shop://a", "shop://never"])  # type: ignore[arg-type]
    for number in range(1000):
        everybody.receive(ResourceUpdated(f"shop://{number}"))
    everybody.receive(A)

    assert everybody.is_quiet
    assert everybody._timer is None

    everybody.receive(B)
    await quiet(everybody)

    assert a.heard == [B]


async def test_others_go_on_watching() -> None:
    everybody = Audience()
    a, b = Session(everybody, "a"), Session(everybody, "b")
    for session in (a, b):
        everybody.watch(session, ["shop://a"])  # type: ignore[arg-type]
    everybody.unwatch(a, ["shop://a"])  # type: ignore[arg-type]
    everybody.receive(A)
    await quiet(everybody)

    assert (a.heard, b.heard) == ([], [A])


async def test_change_of_access_is_heard_at_once() -> None:
    everybody = Audience()
    a = Session(everybody, "a")
    everybody.receive(AccessChanged("user", "5"))

    assert a.heard == [AccessChanged("user", "5")]
    assert a.told == []

    await quiet(everybody)

    assert len(a.told) == 1


async def test_when_everything_changed_everybody_looks_at_everything() -> None:
    everybody = Audience()
    a, b = Session(everybody, "a"), Session(everybody, "b")
    everybody.watch(a, ["shop://a"])  # type: ignore[arg-type]
    everybody.receive(EverythingChanged())
    await quiet(everybody)
    lists = [AccessChanged("everybody"), *map(PrimitivesChanged, KINDS)]

    assert a.heard == [*lists, A]
    assert b.heard == lists
    assert len(a.told) == len(b.told) == 1


async def test_what_may_have_changed_what_is_seen_is_counted() -> None:
    everybody = Audience()
    counts = [everybody.heard]
    for event in (A, TOOLS, AccessChanged("user", "5")):
        everybody.receive(event)
        counts.append(everybody.heard)
    everybody.shut()

    assert counts == [0, 0, 1, 2]


async def test_who_has_gone_hears_nothing() -> None:
    everybody = Audience()
    a, b = Session(everybody, "a"), Session(everybody, "b")
    everybody.receive(TOOLS)
    everybody.discard(a)  # type: ignore[arg-type]
    everybody.receive(AccessChanged("everybody"))
    everybody.discard(b)  # type: ignore[arg-type]
    await quiet(everybody)

    assert (a.heard, b.told) == ([], [])


async def test_who_goes_while_others_are_told_is_not_asked() -> None:
    everybody = Audience()
    a, b = Session(everybody, "a"), Session(everybody, "b")

    def leave() -> None:
        everybody.discard(b)  # type: ignore[arg-type]

    a.tell = leave  # type: ignore[method-assign]
    everybody.receive(TOOLS)
    await quiet(everybody)

    assert b.heard == [TOOLS]


@pytest.mark.parametrize("error", [ZeroDivisionError(), ValueError()])
async def test_bug_with_one_connection_is_not_the_others(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    everybody = Audience()
    a, b = Session(everybody, "a"), Session(everybody, "b")
    a.error = error
    everybody.receive(TOOLS)
    await quiet(everybody)

    assert b.told == [[TOOLS]]
    assert len(caplog.records) == 1


async def test_others_have_their_turn_while_many_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audience, "_AT_ONCE", 10)
    everybody = Audience()
    sessions = [Session(everybody, str(number)) for number in range(95)]
    everybody.receive(TOOLS)
    turns = set()
    while not everybody.is_quiet:
        await asyncio.sleep(0)
        turns.add(sum(len(session.told) for session in sessions))

    assert turns >= {10, 20, 30, 40, 50, 60, 70, 80, 90, 95}


async def test_nothing_is_told_after_the_last_has_gone() -> None:
    everybody = Audience()
    everybody.shut()
    a = Session(everybody, "a")
    everybody.receive(TOOLS)
    everybody.schedule(a)  # type: ignore[arg-type]
    timer = everybody._timer
    everybody.shut()

    assert everybody.is_quiet
    assert timer is not None
    assert timer.cancelled()
