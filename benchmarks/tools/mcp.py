"""The tools: trivial, so that what is measured is everything around them."""

import os
import time

from mcp_channels import registry, tool


@tool
async def echo(text: str) -> str:
    """Return the text."""
    return text


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def pause() -> str:
    """Sleep for 100 ms in synchronous code."""
    time.sleep(0.1)
    return "done"


def filler(text: str, count: int = 1) -> str:
    """Repeat the text.

    Args:
        text: what is repeated.
        count: how often it is repeated.
    """
    return text * count


# A list of many tools is asked for by `benchmarks.lists` alone.
for number in range(int(os.environ.get("BENCHMARK_FILLER_TOOLS", "0"))):
    registry.tool(name=f"filler_{number:04}")(filler)
