"""
Synchronous code beside an event loop: a bounded pool of threads, each leaving the
database clean.

A thread cannot be stopped. A cancelled call goes on unseen in its own, and so does the
task that waits for it: it still counts against the limits of its connection.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from typing import Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections, transaction

__all__ = ["Workers", "get_access_workers", "get_workers"]

T = TypeVar("T")

# Seconds between two looks at the connections of asynchronous code, which all share one
# thread: often enough that a restarted database is noticed, too rare to cost a call.
_HYGIENE_INTERVAL: Final = 1.0
# Threads that look up who somebody is: short queries, in a pool of their own, since
# access must not be kept because slow tools keep all the threads.
_ACCESS_THREADS: Final = 4


class Workers:
    """At most `threads` threads for the synchronous functions of a process."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="mcp")
        self._last_hygiene = -_HYGIENE_INTERVAL
        # The loop keeps only weak references to tasks.
        self._tasks = set[asyncio.Task[None]]()

    async def run(
        self, function: Callable[..., T], *args: Any, atomic: bool | None = False
    ) -> T:
        """
        Call `function` in a thread, in a copy of the current context.

        `atomic` True opens a transaction on the default database, None one on every
        database with ATOMIC_REQUESTS. When the caller is cancelled before a thread was
        free, the function is not called; after that, this goes on until it returns.
        """
        place = _Place(self._executor)
        executor: Any = place  # declared to be a ThreadPoolExecutor, used as any
        call = sync_to_async(_call, thread_sensitive=False, executor=executor)
        try:
            result: T = await call(function, args, atomic)
            return result
        except asyncio.CancelledError:
            # sync_to_async() waits no longer, whatever its thread is at.
            await place.leave()
            raise

    def clean_after_async(self) -> None:
        """
        Give back stale database connections of asynchronous code, if it is time.

        Call it from the event loop after a function that may have used the ORM.
        """
        now = time.monotonic()
        if now - self._last_hygiene >= _HYGIENE_INTERVAL:
            self._last_hygiene = now
            task = asyncio.create_task(sync_to_async(close_old_connections)())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class _Place(Executor):
    """One call's place in a pool."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._future: Future[Any] | None = None  # None before there is a call

    def submit(
        self, function: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> Future[T]:
        self._future = future = self._pool.submit(function, *args, **kwargs)
        return future

    async def leave(self) -> None:
        """Take the call out of the queue, or wait until it has ended."""
        if self._future is None or self._future.cancel():
            return
        ended = asyncio.wrap_future(self._future)
        while not ended.done():
            # It may be cancelled again, by a timeout or with its connection.
            with suppress(asyncio.CancelledError):
                await asyncio.wait({ended})
        ended.exception()  # nobody else looks at it


def _call(function: Callable[..., T], args: tuple[Any, ...], atomic: bool | None) -> T:
    close_old_connections()
    try:
        with ExitStack() as stack:
            for alias in _aliases(atomic):
                stack.enter_context(transaction.atomic(using=alias))
            return function(*args)
    except StopIteration as exc:
        # A future cannot hold it: whoever awaits it would wait for ever.
        raise RuntimeError("The function raised StopIteration") from exc
    finally:
        close_old_connections()


def _aliases(atomic: bool | None) -> list[str]:
    if atomic is None:
        return [
            alias
            for alias, database in connections.settings.items()
            if database["ATOMIC_REQUESTS"]
        ]
    return ["default"] if atomic else []


@cache
def get_workers(threads: int) -> Workers:
    """Return the pool of this process that has this size."""
    return Workers(threads)


@cache
def get_access_workers() -> Workers:
    """Return the pool of this process for what decides on access."""
    return Workers(_ACCESS_THREADS)
