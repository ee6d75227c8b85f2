"""
A model as it is exposed: what its options say, compiled when it is registered.
"""

import re
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models import QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.utils.text import camel_case_to_spaces, slugify
from django.utils.translation import override

from mcp_channels.modeltools.aggregate import Aggregates, Groups
from mcp_channels.modeltools.allowlist import Allowlist, accessor_of
from mcp_channels.modeltools.filters import Filters
from mcp_channels.modeltools.forms import RowForm
from mcp_channels.modeltools.keys import row_uri, show_key
from mcp_channels.modeltools.options import ModelTools, mistakes
from mcp_channels.modeltools.query import Ordering, Pages
from mcp_channels.modeltools.reach import has_scope, once, only_seen, plain, sight
from mcp_channels.modeltools.rows import Reader, RowTypes
from mcp_channels.modeltools.search import Search
from mcp_channels.modeltools.values import to_database
from mcp_channels.modeltools.write import Writer
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

if TYPE_CHECKING:
    from mcp_channels.modeltools.operations import Operation

__all__ = ["OPERATIONS", "Exposure", "looks_secret"]

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
    r"passw(or)?d|passphrase|passcode|secret|token|credential|signature|session_key"
    r"|(access|api|auth|encryption|master|private|shared|signing|ssh|webhook)_?key"
    r"|(activation|backup|recovery|reset|security|verification)_?code|pin_?code"
    # Only as words: a hashtag is no hash.
    r"|(^|_)(cvc|cvv|hash|jwt|otp|pin|pwd|salt|totp)(_|$)",
    re.IGNORECASE,
)


