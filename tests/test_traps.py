"""
The traps that implementers of MCP fall into, one test each, by their numbers.

    1-24 ids and message shape     25-38 params         39-55 lifecycle and era
    56-67 batches                  68-82 cancellation, progress, logging

What a frame does by itself is shown on a connection without a socket; what needs tools
and time, with a client.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mcp_channels import Context, ToolError
from mcp_channels.consumers import MCPConsumer
from mcp_channels.protocol import types
from mcp_channels.protocol.connection import Event, Initialized, Limits, Request
from mcp_channels.protocol.content import TextContent
from mcp_channels.protocol.envelope import (
    CLIENT_CAPABILITIES,
    LOG_LEVEL,
    PROTOCOL_VERSION,
)
from mcp_channels.protocol.methods import RequestParams
from mcp_channels.protocol.server import ServerConnection, ServerDescription
from mcp_channels.server.registry import Registry
from mcp_channels.testing import MCPCommunicator, RequestFailed

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
BATCHING = "2025-03-26"
NEWEST_LEGACY = "2025-11-25"
MODERN = "2026-07-28"
EVERY = (*LEGACY, MODERN)
NEW = "new"  # a connection on which nothing was said

ENVELOPE = {PROTOCOL_VERSION: MODERN, CLIENT_CAPABILITIES: {}}
HELLO = {"capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
MALFORMED = [(None, -32600)]
UNREADABLE = [(None, -32700)]

# Numbers that wait for a capability that does not exist yet, and for which.
NOT_BUILT = {74: "subscriptions/listen"}

legacy = pytest.mark.parametrize("revision", LEGACY)
modern = pytest.mark.parametrize("revision", [MODERN])
every = pytest.mark.parametrize("revision", EVERY)
anywhere = pytest.mark.parametrize("revision", [NEW, *EVERY])


def test_every_trap_has_its_test_or_its_reason() -> None:
    numbers = {
        int(name.split("_")[2]) for name in globals() if name.startswith("test_trap_")
    }

    assert not NOT_BUILT.keys() & numbers
    assert NOT_BUILT.keys() | numbers == set(range(1, 83))


# Without a socket


class Wire:
    """One connection to a server that offers everything, text in and JSON out."""

    def __init__(self, revision: str = NEW) -> None:
        """Shake hands when `revision` is a legacy one."""
        self.is_modern = revision == MODERN
        self.events: list[Event] = []
        self.connection = ServerConnection(
            ServerDescription(
                types.Implementation("tests", "1"),
                types.ServerCapabilities(
                    logging={},
                    completions={},
                    prompts=types.PromptsCapability(),
                    resources=types.ResourcesCapability(subscribe=True),
                    tools=types.ToolsCapability(),
                ),
            ),
            Limits(),
        )
        if revision in LEGACY:
            self.send(
                self.request(
                    "initialize", {"protocolVersion": revision, **HELLO}, id="hello"
                )
            )
            self.send('{"jsonrpc":"2.0","method":"notifications/initialized"}')
            self.events.clear()

    def request(
        self, method: str = "tools/list", params: Any = None, id: Any = 1, **meta: Any
    ) -> str:
        """The frame of a request, with an envelope on a modern connection."""
        params = dict(params or {})
        if self.is_modern:
            meta = {**ENVELOPE, **meta}
        if meta:
            params["_meta"] = meta
        return json.dumps(
            {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        )

    def bare(self, method: str = "tools/list", **members: Any) -> str:
        """The frame of a request with these members and no others."""
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, **members})

    def send(self, *frames: str) -> list[Any]:
        """Send frames, and return what comes back."""
        for frame in frames:
            self.events += self.connection.receive(frame)
        received = []
        while (answer := self.connection.next_frame()) is not None:
            received.append(json.loads(answer))
        return received

    def codes(self, *frames: str) -> list[tuple[Any, int | None]]:
        """Send frames, and return id and error code of each answer."""
        return [
            (answer["id"], answer.get("error", {}).get("code"))
            for answer in self.send(*frames)
        ]

    def admitted(self) -> list[Request]:
        """The requests that wait for their answer, or have had it."""
        return [event for event in self.events if isinstance(event, Request)]

    def answer(self) -> list[Any]:
        """Answer all that waits, the last first, and return the answers."""
        for request in reversed(self.admitted()):
            if request.method == "tools/list":
                result: types.Result = types.ListToolsResult(tools=[])
            else:
                result = types.CallToolResult(content=[TextContent("ok")])
            self.connection.send_result(request, result)
        self.events.clear()
        return self.send()


# With a client


Connect = Callable[..., Awaitable[MCPCommunicator]]


class Tools:
    """Tools, and what a test sees of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.context: Context | None = None
        self.stopped = asyncio.Event()
        self.release = asyncio.Event()
        self.thread_started = threading.Event()
        self.thread_release = threading.Event()

    async def echo(self, context: Context, text: str = "ok") -> str:
        self.calls.append(text)
        self.context = context
        return text

    async def wait(self, context: Context, text: str = "waited") -> str:
        self.calls.append(text)
        self.context = context
        await self.release.wait()
        return text

    async def stubborn(self, text: str = "stubborn", raising: bool = False) -> str:
        """Ends in its own way when it is cancelled."""
        self.calls.append(text)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.stopped.set()
            await self.release.wait()
            if raising:
                raise ToolError("No.") from None
        return text

    async def steps(self, context: Context, steps: list[float], total: float) -> str:
        for step in steps:
            context.progress(step, total or None)
        return "done"

    async def log(self, context: Context) -> str:
        context.log("info", "something")
        return "done"

    def block(self, context: Context) -> str:
        """Cannot be interrupted."""
        self.thread_started.set()
        self.thread_release.wait(30)
        context.progress(1)
        return "late"


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    tools = Tools()
    yield tools
    tools.release.set()
    tools.thread_release.set()


