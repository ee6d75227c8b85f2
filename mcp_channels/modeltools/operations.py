"""
What an agent may do with a model: an Operation each, made from its options.

An operation is a function with a signature of its own, so that a Tool makes schema and
decoder of it as of any other; models.list and its like use the same ones.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, Final

import msgspec
from django.utils.text import capfirst
from msgspec import UNSET, Meta, UnsetType

from mcp_channels.modeltools.exposure import OPERATIONS, Exposure
from mcp_channels.modeltools.keys import key_annotation_of
from mcp_channels.modeltools.write import refusing
from mcp_channels.server.context import Context
from mcp_channels.server.permissions import Identity
from mcp_channels.server.schemas import Arguments
from mcp_channels.server.tools import Tool

__all__ = [
    "Operation",
    "Parameters",
    "described",
    "key_parameter",
    "plural",
    "result_type",
    "with_signature",
]

# By name the annotation, with its description, and whether it is required.
Parameters = Mapping[str, tuple[Any, bool]]

_NO_DEFAULTS: Final[Mapping[str, Any]] = {}


class Operation:
    """
    `run` as an operation of an exposed model.

    It is called with a Context and what `parameters` say. A tool of its own is called
    `name`, and what it does is in the sentence `does`.
    """

    def __init__(
        self,
        exposure: Exposure,
        kind: str,
        name: str,
        does: str,
        run: Callable[..., Any],
        parameters: Parameters,
        returns: Any,
    ) -> None:
        self.exposure = exposure
        self.kind = kind
        self.name = name
        self.description = f"{does} {exposure.tools.description}".strip()
        self._run = run
        self._parameters = parameters
        self._returns = returns

    @property
    def tool_name(self) -> str:
        """The tool that an agent calls for it."""
        return f"models.{self.kind}" if self.exposure.tools.generic else self.name

    @staticmethod
    def hints_of(kind: str) -> dict[str, Any]:
        """Return what a Tool says of operations of this kind."""
        writes = OPERATIONS[kind] != "view"
        hints: dict[str, Any] = {"read_only": not writes, "open_world": False}
        if writes:
            hints["destructive"] = "create" not in kind
            hints["idempotent"] = "update" in kind
        return hints

    @cached_property
    def arguments(self) -> Arguments:
        """What it takes, as a schema and as a decoder."""
        return Arguments(self.make_function(), skip=Context)

    def run(self, context: Context, **arguments: Any) -> Any:
        """Do it. Raise ToolError when it cannot be done."""
        with refusing():
            return self._run(context, **arguments)

    def make_tool(self) -> Tool:
        """Return it as a tool of its own."""
        return Tool(
            self.make_function(),
            name=self.name,
            title=capfirst(self.name.replace("_", " ")),
            description=self.description,
            permission=self._may,
            **self.hints_of(self.kind),
        )

    def _may(self, identity: Identity) -> bool:
        return self.exposure.may(self.kind, identity)

    def make_function(self) -> Callable[..., Any]:
        """Return a function that is like one that a site could have written."""

        def function(context: Context, **arguments: Any) -> Any:
            return self.run(context, **arguments)

        owner = type(self.exposure.tools)
        function.__name__ = self.name
        function.__qualname__ = f"{owner.__qualname__}.{self.kind}"
        function.__module__ = owner.__module__
        return with_signature(function, self._parameters, self._returns)


def with_signature(
    function: Any,
    parameters: Parameters,
    returns: Any,
    defaults: Mapping[str, Any] = _NO_DEFAULTS,
) -> Callable[..., Any]:
    """
    Return `function`, which takes a context and any keywords, as if it had been written
    with these.
    """
    annotations = {name: annotation for name, (annotation, _) in parameters.items()}
    function.__annotations__ = {"context": Context, **annotations, "return": returns}
    function.__signature__ = inspect.Signature(
        [
            inspect.Parameter(
                "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Context
            ),
            *(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    annotation=annotation,
                    # UNSET has no JSON, and so is no default that anybody is told of.
                    default=inspect.Parameter.empty
                    if is_required
                    else defaults.get(name, UNSET),
                )
                for name, (annotation, is_required) in parameters.items()
            ),
        ],
        return_annotation=returns,
    )
    made: Callable[..., Any] = function
    return made


def described(annotation: Any, text: str) -> Any:
    """Return `annotation` with a description."""
    return Annotated[annotation, Meta(description=text)]


def key_parameter(exposure: Exposure) -> tuple[Any, bool]:
    """Return the parameter that says which row."""
    key = key_annotation_of(exposure.model)
    return described(key, f"The key of the {exposure.noun}."), True


def plural(exposure: Exposure) -> str:
    """Return what several rows are called."""
    return str(exposure.model._meta.verbose_name_plural)


def result_type(exposure: Exposure, kind: str) -> Any:
    """Return the type of the result for one row."""
    return msgspec.defstruct(
        f"{exposure.model.__name__}_{kind}",
        [
            ("row", exposure.row_types.root),
            # For a later change, which then is refused if somebody was faster.
            ("version", str),
            ("uri", str | UnsetType, UNSET),  # to read it again, or to watch it
        ],
        frozen=True,
    )