def looks_secret(name: str) -> bool:
    """Tell whether a field of this name is likely to hold a secret."""
    return _SECRET.search(name) is not None


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
        self._problems: list[str] = []
        for option, problem in mistakes(tools):
            self._problems.append(problem)
            # What it could have meant stays open; the rest is looked at, too.
            setattr(tools, option, getattr(ModelTools, option))
        self.allowlist = Allowlist(self.model, self._field_names(), tools)
        self.row_types = RowTypes(title, self.allowlist)
        self.filters = Filters(title, self.allowlist, tools.filters)
        self.search = Search(self.allowlist, tools.search_fields)
        self.ordering = Ordering(
            self.allowlist, tools.ordering_fields, tools.ordering, meta.ordering
        )
        self.writer = Writer(self)
        if not self._problems:
            self._problems += self._compare()
        # By kind; filled when it is registered.
        self.operations: dict[str, Operation] = {}
        self.watch: object = None  # tells of changed rows, while it lives

    # What most models do not need is made where it is needed: a form, above all, takes
    # longer than all the rest of this.

    @cached_property
    def aggregates(self) -> Aggregates:
        """What can be asked of rows as a whole."""
        return Aggregates(self.allowlist)

    @cached_property
    def form(self) -> RowForm:
        """The form that rows are written with."""
        return RowForm(self, self.model.__name__)

    @property
    def is_written(self) -> bool:
        """Whether there is an operation that writes."""
        return any(OPERATIONS.get(kind) != "view" for kind in self.tools.operations)

    @property
    def label(self) -> str:
        """The model as "app_label.model", as in Django's content types."""
        label: str = self.model._meta.label_lower
        return label

    @property
    def noun(self) -> str:
        """What one row is called."""
        return str(self.model._meta.verbose_name)

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

    def rows(self, asker: Asker) -> QuerySet[Any]:
        """Return the rows that exist for whoever asks, each of them once."""
        return once(self.tools.get_queryset(asker))

    def pages(self, asker: Asker, ordering: Sequence[str] | None = None) -> Pages:
        """
        Return the pages of rows for whoever asks; None for the order that there is if
        nobody chooses one.

        Raise ToolError for an order by what may not be seen.
        """
        terms = self.ordering.terms(ordering, asker, self.registered)
        return Pages(self.label, terms, sight(self.tools, asker))

    def count(self, asker: Asker, queryset: QuerySet[Any]) -> tuple[int, bool]:
        """Return how many rows there are, up to max_count, and whether there are
        more."""
        rows = only_seen(queryset, sight(self.tools, asker))
        most = self.tools.max_count
        if most is None:
            return rows.count(), False
        # Counting a large table takes as long as reading it.
        total = rows.order_by()[: most + 1].count()
        return min(total, most), total > most

    def aggregate(
        self,
        asker: Asker,
        queryset: QuerySet[Any],
        measures: Sequence[str],
        groupings: Sequence[str],
    ) -> Groups:
        """Return measures of rows, of at most as many groups as a page has rows."""
        rows = only_seen(queryset, sight(self.tools, asker))
        if has_scope(self.tools):
            rows = plain(rows)
        return self.aggregates.compute(
            rows, measures, groupings, self.tools.max_page_size
        )

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
        instance = None
        with suppress(ToolError):  # for a key that no row could have
            instance = queryset.filter(pk=to_database(key)).first()
        if instance is None or not self.tools.has_view_permission(asker, instance):
            # Hidden and missing look the same.
            raise ToolError(f"There is no {self.noun} {show_key(key)}.")
        return instance

    def uri(self, key: Any) -> str:
        """Return the URI of the row with this key, as a resource."""
        return row_uri(self.label, key)

    @property
    def problems(self) -> list[str]:
        """What is wrong with the options, a sentence each."""
        return [
            *self._problems,
            *self.allowlist.problems,
            *self.filters.problems,
            *self.search.problems,
            *self.ordering.problems,
            *(self.form.problems if self.is_written else ()),
        ]

    def _compare(self) -> Iterator[str]:
        """Return what is wrong with options that are about others, or the model."""
        tools, model = self.tools, self.model
        for name in tools.operations:
            if name not in OPERATIONS:
                yield f"operation {name!r} is none of {', '.join(OPERATIONS)}."
        if tools.page_size > tools.max_page_size:
            yield "page_size must be at most max_page_size."
        if tools.fields == "__all__":
            known = {field.name for field in model._meta.get_fields()}
            for name in tools.exclude:
                if name not in known:
                    yield f"exclude names {name!r}, which is no field."
        elif tools.exclude:
            yield 'exclude is for fields = "__all__": leave the names out of fields.'
        for name in tools.readonly_fields:
            if name not in self.allowlist.children:
                yield f"readonly_fields names {name!r}, which is not among the fields."
        for path in tools.list_select_related:
            if not _leads_to_one(model, path):
                yield (
                    f"list_select_related names {path!r}, which is no relation to one "
                    f"row. For several rows there is list_prefetch_related."
                )
        relations = {
            accessor_of(field)
            for field in model._meta.get_fields()
            if field.is_relation
        }
        for lookup in tools.list_prefetch_related:
            if not isinstance(lookup, str):
                relations.add(lookup.to_attr)  # of a Prefetch
            elif lookup.split(LOOKUP_SEP)[0] not in relations:
                yield f"list_prefetch_related names {lookup!r}, which is no relation."
        if not self.allowlist.children and not self.allowlist.problems:
            yield "no fields are named, so there is nothing to show. Set fields."

    def _field_names(self) -> list[str]:
        tools, meta = self.tools, self.model._meta
        if tools.fields != "__all__":
            return [name for name in tools.fields if name != "pk"]
        return [
            field.name
            for field in (*meta.fields, *meta.many_to_many)
            if field.name not in (*tools.exclude, "pk")
            and not looks_secret(field.name)
            and not (field.primary_key and isinstance(field, models.AutoField))
            and not (field.remote_field and field.remote_field.parent_link)
        ]


def _leads_to_one(model: Any, path: str) -> bool:
    for name in path.split(LOOKUP_SEP):
        try:
            found = model._meta.get_field(name)
        except FieldDoesNotExist:
            return False
        if not (found.many_to_one or found.one_to_one) or not found.related_model:
            return False
        model = found.related_model
    return True
