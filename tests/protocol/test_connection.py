import json
from typing import Any

import pytest
from msgspec import UNSET, Raw

from mcp_channels.protocol.connection import (
    Closing,
    Connection,
    Limits,
    Request,
    Response,
)
from mcp_channels.protocol.legacy import Batch, Peer
from mcp_channels.protocol.messages import ResponseMessage, encode_error
from mcp_channels.protocol.methods import RequestParams
from mcp_channels.protocol.types import ClientCapabilities
from mcp_channels.protocol.versions import Revision

FRAMES = [encode_error(number, -32603, "Internal error", UNSET) for number in range(4)]
SIZE = len(FRAMES[0])


def make_request(id: int | str = 1, batch: Batch | None = None) -> Request:
    return Request(
        id=id,
        method="tools/list",
        params=None,
        revision=Revision.V2025_03_26,
        peer=Peer(ClientCapabilities()),
        meta={},
        progress_token=None,
        log_level=None,
        batch=batch,
    )


@pytest.fixture
def connection() -> Connection:
    return Connection(Limits())


def drain(connection: Connection) -> list[Any]:
    frames = []
    while (frame := connection.next_frame()) is not None:
        frames.append(json.loads(frame))
    return frames


# Requests of the peer


def test_request_is_open_until_it_is_finished(connection: Connection) -> None:
    request = make_request()

    assert not connection.is_open(request)

    connection._open(request)

    assert connection.is_open(request)
    assert connection._finish(request)
    assert not connection.is_open(request)
    assert not connection._finish(request)


def test_other_request_under_the_same_id_is_another_one(connection: Connection) -> None:
    first, second = make_request(), make_request()
    connection._open(first)
    connection.cancel(1)
    connection._open(second)

    assert not connection._finish(first)
    assert connection.is_open(second)


def test_number_and_text_are_different_ids(connection: Connection) -> None:
    number, text = make_request(1), make_request("1")
    connection._open(number)
    connection._open(text)

    assert connection.cancel("1") is text
    assert connection.is_open(number)


def test_cancelled_request_is_forgotten(connection: Connection) -> None:
    request = make_request()
    connection._open(request)

    assert connection.cancel(1) is request
    assert not connection.is_open(request)
    assert connection.cancel(1) is None


def test_cancelled_member_of_a_batch_lets_the_others_go(connection: Connection) -> None:
    batch = Batch()
    for id in (1, 2):
        batch.expect()
        connection._open(make_request(id, batch))
    batch.seal()
    connection._put_reply(batch, FRAMES[2])

    assert not connection.has_frames

    connection.cancel(1)

    assert drain(connection) == [[json.loads(FRAMES[2])]]


def test_batch_that_was_all_cancelled_is_not_answered(connection: Connection) -> None:
    batch = Batch()
    batch.expect()
    connection._open(make_request(1, batch))
    batch.seal()
    connection.cancel(1)

    assert not connection.has_frames


def test_abandoned_connection_has_nothing_left(connection: Connection) -> None:
    request = make_request()
    connection._open(request)
    id = connection.send_request("ping", RequestParams())

    assert connection.abandon() == [request]
    assert not connection.is_open(request)
    assert not connection.has_frames
    assert connection._receive_response(ResponseMessage(id, Raw(b"{}"))) is None
    assert connection.abandon() == []


# Requests to the peer


def test_requests_to_the_peer_have_ids_of_their_own(connection: Connection) -> None:
    ids = [connection.send_request("ping", RequestParams()) for _ in range(3)]

    assert len(set(ids)) == 3
    assert drain(connection) == [
        {"jsonrpc": "2.0", "id": id, "method": "ping", "params": {}} for id in ids
    ]


def test_answer_is_taken_once(connection: Connection) -> None:
    id = connection.send_request("ping", RequestParams())
    answer = ResponseMessage(id, error=Raw(b'{"code":-1}'))

    assert connection._receive_response(answer) == Response(id, UNSET, answer.error)
    assert connection._receive_response(answer) is None


