"""A registry with models in it, and what somebody gets who calls its tools."""

from types import SimpleNamespace
from typing import Any

import msgspec
from django.contrib.auth.models import AnonymousUser
from msgspec import UNSET, Raw

from mcp_channels import ModelTools, ToolError, register
from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.protocol.projection import RootValue
from mcp_channels.protocol.types import CallToolResult
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.permissions import Identity, TokenGrant
from mcp_channels.server.registry import Registry
from mcp_channels.server.schemas import ArgumentsError, encode_value

__all__ = ["Anybody", "Counter"]


class Anybody(SimpleNamespace):
    """Somebody without a database, who may do what is in `permissions`; None for
    everything."""

    is_authenticated = True
    pk = None

    def __init__(self, *permissions: str, but: Any = ()) -> None:
        super().__init__(permissions=permissions or None, but=but)

    def has_perm(self, permission: str, obj: Any = None) -> bool:
        if permission in self.but:
            return False
        return self.permissions is None or permission in self.permissions


class Counter:
    """
    Calls tools as `user`, None for one who may do everything, without a connection.

    The arguments go the way of JSON, and so do the results.
    """

    def __init__(self, user: Any = None, registry: Registry | None = None) -> None:
        self.registry = Registry() if registry is None else registry
        self.user = Anybody() if user is None else user
        self.token: TokenGrant | None = None

    def as_user(self, user: Any) -> "Counter":
        """Return the same for somebody else, None for nobody."""
        return Counter(AnonymousUser() if user is None else user, self.registry)

    @property
    def identity(self) -> Identity:
        """Who calls."""
        return Identity(self.user, self.token)

    @property
    def _catalogue(self) -> Catalogue:
        return self.registry.catalogue_for(self.identity, page_size=1000)

    @property
    def context(self) -> Any:
        """What stands for the context of a request."""
        session = SimpleNamespace(catalogue=self._catalogue)
        return SimpleNamespace(user=self.user, identity=self.identity, session=session)

    def expose(self, model: Any, **options: Any) -> Exposure:
        """Register `model` with a ModelTools that has these options and methods."""
        options.setdefault("operations", ["list", "get", "create", "update", "delete"])
        tools = type(f"{model.__name__}Tools", (ModelTools,), options)
        register(model, registry=self.registry)(tools)
        exposure: Exposure = self.registry.exposures[model]
        assert exposure.problems == []
        return exposure

    @property
    def tools(self) -> Any:
        """The tools that exist for the user, by name."""
        return self._catalogue.tools

    def result(self, name: str, /, **arguments: Any) -> CallToolResult:
        """Return the result of a tool. Raise what a Tool makes results of, too."""
        tool = self.tools[name]
        keywords = tool._arguments.decode(Raw(msgspec.json.encode(arguments)))
        found: CallToolResult = tool._returned.to_result(
            tool.function(self.context, **keywords)
        )
        return found

    def text(self, name: str, /, **arguments: Any) -> str:
        """Return the text of a result."""
        (block,) = self.result(name, **arguments).content
        text: str = block.text
        return text

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Return the structured content of a result, None if there is none."""
        value = self.result(name, **arguments).structured_content
        if value is UNSET:
            return None
        # As newer clients see what is no object.
        raw = value.value if isinstance(value, RootValue) else value
        return msgspec.json.decode(encode_value(raw))

    def refusal(self, name: str, /, **arguments: Any) -> str:
        """Return what the model is told that cannot have what it wants."""
        try:
            result = self.call(name, **arguments)
        except (ArgumentsError, ToolError) as exc:
            return str(exc)
        raise AssertionError(f"It was not refused: {result}")
