"""
Lists: pages of rows that stay right while rows come and go.

A page begins after the last row of the page before, by the values that it is ordered
by, so that the ten-thousandth page costs what the first one does.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Case, DecimalField, F, FloatField, Q, QuerySet, Value, When
from django.db.models.constants import LOOKUP_SEP
from django.db.models.functions import Cast, Left
from msgspec import Meta

from mcp_channels.modeltools.allowlist import Allowlist, Column
from mcp_channels.modeltools.filters import ORDERED
from mcp_channels.modeltools.reach import MOST_ASKED, Registered, Sight, visible
from mcp_channels.modeltools.values import is_text, one_of, to_python, without_none
from mcp_channels.protocol.errors import InvalidParams
from mcp_channels.server.pagination import decode_cursor, encode_cursor
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

__all__ = ["Ordering", "Pages", "Term"]

_MOST_TERMS: Final = 5
# Rows to look for such as may be seen among them.
_SEVERAL: Final = 100
# Characters that a text is ordered by, where it may have more: a cursor holds them.
_LONGEST_TEXT: Final = 500


@dataclass(frozen=True)
class Term:
    """One value that rows are ordered by."""

    path: str
    is_descending: bool
    field: Any
    can_be_null: bool
    computed: Any = None  # an expression; None: the column at `path` itself

    @property
    def _alias(self) -> str:
        return f"_mcp_{self.path}".replace(LOOKUP_SEP, "_to_")

    @property
    def _exact(self) -> str:
        return f"{self._alias}_exactly"

    @property
    def _name(self) -> str:
        return self.path if self.computed is None else self._alias

    @property
    def _is_decimal(self) -> bool:
        return isinstance(getattr(self.field, "output_field", self.field), DecimalField)

    def annotations(self, vendor: str) -> dict[str, Any]:
        """Return what a query of rows needs for this order."""
        found = {} if self.computed is None else {self._alias: self.computed}
        if self._is_decimal and vendor == "sqlite":
            # It keeps floats, of which a Decimal is but the rounded form.
            source = F(self.path) if self.computed is None else self.computed
            found[self._exact] = Cast(source, FloatField())
        return found

    def order(self) -> Any:
        # Where they stand is not the same in all databases, unless one says it.
        nulls = {"nulls_last": True} if self.can_be_null else {}
        name = F(self._name)
        return name.desc(**nulls) if self.is_descending else name.asc(**nulls)

    def value(self, instance: Any) -> Any:
        """Return the value of a row that was fetched with the annotations."""
        for name in (self._exact, self._alias):
            if name in vars(instance):
                return vars(instance)[name]
        return instance.pk if self.path == "pk" else vars(instance)[self.field.attname]

    def encode(self, value: Any) -> Any:
        """Return a value as JSON."""
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        return value

    def decode(self, value: Any) -> Any:
        """Return what encode() made JSON of. Raise ValidationError or TypeError when
        it did not."""
        if value is None or (self._is_decimal and isinstance(value, float)):
            return value
        return to_python(self.field, value)

    def after(self, value: Any) -> Q | None:
        """Return what comes after `value`; None for nothing."""
        if value is None:
            return None
        condition = self.compare("lt" if self.is_descending else "gt", value)
        if self.can_be_null:
            condition |= self.compare("isnull", True)
        return condition

    def same(self, value: Any) -> Q:
        if value is None:
            return self.compare("isnull", True)
        return self.compare("exact", value)

    def compare(self, lookup: str, value: Any) -> Q:
        if self._is_decimal and isinstance(value, float):
            value = Value(value, FloatField())
        return Q(**{f"{self._name}{LOOKUP_SEP}{lookup}": value})


class Ordering:
    """
    The orders that an agent can ask for: by `names`, None for all columns that have an
    order; `default` when it does not ask, and `fallback` as far as that is possible
    where there is no default.

    What is wrong with them is in `problems`.
    """

    def __init__(
        self,
        allowlist: Allowlist,
        names: Iterable[str] | None,
        default: Iterable[str] | None,
        fallback: Iterable[Any] = (),
    ) -> None:
        self._allowlist = allowlist
        self.problems: list[str] = []
        if names is None:
            names = [name for name in allowlist.columns if self._reason(name) is None]
        self.names = ["pk", *(name for name in self._check(names) if name != "pk")]
        if default is None:
            self.default = self._known(fallback)
        else:
            bare = [name.removeprefix("-") for name in default]
            self._check(bare)
            self.default = list(default)
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

    def terms(
        self, asked: Sequence[str] | None, asker: Asker, registered: Registered
    ) -> list[Term]:
        """
        Return what to order by, so that no two rows are equal.

        Raise ToolError for what leads through rows that `asker` may not see.
        """
        names = [*(asked or self.default), "pk"]
        paths = [name.removeprefix("-") for name in names]
        terms: dict[str, Term] = {}
        # No two rows have the same key, so nothing counts after it.
        for name, path in zip(names[: paths.index("pk") + 1], paths, strict=False):
            if path in terms:
                continue
            try:
                seen = visible(self._allowlist, path, asker, registered)
            except ToolError as exc:
                if asked:
                    raise ToolError(f"ordering: {exc.message}") from None
                continue  # nobody asked for it, so it is not theirs to mend
            terms[path] = self._term(path, name.startswith("-"), seen)
        return list(terms.values())

    def _term(self, path: str, is_descending: bool, seen: Q) -> Term:
        if path == "pk":
            return Term(path, is_descending, self._allowlist.key.field, False)
        column: Any = self._allowlist.by_path[path]
        field, hops = column.field, self._allowlist.relations(path)
        computed: Any = None
        if is_text(field) and not 0 < (field.max_length or 0) <= _LONGEST_TEXT:
            computed = Left(path, _LONGEST_TEXT)
        elif hops:
            computed = F(path)
        if seen:
            # What may not be seen is missing.
            computed = Case(When(seen, then=computed))
        can_be_null = field.null or bool(seen) or any(hop.field.null for hop in hops)
        return Term(path, is_descending, field, can_be_null, computed)

    def _known(self, names: Iterable[Any]) -> list[str]:
        """Return as much of the model's own order as may be known."""
        found = []
        for name in names:
            path = name.removeprefix("-") if isinstance(name, str) else ""
            if path != "pk" and self._reason(path) is not None:
                break
            found.append(name)
        return found

    def _check(self, names: Iterable[str]) -> list[str]:
        found = []
        for name in names:
            reason = None if name == "pk" else self._reason(name)
            if reason is None:
                found.append(name)
            else:
                self.problems.append(f"ordering {name!r} {reason}")
        return found

    def _reason(self, path: str) -> str | None:
        """Return why rows cannot be ordered by `path`; None if they can."""
        exposed = self._allowlist.by_path.get(path)
        if not isinstance(exposed, Column) or without_none(exposed.annotation) not in (
            *ORDERED,
            bool,
        ):
            return (
                "is no column with an order among the fields. An order tells what is "
                "in a column, so name it there, too, and without '-'."
            )
        if self._allowlist.crosses_many(path):
            return "leads to several rows, of which nobody knows which one counts."
        return None


