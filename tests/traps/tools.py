"""Tools that take their time, and a client that sees what comes first."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from mcp_channels import Context, ToolError
from mcp_channels.testing import MCPCommunicator

Connect = Callable[..., Awaitable[MCPCommunicator]]


class Tools:
    """Tools, and what a test sees of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.context: Context | None = None
        self.stopped = asyncio.Event()
        self.release = asyncio.Event()
        self.thread_started = threading.Event()
        self.thread_release = threading.Event()

    def all(self) -> list[Callable[..., Any]]:
        return [self.echo, self.wait, self.stubborn, self.steps, self.log, self.block]

    def let_go(self) -> None:
        self.release.set()
        self.thread_release.set()

    async def echo(self, context: Context, text: str = "ok") -> str:
        self.calls.append(text)
        self.context = context
        return text

    async def wait(self, context: Context, text: str = "waited") -> str:
        self.calls.append(text)
        self.context = context
        await self.release.wait()
        return text

    async def stubborn(self, text: str = "stubborn", raising: bool = False) -> str:
        """Ends in its own way when it is cancelled."""
        self.calls.append(text)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.stopped.set()
            await self.release.wait()
            if raising:
                raise ToolError("No.") from None
        return text

    async def steps(self, context: Context, steps: list[float], total: float) -> str:
        for step in steps:
            context.progress(step, total or None)
        return "done"

    async def log(self, context: Context) -> str:
        context.log("info", "something")
        return "done"

    def block(self, context: Context) -> str:
        """Cannot be interrupted."""
        self.thread_started.set()
        self.thread_release.wait(30)
        context.progress(1)
        return "late"


def text_of(result: Any) -> str:
    text: str = result["content"][0]["text"]
    return text


async def cancel(client: MCPCommunicator, id: Any) -> None:
    await client.notify("notifications/cancelled", {"requestId": id})


async def next_answer(client: MCPCommunicator) -> Any:
    """Call a tool, and return the first thing that comes: if only the answer to this
    call does, then nothing was sent before it."""
    id = await client.send_request("tools/call", {"name": "echo"})
    message = await client.receive()

    assert message["id"] == id
    return message["result"]


async def frame_of(client: MCPCommunicator, method: str, **params: Any) -> Any:
    """Return the whole answer to a request."""
    id = await client.send_request(method, params)
    message = await client.receive()

    assert message["id"] == id
    return message


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)
