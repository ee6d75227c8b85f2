"""Real servers, each a process of its own, ended by its id."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["KINDS", "Kind", "Server", "make_database", "serve"]

ROOT = Path(__file__).resolve().parents[2]

Kind = Literal["daphne", "uvicorn"]

KINDS: tuple[Kind, ...] = ("daphne", "uvicorn")

APPLICATION = "tests.interop.asgi:application"

# Port 0: the system chooses a free one, and the server says which.
COMMANDS: dict[Kind, list[str]] = {
    "daphne": ["daphne", "-b", "127.0.0.1", "-p", "0"],
    "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", "0", "--lifespan", "off"],
}
LISTENS = re.compile(
    r"(?:Listening on TCP address |running on http://)127\.0\.0\.1:(\d+)"
)

STARTING = 60.0  # seconds, on a busy machine
ENDING = 10.0


@dataclass(frozen=True)
class Server:
    """A server that is running."""

    kind: Kind
    process: subprocess.Popen[bytes]
    port: int
    query: str = ""

    def url(self, path: str = "/ws") -> str:
        return f"ws://127.0.0.1:{self.port}{path}{self.query}"

    @property
    def has_denials(self) -> bool:
        """Whether a client learns with which status it was refused."""
        return self.kind == "uvicorn"

    def end(self) -> None:
        """Ask the process to stop, and see to it that it does."""
        self.process.terminate()
        try:
            self.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(ENDING)


@contextmanager
def serve(
    kind: Kind,
    root_path: str = "",
    database: Path | None = None,
    app: str = "tests.interop",
    **settings: Any,
) -> Iterator[Server]:
    """
    Run a server with these MCP_CHANNELS until the block ends.

    `database` is a file of make_database(); without one there are no tables. `app` has
    the module `mcp`.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                *COMMANDS[kind],
                *(["--root-path", root_path] if root_path else []),
                APPLICATION,
            ],
            cwd=ROOT,
            env={**environment(database, **settings), "INTEROP_APP": app},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            port = find_port(process, log)
        except BaseException:
            process.kill()
            process.wait(ENDING)
            raise
        server = Server(kind, process, port)
        try:
            yield server
        finally:
            server.end()


def make_database(path: Path) -> None:
    """Make the tables of the site in a new file."""
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity=0"],
        cwd=ROOT,
        env=environment(path),
        timeout=STARTING,
        check=True,
    )


def environment(database: Path | None, **settings: Any) -> dict[str, str]:
    """Return the environment of a process of the site."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.interop.settings",
        "INTEROP_DATABASE": str(database or ":memory:"),
        "MCP_CHANNELS": json.dumps(settings),
    }


def find_port(process: subprocess.Popen[bytes], log: Any) -> int:
    """Wait until the server says where it listens. Raise RuntimeError if it ends."""
    deadline = time.monotonic() + STARTING
    while True:
        # Without moving the position at which the server writes.
        text = os.pread(log.fileno(), 1_000_000, 0).decode(errors="replace")
        found = LISTENS.search(text)
        if found:
            return int(found[1])
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The server did not start:\n{text}")
        time.sleep(0.02)
