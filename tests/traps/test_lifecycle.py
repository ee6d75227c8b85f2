"""Traps 39 to 55: the handshake, and the era of a request."""

import asyncio
import json
from typing import Any

import pytest

from mcp_channels import Context, Sample
from mcp_channels.protocol.connection import Initialized
from mcp_channels.protocol.envelope import CLIENT_CAPABILITIES, PROTOCOL_VERSION
from tests.sites import LEGACY, MODERN, Site
from tests.traps.tools import (
    Connect,
    Tools,
    cancel,
    frame_of,
    next_answer,
    text_of,
    until,
)
from tests.traps.wire import (
    ENVELOPE,
    HANDSHAKES,
    HELLO,
    NEW,
    Wire,
    anywhere,
    legacy,
    modern,
)


def initialize(wire: Wire, version: Any, id: Any = "hello") -> Any:
    (answer,) = wire.send(
        json.dumps(
            {
                "jsonrpc": "2.0",
                "id": id,
                "method": "initialize",
                "params": {"protocolVersion": version, **HELLO},
            }
        )
    )
    return answer


@pytest.mark.parametrize("version", ["", "1.0.0", "2099-01-01", "2025-06-1"])
def test_trap_39_handshake_with_an_unknown_version(version: str) -> None:
    answer = initialize(Wire(), version)

    assert answer["result"]["protocolVersion"] == LEGACY


def test_trap_40_handshake_with_a_modern_version() -> None:
    assert initialize(Wire(), MODERN)["result"]["protocolVersion"] == LEGACY


def test_trap_41_request_before_the_handshake() -> None:
    wire = Wire()

    assert wire.codes(
        wire.bare("tools/list", id=1),
        wire.bare("nothing/here", id=2),
        wire.bare("ping", id=3),
    ) == [(1, -32602), (2, -32601), (3, None)]
    assert "result" in initialize(wire, LEGACY)


@legacy
async def test_trap_42_handshake_and_requests_in_one_burst(
    revision: str, connect: Connect
) -> None:
    # Modern, so that the client does not shake hands by itself.
    client = await connect(MODERN)
    wire = Wire()
    for frame in (
        wire.request("initialize", {"protocolVersion": revision, **HELLO}, id=1),
        '{"jsonrpc":"2.0","method":"notifications/initialized"}',
        wire.request("tools/call", {"name": "echo"}, id=2),
        wire.bare("ping", id=3),
    ):
        await client.send_text(frame)
    messages = [await client.receive() for _ in range(3)]

    assert messages[0]["result"]["protocolVersion"] == revision
    assert {message["id"] for message in messages} == {1, 2, 3}
    assert all("result" in message for message in messages)


@legacy
def test_trap_43_handshake_that_the_client_never_finishes(revision: str) -> None:
    wire = Wire()
    initialize(wire, revision)

    assert wire.send(wire.request()) == []
    assert Initialized() not in wire.events
    assert ["tools" in answer["result"] for answer in wire.answer()] == [True]


@legacy
async def test_trap_43_question_before_the_client_finished_the_handshake(
    revision: str, site: Site
) -> None:
    loop, described = asyncio.get_running_loop(), asyncio.Event()

    class Poem(Sample):
        def params(self, *args: Any, **keywords: Any) -> Any:
            loop.call_soon_threadsafe(described.set)
            return super().params(*args, **keywords)

    @site.tool
    async def write(context: Context) -> str:
        answers = await context.aask({"poem": Poem("A poem", max_tokens=9)})
        return str(answers["poem"].model)

    client = site.client(revision=revision)
    await client.connect()
    hello = {**HELLO, "protocolVersion": revision, "capabilities": {"sampling": {}}}
    await client.request("initialize", hello)
    id = await client.send_request("tools/call", {"name": "write"})
    await described.wait()

    assert "result" in await frame_of(client, "tools/call", name="ok")

    await client.notify("notifications/initialized")
    question = await client.receive()

    assert question["method"] == "sampling/createMessage"

    poem = {"type": "text", "text": "Roses"}
    answer = {"role": "assistant", "content": poem, "model": "m"}
    await client.send({"jsonrpc": "2.0", "id": question["id"], "result": answer})

    assert text_of(await client.answer_to(id)) == "m"

    await client.disconnect()


@legacy
def test_trap_44_second_handshake(revision: str) -> None:
    wire = Wire(revision)
    answer = initialize(wire, LEGACY, id=2)

    assert answer["error"]["code"] == -32600
    assert wire.send(wire.request()) == []
    assert [r.revision.value for r in wire.admitted()] == [revision]


@legacy
def test_trap_45_end_of_the_handshake_twice(revision: str) -> None:
    wire = Wire()
    initialize(wire, revision)
    frame = '{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}'

    assert wire.send(frame, frame, frame) == []
    assert wire.events == [Initialized()]


