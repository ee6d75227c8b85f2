"""
What the WebSocket transport costs a client, and how soon the bridge is there.

Run `python -m benchmarks.client`; docs/benchmarks.md says what is compared and how. The
keys of the last line that matter are `of_memory_pipe`, the speed of calls through the
transport, of what the SDK over a pipe in memory and a bare echo would reach together,
and `bridge_start_ms`.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from statistics import median
from typing import Any, NamedTuple

import anyio
from mcp import Client
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCRequest, JSONRPCResponse
from websockets.asyncio.client import connect

from benchmarks.applications.websocket_peer import answer
from benchmarks.cores import Cores, separate_cores
from benchmarks.options import add_seconds, make_parser
from benchmarks.report import describe_versions, print_json, print_table
from benchmarks.servers import ROOT
from mcp_channels.client import WebSocketConfig, WebSocketTransport

TEXT = "The quick brown fox jumps over the lazy dog."
# As long as the frames of a call.
FRAME = "x" * 150

WARM_UP = 0.2  # of the measured time

Step = Callable[[], Awaitable[Any]]


class Cost(NamedTuple):
    """Of one call, in microseconds."""

    wall: float
    cpu: float  # of the client's process


def main(arguments: list[str] | None = None) -> None:
    parser = make_parser(__doc__.strip().splitlines()[0], rounds=7)
    add_seconds(parser, 1.0)
    options = parser.parse_args(arguments)
    if options.smoke:
        options.rounds, options.seconds = 1, 0.05
    cores = separate_cores()
    print(
        f"{options.rounds} rounds of {options.seconds} s; {cores.description}.\n"
        f"{describe_versions()}.",
        flush=True,
    )
    with serve(cores) as port:
        rounds = asyncio.run(measure(port, options))
    starts = [measure_start() for _ in range(3 if options.smoke else 3 * len(rounds))]
    sides = list(rounds[0])
    wall = {side: median(one[side].wall for one in rounds) for side in sides}
    cpu = {side: median(one[side].cpu for one in rounds) for side in sides}
    print_table(
        ["side", "calls/s", "us/call", "client's CPU us/call"],
        [
            [side, f"{1e6 / us:,.0f}", f"{us:.1f}", f"{cpu[side]:.1f}"]
            for side, us in wall.items()
        ],
    )
    print_json(
        {
            "benchmark": "client",
            "of_memory_pipe": median(
                (one["memory"].wall + one["echo"].wall) / one["transport"].wall
                for one in rounds
            ),
            # The same of the client's processor time, which others hardly disturb.
            "cpu_of_memory_pipe": median(
                (one["memory"].cpu + one["echo"].cpu) / one["transport"].cpu
                for one in rounds
            ),
            "microseconds": wall,
            "cpu_microseconds": cpu,
            "bridge_start_ms": median(starts),
            "rounds": options.rounds,
            "seconds": options.seconds,
            "smoke": options.smoke,
        }
    )


async def measure(port: int, options: argparse.Namespace) -> list[dict[str, Cost]]:
    """Return what a call costs, by side, for each round."""
    url = f"ws://127.0.0.1:{port}"
    config = WebSocketConfig(f"{url}/mcp", proxy=None)
    rounds = []
    for _ in range(options.rounds):
        async with (
            Client(open_pipe(), mode="legacy") as piped,
            Client(WebSocketTransport(config), mode="legacy") as client,
            connect(f"{url}/echo", proxy=None, compression=None) as bare,
        ):

            async def echo(socket: Any = bare) -> None:
                await socket.send(FRAME)
                assert await socket.recv() == FRAME

            sides = {"memory": call(piped), "transport": call(client), "echo": echo}
            times = {}
            for side, step in sides.items():
                await repeat(step, options.seconds * WARM_UP)
                times[side] = await repeat(step, options.seconds)
            rounds.append(times)
    return rounds


def call(client: Client) -> Step:
    async def step() -> None:
        result = await client.call_tool("echo", {"text": TEXT})
        assert result.content[0].text == TEXT  # type: ignore[union-attr]

    return step


async def repeat(step: Step, seconds: float) -> Cost:
    """Repeat a step for so long."""
    count = 0
    began, cpu = time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - began) < seconds or not count:
        await step()
        count += 1
    cpu = time.process_time() - cpu
    return Cost(took / count * 1e6, cpu / count * 1e6)


@asynccontextmanager
async def open_pipe() -> AsyncIterator[Any]:
    """Give the SDK's Client a server at the other end of a pipe in memory."""
    to_client, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, from_client = anyio.create_memory_object_stream[SessionMessage](0)

    async def serve() -> None:
        async for item in from_client:
            asked = item.message
            if isinstance(asked, JSONRPCRequest):
                result = answer(asked.method, asked.params)
                reply = JSONRPCResponse(jsonrpc="2.0", id=asked.id, result=result)
                await to_client.send(SessionMessage(reply))

    async with to_client, from_client, anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        yield read, write
        tasks.cancel_scope.cancel()


@contextmanager
def serve(cores: Cores) -> Iterator[int]:
    """Run the other side in a process of its own, and give its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.applications.websocket_peer"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if cores.server is not None:
            os.sched_setaffinity(process.pid, {cores.server})
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def measure_start() -> float:
    """Return the milliseconds from the start of a bridge to its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "mcp_channels.client", "bridge", url],
            cwd=ROOT,
            env={**os.environ, "no_proxy": "*"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                listener.accept()[0].close()
                return (time.perf_counter() - began) * 1e3
            finally:
                process.kill()


if __name__ == "__main__":
    main()
