"""What functions say meanwhile, such as progress, from whatever thread they run in."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Reports"]

logger = logging.getLogger("mcp_channels")

# Reports of one connection that wait for the event loop. A thread may make them faster
# than the loop can take them; progress and logs may be lost, memory may not.
_MOST_POSTED: Final = 1_000


class Reports:
    """The way of reports into the event loop that this is made in; `wake` is called
    there after some were sent."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._posted: deque[tuple[Callable[..., bool], tuple[Any, ...]]] = deque(
            maxlen=_MOST_POSTED
        )
        self._posting = threading.Lock()
        self._is_posted = False

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
            self._loop.call_soon_threadsafe(self._send)
        except RuntimeError:
            # The loop is gone, and with it everybody who could be told.
            logger.debug("Report after the event loop was closed")

    def _send(self) -> None:
        with self._posting:
            posted = list(self._posted)
            self._posted.clear()
            self._is_posted = False
        for send, arguments in posted:
            send(*arguments)
        self._wake()
