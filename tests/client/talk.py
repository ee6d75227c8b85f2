"""A conversation without a socket: what is said, sent and told, as Python values."""

import json
from typing import Any

from mcp_channels.client.conversation import Conversation

__all__ = ["Talk"]


class Talk:
    """A Conversation whose connections open and break on demand."""

    def __init__(self, **options: Any) -> None:
        self.conversation = Conversation(**options)

    def say(self, message: Any, deadline: float | None = None) -> None:
        """Let the client say something."""
        self.conversation.send(_text(message), deadline)

    def ask(self, id: Any, method: str, **params: Any) -> None:
        """Let the client send a request."""
        self.say({"jsonrpc": "2.0", "id": id, "method": method, "params": params})

    def hear(self, message: Any) -> None:
        """Let the server say something."""
        self.conversation.receive(_text(message))

    def answer(self, id: Any, **result: Any) -> None:
        """Let the server answer a request."""
        self.hear({"jsonrpc": "2.0", "id": id, "result": result})

    def notify(self, method: str, **params: Any) -> None:
        """Let the server send a notification."""
        self.hear({"jsonrpc": "2.0", "method": method, "params": params})

    def sent(self) -> list[Any]:
        """Send what can be sent, and return it."""
        frames = iter(self.conversation.next_frame, None)
        return [json.loads(frame) for frame in frames]

    def told(self) -> list[Any]:
        """Return what the client is told."""
        frames = iter(self.conversation.inbox.take, None)
        return [json.loads(frame) for frame in frames]

    def drop(self, **options: Any) -> None:
        """Break the connection."""
        self.conversation.lost("The connection was lost", **options)

    def reopen(self) -> None:
        """Break the connection, and open another one."""
        self.drop()
        self.conversation.opened()

    def shake_hands(self, **capabilities: Any) -> None:
        """Connect, and agree on 2025-11-25."""
        self.conversation.opened()
        self.ask(0, "initialize", protocolVersion="2025-11-25", capabilities={})
        self.sent()
        self.agree(0, **capabilities)
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self.sent()
        self.told()

    def agree(self, id: Any, revision: str = "2025-11-25", **capabilities: Any) -> None:
        """Let the server answer a handshake."""
        self.answer(id, protocolVersion=revision, capabilities=capabilities)

    def shake_hands_again(self, **capabilities: Any) -> list[Any]:
        """Answer the handshake that is said again; return what is sent after it."""
        (initialize,) = self.sent()
        assert initialize["method"] == "initialize"
        self.agree(initialize["id"], **capabilities)
        return self.sent()

    def list_tools(self, **annotations: Any) -> None:
        """Let the client learn of tools: their names, and what is said of them."""
        tools = [
            {"name": name, "annotations": hints} for name, hints in annotations.items()
        ]
        self.ask("tools", "tools/list")
        self.sent()
        self.answer("tools", tools=tools)
        self.told()


def _text(message: Any) -> str:
    return message if isinstance(message, str) else json.dumps(message)
