"""The lists of a server, which come in pages."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

__all__ = ["list_all"]


class _Page(Protocol):
    next_cursor: str | None


_PageT = TypeVar("_PageT", bound=_Page)
_Item = TypeVar("_Item")


async def list_all(
    list_page: Callable[..., Awaitable[_PageT]],
    items_of: Callable[[_PageT], list[_Item]],
) -> list[_Item]:
    """Return the items of all pages of a list of the SDK's Client."""
    page = await list_page()
    items = list(items_of(page))
    while page.next_cursor is not None:
        page = await list_page(cursor=page.next_cursor)
        items += items_of(page)
    return items
