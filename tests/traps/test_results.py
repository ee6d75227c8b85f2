"""Traps 83 to 104: results and errors."""

import json
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.utils.translation import gettext_lazy

from mcp_channels import (
    CallToolResult,
    Context,
    ImageContent,
    ProtocolError,
    TextContent,
)
from mcp_channels.protocol.envelope import (
    SERVER_INFO,
)
from mcp_channels.worker import get_worker
from tests.sites import LEGACY, MODERN, Clerk, Site, refusal
from tests.traps.tools import frame_of
from tests.traps.wire import EVERY, A, every


def raiser(exception: BaseException) -> Any:
    def fail() -> str:
        raise exception

    return fail


@every
async def test_trap_83_unknown_tool(site: Site, revision: str) -> None:
    async with site.client(revision=revision) as client:
        message = await frame_of(client, "tools/call", name="none", arguments={})

    assert message["error"] == {"code": -32602, "message": "Unknown tool: none"}


@every
@pytest.mark.parametrize(
    "exception", [ValueError("/etc/secret"), KeyError("secret"), SystemExit("secret")]
)
async def test_trap_84_tool_that_raises(
    site: Site, revision: str, exception: BaseException
) -> None:
    site.tool(name="fail")(raiser(exception))
    async with site.client(revision=revision) as client:
        result = await client.call_tool("fail")

    assert result["isError"] is True
    assert result["content"] == [{"type": "text", "text": "Tool 'fail' failed."}]
    assert "secret" not in json.dumps(result)


@every
@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
async def test_trap_85_error_of_the_protocol_on_purpose(
    site: Site, revision: str, method: str
) -> None:
    fail = raiser(ProtocolError("Later", code=4001, data={"after": 5}))
    site.tool(name="fail")(fail)
    site.prompt(name="fail")(fail)
    site.resource("shop://fail")(fail)
    async with site.client(revision=revision) as client:
        params = {"uri": "shop://fail", "name": "fail"}
        message = await frame_of(client, method, **params)

    assert message["error"] == {"code": 4001, "message": "Later", "data": {"after": 5}}


ABSENT = object()


@every
async def test_trap_86_structured_null(site: Site, revision: str) -> None:
    @site.tool
    def perhaps(found: bool) -> int | None:
        return 5 if found else None

    async with site.client(revision=revision) as client:
        nothing = await client.call_tool("perhaps", {"found": False})

    assert nothing["content"] == [{"type": "text", "text": "null"}]
    if revision == MODERN:
        assert nothing["structuredContent"] is None
    else:
        # Never null: it is wrapped, or left out.
        wrapped = {"result": None} if revision >= "2025-06-18" else ABSENT
        assert nothing.get("structuredContent", ABSENT) == wrapped


@every
@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [(list[int], [1, 2], "[1,2]"), (int, 5, "5"), (bool, False, "false")],
)
async def test_trap_87_structure_that_is_no_object(
    site: Site, revision: str, hint: Any, value: Any, text: str
) -> None:
    def give():  # type: ignore[no-untyped-def]
        return value

    give.__annotations__["return"] = hint
    site.tool(give)
    async with site.client(revision=revision) as client:
        result = await client.call_tool("give")

    assert result["content"] == [{"type": "text", "text": text}]
    if revision == MODERN:
        assert result["structuredContent"] == value
    elif revision >= "2025-06-18":
        assert result["structuredContent"] == {"result": value}
    else:
        assert "structuredContent" not in result


@every
async def test_trap_88_error_needs_no_structure(site: Site, revision: str) -> None:
    @site.tool(output_schema={"type": "object", "required": ["a"]})
    def give() -> CallToolResult:
        return CallToolResult(content=[TextContent("No.")], is_error=True)

    async with site.client(revision=revision) as client:
        result = await client.call_tool("give")

    assert result["content"] == [{"type": "text", "text": "No."}]
    assert result["isError"] is True
    assert "structuredContent" not in result


@every
@pytest.mark.parametrize("structured", [True, False])
async def test_trap_89_content_is_always_there(
    site: Site, revision: str, structured: bool
) -> None:
    @site.tool(structured=structured)
    async def nothing() -> None: ...

    async with site.client(revision=revision) as client:
        result = await client.call_tool("nothing")

    assert result["content"] == []


@every
@pytest.mark.parametrize("found", [None, [], ()])
async def test_trap_90_empty_contents(site: Site, revision: str, found: Any) -> None:
    site.resource("shop://none")(lambda: found)
    async with site.client(revision=revision) as client:
        message = await frame_of(client, "resources/read", uri="shop://none")

    assert "result" not in message
    assert message["error"]["message"] == "Resource not found"


@every
@pytest.mark.parametrize("uri", ["shop://none", "", "%", "shop://orders/a/b"])
async def test_trap_91_code_of_not_found(site: Site, revision: str, uri: str) -> None:
    async with site.client(revision=revision) as client:
        error = await refusal(client.read_resource(uri))

    assert error.code == (-32602 if revision == MODERN else -32002)
    assert error.data == {"uri": uri}


class Form(msgspec.Struct):
    name: str


