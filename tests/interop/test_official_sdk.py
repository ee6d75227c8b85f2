"""The official SDK's Client on a WebSocket, in both of the ways in which it begins."""

import asyncio
import base64
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    closing,
)
from pathlib import Path
from typing import Any
from uuid import uuid4

import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged

from tests.interop.servers import Server
from tests.interop.transport import PATIENCE, websocket_client

REVISIONS = {"legacy": "2025-11-25", "auto": "2026-07-28"}

TOOLS = [
    *("add", "await_cancelled", "book", "book_async", "close_bar", "count", "fail"),
    *("folders", "forecast", "gossip", "nap", "open_bar", "order", "pay", "refuse"),
    *("repeat", "restock", "rhyme", "wait"),
]

Connect = Callable[..., AbstractAsyncContextManager[Client]]

SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"

legacy_only = pytest.mark.parametrize("mode", ["legacy"])
modern_only = pytest.mark.parametrize("mode", ["auto"])
# It is as 2026-07-28 says; the older revisions have nothing else.
deprecated = pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")


@pytest.fixture(params=list(REVISIONS))
def mode(request: pytest.FixtureRequest) -> str:
    """How a client finds out which revision to speak."""
    mode: str = request.param
    return mode


@pytest.fixture
def connect(server: Server, mode: str) -> Connect:
    """Connect a client to each server in each mode."""

    @asynccontextmanager
    async def connect(**options: Any) -> AsyncIterator[Client]:
        async with (
            asyncio.timeout(4 * PATIENCE),
            Client(websocket_client(server.url()), mode=mode, **options) as client,
        ):
            yield client

    return connect


async def walk(list_page: Callable[..., Awaitable[Any]], items: str) -> list[Any]:
    """Return the items of all pages of a list."""
    found: list[Any] = []
    cursor = None
    while True:
        page = await list_page(cursor=cursor)
        found += getattr(page, items)
        cursor = page.next_cursor
        if cursor is None:
            return found


def text_of(result: types.CallToolResult) -> str:
    """Return the text of a result that is no failure."""
    assert not result.is_error
    text: str = result.content[0].text
    return text


async def test_client_learns_who_serves_it(connect: Connect, mode: str) -> None:
    async with connect() as client:
        assert client.protocol_version == REVISIONS[mode]
        assert client.server_info is not None
        assert client.server_info.name == "interop"


async def test_all_features_are_offered(connect: Connect) -> None:
    async with connect() as client:
        offered = client.server_capabilities

    assert offered is not None
    assert offered.tools is not None and offered.tools.list_changed
    assert offered.prompts is not None and offered.prompts.list_changed
    assert offered.resources is not None and offered.resources.list_changed
    assert offered.resources.subscribe
    assert offered.completions is not None
    assert offered.logging is not None


async def test_tools_are_listed(connect: Connect) -> None:
    async with connect() as client:
        first = await client.list_tools()
        tools = {tool.name: tool for tool in await walk(client.list_tools, "tools")}

    assert len(first.tools) == 10
    assert list(tools) == TOOLS
    assert tools["add"].description == "Add two numbers."
    assert tools["add"].input_schema["required"] == ["a", "b"]
    assert tools["add"].annotations is not None
    assert tools["add"].annotations.read_only_hint is True


async def test_tools_are_called(connect: Connect, mode: str) -> None:
    # The client holds structured content against the schema that was listed.
    async with connect() as client:
        await client.list_tools()
        added = await client.call_tool("add", {"a": 1, "b": 2})
        warm = await client.call_tool("forecast", {"city": "Bern", "scale": "F"})

    assert not added.is_error
    assert added.content[0].text == "3"
    assert added.structured_content == (3 if mode == "auto" else {"result": 3})
    assert warm.structured_content == {"city": "Bern", "degrees": 70.7}


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("add", {"a": "1", "b": 2}, 'a: expected integer, got string "1"'),
        ("add", {"a": 1}, "b: required, but missing"),
        ("forecast", {"city": "Bern", "scale": "K"}, 'scale: expected one of "C", "F"'),
        ("add", {"a": 1, "b": 2, "c": 3}, "c: unknown argument"),
        ("refuse", {}, "The shop is closed."),
        ("fail", {}, "Tool 'fail' failed."),
    ],
)
async def test_failures_are_told_to_the_model(
    connect: Connect, name: str, arguments: dict[str, object], text: str
) -> None:
    async with connect() as client:
        result = await client.call_tool(name, arguments)

    assert result.is_error
    assert text in result.content[0].text
    assert "secret" not in result.content[0].text