@pytest.fixture
async def connect(tools: Tools) -> AsyncIterator[Connect]:
    registered = Registry()
    for function in (
        tools.echo,
        tools.wait,
        tools.stubborn,
        tools.steps,
        tools.log,
        tools.block,
    ):
        registered.tool(function)

    class Consumer(MCPConsumer):
        registry = registered

    async with AsyncExitStack() as stack:

        async def connect(revision: str, **options: Any) -> MCPCommunicator:
            client = MCPCommunicator(revision=revision, consumer=Consumer, **options)
            return await stack.enter_async_context(client)

        yield connect
        # What is stubborn would be waited for.
        tools.release.set()
        tools.thread_release.set()


def text_of(result: Any) -> str:
    text: str = result["content"][0]["text"]
    return text


async def cancel(client: MCPCommunicator, id: Any) -> None:
    await client.notify("notifications/cancelled", {"requestId": id})


async def next_answer(client: MCPCommunicator) -> Any:
    """Call a tool, and return the first thing that comes: if only the answer to this
    call does, then nothing was sent before it."""
    id = await client.send_request("tools/call", {"name": "echo"})
    message = await client.receive()

    assert message["id"] == id
    return message["result"]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


# 1-24: ids and message shape


@every
@pytest.mark.parametrize("id", [0, ""])
def test_trap_01_id_that_is_false(revision: str, id: Any) -> None:
    wire = Wire(revision)
    wire.send(wire.request("tools/call", {"name": "t"}, id=id, progressToken=id))
    (request,) = wire.admitted()
    wire.connection.send_progress(request, 0)
    (progress, answer) = wire.answer()

    assert progress["params"]["progressToken"] == id
    assert (answer["id"], type(answer["id"])) == (id, type(id))


@every
def test_trap_02_number_and_text_of_the_same_look(revision: str) -> None:
    wire = Wire(revision)
    wire.send(wire.request("tools/call", {"name": "t"}, id="1"), wire.request(id=1))
    number, text = wire.answer()

    assert (number["id"], "tools" in number["result"]) == (1, True)
    assert (text["id"], "content" in text["result"]) == ("1", True)


@anywhere
def test_trap_03_id_that_is_a_fraction(revision: str) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.request(id=1.5)) == MALFORMED


@anywhere
def test_trap_04_id_that_is_a_whole_float(revision: str) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.request(id=1.0)) == MALFORMED


