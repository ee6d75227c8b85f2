import pytest
from msgspec import UNSET, UnsetType

from mcp_channels.protocol.errors import InvalidParams
from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.types import ListToolsResult
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.pagination import encode_cursor
from mcp_channels.server.tools import Tool


def make_catalogue(names: str, *, page_size: int = 2) -> Catalogue:
    """Return a catalogue with a tool for each letter of `names`."""

    def function() -> None: ...

    return Catalogue((Tool(function, name=name) for name in names), page_size=page_size)


def result_of(shared: SharedResult) -> ListToolsResult:
    assert isinstance(shared.result, ListToolsResult)
    return shared.result


def names_of(shared: SharedResult) -> str:
    return "".join(tool.name for tool in result_of(shared).tools)


def cursor_of(shared: SharedResult) -> str:
    """Return the cursor of the next page."""
    cursor = result_of(shared).next_cursor

    assert isinstance(cursor, str)
    return cursor


def pages_of(catalogue: Catalogue) -> list[str]:
    pages, cursor = [], None
    while cursor is not UNSET:
        page = catalogue.list_tools(cursor)
        pages.append(names_of(page))
        cursor = result_of(page).next_cursor
    return pages


def test_tools_are_in_the_order_of_their_names() -> None:
    catalogue = make_catalogue("caBb", page_size=10)

    assert pages_of(catalogue) == ["Babc"]
    assert list(catalogue.tools) == ["B", "a", "b", "c"]


def test_order_of_registration_is_not_seen() -> None:
    assert pages_of(make_catalogue("abc")) == pages_of(make_catalogue("bca"))


@pytest.mark.parametrize(
    ("names", "page_size", "pages"),
    [
        ("", 2, [""]),
        ("a", 2, ["a"]),
        ("ab", 2, ["ab"]),
        ("abc", 2, ["ab", "c"]),
        ("abcd", 2, ["ab", "cd"]),
        ("abcde", 2, ["ab", "cd", "e"]),
        ("abc", 1, ["a", "b", "c"]),
    ],
)
def test_page_is_full_unless_it_is_the_last(
    names: str, page_size: int, pages: list[str]
) -> None:
    assert pages_of(make_catalogue(names, page_size=page_size)) == pages


@pytest.mark.parametrize("cursor", [UNSET, None])
def test_list_begins_without_a_cursor(cursor: UnsetType | None) -> None:
    assert names_of(make_catalogue("abc").list_tools(cursor)) == "ab"


def test_last_page_has_no_cursor_at_all() -> None:
    page = make_catalogue("ab").list_tools(None)

    assert result_of(page).next_cursor is UNSET


@pytest.mark.parametrize("cursor", ["", "a", "2", encode_cursor("prompts", "a")])
def test_cursor_that_was_not_made_for_tools_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidParams, match="Invalid cursor"):
        make_catalogue("abc").list_tools(cursor)


@pytest.mark.parametrize(
    ("later", "page"),
    [
        ("abcd", "cd"),
        ("acd", "cd"),  # the last of the first page is gone
        ("cd", "cd"),
        ("Aabbcd", "cd"),  # more came before it
        ("abd", "d"),  # the first of the next is gone
        ("ab", ""),
        ("", ""),
    ],
)
def test_cursor_stays_right_when_tools_come_and_go(later: str, page: str) -> None:
    cursor = cursor_of(make_catalogue("abcd").list_tools(None))
    catalogue = make_catalogue("".join(dict.fromkeys(later)))

    assert names_of(catalogue.list_tools(cursor)) == page


def test_cursor_does_not_depend_on_the_page_size() -> None:
    cursor = cursor_of(make_catalogue("abcd", page_size=1).list_tools(None))

    assert names_of(make_catalogue("abcd", page_size=3).list_tools(cursor)) == "bcd"


def test_page_is_made_once() -> None:
    catalogue = make_catalogue("abc")
    first = catalogue.list_tools(UNSET)
    second = catalogue.list_tools(cursor_of(first))

    assert catalogue.list_tools(None) is first
    assert catalogue.list_tools(encode_cursor("tools", "b")) is second
    assert second is not first


def test_tool_is_found_by_its_name() -> None:
    catalogue = make_catalogue("abc", page_size=1)

    assert catalogue.tools["c"].definition.name == "c"
    assert "d" not in catalogue.tools
