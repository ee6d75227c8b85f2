"""
The official SDK's lowest layer, `lowlevel.Server`, behind a stock Channels consumer.

Finding the tool and trusting its arguments are left to the handler below, so this is
the SDK's wire and engine alone: it does less than `mcp_channels` does.
"""

import time
from typing import Any

import anyio.to_thread
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.types import CallToolRequestParams, CallToolResult, TextContent

from benchmarks.applications.sdk_consumer import make_application


async def call_tool(
    context: ServerRequestContext[Any], parameters: CallToolRequestParams
) -> CallToolResult:
    arguments = parameters.arguments or {}
    if parameters.name == "echo":
        text = arguments["text"]
    elif parameters.name == "add":
        text = str(arguments["a"] + arguments["b"])
    else:
        await anyio.to_thread.run_sync(time.sleep, 0.1)
        text = "done"
    return CallToolResult(content=[TextContent(type="text", text=text)])


application = make_application(
    Server("official-sdk-lowlevel", version="1", on_call_tool=call_tool)
)