@legacy
def test_trap_46_handshake_after_discovery(revision: str) -> None:
    wire = Wire()
    (discovery,) = wire.send(wire.request("server/discover", **ENVELOPE))

    assert discovery["result"]["supportedVersions"] == [MODERN]
    assert initialize(wire, revision)["result"]["protocolVersion"] == revision


@legacy
@pytest.mark.parametrize(
    ("method", "meta", "code"),
    [
        ("tools/list", {**ENVELOPE, PROTOCOL_VERSION: "2099-01-01"}, -32022),
        ("server/discover", {**ENVELOPE, PROTOCOL_VERSION: "2099-01-01"}, -32022),
        ("tools/list", {PROTOCOL_VERSION: MODERN}, -32602),
        ("nothing/here", ENVELOPE, -32601),
    ],
)
def test_trap_47_handshake_after_a_failed_modern_request(
    revision: str, method: str, meta: dict[str, Any], code: int
) -> None:
    wire = Wire()

    assert wire.codes(wire.request(method, **meta)) == [(1, code)]
    assert initialize(wire, revision)["result"]["protocolVersion"] == revision


@pytest.mark.parametrize("version", [*HANDSHAKES, MODERN, "?"])
def test_trap_48_handshake_after_modern_requests(version: str) -> None:
    wire = Wire(MODERN)
    wire.send(wire.request())
    answer = initialize(wire, version)

    assert answer["error"]["code"] == -32022
    assert answer["error"]["data"] == {"supported": [MODERN], "requested": version}
    assert len(wire.answer()) == 1


@anywhere
def test_trap_49_handshake_in_an_envelope(revision: str) -> None:
    wire = Wire(revision)
    params = {"protocolVersion": LEGACY, **HELLO}

    assert wire.codes(wire.request("initialize", params, **ENVELOPE)) == [(1, -32601)]
    assert (wire.connection.handshake is None) is (revision not in HANDSHAKES)


@anywhere
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("ping", {}),
        ("logging/setLevel", {"level": "info"}),
        ("resources/subscribe", {"uri": "a://b"}),
        ("resources/unsubscribe", {"uri": "a://b"}),
    ],
)
def test_trap_50_legacy_method_in_an_envelope(
    revision: str, method: str, params: dict[str, Any]
) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.request(method, params, **ENVELOPE)) == [(1, -32601)]


@pytest.mark.parametrize("revision", [NEW, *HANDSHAKES])
def test_trap_51_discovery_without_an_envelope(revision: str) -> None:
    wire = Wire(revision)
    code = -32602 if revision == NEW else -32601

    # Without a handshake only the envelope is missing, and the answer says so; any
    # error makes a client that probes fall back to `initialize`.
    assert wire.codes(wire.bare("server/discover")) == [(1, code)]


@modern
async def test_trap_52_cancellation_without_an_envelope(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    id = await client.send_request("tools/call", {"name": "wait"})
    await until(lambda: tools.calls == ["waited"])
    await cancel(client, id)

    assert text_of(await next_answer(client)) == "ok"


@anywhere
def test_trap_53_capability_of_an_earlier_request(revision: str) -> None:
    wire = Wire(revision)
    rich = {**ENVELOPE, CLIENT_CAPABILITIES: {"sampling": {}, "roots": {}}}
    wire.send(wire.request(id=1, **rich), wire.request(id=2, **ENVELOPE))
    first, second = (request.peer.capabilities for request in wire.admitted())

    assert first.declares("sampling")
    assert not second.declares("sampling")
    assert not second.declares("roots")


@legacy
def test_trap_53_capability_of_the_handshake(revision: str) -> None:
    wire = Wire()
    hello = {**HELLO, "protocolVersion": revision, "capabilities": {"sampling": {}}}
    wire.send(
        wire.request("initialize", hello, id=0),
        wire.request(id=1),
        wire.request(id=2, **ENVELOPE),
    )
    old, new = (request.peer.capabilities for request in wire.admitted())

    assert old.declares("sampling")
    assert not new.declares("sampling")


async def test_trap_54_list_that_depends_on_what_was_before(connect: Connect) -> None:
    fresh = await connect(MODERN)
    expected = await fresh.request("tools/list")
    for revision in HANDSHAKES:
        client = await connect(revision)
        await client.call_tool("echo")
        id = 1_000
        await client.send_text(Wire(MODERN).request("tools/list", id=id))

        assert await client.answer_to(id) == expected

    await fresh.call_tool("echo")

    assert await fresh.request("tools/list") == expected


@legacy
def test_trap_55_name_of_the_client(revision: str) -> None:
    answers = []
    for name in ("claude-ai", "cursor", "", "mcp_channels"):
        wire = Wire()
        hello = {**HELLO, "clientInfo": {"name": name, "version": "1"}}
        answers.append(
            [
                *wire.send(
                    wire.request(
                        "initialize", {"protocolVersion": revision, **hello}, id=0
                    ),
                    wire.request("tools/list"),
                    wire.request("nothing/here", id=2),
                ),
                *wire.answer(),
            ]
        )

    assert all(answer == answers[0] for answer in answers)
