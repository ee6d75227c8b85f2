"""What one identity sees of a registry: filtered, ordered, encoded once."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping

from msgspec import UNSET, UnsetType

from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.types import ListToolsResult
from mcp_channels.server.pagination import decode_cursor, encode_cursor
from mcp_channels.server.tools import Tool

__all__ = ["Catalogue"]


class Catalogue:
    """
    The primitives that some identity sees.

    It never changes and holds nothing of the identity, so all who see the same share
    one. `page_size` is how many items a list page has at most.
    """

    def __init__(self, tools: Iterable[Tool], *, page_size: int) -> None:
        self._page_size = page_size
        # "servers SHOULD return tools in a deterministic order": by name, which also
        # is what a cursor can hold on to.
        self.tools: Mapping[str, Tool] = {
            tool.name: tool for tool in sorted(tools, key=lambda tool: tool.name)
        }
        self._tool_names = list(self.tools)
        self._tool_pages: dict[int, SharedResult] = {}

    def list_tools(self, cursor: str | UnsetType | None) -> SharedResult:
        """
        Return the page of tools at `cursor`, the first one for UNSET and None.

        Raise InvalidParams when the cursor was not made here.
        """
        start = 0
        if isinstance(cursor, str):
            start = bisect_right(self._tool_names, decode_cursor("tools", cursor))
        page = self._tool_pages.get(start)
        if page is None:
            page = self._tool_pages[start] = self._make_tool_page(start)
        return page

    def _make_tool_page(self, start: int) -> SharedResult:
        end = start + self._page_size
        names = self._tool_names[start:end]
        more = end < len(self._tool_names)
        return SharedResult(
            ListToolsResult(
                tools=[self.tools[name].definition for name in names],
                next_cursor=encode_cursor("tools", names[-1]) if more else UNSET,
            )
        )
