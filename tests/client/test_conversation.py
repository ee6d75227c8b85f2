"""What outlives a connection: frames in, frames out, without a socket."""

import json
import logging
from typing import Any

import pytest

from mcp_channels.client.errors import (
    CONNECTION_LOST,
    MESSAGE_TOO_LARGE,
    OUTCOME_UNKNOWN,
    REQUEST_TIMED_OUT,
)
from tests.client.talk import Talk

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
PROGRESS = "notifications/progress"
UPDATED = "notifications/resources/updated"


@pytest.fixture
def talk() -> Talk:
    """A conversation on its first connection, without a handshake."""
    talk = Talk()
    talk.conversation.opened()
    return talk


@pytest.fixture
def legacy() -> Talk:
    """A conversation after a handshake."""
    talk = Talk()
    talk.shake_hands(tools={"listChanged": True}, resources={"subscribe": True})
    return talk


def methods(messages: list[Any]) -> list[str]:
    return [message["method"] for message in messages]


def listen(talk: Talk, id: Any = "listen-1", **filter: Any) -> None:
    talk.ask(id, "subscriptions/listen", notifications=filter)
    talk.sent()
    acknowledge(talk, id, **filter)
    talk.told()


def acknowledge(talk: Talk, id: Any, **filter: Any) -> None:
    talk.notify(ACKNOWLEDGED, _meta={SUBSCRIPTION: id}, notifications=filter)


# One connection


def test_frames_pass_as_they_are(talk):
    said = (
        '{"jsonrpc":"2.0",  "id":1,"method":"tools/call","params":{"name":"\\u00e9"}}'
    )
    talk.say(said)
    assert talk.conversation.next_frame() == said
    heard = '{ "jsonrpc": "2.0", "id": 1, "result": {"x": "\u20ac"} }'
    talk.hear(heard)

    assert talk.conversation.inbox.take() == heard
    assert not talk.conversation.is_waiting


def test_nothing_is_sent_before_there_is_a_connection():
    talk = Talk()
    talk.ask(1, "tools/list")
    assert talk.sent() == []
    assert talk.conversation.outgoing > 0
    talk.conversation.opened()

    assert methods(talk.sent()) == ["tools/list"]
    assert talk.conversation.outgoing == 0
    assert talk.told() == []


def test_notifications_pass_in_their_order(talk):
    for number in range(3):
        talk.notify("notifications/message", data=number)
        talk.notify("notifications/resources/updated", uri=f"x://{number}")

    assert methods(talk.told()) == ["notifications/message", UPDATED] * 3


def test_answers_are_matched_by_id_and_passed_once(talk):
    talk.ask(1, "tools/list")
    talk.ask("1", "prompts/list")
    talk.sent()
    for id in ("1", 1, 1, "2"):
        talk.answer(id)

    assert [message["id"] for message in talk.told()] == ["1", 1]


def test_what_is_no_message_is_refused_here(talk):
    talk.say("nonsense")
    talk.say({"jsonrpc": "2.0", "id": 7, "method": 1})
    talk.say('{"jsonrpc":"2.0","id":8,"method":"a\udc80"}')
    talk.say({"jsonrpc": "2.0", "id": 9})  # a broken answer: answering could loop

    assert talk.sent() == []
    assert [(one["id"], one["error"]["code"]) for one in talk.told()] == [
        (None, -32700),
        (7, -32600),
        (None, -32700),
    ]


def test_batches_are_taken_apart_both_ways(talk):
    talk.say([{"jsonrpc": "2.0", "id": id, "method": "ping"} for id in (1, 2)])
    assert [message["id"] for message in talk.sent()] == [1, 2]
    talk.hear([{"jsonrpc": "2.0", "id": id, "result": {}} for id in (2, 1)])

    assert [message["id"] for message in talk.told()] == [2, 1]


def test_garbage_of_the_server_is_ignored_without_showing_it(talk, caplog):
    with caplog.at_level(logging.WARNING, "mcp_channels.client"):
        talk.hear("secret nonsense")
        talk.hear({"jsonrpc": "2.0", "id": None, "error": {}})

    assert talk.told() == []
    assert len(caplog.records) == 2
    assert "secret" not in caplog.text