@anywhere
@pytest.mark.parametrize("id", [True, False, {}, {"a": 1}, [], [1]])
def test_trap_05_id_that_is_a_boolean_or_holds_others(revision: str, id: Any) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.request(id=id)) == MALFORMED


@anywhere
def test_trap_06_id_that_is_null(revision: str) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.request(id=None)) == MALFORMED


@every
@pytest.mark.parametrize("id", [2**53 + 1, -(2**53) - 1, 2**64, 10**40])
def test_trap_07_id_beyond_what_floats_hold(revision: str, id: int) -> None:
    wire = Wire(revision)
    wire.send(wire.request(id=id))

    assert [answer["id"] for answer in wire.answer()] == [id]


@every
def test_trap_08_duplicate_of_an_id_in_flight(revision: str) -> None:
    wire = Wire(revision)
    wire.send(wire.request("tools/call", {"name": "t"}))

    assert wire.codes(wire.request("tools/list")) == [(1, -32600)]

    (answer,) = wire.answer()

    assert answer["result"]["content"] == [{"type": "text", "text": "ok"}]


@every
def test_trap_09_id_that_is_used_again(revision: str) -> None:
    wire = Wire(revision)
    for _ in range(3):
        wire.send(wire.request(id=1))

        assert [answer["id"] for answer in wire.answer()] == [1]


@legacy
@pytest.mark.parametrize("member", ["result", "error"])
def test_trap_10_response_to_nothing(revision: str, member: str) -> None:
    wire = Wire(revision)
    outcome = {"code": -32601, "message": "x"} if member == "error" else {}
    response = json.dumps({"jsonrpc": "2.0", "id": 1, member: outcome})

    assert wire.send(response) == []

    wire.connection.send_request("ping", RequestParams())

    assert [message["method"] for message in wire.send(response)] == ["ping"]
    assert len(wire.events) == 1
    assert wire.send(response) == []
    assert len(wire.events) == 1


@modern
def test_trap_11_response_on_a_modern_connection(revision: str) -> None:
    wire = Wire(revision)
    wire.send(wire.request(id=1))

    assert wire.send('{"jsonrpc":"2.0","id":1,"result":{}}') == []
    assert len(wire.answer()) == 1


@anywhere
@pytest.mark.parametrize("id", ["", '"id":null,'])
def test_trap_12_error_without_an_id(revision: str, id: str) -> None:
    complaint = f'{{"jsonrpc":"2.0",{id}"error":{{"code":-32700,"message":"?"}}}}'

    assert Wire(revision).send(complaint) == []


@anywhere
@pytest.mark.parametrize("members", ["", ',"result":{},"error":{"code":1}'])
def test_trap_13_response_with_both_outcomes_or_none(
    revision: str, members: str
) -> None:
    assert Wire(revision).send(f'{{"jsonrpc":"2.0","id":1{members}}}') == []


@anywhere
@pytest.mark.parametrize("version", [{}, {"jsonrpc": "1.0"}, {"jsonrpc": 2}])
@pytest.mark.parametrize(("id", "echoed"), [(7, 7), ("", ""), ([], None)])
def test_trap_14_other_json_rpc(
    revision: str, version: dict[str, Any], id: Any, echoed: Any
) -> None:
    frame = json.dumps({**version, "id": id, "method": "ping"})

    assert Wire(revision).codes(frame) == [(echoed, -32600)]


@anywhere
@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"method": 5}, -32600),
        ({"method": None}, -32600),
        ({"params": {}}, -32600),
        ({"method": ""}, -32601),
    ],
)
def test_trap_15_method_that_is_none(
    revision: str, members: dict[str, Any], code: int
) -> None:
    frame = json.dumps({"jsonrpc": "2.0", "id": 7, **members})

    assert Wire(revision).codes(frame) == [(7, code)]


@anywhere
def test_trap_16_method_of_json_rpc_itself(revision: str) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.request("rpc.discover")) == [(1, -32601)]


@anywhere
@pytest.mark.parametrize("frame", ["5", "null", '"ping"', "true", "-1.5"])
def test_trap_17_json_that_is_no_object(revision: str, frame: str) -> None:
    assert Wire(revision).codes(frame) == MALFORMED


