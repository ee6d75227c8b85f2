"""Resources and templates: what is read, what is listed, and what is not there."""

import asyncio
import base64
import enum
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import (
    ImproperlyConfigured,
    ObjectDoesNotExist,
    PermissionDenied,
)
from django.http import Http404
from django.utils.translation import gettext_lazy

from mcp_channels import (
    Annotations,
    Context,
    Icon,
    ProtocolError,
    ReadResourceResult,
    Resource,
    ResourceContents,
    ResourceNotFound,
)
from mcp_channels.server import resources
from mcp_channels.server.concurrency import get_workers
from mcp_channels.server.permissions import Identity
from mcp_channels.server.registry import Registry
from mcp_channels.testing import MCPCommunicator
from tests.sites import LEGACY, MODERN, Clerk, Site, both_eras, refusal

URI = "shop://a"
NOTHING = "shop://nothing"
NOT_FOUND = {LEGACY: -32002, MODERN: -32602}


class Colour(enum.Enum):
    RED = "r"


class Order(msgspec.Struct):
    number: int


class Custom: ...


def read(**members: Any) -> dict[str, Any]:
    return {"uri": URI, **members}


# Contents


@pytest.mark.parametrize(
    ("returned", "contents"),
    [
        ("text", [read(text="text", mimeType="text/plain")]),
        ("", [read(text="", mimeType="text/plain")]),
        (gettext_lazy("lazy"), [read(text="lazy", mimeType="text/plain")]),
        (b"", [read(blob="", mimeType="application/octet-stream")]),
        (
            b"\xfb\xff\xfe" * 30,
            [read(blob="+//+" * 30, mimeType="application/octet-stream")],
        ),
        (
            bytearray(b"\xff"),
            [read(blob="/w==", mimeType="application/octet-stream")],
        ),
        (
            memoryview(b"\xff"),
            [read(blob="/w==", mimeType="application/octet-stream")],
        ),
        ({"a": 1}, [read(text='{"a":1}', mimeType="application/json")]),
        ({}, [read(text="{}", mimeType="application/json")]),
        ([1, 2], [read(text="[1,2]", mimeType="application/json")]),
        (False, [read(text="false", mimeType="application/json")]),
        (0, [read(text="0", mimeType="application/json")]),
        (Order(5), [read(text='{"number":5}', mimeType="application/json")]),
        (ResourceContents("shop://b", text="b"), [{"uri": "shop://b", "text": "b"}]),
        (
            (
                ResourceContents(URI, text="a", mime_type="text/x"),
                ResourceContents("shop://b", blob=b"\xff", meta={"com.example/k": 1}),
            ),
            [
                read(text="a", mimeType="text/x"),
                {"uri": "shop://b", "blob": "/w==", "_meta": {"com.example/k": 1}},
            ],
        ),
        (
            ReadResourceResult(contents=[ResourceContents("shop://c", text="c")]),
            [{"uri": "shop://c", "text": "c"}],
        ),
    ],
)
@both_eras
async def test_whatever_a_function_returns_can_be_read(
    revision: str, returned: Any, contents: list[Any]
) -> None:
    site = Site()

    @site.resource(URI)
    def a() -> Any:
        return returned

    async with site.client(revision=revision) as client:
        result = await client.read_resource(URI)

    assert result["contents"] == contents


@pytest.mark.parametrize(
    ("returned", "member"), [("x", "text"), (b"x", "blob"), ({}, "text")]
)
async def test_type_is_the_one_that_was_registered(returned: Any, member: str) -> None:
    site = Site()
    site.resource(URI, mime_type="image/svg+xml")(lambda: returned)
    async with site.client() as client:
        (contents,) = (await client.read_resource(URI))["contents"]

        assert (await client.list_resources())[0]["mimeType"] == "image/svg+xml"

    assert contents["mimeType"] == "image/svg+xml"
    assert member in contents


async def test_binary_is_standard_base64_in_one_line() -> None:
    site = Site()
    data = bytes(range(256)) * 4
    site.resource(URI)(lambda: data)
    async with site.client() as client:
        blob = (await client.read_resource(URI))["contents"][0]["blob"]

    assert blob == base64.b64encode(data).decode()
    assert len(blob) % 4 == 0
    assert not set(blob) & set("-_\n")


