"""The bridge between pipes and a WebSocket."""

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_channels.client import bridge as module
from mcp_channels.client.bridge import read_lines, run_bridge
from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.threads import run_in_daemon
from tests.client.proxy import Proxy
from tests.client.stranger import PATIENCE, Refusal, Stranger

ROOT = Path(__file__).resolve().parents[2]


class Host:
    """What stands at the other ends of the pipes."""

    def __init__(self) -> None:
        self.input, self.writing = os.pipe()
        self.reading, self.output = os.pipe()
        self._lines = read_lines(self.reading)
        self._fds = {self.input, self.writing, self.reading, self.output}

    def close(self, fd: int) -> None:
        self._fds.discard(fd)
        os.close(fd)

    async def aclose(self) -> None:
        await self._lines.aclose()  # type: ignore[attr-defined]
        for fd in set(self._fds):
            self.close(fd)

    def start(self, url: str, **options: Any) -> asyncio.Task[str | None]:
        options = {"proxy": None, "reconnect_delay": 0.01, **options}
        config = WebSocketConfig(url, **options)
        return asyncio.create_task(run_bridge(config, self.input, self.output))

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[await run_in_daemon(os.write, self.writing, rest) :]

    async def ask(self, id: Any, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        await self.write(json.dumps(message).encode() + b"\n")

    async def read(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            return json.loads(await anext(self._lines))


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    yield host
    await host.aclose()


async def ended(running: asyncio.Task[str | None]) -> str | None:
    async with asyncio.timeout(PATIENCE):
        return await running


# Lines


async def test_lines_are_taken_apart(host):
    await host.write(b'{"a":1}\n\n  \r\n{"b":"\xe2\x80\xa8"}\r\n{"c"')
    await host.write(b':1}\n{"last":true}')
    host.close(host.writing)

    assert [line async for line in read_lines(host.input)] == [
        b'{"a":1}',
        b'{"b":"\xe2\x80\xa8"}',
        b'{"c":1}',
        b'{"last":true}',
    ]


async def test_no_line_is_too_long(host):
    long = b"x" * 3_000_000
    writing = asyncio.create_task(host.write(long + b"\n"))

    assert await anext(read_lines(host.input)) == long
    await writing


# Both ways


async def test_messages_pass_both_ways(server, host):
    server.answers["ping"] = {"text": "\u2028é\n", "surrogate": "\ud83d\ude00"}
    running = host.start(server.url)
    await host.ask(1, "ping", text="\u2028é\n")
    answer = await host.read()
    host.close(host.writing)

    assert await ended(running) is None
    assert answer["result"] == {"text": "\u2028é\n", "surrogate": "\U0001f600"}
    assert server.last.messages[0]["params"] == {"text": "\u2028é\n"}
    await server.until(lambda: server.last.socket.close_code == 1000)


async def test_message_of_many_lines_is_one_line(server, host):
    running = host.start(server.url)
    await server.until(lambda: server.visits)
    message = {"jsonrpc": "2.0", "method": "notifications/x", "params": {"a": "\r\n"}}
    pretty = json.dumps(message, indent=2).replace("\n", "\r\n")
    await server.last.socket.send(pretty)

    assert await host.read() == message
    host.close(host.writing)
    await ended(running)


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"a":"\xff"}\n', b"\x00\xff\n"])
async def test_what_is_no_message_is_refused_and_goes_no_further(server, host, line):
    running = host.start(server.url)
    await host.write(line)
    refused = await host.read()
    await host.ask(1, "ping")
    await host.read()
    host.close(host.writing)
    await ended(running)

    assert (refused["id"], refused["error"]["code"]) == (None, -32700)
    assert len(server.last.messages) == 1


async def test_bridge_insists_on_a_server(server, host):
    server.refusals.extend([Refusal(503)] * 3)
    running = host.start(server.url)
    await host.ask(1, "ping")

    assert (await host.read())["result"] == {}
    host.close(host.writing)
    await ended(running)


async def test_drop_is_not_noticed(server, host):
    async with Proxy(server.port) as proxy:
        running = host.start(proxy.url)
        for id in range(3):
            await host.ask(id, "ping")
            assert (await host.read())["id"] == id
            proxy.cut()
        host.close(host.writing)
        await ended(running)


# The end


async def test_what_was_asked_is_answered_after_the_end_of_the_input(server, host):
    gate = asyncio.Event()

    async def wait(params: Any) -> Any:
        await gate.wait()
        return {}

    server.answers["ping"] = wait
    running = host.start(server.url)
    await host.ask(1, "ping")
    await host.ask(2, "ping")
    host.close(host.writing)
    await server.until(lambda: server.visits and len(server.last.messages) == 2)
    gate.set()

    assert {(await host.read())["id"], (await host.read())["id"]} == {1, 2}
    assert await ended(running) is None


async def test_answers_are_not_waited_for_too_long(server, host, monkeypatch):
    monkeypatch.setattr(module, "_GRACE", 0.1)
    server.answers["ping"] = None
    running = host.start(server.url)
    await host.ask(1, "ping")
    host.close(host.writing)

    assert await ended(running) is None


@pytest.mark.parametrize("is_answering", [True, False])
async def test_signal_ends_it(server, host, is_answering):
    server.answers["ping"] = None
    running = host.start(server.url)
    await host.ask(1, "ping")
    await server.until(lambda: server.visits and server.last.messages)
    if is_answering:
        host.close(host.writing)
        await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)

    assert await ended(running) is None
    await server.until(lambda: server.last.socket.close_code == 1000)


