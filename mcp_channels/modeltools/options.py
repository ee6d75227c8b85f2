"""
What a site says of a model: which of it agents see, and what they may do with it.

    @register(Product)
    class ProductTools(ModelTools):
        fields = ["name", "price", "category"]
        operations = ["list", "get", "update"]
        filters = {"price": ["gte", "lte"], "category": ["exact"]}
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from django import forms
from django.db import models
from django.db.models import Prefetch, QuerySet

from mcp_channels.server.permissions import Asker

__all__ = ["ModelTools", "mistakes"]

_NAMES: Final = (
    "fields",
    "exclude",
    "readonly_fields",
    "operations",
    "search_fields",
    "ordering",
    "ordering_fields",
    "list_select_related",
)
_NUMBERS: Final = (
    "page_size",
    "max_page_size",
    "max_count",
    "max_bytes",
    "max_bulk",
    "max_upload_bytes",
)


class ModelTools:
    """
    A model as tools and resources; register it with @register(Model).

    Nothing is offered that is not named. Methods may be overridden; those that take a
    `context` get the Context of a request, or, when it is about what somebody sees at
    all, the Identity, which has its `user` and `identity` and nothing else.
    """

    # What is shown: names of fields, paths through relations such as
    # "category__name", and methods or properties with a return annotation. "__all__"
    # are all fields of the model but those that look secret.
    fields: Sequence[str] | Literal["__all__"] = ()
    exclude: Sequence[str] = ()  # of "__all__"
    readonly_fields: Sequence[str] = ()
    operations: Sequence[str] = ("list", "get")

    search_fields: Sequence[str] = ()  # "^name" begins with, "=name" is
    filters: Mapping[str, Sequence[str]] | Sequence[str] = ()  # path: lookups
    ordering: Sequence[str] | None = None  # None: that of the model
    ordering_fields: Sequence[str] | None = None  # None: all that have an order

    page_size: int = 50  # rows of a page, unless an agent says how many
    max_page_size: int = 200
    max_count: int | None = 10_000  # a total is counted up to here; None: to the end
    max_bytes: int = 256 * 1024  # of JSON in one result
    max_bulk: int = 100  # rows of one bulk operation
    max_upload_bytes: int = 512 * 1024  # of one file

    list_select_related: Sequence[str] = ()  # besides what the fields need
    list_prefetch_related: Sequence[Any] = ()

    form: type[Any] = forms.ModelForm
    name: str | None = None  # in names of tools; None: that of the class of the model
    name_plural: str | None = None
    description: str = ""  # what an agent should know of the model
    generic: bool = False  # True: through models.list and its like, without own tools
    list_resources: bool = True  # the first rows in the list of resources

    def __init__(self, model: type[models.Model]) -> None:
        self.model: Any = model

    # What a site may override

    def get_queryset(self, context: Asker) -> QuerySet[Any]:
        """Return the rows that exist for whoever asks, made anew for every call."""
        rows: QuerySet[Any] = self.model._default_manager.all()
        return rows

    def has_view_permission(self, context: Asker, obj: Any = None) -> bool:
        """Tell whether rows may be seen; with `obj`, whether this one may. Who may
        change them may see them."""
        return self._has_permission(context, "view", obj) or self._has_permission(
            context, "change", obj
        )

    def has_add_permission(self, context: Asker, obj: Any = None) -> bool:
        """Tell whether rows may be created."""
        return self._has_permission(context, "add", obj)

    def has_change_permission(self, context: Asker, obj: Any = None) -> bool:
        """Tell whether rows may be changed; with `obj`, whether this one may."""
        return self._has_permission(context, "change", obj)

    def has_delete_permission(self, context: Asker, obj: Any = None) -> bool:
        """Tell whether rows may be deleted; with `obj`, whether this one may."""
        return self._has_permission(context, "delete", obj)

    def save_model(self, context: Asker, obj: Any, form: Any, change: bool) -> None:
        """
        Save a row that the form has filled; `change` is False for a new one.

        Set here what an agent may not choose, such as the owner, before calling this.
        Raise ValidationError to refuse.
        """
        # Also of fields that the form does not have.
        obj.validate_unique()
        obj.validate_constraints()
        # A key that was chosen may be that of a row which nobody sees.
        obj.save(force_insert=not change)

    def delete_model(self, context: Asker, obj: Any) -> None:
        """Delete a row."""
        obj.delete()

    def _has_permission(self, context: Asker, action: str, obj: Any) -> bool:
        meta = self.model._meta
        permission = f"{meta.app_label}.{action}_{meta.model_name}"
        has_perm = getattr(context.user, "has_perm", None)
        if has_perm is None:
            return False
        return bool(
            has_perm(permission) or (obj is not None and has_perm(permission, obj))
        )


def mistakes(tools: ModelTools) -> Iterator[tuple[str, str]]:
    """Return the options that are not of their type, each with a sentence about it."""
    for option in _NAMES:
        value = getattr(tools, option)
        may_be_none = getattr(ModelTools, option) is None
        if not (
            _are_names(value)
            or (value is None and may_be_none)
            or (value == "__all__" and option == "fields")
        ):
            yield option, f"{option} must be a list of names, as in ['name']."
    for option in _NUMBERS:
        value = getattr(tools, option)
        if value is None and option == "max_count":
            continue
        if type(value) is not int or value < 1:
            yield option, f"{option} must be a whole number, and at least 1."
    if not _are_filters(tools.filters):
        yield (
            "filters",
            "filters must be a list of names, or a dictionary of them with lists of "
            'lookups, as in {"price": ["gte", "lte"]}.',
        )
    lookups = tools.list_prefetch_related
    if not isinstance(lookups, list | tuple) or not all(
        isinstance(lookup, str | Prefetch) for lookup in lookups
    ):
        yield (
            "list_prefetch_related",
            "list_prefetch_related must be a list of names and Prefetch objects.",
        )
    if not (isinstance(tools.form, type) and issubclass(tools.form, forms.ModelForm)):
        yield "form", "form must be a class derived of django.forms.ModelForm."


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(name, str) for name in value
    )


def _are_filters(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return _are_names(value)
    return _are_names(list(value)) and all(
        isinstance(lookups, str) or _are_names(lookups) for lookups in value.values()
    )