@anywhere
@pytest.mark.parametrize("frame", ["", "{", "ping", "NaN", '{"id":NaN}', "[NaN]"])
def test_trap_18_text_that_is_no_json(revision: str, frame: str) -> None:
    wire = Wire(revision)

    assert wire.codes(frame) == UNREADABLE
    assert wire.connection.closing is None

    assert wire.codes(wire.bare("ping")) == [(1, None)]


@anywhere
def test_trap_19_two_documents_in_one_frame(revision: str) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.request() + wire.request(id=2)) == UNREADABLE
    assert wire.events == []


@every
def test_trap_20_white_space_around_a_document(revision: str) -> None:
    wire = Wire(revision)

    assert wire.send(f" \t{wire.request()}\r\n") == []
    assert len(wire.answer()) == 1


@every
def test_trap_21_key_that_is_twice_there(revision: str) -> None:
    wire = Wire(revision)
    wire.send(wire.request(id=1).replace('"id": 1', '"id": 1, "id": 2'))

    assert [answer["id"] for answer in wire.answer()] == [2]


@anywhere
def test_trap_22_byte_order_mark(revision: str) -> None:
    wire = Wire(revision)

    assert wire.codes("\ufeff" + wire.request()) == UNREADABLE


@every
def test_trap_23_unknown_member_at_the_top(revision: str) -> None:
    wire = Wire(revision)
    frame = {**json.loads(wire.request()), "mcpSessionId": "s", "x": None}

    assert wire.send(json.dumps(frame)) == []
    assert len(wire.answer()) == 1


@every
async def test_trap_24_binary_frame_with_valid_json(
    revision: str, connect: Connect
) -> None:
    client = await connect(revision)
    await client.send_bytes(Wire(revision).request().encode())

    with pytest.raises(ConnectionResetError, match="1003"):
        await client.receive()


# 25-38: params


@legacy
def test_trap_25_absent_params_of_a_legacy_message(revision: str) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.bare("tools/list"), wire.bare("ping", id=2)) == [(2, None)]
    assert len(wire.answer()) == 1

    wire = Wire()
    wire.send(wire.request("initialize", {"protocolVersion": revision, **HELLO}))
    wire.send('{"jsonrpc":"2.0","method":"notifications/initialized"}')

    assert wire.events == [Initialized()]


@pytest.mark.parametrize("revision", [NEW, MODERN])
@pytest.mark.parametrize(
    "method", ["tools/list", "tools/call", "prompts/get", "completion/complete"]
)
def test_trap_26_absent_params_of_a_modern_request(revision: str, method: str) -> None:
    wire = Wire(revision)
    if revision == MODERN:
        wire.send(wire.request(id="first"))
    (answer,) = wire.send(wire.bare(method))

    assert answer["error"]["code"] == -32602
    assert PROTOCOL_VERSION in answer["error"]["message"]
    assert CLIENT_CAPABILITIES in answer["error"]["message"]


@anywhere
def test_trap_27_params_that_are_null(revision: str) -> None:
    wire = Wire(revision)
    codes = wire.codes(wire.bare("tools/list", params=None))

    assert codes == ([] if revision in LEGACY else [(1, -32602)])
    assert len(wire.answer()) == (1 if revision in LEGACY else 0)
    assert wire.codes(wire.bare("ping", params=None)) == [(1, None)]


@anywhere
@pytest.mark.parametrize("params", [[], [1], 5, "x", False])
def test_trap_28_params_that_are_no_object(revision: str, params: Any) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.bare("tools/list", params=params)) == [(1, -32602)]


@every
def test_trap_29_unknown_member_of_params(revision: str) -> None:
    wire = Wire(revision)

    assert wire.send(wire.request("tools/list", {"x": [1], "task": 5})) == []
    assert len(wire.answer()) == 1


@anywhere
@pytest.mark.parametrize("meta", [[], 5, "x", True])
def test_trap_30_meta_that_is_no_object(revision: str, meta: Any) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.bare("tools/list", params={"_meta": meta})) == [(1, -32602)]


