"""
A worker's line to the others, over any channel layer.

It has a thread and an event loop of its own, so that a slow broker holds up nobody. A
channel layer is at most once and says little of its troubles, so whenever something is
wrong with it the hub begins again, with a new one, and says that everything may have
changed: whoever is told looks, and is up to date.
"""

import asyncio
import logging
import math
import random
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from mcp_channels.letters import Ledger, Letter, Outbox, decode_letter, encode_letter
from mcp_channels.server.events import Event, EverythingChanged

__all__ = ["Hub"]

logger = logging.getLogger("mcp_channels")

_GROUP: Final = "mcp_channels"

# Seconds for one operation of the channel layer.
_PATIENCE: Final = 10.0
# Seconds without any letter after which one is sent, to see whether it comes back, and
# how long that may take when the broker is quick.
_SILENCE: Final = 1.0
_ECHO: Final = 1.0
# Seconds after which a member is heard of in any case, whoever else is.
_SIGN_OF_LIFE: Final = 30.0
# Seconds after events until an empty letter says which number the last one had.
_POSTSCRIPT: Final = 1.0
# Seconds between two attempts: the first, the longest when there is no broker, the
# longest when there seems to be one, and how long one has to last to have been good.
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 0.5
_LONGEST_FLAPPING: Final = 30.0
_GOOD: Final = 10.0
# Seconds that a connection waits until it is sure to miss nothing, and that a process
# that ends gives its last events.
_WELCOME: Final = 1.0
_FAREWELL: Final = 2.0
# Seconds until whatever does not notice that it was cancelled is cancelled again.
_UNNOTICED: Final = 0.05


