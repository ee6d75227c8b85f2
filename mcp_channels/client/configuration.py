"""Where to connect, as whom, and what to do when the connection drops."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from ssl import SSLContext
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from mcp_channels.client.errors import ConnectionFailed

__all__ = ["Token", "WebSocketConfig"]

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]

# The lowest value of each option; None, where it is allowed, is no limit.
_LOWEST: Final = {
    "reconnect_delay": 0,
    "max_reconnect_delay": 0,
    "max_reconnect_attempts": 0,
    "max_message_size": 1,
}
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_MORE_THAN_NOTHING: Final = (
    "open_timeout",
    "ping_interval",
    "ping_timeout",
    "request_timeout",
)


@dataclass(frozen=True, repr=False, eq=False)
class WebSocketConfig:
    """
    Everything that a client can set. Times are in seconds, sizes in bytes.

    Raise ValueError when something is wrong. What may hold a secret is never printed:
    neither the token, nor the headers, the proxy, and the query of the URL.
    """

    url: str  # ws:// or wss://
    _: KW_ONLY

    # Who connects
    token: Token | None = None  # sent as a bearer token; a function is called each time
    headers: Mapping[str, str] = field(default_factory=dict)

    # On which way
    ssl: SSLContext | None = None  # None: the system's authorities
    # None: none. True: that of the environment, as in HTTPS_PROXY.
    proxy: str | Literal[True] | None = True
    open_timeout: float | None = 10.0  # to connect, and to shake hands again

    # After a drop: delays are drawn between 0 and reconnect_delay, which doubles with
    # each attempt up to max_reconnect_delay.
    auto_reconnect: bool = True
    reconnect_delay: float = 0.5
    max_reconnect_delay: float = 30.0
    max_reconnect_attempts: int | None = 10  # in a row; None: for ever

    # How a silent connection is found out: pinged after ping_interval of silence, and
    # given up after ping_timeout more. None: never.
    ping_interval: float | None = 20.0
    ping_timeout: float | None = 20.0

    # Limits
    request_timeout: float | None = None  # for each answer, reconnecting included
    max_message_size: int | None = 16 * 1024 * 1024  # of what the server sends

    # Called in the event loop; they must not block.
    on_connected: Callable[[], object] | None = None
    on_disconnected: Callable[[ConnectionFailed], object] | None = None
    # With the number of the attempt, from 1, and the seconds until then.
    on_reconnecting: Callable[[int, float], object] | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_url = parts.scheme in ("ws", "wss") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            is_url = False
        if not is_url:
            # Not shown: it may hold a password.
            raise ValueError("url must be like 'wss://example.com/ws'.")
        if parts.fragment:
            raise ValueError("url must have no fragment: leave out what follows '#'.")
        if self.ssl is not None and parts.scheme == "ws":
            raise ValueError("ssl needs a wss:// url.")
        for name, value in self.headers.items():
            # Whatever ended the line would begin another header.
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"headers: {name!r} or its value is not allowed.")
        is_known = any(name.lower() == "authorization" for name in self.headers)
        if self.token is not None and (is_known or parts.username is not None):
            raise ValueError(
                "Give one credential: a token, an Authorization header, or a user in "
                "the url."
            )
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            if value is not None and not value >= lowest:  # NaN is neither
                raise ValueError(f"{name} must be at least {lowest}.")
        for name in _MORE_THAN_NOTHING:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be more than 0 seconds.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    @property
    def address(self) -> str:
        """The URL without what may be secret: a user, a password, a query."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"
