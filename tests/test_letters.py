"""What workers write to each other: signed, numbered, and accounted for."""

import json
from typing import Any

import msgspec
import pytest
from django.core.signing import Signer

from mcp_channels import AccessChanged, PrimitivesChanged, ResourceUpdated, letters
from mcp_channels.letters import (
    Ledger,
    Letter,
    Outbox,
    decode_letter,
    encode_letter,
)
from mcp_channels.server.events import EverythingChanged, encode_event

A, B = ResourceUpdated("shop://a"), ResourceUpdated("shop://b")


def written(*events: Any, **options: Any) -> Letter:
    return Letter("w", events=[msgspec.Raw(encode_event(e)) for e in events], **options)


def signed(text: str) -> dict[str, str]:
    return {"text": Signer(salt="mcp_channels.letters").sign(text)}


# One letter


def test_letter_arrives_as_it_was_sent() -> None:
    letter = written(A, AccessChanged("user", "5"), number=7, age=1.5, is_member=True)
    message = encode_letter(letter)
    arrived = decode_letter(json.loads(json.dumps(message)))

    assert arrived == letter
    assert arrived is not None
    assert arrived.read() == [A, AccessChanged("user", "5")]


def test_message_is_plain_and_small() -> None:
    message = encode_letter(written(A, number=1))

    assert {type(value) for value in message.values()} == {str}
    assert len(json.dumps(message)) < 300


def test_event_that_is_not_known_here_is_left_out() -> None:
    text = '{"type":"SomethingNew","of":[1]}'
    letter = Letter("w", events=[msgspec.Raw(text.encode()), *written(A).events])

    assert letter.read() == [A]


@pytest.mark.parametrize(
    "text",
    [
        '{"writer":"w","version":2}',
        # Of another version anything may be other.
        '{"version":2,"writer":5,"events":"gone"}',
    ],
)
def test_letter_of_another_version_is_ignored(text: str) -> None:
    assert decode_letter(signed(text)) is None


@pytest.mark.parametrize(
    "message",
    [
        {},
        None,
        5,
        {"text": None},
        {"text": 5},
        {"text": ""},
        {"text": '{"writer":"w"}'},
        {"text": '{"writer":"w"}:forged'},
        {"text": Signer(salt="something else").sign('{"writer":"w"}')},
        signed("no JSON"),
        signed("[]"),
        signed('{"writer":5}'),
        signed('{"writer":"w","events":{}}'),
        signed('{"writer":"w","version":"1"}'),
    ],
)
def test_what_nobody_of_the_site_wrote_is_refused(message: Any) -> None:
    with pytest.raises(ValueError, match="No letter"):
        decode_letter(message)


def test_letter_that_was_changed_on_the_way_is_refused() -> None:
    message = encode_letter(written(A))
    message["text"] = message["text"].replace("shop://a", "shop://b")

    with pytest.raises(ValueError, match="BadSignature"):
        decode_letter(message)


def test_keys_can_be_changed_one_worker_after_the_other(settings: Any) -> None:
    message = encode_letter(written(A))
    settings.SECRET_KEY, old = "another", settings.SECRET_KEY
    with pytest.raises(ValueError, match="BadSignature"):
        decode_letter(message)
    settings.SECRET_KEY_FALLBACKS = [old]

    assert decode_letter(message) == written(A)


