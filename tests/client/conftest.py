"""What the tests of the client connect to."""

from collections.abc import AsyncIterator

import pytest

from tests.client.stranger import Stranger


@pytest.fixture
async def server() -> AsyncIterator[Stranger]:
    """A server of this test, that is not ours."""
    async with Stranger() as server:
        yield server