async def test_unknown_tool_is_an_error(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match="Unknown tool: nothing") as caught:
            await client.call_tool("nothing")

    assert caught.value.code == -32602


async def test_progress_is_called_back(connect: Connect) -> None:
    told = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with connect() as client:
        result = await client.call_tool("count", {"to": 3}, progress_callback=tell)

    assert result.content[0].text == "counted"
    assert told == [(1, 3, "1 of 3"), (2, 3, "2 of 3"), (3, 3, "3 of 3")]


async def test_call_that_takes_too_long_is_cancelled_at_the_server(
    connect: Connect,
) -> None:
    name = uuid4().hex
    async with connect() as client:
        with pytest.raises(MCPError, match="timed out"):
            await client.call_tool("wait", {"name": name}, read_timeout_seconds=0.1)

        assert not (await client.call_tool("await_cancelled", {"name": name})).is_error


async def test_calls_of_a_client_that_goes_are_cancelled(connect: Connect) -> None:
    name = uuid4().hex
    async with connect() as other:
        async with connect() as client:
            call = asyncio.create_task(client.call_tool("wait", {"name": name}))
            # Answered after it, so the call has begun.
            await client.call_tool("add", {"a": 1, "b": 2})
        with pytest.raises(MCPError):
            await call

        assert not (await other.call_tool("await_cancelled", {"name": name})).is_error


async def test_call_is_cancelled_while_others_run(connect: Connect) -> None:
    names = [uuid4().hex for _ in range(3)]
    async with connect() as client:
        calls = [
            asyncio.create_task(client.call_tool("wait", {"name": name}))
            for name in names
        ]
        sums = [
            asyncio.create_task(client.call_tool("add", {"a": number, "b": 1}))
            for number in range(20)
        ]
        awaiting = asyncio.create_task(
            client.call_tool("await_cancelled", {"name": names[1]})
        )
        await client.call_tool("add", {"a": 0, "b": 0})
        calls[1].cancel()
        awaited = await awaiting
        results = await asyncio.gather(*sums)
        going_on = [not call.done() for call in calls]
        for call in calls:
            call.cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)

    assert not awaited.is_error
    assert [text_of(result) for result in results] == [
        str(number + 1) for number in range(20)
    ]
    assert going_on == [True, False, True]
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)


async def test_many_calls_run_at_the_same_time(connect: Connect) -> None:
    async with connect() as client:
        results = await asyncio.gather(
            *(client.call_tool("add", {"a": number, "b": 1}) for number in range(30))
        )

    assert [result.content[0].text for result in results] == [
        str(number + 1) for number in range(30)
    ]


async def test_ping_is_answered_where_it_exists(connect: Connect, mode: str) -> None:
    async with connect() as client:
        if mode == "legacy":
            assert await client.session.send_ping()
        else:
            with pytest.raises(MCPError, match="Method not found: ping"):
                await client.session.send_ping()


# Logs


@deprecated
async def test_logs_come_from_the_level_that_was_asked_for(
    connect: Connect, mode: str
) -> None:
    told: list[types.LoggingMessageNotificationParams] = []

    async def tell(params: types.LoggingMessageNotificationParams) -> None:
        told.append(params)

    # The modern era asks with each request, the legacy one once for the connection.
    async with connect(logging_callback=tell, log_level="info") as client:
        if mode == "legacy":
            await client.set_logging_level("info")
        await client.call_tool("gossip")
        if mode == "legacy":
            await client.set_logging_level("error")
            await client.call_tool("gossip")
        else:
            meta: Any = {types.LOG_LEVEL_META_KEY: "error"}
            await client.call_tool("gossip", meta=meta)

    assert [(one.level, one.logger, one.data) for one in told] == [
        ("info", "kitchen", {"seen": ["a", "cat"]}),
        ("error", None, "No more cheese."),
        ("error", None, "No more cheese."),
    ]


@modern_only
async def test_logs_do_not_come_unasked(connect: Connect) -> None:
    told: list[types.LoggingMessageNotificationParams] = []

    async def tell(params: types.LoggingMessageNotificationParams) -> None:
        told.append(params)

    async with connect(logging_callback=tell) as client:
        assert text_of(await client.call_tool("gossip")) == "told"
    assert told == []


# Resources and their news


