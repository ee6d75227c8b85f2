"""Traps 105 to 120: subscriptions and notifications."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from mcp_channels import PrimitivesChanged, ResourceUpdated, publish
from mcp_channels.protocol.envelope import SUBSCRIPTION_ID
from mcp_channels.server import audience, subscriptions
from mcp_channels.worker import get_worker
from tests.sites import LEGACY, MODERN, Clerk, Site, silence
from tests.sockets import PATIENCE, Socket
from tests.traps.tools import frame_of, until
from tests.traps.wire import (
    EVERY,
    HANDSHAKES,
    A,
    B,
    every,
    legacy,
    listen_frame,
    request_frame,
    tag_of,
)

UPDATED = "notifications/resources/updated"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
TOOLS_CHANGED = "notifications/tools/list_changed"


@pytest.mark.parametrize("when", ["before", "after"])
@every
async def test_trap_105_notification_that_nobody_knows(
    site: Site, revision: str, when: str
) -> None:
    client = site.client(revision=revision)
    await client.connect()
    if when == "after" and revision != MODERN:
        await client.initialize()
    for method in ("notifications/none", "none", "", "notifications/"):
        await client.notify(method, {"a": 1})
    if when == "before" and revision != MODERN:
        await client.initialize()

    assert await client.list_tools()
    assert not client.notifications
    await client.disconnect()


@every
@pytest.mark.parametrize(
    "method",
    ["notifications/initialized", "notifications/cancelled", "notifications/progress"],
)
async def test_trap_106_notification_with_an_id(
    site: Site, revision: str, method: str
) -> None:
    async with site.client(revision=revision) as client:
        message = await frame_of(client, method)

        assert await client.list_tools()

    assert message["error"]["code"] == -32601


@every
async def test_trap_107_request_without_an_id(site: Site, revision: str) -> None:
    called = []
    site.tool(name="count")(lambda: called.append(1))
    async with site.client(revision=revision) as client:
        frame = request_frame(0, "tools/call", name="count", arguments={})
        del frame["id"]
        await client.send(frame)
        await client.notify("tools/call", {"name": "count", "arguments": {}})
        await client.notify("resources/subscribe", {"uri": A})

        assert "result" in await frame_of(client, "tools/list")

        publish(ResourceUpdated(A))

        assert await silence(client)

    assert called == []


async def test_trap_108_changed_list_for_who_does_not_listen(site: Site) -> None:
    async with site.client() as client, site.client(revision=LEGACY) as other:
        await client.list_tools()
        await client.listen({"promptsListChanged": True})
        publish(PrimitivesChanged("tools"))
        await other.notification(TOOLS_CHANGED)

        assert await silence(client)


async def test_trap_109_event_right_behind_the_listen(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "_COLLECTED", 0)
    monkeypatch.setattr(audience, "_BETWEEN", 0)
    async with site.client() as client:
        for number in range(20):
            id = f"l{number}"
            await client.send(listen_frame(id, toolsListChanged=True))
            publish(PrimitivesChanged("tools"))
            seen = Counter[tuple[str, Any]]()
            while seen[TOOLS_CHANGED, id] == 0:
                message = await client.receive()
                if not seen[ACKNOWLEDGED, id]:
                    # For this listen nothing comes before its acknowledgement.
                    assert (message["method"], tag_of(message)) != (TOOLS_CHANGED, id)
                seen[message["method"], tag_of(message)] += 1


@pytest.mark.parametrize("id", [0, ""])
async def test_trap_110_listen_with_an_id_that_is_false(site: Site, id: Any) -> None:
    async with site.client() as client:
        await client.send(listen_frame(id, resourceSubscriptions=[A]))
        acknowledged = await client.receive()
        publish(ResourceUpdated(A))
        updated = await client.receive()

    for message in (acknowledged, updated):
        assert (tag_of(message), type(tag_of(message))) == (id, type(id))


async def test_trap_111_two_listens_that_both_want_it(site: Site) -> None:
    async with site.client() as client:
        first = await client.listen({"resourceSubscriptions": [A]})
        second = await client.listen({"resourceSubscriptions": [A, B]})
        publish(ResourceUpdated(A))
        messages = [await client.receive() for _ in range(2)]

        assert await silence(client)

    assert [tag_of(message) for message in messages] == [first, second]


@pytest.mark.parametrize("flag", [{"toolsListChanged": False}, {}])
async def test_trap_112_flag_that_is_false(site: Site, flag: dict[str, bool]) -> None:
    async with site.client() as client:
        await client.send(listen_frame(1, promptsListChanged=True, **flag))
        acknowledged = await client.receive()
        publish(PrimitivesChanged("tools"))
        publish(PrimitivesChanged("prompts"))
        told = await client.receive()

    assert acknowledged["params"]["notifications"] == {"promptsListChanged": True}
    assert told["method"] == "notifications/prompts/list_changed"


async def test_trap_113_filter_that_wants_nothing(site: Site) -> None:
    async with site.client() as client:
        await client.send(listen_frame("x"))
        acknowledged = await client.receive()
        publish(PrimitivesChanged("tools"))
        publish(ResourceUpdated(A))

        assert await silence(client)

        # It is open: its id is taken.
        await client.send(listen_frame("x"))
        message = await client.receive()

    assert acknowledged["params"]["notifications"] == {}
    assert message["error"]["code"] == -32600


async def test_trap_114_uri_that_is_named_twice(site: Site) -> None:
    async with site.client() as client:
        await client.send(listen_frame("x", resourceSubscriptions=[A, B, A, A]))
        acknowledged = await client.receive()
        publish(ResourceUpdated(A))
        await client.receive()

        assert await silence(client)

    assert acknowledged["params"]["notifications"] == {"resourceSubscriptions": [A, B]}


@legacy
async def test_trap_115_subscribing_twice(site: Site, revision: str) -> None:
    async with site.client(revision=revision) as client:
        for _ in range(2):
            await client.request("resources/subscribe", {"uri": A})
        publish(ResourceUpdated(A))

        assert await client.notification(UPDATED) == {"uri": A}
        assert await silence(client)

        await client.request("resources/unsubscribe", {"uri": A})
        publish(ResourceUpdated(A))

        assert await silence(client)


@legacy
async def test_trap_116_news_before_the_handshake_is_over(
    site: Site, revision: str
) -> None:
    client = site.client(revision=revision)
    async with site.client(revision=LEGACY) as other:
        await client.connect()
        info = {"name": "c", "version": "1"}
        hello = {"protocolVersion": revision, "capabilities": {}, "clientInfo": info}
        await client.request("initialize", hello)
        await client.request("resources/subscribe", {"uri": A})
        publish(PrimitivesChanged("tools"))
        publish(ResourceUpdated(A))
        await other.notification(TOOLS_CHANGED)

        assert await silence(client)

        await client.notify("notifications/initialized")

        assert (await client.receive())["method"] == TOOLS_CHANGED
        assert (await client.receive())["params"] == {"uri": A}

        await client.disconnect()


async def test_trap_117_client_that_reads_slowly(
    settings: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "_COLLECTED", 0)
    monkeypatch.setattr(audience, "_BETWEEN", 0)
    monkeypatch.setattr(subscriptions, "_RETRIED", 0.01)
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "MAX_OUTBOX_FRAMES": 3}
    uris = [f"shop://orders/{number}" for number in range(10)]
    async with Socket(site.consumer.as_asgi()) as socket:
        await socket.connect()
        socket.put_frame(listen_frame(1, resourceSubscriptions=uris))
        await socket.until(2)
        (everybody,) = get_worker().audiences
        (dispatcher,) = everybody.sessions.values()
        connection = dispatcher.connection
        socket.reading.clear()
        in_outbox, pending = [0], [0]
        for _ in range(50):
            for uri in uris:
                publish(ResourceUpdated(uri))
            await asyncio.sleep(0)
            pending.append(len(dispatcher.subscriptions._pending))
            in_outbox.append(len(connection._frames))
        await until(lambda: len(connection._frames) == 3)
        socket.reading.set()
        async with asyncio.timeout(PATIENCE):
            while {uri_of(message) for message in socket.sent[2:]} != set(uris):
                await socket.until(len(socket.sent) + 1)

    assert connection.closing is None
    # Neither the outbox nor what waits for room in it grows with the news.
    assert max(in_outbox) <= 3
    assert max(pending) == len(uris)
    assert len(socket.sent) < 2 + 50


def uri_of(message: dict[str, Any]) -> Any:
    return json.loads(message["text"])["params"]["uri"]


@pytest.mark.parametrize("revision", [LEGACY, MODERN])
async def test_trap_118_permission_that_was_taken_back(
    site: Site, revision: str
) -> None:
    site.resource("shop://secret", permission="shop.see")(lambda: "x")
    clerk = Clerk("shop.see")
    uris = ["shop://secret", A]
    async with site.client(clerk, revision=revision) as client:
        if revision == MODERN:
            ids = [await client.listen({"resourceSubscriptions": [u]}) for u in uris]
        else:
            for uri in uris:
                await client.request("resources/subscribe", {"uri": uri})
        clerk.permissions.clear()
        for uri in uris:
            publish(ResourceUpdated(uri))

        assert (await client.notification(UPDATED))["uri"] == A

        if revision == MODERN:
            assert (await client.answer_to(ids[0]))["resultType"] == "complete"
        assert not client.notifications


@every
async def test_trap_119_roots_of_a_client_without_roots(
    site: Site, revision: str
) -> None:
    async with site.client(revision=revision) as client:
        await client.notify("notifications/roots/list_changed")

        assert await silence(client)


async def test_trap_120_one_event_in_the_words_of_each(site: Site) -> None:
    shapes = {}
    clients = [site.client(revision=revision) for revision in EVERY]
    for client in clients:
        await client.connect()
        if client.revision.value == MODERN:
            await client.listen({"resourceSubscriptions": [A]})
        else:
            await client.initialize()
            await client.request("resources/subscribe", {"uri": A})
    publish(ResourceUpdated(A))
    for client in clients:
        shapes[client.revision.value] = await client.notification(UPDATED)
        await client.disconnect()

    assert shapes.pop(MODERN) == {"uri": A, "_meta": {SUBSCRIPTION_ID: 1}}
    assert shapes == {revision: {"uri": A} for revision in HANDSHAKES}
