"""
Fixtures for a site's own tests.

    # conftest.py
    pytest_plugins = ["mcp_channels.pytest_plugin"]
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest_asyncio

from mcp_channels.testing import MCPCommunicator

__all__ = ["mcp_client"]

MakeClient = Callable[..., Awaitable[MCPCommunicator]]


@pytest_asyncio.fixture
async def mcp_client() -> AsyncIterator[MakeClient]:
    """
    Connect clients that are disconnected when the test ends.

    `client = await mcp_client(user, revision="2025-06-18")` takes what MCPCommunicator
    takes.
    """
    async with AsyncExitStack() as stack:

        async def connect(user: Any = None, **options: Any) -> MCPCommunicator:
            return await stack.enter_async_context(MCPCommunicator(user, **options))

        yield connect
