"""
A server of the official SDK 1.x, whose last releases have a WebSocket transport.

It runs in a process whose PYTHONPATH has SDK 1.x, which cannot stand beside 2.x.
"""

import warnings
from typing import Any

from mcp.server.fastmcp import Context, FastMCP

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mcp.server.websocket import websocket_server

server = FastMCP("sdk 1")


@server.tool(annotations={"readOnlyHint": True})
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
async def refund(ctx: Context) -> str:
    """Give money back."""
    await ctx.report_progress(1, 2, "counting")
    return "done"


@server.resource("shop://hours")
def hours() -> str:
    """When the shop is open."""
    return "From nine to five."


async def application(scope: Any, receive: Any, send: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connected = websocket_server(scope, receive, send)
    async with connected as (read, write):
        inner = server._mcp_server
        await inner.run(read, write, inner.create_initialization_options())
