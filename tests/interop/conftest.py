"""The servers that the tests of this room share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.servers import KINDS, Kind, Server, make_database, serve

Serve = Callable[[Kind], Server]


@contextmanager
def starting(**options: Any) -> Iterator[Serve]:
    """Start a server of a kind, as serve() does, when the first test needs it."""
    started: dict[Kind, Server] = {}
    with ExitStack() as stack:

        def start(kind: Kind) -> Server:
            if kind not in started:
                started[kind] = stack.enter_context(serve(kind, **options))
            return started[kind]

        yield start


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the database that the servers share."""
    path = tmp_path_factory.mktemp("interop") / "db.sqlite3"
    make_database(path)
    return path


@pytest.fixture(scope="session")
def servers(database: Path) -> Iterator[Serve]:
    # The frames are below Daphne's own limit, which has no close code.
    with starting(database=database, MAX_FRAME_BYTES=100_000, PAGE_SIZE=10) as start:
        yield start


@pytest.fixture(scope="session")
def odd_servers() -> Iterator[Serve]:
    with starting(root_path="/site", MAX_VIOLATIONS=None) as start:
        yield start


@pytest.fixture(scope="session")
def impatient_servers() -> Iterator[Serve]:
    with starting(IDLE_TIMEOUT=1.0) as start:
        yield start


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, servers: Serve) -> Server:
    """Each kind of server in turn."""
    return servers(request.param)


@pytest.fixture(params=KINDS)
def odd_server(request: pytest.FixtureRequest, odd_servers: Serve) -> Server:
    """Each kind in turn, below a root path and patient with garbage."""
    return odd_servers(request.param)


@pytest.fixture(params=KINDS)
def impatient_server(
    request: pytest.FixtureRequest, impatient_servers: Serve
) -> Server:
    """Each kind in turn, impatient with the idle."""
    return impatient_servers(request.param)
