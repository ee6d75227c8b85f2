"""
The far end of benchmarks.client: a bare `websockets` server, in its own process.

At /echo it sends every frame back. At /mcp it answers as little of MCP as a client
needs that calls one tool. It prints its port.
"""

import asyncio
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection, serve

RESULTS: dict[str, Any] = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "peer", "version": "1"},
    },
    "tools/list": {
        "tools": [
            {
                "name": "echo",
                "inputSchema": {"type": "object"},
                "annotations": {"readOnlyHint": True},
            }
        ]
    },
}


def answer(method: str, params: Any) -> Any:
    """Return the result of a request."""
    if method == "tools/call":
        text = params["arguments"]["text"]
        return {"content": [{"type": "text", "text": text}], "isError": False}
    return RESULTS[method]


async def handle(socket: ServerConnection) -> None:
    is_echo = socket.request is not None and socket.request.path == "/echo"
    async for frame in socket:
        if is_echo:
            await socket.send(frame)
            continue
        message = msgspec.json.decode(frame)
        if "id" in message:
            result = answer(message["method"], message.get("params"))
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": result}
            await socket.send(msgspec.json.encode(reply), text=True)


async def main() -> None:
    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
