"""
What an agent may do with a model: an Operation each, made from its options.

An operation is a function with a signature of its own, so that a Tool makes schema and
decoder of it as of any other; models.list and its like use the same ones.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated, Any, Final

import msgspec
from django.utils.text import capfirst
from msgspec import UNSET, Meta, Struct, UnsetType

from mcp_channels.modeltools.aggregate import Groups
from mcp_channels.modeltools.exposure import OPERATIONS, Exposure
from mcp_channels.modeltools.query import Pages
from mcp_channels.modeltools.values import annotation_of, one_of
from mcp_channels.server.context import Context
from mcp_channels.server.permissions import Identity
from mcp_channels.server.schemas import Arguments, encode_value
from mcp_channels.server.tools import Tool, ToolError

__all__ = ["Deleted", "Operation", "make_operations"]

_SEARCH: Final = Annotated[str, Meta(min_length=1, max_length=200)]


class Deleted(Struct, frozen=True):
    """Rows that are gone."""

    deleted: list[str]  # what they were called


class Operation:
    """
    `run` as an operation of an exposed model.

    It is called with a Context and what the signature says. The annotations of
    `parameters` have their descriptions with them.
    """

    def __init__(
        self,
        exposure: Exposure,
        kind: str,
        name: str,
        description: str,
        run: Callable[..., Any],
        parameters: dict[str, Any],
        returns: Any,
    ) -> None:
        self.exposure = exposure
        self.kind = kind
        self.name = name
        self.description = description
        self.run = run
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
        run = self.run

        def function(context: Context, **arguments: Any) -> Any:
            return run(context, **arguments)

        # None is no default of theirs: it stands for what was left out.
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=annotation,
                default=inspect.Parameter.empty if is_required else None,
            )
            for name, (annotation, is_required) in self._parameters.items()
        ]
        first = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Context
        )
        owner = type(self.exposure.tools)
        function.__name__ = self.name
        function.__qualname__ = f"{owner.__qualname__}.{self.kind}"
        function.__module__ = owner.__module__
        function.__doc__ = None
        function.__annotations__ = {
            "context": Context,
            "return": self._returns,
            **{name: annotation for name, (annotation, _) in self._parameters.items()},
        }
        function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [first, *parameters], return_annotation=self._returns
        )
        return function


def make_operations(exposure: Exposure) -> Iterator[Operation]:
    """Return the operations that the options of a model name."""
    for kind in exposure.tools.operations:
        make = _MAKERS.get(kind)
        if make is not None:
            yield make(exposure)


def _described(annotation: Any, text: str) -> Any:
    return Annotated[annotation, Meta(description=text)]


def _about(exposure: Exposure, sentence: str) -> str:
    return f"{sentence} {exposure.tools.description}".strip()


def _plural(exposure: Exposure) -> str:
    return str(exposure.model._meta.verbose_name_plural)


def _key_parameter(exposure: Exposure) -> tuple[Any, bool]:
    key = annotation_of(exposure.model._meta.pk)
    return _described(key, f"The key of the {exposure.noun}."), True


def _version_parameter() -> tuple[Any, bool]:
    text = (
        "The version that you have read. If the row was changed since, nothing is "
        "done. Without it the last one to write wins."
    )
    return _described(str, text), False


def _fields_parameter(exposure: Exposure) -> tuple[Any, bool]:
    shown = ", ".join(exposure.allowlist.defaults)
    text = f"What to show of a row. Without it: {shown}."
    path: Any = one_of(exposure.allowlist.by_path)
    return Annotated[list[path], Meta(min_length=1, description=text)], False


def _narrowing_parameters(exposure: Exposure) -> dict[str, Any]:
    """Return what says which rows are meant."""
    parameters: dict[str, Any] = {}
    if exposure.filters:
        text = "Only rows that fit all of these."
        parameters["filters"] = (_described(exposure.filters.type, text), False)
    if exposure.search:
        columns = ", ".join(exposure.search.paths)
        text = f"Only rows that have all of these words in one of: {columns}."
        parameters["search"] = (Annotated[_SEARCH, Meta(description=text)], False)
    return parameters


def _rows(
    exposure: Exposure, context: Context, filters: Any = None, search: Any = None
) -> Any:
    queryset = exposure.tools.get_queryset(context)
    if filters is not None:
        queryset = exposure.filters.apply(
            queryset, filters, context, exposure.registered
        )
    if search is not None:
        queryset = exposure.search.apply(queryset, search, context, exposure.registered)
    return queryset


def _result_type(exposure: Exposure, kind: str) -> Any:
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


def _make_list(exposure: Exposure) -> Operation:
    tools = exposure.tools
    page: Any = msgspec.defstruct(
        f"{exposure.model.__name__}_page",
        [
            ("rows", list[exposure.row_types.root]),  # type: ignore[name-defined]
            ("next_cursor", str | None),  # None on the last page
            ("total", int | UnsetType, UNSET),  # of all pages, if it was asked for
            ("total_is_capped", bool | UnsetType, UNSET),  # there are more than that
        ],
        frozen=True,
    )

    def run(
        context: Context,
        filters: Any = None,
        search: Any = None,
        ordering: Any = None,
        fields: Any = None,
        page_size: int | None = None,
        cursor: str | None = None,
        count: bool = False,
    ) -> Any:
        queryset = _rows(exposure, context, filters, search)
        total: Any = UNSET
        is_capped: Any = UNSET
        if count:
            total, is_capped = _count(queryset, tools.max_count)
        pages = Pages(exposure.label, exposure.ordering.terms(ordering))
        pages.check(exposure.allowlist, context, exposure.registered)
        reader = exposure.reader(context, fields)
        queryset = reader.prepare(exposure.prepare(queryset))
        size = page_size or tools.page_size
        instances, has_more = pages.take(queryset, cursor, size)
        rows = [
            (instance, reader.read(instance))
            for instance in instances
            if not exposure.checks_rows or tools.has_view_permission(context, instance)
        ]
        rows, was_cut = _cut(rows, tools.max_bytes)
        last = rows[-1][0] if was_cut else instances[-1] if has_more else None
        return page(
            [row for _, row in rows],
            None if last is None else pages.cursor(last),
            total,
            is_capped,
        )

    most = tools.max_page_size
    parameters = {
        **_narrowing_parameters(exposure),
        "ordering": (exposure.ordering.annotation, False),
        "fields": _fields_parameter(exposure),
        "page_size": (
            Annotated[
                int,
                Meta(
                    ge=1,
                    le=most,
                    description=f"At most so many rows; {tools.page_size} if left out.",
                ),
            ],
            False,
        ),
        "cursor": (
            _described(
                str,
                "The next_cursor of the page before, with the same filters and "
                "ordering.",
            ),
            False,
        ),
        "count": (_described(bool, "Whether to count all rows that fit."), False),
    }
    text = _about(exposure, f"List {_plural(exposure)}, a page at a time.")
    name = f"list_{exposure.name_plural}"
    return Operation(exposure, "list", name, text, run, parameters, page)


def _count(queryset: Any, most: int | None) -> tuple[int, bool]:
    if most is None:
        return queryset.count(), False
    # Counting a large table takes as long as reading it.
    total = queryset.order_by()[: most + 1].count()
    return min(total, most), total > most


def _cut(rows: list[Any], most: int) -> tuple[list[Any], bool]:
    """Return as many rows as have at most `most` bytes, and whether that left some
    out."""
    if len(encode_value([row for _, row in rows])) <= most:
        return rows, False
    size = 0
    for index, (_, row) in enumerate(rows):
        size += len(encode_value(row)) + 1
        if size > most:
            if index == 0:
                raise ToolError(
                    f"A row has more than {most} bytes. Ask for less of it with fields."
                )
            return rows[:index], True
    return rows, False


def _make_get(exposure: Exposure) -> Operation:
    result = _result_type(exposure, "details")

    def run(context: Context, pk: Any, fields: Any = None) -> Any:
        return show(exposure, context, pk, result, fields)

    parameters = {
        "pk": _key_parameter(exposure),
        "fields": _fields_parameter(exposure),
    }
    text = _about(exposure, f"Get one {exposure.noun} by its key.")
    name = f"get_{exposure.name}"
    return Operation(exposure, "get", name, text, run, parameters, result)


def show(
    exposure: Exposure, context: Context, key: Any, result: Any, fields: Any = None
) -> Any:
    """Return a `result` with the row of this key. Raise ToolError when there is
    none."""
    reader = exposure.reader(context, fields)
    queryset = exposure.tools.get_queryset(context)
    instance = exposure.find(context, key, reader.prepare(exposure.prepare(queryset)))
    row = reader.read(instance)
    most = exposure.tools.max_bytes
    if len(encode_value(row)) > most:
        raise ToolError(
            f"The row has more than {most} bytes. Ask for less of it with fields."
        )
    return result(row, exposure.writer.version(instance), exposure.uri(instance.pk))


def _make_aggregate(exposure: Exposure) -> Operation:
    def run(
        context: Context,
        measures: Any,
        group_by: Any = None,
        filters: Any = None,
        search: Any = None,
    ) -> Groups:
        queryset = _rows(exposure, context, filters, search)
        most = exposure.tools.max_page_size
        return exposure.aggregates.compute(queryset, measures, group_by or (), most)

    parameters = {
        "measures": (exposure.aggregates.measures, True),
        "group_by": (exposure.aggregates.groupings, False),
        **_narrowing_parameters(exposure),
    }
    text = _about(
        exposure,
        f"Count, add up or average {_plural(exposure)}, all together or by groups.",
    )
    name = f"aggregate_{exposure.name_plural}"
    return Operation(exposure, "aggregate", name, text, run, parameters, Groups)


def _values_parameter(exposure: Exposure, annotation: Any) -> tuple[Any, bool]:
    return _described(annotation, f"The fields of the {exposure.noun}."), True


def _make_create(exposure: Exposure) -> Operation:
    result = _result_type(exposure, "created")

    def run(context: Context, values: Any) -> Any:
        instance = exposure.writer.create(context, values)
        return show(exposure, context, instance.pk, result)

    parameters = {"values": _values_parameter(exposure, exposure.form.type_for_create)}
    text = _about(exposure, f"Create one {exposure.noun}.")
    name = f"create_{exposure.name}"
    return Operation(exposure, "create", name, text, run, parameters, result)


def _make_update(exposure: Exposure) -> Operation:
    result = _result_type(exposure, "updated")

    def run(context: Context, pk: Any, values: Any, version: Any = None) -> Any:
        instance = exposure.writer.update(context, pk, values, version)
        return show(exposure, context, instance.pk, result)

    parameters = {
        "pk": _key_parameter(exposure),
        "values": _values_parameter(exposure, exposure.form.type_for_update),
        "version": _version_parameter(),
    }
    text = _about(
        exposure,
        f"Change one {exposure.noun}. Fields that are left out stay as they are.",
    )
    name = f"update_{exposure.name}"
    return Operation(exposure, "update", name, text, run, parameters, result)


def _make_delete(exposure: Exposure) -> Operation:
    def run(context: Context, pk: Any, version: Any = None) -> Deleted:
        return Deleted([exposure.writer.delete(context, pk, version)])

    parameters = {"pk": _key_parameter(exposure), "version": _version_parameter()}
    text = _about(exposure, f"Delete one {exposure.noun}, and what belongs to it.")
    name = f"delete_{exposure.name}"
    return Operation(exposure, "delete", name, text, run, parameters, Deleted)


def _keys_type(exposure: Exposure, kind: str) -> Any:
    key: Any = annotation_of(exposure.model._meta.pk)
    return msgspec.defstruct(
        f"{exposure.model.__name__}_keys_{kind}", [("pks", list[key])], frozen=True
    )


def _several(exposure: Exposure, annotation: Any, text: str) -> tuple[Any, bool]:
    most = exposure.tools.max_bulk
    meta = Meta(min_length=1, max_length=most, description=text)
    return Annotated[list[annotation], meta], True


def _make_bulk_create(exposure: Exposure) -> Operation:
    def run(context: Context, rows: Any) -> Any:
        instances = exposure.writer.create_all(context, rows)
        return keys([instance.pk for instance in instances])

    keys = _keys_type(exposure, "created")
    text = "The fields of each."
    parameters = {"rows": _several(exposure, exposure.form.type_for_create, text)}
    text = _about(
        exposure,
        f"Create several {_plural(exposure)}, all or none of them. Returns their keys.",
    )
    name = f"bulk_create_{exposure.name_plural}"
    return Operation(exposure, "bulk_create", name, text, run, parameters, keys)


def _make_bulk_update(exposure: Exposure) -> Operation:
    key = annotation_of(exposure.model._meta.pk)
    change: Any = msgspec.defstruct(
        f"{exposure.model.__name__}_change",
        [
            ("pk", key),
            ("values", exposure.form.type_for_update),
            ("version", str | None, None),  # as it was read; None: any
        ],
        forbid_unknown_fields=True,
    )

    keys = _keys_type(exposure, "updated")

    def run(context: Context, rows: Any) -> Any:
        instances = exposure.writer.update_all(context, rows)
        return keys([instance.pk for instance in instances])

    text = "The key of each, and what to change of it."
    parameters = {"rows": _several(exposure, change, text)}
    text = _about(exposure, f"Change several {_plural(exposure)}, all or none of them.")
    name = f"bulk_update_{exposure.name_plural}"
    return Operation(exposure, "bulk_update", name, text, run, parameters, keys)


def _make_bulk_delete(exposure: Exposure) -> Operation:
    def run(context: Context, pks: Any) -> Deleted:
        return Deleted(exposure.writer.delete_all(context, pks))

    key = annotation_of(exposure.model._meta.pk)
    parameters = {"pks": _several(exposure, key, "The key of each.")}
    text = _about(exposure, f"Delete several {_plural(exposure)}, all or none of them.")
    name = f"bulk_delete_{exposure.name_plural}"
    return Operation(exposure, "bulk_delete", name, text, run, parameters, Deleted)


_MAKERS: Final[dict[str, Callable[[Exposure], Operation]]] = {
    "list": _make_list,
    "get": _make_get,
    "aggregate": _make_aggregate,
    "create": _make_create,
    "update": _make_update,
    "delete": _make_delete,
    "bulk_create": _make_bulk_create,
    "bulk_update": _make_bulk_update,
    "bulk_delete": _make_bulk_delete,
}
