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
    if len(arguments) != 1 or not arguments[0].isdigit():
        print("usage: conformance-server PORT", file=sys.stderr)
        return 2
    port = int(arguments[0])
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
        print(f"Cannot serve on port {port}: it is in use.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
