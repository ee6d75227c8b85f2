import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import serve

from project import peer as peer_module
from project.peer import CheckFailed, connected, shorten


@asynccontextmanager
async def talking_to(*replies, meta=None, answerable=()):
    """A peer of a server that answers each request with the next of some lists."""
    received = []
    remaining = list(replies)

    async def handle(socket):
        async for text in socket:
            received.append(json.loads(text))
            for frame in remaining.pop(0) if remaining else []:
                await socket.send(json.dumps({"jsonrpc": "2.0", **frame}))
            if not remaining and replies[-1:] == ([],):
                return

    async with serve(handle, "127.0.0.1", 0, subprotocols=["mcp"]) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}/ws"
        async with connected(url, "test", meta, answerable=answerable) as peer:
            yield peer, received


async def test_request_returns_the_result_for_its_id():
    other = {"method": "notifications/message", "params": {"level": "info"}}
    async with talking_to([other, {"id": 1, "result": {"a": 1}}]) as (peer, received):
        assert await peer.request("ping", {}) == {"a": 1}
        assert peer.logged() == [{"level": "info"}]
        assert peer.strays == []
        assert [frame.get("id") for frame in peer.heard] == [None, 1]
    assert received == [{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}]


async def test_envelope_goes_into_every_request():
    replies = [{"id": 1, "result": {}}]
    async with talking_to(replies, meta={"version": "x"}) as (peer, received):
        await peer.call("tool", {"b": 2}, {"progressToken": "t"})
    assert received[0]["params"] == {
        "name": "tool",
        "arguments": {"b": 2},
        "_meta": {"version": "x", "progressToken": "t"},
    }


async def test_refused_request_fails():
    error = {"code": -32601, "message": "Unknown"}
    async with talking_to([{"id": 1, "error": error}]) as (peer, _):
        with pytest.raises(CheckFailed, match=r"ping was refused: .*-32601"):
            await peer.request("ping", {})


@pytest.mark.parametrize(
    "frame",
    [
        {"id": 7, "result": {}},
        {"id": None, "error": {"code": -32700, "message": "Parse error"}},
        {"id": 1, "result": {}, "error": {}},
        {"id": 1},
        {"id": 2, "method": "ping"},
        {"jsonrpc": "1.0", "method": "notifications/progress"},
    ],
)
async def test_what_nobody_asked_for_is_a_stray(frame):
    async with talking_to([frame]) as (peer, _):
        await peer.ask("ping", {})
        await peer.until(lambda: peer.strays, "stray")

        assert len(peer.strays) == 1
        assert peer.answers == {}


async def test_second_answer_to_a_request_is_a_stray():
    answer = {"id": 1, "result": {}}
    async with talking_to([answer, answer]) as (peer, _):
        await peer.request("ping", {})
        await peer.until(lambda: peer.strays, "stray")


async def test_progress_is_told_apart_by_its_token():
    steps = [
        {
            "method": "notifications/progress",
            "params": {"progressToken": token, "progress": number},
        }
        for token, number in (("a", 1), ("b", 1), ("a", 2))
    ]
    async with talking_to([*steps, {"id": 1, "result": {}}]) as (peer, _):
        await peer.request("ping", {})

        assert [step["progress"] for step in peer.progress("a")] == [1, 2]


async def test_question_is_kept_and_answered():
    question = {"id": 1, "method": "roots/list"}
    done = {"id": 1, "result": {"done": True}}
    replies = [question], [done]
    async with talking_to(*replies, answerable=["roots/list"]) as (peer, received):
        id = await peer.ask("tools/call", {})
        await peer.until(lambda: peer.questions, "question")
        await peer.reply(peer.questions[0], {"result": {"roots": []}})

        assert await peer.answer(id) == {"jsonrpc": "2.0", **done}
        assert peer.strays == []
    assert received[1] == {"jsonrpc": "2.0", "id": 1, "result": {"roots": []}}


async def test_refusal_is_the_error_or_nothing():
    error = {"code": -32601, "message": "Unknown"}
    replies = [{"id": 1, "error": error}], [{"id": 2, "result": {}}]
    async with talking_to(*replies) as (peer, _):
        assert await peer.refusal("ping", {}) == error
        assert await peer.refusal("ping", {}) == {}


async def test_pages_are_followed_to_the_last():
    replies = (
        [{"id": 1, "result": {"tools": [{"name": "a"}], "nextCursor": ""}}],
        [{"id": 2, "result": {"tools": [{"name": "b"}]}}],
    )
    async with talking_to(*replies) as (peer, received):
        assert await peer.pages("tools/list", "tools") == [
            [{"name": "a"}],
            [{"name": "b"}],
        ]
    assert [frame["params"] for frame in received] == [{}, {"cursor": ""}]


async def test_list_without_an_end_fails(monkeypatch):
    monkeypatch.setattr(peer_module, "MOST_PAGES", 2)
    replies = [
        [{"id": id, "result": {"tools": [], "nextCursor": "x"}}] for id in (1, 2)
    ]
    async with talking_to(*replies) as (peer, _):
        with pytest.raises(CheckFailed, match="has more than 2 pages"):
            await peer.pages("tools/list", "tools")


async def test_quiet_conversation_is_counted_only(capsys):
    async with talking_to([{"id": 1, "result": {}}]) as (peer, _):
        with peer.quiet():
            await peer.request("ping", {})
    output = capsys.readouterr().out

    assert output == "test .. (2 frames not shown)\n"


async def test_silence_fails_after_the_timeout(monkeypatch):
    monkeypatch.setattr(peer_module, "ANSWER_TIMEOUT", 0.05)
    async with talking_to([], [{"never": 1}]) as (peer, _):
        with pytest.raises(CheckFailed, match="No answer to request 1 within"):
            await peer.request("ping", {})


async def test_closed_connection_fails_at_once():
    async with talking_to([]) as (peer, _), asyncio.timeout(5):
        with pytest.raises(CheckFailed, match="closed the connection before answer"):
            await peer.request("ping", {})


async def test_what_was_said_before_is_left_out_of_the_transcript(capsys):
    server = {"_meta": {"info": "x"}}
    replies = [[{"id": 1, "result": server}], [{"id": 2, "result": server}]]
    async with talking_to(*replies, meta={"version": "y"}) as (peer, received):
        await peer.request("ping", {})
        await peer.request("ping", {}, {"progressToken": 5})

    said = capsys.readouterr().out.splitlines()
    assert [line.partition('"_meta": ')[2] for line in said] == [
        '{"version": "y"}}}',
        '{"info": "x"}}}',
        '{"progressToken": 5, "...": "as before"}}}',
        '"as before"}}',
    ]
    assert received[1]["params"]["_meta"] == {"version": "y", "progressToken": 5}


def test_long_values_are_shortened():
    assert shorten({"a": "é"}) == '{"a": "é"}'
    assert shorten("x" * 300, 10) == '"xxxxxxxxx ... (302 characters)'
