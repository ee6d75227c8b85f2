"""
A model as it is exposed: what its options say, compiled when it is registered.
"""

import re
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from django.db import models
from django.db.models import QuerySet
from django.utils.text import camel_case_to_spaces, slugify
from django.utils.translation import override
from msgspec import json

from mcp_channels.modeltools.aggregate import Aggregates
from mcp_channels.modeltools.allowlist import Allowlist
from mcp_channels.modeltools.filters import Filters, Search
from mcp_channels.modeltools.forms import RowForm
from mcp_channels.modeltools.options import ModelTools
from mcp_channels.modeltools.query import Ordering
from mcp_channels.modeltools.rows import Reader, RowTypes, has_filtering_manager
from mcp_channels.modeltools.write import Writer
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

if TYPE_CHECKING:
    from mcp_channels.modeltools.operations import Operation

__all__ = ["OPERATIONS", "Exposure", "looks_secret", "row_uri"]

# What each operation needs Django's permission for.
OPERATIONS: Final = {
    "list": "view",
    "get": "view",
    "aggregate": "view",
    "create": "add",
    "update": "change",
    "delete": "delete",
    "bulk_create": "add",
    "bulk_update": "change",
    "bulk_delete": "delete",
}

_SECRET: Final = re.compile(
    r"passw(or)?d|passphrase|secret|token|api_?key|private_?key|salt|hash|otp|credential"
    r"|signature|session_key",
    re.IGNORECASE,
)


def looks_secret(name: str) -> bool:
    """Tell whether a field of this name is likely to hold a secret."""
    return _SECRET.search(name) is not None


def row_uri(label: str, key: Any) -> str:
    """Return the URI of a row of the model `label`."""
    # A key of several columns is written as JSON.
    text = json.encode(key).decode() if isinstance(key, tuple | list) else str(key)
    return f"django://{label}/{quote(text, safe='')}"


class Exposure:
    """
    `tools` and everything that is made of its options.

    `registered` has all exposures of the registry, by model, also those to come.
    """

    def __init__(
        self, tools: ModelTools, registered: "MutableMapping[Any, Exposure]"
    ) -> None:
        self.tools = tools
        self.registered = registered
        self.model: Any = tools.model
        meta = self.model._meta
        with override(None):
            plural = slugify(str(meta.verbose_name_plural)).replace("-", "_")
        name = camel_case_to_spaces(self.model.__name__).replace(" ", "_")
        self.name = tools.name or name
        self.name_plural = tools.name_plural or plural or f"{self.name}s"
        title = self.model.__name__
        self.allowlist = Allowlist(self.model, self._field_names(), tools)
        self.row_types = RowTypes(title, self.allowlist)
        self.filters = Filters(title, self.allowlist, tools.filters)
        self.search = Search(self.allowlist, tools.search_fields)
        self.ordering = Ordering(
            self.allowlist, tools.ordering_fields, self._default_ordering()
        )
        self.aggregates = Aggregates(self.allowlist)
        self.form = RowForm(self, title)
        self.writer = Writer(self)
        # By kind; filled when it is registered.
        self.operations: dict[str, Operation] = {}
        self.watch: object = None  # tells of changed rows, while it lives

    @property
    def label(self) -> str:
        """The model as "app_label.model", as in Django's content types."""
        label: str = self.model._meta.label_lower
        return label

    @property
    def noun(self) -> str:
        """What one row is called."""
        return str(self.model._meta.verbose_name)

    @property
    def has_scope(self) -> bool:
        """Whether some who see rows do not see all of them."""
        if type(self.tools).get_queryset is not ModelTools.get_queryset:
            return True
        return has_filtering_manager(self.model)

    @property
    def checks_rows(self) -> bool:
        """Whether the permission to view is one of the single row."""
        method = type(self.tools).has_view_permission
        return method is not ModelTools.has_view_permission

    def may(self, operation: str, asker: Asker) -> bool:
        """Tell whether an operation exists for whoever asks."""
        if not self.tools.has_view_permission(asker):
            # What is written is shown.
            return False
        allows = getattr(self.tools, f"has_{OPERATIONS[operation]}_permission")
        return bool(allows(asker))

    def is_visible(self, asker: Asker) -> bool:
        """Tell whether anything of the model exists for whoever asks."""
        return any(self.may(kind, asker) for kind in self.operations)

    def reader(self, asker: Asker, paths: list[str] | None = None) -> Reader:
        """Return what reads rows for whoever asks; None for the paths shown if nobody
        says which."""
        if paths is None:
            paths = self.allowlist.defaults
        return Reader(self.allowlist, self.row_types, paths, asker, self.registered)

    def prepare(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return `queryset` with what the site says that its rows need."""
        tools = self.tools
        if tools.list_select_related:
            queryset = queryset.select_related(*tools.list_select_related)
        if tools.list_prefetch_related:
            queryset = queryset.prefetch_related(*tools.list_prefetch_related)
        return queryset

    def find(
        self, asker: Asker, key: Any, queryset: QuerySet[Any] | None = None
    ) -> Any:
        """
        Return the row with this key, of `queryset` or of all in reach.

        Raise ToolError when it does not exist for whoever asks.
        """
        if queryset is None:
            queryset = self.tools.get_queryset(asker)
        instance = queryset.filter(pk=key).first()
        if instance is None or not self.tools.has_view_permission(asker, instance):
            # Hidden and missing look the same.
            raise ToolError(f"There is no {self.noun} {key!r}.")
        return instance

    def uri(self, key: Any) -> str:
        """Return the URI of the row with this key, as a resource."""
        return row_uri(self.label, key)

    @property
    def problems(self) -> list[str]:
        """What is wrong with the options, a sentence each."""
        tools = self.tools
        found = [
            f"operation {name!r} is none of {', '.join(OPERATIONS)}."
            for name in tools.operations
            if name not in OPERATIONS
        ]
        if not self.allowlist.children and not self.allowlist.problems:
            found.append(
                "no fields are named, so there is nothing to show. Set fields."
            )
        if not 1 <= tools.page_size <= tools.max_page_size:
            found.append("page_size must be from 1 to max_page_size.")
        found += [
            f"{name} must be at least 1."
            for name in ("max_bytes", "max_bulk", "max_upload_bytes")
            if getattr(tools, name) < 1
        ]
        unknown = set(tools.readonly_fields) - set(self.allowlist.children)
        found += [f"readonly field {name!r} is no field." for name in sorted(unknown)]
        return [
            *found,
            *self.allowlist.problems,
            *self.filters.problems,
            *self.search.problems,
            *self.ordering.problems,
            *self.form.problems,
        ]

    def _field_names(self) -> list[str]:
        tools, meta = self.tools, self.model._meta
        if tools.fields != "__all__":
            return [name for name in tools.fields if name != "pk"]
        return [
            field.name
            for field in (*meta.fields, *meta.many_to_many)
            if field.name not in tools.exclude
            and not looks_secret(field.name)
            and not (field.primary_key and isinstance(field, models.AutoField))
        ]

    def _default_ordering(self) -> list[str]:
        if self.tools.ordering is not None:
            return list(self.tools.ordering)
        found = []
        for name in self.model._meta.ordering:
            # Of the model's own order as much as may be known.
            path = name.removeprefix("-") if isinstance(name, str) else ""
            if path != "pk" and path not in self.allowlist.columns:
                break
            found.append(name)
        return found
