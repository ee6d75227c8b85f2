import asyncio
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
import pytest_asyncio
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone, translation

from mcp_channels.protocol.connection import Limits
from mcp_channels.protocol.description import ServerDescription
from mcp_channels.protocol.errors import InvalidParams
from mcp_channels.protocol.types import Implementation, ListToolsResult
from mcp_channels.server import dispatch
from mcp_channels.server.access import Renewed
from mcp_channels.server.audience import Audience
from mcp_channels.server.concurrency import Workers, get_workers
from mcp_channels.server.context import Context
from mcp_channels.server.dispatch import Dispatcher
from mcp_channels.server.events import AccessChanged, PrimitivesChanged
from mcp_channels.server.interaction import ClientRefused
from mcp_channels.server.permissions import Identity
from mcp_channels.server.registry import Registry

PATIENCE = 10.0  # seconds that a test waits for what must happen
EAGER = sys.version_info >= (3, 12)

who: ContextVar[str] = ContextVar("who", default="nobody")


async def until(is_true: Callable[[], Any]) -> None:
    """Wait until something is true that tells nobody of it."""
    async with asyncio.timeout(PATIENCE):
        while not is_true():
            await asyncio.sleep(0.001)


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what the package has logged: what asyncio says may be of other tests."""
    return [record for record in caplog.records if record.name == "mcp_channels"]


class Channel:
    """
    A dispatcher and the client's end of its channel.

    The client reads a frame at once, but goes on to the next only while `reading` is
    set.
    """

    def __init__(
        self,
        *functions: Callable[..., Any],
        limits: Limits | None = None,
        call_timeout: float | None = None,
        interaction_timeout: float | None = None,
        max_in_flight: int | None = None,
        workers: Workers | None = None,
        **options: Any,
    ) -> None:
        registry = Registry()
        for function in functions:
            registry.tool(**options)(function)
        identity = Identity(AnonymousUser())
        self.dispatcher = Dispatcher(
            id="1",
            audience=Audience(),
            description=ServerDescription(
                Implementation("tests", "1"), registry.capabilities
            ),
            limits=limits or Limits(),
            identity=identity,
            catalogue=registry.catalogue_for(identity, page_size=10),
            renew=self._renew,
            workers=workers or get_workers(8),
            send=self._send,
            close=self._close,
            call_timeout=call_timeout,
            interaction_timeout=interaction_timeout,
            max_in_flight=max_in_flight,
            max_subscriptions=None,
        )
        self._registry = registry
        self.sent: list[Any] = []
        self.closed: list[tuple[int, str]] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.error: Exception | None = None  # raised by whoever writes
        self.sending = 0  # how many send at the moment
        self.most_sending = 0

    async def _renew(
        self, identity: Identity, since: float, must_look: bool
    ) -> Renewed:
        return identity, self._registry.catalogue_for(identity, page_size=10)

    async def _send(self, text: str) -> None:
        if self.error is not None:
            raise self.error
        self.sending += 1
        self.most_sending = max(self.most_sending, self.sending)
        try:
            self.sent.append(json.loads(text))
            await self.reading.wait()
        finally:
            self.sending -= 1

    async def _close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))
        if self.error is not None:
            raise self.error

    def put(self, message: Any) -> None:
        self.dispatcher.receive(json.dumps(message))

    def request(self, id: Any, method: str, params: Any = None, **meta: Any) -> None:
        """Send a modern request."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            **meta,
        }
        params = {**(params or {}), "_meta": meta}
        self.put({"jsonrpc": "2.0", "id": id, "method": method, "params": params})

    def call(self, id: Any, name: str, arguments: Any = None, **meta: Any) -> None:
        """Call a tool; want its progress, and all it logs."""
        meta = {
            "progressToken": id,
            "io.modelcontextprotocol/logLevel": "debug",
            **meta,
        }
        params = {"name": name, "arguments": arguments or {}}
        self.request(id, "tools/call", params, **meta)

    def cancel(self, id: Any) -> None:
        params = {"requestId": id, "reason": "no longer wanted"}
        self.put(
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        )

    def call_legacy(self, id: Any, name: str) -> None:
        """Call a tool as a client with a handshake does."""
        params = {"name": name}
        self.put({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})

    async def initialize(self, *, is_complete: bool = True) -> None:
        """Shake hands for 2025-03-26, which has batches."""
        params = {
            "protocolVersion": "2025-03-26",
            "capabilities": {"sampling": {}},
            "clientInfo": {"name": "tests", "version": "1"},
        }
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        self.put(message)
        if is_complete:
            self.put({"jsonrpc": "2.0", "method": "notifications/initialized"})
        await self.until(1)
        self.sent.clear()

    async def until(self, count: int) -> list[Any]:
        """Wait until so many frames came."""
        await until(lambda: len(self.sent) >= count)
        return self.sent

    async def idle(self) -> None:
        """Wait until nothing is worked on and nothing is left to send."""
        dispatcher = self.dispatcher
        await until(
            lambda: (
                not dispatcher.is_busy
                and dispatcher._drainer is None
                and (
                    dispatcher.connection.closing
                    or not dispatcher.connection.has_frames
                )
                and (dispatcher._finisher is None or dispatcher._finisher.done())
            )
        )

    def progresses(self) -> list[float]:
        return [
            frame["params"]["progress"]
            for frame in self.sent
            if frame.get("method") == "notifications/progress"
        ]


def text_of(answer: Any) -> str:
    (block,) = answer["result"]["content"]
    text: str = block["text"]
    return text


MakeChannel = Callable[..., Channel]


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[MakeChannel]:
    """Make channels that are shut when the test ends."""
    channels: list[Channel] = []

    def connect(*functions: Callable[..., Any], **options: Any) -> Channel:
        channels.append(Channel(*functions, **options))
        return channels[-1]

    yield connect
    for channel in channels:
        channel.reading.set()
        await channel.dispatcher.shut()


