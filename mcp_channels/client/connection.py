"""One WebSocket: opened, watched for silence, and why it ended."""

import asyncio
import inspect
import logging
import ssl
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import broadcast
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol

from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.errors import ConnectionFailed

__all__ = ["REVOKED", "Connection", "explain_close", "open_connection", "read_token"]

logger = logging.getLogger("mcp_channels.client")

TOO_LARGE: Final = 1009
# The server will not have who says it; 3000 and 3003 are the codes for 401 and 403.
REVOKED: Final = frozenset({1008, 3000, 3003})
# Or what was said.
_FINAL_CODES: Final = REVOKED | {1002, 1003, 1007, 1010}
# Not now; all others below 500 mean not at all.
_TRANSIENT_STATUSES: Final = frozenset({408, 425, 429})
# Seconds for the server to answer a close frame.
_CLOSE_TIMEOUT: Final = 2.0
_LONGEST_REASON: Final = 300  # characters
# A day. Whatever asks for more, even in thousands of digits, asks for never.
_LONGEST_WAIT: Final = 86_400.0


class Connection(ClientConnection):
    """
    A connection of websockets that is written to without waiting.

    `can_send` tells when to write, and `on_writable` is called when to try again.
    `token` is the one it was opened with, and `secrets` is what the server was told and
    nobody else is.
    """

    on_writable: Callable[[], None] | None = None
    token: str | None = None
    secrets: Sequence[str] = ()
    _is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.heard_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._is_full = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self._is_full = False
        if self.on_writable is not None:
            self.on_writable()

    @property
    def can_send(self) -> bool:
        """Whether a frame would leave: it is open, and the network takes more."""
        # One that broke while it was written to is closed a little later only.
        is_open = self.state is State.OPEN and not self.transport.is_closing()
        return is_open and not self._is_full

    def send_frame(self, frame: str) -> None:
        """Send a text frame, without waiting. Only where `can_send` says so."""
        broadcast([self], frame)

    async def watch(self, interval: float, timeout: float | None) -> None:
        """
        Ping a server that is silent, and drop the connection when it stays silent.

        That is after `interval` seconds, and after `timeout` more; None: never. All
        that arrives is a sign of life, so that a long message does not count as
        silence; nor does it when nothing is read because nobody takes it.
        """
        while True:
            heard_at = self.heard_at
            await asyncio.sleep(heard_at + interval - self.loop.time())
            if not self.transport.is_reading():
                self.heard_at = self.loop.time()
            if self.heard_at > heard_at:
                continue
            deadline = None if timeout is None else heard_at + interval + timeout
            try:
                async with asyncio.timeout_at(deadline):
                    await (await self.ping())
            except TimeoutError:
                if self.heard_at == heard_at and self.transport.is_reading():
                    logger.warning("The server is silent; the connection is dropped")
                    self.transport.abort()
                    return