@pytest.mark.parametrize(
    "returned",
    [
        object(),
        {"a": object()},
        float("nan") * 1j,
        [ResourceContents(URI, text="a"), "text"],
        ResourceContents(URI, text=5),  # type: ignore[arg-type]
        ResourceContents(5, text="x"),  # type: ignore[arg-type]
        ReadResourceResult(
            contents=[ResourceContents(URI, text="x")],
            cache_scope="everybody",  # type: ignore[arg-type]
        ),
    ],
)
async def test_what_cannot_be_sent_fails_without_saying_why(returned: Any) -> None:
    site = Site()
    site.resource(URI)(lambda: returned)
    async with site.client() as client:
        error = await refusal(client.read_resource(URI))

        assert await client.list_resources()

    assert (error.code, error.message) == (-32603, "Internal error")


# Not found


def raiser(exception: BaseException) -> Callable[[], Any]:
    def raise_it() -> Any:
        raise exception

    return raise_it


@pytest.mark.parametrize(
    "function",
    [
        lambda: None,
        lambda: [],
        lambda: (),
        lambda: ReadResourceResult(contents=[]),
        raiser(Http404("secret")),
        raiser(User.DoesNotExist("secret")),
        raiser(ObjectDoesNotExist("secret")),
        raiser(PermissionDenied("secret")),
        raiser(ResourceNotFound(URI)),
    ],
)
@both_eras
async def test_nothing_and_forbidden_are_like_missing(
    revision: str, function: Callable[[], Any]
) -> None:
    site = Site()
    site.resource(URI)(function)
    frames = []
    for uri in (URI, NOTHING):
        async with site.client(revision=revision) as client:
            await client.send_request("resources/read", {"uri": uri})
            frames.append(str(await client.receive()).replace(uri, "URI"))

    assert frames[0] == frames[1]
    assert f"'code': {NOT_FOUND[revision]}" in frames[0]


@both_eras
async def test_error_names_what_was_not_found(revision: str) -> None:
    site = Site()
    site.resource(URI)(lambda: "x")
    async with site.client(revision=revision) as client:
        error = await refusal(client.read_resource(NOTHING))

    assert (error.code, error.message) == (NOT_FOUND[revision], "Resource not found")
    assert error.data == {"uri": NOTHING}


@pytest.mark.parametrize("uri", [URI, "shop://orders/5"])
@both_eras
async def test_hidden_resource_is_like_a_missing_one(revision: str, uri: str) -> None:
    hidden, without = Site(), Site()
    for site in (hidden, without):
        site.resource("shop://open")(lambda: "x")
        site.resource("shop://open/{a}")(lambda a: "x")
    hidden.resource(URI, permission="shop.see")(lambda: "x")
    hidden.resource(
        "shop://orders/{number}", permission="shop.see", list=lambda: [{"number": 5}]
    )(lambda number: "x")
    answers = []
    for site in (hidden, without):
        async with site.client(Clerk(), revision=revision) as client:
            for method, params in (
                ("resources/read", {"uri": uri}),
                ("resources/list", {}),
                ("resources/templates/list", {}),
            ):
                await client.send_request(method, params)
                answers.append(await client.receive())

    assert answers[:3] == answers[3:]

    async with hidden.client(Clerk("shop.see"), revision=revision) as client:
        assert (await client.read_resource(uri))["contents"]
        assert uri in [entry["uri"] for entry in await client.list_resources()]


@pytest.mark.parametrize("params", [{}, {"uri": 5}, {"uri": None}, {"uri": ["a"]}])
@both_eras
async def test_uri_must_be_text(revision: str, params: Any) -> None:
    site = Site()
    site.resource(URI)(lambda: "x")
    async with site.client(revision=revision) as client:
        error = await refusal(client.request("resources/read", params))

    assert error.code == -32602


# Failures


@pytest.mark.parametrize(
    "exception",
    [ValueError("secret"), KeyError("secret"), OSError("secret"), SystemExit("s")],
)
@both_eras
async def test_what_a_resource_raises_stays_here(
    revision: str, exception: BaseException
) -> None:
    site = Site()
    site.resource(URI)(raiser(exception))
    async with site.client(revision=revision) as client:
        await client.send_request("resources/read", {"uri": URI})
        message = await client.receive()

    assert message["error"] == {"code": -32603, "message": "Internal error"}


