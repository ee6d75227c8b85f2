"""What the client is told in the server's place."""

import json
from typing import Any

import pytest

from mcp_channels.client.inbox import Inbox


def told(inbox: Inbox) -> list[Any]:
    return [json.loads(frame) for frame in iter(inbox.take, None)]


def test_frames_come_out_as_they_went_in():
    inbox = Inbox()
    inbox.put("one")
    inbox.put("three")
    assert (len(inbox), inbox.characters) == (2, 8)

    assert [inbox.take(), inbox.take(), inbox.take()] == ["one", "three", None]
    assert (len(inbox), inbox.characters) == (0, 0)


def test_requests_are_refused():
    inbox = Inbox()
    inbox.put_error("a", -1, "no", {"x": 1})
    inbox.put_error(None, -2, "no")

    assert told(inbox) == [
        {
            "jsonrpc": "2.0",
            "id": "a",
            "error": {"code": -1, "message": "no", "data": {"x": 1}},
        },
        {"jsonrpc": "2.0", "id": None, "error": {"code": -2, "message": "no"}},
    ]


def test_questions_are_taken_back():
    inbox = Inbox()
    inbox.put_cancelled(7)

    assert told(inbox) == [
        {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": 7},
        }
    ]


def test_changes_are_told():
    inbox = Inbox()
    inbox.put_lists_changed(["tools"])
    inbox.put_updated({"uri": "x://a"})

    assert told(inbox) == [
        {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"},
        {
            "jsonrpc": "2.0",
            "method": "notifications/resources/updated",
            "params": {"uri": "x://a"},
        },
    ]


def test_listen_is_told_of_all_that_it_watches():
    inbox = Inbox()
    filter = {"promptsListChanged": True, "toolsListChanged": 1}
    inbox.put_changes(3, {**filter, "resourceSubscriptions": ["x://a"]})
    stamp = {"_meta": {"io.modelcontextprotocol/subscriptionId": 3}}

    assert [(one["method"], one["params"]) for one in told(inbox)] == [
        ("notifications/prompts/list_changed", stamp),
        ("notifications/resources/updated", {"uri": "x://a", **stamp}),
    ]


@pytest.mark.parametrize("filter", [None, [], {}, {"resourceSubscriptions": None}])
def test_listen_that_watches_nothing_is_told_nothing(filter):
    inbox = Inbox()
    inbox.put_changes(3, filter)

    assert told(inbox) == []