class Hub:
    """
    Send events to all other workers, or to one, and receive theirs.

    `worker` is the id of this one. `make_layer` returns a new channel layer, which is
    used in the hub's own event loop; `receive` takes an event of another worker, in the
    hub's thread. The thread starts at the first need. All methods may be called from
    any thread, and none waits but close().
    """

    def __init__(
        self,
        worker: str,
        make_layer: Callable[[], Any],
        receive: Callable[[Event], None],
    ) -> None:
        self.worker = worker
        # Another hub of this worker numbers its letters anew.
        self.outbox = Outbox(f"{worker}.{secrets.token_hex(4)}")
        self.is_wanted = False  # by connections, who want to hear what is sent to all
        self._asking = 0  # how many want to be reached meanwhile
        self._receive = receive
        self._make_layer = make_layer
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._line: _Line | None = None
        self._closing = threading.Event()
        self._ends = math.inf  # when the thread gives up, by the clock
        self._has_joined = self._is_away = False
        self._reached = Future[None]()
        self._settled = Future[None]()

    @property
    def is_closing(self) -> bool:
        """Whether close() was called."""
        return self._closing.is_set()

    @property
    def is_needed(self) -> bool:
        """Whether anybody is to be reached."""
        return (self.is_wanted or self._asking > 0) and not self.is_closing

    @property
    def is_listening(self) -> bool:
        """Whether what is sent to all is to be received."""
        return self.is_wanted and not self.is_closing

    def send(self, event: Event, *, to: str | None = None) -> None:
        """Send `event` to the worker of this id, or for None to all others. What is
        for all is sent when there is a broker again; what is for one may be lost."""
        self.outbox.put(event, to)
        self._nudge()

    def join(self) -> None:
        """Receive what is sent to all, until leave()."""
        self.is_wanted = True
        self._nudge()

    def leave(self) -> None:
        """Receive it no more."""
        self.is_wanted = False
        self._nudge()

    async def settle(self) -> None:
        """Wait until nothing is missed that is sent to all, or there is no broker; for
        a second at most. Whatever is missed then, everything is said to have changed
        when there is one."""
        settled = self._settled
        with suppress(TimeoutError):
            await _wait_for(settled, _WELCOME)
        self._settle(settled)

    @asynccontextmanager
    async def reached(self, seconds: float) -> AsyncIterator[None]:
        """Receive what is sent to this worker. Raise TimeoutError when that cannot be
        in so many seconds."""
        self._ask(1)
        try:
            await _wait_for(self._reached, seconds)
            yield
        finally:
            self._ask(-1)

    def _ask(self, more: int) -> None:
        with self._changing:
            self._asking += more
        self._nudge()

    def close(self) -> None:
        """End the thread, when it has sent what is due, unless that takes long."""
        self._ends = time.monotonic() + _FAREWELL
        self._closing.set()
        if self._thread is not None:
            self._nudge()
            self._thread.join(_FAREWELL)

    def _nudge(self) -> None:
        """Let the thread look at what there is to do."""
        with self._changing:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="mcp_channels hub", daemon=True
                )
                self._thread.start()
            line = self._line
        if line is not None:
            with suppress(RuntimeError):  # its loop was closed just now
                line.loop.call_soon_threadsafe(line.look)

    def _settle(self, settled: Future[None]) -> bool:
        """Let those who wait go on; False when somebody has gone on before."""
        with self._changing:
            if settled.done():
                return False
            settled.set_result(None)
            return True

    # In the thread

    def _run(self) -> None:
        delay = _FIRST_DELAY
        while time.monotonic() < self._ends and not self._is_done():
            self._has_joined, began = False, time.monotonic()
            try:
                with asyncio.Runner(loop_factory=_Loop) as runner:
                    runner.run(self._hold_line())
                return
            except Exception as exc:
                self._lose(exc)
            if time.monotonic() - began > _GOOD:
                delay = _FIRST_DELAY
            time.sleep(delay * random.uniform(0.5, 1))
            longest = _LONGEST_FLAPPING if self._has_joined else _LONGEST_DELAY
            delay = min(delay * 2, longest)

    def _is_done(self) -> bool:
        return self.is_closing and not self.outbox.has_letters

    async def _hold_line(self) -> None:
        line = _Line(self, self._make_layer())
        with self._changing:
            self._line = line
        try:
            await line.run()
        finally:
            with self._changing:
                self._line = None
            self.has_shut()

    def _lose(self, exc: BaseException) -> None:
        while isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]
        if not self._is_away:
            name = type(exc).__name__
            logger.warning("The channel layer does not work: %s: %s", name, exc)
        self._is_away = True
        if self.is_wanted:
            self._settle(self._settled)

    def has_joined(self) -> None:
        """Note that what is sent to all is received from now on."""
        if self._is_away:
            logger.warning("The channel layer works again")
        self._is_away, self._has_joined = False, True
        if not self._settle(self._settled):
            self.take(EverythingChanged())

    def has_left(self) -> None:
        """Note that it is received no more."""
        with self._changing:
            if not self.is_wanted:
                self._settled = Future()

    def has_opened(self) -> None:
        """Note that what is sent to this worker is received from now on."""
        self._reached.set_result(None)

    def has_shut(self) -> None:
        """Note that it is received no more."""
        self._reached = Future()

    def take(self, event: Event) -> None:
        """Hand an event on."""
        try:
            self._receive(event)
        except Exception:
            logger.exception("%s not taken", type(event).__name__)