async def test_protocol_error_passes_as_it_is() -> None:
    site = Site()
    site.resource(URI)(raiser(ProtocolError("Closed", code=4001, data=[1])))
    async with site.client() as client:
        error = await refusal(client.read_resource(URI))

    assert (error.code, error.message, error.data) == (4001, "Closed", [1])


@both_eras
async def test_resource_that_takes_too_long_is_given_up(revision: str) -> None:
    site = Site()
    stopped = asyncio.Event()

    @site.resource(URI, timeout=0.05)
    async def dawdle() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    async with site.client(revision=revision) as client:
        error = await refusal(client.read_resource(URI))
        await asyncio.wait_for(stopped.wait(), 5)

    assert (error.code, error.message) == (-32603, "The resource took too long")


# Templates


@pytest.fixture
def shop() -> Site:
    """Each resource answers with the variables it got."""
    site = Site()

    @site.resource("shop://orders/{number}")
    def order(context: Context, number: int) -> Any:
        return {"number": number}

    @site.resource("shop://paint/{colour}/{shade}")
    async def paint(colour: Colour, shade: Literal["dark"] | None = None) -> Any:
        return {"colour": colour, "shade": shade}

    @site.resource("shop://files/{+path}")
    def file(path: str) -> Any:
        return {"path": path}

    @site.resource("shop://find{?q,most}")
    def find(q, most: int = 10) -> Any:  # type: ignore[no-untyped-def]
        return {"q": q, "most": most}

    @site.resource("shop://orders/first")
    def first() -> Any:
        return "first"

    return site


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("shop://orders/5", '{"number":5}'),
        ("shop://orders/-5", '{"number":-5}'),
        ("shop://paint/r/dark", '{"colour":"r","shade":"dark"}'),
        ("shop://files/a/b.txt", '{"path":"a/b.txt"}'),
        ("shop://files/a%20b", '{"path":"a b"}'),
        ("shop://files/a%2520b", '{"path":"a%20b"}'),
        ("shop://files/%C3%A9", '{"path":"é"}'),
        ("shop://files/..a/b..", '{"path":"..a/b.."}'),
        ("shop://find?q=tea", '{"q":"tea","most":10}'),
        ("shop://find?most=3&q=tea", '{"q":"tea","most":3}'),
        ("shop://orders/first", "first"),
    ],
)
@both_eras
async def test_variables_become_what_the_annotations_say(
    shop: Site, revision: str, uri: str, text: str
) -> None:
    async with shop.client(revision=revision) as client:
        (contents,) = (await client.read_resource(uri))["contents"]

    assert contents["text"] == text
    assert contents["uri"] == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "shop://orders/five",
        "shop://orders/5.5",
        "shop://orders/",
        "shop://orders/5/6",
        "shop://orders/5?a=b",
        "SHOP://orders/5",
        "shop://paint/RED/dark",
        "shop://paint/r/light",
        "shop://paint/r",
        "shop://find",
        "shop://find?most=3",
        "shop://find?q=tea&most=many",
        # Out of the folder, in every spelling.
        "shop://files/../a",
        "shop://files/a/../../b",
        "shop://files/a/..",
        "shop://files/%2e%2e/a",
        "shop://files/%2E%2E%2Fa",
        "shop://files/..%2fa",
        "shop://files/a%2Fb",
        "shop://files/..\\a",
        "shop://files/..%5ca",
        "shop://files/a%00b",
        "shop://files/a\x00b",
        "shop://files/%FF",
        "shop://orders/%2e%2e",
    ],
)
@both_eras
async def test_what_no_variable_can_be_is_not_found(
    shop: Site, revision: str, uri: str
) -> None:
    async with shop.client(revision=revision) as client:
        error = await refusal(client.read_resource(uri))

    assert (error.code, error.message) == (NOT_FOUND[revision], "Resource not found")
    assert error.data == {"uri": uri}


