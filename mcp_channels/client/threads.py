"""Waiting for what only a thread can wait for: pipes and terminals."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any, ParamSpec, TypeVar

__all__ = ["run_in_daemon"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


async def run_in_daemon(
    function: Callable[_Parameters, _Result],
    *arguments: _Parameters.args,
    **keywords: _Parameters.kwargs,
) -> _Result:
    """
    Run a function that may block in a thread of its own.

    Cancelled, it leaves the thread to itself, and neither does the end of the program
    wait for it: nobody can stop one that reads from a pipe on which nothing comes.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def settle(set: Callable[[Any], None], value: object) -> None:
        if not future.done():
            set(value)

    def run() -> None:
        try:
            result = function(*arguments, **keywords)
        except Exception as exc:
            outcome: tuple[Callable[[Any], None], object] = future.set_exception, exc
        else:
            outcome = future.set_result, result
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, *outcome)

    Thread(target=run, daemon=True).start()
    return await future