@pytest.mark.parametrize("revision", [NEW, *LEGACY])
@pytest.mark.parametrize("meta", [{}, {"progressToken": 1}, {"traceparent": "x"}])
def test_trap_31_meta_that_is_no_envelope(revision: str, meta: dict[str, Any]) -> None:
    wire = Wire(revision)
    codes = wire.codes(wire.bare("tools/list", params={"_meta": meta}))

    assert codes == ([(1, -32602)] if revision == NEW else [])
    assert [r.revision.value for r in wire.admitted()] == (
        [] if revision == NEW else [revision]
    )


@anywhere
@pytest.mark.parametrize("version", [None, 20260728, {}, ["2026-07-28"], True])
def test_trap_32_version_that_is_no_text(revision: str, version: Any) -> None:
    wire = Wire(revision)
    meta = {**ENVELOPE, PROTOCOL_VERSION: version}

    assert wire.codes(wire.request(**meta)) == [(1, -32602)]


@anywhere
@pytest.mark.parametrize("version", [*LEGACY, "2099-01-01", ""])
def test_trap_33_legacy_version_in_an_envelope(revision: str, version: str) -> None:
    wire = Wire(revision)
    (answer,) = wire.send(wire.request(**{**ENVELOPE, PROTOCOL_VERSION: version}))

    assert answer["error"]["code"] == -32022
    assert answer["error"]["data"] == {"supported": [MODERN], "requested": version}


@every
@pytest.mark.parametrize("arguments", [{}, {"arguments": {}}, {"arguments": None}])
async def test_trap_34_absent_arguments(
    revision: str, arguments: dict[str, Any], connect: Connect
) -> None:
    client = await connect(revision)
    result = await client.request("tools/call", {"name": "echo", **arguments})

    assert text_of(result) == "ok"


@every
@pytest.mark.parametrize("value", [5, None, True, ["5"]])
def test_trap_35_argument_of_a_prompt_that_is_no_text(
    revision: str, value: Any
) -> None:
    wire = Wire(revision)
    params = {"name": "p", "arguments": {"a": value}}

    assert wire.codes(wire.request("prompts/get", params)) == [(1, -32602)]


@every
async def test_trap_36_cursor_that_is_absent_empty_or_garbage(
    revision: str, connect: Connect, settings: Any
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "PAGE_SIZE": 4}
    client = await connect(revision)
    first = await client.request("tools/list")

    assert len(first["tools"]) == 4

    second = await client.request("tools/list", {"cursor": first["nextCursor"]})

    assert len(second["tools"]) == 2
    assert "nextCursor" not in second
    for cursor in ("", "garbage", first["nextCursor"][:-1], 5):
        with pytest.raises(RequestFailed, match="-32602"):
            await client.request("tools/list", {"cursor": cursor})


@modern
async def test_trap_37_answers_and_state_that_are_null(
    revision: str, connect: Connect
) -> None:
    client = await connect(revision)
    nothing = {"inputResponses": None, "requestState": None}

    assert text_of(await client.request("tools/call", {"name": "echo", **nothing})) == (
        "ok"
    )


@every
@pytest.mark.parametrize("token", [True, None, 1.5, {}, []])
def test_trap_38_progress_token_that_is_none(revision: str, token: Any) -> None:
    wire = Wire(revision)

    assert wire.send(wire.request(progressToken=token)) == []

    (request,) = wire.admitted()

    assert not wire.connection.send_progress(request, 1)
    assert len(wire.answer()) == 1


# 39-55: lifecycle and era


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

    assert answer["result"]["protocolVersion"] == NEWEST_LEGACY


def test_trap_40_handshake_with_a_modern_version() -> None:
    assert initialize(Wire(), MODERN)["result"]["protocolVersion"] == NEWEST_LEGACY


def test_trap_41_request_before_the_handshake() -> None:
    wire = Wire()

    assert wire.codes(
        wire.bare("tools/list", id=1),
        wire.bare("nothing/here", id=2),
        wire.bare("ping", id=3),
    ) == [(1, -32602), (2, -32601), (3, None)]
    assert "result" in initialize(wire, NEWEST_LEGACY)


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
def test_trap_44_second_handshake(revision: str) -> None:
    wire = Wire(revision)
    answer = initialize(wire, NEWEST_LEGACY, id=2)

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