async def test_function_gets_the_context_of_who_asks() -> None:
    site = Site()

    @site.resource(URI)
    def me(context: Context) -> Any:
        return {"id": context.request_id, "perms": sorted(context.user.permissions)}  # type: ignore[union-attr]

    async with site.client(Clerk("a.b")) as client:
        (contents,) = (await client.read_resource(URI))["contents"]

    assert contents["text"] == '{"id":1,"perms":["a.b"]}'


# Lists


@pytest.mark.parametrize(
    "given",
    [
        {
            "title": "A",
            "size": 5,
            "annotations": Annotations(
                audience=["user"], priority=0.5, last_modified="2026-01-01T00:00:00Z"
            ),
            "icons": [Icon("data:image/png;base64,AA==", theme="dark")],
            "meta": {"com.example/a": 1},
        }
    ],
)
async def test_resource_is_described(given: dict[str, Any]) -> None:
    site = Site()

    @site.resource(URI, mime_type="text/x", name="other", **given)
    def a() -> str:
        """The letter."""
        return "a"

    site.resource("shop://b", description="Said.")(lambda: "b")
    async with site.client() as client:
        described, plain = await client.list_resources()

    assert described == {
        "uri": URI,
        "name": "other",
        "title": "A",
        "description": "The letter.",
        "mimeType": "text/x",
        "size": 5,
        "annotations": {
            "audience": ["user"],
            "priority": 0.5,
            "lastModified": "2026-01-01T00:00:00Z",
        },
        "icons": [{"src": "data:image/png;base64,AA==", "theme": "dark"}],
        "_meta": {"com.example/a": 1},
    }
    assert plain == {"uri": "shop://b", "name": "<lambda>", "description": "Said."}


async def test_template_is_described() -> None:
    site = Site()

    @site.resource(
        "shop://orders/{number}",
        title=gettext_lazy("Order"),
        mime_type="application/json",
        annotations=Annotations(priority=1.0),
        icons=[Icon("https://example.com/i.png")],
        meta={"com.example/a": 1},
    )
    def order(number: int) -> str:
        """What somebody bought."""
        return ""

    async with site.client() as client:
        (template,) = await client.list_resource_templates()

        assert await client.list_resources() == []

    assert template == {
        "uriTemplate": "shop://orders/{number}",
        "name": "order",
        "title": "Order",
        "description": "What somebody bought.",
        "mimeType": "application/json",
        "annotations": {"priority": 1},
        "icons": [{"src": "https://example.com/i.png"}],
        "_meta": {"com.example/a": 1},
    }


async def pages(client: MCPCommunicator, method: str, member: str) -> list[list[Any]]:
    found, params = [], {}
    while True:
        page = await client.request(method, params)
        found.append(page[member])
        if "nextCursor" not in page:
            return found
        assert page["nextCursor"]
        params = {"cursor": page["nextCursor"]}


@pytest.fixture
def two_a_page(settings: Any) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "PAGE_SIZE": 2}


def list_numbers() -> list[Any]:
    return [{"number": number} for number in (3, 1, 2)]


@both_eras
async def test_lists_are_paged_in_a_stable_order(
    two_a_page: None, revision: str
) -> None:
    site = Site()
    for letter in "cabed":
        site.resource(f"shop://{letter}")(lambda: "x")
        site.resource(f"shop://{letter}/{{x}}")(lambda x: "x")
    async with site.client(revision=revision) as client:
        found = await pages(client, "resources/list", "resources")
        templates = await pages(client, "resources/templates/list", "resourceTemplates")

    assert [[entry["uri"][-1] for entry in page] for page in found] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]
    assert [[entry["uriTemplate"][7] for entry in page] for page in templates] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]


@both_eras
async def test_instances_are_listed_among_the_resources(
    two_a_page: None, revision: str
) -> None:
    site = Site()

    @site.resource(
        "shop://orders/{number}", mime_type="application/json", list=list_numbers
    )
    def order(number: int) -> Any:
        return {"number": number}

    site.resource("shop://orders/2", name="the second")(lambda: "second")
    site.resource("shop://zebra")(lambda: "x")
    async with site.client(revision=revision) as client:
        found = await pages(client, "resources/list", "resources")
        entries = [entry for page in found for entry in page]
        for entry in entries:
            assert (await client.read_resource(entry["uri"]))["contents"]

    assert [len(page) for page in found] == [2, 2]
    assert entries[0] == {
        "uri": "shop://orders/1",
        "name": "order 1",
        "mimeType": "application/json",
    }
    # Listed once, as what is read under this URI.
    assert entries[1] == {"uri": "shop://orders/2", "name": "the second"}
    assert [entry["uri"] for entry in entries[2:]] == [
        "shop://orders/3",
        "shop://zebra",
    ]