@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {"url": {}}}])
async def test_trap_92_url_question_in_the_modern_era(
    site: Site, capabilities: dict[str, Any]
) -> None:
    @site.tool
    async def visit(context: Context) -> str:
        await context.aelicit_url("Sign in", "https://example.com/")
        return "visited"

    async with site.client(capabilities=capabilities) as client:
        message = await frame_of(client, "tools/call", name="visit", arguments={})

    if capabilities:
        (question,) = message["result"]["inputRequests"].values()

        assert message["result"]["resultType"] == "input_required"
        assert question["method"] == "elicitation/create"
    else:
        assert message["error"]["code"] == -32021


MEMBERS_OF_MODERN = {"resultType", "ttlMs", "cacheScope"}


@every
async def test_trap_93_members_of_the_modern_era_alone(
    site: Site, revision: str
) -> None:
    site.resource("shop://kept", ttl=5, cache_scope="public")(lambda: "x")
    argument = {"name": "a", "value": ""}
    ref = {"type": "ref/prompt", "name": "p"}
    questions: list[tuple[str, dict[str, Any]]] = [
        ("tools/list", {}),
        ("prompts/list", {}),
        ("resources/list", {}),
        ("resources/templates/list", {}),
        ("resources/read", {"uri": "shop://kept"}),
        ("tools/call", {"name": "ok"}),
        ("prompts/get", {"name": "p"}),
        ("completion/complete", {"ref": ref, "argument": argument}),
    ]
    if revision != MODERN:
        questions += [("ping", {}), ("resources/subscribe", {"uri": A})]
    async with site.client(revision=revision) as client:
        for method, params in questions:
            if method == "completion/complete" and revision == "2024-11-05":
                continue
            result = await client.request(method, params)
            if revision == MODERN:
                assert result["resultType"] == "complete"
                assert SERVER_INFO in result["_meta"]
            else:
                assert not result.keys() & MEMBERS_OF_MODERN
                assert SERVER_INFO not in result.get("_meta", {})


async def test_trap_94_empty_results(site: Site) -> None:
    async with site.client(revision=LEGACY) as client:
        for method in ("resources/subscribe", "resources/unsubscribe"):
            assert await client.request(method, {"uri": A}) == {}
        assert await client.request("ping") == {}
    async with site.client() as client:
        id = await client.listen({})
        end_listens()
        result = await client.answer_to(id)

    assert result["resultType"] == "complete"


def end_listens() -> None:
    (everybody,) = get_worker().audiences
    for session in everybody.sessions.values():
        session.subscriptions.end()


async def test_trap_95_cache_hints_where_they_belong(site: Site) -> None:
    hints = {"ttlMs", "cacheScope"}
    argument = {"name": "a", "value": ""}
    ref = {"type": "ref/prompt", "name": "p"}
    async with site.client() as client:
        for method in (
            "server/discover",
            "tools/list",
            "prompts/list",
            "resources/list",
            "resources/templates/list",
        ):
            assert (await client.request(method)).keys() >= hints

        assert (await client.read_resource(A)).keys() >= hints
        for result in (
            await client.call_tool("ok"),
            await client.get_prompt("p"),
            await client.request(
                "completion/complete", {"ref": ref, "argument": argument}
            ),
        ):
            assert not result.keys() & hints


@pytest.mark.parametrize(
    "method",
    ["tools/list", "prompts/list", "resources/list", "resources/templates/list"],
)
async def test_trap_96_pages_have_one_scope(settings: Any, method: str) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "PAGE_SIZE": 1}
    site = Site()
    for number in range(3):
        permission = "shop.see" if number == 1 else None
        name = f"n{number}"
        site.tool(name=name, permission=permission)(lambda: "x")
        site.prompt(name=name, permission=permission)(lambda: "x")
        site.resource(f"shop:{name}", permission=permission, cache_scope="public")(
            lambda: "x"
        )
        site.resource(f"t:{name}/{{a}}", permission=permission)(lambda a: "x")
    scopes, cursor = [], {}
    async with site.client(Clerk("shop.see")) as client:
        while True:
            page = await client.request(method, cursor)
            scopes.append(page["cacheScope"])
            if "nextCursor" not in page:
                break
            cursor = {"cursor": page["nextCursor"]}

    # And never public, since what is seen depends on who looks.
    assert scopes == ["private"] * 3


async def test_trap_97_required_capabilities_are_an_object(site: Site) -> None:
    @site.tool
    async def think(context: Context) -> str:
        await context.asample("Think", max_tokens=5)
        return "thought"

    async with site.client() as client:
        error = await refusal(client.call_tool("think"))

    assert error.code == -32021
    assert error.data == {"requiredCapabilities": {"sampling": {}}}


@pytest.mark.parametrize("revision", [LEGACY, MODERN])
async def test_trap_98_form_for_a_client_that_only_opens_urls(
    site: Site, revision: str
) -> None:
    @site.tool
    async def ask(context: Context) -> str:
        return str(await context.aelicit("Who?", Form))

    capabilities: Any = {"elicitation": {"url": {}}}
    async with site.client(revision=revision, capabilities=capabilities) as client:
        message = await frame_of(client, "tools/call", name="ask", arguments={})

    if revision == MODERN:
        assert message["error"]["code"] == -32021
        assert message["error"]["data"] == {
            "requiredCapabilities": {"elicitation": {"form": {}}}
        }
    else:
        # Nothing else was sent: the model is told.
        assert message["result"]["isError"] is True


