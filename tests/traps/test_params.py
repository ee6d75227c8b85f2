"""Traps 25 to 38: params."""

from typing import Any

import pytest

from mcp_channels.protocol.connection import Initialized
from mcp_channels.protocol.envelope import CLIENT_CAPABILITIES, PROTOCOL_VERSION
from mcp_channels.testing import RequestFailed
from tests.sites import MODERN
from tests.traps.tools import Connect, text_of
from tests.traps.wire import (
    ENVELOPE,
    HANDSHAKES,
    HELLO,
    NEW,
    Wire,
    anywhere,
    every,
    legacy,
    modern,
)

MODERN_METHODS = [
    "completion/complete",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "server/discover",
    "subscriptions/listen",
    "tools/call",
    "tools/list",
]


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
@pytest.mark.parametrize("method", MODERN_METHODS)
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

    assert codes == ([] if revision in HANDSHAKES else [(1, -32602)])
    assert len(wire.answer()) == (1 if revision in HANDSHAKES else 0)
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


@pytest.mark.parametrize("revision", [NEW, *HANDSHAKES])
@pytest.mark.parametrize("meta", [{}, {"progressToken": 1}, {"traceparent": "x"}])
def test_trap_31_meta_that_is_no_envelope(revision: str, meta: dict[str, Any]) -> None:
    wire = Wire(revision)
    codes = wire.codes(wire.bare("tools/list", params={"_meta": meta}))

    assert codes == ([(1, -32602)] if revision == NEW else [])
    assert [r.revision.value for r in wire.admitted()] == (
        [] if revision == NEW else [revision]
    )
    # No modern revision has it.
    assert wire.codes(wire.bare("ping", id=2, params={"_meta": meta})) == [(2, None)]


@anywhere
@pytest.mark.parametrize("version", [None, 20260728, {}, ["2026-07-28"], True])
def test_trap_32_version_that_is_no_text(revision: str, version: Any) -> None:
    wire = Wire(revision)
    meta = {**ENVELOPE, PROTOCOL_VERSION: version}

    assert wire.codes(wire.request(**meta)) == [(1, -32602)]


@anywhere
@pytest.mark.parametrize("version", [*HANDSHAKES, "2099-01-01", ""])
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