async def test_page_goes_on_after_what_has_gone(two_a_page: None) -> None:
    site = Site()
    numbers = [{"number": number} for number in range(6)]
    site.resource("shop://{number}", list=lambda: numbers)(lambda number: "x")
    async with site.client() as client:
        first = await client.request("resources/list")
        del numbers[:3]
        params = {"cursor": first["nextCursor"]}
        second = await client.request("resources/list", params)

    assert [entry["uri"] for entry in second["resources"]] == ["shop://3", "shop://4"]


@pytest.mark.parametrize("listing", [None, list_numbers])
@pytest.mark.parametrize("cursor", ["", "x", "5"])
@both_eras
async def test_cursor_that_was_not_given_is_refused(
    revision: str, cursor: str, listing: Any
) -> None:
    site = Site()
    site.resource("shop://{number}", list=listing)(lambda number: "x")
    async with site.client(revision=revision) as client:
        for method in ("resources/list", "resources/templates/list"):
            error = await refusal(client.request(method, {"cursor": cursor}))

            assert error.code == -32602


async def test_instances_may_be_resources_and_depend_on_who_asks() -> None:
    site = Site()

    async def mine(context: Context) -> Any:
        return [
            Resource(f"shop://{name}", name, title=gettext_lazy("Title"), size=1)  # type: ignore[arg-type]
            for name in sorted(context.user.permissions)  # type: ignore[union-attr]
        ]

    site.resource("shop://{name}", list=mine)(lambda name: "x")
    async with site.client(Clerk("a.b")) as client, site.client(Clerk()) as other:
        listed = await client.list_resources()

        assert await other.list_resources() == []

    assert listed == [
        {"uri": "shop://a.b", "name": "a.b", "title": "Title", "size": 1},
    ]


async def test_template_lists_at_most_a_thousand(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resources._MOST_LISTED == 1_000

    monkeypatch.setattr(resources, "_MOST_LISTED", 3)
    site = Site()
    asked = []

    def endless() -> Any:
        return ({"number": asked.append(n) or n} for n in range(10**9))  # type: ignore[func-returns-value]

    site.resource("shop://{number}", list=endless)(lambda number: "x")
    async with site.client() as client:
        assert len(await client.list_resources()) == 3

    assert len(asked) == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_async", [False, True])
async def test_template_lists_the_rows_of_a_queryset(is_async: bool) -> None:
    await User.objects.acreate(username="ada")
    await User.objects.acreate(username="grace hopper")
    site = Site()

    def rows() -> Any:
        return User.objects.values("username")

    async def rows_async() -> Any:
        return rows()

    listing = rows_async if is_async else rows
    site.resource("shop://users/{username}", list=listing)(lambda username: username)
    async with site.client() as client:
        ada, grace = await client.list_resources()

        assert await client.read_resource(grace["uri"])

    assert ada["uri"] == "shop://users/ada"
    assert grace["uri"] == "shop://users/grace%20hopper"
    assert grace["name"] == "<lambda> grace hopper"


@pytest.mark.parametrize("listed", [None, 5, [5], [{"number": object()}, object()]])
async def test_list_that_fails_says_nothing(listed: Any) -> None:
    site = Site()
    site.resource("shop://{number}", list=lambda: listed)(lambda number: "x")
    async with site.client() as client:
        error = await refusal(client.request("resources/list"))

        assert await client.list_resource_templates()

    assert (error.code, error.message) == (-32603, "Internal error")


async def test_list_that_takes_too_long_is_given_up(settings: Any) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "CALL_TIMEOUT": 0.05}
    site = Site()

    async def dawdle() -> Any:
        await asyncio.Event().wait()

    site.resource("shop://{number}", list=dawdle)(lambda number: "x")
    async with site.client() as client:
        error = await refusal(client.request("resources/list"))

    assert (error.code, error.message) == (-32603, "The list took too long")