class Pages:
    """
    The pages of the rows of `label`, in the order of `terms`, of which `sees` tells
    which ones may be seen, None for all.

    A cursor holds the values of the last row. It is good for this order only.
    """

    def __init__(
        self, label: str, terms: Sequence[Term], sees: Sight | None = None
    ) -> None:
        self._terms = terms
        self._sees = sees
        order = ",".join(f"{'-' * term.is_descending}{term.path}" for term in terms)
        digest = hashlib.sha256(order.encode()).hexdigest()[:16]
        self._kind = f"{label}:{digest}"

    def take(
        self, queryset: QuerySet[Any], cursor: str | None, size: int
    ) -> tuple[list[Any], bool]:
        """
        Return at most `size` rows from `cursor` on, and whether there are more.

        Raise ToolError for a cursor that was not made for this order, and when too many
        rows stand in between that may not be seen.
        """
        annotations: dict[str, Any] = {}
        for term in self._terms:
            annotations |= term.annotations(connections[queryset.db].vendor)
        order = [term.order() for term in self._terms]
        queryset = queryset.annotate(**annotations).order_by(*order)
        after = Q() if cursor is None else self._after(self._decode(cursor))
        # At once as many as it takes, if all of them may be seen.
        several = size + 1 if self._sees is None else max(size + 1, _SEVERAL)
        found: list[Any] = []
        for _ in range(0, MOST_ASKED, several):
            rows = list(queryset.filter(after)[:several])
            found += [row for row in rows if self._sees is None or self._sees(row)]
            if len(rows) < several or len(found) > size:
                return found[:size], len(found) > size
            after = self._after(self._values(rows[-1]))
        raise ToolError(
            "There are too many rows to find out which of them you may see. Narrow "
            "them down with filters."
        )

    def cursor(self, last: Any) -> str:
        """Return the cursor for what comes after the row `last`, which take() gave."""
        values = [
            term.encode(value)
            for term, value in zip(self._terms, self._values(last), strict=True)
        ]
        return encode_cursor(self._kind, msgspec.json.encode(values).decode())

    def _values(self, row: Any) -> list[Any]:
        return [term.value(row) for term in self._terms]

    def _decode(self, cursor: str) -> list[Any]:
        try:
            values = msgspec.json.decode(decode_cursor(self._kind, cursor))
            return [
                term.decode(value)
                for term, value in zip(self._terms, values, strict=True)
            ]
        except (InvalidParams, ValidationError, TypeError, ValueError):
            # One that was made before a field changed its type is of no use either.
            raise ToolError(
                "cursor: it was not given for this list in this order. Leave it out "
                "to begin anew."
            ) from None

    def _after(self, values: list[Any]) -> Q:
        """Return what comes after these values."""
        terms = list(zip(self._terms, values, strict=True))
        condition = Q()
        for term, value in reversed(terms):
            after = term.after(value)
            rest = term.same(value) & condition if condition else None
            condition = (rest or Q()) | (after or Q())
        first, value = terms[0]
        if len(terms) > 1 and not first.can_be_null:
            # The same again as a range, which a database finds in an index.
            sign = "lte" if first.is_descending else "gte"
            condition = first.compare(sign, value) & condition
        return condition