async def test_resources_are_listed(connect: Connect) -> None:
    async with connect() as client:
        resources = await walk(client.list_resources, "resources")
        (template,) = await walk(client.list_resource_templates, "resource_templates")

    assert [(one.uri, one.name, one.mime_type) for one in resources] == [
        ("shop://greeting", "greeting", None),
        ("shop://hours", "hours", "text/plain"),
        ("shop://sign", "sign", "image/png"),
    ]
    assert resources[1].title == "Opening hours"
    assert template.uri_template == "shop://stock/{item}"
    assert template.description == "How much there is of something."


async def test_resources_are_read(connect: Connect) -> None:
    async with connect() as client:
        (hours,) = (await client.read_resource("shop://hours")).contents
        (sign,) = (await client.read_resource("shop://sign")).contents
        (stock,) = (await client.read_resource("shop://stock/green%20tea")).contents

    assert isinstance(hours, types.TextResourceContents)
    assert (hours.uri, hours.mime_type) == ("shop://hours", "text/plain")
    assert hours.text == "From nine to five."
    assert isinstance(sign, types.BlobResourceContents)
    assert base64.b64decode(sign.blob, validate=True).startswith(b"\x89PNG")
    assert isinstance(stock, types.TextResourceContents)
    assert (stock.uri, stock.text) == ("shop://stock/green%20tea", "3")


@pytest.mark.parametrize("uri", ["shop://stock/coffee", "shop://elsewhere"])
async def test_missing_resource_is_an_error(
    connect: Connect, mode: str, uri: str
) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match="Resource not found") as caught:
            await client.read_resource(uri)

    assert caught.value.code == (-32602 if mode == "auto" else -32002)
    assert caught.value.data == {"uri": uri}


async def stock_of(client: Client, item: str) -> int:
    (contents,) = (await client.read_resource(f"shop://stock/{item}")).contents
    return int(contents.text)


async def restock(client: Client, item: str, count: int) -> None:
    text_of(await client.call_tool("restock", {"item": item, "count": count}))


@legacy_only
@deprecated
async def test_subscriber_is_told(connect: Connect) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    async with connect(message_handler=heard.put) as client, connect() as other:
        count = await stock_of(client, "tea")
        await client.subscribe_resource("shop://stock/tea")
        await client.subscribe_resource("shop://stock/rum")
        await restock(other, "tea", count + 1)
        updated = await heard.get()
        after = await stock_of(client, "tea")
        await client.unsubscribe_resource("shop://stock/tea")
        await restock(other, "tea", count)
        await restock(other, "rum", 2)
        last = await heard.get()

    assert isinstance(updated, types.ResourceUpdatedNotification)
    assert updated.params.uri == "shop://stock/tea"
    assert after == count + 1
    # What it has left is not told of, though it changed before.
    assert isinstance(last, types.ResourceUpdatedNotification)
    assert last.params.uri == "shop://stock/rum"
    assert heard.empty()


@legacy_only
@deprecated
async def test_nobody_subscribes_to_what_is_missing(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match="Resource not found") as caught:
            await client.subscribe_resource("shop://stock/coffee")

    assert caught.value.code == -32002


@modern_only
async def test_listener_is_told(connect: Connect) -> None:
    wanted = ["shop://stock/tea", "shop://stock/coffee"]
    async with connect() as client, connect() as other:
        count = await stock_of(client, "tea")
        async with client.listen(
            resource_subscriptions=wanted, tools_list_changed=True
        ) as listen:
            honored = listen.honored
            await restock(other, "rum", 2)
            await restock(other, "tea", count + 1)
            event = await anext(listen)
            # The client keeps what it read for a minute, but for such news.
            after = await stock_of(client, "tea")

    assert honored.resource_subscriptions == ["shop://stock/tea"]
    assert honored.tools_list_changed
    assert not honored.prompts_list_changed
    assert event == ResourceUpdated("shop://stock/tea")
    assert after == count + 1


@modern_only
async def test_listens_are_told_apart(connect: Connect) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    async with connect(message_handler=heard.put) as client, connect() as other:
        async with client.listen(resource_subscriptions=["shop://stock/rum"]) as rum:
            async with client.listen(
                resource_subscriptions=["shop://stock/tea", "shop://stock/rum"]
            ) as both:
                await restock(other, "tea", 5)
                told = await anext(both)
            # That listen is cancelled: only the other one is told.
            await restock(other, "tea", 5)
            await restock(other, "rum", 2)
            told_later = await anext(rum)
        messages = [await heard.get(), await heard.get()]

    assert told == ResourceUpdated("shop://stock/tea")
    assert told_later == ResourceUpdated("shop://stock/rum")
    assert [one.params.meta[SUBSCRIPTION_ID] for one in messages] == [
        both.subscription_id,
        rum.subscription_id,
    ]


