"""The command line: what it takes, what it keeps to itself, how it ends."""

import asyncio
import importlib.abc
import json
import logging
import runpy
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_channels.client import bridge, commands
from mcp_channels.client.__main__ import HOSTS, main
from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.hosts import HOSTS as ALL_HOSTS

ROOT = Path(__file__).resolve().parents[2]
URL = "ws://127.0.0.1:1/ws"


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """Leave the log as it was."""
    logger = logging.getLogger("mcp_channels.client")
    level = logger.level
    yield logger
    logger.setLevel(level)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, WebSocketConfig]]:
    """See what a command is given."""
    seen = []

    async def run_command(options: Any, config: WebSocketConfig) -> int:
        seen.append((options, config))
        return 7

    monkeypatch.setattr(commands, "run_command", run_command)
    return seen


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what is said of wrong usage."""
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert caught.value.code == 2
    return capsys.readouterr().err


# Options


def test_command_is_run_and_its_status_returned(seen):
    assert main(["call", URL, "find_books", "text=sea", "--json", "--legacy"]) == 7
    ((options, config),) = seen

    assert (options.command, options.name) == ("call", "find_books")
    assert options.arguments == ["text=sea"]
    assert (options.json, options.legacy) == (True, True)
    assert config.url == URL
    assert (config.token, config.request_timeout) == (None, None)
    assert config.max_reconnect_attempts == 10


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list", URL], {"what": None}),
        (["list", URL, "tools"], {"what": "tools"}),
        (["read", URL, "x://a"], {"uri": "x://a"}),
        (["prompt", URL, "greet", "a=b"], {"name": "greet", "arguments": ["a=b"]}),
        (["watch", URL], {"uris": [], "count": None}),
        (["watch", URL, "x://a", "--count", "2"], {"uris": ["x://a"], "count": 2}),
        (["ping", URL], {"count": 3, "interval": 1.0}),
        (["ping", URL, "--interval", "0.5"], {"interval": 0.5}),
    ],
)
def test_commands_take_what_they_need(seen, words, expected):
    assert main(words) == 7
    assert vars(seen[0][0]).items() >= expected.items()


def test_secrets_come_from_the_environment(seen, monkeypatch):
    monkeypatch.setenv("TOKEN", "t0ken")
    monkeypatch.setenv("SESSION", "sessionid=1")
    words = ["--header", "X-A=b=c", "--header-env", "Cookie=SESSION"]
    main(["list", URL, "--token-env", "TOKEN", "--timeout", "5", *words])
    _, config = seen[0]

    assert config.token == "t0ken"
    assert config.headers == {"X-A": "b=c", "Cookie": "sessionid=1"}
    assert config.request_timeout == 5


@pytest.mark.parametrize("option", ["--token-env", "--header-env"])
def test_variable_that_is_missing_is_named(capsys, monkeypatch, option):
    monkeypatch.delenv("TOKEN", raising=False)
    value = "TOKEN" if option == "--token-env" else "Cookie=TOKEN"

    assert "The environment variable TOKEN is not set." in refusal(
        capsys, "list", URL, option, value
    )


@pytest.mark.parametrize(
    "words", [["--token-env", "t0k.en"], ["--header-env", "A=t0k.en"]]
)
def test_token_that_is_taken_for_a_name_is_not_shown(capsys, words):
    said = refusal(capsys, "list", URL, *words)

    assert f"{words[0]} takes the name of an environment variable." in said
    assert "t0k.en" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "arguments are required: COMMAND"),
        (["list"], "arguments are required: URL"),
        (["list", "http://example.com"], "url must be like"),
        (["list", URL, "--header", "X"], "--header takes NAME=VALUE."),
        (["list", URL, "--header-env", "X"], "--header-env takes NAME=VALUE."),
        (["list", URL, "--ca-file", "/nowhere.pem"], "--ca-file /nowhere.pem: "),
        (["list", URL, "--timeout", "0"], "request_timeout must be more than 0"),
        (["config", "json", "nowhere"], "url must be like"),
    ],
)
def test_wrong_usage_is_explained(capsys, words, message):
    assert message in refusal(capsys, *words)


def test_token_is_not_taken_from_the_command_line(capsys):
    assert "unrecognized arguments" in refusal(capsys, "list", URL, "--token", "t0ken")


def test_authorities_come_from_a_file(seen, tmp_path, capsys):
    system = ssl.create_default_context().get_ca_certs(binary_form=True)
    one = ssl.DER_cert_to_PEM_cert(system[0]) if system else ""
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    assert f"--ca-file {path}: " in refusal(
        capsys, "list", "wss://example.com/ws", "--ca-file", str(path)
    )
    if not one:
        pytest.skip("The system trusts nobody.")
    path.write_text(one)
    main(["list", "wss://example.com/ws", "--ca-file", str(path)])
    context = seen[0][1].ssl

    assert context is not None
    assert context.get_ca_certs(binary_form=True) == [system[0]]


# The log


@pytest.mark.parametrize(
    ("words", "level"), [(["list", URL], 0), (["list", URL, "--verbose"], logging.INFO)]
)
def test_log_is_quiet_unless_asked(seen, logger, words, level):
    main(words)

    assert logger.level == level


# The bridge


@pytest.mark.parametrize(
    ("reason", "status", "said"), [(None, 0, ""), ("HTTP 401", 3, "mcp-ws: HTTP 401\n")]
)
def test_bridge_says_why_it_ended(monkeypatch, capsys, logger, reason, status, said):
    configs = []

    async def run_bridge(config: WebSocketConfig) -> str | None:
        configs.append(config)
        return reason

    monkeypatch.setattr(bridge, "run_bridge", run_bridge)

    assert main(["bridge", URL]) == status
    assert capsys.readouterr().err == said
    # Nobody starts it again, so it does not give up.
    assert configs[0].max_reconnect_attempts is None
    assert logger.level == logging.INFO


# Hosts


def test_hosts_are_those_that_are_described():
    assert list(HOSTS) == list(ALL_HOSTS)


def test_configuration_is_printed(capsys, monkeypatch):
    monkeypatch.delenv("TOKEN", raising=False)  # it need not be set now
    words = ["--token-env", "TOKEN", "--header", "X-A=b", "--header-env", "Cookie=C"]
    assert main(["config", "vscode", "wss://shop.example.com/ws", *words]) == 0
    printed = json.loads(capsys.readouterr().out)
    entry = printed["servers"]["shop-example-com"]

    assert entry["command"] == sys.executable
    assert entry["args"] == [
        "-m",
        "mcp_channels.client",
        "bridge",
        "wss://shop.example.com/ws",
        "--header",
        "X-A=b",
        "--header-env",
        "Cookie=C",
        "--token-env",
        "TOKEN",
    ]
    assert entry["env"] == {"C": "${input:C}", "TOKEN": "${input:TOKEN}"}


def test_configuration_that_is_printed_starts_the_bridge(capsys):
    main(["config", "json", URL])
    entry = json.loads(capsys.readouterr().out)["mcpServers"]["127-0-0-1"]
    run = subprocess.run(
        [entry["command"], *entry["args"]],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )

    assert run.stdout == b""


def test_configuration_is_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["config", "cursor", URL, "--install", "--name", "shop"]) == 0
    assert capsys.readouterr().out == "shop is in .cursor/mcp.json.\n"
    assert (
        "shop" in json.loads((tmp_path / ".cursor/mcp.json").read_text())["mcpServers"]
    )


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("json", "127-0-0-1 is in {}.\nWrite into it the value of TOKEN.\n"),
        ("vscode", "127-0-0-1 is in {}.\n"),
    ],
)
def test_value_that_a_host_cannot_find_is_asked_for(tmp_path, capsys, host, said):
    path = tmp_path / "hosts.json"
    words = ["--install", "--path", str(path), "--token-env", "TOKEN"]
    assert main(["config", host, URL, *words]) == 0

    assert capsys.readouterr().out == said.format(path)


def test_file_of_an_unknown_host_has_to_be_named(capsys):
    assert "json: say with --path into which file." in refusal(
        capsys, "config", "json", URL, "--install"
    )


def test_file_that_cannot_be_added_to_is_told(capsys, tmp_path):
    path = tmp_path / "hosts.json"
    path.write_text("// by hand")

    assert "add it yourself" in refusal(
        capsys, "config", "json", URL, "--install", "--path", str(path)
    )


# As a whole


@pytest.mark.parametrize(
    ("words", "module"), [(["bridge", URL], "bridge"), (["list", URL], "commands")]
)
def test_extra_that_is_missing_is_named(monkeypatch, capsys, words, module):
    class Missing(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *arguments: Any) -> None:
            if name == f"mcp_channels.client.{module}":
                raise ModuleNotFoundError(name="websockets")

    monkeypatch.delitem(sys.modules, f"mcp_channels.client.{module}")
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])

    assert "websockets is missing: install the package with [client]." in refusal(
        capsys, *words
    )


def test_interrupted_command_says_so(monkeypatch):
    def interrupt(coroutine: Any) -> None:
        coroutine.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run", interrupt)

    assert main(["list", URL]) == 130


def test_module_is_run(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mcp-ws", "config", "json", URL])
    monkeypatch.delitem(sys.modules, "mcp_channels.client.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("mcp_channels.client", run_name="__main__")

    assert caught.value.code == 0
    assert "mcpServers" in capsys.readouterr().out


def test_server_is_talked_to(distant, capsys, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")

    assert main(["ping", distant.url, "--count", "1"]) == 0
    assert capsys.readouterr().out.startswith("stranger 1, 2025-11-25: ")


def test_program_explains_itself():
    run = subprocess.run(
        [sys.executable, "-m", "mcp_channels.client", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert run.stdout.startswith("usage: mcp-ws")
    for command in (
        "list",
        "call",
        "read",
        "prompt",
        "watch",
        "ping",
        "bridge",
        "config",
    ):
        assert f"\n    {command} " in run.stdout
    assert "exit status" in run.stdout
