import asyncio
import functools
import logging
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Literal

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils import translation
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Raw, Struct
from pytest_django import Settings

from mcp_channels.protocol.connection import Request
from mcp_channels.protocol.content import (
    EmbeddedResource,
    Icon,
    ImageContent,
    ResourceContents,
    ResourceLink,
    TextContent,
)
from mcp_channels.protocol.errors import InvalidParams, ProtocolError
from mcp_channels.protocol.types import CallToolResult, ToolAnnotations
from mcp_channels.server.context import Context
from mcp_channels.server.interaction import ClientRefused, Declined
from mcp_channels.server.tools import Tool, ToolError
from mcp_channels.testing import MCPCommunicator, RequestFailed
from tests.sockets import Socket, make_consumer

LATER = gettext_lazy("Yes")  # in German: Ja
SECRET = "SELECT password FROM /srv/site/db.sqlite3"


def nothing() -> None: ...


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what the package has logged: what asyncio says may be of other tests."""
    return [record for record in caplog.records if record.name == "mcp_channels"]


async def call(
    function: Callable[..., Any],
    arguments: Any = None,
    *,
    user: Any = None,
    revision: str = "2026-07-28",
    **options: Any,
) -> Any:
    """Call a function as a client does, and return the result."""
    consumer = make_consumer(function, **options)
    async with MCPCommunicator(user, revision=revision, consumer=consumer) as client:
        name = options.get("name", function.__name__)
        result = await client.call_tool(name, arguments)
    result.pop("_meta", None)
    result.pop("resultType", None)
    return result


def failed(text: str) -> Any:
    return {"content": [{"type": "text", "text": text}], "isError": True}


# Definitions


def test_tool_is_named_like_its_function() -> None:
    assert Tool(nothing).definition.name == "nothing"
    assert Tool(nothing, name="a.b-C_9").definition.name == "a.b-C_9"


def test_tool_says_only_what_is_known() -> None:
    definition = Tool(nothing).definition

    assert definition.description is UNSET
    assert definition.title is UNSET
    assert definition.annotations is UNSET
    assert definition.output_schema is UNSET
    assert definition.icons is UNSET
    assert definition.meta is UNSET


def test_tool_says_all_that_can_be_said() -> None:
    icon = Icon("https://example.com/i.png", "image/png", ["48x48"], "dark")
    input_schema = {"type": "object", "additionalProperties": False, "x-ours": [1.0]}
    output_schema = {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array"}}}
    tool = Tool(
        nothing,
        title="Nothing at all",
        description="Does nothing.",
        icons=[icon],
        meta={"example.com/a": {"b": [1, None]}},
        input_schema=input_schema,
        output_schema=output_schema,
    )

    assert tool.definition.title == "Nothing at all"
    assert tool.definition.description == "Does nothing."
    assert tool.definition.icons == [icon]
    assert tool.definition.meta == {"example.com/a": {"b": [1, None]}}
    assert tool.definition.input_schema == input_schema
    assert tool.definition.output_schema == output_schema


@pytest.mark.parametrize(
    "option", ["read_only", "destructive", "idempotent", "open_world"]
)
@pytest.mark.parametrize("value", [True, False])
def test_hint_is_told_when_it_is_given(option: str, value: bool) -> None:
    options: Any = {option: value}
    expected = ToolAnnotations(**{f"{option}_hint": value})

    assert Tool(nothing, **options).definition.annotations == expected


def test_tool_is_read_only_when_it_says_so() -> None:
    assert Tool(nothing, read_only=True).is_read_only
    assert not Tool(nothing, read_only=False).is_read_only
    assert not Tool(nothing, idempotent=True).is_read_only
    assert not Tool(nothing).is_read_only


def test_place_is_where_the_function_is() -> None:
    assert Tool(nothing, name="other").place == f"{__name__}.nothing"


GOOGLE = """
    Count orders.

    Cancelled ones too: they are orders.

    Args:
        status: Only orders in this state,
            and no others.
        limit (int): At most so many.

    Returns:
        How many.

    Raises:
        ToolError: When there are none.
    """

NUMPY = """
    Count orders.

    Cancelled ones too: they are orders.

    Parameters
    ----------
    status : str
        Only orders in this state,
        and no others.
    limit : int, optional
        At most so many.

    Returns
    -------
    int
        How many.
    """

REST = """
    Count orders.

    Cancelled ones too: they are orders.

    :param status: Only orders in this state,
        and no others.
    :param int limit: At most so many.
    :returns: How many.
    :raises ToolError: When there are none.
    """


@pytest.mark.parametrize(
    "docstring", [GOOGLE, NUMPY, REST], ids=["Google", "NumPy", "reST"]
)
def test_docstring_describes_the_tool_and_its_parameters(docstring: str) -> None:
    def count_orders(status: str = "paid", limit: int = 5) -> int: ...

    count_orders.__doc__ = docstring
    definition = Tool(count_orders).definition
    described = {
        name: member["description"]
        for name, member in definition.input_schema["properties"].items()
    }

    assert definition.description == (
        "Count orders.\n\nCancelled ones too: they are orders."
    )
    assert described == {
        "status": "Only orders in this state,\nand no others.",
        "limit": "At most so many.",
    }


@pytest.mark.parametrize(
    ("docstring", "description"),
    [
        ("Count orders.", "Count orders."),
        ("Count orders\nof today.", "Count orders\nof today."),
        ("\n    Count: all of them.\n    ", "Count: all of them."),
        # What no parser understands.
        ("Count.\n\n : : all", "Count.\n\n: : all"),
        ("", UNSET),
        ("   \n  ", UNSET),
        (None, UNSET),
    ],
)
def test_docstring_may_be_short(docstring: str | None, description: Any) -> None:
    def count() -> None: ...

    count.__doc__ = docstring

    assert Tool(count).definition.description == description


def test_given_description_takes_the_place_of_the_docstring() -> None:
    def count(a: int) -> None:
        """
        Count.

        Args:
            a: The a.
        """

    definition = Tool(count, description="Another.").definition

    assert definition.description == "Another."
    assert definition.input_schema["properties"]["a"]["description"] == "The a."


def test_parameter_that_is_only_named_is_not_described() -> None:
    def count(a: int, context: Context) -> None:
        """
        Count.

        Args:
            a:
            context: Not for the client.
            b: There is none.
        """

    assert Tool(count).definition.input_schema["properties"] == {
        "a": {"type": "integer"}
    }


@settings(deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(
            [
                "Count.",
                "",
                "Args:",
                "    a: b",
                "  a",
                "Parameters",
                "----------",
                ":param a: b",
                ":param:",
                ":returns:",
                "Returns:",
                "a : int",
                "@param a",
                "Example:",
                ">>> 1",
                "* a",
                "Note: x",
                "    ",
                "\t:",
                ".. note::",
                "::",
            ]
        ),
        max_size=8,
    )
)
def test_no_docstring_is_wrong(lines: list[str]) -> None:
    def count(a: int) -> None: ...

    count.__doc__ = "\n".join(lines)

    assert Tool(count).definition.input_schema["properties"]["a"]["type"] == "integer"


def test_lazy_translations_are_translated_when_the_tool_is_made() -> None:
    with translation.override("de"):
        definition = Tool(
            nothing, title=LATER, description=LATER, meta={"a": LATER}
        ).definition

    assert (definition.title, definition.description) == ("Ja", "Ja")
    assert definition.meta == {"a": "Ja"}


# What cannot be a tool


class CallableObject:
    def __call__(self) -> None: ...


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


async def coroutine() -> None: ...


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a,b", "ä", "a\n", "x" * 129])
def test_wrong_name_is_refused_with_the_fix(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="is invalid: use 1 to 128 letters"):
        Tool(nothing, name=name)


def test_name_may_have_128_characters() -> None:
    assert Tool(nothing, name="x" * 128).name == "x" * 128


def test_lambda_needs_a_name() -> None:
    with pytest.raises(ImproperlyConfigured, match="Tool name '<lambda>' is invalid"):
        Tool(lambda: None)

    assert Tool(lambda: None, name="nothing").name == "nothing"


@pytest.mark.parametrize("permission", ["", "view_order", "a.b.c", "a.b\n", ".b", "a."])
def test_wrong_permission_is_refused_with_the_fix(permission: str) -> None:
    with pytest.raises(
        ImproperlyConfigured,
        match=r"Tool 'nothing': permission .* use 'app_label.codename'",
    ):
        Tool(nothing, permission=permission)


@pytest.mark.parametrize("timeout", [0, -1, -0.5, math.nan])
def test_wrong_timeout_is_refused(timeout: float) -> None:
    with pytest.raises(ImproperlyConfigured, match="more than 0 seconds"):
        Tool(nothing, timeout=timeout)


def test_asynchronous_function_cannot_be_atomic() -> None:
    with pytest.raises(ImproperlyConfigured, match="cannot be atomic"):
        Tool(coroutine, atomic=True)

    assert Tool(coroutine, atomic=False).is_async


@pytest.mark.parametrize("function", [generator, async_generator])
def test_generator_cannot_be_a_tool(function: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="Return a list"):
        Tool(function)


@pytest.mark.parametrize(
    "thing", [CallableObject, CallableObject(), functools.partial(nothing), 5, dict]
)
def test_what_is_no_function_cannot_be_a_tool(thing: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="write a function that calls it"):
        Tool(thing, name="thing")


@pytest.mark.parametrize(
    "options",
    [
        {"description": 5},
        {"title": ["a"]},
        {"title": "\ud800"},
        {"icons": ["https://example.com/i.png"]},
        {"icons": [Icon("a", theme="blue")]},
        {"meta": {"a": object()}},
        {"meta": ["a"]},
        {"read_only": "yes"},
    ],
)
def test_definition_that_cannot_be_sent_is_refused(options: Any) -> None:
    # One such tool would take the whole list with it.
    with pytest.raises(ImproperlyConfigured, match=r"^Tool 'nothing': "):
        Tool(nothing, **options)


# tools/list


async def test_tools_are_listed() -> None:
    def count(a: int = 5) -> int: ...

    async with MCPCommunicator(consumer=make_consumer(nothing, count)) as client:
        tools = await client.list_tools()

    assert tools == [
        {
            "name": "count",
            "inputSchema": {
                "type": "object",
                "properties": {"a": {"type": "integer", "default": 5}},
                "additionalProperties": False,
            },
            "outputSchema": {"type": "integer"},
        },
        {
            "name": "nothing",
            "inputSchema": {
                "type": "object",
                "properties": {},
                "additionalProperties": False,
            },
        },
    ]


async def test_tools_are_listed_page_by_page(settings: Settings) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "PAGE_SIZE": 1}
    async with MCPCommunicator(consumer=make_consumer(nothing, coroutine)) as client:
        first = await client.request("tools/list")
        second = await client.request("tools/list", {"cursor": first["nextCursor"]})

    assert [tool["name"] for tool in first["tools"]] == ["coroutine"]
    assert [tool["name"] for tool in second["tools"]] == ["nothing"]
    assert "nextCursor" not in second


@pytest.mark.parametrize("cursor", ["", "1", 1])
async def test_wrong_cursor_is_refused(cursor: Any) -> None:
    async with MCPCommunicator(consumer=make_consumer(nothing)) as client:
        with pytest.raises(RequestFailed) as failure:
            await client.request("tools/list", {"cursor": cursor})

    assert failure.value.code == -32602


# tools/call: who may call what


async def test_missing_tool_is_an_error_of_the_protocol() -> None:
    async with MCPCommunicator(consumer=make_consumer(nothing)) as client:
        with pytest.raises(RequestFailed) as failure:
            await client.call_tool("x" * 1_000)

    assert failure.value.code == -32602
    assert failure.value.message == f"Unknown tool: {'x' * 128}"


async def test_hidden_tool_is_a_missing_tool_to_the_byte() -> None:
    async def talk(consumer: Any) -> list[Any]:
        """Return all frames that a stranger gets."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        async with Socket(consumer.as_asgi(), user=AnonymousUser()) as socket:
            await socket.connect()
            for id, method, params in [
                (1, "server/discover", {}),
                (2, "tools/list", {}),
                (3, "tools/call", {"name": "secret"}),
                (4, "tools/call", {"name": "secret", "arguments": {"wrong": 1}}),
                (5, "tools/call", {"name": "secret", "arguments": 5}),
            ]:
                params["_meta"] = meta
                socket.put_frame(
                    {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
                )
            return list(await socket.until(6))

    def secret() -> None: ...

    hidden = make_consumer(nothing)
    hidden.registry.tool(permission="auth.view_group")(secret)

    assert await talk(hidden) == await talk(make_consumer(nothing))


@pytest.mark.django_db(transaction=True)
async def test_tool_exists_for_who_has_its_permission() -> None:
    def count_groups() -> int:
        return 5

    user = await User.objects.acreate_user("ada")
    with pytest.raises(RequestFailed, match="Unknown tool: count_groups"):
        await call(count_groups, user=user, permission="auth.view_group")

    permission = await Permission.objects.aget(codename="view_group")
    await user.user_permissions.aadd(permission)
    user = await User.objects.aget(pk=user.pk)
    result = await call(count_groups, user=user, permission="auth.view_group")

    assert result["structuredContent"] == 5


# tools/call: arguments


def count_orders(
    status: Literal["paid", "shipped"],
    limit: Annotated[int, Meta(ge=1)] = 3,
) -> str:
    return f"{limit} {status}"


async def test_arguments_reach_the_function() -> None:
    result = await call(count_orders, {"status": "paid", "limit": 5})

    assert result == {"content": [{"type": "text", "text": "5 paid"}]}


async def test_default_of_the_function_counts() -> None:
    result = await call(count_orders, {"status": "paid"})

    assert result["content"][0]["text"] == "3 paid"


@pytest.mark.parametrize(
    "revision",
    ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"],
)
async def test_wrong_arguments_are_told_to_the_model(revision: str) -> None:
    result = await call(count_orders, {"limit": 0, "state": "x"}, revision=revision)

    assert result["isError"] is True
    assert sorted(result["content"][0]["text"].splitlines()) == [
        "limit: it is less than the minimum of 1, got integer 0",
        "state: unknown argument, did you mean 'status'?",
        "status: required, but missing",
    ]


@pytest.mark.parametrize("params", [{}, {"arguments": None}, {"arguments": {}}])
async def test_arguments_may_be_absent(params: Any) -> None:
    async with MCPCommunicator(consumer=make_consumer(nothing)) as client:
        result = await client.request("tools/call", {"name": "nothing", **params})

    assert result["content"] == []


@pytest.mark.parametrize("arguments", [[], 5, "{}", True])
async def test_arguments_that_are_no_object_are_malformed(arguments: Any) -> None:
    async with MCPCommunicator(consumer=make_consumer(nothing)) as client:
        with pytest.raises(RequestFailed, match="arguments must be an object") as error:
            await client.request(
                "tools/call", {"name": "nothing", "arguments": arguments}
            )

    assert error.value.code == -32602


async def test_code_of_an_argument_that_fails_is_a_failure_of_the_tool(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Struct):
        a: int

        def __post_init__(self) -> None:
            raise KeyError(SECRET)

    def take(broken: Broken) -> None: ...

    assert await call(take, {"broken": {"a": 1}}) == failed("Tool 'take' failed.")
    assert SECRET in caplog.text


# tools/call: functions


async def test_function_may_be_asynchronous() -> None:
    async def double(a: int) -> int:
        await asyncio.sleep(0)
        return 2 * a

    assert (await call(double, {"a": 4}))["structuredContent"] == 8


async def test_function_may_return_what_is_to_be_awaited() -> None:
    async def double(a: int) -> int:
        threads.append(threading.get_ident())
        return 2 * a

    @functools.wraps(double)
    def wrapper(a: int) -> Any:
        threads.append(threading.get_ident())
        return double(a)

    threads: list[int] = []

    # A decorator that knows nothing of coroutines leaves it one.
    assert (await call(wrapper, {"a": 4}))["structuredContent"] == 8
    assert threads[0] != threads[1] == threading.get_ident()


async def test_synchronous_function_runs_in_a_thread() -> None:
    def where() -> bool:
        return threading.get_ident() == here

    here = threading.get_ident()

    assert (await call(where))["structuredContent"] is False


async def test_function_gets_the_context() -> None:
    def who(a: int, it: Context) -> str:
        return f"{a} {it.request_id} {it.user} {it.client_info.name}"

    result = await call(who, {"a": 5}, user=User(username="ada"))

    assert result["content"][0]["text"] == "5 1 ada mcp_channels.testing"


async def test_client_cannot_give_the_context() -> None:
    def who(context: Context, **more: Any) -> str:
        return f"{type(context).__name__} {more}"

    result = await call(
        who, {"context": "mine", "a": 1}, input_schema={"type": "object"}
    )

    assert result["content"][0]["text"] == "Context {'a': 1}"


async def test_method_of_an_object_can_be_a_tool() -> None:
    class Shop:
        name = "books"

        def describe(self, a: int) -> str:
            return f"{self.name} {a}"

    assert (await call(Shop().describe, {"a": 1}))["content"][0]["text"] == "books 1"


# tools/call: results


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (None, []),
        ("Hello", [{"type": "text", "text": "Hello"}]),
        (LATER, [{"type": "text", "text": "Yes"}]),
        (
            ImageContent(b"\xfb\xff", "image/png"),
            [{"type": "image", "data": "+/8=", "mimeType": "image/png"}],
        ),
        (
            [
                "See",
                ResourceLink("shop://a", "a"),
                EmbeddedResource(ResourceContents("shop://b", "b")),
            ],
            [
                {"type": "text", "text": "See"},
                {"type": "resource_link", "uri": "shop://a", "name": "a"},
                {"type": "resource", "resource": {"uri": "shop://b", "text": "b"}},
            ],
        ),
    ],
)
async def test_returned_content_is_the_content(value: Any, content: Any) -> None:
    assert await call(lambda: value, name="show") == {"content": content}