class _Connect(connect):
    """A connect() that takes no credential along when it is sent elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        url = super().process_redirect(exc)
        if isinstance(url, str) and _find_origin(url) != _find_origin(self.uri):
            # Not all releases of websockets leave credentials behind, and none knows
            # which headers are.
            self.additional_headers = None
        return url


def _find_origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


class _Discreet(logging.LoggerAdapter[logging.Logger]):
    """A logger that is never asked to tell headers and messages, as for DEBUG."""

    def __init__(self) -> None:
        super().__init__(logger, {})

    def isEnabledFor(self, level: int) -> bool:
        return level > logging.DEBUG and super().isEnabledFor(level)


async def open_connection(config: WebSocketConfig) -> Connection:
    """
    Connect, with the token of now.

    Raise ConnectionFailed when that does not succeed, and what the token's function
    raises.
    """
    headers = dict(config.headers)
    secrets = [value for value in headers.values() if value]
    token = await read_token(config)
    if token is not None:
        secrets.append(token)
        headers["Authorization"] = f"Bearer {token}"
    options: dict[str, Any] = {} if config.ssl is None else {"ssl": config.ssl}
    try:
        connection = await _Connect(
            config.url,
            additional_headers=headers,
            subprotocols=[Subprotocol("mcp")],
            # It costs the server more than it saves, and lets who can watch the length
            # of frames guess at secrets in them.
            compression=None,
            proxy=config.proxy,
            open_timeout=config.open_timeout,
            # Connection.watch() does that.
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT,
            max_size=config.max_message_size,
            logger=_Discreet(),
            create_connection=Connection,
            **options,
        )
    except (OSError, InvalidHandshake, InvalidProxy, InvalidURI, ImportError) as exc:
        # What it was caused by may hold the URL, or the proxy's password.
        raise _explain(exc, config, secrets) from None
    assert isinstance(connection, Connection)
    connection.token, connection.secrets = token, secrets
    return connection


async def read_token(config: WebSocketConfig) -> str | None:
    """
    Return the token of now; None when none is wanted.

    Raise ConnectionFailed when it is none, and what its function raises.
    """
    token = config.token() if callable(config.token) else config.token
    if inspect.isawaitable(token):
        async with asyncio.timeout(config.open_timeout):
            token = await token
    if token is not None and (
        not token.isascii() or not token.isprintable() or " " in token
    ):
        reason = "The token is no token: it has characters that no header can hold"
        raise ConnectionFailed(reason, is_final=True)
    return token


def explain_close(exc: ConnectionClosed, secrets: Sequence[str]) -> ConnectionFailed:
    """Say why a connection ended."""
    # Whoever did not close it only repeats the code.
    is_theirs = exc.sent is None or exc.rcvd_then_sent is True
    close = exc.rcvd if is_theirs else exc.sent
    if close is None:
        return ConnectionFailed("The connection was lost", code=1006)
    reason = f"The {'server' if is_theirs else 'client'} closed it with {close.code}"
    return ConnectionFailed(
        _quote(reason, close.reason, secrets),
        is_final=is_theirs and close.code in _FINAL_CODES,
        code=close.code,
    )


def _quote(reason: str, said: str, secrets: Sequence[str]) -> str:
    """Add to a reason what the server said, unless it is no text for people."""
    for secret in sorted(secrets, key=len, reverse=True):
        said = said.replace(secret, "***")
    said = said.strip()
    return f"{reason}: {said}" if said and said.isprintable() else reason


def _explain(
    exc: Exception, config: WebSocketConfig, secrets: Sequence[str]
) -> ConnectionFailed:
    """Say why there is no connection."""
    address = config.address
    match exc:
        case TimeoutError():
            within = f"within {config.open_timeout:g} s" if config.open_timeout else ""
            return ConnectionFailed(f"{address} did not answer {within}".rstrip())
        case ssl.SSLCertVerificationError():
            reason = f"{address} is not trusted: {exc.verify_message}"
            return ConnectionFailed(reason, is_final=True)
        case OSError():
            return ConnectionFailed(f"{address} cannot be reached: {exc}")
        case InvalidStatus(response=response):
            return _explain_refusal(address, response, secrets)
        case InvalidProxyStatus(response=response):
            return _explain_refusal("The proxy", response, secrets)
        case InvalidProxy():
            return ConnectionFailed("The proxy's URL is not valid", is_final=True)
        case ProxyError():
            return ConnectionFailed(f"The proxy failed: {exc}")
        case InvalidMessage():
            return ConnectionFailed(f"{address} did not answer in HTTP")
        case InvalidURI():
            reason = f"{address} redirects to what is no WebSocket URL"
            return ConnectionFailed(reason, is_final=True)
        case _:
            return ConnectionFailed(f"{address}: {exc}", is_final=True)


def _explain_refusal(
    who: str, response: Response, secrets: Sequence[str]
) -> ConnectionFailed:
    status = response.status_code
    try:
        reason = f"{who} refused: HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        reason = f"{who} refused: HTTP {status}"
    if response.headers.get("Content-Type", "").startswith("text/plain"):
        said = (response.body or b"").decode(errors="replace")
        reason = _quote(reason, said, secrets)[:_LONGEST_REASON]
    return ConnectionFailed(
        reason,
        is_final=status < 500 and status not in _TRANSIENT_STATUSES,
        status=status,
        retry_after=_read_retry_after(response.headers.get("Retry-After")),
    )


def _read_retry_after(text: str | None) -> float:
    """Return how many seconds to wait; 0 when it does not say. RFC 9110, 10.2.3."""
    if text is None:
        return 0.0
    if text.strip().isdecimal():
        # float() takes any number of digits, and makes it infinite.
        return min(float(text), _LONGEST_WAIT)
    # Imported here, since hardly anybody sends a date.
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT)