async def test_template_without_a_list_has_no_instances() -> None:
    template = resources.ResourceTemplate(lambda a: "x", "shop://{a}")

    assert not template.can_list
    assert await template.list_instances(None) == []  # type: ignore[arg-type]


# For how long it may be kept


@pytest.mark.parametrize(
    ("options", "hints"),
    [
        ({}, (0, "private")),
        ({"ttl": 2.5}, (2500, "private")),
        ({"ttl": 0}, (0, "private")),
        ({"ttl": 60, "cache_scope": "public"}, (60_000, "public")),
        ({"cache_scope": "public"}, (0, "public")),
    ],
)
@pytest.mark.parametrize("uri", [URI, "shop://{a}"])
async def test_resource_says_how_long_it_may_be_kept(
    uri: str, options: dict[str, Any], hints: tuple[int, str]
) -> None:
    site = Site()
    site.resource(uri, **options)((lambda a: "x") if "{" in uri else (lambda: "x"))
    async with site.client() as client:
        result = await client.read_resource(URI)
    async with site.client(revision=LEGACY) as client:
        legacy = await client.read_resource(URI)

    assert (result["ttlMs"], result["cacheScope"]) == hints
    assert legacy.keys() == {"contents"}


async def test_result_that_says_it_itself_wins() -> None:
    site = Site()
    contents = [ResourceContents(URI, text="x")]
    made = ReadResourceResult(contents=contents, ttl_ms=5, cache_scope="public")
    site.resource(URI, ttl=60, cache_scope="private")(lambda: made)
    async with site.client() as client:
        result = await client.read_resource(URI)

    assert (result["ttlMs"], result["cacheScope"]) == (5, "public")


@both_eras
async def test_what_was_read_after_a_question_is_nobody_elses(revision: str) -> None:
    site = Site()
    contents = [ResourceContents(URI, text="x")]
    shared = ReadResourceResult(contents=contents, ttl_ms=5000, cache_scope="public")

    @site.resource("shop://asked")
    def asked(context: Context) -> Any:
        context.elicit("Sure?", Order)
        return shared

    site.resource(URI, ttl=60, cache_scope="public")(lambda: shared)
    accept = {"action": "accept", "content": {"number": 5}}
    async with site.client(
        revision=revision,
        capabilities={"elicitation": {}},
        answers={"elicitation/create": lambda params: accept},
    ) as client:
        result = await client.read_resource("shop://asked")
        other = await client.read_resource(URI)

    if revision == MODERN:
        assert (result["ttlMs"], result["cacheScope"]) == (0, "private")
        assert (other["ttlMs"], other["cacheScope"]) == (5000, "public")
    # Nothing of it went into what the site gives everybody.
    assert (shared.ttl_ms, shared.cache_scope) == (5000, "public")
    assert shared.contents is contents


async def test_result_of_the_site_is_never_changed() -> None:
    site = Site()
    shared = ReadResourceResult(contents=[ResourceContents(URI, text="x")])
    untouched = msgspec.json.encode(shared)
    site.resource(URI, ttl=60, cache_scope="public")(lambda: shared)
    async with site.client() as client:
        await client.read_resource(URI)

    assert msgspec.json.encode(shared) == untouched


async def test_resource_whose_question_is_declined_cannot_be_read() -> None:
    site = Site()

    @site.resource(URI)
    async def asked(context: Context) -> str:
        return str(await context.aelicit("Sure?", Order))

    async with site.client(
        revision=LEGACY,
        capabilities={"elicitation": {}},
        answers={"elicitation/create": lambda params: {"action": "decline"}},
    ) as client:
        error = await refusal(client.read_resource(URI))

    assert (error.code, error.message) == (-32603, "The user declined.")


# Whether there is something to hear of


async def look(site: Site, uri: str) -> bool:
    anybody: Any = Identity(Clerk())  # type: ignore[arg-type]
    session = SimpleNamespace(
        catalogue=site.catalogue_for(anybody, page_size=5), workers=get_workers(4)
    )
    context: Any = SimpleNamespace(session=session)
    return await resources.is_readable(context, uri)


