"""
Rows as JSON: a type for each model, and the way from an instance to it.

What a relation leads to is shown as far as the one who asks may see it.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, TypeAlias

import msgspec
from django.db.models import Prefetch, QuerySet
from django.db.models.constants import LOOKUP_SEP
from msgspec import UNSET, Meta, Struct, UnsetType

from mcp_channels.modeltools.allowlist import (
    MOST_RELATED,
    Allowlist,
    Column,
    Exposed,
    Generic,
    Related,
)
from mcp_channels.modeltools.reach import Registered, Sight, is_own_key, plain, reach
from mcp_channels.modeltools.values import annotation_of
from mcp_channels.server.permissions import Asker

__all__ = ["Reader", "RowOfAnyModel", "RowTypes"]

Get: TypeAlias = Callable[[Any], Any]
Tree: TypeAlias = dict[str, "Tree"]


class RowOfAnyModel(Struct, frozen=True):
    """Where a generic relation leads."""

    model: str  # "app_label.model"
    pk: Any


class RowTypes:
    """The types of the rows that `allowlist` shows; `root` is that of the model."""

    def __init__(self, name: str, allowlist: Allowlist) -> None:
        self.of_relations: dict[str, type[Struct]] = {}  # by path
        members = self._members(name, allowlist.children)
        key = ("pk", allowlist.key_annotation)
        self.root: type[Struct] = msgspec.defstruct(name, [key, *members], frozen=True)

    def _members(self, name: str, children: Mapping[str, Exposed]) -> list[Any]:
        return [
            (child.name, self._member(name, child), UNSET)
            for child in children.values()
        ]

    def _member(self, name: str, child: Exposed) -> Any:
        annotation: Any
        if isinstance(child, Generic):
            annotation = RowOfAnyModel | None
        elif isinstance(child, Related):
            row: Any = self._relation(f"{name}_{child.name}", child)
            annotation = list[row] if child.is_many else row | None
        else:
            annotation = child.annotation
        said: dict[str, Any] = {"title": child.title}
        if child.description:
            said["description"] = child.description
        return Annotated[annotation | UnsetType, Meta(**said)]

    def _relation(self, name: str, related: Related) -> type[Struct]:
        members: list[Any] = [
            ("pk", annotation_of(related.model._meta.pk)),
            # None for a row that the one who asks may not see.
            ("label", str | None),
            *self._members(name, related.children),
        ]
        row = msgspec.defstruct(name, members, frozen=True)
        self.of_relations[related.path] = row
        return row


class Reader:
    """
    Reads rows for one who asks, with `paths` of an allowlist.

    Give prepare() the queryset before, so that all is fetched with it that is read.
    """

    def __init__(
        self,
        allowlist: Allowlist,
        types: RowTypes,
        paths: Iterable[str],
        asker: Asker,
        registered: Registered,
    ) -> None:
        self._scope = _Scope(types, asker, registered)
        self._make = types.root
        self._getters = self._scope.getters(allowlist.children, _tree(paths), "")

    def prepare(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return `queryset` with all that will be read."""
        return self._scope.prepare(queryset)

    def read(self, instance: Any) -> Struct:
        """Return the row of `instance`."""
        return self._make(instance.pk, *[get(instance) for get in self._getters])


