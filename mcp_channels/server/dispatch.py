"""
One connection's requests as tasks.

The reader never waits for a handler: receive() starts a task for each request and is
free for the next frame. Whoever puts a frame into the outbox drains it, unless somebody
is at it.
"""

import asyncio
import logging
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct

from mcp_channels.protocol.connection import Cancelled, Closing, Limits, Request
from mcp_channels.protocol.errors import (
    InternalError,
    InvalidRequest,
    ProtocolError,
)
from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.server import ServerConnection, ServerDescription
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.concurrency import Workers
from mcp_channels.server.context import Context
from mcp_channels.server.permissions import Identity
from mcp_channels.server.tools import call_tool, list_tools

__all__ = ["HANDLERS", "Dispatcher"]

logger = logging.getLogger("mcp_channels")

Handler = Callable[[Context, Any], Awaitable[Struct | SharedResult]]

HANDLERS: Final[Mapping[str, Handler]] = {
    "tools/list": list_tools,
    "tools/call": call_tool,
}

# Reports of one connection that wait for the event loop. A thread may make them faster
# than the loop can take them; progress and logs may be lost, memory may not.
_MOST_POSTED: Final = 1_000

# Seconds that a peer gets to read what is due before its connection is closed, and that
# cancelled requests get to clean up when it is gone.
_CLOSING_GRACE: Final = 1.0

# A task needs a strong reference until it is done, also when its connection is gone.
_LEFT_BEHIND: Final = set[asyncio.Task[None]]()

# Where a task can start at once, a handler that never waits costs no task switch.
_START: Final[dict[str, Any]] = (
    {"eager_start": True} if sys.version_info >= (3, 12) else {}
)


