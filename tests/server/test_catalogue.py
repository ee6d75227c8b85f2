"""The catalogue: pages that are made once, and which resource a URI names."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import UNSET

from mcp_channels.protocol.errors import InvalidParams
from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.versions import Revision
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.pagination import encode_cursor
from mcp_channels.server.prompts import Prompt
from mcp_channels.server.resources import Resource, ResourceTemplate
from mcp_channels.server.tools import Tool


def nothing() -> None: ...


def named(name: str) -> str:
    return name


def make(*names: str, page_size: int = 2) -> Catalogue:
    """Return a catalogue with one of each kind for every name, mixed up."""
    primitives: list[Any] = []
    for name in names:
        primitives += [
            Tool(nothing, name=name),
            ResourceTemplate(named, f"t://{name}{{?name}}"),
            Resource(nothing, f"r://{name}"),
            Prompt(nothing, name=name),
        ]
    return Catalogue(primitives, page_size=page_size)


KINDS = [
    (Catalogue.list_tools, "tools", "name"),
    (Catalogue.list_prompts, "prompts", "name"),
    (Catalogue.list_resources, "resources", "uri"),
    (Catalogue.list_templates, "resource_templates", "uri_template"),
]
each_kind = pytest.mark.parametrize(("page_at", "member", "key"), KINDS)

PageAt = Callable[[Catalogue, Any], SharedResult]


def read(page: SharedResult, member: str, key: str) -> tuple[list[str], Any]:
    """Return the names on a page, and its cursor."""
    result: Any = page.result
    keys = [getattr(entry, key) for entry in getattr(result, member)]
    names = [k.partition("://")[2] or k for k in keys]
    return [name.removesuffix("{?name}") for name in names], result.next_cursor


@each_kind
def test_pages_follow_each_other_by_name(
    page_at: PageAt, member: str, key: str
) -> None:
    catalogue = make("c", "B", "a", "b", "A")
    cursor, pages = UNSET, []
    while True:
        names, cursor = read(page_at(catalogue, cursor), member, key)
        pages.append(names)
        if cursor is UNSET:
            break

    assert [name for page in pages for name in page] == ["A", "B", "a", "b", "c"]
    assert [len(page) for page in pages] == [2, 2, 1]


@each_kind
@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2)])
def test_last_page_has_no_cursor(
    page_at: PageAt, member: str, key: str, count: int, pages: int
) -> None:
    catalogue = make(*"abcd"[:count])
    seen, cursor = 0, UNSET
    while seen == 0 or cursor is not UNSET:
        _, cursor = read(page_at(catalogue, cursor), member, key)
        seen += 1

    assert seen == pages


@each_kind
def test_page_is_made_once(page_at: PageAt, member: str, key: str) -> None:
    catalogue = make("a", "b", "c")
    first = page_at(catalogue, UNSET)
    _, cursor = read(first, member, key)

    assert page_at(catalogue, None) is first
    assert page_at(catalogue, cursor) is page_at(catalogue, cursor)
    assert page_at(catalogue, cursor) is not first
    for revision in Revision:
        assert first.encode(revision, {}) == page_at(catalogue, None).encode(
            revision, {}
        )


@each_kind
def test_cursor_works_on_a_catalogue_without_its_item(
    page_at: PageAt, member: str, key: str
) -> None:
    _, cursor = read(page_at(make("a", "b", "c"), UNSET), member, key)

    assert read(page_at(make("a", "d"), cursor), member, key) == (["d"], UNSET)
    assert read(page_at(make("a"), cursor), member, key) == ([], UNSET)


@each_kind
@pytest.mark.parametrize(
    "cursor", ["", "b", "null", encode_cursor("other", "b"), encode_cursor("", "")]
)
def test_cursor_of_something_else_is_refused(
    page_at: PageAt, member: str, key: str, cursor: str
) -> None:
    with pytest.raises(InvalidParams, match="Invalid cursor"):
        page_at(make("a", "b", "c"), cursor)


def test_cursor_of_one_list_is_none_of_another() -> None:
    catalogue = make("a", "b", "c")
    cursors = [read(f(catalogue, UNSET), m, k)[1] for f, m, k in KINDS]
    for number, (page_at, _, _) in enumerate(KINDS):
        for other, cursor in enumerate(cursors):
            if other != number:
                with pytest.raises(InvalidParams):
                    page_at(catalogue, cursor)


def test_kinds_are_kept_apart() -> None:
    catalogue = make("a")

    assert catalogue.tools.keys() == catalogue.prompts.keys() == {"a"}
    assert catalogue.resources.keys() == {"r://a"}
    assert catalogue.templates.keys() == {"t://a{?name}"}
    assert catalogue.page_size == 2


def test_templates_that_list_are_known() -> None:
    listing = ResourceTemplate(named, "a://{name}", list=lambda: [])
    silent = ResourceTemplate(named, "b://{name}")
    catalogue = Catalogue([silent, listing], page_size=5)

    assert catalogue.listing_templates == [listing]


def test_resource_is_found_before_a_template_and_templates_by_name() -> None:
    fixed = Resource(nothing, "a://b/c")
    wide = ResourceTemplate(named, "a://b/{name}")
    narrow = ResourceTemplate(named, "a://b/{+name}")
    catalogue = Catalogue([wide, narrow, fixed], page_size=5)

    assert catalogue.find_resource("a://b/c") == (fixed, {})
    assert catalogue.find_resource("a://b/d") == (narrow, {"name": "d"})
    assert catalogue.find_resource("a://b/d/e") == (narrow, {"name": "d/e"})
    assert catalogue.find_resource("a://c") is None
    assert Catalogue([wide], page_size=5).find_resource("a://b/d") == (
        wide,
        {"name": "d"},
    )


# What is other than before


def test_catalogue_is_no_other_than_itself_and_its_like() -> None:
    catalogue = make("a", "b")

    assert catalogue.differences(catalogue) == []
    assert catalogue.differences(make("b", "a")) == []


@pytest.mark.parametrize(
    ("primitive", "kinds"),
    [
        (Tool(nothing), ["tools"]),
        (Prompt(nothing), ["prompts"]),
        (Resource(nothing, "r://other"), ["resources"]),
        (ResourceTemplate(named, "t://other/{name}"), ["resources"]),
    ],
)
def test_catalogue_with_one_more_is_another(primitive: Any, kinds: list[str]) -> None:
    less, more = Catalogue([], page_size=2), Catalogue([primitive], page_size=2)

    assert more.differences(less) == kinds
    assert less.differences(more) == kinds


def test_catalogue_that_words_something_otherwise_is_another() -> None:
    tool = Tool(nothing)
    before = Catalogue([tool], page_size=2)

    assert Catalogue([tool.adapt()], page_size=2).differences(before) == []
    assert Catalogue([tool.adapt(title="No")], page_size=2).differences(before) == [
        "tools"
    ]
