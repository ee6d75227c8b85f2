"""
The official SDK's side: `MCPServer` behind a stock Channels consumer.

Tools are registered as its users do, with `@server.tool()`. A `str` is returned as text
alone (`structured_output=False`), which is less work for it and the same answer.
"""

import logging
import os
import time

from mcp.server import MCPServer

from benchmarks.applications.sdk_consumer import make_application

server = MCPServer("official-sdk", log_level="WARNING")
# Its constructor sets up logging by itself; a line for each call would be measured.
logging.getLogger().setLevel(logging.WARNING)


@server.tool(structured_output=False)
async def echo(text: str) -> str:
    """Return the text."""
    return text


@server.tool(structured_output=False)
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(structured_output=False)
def pause() -> str:
    """Sleep for 100 ms in synchronous code."""
    time.sleep(0.1)
    return "done"


def filler(text: str, count: int = 1) -> str:
    """Repeat the text."""
    return text * count


for number in range(int(os.environ.get("BENCHMARK_FILLER_TOOLS", "0"))):
    server.add_tool(filler, name=f"filler_{number:04}", structured_output=False)


# The SDK's own transports reach the engine by this name; it has no public one.
application = make_application(server._lowlevel_server)
