"""Server processes: each pinned to one core, each ended by its own pid."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from benchmarks.cores import Cores

ROOT = Path(__file__).resolve().parent.parent

START_SECONDS = 60  # a cold import of everything on one busy core takes a few
END_SECONDS = 5  # then SIGKILL

SIDES = {
    "bare_asgi": "benchmarks.applications.bare_asgi",
    "official_sdk": "benchmarks.applications.official_sdk",
    "official_sdk_lowlevel": "benchmarks.applications.official_sdk_lowlevel",
    "mcp_channels": "benchmarks.applications.django_site",
}

SERVERS = {
    "daphne": [
        *("-m", "daphne", "--verbosity", "0"),
        *("--bind", "127.0.0.1", "--port", "{port}", "{application}"),
    ],
    # Everything "auto" would choose is named, so that no installed package changes it.
    "uvicorn": [
        *("-m", "uvicorn", "--log-level", "warning", "--no-access-log"),
        *("--loop", "asyncio", "--http", "h11", "--ws", "websockets-sansio"),
        *("--ws-per-message-deflate", "false", "--lifespan", "off"),
        *("--host", "127.0.0.1", "--port", "{port}", "{application}"),
    ],
}


class Server:
    """One side served by one server in a process of its own."""

    def __init__(
        self,
        kind: str,
        side: str,
        cores: Cores,
        environment: Mapping[str, str],
        output: IO[bytes],
    ) -> None:
        self.side = side
        self.port = _find_free_port()
        self._name = f"{side} on {kind}"
        self._output = output
        values = {"port": str(self.port), "application": f"{SIDES[side]}:application"}
        self._process = subprocess.Popen(
            [sys.executable, *(word.format(**values) for word in SERVERS[kind])],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        if cores.server is not None:
            # Its later threads inherit this: the interpreter has hardly started.
            os.sched_setaffinity(self._process.pid, {cores.server})

    def wait_until_ready(self) -> None:
        """Return when it accepts connections. Raise RuntimeError if it never does."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"{self._name} did not start:\n{self.read_output()}")

    def cpu_seconds(self) -> float:
        """Return the processor time of all its threads so far."""
        # clock_getcpuclockid(3) of another process, which Python does not offer.
        return time.clock_gettime(~self._process.pid << 3 | 2)

    @contextmanager
    def explaining_failure(self) -> Iterator[None]:
        """Add what the server printed to an exception that passes."""
        try:
            yield
        except Exception as exc:
            exc.add_note(f"{self._name} printed:\n{self.read_output()}")
            raise

    def read_output(self) -> str:
        """Return the end of what it printed."""
        self._output.seek(0)
        return self._output.read()[-4000:].decode(errors="replace")

    def close(self) -> None:
        """End the process: ask, then insist."""
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def serve(
    kind: str,
    sides: list[str],
    cores: Cores,
    environment: Mapping[str, str] | None = None,
) -> Iterator[list[Server]]:
    """Serve every side at once, and end every process whatever happens."""
    with ExitStack() as stack:
        stack.enter_context(_exit_on_sigterm())
        servers = []
        for side in sides:
            output = stack.enter_context(tempfile.TemporaryFile())
            server = Server(kind, side, cores, environment or {}, output)
            stack.callback(server.close)
            servers.append(server)
        for server in servers:
            server.wait_until_ready()
        yield servers


def _find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that the processes are ended then, too."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