class Dispatcher:
    """
    Answer the requests of one connection.

    `send` and `close` write to the channel; `call_timeout` is in seconds, None for
    none; `max_in_flight` counts the requests that are worked on, also cancelled ones
    whose thread has not ended. Make it in the event loop that it is to live in.
    """

    def __init__(
        self,
        *,
        description: ServerDescription,
        limits: Limits,
        identity: Identity,
        catalogue: Catalogue,
        workers: Workers,
        send: Callable[[str], Awaitable[None]],
        close: Callable[[int, str], Awaitable[None]],
        call_timeout: float | None,
        max_in_flight: int | None,
    ) -> None:
        self.connection = ServerConnection(description, limits)
        self.identity = identity
        self.catalogue = catalogue
        self.workers = workers
        self._send = send
        self._close = close
        self._call_timeout = call_timeout
        self._max_in_flight = max_in_flight
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        # The requests that are worked on, each with its one task; with none while that
        # starts. The loop keeps only weak references.
        self._tasks: dict[Request, list[asyncio.Task[None]]] = {}
        self._deadlines: dict[Request, tuple[float, Struct]] = {}
        self._timer: asyncio.TimerHandle | None = None  # for the first of them
        self._drainer: asyncio.Task[Any] | None = None  # who sends at the moment
        self._finisher: asyncio.Task[None] | None = None
        self._is_closing = False
        self._posted: deque[tuple[Callable[..., bool], tuple[Any, ...]]] = deque(
            maxlen=_MOST_POSTED
        )
        self._posting = threading.Lock()
        self._is_posted = False

    def receive(self, text: str) -> None:
        """Take one text frame. Never raises for what is in it, and never waits."""
        if self._is_closing:
            return
        for event in self.connection.receive(text):
            if isinstance(event, Request):
                self._start(event)
            elif isinstance(event, Cancelled):
                self._deadlines.pop(event.request, None)
                self._stop(event.request)
        self._wake()

    def close(self, code: int, reason: str) -> None:
        """Close the channel with a WebSocket close code, after what is due."""
        self.connection.close(code, reason)
        self._wake()

    @property
    def is_busy(self) -> bool:
        """Whether any request is worked on."""
        return bool(self._tasks)

    async def shut(self) -> None:
        """Stop everything, because the channel is gone."""
        self._is_closing = True
        self.connection.abandon()
        if self._timer is not None:
            self._timer.cancel()
        left = {task for tasks in self._tasks.values() for task in tasks}
        for request in list(self._tasks):
            self._stop(request)
        for task in filter(None, (self._drainer, self._finisher)):
            task.cancel()
            left.add(task)
        for task in left:
            _LEFT_BEHIND.add(task)
            task.add_done_callback(_LEFT_BEHIND.discard)
        if left:
            await asyncio.wait(left, timeout=_CLOSING_GRACE)

    # What a request may ask of its session

    def post(self, send: Callable[..., bool], *arguments: Any) -> None:
        """Call `send` in the event loop, soon, from any thread. When a thread does so
        faster than the loop can take it, the oldest are lost."""
        if threading.get_ident() == self._thread:
            send(*arguments)
            self._wake()
            return
        with self._posting:
            self._posted.append((send, arguments))
            if self._is_posted:
                return
            self._is_posted = True
        try:
            self.loop.call_soon_threadsafe(self._send_posted)
        except RuntimeError:
            # The loop is gone, and with it everybody who could be told.
            logger.debug("Report after the event loop was closed")

    def expire_after(
        self, seconds: float | None, request: Request, answer: Struct
    ) -> None:
        """Answer `request` with `answer` and stop it, unless it ends within `seconds`;
        None for the time that calls have in general."""
        if seconds is None:
            seconds = self._call_timeout
        if seconds is not None:
            deadline = self.loop.time() + seconds
            self._deadlines[request] = deadline, answer
            # One timer serves all requests: a timer each would cost more than a call.
            if self._timer is None or deadline < self._timer.when():
                self._set_timer(deadline)

    # Requests

    def _start(self, request: Request) -> None:
        if not self.connection.is_open(request):
            # The batch that brought it has cancelled it, too.
            return
        limit = self._max_in_flight
        if limit is not None and len(self._tasks) >= limit:
            self.connection.send_error(
                request,
                InvalidRequest(
                    f"Too many requests in flight: wait for one of {limit} to end"
                ),
            )
            return
        tasks: list[asyncio.Task[None]] = []
        self._tasks[request] = tasks
        tasks.append(self._start_task(self._run(request)))

    async def _run(self, request: Request) -> None:
        connection = self.connection
        try:
            handler = HANDLERS[request.method]
            result = await handler(Context(request, self), request.params)
            connection.send_result(request, result)
        except ProtocolError as exc:
            connection.send_error(request, exc)
        except (Exception, SystemExit):
            # Its text may hold anything; the peer learns that it failed.
            logger.exception("%s failed", request.method)
            connection.send_error(request, InternalError())
        except BaseException:
            # Cancelled: if it is still open, by nobody but the handler itself.
            connection.send_error(request, InternalError())
            self._wake()
            raise
        finally:
            self._tasks.pop(request, None)
            self._deadlines.pop(request, None)
        if connection.closing is None:
            await self._drain()
        else:
            self._wake()

    def _stop(self, request: Request) -> None:
        for task in self._tasks.get(request, ()):
            # It may not have begun, and then never does.
            task.add_done_callback(lambda _: self._tasks.pop(request, None))
            task.cancel()

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Stop the requests whose time is over."""
        self._timer = None
        now = self.loop.time()
        for request, (deadline, answer) in list(self._deadlines.items()):
            if deadline <= now:
                del self._deadlines[request]
                logger.warning("%s did not finish in time", request.method)
                self.connection.send_result(request, answer)
                self._stop(request)
        if self._deadlines:
            self._set_timer(min(deadline for deadline, _ in self._deadlines.values()))
        self._wake()

    def _send_posted(self) -> None:
        with self._posting:
            posted = list(self._posted)
            self._posted.clear()
            self._is_posted = False
        for send, arguments in posted:
            send(*arguments)
        self._wake()

    # The outbox

    def _wake(self) -> None:
        """See to it that the outbox is drained, without waiting for it."""
        closing = self.connection.closing
        if closing is not None:
            if not self._is_closing:
                self._is_closing = True
                self._finisher = self._start_task(self._finish(closing))
        elif self.connection.has_frames and self._drainer is None:
            self._start_task(self._drain())

    def _start_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.Task(coroutine, loop=self.loop, **_START)

    async def _drain(self) -> None:
        """Send what is in the outbox, unless somebody is at it already."""
        if self._drainer is not None:
            return
        self._drainer = asyncio.current_task()
        try:
            while (frame := self.connection.next_frame()) is not None:
                await self._send(frame)
        except Exception as exc:
            # Servers differ in what they raise when the socket is gone; that it is
            # gone they also say by disconnecting.
            logger.debug("Frame not sent: %r", exc)
            self.connection.abandon()
        finally:
            self._drainer = None

    async def _finish(self, closing: Closing) -> None:
        """Close the channel, after what is due if the peer takes it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_GRACE):
                if self._drainer is not None:
                    await asyncio.wait({self._drainer})
                await self._drain()
        try:
            await self._close(closing.code, closing.reason)
        except Exception as exc:
            logger.debug("Channel not closed: %r", exc)
