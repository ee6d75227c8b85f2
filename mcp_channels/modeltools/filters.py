"""
Filters and searches: which rows an agent means, in the names of its allowlist.

A filter is a field or path with a lookup, as in `price__gte`. What leads through a
relation finds only rows of the other model that the one who asks may see.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.utils import timezone
from django.utils.text import smart_split, unescape_string_literal
from msgspec import UNSET, Meta, Struct, UnsetType

from mcp_channels.modeltools.allowlist import Allowlist, Column, Related
from mcp_channels.modeltools.rows import Registered, reach
from mcp_channels.modeltools.values import (
    LEAST_INTEGER,
    MOST_INTEGER,
    File,
    Range,
    Unshowable,
    annotation_of,
    is_text,
)
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

__all__ = [
    "ORDERED",
    "Filters",
    "Search",
    "narrow",
    "to_moment",
    "visible",
    "without_none",
]

# One statement stays one that a database answers quickly.
_MOST_LISTED: Final = 100  # values of an `in`
_LONGEST_TEXT: Final = 200  # characters
_MOST_WORDS: Final = 10  # of a search

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
_COMPARISONS: Final = frozenset({"gt", "gte", "lt", "lte"})
ORDERED: Final = (int, float, Decimal, date, datetime, time, timedelta, str, UUID)
_PARTS_OF_DATES: Final = frozenset(
    {"day", "iso_week_day", "iso_year", "month", "quarter", "week", "week_day", "year"}
)
_PARTS_OF_TIMES: Final = frozenset({"hour", "minute", "second"})
_OF_KEYS: Final[Mapping[str, Any]] = {
    "has_key": Annotated[str, Meta(max_length=_LONGEST_TEXT)],
    "has_keys": Annotated[list[str], Meta(min_length=1, max_length=_MOST_LISTED)],
    "has_any_keys": Annotated[list[str], Meta(min_length=1, max_length=_MOST_LISTED)],
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
            condition &= Q(**{chosen.lookup: _to_python(value, f"filters.{name}")})
            condition &= visible(
                self._allowlist, chosen.path, asker, registered, f"filters.{name}"
            )
            crosses_many |= self._allowlist.crosses_many(chosen.path)
        return narrow(queryset, condition, crosses_many)

    def _add(self, path: str, lookup: str) -> Any:
        exposed = self._allowlist.by_path.get(path)
        if exposed is None:
            raise Unshowable(
                "it is not among the fields. Filters tell what is in a field, so name "
                "it there, too."
            )
        if not isinstance(exposed, Column | Related):
            raise Unshowable("what is computed is in no column to filter by.")
        parts = lookup.split(LOOKUP_SEP)
        annotation = _lookup_annotation(exposed, parts)
        name = path if lookup == "exact" else f"{path}{LOOKUP_SEP}{lookup}"
        self._filters[name] = _Filter(path, f"{path}{LOOKUP_SEP}{lookup}")
        *steps, last = parts
        titles = [hop.title for hop in self._allowlist.relations(path)]
        if isinstance(exposed, Column):
            titles.append(exposed.title)
        subject = " ".join([*titles, *(f"({step})" for step in steps)])
        meaning = _MEANINGS.get(last, f"is in the {last.replace('_', ' ')}")
        text = f"{subject} {meaning}"
        return name, Annotated[annotation | UnsetType, Meta(description=text)], UNSET


class Search:
    """
    A search for words in columns, each of which begins as in `ModelAdmin`: "^" for the
    beginning, "=" for all of it.

    What is wrong with `names` is in `problems`.
    """

    def __init__(self, allowlist: Allowlist, names: Iterable[str]) -> None:
        self._allowlist = allowlist
        self.problems: list[str] = []
        self._lookups: list[tuple[str, str]] = []
        for name in names:
            path = name.lstrip("^=")
            exposed = allowlist.by_path.get(path)
            if not isinstance(exposed, Column):
                self.problems.append(
                    f"search field {name!r} is no column among the fields. A search "
                    f"tells what is in a column, so name it there, too."
                )
                continue
            if name[0] not in "^=" and not is_text(exposed.field):
                self.problems.append(
                    f"search field {name!r} is no text: write '={path}' to find it "
                    f"by all of it."
                )
                continue
            kind = {"^": "istartswith", "=": "iexact"}.get(name[0], "icontains")
            self._lookups.append((path, f"{path}{LOOKUP_SEP}{kind}"))

    def __bool__(self) -> bool:
        return bool(self._lookups)

    @property
    def paths(self) -> list[str]:
        """The columns that are searched."""
        return [path for path, _ in self._lookups]

    def apply(
        self,
        queryset: QuerySet[Any],
        text: str,
        asker: Asker,
        registered: Registered,
    ) -> QuerySet[Any]:
        """
        Keep the rows that have every word of `text` in one of the columns.

        Raise ToolError when it has too many words.
        """
        words = [
            unescape_string_literal(word)
            if word[0] in "\"'" and len(word) > 1 and word[0] == word[-1]
            else word
            for word in smart_split(_to_python(text, "search"))
        ]
        if len(words) > _MOST_WORDS:
            raise ToolError(f"search: at most {_MOST_WORDS} words.")
        condition, crosses_many = Q(), False
        for word in words:
            anywhere = Q()
            for path, lookup in self._lookups:
                seen = visible(self._allowlist, path, asker, registered, None)
                anywhere |= Q(**{lookup: word}) & seen
                crosses_many |= self._allowlist.crosses_many(path)
            condition &= anywhere
        return narrow(queryset, condition, crosses_many)


def visible(
    allowlist: Allowlist,
    path: str,
    asker: Asker,
    registered: Registered,
    label: str | None,
) -> Q:
    """
    Return what keeps `path` to rows that `asker` may see.

    For a model that may not be seen at all raise ToolError, which names it `label`;
    with None as the label nothing fits.
    """
    condition, done = Q(), ""
    for hop in allowlist.relations(path):
        done = hop.path
        if done == path and not hop.is_many:
            # The key of a row that it leads to is a value of its own.
            break
        seen = reach(registered, hop.model, asker)
        if not seen.can_view:
            if label is None:
                return Q(pk__in=[])
            raise ToolError(
                f"{label}: you may not see any {hop.model._meta.verbose_name_plural}."
            )
        if seen.rows is not None:
            condition &= Q(**{f"{done}{LOOKUP_SEP}in": seen.rows.order_by()})
    return condition


def narrow(queryset: QuerySet[Any], condition: Q, crosses_many: bool) -> QuerySet[Any]:
    """Return the rows that fit, each of them once."""
    if not condition:
        return queryset
    if not crosses_many:
        return queryset.filter(condition)
    # A join to several rows would give a row several times.
    keys = queryset.model._base_manager.using(queryset.db).filter(condition)
    return queryset.filter(pk__in=keys.values("pk"))


def _lookup_annotation(exposed: Column | Related, parts: list[str]) -> Any:
    """Return the type of what is given for a lookup. Raise Unshowable if there is no
    such lookup."""
    *steps, lookup = parts
    if isinstance(exposed, Related):
        kind: Any = annotation_of(exposed.model._meta.pk)
        field = None
    else:
        kind, field = annotation_of(exposed.field), exposed.field
    kind = without_none(kind)
    if "regex" in lookup:
        raise Unshowable(
            "a regular expression of an agent's can keep a database busy for hours."
        )
    if lookup == "isnull":
        return bool
    if field is None and (lookup not in ("exact", "in") or steps):
        raise Unshowable("a relation has the lookups exact, in and isnull.")
    for step in steps:
        kind = _step(kind, step)
    annotation = _bounded(kind)
    if lookup == "exact" and kind not in (Any, File, bytes):
        return annotation
    if lookup == "in" and kind in (*ORDERED, bool):
        return Annotated[
            list[annotation],  # type: ignore[valid-type]
            Meta(min_length=1, max_length=_MOST_LISTED),
        ]
    if lookup in _COMPARISONS and kind in ORDERED:
        return annotation
    if lookup == "range" and kind in ORDERED:
        return tuple[annotation, annotation]  # type: ignore[valid-type]
    if lookup in _TEXT_LOOKUPS and kind is str:
        return annotation
    if lookup in _OF_KEYS and (kind is Any or kind == dict[str, str | None]):
        return _OF_KEYS[lookup]
    if lookup in ("contains", "contained_by", "overlap") and _is_list(kind):
        return Annotated[kind, Meta(min_length=1, max_length=_MOST_LISTED)]
    if lookup == "contains" and kind is Range:
        return Any
    if not steps and field is not None and kind in (date, datetime, time):
        # A part of a date, compared for equality.
        return _bounded(_step(kind, lookup))
    raise Unshowable("there is no such lookup for this field.")


def _step(kind: Any, step: str) -> Any:
    if kind in (date, datetime) and step in _PARTS_OF_DATES:
        return int
    if kind in (time, datetime) and step in _PARTS_OF_TIMES:
        return int
    if kind is datetime and step in ("date", "time"):
        return date if step == "date" else time
    if _is_list(kind) and step == "len":
        return int
    raise Unshowable(f"there is no {step!r} in this field.")


def _bounded(kind: Any) -> Any:
    if kind is str:
        return Annotated[str, Meta(max_length=_LONGEST_TEXT)]
    if kind is int:
        return Annotated[int, Meta(ge=LEAST_INTEGER, le=MOST_INTEGER)]
    return kind


def without_none(kind: Any) -> Any:
    if type(None) in getattr(kind, "__args__", ()) and not _is_list(kind):
        rest = [arg for arg in kind.__args__ if arg is not type(None)]
        return rest[0] if len(rest) == 1 else kind
    return kind


def _is_list(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is list


def _to_python(value: Any, label: str) -> Any:
    """Return what a database can be asked for. Raise ToolError for what none can."""
    if isinstance(value, list | tuple):
        return [_to_python(item, label) for item in value]
    if isinstance(value, str) and "\0" in value:
        raise ToolError(f"{label}: a text cannot contain the character NUL.")
    if isinstance(value, datetime):
        return to_moment(value)
    return value


def to_moment(value: datetime) -> datetime:
    """Return a moment as the database keeps it; without an offset it is one of the
    current time zone."""
    if settings.USE_TZ and timezone.is_naive(value):
        return timezone.make_aware(value)
    if not settings.USE_TZ and timezone.is_aware(value):
        return timezone.make_naive(value, timezone.get_default_timezone())
    return value
