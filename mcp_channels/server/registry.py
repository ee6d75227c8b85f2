"""
What the site's code offers: names and their primitives.

    from mcp_channels import tool

    @tool(read_only=True)
    def count_orders(status: Literal["paid", "shipped"] | None = None) -> int:
        ...

`tool` registers with the default registry, which every app's `mcp` module fills when
Django starts.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeVar, overload

from django.core.exceptions import ImproperlyConfigured

from mcp_channels.protocol.types import ServerCapabilities, ToolsCapability
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.permissions import Identity, may_see
from mcp_channels.server.tools import Tool

__all__ = ["AlreadyRegistered", "NotRegistered", "Registry", "registry", "tool"]

Function = TypeVar("Function", bound=Callable[..., Any])

# Connections differ in what they see by their permissions: few ways in practice.
_KEPT_CATALOGUES: Final = 256


class AlreadyRegistered(ImproperlyConfigured):
    """Two primitives of a kind have one name."""


class NotRegistered(LookupError):
    """No primitive has this name."""


class Registry:
    """The primitives of a server, by kind and name."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self._revision = 0
        self._catalogue = lru_cache(_KEPT_CATALOGUES)(self._make_catalogue)

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The tools by name."""
        return MappingProxyType(self._tools)

    @property
    def revision(self) -> int:
        """A number that grows with every change."""
        return self._revision

    @property
    def capabilities(self) -> ServerCapabilities:
        """What a server with this registry can say it offers."""
        capabilities = ServerCapabilities(logging={})
        if self._tools:
            # The same for all, so that it tells nobody of tools that are hidden.
            capabilities.tools = ToolsCapability()
        return capabilities

    @overload
    def tool(self, function: Function, /) -> Function: ...

    @overload
    def tool(
        self, function: None = None, /, **options: Any
    ) -> Callable[[Function], Function]: ...

    def tool(self, function: Any = None, /, **options: Any) -> Any:
        """
        Register a function as a tool, and return the function as it is.

        The options are those of Tool. Raise AlreadyRegistered when the name is taken,
        ImproperlyConfigured when the function cannot be a tool.
        """
        if function is None:
            return lambda function: self._register(function, options)
        return self._register(function, options)

    def add(self, tool: Tool) -> None:
        """Register a tool. Raise AlreadyRegistered when the name is taken."""
        other = self._tools.get(tool.name)
        if other is not None:
            raise AlreadyRegistered(
                f"Two tools are called {tool.name!r}: {other.place} and {tool.place}. "
                f"Give one another name, as in @tool(name=...)."
            )
        self._tools[tool.name] = tool
        self._revision += 1

    def remove(self, name: str) -> None:
        """Take a tool away. Raise NotRegistered when there is none of this name."""
        if self._tools.pop(name, None) is None:
            raise NotRegistered(f"No tool is called {name!r}.")
        self._revision += 1

    @property
    def needs_permissions(self) -> bool:
        """Whether what is seen depends on who looks."""
        return any(tool.permission is not None for tool in self._tools.values())

    def catalogue_for(self, identity: Identity, *, page_size: int) -> Catalogue:
        """
        Return what `identity` sees now.

        May read the database if needs_permissions: then call it from synchronous code.
        """
        visible = tuple(
            name for name, tool in self._tools.items() if may_see(identity, tool)
        )
        return self._catalogue(visible, page_size, self._revision)

    def _make_catalogue(
        self, visible: tuple[str, ...], page_size: int, revision: int
    ) -> Catalogue:
        return Catalogue((self._tools[name] for name in visible), page_size=page_size)

    def _register(self, function: Function, options: dict[str, Any]) -> Function:
        self.add(Tool(function, **options))
        return function


registry: Final = Registry()
tool = registry.tool
