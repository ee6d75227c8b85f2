"""Tools for clients to try."""

import asyncio
import threading
import time
from typing import Literal

import msgspec

from mcp_channels import Context, ToolError, tool

GUESTS = 8

_cancelled = 0
_table = threading.Barrier(GUESTS)


class Forecast(msgspec.Struct):
    city: str
    degrees: float


@tool(read_only=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(read_only=True)
async def forecast(city: str, scale: Literal["C", "F"] = "C") -> Forecast:
    """Say how warm it will be."""
    return Forecast(city, 21.5 if scale == "C" else 70.7)


@tool(read_only=True)
async def count(context: Context, to: int) -> str:
    """Count, telling how far."""
    for number in range(1, to + 1):
        context.progress(number, to, f"{number} of {to}")
        await asyncio.sleep(0)
    return "counted"


@tool(read_only=True)
async def wait() -> None:
    """Wait until cancelled."""
    global _cancelled
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        _cancelled += 1
        raise


@tool(read_only=True)
async def count_cancelled() -> int:
    """Count the calls of wait that were cancelled."""
    return _cancelled


@tool(read_only=True)
def nap() -> str:
    """Sleep for 100 ms, and wake up when all guests have."""
    time.sleep(0.1)
    _table.wait(10)
    return "rested"


@tool(read_only=True)
async def repeat(text: str, times: int) -> str:
    """Repeat a text."""
    return text * times


@tool(read_only=True)
async def refuse() -> None:
    """Refuse, and say why."""
    raise ToolError("The shop is closed.")


@tool(read_only=True)
async def fail() -> None:
    """Fail, for a reason that is nobody's business."""
    raise RuntimeError("a secret of the site")
