"""
Serve the conformance site on this machine until told to stop.

    python -m tests.conformance PORT
"""

import os
import sys

from daphne.server import Server

HOST = "127.0.0.1"


def main(arguments: list[str]) -> int:
    """Serve on the port that the command line names; return the exit status."""
    port = read_port(arguments)
    if port is None:
        print("usage: conformance-server PORT", file=sys.stderr)
        return 2
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.conformance.settings"

    # Imported here, because it sets up Django.
    from tests.conformance.asgi import application

    def announce() -> None:
        if server.listening_addresses:
            host, chosen = server.listening_addresses[0]
            print(f"Ready: ws://{host}:{chosen}/ws", flush=True)

    server = Server(
        application,
        endpoints=[f"tcp:port={port}:interface={HOST}"],
        ready_callable=announce,
    )
    server.run()
    if not server.listening_addresses:
        # Why, Daphne has said.
        print(f"Cannot serve on port {port}.", file=sys.stderr)
        return 1
    return 0


def read_port(arguments: list[str]) -> int | None:
    """Return the port that is the only argument; None when it is not."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        return None
    port = int(arguments[0])
    return port if port <= 0xFFFF else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
