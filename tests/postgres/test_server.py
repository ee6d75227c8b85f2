"""The server that the other tests run on."""

import os
from pathlib import Path

import psycopg
import pytest

from tests.postgres import server


def test_server_ends_with_its_block_and_leaves_nothing(postgres_package: Path) -> None:
    with server.serve(postgres_package) as folder:
        with psycopg.connect(
            host=str(folder), user=server.USER, dbname="postgres"
        ) as connection:
            (version,) = connection.execute("SHOW server_version").fetchone()
        pid = int((folder / "data/postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)

    assert version.startswith("18.")
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_server_that_does_not_start_says_why(
    postgres_package: Path, monkeypatch
) -> None:
    monkeypatch.setitem(server.OPTIONS, "no_such_option", "1")

    with (
        pytest.raises(RuntimeError, match="no_such_option"),
        server.serve(postgres_package),
    ):
        pass
