"""
Why there is no connection, and why a request has no answer.

ConnectionFailed is raised in Python. The codes are those of JSON-RPC errors that the
client makes itself, in the place of an answer that cannot come any more.
"""

from typing import Final

__all__ = [
    "CONNECTION_LOST",
    "MESSAGE_TOO_LARGE",
    "OUTCOME_UNKNOWN",
    "REQUEST_TIMED_OUT",
    "ConnectionFailed",
]

# Outside of -32768 to -32000, which JSON-RPC and MCP keep for themselves: no server
# sends these.
OUTCOME_UNKNOWN: Final = -31001  # it was sent, may have run, and may not run twice
CONNECTION_LOST: Final = -31002  # it did not run, or running it again is harmless
REQUEST_TIMED_OUT: Final = -31003  # request_timeout is over
MESSAGE_TOO_LARGE: Final = -31004  # a message was larger than one side takes


class ConnectionFailed(ConnectionError):
    """
    There is no connection, or no longer.

    `is_final` tells that trying again would end in the same way. `status` is that of
    HTTP, `code` that with which the connection was closed; each is None when there was
    none. `retry_after` is how many seconds the server asks to wait.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_final: bool = False,
        status: int | None = None,
        code: int | None = None,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final
        self.status = status
        self.code = code
        self.retry_after = retry_after
