"""Lists that come in pages."""

from dataclasses import dataclass

from mcp_channels.client.pages import list_all


@dataclass
class Page:
    items: list[int]
    next_cursor: str | None


async def test_items_of_all_pages_are_given_in_order():
    pages = {None: Page([1, 2], ""), "": Page([], "b"), "b": Page([3], None)}

    async def list_page(cursor: str | None = None) -> Page:
        return pages[cursor]

    assert await list_all(list_page, lambda page: page.items) == [1, 2, 3]
    assert pages[None].items == [1, 2]
