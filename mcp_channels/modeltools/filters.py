"""
Filters: which rows an agent means, in the names of its allowlist.

A filter is a field or path with a lookup, as in `price__gte`. What leads through a
relation finds only rows of the other model that the one who asks may see.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from django.core.exceptions import ValidationError
from django.core.validators import validate_ipv46_address
from django.db.models import GeneratedField, GenericIPAddressField, Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from msgspec import UNSET, Meta, Struct, UnsetType

from mcp_channels.modeltools.allowlist import Allowlist, Column, Related
from mcp_channels.modeltools.reach import Registered, narrow, visible
from mcp_channels.modeltools.values import (
    LEAST_INTEGER,
    MOST_INTEGER,
    File,
    Range,
    Unshowable,
    annotation_of,
    is_list,
    is_range,
    to_database,
    without_none,
    write_annotation_of,
)
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

__all__ = ["ORDERED", "Filters", "to_column"]

# One statement stays one that a database answers quickly.
_MOST_LISTED: Final = 100  # values of an `in`
_LONGEST_TEXT: Final = 200  # characters

_TEXT_LOOKUPS: Final = frozenset(
    {
        "contains",
        "endswith",
        "icontains",
        "iendswith",
        "iexact",
        "istartswith",
        "startswith",
    }
)
_IS_NULL: Final = f"{LOOKUP_SEP}isnull"
_COMPARISONS: Final = frozenset({"gt", "gte", "lt", "lte"})
ORDERED: Final = (int, float, Decimal, date, datetime, time, timedelta, str, UUID)
_PARTS_OF_DATES: Final = frozenset(
    {"day", "iso_week_day", "iso_year", "month", "quarter", "week", "week_day", "year"}
)
_PARTS_OF_TIMES: Final = frozenset({"hour", "minute", "second"})
# Of the same calendar in every time zone.
_YEAR: Any = Annotated[int, Meta(ge=2, le=9998)]
_TEXT: Any = Annotated[str, Meta(max_length=_LONGEST_TEXT)]
_TEXTS: Any = Annotated[list[_TEXT], Meta(min_length=1, max_length=_MOST_LISTED)]
_OF_SETS: Final = frozenset({"contained_by", "contains", "overlap"})
_OF_KEYS: Final[Mapping[str, Any]] = {
    "has_key": _TEXT,
    "has_keys": _TEXTS,
    "has_any_keys": _TEXTS,
}

_MEANINGS: Final[Mapping[str, str]] = {
    "exact": "is",
    "iexact": "is, whatever the case of its letters",
    "contains": "contains",
    "icontains": "contains, whatever the case of its letters",
    "startswith": "begins with",
    "istartswith": "begins with, whatever the case of its letters",
    "endswith": "ends with",
    "iendswith": "ends with, whatever the case of its letters",
    "gt": "is more than",
    "gte": "is at least",
    "lt": "is less than",
    "lte": "is at most",
    "in": "is one of",
    "range": "is between, both ends included",
    "isnull": "is missing",
    "overlap": "has any of",
    "contained_by": "has only of",
    "has_key": "has the key",
    "has_keys": "has all the keys",
    "has_any_keys": "has any of the keys",
}


@dataclass(frozen=True)
class _Filter:
    path: str  # in the allowlist
    lookup: str  # for the ORM, with the path
    field: Any  # whose values it is given; None for anything else


class Filters:
    """
    The filters that a site allows: `options` gives lookups for each path, or is a list
    of paths that are compared for equality.

    What is wrong with it is in `problems`.
    """

    def __init__(
        self,
        name: str,
        allowlist: Allowlist,
        options: Mapping[str, Sequence[str]] | Sequence[str],
    ) -> None:
        self._allowlist = allowlist
        self.problems: list[str] = []
        self._filters: dict[str, _Filter] = {}
        if not isinstance(options, Mapping):
            options = {path: ["exact"] for path in options}
        members: list[Any] = []
        for path, lookups in options.items():
            for lookup in [lookups] if isinstance(lookups, str) else lookups:
                try:
                    members.append(self._add(path, lookup))
                except Unshowable as exc:
                    self.problems.append(f"filter {path!r}, {lookup!r}: {exc}")
        # An argument that does not exist is refused, and the refusal lists those there
        # are: a filter that was ignored would give an agent all rows.
        self.type: type[Struct] = msgspec.defstruct(
            f"{name}_filters", members, forbid_unknown_fields=True
        )

    def __bool__(self) -> bool:
        return bool(self._filters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._filters)

    def apply(
        self,
        queryset: QuerySet[Any],
        given: Struct,
        asker: Asker,
        registered: Registered,
    ) -> QuerySet[Any]:
        """
        Keep the rows that fit all that is given.

        Raise ToolError for what leads through rows that `asker` may not see.
        """
        condition, crosses_many = Q(), False
        for name, chosen in self._filters.items():
            value = getattr(given, name)
            if value is UNSET:
                continue
            try:
                fits = Q(**{chosen.lookup: to_column(chosen.field, value)})
                seen = visible(self._allowlist, chosen.path, asker, registered)
            except ToolError as exc:
                raise ToolError(f"filters.{name}: {exc.message}") from None
            hidden = Q()
            if seen and value is True and chosen.lookup.endswith(_IS_NULL):
                # What may not be seen is missing.
                shown = queryset.model._base_manager.filter(seen)
                hidden = ~Q(pk__in=shown.values("pk"))
            condition &= fits & seen | hidden
            crosses_many |= self._allowlist.crosses_many(chosen.path)
        return narrow(queryset, condition, crosses_many)

    def _add(self, path: str, lookup: str) -> Any:
        allowlist = self._allowlist
        exposed = allowlist.key if path == "pk" else allowlist.by_path.get(path)
        if exposed is None:
            raise Unshowable(
                "it is not among the fields. Filters tell what is in a field, so name "
                "it there, too."
            )
        if not isinstance(exposed, Column | Related):
            raise Unshowable("what is computed is in no column to filter by.")
        *steps, last = lookup.split(LOOKUP_SEP)
        annotation = _lookup_annotation(exposed, steps, last)
        name = path if lookup == "exact" else f"{path}{LOOKUP_SEP}{lookup}"
        titles = [hop.title for hop in allowlist.relations(path)]
        field, source = None, path
        if isinstance(exposed, Column):
            titles.append(exposed.title)
            is_part = last in _TEXT_LOOKUPS and without_none(exposed.annotation) is str
            if not steps and last != "isnull" and not is_part:
                field = _stored(exposed.field)
        elif last != "isnull":
            # A foreign key may hold another column of the other row than its key.
            source = f"{path}{LOOKUP_SEP}pk"
        self._filters[name] = _Filter(path, f"{source}{LOOKUP_SEP}{lookup}", field)
        subject = " ".join([*titles, *(f"({step})" for step in steps)])
        meaning = _MEANINGS.get(last, f"is in the {last.replace('_', ' ')}")
        text = f"{subject} {meaning}"
        return name, Annotated[annotation | UnsetType, Meta(description=text)], UNSET


def to_column(field: Any, value: Any) -> Any:
    """
    Return what an agent gave as a column can be compared with it; `field` None for what
    is no value of a field.

    Raise ToolError, which does not say where it stood, for what cannot be compared.
    """
    value = to_database(value)
    if isinstance(value, Range):
        if value.bounds == "empty":
            return field.range_type(empty=True)
        return field.range_type(value.lower, value.upper, value.bounds)
    if hasattr(field, "range_type"):
        # Django would have PostgreSQL cast a single number to numeric(None, None).
        return field.range_type(value, value, "[]")
    if isinstance(field, GenericIPAddressField):
        try:
            for address in value if isinstance(value, list | tuple) else [value]:
                validate_ipv46_address(address)
        except ValidationError:
            # PostgreSQL would refuse the whole statement.
            raise ToolError("it is no IP address.") from None
    return value


def _lookup_annotation(exposed: Column | Related, steps: list[str], last: str) -> Any:
    """Return the type of what is given for a lookup. Raise Unshowable if there is no
    such lookup."""
    if "regex" in last:
        raise Unshowable(
            "a regular expression of an agent's can keep a database busy for hours."
        )
    if isinstance(exposed, Related):
        if steps or last not in ("exact", "in", "isnull"):
            raise Unshowable("a relation has the lookups exact, in and isnull.")
        kind, field = annotation_of(exposed.model._meta.pk), exposed.field
    else:
        kind, field = without_none(exposed.annotation), _stored(exposed.field)
    annotation = _bounded(kind, field)
    for step in steps:
        kind, annotation = _part(kind, step)
    if last == "isnull":
        return bool
    if last == "exact" and kind not in (Any, File, bytes):
        return annotation
    if last == "in" and kind in (*ORDERED, bool):
        items: Any = list[annotation]  # type: ignore[valid-type]
        return Annotated[items, Meta(min_length=1, max_length=_MOST_LISTED)]
    if last in _COMPARISONS and kind in ORDERED:
        return annotation
    if last == "range" and kind in ORDERED:
        return tuple[annotation, annotation]  # type: ignore[valid-type]
    if last in _TEXT_LOOKUPS and kind is str:
        return annotation
    if last in _OF_KEYS and (kind is Any or kind == dict[str, str | None]):
        return _OF_KEYS[last]
    if last == "contains" and is_range(kind):
        return annotation | write_annotation_of(field.base_field)
    if last in _OF_SETS and (is_list(kind) or is_range(kind)):
        return annotation
    # A part, compared for equality.
    return _part(kind, last)[1]


def _part(kind: Any, step: str) -> tuple[Any, Any]:
    """Return the type of a part of a value, and of what is given for it. Raise
    Unshowable if it has no such part."""
    if kind in (date, datetime) and step in _PARTS_OF_DATES:
        return int, _YEAR if step in ("year", "iso_year") else _bounded(int)
    if kind in (time, datetime) and step in _PARTS_OF_TIMES:
        return int, _bounded(int)
    if kind is datetime and step in ("date", "time"):
        return (date, date) if step == "date" else (time, time)
    if is_list(kind) and step == "len":
        return int, _bounded(int)
    raise Unshowable(f"there is no {step!r} for this field.")


def _stored(field: Any) -> Any:
    """Return the field that says of which kind the values of `field` are."""
    return field.output_field if isinstance(field, GeneratedField) else field


def _bounded(kind: Any, field: Any = None) -> Any:
    if is_list(kind):
        item = write_annotation_of(field.base_field)
        most = Meta(min_length=1, max_length=_MOST_LISTED)
        return Annotated[list[item], most]  # type: ignore[valid-type]
    if is_range(kind):
        return Range[write_annotation_of(field.base_field)]  # type: ignore[misc]
    if kind is str:
        return _TEXT
    if kind is int:
        return Annotated[int, Meta(ge=LEAST_INTEGER, le=MOST_INTEGER)]
    return kind
