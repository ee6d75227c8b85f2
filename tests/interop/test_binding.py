"""What docs/websocket.md says, seen by clients of real servers."""

import asyncio
import contextlib
import dataclasses
import inspect
import json
import random
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import daphne.server
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.interop.servers import KINDS, Kind, Server, serve
from tests.interop.transport import PATIENCE, Peer, open_peer
from tests.sockets import Socket

PAGE = (Path(__file__).resolve().parents[2] / "docs/websocket.md").read_text()

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def read_table(*header: str) -> list[list[str]]:
    """Give the rows of the table of the page that has this header."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.partition(f"| {' | '.join(header)} |\n")[2].splitlines()
    ]
    return rows[1 : rows.index([""])]


# The example


async def test_example_of_the_page_works(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = re.findall(r"```python\n(import asyncio\n.*?)```", PAGE, re.DOTALL)
    source = source.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    await asyncio.to_thread(exec, source, {})

    assert "'name': 'add'" in capsys.readouterr().out


# Subprotocols

OFFERS = {
    "nothing": [([], None)],
    "`mcp`, and whatever else": [
        (["mcp"], "mcp"),
        (["graphql-ws", "mcp.auth.secret", "mcp"], "mcp"),
    ],
    "no `mcp`, but `mcp.version.2025-06-18` or another revision that is supported": [
        (["mcp.version.2025-06-18"], "mcp.version.2025-06-18"),
        (
            ["mcp.version.2099-01-01", "mcp.version.2026-07-28", "mcp.auth.secret"],
            "mcp.version.2026-07-28",
        ),
    ],
    "only `mcp.auth.` with a token": [(["mcp.auth.secret"], None)],
    "only others": [(["graphql-ws"], 400), (["mcp.version.2099-01-01"], 400)],
}


async def offer(server: Server, subprotocols: list[str]) -> str | int | None:
    """Return the chosen subprotocol, or the status of a refusal."""
    try:
        async with connect(
            server.url(), subprotocols=subprotocols or None, proxy=None
        ) as socket:
            return socket.subprotocol
    except InvalidStatus as exc:
        return exc.response.status_code


def test_every_offer_of_the_page_is_made() -> None:
    assert [row[0] for row in read_table("you offer", "the server chooses")] == [
        *OFFERS
    ]


@pytest.mark.parametrize(
    ("offered", "chosen"), [pair for pairs in OFFERS.values() for pair in pairs]
)
async def test_subprotocol_is_chosen_as_the_page_says(
    server: Server, offered: list[str], chosen: str | int | None
) -> None:
    if chosen == 400 and not server.has_denials:
        chosen = 403

    assert await offer(server, offered) == chosen


async def test_revision_of_a_subprotocol_binds_nobody(server: Server) -> None:
    offered = ["mcp.version.2025-06-18"]
    async with open_peer(server.url(), subprotocols=offered) as peer:
        peer.revision = "2025-03-26"

        assert (await peer.initialize())["protocolVersion"] == "2025-03-26"


# Refusals

REFUSALS: dict[str, list[dict[str, Any]]] = {
    "400": [{"subprotocols": ["graphql-ws"]}],
    "401": [{"additional_headers": {"Authorization": "Bearer x"}}],
    "403": [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"host": "evil.example"},
    ],
    "404": [{"path": "/elsewhere"}, {"path": "/"}, {"path": "/ws/more"}],
}


def test_every_refusal_of_the_page_is_tried() -> None:
    # These need somebody who fails often, and a database that is away.
    others = {"429", "503"}
    listed = [row[0] for row in read_table("status", "why")]

    assert [status for status in listed if status not in others] == [*REFUSALS]


@pytest.mark.parametrize(
    ("status", "options"),
    [(status, one) for status, options in REFUSALS.items() for one in options],
)
async def test_refusal_has_the_status_that_the_page_says(
    server: Server, status: str, options: dict[str, Any]
) -> None:
    options = {"proxy": None, **options}
    url = server.url(options.pop("path", "/ws"))
    host = options.pop("host", None)
    if host:
        # The name is asked for, the address is where the server is.
        url = f"ws://{host}:{server.port}/ws"
        options["host"] = "127.0.0.1"
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, **options):
            raise AssertionError("not reached")
    response = caught.value.response

    if server.has_denials:
        assert response.status_code == int(status)
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.body
    else:
        assert response.status_code == 403


async def test_page_of_the_site_is_let_in(server: Server) -> None:
    origin = f"http://127.0.0.1:{server.port}"
    async with open_peer(server.url(), origin=origin) as peer:
        assert await peer.request("server/discover")


# Paths


@pytest.mark.parametrize("path", ["/ws", "/ws/", "/ws?some=thing"])
async def test_path_may_end_as_it_likes(server: Server, path: str) -> None:
    async with open_peer(server.url(path)) as peer:
        assert await peer.request("server/discover")


async def test_root_path_is_told_by_the_server(odd_server: Server) -> None:
    # As a proxy passes it on that takes the root path off.
    async with open_peer(odd_server.url("/ws")) as peer:
        assert await peer.request("server/discover")


# Frames


@pytest.mark.parametrize(
    ("frame", "code"),
    [("", -32700), ("no JSON", -32700), ("5", -32600), ('{"method": "x"}', -32600)],
)
async def test_frame_that_is_no_message_is_answered(
    server: Server, frame: str, code: int
) -> None:
    async with open_peer(server.url()) as peer:
        await peer.send('{"id": 1}')  # a broken answer, as good as no frame
        await peer.send(frame)
        refused = await peer.receive()
        stayed = await peer.request("server/discover")

    assert refused["error"]["code"] == code
    assert code != -32700 or refused["id"] is None
    assert stayed


def test_servers_send_pings_by_themselves() -> None:
    for kind, interval in (
        (uvicorn.Config, "ws_ping_interval"),
        (daphne.server.Server, "ping_interval"),
    ):
        assert inspect.signature(kind).parameters[interval].default == 20


# Subscriptions

TEA, RUM = "shop://stock/tea", "shop://stock/rum"
SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-11-25"])
async def test_subscriber_is_told_until_it_unsubscribes(
    server: Server, revision: str
) -> None:
    url = server.url()
    async with open_peer(url, revision) as peer, open_peer(url) as other:
        subscribed = await peer.request("resources/subscribe", uri=TEA)
        await peer.request("resources/subscribe", uri=RUM)
        await other.call("restock", item="tea", count=5)
        told = await peer.receive()
        unsubscribed = await peer.request("resources/unsubscribe", uri=TEA)
        await other.call("restock", item="tea", count=5)
        await other.call("restock", item="rum", count=2)
        told_later = await peer.receive()

    method = "notifications/resources/updated"
    assert subscribed == unsubscribed == {}
    assert told == {"jsonrpc": "2.0", "method": method, "params": {"uri": TEA}}
    # What was left changed before, and would have been told of before.
    assert told_later == {"jsonrpc": "2.0", "method": method, "params": {"uri": RUM}}


async def test_listen_is_acknowledged_first_and_tagged_and_ends_when_cancelled(
    server: Server,
) -> None:
    url = server.url()
    async with open_peer(url) as peer, open_peer(url) as other:
        wanted = {"resourceSubscriptions": [TEA, "shop://stock/coffee"]}
        first = await peer.ask("subscriptions/listen", notifications=wanted)
        acknowledged = await peer.receive()
        await other.call("restock", item="tea", count=5)
        told = await peer.receive()
        second = await peer.ask("subscriptions/listen", notifications=wanted)
        await peer.receive()
        await peer.notify("notifications/cancelled", requestId=first)
        # Read after the cancellation, which is without an answer.
        await peer.call("add", a=1, b=2)
        await other.call("restock", item="tea", count=5)
        told_later = await peer.receive()
        await peer.call("add", a=1, b=2)

    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"] == {
        "notifications": {"resourceSubscriptions": [TEA]},
        "_meta": {SUBSCRIPTION_ID: first},
    }
    assert told["method"] == told_later["method"] == "notifications/resources/updated"
    assert told["params"] == {"uri": TEA, "_meta": {SUBSCRIPTION_ID: first}}
    assert told_later["params"] == {"uri": TEA, "_meta": {SUBSCRIPTION_ID: second}}
    assert peer.notifications == []


@pytest.mark.parametrize(
    ("revision", "method"),
    [("2025-11-25", "subscriptions/listen"), ("2026-07-28", "resources/subscribe")],
)
async def test_each_era_has_its_own_way_to_subscribe(
    server: Server, revision: str, method: str
) -> None:
    async with open_peer(server.url(), revision) as peer:
        answer = await peer.answer(await peer.ask(method, uri=TEA))

    assert answer["error"]["code"] == -32601


# Closing


async def close_1000(server: Server) -> int:
    async with open_peer(server.url()) as peer:
        return await peer.close_code()


async def close_1003(server: Server) -> int:
    async with open_peer(server.url()) as peer:
        await peer.socket.send(b"{}")
        return await peer.close_code()


async def close_1008(server: Server) -> int:
    async with open_peer(server.url()) as peer:
        for _ in range(101):
            await peer.send("no JSON")
        return await peer.close_code()


async def close_1009(server: Server) -> int:
    async with open_peer(server.url()) as peer:
        await peer.send("x" * 100_001)
        return await peer.close_code()


async def close_1011(server: Server) -> int:
    async with open_peer(server.url()) as peer:
        await peer.send("stumble")
        return await peer.close_code()


async def close_1013(server: Server) -> int:
    # Compressed, all of it would fit into the buffers of the system.
    async with open_peer(server.url(), compression=None, max_queue=1) as peer:
        for _ in range(60):
            await peer.ask(
                "tools/call",
                name="repeat",
                arguments={"text": "x" * 1000, "times": 1000},
            )
        # Nothing is read until the server had the time to give up.
        async with open_peer(server.url()) as other:
            await other.call("add", a=1, b=2)
        return await peer.close_code()


CLOSES: dict[str, Callable[[Server], Awaitable[int]]] = {
    "1000": close_1000,
    "1003": close_1003,
    "1008": close_1008,
    "1009": close_1009,
    "1011": close_1011,
    "1013": close_1013,
}


def test_every_close_code_of_the_page_is_tried() -> None:
    assert [row[0] for row in read_table("code", "when")] == [*CLOSES]


@pytest.mark.parametrize("code", ["1003", "1008", "1009", "1011"])
async def test_close_has_the_code_that_the_page_says(server: Server, code: str) -> None:
    assert await CLOSES[code](server) == int(code)
    # The others are served.
    async with open_peer(server.url()) as peer:
        assert await peer.request("server/discover")


async def test_idle_connection_is_closed(impatient_server: Server) -> None:
    assert await close_1000(impatient_server) == 1000


async def test_pings_do_not_keep_an_idle_connection(impatient_server: Server) -> None:
    async def ping(peer: Peer) -> None:
        while True:
            await (await peer.socket.ping())
            await asyncio.sleep(0.1)

    async with open_peer(impatient_server.url()) as peer:
        pings = asyncio.create_task(ping(peer))
        code = await peer.close_code()
        with contextlib.suppress(ConnectionClosed, asyncio.CancelledError):
            pings.cancel()
            await pings

    assert code == 1000


@pytest.mark.parametrize("server", ["uvicorn"], indirect=True)
async def test_client_that_reads_too_slowly_is_closed(server: Server) -> None:
    assert await close_1013(server) == 1013


@pytest.mark.parametrize("code", ["1003", "1008", "1009", "1011"])
async def test_code_is_a_private_one_where_daphne_cannot_be_helped(
    server: Server, code: str
) -> None:
    wrapped = dataclasses.replace(server, query="?wrapped")

    assert await CLOSES[code](wrapped) == int(code) + 3000 * (server.kind == "daphne")


@pytest.mark.parametrize(
    ("server", "limit", "code"),
    [("daphne", 2**20, 1006), ("uvicorn", 2**24, 1009)],
    indirect=["server"],
)
async def test_server_has_a_limit_of_its_own(
    server: Server, limit: int, code: int
) -> None:
    async with open_peer(server.url()) as peer:
        with contextlib.suppress(ConnectionClosed):
            await peer.send("x" * (limit + 1))

        assert await peer.close_code() == code


async def test_reason_is_told(server: Server) -> None:
    async with open_peer(server.url()) as peer:
        await peer.socket.send(b"{}")
        await peer.close_code()
        reason = peer.socket.close_reason

    assert reason == "Only text frames are understood"


@pytest.mark.parametrize("kind", KINDS)
async def test_server_that_stops_closes_as_the_page_says(kind: Kind) -> None:
    with serve(kind) as server:
        async with open_peer(server.url()) as peer:
            await peer.ask("tools/call", name="wait", arguments={})
            server.process.terminate()
            code = await peer.close_code()
            returned = await asyncio.to_thread(server.process.wait, PATIENCE)

    assert code == {"daphne": 1006, "uvicorn": 1012}[kind]
    assert returned is not None


# Garbage


async def test_repeated_abuse_ends_only_the_abuser(server: Server) -> None:
    async with open_peer(server.url()) as peer, open_peer(server.url()) as other:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(10_000):
                await peer.send("no JSON")
                # One after the other: of a socket with unread frames in it the system
                # takes back what was sent last, the close frame.
                await peer.receive()
        code = await peer.close_code()
        result = await other.call("add", a=1, b=2)

    assert code == 1008
    assert result["content"][0]["text"] == "3"


def make_garbage(count: int) -> list[str]:
    """Return frames of any kind but a whole request that is named "last"."""
    chance = random.Random(5)
    whole = json.dumps({**PING, "params": {"_meta": {"progressToken": [1, "é"]}}})
    values = [None, True, -1, 1.5, "", "x", [], {}, [[]], {"_meta": 1}, 10**30]
    frames = []
    for _ in range(count):
        kind = chance.randrange(5)
        if kind == 0:
            frames.append("".join(map(chr, chance.choices(range(1, 0xD800), k=20))))
        elif kind == 1:
            frames.append(whole[: chance.randrange(len(whole))])
        elif kind == 2:
            place = chance.randrange(len(whole))
            frames.append(whole[:place] + chance.choice('{}[]",:0\x00') + whole[place:])
        elif kind == 3:
            names = ("jsonrpc", "id", "method", "params", "result", "error")
            message = {name: chance.choice(values) for name in names}
            frames.append(json.dumps({**message, "jsonrpc": "2.0"}))
        else:
            method = chance.choice(["tools/call", "initialize", "x", "tools/list"])
            params = chance.choice(values)
            frames.append(json.dumps({**PING, "method": method, "params": params}))
    return frames


async def test_worker_survives_any_frames(odd_server: Server) -> None:
    async def listen(peer: Peer) -> None:
        while (await peer.receive()).get("id") != "last":
            pass

    async def go_on(peer: Peer) -> int:
        count = 0
        while not done.is_set():
            result = await peer.call("add", a=count, b=1)
            count += 1
            assert result["content"][0]["text"] == str(count)
        return count

    done = asyncio.Event()
    url = odd_server.url()
    async with open_peer(url) as peer, open_peer(url) as other:
        calls = asyncio.create_task(go_on(other))
        answers = asyncio.create_task(listen(peer))
        for frame in make_garbage(10_000):
            await peer.send(frame)
        await peer.send({**PING, "id": "last"})
        await answers
        done.set()

        assert await calls > 0
    assert odd_server.process.poll() is None


# A consumer of a site's own


@pytest.mark.usefixtures("transactional_db")
async def test_consumer_of_the_page_is_served() -> None:
    (source,) = re.findall(r"```python\n(from channels\..*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    async with Socket(names["websocket"], "/agents/") as socket:
        accepted = await socket.connect()

    assert accepted["type"] == "websocket.accept"


# Again


async def test_nothing_outlives_a_connection(server: Server) -> None:
    async with open_peer(server.url(), "2025-06-18") as peer:
        await peer.call("add", a=1, b=2)
    async with open_peer(server.url()) as peer:
        peer.revision = "2025-06-18"
        answer = await peer.answer(await peer.ask("tools/list"))

    assert answer["error"]["code"] == -32602
    assert "Not initialized" in answer["error"]["message"]