@asynccontextmanager
async def bar(client: Client) -> AsyncIterator[None]:
    """Have the server offer more than before, for as long as the block lasts."""
    text_of(await client.call_tool("open_bar"))
    try:
        yield
    finally:
        text_of(await client.call_tool("close_bar"))


@legacy_only
async def test_client_is_told_of_changed_lists(connect: Connect) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    async with connect(message_handler=heard.put) as client, connect() as other:
        async with bar(other):
            told = [await heard.get(), await heard.get()]
            poured = text_of(await client.call_tool("drink"))
        told += [await heard.get(), await heard.get()]
        names = [one.name for one in await walk(client.list_tools, "tools")]

    kinds = [types.ToolListChangedNotification, types.ResourceListChangedNotification]
    assert [type(one) for one in told] == kinds * 2
    assert poured == "Cheers."
    assert names == TOOLS


@modern_only
async def test_listen_ends_when_its_resource_is_taken_away(connect: Connect) -> None:
    async with (
        connect() as client,
        connect() as other,
        client.listen(tools_list_changed=True) as tools,
        AsyncExitStack() as stack,
    ):
        async with bar(other):
            opened = await anext(tools)
            poured = text_of(await client.call_tool("drink"))
            listen = await stack.enter_async_context(
                client.listen(resource_subscriptions=["shop://bar"])
            )
        closed = await anext(tools)
        # To the end, which the server makes: it is no error.
        events = [event async for event in listen]

    assert (opened, closed) == (ToolsListChanged(), ToolsListChanged())
    assert poured == "Cheers."
    assert listen.honored.resource_subscriptions == ["shop://bar"]
    assert events == []


# Prompts and completion


async def test_prompts_are_listed(connect: Connect) -> None:
    async with connect() as client:
        prompts = await walk(client.list_prompts, "prompts")

    assert [(one.name, one.title) for one in prompts] == [
        ("advertise", "Advertise"),
        ("toast", None),
    ]
    arguments = prompts[0].arguments
    assert [(one.name, one.required) for one in arguments] == [
        ("house", True),
        ("room", True),
        ("tone", False),
        ("words", False),
    ]
    assert arguments[0].description == "where the room is."


async def test_prompt_is_made_of_its_arguments(connect: Connect) -> None:
    async with connect() as client:
        result = await client.get_prompt(
            "advertise", {"house": "inn", "room": "attic", "words": "9"}
        )

    assert result.description == "Write an advertisement."
    assert [message.role for message in result.messages] == [
        "user",
        "assistant",
        "user",
    ]
    first, second, third = [message.content for message in result.messages]
    assert first.text == "Praise attic of inn in 9."
    assert second.text == "In a soft voice?"
    assert (third.type, third.uri) == ("resource_link", "shop://hours")


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("advertise", {"house": "inn"}, "Argument 'room' is required"),
        ("advertise", {"house": "inn", "room": "x", "words": "many"}, "'words'"),
        ("nothing", {}, "Unknown prompt: nothing"),
    ],
)
async def test_wrong_prompt_is_an_error(
    connect: Connect, name: str, arguments: dict[str, str], reason: str
) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match=reason) as caught:
            await client.get_prompt(name, arguments)

    assert caught.value.code == -32602


ADVERTISE = types.PromptReference(type="ref/prompt", name="advertise")
STOCK = types.ResourceTemplateReference(type="ref/resource", uri="shop://stock/{item}")


@pytest.mark.parametrize(
    ("ref", "argument", "value", "known", "values"),
    [
        (ADVERTISE, "house", "m", None, ["mill"]),
        (ADVERTISE, "room", "", {"house": "inn"}, ["attic", "cellar"]),
        (ADVERTISE, "room", "", None, []),
        (ADVERTISE, "tone", "s", None, ["soft"]),
        (STOCK, "item", "te", None, ["tea", "green tea"]),
    ],
)
async def test_arguments_are_completed(
    connect: Connect,
    ref: types.PromptReference | types.ResourceTemplateReference,
    argument: str,
    value: str,
    known: dict[str, str] | None,
    values: list[str],
) -> None:
    async with connect() as client:
        result = await client.complete(ref, {"name": argument, "value": value}, known)

    assert result.completion.values == values
    assert result.completion.total == len(values)
    assert not result.completion.has_more


