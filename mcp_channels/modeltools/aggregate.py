"""
Aggregates: counts, sums and the like of rows, whole or by groups.

What can be measured and grouped by are the columns of the allowlist, and nothing else.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Context, Decimal
from typing import Annotated, Any, Final
from uuid import UUID

from django.db import DataError, OperationalError
from django.db.models import Avg, Count, F, Max, Min, QuerySet, Sum
from django.db.models.constants import LOOKUP_SEP
from django.db.models.functions import (
    TruncDay,
    TruncHour,
    TruncMonth,
    TruncQuarter,
    TruncWeek,
    TruncYear,
)
from msgspec import Meta, Struct

from mcp_channels.modeltools.allowlist import Allowlist, Column, Related
from mcp_channels.modeltools.filters import ORDERED
from mcp_channels.modeltools.reach import is_own_key
from mcp_channels.modeltools.values import one_of, without_none
from mcp_channels.server.tools import ToolError

__all__ = ["Aggregates", "Group", "Groups"]

_MOST_MEASURES: Final = 10
_MOST_GROUPINGS: Final = 3

_PRECISE: Final = Context(prec=1000)
_ADDED: Final = (int, float, Decimal, timedelta)
_TRUNCATIONS: Final[Mapping[str, Any]] = {
    "year": TruncYear,
    "quarter": TruncQuarter,
    "month": TruncMonth,
    "week": TruncWeek,
    "day": TruncDay,
    "hour": TruncHour,
}


class Group(Struct, frozen=True):
    """The measures of the rows that agree in what they are grouped by."""

    group: dict[str, Any]  # of each grouping its value; of a relation the key
    measures: dict[str, Any]


class Groups(Struct, frozen=True):
    groups: list[Group]  # the largest first
    has_more: bool  # more groups than are given


class Aggregates:
    """What can be asked of the rows of an allowlist as a whole."""

    def __init__(self, allowlist: Allowlist) -> None:
        self._measures: dict[str, Any] = {"count": Count("*")}
        self._groupings: dict[str, Any] = {}
        self._places: dict[str, int | None] = {}  # of measures that are decimals
        for name, exposed in allowlist.children.items():
            if isinstance(exposed, Related) and is_own_key(exposed):
                self._groupings[name] = F(exposed.field.attname)
            elif isinstance(exposed, Column):
                self._add(exposed, without_none(exposed.annotation))
        measure: Any = one_of(self._measures)
        self.measures: Any = Annotated[
            list[measure],
            Meta(
                min_length=1,
                max_length=_MOST_MEASURES,
                description="What to compute: the number of rows, or of a field its "
                "sum, average, smallest or largest value, or number of different ones.",
            ),
        ]
        # A Literal of nothing is none.
        grouping: Any = one_of(self._groupings) if self._groupings else str
        self.groupings: Any = Annotated[
            list[grouping],
            Meta(
                max_length=_MOST_GROUPINGS if self._groupings else 0,
                description="By which fields to group; a date also by its year, "
                "quarter, month, week or day. All rows are one group if left out.",
            ),
        ]

    def compute(
        self,
        queryset: QuerySet[Any],
        measures: Sequence[str],
        groupings: Sequence[str],
        most: int,
    ) -> Groups:
        """Return the measures, of at most `most` groups."""
        # Under names of their own: a column may be called like a measure.
        wanted = {f"_m{i}": self._measures[name] for i, name in enumerate(measures)}
        keys = {f"_g{i}": self._groupings[name] for i, name in enumerate(groupings)}
        queryset = queryset.order_by()
        order = [F("_m0").desc(nulls_last=True), *keys]
        found: list[dict[str, Any]]
        try:
            if keys:
                grouped = queryset.values(**keys).annotate(**wanted).order_by(*order)
                found = list(grouped[: most + 1])
            else:
                found = [queryset.aggregate(**wanted)]
        except (DataError, OperationalError) as exc:
            if not _is_out_of_range(exc):
                raise
            raise ToolError(
                "The database cannot compute it: a sum, or a date, is out of its range."
            ) from None
        return Groups(
            [
                Group(
                    {name: row[f"_g{i}"] for i, name in enumerate(groupings)},
                    {
                        name: self._round(name, row[f"_m{i}"])
                        for i, name in enumerate(measures)
                    },
                )
                for row in found[:most]
            ],
            len(found) > most,
        )

    def _round(self, name: str, value: Any) -> Any:
        places = self._places.get(name)
        if places is None or value is None:
            return value
        # SQLite computes with floats.
        return value.quantize(Decimal(1).scaleb(-places), context=_PRECISE)

    def _add(self, column: Column, kind: Any) -> None:
        name = column.name
        if kind is Decimal:
            field = getattr(column.field, "output_field", column.field)
            for measure in ("min", "max", "sum"):
                self._places[f"{name}{LOOKUP_SEP}{measure}"] = field.decimal_places
        if kind in (*ORDERED, bool):
            self._groupings[name] = F(name)
            self._measures[f"{name}{LOOKUP_SEP}count_distinct"] = Count(
                name, distinct=True
            )
        if kind in ORDERED and kind is not UUID:
            # Not every database knows the smallest one of these.
            self._measures[f"{name}{LOOKUP_SEP}min"] = Min(name)
            self._measures[f"{name}{LOOKUP_SEP}max"] = Max(name)
        if kind in _ADDED:
            self._measures[f"{name}{LOOKUP_SEP}sum"] = Sum(name)
            self._measures[f"{name}{LOOKUP_SEP}avg"] = Avg(name)
        if kind in (date, datetime):
            for part, truncate in _TRUNCATIONS.items():
                if part != "hour" or kind is datetime:
                    self._groupings[f"{name}{LOOKUP_SEP}{part}"] = truncate(name)


def _is_out_of_range(exc: DataError | OperationalError) -> bool:
    code = getattr(exc.__cause__, "sqlite_errorcode", None)
    return isinstance(exc, DataError) or code == sqlite3.SQLITE_ERROR
