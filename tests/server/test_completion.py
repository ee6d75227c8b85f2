"""Completion: where values come from, and how many of them are sent."""

import asyncio
import enum
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Optional

import msgspec
import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ImproperlyConfigured
from django.db.models.functions import Upper
from django.utils.translation import gettext_lazy

from mcp_channels import Context
from mcp_channels.server.completion import Completer, make_completers
from tests.sites import Clerk, Site, both_eras, refusal

PROMPT = {"type": "ref/prompt", "name": "choose"}
TEMPLATE = {"type": "ref/resource", "uri": "shop://{value}"}


class Colour(enum.Enum):
    RED = "red"
    DARK_RED = "dark red"
    BLUE = "blue"


class Number(enum.IntEnum):
    ONE = 1
    TEN = 10


def offer(source: Any, *, hint: Any = str) -> Site:
    """Return a site with a prompt and a template, each with one argument."""
    site = Site()

    def choose(value, other: str = ""):  # type: ignore[no-untyped-def]
        return value

    choose.__annotations__["value"] = hint
    complete = None if source is None else {"value": source}
    site.prompt(complete=complete)(choose)
    site.resource("shop://{value}", complete=complete)(choose)
    return site


async def complete(site: Site, value: str, **options: Any) -> dict[str, Any]:
    async with site.client() as client:
        completion = await client.complete(PROMPT, "value", value, **options)

        assert completion == await client.complete(TEMPLATE, "value", value, **options)

    return completion


def all_of(*values: str) -> dict[str, Any]:
    return {"values": [*values], "total": len(values), "hasMore": False}


# Sources

TOWNS = ["Porto", "Lisbon", "Faro", "Évora", "porto Santo"]


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("", TOWNS),
        ("p", ["Porto", "porto Santo"]),
        ("PORTO ", ["porto Santo"]),
        ("o", ["Porto", "Lisbon", "Faro", "Évora", "porto Santo"]),
        ("lis", ["Lisbon"]),
        ("é", ["Évora"]),
        ("x", []),
    ],
)
async def test_list_gives_what_begins_so_and_then_what_holds_it(
    typed: str, values: list[str]
) -> None:
    assert await complete(offer(TOWNS), typed) == all_of(*values)


async def test_what_begins_so_comes_first() -> None:
    site = offer(["dark red", "red", "infrared", "reddish"])

    assert await complete(site, "red") == all_of(
        "red", "reddish", "dark red", "infrared"
    )


@pytest.mark.parametrize(
    ("source", "values"),
    [
        (("a", "b"), ["a", "b"]),
        ({"a": 1, "b": 2}, ["a", "b"]),
        (iter(["a", "b"]), ["a", "b"]),
        (range(3), ["0", "1", "2"]),
        ([gettext_lazy("Yes")], ["Yes"]),
        ([], []),
        (Colour, ["red", "dark red", "blue"]),
        ([Colour.BLUE], ["blue"]),
        (Number, ["1", "10"]),
    ],
)
async def test_anything_with_values_is_a_source(source: Any, values: list[str]) -> None:
    site = Site()
    site.prompt(name="choose", complete={"value": source})(lambda value: value)
    async with site.client() as client:
        for _ in range(2):
            completion = await client.complete(PROMPT, "value", "")

            assert completion == all_of(*values)


@pytest.mark.parametrize(
    ("hint", "values"),
    [
        (Literal["a", "b"], ["a", "b"]),
        (Literal[1, 2], ["1", "2"]),
        (Colour, ["red", "dark red", "blue"]),
        (bool, ["true", "false"]),
        (Literal["a"] | None, ["a"]),
        (Optional[Colour], ["red", "dark red", "blue"]),  # noqa: UP045
        (None | bool, ["true", "false"]),
        (Annotated[Literal["a"], msgspec.Meta(description="x")], ["a"]),
        (Annotated[bool | None, "x"], ["true", "false"]),
    ],
)
async def test_annotation_that_lists_its_values_is_a_source(
    hint: Any, values: list[str]
) -> None:
    assert await complete(offer(None, hint=hint), "") == all_of(*values)


@pytest.mark.parametrize("hint", [str, int, str | None, list[str]])
async def test_other_annotation_has_no_values(hint: Any) -> None:
    assert await complete(offer(None, hint=hint), "") == {"values": []}


async def test_source_goes_before_the_annotation() -> None:
    site = offer(["maybe"], hint=bool)

    assert await complete(site, "") == all_of("maybe")


