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
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from concurrent import futures
from contextlib import suppress
from typing import Any, Final, TypeVar

from msgspec import Struct

from mcp_channels.protocol.connection import (
    Cancelled,
    Closing,
    Limits,
    Request,
    Response,
)
from mcp_channels.protocol.description import ServerDescription
from mcp_channels.protocol.errors import (
    InternalError,
    InvalidRequest,
    ProtocolError,
)
from mcp_channels.protocol.messages import RequestId
from mcp_channels.protocol.methods import RequestParams
from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.server import ServerConnection
from mcp_channels.protocol.versions import Era
from mcp_channels.server.access import Access, Renew, check_visible
from mcp_channels.server.audience import Audience
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.completion import complete
from mcp_channels.server.concurrency import Workers
from mcp_channels.server.context import Context
from mcp_channels.server.events import AccessChanged, Change, Kind
from mcp_channels.server.interaction import ClientRefused, InputRequired
from mcp_channels.server.permissions import Identity
from mcp_channels.server.prompts import get_prompt, list_prompts
from mcp_channels.server.reports import Reports
from mcp_channels.server.resources import (
    list_resource_templates,
    list_resources,
    read_resource,
)
from mcp_channels.server.subscriptions import (
    Subscriptions,
    listen,
    subscribe,
    unsubscribe,
)
from mcp_channels.server.tools import call_tool, list_tools

__all__ = ["HANDLERS", "Dispatcher"]

logger = logging.getLogger("mcp_channels")

T = TypeVar("T")

Handler = Callable[[Context, Any], Awaitable[Struct | SharedResult]]

