"""What the commands do with a server, and what they print."""

import base64
import io
import json
import sys
from argparse import Namespace
from typing import Any

import pytest

from mcp_channels.client import commands
from mcp_channels.client.commands import run_command
from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.questions import ask
from tests.client.stranger import Refusal, Stranger

MODERN = "2026-07-28"
UPDATED = "notifications/resources/updated"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"

STOP = {"name": "stop", "inputSchema": {"type": "object"}}
FIND = {
    "name": "find_books",
    "description": "Find books.\n\nLong story.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["text"],
    },
}


def options_of(command: str, **given: Any) -> Namespace:
    return Namespace(**{"command": command, "json": False, "legacy": False, **given})


async def run(server: Stranger, command: str, **given: Any) -> int:
    config = WebSocketConfig(server.url, proxy=None, reconnect_delay=0.01)
    return await run_command(options_of(command, **given), config)


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


@pytest.fixture
def modern(server: Stranger) -> Stranger:
    """The server, in the newest revision."""
    server.answers["server/discover"] = lambda params: {
        "supportedVersions": [MODERN],
        "capabilities": {"resources": {}},
        "ttlMs": 0,
        "cacheScope": "private",
        "resultType": "complete",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "m", "version": "2"}},
    }
    return server


# list


@pytest.fixture
def shop(server: Stranger) -> Stranger:
    """A server that has one of everything."""
    server.answers |= {
        "tools/list": {"tools": [FIND, STOP]},
        "resources/list": {
            "resources": [{"name": "a", "uri": "x://\x1b", "title": "A"}]
        },
        "resources/templates/list": {
            "resourceTemplates": [{"name": "b", "uriTemplate": "x://{b}"}]
        },
        "prompts/list": {
            "prompts": [
                {
                    "name": "greet",
                    "arguments": [{"name": "who", "required": True}, {"name": "how"}],
                },
                {"name": "wave"},
            ]
        },
    }
    return server


async def test_all_that_is_offered_is_listed(shop, capsys):
    assert await run(shop, "list", what=None) == 0
    assert capsys.readouterr().out == (
        "Tools:\n"
        "  find_books text [limit]  Find books.\n"
        "  stop\n"
        "Resources:\n"
        "  x://�  A\n"
        "Resource templates:\n"
        "  x://{b}\n"
        "Prompts:\n"
        "  greet who [how]\n"
        "  wave\n"
    )


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        (None, ["tools", "resources", "resourceTemplates", "prompts"]),
        ("tools", ["tools"]),
        ("resources", ["resources", "resourceTemplates"]),
        ("prompts", ["prompts"]),
    ],
)
async def test_lists_are_printed_for_programs(shop, capsys, what, keys):
    assert await run(shop, "list", what=what, json=True) == 0
    printed = json.loads(capsys.readouterr().out)

    assert list(printed) == keys
    if "tools" in keys:
        assert printed["tools"][0] == FIND


async def test_empty_lists_and_missing_ones_are_told_apart(server, capsys):
    server.answers["initialize"] = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "bare", "version": "1"},
    }

    assert await run(server, "list", what=None) == 0
    assert capsys.readouterr().out == "Tools: none\n"


# call


async def test_tool_is_called_with_arguments_as_its_schema_wants(shop, capsys):
    shop.answers["tools/call"] = {"content": [text("one"), text("two\n")]}
    words = ["text=7", "limit=7"]

    assert await run(shop, "call", name="find_books", arguments=words) == 0
    assert capsys.readouterr().out == "one\ntwo\n\n"
    (asked,) = shop.last.asked("tools/call")
    assert asked["params"]["arguments"] == {"text": "7", "limit": 7}


async def test_tool_that_is_not_listed_is_called_all_the_same(shop, capsys):
    shop.answers["tools/call"] = {"content": []}

    assert await run(shop, "call", name="hidden", arguments=["a=1"]) == 0
    assert shop.last.asked("tools/call")[0]["params"]["arguments"] == {"a": "1"}


