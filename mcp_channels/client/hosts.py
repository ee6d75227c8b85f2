"""How hosts are told of a server: what each wants in its configuration, and where."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["HOSTS", "Host", "configure", "install", "make_name"]


@dataclass(frozen=True)
class Host:
    """A program that starts servers, and keeps in a JSON file how."""

    key: str  # of the object that holds the servers
    # How it takes the environment variable NAME. Where it cannot, the value itself has
    # to be written into the file, and that is left to its owner.
    reference: str = "the value of NAME"
    has_type: bool = False  # it wants to be told that the server is a program
    find_path: Callable[[], Path] | None = None  # None: only its user knows


def _find_claude_desktop() -> Path:
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        folder = Path(os.environ["APPDATA"])
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "Claude" / "claude_desktop_config.json"


HOSTS: Final = {
    # A file in the folder of now is for the project in it, and often shared: there is
    # no value of a variable in those.
    "claude-code": Host("mcpServers", "${NAME}", True, lambda: Path(".mcp.json")),
    "claude-desktop": Host("mcpServers", find_path=_find_claude_desktop),
    "cursor": Host(
        "mcpServers", "${env:NAME}", find_path=lambda: Path(".cursor/mcp.json")
    ),
    "vscode": Host("servers", "${input:NAME}", True, lambda: Path(".vscode/mcp.json")),
    "json": Host("mcpServers"),
}


def configure(
    host: Host, name: str, arguments: Sequence[str], variables: Sequence[str]
) -> dict[str, Any]:
    """
    Return the part of a host's configuration that starts a bridge.

    `arguments` are those of `mcp-ws bridge`, and `variables` the environment variables
    that they name.
    """
    entry: dict[str, Any] = {
        # The Python of now, since a host may have another PATH.
        "command": sys.executable,
        "args": ["-m", "mcp_channels.client", "bridge", *arguments],
    }
    if host.has_type:
        entry = {"type": "stdio", **entry}
    if variables:
        entry["env"] = {one: host.reference.replace("NAME", one) for one in variables}
    configuration: dict[str, Any] = {host.key: {name: entry}}
    if variables and "input:" in host.reference:
        # It asks for the value, once, and keeps it with other secrets.
        configuration["inputs"] = [
            {"type": "promptString", "id": one, "description": one, "password": True}
            for one in variables
        ]
    return configuration


def install(configuration: dict[str, Any], path: Path) -> None:
    """
    Put a configuration into a file, and leave all else in it as it is.

    Raise ValueError when the file holds what cannot be added to.
    """
    path = path.resolve()  # a link stays one
    before = _read(path)
    for key, value in configuration.items():
        there = before.setdefault(key, type(value)())
        if type(there) is not type(value):
            raise ValueError(f"{path}: {key!r} has another form; add it yourself.")
        if isinstance(value, dict):
            there.update(value)
        else:
            there += [one for one in value if one not in there]
    _write(path, json.dumps(before, indent=2, ensure_ascii=False) + "\n")


def make_name(url: str) -> str:
    """Return a name for the server at `url`, of characters that every host takes."""
    host = urlsplit(url).hostname or ""
    return "".join(one if one.isascii() and one.isalnum() else "-" for one in host)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        # Some hosts allow comments, which writing it again would lose.
        raise ValueError(f"{path} is not plain JSON; add it yourself: {exc}.") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object; add it yourself.")
    return found


def _write(path: Path, text: str) -> None:
    """Write a file wholly or not at all. A new one is for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode if path.exists() else 0o600
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, delete=False
    ) as file:
        file.write(text)
    os.chmod(file.name, mode)
    os.replace(file.name, path)
