"""The servers that the tests of this room share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.servers import KINDS, Kind, Server, make_database, serve

Serve = Callable[[Kind], Server]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the database that the servers share."""
    path = tmp_path_factory.mktemp("interop") / "db.sqlite3"
    make_database(path)
    return path


@pytest.fixture(scope="session")
def servers(database: Path) -> Iterator[Serve]:
    """Start a server of a kind when the first test needs it."""
    started: dict[Kind, Server] = {}
    with ExitStack() as stack:

        def start(kind: Kind) -> Server:
            if kind not in started:
                started[kind] = stack.enter_context(
                    serve(
                        kind,
                        database=database,
                        # Below Daphne's own limit, which has no close code.
                        MAX_FRAME_BYTES=100_000,
                        PAGE_SIZE=10,
                    )
                )
            return started[kind]

        yield start


@pytest.fixture(scope="session")
def odd_servers() -> Iterator[Serve]:
    """Start one below a root path, patient with garbage but not with the idle."""
    started: dict[Kind, Server] = {}
    with ExitStack() as stack:

        def start(kind: Kind) -> Server:
            if kind not in started:
                started[kind] = stack.enter_context(
                    serve(kind, "/site", MAX_VIOLATIONS=None, IDLE_TIMEOUT=1.0)
                )
            return started[kind]

        yield start


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, servers: Serve) -> Server:
    """Each kind of server in turn."""
    return servers(request.param)


@pytest.fixture(params=KINDS)
def odd_server(request: pytest.FixtureRequest, odd_servers: Serve) -> Server:
    """Each kind of server in turn, with the settings of odd_servers."""
    return odd_servers(request.param)
