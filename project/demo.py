"""
Set up the demo site and serve it, with one command.

    python -m project.demo [--port N]    serve on 127.0.0.1
    python -m project.demo --check       serve, talk to it as a client, and judge
"""

import argparse
import errno
import os
import socket
import sys
import textwrap
from collections.abc import Sequence

__all__ = ["banner", "main", "serve", "set_up", "snippet"]

HOST = "127.0.0.1"
USERS = ("ada", "grace", "admin")  # that `load_atlas --demo-users` creates


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m project.demo",
        description="Serve the demo site to MCP clients on this machine.",
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=8000,
        help="TCP port on 127.0.0.1; 0 takes any that is free (default: 8000)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="serve on a free port with data of its own, try everything as a client, "
        "print the transcript, and exit 0 only if all was right",
    )
    options = parser.parse_args(arguments)
    if options.check:
        # Imported here, because serving needs no client.
        from project.check import run

        return run()
    return serve(options.port)


def port_number(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a port: use 0 to 65535")
    return port


def serve(port: int) -> int:
    """Set up the site and serve it until interrupted; return the exit status."""
    # Asked first, because loading the data takes a while.
    reason = why_unusable(port)
    if reason:
        print(f"Cannot serve on port {port}: {reason}.", file=sys.stderr)
        return 1
    set_up()

    # Imported here, because daphne.server starts Twisted and the application Django.
    from daphne.access import AccessLogGenerator
    from daphne.server import Server

    from project.asgi import application

    def announce() -> None:
        if server.listening_addresses:
            print(banner(server.listening_addresses[0][1]), flush=True)

    server = Server(
        application,
        endpoints=[f"tcp:port={port}:interface={HOST}"],
        action_logger=AccessLogGenerator(sys.stdout),
        ready_callable=announce,
    )
    server.run()
    if not server.listening_addresses:
        print(f"Cannot serve on port {port}: it was just taken.", file=sys.stderr)
        return 1
    return 0


def why_unusable(port: int) -> str | None:
    """Say why nothing can be served on a port; None when it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Twisted does: a port that was closed a moment ago is not in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                return "something else is served there; choose another with --port"
            return os.strerror(exc.errno) if exc.errno else str(exc)
    return None


def set_up() -> None:
    """Bring the database up to date, and fill it if it is empty."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

    import django
    from django.conf import settings
    from django.core.management import call_command

    django.setup()

    from django.contrib.auth import get_user_model

    from project.atlas.models import City

    call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model().objects.filter(username__in=USERS)
    is_complete = users.count() == len(USERS) or not settings.DEBUG
    if not (is_complete and City.objects.exists()):
        print("Loading the atlas, once ...", flush=True)
        call_command("load_atlas", demo_users=settings.DEBUG)


def banner(port: int) -> str:
    """Tell where the site is, who may sign in, and how to connect."""
    url = f"ws://{HOST}:{port}/ws"
    return f"""
MCP, every revision:  {url}
The admin:            http://{HOST}:{port}/admin/

Users: ada and grace, who plan trips, and admin, the superuser. Each has its name for
a password, unless that was changed. Nobody needs to sign in, except for trips: these
take the session cookie of the admin, sent with an Origin header.

To connect, any client of MCP over WebSocket will do. In another terminal:

{sys.executable} - <<'END'
{snippet(url)}END

Stop with Ctrl-C.
"""


def snippet(url: str) -> str:
    """Write a Python program that calls a tool and prints the answer."""
    return textwrap.dedent(
        f"""\
        import json
        from websockets.sync.client import connect

        request = {{
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {{
                "name": "find_city",
                "arguments": {{"name": "Lisbon"}},
                "_meta": {{
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {{}},
                }},
            }},
        }}
        with connect("{url}", subprotocols=["mcp"], proxy=None) as socket:
            socket.send(json.dumps(request))
            print(json.dumps(json.loads(socket.recv(timeout=10)), indent=2))
        """
    )


if __name__ == "__main__":
    sys.exit(main())