# What came


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(letters.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def admit(ledger: Ledger, number: int, age: float = 9e9, writer: str = "w") -> Any:
    return tuple(ledger.admit(Letter(writer, number=number, age=age)))


NEW, LOST, OLD = (True, False), (True, True), (False, False)


def test_letters_in_their_order_are_new() -> None:
    ledger = Ledger()

    assert [admit(ledger, number) for number in (5, 6, 7)] == [NEW] * 3


def test_letter_that_comes_twice_is_old() -> None:
    ledger = Ledger()

    assert [admit(ledger, number) for number in (5, 5, 6, 5, 6)] == [
        NEW,
        OLD,
        NEW,
        OLD,
        OLD,
    ]


def test_gap_is_noticed_once_and_what_comes_late_is_new() -> None:
    ledger = Ledger()

    assert [admit(ledger, number) for number in (1, 4, 5, 3, 3, 2, 1)] == [
        NEW,
        LOST,
        NEW,
        NEW,
        OLD,
        NEW,
        OLD,
    ]


def test_writers_are_told_apart() -> None:
    ledger = Ledger()

    assert admit(ledger, 1, writer="a") == NEW
    assert admit(ledger, 9, writer="b") == NEW
    assert admit(ledger, 2, writer="a") == NEW


@pytest.mark.parametrize(
    # A letter may have been on its way for a second.
    ("age", "is_lost"),
    [(0.0, True), (8.9, True), (9.0, True), (9.1, False), (11.0, False)],
)
def test_who_came_to_be_since_has_to_be_heard_from_the_first(
    clock: Clock, age: float, is_lost: bool
) -> None:
    ledger = Ledger()
    clock.now += 10

    assert admit(ledger, 3, age) == (True, is_lost)


def test_letter_before_the_first_that_came_is_new() -> None:
    ledger = Ledger()

    assert [admit(ledger, number) for number in (5, 4, 4, 6, 3)] == [
        NEW,
        NEW,
        OLD,
        NEW,
        NEW,
    ]


def test_first_letter_of_a_new_writer_is_no_gap(clock: Clock) -> None:
    ledger = Ledger()
    clock.now += 10

    assert admit(ledger, 1, 0.0) == NEW


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "_MOST_WRITERS", 2)
    monkeypatch.setattr(letters, "_MOST_MISSING", 3)
    ledger = Ledger()
    for number in (1, 10, 20):
        admit(ledger, number, writer="a")

    # The last ones that are missing may still come.
    assert [admit(ledger, n, writer="a") for n in (9, 16, 17, 19)] == [
        OLD,
        OLD,
        NEW,
        NEW,
    ]

    for writer in ("b", "a", "c"):
        admit(ledger, 30, writer=writer)

    assert list(ledger._writers) == ["a", "c"]


# What waits


def take(outbox: Outbox) -> Any:
    found = outbox.take(is_member=False)
    if found is None:
        return None
    to, letter = found
    outbox.has_sent(letter)
    return to, letter.number, letter.read()


def test_empty_outbox_has_no_letter() -> None:
    outbox = Outbox("w")

    assert not outbox.has_letters
    assert take(outbox) is None


def test_events_that_wait_go_together_and_once() -> None:
    outbox = Outbox("w")
    for event in (A, B, A, PrimitivesChanged("tools"), B):
        outbox.put(event, None)

    assert outbox.has_letters
    assert take(outbox) == (None, 1, [A, PrimitivesChanged("tools"), B])
    assert not outbox.has_letters


def test_letters_to_all_are_numbered_and_others_are_not() -> None:
    outbox = Outbox("w")
    outbox.put(A, "x")
    outbox.put(A, None)
    outbox.put(B, "x")
    outbox.put(B, "y")
    outbox.put(B, None)

    assert take(outbox) == ("x", 0, [A, B])
    assert take(outbox) == (None, 1, [A, B])
    assert take(outbox) == ("y", 0, [B])


def test_long_letters_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "_MOST_TOGETHER", 2)
    outbox = Outbox("w")
    events = [ResourceUpdated(f"shop://{number}") for number in range(5)]
    for event in events:
        outbox.put(event, None)

    assert [take(outbox) for _ in range(3)] == [
        (None, 1, events[:2]),
        (None, 2, events[2:4]),
        (None, 3, events[4:]),
    ]


def test_letter_to_all_waits_until_it_was_sent() -> None:
    outbox = Outbox("w")
    outbox.put(A, None)
    first = outbox.take(is_member=False)
    outbox.put(B, None)

    assert outbox.take(is_member=False) == first
    assert outbox.has_letters
    assert first is not None

    outbox.has_sent(first[1])

    assert take(outbox) == (None, 2, [B])


def test_letter_to_one_is_given_once() -> None:
    outbox = Outbox("w")
    outbox.put(A, "x")
    outbox.take(is_member=False)

    assert outbox.take(is_member=False) is None


def test_too_many_events_become_one_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(letters, "_MOST_WAITING", 3)
    outbox = Outbox("w")
    for number in range(4):
        outbox.put(ResourceUpdated(f"shop://{number}"), None)

    assert take(outbox) == (
        None,
        1,
        [EverythingChanged(), ResourceUpdated("shop://3")],
    )


def test_sign_is_an_empty_letter_with_a_number(clock: Clock) -> None:
    outbox = Outbox("w")
    clock.now += 5
    outbox.sign()

    assert outbox.has_letters

    found = outbox.take(is_member=True)

    assert found == (None, Letter("w", number=1, age=5.0, is_member=True))
