"""A connection that comes back, against a real server and through a real proxy."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mcp_channels.client import channel as module
from mcp_channels.client import connection as connection_module
from mcp_channels.client.channel import Channel
from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.conversation import Conversation
from mcp_channels.client.errors import (
    CONNECTION_LOST,
    MESSAGE_TOO_LARGE,
    OUTCOME_UNKNOWN,
    REQUEST_TIMED_OUT,
    ConnectionFailed,
)
from tests.client.proxy import Proxy
from tests.client.stranger import PATIENCE, Refusal, Stranger


def configure(url: str, **options: Any) -> WebSocketConfig:
    return WebSocketConfig(url, **{"proxy": None, "reconnect_delay": 0.01, **options})


class Client(Channel):
    """A channel that speaks Python values."""

    async def say(self, method: str, **params: Any) -> None:
        await self.send(
            json.dumps({"jsonrpc": "2.0", "method": method, "params": params})
        )

    async def ask(self, id: Any, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        await self.send(json.dumps(message))

    async def hear(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            frame = await self.receive()
        return None if frame is None else json.loads(frame)

    async def request(self, id: Any, method: str, **params: Any) -> Any:
        await self.ask(id, method, **params)
        while (message := await self.hear()).get("id") != id:
            pass
        return message

    async def initialize(self) -> None:
        await self.request("i", "initialize", protocolVersion="2025-11-25")
        await self.say("notifications/initialized")

    async def until_over(self) -> list[Any]:
        """Return what is told until nothing more comes."""
        return [message async for message in aiter_until_none(self.hear)]


async def aiter_until_none(hear: Any) -> AsyncIterator[Any]:
    while (message := await hear()) is not None:
        yield message


@asynccontextmanager
async def opened(
    url: str, *, insists: bool = False, **options: Any
) -> AsyncIterator[Client]:
    client = Client(configure(url, **options), insists=insists)
    await client.open()
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def proxy(server: Stranger) -> AsyncIterator[Proxy]:
    async with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def longest_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw always the longest delay."""
    monkeypatch.setattr(random, "uniform", lambda least, most: most)


# The first connection


async def test_frames_go_there_and_back(server):
    async with opened(server.url) as client:
        await client.say("notifications/x")
        answer = await client.request(1, "ping")

    assert answer == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert [one["method"] for one in server.last.messages] == [
        "notifications/x",
        "ping",
    ]


async def test_first_connection_is_tried_once(server):
    server.refusals.append(Refusal(503))
    client = Client(configure(server.url))
    with pytest.raises(ConnectionFailed, match="HTTP 503"):
        await client.open()
    await client.close()

    assert len(server.requests) == 1


async def test_first_connection_is_tried_again_by_who_insists(server):
    server.refusals.extend([Refusal(503), Refusal(500)])
    async with opened(server.url, insists=True) as client:
        answer = await client.request(1, "ping")

    assert answer["result"] == {}
    assert len(server.requests) == 3


async def test_nobody_insists_where_it_is_hopeless(server):
    server.refusals.append(Refusal(401, "Credentials are required"))
    async with opened(server.url, insists=True) as client:
        await client.ask(1, "ping")
        (answer,) = await client.until_over()

    assert answer["error"]["code"] == CONNECTION_LOST
    assert answer["error"]["message"].endswith("Credentials are required")
    assert client.failure is not None
    assert client.failure.status == 401


# Coming back


async def test_connection_comes_back_and_goes_on(server, proxy):
    gate = asyncio.Event()

    async def read(params: Any) -> Any:
        await gate.wait()
        return {"contents": []}

    server.answers["resources/read"] = read
    async with opened(proxy.url) as client:
        await client.initialize()
        await client.ask(1, "resources/read", uri="x://a")
        await client.ask(2, "tools/call", name="refund")
        await server.until(lambda: server.last.asked("tools/call"))
        proxy.cut()
        unknown = await client.hear()
        gate.set()
        told = [await client.hear() for _ in range(3)]

    assert unknown["error"]["code"] == OUTCOME_UNKNOWN
    assert [message.get("method") for message in told] == [
        "notifications/tools/list_changed",
        "notifications/resources/list_changed",
        None,
    ]
    assert told[-1] == {"jsonrpc": "2.0", "id": 1, "result": {"contents": []}}
    assert [one["method"] for one in server.last.messages] == [
        "initialize",
        "notifications/initialized",
        "resources/read",
    ]