async def test_returned_value_is_structured() -> None:
    class Receipt(Struct):
        total: int

    def pay() -> Receipt:
        return Receipt(5)

    assert await call(pay) == {
        "content": [{"type": "text", "text": '{"total":5}'}],
        "structuredContent": {"total": 5},
    }


@pytest.mark.parametrize(
    ("revision", "structured"),
    [
        ("2025-03-26", None),
        ("2025-06-18", {"result": [1, 2]}),
        ("2025-11-25", {"result": [1, 2]}),
        ("2026-07-28", [1, 2]),
    ],
)
async def test_value_that_is_no_object_is_wrapped_where_it_must_be(
    revision: str, structured: Any
) -> None:
    def numbers() -> list[int]:
        return [1, 2]

    result = await call(numbers, revision=revision)

    assert result["content"] == [{"type": "text", "text": "[1,2]"}]
    assert result.get("structuredContent") == structured


async def test_unstructured_result_is_text() -> None:
    def numbers() -> list[int]:
        return [1, 2]

    assert await call(numbers, structured=False) == {
        "content": [{"type": "text", "text": "[1,2]"}]
    }


async def test_returned_result_is_the_result() -> None:
    def show() -> CallToolResult:
        return CallToolResult(
            [TextContent("Hello")],
            structured_content={"a": LATER},
            is_error=False,
            meta={"example.com/a": 1},
        )

    async with MCPCommunicator(consumer=make_consumer(show)) as client:
        result = await client.call_tool("show")

    assert result["content"] == [{"type": "text", "text": "Hello"}]
    assert result["structuredContent"] == {"a": "Yes"}
    assert result["isError"] is False
    assert result["_meta"]["example.com/a"] == 1