def test_listens_are_not_waited_for(talk):
    assert not talk.conversation.is_waiting
    listen(talk, toolsListChanged=True)
    assert not talk.conversation.is_waiting
    talk.ask(1, "ping")
    assert talk.conversation.is_waiting
    talk.sent()
    assert talk.conversation.is_waiting
    talk.answer(1)

    assert not talk.conversation.is_waiting


def test_cancelled_request_is_forgotten(talk):
    talk.ask(1, "ping")
    talk.sent()
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
    talk.say({**cancelled, "params": {"requestId": 1}})
    assert methods(talk.sent()) == ["notifications/cancelled"]
    talk.answer(1)
    talk.reopen()

    assert talk.sent() == []
    assert talk.told() == []


def test_request_cancelled_before_it_was_sent_never_is():
    talk = Talk()
    talk.ask(1, "ping")
    talk.ask(2, "ping")
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
    talk.say({**cancelled, "params": {"requestId": 1}})
    talk.conversation.opened()

    assert [message["id"] for message in talk.sent()] == [2]


@pytest.mark.parametrize("params", [None, [], {}, {"requestId": True}])
def test_cancelling_nothing_cancels_nothing(talk, params):
    talk.ask(1, "ping")
    talk.sent()
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
    talk.say({**cancelled, "params": params})
    talk.hear({**cancelled, "params": params})
    talk.sent()
    talk.answer(1)

    assert [message.get("id") for message in talk.told()] == [None, 1]


# After a drop: requests


@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "subscriptions/listen",
        "tasks/get",
        "tasks/list",
        "tasks/result",
    ],
)
def test_reads_are_sent_again_under_their_id(talk, method):
    talk.ask(1, method, name="x", uri="x://y")
    (first,) = talk.sent()
    talk.reopen()
    (again,) = talk.sent()
    talk.answer(1)

    assert again == first
    assert [message.get("id") for message in talk.told()] == [1]


@pytest.mark.parametrize("method", ["tools/call", "tasks/cancel", "vendor/do"])
def test_writes_fail_at_once_and_are_never_sent_again(talk, method):
    talk.ask(1, method, name="refund")
    talk.sent()
    talk.drop()
    (failed,) = talk.told()
    talk.conversation.opened()
    talk.answer(1)  # late, or somebody else's

    assert failed["id"] == 1
    assert failed["error"]["code"] == OUTCOME_UNKNOWN
    assert "outcome is unknown" in failed["error"]["message"]
    assert failed["error"]["data"] == {"method": method, "name": "refund"}
    assert talk.sent() == []
    assert talk.told() == []


def test_error_tells_which_tool_it_was(talk):
    talk.ask(1, "tools/call", name="refund", arguments={"card": "4111"})
    talk.ask(2, "vendor/do", name=["odd"])
    talk.sent()
    talk.drop()
    tool, method = (message["error"] for message in talk.told())

    assert "while tool 'refund' was running" in tool["message"]
    assert "4111" not in json.dumps(tool)
    assert "while vendor/do was running" in method["message"]
    assert method["data"] == {"method": "vendor/do"}


def test_writes_that_were_not_sent_yet_are_sent(talk):
    talk.drop()
    talk.ask(1, "tools/call", name="refund")
    talk.drop()  # the next connection breaks before it is of use
    talk.conversation.opened()

    assert [message["id"] for message in talk.sent()] == [1]
    assert talk.told() == []


def test_requests_are_sent_again_before_later_ones(talk):
    talk.ask(1, "tools/list")
    talk.ask(2, "prompts/list")
    talk.sent()
    talk.ask(3, "resources/list")
    talk.reopen()
    talk.ask(4, "ping")

    assert [message["id"] for message in talk.sent()] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("hints", "is_again"),
    [
        ({"readOnlyHint": True}, True),
        ({"idempotentHint": True}, True),
        ({"readOnlyHint": False, "idempotentHint": False}, False),
        ({"readOnlyHint": "true"}, False),
        ({"destructiveHint": False}, False),
        (None, False),
    ],
)
def test_tools_are_called_again_only_where_that_is_harmless(talk, hints, is_again):
    talk.list_tools(look=hints)
    talk.ask(1, "tools/call", name="look")
    talk.ask(2, "tools/call", name="other")
    talk.ask(3, "tools/call", name=["look"])
    talk.sent()
    talk.reopen()

    assert [message["id"] for message in talk.sent()] == ([1] if is_again else [])
    assert [message["id"] for message in talk.told()] == (
        [2, 3] if is_again else [1, 2, 3]
    )


