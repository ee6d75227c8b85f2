"""Who is told of what, in each era, and how often."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from mcp_channels import PrimitivesChanged, ResourceUpdated, publish
from mcp_channels.protocol.connection import Limits
from mcp_channels.protocol.description import ServerDescription
from mcp_channels.protocol.envelope import SUBSCRIPTION_ID
from mcp_channels.protocol.server import ServerConnection
from mcp_channels.protocol.types import (
    Implementation,
    ServerCapabilities,
    SubscriptionFilter,
    ToolsCapability,
)
from mcp_channels.server import audience, subscriptions
from mcp_channels.server.audience import Audience
from mcp_channels.server.permissions import Identity
from mcp_channels.server.subscriptions import Subscriptions
from mcp_channels.testing import MCPCommunicator
from mcp_channels.worker import get_worker
from tests.sites import LEGACY, MODERN, Clerk, Site, both_eras, refusal, silence

A, B, ORDER = "shop://a", "shop://b", "shop://orders/5"
UPDATED = "notifications/resources/updated"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
KINDS = ("tools", "prompts", "resources")


def changed(kind: str) -> str:
    return f"notifications/{kind}/list_changed"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are collected for the shortest of times."""
    monkeypatch.setattr(audience, "_COLLECTED", 0.001)
    monkeypatch.setattr(audience, "_BETWEEN", 0.001)
    monkeypatch.setattr(subscriptions, "_RETRIED", 0.001)


@pytest.fixture
def site() -> Site:
    site = Site()
    site.tool(name="t")(lambda: "x")
    site.prompt(name="p")(lambda: "x")
    site.resource(A)(lambda: "x")
    site.resource(B)(lambda: "x")
    site.resource("shop://orders/{number}")(lambda number: "x")
    return site


async def subscribe(client: MCPCommunicator, uri: str = A) -> None:
    assert await client.request("resources/subscribe", {"uri": uri}) == {}


async def next_message(client: MCPCommunicator) -> tuple[str, Any]:
    """Return method and params of the next message, which is a notification."""
    if client.notifications:
        message = client.notifications.popleft()
    else:
        message = await client.receive()
    return message["method"], message.get("params", {})