@both_eras
@pytest.mark.parametrize("is_async", [False, True])
async def test_function_decides_itself(revision: str, is_async: bool) -> None:
    seen = []

    def look(context: Context, typed: str, arguments: dict[str, str]) -> Any:
        seen.append((typed, arguments, context.user))
        return [Colour.RED, "zebra", 5]

    async def look_async(typed, *, arguments, context: Context):  # type: ignore[no-untyped-def]
        return look(context, typed, arguments)

    site = offer(look_async if is_async else look)
    clerk = Clerk()
    async with site.client(clerk, revision=revision) as client:
        for ref in (PROMPT, TEMPLATE):
            completion = await client.complete(ref, "value", "x", {"other": "y"})

            assert completion == all_of("red", "zebra", "5")

        await client.complete(PROMPT, "value", "")

    assert [(typed, arguments) for typed, arguments, _ in seen] == [
        ("x", {"other": "y"}),
        ("x", {"other": "y"}),
        ("", {}),
    ]
    assert all(user is clerk for _, _, user in seen)


@pytest.mark.parametrize("known", [None, {}])
async def test_function_may_take_the_value_alone(known: Any) -> None:
    assert await complete(offer(lambda v: [v * 2]), "ab", known=known) == all_of("abab")


async def test_function_may_have_parameters_of_its_own() -> None:
    assert await complete(offer(lambda v, times=3: [v * times]), "a") == all_of("aaa")


async def test_function_may_return_an_enum() -> None:
    assert await complete(offer(lambda v: Colour), "") == all_of(
        "red", "dark red", "blue"
    )


@pytest.fixture
async def people(transactional_db: None) -> None:
    for name in ("ada", "Alan", "grace", "GRETE", "50%_x"):
        await User.objects.acreate(username=name, last_name=name.upper())


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("", ["50%_x", "Alan", "GRETE", "ada", "grace"]),
        ("a", ["Alan", "ada"]),
        ("GR", ["GRETE", "grace"]),
        ("ace", []),
        ("%", []),
        ("_", []),
        ("50%", ["50%_x"]),
        ("' OR 1=1 --", []),
    ],
)
async def test_queryset_gives_what_begins_so(
    people: None, typed: str, values: list[str]
) -> None:
    names = User.objects.order_by("username").values_list("username", flat=True)

    assert await complete(offer(names), typed) == all_of(*values)


async def test_queryset_is_asked_each_time(people: None) -> None:
    site = offer(User.objects.values_list(Upper("username"), flat=True))
    await User.objects.acreate(username="zoe")

    assert await complete(site, "zo") == all_of("ZOE")

    await User.objects.filter(username="zoe").adelete()

    assert await complete(site, "zo") == all_of()


@pytest.mark.parametrize("is_async", [False, True])
async def test_function_may_return_a_queryset_of_objects(
    people: None, is_async: bool
) -> None:
    def find(value: str) -> Any:
        return User.objects.filter(username__contains=value).order_by("pk")

    async def find_async(value: str) -> Any:
        return find(value)

    site = offer(find_async if is_async else find)

    assert await complete(site, "a") == all_of("ada", "Alan", "grace")


# How many


@pytest.mark.parametrize(
    ("count", "total", "more"), [(99, 99, False), (100, 100, False), (101, 101, True)]
)
async def test_at_most_a_hundred_values_are_sent(
    count: int, total: int, more: bool
) -> None:
    values = [f"v{number:03}" for number in range(count)]
    for source in (values, lambda typed: values):
        completion = await complete(offer(source), "v")

        assert completion["values"] == values[:100]
        assert (completion["total"], completion["hasMore"]) == (total, more)


@pytest.mark.django_db(transaction=True)
async def test_at_most_a_hundred_rows_are_read() -> None:
    await Group.objects.abulk_create(Group(name=f"g{n:03}") for n in range(150))
    names = Group.objects.order_by("name").values_list("name", flat=True)
    completion = await complete(offer(names), "")

    assert completion["values"] == [f"g{n:03}" for n in range(100)]
    assert (completion["total"], completion["hasMore"]) == (150, True)


# What is asked for


@both_eras
async def test_unknown_argument_has_no_values(revision: str) -> None:
    async with offer(TOWNS).client(revision=revision) as client:
        for ref in (PROMPT, TEMPLATE):
            for argument in ("other", "nothing", ""):
                assert await client.complete(ref, argument, "") == {"values": []}


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ({"type": "ref/prompt", "name": "nothing"}, "Unknown prompt: nothing"),
        ({"type": "ref/prompt", "name": "x" * 500}, "Unknown prompt: " + "x" * 128),
        ({"type": "ref/resource", "uri": "a://b"}, "Unknown resource: a://b"),
        ({"type": "ref/resource", "uri": "x" * 500}, "Unknown resource: " + "x" * 128),
    ],
)
@both_eras
async def test_unknown_prompt_or_template_is_refused(
    revision: str, ref: dict[str, str], message: str
) -> None:
    async with offer(TOWNS).client(revision=revision) as client:
        error = await refusal(client.complete(ref, "value", ""))

    assert (error.code, error.message) == (-32602, message)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"ref": PROMPT},
        {"argument": {"name": "value", "value": ""}},
        {"ref": {"type": "ref/tool"}, "argument": {"name": "value", "value": ""}},
        {"ref": {"type": "ref/prompt"}, "argument": {"name": "value", "value": ""}},
        {"ref": PROMPT, "argument": {"name": "value"}},
        {"ref": PROMPT, "argument": {"name": "value", "value": 5}},
        {
            "ref": PROMPT,
            "argument": {"name": "value", "value": ""},
            "context": {"arguments": {"a": 5}},
        },
    ],
)
@both_eras
async def test_malformed_question_is_refused(revision: str, params: Any) -> None:
    async with offer(TOWNS).client(revision=revision) as client:
        error = await refusal(client.request("completion/complete", params))

    assert error.code == -32602


