"""
The bridge, as a program, between the official SDK's stdio client and real servers.

BRIDGE_MEGABYTES sets how much goes through it, each way; the default takes seconds.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from tests.client.proxy import Proxy
from tests.client.stranger import Stranger
from tests.interop.conftest import Serve
from tests.interop.servers import serve
from tests.interop.transport import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = ["-m", "mcp_channels.client", "bridge"]

MEGABYTES = int(os.environ.get("BRIDGE_MEGABYTES", "20"))
TEXT = "x" * 500_000
AT_ONCE = 4


def start(url: str) -> StdioServerParameters:
    """Say how a host starts the bridge."""
    return StdioServerParameters(
        command=sys.executable, args=[*BRIDGE, url], env={"no_proxy": "*"}, cwd=ROOT
    )


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_host_hardly_notices_that_the_server_is_restarted(
    servers: Serve, mode: str
) -> None:
    numbers = iter(range(100_000))
    added: list[tuple[int, str]] = []
    news = asyncio.Condition()

    async def keep_adding(client: Client) -> None:
        for number in numbers:
            result = await client.call_tool("add", {"a": number, "b": 1})
            async with news:
                added.append((number, result.content[0].text))
                news.notify_all()

    async def until(count: int) -> None:
        async with news:
            await news.wait_for(lambda: len(added) >= count)

    after = servers("uvicorn")  # what comes after the restart
    with serve("uvicorn") as before:
        async with (
            asyncio.timeout(8 * PATIENCE),
            Proxy(before.port) as proxy,
            Client(start(proxy.url), mode=mode) as client,
        ):
            await client.list_tools()
            adding = asyncio.create_task(keep_adding(client))
            await until(10)
            await asyncio.to_thread(before.end)
            connections = proxy.connections
            while proxy.connections < connections + 2:  # attempts that fail
                await asyncio.sleep(0.01)
            answered = len(added)
            proxy.target = after.port
            await until(answered + 10)
            adding.cancel()
            await asyncio.wait({adding})

    assert all(text == f"{number + 1}" for number, text in added)


# Through it without growth


class Pipes:
    """The bridge as a process, with a host that reads and writes lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def write(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()

    async def read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(await self.process.stdout.readuntil(b"\n"))

    def resident(self) -> float:
        """Return how many megabytes of memory it has."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@asynccontextmanager
async def bridging(url: str) -> AsyncIterator[Pipes]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *BRIDGE,
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=10_000_000,
        cwd=ROOT,
        env={**os.environ, "no_proxy": "*"},
    )
    try:
        yield Pipes(process)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells")
async def test_much_goes_through_without_growth() -> None:
    async with (
        asyncio.timeout(60 + MEGABYTES),
        Stranger() as server,
        bridging(server.url) as pipes,
    ):

        def echo(params: Any) -> Any:
            server.last.messages.clear()  # the server need not remember
            return params

        server.answers["ping"] = echo
        rounds = MEGABYTES * 1_000_000 // len(TEXT)
        sizes: list[float] = []
        asking = asyncio.create_task(ask(pipes, rounds))
        for number in range(rounds):
            answer = await pipes.read()
            assert answer["result"]["text"] == TEXT
            if number >= rounds // 4:
                sizes.append(pipes.resident())
        await asking
    print(f"{MEGABYTES} MB each way, {min(sizes):.0f} to {max(sizes):.0f} MB")

    quarter = len(sizes) // 4
    # What it holds at one moment differs; what it ever held does not add up.
    assert max(sizes[-quarter:]) < max(sizes[:quarter]) + 5
    assert max(sizes) < 100


async def ask(pipes: Pipes, rounds: int) -> None:
    for number in range(rounds):
        params = {"text": TEXT, "number": number}
        await pipes.write(
            {"jsonrpc": "2.0", "id": number, "method": "ping", "params": params}
        )
