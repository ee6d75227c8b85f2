"""Several workers of one site, each a process, with a broker and a database."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import closing as closing_database
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.interop.servers import ROOT, STARTING, Server, environment, serve
from tests.redis import Redis

TOKENS = {"AUTHENTICATORS": ["mcp_channels.tokens.authenticate"]}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture
def manage(database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run a command of the site in a process of its own, and return what it prints."""
    with Redis() as redis:
        monkeypatch.setenv("INTEROP_REDIS", redis.url)
        monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "moby")

        def run(*words: str) -> str:
            return subprocess.run(
                [sys.executable, "-m", "django", *words],
                cwd=ROOT,
                env=environment(database, **TOKENS),
                timeout=STARTING,
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()

        yield run


@pytest.fixture
def workers(manage: Any, database: Path) -> Iterator[list[Server]]:
    """One server of each kind, for the same site."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(serve(kind, database=database, **TOKENS))
            for kind in ("daphne", "uvicorn")
        ]


async def call(socket: ClientConnection, id: int, name: str, **arguments: Any) -> None:
    params = {"name": name, "arguments": arguments, "_meta": ENVELOPE}
    request = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}
    await socket.send(json.dumps(request))


async def closing(socket: ClientConnection) -> tuple[int | None, float]:
    """Wait until the server closes; return its code, and when that was."""
    with pytest.raises(ConnectionClosed) as caught:
        frame = await socket.recv()
        raise AssertionError(f"It was answered: {frame!r}")
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, time.time()


async def test_token_that_one_process_revokes_ends_on_all(
    manage: Any, workers: list[Server], database: Path
) -> None:
    """Within a second, and a call in flight gets no answer."""
    manage("createsuperuser", "--noinput", "--username=ada", "--email=a@example.com")
    secrets = [manage("mcp", "token", "create", "ada", name) for name in ("a", "b")]
    revoked, kept = [{"Authorization": f"Bearer {secret}"} for secret in secrets]
    async with (
        asyncio.timeout(60),
        connect(workers[0].url(), additional_headers=revoked, proxy=None) as first,
        connect(workers[1].url(), additional_headers=revoked, proxy=None) as second,
        connect(workers[1].url(), additional_headers=kept, proxy=None) as other,
    ):
        for socket in (first, second):
            await call(socket, 1, "add", a=1, b=2)
            assert '"id":1' in str(await socket.recv())
            await call(socket, 2, "wait")
        # A third process, which has no connection and ends at once.
        revoking = asyncio.to_thread(manage, "mcp", "token", "revoke", secrets[0][:10])
        *ended, _ = await asyncio.gather(closing(first), closing(second), revoking)
        await call(other, 3, "add", a=1, b=2)

        assert '"id":3' in str(await other.recv())

    with closing_database(sqlite3.connect(database)) as connection:
        query = "SELECT revoked_at FROM mcp_channels_accesstoken WHERE name = 'a'"
        ((text,),) = connection.execute(query)
    revoked_at = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    assert [code for code, _ in ended] == [1008, 1008]
    assert all(0 < when - revoked_at < 1 for _, when in ended)


async def test_endpoint_that_one_process_makes_is_served_by_all(
    manage: Any, workers: list[Server]
) -> None:
    make = (
        "from mcp_channels.models import Endpoint; "
        "Endpoint.objects.create(slug='open', allow_anonymous=True)"
    )
    for worker in workers:
        with pytest.raises(Exception, match=r"40[34]"):
            async with connect(worker.url("/ws/open"), proxy=None):
                pass
    await asyncio.to_thread(manage, "shell", "-v", "0", "-c", make)
    for worker in workers:
        async with connect(worker.url("/ws/open"), proxy=None) as socket:
            await call(socket, 1, "add", a=1, b=2)

            assert '"id":1' in str(await socket.recv())