@pytest.mark.parametrize("version", [*LEGACY, MODERN, "?"])
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
    params = {"protocolVersion": NEWEST_LEGACY, **HELLO}

    assert wire.codes(wire.request("initialize", params, **ENVELOPE)) == [(1, -32601)]
    assert (wire.connection.handshake is None) is (revision not in LEGACY)


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


@pytest.mark.parametrize("revision", [NEW, *LEGACY])
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


async def test_trap_54_list_that_depends_on_what_was_before(connect: Connect) -> None:
    fresh = await connect(MODERN)
    expected = await fresh.request("tools/list")
    for revision in LEGACY:
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


# 56-67: batches


def test_trap_56_empty_batch() -> None:
    assert Wire(BATCHING).codes("[]") == MALFORMED


def test_trap_57_batch_before_there_were_any() -> None:
    wire = Wire("2024-11-05")

    assert wire.codes(f"[{wire.request()},{wire.request(id=2)}]") == MALFORMED
    assert wire.events == []


@pytest.mark.parametrize("revision", [NEW, "2025-06-18", NEWEST_LEGACY, MODERN])
def test_trap_58_batch_where_there_are_none(revision: str) -> None:
    wire = Wire(revision)

    assert wire.codes(f"[{wire.request()},{wire.request(id=2)}]") == MALFORMED
    assert wire.codes("[]") == MALFORMED
    assert wire.events == []


def test_trap_59_handshake_in_a_batch() -> None:
    wire = Wire(BATCHING)
    hello = wire.request("initialize", {"protocolVersion": "2025-06-18", **HELLO})
    ((refusal,),) = wire.send(f"[{hello}]")

    assert (refusal["id"], refusal["error"]["code"]) == (1, -32600)

    fresh = Wire()

    assert fresh.codes(f"[{hello}]") == MALFORMED
    assert fresh.connection.handshake is None


def test_trap_60_batch_of_what_is_no_message() -> None:
    (answers,) = Wire(BATCHING).send("[1,2,3]")

    assert [(answer["id"], answer["error"]["code"]) for answer in answers] == [
        (None, -32600)
    ] * 3


@pytest.mark.parametrize(
    "member",
    [
        '{"jsonrpc":"2.0","method":"notifications/unknown"}',
        '{"jsonrpc":"2.0","method":"notifications/cancelled","params":5}',
        '{"jsonrpc":"2.0","id":9,"result":{}}',
        '{"jsonrpc":"2.0","error":{"code":1,"message":"x"}}',
    ],
)
def test_trap_61_batch_without_requests(member: str) -> None:
    assert Wire(BATCHING).send(f"[{member},{member}]") == []


def test_trap_62_answers_to_a_batch_leave_together() -> None:
    wire = Wire(BATCHING)
    slow = wire.request("tools/call", {"name": "t"}, id="slow", progressToken="p")
    members = [slow, wire.bare("ping", id="quick"), wire.request("nothing/here", id=0)]

    assert wire.send(f"[{','.join(members)}]") == []

    (request,) = wire.admitted()
    wire.connection.send_progress(request, 1)
    progress, answers = wire.answer()

    assert progress["method"] == "notifications/progress"
    assert {answer["id"]: "result" in answer for answer in answers} == {
        "slow": True,
        "quick": True,
        0: False,
    }


def test_trap_63_cancelled_member_of_a_batch() -> None:
    wire = Wire(BATCHING)
    cancellation = (
        '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}'
    )
    wire.send(f"[{wire.request(id=1)},{wire.request(id=2)}]", cancellation)
    (answers,) = wire.answer()

    assert [answer["id"] for answer in answers] == [2]

    wire.send(f"[{wire.request(id=1)}]", cancellation)

    assert wire.answer() == []


@pytest.mark.parametrize("method", ["tools/list", "ping"])
def test_trap_64_duplicate_ids_in_a_batch(method: str) -> None:
    wire = Wire(BATCHING)
    answers = wire.send(f"[{wire.request(method)},{wire.request(method)}]")
    answers += wire.answer()
    ((first, second),) = answers

    assert first["id"] == second["id"] == 1
    assert {first.get("error", second.get("error"))["code"]} == {-32600}
    assert ("result" in first) is not ("result" in second)