def test_tool_that_is_listed_otherwise_later_is_not_called_again(talk):
    talk.list_tools(look={"readOnlyHint": True})
    talk.list_tools(look={})
    talk.ask(1, "tools/call", name="look")
    talk.sent()
    talk.reopen()

    assert talk.sent() == []


def test_tools_that_may_have_changed_are_not_called_again(talk):
    talk.list_tools(look={"readOnlyHint": True})
    talk.notify("notifications/tools/list_changed")
    talk.ask(1, "tools/call", name="look")
    talk.sent()
    talk.reopen()

    assert talk.sent() == []


def test_request_that_breaks_connections_is_given_up(talk):
    talk.ask(1, "resources/read", uri="x://bomb")
    talk.ask("listen", "subscriptions/listen", notifications={})
    for _ in range(5):
        assert [message["id"] for message in talk.sent()] == [1, "listen"]
        assert talk.told() == []
        talk.reopen()
    (failed,) = talk.told()

    assert failed["error"]["code"] == CONNECTION_LOST
    assert "again and again" in failed["error"]["message"]
    assert [message["id"] for message in talk.sent()] == ["listen"]


def test_request_is_not_blamed_while_others_are_answered(talk):
    talk.ask(1, "resources/read", uri="x://slow")
    talk.sent()
    for number in range(2, 11):
        talk.ask(number, "ping")
        talk.sent()
        talk.answer(number)
        talk.told()
        talk.reopen()
        assert [message["id"] for message in talk.sent()] == [1]
    talk.ask(11, "ping")
    talk.sent()
    talk.answer(11)
    talk.drop()

    assert [message["id"] for message in talk.told()] == [11, 1]


def test_too_large_a_message_is_not_tried_again(talk):
    talk.ask(1, "resources/read", uri="x://film")
    talk.ask(2, "tools/call", name="refund")
    talk.ask("listen", "subscriptions/listen", notifications={})
    talk.sent()
    talk.ask(3, "ping")
    talk.drop(is_too_large=True)
    talk.conversation.opened()

    assert {message["id"]: message["error"]["code"] for message in talk.told()} == {
        1: MESSAGE_TOO_LARGE,
        2: OUTCOME_UNKNOWN,
    }
    assert [message["id"] for message in talk.sent()] == ["listen", 3]


def test_giving_up_answers_everything(talk):
    talk.ask(1, "ping")
    talk.sent()
    talk.ask(2, "tools/call", name="refund")
    talk.conversation.give_up("HTTP 401")

    assert [
        (message["id"], message["error"]["code"], message["error"]["message"])
        for message in talk.told()
    ] == [(1, CONNECTION_LOST, "HTTP 401"), (2, CONNECTION_LOST, "HTTP 401")]
    assert talk.sent() == []
    assert talk.conversation.outgoing == 0


# After a drop: notifications of the client


def test_notifications_outlive_a_drop_unless_they_belong_to_it(talk):
    for method in ("cancelled", "progress", "initialized", "roots/list_changed"):
        talk.say({"jsonrpc": "2.0", "method": f"notifications/{method}"})
    talk.reopen()

    assert methods(talk.sent()) == ["notifications/roots/list_changed"]


# After a drop: the handshake


def test_handshake_is_said_again_unseen(legacy):
    legacy.ask(1, "tools/list")
    legacy.sent()
    legacy.reopen()
    (initialize,) = legacy.sent()
    assert initialize["method"] == "initialize"
    assert initialize["params"] == {"protocolVersion": "2025-11-25", "capabilities": {}}
    assert legacy.told() == []
    assert not legacy.conversation.is_ready
    legacy.agree(initialize["id"])

    assert methods(legacy.sent()) == ["notifications/initialized", "tools/list"]
    assert legacy.conversation.is_ready
    assert legacy.told() == []


def test_handshake_asks_for_what_was_agreed_on():
    talk = Talk()
    talk.conversation.opened()
    talk.ask(0, "initialize", protocolVersion="2025-11-25")
    talk.sent()
    talk.agree(0, "2024-11-05")
    talk.reopen()
    (initialize,) = talk.sent()

    assert initialize["params"]["protocolVersion"] == "2024-11-05"