async def test_system_without_signals_for_loops_does_without(server, host, monkeypatch):
    def refuse(*arguments: Any) -> None:
        raise NotImplementedError

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_signal_handler", refuse)
    monkeypatch.setattr(loop, "remove_signal_handler", refuse)
    running = host.start(server.url)
    host.close(host.writing)

    assert await ended(running) is None


async def test_refusal_is_the_end_and_told(server, host):
    refusal = Refusal(401, "Credentials are required")
    refusal.gate.clear()
    server.refusals.append(refusal)
    running = host.start(server.url)
    await host.ask(1, "ping")
    await host.write(b"nonsense\n")
    await host.read()  # refused by the bridge, so that it has read both
    refusal.gate.set()
    told = await host.read()
    reason = await ended(running)

    assert told["error"]["message"] == reason
    assert reason is not None
    assert reason.endswith("HTTP 401 Unauthorized: Credentials are required")


async def test_sending_after_the_end_does_no_harm(server, host):
    running = host.start(server.url, auto_reconnect=False)
    await server.until(lambda: server.visits)
    await server.last.socket.close(1008, "Access revoked")

    assert await ended(running) == "The server closed it with 1008: Access revoked"


async def test_host_that_reads_no_more_ends_it(server, host, caplog):
    caplog.set_level(logging.INFO, "mcp_channels.client")
    running = host.start(server.url)
    host.close(host.reading)
    await host.ask(1, "ping")

    assert await ended(running) is None
    assert "The host reads no more" in caplog.text


async def test_input_that_breaks_is_one_that_ended(server, host):
    host.close(host.input)
    host.input = os.open("/", os.O_RDONLY)  # reading it fails
    running = host.start(server.url)

    assert await ended(running) is None
    os.close(host.input)


async def test_bug_is_raised(server, host, monkeypatch):
    async def stumble(input: int) -> AsyncIterator[bytes]:
        raise ZeroDivisionError
        yield b""

    monkeypatch.setattr(module, "read_lines", stumble)

    with pytest.raises(ZeroDivisionError):
        await ended(host.start(server.url))


async def test_bridge_that_is_cancelled_leaves_nothing(server, host):
    running = host.start(server.url)
    await server.until(lambda: server.visits)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await server.until(lambda: server.last.socket.close_code == 1000)


# Both sides may be slow


async def test_server_waits_for_a_host_that_does_not_read(server, host):
    running = host.start(server.url, ping_interval=None)
    await server.until(lambda: server.visits)
    sending = asyncio.create_task(shout(server, 300))
    await asyncio.sleep(0.3)
    assert not sending.done()
    numbers = [(await host.read())["params"]["number"] for _ in range(300)]
    await sending
    host.close(host.writing)
    await ended(running)

    assert numbers == list(range(300))


async def shout(server: Stranger, frames: int) -> None:
    for number in range(frames):
        params = {"number": number, "text": "x" * 65_536}
        await server.last.send(method="notifications/x", params=params)


async def test_host_waits_for_a_server_that_does_not_read(server, host):
    async with Proxy(server.port) as proxy:
        running = host.start(proxy.url, ping_interval=None)
        await server.until(lambda: server.visits)
        proxy.freeze()
        line = b'{"jsonrpc":"2.0","method":"x","params":{"a":"%s"}}\n' % (b"x" * 65_536)
        writing = asyncio.create_task(host.write(line * 300))
        await asyncio.sleep(0.3)
        assert not writing.done()
        proxy.thaw()
        await writing
        await server.until(lambda: len(server.last.messages) == 300)
        host.close(host.writing)
        await ended(running)


# As a program


@pytest.fixture
def program(server: Stranger) -> Iterator[subprocess.Popen[bytes]]:
    """The bridge as hosts start it."""
    command = [sys.executable, "-m", "mcp_channels.client", "bridge", server.url]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "no_proxy": "*"},
    ) as process:
        yield process
        process.kill()


async def test_program_speaks_on_its_output_and_reports_elsewhere(server, program):
    said = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\nnonsense\n'
    out, err = await asyncio.to_thread(program.communicate, said, 30)

    assert program.returncode == 0
    assert {json.loads(line)["id"] for line in out.splitlines()} == {1, None}
    assert err.decode() == f"mcp-ws: Connected to {server.url}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_program_ends_by_a_signal(server, program, number):
    await server.until(lambda: server.visits)
    program.send_signal(number)
    status = await asyncio.to_thread(program.wait, 30)

    assert status == 0
    await server.until(lambda: server.last.socket.close_code == 1000)


def test_program_imports_neither_django_nor_the_sdk():
    script = (
        "import sys\n"
        "import mcp_channels.client.__main__, mcp_channels.client.bridge\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    imported = set(run.stdout.split())

    assert {"mcp_channels", "msgspec", "websockets"} <= imported
    assert imported.isdisjoint(
        {"anyio", "asgiref", "channels", "django", "mcp", "mcp_types", "pydantic"}
    )


def start_seconds(*command: str) -> float:
    """Return how much processor time a program takes that ends at once."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(after[:2]) - sum(before[:2])


def test_program_starts_hardly_slower_than_what_it_stands_on():
    # Nothing is asked, so that starting is all that it does.
    bridge = ["-m", "mcp_channels.client", "bridge", "ws://127.0.0.1:1/ws"]
    library = ["-c", "import websockets.asyncio.client, msgspec, argparse"]
    ours, theirs = (
        min(start_seconds(*command) for _ in range(5)) for command in (bridge, library)
    )

    # Of the 150 ms that it may take, the libraries take 90.
    assert ours < theirs * 1.6


def test_nothing_is_left_of_the_signals():
    with contextlib.suppress(ValueError):
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