HANDLERS: Final[Mapping[str, Handler]] = {
    "completion/complete": complete,
    "prompts/get": get_prompt,
    "prompts/list": list_prompts,
    "resources/list": list_resources,
    "resources/read": read_resource,
    "resources/subscribe": subscribe,
    "resources/templates/list": list_resource_templates,
    "resources/unsubscribe": unsubscribe,
    "subscriptions/listen": listen,
    "tools/call": call_tool,
    "tools/list": list_tools,
}

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

    `id` names the connection to the site; `send` and `close` write to the channel;
    `call_timeout` is in seconds, None for none; `max_in_flight` counts the requests
    that are worked on, also cancelled ones whose thread has not ended. Make it in the
    event loop of its audience.
    """

    def __init__(
        self,
        *,
        id: str,
        audience: Audience,
        description: ServerDescription,
        limits: Limits,
        identity: Identity,
        catalogue: Catalogue,
        renew: Renew,
        workers: Workers,
        send: Callable[[str], Awaitable[None]],
        close: Callable[[int, str], Awaitable[None]],
        call_timeout: float | None,
        interaction_timeout: float | None,
        max_in_flight: int | None,
        max_subscriptions: int | None,
    ) -> None:
        self.id = id
        self.audience = audience
        self.connection = ServerConnection(description, limits)
        self.workers = workers
        self._send = send
        self._close = close
        self._call_timeout = call_timeout
        self._interaction_timeout = interaction_timeout
        self._max_in_flight = max_in_flight
        self.subscriptions = Subscriptions(self, limit=max_subscriptions)
        # Answers that requests wait for, by the id of the question.
        self._questions: dict[RequestId, tuple[Request, asyncio.Future[Response]]] = {}
        self._initialized = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.access = Access(self, identity, catalogue, renew)
        self._thread = threading.get_ident()
        self._reports = Reports(self.wake)
        # The requests that are worked on, each with its one task; with none while that
        # starts. The loop keeps only weak references.
        self._tasks: dict[Request, list[asyncio.Task[None]]] = {}
        self._chores = set[asyncio.Task[None]]()
        self._deadlines: dict[Request, tuple[float, Struct | ProtocolError]] = {}
        self._timer: asyncio.TimerHandle | None = None  # for the first of them
        self._drainer: asyncio.Task[Any] | None = None  # who sends at the moment
        self._finisher: asyncio.Task[None] | None = None
        self._is_closing = False

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
            elif isinstance(event, Response):
                _, answer = self._questions.pop(event.id)
                if not answer.done():
                    answer.set_result(event)
            else:
                self._initialized.set()
                self.subscriptions.release()
        self.wake()

    def notify(self, event: Change) -> None:
        """Hear of what happened on the site. Call it in the event loop."""
        if self._is_closing:
            return
        if not isinstance(event, AccessChanged) or self.access.notify(event):
            self.subscriptions.notify(event)

    def look_again(self) -> None:
        """See to it that the catalogue is that of now, though nothing was heard."""
        if not self._is_closing:
            self.access.expect("everybody")
            self.subscriptions.notify(AccessChanged("everybody"))

    def revoke(self) -> None:
        """End the connection at once, because nobody may use it any more."""
        logger.info("Access of %s was revoked", self.identity.principal)
        # What is due is not sent any more, and what is at work is answered to nobody.
        self.connection.abandon()
        self.subscriptions.shut()
        for request in list(self._tasks):
            self._stop(request)
        if self._drainer is not None:
            self._drainer.cancel()
        self.close(1008, "Access was revoked")

    def close(self, code: int, reason: str) -> None:
        """Close the channel with a WebSocket close code, after what is due."""
        self.connection.close(code, reason)
        self.wake()

    @property
    def identity(self) -> Identity:
        """Who is behind the connection, as of now."""
        return self.access.identity

    @property
    def catalogue(self) -> Catalogue:
        """What that somebody sees, as of now."""
        return self.access.catalogue

    @property
    def is_busy(self) -> bool:
        """Whether any request is worked on."""
        return bool(self._tasks)

    async def shut(self) -> None:
        """Stop everything, because the channel is gone."""
        self._is_closing = True
        self.access.shut()
        self.subscriptions.shut()
        self.connection.abandon()
        for _, answer in self._questions.values():
            answer.cancel()
        if self._timer is not None:
            self._timer.cancel()
        left = {task for tasks in self._tasks.values() for task in tasks}
        for request in list(self._tasks):
            self._stop(request)
        for task in filter(None, (self._drainer, self._finisher, *self._chores)):
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
        self._reports.post(send, *arguments)

    def expire_after(
        self,
        seconds: float | None,
        request: Request,
        answer: Struct | ProtocolError,
    ) -> None:
        """Answer `request` with `answer` and stop it, unless it ends within `seconds`;
        None for the time that calls have in general."""
        if seconds is None:
            seconds = self._call_timeout
        if seconds is not None:
            self._set_deadline(request, self.loop.time() + seconds, answer)

    async def ask(
        self, request: Request, method: str, params: RequestParams
    ) -> Response:
        """
        Ask the client over the socket, on behalf of `request`, whose own time stands
        still meanwhile.

        Raise ClientRefused when no answer comes in the time for it.
        """
        deadline, asked = self._deadlines.pop(request, None), self.loop.time()
        try:
            async with asyncio.timeout(self._interaction_timeout):
                # "The server SHOULD NOT send requests other than pings" before.
                await self._initialized.wait()
                return await self._ask(request, method, params)
        except TimeoutError:
            raise ClientRefused("The client gave no answer in time.") from None
        finally:
            if deadline is not None and self.connection.is_open(request):
                waited = self.loop.time() - asked
                self._set_deadline(request, deadline[0] + waited, deadline[1])

    async def _ask(
        self, request: Request, method: str, params: RequestParams
    ) -> Response:
        if not self.connection.is_open(request):
            raise ClientRefused("The request is over.")
        id = self.connection.send_request(method, params)
        answer: asyncio.Future[Response] = self.loop.create_future()
        self._questions[id] = request, answer
        self.wake()
        try:
            return await answer
        finally:
            if self._questions.pop(id, None) is not None:
                self.connection.forget(id, "No answer is needed any more")
                self.wake()

    def wait_for(self, answer: Coroutine[Any, Any, T]) -> T:
        """Run `answer` in the event loop, from a thread, and return its result. Raise
        asyncio.CancelledError when the request is, and RuntimeError in the event loop,
        which would wait for itself."""
        if threading.get_ident() == self._thread:
            answer.close()
            raise RuntimeError(
                "An asynchronous function must use the method that begins with an a, "
                "such as await context.aelicit()."
            )
        try:
            return asyncio.run_coroutine_threadsafe(answer, self.loop).result()
        except futures.CancelledError:
            # The same as in asynchronous code: `except Exception` lets it through, so
            # that nothing is done for a client that no longer wants it.
            raise asyncio.CancelledError from None

    async def refresh(self) -> Collection[Kind]:
        """See to it that the catalogue is that of now; return the kinds of which it
        holds something else than before."""
        changed = await self.access.refresh()
        for request in list(self._tasks):
            try:
                check_visible(self.catalogue, request)
            except ProtocolError as exc:
                # What is hidden now is answered as if it had been hidden before.
                self.connection.send_error(request, exc)
                self._stop(request)
        return changed

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
            context = Context(request, self)
            if not self.access.is_current:
                self.expire_after(None, request, InternalError("Try again later"))
                await self.access.wait_until_current()
            if isinstance(getattr(request.params, "request_state", None), str):
                # A state that was tampered with is refused, even if nobody asks.
                context.interaction  # noqa: B018
            connection.send_result(request, await self._handle(handler, context))
        except ProtocolError as exc:
            connection.send_error(request, exc)
        except (Exception, SystemExit):
            # Its text may hold anything; the peer learns that it failed.
            logger.exception("%s failed", request.method)
            connection.send_error(request, InternalError())
        except BaseException:
            # Cancelled: if it is still open, by nobody but the handler itself.
            connection.send_error(request, InternalError())
            self.wake()
            raise
        finally:
            self._tasks.pop(request, None)
            self._deadlines.pop(request, None)
        if connection.closing is None:
            await self._drain()
        else:
            self.wake()

    async def _handle(self, handler: Handler, context: Context) -> Any:
        """Return the result; one that asks is for a modern client only."""
        request = context.request
        while True:
            try:
                return await handler(context, request.params)
            except InputRequired as exc:
                if request.revision.era is Era.MODERN:
                    return exc.result
                await context.interaction.ask_live(exc)

    def _stop(self, request: Request) -> None:
        for task in self._tasks.get(request, ()):
            # It may not have begun, and then never does.
            task.add_done_callback(lambda _: self._tasks.pop(request, None))
            task.cancel()
        for asker, answer in list(self._questions.values()):
            if asker is request:
                # Its thread, if it has one, waits for this.
                answer.cancel()

    def _set_deadline(
        self, request: Request, deadline: float, answer: Struct | ProtocolError
    ) -> None:
        self._deadlines[request] = deadline, answer
        # One timer serves all requests: a timer each would cost more than a call.
        if self._timer is None or deadline < self._timer.when():
            self._set_timer(deadline)

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
                if isinstance(answer, ProtocolError):
                    self.connection.send_error(request, answer)
                else:
                    self.connection.send_result(request, answer)
                self._stop(request)
        if self._deadlines:
            self._set_timer(min(deadline for deadline, _ in self._deadlines.values()))
        self.wake()

    # The outbox

    def wake(self) -> None:
        """See to it that the outbox is drained, or the channel closed, without waiting
        for it."""
        closing = self.connection.closing
        if closing is not None:
            if not self._is_closing:
                self._is_closing = True
                self._finisher = self._start_task(self._finish(closing))
        elif self.connection.has_frames and self._drainer is None:
            self._start_task(self._drain())

    def do(self, chore: Coroutine[Any, Any, None]) -> None:
        """Run `chore` beside the requests, until the channel is gone."""
        task = self._start_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

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