# Questions to the client


async def test_form_is_filled_in(connect: Connect) -> None:
    asked: list[types.ElicitRequestParams] = []
    contents: list[dict[str, Any]] = [{"count": 12}, {"count": 3, "kind": "big"}]

    async def fill_in(context: Any, params: types.ElicitRequestParams) -> Any:
        asked.append(params)
        return types.ElicitResult(action="accept", content=contents[len(asked) - 1])

    async with connect(elicitation_callback=fill_in) as client:
        result = await client.call_tool("order")

    assert text_of(result) == "Ordered 3 big."
    first, second = asked
    assert isinstance(first, types.ElicitRequestFormParams)
    assert first.message == "How much?"
    assert first.requested_schema["properties"] == {
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "title": "How many?"},
        "kind": {"type": "string", "enum": ["big", "small"], "default": "small"},
    }
    assert first.requested_schema["required"] == ["count"]
    # What does not fit is asked for again.
    assert second.message.startswith("How much?\n\n")
    assert "count" in second.message


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_user_may_decline(connect: Connect, action: Any) -> None:
    async def decline(context: Any, params: types.ElicitRequestParams) -> Any:
        return types.ElicitResult(action=action)

    async with connect(elicitation_callback=decline) as client:
        caught = await client.call_tool("order")
        uncaught = await client.call_tool("book", {"room": "attic"})

    assert text_of(caught) == f"Nothing ordered: {action}."
    assert uncaught.is_error
    words = {"decline": "The user declined.", "cancel": "The user cancelled."}
    assert uncaught.content[0].text == words[action]


async def test_page_is_opened(connect: Connect, mode: str) -> None:
    asked: list[types.ElicitRequestParams] = []

    async def open_page(context: Any, params: types.ElicitRequestParams) -> Any:
        asked.append(params)
        return types.ElicitResult(action="accept")

    async with connect(elicitation_callback=open_page) as client:
        result = await client.call_tool("pay")

    assert text_of(result) == "The page was opened."
    (params,) = asked
    assert isinstance(params, types.ElicitRequestURLParams)
    assert (params.message, params.url) == (
        "Please pay here.",
        "https://shop.example/pay",
    )


async def test_model_of_the_client_answers(connect: Connect) -> None:
    asked: list[types.CreateMessageRequestParams] = []

    async def answer(context: Any, params: types.CreateMessageRequestParams) -> Any:
        asked.append(params)
        return types.CreateMessageResult(
            role="assistant",
            content=types.TextContent(type="text", text="sea"),
            model="a-model",
        )

    async with connect(sampling_callback=answer) as client:
        result = await client.call_tool("rhyme", {"word": "tea"})

    assert text_of(result) == "sea (a-model)"
    (params,) = asked
    (message,) = params.messages
    assert (message.role, message.content.text) == ("user", "A rhyme on tea, please.")
    assert (params.max_tokens, params.temperature) == (20, 0.5)
    assert params.system_prompt == "You are a poet."


async def test_roots_of_the_client_are_listed(connect: Connect) -> None:
    async def list_roots(context: Any) -> Any:
        return types.ListRootsResult(
            roots=[types.Root(uri="file:///home/ada", name="home")]
        )

    async with connect(list_roots_callback=list_roots) as client:
        result = await client.call_tool("folders")

    assert text_of(result) == '["home: file:///home/ada"]'


@legacy_only
@deprecated
async def test_client_may_say_that_its_roots_changed(connect: Connect) -> None:
    folders = ["attic", "cellar"]

    async def list_roots(context: Any) -> Any:
        return types.ListRootsResult(
            roots=[types.Root(uri=f"file:///{folders.pop(0)}", name="it")]
        )

    async with connect(list_roots_callback=list_roots) as client:
        before = await client.call_tool("folders")
        await client.send_roots_list_changed()
        after = await client.call_tool("folders")

    # It is asked anew each time.
    assert text_of(before) == '["it: file:///attic"]'
    assert text_of(after) == '["it: file:///cellar"]'


async def test_prompts_and_resources_may_ask(connect: Connect) -> None:
    async def fill_in(context: Any, params: types.ElicitRequestParams) -> Any:
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async with connect(elicitation_callback=fill_in) as client:
        toast = await client.get_prompt("toast")
        (greeting,) = (await client.read_resource("shop://greeting")).contents

    assert toast.messages[0].content.text == "A toast on Ada, please."
    assert greeting.text == "Good day, Ada!"