class _Scope:
    """What one queryset fetches, and how its rows are read."""

    def __init__(self, types: RowTypes, asker: Asker, registered: Registered) -> None:
        self._types = types
        self._asker = asker
        self._registered = registered
        self._read: set[str] = set()  # paths of fields
        self._select: list[str] = []
        self._prefetch: list[Any] = []

    def prepare(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        names, are_deferred = queryset.query.deferred_loading
        if names and (not are_deferred or self._read & set(names)):
            # What a site would rather not fetch would be fetched for each row.
            queryset = queryset.defer(None)
        if self._select:
            queryset = queryset.select_related(*self._select)
        return queryset.prefetch_related(*self._prefetch)

    def getters(
        self, children: Mapping[str, Exposed], wanted: Tree, prefix: str
    ) -> list[Get]:
        """Return what reads `children`, of rows that are at `prefix`."""
        return [
            self._getter(child, wanted[name], prefix) if name in wanted else _unset
            for name, child in children.items()
        ]

    def _getter(self, child: Exposed, wanted: Tree, prefix: str) -> Get:
        if isinstance(child, Column):
            self._read.add(f"{prefix}{child.field.name}")
            get: Get = attrgetter(child.field.attname)
            return _then(child.convert, get) if child.convert else get
        if isinstance(child, Generic):
            return _generic_getter(child.field)
        if isinstance(child, Related):
            return self._related_getter(child, wanted, f"{prefix}{child.accessor}")
        return child.compute

    def _related_getter(self, related: Related, wanted: Tree, path: str) -> Get:
        self._read.add(path)
        seen = reach(self._registered, related.model, self._asker)
        make = self._types.of_relations[related.path]
        if not seen.can_view:
            return _nothing if related.is_many else _hidden_getter(related, make)
        exposure = self._registered.get(related.model)
        if not related.is_many and seen.rows is None:
            self._select.append(path)
            if exposure is not None:
                # For the label, which may be made of more than the row itself.
                needed = exposure.tools.list_select_related
                self._select += [f"{path}{LOOKUP_SEP}{name}" for name in needed]
            getters = self.getters(related.children, wanted, f"{path}{LOOKUP_SEP}")
            find: Get = partial(related.field.get_cached_value, default=None)
            if getattr(related.field.remote_field, "parent_link", False):
                # It is made of the row itself.
                find = attrgetter(related.accessor)
            return _one_getter(related, find, make, getters, seen.sees)
        rows = related.model._default_manager.all() if seen.rows is None else seen.rows
        if related.is_many:
            # They are numbered to be cut, and what the rows are joined with for their
            # scope is no business of this relation's.
            rows = rows if seen.rows is None else plain(rows)
            rows = rows if rows.ordered else rows.order_by("pk")
        scope = _Scope(self._types, self._asker, self._registered)
        getters = scope.getters(related.children, wanted, "")
        if exposure is not None:
            rows = exposure.prepare(rows)
        rows = scope.prepare(rows)
        # Under a name of its own: what the site has fetched of the relation is not in
        # anybody's scope, and what is in scope is not all that the site may need.
        attribute = f"_mcp_{related.name}"
        if not related.is_many:
            self._prefetch.append(Prefetch(path, rows, to_attr=attribute))
            return _one_getter(related, attrgetter(attribute), make, getters, seen.sees)
        self._prefetch.append(Prefetch(path, rows[:MOST_RELATED], to_attr=attribute))
        return _many_getter(attribute, make, getters, seen.sees)


def _tree(paths: Iterable[str]) -> Tree:
    tree: Tree = {}
    for path in paths:
        node = tree
        for name in path.split(LOOKUP_SEP):
            node = node.setdefault(name, {})
    return tree


def _unset(instance: Any) -> Any:
    return UNSET


def _nothing(instance: Any) -> list[Any]:
    return []


def _then(convert: Get, get: Get) -> Get:
    return lambda instance: convert(get(instance))


def _generic_getter(field: Any) -> Get:
    from django.contrib.contenttypes.models import ContentType

    kind = attrgetter(field.model._meta.get_field(field.ct_field).attname)
    key = attrgetter(field.fk_field)

    def get(instance: Any) -> RowOfAnyModel | None:
        if kind(instance) is None:
            return None
        manager = ContentType.objects.db_manager(instance._state.db)
        found = manager.get_for_id(kind(instance))  # which are remembered
        return RowOfAnyModel(f"{found.app_label}.{found.model}", key(instance))

    return get


def _hidden_getter(related: Related, make: type[Struct]) -> Get:
    """Return what shows a row of which nothing may be seen but that it is there."""
    if not is_own_key(related):
        return _none
    key = attrgetter(related.field.attname)

    def get(instance: Any) -> Struct | None:
        value = key(instance)
        return None if value is None else make(value, None)

    return get


def _none(instance: Any) -> None:
    return None


def _one_getter(
    related: Related,
    find: Get,
    make: type[Struct],
    getters: list[Get],
    sees: Sight | None,
) -> Get:
    hidden = _hidden_getter(related, make)

    def get(instance: Any) -> Any:
        other = find(instance)
        if other is None or not (sees is None or sees(other)):
            return hidden(instance)
        return make(other.pk, str(other), *[get(other) for get in getters])

    return get


def _many_getter(
    attribute: str, make: type[Struct], getters: list[Get], sees: Sight | None
) -> Get:
    def get(instance: Any) -> list[Struct]:
        return [
            make(other.pk, str(other), *[get(other) for get in getters])
            for other in getattr(instance, attribute)
            if sees is None or sees(other)
        ]

    return get
