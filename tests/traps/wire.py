"""A connection without a socket, and the revisions that speak over it."""

import json
from typing import Any

import pytest

from mcp_channels.protocol import types
from mcp_channels.protocol.connection import Event, Limits, Request
from mcp_channels.protocol.content import TextContent
from mcp_channels.protocol.envelope import (
    CLIENT_CAPABILITIES,
    PROTOCOL_VERSION,
    SUBSCRIPTION_ID,
)
from mcp_channels.protocol.server import ServerConnection, ServerDescription
from tests.sites import LEGACY, MODERN

BATCHING = "2025-03-26"
HANDSHAKES = ("2024-11-05", BATCHING, "2025-06-18", LEGACY)
EVERY = (*HANDSHAKES, MODERN)
NEW = "new"  # a connection on which nothing was said

ENVELOPE = {PROTOCOL_VERSION: MODERN, CLIENT_CAPABILITIES: {}}
HELLO = {"capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
MALFORMED = [(None, -32600)]
UNREADABLE = [(None, -32700)]

A, B = "shop://a", "shop://b"  # what the site of the tests has to read

legacy = pytest.mark.parametrize("revision", HANDSHAKES)
modern = pytest.mark.parametrize("revision", [MODERN])
every = pytest.mark.parametrize("revision", EVERY)
anywhere = pytest.mark.parametrize("revision", [NEW, *EVERY])


class Wire:
    """One connection to a server that offers everything, text in and JSON out."""

    def __init__(self, revision: str = NEW) -> None:
        """Shake hands when `revision` is a legacy one."""
        self.is_modern = revision == MODERN
        self.events: list[Event] = []
        self.connection = ServerConnection(
            ServerDescription(
                types.Implementation("tests", "1"),
                types.ServerCapabilities(
                    logging={},
                    completions={},
                    prompts=types.PromptsCapability(),
                    resources=types.ResourcesCapability(subscribe=True),
                    tools=types.ToolsCapability(),
                ),
            ),
            Limits(),
        )
        if revision in HANDSHAKES:
            self.send(
                self.request(
                    "initialize", {"protocolVersion": revision, **HELLO}, id="hello"
                )
            )
            self.send('{"jsonrpc":"2.0","method":"notifications/initialized"}')
            self.events.clear()

    def request(
        self, method: str = "tools/list", params: Any = None, id: Any = 1, **meta: Any
    ) -> str:
        """The frame of a request, with an envelope on a modern connection."""
        params = dict(params or {})
        if self.is_modern:
            meta = {**ENVELOPE, **meta}
        if meta:
            params["_meta"] = meta
        return json.dumps(
            {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        )

    def bare(self, method: str = "tools/list", **members: Any) -> str:
        """The frame of a request with these members and no others."""
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, **members})

    def send(self, *frames: str) -> list[Any]:
        """Send frames, and return what comes back."""
        for frame in frames:
            self.events += self.connection.receive(frame)
        received = []
        while (answer := self.connection.next_frame()) is not None:
            received.append(json.loads(answer))
        return received

    def codes(self, *frames: str) -> list[tuple[Any, int | None]]:
        """Send frames, and return id and error code of each answer."""
        return [
            (answer["id"], answer.get("error", {}).get("code"))
            for answer in self.send(*frames)
        ]

    def admitted(self) -> list[Request]:
        """The requests that wait for their answer, or have had it."""
        return [event for event in self.events if isinstance(event, Request)]

    def answer(self) -> list[Any]:
        """Answer all that waits, the last first, and return the answers."""
        for request in reversed(self.admitted()):
            if request.method == "tools/list":
                result: types.Result = types.ListToolsResult(tools=[])
            else:
                result = types.CallToolResult(content=[TextContent("ok")])
            self.connection.send_result(request, result)
        self.events.clear()
        return self.send()


def request_frame(id: Any, method: str, **params: Any) -> dict[str, Any]:
    """The frame of a modern request."""
    params["_meta"] = {**ENVELOPE, **params.get("_meta", {})}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def cancel_frame(id: Any) -> dict[str, Any]:
    params = {"requestId": id}
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}


def listen_frame(id: Any, **wanted: Any) -> dict[str, Any]:
    return request_frame(id, "subscriptions/listen", notifications=wanted)


def tag_of(message: Any) -> Any:
    return message["params"]["_meta"][SUBSCRIPTION_ID]
