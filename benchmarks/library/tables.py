"""The tables of the library, in the database that is measured."""

from typing import Any

from django.core.management import call_command
from django.db import connections

BOOKS_PER_AUTHOR = 100
BOOKS_PER_TITLE = 5

# How databases make rows by themselves.
DIALECTS: dict[str, dict[str, str]] = {
    "sqlite": {
        "numbers": "WITH RECURSIVE numbers(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {rows})",
        "source": "numbers",
        "day": "date('2000-01-01', '+' || (i % 9000) || ' days')",
        "moment": "datetime('2020-01-01', '+' || i || ' seconds')",
    },
    "postgresql": {
        "numbers": "",
        "source": "generate_series(1, {rows}::bigint) AS numbers(i)",
        "day": "DATE '2000-01-01' + (i % 9000)::int",
        "moment": "TIMESTAMPTZ '2020-01-01 00:00Z' + i * INTERVAL '1 second'",
    },
}
AUTHORS = """
INSERT INTO library_author (id, name)
{numbers} SELECT i, 'Author ' || i FROM {source}
"""
# In no order of their titles.
BOOKS = """
INSERT INTO library_book
    (id, title, isbn, author_id, price, pages, published_on, is_in_print, added_at)
{numbers} SELECT i, 'Book ' || ((i * 7919) % {titles}), i + 9780000000000,
    1 + i % {authors}, (i % 900) / 10.0, 100 + i % 900, {day}, i % 3 = 0, {moment}
FROM {source}
"""


class Router:
    """Leads to the database that is measured."""

    alias = "default"

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return Router.alias

    db_for_write = db_for_read


def fill(alias: str, rows: int) -> None:
    """Make the tables, with so many books."""
    call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
    connection = connections[alias]
    words = DIALECTS[connection.vendor]
    authors = rows // BOOKS_PER_AUTHOR
    with connection.cursor() as cursor:
        for statement, count in ((AUTHORS, authors), (BOOKS, rows)):
            spelled = {name: text.format(rows=count) for name, text in words.items()}
            cursor.execute(
                statement.format(
                    **spelled, titles=rows // BOOKS_PER_TITLE, authors=authors
                )
            )
        cursor.execute("ANALYZE")


def close() -> None:
    connections.close_all()