async def test_nothing_comes_back_if_that_is_not_wanted(server, proxy):
    async with opened(proxy.url, auto_reconnect=False) as client:
        await client.request(1, "ping")
        server.answers["ping"] = None
        await client.ask(2, "ping")
        await client.ask(3, "tools/call", name="refund")
        await server.until(lambda: server.last.asked("tools/call"))
        proxy.cut()
        told = await client.until_over()
        with pytest.raises(ConnectionFailed):
            await client.say("notifications/x")

    assert {one["id"]: one["error"]["code"] for one in told} == {
        2: CONNECTION_LOST,
        3: OUTCOME_UNKNOWN,
    }
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [1003, 1008, 3000])
async def test_some_codes_are_the_last_word(server, code):
    async with opened(server.url) as client:
        await server.until(lambda: server.visits)
        await server.last.socket.close(code, "Access revoked")
        assert await client.until_over() == []

    assert client.failure is not None
    assert client.failure.code == code
    assert client.failure.reason.endswith("Access revoked")
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 4000])
async def test_other_codes_are_not(server, code):
    async with opened(server.url) as client:
        await server.until(lambda: server.visits)
        await server.last.socket.close(code)

        assert await client.request(1, "ping")
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_refused_later_does_not_try_again(server, proxy, status):
    async with opened(proxy.url) as client:
        await client.request(1, "ping")
        server.refusals.append(Refusal(status))
        proxy.cut()
        await client.until_over()

    assert client.failure is not None
    assert client.failure.status == status
    assert len(server.requests) == 2


async def test_delays_double_up_to_a_limit(server, proxy, longest_delays):
    seen: list[tuple[int, float]] = []
    async with opened(
        proxy.url,
        max_reconnect_delay=0.05,
        on_reconnecting=lambda attempt, delay: seen.append((attempt, delay)),
    ) as client:
        server.refusals.extend([Refusal(503)] * 4)
        proxy.cut()
        await client.request(1, "ping")

    assert seen == [(1, 0.01), (2, 0.02), (3, 0.04), (4, 0.05), (5, 0.05)]


async def test_delays_are_drawn_from_all_of_the_time(server, proxy, monkeypatch):
    drawn = []

    def draw(least: float, most: float) -> float:
        drawn.append((least, most))
        return least

    monkeypatch.setattr(random, "uniform", draw)
    async with opened(proxy.url, reconnect_delay=5) as client:
        proxy.cut()
        await client.request(1, "ping")

    assert drawn == [(0, 5)]


async def test_server_is_obeyed_that_says_when_to_come_back(server, proxy):
    seen: list[float] = []
    loop = asyncio.get_running_loop()
    async with opened(
        proxy.url, on_reconnecting=lambda attempt, delay: seen.append(delay)
    ) as client:
        server.refusals.append(Refusal(429, Retry_After="1"))
        proxy.cut()
        began = loop.time()
        await client.request(1, "ping")

    assert seen[1] >= 1
    assert loop.time() - began >= 1


async def test_it_gives_up_after_some_attempts(server, proxy):
    seen: list[int] = []
    async with opened(
        proxy.url,
        max_reconnect_attempts=3,
        on_reconnecting=lambda attempt, delay: seen.append(attempt),
    ) as client:
        server.refusals.extend([Refusal(503)] * 9)
        proxy.cut()
        await client.until_over()

    assert seen == [1, 2, 3]
    assert client.failure is not None
    assert client.failure.reason.startswith("Given up after 3 attempts: ws://")
    assert client.failure.status == 503
    assert client.failure.is_final


async def test_it_need_not_give_up(server, proxy):
    options = {"max_reconnect_attempts": None, "max_reconnect_delay": 0.01}
    async with opened(proxy.url, **options) as client:
        server.refusals.extend([Refusal(503)] * 15)
        proxy.cut()

        assert await client.request(1, "ping")


async def test_connection_that_is_of_no_use_is_an_attempt(server):
    # Accepted, and dropped at once.
    async def hang_up(params: Any) -> None:
        await server.last.socket.close(1011)

    server.answers["ping"] = hang_up
    async with opened(server.url, max_reconnect_attempts=2) as client:
        await client.ask(1, "ping")
        (answer,) = await client.until_over()

    assert len(server.requests) == 3
    assert answer["error"]["message"].startswith("Given up after 2 attempts")


async def test_answer_makes_a_connection_useful(server, proxy):
    seen: list[int] = []
    async with opened(
        proxy.url, on_reconnecting=lambda attempt, delay: seen.append(attempt)
    ) as client:
        for id in range(3):
            await client.request(id, "ping")
            proxy.cut()
        await client.request("last", "ping")

    assert seen == [1, 1, 1]


