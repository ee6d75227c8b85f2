"""
What the site's code offers: names and their primitives.

    from mcp_channels import tool

    @tool(read_only=True)
    def count_orders(status: Literal["paid", "shipped"] | None = None) -> int:
        ...

`tool` registers with the default registry, which every app's `mcp` module fills when
Django starts.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any, Final, TypeVar, overload

from django.core.exceptions import ImproperlyConfigured

from mcp_channels.protocol.types import (
    PromptsCapability,
    ResourcesCapability,
    ServerCapabilities,
    ToolsCapability,
)
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.permissions import Identity, may_see
from mcp_channels.server.primitives import Primitive
from mcp_channels.server.prompts import Prompt
from mcp_channels.server.resources import Resource, ResourceTemplate, make_resource
from mcp_channels.server.tools import Tool

__all__ = [
    "AlreadyRegistered",
    "NotRegistered",
    "Registry",
    "method_options",
    "prompt",
    "registry",
    "resource",
    "tool",
]

Function = TypeVar("Function", bound=Callable[..., Any])

# Connections differ in what they see by their permissions: few ways in practice.
_KEPT_CATALOGUES: Final = 256


class AlreadyRegistered(ImproperlyConfigured):
    """Two primitives of a kind have one name."""


class NotRegistered(LookupError):
    """No primitive has this name."""


class Registry:
    """The primitives of a server, by kind and key."""

    def __init__(self) -> None:
        self._primitives: dict[tuple[str, str], Primitive] = {}
        # What is exposed of models, by model: mcp_channels.modeltools keeps it here.
        self.exposures: dict[Any, Any] = {}
        self._revision = 0
        self._catalogue = lru_cache(_KEPT_CATALOGUES)(_make_catalogue)

    @property
    def primitives(self) -> Collection[Primitive]:
        """All of them, as they are now."""
        # A copy: the site may register from a thread while a connection looks.
        return list(self._primitives.values())

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The tools by name."""
        return {p.name: p for p in self.primitives if isinstance(p, Tool)}

    @property
    def revision(self) -> int:
        """A number that grows with every change."""
        return self._revision

    @property
    def capabilities(self) -> ServerCapabilities:
        """What a server with this registry can say it offers."""
        # The same for all, so that it tells nobody of primitives that are hidden.
        kinds = {primitive.kind for primitive in self.primitives}
        capabilities = ServerCapabilities(logging={})
        if Tool.kind in kinds:
            capabilities.tools = ToolsCapability(list_changed=True)
        if kinds & {Resource.kind, ResourceTemplate.kind}:
            capabilities.resources = ResourcesCapability(
                subscribe=True, list_changed=True
            )
        if Prompt.kind in kinds:
            capabilities.prompts = PromptsCapability(list_changed=True)
        if kinds & {Prompt.kind, ResourceTemplate.kind}:
            capabilities.completions = {}
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

        The options are those of Tool. A method of a class is only marked: it becomes a
        tool when its ModelTools is registered. Raise AlreadyRegistered when the name is
        taken, ImproperlyConfigured when the function cannot be a tool.
        """
        if function is None:
            return partial(self.tool, **options)
        if _is_method(function):
            function._mcp_tool_options = options
            return function
        return self._decorate(Tool, function, options)

    @overload
    def prompt(self, function: Function, /) -> Function: ...

    @overload
    def prompt(
        self, function: None = None, /, **options: Any
    ) -> Callable[[Function], Function]: ...

    def prompt(self, function: Any = None, /, **options: Any) -> Any:
        """
        Register a function as a prompt, and return the function as it is.

        The options are those of Prompt. Raises as tool() does.
        """
        return self._decorate(Prompt, function, options)

    def resource(self, uri: str, /, **options: Any) -> Callable[[Function], Function]:
        """
        Register a function as a resource, and return the function as it is.

        With variables in `uri` it is a template. The options are those of Resource and
        of ResourceTemplate. Raises as tool() does.
        """

        def register(function: Function) -> Function:
            self.add(make_resource(function, uri, **options))
            return function

        return register

    def add(self, primitive: Primitive) -> None:
        """Register a primitive. Raise AlreadyRegistered when its key is taken."""
        place = primitive.kind, primitive.key
        other = self._primitives.get(place)
        if other is not None:
            remedy = (
                f"another name, as in @{primitive.kind}(name=...)"
                if primitive.key == primitive.name
                else "another URI"
            )
            raise AlreadyRegistered(
                f"Two {primitive.kind}s are called {primitive.key!r}: {other.place} "
                f"and {primitive.place}. Give one {remedy}."
            )
        self._primitives[place] = primitive
        self._revision += 1

    def remove(self, key: str, *, kind: str = Tool.kind) -> None:
        """Take a primitive away. Raise NotRegistered when there is none of this kind
        and key."""
        if self._primitives.pop((kind, key), None) is None:
            raise NotRegistered(f"No {kind} is called {key!r}.")
        self._revision += 1

    def catalogue_for(
        self,
        identity: Identity,
        *,
        page_size: int,
        primitives: Iterable[Primitive] | None = None,
    ) -> Catalogue:
        """
        Return what `identity` sees of `primitives`, None for all that are registered.

        May read the database if one of them `needs_permission`: then call it from
        synchronous code.
        """
        if primitives is None:
            primitives = self.primitives
        visible = tuple(p for p in primitives if may_see(identity, p))
        return self._catalogue(visible, page_size)

    def _decorate(self, kind: Any, function: Any, options: dict[str, Any]) -> Any:
        def register(function: Function) -> Function:
            self.add(kind(function, **options))
            return function

        return register if function is None else register(function)


def _is_method(function: Any) -> bool:
    """Tell whether a function is being defined as a method, which takes `self`."""
    if not inspect.isfunction(function):
        return False
    owner = function.__qualname__.rpartition(".")[0]
    if not owner or owner.endswith("<locals>"):
        return False
    return next(iter(inspect.signature(function).parameters), None) == "self"


def method_options(method: Any) -> dict[str, Any] | None:
    """Return the options with which @tool marked a method; None if it did not."""
    options: dict[str, Any] | None = getattr(method, "_mcp_tool_options", None)
    return options


def _make_catalogue(visible: tuple[Primitive, ...], page_size: int) -> Catalogue:
    return Catalogue(visible, page_size=page_size)


registry: Final = Registry()
tool = registry.tool
prompt = registry.prompt
resource = registry.resource