@pytest.mark.parametrize(
    ("name", "arguments", "needed"),
    [
        ("order", {}, {"elicitation": {"form": {}}}),
        ("pay", {}, {"elicitation": {"url": {}}}),
        ("rhyme", {"word": "tea"}, {"sampling": {}}),
        ("folders", {}, {"roots": {}}),
    ],
)
async def test_client_is_not_asked_what_it_cannot_answer(
    connect: Connect,
    mode: str,
    name: str,
    arguments: dict[str, Any],
    needed: dict[str, Any],
) -> None:
    async with connect() as client:
        if mode == "legacy":
            result = await client.call_tool(name, arguments)
            assert result.is_error
            assert "The client does not declare" in result.content[0].text
        else:
            with pytest.raises(MCPError) as caught:
                await client.call_tool(name, arguments)
            assert caught.value.code == -32021
            assert caught.value.data == {"requiredCapabilities": needed}


@legacy_only
async def test_question_of_a_cancelled_call_is_taken_back(connect: Connect) -> None:
    asked, taken_back = asyncio.Event(), asyncio.Event()

    async def hesitate(context: Any, params: types.ElicitRequestParams) -> Any:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            taken_back.set()

    async with connect(elicitation_callback=hesitate) as client:
        for name in ("book", "book_async"):
            call = asyncio.create_task(client.call_tool(name, {"room": "attic"}))
            await asked.wait()
            call.cancel()
            await taken_back.wait()
            asked.clear()
            taken_back.clear()

        assert text_of(await client.call_tool("add", {"a": 1, "b": 2})) == "3"


# Two questions in a row, and then a write


def count_bookings(database: Path, room: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM auth_user WHERE last_name = ?", [room]
        ).fetchone()
    return int(count)


@pytest.mark.parametrize("name", ["book", "book_async"])
async def test_two_questions_and_one_write(
    connect: Connect, database: Path, name: str
) -> None:
    room = uuid4().hex
    asked: list[tuple[str, int]] = []

    async def answer(context: Any, params: types.ElicitRequestParams) -> Any:
        asked.append((params.message, count_bookings(database, room)))
        content = {"name": "Ada"} if len(asked) == 1 else {"sure": True}
        return types.ElicitResult(action="accept", content=content)

    async with connect(elicitation_callback=answer) as client:
        result = await client.call_tool(name, {"room": room})

    assert text_of(result) == f"Ada has {room}."
    # Each is asked once, and before the last answer nothing is written.
    assert asked == [("Who comes?", 0), (f"Book {room} for Ada?", 0)]
    assert count_bookings(database, room) == 1


@pytest.mark.parametrize("name", ["book", "book_async"])
async def test_questions_of_several_calls_are_told_apart(
    connect: Connect, database: Path, name: str
) -> None:
    rooms = [uuid4().hex for _ in range(8)]
    asked: list[str] = []

    async def answer(context: Any, params: types.ElicitRequestParams) -> Any:
        asked.append(params.message)
        content = {"name": f"Guest {len(asked)}", "sure": True}
        (wanted,) = params.requested_schema["properties"]
        return types.ElicitResult(action="accept", content={wanted: content[wanted]})

    async with connect(elicitation_callback=answer) as client:
        results = await asyncio.gather(
            *(client.call_tool(name, {"room": room}) for room in rooms)
        )

    guests = [text_of(result).partition(" has ")[0] for result in results]
    assert len(set(guests)) == len(rooms)
    assert sorted(asked) == sorted(
        [f"Book {room} for {guest}?" for room, guest in zip(rooms, guests, strict=True)]
        + ["Who comes?"] * len(rooms)
    )
    assert [count_bookings(database, room) for room in rooms] == [1] * len(rooms)


@pytest.mark.parametrize("name", ["book", "book_async"])
async def test_nothing_is_written_without_the_last_answer(
    connect: Connect, database: Path, name: str
) -> None:
    room = uuid4().hex

    async def answer(context: Any, params: types.ElicitRequestParams) -> Any:
        if params.message == "Who comes?":
            return types.ElicitResult(action="accept", content={"name": "Ada"})
        return types.ElicitResult(action="decline")

    async with connect(elicitation_callback=answer) as client:
        result = await client.call_tool(name, {"room": room})

    assert result.is_error
    assert count_bookings(database, room) == 0
