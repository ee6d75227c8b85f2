"""Prompts: how functions become prompts, and what they may return."""

import asyncio
import enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist
from django.utils.translation import gettext_lazy

from mcp_channels import (
    AudioContent,
    Context,
    EmbeddedResource,
    GetPromptResult,
    Icon,
    ImageContent,
    PromptMessage,
    ProtocolError,
    ResourceContents,
    ResourceLink,
    TextContent,
)
from tests.sites import LEGACY, MODERN, Clerk, Site, both_eras, refusal


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Unknown: ...


def user(*content: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": block} for block in content]


TEXT = {"type": "text", "text": "hello"}
TOLD = PromptMessage("assistant", TextContent("told"))
LINK = ResourceLink("shop://orders/5", "order")
EMBEDDED = EmbeddedResource(ResourceContents("shop://a", blob=b"\xff", mime_type="x/y"))


@pytest.mark.parametrize(
    ("returned", "messages"),
    [
        ("hello", user(TEXT)),
        (gettext_lazy("hello"), user(TEXT)),
        (TextContent("hello"), user(TEXT)),
        (
            ImageContent(b"\xfb\xff", "image/png"),
            user({"type": "image", "data": "+/8=", "mimeType": "image/png"}),
        ),
        (
            AudioContent(b"\xfb\xff", "audio/wav"),
            user({"type": "audio", "data": "+/8=", "mimeType": "audio/wav"}),
        ),
        (
            LINK,
            user({"type": "resource_link", "uri": "shop://orders/5", "name": "order"}),
        ),
        (
            EMBEDDED,
            user(
                {
                    "type": "resource",
                    "resource": {"uri": "shop://a", "blob": "/w==", "mimeType": "x/y"},
                }
            ),
        ),
        (
            TOLD,
            [{"role": "assistant", "content": {"type": "text", "text": "told"}}],
        ),
        (
            ["hello", TOLD],
            [
                *user(TEXT),
                {"role": "assistant", "content": {"type": "text", "text": "told"}},
            ],
        ),
        (("hello",), user(TEXT)),
        ([], []),
    ],
)
@both_eras
async def test_everything_that_can_be_a_message_is_one(
    revision: str, returned: Any, messages: list[Any]
) -> None:
    site = Site()

    @site.prompt
    def greet() -> Any:
        """Greet somebody."""
        return returned

    async with site.client(revision=revision) as client:
        result = await client.get_prompt("greet")

    assert result["messages"] == messages
    assert result["description"] == "Greet somebody."


async def test_result_is_sent_as_it_was_made() -> None:
    site = Site()
    made = GetPromptResult(
        messages=[TOLD],
        description=gettext_lazy("Yes"),  # type: ignore[arg-type]
        meta={"com.example/a": 1},
    )

    @site.prompt(description="What is listed.")
    async def greet() -> GetPromptResult:
        return made

    async with site.client() as client:
        result = await client.get_prompt("greet")

    assert result["description"] == "Yes"
    assert result["_meta"]["com.example/a"] == 1
    assert made.meta == {"com.example/a": 1}


@pytest.mark.parametrize("returned", [None, 5, {"role": "user"}, b"bytes", [[]]])
@both_eras
async def test_what_is_no_message_fails_without_saying_why(
    revision: str, returned: Any
) -> None:
    site = Site()

    @site.prompt
    def greet() -> Any:
        return returned

    async with site.client(revision=revision) as client:
        error = await refusal(client.get_prompt("greet"))

    assert (error.code, error.message) == (-32603, "Internal error")


@pytest.mark.parametrize(
    "message",
    [
        PromptMessage("system", TextContent("x")),  # type: ignore[arg-type]
        PromptMessage("user", TextContent(5)),  # type: ignore[arg-type]
        PromptMessage("user", "x"),  # type: ignore[arg-type]
    ],
)
async def test_malformed_message_never_gets_out(message: PromptMessage) -> None:
    site = Site()

    @site.prompt
    def greet() -> PromptMessage:
        return message

    async with site.client() as client:
        error = await refusal(client.get_prompt("greet"))

    assert error.code == -32603


async def test_prompt_is_described_by_its_function() -> None:
    site = Site()

    @site.prompt(
        title="Plan",
        icons=[Icon("https://example.com/i.png", sizes=["any"])],
        meta={"com.example/a": 1},
    )
    def plan(context: Context, country: str, *, days: int = 7) -> str:
        """
        Plan a holiday.

        Args:
            country: where to go.
        """
        return country

    site.prompt(name="bare.name", description="Said.")(lambda: "x")
    async with site.client() as client:
        bare, planned = await client.list_prompts()

    assert bare == {"name": "bare.name", "description": "Said."}
    assert planned == {
        "name": "plan",
        "title": "Plan",
        "description": "Plan a holiday.",
        "arguments": [
            {"name": "country", "description": "where to go.", "required": True},
            {"name": "days", "required": False},
        ],
        "icons": [{"src": "https://example.com/i.png", "sizes": ["any"]}],
        "_meta": {"com.example/a": 1},
    }


@pytest.mark.parametrize(
    ("hint", "sent", "received"),
    [
        (str, "5", "5"),
        (int, "5", 5),
        (float, "1.5", 1.5),
        (bool, "true", True),
        (Literal["a", "b"], "b", "b"),
        (Size, "l", Size.LARGE),
        (int | None, "5", 5),
        (UUID, "12345678123456781234567812345678", UUID("1234567812345678" * 2)),
        (Annotated[int, msgspec.Meta(ge=1)], "1", 1),
        (None, "anything", "anything"),  # no annotation
    ],
)
async def test_arguments_become_what_the_annotations_say(
    hint: Any, sent: str, received: Any
) -> None:
    site = Site()
    seen = []

    def take(value):  # type: ignore[no-untyped-def]
        seen.append(value)
        return "taken"

    if hint is not None:
        take.__annotations__["value"] = hint
    site.prompt(take)
    async with site.client() as client:
        await client.get_prompt("take", {"value": sent})

    assert seen == [received]
    assert type(seen[0]) is type(received)


@pytest.mark.parametrize(
    ("hint", "sent"),
    [
        (int, "five"),
        (int, ""),
        (bool, "maybe"),
        (Literal["a", "b"], "c"),
        (Size, "SMALL"),
        (Annotated[int, msgspec.Meta(ge=1)], "0"),
    ],
)
@both_eras
async def test_argument_of_another_type_is_refused(
    revision: str, hint: Any, sent: str
) -> None:
    site = Site()

    def take(value: str) -> str:
        raise AssertionError("It must not be called.")

    take.__annotations__["value"] = hint
    site.prompt(take)
    async with site.client(revision=revision) as client:
        error = await refusal(client.get_prompt("take", {"value": sent}))

    assert error.code == -32602
    assert error.message.startswith("Argument 'value': ")


@pytest.fixture
def shop() -> Site:
    site = Site()

    @site.prompt
    def plan(country: str, days: int = 7) -> str:
        return f"{days} days in {country}"

    return site


@both_eras
async def test_required_argument_must_be_there(shop: Site, revision: str) -> None:
    async with shop.client(revision=revision) as client:
        error = await refusal(client.get_prompt("plan", {"days": "3"}))
        without = await refusal(client.request("prompts/get", {"name": "plan"}))

    assert (error.code, error.message) == (-32602, "Argument 'country' is required")
    assert (without.code, without.message) == (error.code, error.message)


async def test_default_is_used_and_what_was_not_asked_for_is_ignored(
    shop: Site,
) -> None:
    arguments = {"country": "Peru", "planet": "Mars"}
    async with shop.client() as client:
        result = await client.get_prompt("plan", arguments)

    assert result["messages"][0]["content"]["text"] == "7 days in Peru"


@pytest.mark.parametrize("arguments", [{"country": 5}, {"country": None}, [], "x", 5])
@both_eras
async def test_arguments_are_a_map_of_text(
    shop: Site, revision: str, arguments: Any
) -> None:
    async with shop.client(revision=revision) as client:
        params = {"name": "plan", "arguments": arguments}
        error = await refusal(client.request("prompts/get", params))

    assert error.code == -32602


@both_eras
async def test_hidden_prompt_is_like_a_missing_one(revision: str) -> None:
    site = Site()
    site.prompt(name="open")(lambda: "x")
    site.prompt(name="secret", permission="shop.plan")(lambda: "x")
    frames = []
    for name in ("secret", "absent"):
        async with site.client(Clerk(), revision=revision) as client:
            id = await client.send_request("prompts/get", {"name": name})
            message = await client.receive()
            frames.append(str(message).replace(name, "NAME"))

            assert [prompt["name"] for prompt in await client.list_prompts()] == [
                "open"
            ]
            assert message["id"] == id
    assert frames[0] == frames[1]

    async with site.client(Clerk("shop.plan"), revision=revision) as client:
        assert await client.get_prompt("secret")


async def test_name_of_any_length_is_cut_in_the_error(shop: Site) -> None:
    async with shop.client() as client:
        error = await refusal(client.get_prompt("x" * 5000))

    assert error.code == -32602
    assert error.message == "Unknown prompt: " + "x" * 128


@pytest.mark.parametrize(
    "exception", [ValueError("secret"), ObjectDoesNotExist("secret"), SystemExit("s")]
)
async def test_what_a_prompt_raises_stays_here(exception: BaseException) -> None:
    site = Site()

    @site.prompt
    def fail() -> str:
        raise exception

    async with site.client() as client:
        error = await refusal(client.get_prompt("fail"))

        assert await client.list_prompts()

    assert (error.code, error.message) == (-32603, "Internal error")


async def test_protocol_error_passes_as_it_is() -> None:
    site = Site()

    @site.prompt
    async def fail() -> str:
        raise ProtocolError("Closed", code=4001, data={"until": "noon"})

    async with site.client() as client:
        error = await refusal(client.get_prompt("fail"))

    assert (error.code, error.message) == (4001, "Closed")
    assert error.data == {"until": "noon"}


class Form(msgspec.Struct):
    name: str


@pytest.mark.parametrize(
    ("revision", "capabilities", "code"),
    [(LEGACY, {}, -32603), (LEGACY, {"elicitation": {}}, -32603), (MODERN, {}, -32021)],
)
async def test_prompt_that_cannot_ask_fails_and_says_so(
    revision: str, capabilities: dict[str, Any], code: int
) -> None:
    site = Site()

    @site.prompt
    async def ask(context: Context) -> str:
        form = await context.aelicit("Who?", Form)
        return f"Hello {form.name}"

    async with site.client(
        revision=revision,
        capabilities=capabilities,
        answers={"elicitation/create": lambda params: {"action": "decline"}},
    ) as client:
        error = await refusal(client.get_prompt("ask"))

    assert error.code == code
    assert error.message != "Internal error"


@both_eras
async def test_prompt_may_ask_the_user_first(revision: str) -> None:
    site = Site()

    @site.prompt
    def ask(context: Context) -> str:
        return f"Hello {context.elicit('Who?', Form).name}"

    answer = {"action": "accept", "content": {"name": "Ada"}}
    async with site.client(
        revision=revision,
        capabilities={"elicitation": {}},
        answers={"elicitation/create": lambda params: answer},
    ) as client:
        result = await client.get_prompt("ask")

    assert result["messages"][0]["content"]["text"] == "Hello Ada"


@both_eras
async def test_prompt_that_takes_too_long_is_given_up(revision: str) -> None:
    site = Site()
    stopped = asyncio.Event()

    @site.prompt(timeout=0.05)
    async def dawdle() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    async with site.client(revision=revision) as client:
        error = await refusal(client.get_prompt("dawdle"))
        await asyncio.wait_for(stopped.wait(), 5)

    assert (error.code, error.message) == (-32603, "The prompt took too long")


@both_eras
async def test_prompts_are_listed_page_by_page_by_name(
    settings: Any, revision: str
) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "PAGE_SIZE": 2}
    site = Site()
    names = ["b", "B", "a", "z-1", "z"]
    for name in names:
        site.prompt(name=name)(lambda: "x")
    async with site.client(revision=revision) as client:
        listed = [prompt["name"] for prompt in await client.list_prompts()]
        error = await refusal(client.request("prompts/list", {"cursor": "x"}))

    assert listed == sorted(names)
    assert error.code == -32602


def positional(a: str, /) -> str:
    return a


def many(*a: str) -> str:
    return ""


def named(**a: str) -> str:
    return ""


@pytest.mark.parametrize("function", [positional, many, named])
def test_parameter_without_a_name_is_refused(function: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="arguments come by name"):
        Site().prompt(function)


def test_parameter_that_no_text_can_become_is_refused() -> None:
    def take(value: Unknown) -> str:
        return ""

    with pytest.raises(ImproperlyConfigured, match="Prompt 'take': no schema for"):
        Site().prompt(take)


def test_completion_of_no_argument_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="none of its arguments"):
        Site().prompt(complete={"b": ["x"]})(lambda a: a)
