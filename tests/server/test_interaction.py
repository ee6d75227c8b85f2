"""Questions to the client: one function, asked in each era's own way."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from django import forms
from django.contrib.auth.models import Group
from django.core import signing

from mcp_channels import (
    ClientRefused,
    Context,
    Declined,
    Elicit,
    ElicitURL,
    ListRoots,
    ModelPreferences,
    Sample,
    SamplingMessage,
    TextContent,
    ToolChoice,
)
from mcp_channels.protocol.types import Tool
from mcp_channels.server.interaction import Question
from mcp_channels.testing import MCPCommunicator, RequestFailed
from tests.sites import LEGACY, MODERN, Site, both_eras, refusal

JSON = dict[str, Any]
FORMS: JSON = {"elicitation": {}}
EVERYTHING: JSON = {
    "elicitation": {"form": {}, "url": {}},
    "sampling": {"tools": {}},
    "roots": {},
}
INVALID_STATE = "Invalid or expired requestState"

both_kinds = pytest.mark.parametrize("kind", ["sync", "async"])


class Confirm(msgspec.Struct):
    sure: bool


class Name(msgspec.Struct):
    name: str


class Person:
    """A user without a database."""

    is_authenticated = True

    def __init__(self, pk: int) -> None:
        self.pk = pk


def accept(**content: Any) -> JSON:
    return {"action": "accept", "content": content}


DECLINE: JSON = {"action": "decline"}
CANCEL: JSON = {"action": "cancel"}


def answering(*answers: Any) -> Callable[[JSON], JSON]:
    """Give these answers, one after the other; an exception is raised."""
    left = list(answers)

    def answer(params: JSON) -> JSON:
        given = left.pop(0)
        if isinstance(given, Exception):
            raise given
        result: JSON = given
        return result

    return answer


def text_of(result: JSON) -> str:
    text: str = result["content"][0]["text"]
    return text


def ask(kind: str, site: Site, *questions: Callable[..., Any]) -> list[Any]:
    """
    Register a tool `ask` that makes the questions and gives them to the context, one
    after the other; return the list of what it got, and of what was raised.
    """
    outcomes: list[Any] = []

    def note(answers: list[Any]) -> str:
        outcomes.append(answers)
        return "asked"

    if kind == "sync":

        @site.tool(name="ask")
        def ask_sync(context: Context) -> str:
            return note([context.ask({"q": make()})["q"] for make in questions])

    else:

        @site.tool(name="ask")
        async def ask_async(context: Context) -> str:
            return note(
                [(await context.aask({"q": make()}))["q"] for make in questions]
            )

    return outcomes


def client_of(site: Site, revision: str, **options: Any) -> MCPCommunicator:
    options.setdefault("capabilities", EVERYTHING)
    return site.client(revision=revision, **options)


async def question_to(client: MCPCommunicator) -> JSON:
    """Wait for a request of the server that nobody answers."""
    message: JSON = await client.receive()
    assert {"id", "method"} <= message.keys()
    return message


async def reply(client: MCPCommunicator, question: JSON, result: Any) -> None:
    await client.send({"jsonrpc": "2.0", "id": question["id"], "result": result})


async def begin(client: MCPCommunicator, name: str = "ask", **arguments: Any) -> JSON:
    """Call a tool of a modern site, and return the result that asks."""
    params = {"name": name, "arguments": arguments}
    result: JSON = await client.request("tools/call", params)
    assert result["resultType"] == "input_required"
    return result


async def go_on(
    client: MCPCommunicator,
    result: JSON,
    responses: JSON,
    name: str = "ask",
    **arguments: Any,
) -> JSON:
    """Call the tool again with answers."""
    again: JSON = await client.request(
        "tools/call",
        {
            "name": name,
            "arguments": arguments,
            "inputResponses": responses,
            "requestState": result["requestState"],
        },
    )
    return again


# One function for both eras


@both_eras
@both_kinds
@pytest.mark.django_db(transaction=True)
async def test_two_questions_in_a_row_and_one_write(revision: str, kind: str) -> None:
    site = Site()
    asked: list[str] = []

    if kind == "sync":

        @site.tool(atomic=True)
        def found(context: Context) -> str:
            name = context.elicit("Which name?", Name).name
            if not context.elicit(f"Found {name}?", Confirm).sure:
                return "left"
            return f"founded {Group.objects.create(name=name).name}"

    else:

        @site.tool
        async def found(context: Context) -> str:
            name = (await context.aelicit("Which name?", Name)).name
            if not (await context.aelicit(f"Found {name}?", Confirm)).sure:
                return "left"
            return f"founded {(await Group.objects.acreate(name=name)).name}"

    def answer(params: JSON) -> JSON:
        asked.append(params["message"])
        return accept(name="Ada", sure=True)

    async with client_of(site, revision) as client:
        client.answers["elicitation/create"] = answer
        result = await client.call_tool("found")

    assert text_of(result) == "founded Ada"
    assert asked == ["Which name?", "Found Ada?"]
    assert await Group.objects.filter(name="Ada").acount() == 1


@both_eras
@both_kinds
async def test_several_questions_are_asked_at_once_by_their_keys(
    revision: str, kind: str
) -> None:
    site = Site()
    questions = {
        "name": Elicit("Who?", Name),
        "page": ElicitURL("Pay there", "https://pay.example/1"),
        "roots": ListRoots(),
        "poem": Sample("A poem, please", max_tokens=20),
    }
    if kind == "sync":

        @site.tool(name="ask")
        def ask_sync(context: Context) -> str:
            return note(context.ask(questions))

    else:

        @site.tool(name="ask")
        async def ask_async(context: Context) -> str:
            return note(await context.aask(questions))

    def note(answers: JSON) -> str:
        assert answers.keys() == questions.keys()
        assert answers["page"] is None
        return (
            f"{answers['name'].name} {answers['roots'][0].uri} {answers['poem'].model}"
        )

    async with client_of(site, revision) as client:
        if revision == MODERN:
            asked = (await begin(client))["inputRequests"]
            assert {key: asked[key]["method"] for key in asked} == {
                "name": "elicitation/create",
                "page": "elicitation/create",
                "roots": "roots/list",
                "poem": "sampling/createMessage",
            }
        client.answers = {
            "elicitation/create": lambda params: (
                accept() if params.get("mode") == "url" else accept(name="Ada")
            ),
            "roots/list": lambda params: {"roots": [{"uri": "file:///a"}]},
            "sampling/createMessage": lambda params: POEM,
        }
        result = await client.call_tool("ask")

    assert text_of(result) == "Ada file:///a m"


POEM: JSON = {
    "role": "assistant",
    "content": {"type": "text", "text": "Roses are red"},
    "model": "m",
    "stopReason": "endTurn",
}


async def test_questions_have_keys_by_their_order_or_their_own() -> None:
    site = Site()

    @site.tool(name="ask")
    async def ask_async(context: Context) -> None:
        await context.aelicit("1", Name)
        await context.aelicit("2", Name, key="second")
        await context.aelicit("3", Name)

    async with client_of(site, MODERN) as client:
        keys: list[str] = []
        result = await begin(client)
        while result["resultType"] == "input_required":
            (key,) = result["inputRequests"]
            keys.append(key)
            result = await go_on(client, result, {key: accept(name="a")})

    assert keys == ["question_1", "second", "question_2"]


@both_eras
@both_kinds
async def test_every_question_has_a_method_of_its_own(revision: str, kind: str) -> None:
    site = Site()
    got: list[Any] = []

    if kind == "sync":

        @site.tool(name="ask")
        def ask_sync(context: Context) -> None:
            context.elicit_url("Pay there", "https://pay.example/1")
            got[:] = [context.sample("Hi", max_tokens=5), context.list_roots(key="r")]

    else:

        @site.tool(name="ask")
        async def ask_async(context: Context) -> None:
            await context.aelicit_url("Pay there", "https://pay.example/1")
            got[:] = [
                await context.asample("Hi", max_tokens=5),
                await context.alist_roots(key="r"),
            ]

    urls: list[JSON] = []

    def open_page(params: JSON) -> JSON:
        urls.append(params)
        return {"action": "accept"}

    async with client_of(site, revision) as client:
        client.answers = {
            "elicitation/create": open_page,
            "roots/list": lambda params: {"roots": [{"uri": "file:///a", "name": "A"}]},
            "sampling/createMessage": lambda params: POEM,
        }
        assert "isError" not in await client.call_tool("ask")

    sampled, roots = got
    assert sampled.content.text == "Roses are red"
    assert [(root.uri, root.name) for root in roots] == [("file:///a", "A")]
    assert urls[0]["mode"] == "url"
    assert urls[0]["url"] == "https://pay.example/1"
    # Gone since MCP 2026-07-28.
    assert ("elicitationId" in urls[0]) is (revision == LEGACY)


@both_eras
async def test_sampling_says_all_that_it_is_told(revision: str) -> None:
    site = Site()
    seen: list[JSON] = []
    options = {
        "system_prompt": "Be kind",
        "temperature": 0.5,
        "stop_sequences": ["."],
        "model_preferences": ModelPreferences(cost_priority=1.0),
        "tools": [Tool(name="add", input_schema={"type": "object"})],
        "tool_choice": ToolChoice("required"),
    }

    @site.tool(name="ask")
    async def ask_async(context: Context) -> None:
        messages = [SamplingMessage("assistant", TextContent("Hello"))]
        await context.asample(messages, max_tokens=5, **options)

    def answer(params: JSON) -> JSON:
        seen.append(params)
        return POEM

    async with client_of(site, revision) as client:
        client.answers["sampling/createMessage"] = answer
        await client.call_tool("ask")

    assert seen == [
        {
            "messages": [
                {"role": "assistant", "content": {"type": "text", "text": "Hello"}}
            ],
            "maxTokens": 5,
            "systemPrompt": "Be kind",
            "temperature": 0.5,
            "stopSequences": ["."],
            "modelPreferences": {"costPriority": 1.0},
            "tools": [{"name": "add", "inputSchema": {"type": "object"}}],
            "toolChoice": {"mode": "required"},
        }
    ]


@both_eras
@both_kinds
async def test_function_that_catches_everything_still_asks(
    revision: str, kind: str
) -> None:
    site = Site()

    if kind == "sync":

        @site.tool(name="ask")
        def ask_sync(context: Context) -> str:
            try:
                return str(context.elicit("Who?", Name).name)
            except Exception:
                return "caught"

    else:

        @site.tool(name="ask")
        async def ask_async(context: Context) -> str:
            try:
                return str((await context.aelicit("Who?", Name)).name)
            except Exception:
                return "caught"

    async with client_of(site, revision) as client:
        client.answers["elicitation/create"] = answering(accept(name="Ada"))

        assert text_of(await client.call_tool("ask")) == "Ada"


# Answers that do not fit

WRONG: dict[str, Any] = {
    "no object": 5,
    "null": None,
    "list": [],
    "text": "yes",
    "nothing": {},
    "another action": {"action": "maybe"},
    "no content": {"action": "accept"},
    "null for content": {"action": "accept", "content": None},
    "list for content": {"action": "accept", "content": [True]},
    "another question's": POEM,
    "text for a boolean": accept(sure="yes"),
    "number for a boolean": accept(sure=1),
    "null for a boolean": accept(sure=None),
    "object for a boolean": accept(sure={}),
    "another name": accept(certain=True),
}


@both_eras
@both_kinds
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_wrong_answer_is_asked_again(
    revision: str, kind: str, wrong: Any
) -> None:
    site = Site()
    outcomes = ask(kind, site, lambda: Elicit("Sure?", Confirm))
    messages: list[str] = []
    answers = answering(wrong, wrong, accept(sure=True))

    def answer(params: JSON) -> JSON:
        messages.append(params["message"])
        return answers(params)

    async with client_of(site, revision) as client:
        client.answers["elicitation/create"] = answer
        await client.call_tool("ask")

    assert outcomes == [[Confirm(True)]]
    assert messages[0] == "Sure?"
    assert messages[1].startswith("Sure?\n\n")
    assert messages[1] == messages[2] != "Sure?"


WRONG_SAMPLES: dict[str, Any] = {
    "an answer to a form": accept(name="Ada"),
    "no model": {"role": "assistant", "content": {"type": "text", "text": "a"}},
    "no content": {"role": "assistant", "model": "m"},
    "unknown block": {"role": "assistant", "model": "m", "content": {"type": "x"}},
}
WRONG_ROOTS: dict[str, Any] = {
    "nothing": {},
    "text": {"roots": ["file:///a"]},
    "no list": {"roots": None},
}


@both_eras
@pytest.mark.parametrize(
    ("question", "method", "wrong", "right"),
    [
        *(
            (lambda: Sample("Hi", max_tokens=1), "sampling/createMessage", wrong, POEM)
            for wrong in WRONG_SAMPLES.values()
        ),
        *(
            (ListRoots, "roots/list", wrong, {"roots": []})
            for wrong in WRONG_ROOTS.values()
        ),
        (
            lambda: ElicitURL("There", "https://a.example"),
            "elicitation/create",
            {"action": "opened"},
            {"action": "accept"},
        ),
    ],
)
async def test_wrong_answer_of_any_kind_is_asked_again(
    revision: str,
    question: Callable[[], Question[Any]],
    method: str,
    wrong: JSON,
    right: JSON,
) -> None:
    site = Site()
    outcomes = ask("async", site, question)
    async with client_of(site, revision) as client:
        client.answers[method] = answering(wrong, right)
        await client.call_tool("ask")

    assert len(outcomes) == 1


@both_kinds
async def test_number_beyond_all_numbers_is_asked_again(kind: str) -> None:
    site = Site()
    outcomes = ask(kind, site, lambda: Elicit("Sure?", Confirm))
    async with client_of(site, LEGACY) as client:
        call = await client.send_request("tools/call", {"name": "ask", "arguments": {}})
        question = await question_to(client)
        answer = '{"action": "accept", "content": {"sure": 1e999}}'
        await client.send_text(
            f'{{"jsonrpc": "2.0", "id": {question["id"]}, "result": {answer}}}'
        )
        await reply(client, await question_to(client), accept(sure=True))
        await client.answer_to(call)

    assert outcomes == [[Confirm(True)]]


@both_kinds
async def test_client_that_never_gets_it_right_is_given_up(kind: str) -> None:
    site = Site()
    ask(kind, site, lambda: Elicit("Sure?", Confirm))
    asked: list[JSON] = []

    def answer(params: JSON) -> JSON:
        asked.append(params)
        return accept(sure="perhaps")

    async with client_of(site, LEGACY) as client:
        client.answers["elicitation/create"] = answer
        result = await client.call_tool("ask")

    assert result["isError"] is True
    assert text_of(result) == "The client gave no answer that fits."
    assert len(asked) == 3


class Booking(forms.Form):
    name = forms.CharField()
    nights = forms.IntegerField(min_value=1)
    group = forms.ModelChoiceField(Group.objects.all(), to_field_name="name")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if Group.objects.filter(name=cleaned.get("name")).exists():
            raise forms.ValidationError("That name is taken.")
        return cleaned


@both_eras
@both_kinds
@pytest.mark.django_db(transaction=True)
async def test_django_form_asks_again_with_its_errors(revision: str, kind: str) -> None:
    site = Site()
    await Group.objects.acreate(name="Ada")
    outcomes = ask(kind, site, lambda: Elicit("Book", Booking))
    asked: list[JSON] = []
    answers = answering(
        accept(name="Ada", nights=1, group="Ada"),
        accept(name="Bob", nights=0, group="Ada"),
        accept(name="Bob", nights=2, group="Ada"),
    )

    def answer(params: JSON) -> JSON:
        asked.append(params)
        return answers(params)

    async with client_of(site, revision) as client:
        client.answers["elicitation/create"] = answer
        await client.call_tool("ask")

    ((cleaned,),) = outcomes
    assert (cleaned["name"], cleaned["nights"]) == ("Bob", 2)
    assert [params["message"] for params in asked] == [
        "Book",
        "Book\n\nThat name is taken.",
        "Book\n\nNights: Ensure this value is greater than or equal to 1.",
    ]
    options = asked[0]["requestedSchema"]["properties"]["group"]["oneOf"]
    assert [option["title"] for option in options] == ["Ada"]


# Users and clients that do not want to


@both_eras
@both_kinds
@pytest.mark.parametrize(
    ("answer", "said"),
    [(DECLINE, "The user declined."), (CANCEL, "The user cancelled.")],
)
@pytest.mark.parametrize(
    "question",
    [
        lambda: Elicit("Sure?", Confirm),
        lambda: ElicitURL("There", "https://a.example"),
    ],
)
async def test_user_who_does_not_want_to_is_told_to_the_model(
    revision: str,
    kind: str,
    answer: JSON,
    said: str,
    question: Callable[[], Question[Any]],
) -> None:
    site = Site()
    outcomes = ask(kind, site, question)
    async with client_of(site, revision) as client:
        client.answers["elicitation/create"] = answering(answer)
        result = await client.call_tool("ask")

    assert result["isError"] is True
    assert text_of(result) == said
    assert outcomes == []


@both_eras
@both_kinds
async def test_function_may_go_on_without_an_answer(revision: str, kind: str) -> None:
    """A declined question stays answered while others are asked."""
    site = Site()

    if kind == "sync":

        @site.tool(name="ask")
        def ask_sync(context: Context) -> str:
            try:
                context.elicit("Sure?", Confirm)
            except Declined as exc:
                return f"{exc.action} {context.elicit('Who?', Name).name}"
            return "not reached"

    else:

        @site.tool(name="ask")
        async def ask_async(context: Context) -> str:
            try:
                await context.aelicit("Sure?", Confirm)
            except Declined as exc:
                return f"{exc.action} {(await context.aelicit('Who?', Name)).name}"
            return "not reached"

    async with client_of(site, revision) as client:
        client.answers["elicitation/create"] = answering(DECLINE, accept(name="Ada"))

        assert text_of(await client.call_tool("ask")) == "decline Ada"


@both_kinds
async def test_error_of_the_client_is_an_exception_the_tool_can_catch(
    kind: str,
) -> None:
    site = Site()
    caught: list[ClientRefused] = []

    if kind == "sync":

        @site.tool(name="ask")
        def ask_sync(context: Context) -> str:
            try:
                return str(context.sample("Hi", max_tokens=5).model)
            except ClientRefused as exc:
                caught.append(exc)
                return "alone"

    else:

        @site.tool(name="ask")
        async def ask_async(context: Context) -> str:
            try:
                return str((await context.asample("Hi", max_tokens=5)).model)
            except ClientRefused as exc:
                caught.append(exc)
                return "alone"

    refused = RequestFailed({"code": -1, "message": "a text of the client's own"})
    async with client_of(site, LEGACY) as client:
        client.answers["sampling/createMessage"] = answering(refused)

        assert text_of(await client.call_tool("ask")) == "alone"
    assert "client's own" not in str(caught[0])


@both_kinds
async def test_error_of_the_client_that_nobody_catches_is_told(kind: str) -> None:
    site = Site()
    ask(kind, site, ListRoots)
    refused = RequestFailed({"code": -32601, "message": "Method not found"})
    async with client_of(site, LEGACY) as client:
        client.answers["roots/list"] = answering(refused)
        result = await client.call_tool("ask")

    assert result["isError"] is True
    assert text_of(result) == "The client refused to be asked."


# Clients that cannot

NEEDS: dict[str, tuple[Callable[[], Question[Any]], JSON, str]] = {
    "form": (
        lambda: Elicit("Who?", Name),
        {"elicitation": {"form": {}}},
        "elicitation.form",
    ),
    "url": (
        lambda: ElicitURL("There", "https://a.example"),
        {"elicitation": {"url": {}}},
        "elicitation.url",
    ),
    "sampling": (lambda: Sample("Hi", max_tokens=1), {"sampling": {}}, "sampling"),
    "tools": (
        lambda: Sample("Hi", max_tokens=1, tools=[]),
        {"sampling": {"tools": {}}},
        "sampling.tools",
    ),
    "tool choice": (
        lambda: Sample("Hi", max_tokens=1, tool_choice=ToolChoice()),
        {"sampling": {"tools": {}}},
        "sampling.tools",
    ),
    "roots": (ListRoots, {"roots": {}}, "roots"),
}


@both_kinds
@pytest.mark.parametrize("need", NEEDS)
@pytest.mark.parametrize(
    "capabilities", [{}, {"elicitation": None, "sampling": True, "roots": []}]
)
async def test_client_without_the_capability_is_not_asked(
    kind: str, need: str, capabilities: JSON
) -> None:
    question, required, said = NEEDS[need]
    site = Site()
    ask(kind, site, question)
    async with client_of(site, LEGACY, capabilities=capabilities) as client:
        result = await client.call_tool("ask")
        assert not client.notifications
    async with client_of(site, MODERN, capabilities=capabilities) as client:
        error = await refusal(client.call_tool("ask"))

    assert result["isError"] is True
    assert text_of(result) == f"The client does not declare {said}."
    assert error.code == -32021
    assert error.data == {"requiredCapabilities": required}


@pytest.mark.parametrize(
    ("capabilities", "need"),
    [
        ({"elicitation": {"url": {}}}, "form"),
        ({"elicitation": {}}, "url"),
        ({"elicitation": {"form": {}}}, "url"),
        ({"sampling": {}}, "tools"),
    ],
)
async def test_one_mode_does_not_stand_for_another(
    capabilities: JSON, need: str
) -> None:
    question, required, _ = NEEDS[need]
    site = Site()
    ask("async", site, question)
    async with client_of(site, MODERN, capabilities=capabilities) as client:
        error = await refusal(client.call_tool("ask"))

    assert error.data == {"requiredCapabilities": required}


async def test_nobody_is_asked_half_of_the_questions() -> None:
    site = Site()

    @site.tool(name="ask")
    async def ask_async(context: Context) -> None:
        await context.aask({"a": Elicit("Who?", Name), "b": ListRoots()})

    for revision in (LEGACY, MODERN):
        async with client_of(site, revision, capabilities=FORMS) as client:
            if revision == LEGACY:
                assert (await client.call_tool("ask"))["isError"] is True
                assert not client.notifications
            else:
                assert (await refusal(client.call_tool("ask"))).code == -32021


@pytest.mark.parametrize(
    ("revision", "need", "is_known"),
    [
        ("2024-11-05", "form", False),
        ("2025-03-26", "form", False),
        ("2025-06-18", "form", True),
        ("2025-06-18", "url", False),
        ("2025-11-25", "url", True),
        ("2024-11-05", "sampling", True),
        ("2024-11-05", "roots", True),
        ("2025-06-18", "tools", False),
        ("2025-11-25", "tools", True),
    ],
)
async def test_client_is_asked_only_what_its_revision_knows(
    revision: str, need: str, is_known: bool
) -> None:
    site = Site()
    ask("async", site, NEEDS[need][0])
    async with client_of(site, revision) as client:
        await client.send_request("tools/call", {"name": "ask", "arguments": {}})
        message = await client.receive()

    assert ("method" in message) is is_known


async def test_form_is_asked_in_the_words_of_2025_06_18() -> None:
    class Order(forms.Form):
        color = forms.ChoiceField(choices=[("r", "Red"), ("b", "Blue")], initial="r")
        count = forms.IntegerField(initial=3)
        gift = forms.BooleanField(required=False, initial=True)
        name = forms.CharField(initial="Ada")

    site = Site()
    ask("async", site, lambda: Elicit("Order", Order))
    async with client_of(site, "2025-06-18") as client:
        await client.send_request("tools/call", {"name": "ask", "arguments": {}})
        params = (await question_to(client))["params"]

    assert params == {
        "message": "Order",
        "requestedSchema": {
            "type": "object",
            "properties": {
                "color": {
                    "type": "string",
                    "enum": ["r", "b"],
                    "enumNames": ["Red", "Blue"],
                },
                "count": {"type": "integer"},
                "gift": {"type": "boolean", "default": True},
                "name": {"type": "string"},
            },
            "required": ["color", "count", "name"],
        },
    }


async def test_form_keeps_its_defaults_since_2025_11_25() -> None:
    class Order(msgspec.Struct):
        count: int = 3

    site = Site()
    ask("async", site, lambda: Elicit("Order", Order))
    async with client_of(site, LEGACY) as client:
        await client.send_request("tools/call", {"name": "ask", "arguments": {}})
        live = (await question_to(client))["params"]
    async with client_of(site, MODERN) as client:
        (asked,) = (await begin(client))["inputRequests"].values()

    assert live["requestedSchema"]["properties"]["count"]["default"] == 3
    assert asked["params"] == live


# Where it is allowed


@both_eras
@both_kinds
async def test_prompts_and_resources_may_ask(revision: str, kind: str) -> None:
    site = Site()

    if kind == "sync":

        @site.prompt
        def greet(context: Context) -> str:
            return f"Hello {context.elicit('Who?', Name).name}"

        @site.resource("shop://greeting")
        def greeting(context: Context) -> str:
            return f"Hello {context.elicit('Who?', Name).name}"

    else:

        @site.prompt
        async def greet(context: Context) -> str:
            return f"Hello {(await context.aelicit('Who?', Name)).name}"

        @site.resource("shop://greeting")
        async def greeting(context: Context) -> str:
            return f"Hello {(await context.aelicit('Who?', Name)).name}"

    async with client_of(site, revision) as client:
        client.answers["elicitation/create"] = lambda params: accept(name="Ada")
        prompt = await client.get_prompt("greet")
        contents = await client.read_resource("shop://greeting")
        client.answers["elicitation/create"] = lambda params: DECLINE
        errors = [
            await refusal(client.get_prompt("greet")),
            await refusal(client.read_resource("shop://greeting")),
        ]

    assert prompt["messages"][0]["content"]["text"] == "Hello Ada"
    assert contents["contents"][0]["text"] == "Hello Ada"
    assert {(error.code, error.message) for error in errors} == {
        (-32603, "The user declined.")
    }


@both_eras
async def test_completion_and_lists_must_not_ask(
    revision: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()

    async def cities(value: str, context: Context) -> list[str]:
        return [(await context.aelicit("Which?", Name)).name]

    async def orders(context: Context) -> list[JSON]:
        return [{"number": (await context.aelicit("Which?", Name)).name}]

    @site.prompt(complete={"city": cities})
    def travel(city: str) -> str:
        return city

    @site.resource("shop://orders/{number}", list=orders)
    def order(number: str) -> str:
        return number

    async with client_of(site, revision) as client:
        ref = {"type": "ref/prompt", "name": "travel"}
        errors = [
            await refusal(client.complete(ref, "city", "P")),
            await refusal(client.list_resources()),
        ]

    assert [error.code for error in errors] == [-32603, -32603]
    assert "completion/complete must not ask the client anything" in caplog.text
    assert "resources/list must not ask the client anything" in caplog.text


@both_eras
async def test_asynchronous_function_is_told_to_await(
    revision: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()

    @site.tool(name="ask")
    async def ask_async(context: Context) -> None:
        context.elicit("Who?", Name)

    async with client_of(site, revision) as client:
        result = await client.call_tool("ask")

    assert result["isError"] is True
    assert text_of(result) == "Tool 'ask' failed."
    assert "await context.aelicit()" in caplog.text


# Over the socket


async def test_nobody_is_asked_before_the_handshake_is_over() -> None:
    site = Site()
    outcomes = ask("async", site, lambda: Elicit("Sure?", Confirm))
    client = client_of(site, LEGACY)
    await client.connect()
    await client.send_request(
        "initialize",
        {
            "protocolVersion": LEGACY,
            "capabilities": FORMS,
            "clientInfo": {"name": "c", "version": "1"},
        },
    )
    await client.receive()
    call = await client.send_request("tools/call", {"name": "ask", "arguments": {}})
    assert await client.receive_nothing()
    await client.notify("notifications/initialized")
    await reply(client, await question_to(client), accept(sure=True))
    await client.answer_to(call)
    await client.disconnect()

    assert outcomes == [[Confirm(True)]]


@both_kinds
@pytest.mark.parametrize("leaving", ["cancel", "disconnect"])
async def test_call_that_waits_for_the_handshake_can_be_left(
    kind: str, leaving: str, settings: Any
) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "SYNC_THREADS": 1}
    site = Site()
    outcomes = ask(kind, site, lambda: Elicit("Sure?", Confirm))

    @site.tool
    def other() -> str:
        return "served"

    client = client_of(site, LEGACY)
    await client.connect()
    hello = {
        "protocolVersion": LEGACY,
        "capabilities": FORMS,
        "clientInfo": {"name": "c", "version": "1"},
    }
    await client.request("initialize", hello)
    call = await client.send_request("tools/call", {"name": "ask", "arguments": {}})
    assert text_of(await client.call_tool("other")) == "served"
    if leaving == "cancel":
        await client.notify("notifications/cancelled", {"requestId": call})
        await client.notify("notifications/initialized")
        assert await client.receive_nothing()
    await client.disconnect()
    async with client_of(site, MODERN) as another:
        assert text_of(await another.call_tool("other")) == "served"

    assert outcomes == []


@both_kinds
async def test_other_calls_go_on_while_one_waits(kind: str, settings: Any) -> None:
    """Even when there is but one thread for all synchronous functions."""
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "SYNC_THREADS": 1}
    site = Site()
    outcomes = ask(kind, site, lambda: Elicit("Sure?", Confirm))

    @site.tool
    def other() -> str:
        return "served"

    async with client_of(site, LEGACY) as client:
        call = await client.send_request("tools/call", {"name": "ask", "arguments": {}})
        question = await question_to(client)
        for _ in range(3):
            assert text_of(await client.call_tool("other")) == "served"
        await reply(client, question, accept(sure=True))
        await client.answer_to(call)

    assert outcomes == [[Confirm(True)]]


@both_kinds
async def test_client_that_never_answers_is_given_up(kind: str, settings: Any) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "INTERACTION_TIMEOUT": 0.05}
    site = Site()
    outcomes = ask(kind, site, lambda: Elicit("Sure?", Confirm))
    async with client_of(site, LEGACY) as client:
        call = await client.send_request("tools/call", {"name": "ask", "arguments": {}})
        question = await question_to(client)
        result = await client.answer_to(call)
        await reply(client, question, accept(sure=True))
        assert await client.receive_nothing()
        cancelled = client.notifications[0]

    assert result["isError"] is True
    assert text_of(result) == "The client gave no answer in time."
    assert cancelled["method"] == "notifications/cancelled"
    assert cancelled["params"]["requestId"] == question["id"]
    assert outcomes == []


@both_kinds
async def test_second_answer_is_ignored(kind: str) -> None:
    site = Site()
    outcomes = ask(
        kind, site, lambda: Elicit("Sure?", Confirm), lambda: Elicit("Sure?", Confirm)
    )
    async with client_of(site, LEGACY) as client:
        call = await client.send_request("tools/call", {"name": "ask", "arguments": {}})
        question = await question_to(client)
        await reply(client, question, accept(sure=True))
        await reply(client, question, accept(sure=False))
        if kind == "async":
            await reply(client, await question_to(client), accept(sure=True))
        await reply(client, question, {"action": "cancel"})
        await client.answer_to(call)
        assert await client.receive_nothing()

    # A function that runs again finds the answer of its key.
    assert outcomes == [[Confirm(True), Confirm(True)]]


async def test_answer_to_no_question_is_ignored() -> None:
    site = Site()
    async with client_of(site, LEGACY) as client:
        for id in (1, 0, -1, "1", 10**9):
            await client.send({"jsonrpc": "2.0", "id": id, "result": accept(sure=True)})

        assert await client.request("ping") == {}


@contextmanager
def running(kind: str, site: Site) -> Iterator[SimpleNamespace]:
    """Register a tool `ask` that asks once, and see how it fares."""
    seen = SimpleNamespace(runs=0, left=threading.Event(), swallowed=False)

    if kind == "sync":

        @site.tool(name="ask")
        def ask_sync(context: Context) -> str:
            seen.runs += 1
            try:
                return str(context.elicit("Who?", Name).name)
            except Exception:
                seen.swallowed = True
                raise
            finally:
                seen.left.set()

    else:

        @site.tool(name="ask")
        async def ask_async(context: Context) -> str:
            seen.runs += 1
            try:
                return str((await context.aelicit("Who?", Name)).name)
            except Exception:
                seen.swallowed = True
                raise
            finally:
                seen.left.set()

    yield seen


@both_kinds
async def test_cancelled_call_takes_its_question_back(kind: str) -> None:
    site = Site()
    with running(kind, site) as seen:
        async with client_of(site, LEGACY) as client:
            params = {"name": "ask", "arguments": {}}
            call = await client.send_request("tools/call", params)
            question = await question_to(client)
            await client.notify("notifications/cancelled", {"requestId": call})
            cancelled = await client.receive()
            await reply(client, question, accept(name="late"))
            assert await client.receive_nothing()

    assert cancelled["method"] == "notifications/cancelled"
    assert cancelled["params"]["requestId"] == question["id"]
    assert seen.left.is_set()
    assert seen.runs == 1
    assert not seen.swallowed


@both_kinds
async def test_client_that_leaves_ends_the_call(kind: str) -> None:
    site = Site()
    with running(kind, site) as seen:
        client = client_of(site, LEGACY)
        await client.connect()
        await client.initialize()
        await client.send_request("tools/call", {"name": "ask", "arguments": {}})
        await question_to(client)
        await client.disconnect()

    assert seen.left.is_set()
    assert seen.runs == 1
    assert not seen.swallowed


@both_kinds
async def test_time_of_the_call_stands_still_while_the_user_thinks(
    kind: str, settings: Any
) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "CALL_TIMEOUT": 0.3}
    site = Site()
    outcomes = ask(kind, site, lambda: Elicit("Sure?", Confirm))
    async with client_of(site, LEGACY) as client:
        call = await client.send_request("tools/call", {"name": "ask", "arguments": {}})
        question = await question_to(client)
        assert await client.receive_nothing(0.5)
        await reply(client, question, accept(sure=True))
        await client.answer_to(call)

    assert outcomes == [[Confirm(True)]]


async def test_time_of_the_call_goes_on_after_the_answer(settings: Any) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "CALL_TIMEOUT": 0.2}
    site = Site()

    @site.tool(name="ask")
    async def ask_async(context: Context) -> None:
        await context.aelicit("Sure?", Confirm)
        await asyncio.Event().wait()

    async with client_of(site, LEGACY) as client:
        client.answers["elicitation/create"] = answering(accept(sure=True))
        result = await client.call_tool("ask")

    assert text_of(result) == "Tool 'ask' did not finish in time."


async def test_nothing_is_asked_for_a_request_that_is_over() -> None:
    """A task that outlives its call cannot ask the user for it."""
    site = Site()
    go, asked = asyncio.Event(), asyncio.Event()
    caught: list[BaseException] = []
    tasks: list[asyncio.Task[None]] = []

    @site.tool(name="ask")
    async def ask_async(context: Context) -> str:
        async def later() -> None:
            await go.wait()
            try:
                await context.aelicit("Sure?", Confirm)
            except ClientRefused as exc:
                caught.append(exc)
            asked.set()

        tasks.append(asyncio.create_task(later()))
        return "begun"

    async with client_of(site, LEGACY) as client:
        assert text_of(await client.call_tool("ask")) == "begun"
        go.set()
        await asked.wait()
        assert await client.receive_nothing()

    assert str(caught[0]) == "The request is over."


# The state of the modern era


@pytest.fixture
def shop() -> Site:
    """A site with a tool, a prompt and a resource that ask two questions."""
    site = Site()

    async def talk(context: Context) -> str:
        name = (await context.aelicit("Who?", Name)).name
        sure = (await context.aelicit("Sure?", Confirm)).sure
        return f"{name} {sure}"

    @site.tool(name="ask")
    async def ask_async(context: Context, number: float = 0, note: str = "") -> str:
        return await talk(context)

    @site.tool
    async def other(context: Context) -> str:
        return await talk(context)

    @site.tool
    async def plain() -> str:
        return "plain"

    @site.prompt(name="ask")
    async def prompt(context: Context) -> str:
        return await talk(context)

    @site.resource("shop://ask")
    async def resource(context: Context) -> str:
        return await talk(context)

    return site


NAME = {"question_1": accept(name="Ada")}
SURE = {"question_2": accept(sure=True)}


async def second_round(client: MCPCommunicator, **arguments: Any) -> JSON:
    """Return the result that asks the second question; its state holds an answer."""
    return await go_on(client, await begin(client, **arguments), NAME, **arguments)


async def test_state_holds_who_what_and_the_accepted_answers(shop: Site) -> None:
    async with client_of(shop, MODERN, user=Person(7)) as client:
        first = await begin(client)
        wrong = {"question_1": accept(name=5), "unknown": accept(name="x"), "": 1}
        again = await go_on(client, first, wrong)
        second = await go_on(client, again, NAME)

    def read(result: JSON) -> Any:
        return signing.loads(result["requestState"], salt="mcp_channels.request_state")

    principal, method, target, digest, accepted = read(second)
    assert (principal, method, target) == ("user:7", "tools/call", "ask")
    assert len(digest) == 64
    assert accepted == NAME
    assert read(first)[-1] == read(again)[-1] == {}


async def test_answers_may_come_without_a_state(shop: Site) -> None:
    async with client_of(shop, MODERN) as client:
        result = await client.request(
            "tools/call",
            {"name": "ask", "arguments": {}, "inputResponses": {**NAME, **SURE}},
        )

    assert text_of(result) == "Ada True"


@pytest.mark.parametrize("nothing", [None, {}])
async def test_null_is_no_answer_and_no_state(shop: Site, nothing: Any) -> None:
    params = {"name": "ask", "arguments": {}, "inputResponses": nothing}
    async with client_of(shop, MODERN) as client:
        result = await client.request("tools/call", {**params, "requestState": None})

    assert result["inputRequests"].keys() == {"question_1"}


async def test_missing_answer_is_asked_again_and_unknown_ones_are_ignored(
    shop: Site,
) -> None:
    async with client_of(shop, MODERN) as client:
        second = await second_round(client)
        again = await go_on(client, second, {"question_9": accept(sure=True)})
        assert again["inputRequests"].keys() == {"question_2"}
        result = await go_on(client, again, SURE | {"question_9": POEM})

    assert text_of(result) == "Ada True"


async def test_state_is_good_for_the_same_arguments_in_other_words(shop: Site) -> None:
    async with client_of(shop, MODERN) as client:
        second = await second_round(client, number=1, note="é")
        call = (
            '{"jsonrpc": "2.0", "id": "again", "method": "tools/call", "params": {'
            '"name": "ask", "arguments": {"note" : "\\u00e9", "number": 1},'
            '"inputResponses": {"question_2": {"action": "accept", "content":'
            f'{{"sure": true}}}}}}, "requestState": "{second["requestState"]}",'
            '"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",'
            '"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}}}'
        )
        await client.send_text(call)
        message = await client.receive()

    assert text_of(message["result"]) == "Ada True"


async def test_state_is_good_on_any_connection_of_the_same_user(shop: Site) -> None:
    async with client_of(shop, MODERN, user=Person(7)) as client:
        second = await second_round(client)
    async with client_of(shop, MODERN, user=Person(7)) as client:
        assert text_of(await go_on(client, second, SURE)) == "Ada True"


async def test_replayed_state_starts_the_same_call_again(shop: Site) -> None:
    """It is worth no more than the client's own answers in it."""
    async with client_of(shop, MODERN) as client:
        second = await second_round(client)
        results = [await go_on(client, second, SURE) for _ in range(2)]
        declined = await go_on(client, second, {"question_2": DECLINE})

    assert [text_of(result) for result in results] == ["Ada True", "Ada True"]
    assert declined["isError"] is True