def test_trap_65_huge_batch() -> None:
    wire = Wire(BATCHING)
    members = ",".join(wire.request("ping", id=id) for id in range(51))

    assert wire.codes(f"[{members}]") == MALFORMED


def test_trap_66_batch_in_a_batch() -> None:
    wire = Wire(BATCHING)
    ping = wire.request("ping")
    (answers,) = wire.send(f"[[{ping}],{ping}]")

    assert [(answer["id"], "result" in answer) for answer in answers] == [
        (None, False),
        (1, True),
    ]


@legacy
def test_trap_67_batch_that_nobody_asked_for(revision: str) -> None:
    wire = Wire(revision)
    frames = [wire.request(id=id) for id in range(5)]
    received = [*wire.send(*frames, "5", wire.bare("ping", id=9)), *wire.answer()]

    assert len(received) == 7
    assert all(isinstance(message, dict) for message in received)


# 68-82: cancellation, progress, logging


@every
async def test_trap_68_cancellation_of_nothing_that_is_there(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client, other = await connect(revision), await connect(revision)
    done = await client.send_request("tools/call", {"name": "echo"})
    await client.answer_to(done)
    id = await client.send_request("tools/call", {"name": "wait"})
    await until(lambda: "waited" in tools.calls)
    for stray in (done, 1_000, "x", None, {}):
        await cancel(client, stray)
    await client.notify("notifications/cancelled", {})
    await client.notify("notifications/cancelled")
    await cancel(other, id)

    assert text_of(await next_answer(other)) == "ok"
    assert text_of(await next_answer(client)) == "ok"

    tools.release.set()

    assert text_of(await client.answer_to(id)) == "waited"


@legacy
def test_trap_68_cancellation_of_the_handshake(revision: str) -> None:
    wire = Wire(revision)
    frame = (
        '{"jsonrpc":"2.0","method":"notifications/cancelled",'
        '"params":{"requestId":"hello"}}'
    )

    assert wire.send(frame) == []
    assert wire.connection.handshake is not None


@every
async def test_trap_69_cancellation_by_an_id_that_looks_the_same(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    id = await client.send_request("tools/call", {"name": "wait"})
    await until(lambda: "waited" in tools.calls)
    await cancel(client, str(id))
    tools.release.set()

    assert text_of(await client.answer_to(id)) == "waited"


@every
async def test_trap_70_cancellation_before_the_task_began(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    # Nothing is awaited between the two: both are there before the consumer runs.
    id = await client.send_request("tools/call", {"name": "wait"})
    await cancel(client, id)

    assert text_of(await next_answer(client)) == "ok"

    tools.release.set()

    assert text_of(await next_answer(client)) == "ok"
    assert await client.receive_nothing()


@every
async def test_trap_71_handler_that_swallows_its_cancellation(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    id = await client.send_request("tools/call", {"name": "stubborn"})
    await until(lambda: tools.calls == ["stubborn"])
    await cancel(client, id)
    await tools.stopped.wait()
    tools.release.set()

    assert text_of(await next_answer(client)) == "ok"
    assert await client.receive_nothing()


@modern
async def test_trap_72_id_that_is_used_again_after_its_cancellation(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    frame = {"name": "stubborn", "arguments": {"text": "old"}}
    await client.send_text(Wire(revision).request("tools/call", frame, id="again"))
    await until(lambda: tools.calls == ["old"])
    await cancel(client, "again")
    await tools.stopped.wait()
    frame = {"name": "wait", "arguments": {"text": "new"}}
    await client.send_text(Wire(revision).request("tools/call", frame, id="again"))
    await until(lambda: tools.calls == ["old", "new"])
    tools.release.set()
    answer = await client.receive()

    assert answer["id"] == "again"
    assert text_of(answer["result"]) == "new"
    assert text_of(await next_answer(client)) == "ok"


@every
async def test_trap_73_thread_that_cannot_be_interrupted(
    revision: str, connect: Connect, tools: Tools, settings: Any
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "MAX_REQUESTS_IN_FLIGHT": 1}
    client = await connect(revision)
    params = {"name": "block", "_meta": {"progressToken": "p"}}
    id = await client.send_request("tools/call", params)
    await until(tools.thread_started.is_set)
    await cancel(client, id)

    # Nobody waits for it, but it still counts.
    with pytest.raises(RequestFailed, match="Too many requests in flight"):
        await client.call_tool("echo")

    tools.thread_release.set()
    result = None
    async with asyncio.timeout(10):
        while result is None:
            try:
                result = await client.call_tool("echo")
            except RequestFailed:
                await asyncio.sleep(0)

    assert text_of(result) == "ok"
    assert not client.notifications
    assert await client.receive_nothing()


@every
@pytest.mark.parametrize("end", ["answered", "cancelled"])
async def test_trap_75_progress_after_the_end(
    revision: str, end: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    params = {"name": "wait", "_meta": {"progressToken": 0}}
    id = await client.send_request("tools/call", params)
    await until(lambda: tools.context is not None)
    context = tools.context

    assert context is not None

    context.progress(1)

    assert (await client.receive())["params"]["progress"] == 1

    if end == "answered":
        tools.release.set()
        await client.answer_to(id)
    else:
        await cancel(client, id)
        await next_answer(client)
    context.progress(2)

    assert text_of(await next_answer(client)) == "ok"


@every
async def test_trap_76_progress_that_does_not_grow(
    revision: str, connect: Connect
) -> None:
    client = await connect(revision)
    seen: list[Any] = []
    arguments = {"steps": [0, 0, 1, 0.5, 1.0, 2.5, 2], "total": 3}
    await client.call_tool("steps", arguments, on_progress=seen.append)

    assert [params["progress"] for params in seen] == [0, 1, 2.5]
    assert not client.notifications


@every
async def test_trap_77_progress_without_a_token(
    revision: str, connect: Connect
) -> None:
    client = await connect(revision)
    result = await client.call_tool("steps", {"steps": [1, 2], "total": 3})

    assert text_of(result) == "done"
    assert not client.notifications


@every
@pytest.mark.parametrize(("total", "sent"), [(0, {}), (1, {"total": 1})])
async def test_trap_78_progress_beyond_its_total_or_without_one(
    revision: str, total: float, sent: dict[str, Any], connect: Connect
) -> None:
    client = await connect(revision)
    seen: list[Any] = []
    arguments = {"steps": [5, 6], "total": total}
    await client.call_tool("steps", arguments, on_progress=seen.append)

    assert [params["progress"] for params in seen] == [5, 6]
    assert all({**params, **sent} == params for params in seen)
    assert all("total" in params for params in seen) is bool(sent)


@modern
async def test_trap_79_log_message_that_the_request_does_not_want(
    revision: str, connect: Connect
) -> None:
    client = await connect(revision)
    await client.call_tool("log")
    await client.request("tools/call", {"name": "log", "_meta": {LOG_LEVEL: "notice"}})

    assert not client.notifications

    await client.request("tools/call", {"name": "log", "_meta": {LOG_LEVEL: "info"}})

    assert [m["params"] for m in client.notifications] == [
        {"level": "info", "data": "something"}
    ]


@legacy
def test_trap_80_level_that_is_called_otherwise(revision: str) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.request("logging/setLevel", {"level": "warn"})) == [
        (1, -32602)
    ]
    assert wire.codes(wire.request("logging/setLevel", {"level": "warning"})) == [
        (1, None)
    ]


@legacy
async def test_trap_81_level_that_another_connection_set(
    revision: str, connect: Connect
) -> None:
    loud, quiet = await connect(revision), await connect(revision)
    await loud.request("logging/setLevel", {"level": "debug"})
    await quiet.request("logging/setLevel", {"level": "error"})
    for client in (loud, quiet):
        await client.call_tool("log")

    assert len(loud.notifications) == 1
    assert not quiet.notifications


@every
async def test_trap_82_error_of_a_cancelled_request(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    params = {"name": "stubborn", "arguments": {"raising": True}}
    id = await client.send_request("tools/call", params)
    await until(lambda: tools.calls == ["stubborn"])
    await cancel(client, id)
    await tools.stopped.wait()
    tools.release.set()

    assert text_of(await next_answer(client)) == "ok"
    assert await client.receive_nothing()
