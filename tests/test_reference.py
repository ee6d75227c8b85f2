"""The reference that conftest holds every frame against can say no."""

import pytest
from pydantic import ValidationError

from mcp_channels.protocol.connection import Limits
from mcp_channels.protocol.server import ServerConnection, ServerDescription
from mcp_channels.protocol.types import (
    EmptyResult,
    Implementation,
    ServerCapabilities,
    ToolsCapability,
)
from tests.reference import Reference

INITIALIZE = (
    '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":'
    '"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}'
)


@pytest.fixture
def connection() -> ServerConnection:
    return ServerConnection(
        ServerDescription(
            info=Implementation("tests", "1"),
            capabilities=ServerCapabilities(tools=ToolsCapability(), logging={}),
        ),
        Limits(),
    )


def test_every_frame_is_checked(
    connection: ServerConnection, reference: Reference
) -> None:
    connection.receive(INITIALIZE)
    connection.receive("nonsense")

    assert reference.checked == 2


def test_wrong_result_is_refused(connection: ServerConnection) -> None:
    connection.receive(INITIALIZE)
    (request,) = connection.receive('{"jsonrpc":"2.0","id":2,"method":"tools/list"}')

    with pytest.raises(ValidationError, match="tools"):
        connection.send_result(request, EmptyResult())


def test_wrong_notification_is_refused(connection: ServerConnection) -> None:
    connection.receive(INITIALIZE)
    (request,) = connection.receive('{"jsonrpc":"2.0","id":2,"method":"tools/list"}')

    with pytest.raises(ValidationError, match="logger"):
        connection.send_log(request, "info", "data", logger=5)
