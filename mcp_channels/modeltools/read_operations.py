"""The operations that read: list, get, aggregate."""

from itertools import accumulate
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from mcp_channels.modeltools.aggregate import Groups
from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.modeltools.operations import (
    Operation,
    described,
    key_parameter,
    plural,
    result_type,
)
from mcp_channels.modeltools.search import LONGEST_SEARCH
from mcp_channels.modeltools.values import one_of
from mcp_channels.server.context import Context
from mcp_channels.server.schemas import encode_value
from mcp_channels.server.tools import ToolError

__all__ = ["make_aggregate", "make_get", "make_list", "read_one"]

_SEARCH: Final = Annotated[str, Meta(min_length=1, max_length=LONGEST_SEARCH)]


def make_list(exposure: Exposure) -> Operation:
    """Return the operation that reads a page of rows."""
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
            total, is_capped = exposure.count(context, queryset)
        pages = exposure.pages(context, ordering)
        reader = exposure.reader(context, fields)
        queryset = reader.prepare(exposure.prepare(queryset))
        size = page_size or tools.page_size
        instances, has_more = pages.take(queryset, cursor, size)
        rows = [(instance, reader.read(instance)) for instance in instances]
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
            described(
                str,
                "The next_cursor of the page before, with the same filters and "
                "ordering.",
            ),
            False,
        ),
        "count": (described(bool, "Whether to count all rows that fit."), False),
    }
    text = f"List {plural(exposure)}, a page at a time."
    name = f"list_{exposure.name_plural}"
    return Operation(exposure, "list", name, text, run, parameters, page)


def _cut(rows: list[Any], most: int) -> tuple[list[Any], bool]:
    """Return as many rows as have at most `most` bytes, and whether that left some
    out."""
    if len(encode_value([row for _, row in rows])) <= most:
        return rows, False
    # Of the list, with so many rows in it.
    sizes = accumulate((len(encode_value(row)) + 1 for _, row in rows), initial=1)
    count = sum(size <= most for size in sizes) - 1
    if count < 1:
        raise ToolError(
            f"A row has more than {most} bytes. Ask for less of it with fields."
        )
    return rows[:count], True


def make_get(exposure: Exposure) -> Operation:
    """Return the operation that reads one row."""
    result = result_type(exposure, "details")

    def run(context: Context, pk: Any, fields: Any = None) -> Any:
        instance, row = read_one(exposure, context, pk, fields)
        most = exposure.tools.max_bytes
        if len(encode_value(row)) > most:
            raise ToolError(
                f"The row has more than {most} bytes. Ask for less of it with fields."
            )
        version = exposure.writer.version(instance)
        return result(row, version, exposure.uri(instance.pk))

    parameters = {"pk": key_parameter(exposure), "fields": _fields_parameter(exposure)}
    text = f"Get one {exposure.noun} by its key."
    name = f"get_{exposure.name}"
    return Operation(exposure, "get", name, text, run, parameters, result)


def make_aggregate(exposure: Exposure) -> Operation:
    """Return the operation that counts and adds up."""

    def run(
        context: Context,
        measures: Any,
        group_by: Any = None,
        filters: Any = None,
        search: Any = None,
    ) -> Groups:
        queryset = _rows(exposure, context, filters, search)
        groups = exposure.aggregate(context, queryset, measures, group_by or ())
        most = exposure.tools.max_bytes
        if len(encode_value(groups)) > most:
            raise ToolError(
                f"The groups have more than {most} bytes. Group by less, or narrow the "
                f"rows down with filters."
            )
        return groups

    parameters = {
        "measures": (exposure.aggregates.measures, True),
        "group_by": (exposure.aggregates.groupings, False),
        **_narrowing_parameters(exposure),
    }
    text = f"Count, add up or average {plural(exposure)}, all together or by groups."
    name = f"aggregate_{exposure.name_plural}"
    return Operation(exposure, "aggregate", name, text, run, parameters, Groups)


def read_one(
    exposure: Exposure,
    context: Context,
    key: Any,
    fields: Any = None,
    database: str | None = None,
) -> tuple[Any, Any]:
    """
    Return the instance with this key and its row, from `database` if one is given.

    Raise ToolError when it does not exist for whoever asks.
    """
    reader = exposure.reader(context, fields)
    queryset = exposure.tools.get_queryset(context)
    if database is not None:
        queryset = queryset.using(database)
    queryset = reader.prepare(exposure.prepare(queryset))
    instance = exposure.find(context, key, queryset)
    return instance, reader.read(instance)


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
        parameters["filters"] = (described(exposure.filters.type, text), False)
    if exposure.search:
        columns = ", ".join(exposure.search.paths)
        text = f"Only rows that have all of these words in one of: {columns}."
        parameters["search"] = (Annotated[_SEARCH, Meta(description=text)], False)
    return parameters


def _rows(
    exposure: Exposure, context: Context, filters: Any = None, search: Any = None
) -> Any:
    queryset = exposure.rows(context)
    if filters is not None:
        queryset = exposure.filters.apply(
            queryset, filters, context, exposure.registered
        )
    if search is not None:
        queryset = exposure.search.apply(queryset, search, context, exposure.registered)
    return queryset