async def test_time_makes_a_connection_useful(server, proxy):
    seen: list[int] = []
    async with opened(
        proxy.url,
        max_reconnect_delay=0,
        on_reconnecting=lambda attempt, delay: seen.append(attempt),
    ) as client:
        for _ in range(2):
            proxy.cut()
            await asyncio.wait_for(client.request(1, "ping"), PATIENCE)

    assert seen == [1, 1]


async def test_token_is_read_again(server, proxy):
    tokens = iter(["one", "two"])
    async with opened(proxy.url, token=lambda: next(tokens)) as client:
        proxy.cut()
        await client.request(1, "ping")

    assert [one.headers["Authorization"] for one in server.requests] == [
        "Bearer one",
        "Bearer two",
    ]


@pytest.mark.parametrize(
    ("code", "tokens", "connections"),
    [
        (1008, ["one", "two", "two"], 2),  # it expired, and was renewed
        (3000, ["one", "two", "two"], 2),
        (1008, ["one", "one"], 1),
        (1008, ["one", LookupError()], 1),
        (1003, ["one", "two"], 1),  # what was said is wrong, not who says it
    ],
)
async def test_revoked_client_comes_back_with_another_token_only(
    server, code, tokens, connections
):
    def read() -> str:
        token = tokens.pop(0)
        if isinstance(token, Exception):
            raise token
        return token

    async with opened(server.url, token=read) as client:
        await server.until(lambda: server.visits)
        await server.last.socket.close(code)
        if connections == 2:
            assert await client.request(1, "ping")
        else:
            await client.until_over()

    assert [one.headers["Authorization"] for one in server.requests] == [
        "Bearer one",
        "Bearer two",
    ][:connections]


async def test_token_that_does_not_come_is_tried_again_unseen(server, proxy, caplog):
    answers: list[Any] = ["one", OSError("s3cret"), "two"]

    def read() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with opened(proxy.url, token=read) as client:
        proxy.cut()
        await client.request(1, "ping")

    assert "There is no token: OSError" in caplog.text
    assert "s3cret" not in caplog.text


async def test_token_that_does_not_come_at_first_is_an_error(server):
    def read() -> str:
        raise LookupError("No keyring")

    with pytest.raises(LookupError, match="No keyring"):
        await Client(configure(server.url, token=read)).open()


# The handshake, said again


async def test_server_that_does_not_shake_hands_again_is_dropped(server, proxy, caplog):
    shake_hands = server.answers["initialize"]
    async with opened(proxy.url, open_timeout=0.1) as client:
        await client.initialize()
        server.answers["initialize"] = None
        proxy.cut()
        await server.until(lambda: len(server.visits) >= 3)
        server.answers["initialize"] = shake_hands

        assert await client.request(1, "ping")
    assert "does not shake hands" in caplog.text


async def test_server_may_take_its_time_if_it_is_let(server, proxy):
    shake_hands, gate = server.answers["initialize"], asyncio.Event()

    async def hesitate(params: Any) -> Any:
        await gate.wait()
        return shake_hands(params)

    async with opened(proxy.url, open_timeout=None) as client:
        await client.initialize()
        server.answers["initialize"] = hesitate
        proxy.cut()
        await server.until(lambda: len(server.visits) == 2)
        gate.set()

        assert await client.request(1, "ping")


async def test_server_that_speaks_otherwise_now_is_left(server, proxy):
    async with opened(proxy.url) as client:
        await client.initialize()
        server.answers["initialize"] = {
            "protocolVersion": "2024-11-05",
            "capabilities": {},
        }
        proxy.cut()
        await client.until_over()

    assert client.failure is not None
    assert "spoke 2025-11-25 and now speaks 2024-11-05" in client.failure.reason
    assert server.last.socket.close_code == 1000


# Silence


async def test_half_open_connection_is_replaced(server, proxy):
    lost = []
    async with opened(
        proxy.url, ping_interval=0.1, ping_timeout=0.1, on_disconnected=lost.append
    ) as client:
        await client.request(1, "ping")
        proxy.freeze()
        async with asyncio.timeout(PATIENCE):
            while not lost:
                await asyncio.sleep(0.01)
        proxy.thaw()
        await client.request(2, "ping")

    assert lost[0].code == 1006
    assert len(server.requests) >= 2