def test_handshake_that_was_not_answered_is_not_the_agreed_one(talk):
    talk.ask(0, "initialize", protocolVersion="2025-11-25")
    talk.sent()
    talk.reopen()
    (initialize,) = talk.sent()
    assert initialize["id"] == 0
    talk.hear({"jsonrpc": "2.0", "id": 0, "error": {"code": 1, "message": "no"}})
    talk.told()
    talk.reopen()

    assert talk.conversation.is_ready
    assert talk.sent() == []


def test_confirmation_is_said_once_whenever_the_client_says_it():
    talk = Talk()
    talk.conversation.opened()
    talk.ask(0, "initialize", protocolVersion="2025-11-25")
    talk.sent()
    talk.agree(0)
    talk.reopen()
    talk.say({"jsonrpc": "2.0", "method": "notifications/initialized"})

    assert methods(talk.shake_hands_again()) == ["notifications/initialized"]


def test_confirmation_is_left_to_the_client():
    talk = Talk()
    talk.conversation.opened()
    talk.ask(0, "initialize", protocolVersion="2025-11-25")
    talk.sent()
    talk.agree(0)
    talk.reopen()
    assert talk.shake_hands_again() == []
    talk.say({"jsonrpc": "2.0", "method": "notifications/initialized"})

    assert methods(talk.sent()) == ["notifications/initialized"]


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ({"error": {"code": 1, "message": "no"}}, "refused to shake hands"),
        ({"result": {"protocolVersion": "2024-11-05", "capabilities": {}}}, "spoke"),
        ({"result": {"protocolVersion": 1}}, "refused to shake hands"),
    ],
)
def test_another_agreement_is_none(legacy, answer, failure):
    legacy.reopen()
    (initialize,) = legacy.sent()
    legacy.hear({"jsonrpc": "2.0", "id": initialize["id"], **answer})

    assert failure in legacy.conversation.failure
    assert not legacy.conversation.is_ready


def test_drop_before_hands_are_shaken_begins_again(legacy):
    legacy.ask(1, "ping")
    legacy.reopen()
    (first,) = legacy.sent()
    legacy.reopen()
    (second,) = legacy.sent()
    assert first["id"] != second["id"]
    legacy.agree(first["id"])  # of a connection that is gone
    assert legacy.sent() == []
    legacy.agree(second["id"])

    assert methods(legacy.sent()) == ["notifications/initialized", "ping"]


