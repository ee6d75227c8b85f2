from collections.abc import Iterator
from typing import Any

import pytest

from mcp_channels.consumers import MCPConsumer
from mcp_channels.pytest_plugin import MakeClient
from mcp_channels.testing import MCPCommunicator
from tests.sockets import make_consumer

opened: list[MCPConsumer] = []


class Counted(MCPConsumer):
    """A consumer that tells whether its connection is open."""

    async def websocket_connect(self, message: Any) -> None:
        await super().websocket_connect(message)
        opened.append(self)

    async def websocket_disconnect(self, message: Any) -> None:
        opened.remove(self)
        await super().websocket_disconnect(message)


@pytest.fixture
def nobody_is_left() -> Iterator[None]:
    """Look after the clients were closed; name it before them."""
    yield
    assert opened == []


async def greet() -> str:
    return "hello"


async def test_clients_are_connected_and_disconnected_in_the_end(
    nobody_is_left: None, mcp_client: MakeClient
) -> None:
    consumer = make_consumer(greet, kind=Counted)
    first = await mcp_client(consumer=consumer)
    second = await mcp_client(revision="2025-06-18", consumer=consumer)

    assert len(opened) == 2
    for client in (first, second):
        assert isinstance(client, MCPCommunicator)
        assert [tool["name"] for tool in await client.list_tools()] == ["greet"]


async def test_client_takes_what_the_communicator_takes(
    mcp_client: MakeClient,
) -> None:
    client = await mcp_client(None, revision="2024-11-05", subprotocols=["mcp"])

    assert client.revision.value == "2024-11-05"
    assert await client.request("ping") == {}


async def test_refused_client_is_an_error(mcp_client: MakeClient) -> None:
    with pytest.raises(ConnectionRefusedError, match="403"):
        await mcp_client(headers=[(b"origin", b"http://evil.example")])