async def test_result_is_printed_for_programs(shop, capsys):
    result = {"content": [text("one")], "structuredContent": {"a": 1}, "isError": True}
    shop.answers["tools/call"] = result

    assert await run(shop, "call", name="stop", arguments=[], json=True) == 1
    assert json.loads(capsys.readouterr().out).items() >= result.items()


async def test_content_that_is_no_text_is_described(shop, capsys):
    data = base64.b64encode(b"12345").decode()
    blob = {"uri": "x://b", "blob": data}
    shop.answers["tools/call"] = {
        "content": [
            {"type": "image", "data": data, "mimeType": "image/png"},
            {"type": "audio", "data": data, "mimeType": "audio/wav"},
            {"type": "resource_link", "name": "a", "uri": "x://a"},
            {"type": "resource", "resource": {"uri": "x://t", "text": "told"}},
            {"type": "resource", "resource": blob},
        ]
    }
    await run(shop, "call", name="stop", arguments=[])

    assert capsys.readouterr().out.splitlines() == [
        "(image/png, 5 bytes)",
        "(audio/wav, 5 bytes)",
        "x://a",
        "told",
        "(data, 5 bytes)",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_progress_is_drawn_and_gone_before_the_result(shop, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal)

    async def call(params: Any) -> Any:
        token = params["_meta"]["progressToken"]
        told = {"progressToken": token, "progress": 1, "total": 2}
        await shop.last.send(method="notifications/progress", params=told)
        return {"content": [text("\x1b[2Jdone\n\there")]}

    shop.answers["tools/call"] = call
    await run(shop, "call", name="stop", arguments=[])
    drawn, _, rest = terminal.getvalue().rpartition("\r")

    assert "50%" in drawn
    # Shown, not obeyed.
    assert rest == "�[2Jdone\n\there\n"


async def test_server_may_ask_in_between(shop, capsys, monkeypatch):
    asked = []

    async def answer(context: Any, params: Any) -> Any:
        asked.append(params.message)
        return await ask(context, params)

    async def call(params: Any) -> Any:
        params = {"message": "Sure?", "requestedSchema": {"type": "object"}}
        params["requestedSchema"]["properties"] = {}
        await shop.last.send(id=1, method="elicitation/create", params=params)
        await shop.until(lambda: any("result" in one for one in shop.last.messages))
        return {"content": []}

    monkeypatch.setattr(commands, "ask", answer)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    shop.answers["tools/call"] = call
    assert await run(shop, "call", name="stop", arguments=[]) == 0

    (answered,) = [one for one in shop.last.messages if "result" in one]
    assert asked == ["Sure?"]
    assert answered["result"] == {"action": "cancel"}


# read and prompt


async def test_resource_is_printed_as_it_is(server, capfdbinary, monkeypatch):
    data = bytes(range(256))
    server.answers["resources/read"] = {
        "contents": [
            {"uri": "x://a", "text": "é"},
            {"uri": "x://b", "blob": base64.b64encode(data).decode()},
        ]
    }
    with open(1, "w", closefd=False, encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert await run(server, "read", uri="x://a") == 0

    assert capfdbinary.readouterr().out == "é\n".encode() + data


async def test_resource_is_printed_for_programs(server, capsys):
    contents = {"contents": [{"uri": "x://a", "text": "é"}]}
    server.answers["resources/read"] = contents

    assert await run(server, "read", uri="x://a", json=True) == 0
    assert json.loads(capsys.readouterr().out).items() >= contents.items()


@pytest.mark.parametrize("is_json", [False, True])
async def test_prompt_is_printed(server, capsys, is_json):
    messages = [{"role": "user", "content": text("Hello")}]
    server.answers["prompts/get"] = {"messages": messages}
    words = ["who=1"]

    assert await run(server, "prompt", name="greet", arguments=words, json=is_json) == 0
    out = capsys.readouterr().out
    if is_json:
        assert json.loads(out)["messages"] == messages
    else:
        assert out == "user: Hello\n"
    asked = server.last.asked("prompts/get")[0]["params"]
    assert asked["arguments"] == {"who": "1"}


# watch


async def test_changes_are_told_in_a_legacy_revision(server, capsys):
    async def subscribe(params: Any) -> Any:
        for method in ("notifications/message", "notifications/tools/list_changed"):
            told = {"level": "info", "data": 1} if "message" in method else {}
            await server.last.send(method=method, params=told)
        await server.last.send(method=UPDATED, params=params)
        return {}

    server.answers["resources/subscribe"] = subscribe

    assert await run(server, "watch", uris=["x://a"], count=2) == 0
    assert capsys.readouterr().out == "ToolsListChanged\nResourceUpdated x://a\n"


def listening(server: Stranger, *events: dict[str, Any], **honoured: Any) -> Any:
    """Answer a listen: acknowledge it, tell of events, and end it."""

    async def listen(params: Any) -> Any:
        (asked,) = server.last.asked("subscriptions/listen")
        stamp = {"_meta": {"io.modelcontextprotocol/subscriptionId": asked["id"]}}
        filter = honoured or params["notifications"]
        await server.last.send(
            method=ACKNOWLEDGED, params={"notifications": filter, **stamp}
        )
        for event in events:
            params = {**event.get("params", {}), **stamp}
            await server.last.send(method=event["method"], params=params)
        return {"resultType": "complete", **stamp}

    return listen


async def test_changes_are_told_in_the_modern_revision(modern, capsys):
    event = {"method": UPDATED, "params": {"uri": "x://a"}}
    modern.answers["subscriptions/listen"] = listening(modern, event)

    assert await run(modern, "watch", uris=["x://a"], count=None, json=True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "event": "ResourceUpdated",
        "uri": "x://a",
    }
    (asked,) = modern.last.asked("subscriptions/listen")
    assert asked["params"]["notifications"] == {"resourceSubscriptions": ["x://a"]}


async def test_lists_are_watched_if_nothing_is_named(modern, capsys):
    event = {"method": "notifications/prompts/list_changed"}
    modern.answers["subscriptions/listen"] = listening(modern, event)

    assert await run(modern, "watch", uris=[], count=None) == 0
    assert capsys.readouterr().out == "PromptsListChanged\n"


async def test_resource_that_cannot_be_watched_is_named(modern, capsys):
    listen = listening(modern, resourceSubscriptions=["x://a"])
    modern.answers["subscriptions/listen"] = listen

    assert await run(modern, "watch", uris=["x://a", "x://b"], count=None) == 4
    assert capsys.readouterr().err == "x://b cannot be watched\n"


async def test_watching_ends_with_the_connection(server, capsys):
    async def subscribe(params: Any) -> Any:
        await server.last.socket.close(1008, "Access revoked")

    server.answers["resources/subscribe"] = subscribe

    assert await run(server, "watch", uris=["x://a"], count=None) == 3
    assert "Access revoked" in capsys.readouterr().err


async def test_watching_ends_with_the_connection_that_was_silent(server, capsys):
    async def subscribe(params: Any) -> Any:
        server.refusals.append(Refusal(403, "Access revoked"))
        server.last.socket.loop.call_later(
            0.05, lambda visit: visit.socket.transport.abort(), server.last
        )
        return {}

    server.answers["resources/subscribe"] = subscribe

    assert await run(server, "watch", uris=["x://a"], count=None) == 3
    assert "Access revoked" in capsys.readouterr().err


async def test_watching_ends_with_a_listen_that_is_lost(modern, capsys):
    async def listen(params: Any) -> Any:
        await listening(modern)(params)
        await modern.last.socket.close(1008, "Access revoked")

    modern.answers["subscriptions/listen"] = listen

    assert await run(modern, "watch", uris=["x://a"], count=None) == 3
    assert "Access revoked" in capsys.readouterr().err


# ping


async def test_server_is_pinged(server, capsys):
    given = {"count": 2, "interval": 0}
    assert await run(server, "ping", **given) == 0
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == len(server.last.asked("ping")) == 2
    assert lines[0].startswith("stranger 1, 2025-11-25: ")
    assert lines[0].endswith(" ms")


async def test_modern_server_is_pinged_in_its_own_way(modern, capsys):
    assert await run(modern, "ping", count=1, interval=0) == 0
    assert capsys.readouterr().out.startswith(f"m 2, {MODERN}: ")
    assert await run(modern, "ping", count=1, interval=0, json=True) == 0
    printed = json.loads(capsys.readouterr().out)

    assert printed["revision"] == MODERN
    assert printed["milliseconds"] > 0
    assert len(modern.last.asked("server/discover")) == 2


async def test_server_need_not_have_a_name(modern, capsys):
    discovered = modern.answers["server/discover"](None)
    del discovered["_meta"]
    modern.answers["server/discover"] = discovered
    await run(modern, "ping", count=1, interval=0)

    assert capsys.readouterr().out.startswith("a server without a name, ")


async def test_legacy_revision_may_be_asked_for(modern):
    await run(modern, "ping", count=1, interval=0, legacy=True)

    assert modern.last.messages[0]["method"] == "initialize"


# What went wrong


async def test_tool_that_fails_says_so(shop, capsys):
    shop.answers["tools/call"] = {"content": [text("Sold out")], "isError": True}

    assert await run(shop, "call", name="stop", arguments=[]) == 1
    assert capsys.readouterr().out == "Sold out\n"


async def test_arguments_that_are_wrong_are_misuse(shop, capsys):
    assert await run(shop, "call", name="find_books", arguments=["limit=x"]) == 2
    assert "limit: 'x' is no JSON" in capsys.readouterr().err
    assert shop.last.asked("tools/call") == []


async def test_refused_connection_is_no_connection(server, capsys):
    server.refusals.append(Refusal(401, "Credentials are required"))

    assert await run(server, "list", what=None) == 3
    assert "Credentials are required" in capsys.readouterr().err


async def test_connection_that_is_refused_later_is_none_either(server, capsys):
    async def hang_up(params: Any) -> None:
        await server.last.socket.close(1008, "Access revoked")

    server.answers["server/discover"] = hang_up

    assert await run(server, "list", what=None) == 3
    assert "Access revoked" in capsys.readouterr().err


async def test_refused_request_is_another_thing(server, capsys):
    assert await run(server, "read", uri="x://a") == 4
    assert capsys.readouterr().err == "Method not found\n"


async def test_outcome_that_is_unknown_is_the_worst(shop, capsys):
    async def hang_up(params: Any) -> None:
        shop.last.socket.transport.abort()

    shop.answers["tools/call"] = hang_up

    assert await run(shop, "call", name="stop", arguments=[]) == 5
    assert "outcome is unknown" in capsys.readouterr().err


async def test_answer_that_is_wrong_is_the_servers_fault(shop, capsys):
    shop.answers["tools/list"] = {"tools": 1}
    assert await run(shop, "list", what=None) == 4
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    shop.answers["tools/list"] = {"tools": [{**STOP, "outputSchema": schema}]}
    shop.answers["tools/call"] = {"content": [], "structuredContent": {"a": "x"}}

    assert await run(shop, "call", name="stop", arguments=[]) == 4
    assert capsys.readouterr().err.count("The server's answer is wrong: ") == 2


async def test_bug_is_raised(server, monkeypatch):
    async def stumble(*arguments: Any) -> int:
        raise ZeroDivisionError

    monkeypatch.setitem(commands.COMMANDS, "list", stumble)
    with pytest.raises(ZeroDivisionError):
        await run(server, "list", what=None)