@pytest.mark.parametrize(
    "value",
    [
        object(),
        b"bytes",
        {"a": object()},
        "\ud800",
        TextContent(5),
        [TextContent("a"), 5],
        CallToolResult([5]),
        CallToolResult([], structured_content=object()),
    ],
)
async def test_value_that_cannot_be_sent_is_a_failure_of_the_tool(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    result = await call(lambda: value, name="show")

    assert result == failed("Tool 'show' failed.")
    assert "Tool 'show' failed" in caplog.text


async def test_value_that_was_not_promised_is_a_failure_of_the_tool(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def count() -> int:
        return SECRET

    assert await call(count) == failed("Tool 'count' failed.")
    assert "Expected `int`, got `str`" in caplog.text


# tools/call: failures


@pytest.mark.parametrize("is_async", [False, True])
async def test_tool_error_is_shown_to_the_model(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def pay() -> int:
        raise ToolError("The order is already paid.")

    async def pay_async() -> int:
        return pay()

    function: Any = pay_async if is_async else pay

    assert await call(function) == failed("The order is already paid.")
    assert logged(caplog) == []


async def test_tool_error_may_show_more() -> None:
    def pay() -> None:
        raise ToolError("Already paid.", content=[ResourceLink("shop://7", "7")])

    assert await call(pay) == {
        "content": [
            {"type": "text", "text": "Already paid."},
            {"type": "resource_link", "uri": "shop://7", "name": "7"},
        ],
        "isError": True,
    }


async def test_tool_error_is_in_the_language_of_the_request() -> None:
    def pay() -> None:
        with translation.override("de"):
            raise ToolError(LATER, content=[TextContent(LATER)])

    assert (await call(pay))["content"] == [
        {"type": "text", "text": "Ja"},
        {"type": "text", "text": "Yes"},
    ]


@pytest.mark.parametrize(
    "error",
    [
        ToolError("\ud800"),
        ToolError("a", content=[5]),
        ToolError("a", content=[TextContent(5)]),
    ],
)
async def test_tool_error_that_cannot_be_sent_is_a_failure(error: ToolError) -> None:
    def pay() -> None:
        raise error

    assert await call(pay) == failed("Tool 'pay' failed.")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "kind", [ValueError, KeyError, RuntimeError, StopIteration, SystemExit, OSError]
)
async def test_unexpected_exception_is_logged_and_never_shown(
    kind: type[BaseException], is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def pay() -> int:
        raise kind(SECRET)

    async def pay_async() -> int:
        return pay()

    function: Any = pay_async if is_async else pay
    result = await call(function)
    (record,) = logged(caplog)

    assert result == failed(f"Tool '{function.__name__}' failed.")
    assert record.levelno == logging.ERROR
    assert SECRET in caplog.text
    assert "raise kind(SECRET)" in caplog.text


@pytest.mark.parametrize("is_async", [False, True])
async def test_protocol_error_passes_through(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def pay() -> None:
        raise ProtocolError("Pay first", code=-32000, data={"url": "https://a"})

    async def pay_async() -> None:
        pay()

    function: Any = pay_async if is_async else pay
    with pytest.raises(RequestFailed) as failure:
        await call(function)

    assert failure.value.code == -32000
    assert failure.value.message == "Pay first"
    assert failure.value.data == {"url": "https://a"}
    assert logged(caplog) == []


async def test_protocol_error_of_a_kind_keeps_its_code() -> None:
    async def pay() -> None:
        raise InvalidParams("No such order")

    with pytest.raises(RequestFailed, match="-32602: No such order"):
        await call(pay)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ClientRefused("Nobody answers."), "Nobody answers."),
        (Declined("decline"), "The user declined."),
    ],
)
async def test_refusal_of_the_client_is_told_to_the_model(
    error: ClientRefused, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    def pay() -> None:
        raise error

    assert await call(pay) == failed(text)
    assert logged(caplog) == []


@pytest.mark.parametrize("is_async", [False, True])
async def test_call_that_takes_too_long_is_answered(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def wait() -> None:
        released.wait(10)

    async def wait_async() -> None:
        await asyncio.Event().wait()

    released = threading.Event()
    function: Any = wait_async if is_async else wait
    try:
        consumer = make_consumer(function, name="wait", timeout=0.01)
        async with MCPCommunicator(consumer=consumer) as client:
            result = await client.call_tool("wait")
            released.set()

            assert await client.receive_nothing()
    finally:
        released.set()

    assert result["isError"] is True
    assert result["content"][0]["text"] == "Tool 'wait' did not finish in time."
    assert "did not finish in time" in caplog.text


# Transactions


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [ToolError("No."), ValueError("No.")])
@pytest.mark.parametrize("atomic", [None, False, True])
async def test_failure_rolls_back_what_is_atomic(
    error: Exception, atomic: bool | None
) -> None:
    def create() -> None:
        Group.objects.create(name="half")
        raise error

    result = await call(create, atomic=atomic)

    assert result["isError"] is True
    assert await Group.objects.aexists() is not bool(atomic)


@pytest.mark.django_db(transaction=True)
async def test_tool_is_atomic_where_requests_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def create(name: str) -> None:
        Group.objects.create(name=name)
        if name == "half":
            raise ToolError("No.")

    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    await call(create, {"name": "half"})
    await call(create, {"name": "whole"})

    assert [group.name async for group in Group.objects.all()] == ["whole"]


# The session


class FakeWorkers:
    def __init__(self) -> None:
        self.happened: list[Any] = []

    async def run(self, function: Any, *args: Any, atomic: bool | None) -> Any:
        self.happened.append(atomic)
        return function(*args)

    def clean_after_async(self) -> None:
        self.happened.append("clean")


class FakeSession:
    def __init__(self) -> None:
        self.workers = FakeWorkers()
        self.deadlines: list[Any] = []

    def expire_after(self, seconds: Any, request: Any, answer: Any) -> None:
        self.deadlines.append((seconds, request, answer.is_error))


async def call_in(session: Any, tool: Tool, arguments: bytes = b"{}") -> Any:
    request: Any = Request(1, "tools/call", None, None, None, {}, None, None)
    await tool.call(Context(request, session), Raw(arguments))
    return request


@pytest.mark.parametrize("fails", [False, True])
async def test_connections_are_cleaned_after_asynchronous_functions(
    fails: bool,
) -> None:
    async def look() -> None:
        if fails:
            # As when the database was restarted: without cleaning, it would be so
            # for every call to come.
            raise OSError("server closed the connection")

    session = FakeSession()
    await call_in(session, Tool(look))

    assert session.workers.happened == ["clean"]


@pytest.mark.parametrize("atomic", [None, False, True])
async def test_transaction_of_a_synchronous_function_is_the_workers_matter(
    atomic: bool | None,
) -> None:
    session = FakeSession()
    await call_in(session, Tool(nothing, atomic=atomic))

    assert session.workers.happened == [atomic]


@pytest.mark.parametrize("timeout", [None, 5, 0.5])
async def test_deadline_is_that_of_the_tool(timeout: float | None) -> None:
    session = FakeSession()
    request = await call_in(session, Tool(nothing, timeout=timeout))

    assert session.deadlines == [(timeout, request, True)]


async def test_wrong_arguments_need_no_deadline() -> None:
    session = FakeSession()
    await call_in(session, Tool(nothing), b'{"a":1}')

    assert session.deadlines == []
    assert session.workers.happened == []
