"""
Actions: methods of a ModelTools under @tool, which get rows where an agent gave keys.

    @tool
    def restock(self, product: Product, count: int) -> Product: ...
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, router
from msgspec import Meta

from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.modeltools.keys import key_annotation_of, show_key
from mcp_channels.modeltools.operations import with_signature
from mcp_channels.modeltools.options import ModelTools
from mcp_channels.modeltools.reach import reach
from mcp_channels.modeltools.values import to_database
from mcp_channels.modeltools.write import refusing, writing
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
    own = [base for base in kind.__mro__ if not issubclass(ModelTools, base)]
    for name in sorted({name for base in own for name in vars(base)}):
        options = method_options(inspect.getattr_static(kind, name))
        if options is not None:
            yield _Action(exposure, getattr(exposure.tools, name), options).tool()


class _Rows:
    """A parameter, or a result, that is a row of a model or several."""

    def __init__(self, model: Any, is_many: bool, is_optional: bool) -> None:
        self.model = model
        self.is_many = is_many
        self._is_optional = is_optional

    @classmethod
    def find(cls, hint: Any) -> "_Rows | None":
        """Return what an annotation means; None if it is about no rows."""
        rest = [hint]
        if get_origin(hint) in (Union, UnionType):
            rest = [option for option in get_args(hint) if option is not NoneType]
        is_many = get_origin(rest[0]) is list
        model = get_args(rest[0])[0] if is_many else rest[0]
        if len(rest) > 1 or not _is_model(model):
            return None
        return cls(model, is_many, is_optional=rest != [hint])

    def annotation(self, item: Any, meta: Meta | None = None) -> Any:
        """Return the annotation with `item` in the place of the model."""
        found = list[item] if self.is_many else item
        if meta is not None:
            found = Annotated[found, meta]
        return found | None if self._is_optional else found


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
        self._rows: dict[str, _Rows] = {}
        self._shows: Exposure | None = None  # what shows the result, if it is rows

    def tool(self) -> Tool:
        """Return the action as a tool."""
        parameters, defaults = {}, {}
        for name, parameter in inspect.signature(self._method).parameters.items():
            if parameter.kind not in (
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            ):
                raise ImproperlyConfigured(
                    f"{self._method.__qualname__}: arguments come by name, which "
                    f"'{parameter}' does not take."
                )
            hint = self._hints.get(name, Any)
            if isinstance(hint, type) and issubclass(hint, Context):
                self._context = name
                continue
            if name == "context":
                raise ImproperlyConfigured(
                    f"{self._method.__qualname__}: 'context' is the Context: annotate "
                    f"it so."
                )
            is_required = parameter.default is parameter.empty
            parameters[name] = self._annotate(name, hint), is_required
            defaults[name] = parameter.default

        def function(context: Context, **arguments: Any) -> Any:
            return self._call(context, arguments)

        async def coroutine_function(context: Context, **arguments: Any) -> Any:
            return await self._acall(context, arguments)

        is_async = inspect.iscoroutinefunction(self._method)
        made: Any = coroutine_function if is_async else function
        for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(made, attribute, getattr(self._method, attribute))
        if not self._has_own_permission:
            self._options["permission"] = self._may
        returns = self._annotate_result()
        return Tool(
            with_signature(made, parameters, returns, defaults), **self._options
        )

    def _may(self, identity: Identity) -> bool:
        return self._exposure.may("update" if self._writes else "get", identity)

    def _annotate(self, name: str, hint: Any) -> Any:
        rows = _Rows.find(hint)
        if rows is None:
            return hint
        self._rows[name] = rows
        key = key_annotation_of(rows.model)
        # Titles, since what the docstring says should be the description.
        meta = rows.model._meta
        if rows.is_many:
            title = f"Keys of {meta.verbose_name_plural}"
            return rows.annotation(
                key, Meta(min_length=1, max_length=_MOST_ROWS, title=title)
            )
        return rows.annotation(key, Meta(title=f"Key of a {meta.verbose_name}"))

    def _annotate_result(self) -> Any:
        hint = self._hints.get("return", Any)
        rows = _Rows.find(hint)
        if rows is None:
            return hint
        self._shows = self._exposure.registered.get(rows.model)
        if self._shows is None:
            raise ImproperlyConfigured(
                f"{self._method.__qualname__}: it returns rows of "
                f"{rows.model.__name__}, which has no ModelTools yet to say what is "
                f"shown of them. Register those first."
            )
        return rows.annotation(self._shows.row_types.root)

    def _call(self, context: Context, arguments: dict[str, Any]) -> Any:
        database = self._exposure.writer.database(context)
        # In the transaction also what is shown: what cannot be, is not done.
        with refusing(), writing(database) if self._writes else nullcontext():
            found = self._resolve(context, arguments)
            return self._show(context, self._method(**found))

    async def _acall(self, context: Context, arguments: dict[str, Any]) -> Any:
        run = context.session.workers.run
        with refusing():
            found = await run(self._resolve, context, arguments)
            return await run(self._show, context, await self._method(**found))

    def _resolve(self, context: Context, arguments: dict[str, Any]) -> dict[str, Any]:
        found = dict(arguments)
        for name, rows in self._rows.items():
            given = found.get(name)
            if given is not None:
                keys = given if rows.is_many else [given]
                fetched = self._fetch(context, rows.model, keys)
                found[name] = fetched if rows.is_many else fetched[0]
        if self._context is not None:
            found[self._context] = context
        return found

    def _fetch(self, context: Context, model: Any, keys: list[Any]) -> list[Any]:
        """Return the rows in the order of their keys. Raise ToolError when one does
        not exist for whoever asks."""
        exposure = self._exposure.registered.get(model)
        seen = reach(self._exposure.registered, model, context)
        rows = model._default_manager.all() if seen.rows is None else seen.rows
        if not seen.can_view:
            rows = rows.none()
        possible = []
        for key in keys:
            with suppress(ToolError):  # for a key that no row could have
                possible.append(to_database(key))
        if self._writes:
            database = router.db_for_write(model)
            if exposure is not None:
                database = exposure.writer.database(context)
            rows = rows.using(database)
            _lock(model, possible, database)
        by_key = {row.pk: row for row in rows.filter(pk__in=possible)}
        for key in keys:
            row = by_key.get(key)
            if row is None or (
                exposure is not None
                and not exposure.tools.has_view_permission(context, row)
            ):
                # Hidden and missing look the same.
                noun = model._meta.verbose_name
                raise ToolError(f"There is no {noun} {show_key(key)}.")
            if exposure is self._exposure:
                self._check(context, row)
        return [by_key[key] for key in keys]

    def _check(self, context: Context, row: Any) -> None:
        """Raise ToolError for a row that may not be changed. An action with a
        permission of its own says with it who may."""
        if not self._writes or self._has_own_permission:
            return
        if not self._exposure.tools.has_change_permission(context, row):
            raise ToolError(f"You may not change {self._exposure.noun} {str(row)!r}.")

    def _show(self, context: Context, value: Any) -> Any:
        if self._shows is None or value is None:
            return value
        if isinstance(value, models.Model):
            return self._read(context, self._shows, [value])[0]
        return self._read(context, self._shows, list(value))

    def _read(
        self, context: Context, exposure: Exposure, instances: list[Any]
    ) -> list[Any]:
        reader = exposure.reader(context)
        rows = exposure.tools.get_queryset(context)
        if self._writes:
            rows = rows.using(exposure.writer.database(context))
        rows = reader.prepare(exposure.prepare(rows))
        by_key = {
            row.pk: row
            for row in rows.filter(pk__in=[instance.pk for instance in instances])
            if exposure.tools.has_view_permission(context, row)
        }
        if any(instance.pk not in by_key for instance in instances):
            raise ToolError("What it returns is out of your reach.")
        return [reader.read(by_key[instance.pk]) for instance in instances]


def _lock(model: Any, keys: list[Any], database: str) -> None:
    connection = connections[database]
    if connection.in_atomic_block and connection.features.has_select_for_update:
        rows = model._base_manager.using(database).filter(pk__in=keys)
        # In the same order for everybody, so that nobody waits for each other.
        list(rows.order_by("pk").select_for_update())


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, models.Model)
