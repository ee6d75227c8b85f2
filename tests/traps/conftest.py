"""What the tests of traps share: a site, and tools that take their time."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mcp_channels.testing import MCPCommunicator
from tests.sites import Site
from tests.traps.tools import Connect, Tools
from tests.traps.wire import A, B


@pytest.fixture
def site() -> Site:
    site = Site()
    site.tool(name="ok")(lambda: "ok")
    site.prompt(name="p")(lambda: "x")
    site.resource(A)(lambda: "x")
    site.resource(B)(lambda: "x")
    site.resource("shop://orders/{number}")(lambda number: "x")
    return site


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    tools = Tools()
    yield tools
    tools.let_go()


@pytest.fixture
async def connect(tools: Tools) -> AsyncIterator[Connect]:
    site = Site()
    for function in tools.all():
        site.tool(function)
    async with AsyncExitStack() as stack:

        async def connect(revision: str, **options: Any) -> MCPCommunicator:
            client = site.client(revision=revision, **options)
            return await stack.enter_async_context(client)

        yield connect
        # What is stubborn would be waited for.
        tools.let_go()
