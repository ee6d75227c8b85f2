"""
A client whose connection is cut again and again, in both eras.

RECONNECT_CALLS and RECONNECT_CUTS set how much of it; the default is a fraction that
takes seconds.
"""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import (
    EmptyResult,
    ResourceUpdatedNotification,
    SubscribeRequest,
    SubscribeRequestParams,
)

from mcp_channels.client import OUTCOME_UNKNOWN, WebSocketConfig, WebSocketTransport
from mcp_channels.client.pages import list_all
from tests.client.proxy import Proxy
from tests.interop.servers import ROOT, Server, environment, serve

CALLS = int(os.environ.get("RECONNECT_CALLS", "1000"))
CUTS = int(os.environ.get("RECONNECT_CUTS", "40"))
AT_ONCE = 8  # calls in flight

PATIENCE = 30.0  # seconds for what must happen
LONGEST = 60 + CALLS * 0.05  # seconds for everything, on a busy machine

STATE = "ledger://state"
REPEAT = {"text": "tea", "times": 3}


@pytest.fixture(scope="module")
def ledger(database: Path) -> Iterator[Server]:
    with serve(
        "uvicorn",
        database=database,
        app="tests.interop.ledger",
        AUTHENTICATORS=["mcp_channels.tokens.authenticate"],
        ACCESS_INTERVAL=0.5,
    ) as server:
        yield server


@asynccontextmanager
async def connect(url: str, mode: str, **options: Any) -> AsyncIterator[Client]:
    config = WebSocketConfig(
        url, proxy=None, reconnect_delay=0.02, max_reconnect_delay=0.1
    )
    async with Client(WebSocketTransport(config), mode=mode, **options) as client:
        yield client


class Watcher:
    """Reads the state when it is told that it changed, and at no other time."""

    def __init__(self) -> None:
        self.state = ""
        self._told = asyncio.Event()
        self._news = asyncio.Condition()

    async def hear(self, message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            assert message.params.uri == STATE
            self._told.set()

    async def watch(self, client: Client) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            result = await client.read_resource(STATE)
            async with self._news:
                self.state = result.contents[0].text
                self._news.notify_all()

    async def until(self, state: int) -> None:
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: self.state == f"{state}")


async def subscribe(client: Client, mode: str, stack: AsyncExitStack) -> None:
    if mode == "legacy":
        request = SubscribeRequest(params=SubscribeRequestParams(uri=STATE))
        await client.session.send_request(request, EmptyResult)
    else:
        listening = client.listen(resource_subscriptions=[STATE])
        await stack.enter_async_context(listening)


