"""
Lists: pages of rows that stay right while rows come and go.

A page begins after the last row of the page before, by the values that it is ordered
by, so that the ten-thousandth page costs what the first one does.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from django.db.models import F, Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from msgspec import Meta

from mcp_channels.modeltools.allowlist import Allowlist, Column
from mcp_channels.modeltools.filters import ORDERED, visible, without_none
from mcp_channels.modeltools.rows import Registered
from mcp_channels.modeltools.values import one_of, to_python
from mcp_channels.protocol.errors import InvalidParams
from mcp_channels.server.pagination import decode_cursor, encode_cursor
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

__all__ = ["Ordering", "Pages", "Term"]

_MOST_TERMS: Final = 5


@dataclass(frozen=True)
class Term:
    """One column that rows are ordered by."""

    path: str
    is_descending: bool
    field: Any
    can_be_null: bool

    def expression(self) -> Any:
        # Where they stand is not the same in all databases, unless one says it.
        nulls = {"nulls_last": True} if self.can_be_null else {}
        if self.is_descending:
            return F(self.path).desc(**nulls)
        return F(self.path).asc(**nulls)

    def value(self, instance: Any) -> Any:
        *hops, last = self.path.split(LOOKUP_SEP)
        for hop in hops:
            instance = getattr(instance, hop)
            if instance is None:
                return None
        return getattr(instance, "pk" if last == "pk" else self.field.attname)

    def after(self, value: Any) -> Q | None:
        """Return what comes after `value`; None for nothing."""
        if value is None:
            return None
        sign = "lt" if self.is_descending else "gt"
        condition = Q(**{f"{self.path}{LOOKUP_SEP}{sign}": value})
        if self.can_be_null:
            condition |= Q(**{f"{self.path}{LOOKUP_SEP}isnull": True})
        return condition

    def same(self, value: Any) -> Q:
        if value is None:
            return Q(**{f"{self.path}{LOOKUP_SEP}isnull": True})
        return Q(**{self.path: value})


class Ordering:
    """
    The orders that an agent can ask for: by `names`, None for all columns that have an
    order; `default` when it does not ask.

    What is wrong with them is in `problems`.
    """

    def __init__(
        self, allowlist: Allowlist, names: Iterable[str] | None, default: Sequence[str]
    ) -> None:
        self._allowlist = allowlist
        self.problems: list[str] = []
        if names is None:
            names = [
                name for name, column in allowlist.columns.items() if _has_order(column)
            ]
        self.names = ["pk", *self._check(names)]
        self.default = self._check(default)
        choice: Any = one_of([*self.names, *(f"-{name}" for name in self.names)])
        self.annotation: Any = Annotated[
            list[choice],
            Meta(
                min_length=1,
                max_length=_MOST_TERMS,
                description="By which fields to order, the first one first; '-' for "
                "descending. Missing values come last.",
            ),
        ]

    def terms(self, asked: Sequence[str] | None) -> list[Term]:
        """Return what to order by, so that no two rows are equal."""
        names = list(asked or self.default)
        terms = [self._term(name) for name in names if name.lstrip("-") != "pk"]
        last = next((name for name in names if name.lstrip("-") == "pk"), "pk")
        key = self._allowlist.model._meta.pk
        return [*terms, Term("pk", last.startswith("-"), key, can_be_null=False)]

    def _term(self, name: str) -> Term:
        path = name.removeprefix("-")
        exposed: Any = self._allowlist.by_path[path]
        hops = self._allowlist.relations(path)
        return Term(
            path,
            name.startswith("-"),
            exposed.field,
            exposed.field.null or any(hop.field.null for hop in hops),
        )

    def _check(self, names: Iterable[str]) -> list[str]:
        found = []
        for name in names:
            path = name.removeprefix("-")
            exposed = self._allowlist.by_path.get(path)
            if path == "pk":
                found.append(name)
            elif not isinstance(exposed, Column) or not _has_order(exposed):
                self.problems.append(
                    f"ordering {name!r} is no column with an order among the fields. "
                    f"An order tells what is in a column, so name it there, too."
                )
            elif any(
                hop.is_many or not hop.field.concrete
                for hop in self._allowlist.relations(path)
            ):
                self.problems.append(
                    f"ordering {name!r} leads to several rows, of which nobody knows "
                    f"which one counts."
                )
            else:
                found.append(name)
        return found


class Pages:
    """
    The pages of the rows of `label`, in the order of `terms`.

    A cursor holds the values of the last row. It is good for this order only.
    """

    def __init__(self, label: str, terms: Sequence[Term]) -> None:
        self._terms = terms
        order = ",".join(f"{'-' * term.is_descending}{term.path}" for term in terms)
        digest = hashlib.sha256(order.encode()).hexdigest()[:16]
        self._kind = f"{label}:{digest}"

    def check(self, allowlist: Allowlist, asker: Asker, registered: Registered) -> None:
        """Raise ToolError when an order would tell of rows that `asker` may not see."""
        for term in self._terms:
            if term.path == "pk":
                continue
            if visible(allowlist, term.path, asker, registered, "ordering"):
                raise ToolError(f"ordering: {term.path!r} is not in your reach.")

    def take(
        self, queryset: QuerySet[Any], cursor: str | None, size: int
    ) -> tuple[list[Any], bool]:
        """
        Return at most `size` rows from `cursor` on, and whether there are more.

        Raise ToolError for a cursor that was not made for this order.
        """
        related = [
            term.path.rpartition(LOOKUP_SEP)[0]
            for term in self._terms
            if LOOKUP_SEP in term.path
        ]
        if related:
            queryset = queryset.select_related(*related)
        queryset = queryset.order_by(*(term.expression() for term in self._terms))
        if cursor is not None:
            queryset = queryset.filter(self._after(cursor))
        rows = list(queryset[: size + 1])
        return rows[:size], len(rows) > size

    def cursor(self, last: Any) -> str:
        """Return the cursor for what comes after the row `last`."""
        values = [term.value(last) for term in self._terms]
        return encode_cursor(self._kind, msgspec.json.encode(values).decode())

    def _after(self, cursor: str) -> Q:
        try:
            values = msgspec.json.decode(decode_cursor(self._kind, cursor))
        except InvalidParams:
            raise ToolError(
                "cursor: it was not given for this list in this order. Leave it out "
                "to begin anew."
            ) from None
        condition: Q | None = None
        for term, given in reversed(list(zip(self._terms, values, strict=True))):
            value = None if given is None else to_python(term.field, given)
            after, same = term.after(value), term.same(value)
            rest = None if condition is None else same & condition
            condition = (
                after if rest is None else rest if after is None else after | rest
            )
            if term is self._terms[0] and len(self._terms) > 1 and not term.can_be_null:
                # The same again as a range, which a database finds in an index.
                sign = "lte" if term.is_descending else "gte"
                condition = Q(**{f"{term.path}{LOOKUP_SEP}{sign}": value}) & condition
        assert condition is not None  # the key is never None
        return condition


def _has_order(column: Column) -> bool:
    return without_none(column.annotation) in (*ORDERED, bool)
