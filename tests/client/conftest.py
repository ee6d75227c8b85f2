"""What the tests of the client connect to."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.client.stranger import PATIENCE, Stranger


@pytest.fixture
async def server() -> AsyncIterator[Stranger]:
    """A server of this test, that is not ours."""
    async with Stranger() as server:
        yield server


class DistantServer(Stranger):
    """One in another thread, for tests that run no loop; run() waits for its loop."""

    run: Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def distant() -> Iterator[DistantServer]:
    """The same for a test that is not async."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = DistantServer()
    server.run = lambda coroutine: asyncio.run_coroutine_threadsafe(
        coroutine, loop
    ).result(PATIENCE)
    try:
        server.run(server.start())
        yield server
        server.run(server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
