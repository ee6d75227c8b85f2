"""What must be agreed on again, and what is remembered of it."""

import json
from typing import Any

import pytest
from msgspec import UNSET, Raw

from mcp_channels.client.agreement import Agreement, look


def raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


def learn(agreement: Agreement, method: str, params: Any, result: Any) -> None:
    name = params.get("uri") if isinstance(params, dict) else None
    agreement.learn(method, raw(params), name, raw(result))


def agreed(revision: str = "2025-11-25", **capabilities: Any) -> dict[str, Any]:
    return {"protocolVersion": revision, "capabilities": capabilities}


def test_handshake_is_remembered_as_it_was_agreed_on():
    agreement = Agreement()
    params = {"protocolVersion": "2025-11-25", "clientInfo": {"name": "x"}}
    learn(agreement, "initialize", params, agreed("2025-06-18"))

    assert agreement.handshake == {**params, "protocolVersion": "2025-06-18"}


@pytest.mark.parametrize("result", [{}, [], {"protocolVersion": 1, "capabilities": {}}])
def test_strange_handshake_is_not_remembered(result):
    agreement = Agreement()
    learn(agreement, "initialize", {}, result)

    assert agreement.handshake is None


def test_handshake_without_params_is_remembered():
    agreement = Agreement()
    agreement.learn("initialize", None, None, raw(agreed()))

    assert agreement.handshake == {"protocolVersion": "2025-11-25"}


def test_confirmation_gives_the_lists_of_which_changes_are_told():
    agreement = Agreement()
    learn(agreement, "initialize", {}, agreed())
    capabilities = {
        "tools": {"listChanged": True},
        "prompts": {"listChanged": False},
        "resources": [],
    }

    assert agreement.confirm(raw(agreed(**capabilities))) == ["tools"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (UNSET, "refused to shake hands again"),
        (raw({}), "refused to shake hands again"),
        (raw(agreed("2024-11-05")), "spoke 2025-11-25 and now speaks 2024-11-05"),
    ],
)
def test_another_answer_confirms_nothing(result, message):
    agreement = Agreement()
    learn(agreement, "initialize", {}, agreed())

    with pytest.raises(ValueError, match=message):
        agreement.confirm(result)


def test_nothing_confirms_a_handshake_that_never_was():
    with pytest.raises(ValueError, match="spoke None"):
        Agreement().confirm(raw(agreed()))


def test_subscriptions_come_and_go():
    agreement = Agreement()
    learn(agreement, "resources/subscribe", {"uri": "x://a"}, {})
    learn(agreement, "resources/subscribe", {"uri": "x://b"}, {})
    learn(agreement, "resources/unsubscribe", {"uri": "x://a"}, {})
    learn(agreement, "resources/unsubscribe", {"uri": "x://never"}, {})
    agreement.learn("resources/subscribe", None, None, raw({}))

    assert agreement.subscriptions == {"x://b": raw({"uri": "x://b"})}


def test_log_level_is_the_last_one():
    agreement = Agreement()
    learn(agreement, "logging/setLevel", {"level": "info"}, {})
    learn(agreement, "logging/setLevel", {"level": "debug"}, {})

    assert agreement.level == raw({"level": "debug"})


def test_lists_are_those_that_were_asked_for():
    agreement = Agreement()
    for method in ("prompts/list", "resources/templates/list", "ping"):
        learn(agreement, method, {}, {})

    assert agreement.lists == {"prompts", "resources"}


@pytest.mark.parametrize(
    "result",
    [{"tools": 1}, {}, [], {"tools": [{"name": 1}]}, {"tools": [{"annotations": 1}]}],
)
def test_strange_tools_are_not_harmless(result):
    agreement = Agreement()
    learn(agreement, "tools/list", {}, result)

    assert not agreement.is_repeatable("tools/call", 1)


def test_tools_are_known_until_they_may_be_others():
    agreement = Agreement()
    tools = [
        {"name": "look", "annotations": {"readOnlyHint": True}},
        {"name": "put", "annotations": {"idempotentHint": True}},
        {"name": "add", "annotations": {}},
        {"name": "silent"},
    ]
    learn(agreement, "tools/list", {}, {"tools": tools})
    names = ["look", "put", "add", "silent", "unknown", None, ["look"]]
    is_known = [agreement.is_repeatable("tools/call", name) for name in names]
    agreement.forget_tools()

    assert is_known == [True, True, False, False, False, False, False]
    assert not agreement.is_repeatable("tools/call", "look")


def test_unknown_methods_may_do_anything():
    agreement = Agreement()

    assert agreement.is_repeatable("resources/read", None)
    assert not agreement.is_repeatable("tasks/cancel", None)
    assert not agreement.is_repeatable("vendor/do", None)


def test_part_of_another_form_is_not_seen():
    def decode(part: Raw) -> str:
        return bytes(part).decode()

    assert look(decode, raw("x")) == '"x"'
    assert look(decode, None) is None
    assert look(decode, UNSET) is None
