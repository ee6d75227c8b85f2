"""
What only the revisions with a handshake know: the state that `initialize` leaves on a
connection, and the batches of 2025-03-26.
"""

from dataclasses import dataclass

from msgspec import Struct

from mcp_channels.protocol.messages import RequestId
from mcp_channels.protocol.types import ClientCapabilities, Implementation, LoggingLevel
from mcp_channels.protocol.versions import Revision

__all__ = ["Batch", "Handshake", "Peer", "allows_batches"]


class Peer(Struct, frozen=True):
    """What the other side says of itself. It proves nothing: never decide on it
    who may do what."""

    capabilities: ClientCapabilities
    info: Implementation | None = None  # None when it does not say


@dataclass(slots=True)
class Handshake:
    """What `initialize` agreed on. Only requests without an envelope see it."""

    revision: Revision
    peer: Peer
    is_complete: bool = False  # `notifications/initialized` came
    # Until `logging/setLevel` the server chooses what to send.
    log_level: LoggingLevel = "info"


def allows_batches(handshake: Handshake | None) -> bool:
    """Tell whether an array of messages may come now."""
    return handshake is not None and handshake.revision is Revision.V2025_03_26


class Batch:
    """
    The answers to one batch, which leave together. MCP 2025-03-26, basic, batching.

    Call expect() for each request before anything may answer it, and seal() when all
    members were read. `ids` are those of the requests so far.
    """

    def __init__(self) -> None:
        self.ids = set[RequestId]()
        self._replies: list[str] = []
        self._expected = 1  # the reading itself, until seal()

    def expect(self) -> None:
        """Wait for one more add()."""
        self._expected += 1

    def add(self, reply: str | None) -> str | None:
        """
        Take the answer to one expected request; None when it was cancelled.

        Return the frame to send when it was the last, and None otherwise or when
        there is nothing to send.
        """
        if reply is not None:
            self._replies.append(reply)
        self._expected -= 1
        if self._expected or not self._replies:
            return None
        return f"[{','.join(self._replies)}]"

    def seal(self) -> str | None:
        """Say that no more members come; return as add() does."""
        return self.add(None)
