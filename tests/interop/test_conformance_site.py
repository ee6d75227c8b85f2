"""The conformance site offers what suites look for, in both eras and when served."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from mcp_channels.protocol.envelope import (
    CLIENT_CAPABILITIES,
    PROTOCOL_VERSION,
    SERVER_INFO,
    SUBSCRIPTION_ID,
)
from mcp_channels.testing import MCPCommunicator, RequestFailed
from tests.conformance.site import ConformanceConsumer

LEGACY, MODERN = "2025-11-25", "2026-07-28"
# What the official suite declares in each of them.
CAPABILITIES: dict[str, dict[str, Any]] = {
    LEGACY: {"sampling": {}, "elicitation": {}},
    MODERN: {"sampling": {}, "elicitation": {}, "roots": {"listChanged": True}},
}
ROOT = Path(__file__).resolve().parents[2]

Connect = Callable[..., Awaitable[MCPCommunicator]]
JSON = dict[str, Any]

both_eras = pytest.mark.parametrize("revision", [LEGACY, MODERN])


@pytest.fixture
def site(mcp_client: Connect) -> Connect:
    """Connect to the site as the suite does."""

    async def connect(revision: str = MODERN, **options: Any) -> MCPCommunicator:
        options.setdefault("capabilities", CAPABILITIES[revision])
        return await mcp_client(
            revision=revision, consumer=ConformanceConsumer, **options
        )

    return connect


def accept(**content: Any) -> JSON:
    return {"action": "accept", "content": content}


def say(text: str) -> JSON:
    block = {"type": "text", "text": text}
    return {
        "role": "assistant",
        "content": block,
        "model": "m",
        "stopReason": "endTurn",
    }


ROOTS = {"roots": [{"uri": "file:///test/root", "name": "Test Root"}]}


def text_of(result: JSON) -> str:
    """Return the text of a result that is complete and no error."""
    assert result.get("resultType", "complete") == "complete"
    assert not result.get("isError", False)
    text: str = result["content"][0]["text"]
    return text


async def call(client: MCPCommunicator, name: str, **more: Any) -> JSON:
    """Call a tool once, and return what comes: answer no question."""
    params = {"name": name, "arguments": {}, **more}
    result: JSON = await client.request("tools/call", params)
    return result


def form_of(question: JSON) -> JSON:
    schema: JSON = question["params"]["requestedSchema"]
    return schema


async def code_of(asking: Awaitable[Any]) -> int:
    with pytest.raises(RequestFailed) as caught:
        await asking
    return caught.value.code


# What is listed


@both_eras
async def test_every_tool_is_listed_and_described(site: Connect, revision: str) -> None:
    client = await site(revision)
    tools = {tool["name"]: tool for tool in await client.list_tools()}

    assert tools.keys() - {"test_dynamic_tool"} == {
        "greet",
        "json_schema_2020_12_tool",
        "slow_compute",
        "test_audio_content",
        "test_elicitation",
        "test_elicitation_sep1034_defaults",
        "test_elicitation_sep1330_enums",
        "test_embedded_resource",
        "test_error_handling",
        "test_image_content",
        "test_input_required_result_capabilities",
        "test_input_required_result_elicitation",
        "test_input_required_result_list_roots",
        "test_input_required_result_multi_round",
        "test_input_required_result_multiple_inputs",
        "test_input_required_result_request_state",
        "test_input_required_result_sampling",
        "test_input_required_result_tampered_state",
        "test_logging_tool",
        "test_missing_capability",
        "test_multiple_content_types",
        "test_reconnection",
        "test_sampling",
        "test_simple_text",
        "test_streaming_elicitation",
        "test_tool_with_logging",
        "test_tool_with_progress",
        "test_trigger_prompt_change",
        "test_trigger_tool_change",
        "test_x_mcp_header",
    }
    assert all(tool["description"] for tool in tools.values())
    assert all(tool["inputSchema"]["type"] == "object" for tool in tools.values())


@both_eras
async def test_first_tool_succeeds_without_arguments(
    site: Connect, revision: str
) -> None:
    client = await site(revision)
    first = (await client.list_tools())[0]["name"]

    assert text_of(await client.call_tool(first))


async def test_order_of_tools_stays(site: Connect) -> None:
    client = await site()
    lists = [await client.list_tools() for _ in range(3)]

    assert lists[0] == lists[1] == lists[2]


@both_eras
async def test_schema_is_listed_as_written(site: Connect, revision: str) -> None:
    client = await site(revision)
    tools = {tool["name"]: tool for tool in await client.list_tools()}
    schema = tools["json_schema_2020_12_tool"]["inputSchema"]

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$defs"]["address"]["$anchor"] == "addressDef"
    assert schema["properties"]["address"] == {"$ref": "#/$defs/address"}
    assert schema["additionalProperties"] is False
    assert schema.keys() >= {"allOf", "if", "then", "else"}
    header = tools["test_x_mcp_header"]["inputSchema"]["properties"]["region"]
    assert header == {"type": "string", "x-mcp-header": "Region"}


@both_eras
async def test_resources_are_listed(site: Connect, revision: str) -> None:
    client = await site(revision)
    resources = await client.list_resources()
    templates = await client.list_resource_templates()

    assert [resource["uri"] for resource in resources] == [
        "test://static-binary",
        "test://static-text",
        "test://watched-resource",
    ]
    assert all(resource["name"] and resource["description"] for resource in resources)
    (template,) = templates
    assert template["uriTemplate"] == "test://template/{id}/data"


@both_eras
async def test_prompts_are_listed_and_described(site: Connect, revision: str) -> None:
    client = await site(revision)
    prompts = {prompt["name"]: prompt for prompt in await client.list_prompts()}

    assert prompts.keys() - {"test_dynamic_prompt"} == {
        "test_input_required_result_prompt",
        "test_prompt_with_arguments",
        "test_prompt_with_embedded_resource",
        "test_prompt_with_image",
        "test_simple_prompt",
    }
    assert all(prompt["description"] for prompt in prompts.values())
    arguments = prompts["test_prompt_with_arguments"]["arguments"]
    assert [(one["name"], one["required"]) for one in arguments] == [
        ("arg1", True),
        ("arg2", True),
    ]


# Tools that ask nothing


@both_eras
@pytest.mark.parametrize("params", [{}, {"arguments": {}}])
@pytest.mark.parametrize("name", ["test_simple_text", "test_reconnection"])
async def test_text(site: Connect, revision: str, name: str, params: JSON) -> None:
    client = await site(revision)

    assert text_of(await client.request("tools/call", {"name": name, **params}))


@both_eras
async def test_media(site: Connect, revision: str) -> None:
    client = await site(revision)
    (image,) = (await client.call_tool("test_image_content"))["content"]
    (audio,) = (await client.call_tool("test_audio_content"))["content"]

    assert (image["type"], image["mimeType"]) == ("image", "image/png")
    assert base64.b64decode(image["data"], validate=True)[1:4] == b"PNG"
    assert (audio["type"], audio["mimeType"]) == ("audio", "audio/wav")
    assert base64.b64decode(audio["data"], validate=True)[:4] == b"RIFF"


@both_eras
async def test_resources_in_results(site: Connect, revision: str) -> None:
    client = await site(revision)
    (block,) = (await client.call_tool("test_embedded_resource"))["content"]
    mixed = (await client.call_tool("test_multiple_content_types"))["content"]

    assert block["type"] == "resource"
    assert block["resource"]["uri"] == "test://embedded-resource"
    assert block["resource"]["mimeType"] == "text/plain"
    assert block["resource"]["text"]
    assert [one["type"] for one in mixed] == ["text", "image", "resource"]


@both_eras
async def test_failure_is_a_result(site: Connect, revision: str) -> None:
    client = await site(revision)
    result = await client.call_tool("test_error_handling")

    assert result["isError"] is True
    assert result["content"][0]["text"]


@both_eras
async def test_progress_is_reported_to_who_asked(site: Connect, revision: str) -> None:
    client = await site(revision)
    id = await client.send_request(
        "tools/call",
        {
            "name": "test_tool_with_progress",
            "arguments": {},
            "_meta": {"progressToken": "progress-test-1"},
        },
    )
    assert text_of(await client.answer_to(id))
    reports = [message["params"] for message in client.notifications]
    client.notifications.clear()
    assert text_of(await client.call_tool("test_tool_with_progress"))

    assert [one["progressToken"] for one in reports] == ["progress-test-1"] * 3
    assert [(one["progress"], one["total"]) for one in reports] == [
        (0, 100),
        (50, 100),
        (100, 100),
    ]
    assert not client.notifications


async def test_logs_come_before_the_answer(site: Connect) -> None:
    client = await site(LEGACY)
    assert await client.request("logging/setLevel", {"level": "debug"}) == {}
    assert text_of(await client.call_tool("test_tool_with_logging"))

    logs = [message["params"] for message in client.notifications]
    assert [log["level"] for log in logs] == ["info"] * 3


async def test_logs_go_only_to_who_asked_for_them(site: Connect) -> None:
    client = await site()
    meta = {"io.modelcontextprotocol/logLevel": "debug"}
    await call(client, "test_logging_tool")
    assert not client.notifications
    await call(client, "test_logging_tool", _meta=meta)

    assert [message["method"] for message in client.notifications] == [
        "notifications/message"
    ]


@both_eras
async def test_arguments(site: Connect, revision: str) -> None:
    client = await site(revision)
    greeting = await client.call_tool("greet", {"name": "Ada"})
    contact = {"contactMethod": "phone", "phone": "1"}
    wrong = {"contactMethod": "phone", "email": "a@b.c"}

    assert text_of(greeting) == "Hello, Ada!"
    assert text_of(await client.call_tool("json_schema_2020_12_tool", contact))
    assert (await client.call_tool("json_schema_2020_12_tool", wrong))["isError"]
    for region in ("Hello", "SGVsbG8=", "=?base64?SGVsbG8=?="):
        result = await client.call_tool("test_x_mcp_header", {"region": region})
        assert region in text_of(result)
    arguments = {"seconds": 0.01, "label": "quick"}
    assert "quick" in text_of(await client.call_tool("slow_compute", arguments))


# Tools that ask, in the legacy era


async def test_sampling(site: Connect) -> None:
    asked: list[JSON] = []

    def answer(params: JSON) -> JSON:
        asked.append(params)
        return say("Four.")

    client = await site(LEGACY, answers={"sampling/createMessage": answer})
    result = await client.call_tool("test_sampling", {"prompt": "2 + 2?"})

    assert text_of(result) == "LLM response: Four."
    (params,) = asked
    assert params["maxTokens"] == 100
    (message,) = params["messages"]
    assert message == {"role": "user", "content": {"type": "text", "text": "2 + 2?"}}


@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
async def test_elicitation(site: Connect, action: str) -> None:
    asked: list[JSON] = []
    content = {"username": "ada", "email": "ada@example.com"}

    def answer(params: JSON) -> JSON:
        asked.append(params)
        return {"action": action, "content": content}

    client = await site(LEGACY, answers={"elicitation/create": answer})
    result = await client.call_tool("test_elicitation", {"message": "Who are you?"})

    assert f"action={action}" in text_of(result)
    assert ("ada@example.com" in text_of(result)) is (action == "accept")
    (params,) = asked
    assert params["message"] == "Who are you?"
    assert params["requestedSchema"] == {
        "type": "object",
        "properties": {"username": {"type": "string"}, "email": {"type": "string"}},
        "required": ["username", "email"],
    }


async def test_elicitation_has_defaults_of_every_type(site: Connect) -> None:
    asked: list[JSON] = []

    def answer(params: JSON) -> JSON:
        asked.append(params)
        return accept(name="Jane", age=25, score=88, status="inactive", verified=False)

    client = await site(LEGACY, answers={"elicitation/create": answer})
    result = await client.call_tool("test_elicitation_sep1034_defaults")

    assert "Jane" in text_of(result)
    (params,) = asked
    assert params["requestedSchema"]["properties"] == {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {
            "type": "string",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "default": True},
    }


async def test_elicitation_has_choices_of_every_kind(site: Connect) -> None:
    asked: list[JSON] = []

    def answer(params: JSON) -> JSON:
        asked.append(params)
        return accept(
            untitledSingle="option1",
            titledSingle="value1",
            legacyEnum="opt1",
            untitledMulti=["option1", "option2"],
            titledMulti=["value1", "value2"],
        )

    client = await site(LEGACY, answers={"elicitation/create": answer})
    result = await client.call_tool("test_elicitation_sep1330_enums")

    assert "value2" in text_of(result)
    (params,) = asked
    choices = params["requestedSchema"]["properties"]
    assert choices["untitledSingle"].keys() == {"type", "enum"}
    assert choices["titledSingle"].keys() == {"type", "oneOf"}
    assert choices["titledSingle"]["oneOf"][0].keys() == {"const", "title"}
    legacy = choices["legacyEnum"]
    assert len(legacy["enum"]) == len(legacy["enumNames"])
    assert choices["untitledMulti"]["items"].keys() == {"type", "enum"}
    assert choices["titledMulti"]["items"].keys() == {"anyOf"}


async def test_refusal_of_the_client_is_a_result(site: Connect) -> None:
    def refuse(params: JSON) -> JSON:
        raise RequestFailed({"code": -1, "message": "No."})

    client = await site(LEGACY, answers={"sampling/createMessage": refuse})
    result = await client.call_tool("test_sampling", {"prompt": "?"})

    assert result["isError"] is True


# The same tools, written once, in both eras


@both_eras
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test_input_required_result_elicitation", "Hello, Alice!"),
        ("test_input_required_result_sampling", "Paris"),
        ("test_input_required_result_list_roots", "file:///test/root"),
        ("test_input_required_result_request_state", "state-ok"),
        ("test_input_required_result_multiple_inputs", "Alice: Paris (file:///"),
        ("test_input_required_result_multi_round", "Alice likes blue."),
        ("test_input_required_result_tampered_state", "The state"),
        ("test_input_required_result_capabilities", "user_name, greeting"),
        ("test_streaming_elicitation", "Confirmed."),
        ("test_missing_capability", "Paris"),
    ],
)
async def test_tool_that_asks(
    site: Connect, revision: str, name: str, said: str
) -> None:
    def fill_in(params: JSON) -> JSON:
        content = {"name": "Alice", "color": "blue", "ok": True}
        properties = params["requestedSchema"]["properties"]
        return accept(**{key: content[key] for key in properties})

    client = await site(
        revision,
        capabilities={**CAPABILITIES[revision], "roots": {}},
        answers={
            "elicitation/create": fill_in,
            "sampling/createMessage": lambda params: say("Paris"),
            "roots/list": lambda params: ROOTS,
        },
    )

    assert said in text_of(await client.call_tool(name))


@both_eras
async def test_prompt_that_asks(site: Connect, revision: str) -> None:
    client = await site(
        revision,
        answers={"elicitation/create": lambda params: accept(context="taxes")},
    )
    result = await client.get_prompt("test_input_required_result_prompt")

    assert "taxes" in result["messages"][0]["content"]["text"]


# What goes over the wire when the modern era asks


@pytest.mark.parametrize(
    ("name", "key", "method"),
    [
        (
            "test_input_required_result_elicitation",
            "user_name",
            "elicitation/create",
        ),
        (
            "test_input_required_result_sampling",
            "capital_question",
            "sampling/createMessage",
        ),
        ("test_input_required_result_list_roots", "client_roots", "roots/list"),
        (
            "test_input_required_result_request_state",
            "confirm",
            "elicitation/create",
        ),
    ],
)
async def test_question_is_a_result(
    site: Connect, name: str, key: str, method: str
) -> None:
    client = await site()
    result = await call(client, name)

    assert result["resultType"] == "input_required"
    assert {key: one["method"] for key, one in result["inputRequests"].items()} == {
        key: method
    }
    assert isinstance(result["requestState"], str)
    assert not {"ttlMs", "cacheScope", "content"} & result.keys()
    assert not client.notifications


async def test_several_questions_at_once(site: Connect) -> None:
    client = await site()
    result = await call(client, "test_input_required_result_multiple_inputs")

    assert sorted(one["method"] for one in result["inputRequests"].values()) == [
        "elicitation/create",
        "roots/list",
        "sampling/createMessage",
    ]
    assert result["requestState"]


async def test_each_round_has_its_state(site: Connect) -> None:
    client = await site()
    name = "test_input_required_result_multi_round"
    first = await call(client, name)
    second = await call(
        client,
        name,
        inputResponses={"step1": accept(name="Alice")},
        requestState=first["requestState"],
    )
    third = await call(
        client,
        name,
        inputResponses={"step2": accept(color="blue")},
        requestState=second["requestState"],
    )

    assert [*first["inputRequests"]] == ["step1"]
    assert [*second["inputRequests"]] == ["step2"]
    assert first["requestState"] != second["requestState"]
    assert text_of(third) == "Alice likes blue."


async def test_rounds_may_come_on_different_connections(site: Connect) -> None:
    name = "test_input_required_result_elicitation"
    question = await call(await site(), name)
    result = await call(
        await site(),
        name,
        inputResponses={"user_name": accept(name="Alice")},
        requestState=question["requestState"],
    )

    assert text_of(result) == "Hello, Alice!"


async def test_tampered_state_is_refused(site: Connect) -> None:
    client = await site()
    name = "test_input_required_result_tampered_state"
    state = (await call(client, name))["requestState"]
    more = {"inputResponses": {"confirm": accept(ok=True)}}

    assert await code_of(call(client, name, **more, requestState=f"{state}-TAMPERED"))
    assert text_of(await call(client, name, **more, requestState=state))


@pytest.mark.parametrize(
    ("responses", "is_complete"),
    [
        ({"wrong_key": accept(data="wrong")}, False),
        ({"user_name": accept(name="Alice"), "more": accept(foo="bar")}, True),
        ({"user_name": 12345}, False),
        ({"user_name": accept(name=5)}, False),
        (None, False),
    ],
)
async def test_odd_answers(site: Connect, responses: Any, is_complete: bool) -> None:
    client = await site()
    name = "test_input_required_result_elicitation"
    result = await call(client, name, inputResponses=responses)

    assert (result["resultType"] == "complete") is is_complete
    if not is_complete:
        assert "user_name" in result["inputRequests"]


async def test_only_what_the_client_can_answer_is_asked(site: Connect) -> None:
    client = await site(capabilities={"sampling": {}})
    result = await call(client, "test_input_required_result_capabilities")

    assert [one["method"] for one in result["inputRequests"].values()] == [
        "sampling/createMessage"
    ]


async def test_prompt_asks_with_a_result(site: Connect) -> None:
    client = await site()
    result = await client.get_prompt("test_input_required_result_prompt")

    assert result["resultType"] == "input_required"
    question = result["inputRequests"]["user_context"]
    assert form_of(question)["required"] == ["context"]


async def test_lists_never_ask(site: Connect) -> None:
    client = await site()

    for method in ("tools/list", "prompts/list"):
        params = {"inputResponses": {}, "requestState": "x"}
        assert (await client.request(method, params))["resultType"] == "complete"


# Diagnostics and news


async def test_missing_capability_is_named(site: Connect) -> None:
    client = await site(capabilities={})
    with pytest.raises(RequestFailed) as caught:
        await call(client, "test_missing_capability")

    assert caught.value.code == -32021
    assert caught.value.data == {"requiredCapabilities": {"sampling": {}}}


async def test_streaming_elicitation_sends_no_request(site: Connect) -> None:
    client = await site(capabilities={"elicitation": {}})
    result = await call(client, "test_streaming_elicitation")

    assert result["resultType"] == "input_required"
    assert not client.notifications


@pytest.mark.parametrize("kind", ["tools", "prompts"])
async def test_trigger_is_heard_by_listens_of_other_connections(
    site: Connect, kind: str
) -> None:
    listener, caller = await site(), await site()
    method = f"notifications/{kind}/list_changed"
    listing = {"tools": listener.list_tools, "prompts": listener.list_prompts}[kind]
    before = await listing()
    id = await listener.send_request(
        "subscriptions/listen", {"notifications": {f"{kind}ListChanged": True}}
    )
    acknowledged = await listener.receive()
    await caller.call_tool(f"test_trigger_{kind.removesuffix('s')}_change")
    news = await listener.notification(method)
    after = await listing()

    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"] == {
        "notifications": {f"{kind}ListChanged": True},
        "_meta": {SUBSCRIPTION_ID: id},
    }
    assert news["_meta"] == {SUBSCRIPTION_ID: id}
    assert before != after


async def test_news_that_nobody_asked_for_are_not_sent(site: Connect) -> None:
    listener, caller = await site(), await site()
    prompts = await listener.listen({"promptsListChanged": True})
    await caller.call_tool("test_trigger_tool_change")
    await caller.call_tool("test_trigger_prompt_change")
    news = await listener.notification("notifications/prompts/list_changed")

    # Both were published at once, in this order: the first would have come first.
    assert news["_meta"] == {SUBSCRIPTION_ID: prompts}
    assert not listener.notifications
    assert await listener.receive_nothing()


# Resources, prompts, completion


@both_eras
async def test_resources_are_read(site: Connect, revision: str) -> None:
    client = await site(revision)
    (text,) = (await client.read_resource("test://static-text"))["contents"]
    (image,) = (await client.read_resource("test://static-binary"))["contents"]
    (watched,) = (await client.read_resource("test://watched-resource"))["contents"]
    (data,) = (await client.read_resource("test://template/123/data"))["contents"]

    assert (text["uri"], text["mimeType"]) == ("test://static-text", "text/plain")
    assert text["text"]
    assert image["mimeType"] == "image/png"
    assert base64.b64decode(image["blob"], validate=True)
    assert watched["text"]
    assert data["uri"] == "test://template/123/data"
    assert json.loads(data["text"])["id"] == "123"


@both_eras
async def test_prompts(site: Connect, revision: str) -> None:
    client = await site(revision)
    simple = (await client.get_prompt("test_simple_prompt"))["messages"]
    arguments = {"arg1": "hello", "arg2": "world"}
    filled = await client.get_prompt("test_prompt_with_arguments", arguments)
    image = (await client.get_prompt("test_prompt_with_image"))["messages"]
    uri = {"resourceUri": "test://example-resource"}
    resource = await client.get_prompt("test_prompt_with_embedded_resource", uri)

    (message,) = simple
    assert (message["role"], message["content"]["type"]) == ("user", "text")
    text = filled["messages"][0]["content"]["text"]
    assert text == "Prompt with arguments: arg1='hello', arg2='world'"
    assert [one["content"]["type"] for one in image] == ["image", "text"]
    embedded, words = [one["content"] for one in resource["messages"]]
    assert embedded["resource"]["uri"] == "test://example-resource"
    assert embedded["resource"]["mimeType"] == "text/plain"
    assert words["type"] == "text"


@both_eras
async def test_completion(site: Connect, revision: str) -> None:
    client = await site(revision)
    ref = {"type": "ref/prompt", "name": "test_prompt_with_arguments"}

    assert (await client.complete(ref, "arg1", "test"))["values"] == ["test1", "test2"]


# Rules for every message


async def test_handshake() -> None:
    client = MCPCommunicator(revision=LEGACY, consumer=ConformanceConsumer)
    await client.connect()
    result = await client.initialize()
    await client.disconnect()

    assert result["protocolVersion"] == LEGACY
    assert result["serverInfo"].keys() >= {"name", "version"}
    assert result["capabilities"] == {
        "tools": {"listChanged": True},
        "prompts": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "completions": {},
        "logging": {},
    }


async def test_discovery(site: Connect) -> None:
    client = await site(capabilities={})
    result = await client.request("server/discover")

    assert MODERN in result["supportedVersions"]
    assert result["capabilities"].keys() >= {"tools", "prompts", "resources"}
    assert result["_meta"][SERVER_INFO].keys() >= {"name", "version"}


ENVELOPE = {PROTOCOL_VERSION: MODERN, CLIENT_CAPABILITIES: {}}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("server/discover", {}, -32602),
        ("server/discover", {"_meta": {}}, -32602),
        ("server/discover", {"_meta": {CLIENT_CAPABILITIES: {}}}, -32602),
        ("server/discover", {"_meta": {PROTOCOL_VERSION: MODERN}}, -32602),
        (
            "server/discover",
            {"_meta": {**ENVELOPE, PROTOCOL_VERSION: "v999.0.0"}},
            -32022,
        ),
        *(
            (method, {"_meta": ENVELOPE}, -32601)
            for method in (
                "initialize",
                "ping",
                "logging/setLevel",
                "resources/subscribe",
                "resources/unsubscribe",
                "unknown/method",
                "tasks/list",
                "tasks/result",
            )
        ),
    ],
)
async def test_stateless_refusals(
    site: Connect, method: str, params: JSON, code: int
) -> None:
    client = await site()
    await client.send({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
    answer = await client.receive()

    assert answer["id"] == 7
    assert answer["error"]["code"] == code
    if code == -32022:
        assert answer["error"]["data"] == {
            "requested": "v999.0.0",
            "supported": [MODERN],
        }


async def test_every_modern_result_says_its_type_and_its_age(site: Connect) -> None:
    client = await site()
    cacheable: list[tuple[str, JSON]] = [
        ("server/discover", {}),
        ("tools/list", {}),
        ("prompts/list", {}),
        ("resources/list", {}),
        ("resources/templates/list", {}),
        ("resources/read", {"uri": (await client.list_resources())[0]["uri"]}),
    ]

    for method, params in cacheable:
        result = await client.request(method, params)
        assert result["resultType"] == "complete"
        assert isinstance(result["ttlMs"], int) and result["ttlMs"] >= 0
        assert result["cacheScope"] in ("public", "private")


# Served


@contextlib.contextmanager
def served(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_site_is_served_until_told_to_stop() -> None:
    with served("0") as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("Ready: ").strip()
        evil = {"origin": "http://evil.example.com", "proxy": None}
        with pytest.raises(InvalidStatus):
            connect(url, **evil)  # type: ignore[arg-type]
        with connect(url, subprotocols=["mcp"], proxy=None) as client:  # type: ignore[list-item]
            request = {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "test_simple_text", "_meta": ENVELOPE},
            }
            client.send(json.dumps(request))
            answer = json.loads(client.recv(timeout=30))
            # One that is connected, and waits for something, holds nothing up.
            request["params"] = {
                "name": "slow_compute",
                "arguments": {"seconds": 600, "label": "x"},
                "_meta": ENVELOPE,
            }
            client.send(json.dumps(request | {"id": 2}))
            process.send_signal(signal.SIGTERM)
            status = process.wait(timeout=30)
        rest = process.stdout.read()

    assert answer["result"]["content"][0]["type"] == "text"
    assert status == 0
    assert rest == ""


def test_taken_port_is_said() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        served(str(taken.getsockname()[1])) as process,
    ):
        output, _ = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "Address already in use" in output
    assert "Cannot serve on port" in output


@pytest.mark.parametrize("arguments", [[], ["x"], ["1", "2"], ["²"], ["65536"]])
def test_wrong_command_line_is_said(arguments: list[str]) -> None:
    with served(*arguments) as process:
        output, _ = process.communicate(timeout=30)

    assert process.returncode == 2
    assert "usage" in output
