"""
What of a model an agent may name: one list for every way in which a name comes in.

Fields, projections, filters, orderings, searches and aggregates all find their names
here, and what is not here does not exist.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias

import msgspec
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.utils.functional import cached_property as django_cached_property

from mcp_channels.modeltools.values import (
    Unshowable,
    annotation_of,
    converter_of,
    describe,
)
from mcp_channels.server.schemas import type_hints

__all__ = [
    "Allowlist",
    "Column",
    "Computed",
    "Exposed",
    "Generic",
    "Related",
    "accessor_of",
]

# Of a relation to many, the rows that are shown with one row.
MOST_RELATED: Final = 100

# What is always shown of a related row.
_ALWAYS: Final = frozenset({"pk", "label"})


@dataclass(frozen=True)
class Column:
    """A field that holds a value."""

    name: str
    path: str  # as agents write it, from the model that is exposed
    field: Any

    @cached_property
    def annotation(self) -> Any:
        return annotation_of(self.field)

    @property
    def title(self) -> str:
        return str(self.field.verbose_name)

    @property
    def description(self) -> str:
        return describe(self.field)

    @cached_property
    def convert(self) -> Callable[[Any], Any] | None:
        return converter_of(self.field)


@dataclass(frozen=True)
class Computed:
    """What a method or a property says of a row. It can be read, and nothing else."""

    name: str
    path: str
    function: Any  # what has the annotation and the docstring
    compute: Callable[[Any], Any]  # takes a row

    @property
    def annotation(self) -> Any:
        return type_hints(self.function)["return"]

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")

    @property
    def description(self) -> str:
        return inspect.cleandoc(self.function.__doc__ or "")


@dataclass(frozen=True)
class Generic:
    """A relation to a row of any model. It can be read, and nothing else."""

    name: str
    path: str
    field: Any

    annotation = None  # see rows.RowOfAnyModel

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")

    description = "The row of another model that it belongs to."


@dataclass(frozen=True)
class Related:
    """A relation: to one row, or to several."""

    name: str
    path: str
    field: Any  # of this model, or a reverse relation of it
    model: type[models.Model]  # to which it leads
    is_many: bool
    # What is shown of its rows besides their keys and labels.
    children: dict[str, "Exposed"] = field(default_factory=dict, compare=False)

    @property
    def accessor(self) -> str:
        """The attribute of a row that leads there."""
        return accessor_of(self.field)

    @property
    def title(self) -> str:
        if isinstance(self.field, ForeignObjectRel):
            return self.name.replace("_", " ")
        return str(self.field.verbose_name)

    @property
    def description(self) -> str:
        text = "" if self.field.auto_created else describe(self.field)
        if self.is_many:
            text = f"{text} The first {MOST_RELATED} of them.".strip()
        return text


Exposed: TypeAlias = Column | Computed | Generic | Related


class Allowlist:
    """
    The names of `model` that `fields` has, each a field, a path of relations that ends
    in one, or a method or property with a return annotation.

    `owner` is looked at for methods before the model is. Names that cannot be exposed
    are in `problems`, with the reason.
    """

    def __init__(
        self, model: type[models.Model], fields: Iterable[str], owner: object
    ) -> None:
        self.model = model
        self.problems: list[str] = []
        self.key = Column("pk", "pk", model._meta.pk)
        self.children: dict[str, Exposed] = {}
        try:
            self.key_annotation = self.key.annotation
        except Unshowable as exc:
            self.key_annotation = Any
            self.problems.append(f"the key of {model.__name__}: {exc}")
        for name in fields:
            try:
                self._add(name, owner)
            except Unshowable as exc:
                self.problems.append(f"{name!r}: {exc}")
        self.by_path: Mapping[str, Exposed] = {
            exposed.path: exposed for exposed in _walk(self.children)
        }

    @property
    def columns(self) -> dict[str, Column]:
        """The columns of the model itself, by name."""
        return {
            name: exposed
            for name, exposed in self.children.items()
            if isinstance(exposed, Column)
        }

    @property
    def defaults(self) -> list[str]:
        """What is shown of a row unless an agent says what it wants."""
        return list(self.children)

    def crosses_many(self, path: str) -> bool:
        """Tell whether `path` may lead from one row to several."""
        return any(hop.is_many for hop in self.relations(path))

    def relations(self, path: str) -> list[Related]:
        """Return the relations on `path`, from the model on, also one at its end."""
        found, children = [], self.children
        for name in path.split(LOOKUP_SEP):
            exposed = children.get(name)
            if not isinstance(exposed, Related):
                break
            found.append(exposed)
            children = exposed.children
        return found

    def _add(self, path: str, owner: object) -> None:
        model: type[models.Model] | None = self.model
        children, done = self.children, ""
        for name in path.split(LOOKUP_SEP):
            if model is None:
                raise Unshowable(f"{done!r} is no relation, so nothing is behind it.")
            if done and name in _ALWAYS:
                raise Unshowable(
                    "of a related row the key is always shown, and as its label what "
                    "str() makes of it. Leave it out, or give the model a property of "
                    "another name."
                )
            # Methods of the tools are about their own rows alone.
            owner = None if done else owner
            done = f"{done}{LOOKUP_SEP}{name}" if done else name
            exposed = children.get(name)
            if exposed is None:
                exposed = children[name] = _expose(model, name, done, owner)
            model, children = None, {}
            if isinstance(exposed, Related):
                model, children = exposed.model, exposed.children


def accessor_of(field: Any) -> str:
    """Return the attribute of a row to which a relation leads."""
    is_reverse = isinstance(field, ForeignObjectRel)
    name: str = field.get_accessor_name() if is_reverse else field.name
    return name


def _walk(children: Mapping[str, Exposed]) -> Iterator[Exposed]:
    for exposed in children.values():
        yield exposed
        if isinstance(exposed, Related):
            yield from _walk(exposed.children)


def _expose(
    model: type[models.Model], name: str, path: str, owner: object | None
) -> Exposed:
    try:
        found: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        return _compute(model, name, path, owner)
    if found.name != name:
        raise Unshowable(f"write {found.name!r} instead.")
    if hasattr(found, "ct_field"):  # of a GenericForeignKey, which may not be installed
        return Generic(name, path, found)
    if isinstance(found, models.ForeignKey | models.ManyToManyField | ForeignObjectRel):
        annotation_of(found.related_model._meta.pk)  # which is always shown
        is_many = bool(found.one_to_many or found.many_to_many)
        return Related(name, path, found, found.related_model, is_many)
    if found.is_relation:
        raise Unshowable(
            f"{type(found).__name__} is a relation of a kind that is not known. Leave "
            f"it out, or name a method with a return annotation instead."
        )
    annotation_of(found)  # which it must have
    return Column(name, path, found)


def _compute(
    model: type[models.Model], name: str, path: str, owner: object | None
) -> Computed:
    method: Any = getattr(owner, name, None) if owner is not None else None
    attribute: Any = getattr(model, name, None)
    function: Any
    compute: Callable[[Any], Any]
    if inspect.isroutine(method):
        function, compute = method, method
    elif isinstance(attribute, property) and attribute.fget is not None:
        function, compute = attribute.fget, attribute.fget
    elif isinstance(attribute, cached_property | django_cached_property):
        function, compute = attribute.func, lambda row: getattr(row, name)
    elif inspect.isfunction(attribute):
        function, compute = attribute, attribute
    else:
        known = ", ".join(sorted(_names(model)))
        raise Unshowable(f"{model.__name__} has no such field. It has {known}.")
    if inspect.iscoroutinefunction(function):
        raise Unshowable("a row is read in a thread, by synchronous methods.")
    try:
        inspect.signature(compute).bind(None)
    except TypeError:
        raise Unshowable("it must be callable with a row and nothing else.") from None
    try:
        annotation = type_hints(function).get("return", inspect.Parameter.empty)
    except ImproperlyConfigured as exc:
        raise Unshowable(str(exc)) from None
    if annotation is inspect.Parameter.empty:
        raise Unshowable("it has no return annotation, which says what it gives.")
    _check_schema(annotation)
    return Computed(name, path, function, compute)


def _check_schema(annotation: Any) -> None:
    try:
        msgspec.json.schema(annotation)
    except (TypeError, NameError, RuntimeError) as exc:
        raise Unshowable(f"{annotation!r} has no schema: {exc}") from None


def _names(model: type[models.Model]) -> set[str]:
    return {found.name for found in model._meta.get_fields()}
