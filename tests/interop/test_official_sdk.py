"""The official SDK's Client on a WebSocket, in both of the ways in which it begins."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from mcp import Client, MCPError

from tests.interop.servers import Server
from tests.interop.transport import PATIENCE, websocket_client

REVISIONS = {"legacy": "2025-11-25", "auto": "2026-07-28"}

TOOLS = [
    "add",
    "count",
    "count_cancelled",
    "fail",
    "forecast",
    "nap",
    "refuse",
    "repeat",
    "wait",
]

Connect = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture(params=list(REVISIONS))
def mode(request: pytest.FixtureRequest) -> str:
    """How a client finds out which revision to speak."""
    mode: str = request.param
    return mode


@pytest.fixture
def connect(server: Server, mode: str) -> Connect:
    """Connect a client to each server in each mode."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        async with (
            asyncio.timeout(4 * PATIENCE),
            Client(websocket_client(server.url()), mode=mode) as client,
        ):
            yield client

    return connect


async def test_client_learns_who_serves_it(connect: Connect, mode: str) -> None:
    async with connect() as client:
        assert client.protocol_version == REVISIONS[mode]
        assert client.server_info is not None
        assert client.server_info.name == "interop"
        assert client.server_capabilities.tools is not None


async def test_tools_are_listed(connect: Connect) -> None:
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    assert list(tools) == TOOLS
    assert tools["add"].description == "Add two numbers."
    assert tools["add"].input_schema["required"] == ["a", "b"]
    assert tools["add"].annotations is not None
    assert tools["add"].annotations.read_only_hint is True


async def test_tools_are_called(connect: Connect, mode: str) -> None:
    # The client holds structured content against the schema that was listed.
    async with connect() as client:
        await client.list_tools()
        added = await client.call_tool("add", {"a": 1, "b": 2})
        warm = await client.call_tool("forecast", {"city": "Bern", "scale": "F"})

    assert not added.is_error
    assert added.content[0].text == "3"
    assert added.structured_content == (3 if mode == "auto" else {"result": 3})
    assert warm.structured_content == {"city": "Bern", "degrees": 70.7}


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("add", {"a": "1", "b": 2}, 'a: expected integer, got string "1"'),
        ("add", {"a": 1}, "b: required, but missing"),
        ("forecast", {"city": "Bern", "scale": "K"}, 'scale: expected one of "C", "F"'),
        ("add", {"a": 1, "b": 2, "c": 3}, "c: unknown argument"),
        ("refuse", {}, "The shop is closed."),
        ("fail", {}, "Tool 'fail' failed."),
    ],
)
async def test_failures_are_told_to_the_model(
    connect: Connect, name: str, arguments: dict[str, object], text: str
) -> None:
    async with connect() as client:
        result = await client.call_tool(name, arguments)

    assert result.is_error
    assert text in result.content[0].text
    assert "secret" not in result.content[0].text


async def test_unknown_tool_is_an_error(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match="Unknown tool: nothing") as caught:
            await client.call_tool("nothing")

    assert caught.value.code == -32602


async def test_progress_is_called_back(connect: Connect) -> None:
    told = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with connect() as client:
        result = await client.call_tool("count", {"to": 3}, progress_callback=tell)

    assert result.content[0].text == "counted"
    assert told == [(1, 3, "1 of 3"), (2, 3, "2 of 3"), (3, 3, "3 of 3")]


async def count_cancelled(client: Client) -> int:
    result = await client.call_tool("count_cancelled")
    return int(result.content[0].text)


async def test_call_that_takes_too_long_is_cancelled_at_the_server(
    connect: Connect,
) -> None:
    async with connect() as client:
        before = await count_cancelled(client)
        with pytest.raises(MCPError, match="timed out"):
            await client.call_tool("wait", read_timeout_seconds=0.1)
        async with asyncio.timeout(PATIENCE):
            while await count_cancelled(client) == before:
                await asyncio.sleep(0.01)


async def test_calls_of_a_client_that_goes_are_cancelled(connect: Connect) -> None:
    async with connect() as other:
        before = await count_cancelled(other)
        async with connect() as client:
            call = asyncio.create_task(client.call_tool("wait"))
            # Answered after it, so the call has begun.
            await client.call_tool("add", {"a": 1, "b": 2})
        with pytest.raises(MCPError):
            await call
        async with asyncio.timeout(PATIENCE):
            while await count_cancelled(other) == before:
                await asyncio.sleep(0.01)


async def test_many_calls_run_at_the_same_time(connect: Connect) -> None:
    async with connect() as client:
        results = await asyncio.gather(
            *(client.call_tool("add", {"a": number, "b": 1}) for number in range(30))
        )

    assert [result.content[0].text for result in results] == [
        str(number + 1) for number in range(30)
    ]


async def test_ping_is_answered_where_it_exists(connect: Connect, mode: str) -> None:
    async with connect() as client:
        if mode == "legacy":
            assert await client.session.send_ping()
        else:
            with pytest.raises(MCPError, match="Method not found: ping"):
                await client.session.send_ping()