async def test_nobody_asks_whether_it_is_silent_if_that_is_not_wanted(server, proxy):
    async with opened(proxy.url, ping_interval=None, open_timeout=0.05) as client:
        proxy.freeze()
        await asyncio.sleep(0.2)
        proxy.thaw()
        await client.request(1, "ping")

    assert len(server.requests) == 1


# Limits


@pytest.mark.parametrize("is_frozen", [True, False])
async def test_answer_that_does_not_come_is_not_waited_for(server, proxy, is_frozen):
    server.answers["ping"] = None
    async with opened(proxy.url, request_timeout=0.1) as client:
        await client.request(1, "tools/list")
        if is_frozen:
            proxy.freeze()
        answer = await client.request(2, "ping")
        proxy.thaw()
        await server.until(lambda: server.last.asked("notifications/cancelled"))

    assert answer["error"]["code"] == REQUEST_TIMED_OUT
    assert server.last.messages[-1]["params"] == {"requestId": 2, "reason": "timed out"}


async def test_reconnecting_counts_as_waiting(server, proxy):
    async with opened(
        proxy.url, request_timeout=0.1, reconnect_delay=60, max_reconnect_delay=60
    ) as client:
        proxy.cut()
        answer = await client.request(1, "ping")

    assert answer["error"]["code"] == REQUEST_TIMED_OUT


async def test_each_request_has_its_own_time(server):
    server.answers["ping"] = None
    async with opened(server.url, request_timeout=0.1) as client:
        first = await client.request(1, "ping")
        second = await client.request(2, "ping")
        await client.ask(3, "ping")  # left when the client goes

    assert [one["error"]["code"] for one in (first, second)] == [REQUEST_TIMED_OUT] * 2


async def test_message_that_is_too_large_is_not_asked_for_again(server):
    server.answers["resources/read"] = {"text": "x" * 1000}
    async with opened(server.url, max_message_size=500) as client:
        answer = await client.request(1, "resources/read", uri="x://film")
        assert await client.request(2, "ping")

    assert answer["error"]["code"] == MESSAGE_TOO_LARGE
    assert len(server.last.asked("resources/read")) == 0


async def test_message_that_the_server_does_not_take_is_not_sent_again(server):
    server.answers["resources/read"] = None
    async with opened(server.url) as client:
        await client.ask(1, "resources/read", uri="x" * 1000)
        await server.until(lambda: server.visits and server.last.messages)
        await server.last.socket.close(1009)
        answer = await client.hear()
        assert await client.request(2, "ping")

    assert answer["error"]["code"] == MESSAGE_TOO_LARGE
    assert server.last.asked("resources/read") == []


async def test_sender_waits_while_nothing_is_taken(server, proxy):
    async with opened(proxy.url, ping_interval=None) as client:
        proxy.freeze()
        sending = asyncio.create_task(flood(client, 200))
        await asyncio.sleep(0.1)
        waiting = client.conversation.outgoing
        assert not sending.done()
        proxy.thaw()
        await asyncio.wait_for(sending, PATIENCE)
        await server.until(lambda: len(server.last.messages) == 200)

    # A little more than is allowed, since that is found out afterwards.
    assert 1024 * 1024 < waiting < 1024 * 1024 + 70_000


async def flood(client: Client, frames: int) -> None:
    for _ in range(frames):
        await client.say("notifications/x", text="x" * 65_536)


async def test_sender_does_not_wait_for_a_connection_that_never_comes(server, proxy):
    async with opened(proxy.url, max_reconnect_attempts=1) as client:
        server.refusals.extend([Refusal(503)] * 9)
        proxy.cut()
        with pytest.raises(ConnectionFailed, match="Given up"):
            await asyncio.wait_for(flood(client, 200), PATIENCE)


async def test_server_waits_while_the_client_reads_nothing(server):
    async with opened(server.url, ping_interval=None) as client:
        await server.until(lambda: server.visits)
        sending = asyncio.create_task(shout(server, 2000))
        await asyncio.sleep(0.2)
        assert not sending.done()
        held = len(client.conversation.inbox)
        texts = [await client.hear() for _ in range(2000)]
        await sending

    assert held <= 17
    assert [one["params"]["number"] for one in texts] == list(range(2000))


async def shout(server: Stranger, frames: int) -> None:
    for number in range(frames):
        params = {"number": number, "text": "x" * 10_000}
        await server.last.send(method="notifications/x", params=params)


# Hooks and the log