async def listen(
    client: MCPCommunicator, wanted: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Open a listen; return its id and what was acknowledged."""
    id = await client.send_request("subscriptions/listen", {"notifications": wanted})
    method, params = await next_message(client)

    assert method == ACKNOWLEDGED
    assert params["_meta"] == {SUBSCRIPTION_ID: id}
    return id, params["notifications"]


def tagged(id: Any, **params: Any) -> dict[str, Any]:
    return {**params, "_meta": {SUBSCRIPTION_ID: id}}


def subscriptions_of_the_only_client() -> Subscriptions:
    (audience,) = get_worker().audiences
    (session,) = audience.sessions.values()
    return session.subscriptions


# With a handshake


@pytest.mark.parametrize("uri", [A, ORDER])
@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26", "2025-06-18", LEGACY])
async def test_subscriber_is_told_of_its_uri_alone(
    site: Site, revision: str, uri: str
) -> None:
    async with site.client(revision=revision) as client:
        await subscribe(client, uri)
        publish(ResourceUpdated(B))
        publish(ResourceUpdated("shop://orders/6"))
        publish(ResourceUpdated(uri))

        assert await next_message(client) == (UPDATED, {"uri": uri})


async def test_client_is_told_that_a_row_went_and_then_no_more(site: Site) -> None:
    rows = {"1", "2"}

    @site.resource("shop://rows/{id}")
    def row(id: str) -> str | None:
        return id if id in rows else None

    async with site.client(revision=LEGACY) as client:
        for uri in ("shop://rows/1", "shop://rows/2"):
            await subscribe(client, uri)
        error = await refusal(
            client.request("resources/subscribe", {"uri": "shop://rows/3"})
        )

        assert (error.code, error.data) == (-32002, {"uri": "shop://rows/3"})

        rows.remove("1")
        publish(ResourceUpdated("shop://rows/1"))

        assert await next_message(client) == (UPDATED, {"uri": "shop://rows/1"})

        publish(ResourceUpdated("shop://rows/1"))
        publish(ResourceUpdated("shop://rows/2"))

        assert await next_message(client) == (UPDATED, {"uri": "shop://rows/2"})


async def test_listen_is_told_that_a_row_went_and_then_no_more(site: Site) -> None:
    rows = {"1", "2"}

    @site.resource("shop://rows/{id}")
    async def row(id: str) -> str | None:
        return id if id in rows else None

    one, two = ResourceUpdated("shop://rows/1"), ResourceUpdated("shop://rows/2")
    async with site.client() as client:
        wanted = {"resourceSubscriptions": [one.uri, two.uri, "shop://rows/3"]}
        id, honoured = await listen(client, wanted)

        assert honoured == {"resourceSubscriptions": [one.uri, two.uri]}

        rows.remove("1")
        publish(one)

        assert await next_message(client) == (UPDATED, tagged(id, uri=one.uri))

        publish(one)
        publish(two)

        assert await next_message(client) == (UPDATED, tagged(id, uri=two.uri))


async def test_who_subscribes_twice_is_told_once(site: Site) -> None:
    async with site.client(revision=LEGACY) as client:
        for uri in (A, A, B):
            await subscribe(client, uri)
        publish(ResourceUpdated(A))
        publish(ResourceUpdated(B))

        assert await next_message(client) == (UPDATED, {"uri": A})
        assert await next_message(client) == (UPDATED, {"uri": B})


async def test_who_unsubscribes_is_told_no_more(site: Site) -> None:
    async with site.client(revision=LEGACY) as client:
        await subscribe(client, A)
        await subscribe(client, B)
        for uri in (A, A, "shop://never"):
            assert await client.request("resources/unsubscribe", {"uri": uri}) == {}
        publish(ResourceUpdated(A))
        publish(ResourceUpdated(B))

        assert await next_message(client) == (UPDATED, {"uri": B})


async def test_unknown_and_hidden_cannot_be_subscribed_to(site: Site) -> None:
    site.resource("shop://secret", permission="shop.see")(lambda: "x")
    async with site.client(Clerk(), revision=LEGACY) as client:
        for uri in ("shop://secret", "shop://nothing", "shop://orders/a/b", ""):
            error = await refusal(client.request("resources/subscribe", {"uri": uri}))

            assert (error.code, error.data) == (-32002, {"uri": uri})


@pytest.mark.parametrize("method", ["subscribe", "unsubscribe"])
async def test_modern_client_has_no_subscribe(site: Site, method: str) -> None:
    async with site.client() as client:
        error = await refusal(client.request(f"resources/{method}", {"uri": A}))

    assert error.code == -32601


@pytest.mark.parametrize("kind", KINDS)
async def test_changed_list_is_told_unasked(site: Site, kind: Any) -> None:
    async with site.client(revision=LEGACY) as client:
        publish(PrimitivesChanged(kind))

        assert await next_message(client) == (changed(kind), {})


async def test_list_that_is_not_offered_never_changes() -> None:
    site = Site()
    site.tool(name="t")(lambda: "x")
    async with site.client(revision=LEGACY) as client:
        publish(PrimitivesChanged("prompts"))
        publish(PrimitivesChanged("resources"))
        publish(PrimitivesChanged("tools"))

        assert await next_message(client) == (changed("tools"), {})


async def test_nothing_is_told_before_the_handshake_is_over(site: Site) -> None:
    async with site.client(revision=LEGACY) as other:
        client = site.client(revision=LEGACY)
        await client.connect()
        hello = {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "c", "version": "1"},
        }
        await client.request("initialize", hello)
        await subscribe(client)
        await subscribe(other)
        for _ in range(2):
            publish(PrimitivesChanged("tools"))
            publish(ResourceUpdated(A))
            await next_message(other)
            await next_message(other)
        assert await silence(client)

        await client.notify("notifications/initialized")

        assert await next_message(client) == (changed("tools"), {})
        assert await next_message(client) == (UPDATED, {"uri": A})

        assert await silence(client)
        await client.disconnect()


# Listens


async def test_modern_client_that_does_not_listen_is_told_nothing(site: Site) -> None:
    async with site.client() as client, site.client() as other:
        await listen(other, {f"{kind}ListChanged": True for kind in KINDS})
        for kind in KINDS:
            publish(PrimitivesChanged(kind))  # type: ignore[arg-type]
            await next_message(other)
        publish(ResourceUpdated(A))
        assert await silence(client)


@pytest.mark.parametrize(
    ("wanted", "honoured"),
    [
        ({}, {}),
        ({"toolsListChanged": True}, {"toolsListChanged": True}),
        ({"toolsListChanged": False, "promptsListChanged": False}, {}),
        (
            {"resourcesListChanged": True, "promptsListChanged": True, "new": {"a": 1}},
            {"resourcesListChanged": True, "promptsListChanged": True},
        ),
        ({"resourceSubscriptions": []}, {}),
        ({"resourceSubscriptions": ["shop://nothing", "", "x" * 999]}, {}),
        (
            {"resourceSubscriptions": [B, "shop://secret", ORDER, B, "shop://no"]},
            {"resourceSubscriptions": [B, ORDER]},
        ),
        ({"taskIds": ["a"]}, {}),
    ],
)
async def test_listen_is_acknowledged_for_what_it_will_hear(
    site: Site, wanted: dict[str, Any], honoured: dict[str, Any]
) -> None:
    site.resource("shop://secret", permission="shop.see")(lambda: "x")
    async with site.client(Clerk()) as client:
        _, acknowledged = await listen(client, wanted)

    assert acknowledged == honoured


async def test_listen_is_not_acknowledged_for_what_is_not_offered() -> None:
    site = Site()
    site.tool(name="t")(lambda: "x")
    async with site.client() as client:
        id, honoured = await listen(
            client,
            {f"{kind}ListChanged": True for kind in KINDS}
            | {"resourceSubscriptions": [A]},
        )
        for kind in reversed(KINDS):
            publish(PrimitivesChanged(kind))  # type: ignore[arg-type]

        assert honoured == {"toolsListChanged": True}
        assert await next_message(client) == (changed("tools"), tagged(id))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"notifications": None},
        {"notifications": []},
        {"notifications": {"toolsListChanged": 1}},
        {"notifications": {"resourceSubscriptions": A}},
        {"notifications": {"resourceSubscriptions": [5]}},
    ],
)
async def test_malformed_filter_is_refused(site: Site, params: Any) -> None:
    async with site.client() as client:
        error = await refusal(client.request("subscriptions/listen", params))

        assert error.code == -32602
        assert not client.notifications


@pytest.mark.parametrize("kind", KINDS)
async def test_listen_hears_of_the_lists_it_named(site: Site, kind: Any) -> None:
    async with site.client() as client:
        id, _ = await listen(client, {f"{kind}ListChanged": True})
        for other in (*KINDS, kind):
            publish(PrimitivesChanged(other))
        publish(ResourceUpdated(A))

        assert await next_message(client) == (changed(kind), tagged(id))

        assert await silence(client)


async def test_listen_hears_of_the_uris_it_named(site: Site) -> None:
    async with site.client() as client:
        id, _ = await listen(client, {"resourceSubscriptions": [ORDER, B, B]})
        for uri in (A, "shop://orders/6", B, ORDER):
            publish(ResourceUpdated(uri))

        assert await next_message(client) == (UPDATED, tagged(id, uri=B))
        assert await next_message(client) == (UPDATED, tagged(id, uri=ORDER))


async def test_each_listen_is_told_under_its_own_id(site: Site) -> None:
    async with site.client() as client:
        first, _ = await listen(client, {"resourceSubscriptions": [A]})
        second, _ = await listen(
            client, {"resourceSubscriptions": [A, B], "toolsListChanged": True}
        )
        publish(ResourceUpdated(A))
        publish(ResourceUpdated(B))

        assert await next_message(client) == (UPDATED, tagged(first, uri=A))
        assert await next_message(client) == (UPDATED, tagged(second, uri=A))
        assert await next_message(client) == (UPDATED, tagged(second, uri=B))


@pytest.mark.parametrize("id", [0, "", "0", -1, 2**60])
async def test_tag_is_the_id_as_it_was_sent(site: Site, id: Any) -> None:
    async with site.client() as client:
        await client.send(listen_frame(id, toolsListChanged=True))
        publish(PrimitivesChanged("tools"))
        _, acknowledged = await next_message(client)
        _, told = await next_message(client)
        subscriptions_of_the_only_client().end()
        ended = await client.receive()

    tags = [message["_meta"][SUBSCRIPTION_ID] for message in (acknowledged, told)]
    tags += [ended["id"], ended["result"]["_meta"][SUBSCRIPTION_ID]]
    assert tags == [id] * 4
    assert {type(tag) for tag in tags} == {type(id)}


def listen_frame(id: Any, **wanted: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": id,
        "method": "subscriptions/listen",
        "params": {
            "notifications": wanted,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }


async def test_id_of_an_open_listen_cannot_be_used_again(site: Site) -> None:
    async with site.client() as client:
        await client.send(listen_frame("x", toolsListChanged=True))
        await next_message(client)
        await client.send(listen_frame("x", promptsListChanged=True))
        refused = await client.receive()
        publish(PrimitivesChanged("prompts"))
        publish(PrimitivesChanged("tools"))

        assert (refused["id"], refused["error"]["code"]) == ("x", -32600)
        assert await next_message(client) == (changed("tools"), tagged("x"))


async def test_cancelled_listen_hears_nothing_more(site: Site) -> None:
    async with site.client() as client:
        first, _ = await listen(client, {"toolsListChanged": True})
        second, _ = await listen(client, {"toolsListChanged": True})
        await client.notify("notifications/cancelled", {"requestId": first})
        publish(PrimitivesChanged("tools"))

        assert await next_message(client) == (changed("tools"), tagged(second))

        assert await silence(client)

        # The id is free again.
        await client.send(listen_frame(first, toolsListChanged=True))

        assert (await next_message(client))[0] == ACKNOWLEDGED


async def test_listens_end_with_their_results(site: Site) -> None:
    async with site.client() as client:
        ids = [(await listen(client, {"toolsListChanged": True}))[0] for _ in range(3)]
        subscriptions_of_the_only_client().end()
        results = [await client.answer_to(id) for id in ids]
        publish(PrimitivesChanged("tools"))
        assert await silence(client)

    assert [result["_meta"][SUBSCRIPTION_ID] for result in results] == ids
    assert {result["resultType"] for result in results} == {"complete"}
    assert "ttlMs" not in results[0]


async def test_listen_is_in_flight_and_outlives_every_call(
    settings: Any, site: Site
) -> None:
    settings.MCP_CHANNELS = {
        **settings.MCP_CHANNELS,
        "CALL_TIMEOUT": 0.05,
        "MAX_REQUESTS_IN_FLIGHT": 2,
    }

    @site.tool
    async def dawdle() -> None:
        await asyncio.Event().wait()

    async with site.client() as client:
        # Its URI is looked at, and this takes no time of it.
        wanted = {"toolsListChanged": True, "resourceSubscriptions": [ORDER]}
        id, _ = await listen(client, wanted)

        assert (await client.call_tool("dawdle"))["isError"]
        assert (await client.call_tool("dawdle"))["isError"]

        second, _ = await listen(client, {"toolsListChanged": True})
        error = await refusal(client.list_tools())

        assert (error.code, "Too many requests" in error.message) == (-32600, True)

        publish(PrimitivesChanged("tools"))

        assert await next_message(client) == (changed("tools"), tagged(id))
        assert await next_message(client) == (changed("tools"), tagged(second))

        await client.notify("notifications/cancelled", {"requestId": id})
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await client.list_tools()
                except Exception:
                    continue
                break


async def test_handshake_and_listens_are_told_apart(site: Site) -> None:
    async with site.client(revision=LEGACY) as client:
        await subscribe(client)
        await client.send(listen_frame("x", resourceSubscriptions=[A, B]))

        assert (await next_message(client))[0] == ACKNOWLEDGED

        publish(ResourceUpdated(A))
        publish(ResourceUpdated(B))

        assert await next_message(client) == (UPDATED, {"uri": A})
        assert await next_message(client) == (UPDATED, tagged("x", uri=A))
        assert await next_message(client) == (UPDATED, tagged("x", uri=B))


# How many


async def test_subscriptions_are_limited(settings: Any, site: Site) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "MAX_SUBSCRIPTIONS": 2}
    async with site.client(revision=LEGACY) as client:
        await subscribe(client, A)
        await subscribe(client, B)
        await subscribe(client, A)
        params = {"uri": ORDER}
        error = await refusal(client.request("resources/subscribe", params))
        await client.request("resources/unsubscribe", {"uri": A})
        await subscribe(client, ORDER)

    assert (error.code, error.message) == (-32600, "There may be 2 subscriptions")


@pytest.mark.parametrize(
    ("before", "more", "is_refused"),
    [
        ([], {"resourceSubscriptions": [A, B]}, False),
        ([], {"resourceSubscriptions": [A, B, A, B, B]}, False),
        ([], {"resourceSubscriptions": [A, B, ORDER]}, True),
        # Before they are looked for.
        ([], {"resourceSubscriptions": [f"x:{number}" for number in range(3)]}, True),
        ([{}, {}], {}, False),
        ([{}, {}, {}], {}, True),
        ([{"resourceSubscriptions": [A]}], {}, False),
        ([{"resourceSubscriptions": [A]}], {"resourceSubscriptions": [A]}, True),
        ([{"resourceSubscriptions": ["x:y"]}], {"resourceSubscriptions": [A]}, False),
    ],
)
async def test_listens_and_their_uris_are_limited(
    settings: Any, site: Site, before: list[Any], more: Any, is_refused: bool
) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "MAX_SUBSCRIPTIONS": 3}
    async with site.client() as client:
        for wanted in before:
            await listen(client, wanted)
        id = await client.send_request("subscriptions/listen", {"notifications": more})
        message = await client.receive()

        if is_refused:
            assert (message["id"], message["error"]["code"]) == (id, -32600)
        else:
            assert message["method"] == ACKNOWLEDGED


async def test_limit_may_be_lifted(settings: Any, site: Site) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "MAX_SUBSCRIPTIONS": None}
    uris = [f"shop://orders/{number}" for number in range(2000)]
    async with site.client() as client:
        _, honoured = await listen(client, {"resourceSubscriptions": uris})

    assert honoured == {"resourceSubscriptions": uris}


@both_eras
async def test_many_events_are_one_notification(site: Site, revision: str) -> None:
    async with site.client(revision=revision) as client:
        if revision == LEGACY:
            await subscribe(client)
        else:
            wanted = {"toolsListChanged": True, "resourceSubscriptions": [A]}
            await listen(client, wanted)
        for _ in range(500):
            publish(PrimitivesChanged("tools"))
            publish(ResourceUpdated(A))

        assert (await next_message(client))[0] == changed("tools")
        assert (await next_message(client))[0] == UPDATED

        assert await silence(client)


# What has changed meanwhile


async def test_connected_client_sees_what_was_registered_since(site: Site) -> None:
    async with site.client() as modern, site.client(revision=LEGACY) as legacy:
        await listen(modern, {"toolsListChanged": True})
        site.tool(name="new")(lambda: "x")
        site.remove("t")
        for client in (modern, legacy):
            assert [tool["name"] for tool in await client.list_tools()] == ["t"]

        publish(PrimitivesChanged("tools"))
        for client in (modern, legacy):
            # Told when it can see it, not before.
            await client.notification(changed("tools"))

            assert [tool["name"] for tool in await client.list_tools()] == ["new"]
            assert (await client.call_tool("new"))["content"]
            assert (await refusal(client.call_tool("t"))).code == -32602


async def test_client_that_is_not_told_sees_it_all_the_same(site: Site) -> None:
    async with site.client() as client, site.client(revision=LEGACY) as other:
        site.tool(name="new")(lambda: "x")
        publish(PrimitivesChanged("tools"))
        await other.notification(changed("tools"))
        await client.list_tools()

        assert "new" in [tool["name"] for tool in await client.list_tools()]


@both_eras
async def test_resource_that_was_taken_away_is_told_of_no_more(
    site: Site, revision: str
) -> None:
    async with site.client(revision=revision) as client:
        if revision == LEGACY:
            await subscribe(client, A)
            await subscribe(client, B)
        else:
            first, _ = await listen(client, {"resourceSubscriptions": [A]})
            second, _ = await listen(client, {"resourceSubscriptions": [B]})
        site.remove(A, kind="resource")
        publish(PrimitivesChanged("resources"))
        publish(ResourceUpdated(A))
        publish(ResourceUpdated(B))

        if revision == LEGACY:
            assert await next_message(client) == (changed("resources"), {})
            assert await next_message(client) == (UPDATED, {"uri": B})
        else:
            assert await next_message(client) == (UPDATED, tagged(second, uri=B))
            assert (await client.answer_to(first))["resultType"] == "complete"
            assert not client.notifications


@both_eras
async def test_permission_is_asked_for_again_when_it_is_told(
    site: Site, revision: str
) -> None:
    site.resource("shop://secret", permission="shop.see")(lambda: "x")
    secret = ResourceUpdated("shop://secret")
    clerk = Clerk("shop.see")
    async with site.client(clerk, revision=revision) as client:
        if revision == LEGACY:
            await subscribe(client, secret.uri)
            await subscribe(client, A)
        else:
            first, _ = await listen(client, {"resourceSubscriptions": [secret.uri]})
            await listen(client, {"resourceSubscriptions": [A]})
        publish(secret)

        assert (await next_message(client))[1]["uri"] == secret.uri

        clerk.permissions.clear()
        publish(secret)
        publish(ResourceUpdated(A))

        assert (await next_message(client))[1]["uri"] == A
        if revision == LEGACY:
            # It was found on the way.
            assert await next_message(client) == (changed("resources"), {})

        if revision == MODERN:
            assert (await client.answer_to(first))["resultType"] == "complete"
            _, honoured = await listen(client, {"resourceSubscriptions": [secret.uri]})

            assert honoured == {}

        # Not for the lists alone.
        assert (await refusal(client.read_resource(secret.uri))).message == (
            "Resource not found"
        )


# Without a socket


class Session:
    """One connection, whose outbox nobody drains but the test."""

    def __init__(self, *, frames: int = 100, legacy: bool = True) -> None:
        tools = ServerCapabilities(tools=ToolsCapability(list_changed=True))
        self.connection = ServerConnection(
            ServerDescription(Implementation("tests", "1"), tools),
            Limits(max_outbox_frames=frames),
        )
        self.audience = Audience()
        self.registry = Site()
        self.registry.resource(A)(lambda: "x")
        self.catalogue = self.find_catalogue()
        self.subscriptions = Subscriptions(self, limit=None)  # type: ignore[arg-type]
        self.tasks = set[asyncio.Task[None]]()
        self.refreshing: Callable[[], Awaitable[None]] | None = None
        self.woken = asyncio.Event()
        if legacy:
            self.receive("initialize", protocolVersion=LEGACY, **HELLO)
            self.connection.receive(
                '{"jsonrpc":"2.0","method":"notifications/initialized"}'
            )
            self.connection.next_frame()

    def receive(self, method: str, **params: Any) -> list[Any]:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self.connection.receive(json.dumps(message))

    def find_catalogue(self) -> Any:
        anybody: Any = Identity(Clerk())  # type: ignore[arg-type]
        return self.registry.catalogue_for(anybody, page_size=5)

    async def refresh(self) -> list[Any]:
        if self.refreshing is not None:
            await self.refreshing()
        before, self.catalogue = self.catalogue, self.find_catalogue()
        return self.catalogue.differences(before)

    def notify(self, event: Any) -> None:
        self.subscriptions.notify(event)

    def do(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(chore)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def wake(self) -> None:
        self.woken.set()

    async def told(self) -> list[str]:
        """Wait until something was told; return the methods."""
        async with asyncio.timeout(5):
            await self.woken.wait()
        self.woken.clear()
        return self.drain()

    def drain(self) -> list[str]:
        frames = []
        while (frame := self.connection.next_frame()) is not None:
            frames.append(json.loads(frame)["method"])
        return frames


NOBODY: Any = None  # a request that nobody looks into
HELLO = {"capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}


async def test_full_outbox_is_tried_again() -> None:
    session = Session(frames=1)
    await session.subscriptions.subscribe(NOBODY, A)
    session.subscriptions.notify(PrimitivesChanged("tools"))
    session.subscriptions.notify(ResourceUpdated(A))

    assert await session.told() == [changed("tools")]
    assert await session.told() == [UPDATED]

    # News never closes a connection, however slow it is read.
    session.subscriptions.notify(PrimitivesChanged("tools"))
    session.subscriptions.notify(ResourceUpdated(A))
    for _ in range(3):
        await session.woken.wait()
        session.woken.clear()

    assert session.connection.closing is None
    assert session.drain() == [changed("tools")]
    assert await session.told() == [UPDATED]


async def test_nobody_is_told_of_anything_when_the_look_ended_the_connection() -> None:
    session = Session()

    async def revoke() -> None:
        session.connection.close(1008, "Access was revoked")

    session.refreshing = revoke
    session.subscriptions.notify(PrimitivesChanged("tools"))
    async with asyncio.timeout(5):
        while session.connection.closing is None or session.tasks:
            await asyncio.sleep(0)

    assert session.drain() == []
    assert session.subscriptions._timer is None


async def test_nobody_is_told_while_permissions_cannot_be_looked_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = Session()
    failures = [ValueError("The database is gone"), ValueError("It is still gone")]

    async def fail() -> None:
        if failures:
            session.subscriptions.notify(ResourceUpdated(A))
            raise failures.pop()

    session.refreshing = fail
    await session.subscriptions.subscribe(NOBODY, A)
    session.subscriptions.notify(PrimitivesChanged("tools"))

    assert await session.told() == [changed("tools"), UPDATED]
    assert [record.message for record in caplog.records] == [
        "Subscribers not told yet"
    ] * 2


async def test_what_happens_during_a_look_is_told_after_it() -> None:
    session = Session()
    looking, found = asyncio.Event(), asyncio.Event()
    looks = []

    async def look() -> None:
        looks.append(1)
        looking.set()
        await found.wait()

    session.refreshing = look
    await session.subscriptions.subscribe(NOBODY, A)
    session.subscriptions.notify(PrimitivesChanged("tools"))
    await looking.wait()
    for _ in range(3):
        session.subscriptions.notify(PrimitivesChanged("tools"))
        session.subscriptions.notify(ResourceUpdated(A))
        while not session.audience.is_quiet:
            await asyncio.sleep(0)

    assert len(looks) == 1
    assert session.drain() == []

    found.set()

    # It may have looked too early for them: so it looks again, and tells again.
    told: list[str] = []
    while len(told) < 3:
        told += await session.told()
    assert told == [changed("tools"), changed("tools"), UPDATED]
    assert len(looks) == 2


async def test_listen_is_closed_as_soon_as_it_is_cancelled() -> None:
    session = Session(legacy=False)
    (request,) = session.receive(
        "subscriptions/listen", **listen_frame(1, toolsListChanged=True)["params"]
    )
    wanted = SubscriptionFilter(tools_list_changed=True)
    task = asyncio.create_task(session.subscriptions.listen(request, wanted))

    assert await session.told() == [ACKNOWLEDGED]

    session.connection.cancel(1)  # while its task goes on

    session.subscriptions.notify(PrimitivesChanged("tools"))

    assert await session.told() == []

    task.cancel()
    await asyncio.wait({task})

    assert not session.subscriptions._listens


async def test_nothing_happens_after_the_channel_has_gone() -> None:
    session = Session(frames=0)
    session.subscriptions.shut()  # before anything was told, too
    await session.subscriptions.subscribe(NOBODY, A)
    session.audience.receive(ResourceUpdated(A))
    await session.told()
    session.subscriptions.shut()
    timer = session.subscriptions._timer

    assert timer is not None
    assert timer.cancelled()
    assert not session.subscriptions._pending

    session.audience.receive(ResourceUpdated(A))

    assert session.audience.is_quiet
