"""
How much of a model somebody may see, and queries that tell of nothing else.

The tools of a model decide, or Django's permission to view it where it has none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from django.db.models import Manager, Q, QuerySet
from django.db.models.constants import LOOKUP_SEP

from mcp_channels.modeltools.allowlist import Allowlist, Related
from mcp_channels.modeltools.options import ModelTools
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

if TYPE_CHECKING:
    from mcp_channels.modeltools.exposure import Exposure

__all__ = [
    "MOST_ASKED",
    "Hidden",
    "Reach",
    "Registered",
    "Sight",
    "has_scope",
    "is_own_key",
    "narrow",
    "once",
    "only_seen",
    "plain",
    "reach",
    "sight",
    "visible",
]

Registered: TypeAlias = Mapping[Any, "Exposure"]
Sight: TypeAlias = Callable[[Any], bool]  # may this row be seen?

# Of rows of which only has_view_permission() knows whether they may be seen: each has
# to be fetched for it.
MOST_ASKED: Final = 1000


class Hidden(ToolError):
    """Something leads to a model of which nothing may be seen."""


@dataclass(frozen=True)
class Reach:
    """How much of a model somebody may see."""

    can_view: bool
    rows: QuerySet[Any] | None = None  # None: every row
    sees: Sight | None = None  # None: each of those


def reach(registered: Registered, model: Any, asker: Asker) -> Reach:
    """Return how much of `model` is seen by `asker` through the relations to it."""
    if model in registered:
        return _reach_of(registered[model].tools, asker)
    # Where nobody said how agents see the model, it is as if by default, ...
    found = _reach_of(ModelTools(model), asker)
    parent = next((base for base in model.__mro__ if base in registered), None)
    if parent is None or not found.can_view:
        return found
    # ... and no more than of the model that it is a kind of: a proxy, or a child.
    seen = _reach_of(registered[parent].tools, asker)
    if seen.rows is None:
        return Reach(seen.can_view, found.rows, seen.sees)
    link = model._meta.get_ancestor_link(parent)
    name = "pk" if link is None else link.name
    rows = ModelTools(model).get_queryset(asker)
    rows = rows.filter(**{f"{name}{LOOKUP_SEP}in": seen.rows.values("pk")})
    return Reach(seen.can_view, rows, seen.sees)


def _reach_of(tools: ModelTools, asker: Asker) -> Reach:
    if not tools.has_view_permission(asker):
        return Reach(can_view=False)
    rows = tools.get_queryset(asker) if has_scope(tools) else None
    return Reach(can_view=True, rows=rows, sees=sight(tools, asker))


def has_scope(tools: ModelTools) -> bool:
    """Tell whether some who see rows do not see all of them, also because the default
    manager leaves some out, as one does that hides what is marked as deleted."""
    manager = type(tools.model._default_manager)
    return (
        type(tools).get_queryset is not ModelTools.get_queryset
        or manager.get_queryset is not Manager.get_queryset
    )


def sight(tools: ModelTools, asker: Asker) -> Sight | None:
    """Return what tells whether a single row may be seen; None if every one may."""
    if type(tools).has_view_permission is ModelTools.has_view_permission:
        return None  # which asks of single rows only if it refuses the rest
    try:
        if tools.has_view_permission(asker, _Anything()):
            return None
    except (_Looked, Exception):
        pass
    return partial(tools.has_view_permission, asker)


class _Looked(BaseException):
    """A permission looks at the row. No `except Exception` of a site may stop it."""


class _Anything:
    """
    Stands for a row.

    Most sites decide by the user alone, also those that take a row: whoever lets this
    one pass lets every row pass.
    """

    def _look(self, *arguments: Any) -> Any:
        raise _Looked

    __getattribute__ = __bool__ = __eq__ = __ne__ = __hash__ = _look
    __str__ = __repr__ = __format__ = _look


def only_seen(rows: QuerySet[Any], sees: Sight | None) -> QuerySet[Any]:
    """
    Return those of `rows` that `sees` lets through, by asking it of each.

    Raise ToolError when there are too many to ask.
    """
    if sees is None:
        return rows
    found = list(rows[: MOST_ASKED + 1])
    if len(found) > MOST_ASKED:
        plural = rows.model._meta.verbose_name_plural
        raise ToolError(
            f"There are more than {MOST_ASKED} {plural}, too many to find out which of "
            f"them you may see."
        )
    return _with_keys(rows, [row.pk for row in found if sees(row)])


def visible(allowlist: Allowlist, path: str, asker: Asker, registered: Registered) -> Q:
    """
    Return what keeps `path` to rows that `asker` may see; an empty Q for all of them.

    Raise Hidden for a model of which `asker` may see nothing, ToolError where it cannot
    be found out.
    """
    condition = Q()
    for hop in allowlist.relations(path):
        if hop.path == path and is_own_key(hop):
            break
        seen = reach(registered, hop.model, asker)
        if not seen.can_view:
            plural = hop.model._meta.verbose_name_plural
            raise Hidden(f"you may not see any {plural}.")
        rows = seen.rows
        if seen.sees is not None:
            every = hop.model._default_manager.all() if rows is None else rows
            rows = only_seen(every, seen.sees)
        if rows is not None:
            key = f"{hop.path}{LOOKUP_SEP}pk{LOOKUP_SEP}in"
            condition &= Q(**{key: rows.values("pk")})
    return condition


def is_own_key(related: Related) -> bool:
    """Tell whether a row itself has the key of the other, so that whoever sees the one
    knows that."""
    field = related.field
    return bool(
        not related.is_many and field.concrete and field.target_field.primary_key
    )


def narrow(queryset: QuerySet[Any], condition: Q, crosses_many: bool) -> QuerySet[Any]:
    """Return the rows that fit, each of them once."""
    if not condition:
        return queryset
    if not crosses_many:
        return queryset.filter(condition)
    # A join to several rows would give a row several times.
    keys = queryset.model._base_manager.filter(condition)
    return queryset.filter(pk__in=keys.values("pk"))


def once(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Return `queryset` with each of its rows once, whatever it is joined with."""
    query = queryset.query
    if query.distinct or query.group_by is not None:
        return queryset
    joined = any(
        getattr(getattr(join, "join_field", None), "multiple", False)
        for alias, join in query.alias_map.items()
        if query.alias_refcount[alias]
    )
    return queryset.distinct() if joined else queryset


def plain(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Return the rows of `queryset` by nothing but their keys, to count, group or cut
    them without what it is joined or annotated with."""
    return _with_keys(queryset, queryset.values("pk"))


def _with_keys(queryset: Any, keys: Any) -> QuerySet[Any]:
    # Of the same database, if it is of a certain one.
    manager = queryset.model._base_manager.using(queryset._db)
    rows: QuerySet[Any] = manager.filter(pk__in=keys)
    return rows
