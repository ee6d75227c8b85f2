"""How hosts are told of a server."""

import json
import stat
import sys
from pathlib import Path

import pytest

from mcp_channels.client.hosts import HOSTS, configure, install, make_name

URL = "wss://example.com/ws"
ARGUMENTS = [URL, "--token-env", "TOKEN"]
WRITTEN = {"TOKEN": "the value of TOKEN"}
STARTED = {
    "command": sys.executable,
    "args": ["-m", "mcp_channels.client", "bridge", *ARGUMENTS],
}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (
            "claude-code",
            {
                "mcpServers": {
                    "site": {"type": "stdio", **STARTED, "env": {"TOKEN": "${TOKEN}"}}
                }
            },
        ),
        (
            "claude-desktop",
            {"mcpServers": {"site": {**STARTED, "env": WRITTEN}}},
        ),
        (
            "cursor",
            {"mcpServers": {"site": {**STARTED, "env": {"TOKEN": "${env:TOKEN}"}}}},
        ),
        (
            "vscode",
            {
                "servers": {
                    "site": {
                        "type": "stdio",
                        **STARTED,
                        "env": {"TOKEN": "${input:TOKEN}"},
                    }
                },
                "inputs": [
                    {
                        "type": "promptString",
                        "id": "TOKEN",
                        "description": "TOKEN",
                        "password": True,
                    }
                ],
            },
        ),
        (
            "json",
            {"mcpServers": {"site": {**STARTED, "env": WRITTEN}}},
        ),
    ],
)
def test_host_is_told_in_its_own_words(host, expected):
    assert configure(HOSTS[host], "site", ARGUMENTS, ["TOKEN"]) == expected


@pytest.mark.parametrize("host", HOSTS)
def test_nothing_is_said_of_secrets_where_there_are_none(host):
    configuration = configure(HOSTS[host], "site", [URL], [])
    (key,) = configuration

    assert "env" not in configuration[key]["site"]


@pytest.mark.parametrize(
    ("platform", "path"),
    [
        ("darwin", "Library/Application Support/Claude/claude_desktop_config.json"),
        ("win32", "Roaming/Claude/claude_desktop_config.json"),
        ("linux", ".config/Claude/claude_desktop_config.json"),
    ],
)
def test_file_of_claude_desktop_is_where_the_system_has_it(
    monkeypatch, tmp_path, platform, path
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path / "Roaming"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    find = HOSTS["claude-desktop"].find_path
    assert find is not None

    assert find() == tmp_path / path


def test_files_of_a_project_are_in_it():
    paths = {name: host.find_path and host.find_path() for name, host in HOSTS.items()}
    del paths["claude-desktop"]

    assert paths == {
        "claude-code": Path(".mcp.json"),
        "cursor": Path(".cursor/mcp.json"),
        "vscode": Path(".vscode/mcp.json"),
        "json": None,
    }


def test_file_is_made_for_its_owner_only(tmp_path):
    path = tmp_path / "new" / "mcp.json"
    install({"mcpServers": {"site": {"command": "é"}}}, path)

    assert json.loads(path.read_text("utf-8")) == {
        "mcpServers": {"site": {"command": "é"}}
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_rest_of_a_file_is_left_as_it_is(tmp_path):
    path = tmp_path / "mcp.json"
    before = {
        "theme": "dark",
        "mcpServers": {"other": {"command": "x"}, "site": {"command": "old", "y": 1}},
        "inputs": [{"id": "A"}],
    }
    path.write_text(json.dumps(before))
    path.chmod(0o644)
    configuration = {
        "mcpServers": {"site": {"command": "new"}},
        "inputs": [{"id": "A"}, {"id": "B"}],
    }
    install(configuration, path)
    install(configuration, path)

    assert json.loads(path.read_text()) == {
        "theme": "dark",
        "mcpServers": {"other": {"command": "x"}, "site": {"command": "new"}},
        "inputs": [{"id": "A"}, {"id": "B"}],
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_link_to_a_file_stays_one(tmp_path):
    path, link = tmp_path / "real.json", tmp_path / "link.json"
    path.write_text("{}")
    link.symlink_to(path)
    install({"mcpServers": {"site": {}}}, link)

    assert link.is_symlink()
    assert json.loads(path.read_text()) == {"mcpServers": {"site": {}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("// a comment\n{}", "is not plain JSON; add it yourself"),
        ("", "is not plain JSON"),
        ("[]", "holds no JSON object"),
        ('{"mcpServers": []}', "'mcpServers' has another form"),
    ],
)
def test_file_that_cannot_be_added_to_is_left_alone(tmp_path, text, message):
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        install({"mcpServers": {"site": {}}}, path)

    assert path.read_text() == text


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("wss://shop.example.com:8443/ws/staff", "shop-example-com"),
        ("ws://[::1]:8000/ws", "--1"),
        ("ws://bücher.example/ws", "b-cher-example"),
        ("", ""),
    ],
)
def test_name_is_made_of_the_host(url, name):
    assert make_name(url) == name