@pytest.mark.parametrize("id", [0, 2, "1", -1])
def test_answer_to_nothing_is_ignored(connection: Connection, id: int | str) -> None:
    connection.send_request("ping", RequestParams())

    assert connection._receive_response(ResponseMessage(id, Raw(b"{}"))) is None


def test_forgotten_request_is_cancelled_and_its_answer_ignored(
    connection: Connection,
) -> None:
    id = connection.send_request("ping", RequestParams())
    drain(connection)
    connection.forget(id, "Timed out")

    assert drain(connection) == [
        {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": id, "reason": "Timed out"},
        }
    ]
    assert connection._receive_response(ResponseMessage(id, Raw(b"{}"))) is None


def test_answered_request_is_not_cancelled(connection: Connection) -> None:
    id = connection.send_request("ping", RequestParams())
    drain(connection)
    connection._receive_response(ResponseMessage(id, Raw(b"{}")))
    connection.forget(id, "Timed out")

    assert not connection.has_frames


def test_request_that_cannot_be_encoded_is_not_sent(connection: Connection) -> None:
    with pytest.raises(TypeError):
        connection.send_request("ping", RequestParams(meta={"a": object()}))

    assert not connection.has_frames
    assert connection._receive_response(ResponseMessage(1, Raw(b"{}"))) is None


# The outbox


def test_frames_leave_in_their_order(connection: Connection) -> None:
    connection._put(FRAMES[1])
    connection._put_notice(FRAMES[0])
    connection._put_reply(None, FRAMES[2])
    connection._put_reply(None, None)

    assert connection.has_frames
    assert [message["id"] for message in drain(connection)] == [1, 0, 2]
    assert not connection.has_frames
    assert connection.next_frame() is None


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_outbox_frames=2, max_outbox_bytes=None),
        Limits(max_outbox_frames=None, max_outbox_bytes=SIZE + 1),
        Limits(max_outbox_frames=None, max_outbox_bytes=2 * SIZE),
    ],
)
def test_full_outbox_closes_for_answers_and_drops_notices(limits: Limits) -> None:
    connection = Connection(limits)
    connection._put(FRAMES[0])

    assert connection._put_notice(FRAMES[1])
    assert not connection._put_notice(FRAMES[2])
    assert connection.closing is None

    connection._put(FRAMES[3])

    assert connection.closing is not None
    assert connection.closing.code == 1013
    assert [message["id"] for message in drain(connection)] == [0, 1]


def test_outbox_that_is_read_never_gets_full() -> None:
    connection = Connection(Limits(max_outbox_frames=1, max_outbox_bytes=1))
    for frame in FRAMES:
        connection._put(frame)

        assert connection.next_frame() == frame
        assert connection._put_notice(frame)
        assert connection.next_frame() == frame

    assert connection.closing is None


def test_answer_larger_than_the_outbox_leaves_an_empty_one() -> None:
    connection = Connection(Limits(max_outbox_bytes=1))
    connection._put(FRAMES[0])

    assert connection.closing is None
    assert connection.next_frame() == FRAMES[0]


def test_outbox_without_limits_is_never_full() -> None:
    connection = Connection(Limits(max_outbox_frames=None, max_outbox_bytes=None))
    for _ in range(2_000):
        connection._put_notice(FRAMES[0])
        connection._put(FRAMES[0])

    assert connection.closing is None
    assert len(drain(connection)) == 4_000


def test_abandoned_outbox_has_its_room_again() -> None:
    connection = Connection(Limits(max_outbox_bytes=SIZE + 1))
    connection._put(FRAMES[0])
    connection.abandon()

    assert connection._put_notice(FRAMES[1])
    assert connection._put_notice(FRAMES[2])
    assert not connection._put_notice(FRAMES[3])


# Closing


def test_first_reason_to_close_wins(connection: Connection) -> None:
    connection.close(1008, "first")
    connection.close(1013, "second")

    assert connection.closing == Closing(1008, "first")
