"""Traps 56 to 67: batches, which 2025-03-26 alone has."""

import pytest

from tests.sites import LEGACY, MODERN
from tests.traps.wire import BATCHING, HELLO, MALFORMED, NEW, Wire, legacy


def test_trap_56_empty_batch() -> None:
    assert Wire(BATCHING).codes("[]") == MALFORMED


def test_trap_57_batch_before_there_were_any() -> None:
    wire = Wire("2024-11-05")

    assert wire.codes(f"[{wire.request()},{wire.request(id=2)}]") == MALFORMED
    assert wire.events == []


@pytest.mark.parametrize("revision", [NEW, "2025-06-18", LEGACY, MODERN])
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
    # Not merely because it is the second.
    assert "batch" in refusal["error"]["message"]

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

    members = ",".join(wire.request("ping", id=id) for id in range(50))
    (answers,) = wire.send(f"[{members}]")

    assert sorted(answer["id"] for answer in answers) == list(range(50))


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