async def test_state_survives_a_change_of_the_secret_key(
    shop: Site, settings: Any
) -> None:
    async with client_of(shop, MODERN) as client:
        second = await second_round(client)
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "another"
        assert text_of(await go_on(client, second, SURE)) == "Ada True"

        settings.SECRET_KEY_FALLBACKS = []
        error = await refusal(go_on(client, second, SURE))

    assert (error.code, error.message) == (-32602, INVALID_STATE)


def later(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so many seconds pass for signatures."""
    now = signing.time.time
    monkeypatch.setattr(signing, "time", SimpleNamespace(time=lambda: now() + seconds))


async def test_state_is_good_for_ten_minutes(
    shop: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(shop, MODERN) as client:
        second = await second_round(client)
        later(590, monkeypatch)
        assert text_of(await go_on(client, second, SURE)) == "Ada True"
        later(20, monkeypatch)
        error = await refusal(go_on(client, second, SURE))

    assert (error.code, error.message, error.data) == (-32602, INVALID_STATE, None)


Attempt = Callable[[Site, MCPCommunicator, str], Awaitable[Any]]


def use(
    method: str = "tools/call", arguments: JSON | None = None, **params: Any
) -> Attempt:
    """Use a state elsewhere than where it was given."""

    async def attempt(site: Site, client: MCPCommunicator, state: str) -> Any:
        where: JSON = {"name": "ask", **params}
        if arguments is not None:
            where["arguments"] = arguments
        return await client.request(
            method, {**where, "inputResponses": SURE, "requestState": state}
        )

    return attempt


def alter(change: Callable[[str], str]) -> Attempt:
    async def attempt(site: Site, client: MCPCommunicator, state: str) -> Any:
        return await use()(site, client, change(state))

    return attempt


async def be_another(site: Site, client: MCPCommunicator, state: str) -> Any:
    async with client_of(site, MODERN, user=Person(8)) as another:
        return await use()(site, another, state)


async def be_nobody(site: Site, client: MCPCommunicator, state: str) -> Any:
    async with client_of(site, MODERN) as another:
        return await use()(site, another, state)


async def pass_a_number_beyond_all(
    site: Site, client: MCPCommunicator, state: str
) -> Any:
    meta = '"io.modelcontextprotocol/protocolVersion": "2026-07-28"'
    await client.send_text(
        '{"jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": {'
        f'"name": "ask", "arguments": {{"number": 1e999}}, "requestState": "{state}",'
        f'"_meta": {{{meta}, "io.modelcontextprotocol/clientCapabilities": {{}}}}}}}}'
    )
    raise RequestFailed((await client.receive())["error"])


MISUSE: dict[str, Attempt] = {
    "first letter": alter(lambda state: chr(ord(state[0]) ^ 1) + state[1:]),
    "last letter": alter(lambda state: state[:-1] + chr(ord(state[-1]) ^ 1)),
    "cut": alter(lambda state: state[:-5]),
    "longer": alter(lambda state: state + "A"),
    "empty": alter(lambda state: ""),
    "garbage": alter(lambda state: "garbage"),
    "colons": alter(lambda state: ":" * 100),
    "not ASCII": alter(lambda state: "é" + state),
    "another salt": alter(lambda state: signing.dumps(["x"], salt="another")),
    "unsigned": alter(lambda state: state.rpartition(":")[0]),
    "another key": alter(
        lambda state: signing.dumps([1, 2], key="k", salt="mcp_channels.request_state")
    ),
    "another user": be_another,
    "nobody": be_nobody,
    "another tool": use(name="other"),
    "tool that does not ask": use(name="plain"),
    "tool that does not exist": use(name="missing"),
    "another method": use("prompts/get"),
    "another method and target": use("resources/read", uri="shop://ask"),
    "other arguments": use(arguments={"note": "b"}),
    "more arguments": use(arguments={"note": "", "number": 0}),
    "arguments that are none": use(arguments={"number": "five"}),
    "number beyond all numbers": pass_a_number_beyond_all,
}


@pytest.mark.parametrize("attempt", MISUSE.values(), ids=MISUSE)
async def test_misused_state_is_refused_in_the_same_words(
    shop: Site, attempt: Attempt
) -> None:
    async with client_of(shop, MODERN, user=Person(7)) as client:
        state = (await second_round(client))["requestState"]
        error = await refusal(attempt(shop, client, state))

    assert (error.code, error.message, error.data) == (-32602, INVALID_STATE, None)


@pytest.mark.parametrize(
    ("method", "params"),
    [("prompts/get", {"name": "ask"}), ("resources/read", {"uri": "shop://ask"})],
)
async def test_prompts_and_resources_have_states_of_their_own(
    shop: Site, method: str, params: JSON
) -> None:
    async with client_of(shop, MODERN) as client:
        first = await client.request(method, params)
        again = {**params, "requestState": first["requestState"]}
        second = await client.request(method, {**again, "inputResponses": NAME})
        assert "ttlMs" not in second
        again["requestState"] = second["requestState"]
        result = await client.request(method, {**again, "inputResponses": SURE})
        error = await refusal(
            client.request(
                "tools/call", {"name": "ask", "requestState": again["requestState"]}
            )
        )

    assert result["resultType"] == "complete"
    assert error.message == INVALID_STATE


@pytest.mark.parametrize("state", [5, [], {}, True])
async def test_state_that_is_no_text_is_malformed(shop: Site, state: Any) -> None:
    async with client_of(shop, MODERN) as client:
        params = {"name": "ask", "arguments": {}, "requestState": state}

        assert (await refusal(client.request("tools/call", params))).code == -32602


async def test_client_with_a_handshake_has_no_state(shop: Site) -> None:
    """What it sends for one is as unknown to its revision as any other member."""
    async with client_of(shop, LEGACY) as client:
        call = await client.send_request(
            "tools/call",
            {
                "name": "ask",
                "arguments": {},
                "requestState": "garbage",
                "inputResponses": {**NAME, **SURE},
            },
        )
        client.answers["elicitation/create"] = answering(
            accept(name="Bob"), accept(sure=False)
        )

        assert text_of(await client.answer_to(call)) == "Bob False"


# For those who write questions of their own


def test_question_has_to_say_what_it_asks() -> None:
    question: Question[Any] = Question()

    with pytest.raises(NotImplementedError):
        question.params(None, live=True)
    with pytest.raises(NotImplementedError):
        question.read({})