def test_log_level_and_subscriptions_are_restored(legacy):
    legacy.ask(1, "logging/setLevel", level="debug")
    legacy.ask(2, "resources/subscribe", uri="x://a")
    legacy.ask(3, "resources/subscribe", uri="x://b")
    legacy.ask(4, "resources/subscribe", uri="x://refused")
    legacy.sent()
    for id in (1, 2, 3):
        legacy.answer(id)
    legacy.hear({"jsonrpc": "2.0", "id": 4, "error": {"code": 1, "message": "no"}})
    legacy.ask(5, "resources/unsubscribe", uri="x://b")
    legacy.sent()
    legacy.answer(5)
    legacy.told()
    legacy.reopen()
    confirmed, level, subscribed = legacy.shake_hands_again()
    assert legacy.told() == []
    legacy.answer(level["id"])
    legacy.answer(subscribed["id"])

    assert confirmed["method"] == "notifications/initialized"
    assert (level["method"], level["params"]) == (
        "logging/setLevel",
        {"level": "debug"},
    )
    assert (subscribed["method"], subscribed["params"]) == (
        "resources/subscribe",
        {"uri": "x://a"},
    )
    # Told when it is watched again: nothing is missed in between.
    assert legacy.told() == [
        {"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "x://a"}}
    ]


def test_subscription_that_is_refused_is_told_of_and_forgotten(legacy):
    legacy.ask(1, "resources/subscribe", uri="x://a")
    legacy.sent()
    legacy.answer(1)
    legacy.told()
    legacy.reopen()
    _, subscribed = legacy.shake_hands_again()
    refused = {"error": {"code": -32002, "message": "Resource not found"}}
    legacy.hear({"jsonrpc": "2.0", "id": subscribed["id"], **refused})
    assert [message["params"]["uri"] for message in legacy.told()] == ["x://a"]
    legacy.reopen()

    assert methods(legacy.shake_hands_again()) == ["notifications/initialized"]


def test_lists_are_told_to_have_changed(legacy):
    legacy.reopen()
    legacy.shake_hands_again(
        tools={"listChanged": True}, prompts={}, resources={"listChanged": True}
    )

    assert methods(legacy.told()) == [
        "notifications/tools/list_changed",
        "notifications/resources/list_changed",
    ]


@pytest.mark.parametrize("tells_lists", [True, False])
def test_lists_of_a_client_that_keeps_them_are_told(tells_lists):
    talk = Talk(tells_lists=tells_lists)
    talk.conversation.opened()
    assert talk.told() == []
    talk.ask(1, "tools/list")
    talk.ask(2, "resources/templates/list")
    talk.sent()
    talk.answer(1, tools="nonsense")
    talk.answer(2)
    talk.told()
    talk.reopen()

    assert sorted(methods(talk.told())) == (
        ["notifications/resources/list_changed", "notifications/tools/list_changed"]
        if tells_lists
        else []
    )


# After a drop: listens


def test_listen_is_opened_again_and_told_of_changes(talk):
    filter = {
        "toolsListChanged": True,
        "promptsListChanged": False,
        "resourceSubscriptions": ["x://a", "x://b"],
    }
    listen(talk, **filter)
    talk.reopen()
    (again,) = talk.sent()
    assert again["id"] == "listen-1"
    assert talk.told() == []
    acknowledge(talk, "listen-1", **filter)
    stamp = {"_meta": {SUBSCRIPTION: "listen-1"}}

    assert talk.told() == [
        {
            "jsonrpc": "2.0",
            "method": "notifications/tools/list_changed",
            "params": stamp,
        },
        {"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "x://a", **stamp}},
        {"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "x://b", **stamp}},
    ]


def test_listen_that_is_honoured_otherwise_is_told_so(talk):
    listen(talk, resourceSubscriptions=["x://a", "x://gone"])
    talk.reopen()
    talk.sent()
    acknowledge(talk, "listen-1", resourceSubscriptions=["x://a"])
    acknowledged, updated = talk.told()

    assert acknowledged["method"] == ACKNOWLEDGED
    assert updated["params"]["uri"] == "x://a"


def test_listen_is_acknowledged_once_the_client_was_not_told_before(talk):
    talk.ask(5, "subscriptions/listen", notifications={"toolsListChanged": True})
    talk.sent()
    talk.reopen()
    talk.sent()
    acknowledge(talk, 5, toolsListChanged=True)

    assert methods(talk.told()) == [ACKNOWLEDGED]


@pytest.mark.parametrize("filter", [None, [], {"resourceSubscriptions": "x"}])
def test_strange_acknowledgements_do_no_harm(talk, filter):
    listen(talk, toolsListChanged=True)
    talk.reopen()
    talk.sent()
    params = {"_meta": {SUBSCRIPTION: "listen-1"}, "notifications": filter}
    talk.notify(ACKNOWLEDGED, **params)
    talk.notify(ACKNOWLEDGED, _meta=[], notifications={})
    talk.notify(ACKNOWLEDGED, _meta={SUBSCRIPTION: ["odd"]}, notifications={})
    talk.notify(ACKNOWLEDGED, _meta={SUBSCRIPTION: "other"}, notifications={})
    talk.hear({"jsonrpc": "2.0", "method": ACKNOWLEDGED, "params": [1]})

    assert methods(talk.told()) == [ACKNOWLEDGED] * 5


def test_listen_that_ended_is_not_opened_again(talk):
    for id in (1, 2, 3):
        listen(talk, id, toolsListChanged=True)
    talk.answer(1)  # the server ends it
    talk.notify("notifications/cancelled", requestId=2)  # or takes it back
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
    talk.say({**cancelled, "params": {"requestId": 3}})  # the client does
    talk.sent()
    talk.told()
    talk.reopen()

    assert talk.sent() == []


# After a drop: progress


def test_progress_does_not_run_backwards(talk):
    talk.ask(1, "resources/read", _meta={"progressToken": "p"})
    talk.sent()
    for progress in (1, 2):
        talk.notify(PROGRESS, progressToken="p", progress=progress)
    talk.reopen()
    talk.sent()
    for progress in (1, 2, 2.5, 3):
        talk.notify(PROGRESS, progressToken="p", progress=progress)

    assert [one["params"]["progress"] for one in talk.told()] == [1, 2, 2.5, 3]


def test_progress_of_a_first_try_is_the_servers_own_affair(talk):
    talk.ask(1, "resources/read", _meta={"progressToken": 1})
    talk.sent()
    for progress in (2, 1, "odd"):
        talk.notify(PROGRESS, progressToken=1, progress=progress)
    talk.notify(PROGRESS, progressToken=2, progress=1)
    talk.hear({"jsonrpc": "2.0", "method": PROGRESS, "params": []})

    assert len(talk.told()) == 5


# Questions of the server


def test_questions_are_answered_on_their_connection(legacy):
    legacy.hear({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
    (question,) = legacy.told()
    assert question["id"] == 1
    legacy.say({"jsonrpc": "2.0", "id": 1, "result": {"roots": []}})
    legacy.say({"jsonrpc": "2.0", "id": 1, "result": {"roots": []}})

    assert legacy.sent() == [{"jsonrpc": "2.0", "id": 1, "result": {"roots": []}}]


def test_questions_of_a_broken_connection_are_taken_back(legacy):
    legacy.hear({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
    legacy.told()
    legacy.drop()
    (taken_back,) = legacy.told()
    legacy.conversation.opened()
    legacy.shake_hands_again()
    legacy.say({"jsonrpc": "2.0", "id": 1, "result": {}})

    assert taken_back["method"] == "notifications/cancelled"
    assert taken_back["params"] == {"requestId": 1}
    assert legacy.sent() == []


def test_answer_that_was_not_sent_is_dropped_with_its_connection(legacy):
    legacy.hear({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
    legacy.say({"jsonrpc": "2.0", "id": 1, "result": {}})
    legacy.reopen()

    assert methods(legacy.shake_hands_again()) == ["notifications/initialized"]


def test_questions_of_two_connections_are_kept_apart(legacy):
    # The server numbers from 1 again while the client is busy with the first one.
    legacy.hear({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
    legacy.reopen()
    legacy.shake_hands_again()
    legacy.told()
    legacy.hear({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    legacy.hear({"jsonrpc": "2.0", "id": "1", "method": "x", "params": {"a": 1}})
    first, second = legacy.told()
    assert len({1, first["id"], second["id"]}) == 3
    assert "params" not in first
    assert second["params"] == {"a": 1}
    legacy.say({"jsonrpc": "2.0", "id": second["id"], "error": {"code": 1}})
    legacy.say({"jsonrpc": "2.0", "id": first["id"], "result": {}})

    assert legacy.sent() == [
        {"jsonrpc": "2.0", "id": "1", "error": {"code": 1}},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ]


def test_question_that_is_taken_back_is_named_as_the_client_knows_it(legacy):
    legacy.reopen()
    legacy.shake_hands_again()
    legacy.told()
    legacy.hear({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
    legacy.hear({"jsonrpc": "2.0", "id": 2, "method": "roots/list"})
    _, question = legacy.told()
    legacy.notify("notifications/cancelled", requestId=2)
    (taken_back,) = legacy.told()
    legacy.say({"jsonrpc": "2.0", "id": question["id"], "result": {}})

    assert taken_back["params"] == {"requestId": question["id"]}
    assert legacy.sent() == []


# The clock


def test_request_that_is_not_answered_in_time_fails(talk):
    talk.say({"jsonrpc": "2.0", "id": 0, "method": "initialize"}, 5)
    talk.say({"jsonrpc": "2.0", "id": 1, "method": "ping"}, 6)
    talk.say({"jsonrpc": "2.0", "id": 2, "method": "subscriptions/listen"}, 6)
    talk.sent()
    talk.say({"jsonrpc": "2.0", "id": 3, "method": "ping"}, 7)
    talk.say({"jsonrpc": "2.0", "id": 4, "method": "ping"}, 9)
    assert talk.conversation.next_deadline == 5
    talk.conversation.expire(4)
    assert talk.told() == []
    talk.conversation.expire(7)

    assert [(one["id"], one["error"]["code"]) for one in talk.told()] == [
        (0, REQUEST_TIMED_OUT),
        (1, REQUEST_TIMED_OUT),
        (3, REQUEST_TIMED_OUT),
    ]
    # It must not cancel a handshake, nor what the server never heard of.
    ping, cancelled = talk.sent()
    assert ping["id"] == 4
    assert cancelled["params"] == {"requestId": 1, "reason": "timed out"}
    assert talk.conversation.next_deadline == 9
    talk.answer(4)
    assert talk.conversation.next_deadline is None
