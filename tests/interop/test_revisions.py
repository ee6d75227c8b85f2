"""Clients that speak by hand, each of the five revisions on each server."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.interop.servers import Server
from tests.interop.transport import open_peer

LEGACY = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
REVISIONS = [*LEGACY, "2026-07-28"]
GUESTS = 8  # that the tool nap waits for


@pytest.mark.parametrize("revision", LEGACY)
async def test_handshake_agrees_on_what_the_client_asks_for(
    server: Server, revision: str
) -> None:
    async with open_peer(server.url(), "2026-07-28") as peer:
        peer.revision = revision
        result = await peer.initialize()

    assert result["protocolVersion"] == revision
    assert result["serverInfo"]["name"] == "interop"


async def test_probe_names_the_modern_revisions(server: Server) -> None:
    async with open_peer(server.url()) as peer:
        result = await peer.request("server/discover")

    assert result["supportedVersions"] == ["2026-07-28"]


@pytest.mark.parametrize("revision", REVISIONS)
async def test_tools_are_listed_and_called(server: Server, revision: str) -> None:
    async with open_peer(server.url(), revision) as peer:
        listed = await peer.request("tools/list")
        added = await peer.call("add", a=40, b=2)
        wrong = await peer.call("add", a="forty", b=2)
        unknown = await peer.answer(await peer.ask("tools/call", name="nothing"))

    tools = {tool["name"]: tool for tool in listed["tools"]}
    assert tools["add"]["inputSchema"]["type"] == "object"
    # What a revision does not know, it is not told.
    assert ("annotations" in tools["add"]) is (revision >= "2025-03-26")
    assert ("outputSchema" in tools["add"]) is (revision >= "2025-06-18")
    assert added["content"] == [{"type": "text", "text": "42"}]
    structured = {"2025-06-18": {"result": 42}, "2025-11-25": {"result": 42}}
    structured["2026-07-28"] = 42
    assert added.get("structuredContent") == structured.get(revision)
    assert added.get("resultType") == ("complete" if peer.is_modern else None)
    assert wrong["isError"]
    assert unknown["error"]["code"] == -32602


@pytest.mark.parametrize("revision", REVISIONS)
async def test_progress_is_told_before_the_answer(
    server: Server, revision: str
) -> None:
    async with open_peer(server.url(), revision) as peer:
        await peer.request(
            "tools/call",
            name="count",
            arguments={"to": 3},
            _meta={"progressToken": "mine"},
        )
        params = [message["params"] for message in peer.notifications]

    assert [one["progressToken"] for one in params] == ["mine"] * 3
    assert [one["progress"] for one in params] == [1, 2, 3]
    assert ["message" in one for one in params] == [revision >= "2025-03-26"] * 3


@pytest.mark.parametrize("revision", REVISIONS)
async def test_cancelled_call_is_never_answered(server: Server, revision: str) -> None:
    async with open_peer(server.url(), revision) as peer:
        id = await peer.ask("tools/call", name="wait", arguments={})
        await peer.notify("notifications/cancelled", requestId=id, reason="bored")
        # answer() would not take another id.
        result = await peer.call("add", a=1, b=2)

    assert result["content"][0]["text"] == "3"
    assert peer.notifications == []


@pytest.mark.parametrize("revision", REVISIONS)
async def test_ping_exists_where_there_is_a_handshake(
    server: Server, revision: str
) -> None:
    async with open_peer(server.url(), revision) as peer:
        answer = await peer.answer(await peer.ask("ping"))

    if revision in LEGACY:
        assert answer["result"] == {}
    else:
        assert answer["error"]["code"] == -32601


@pytest.mark.parametrize("revision", REVISIONS)
async def test_batch_is_answered_in_the_one_revision_that_has_them(
    server: Server, revision: str
) -> None:
    async with open_peer(server.url(), revision) as peer:
        await peer.send(
            [{"jsonrpc": "2.0", "id": id, "method": "ping"} for id in (70, 71)]
        )
        answer = await peer.receive()

    if revision == "2025-03-26":
        assert [one["id"] for one in answer] == [70, 71]
    else:
        assert (answer["id"], answer["error"]["code"]) == (None, -32600)


async def test_clients_of_all_revisions_are_served_at_once(server: Server) -> None:
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(open_peer(server.url(), revision))
            for revision in REVISIONS
        ]
        results = await asyncio.gather(
            *(peer.call("add", a=index, b=0) for index, peer in enumerate(peers))
        )

    assert [one["content"][0]["text"] for one in results] == ["0", "1", "2", "3", "4"]


async def test_synchronous_tools_of_several_clients_run_at_once(server: Server) -> None:
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(open_peer(server.url()))
            for _ in range(GUESTS)
        ]
        # Each sleeps for 100 ms and then waits for the others: one after the other,
        # none would ever end.
        results = await asyncio.gather(*(peer.call("nap") for peer in peers))

    assert [one["content"][0]["text"] for one in results] == ["rested"] * GUESTS
