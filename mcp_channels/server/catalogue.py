"""What one identity sees of a registry: filtered, ordered, encoded once."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import UNSET, Struct, UnsetType

from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.types import (
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
)
from mcp_channels.server.events import Kind
from mcp_channels.server.pagination import decode_cursor, encode_cursor
from mcp_channels.server.primitives import Primitive
from mcp_channels.server.prompts import Prompt
from mcp_channels.server.resources import Resource, ResourceTemplate
from mcp_channels.server.tools import Tool

__all__ = ["Catalogue", "FoundResource", "Listing"]

P = TypeVar("P", bound=Primitive)

Cursor = str | UnsetType | None


class FoundResource(NamedTuple):
    """What a URI names."""

    resource: Resource | ResourceTemplate
    variables: dict[str, str]  # of the template; none for a resource of its own


class Listing(Generic[P]):
    """The primitives of a kind, by key, and as the pages of a list."""

    def __init__(
        self,
        kind: str,
        primitives: Iterable[P],
        page_size: int,
        make_result: Callable[..., Struct],
    ) -> None:
        self._kind = kind
        self._page_size = page_size
        self._make_result = make_result
        # "servers SHOULD return tools in a deterministic order": by name, which also
        # is what a cursor can hold on to.
        self.by_key: Mapping[str, P] = {
            primitive.key: primitive
            for primitive in sorted(primitives, key=lambda primitive: primitive.key)
        }
        self._keys = list(self.by_key)
        self._pages: dict[int, SharedResult] = {}

    def page(self, cursor: Cursor) -> SharedResult:
        """
        Return the page at `cursor`, the first one for UNSET and None.

        Raise InvalidParams when the cursor was not made here.
        """
        start = 0
        if isinstance(cursor, str):
            start = bisect_right(self._keys, decode_cursor(self._kind, cursor))
        page = self._pages.get(start)
        if page is None:
            page = self._pages[start] = self._make_page(start)
        return page

    def _make_page(self, start: int) -> SharedResult:
        end = start + self._page_size
        keys = self._keys[start:end]
        more = end < len(self._keys)
        definitions: list[Any] = [self.by_key[key].definition for key in keys]
        cursor = encode_cursor(self._kind, keys[-1]) if more else UNSET
        return SharedResult(self._make_result(definitions, next_cursor=cursor))


class Catalogue:
    """
    The primitives that some identity sees.

    It never changes and holds nothing of the identity, so all who see the same share
    one. `page_size` is how many items a list page has at most.
    """

    def __init__(self, primitives: Iterable[Primitive], *, page_size: int) -> None:
        primitives = list(primitives)
        self.page_size = page_size
        self._tools = Listing(
            "tools",
            [p for p in primitives if isinstance(p, Tool)],
            page_size,
            ListToolsResult,
        )
        self._prompts = Listing(
            "prompts",
            [p for p in primitives if isinstance(p, Prompt)],
            page_size,
            ListPromptsResult,
        )
        self._resources = Listing(
            "resources",
            [p for p in primitives if isinstance(p, Resource)],
            page_size,
            ListResourcesResult,
        )
        self._templates = Listing(
            "templates",
            [p for p in primitives if isinstance(p, ResourceTemplate)],
            page_size,
            ListResourceTemplatesResult,
        )
        self.tools = self._tools.by_key
        self.prompts = self._prompts.by_key
        self.resources = self._resources.by_key
        self.templates = self._templates.by_key
        self._by_kind: dict[Kind, tuple[Mapping[str, Primitive], ...]] = {
            "tools": (self.tools,),
            "prompts": (self.prompts,),
            "resources": (self.resources, self.templates),
        }
        self.listing_templates = [
            template for template in self.templates.values() if template.can_list
        ]

    def differences(self, other: "Catalogue") -> list[Kind]:
        """Return the kinds of which clients are told something else than by `other`."""
        if other is self:
            return []
        return [
            kind
            for kind, keyed in self._by_kind.items()
            if _definitions(keyed) != _definitions(other._by_kind[kind])
        ]

    def list_tools(self, cursor: Cursor) -> SharedResult:
        """Return a page of tools; see Listing.page()."""
        return self._tools.page(cursor)

    def list_prompts(self, cursor: Cursor) -> SharedResult:
        """Return a page of prompts; see Listing.page()."""
        return self._prompts.page(cursor)

    def list_resources(self, cursor: Cursor) -> SharedResult:
        """Return a page of the resources that need no template; see Listing.page()."""
        return self._resources.page(cursor)

    def list_templates(self, cursor: Cursor) -> SharedResult:
        """Return a page of resource templates; see Listing.page()."""
        return self._templates.page(cursor)

    def find_resource(self, uri: str) -> FoundResource | None:
        """Return what `uri` names, a resource before a template; None for nothing."""
        resource = self.resources.get(uri)
        if resource is not None:
            return FoundResource(resource, {})
        for template in self.templates.values():
            variables = template.match(uri)
            if variables is not None:
                return FoundResource(template, variables)
        return None


def _definitions(mappings: Iterable[Mapping[str, Primitive]]) -> list[Any]:
    return [primitive.definition for keyed in mappings for primitive in keyed.values()]
