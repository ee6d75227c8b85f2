"""
The command line: `mcp-ws`, or `python -m mcp_channels.client`.

    mcp-ws list ws://127.0.0.1:8000/ws
    mcp-ws call ws://127.0.0.1:8000/ws find_books text=sea
    mcp-ws bridge wss://example.com/ws --token-env TOKEN
"""

import argparse
import asyncio
import json
import logging
import os
import re
import ssl
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from mcp_channels.client.configuration import WebSocketConfig

__all__ = ["main"]

INTERRUPTED: Final = 130  # as shells have it
UNREACHABLE: Final = 3

# Not imported from where they are described, since most commands need nothing of that.
HOSTS: Final = ("claude-code", "claude-desktop", "cursor", "vscode", "json")

STATUSES: Final = """\
exit status: 0 done, 1 the tool failed, 2 wrong usage, 3 no connection or no answer,
4 the server refused, 5 the connection dropped and the tool may have run"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(format="mcp-ws: %(message)s", level=logging.WARNING)
    if options.verbose or options.command == "bridge":
        logging.getLogger("mcp_channels.client").setLevel(logging.INFO)
    try:
        if options.command == "config":
            return _configure(options)
        return asyncio.run(_run(options, _make_config(options)))
    except ValueError as exc:
        parser.error(str(exc))
    except ModuleNotFoundError as exc:
        parser.error(f"{exc.name} is missing: install the package with [client].")
    except KeyboardInterrupt:
        return INTERRUPTED


async def _run(options: argparse.Namespace, config: WebSocketConfig) -> int:
    # Each is imported when it is wanted: a host waits for the bridge to start, and the
    # SDK would keep it waiting.
    if options.command == "bridge":
        from mcp_channels.client.bridge import run_bridge

        reason = await run_bridge(config)
        if reason is None:
            return 0
        print(f"mcp-ws: {reason}", file=sys.stderr)
        return UNREACHABLE

    from mcp_channels.client.commands import run_command

    return await run_command(options, config)


def _make_config(options: argparse.Namespace) -> WebSocketConfig:
    """Raise ValueError when the options, or the environment, are wrong."""
    headers = dict(_split(word, "--header") for word in options.header)
    for word in options.header_env:
        name, variable = _split(word, "--header-env")
        headers[name] = _read_variable(variable, "--header-env")
    token = options.token_env and _read_variable(options.token_env, "--token-env")
    context = None if options.ca_file is None else _trust(options.ca_file)
    return WebSocketConfig(
        options.url,
        token=token,
        headers=headers,
        ssl=context,
        request_timeout=options.timeout,
        # A bridge has nobody who would start it again.
        max_reconnect_attempts=None if options.command == "bridge" else 10,
    )


def _trust(path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as exc:
        raise ValueError(f"--ca-file {path}: {exc}.") from None


def _split(word: str, option: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"{option} takes NAME=VALUE.")
    return name, value


def _read_variable(name: str, option: str) -> str:
    value = os.environ.get(name)
    if value:
        return value
    if not re.fullmatch("[A-Z_][A-Z0-9_]*", name):
        # It may be the secret itself, which is not to be shown.
        raise ValueError(f"{option} takes the name of an environment variable.")
    raise ValueError(f"The environment variable {name} is not set.")


def _configure(options: argparse.Namespace) -> int:
    """Print or install how a host starts the bridge."""
    from mcp_channels.client import hosts

    WebSocketConfig(options.url)  # that it is one
    host = hosts.HOSTS[options.host]
    arguments, variables = [options.url], []
    for word in options.header:
        arguments += ["--header", word]
    for word in options.header_env:
        arguments += ["--header-env", word]
        variables.append(word.partition("=")[2])
    if options.token_env:
        arguments += ["--token-env", options.token_env]
        variables.append(options.token_env)
    name = options.name or hosts.make_name(options.url)
    configuration = hosts.configure(host, name, arguments, variables)
    if not options.install:
        print(json.dumps(configuration, indent=2))
        return 0
    path = options.path or (host.find_path and host.find_path())
    if path is None:
        raise ValueError(f"{options.host}: say with --path into which file.")
    hosts.install(configuration, path)
    print(f"{name} is in {path}.")
    if variables and "$" not in host.reference:
        print(f"Write into it the value of {' and '.join(variables)}.")
    return 0


def _make_parser() -> argparse.ArgumentParser:
    # Abbreviations are not allowed: "--token" would take a token for a name.
    server = argparse.ArgumentParser(add_help=False)
    server.add_argument("url", metavar="URL", help="ws:// or wss://")
    server.add_argument(
        "--token-env",
        metavar="NAME",
        help="environment variable with the bearer token",
    )
    server.add_argument(
        "--header",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="header to send; for secrets, take the next one",
    )
    server.add_argument(
        "--header-env",
        metavar="NAME=VARIABLE",
        action="append",
        default=[],
        help="header with the value of an environment variable",
    )
    server.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="authorities to trust, in PEM"
    )
    server.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="for each answer"
    )
    server.add_argument(
        "--verbose", action="store_true", help="tell what the connection does"
    )
    talk = argparse.ArgumentParser(add_help=False, parents=[server])
    talk.add_argument(
        "--json", action="store_true", help="print JSON, for programs to read"
    )
    talk.add_argument(
        "--legacy", action="store_true", help="speak a revision with a handshake"
    )

    parser = argparse.ArgumentParser(
        prog="mcp-ws",
        description="Use an MCP server over WebSocket.",
        epilog=STATUSES,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add = partial(commands.add_parser, allow_abbrev=False)

    command = add("list", parents=[talk], help="list what it offers")
    command.add_argument("what", nargs="?", choices=["tools", "resources", "prompts"])

    command = add("call", parents=[talk], help="call a tool")
    command.add_argument("name", metavar="TOOL")
    command.add_argument(
        "arguments",
        nargs="*",
        metavar="ARGUMENT",
        help="name=value, name:=JSON, or one JSON object",
    )
    command = add("read", parents=[talk], help="read a resource")
    command.add_argument("uri", metavar="URI")

    command = add("prompt", parents=[talk], help="get a prompt")
    command.add_argument("name", metavar="PROMPT")
    command.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="name=value")
    command = add("watch", parents=[talk], help="tell of changes as they happen")
    command.add_argument(
        "uris", nargs="*", metavar="URI", help="resources; without one, the lists"
    )
    command.add_argument("--count", type=int, help="end after so many changes")

    command = add("ping", parents=[talk], help="ask for an answer")
    command.add_argument("--count", type=int, default=3)
    command.add_argument("--interval", type=float, default=1.0, metavar="SECONDS")

    add("bridge", parents=[server], help="be a server on standard input and output")

    host = argparse.ArgumentParser(add_help=False)
    host.add_argument("host", choices=HOSTS)
    command = add(
        "config",
        parents=[host, server],
        help="print or install what a host needs to start the bridge",
    )
    command.add_argument("--name", help="of the server in the host")
    command.add_argument("--install", action="store_true", help="write it into a file")
    command.add_argument(
        "--path", type=Path, metavar="FILE", help="into another one than usual"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
