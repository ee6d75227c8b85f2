"""Traps 1 to 24: ids, and the shape of messages."""

import json
from typing import Any

import pytest

from mcp_channels.protocol.methods import RequestParams
from tests.traps.tools import Connect
from tests.traps.wire import (
    HANDSHAKES,
    MALFORMED,
    UNREADABLE,
    Wire,
    anywhere,
    cancel_frame,
    every,
    legacy,
    modern,
)


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

    wire.send(wire.request(id=id), json.dumps(cancel_frame(id)))

    assert wire.answer() == []


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
    assert wire.events == wire.admitted()
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
    wire = Wire(revision)
    broken = f'{{"jsonrpc":"2.0","id":1{members}}}'

    assert wire.send(broken) == []

    if revision in HANDSHAKES:
        # Nor does it end the wait for the answer.
        wire.connection.send_request("ping", RequestParams())
        wire.send(broken)

        assert wire.events == []

        wire.send('{"jsonrpc":"2.0","id":1,"result":{}}')

        assert len(wire.events) == 1


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