class _Line:
    """One channel layer, for as long as all is well with it."""

    def __init__(self, hub: Hub, layer: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self._hub = hub
        self._layer = layer
        self._changed = asyncio.Event()
        self._sent = asyncio.Event()  # a letter to all
        self._took = 0.0  # seconds to send it
        self._heard = asyncio.Event()  # one, or that there is no need to
        self._ledger = Ledger()
        self._postscript: asyncio.TimerHandle | None = None
        self._is_over = False  # nothing more is to be written

    def look(self) -> None:
        """Look at what the hub wants now."""
        self._changed.set()
        if not self._hub.is_listening:
            self._heard.set()  # for nobody waits for it any more

    async def run(self) -> None:
        """Write and listen until the hub is closed. Raise whatever the layer does."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write())
            await self._listen()
            self._is_over = True
            self._changed.set()

    async def _until(self, is_true: Callable[[], bool]) -> None:
        """Wait until something is true that look() tells of."""
        while not is_true():
            self._changed.clear()
            await self._changed.wait()

    # Out

    async def _write(self) -> None:
        outbox = self._hub.outbox
        while True:
            await self._until(lambda: outbox.has_letters or self._is_over)
            found = outbox.take(is_member=self._hub.is_listening)
            if found is None:
                return
            to, letter = found
            group = _GROUP if to is None else f"{_GROUP}.{to}"
            began = self.loop.time()
            async with asyncio.timeout(_PATIENCE):
                await self._layer.group_send(group, encode_letter(letter))
            outbox.has_sent(letter)
            if letter.number:
                self._took = self.loop.time() - began
                self._sent.set()
                self._add_postscript(is_due=bool(letter.events))

    def _add_postscript(self, *, is_due: bool) -> None:
        """Let an empty letter follow soon: who did not get the last one learns of it by
        the number of the next, which may be far off."""
        if self._postscript is not None:
            self._postscript.cancel()
            self._postscript = None
        if is_due:
            self._postscript = self.loop.call_later(_POSTSCRIPT, self._sign)

    def _sign(self) -> None:
        self._hub.outbox.sign()
        self._changed.set()

    # In

    async def _listen(self) -> None:
        hub = self._hub
        while not hub.is_closing:
            await self._until(lambda: hub.is_needed or hub.is_closing)
            if hub.is_needed:
                await self._be_reached()

    async def _be_reached(self) -> None:
        """Receive what is sent to this worker, until nobody needs it."""
        hub, own = self._hub, f"{_GROUP}.{self._hub.worker}"
        async with asyncio.timeout(_PATIENCE):
            channel = await self._layer.new_channel(_GROUP)
            await self._layer.group_add(own, channel)
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._receive(channel))
            hub.has_opened()
            while hub.is_needed:
                await self._until(lambda: hub.is_listening or not hub.is_needed)
                if hub.is_listening:
                    await self._take_part(channel)
            hub.has_shut()
            async with asyncio.timeout(_PATIENCE):
                await self._layer.group_discard(own, channel)
            while not receiving.done():
                # Again and again: some layers do not always notice it.
                receiving.cancel()
                await asyncio.wait({receiving}, timeout=_UNNOTICED)

    async def _take_part(self, channel: str) -> None:
        """Receive what is sent to all, until nobody wants it."""
        hub, is_proved = self._hub, False
        self._ledger = Ledger()
        while hub.is_listening:
            async with asyncio.timeout(_PATIENCE):
                # Again and again: a membership expires.
                await self._layer.group_add(_GROUP, channel)
            await self._prove()
            if hub.is_listening and not is_proved:
                is_proved = True
                hub.has_joined()
            again_at = self.loop.time() + _SIGN_OF_LIFE * random.uniform(0.8, 1)
            while hub.is_listening and self.loop.time() < again_at:
                self._heard.clear()
                try:
                    # Not all at once: whoever is first spares it the others.
                    async with asyncio.timeout(_SILENCE * random.uniform(1, 1.5)):
                        await self._heard.wait()
                except TimeoutError:
                    await self._prove()
        async with asyncio.timeout(_PATIENCE):
            await self._layer.group_discard(_GROUP, channel)
        self._sign()
        hub.has_left()

    async def _prove(self) -> None:
        """Send a letter and see whether it comes back: nothing else proves that any
        comes. Raise TimeoutError when it does not."""
        self._sent.clear()
        self._heard.clear()
        self._sign()
        await self._sent.wait()
        async with asyncio.timeout(_ECHO + 2 * self._took):
            await self._heard.wait()

    async def _receive(self, channel: str) -> None:
        while True:
            message = await self._layer.receive(channel)
            try:
                letter = decode_letter(message)
            except ValueError as exc:
                logger.warning("Message on the channel layer refused: %s", exc)
                continue
            if letter is not None:
                self._take(letter)

    def _take(self, letter: Letter) -> None:
        is_new, is_lost = True, False
        if letter.number:
            self._heard.set()
            if letter.writer == self._hub.outbox.writer:
                return
            is_new, is_lost = self._ledger.admit(letter)
        if is_new:
            for event in letter.read():
                self._hub.take(event)
        if is_lost:
            logger.warning("A message was lost on the channel layer")
            self._hub.take(EverythingChanged())


class _Loop(asyncio.SelectorEventLoop):
    """Looks up the broker's name without a thread, which there may be none of when the
    interpreter ends. Nothing else waits here meanwhile."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        return socket.getaddrinfo(host, port, **options)


async def _wait_for(future: Future[None], seconds: float) -> None:
    # Shielded, as others wait for it.
    waiting = asyncio.shield(asyncio.wrap_future(future))
    async with asyncio.timeout(seconds):
        await waiting
