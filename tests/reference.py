"""The reference types of every revision, to hold frames against."""

import json
from typing import Any

from mcp_types import jsonrpc, methods
from mcp_types.version import LATEST_HANDSHAKE_VERSION

from mcp_channels.protocol.connection import Request
from mcp_channels.protocol.versions import Revision

# Of 2025-11-25 alone, and not in the reference package: see docs/protocol.md.
NOT_IN_REFERENCE = {"tasks/get", "tasks/list", "tasks/cancel", "tasks/result"}


class Reference:
    """Holds frames against the reference types of the revision they are sent in."""

    def __init__(self) -> None:
        self.checked = 0
        self._results: dict[str, tuple[str, str]] = {}  # frame: method, revision
        self._revision = LATEST_HANDSHAKE_VERSION  # that is spoken now

    def result(self, request: Request, frame: str) -> None:
        self._results[frame] = request.method, request.revision.value

    def speak(self, revision: Revision) -> None:
        self._revision = revision.value

    def frame(self, frame: str) -> None:
        message = json.loads(frame)
        for member in message if isinstance(message, list) else [message]:
            self.message(member, frame)
            self.checked += 1

    def message(self, message: dict[str, Any], frame: str) -> None:
        assert message["jsonrpc"] == "2.0"
        if "method" in message:
            self.peer_message(message)
        elif "error" in message:
            jsonrpc.JSONRPCError.model_validate(message)
        elif frame in self._results:
            method, revision = self._results[frame]
            if method not in NOT_IN_REFERENCE:
                methods.validate_server_result(method, revision, message["result"])
        else:
            # In a batch the frames of the members are joined.
            assert frame.startswith("[")

    def peer_message(self, message: dict[str, Any]) -> None:
        method, params = message["method"], message.get("params")
        if "id" in message:
            methods.parse_server_request(method, self._revision, params)
        elif method == "notifications/cancelled":
            # Of a request of the server: both sides may send it.
            methods.validate_client_notification(method, self._revision, params)
        else:
            methods.parse_server_notification(method, self._revision, params)
