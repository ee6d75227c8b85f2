"""
Frames in, frames out, over one connection after the other.

What a client of any kind stands on: it sends and receives text frames, and a Channel
connects, connects again, and lets a Conversation say again what must be said.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Final

from websockets.exceptions import ConnectionClosed

from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.connection import (
    REVOKED,
    Connection,
    explain_close,
    open_connection,
    read_token,
)
from mcp_channels.client.conversation import Conversation
from mcp_channels.client.errors import ConnectionFailed

__all__ = ["Channel"]

logger = logging.getLogger("mcp_channels.client")

_TOO_LARGE: Final = 1009  # the close code of RFC 6455
# What may wait on either side before the other is made to wait: enough to keep both
# busy, and little enough to not be noticed.
_MOST_CHARACTERS: Final = 1024 * 1024
_MOST_FRAMES: Final = 16


class Channel:
    """
    A connection that comes back.

    Call open() first, and close() last, even when open() fails. When receive() gives
    None it has ended, and `failure` says why, unless the client did; all that was asked
    has got an answer.

    `insists` makes the first connection like any other: it is tried again, while frames
    wait. `tells_lists` is explained at Conversation.
    """

    def __init__(
        self,
        config: WebSocketConfig,
        *,
        tells_lists: bool = False,
        insists: bool = False,
    ) -> None:
        self.config = config
        self.failure: ConnectionFailed | None = None
        self.conversation = Conversation(tells_lists=tells_lists)
        self._insists = insists
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_finished = False
        self._attempts = 0  # in a row, that were of no use
        self._news = asyncio.Event()  # there may be something to receive
        self._is_taken = asyncio.Event()  # something was received
        self._is_sent = asyncio.Event()  # something was sent

    async def open(self) -> None:
        """
        Connect.

        Raise ConnectionFailed when that does not succeed, unless it insists, and what
        the token's function raises.
        """
        connection = None if self._insists else await open_connection(self.config)
        self._task = asyncio.get_running_loop().create_task(self._run(connection))
        # A task that is cancelled before it began never begins: nobody would close the
        # connection.
        await asyncio.sleep(0)

    async def close(self) -> None:
        """End the connection, in good order if the server answers soon."""
        if self._task is not None:
            self._task.cancel()
            try:
                await asyncio.wait({self._task})
            finally:
                # Who was cancelled while closing closes without the good order.
                self._task.cancel()

    async def send(self, frame: str) -> None:
        """
        Take a frame, to be sent as soon as may be.

        It waits only while too much waits already. Raise ConnectionFailed when the
        channel has ended.
        """
        if self.failure is not None:
            raise self.failure
        timeout = self.config.request_timeout
        if timeout is None:
            self.conversation.send(frame)
        else:
            now = asyncio.get_running_loop().time()
            self.conversation.send(frame, now + timeout)
            self._set_timer()
        self._news.set()  # it may be answered already
        self._flush()
        while self.conversation.outgoing > _MOST_CHARACTERS and self.failure is None:
            self._is_sent.clear()
            await self._is_sent.wait()

    async def receive(self) -> str | None:
        """Wait for a frame; None when there is none any more. For one reader."""
        inbox = self.conversation.inbox
        while (frame := inbox.take()) is None and not self._is_over:
            self._news.clear()
            await self._news.wait()
        self._is_taken.set()
        return frame

    def finish(self) -> None:
        """Send nothing more: receive() gives None once all is answered."""
        self._is_finished = True
        self._news.set()

    @property
    def _is_over(self) -> bool:
        return self.failure is not None or (
            self._is_finished and not self.conversation.is_waiting
        )

    def _flush(self) -> None:
        """Send what can be sent now. It never waits, so nobody can interrupt it."""
        connection, conversation = self._connection, self.conversation
        while (
            connection is not None
            and connection.can_send
            and (frame := conversation.next_frame()) is not None
        ):
            connection.send_frame(frame)
        self._is_sent.set()

    def _set_timer(self) -> None:
        deadline = self.conversation.next_deadline if self._timer is None else None
        if deadline is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.conversation.expire(asyncio.get_running_loop().time())
        self._news.set()
        self._flush()
        self._set_timer()

    async def _run(self, connection: Connection | None) -> None:
        """Serve one connection after the other, until one is the last."""
        loop = asyncio.get_running_loop()
        failure: ConnectionFailed | None = None
        try:
            while True:
                if connection is None:
                    connection = await self._connect(failure)
                began, answers = loop.time(), self.conversation.answers
                failure = await self._serve(connection)
                self._call(self.config.on_disconnected, failure)
                is_final = failure.is_final and not (
                    failure.code in REVOKED and await self._has_other_token(connection)
                )
                if is_final or not self.config.auto_reconnect:
                    raise failure
                connection = None
                # One that is accepted and dropped at once is a failed attempt, too.
                if (
                    self.conversation.answers > answers
                    or loop.time() - began > self.config.max_reconnect_delay
                ):
                    self._attempts = 0
        except ConnectionFailed as exc:
            self._end(exc)
        except Exception:
            logger.exception("The client failed")
            self._end(ConnectionFailed("The client failed", is_final=True))
        finally:
            self._end(ConnectionFailed("The client was closed", is_final=True))

    def _end(self, failure: ConnectionFailed) -> None:
        if self.failure is None:
            self.failure = failure
            self.conversation.give_up(failure.reason)
            self._news.set()
            self._is_sent.set()
            if self._timer is not None:
                self._timer.cancel()

    async def _connect(self, failure: ConnectionFailed | None) -> Connection:
        """Connect, after a while if there was a failure. Raise ConnectionFailed when
        that is hopeless, or was tried too often."""
        config = self.config
        while True:
            if failure is not None:
                await self._pause(failure)
            try:
                return await open_connection(config)
            except ConnectionFailed as exc:
                if exc.is_final:
                    raise
                failure = exc
            except Exception as exc:
                # Of the token's function, which may need the network, too. Its text may
                # hold what it must not.
                logger.warning("There is no token: %s", type(exc).__name__)
                failure = ConnectionFailed("There is no token")

    async def _has_other_token(self, connection: Connection) -> bool:
        """Tell whether the token was renewed, so that another try is another one."""
        if not callable(self.config.token):
            return False
        try:
            return await read_token(self.config) != connection.token
        except Exception:
            return False

    async def _pause(self, failure: ConnectionFailed) -> None:
        config = self.config
        most = config.max_reconnect_attempts
        if most is not None and self._attempts >= most:
            raise ConnectionFailed(
                f"Given up after {most} attempts: {failure.reason}",
                is_final=True,
                status=failure.status,
                code=failure.code,
            )
        # Drawn from all of the time, so that the clients of a server that was restarted
        # do not come back together.
        longest = config.reconnect_delay * 2.0 ** min(self._attempts, 100)
        delay = random.uniform(0, min(longest, config.max_reconnect_delay))
        delay += failure.retry_after
        self._attempts += 1
        logger.info("%s; attempt %d in %.1f s", failure.reason, self._attempts, delay)
        self._call(config.on_reconnecting, self._attempts, delay)
        await asyncio.sleep(delay)

    async def _serve(self, connection: Connection) -> ConnectionFailed:
        """Use a connection until it is gone, and return why it is."""
        config, conversation = self.config, self.conversation
        loop = asyncio.get_running_loop()
        watching = timer = None
        if config.ping_interval is not None:
            watch = connection.watch(config.ping_interval, config.ping_timeout)
            watching = loop.create_task(watch)
        if config.open_timeout is not None:
            drop = self._drop_unless_ready
            timer = loop.call_later(config.open_timeout, drop, connection)
        connection.on_writable = self._flush
        self._connection = connection
        try:
            conversation.opened()
            logger.info("Connected to %s", config.address)
            self._call(config.on_connected)
            while conversation.failure is None:
                self._news.set()
                self._flush()
                await self._wait_until_taken()
                conversation.receive(await connection.recv(decode=True))
            failure = ConnectionFailed(conversation.failure, is_final=True)
        except ConnectionClosed as exc:
            failure = explain_close(exc, connection.secrets)
        finally:
            self._connection = None
            if timer is not None:
                timer.cancel()
            try:
                if watching is not None:
                    watching.cancel()
                    await asyncio.wait({watching})
                await connection.close()
            finally:
                connection.transport.abort()
        is_too_large = failure.code == _TOO_LARGE
        conversation.lost(failure.reason, is_too_large=is_too_large)
        self._news.set()
        return failure

    async def _wait_until_taken(self) -> None:
        """Wait while the client has enough to read."""
        inbox = self.conversation.inbox
        while len(inbox) > _MOST_FRAMES or inbox.characters > _MOST_CHARACTERS:
            self._is_taken.clear()
            await self._is_taken.wait()

    def _drop_unless_ready(self, connection: Connection) -> None:
        if not self.conversation.is_ready:
            logger.warning("The server does not shake hands; the connection is dropped")
            connection.transport.abort()

    def _call(self, hook: Callable[..., object] | None, *arguments: Any) -> None:
        if hook is not None:
            try:
                hook(*arguments)
            except Exception:
                logger.exception("A hook failed")