@pytest.mark.parametrize("revision", [LEGACY, MODERN])
@pytest.mark.parametrize("declared", [True, None, 1, "yes", []])
async def test_trap_99_capability_that_is_no_object(
    site: Site, revision: str, declared: Any
) -> None:
    @site.tool
    async def ask(context: Context) -> str:
        return str(await context.aelicit("Who?", Form))

    capabilities: Any = {"elicitation": declared}
    async with site.client(revision=revision, capabilities=capabilities) as client:
        message = await frame_of(client, "tools/call", name="ask", arguments={})

    if revision == MODERN:
        assert message["error"]["code"] == -32021
    else:
        assert message["result"]["isError"] is True


@pytest.mark.parametrize("revision", EVERY[1:])
async def test_trap_100_completion_of_very_many(site: Site, revision: str) -> None:
    values = [f"v{number:03}" for number in range(150)]
    site.prompt(name="many", complete={"a": values})(lambda a: a)
    async with site.client(revision=revision) as client:
        ref = {"type": "ref/prompt", "name": "many"}
        completion = await client.complete(ref, "a", "v")

    assert completion == {"values": values[:100], "total": 150, "hasMore": True}


@every
async def test_trap_101_base64_of_the_standard_alphabet(
    site: Site, revision: str
) -> None:
    data = bytes([0xFB, 0xFF, 0xFE]) * 40 + b"\xff"
    text = "+//+" * 40 + "/w=="
    site.resource("shop://image")(lambda: data)
    site.tool(name="image")(lambda: ImageContent(data, "image/png"))
    site.prompt(name="image")(lambda: ImageContent(data, "image/png"))
    async with site.client(revision=revision) as client:
        read = await client.read_resource("shop://image")
        called = await client.call_tool("image")
        got = await client.get_prompt("image")

    assert read["contents"][0]["blob"] == text
    assert called["content"][0]["data"] == text
    assert got["messages"][0]["content"]["data"] == text


VALUES = {
    "datetime": datetime(2026, 7, 28, 12, tzinfo=UTC),
    "date": date(2026, 7, 28),
    "duration": timedelta(seconds=90),
    "decimal": Decimal("1.10"),
    "uuid": uuid.UUID(int=5),
    "lazy": gettext_lazy("word"),
    "set": {1},
}
NORMAL = {
    "datetime": "2026-07-28T12:00:00Z",
    "date": "2026-07-28",
    "duration": "PT90S",
    "decimal": "1.10",
    "uuid": "00000000-0000-0000-0000-000000000005",
    "lazy": "word",
    "set": [1],
}


@every
async def test_trap_102_values_without_a_json_form(site: Site, revision: str) -> None:
    site.tool(name="values")(lambda: VALUES)
    site.tool(name="bad")(lambda: {"a": object()})
    site.resource("shop://values")(lambda: VALUES)
    site.resource("shop://bad")(lambda: {"a": object()})
    site.prompt(name="lazy", title=gettext_lazy("word"))(lambda: gettext_lazy("word"))
    async with site.client(revision=revision) as client:
        called = await client.call_tool("values")
        read = await client.read_resource("shop://values")
        got = await client.get_prompt("lazy")
        error = await refusal(client.read_resource("shop://bad"))

        assert (await client.call_tool("bad"))["isError"] is True
        # The socket is still good.
        assert await client.list_prompts()

    assert json.loads(called["content"][0]["text"]) == NORMAL
    assert json.loads(read["contents"][0]["text"]) == NORMAL
    assert got["messages"][0]["content"]["text"] == "word"
    assert (error.code, error.message) == (-32603, "Internal error")


@every
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_trap_103_cursor_of_the_last_page(
    settings: Any, site: Site, revision: str, size: int
) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "PAGE_SIZE": size}
    async with site.client(revision=revision) as client:
        page = await client.request("resources/list")
        while "nextCursor" in page:
            assert isinstance(page["nextCursor"], str)
            assert page["nextCursor"]
            page = await client.request(
                "resources/list", {"cursor": page["nextCursor"]}
            )

    assert "nextCursor" not in page


@every
@pytest.mark.parametrize("method", ["prompts/get", "resources/read", "resources/list"])
async def test_trap_104_text_of_an_exception(
    site: Site, revision: str, method: str
) -> None:
    fail = raiser(ValueError("SELECT secret FROM t"))
    site.prompt(name="fail")(fail)
    site.resource("shop://fail")(fail)
    site.resource("shop://fail/{a}", list=fail)(lambda a: "x")
    async with site.client(revision=revision) as client:
        params = {"uri": "shop://fail", "name": "fail"}
        message = await frame_of(client, method, **params)

    assert message["error"] == {"code": -32603, "message": "Internal error"}
