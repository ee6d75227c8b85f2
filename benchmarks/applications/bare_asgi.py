"""
The bare side: what a good engineer writes for these three tools and nothing else.

It decodes the same JSON-RPC text and encodes the same answers, both with msgspec and
without types, and checks nothing: no revision, no arguments, no limits, no errors.
No framework is involved, and a call costs no task.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode

# asyncio's own pool has too few threads on a small machine to be compared with.
threads = ThreadPoolExecutor(32)


async def echo(text: str) -> str:
    return text


async def add(a: int, b: int) -> str:
    return str(a + b)


async def pause() -> str:
    await asyncio.get_running_loop().run_in_executor(threads, time.sleep, 0.1)
    return "done"


TOOLS: dict[str, Callable[..., Awaitable[str]]] = {
    "echo": echo,
    "add": add,
    "pause": pause,
}


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "websocket":
        raise ValueError(f"Only WebSockets are served, not {scope['type']}")
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        answer = await answer_message(decode(event["text"]))
        if answer is not None:
            await send({"type": "websocket.send", "text": encode(answer).decode()})


async def answer_message(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return the answer to a request, None to a notification."""
    method = message["method"]
    if method == "tools/call":
        parameters = message["params"]
        text = await TOOLS[parameters["name"]](**parameters["arguments"])
        result = {"content": [{"type": "text", "text": text}], "isError": False}
    elif method == "initialize":
        result = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "bare", "version": "1"},
        }
    else:
        return None
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}