@both_eras
async def test_hidden_is_like_missing(revision: str) -> None:
    hidden, without = Site(), Site()
    for site in (hidden, without):
        site.prompt(name="open")(lambda: "x")
    complete = {"value": ["secret"]}
    options: dict[str, Any] = {"permission": "shop.see", "complete": complete}
    hidden.prompt(name="choose", **options)(lambda value: "x")
    hidden.resource("shop://{value}", **options)(lambda value: "x")
    answers = []
    for site in (hidden, without):
        async with site.client(Clerk(), revision=revision) as client:
            for ref in (PROMPT, TEMPLATE, {**TEMPLATE, "uri": "shop://a"}):
                argument = {"name": "value", "value": ""}
                params = {"ref": ref, "argument": argument}
                await client.send_request("completion/complete", params)
                answers.append(await client.receive())

    assert answers[:3] == answers[3:]

    async with hidden.client(Clerk("shop.see"), revision=revision) as client:
        assert (await client.complete(PROMPT, "value", ""))["values"] == ["secret"]


async def test_uri_of_an_instance_is_completed_as_its_template() -> None:
    site = offer(TOWNS)
    site.resource("shop://fixed")(lambda: "x")
    async with site.client() as client:
        for uri, values in (("shop://anything", ["Faro"]), ("shop://fixed", [])):
            ref = {"type": "ref/resource", "uri": uri}
            completion = await client.complete(ref, "value", "fa")

            assert completion["values"] == values


@pytest.mark.parametrize("found", [None, 5])
@both_eras
async def test_function_that_fails_says_nothing(revision: str, found: Any) -> None:
    async with offer(lambda value: found).client(revision=revision) as client:
        error = await refusal(client.complete(PROMPT, "value", ""))

    assert (error.code, error.message) == (-32603, "Internal error")


async def test_function_that_takes_too_long_is_given_up(settings: Any) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "CALL_TIMEOUT": 0.05}

    async def dawdle(value: str) -> Any:
        await asyncio.Event().wait()

    async with offer(dawdle).client() as client:
        error = await refusal(client.complete(PROMPT, "value", ""))

    assert (error.code, error.message) == (-32603, "The completion took too long")


async def test_function_must_not_ask_the_client() -> None:
    def ask(value: str, context: Context) -> Any:
        return [context.elicit("Sure?", Form)]

    capabilities: Any = {"elicitation": {}}
    async with offer(ask).client(capabilities=capabilities) as client:
        error = await refusal(client.complete(PROMPT, "value", ""))

    assert (error.code, error.message) == (-32603, "Internal error")


class Form(msgspec.Struct):
    name: str


# Refused at registration


def nothing() -> Any:
    return []


def only_context(context: Context, arguments: dict[str, str]) -> Any:
    return []


def generate(value: str) -> Iterator[str]:
    yield value


class Callable:
    def __call__(self, value: str) -> Any:
        return [value]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("Portugal", "Use a list, an Enum, a function or a queryset"),
        (gettext_lazy("Portugal"), "cannot complete an argument"),
        (5, "cannot complete an argument"),
        (nothing, "nothing completes an argument, but does not take its value"),
        (only_context, "does not take its value"),
        (generate, "Return a list"),
        (lambda value, other: [], "gets its value.*: what is 'other'"),
        (Callable(), "write a function that calls it"),
        (User.objects.all(), r'made by values_list\("field", flat=True\)'),
        (User.objects.values("username"), "flat=True"),
        (User.objects.values_list("username"), "flat=True"),
        (User.objects.values_list("username", "email"), "flat=True"),
        (User.objects.values_list("email", flat=True)[:5], "a slice or a union"),
        (
            User.objects.values_list("email", flat=True).union(
                User.objects.values_list("username", flat=True)
            ),
            "a slice or a union",
        ),
    ],
)
def test_what_cannot_complete_is_refused_with_what_to_do(
    source: Any, message: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        Completer(source, label="Prompt 'choose'")


def test_source_of_no_argument_is_refused() -> None:
    sources: Any = {"c": [], "b": [], "a": []}

    with pytest.raises(ImproperlyConfigured, match="X: it completes b, c, which is no"):
        make_completers("X", ["a"], {}, sources)

    assert make_completers("X", ["a", "d"], {}, {"a": []}).keys() == {"a"}