async def test_hooks_tell_what_happens(server, proxy):
    told: list[Any] = []
    async with opened(
        proxy.url,
        on_connected=lambda: told.append("connected"),
        on_disconnected=lambda failure: told.append(failure.code),
        on_reconnecting=lambda attempt, delay: told.append(attempt),
    ) as client:
        await client.request(1, "ping")
        proxy.cut()
        await client.request(2, "ping")

    assert told == ["connected", 1006, 1, "connected"]


async def test_hook_that_fails_does_no_harm(server, caplog):
    def fail() -> None:
        raise RuntimeError("hook")

    async with opened(server.url, on_connected=fail) as client:
        assert await client.request(1, "ping")
    assert "A hook failed" in caplog.text


async def test_log_tells_what_happens(server, proxy, caplog):
    caplog.set_level(logging.INFO, "mcp_channels.client")
    async with opened(f"{proxy.url}?ticket=s3cret", token="t0ken") as client:
        await client.request(1, "ping")
        proxy.cut()
        await client.request(2, "ping")

    assert caplog.text.count(f"Connected to {proxy.url}") == 2
    assert "The connection was lost; attempt 1 in 0.0 s" in caplog.text
    assert "s3cret" not in caplog.text
    assert "t0ken" not in caplog.text


async def test_bug_ends_the_channel(server, monkeypatch, caplog):
    monkeypatch.setattr(Conversation, "receive", lambda self, frame: 1 / 0)
    async with opened(server.url) as client:
        await client.ask(1, "ping")
        (answer,) = await client.until_over()

    assert answer["error"]["message"] == "The client failed"
    assert "ZeroDivisionError" in caplog.text


# The end


async def test_close_is_in_good_order(server):
    async with opened(server.url) as client:
        await client.request(1, "ping")
    assert await client.hear() is None
    with pytest.raises(ConnectionFailed, match="was closed"):
        await client.say("notifications/x")
    await client.close()  # again

    await server.until(lambda: server.last.socket.close_code == 1000)


async def test_close_does_not_wait_for_a_silent_server(server, proxy, monkeypatch):
    monkeypatch.setattr(connection_module, "_CLOSE_TIMEOUT", 0.1)
    async with opened(proxy.url) as client:
        proxy.freeze()

        await asyncio.wait_for(client.close(), 1)


async def test_finished_client_gets_its_answers_and_no_more(server):
    gate = asyncio.Event()

    async def wait(params: Any) -> Any:
        await gate.wait()
        return {}

    server.answers["ping"] = wait
    async with opened(server.url) as client:
        await client.ask(1, "ping")
        await client.ask(2, "subscriptions/listen")
        client.finish()
        gate.set()

        assert [one["id"] for one in await client.until_over()] == [1, 2]
        assert client.failure is None


# Nothing is left behind, wherever it is interrupted


def open_sockets() -> int:
    """Count the sockets of this process."""
    gc.collect()
    links = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"/proc/self/fd/{name}"))
    return sum(link.startswith("socket:") for link in links)


async def live(server: Stranger, proxy: Proxy) -> None:
    """Connect, talk, lose the connection, get it back, and close."""
    client = Client(configure(proxy.url, request_timeout=5, ping_interval=0.001))
    try:
        await client.open()
        await client.initialize()
        proxy.cut()
        await client.request(1, "ping")
    finally:
        await client.close()


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("moment", range(30))
async def test_interrupted_client_leaves_nothing_behind(server, proxy, moment):
    loop = asyncio.get_running_loop()
    began = loop.time()
    await live(server, proxy)
    took = loop.time() - began
    await settle()
    others = asyncio.all_tasks()
    living = loop.create_task(live(server, proxy))
    # At another moment each time, and hardly ever at the same one.
    await asyncio.sleep(took * moment / 30)
    living.cancel()
    await asyncio.wait({living})
    await settle()

    assert [
        task for task in asyncio.all_tasks() - others if "mcp_channels" in repr(task)
    ] == []


async def test_client_that_is_interrupted_while_closing_closes(server, proxy):
    client = Client(configure(proxy.url))
    await client.open()
    proxy.freeze()
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0.05)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await settle()

    assert client._task is not None
    assert client._task.done()


async def test_sockets_are_closed(server, proxy):
    await live(server, proxy)
    await settle()
    before = open_sockets()
    for _ in range(5):
        await live(server, proxy)
    async with asyncio.timeout(PATIENCE):
        while open_sockets() > before:
            await asyncio.sleep(0.01)


def test_module_has_no_state():
    assert not any(
        isinstance(value, list | dict | set)
        for name, value in vars(module).items()
        if not name.startswith("__")
    )
