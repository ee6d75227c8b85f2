"""What a function knows of the request that it answers, and can say meanwhile."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Raw, Struct

from mcp_channels.protocol.connection import Request
from mcp_channels.protocol.messages import RequestId
from mcp_channels.protocol.server import ServerConnection
from mcp_channels.protocol.types import (
    LOGGING_LEVELS,
    ClientCapabilities,
    Implementation,
    LoggingLevel,
)
from mcp_channels.server.concurrency import Workers
from mcp_channels.server.permissions import Identity, User
from mcp_channels.server.schemas import encode_value, plain_text

if TYPE_CHECKING:
    from mcp_channels.server.catalogue import Catalogue

__all__ = ["Context", "Session"]


class Session(Protocol):
    """What a connection shares among its requests; Dispatcher is the one there is."""

    identity: Identity
    catalogue: "Catalogue"
    workers: Workers
    connection: ServerConnection

    def post(self, send: Callable[..., bool], *arguments: Any) -> None:
        """Call `send` in the event loop, soon, from any thread."""

    def expire_after(
        self, seconds: float | None, request: Request, answer: Struct
    ) -> None:
        """Answer `request` with `answer` and stop it, unless it ends in time; None
        for the time that the settings allow."""


class Context:
    """
    The request that a function answers.

    A parameter annotated Context receives it and is not in the schema. It may be used
    from any thread, and until the function returns.
    """

    __slots__ = ("request", "session")

    def __init__(self, request: Request, session: Session) -> None:
        self.request = request
        self.session = session

    @property
    def identity(self) -> Identity:
        """Who is asking."""
        return self.session.identity

    @property
    def user(self) -> User:
        """The Django user behind the connection."""
        return self.session.identity.user

    @property
    def request_id(self) -> RequestId:
        """The id that the client gave this request."""
        return self.request.id

    @property
    def client_info(self) -> Implementation | None:
        """What the client says it is; None when it does not. Never decide on it."""
        return self.request.peer.info

    @property
    def capabilities(self) -> ClientCapabilities:
        """What the client says it can do, for this request."""
        return self.request.peer.capabilities

    @property
    def meta(self) -> dict[str, Any]:
        """The request's `_meta`, such as a `traceparent`."""
        return self.request.meta

    def progress(
        self,
        progress: float,
        total: float | None = None,
        message: str | None = None,
    ) -> None:
        """
        Tell the client how far this call has come.

        `progress` counts in any unit and must grow from call to call, else it is not
        sent; `total` is in the same unit, None when unknown. Nothing is sent when the
        client did not ask for it, or reads too slowly. It never waits. Raise
        ValueError when a number is not finite, or `message` is not Unicode.
        """
        # What cannot be sent fails here, where the function sees it.
        self.session.post(
            self.session.connection.send_progress,
            self.request,
            _check_number(progress),
            None if total is None else _check_number(total),
            None if message is None else plain_text(message),
        )

    def log(self, level: LoggingLevel, data: Any, logger: str | None = None) -> None:
        """
        Send the client a log message about this call, if it wants that level.

        `data` is anything with a JSON form, without secrets. It never waits. Raise
        ValueError for an unknown level or what is not Unicode, TypeError for data
        without a JSON form.
        """
        if level not in LOGGING_LEVELS:
            raise ValueError(
                f"Unknown level {level!r}: use one of {', '.join(LOGGING_LEVELS)}."
            )
        self.session.post(
            self.session.connection.send_log,
            self.request,
            level,
            Raw(encode_value(data)),
            None if logger is None else plain_text(logger),
        )


def _check_number(value: float) -> float:
    """Return `value` as a number that JSON has. Raise ValueError when it has none."""
    number = int(value) if isinstance(value, int) else float(value)
    if not math.isfinite(number):
        raise ValueError("Progress and total must be finite numbers.")
    return number
