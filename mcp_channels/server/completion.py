"""
Completion: what an argument of a prompt, or a variable of a template, can be.

MCP 2026-07-28, server/utilities/completion.
"""

import enum
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
)

from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.db.models.query import FlatValuesListIterable
from django.utils.functional import Promise

from mcp_channels.protocol.errors import InternalError, InvalidParams
from mcp_channels.protocol.methods import CompleteRequestParams
from mcp_channels.protocol.types import CompleteResult, Completion, PromptReference
from mcp_channels.server.context import Context
from mcp_channels.server.primitives import Primitive
from mcp_channels.server.schemas import type_hints

__all__ = ["Completer", "Source", "complete", "make_completers"]

# "completion.values: Must not exceed 100 items."
_MOST: Final = 100

Source: TypeAlias = (
    Iterable[Any] | type[enum.Enum] | Callable[..., Any] | QuerySet[Any, Any]
)


class Completer:
    """
    Completes one argument from a source.

    A list, an Enum or a queryset of `values_list("field", flat=True)` gives what begins
    with the value typed so far, in any case of letters; of a list also what contains
    it, after that. A function, synchronous or not, is called with the value, and
    decides itself; a parameter annotated Context gets the context, one called
    `arguments` the other arguments known so far. It returns any of the others, or any
    queryset, whose rows are shown as text.
    """

    def __init__(self, source: Source, *, label: str) -> None:
        self._function: _CompleterFunction | None = None
        self._source: Any = source
        if isinstance(source, QuerySet):
            self._check(source, label)
        elif callable(source) and not isinstance(source, enum.EnumType):
            self._function = _CompleterFunction(source)
        elif isinstance(source, Iterable) and not isinstance(source, str | Promise):
            self._source = [_text(value) for value in source]
        else:
            raise ImproperlyConfigured(
                f"{label}: {source!r} cannot complete an argument. Use a list, an "
                f"Enum, a function or a queryset."
            )

    def _check(self, source: Any, label: str) -> None:
        """Raise ImproperlyConfigured for a queryset that cannot be searched."""
        if source._iterable_class is not FlatValuesListIterable:
            raise ImproperlyConfigured(
                f"{label}: a queryset to complete with is made by "
                f'values_list("field", flat=True).'
            )
        if source.query.is_sliced or source.query.combinator:
            raise ImproperlyConfigured(
                f"{label}: a queryset to complete with is filtered by what was typed, "
                f"which a slice or a union cannot be. Use a function."
            )

    async def complete(
        self, context: Context, value: str, arguments: Mapping[str, str]
    ) -> Completion:
        """Return at most 100 values, and how many there are if that is known."""
        if self._function is not None:
            found = await self._function.complete(context, value, arguments)
        elif isinstance(self._source, QuerySet):
            (name,) = _fields(self._source)
            found = self._source.filter(**{f"{name}__istartswith": value})
        else:
            found = _match(self._source, value)
        if isinstance(found, QuerySet):
            return await context.session.workers.run(_take, found)
        values = [_text(item) for item in found]
        return Completion(
            values=values[:_MOST], total=len(values), has_more=len(values) > _MOST
        )


class _CompleterFunction(Primitive):
    """A function that completes an argument."""

    kind = "completion"

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(
            function,
            name=None,
            permission=None,
            timeout=None,
            atomic=None,
        )
        hints = type_hints(function)
        self._value = ""
        self._rest: dict[str, bool] = {}  # parameter: whether it is for the context
        for name, parameter in inspect.signature(function).parameters.items():
            hint = hints.get(name)
            if isinstance(hint, type) and issubclass(hint, Context):
                self._rest[name] = True
            elif name == "arguments":
                self._rest[name] = False
            elif not self._value:
                self._value = name
            elif parameter.default is parameter.empty:
                raise ImproperlyConfigured(
                    f"{self.place} completes an argument, and gets its value, what is "
                    f"called 'arguments' and a Context: what is {name!r}?"
                )
        if not self._value:
            raise ImproperlyConfigured(
                f"{self.place} completes an argument, but does not take its value."
            )

    async def complete(
        self, context: Context, value: str, arguments: Mapping[str, str]
    ) -> Any:
        keywords: dict[str, Any] = {self._value: value}
        for name, is_context in self._rest.items():
            keywords[name] = context if is_context else dict(arguments)
        return await self.run(context, keywords)


def make_completers(
    label: str,
    names: Iterable[str],
    hints: Mapping[str, Any],
    sources: Mapping[str, Source],
) -> dict[str, Completer]:
    """
    Return the completers of the arguments `names`.

    An argument whose annotation lists its values needs no source. Raise
    ImproperlyConfigured for a source of an argument that does not exist.
    """
    names = list(names)
    unknown = sources.keys() - set(names)
    if unknown:
        raise ImproperlyConfigured(
            f"{label}: it completes {', '.join(sorted(unknown))}, which is none of its "
            f"arguments."
        )
    completers = {}
    for name in names:
        source = sources.get(name, _values_of(hints.get(name)))
        if source is not None:
            completers[name] = Completer(source, label=label)
    return completers


def _values_of(hint: Any) -> Source | None:
    if get_origin(hint) is Annotated:
        return _values_of(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return get_args(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint
    if hint is bool:
        return ["true", "false"]
    if get_origin(hint) in (Union, type(int | None)):
        for option in get_args(hint):
            values = _values_of(option)
            if values is not None:
                return values
    return None


def _fields(queryset: Any) -> tuple[str, ...]:
    """Return the fields of which a queryset gives the values."""
    fields: tuple[str, ...] = queryset._fields
    return fields


def _text(value: Any) -> str:
    """Return a value as it is on the wire."""
    return str(value.value if isinstance(value, enum.Enum) else value)


def _match(values: list[str], typed: str) -> list[str]:
    typed = typed.casefold()
    first, second = [], []
    for value in values:
        folded = value.casefold()
        if folded.startswith(typed):
            first.append(value)
        elif typed in folded:
            second.append(value)
    return first + second


def _take(found: QuerySet[Any, Any]) -> Completion:
    total = found.count()
    values = [_text(item) for item in found[:_MOST]]
    return Completion(values=values, total=total, has_more=total > len(values))


async def complete(context: Context, params: CompleteRequestParams) -> CompleteResult:
    """
    Answer completion/complete.

    An argument that cannot be completed has no values. Raise InvalidParams when there
    is no such prompt or template.
    """
    catalogue = context.session.catalogue
    completers: Mapping[str, Completer]
    if isinstance(params.ref, PromptReference):
        prompt = catalogue.prompts.get(params.ref.name)
        if prompt is None:
            raise InvalidParams(f"Unknown prompt: {params.ref.name[:128]}")
        completers = prompt.completers
    else:
        template = catalogue.templates.get(params.ref.uri)
        if template is None:
            found = catalogue.find_resource(params.ref.uri)
            if found is None:
                raise InvalidParams(f"Unknown resource: {params.ref.uri[:128]}")
            completers = getattr(found.resource, "completers", {})
        else:
            completers = template.completers
    completer = completers.get(params.argument.name)
    if completer is None:
        return CompleteResult(completion=Completion(values=[]))
    context.session.expire_after(
        None, context.request, InternalError("The completion took too long")
    )
    known = params.context.arguments if params.context else {}
    return CompleteResult(
        completion=await completer.complete(context, params.argument.value, known or {})
    )
