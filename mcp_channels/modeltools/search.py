"""Searches: which rows have the words that an agent looks for."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from django.db.models import Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.utils.text import smart_split, unescape_string_literal

from mcp_channels.modeltools.allowlist import Allowlist, Column
from mcp_channels.modeltools.filters import ORDERED, to_column
from mcp_channels.modeltools.reach import Hidden, Registered, narrow, visible
from mcp_channels.modeltools.values import is_text, to_database, without_none
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

__all__ = ["LONGEST_SEARCH", "Search"]

# One statement stays one that a database answers quickly.
LONGEST_SEARCH: Final = 200  # characters
_MOST_WORDS: Final = 10

_LOOKUPS: Final = {"": "icontains", "^": "istartswith", "=": "iexact"}


@dataclass(frozen=True)
class _Place:
    """Where words are looked for."""

    column: Column
    lookup: str  # for the ORM, with the path
    kind: Any  # of what is no text; None for text

    def has(self, word: str) -> Q | None:
        """Return what finds a word; None if it cannot be there."""
        if self.kind is None:
            return Q(**{self.lookup: word})
        try:
            value = msgspec.convert(word, self.kind, strict=False)
            return Q(**{self.lookup: to_column(self.column.field, value)})
        except (msgspec.ValidationError, ToolError):
            return None


class Search:
    """
    A search for words in columns, each of which begins as in `ModelAdmin`: "^" for the
    beginning, "=" for all of it, which is the only one for what is no text.

    What is wrong with `names` is in `problems`.
    """

    def __init__(self, allowlist: Allowlist, names: Iterable[str]) -> None:
        self._allowlist = allowlist
        self.problems: list[str] = []
        self._places: list[_Place] = []
        for name in names:
            sign = name[:1] if name[:1] in ("^", "=") else ""
            path = name.removeprefix(sign)
            column = allowlist.by_path.get(path)
            if not isinstance(column, Column):
                self.problems.append(
                    f"search field {name!r} is no column among the fields. A search "
                    f"tells what is in a column, so name it there, too."
                )
                continue
            kind = without_none(column.annotation)
            if is_text(column.field):
                lookup = f"{path}{LOOKUP_SEP}{_LOOKUPS[sign]}"
                self._places.append(_Place(column, lookup, None))
            elif kind not in (*ORDERED, bool):
                self.problems.append(
                    f"search field {name!r} holds nothing that a word could be."
                )
            elif sign != "=":
                self.problems.append(
                    f"search field {name!r} is no text: write '={path}' to find it "
                    f"by all of it."
                )
            else:
                self._places.append(_Place(column, path, kind))

    def __bool__(self) -> bool:
        return bool(self._places)

    @property
    def paths(self) -> list[str]:
        """The columns that are searched."""
        return list(dict.fromkeys(place.column.path for place in self._places))

    def apply(
        self,
        queryset: QuerySet[Any],
        text: str,
        asker: Asker,
        registered: Registered,
    ) -> QuerySet[Any]:
        """
        Keep the rows that have every word of `text` in one of the columns.

        Raise ToolError when it has no word, or too many.
        """
        words = _words(text)
        places = []
        for place in self._places:
            path = place.column.path
            with suppress(Hidden):  # where nothing can be found
                seen = visible(self._allowlist, path, asker, registered)
                places.append((place, seen))
        condition = Q()
        for word in words:
            anywhere = Q()
            for place, seen in places:
                found = place.has(word)
                if found is not None:
                    anywhere |= found & seen
            # A Q of nothing would be true of every row.
            condition &= anywhere or Q(pk__in=[])
        crosses_many = any(map(self._allowlist.crosses_many, self.paths))
        return narrow(queryset, condition, crosses_many)


def _words(text: str) -> list[str]:
    """Return the words of a search; what stands in quotes is one."""
    if len(text) > LONGEST_SEARCH:
        raise ToolError(f"search: at most {LONGEST_SEARCH} characters.")
    try:
        to_database(text)
    except ToolError as exc:
        raise ToolError(f"search: {exc.message}") from None
    words = [
        unescape_string_literal(word)
        if len(word) > 1 and word[0] in "\"'" and word[0] == word[-1]
        else word
        for word in smart_split(text)
    ]
    words = [word for word in words if word]
    if not words:
        raise ToolError("search: there is no word in it.")
    if len(words) > _MOST_WORDS:
        raise ToolError(f"search: at most {_MOST_WORDS} words.")
    return words