class Caller:
    """Makes calls, and keeps how each one ended."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.outcomes: dict[int, str] = {}
        self.tools: dict[int, str] = {}
        self.news = asyncio.Event()
        self._numbers = iter(range(CALLS))
        self._random = random.Random(1)

    async def call_on(self) -> None:
        for number in self._numbers:
            tool = self._random.choice(["look", "look", "put", "write", "write"])
            self.tools[number] = tool
            try:
                result = await self.client.call_tool(tool, {"number": number})
            except MCPError as exc:
                outcome = "unknown" if exc.code == OUTCOME_UNKNOWN else f"{exc.error}"
            else:
                outcome = result.content[0].text
            assert number not in self.outcomes
            self.outcomes[number] = outcome
            self.news.set()


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_every_call_ends_once_and_no_write_runs_twice(
    ledger: Server, database: Path, mode: str
) -> None:
    with closing(sqlite3.connect(database)) as tables:
        tables.execute("DELETE FROM auth_user WHERE username LIKE 'ledger-%'")
        tables.commit()
    watcher = Watcher()
    async with (
        asyncio.timeout(LONGEST),
        Proxy(ledger.port) as proxy,
        connect(ledger.url(), "auto") as other,
        connect(proxy.url, mode, message_handler=watcher.hear) as client,
        AsyncExitStack() as stack,
    ):
        await client.list_tools()  # which says what may run twice
        await subscribe(client, mode, stack)
        caller = Caller(client)
        watching = asyncio.create_task(watcher.watch(client))
        calling = [asyncio.create_task(caller.call_on()) for _ in range(AT_ONCE)]
        cutting = asyncio.create_task(cut(proxy, caller, other, watcher))
        await asyncio.gather(cutting, *calling)
        # Each end of a cut was waited for; and so is the last one.
        last = await other.call_tool("advance")
        await watcher.until(int(last.content[0].text))
        watching.cancel()

    written = count_rows(database)
    ended: dict[str, Counter[str]] = {
        name: Counter() for name in ("look", "put", "write")
    }
    for number, outcome in caller.outcomes.items():
        how = "answered" if outcome == f"{number}" else outcome
        ended[caller.tools[number]][how] += 1
    print(f"{mode}: {ended}, {proxy.connections} connections")

    assert len(caller.outcomes) == CALLS
    assert set(ended["look"]) == set(ended["put"]) == {"answered"}
    assert set(ended["write"]) == {"answered", "unknown"}
    assert set(written.values()) == {1}
    for number, tool in caller.tools.items():
        if tool == "write" and caller.outcomes[number] == f"{number}":
            assert written[number] == 1
    assert proxy.connections > CUTS


async def cut(proxy: Proxy, caller: Caller, other: Client, watcher: Watcher) -> None:
    """Cut the connection, evenly over all calls and at random moments."""
    draw = random.Random(2)
    for number in range(CUTS):
        # Enough calls are left to be cut.
        due = (CALLS - 10 * AT_ONCE) * (number + draw.random()) / CUTS
        while len(caller.outcomes) < due:
            caller.news.clear()
            await caller.news.wait()
        async with asyncio.timeout(PATIENCE):
            await proxy.cut_within(draw.randrange(12))
        # Most probably while the client is away.
        result = await other.call_tool("advance")
        if draw.random() < 0.5:
            await watcher.until(int(result.content[0].text))


def count_rows(database: Path) -> dict[int, int]:
    """Return how often each number was written down."""
    with closing(sqlite3.connect(database)) as tables:
        query = (
            "SELECT first_name, count(*) FROM auth_user"
            " WHERE username LIKE 'ledger-%' GROUP BY first_name"
        )
        return {int(name): times for name, times in tables.execute(query)}


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_client_comes_back_to_every_server(server: Server, mode: str) -> None:
    async with (
        asyncio.timeout(PATIENCE),
        Proxy(server.port) as proxy,
        connect(proxy.url, mode) as client,
    ):
        await list_all(client.list_tools, lambda page: page.tools)
        for number in range(3):
            waiting = asyncio.create_task(client.call_tool("repeat", REPEAT))
            await proxy.cut_within(1)
            added = await client.call_tool("add", {"a": number, "b": 1})

            assert added.content[0].text == f"{number + 1}"
            assert (await waiting).content[0].text == "tea" * 3
    assert proxy.connections == 4


def manage(database: Path, *words: str) -> str:
    """Run a command of the site, and return the last line that it prints."""
    run = subprocess.run(
        [sys.executable, "-m", "django", "mcp", *words],
        cwd=ROOT,
        env=environment(database),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout.splitlines()[-1]


async def test_client_lives_as_long_as_its_token(
    ledger: Server, database: Path
) -> None:
    with closing(sqlite3.connect(database)) as tables:
        tables.execute(
            "INSERT INTO auth_user (username, password, first_name, last_name, email,"
            " is_active, is_staff, is_superuser, date_joined) VALUES"
            " ('ahab', '', '', '', '', 1, 0, 0, '2026-01-01')"
        )
        tables.commit()
    token = await asyncio.to_thread(
        manage, database, "token", "create", "ahab", "a test of the client"
    )
    lost: list[Any] = []
    config = WebSocketConfig(
        ledger.url(), proxy=None, token=lambda: token, on_disconnected=lost.append
    )
    transport = WebSocketTransport(config)
    async with asyncio.timeout(4 * PATIENCE), Client(transport) as client:
        await client.call_tool("look", {"number": 1})
        (number,) = (
            line.split("\t")[0]
            for line in [await asyncio.to_thread(manage, database, "token", "list")]
            if "ahab" in line
        )
        # The client has the new one before the old one ends.
        token = await asyncio.to_thread(
            manage, database, "token", "rotate", number, "--overlap", "1s"
        )
        while not lost:
            await asyncio.sleep(0.01)
        looked = await client.call_tool("look", {"number": 2})
        await asyncio.to_thread(manage, database, "token", "revoke", number)
        while transport.failure is None:
            await asyncio.sleep(0.01)

    assert looked.content[0].text == "2"
    assert [failure.code for failure in lost] == [1008, 1008]
    assert token not in str(lost)
