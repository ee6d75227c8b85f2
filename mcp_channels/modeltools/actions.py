"""
Actions: methods of a ModelTools under @tool, which get rows where an agent gave keys.

    @tool
    def restock(self, product: Product, count: int) -> Product: ...
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Annotated, Any, Final, get_args, get_origin

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, router
from django.utils.text import camel_case_to_spaces
from msgspec import Meta

from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.modeltools.rows import reach
from mcp_channels.modeltools.values import annotation_of
from mcp_channels.modeltools.write import writing
from mcp_channels.server.context import Context
from mcp_channels.server.permissions import Identity
from mcp_channels.server.registry import method_options
from mcp_channels.server.schemas import type_hints
from mcp_channels.server.tools import Tool, ToolError

__all__ = ["make_actions"]

_MOST_ROWS: Final = 100  # of one parameter


def make_actions(exposure: Exposure) -> Iterator[Tool]:
    """Return the tools that the methods of a ModelTools are. Raise ImproperlyConfigured
    when one cannot be."""
    kind = type(exposure.tools)
    for name in dir(kind):
        options = method_options(inspect.getattr_static(kind, name))
        if options is not None:
            yield _Action(exposure, getattr(exposure.tools, name), options).tool()


class _Action:
    def __init__(
        self, exposure: Exposure, method: Callable[..., Any], options: dict[str, Any]
    ) -> None:
        self._exposure = exposure
        self._method = method
        self._options = {**options}
        self._has_own_permission = options.get("permission") is not None
        self._writes = not options.get("read_only")
        self._hints = type_hints(method)
        self._context: str | None = None
        self._rows: dict[str, tuple[Any, bool]] = {}  # model, and whether several
        self._returns, self._shows = self._result()

    def tool(self) -> Tool:
        """Return the action as a tool."""
        parameters = []
        for parameter in inspect.signature(self._method).parameters.values():
            hint = self._hints.get(parameter.name, Any)
            if isinstance(hint, type) and issubclass(hint, Context):
                self._context = parameter.name
            else:
                parameters.append(self._parameter(parameter, hint))
        method = self._method
        call: Callable[..., Any] = (
            self._acall if inspect.iscoroutinefunction(method) else self._call
        )

        def function(context: Context, **arguments: Any) -> Any:
            return call(context, arguments)

        async def coroutine_function(context: Context, **arguments: Any) -> Any:
            return await call(context, arguments)

        made: Any = (
            coroutine_function if inspect.iscoroutinefunction(method) else function
        )
        first = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Context
        )
        made.__name__ = method.__name__
        made.__qualname__ = method.__qualname__
        made.__module__ = method.__module__
        made.__doc__ = method.__doc__
        made.__annotations__ = {
            "context": Context,
            "return": self._returns,
            **{parameter.name: parameter.annotation for parameter in parameters},
        }
        made.__signature__ = inspect.Signature(
            [first, *parameters], return_annotation=self._returns
        )
        if not self._has_own_permission:
            self._options["permission"] = self._may
        return Tool(made, **self._options)

    def _may(self, identity: Identity) -> bool:
        return self._exposure.may("update" if self._writes else "get", identity)

    def _parameter(self, parameter: inspect.Parameter, hint: Any) -> inspect.Parameter:
        is_many = get_origin(hint) is list
        model = get_args(hint)[0] if is_many else hint
        if not _is_model(model):
            return parameter.replace(
                annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY
            )
        self._rows[parameter.name] = model, is_many
        key: Any = annotation_of(model._meta.pk)
        text = f"The key of the {model._meta.verbose_name}."
        annotation: Any = Annotated[key, Meta(description=text)]
        if is_many:
            annotation = Annotated[
                list[key],
                Meta(min_length=1, max_length=_MOST_ROWS, description="Keys."),
            ]
        return parameter.replace(
            annotation=annotation, kind=inspect.Parameter.KEYWORD_ONLY
        )

    def _result(self) -> tuple[Any, Exposure | None]:
        """Return the annotation of the result, and what shows it if it is a row."""
        hint = self._hints.get("return", Any)
        is_many = get_origin(hint) is list
        model = get_args(hint)[0] if is_many else hint
        if not _is_model(model):
            return hint, None
        exposure = self._exposure.registered.get(model)
        if exposure is None:
            raise ImproperlyConfigured(
                f"{self._method.__qualname__}: it returns a "
                f"{camel_case_to_spaces(model.__name__)}, which has no ModelTools yet "
                f"to say what is shown of it. Register those first."
            )
        row: Any = exposure.row_types.root
        return (list[row] if is_many else row), exposure

    def _call(self, context: Context, arguments: dict[str, Any]) -> Any:
        database = router.db_for_write(self._exposure.model)
        with writing(database) if self._writes else nullcontext():
            found = self._resolve(context, arguments)
            value = self._method(**found)
        return self._show(context, value)

    async def _acall(self, context: Context, arguments: dict[str, Any]) -> Any:
        run = context.session.workers.run
        found = await run(self._resolve, context, arguments)
        return await run(self._show, context, await self._method(**found))

    def _resolve(self, context: Context, arguments: dict[str, Any]) -> dict[str, Any]:
        found = dict(arguments)
        for name, (model, is_many) in self._rows.items():
            if name not in found or found[name] is None:
                continue
            keys = found[name] if is_many else [found[name]]
            rows = self._fetch(context, model, keys)
            for row in rows:
                self._check(context, row)
            found[name] = rows if is_many else rows[0]
        if self._context is not None:
            found[self._context] = context
        return found

    def _fetch(self, context: Context, model: Any, keys: list[Any]) -> list[Any]:
        """Return the rows in the order of their keys. Raise ToolError when one does
        not exist for whoever asks."""
        seen = reach(self._exposure.registered, model, context)
        rows = model._default_manager.all() if seen.rows is None else seen.rows
        if not seen.can_view:
            rows = rows.none()
        connection = connections[rows.db]
        if self._writes and connection.in_atomic_block:
            locked = model._base_manager.using(rows.db).filter(pk__in=keys)
            if connection.features.has_select_for_update:
                list(locked.order_by("pk").select_for_update().values_list("pk"))
        by_key = {row.pk: row for row in rows.filter(pk__in=keys)}
        for key in keys:
            if key not in by_key:
                raise ToolError(f"There is no {model._meta.verbose_name} {key!r}.")
        return [by_key[key] for key in keys]

    def _check(self, context: Context, row: Any) -> None:
        exposure = self._exposure.registered.get(type(row))
        if exposure is None:
            return
        noun = exposure.noun
        if not exposure.tools.has_view_permission(context, row):
            raise ToolError(f"There is no {noun} {row.pk!r}.")
        if self._has_own_permission or not self._writes:
            return
        if exposure is self._exposure and not exposure.tools.has_change_permission(
            context, row
        ):
            raise ToolError(f"You may not change {noun} {str(row)!r}.")

    def _show(self, context: Context, value: Any) -> Any:
        if self._shows is None or value is None:
            return value
        if isinstance(value, models.Model):
            return self._row(context, value)
        return [self._row(context, row) for row in value]

    def _row(self, context: Context, instance: Any) -> Any:
        exposure: Any = self._shows
        reader = exposure.reader(context)
        queryset = exposure.tools.get_queryset(context)
        return reader.read(
            exposure.find(
                context, instance.pk, reader.prepare(exposure.prepare(queryset))
            )
        )


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, models.Model)