@pytest.mark.parametrize(
    ("uri", "is_readable"),
    [
        ("shop://orders/5", True),
        ("shop://orders/five", False),
        ("shop://orders/0", False),
        ("shop://orders/-1", False),
        ("shop://nothing", False),
        # What has a URI of its own is there without being read.
        ("shop://fails", True),
        ("shop://secret", False),
    ],
)
async def test_what_cannot_be_read_is_not_there_for_subscribers(
    caplog: pytest.LogCaptureFixture, uri: str, is_readable: bool
) -> None:
    site = Site()

    @site.resource("shop://orders/{number}")
    def order(number: int) -> Any:
        if number < 0:
            raise ValueError("negative")
        return number or None

    site.resource("shop://fails")(raiser(ValueError("failed")))
    site.resource("shop://secret", permission="shop.see")(lambda: "x")

    assert await look(site, uri) is is_readable
    assert bool(caplog.records) is (uri == "shop://orders/-1")


@pytest.mark.parametrize("timeout", [None, 0.01])
async def test_what_takes_too_long_to_look_at_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    timeout: float | None,
) -> None:
    monkeypatch.setattr(resources, "_LONGEST_LOOK", 60 if timeout else 0.01)
    site = Site()

    @site.resource("shop://orders/{number}", timeout=timeout)
    async def order(number: int) -> Any:
        await asyncio.Event().wait()

    assert not await asyncio.wait_for(look(site, "shop://orders/5"), 5)
    assert [r.message for r in caplog.records] == ["Resource template 'order' failed"]


# Refused at registration


def plain() -> str:
    return ""


def one(a: str) -> str:
    return a


def positional(a: str, /) -> str:
    return a


def custom(a: Custom) -> str:
    return ""


def rest(**a: str) -> str:
    return ""


@pytest.mark.parametrize(
    ("uri", "function", "options", "message"),
    [
        ("orders", plain, {}, "Begin with a scheme"),
        ("", plain, {}, "Begin with a scheme"),
        ("5shop://a", plain, {}, "Begin with a scheme"),
        ("shop:", plain, {}, "Begin with a scheme"),
        ("shop://a b", plain, {}, "encode what a URI cannot hold"),
        ("shop://a\n", plain, {}, "encode what a URI cannot hold"),
        ("{a}", one, {}, "Begin with a scheme"),
        ("shop://a}", plain, {}, "a brace without its other"),
        ("shop://{a", one, {}, "a brace without its other"),
        ("shop://{a}/{a}", one, {}, "names a variable twice"),
        ("shop://{a b}", one, {}, "encode what"),
        ("shop://{a-b}", one, {}, "is no expression"),
        ("shop://a", one, {}, r"takes a, but its URI has no variables.*\{name\}"),
        ("shop://{b}", one, {}, "variables of its URI are b.* function a. They must"),
        ("shop://{b}", plain, {}, "function none. They must be the same"),
        ("shop://{a}", rest, {}, "come by name"),
        ("shop://{a}", positional, {}, "come by name"),
        ("shop://{a}", custom, {}, "no schema for"),
        ("shop://a", plain, {"ttl": -1}, "ttl must not be negative"),
        ("shop://a", plain, {"size": "big"}, "Expected `int"),
        ("shop://a", plain, {"title": 5}, "Expected `str"),
        ("shop://a", plain, {"permission": "see"}, "use 'app_label.codename'"),
        (
            "shop://a",
            plain,
            {"annotations": Annotations(audience=["all"])},  # type: ignore[list-item]
            "Invalid enum value 'all'",
        ),
        ("shop://{a}", one, {"complete": {"b": []}}, "which is none of its arguments"),
        ("shop://{a}", one, {"list": one}, "annotated Context: what is 'a'"),
        ("shop://{a}", one, {"icons": ["x"]}, "Expected `object`"),
    ],
)
def test_what_cannot_be_offered_is_refused_with_what_to_do(
    uri: str, function: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"(?s){message}"):
        Registry().resource(uri, **options)(function)


def test_list_may_have_parameters_of_its_own() -> None:
    def listing(most: int = 5) -> Any:
        return []

    Registry().resource("shop://{a}", list=listing)(one)