class Gate:
    """Something that a test opens for tools, in any thread."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()
        self.passed = 0

    def wait(self) -> str:
        self.entered.release()
        assert self.opened.wait(PATIENCE)
        self.passed += 1
        return "passed"

    async def until_entered(self, count: int = 1) -> None:
        for _ in range(count):
            assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE)


@pytest_asyncio.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


def ping() -> str:
    return "pong"


async def ping_async() -> str:
    return "pong"


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


# Side by side


async def test_synchronous_calls_run_side_by_side(connect: MakeChannel) -> None:
    def meet() -> str:
        barrier.wait(PATIENCE)  # broken, unless all eight get here
        return "met"

    barrier = threading.Barrier(8)
    channel = connect(meet)
    for id in range(8):
        channel.call(id, "meet")
    answers = await channel.until(8)

    assert {text_of(answer) for answer in answers} == {"met"}
    assert sorted(answer["id"] for answer in answers) == list(range(8))


async def test_asynchronous_calls_run_side_by_side(connect: MakeChannel) -> None:
    async def meet() -> str:
        async with asyncio.timeout(PATIENCE):
            await barrier.wait()
        return "met"

    barrier = asyncio.Barrier(8)
    channel = connect(meet)
    for id in range(8):
        channel.call(id, "meet")
    answers = await channel.until(8)

    assert {text_of(answer) for answer in answers} == {"met"}


async def test_slow_call_stops_nobody(connect: MakeChannel, gate: Gate) -> None:
    channel = connect(gate.wait, wait_for_ever, ping, ping_async)
    channel.call(1, "wait")
    channel.call(2, "wait_for_ever")
    await gate.until_entered()
    channel.call(3, "ping")
    channel.call(4, "ping_async")
    channel.request(5, "server/discover")
    answers = await channel.until(3)

    assert sorted(answer["id"] for answer in answers) == [3, 4, 5]


async def test_task_starts_at_once_where_it_can(connect: MakeChannel) -> None:
    channel = connect(ping_async)
    channel.call(1, "ping_async")

    assert len(channel.sent) == (1 if EAGER else 0)

    answers = await channel.until(1)

    assert text_of(answers[0]) == "pong"


async def test_what_a_request_sets_does_not_leak_to_the_next(
    connect: MakeChannel,
) -> None:
    async def change() -> str:
        before = f"{who.get()} {translation.get_language()} {zone()}"
        who.set("ada")
        translation.activate("de")
        timezone.activate("Asia/Tokyo")
        return before

    async def change_and_wait() -> str:
        before = await change()
        await asyncio.sleep(0)
        return before

    def zone() -> str:
        return timezone.get_current_timezone_name()

    channel = connect(change, change_and_wait)
    for id, name in enumerate(["change", "change_and_wait"] * 2):
        channel.call(id, name)
    answers = await channel.until(4)

    assert {text_of(answer) for answer in answers} == {
        f"nobody {translation.get_language()} {zone()}"
    }


async def test_batch_is_answered_at_once(connect: MakeChannel) -> None:
    channel = connect(ping, ping_async)
    await channel.initialize()
    channel.put(
        [
            {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": n}}
            for id, n in enumerate(["ping", "ping_async"])
        ]
    )
    (answers,) = await channel.until(1)

    assert sorted(text_of(answer) for answer in answers) == ["pong", "pong"]


async def test_handshake_needs_no_task(connect: MakeChannel) -> None:
    channel = connect(ping)
    await channel.initialize()
    await channel.idle()

    assert not channel.dispatcher.is_busy
    assert channel.sent == []


# Order


async def test_reports_come_before_the_answer(connect: MakeChannel) -> None:
    async def count(context: Context) -> str:
        for number in range(3):
            context.progress(number, 3, f"Step {number}")
            context.log("info", number)
            await asyncio.sleep(0)
        return "done"

    channel = connect(count)
    channel.call(1, "count")
    frames = await channel.until(7)

    assert [frame.get("method") for frame in frames] == [
        "notifications/progress",
        "notifications/message",
    ] * 3 + [None]
    assert channel.progresses() == [0, 1, 2]


async def test_reports_from_a_thread_come_before_the_answer(
    connect: MakeChannel,
) -> None:
    def count(context: Context) -> str:
        for number in range(100):
            context.progress(number)
            context.log("info", number)
        return "done"

    channel = connect(count)
    for _ in range(10):
        channel.call(1, "count")
        frames = await channel.until(201)

        assert channel.progresses() == list(range(100))
        assert text_of(frames[-1]) == "done"

        await channel.idle()
        channel.sent.clear()


async def test_report_from_another_thread_of_an_asynchronous_call_arrives(
    connect: MakeChannel,
) -> None:
    async def count(context: Context) -> str:
        await asyncio.to_thread(context.progress, 1)
        context.progress(2)
        return "done"

    channel = connect(count)
    channel.call(1, "count")
    await channel.until(3)

    assert channel.progresses() == [1, 2]


async def test_flood_of_reports_costs_no_memory(connect: MakeChannel) -> None:
    def report(context: Context) -> None:
        for number in range(20_000):
            context.progress(number)

    async def block(context: Context) -> str:
        # The loop can take none of them meanwhile.
        thread = threading.Thread(target=report, args=[context])
        thread.start()
        thread.join()
        waiting.append(len(channel.dispatcher._reports._posted))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "done"

    waiting: list[int] = []
    channel = connect(block)
    channel.call(1, "block")
    frames = await channel.until(1_001)

    assert waiting == [1_000]
    # The newest are those that matter.
    assert channel.progresses() == list(range(19_000, 20_000))
    assert text_of(frames[-1]) == "done"


async def test_report_when_the_request_is_over_is_not_sent(
    connect: MakeChannel,
) -> None:
    async def keep(context: Context) -> str:
        kept.append(context)
        return "done"

    kept: list[Context] = []
    channel = connect(keep)
    channel.call(1, "keep")
    await channel.until(1)
    kept[0].progress(1)
    kept[0].log("error", "late")
    await asyncio.to_thread(kept[0].progress, 2)
    await asyncio.to_thread(kept[0].log, "error", "late")
    channel.call(2, "keep")
    frames = await channel.until(2)

    assert [frame.get("id") for frame in frames] == [1, 2]


def test_report_when_the_loop_is_gone_is_nobodys_fault() -> None:
    async def connect_and_call() -> None:
        channel = Channel(wait_for_ever)
        channel.call(1, "wait_for_ever")
        dispatcher = channel.dispatcher
        contexts.append(Context(dispatcher.connection._in_flight[1], dispatcher))
        await asyncio.sleep(0)

    def report() -> None:
        contexts[0].progress(1)
        reported.append(True)

    contexts: list[Context] = []
    reported: list[bool] = []
    with asyncio.Runner() as runner:
        runner.run(connect_and_call())
    thread = threading.Thread(target=report)
    thread.start()
    thread.join()

    assert reported == [True]


# Cancellation


async def test_cancelled_call_sends_no_reply(connect: MakeChannel) -> None:
    async def wait(context: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            context.progress(1)
            context.log("error", "cancelled")
            stopped.set()
            raise

    started, stopped = asyncio.Event(), asyncio.Event()
    channel = connect(wait)
    channel.call(1, "wait")
    await started.wait()
    channel.cancel(1)
    await channel.idle()

    assert stopped.is_set()
    assert not channel.dispatcher.is_busy
    assert channel.sent == []


async def test_cancelled_call_may_not_have_begun(connect: MakeChannel) -> None:
    async def wait() -> None:
        started.append(True)
        await asyncio.Event().wait()

    started: list[bool] = []
    channel = connect(wait)
    channel.call(1, "wait")
    channel.cancel(1)
    await channel.idle()

    assert started == ([True] if EAGER else [])
    assert not channel.dispatcher.is_busy
    assert channel.sent == []


async def test_call_that_is_cancelled_by_its_own_batch_never_begins(
    connect: MakeChannel,
) -> None:
    async def touch() -> None:
        touched.append(True)

    touched: list[bool] = []
    channel = connect(touch)
    await channel.initialize()
    params = {"name": "touch"}
    channel.put(
        [
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
            {
                "jsonrpc": "2.0",
                "method": "notifications/cancelled",
                "params": {"requestId": 1},
            },
        ]
    )
    await channel.idle()

    assert touched == []
    assert channel.sent == []


async def test_answer_of_who_does_not_stop_is_dropped(connect: MakeChannel) -> None:
    async def wait(context: Context) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        context.progress(1)
        return "done anyhow"

    started = asyncio.Event()
    channel = connect(wait)
    channel.call(1, "wait")
    await started.wait()
    channel.cancel(1)
    await channel.idle()

    assert channel.sent == []


@pytest.mark.parametrize("fails", [False, True])
async def test_thread_that_is_cancelled_is_not_heard_any_more(
    connect: MakeChannel, gate: Gate, fails: bool
) -> None:
    def wait(context: Context) -> str:
        context.progress(1)
        gate.wait()
        context.progress(2)
        if fails:
            raise ValueError
        return "late"

    channel = connect(wait)
    channel.call(1, "wait")
    await gate.until_entered()
    await channel.until(1)
    channel.cancel(1)
    gate.opened.set()
    await channel.idle()

    assert gate.passed == 1
    assert channel.progresses() == [1]
    assert len(channel.sent) == 1


async def test_thread_counts_until_it_ends_though_it_is_cancelled(
    connect: MakeChannel, gate: Gate
) -> None:
    channel = connect(gate.wait, ping, max_in_flight=2)
    for id in (1, 2):
        channel.call(id, "wait")
    await gate.until_entered(2)
    for id in (1, 2):
        channel.cancel(id)
    await asyncio.sleep(0.01)
    channel.call(3, "ping")
    answers = await channel.until(1)

    assert channel.dispatcher.is_busy
    assert answers[0]["error"]["code"] == -32600

    gate.opened.set()
    await channel.idle()
    channel.call(4, "ping")
    answers = await channel.until(2)

    assert text_of(answers[1]) == "pong"


async def test_call_that_waits_for_a_thread_is_never_made_when_cancelled(
    connect: MakeChannel, gate: Gate
) -> None:
    def touch() -> None:
        touched.append(True)

    touched: list[bool] = []
    workers = Workers(1)
    try:
        channel = connect(gate.wait, touch, workers=workers)
        channel.call(1, "wait")
        await gate.until_entered()
        channel.call(2, "touch")
        await asyncio.sleep(0)
        channel.cancel(2)
        await until(lambda: len(channel.dispatcher._tasks) == 1)
        gate.opened.set()
        answers = await channel.until(1)
        await channel.idle()
    finally:
        workers._executor.shutdown()

    assert touched == []
    assert [answer["id"] for answer in answers] == [1]


async def test_id_may_be_used_again_after_its_cancellation(
    connect: MakeChannel, gate: Gate
) -> None:
    def slow() -> str:
        gate.wait()
        return "the old one"

    channel = connect(slow, wait_for_ever, ping)
    for name in ("slow", "wait_for_ever"):
        channel.call("a", name)
        await asyncio.sleep(0)
        if name == "slow":
            await gate.until_entered()
        channel.cancel("a")
    channel.call("a", "ping")
    answers = await channel.until(1)
    gate.opened.set()
    await channel.idle()

    assert [text_of(answer) for answer in answers] == ["pong"]


async def test_second_use_of_an_id_can_be_cancelled_itself(
    connect: MakeChannel, gate: Gate
) -> None:
    channel = connect(gate.wait, wait_for_ever)
    channel.call(1, "wait")
    await gate.until_entered()
    channel.cancel(1)
    channel.call(1, "wait_for_ever")
    await asyncio.sleep(0)
    channel.cancel(1)
    gate.opened.set()
    await channel.idle()

    assert channel.sent == []


@pytest.mark.parametrize("id", [2, "1", 1.0, None, True, [1]])
async def test_cancellation_of_another_id_is_ignored(
    connect: MakeChannel, id: Any
) -> None:
    async def wait() -> str:
        await event.wait()
        return "done"

    event = asyncio.Event()
    channel = connect(wait)
    channel.call(1, "wait")
    channel.cancel(id)
    await asyncio.sleep(0)
    event.set()
    answers = await channel.until(1)

    assert text_of(answers[0]) == "done"


async def test_cancellation_of_a_finished_call_is_ignored(
    connect: MakeChannel,
) -> None:
    channel = connect(ping)
    channel.call(1, "ping")
    await channel.until(1)
    channel.cancel(1)
    channel.call(1, "ping")
    answers = await channel.until(2)

    assert [text_of(answer) for answer in answers] == ["pong", "pong"]


# Timeouts


@pytest.mark.parametrize(
    "options",
    [{"call_timeout": 0.01}, {"timeout": 0.01}, {"call_timeout": 60, "timeout": 0.01}],
)
@pytest.mark.parametrize("swallows", [False, True])
async def test_call_that_takes_too_long_is_answered_once(
    connect: MakeChannel,
    options: Any,
    swallows: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def wait(context: Context) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not swallows:
                raise
        context.progress(1)
        return "late"

    channel = connect(wait, **options)
    channel.call(1, "wait")
    answers = await channel.until(1)
    await channel.idle()
    channel.request(2, "tools/list")
    answers = await channel.until(2)

    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[0]["result"]["isError"] is True
    assert text_of(answers[0]) == "Tool 'wait' did not finish in time."
    assert [record.getMessage() for record in logged(caplog)] == [
        "tools/call did not finish in time"
    ]


async def test_time_that_is_over_may_be_an_error(connect: MakeChannel) -> None:
    async def wait(context: Context) -> None:
        late = InvalidParams("Too late")
        context.session.expire_after(0, context.request, late)
        await asyncio.Event().wait()

    channel = connect(wait)
    channel.call(1, "wait")
    (answered,) = await channel.until(1)
    await channel.idle()

    assert answered["error"] == {"code": -32602, "message": "Too late"}
    assert len(channel.sent) == 1


async def test_own_timeout_may_be_longer_than_that_of_all(
    connect: MakeChannel,
) -> None:
    async def wait() -> str:
        await asyncio.sleep(0.02)
        return "done"

    channel = connect(wait, call_timeout=0.001, timeout=60)
    channel.call(1, "wait")
    answers = await channel.until(1)

    assert text_of(answers[0]) == "done"


async def test_call_may_take_for_ever_without_a_timeout(connect: MakeChannel) -> None:
    channel = connect(wait_for_ever, call_timeout=None)
    channel.call(1, "wait_for_ever")
    await asyncio.sleep(0)

    assert channel.dispatcher._timer is None
    assert channel.dispatcher._deadlines == {}


async def test_thread_that_takes_too_long_is_not_heard_any_more(
    connect: MakeChannel, gate: Gate
) -> None:
    def wait(context: Context) -> str:
        gate.wait()
        context.progress(1)
        return "late"

    channel = connect(wait, ping, call_timeout=60, max_in_flight=1)
    channel.call(1, "wait")
    # What is still in the queue of the pool would be taken out of it.
    await gate.until_entered()
    ((request, (_, late)),) = channel.dispatcher._deadlines.items()
    channel.dispatcher._set_deadline(request, 0, late)
    answers = await channel.until(1)

    assert text_of(answers[0]) == "Tool 'wait' did not finish in time."

    channel.call(2, "ping")
    answers = await channel.until(2)

    # It still counts.
    assert answers[1]["error"]["code"] == -32600

    gate.opened.set()
    await channel.idle()

    assert gate.passed == 1
    assert len(channel.sent) == 2


async def test_one_timer_serves_all_calls(
    connect: MakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(seconds: float) -> None:
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def count(when: float, callback: Any, *arguments: Any, **options: Any) -> Any:
        if callback == channel.dispatcher._expire:
            timers.append(when)
        return call_at(when, callback, *arguments, **options)

    monkeypatch.setattr(loop, "call_at", count)
    channel = connect(wait_for_ever, call_timeout=60)
    for id in range(100):
        channel.call(id, "wait_for_ever")
    await until(lambda: len(channel.dispatcher._deadlines) == 100)

    assert len(timers) == 1


async def test_earlier_deadline_comes_first(connect: MakeChannel) -> None:
    registry = Registry()
    registry.tool(name="first", timeout=0.01)(wait_for_ever)
    registry.tool(name="second", timeout=600)(wait_for_ever)
    registry.tool(name="third", timeout=6_000)(wait_for_ever)
    channel = connect(ping)
    dispatcher = channel.dispatcher
    dispatcher.access.catalogue = registry.catalogue_for(
        dispatcher.identity, page_size=10
    )
    for name in ("third", "second", "first"):
        channel.call(name, name)
    answers = await channel.until(1)
    timer = dispatcher._timer

    assert [answer["id"] for answer in answers] == ["first"]
    assert timer is not None
    assert 500 < timer.when() - dispatcher.loop.time() < 600

    channel.cancel("second")
    dispatcher._expire()
    timer = dispatcher._timer

    assert timer is not None
    assert timer.when() - dispatcher.loop.time() > 5_000


async def test_call_that_ends_in_time_is_answered_once(
    connect: MakeChannel, caplog: pytest.LogCaptureFixture
) -> None:
    channel = connect(ping, ping_async, call_timeout=60)
    channel.call(1, "ping")
    channel.call(2, "ping_async")
    answers = await channel.until(2)
    channel.dispatcher._expire()

    assert [text_of(answer) for answer in answers] == ["pong", "pong"]
    assert channel.dispatcher._timer is None
    assert logged(caplog) == []


async def test_cancelled_call_has_no_deadline(connect: MakeChannel, gate: Gate) -> None:
    channel = connect(gate.wait, call_timeout=60)
    channel.call(1, "wait")
    await gate.until_entered()

    assert len(channel.dispatcher._deadlines) == 1

    channel.cancel(1)

    # Though its thread goes on.
    assert channel.dispatcher.is_busy
    assert channel.dispatcher._deadlines == {}


# The limit of requests in flight


@pytest.mark.parametrize("limit", [1, 3])
async def test_request_beyond_the_limit_is_refused(
    connect: MakeChannel, limit: int
) -> None:
    async def wait() -> str:
        await event.wait()
        return "done"

    event = asyncio.Event()
    channel = connect(wait, max_in_flight=limit)
    for id in range(limit + 1):
        channel.call(id, "wait")
    answers = await channel.until(1)

    assert len(answers) == 1
    assert answers[0]["id"] == limit
    assert answers[0]["error"] == {
        "code": -32600,
        "message": f"Too many requests in flight: wait for one of {limit} to end",
    }

    event.set()
    await channel.until(limit + 1)
    await channel.idle()
    channel.call("a", "wait")
    answers = await channel.until(limit + 2)

    assert text_of(answers[-1]) == "done"


async def test_refused_request_leaves_its_id_free(connect: MakeChannel) -> None:
    channel = connect(wait_for_ever, max_in_flight=1)
    channel.call(1, "wait_for_ever")
    for _ in range(3):
        channel.call(2, "wait_for_ever")
    answers = await channel.until(3)

    assert {answer["error"]["code"] for answer in answers} == {-32600}
    assert "already in flight" not in str(answers)


async def test_what_is_answered_at_once_does_not_count(connect: MakeChannel) -> None:
    channel = connect(wait_for_ever, max_in_flight=1)
    channel.call(1, "wait_for_ever")
    channel.request(2, "server/discover")
    answers = await channel.until(1)

    assert "result" in answers[0]


async def test_no_limit_is_no_limit(connect: MakeChannel) -> None:
    channel = connect(wait_for_ever, max_in_flight=None)
    for id in range(200):
        channel.call(id, "wait_for_ever")
    channel.request("a", "tools/list")
    answers = await channel.until(1)

    assert "result" in answers[0]
    assert channel.dispatcher.is_busy


@pytest.mark.parametrize("name", ["ping", "ping_async"])
async def test_call_whose_answer_waits_for_the_reader_does_not_count(
    connect: MakeChannel, name: str
) -> None:
    channel = connect(ping, ping_async, max_in_flight=1)
    channel.reading.clear()
    for id in range(5):
        channel.call(id, name)
        await until(lambda: not channel.dispatcher.is_busy)
    channel.reading.set()
    answers = await channel.until(5)
    await channel.idle()

    assert [text_of(answer) for answer in answers] == ["pong"] * 5


# Handlers that fail

Handler = Callable[[Context, Any], Awaitable[Any]]


async def list_with(
    connect: MakeChannel, monkeypatch: pytest.MonkeyPatch, handler: Handler
) -> Any:
    """Return the error of a request that `handler` answers, and see that the next one
    is answered."""
    channel = connect(ping)
    monkeypatch.setitem(dispatch.HANDLERS, "tools/list", handler)
    channel.request(1, "tools/list")
    answers = await channel.until(1)
    await channel.idle()
    channel.call(2, "ping")
    answers = await channel.until(2)

    assert answers[0]["id"] == 1
    assert text_of(answers[1]) == "pong"
    assert not channel.dispatcher.is_busy
    return answers[0]["error"]


class Abort(BaseException):
    """What `except Exception` does not catch."""


@pytest.mark.parametrize("kind", [ValueError, KeyError, SystemExit, RecursionError])
@pytest.mark.parametrize("waits", [False, True])
async def test_exception_of_a_handler_is_logged_and_never_shown(
    connect: MakeChannel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: type[BaseException],
    waits: bool,
) -> None:
    async def fail(context: Context, params: Any) -> Any:
        if waits:
            await asyncio.sleep(0)
        raise kind("secret")

    error = await list_with(connect, monkeypatch, fail)

    assert error == {"code": -32603, "message": "Internal error"}
    assert "tools/list failed" in caplog.text
    assert "secret" in caplog.text


@pytest.mark.parametrize("kind", [asyncio.CancelledError, Abort])
@pytest.mark.parametrize("waits", [False, True])
async def test_what_is_no_exception_is_answered_too(
    connect: MakeChannel,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[BaseException],
    waits: bool,
) -> None:
    async def fail(context: Context, params: Any) -> Any:
        if waits:
            await asyncio.sleep(0)
        raise kind("secret")

    # A task that ends so complains when nobody asks why.
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    error = await list_with(connect, monkeypatch, fail)

    assert error == {"code": -32603, "message": "Internal error"}


@pytest.mark.parametrize("is_async", [False, True])
async def test_tool_may_raise_cancelled_error_itself(
    connect: MakeChannel, is_async: bool
) -> None:
    def fail() -> None:
        raise asyncio.CancelledError

    async def fail_async() -> None:
        fail()

    channel = connect(fail, fail_async, ping)
    channel.call(1, "fail_async" if is_async else "fail")
    answers = await channel.until(1)

    assert answers[0]["error"]["code"] == -32603

    channel.call(2, "ping")
    answers = await channel.until(2)

    assert text_of(answers[1]) == "pong"


async def test_error_of_the_protocol_is_passed_on(
    connect: MakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(context: Context, params: Any) -> Any:
        raise InvalidParams("Not this one")

    error = await list_with(connect, monkeypatch, refuse)

    assert error == {"code": -32602, "message": "Not this one"}


async def test_answer_that_cannot_be_encoded_is_an_internal_error(
    connect: MakeChannel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def list_nothing(context: Context, params: Any) -> Any:
        return ListToolsResult(tools=[], meta={"a": object()})

    error = await list_with(connect, monkeypatch, list_nothing)

    assert error == {"code": -32603, "message": "Internal error"}
    assert "tools/list failed" in caplog.text


async def test_method_without_a_handler_is_an_internal_error(
    connect: MakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = connect(ping)
    monkeypatch.delitem(dispatch.HANDLERS, "tools/list")
    channel.request(1, "tools/list")
    answers = await channel.until(1)

    assert answers[0]["error"]["code"] == -32603


# The outbox


async def test_frames_leave_in_order_one_at_a_time(connect: MakeChannel) -> None:
    async def count(context: Context) -> str:
        for number in range(5):
            context.progress(number)
            await asyncio.sleep(0)
        return "done"

    channel = connect(count, ping)
    channel.reading.clear()
    for id in range(3):
        channel.call(id, "count")
        channel.call(f"ping-{id}", "ping")
        channel.request(f"discover-{id}", "server/discover")
    await until(lambda: not channel.dispatcher.is_busy)

    assert len(channel.sent) == 1

    channel.reading.set()
    frames = await channel.until(3 * 8)
    await channel.idle()

    assert channel.most_sending == 1
    for id in range(3):
        mine = [
            frame.get("id", frame.get("params", {}).get("progress"))
            for frame in frames
            if frame.get("id") == id
            or frame.get("params", {}).get("progressToken") == id
        ]

        assert mine == [0, 1, 2, 3, 4, id]


async def test_failing_socket_ends_in_silence(
    connect: MakeChannel, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait(context: Context) -> str:
        await event.wait()
        context.progress(1)
        return "done"

    event = asyncio.Event()
    channel = connect(wait, ping)
    channel.call(1, "wait")
    channel.error = OSError("the socket is gone")
    channel.call(2, "ping")
    await until(lambda: not channel.dispatcher.connection._in_flight)
    event.set()
    await channel.idle()

    assert channel.sent == []
    assert not channel.dispatcher.connection.has_frames
    assert [record for record in logged(caplog) if record.levelno > logging.DEBUG] == []


# Closing


async def test_channel_is_closed_after_what_is_due(connect: MakeChannel) -> None:
    channel = connect(ping)
    channel.reading.clear()
    channel.request(1, "server/discover")
    channel.request(2, "server/discover")
    await channel.until(1)
    channel.reading.set()
    channel.request(3, "server/discover")
    channel.dispatcher.close(1003, "Only text")
    await until(lambda: channel.closed)

    assert channel.closed == [(1003, "Only text")]
    assert [frame["id"] for frame in channel.sent] == [1, 2, 3]


async def test_first_reason_to_close_wins(connect: MakeChannel) -> None:
    channel = connect(ping)
    channel.dispatcher.close(1003, "Only text")
    channel.dispatcher.close(1000, "Idle")
    await channel.idle()

    assert channel.closed == [(1003, "Only text")]


async def test_nothing_is_answered_once_the_channel_closes(
    connect: MakeChannel,
) -> None:
    async def wait(context: Context) -> str:
        await event.wait()
        context.progress(1)
        return "done"

    event = asyncio.Event()
    channel = connect(wait, ping)
    channel.call(1, "wait")
    await asyncio.sleep(0)
    channel.dispatcher.close(1000, "Idle")
    channel.call(2, "ping")
    channel.dispatcher.receive("no JSON")
    event.set()
    await channel.idle()

    assert channel.sent == []
    assert channel.closed == [(1000, "Idle")]


async def test_too_many_violations_close_the_channel(connect: MakeChannel) -> None:
    channel = connect(ping, limits=Limits(max_violations=2))
    for _ in range(4):
        channel.dispatcher.receive("no JSON")
    await until(lambda: channel.closed)

    assert channel.closed == [(1008, "Too many malformed messages")]
    assert [frame["error"]["code"] for frame in channel.sent] == [-32700] * 3


@pytest.mark.parametrize(
    "limits", [Limits(max_outbox_frames=2), Limits(max_outbox_bytes=100)]
)
@pytest.mark.parametrize("name", ["ping", "ping_async"])
async def test_reader_that_is_too_slow_is_left(
    connect: MakeChannel, monkeypatch: pytest.MonkeyPatch, limits: Limits, name: str
) -> None:
    monkeypatch.setattr(dispatch, "_CLOSING_GRACE", 0.01)
    channel = connect(ping, ping_async, limits=limits)
    channel.reading.clear()
    for id in range(5):
        channel.call(id, name)
    await until(lambda: channel.closed)

    # Though the one frame is still being sent.
    assert channel.sending == 1
    assert channel.closed == [(1013, "The client reads too slowly")]


async def test_reports_never_close_the_channel(connect: MakeChannel) -> None:
    async def count(context: Context) -> str:
        for number in range(50):
            context.progress(number)
        await asyncio.sleep(0)
        return "done"

    channel = connect(count, limits=Limits(max_outbox_frames=10))
    channel.reading.clear()
    channel.call(1, "count")
    await channel.until(1)
    channel.reading.set()
    await channel.idle()

    assert channel.progresses()[0] == 0
    assert len(channel.progresses()) < 50
    assert channel.closed in ([], [(1013, "The client reads too slowly")])


async def test_channel_is_closed_though_nobody_reads_what_is_due(
    connect: MakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_CLOSING_GRACE", 0.01)
    channel = connect(ping, limits=Limits(max_violations=0))
    channel.reading.clear()
    channel.dispatcher.receive("no JSON")
    await until(lambda: channel.closed)

    assert channel.closed == [(1008, "Too many malformed messages")]


async def test_channel_that_cannot_be_closed_is_left(connect: MakeChannel) -> None:
    channel = connect(ping)
    channel.error = RuntimeError("closed already")
    channel.dispatcher.close(1000, "Idle")
    await channel.idle()

    assert channel.closed == [(1000, "Idle")]


# Questions to the client


async def ask(context: Context) -> str:
    return (await context.asample("Hello", max_tokens=5)).model


def ask_in_thread(context: Context) -> str:
    return context.sample("Hello", max_tokens=5).model


def answer(question: Any) -> dict[str, Any]:
    content = {"type": "text", "text": "Hello"}
    result = {"role": "assistant", "content": content, "model": "m"}
    return {"jsonrpc": "2.0", "id": question["id"], "result": result}


in_task_and_thread = pytest.mark.parametrize("name", ["ask", "ask_in_thread"])


@in_task_and_thread
async def test_answer_of_the_client_comes_to_the_call_that_asked(
    connect: MakeChannel, name: str
) -> None:
    channel = connect(ask, ask_in_thread)
    await channel.initialize()
    channel.call_legacy(1, name)
    channel.call_legacy(2, name)
    questions = list(await channel.until(2))
    channel.put(answer(questions[1]))
    channel.put(answer(questions[0]))
    answers = (await channel.until(4))[2:]

    assert {question["method"] for question in questions} == {"sampling/createMessage"}
    assert sorted((found["id"], text_of(found)) for found in answers) == [
        (1, "m"),
        (2, "m"),
    ]


@in_task_and_thread
async def test_call_of_a_modern_client_ends_with_its_question(
    connect: MakeChannel, name: str
) -> None:
    channel = connect(ask, ask_in_thread)
    capabilities = {"io.modelcontextprotocol/clientCapabilities": {"sampling": {}}}
    channel.call(1, name, **capabilities)
    (asked,) = await channel.until(1)
    (question,) = asked["result"]["inputRequests"].values()

    assert asked["result"]["resultType"] == "input_required"
    assert question["method"] == "sampling/createMessage"


async def test_wrong_state_is_refused_though_nobody_asks(connect: MakeChannel) -> None:
    channel = connect(ping)
    channel.request(1, "tools/call", {"name": "ping", "requestState": "x"})
    channel.request(2, "tools/call", {"name": "ping", "requestState": None})
    answers = await channel.until(2)

    assert {found["id"]: found.get("error", {}).get("code") for found in answers} == {
        1: -32602,
        2: None,
    }


async def test_nothing_is_asked_before_the_handshake_is_over(
    connect: MakeChannel,
) -> None:
    channel = connect(ask, ping)
    await channel.initialize(is_complete=False)
    channel.call_legacy(1, "ask")
    # A thread looks after the params of a question first.
    for id in range(2, 5):
        channel.call_legacy(id, "ping")
        await channel.until(id - 1)

    assert [frame["id"] for frame in channel.sent] == [2, 3, 4]

    channel.put({"jsonrpc": "2.0", "method": "notifications/initialized"})
    question = (await channel.until(4))[-1]
    channel.put(answer(question))

    assert text_of((await channel.until(5))[-1]) == "m"


@in_task_and_thread
async def test_client_that_does_not_answer_is_not_waited_for(
    connect: MakeChannel, name: str
) -> None:
    channel = connect(ask, ask_in_thread, interaction_timeout=0.01)
    await channel.initialize()
    channel.call_legacy(1, name)
    question, taken_back, answered = await channel.until(3)

    assert taken_back["method"] == "notifications/cancelled"
    assert taken_back["params"]["requestId"] == question["id"]
    assert answered["result"]["isError"] is True
    assert text_of(answered) == "The client gave no answer in time."

    # Nobody misses what comes now.
    channel.put(answer(question))
    await channel.idle()

    assert len(channel.sent) == 3


async def test_time_of_a_call_stands_still_while_the_client_is_asked(
    connect: MakeChannel,
) -> None:
    deadlines: list[float] = []

    async def hurry(context: Context) -> str:
        deadlines.append(channel.dispatcher._deadlines[context.request][0])
        model = await ask(context)
        deadlines.append(channel.dispatcher._deadlines[context.request][0])
        return model

    channel = connect(hurry, call_timeout=60)
    await channel.initialize()
    channel.call_legacy(1, "hurry")
    (question,) = await channel.until(1)
    asked = channel.dispatcher.loop.time()

    assert channel.dispatcher._deadlines == {}

    await until(lambda: channel.dispatcher.loop.time() > asked + 0.02)
    channel.put(answer(question))

    assert text_of((await channel.until(2))[-1]) == "m"
    assert deadlines[1] >= deadlines[0] + 0.02
    assert channel.dispatcher._deadlines == {}


@in_task_and_thread
async def test_cancelled_call_takes_its_question_back(
    connect: MakeChannel, name: str
) -> None:
    channel = connect(ask, ask_in_thread)
    await channel.initialize()
    channel.call_legacy(1, name)
    channel.call_legacy(2, name)
    questions = list(await channel.until(2))
    channel.cancel(1)
    taken_back = (await channel.until(3))[2]
    (left,) = (q for q in questions if q["id"] != taken_back["params"]["requestId"])
    channel.put(answer(left))
    answered = (await channel.until(4))[3]
    await channel.idle()

    assert taken_back["method"] == "notifications/cancelled"
    assert (answered["id"], text_of(answered)) == (2, "m")
    assert len(channel.sent) == 4


@in_task_and_thread
async def test_answer_right_behind_the_cancellation_is_too_late(
    connect: MakeChannel, name: str
) -> None:
    channel = connect(ask, ask_in_thread)
    await channel.initialize()
    channel.call_legacy(1, name)
    (question,) = await channel.until(1)
    channel.cancel(1)
    channel.put(answer(question))
    await channel.idle()

    assert channel.sent == [question]
    assert channel.dispatcher._questions == {}


async def test_nothing_is_asked_for_a_call_that_is_over(connect: MakeChannel) -> None:
    started, refusals = asyncio.Event(), list[str]()

    async def ask_late(context: Context) -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(ClientRefused) as caught:
                await ask(context)
            refusals.append(str(caught.value))

    channel = connect(ask_late, call_timeout=60)
    await channel.initialize()
    channel.call_legacy(1, "ask_late")
    await started.wait()
    channel.cancel(1)
    await channel.idle()

    assert refusals == ["The request is over."]
    assert channel.sent == []
    assert channel.dispatcher._deadlines == {}


@in_task_and_thread
async def test_end_frees_who_waits_for_an_answer(
    connect: MakeChannel, name: str
) -> None:
    channel = connect(ask, ask_in_thread)
    await channel.initialize()
    channel.call_legacy(1, name)
    await channel.until(1)
    async with asyncio.timeout(PATIENCE):
        await channel.dispatcher.shut()

    assert not channel.dispatcher.is_busy
    assert channel.dispatcher._questions == {}
    assert len(channel.sent) == 1


async def test_thread_that_waits_is_cancelled_as_asynchronous_code_is(
    connect: MakeChannel,
) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    def wait() -> str:
        try:
            channel.dispatcher.wait_for(cancelled())
        except Exception:
            return "an exception"
        except asyncio.CancelledError:
            return "cancelled"
        return "nothing"

    channel = connect(ping)

    assert await asyncio.to_thread(wait) == "cancelled"


async def test_event_loop_must_not_wait_for_itself(connect: MakeChannel) -> None:
    async def never() -> None:
        raise AssertionError

    channel = connect(ping)
    with pytest.raises(RuntimeError, match="the method that begins with an a"):
        channel.dispatcher.wait_for(never())


# Access that changes

EVERYBODY = AccessChanged("everybody")


def registry_of(*functions: Callable[..., Any]) -> Registry:
    registry = Registry()
    for function in functions:
        registry.tool(function)
    return registry


async def test_call_of_what_is_hidden_now_is_answered_as_if_it_always_was(
    connect: MakeChannel,
) -> None:
    channel = connect(wait_for_ever, ping_async)
    await channel.initialize()
    channel.call(1, "wait_for_ever")
    channel.request(2, "subscriptions/listen", {"notifications": {}})
    await channel.until(1)
    channel._registry = registry_of(ping_async)
    changed = await channel.dispatcher.refresh()
    channel.dispatcher.wake()
    answered = (await channel.until(2))[1]
    await until(lambda: len(channel.dispatcher._tasks) == 1)

    assert list(changed) == ["tools"]
    assert (answered["id"], answered["error"]["code"]) == (1, -32602)
    assert channel.dispatcher.catalogue.tools.keys() == {"ping_async"}


async def test_request_waits_until_a_change_of_access_was_looked_at(
    connect: MakeChannel,
) -> None:
    channel = connect(ping, ping_async)
    channel._registry = registry_of(ping)
    channel.dispatcher.notify(EVERYBODY)

    assert not channel.dispatcher.access.is_current

    channel.call(1, "ping_async")
    channel.call(2, "ping")
    answers = await channel.until(2)

    assert channel.dispatcher.access.is_current
    assert {found["id"]: "error" in found for found in answers} == {1: True, 2: False}


async def test_request_that_waits_for_access_has_its_time(
    connect: MakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    channel = connect(ping, call_timeout=0.01)
    monkeypatch.setattr(channel.dispatcher.access, "refresh", never)
    channel.dispatcher.notify(EVERYBODY)
    channel.call(1, "ping")
    (answered,) = await channel.until(1)

    assert answered["error"] == {"code": -32603, "message": "Try again later"}


async def test_change_of_the_access_of_others_is_not_looked_at(
    connect: MakeChannel,
) -> None:
    channel = connect(ping)
    channel.dispatcher.notify(AccessChanged("user", "7"))

    assert channel.dispatcher.access.is_current
    assert not channel.dispatcher.subscriptions._pending


async def test_news_are_for_the_subscriptions(connect: MakeChannel) -> None:
    channel = connect(ping)
    changed = PrimitivesChanged("tools")
    channel.dispatcher.notify(changed)

    assert list(channel.dispatcher.subscriptions._pending) == [changed]


async def test_look_is_taken_though_nothing_was_heard(connect: MakeChannel) -> None:
    channel = connect(ping)
    channel.dispatcher.look_again()

    # Nobody has to wait for it.
    assert channel.dispatcher.access.is_current
    assert list(channel.dispatcher.subscriptions._pending) == [EVERYBODY]

    channel.dispatcher.revoke()
    channel.dispatcher.look_again()

    assert not channel.dispatcher.subscriptions._pending


async def test_revocation_ends_the_channel_and_all_that_was_due(
    connect: MakeChannel,
) -> None:
    async def wait(context: Context) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            context.progress(1)
        return "secret"

    started = asyncio.Event()
    channel = connect(wait, ping_async)
    dispatcher = channel.dispatcher
    channel.reading.clear()
    channel.call(1, "wait")
    channel.call(2, "ping_async")
    channel.call(3, "ping_async")
    await started.wait()
    # The client is at the answer to one of them, and the other has to wait.
    await until(lambda: channel.sent and dispatcher.connection.has_frames)
    dispatcher.revoke()
    dispatcher.notify(EVERYBODY)
    channel.call(4, "ping_async")
    await channel.idle()

    assert channel.closed == [(1008, "Access was revoked")]
    assert len(channel.sent) == 1
    assert not dispatcher.is_busy
    assert dispatcher.access.is_current


async def test_revocation_of_an_idle_channel(connect: MakeChannel) -> None:
    channel = connect(ping)
    channel.dispatcher.revoke()
    await channel.idle()

    assert channel.closed == [(1008, "Access was revoked")]
    assert channel.sent == []


# What is done beside the requests


async def test_chore_ends_with_the_channel(connect: MakeChannel) -> None:
    done: list[str] = []

    async def stay() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            done.append("stayed")

    async def go() -> None:
        done.append("gone")

    channel = connect(ping)
    channel.dispatcher.do(stay())
    channel.dispatcher.do(go())
    await until(lambda: done == ["gone"])
    await until(lambda: len(channel.dispatcher._chores) == 1)
    await channel.dispatcher.shut()

    assert done == ["gone", "stayed"]
    assert channel.dispatcher._chores == set()


# The end


async def test_end_stops_everything(connect: MakeChannel) -> None:
    async def wait(context: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            context.progress(1)
            stopped.append(True)

    stopped: list[bool] = []
    channel = connect(wait, call_timeout=60)
    channel.call(1, "wait")
    channel.call(2, "wait")
    await asyncio.sleep(0)
    await channel.dispatcher.shut()
    timer = channel.dispatcher._timer

    assert stopped == [True, True]
    assert not channel.dispatcher.is_busy
    assert timer is not None
    assert timer.cancelled()

    channel.call(3, "wait")
    await asyncio.sleep(0)

    assert not channel.dispatcher.is_busy
    assert channel.sent == []
    assert channel.closed == []


async def test_end_of_an_idle_channel_waits_for_nothing(connect: MakeChannel) -> None:
    channel = connect(ping)
    channel.call(1, "ping")
    await channel.until(1)
    await channel.idle()
    await channel.dispatcher.shut()
    await channel.dispatcher.shut()

    assert len(channel.sent) == 1


async def test_end_frees_who_is_stuck_in_sending(connect: MakeChannel) -> None:
    channel = connect(ping, ping_async)
    channel.reading.clear()
    channel.call(1, "ping")
    channel.call(2, "ping_async")
    await channel.until(1)
    await until(lambda: not channel.dispatcher.is_busy)
    await channel.dispatcher.shut()

    assert channel.sending == 0
    assert len(channel.sent) == 1


async def test_end_does_not_wait_for_who_does_not_stop(
    connect: MakeChannel, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go_on() -> str:
        while not event.is_set():
            try:
                await event.wait()
            except asyncio.CancelledError:
                refused.append(True)
        return "late"

    refused: list[bool] = []
    event = asyncio.Event()
    monkeypatch.setattr(dispatch, "_CLOSING_GRACE", 0.01)
    channel = connect(gate.wait, go_on)
    channel.call(1, "wait")
    channel.call(2, "go_on")
    await gate.until_entered()
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await channel.dispatcher.shut()

    assert refused == [True]
    # Nobody else keeps them.
    assert len(dispatch._LEFT_BEHIND) == 2

    event.set()
    gate.opened.set()
    await until(lambda: not dispatch._LEFT_BEHIND)

    assert gate.passed == 1
    assert channel.sent == []


async def test_end_may_itself_be_cancelled(connect: MakeChannel) -> None:
    async def clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await event.wait()
            cleaned.append(True)

    cleaned: list[bool] = []
    event = asyncio.Event()
    channel = connect(clean_up)
    channel.call(1, "clean_up")
    await asyncio.sleep(0)
    end = asyncio.create_task(channel.dispatcher.shut())
    await asyncio.sleep(0)
    end.cancel()
    with pytest.raises(asyncio.CancelledError):
        await end

    assert len(dispatch._LEFT_BEHIND) == 1

    event.set()
    await until(lambda: not dispatch._LEFT_BEHIND)

    assert cleaned == [True]
