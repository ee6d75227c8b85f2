"""The official SDK's Client on our transport, and a server that is not ours."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client, ClientSession, MCPError
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged
from mcp_types import ElicitResult, ListRootsResult, Root

from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.errors import (
    CONNECTION_LOST,
    OUTCOME_UNKNOWN,
    ConnectionFailed,
)
from mcp_channels.client.websocket import WebSocketTransport
from tests.client.proxy import Proxy
from tests.client.stranger import PATIENCE, Refusal, Stranger

MODERN = "2026-07-28"

TOOLS = {
    "tools": [
        {
            "name": "look",
            "inputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": True},
        },
        {"name": "refund", "inputSchema": {"type": "object"}},
    ],
    "ttlMs": 3_600_000,
    "cacheScope": "private",
    "resultType": "complete",
}
DISCOVERED = {
    "supportedVersions": [MODERN],
    "capabilities": {"tools": {}, "resources": {}},
    "ttlMs": 0,
    "cacheScope": "private",
    "resultType": "complete",
}


def make_transport(url: str, **options: Any) -> WebSocketTransport:
    options = {"proxy": None, "reconnect_delay": 0.01, **options}
    return WebSocketTransport(WebSocketConfig(url, **options))


@asynccontextmanager
async def opened(
    transport: WebSocketTransport, **options: Any
) -> AsyncIterator[Client]:
    async with asyncio.timeout(2 * PATIENCE), Client(transport, **options) as client:
        yield client


@pytest.fixture
async def proxy(server: Stranger) -> AsyncIterator[Proxy]:
    async with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def modern(server: Stranger) -> Stranger:
    """The server, in the newest revision."""
    server.answers["server/discover"] = DISCOVERED
    server.answers["tools/list"] = TOOLS
    return server


def result(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "resultType": "complete"}


# The interface of the SDK


async def test_client_speaks_a_legacy_revision(server):
    async with opened(make_transport(server.url)) as client:
        assert client.protocol_version == "2025-11-25"
        assert client.server_info is not None
        assert client.server_info.name == "stranger"
        await client.session.send_ping()

    assert [one["method"] for one in server.last.messages] == [
        "server/discover",
        "initialize",
        "notifications/initialized",
        "ping",
    ]
    await server.until(lambda: server.last.socket.close_code == 1000)


async def test_client_speaks_the_modern_revision(modern):
    async with opened(make_transport(modern.url)) as client:
        tools = await client.list_tools()

    assert client is not None
    assert [tool.name for tool in tools.tools] == ["look", "refund"]
    assert [one["method"] for one in modern.last.messages] == [
        "server/discover",
        "tools/list",
    ]


async def test_url_is_enough_of_a_configuration(server, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    async with opened(WebSocketTransport(server.url)) as client:
        assert await client.session.send_ping()


async def test_session_takes_the_streams(server):
    async with (
        make_transport(server.url) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()

        assert await session.send_ping()


async def test_transport_is_used_once_at_a_time(server):
    transport = make_transport(server.url)
    async with transport:
        with pytest.raises(RuntimeError, match="once at a time"):
            await transport.__aenter__()
    async with opened(transport) as client:
        assert await client.session.send_ping()


async def test_refusal_is_raised_and_another_try_is_possible(server):
    transport = make_transport(server.url)
    server.refusals.append(Refusal(401, "Credentials are required"))
    with pytest.raises(ConnectionFailed, match="Credentials are required") as caught:
        async with opened(transport):
            pass
    async with opened(transport) as client:
        assert await client.session.send_ping()

    assert caught.value.status == 401


async def test_message_that_the_sdk_does_not_take_is_shown_to_its_handler(server):
    heard: list[Any] = []

    async def hear(message: Any) -> None:
        heard.append(message)

    server.answers["ping"] = 5
    async with opened(make_transport(server.url), message_handler=hear) as client:
        with pytest.raises(MCPError, match="timed out"):
            await client.session.send_request(
                _ping(), _empty(), request_read_timeout_seconds=0.1
            )

    assert [type(one).__name__ for one in heard] == ["ValidationError"]


def _ping() -> Any:
    from mcp_types import PingRequest

    return PingRequest()


def _empty() -> Any:
    from mcp_types import EmptyResult

    return EmptyResult


async def test_streams_end_with_the_connection(server):
    async with make_transport(server.url) as (read, write):
        await server.until(lambda: server.visits)
        await server.last.socket.close(1008, "Access revoked")
        failure = await read.receive()
        with pytest.raises(anyio.EndOfStream):
            await read.receive()
        assert [item async for item in read] == []
        with pytest.raises(anyio.BrokenResourceError):
            await write.send(_message())
        await read.aclose()
        await write.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await read.receive()
        with pytest.raises(anyio.ClosedResourceError):
            await write.send(_message())

    assert isinstance(failure, ConnectionFailed)
    assert failure.code == 1008


async def test_stream_of_a_client_that_left_ends(server):
    async with make_transport(server.url) as (read, _):
        pass

    assert isinstance(await read.receive(), ConnectionFailed)
    with pytest.raises(anyio.EndOfStream):
        await read.receive()


def _message() -> Any:
    from mcp.shared.message import SessionMessage
    from mcp_types import JSONRPCNotification

    return SessionMessage(JSONRPCNotification(jsonrpc="2.0", method="notifications/x"))


async def test_transport_knows_why_it_ended(server):
    transport = make_transport(server.url)
    assert transport.failure is None
    await transport.__aexit__(None, None, None)  # there is nothing to leave
    async with transport as (read, _):
        assert transport.failure is None
        await server.until(lambda: server.visits)
        await server.last.socket.close(1008, "Access revoked")
        assert await read.receive() is transport.failure
    assert transport.failure is not None
    assert transport.failure.code == 1008


# Drops


async def test_writer_fails_and_reader_goes_on(server, proxy):
    gates: dict[str, asyncio.Event] = {
        "look": asyncio.Event(),
        "refund": asyncio.Event(),
    }

    async def call(params: Any) -> Any:
        gates[params["name"]].set()
        return None if len(server.visits) == 1 else result("seen")

    server.answers |= {"tools/list": TOOLS, "tools/call": call}
    async with opened(make_transport(proxy.url)) as client:
        await client.list_tools()
        looking = asyncio.create_task(client.call_tool("look"))
        refunding = asyncio.create_task(client.call_tool("refund"))
        for gate in gates.values():
            await gate.wait()
        proxy.cut()
        with pytest.raises(MCPError, match="outcome is unknown") as caught:
            await refunding
        seen = await looking

    assert caught.value.code == OUTCOME_UNKNOWN
    assert caught.value.error.data == {"method": "tools/call", "name": "refund"}
    assert seen.content[0].text == "seen"
    assert [one["params"]["name"] for one in server.last.asked("tools/call")] == [
        "look"
    ]


async def test_end_answers_everything_and_says_why(server, proxy):
    heard: list[Any] = []

    async def hear(message: Any) -> None:
        heard.append(message)

    server.answers["resources/read"] = None
    async with opened(make_transport(proxy.url), message_handler=hear) as client:
        reading = asyncio.create_task(client.read_resource("x://a"))
        await server.until(lambda: server.last.asked("resources/read"))
        server.refusals.append(Refusal(403, "Access revoked"))
        proxy.cut()
        with pytest.raises(MCPError, match="Access revoked") as caught:
            await reading
        with pytest.raises(MCPError, match="Connection closed"):
            await client.read_resource("x://a")

    assert caught.value.code == CONNECTION_LOST
    assert [type(one) for one in heard] == [ConnectionFailed]


async def test_lists_that_are_kept_are_asked_for_again_after_a_drop(modern):
    async with Proxy(modern.port) as proxy, opened(make_transport(proxy.url)) as client:
        await client.list_tools()
        await client.list_tools()  # as kept
        proxy.cut()
        await modern.until(lambda: len(modern.visits) == 2)
        async with asyncio.timeout(PATIENCE):
            while not modern.last.asked("tools/list"):
                await client.list_tools()

    assert len(modern.visits[0].asked("tools/list")) == 1


async def test_listen_goes_on_after_a_drop(modern):
    acknowledged = "notifications/subscriptions/acknowledged"
    stamp = {"_meta": {"io.modelcontextprotocol/subscriptionId": "listen"}}

    async def listen(params: Any) -> None:
        (asked,) = modern.last.asked("subscriptions/listen")
        stamp["_meta"]["io.modelcontextprotocol/subscriptionId"] = asked["id"]
        filter = {"notifications": params["notifications"]}
        await modern.last.send(method=acknowledged, params={**filter, **stamp})

    modern.answers["subscriptions/listen"] = listen
    async with (
        Proxy(modern.port) as proxy,
        opened(make_transport(proxy.url)) as client,
        client.listen(
            tools_list_changed=True, resource_subscriptions=["x://a"]
        ) as events,
    ):
        proxy.cut()
        missed = {await anext(events), await anext(events)}
        updated = {"uri": "x://a", **stamp}
        method = "notifications/resources/updated"
        await modern.last.send(method=method, params=updated)
        news = await anext(events)

    assert missed == {ToolsListChanged(), ResourceUpdated(uri="x://a")}
    assert news == ResourceUpdated(uri="x://a")


async def test_notifications_keep_their_order(server):
    heard: list[int] = []

    async def hear(message: Any) -> None:
        heard.append(message.params.data)

    async with opened(make_transport(server.url), message_handler=hear) as client:
        for number in range(100):
            params = {"level": "info", "data": number}
            await server.last.send(method="notifications/message", params=params)
        await client.session.send_ping()

    assert heard == list(range(100))


async def test_call_that_is_cancelled_is_cancelled_at_the_server(server):
    server.answers["tools/call"] = None
    async with opened(make_transport(server.url)) as client:
        calling = asyncio.create_task(client.call_tool("refund"))
        await server.until(lambda: server.last.asked("tools/call"))
        calling.cancel()
        await server.until(lambda: server.last.asked("notifications/cancelled"))

    (asked,) = server.last.asked("tools/call")
    assert server.last.messages[-1]["params"]["requestId"] == asked["id"]


async def test_server_may_ask_while_it_is_asked(server):
    async def ask(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "ada"})

    async def call(params: Any) -> Any:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        params = {"message": "Who?", "requestedSchema": schema}
        await server.last.send(id=1, method="elicitation/create", params=params)
        await server.until(
            lambda: [one for one in server.last.messages if "result" in one]
        )
        (answer,) = [one for one in server.last.messages if "result" in one]
        return result(answer["result"]["content"]["name"])

    server.answers |= {"tools/list": TOOLS, "tools/call": call}
    transport = make_transport(server.url)
    async with opened(transport, elicitation_callback=ask) as client:
        called = await client.call_tool("refund")

    assert called.content[0].text == "ada"


async def test_question_of_a_lost_connection_is_answered_to_nobody(server, proxy):
    asked, gone = asyncio.Event(), asyncio.Event()

    async def list_roots(context: Any) -> ListRootsResult:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return ListRootsResult(roots=[Root(uri="file:///")])

    transport = make_transport(proxy.url)
    async with opened(transport, list_roots_callback=list_roots) as client:
        await server.last.send(id=1, method="roots/list")
        await asked.wait()
        proxy.cut()
        await gone.wait()
        await client.session.send_ping()

    assert [one for one in server.last.messages if "result" in one] == []


async def test_cancelled_client_closes_its_connection(server):
    async with asyncio.timeout(PATIENCE):
        with anyio.move_on_after(0.3) as scope:
            async with Client(make_transport(server.url)):
                await anyio.sleep_forever()

    assert scope.cancelled_caught
    await server.until(lambda: server.last.socket.close_code == 1000)


async def test_what_is_sent_is_what_the_sdk_says(server):
    async with opened(make_transport(server.url)) as client:
        with pytest.raises(MCPError, match="Method not found"):
            await client.call_tool("look", {"text": "\u2028é\n", "none": None})

    (asked,) = server.last.asked("tools/call")
    assert asked["params"]["arguments"] == {"text": "\u2028é\n", "none": None}
    assert "null" not in json.dumps({**asked, "params": None}).replace(
        '"params": null', ""
    )
