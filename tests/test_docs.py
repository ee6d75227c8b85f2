"""
What the documentation says is so.

The pages are run: files and commands of the tutorial make a site in a temporary
directory, examples are executed, and what is shown as printed has to be printed. A file
is a code block under "Write `path`:" or "Add to the end of `path`:"; a line of dots in
shown output stands for any lines, dots within a line for any text.
"""

import ast
import asyncio
import builtins
import contextlib
import dataclasses
import doctest
import importlib.util
import inspect
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured

import mcp_channels
from mcp_channels import AudioContent, Context, ResourceLink
from mcp_channels.conf import Settings, problems
from mcp_channels.consumers import MCPConsumer
from mcp_channels.protocol import content, elicitation, errors, methods, types
from mcp_channels.protocol.connection import Limits
from mcp_channels.protocol.projection import project
from mcp_channels.protocol.server import ServerConnection, ServerDescription
from mcp_channels.protocol.versions import HANDSHAKE_REVISIONS, Era, Revision
from mcp_channels.server.dispatch import HANDLERS
from mcp_channels.server.registry import Registry
from mcp_channels.server.tools import Tool
from mcp_channels.testing import MCPCommunicator, RequestFailed
from project.peer import sign_in

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]

START_TIMEOUT = 60  # seconds for a server to listen; a busy machine takes five
COMMAND_TIMEOUT = 120  # seconds for one command of a page


# Pages, read


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: str
    line: int  # of its first line of code
    language: str
    text: str
    lead: str  # the last line of prose before it

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks(text: str, page: str = "page.md") -> list[Block]:
    """Find the fenced code blocks of a page."""
    blocks, lead, language, code = [], "", None, []
    for number, line in enumerate(text.splitlines(), start=1):
        fence = re.fullmatch(r"```(\w*)", line)
        if fence and language is None:
            language, code, start = fence[1], [], number + 1
        elif fence:
            source = "".join(f"{one}\n" for one in code)
            blocks.append(Block(page, start, language or "", source, lead))
            language, lead = None, ""
        elif language is not None:
            code.append(line)
        elif line.strip():
            lead = line
    assert language is None, f"{page}: a code block is not closed"
    return blocks


def leave_code_out(text: str) -> Iterator[str]:
    """Give the lines of a page that are not in a code block."""
    is_code = False
    for line in text.splitlines():
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield line


def read_prose(text: str) -> list[str]:
    """Give the lines of a page that are neither code nor empty."""
    return [line for line in leave_code_out(text) if line.strip()]


def read_tables(text: str) -> list[list[list[str]]]:
    """Give the tables of a page, each a list of rows, each a list of cells."""
    tables: list[list[list[str]]] = []
    before = ""
    for line in leave_code_out(text):
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append([])
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            tables[-1].append([cell.strip().replace("\\|", "|") for cell in cells])
        before = line
    return tables


def find_table(page: str, *header: str) -> list[dict[str, str]]:
    """Give the rows of the first table of a page whose header begins so."""
    table = next(
        table
        for table in read_tables((ROOT / page).read_text(encoding="utf-8"))
        if tuple(table[0][: len(header)]) == header
    )
    return [dict(zip(table[0], row, strict=True)) for row in table[2:]]


def code(cell: str) -> str:
    """Take a table's cell that is code out of its backticks."""
    return cell.strip("`")


BLOCKS = [
    block
    for path in PAGES
    for block in read_blocks(
        path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    )
]


def blocks_of(page: str, language: str | None = None) -> list[Block]:
    return [
        block
        for block in BLOCKS
        if block.page == page and language in (None, block.language)
    ]


# Links


def make_anchors(text: str) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    headings = [line.lstrip("# ") for line in read_prose(text) if line.startswith("#")]
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def find_broken_links(path: Path) -> list[str]:
    """Find relative links of a page to files or headings that are not there."""
    broken = []
    for link in re.findall(
        r"\]\(([^)\s]+)\)", "\n".join(read_prose(path.read_text(encoding="utf-8")))
    ):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (
            anchor and anchor not in make_anchors(target.read_text(encoding="utf-8"))
        ):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    assert find_broken_links(path) == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")

    assert [
        path.name
        for path in PAGES
        if path.parent.name == "docs"
        and path.name != "index.md"
        and f"({path.name})" not in index
    ] == []


# Code


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language == "python"],
    ids=lambda block: block.place,
)
def test_python_compiles(block):
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    assert compile(block.text, block.place, "exec", flags)


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language == "json"],
    ids=lambda block: block.place,
)
def test_json_is_json(block):
    assert json.loads(block.text) is not None


def read_commands(block: Block) -> list[tuple[str, list[str]]]:
    """Give the commands of a block, each with the lines that it is said to print."""
    if block.language == "sh":
        lines = [line for line in block.text.splitlines() if line.strip()]
        return [(line, []) for line in lines if not line.startswith("#")]
    commands: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append((line.removeprefix("$ "), []))
        else:
            commands[-1][1].append(line)
    return commands


COMMANDS = [
    (block, command, output)
    for block in BLOCKS
    if block.language in ("sh", "console")
    for command, output in read_commands(block)
]

# What a reader's machine has, besides Python and this repository.
TOOLS = frozenset({".", "cd", "export", "mkdir"})

# What the documentation makes before it uses it.
MADE = frozenset({"manage.py", "agent.py", "conversation.py"})


def is_there(command: str) -> bool:
    """Say whether the program that a command names exists."""
    command, _, _ = command.partition("  #")
    words = [word for word in command.split() if not re.match(r"[A-Z_]+=", word)]
    program, arguments = words[0], words[1:]
    if program in TOOLS:
        return True
    if program in ("python", ".venv/bin/python"):
        if arguments[0] == "-m":
            return importlib.util.find_spec(arguments[1]) is not None
        return arguments[0] in MADE
    if "/" in program:
        return os.access(ROOT / program, os.X_OK)
    return program == "django-admin"


@pytest.mark.parametrize("command", sorted({command for _, command, _ in COMMANDS}))
def test_command_exists(command):
    assert is_there(command)


@pytest.mark.parametrize(
    "command", [command for _, command, _ in COMMANDS if "pip install" in command]
)
def test_extra_that_is_installed_exists(command):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, extras in re.findall(r"([\w-]+)\[([\w,-]+)\]", command):
        assert name == project["name"]
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


def matches(expected: list[str], printed: list[str]) -> bool:
    """Say whether output is what is shown: dots stand for anything."""
    pattern = ""
    for line in expected:
        if line == "...":
            pattern += r"(?:.*\n)*"
        else:
            pattern += r"[^\n]*".join(map(re.escape, line.split("..."))) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


# A site made of pages

# The environment that the tests run in is what these make.
PREPARED = re.compile(r"mkdir|cd|python -m venv|\. \.venv|python -m pip")


class Site:
    """A directory that the files and commands of a page make a site of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "library-site"
        self.folder.mkdir()
        self.ran: list[str] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        commands = folder / "bin"
        commands.mkdir()
        for name, module in (("python", ""), ("django-admin", "-m django")):
            script = commands / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            script.chmod(0o755)
        self.environment = {
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    def text(self, text: str) -> str:
        """Put the port of this site in the place of the port of the pages."""
        return text.replace("8000", str(self.port))

    def follow(self, block: Block) -> None:
        """Do what a block says: write a file, or run its commands."""
        file = re.fullmatch(r"(Write|Add to the end of) `(.+)`:", block.lead)
        if file:
            path = self.folder / file[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if file[1] == "Write" else "a") as written:
                written.write(self.text(block.text))
        elif block.language == "console":
            for command, output in read_commands(block):
                self.run(command, output)
        else:
            pytest.fail(f"{block.place} is neither a file nor a command")

    def run(self, command: str, output: list[str]) -> None:
        """Run a command, and see that it prints what is shown."""
        if PREPARED.match(command):
            return
        run = subprocess.run(
            ["sh", "-c", self.text(command)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT,
        )
        printed = run.stdout.splitlines()
        self.ran.append(command)

        assert run.returncode == 0, f"{command}\n{run.stdout}"
        assert matches([self.text(line) for line in output], printed), (
            f"{command}\n{run.stdout}"
        )

    @contextlib.contextmanager
    def served(self, output: list[str]) -> Iterator[None]:
        """Serve the site in a process, from when it has printed what is shown."""
        log = self.folder.parent / "server.log"
        with log.open("w") as written:
            # Reloading would make a second process.
            server = subprocess.Popen(
                [
                    sys.executable,
                    "manage.py",
                    "runserver",
                    "--noreload",
                    f"{self.port}",
                ],
                cwd=self.folder,
                env=self.environment,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        try:
            shown = [self.text(line) for line in output]
            deadline = time.monotonic() + START_TIMEOUT
            while not matches(shown, log.read_text().splitlines()):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            server.terminate()
            server.wait(30)
        assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    """The tutorial's site, followed to its end and served meanwhile."""
    site = Site(tmp_path_factory.mktemp("tutorial"))
    with contextlib.ExitStack() as until_the_end:
        for block in blocks_of("docs/tutorial.md"):
            for command, output in (
                read_commands(block) if block.language == "console" else []
            ):
                if command == "python manage.py runserver":
                    until_the_end.enter_context(site.served(output))
                    break
                if command.startswith("export SESSION="):
                    address = f"http://127.0.0.1:{site.port}"
                    cookie = sign_in(address, "ada", "moby")
                    site.environment["SESSION"] = cookie.removeprefix("sessionid=")
                else:
                    site.run(command, output)
            if block.language != "console":
                site.follow(block)
    yield site
    shutil.rmtree(site.folder)


def test_tutorial_does_what_it_says(site):
    shown = [
        command
        for block, command, _ in COMMANDS
        if block.page == "docs/tutorial.md" and not PREPARED.match(command)
    ]

    assert shown.count("python manage.py runserver") == 1
    assert set(shown) - set(site.ran) == {
        "export SESSION=the-value-of-the-cookie",
        "python manage.py runserver",
    }


def test_testing_page_does_what_it_says(site):
    opening, *blocks = blocks_of("docs/testing.md")
    for block in blocks:
        site.follow(block)
    (site.folder / "library/test_opening.py").write_text(opening.text)

    site.run("python -m pytest -q library/test_opening.py", ["...", "1 passed in ..."])


# Examples, run


@pytest.fixture
def page(monkeypatch, request) -> ModuleType:
    """A module that `tool` of the examples of a page registers with alone."""
    registry = Registry()
    monkeypatch.setattr("mcp_channels.tool", registry.tool)
    module = ModuleType("page")
    # Where the annotations of a class in it are looked up.
    monkeypatch.setitem(sys.modules, "page", module)
    module.registry = registry
    return module


def consumer_of(registry: Registry) -> type[MCPConsumer]:
    return type("Consumer", (MCPConsumer,), {"registry": registry})


async def run_examples(text: str, namespace: dict[str, Any]) -> list[str]:
    """Run an interactive session, and give what is printed other than shown."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    wrong = []
    for example in doctest.DocTestParser().get_examples(text):
        printed = io.StringIO()
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        statement = compile(example.source, "<example>", "single", flags)
        try:
            with contextlib.redirect_stdout(printed):
                value = eval(statement, namespace)
                if inspect.iscoroutine(value):
                    await value
        except Exception as exc:
            if example.exc_msg is None:
                raise
            printed.write(f"{type(exc).__module__}.{type(exc).__name__}: {exc}\n")
        shown = example.want if example.exc_msg is None else example.exc_msg
        if not doctest.OutputChecker().check_output(shown, printed.getvalue(), options):
            wrong.append(f"{example.source}{printed.getvalue()}")
    return wrong


@pytest.mark.django_db(transaction=True)
async def test_examples_of_tools_print_what_is_shown(page, monkeypatch):
    monkeypatch.setattr(builtins, "_", None, raising=False)  # a session sets it
    for block in blocks_of("docs/tools.md", "python"):
        exec(compile(block.text, block.place, "exec"), vars(page))
    page.ShopConfig.mcp_register(None, page.registry)
    async with MCPCommunicator(consumer=consumer_of(page.registry)) as page.client:
        for block in blocks_of("docs/tools.md", "pycon"):
            assert await run_examples(block.text, vars(page)) == []


# Settings


def test_settings_page_is_what_the_code_says():
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    rows = {
        code(row[0]): dict(zip(table[0], row, strict=True))
        for table in read_tables(text)
        if table[0][0] == "setting"
        for row in table[2:]
    }
    fields = {field.name: field for field in dataclasses.fields(Settings)}

    assert list(rows) == list(fields)
    for name, row in rows.items():
        field = fields[name]
        if name == "SERVER_VERSION":
            assert row["default"] == "the package's version"
        else:
            assert ast.literal_eval(code(row["default"])) == field.default, name
        if "`None`" in row:
            is_allowed = "None" in str(field.type)
            assert (row["`None`"] != "not allowed") == is_allowed, name


async def test_wrong_settings_let_nobody_in(settings):
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "NO_SUCH": 1}

    with pytest.raises(ImproperlyConfigured, match="'NO_SUCH' is not a setting"):
        await MCPCommunicator().connect()


@pytest.mark.parametrize("page", ["README.md", "docs/settings.md", "docs/tutorial.md"])
def test_settings_that_are_shown_are_right(page, settings):
    shown = [
        ast.literal_eval(node.value)
        for block in blocks_of(page, "python")
        for node in ast.parse(block.text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets) == "MCP_CHANNELS"
    ]
    for settings.MCP_CHANNELS in shown:
        assert problems() == []
    assert shown or page == "README.md"


def test_system_checks_that_are_listed_are_those_there_are():
    source = (ROOT / "mcp_channels/checks.py").read_text(encoding="utf-8")
    listed = [code(row["id"]) for row in find_table("docs/settings.md", "id", "level")]

    assert listed == sorted(set(re.findall(r'"(mcp_channels\.\w\d+)"', source)))


# The protocol


def marks_of(method: methods.Method) -> dict[str, str]:
    """Say who sends a method in each revision, as the tables of the page do."""
    marks = {
        (True, True): "both",
        (True, False): "client",
        (False, True): "server",
        (False, False): "-",
    }
    return {
        one.value: marks[one in method.from_client, one in method.from_server]
        for one in Revision
    }


@pytest.mark.parametrize(
    ("kind", "table"),
    [("request", methods.REQUESTS), ("notification", methods.NOTIFICATIONS)],
)
def test_methods_of_the_page_are_those_of_the_code(kind, table):
    rows = find_table("docs/protocol.md", kind)
    listed = {code(row.pop(kind)): row for row in rows}
    for row in listed.values():
        assert row.pop("implemented").split(";")[0] in ("yes", "not yet")

    assert listed == {name: marks_of(method) for name, method in table.items()}


# Asynchronous ones: the threads of synchronous tools may have kept a connection to the
# database from a test that was allowed to use it.


@pytest.fixture
def registry() -> Registry:
    registry = Registry()

    @registry.tool
    async def echo(text: str) -> str:
        return text

    @registry.tool
    async def total() -> int:
        return 3

    return registry


@pytest.mark.parametrize("revision", [revision.value for revision in Revision])
async def test_requests_are_answered_as_the_page_says(revision, registry):
    answered = {
        code(row["request"])
        for row in find_table("docs/protocol.md", "request")
        if row["implemented"].startswith("yes") and row[revision] in ("client", "both")
    }
    consumer = consumer_of(registry)
    async with MCPCommunicator(revision=revision, consumer=consumer) as client:
        found = set()
        for name in methods.REQUESTS:
            try:
                await client.request(name)
            except RequestFailed as exc:
                if exc.code == errors.METHOD_NOT_FOUND:
                    continue
            found.add(name)

    assert found == answered
    assert {name for name in HANDLERS if name in found} == set(HANDLERS)


def test_notifications_are_used_as_the_page_says():
    used = {
        node.value
        for name in ("connection", "server")
        for node in ast.walk(
            ast.parse((ROOT / f"mcp_channels/protocol/{name}.py").read_text())
        )
        if isinstance(node, ast.Constant) and node.value in methods.NOTIFICATIONS
    }

    assert used == {
        code(row["notification"])
        for row in find_table("docs/protocol.md", "notification")
        if row["implemented"].startswith("yes")
    }


def test_error_codes_of_the_page_are_those_of_the_code():
    assert {
        code(row["name"]): int(row["code"])
        for row in find_table("docs/protocol.md", "code", "name")
    } == {name: value for name, value in vars(errors).items() if type(value) is int}


def find_gaps(kind: type[msgspec.Struct]) -> dict[str, list[str]]:
    """Give the members of a struct that some revisions lack, with those that do not."""
    fields: dict[str, Any] = dict.fromkeys(kind.__struct_fields__, "x")
    if kind is content.ResourceContents:
        fields["blob"] = msgspec.UNSET  # it has text
    objects = {"output_schema": {"type": "object"}, "structured_content": {}}
    fields |= {name: objects[name] for name in objects.keys() & fields.keys()}
    projected = {
        revision.value: result
        for revision in Revision
        if type(result := project(kind(**fields), revision)) is kind
    }
    return {
        f"{kind.__name__}.{wire}": there
        for name, wire in zip(fields, kind.__struct_encode_fields__, strict=True)
        if fields[name] is not msgspec.UNSET
        and len(
            there := [
                revision
                for revision, result in projected.items()
                if getattr(result, name) is not msgspec.UNSET
            ]
        )
        < len(projected)
    }


def test_members_by_revision_are_those_of_the_projection():
    nouns = {
        noun
        for module in (content, elicitation, methods, types)
        for noun in vars(module).values()
        if inspect.isclass(noun) and issubclass(noun, content.Noun)
    }
    gaps: dict[str, list[str]] = {}
    for noun in nouns:
        gaps |= find_gaps(noun)
    latest = list(Revision)[-1].value

    assert {
        code(row["member"]): (row["since"], row["until"] or latest)
        for row in find_table("docs/protocol.md", "member", "since")
    } == {name: (there[0], there[-1]) for name, there in gaps.items()}


CLIENT = {"name": "test", "version": "1"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def complete(frame: Any) -> Any:
    """Put into a frame of the page what it leaves out."""
    if isinstance(frame, list):
        return [complete(member) for member in frame]
    if not isinstance(frame, dict):
        return frame
    frame = {"jsonrpc": "2.0", **frame}
    if isinstance(frame.get("params"), dict) and frame["params"].get("_meta") == "ok":
        frame["params"]["_meta"] = ENVELOPE
    return frame


def holds(value: Any, part: Any) -> bool:
    """Say whether all of `part` is in `value`; a list has to be there whole."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(
            key in value and holds(value[key], member) for key, member in part.items()
        )
    if isinstance(part, list):
        return (
            isinstance(value, list)
            and len(value) == len(part)
            and all(map(holds, value, part))
        )
    return type(value) is type(part) and bool(value == part)


DECISIONS = find_table("docs/protocol.md", "before", "sent", "answered")


@pytest.mark.parametrize(
    "row", DECISIONS, ids=[f"{number}" for number, _ in enumerate(DECISIONS, start=1)]
)
async def test_decision_is_what_the_page_says(row, registry):
    before, sent, answered = row["before"], code(row["sent"]), code(row["answered"])
    is_legacy = before in [revision.value for revision in HANDSHAKE_REVISIONS]
    client = MCPCommunicator(
        revision=before if is_legacy else "2026-07-28", consumer=consumer_of(registry)
    )
    await client.connect()
    if is_legacy:
        await client.initialize()
    elif before != "nothing":
        before = {"modern": "tools/list", "discover": "server/discover"}[before]
        await client.request(before)
    with contextlib.suppress(ValueError):
        sent = json.dumps(complete(json.loads(sent)))
    await client.send_text(sent)
    if answered == "nothing":
        assert await client.receive_nothing()
    else:
        answer = await client.receive()

        assert holds(answer, json.loads(answered)), answer
    await client.disconnect()


@pytest.mark.parametrize("revision", [revision.value for revision in Revision])
async def test_content_is_worded_as_the_page_says(revision):
    registry = Registry()

    @registry.tool
    async def show() -> list[AudioContent | ResourceLink]:
        link = ResourceLink("https://example.com/logo.png", "logo")
        return [AudioContent(b"abc", "audio/wav"), link]

    page = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    async with MCPCommunicator(
        revision=revision, consumer=consumer_of(registry)
    ) as client:
        audio, link = (await client.call_tool("show"))["content"]

    assert audio["type"] == ("text" if revision < "2025-03-26" else "audio")
    assert link["type"] == ("text" if revision < "2025-06-18" else "resource_link")
    for block in (audio, link):
        assert block["type"] != "text" or f"text: `{block['text']}`" in page


@pytest.mark.parametrize("revision", [revision.value for revision in Revision])
@pytest.mark.parametrize("has_tools", [False, True])
async def test_capabilities_are_told_as_the_page_says(revision, has_tools, registry):
    consumer = consumer_of(registry if has_tools else Registry())
    client = MCPCommunicator(revision=revision, consumer=consumer)
    await client.connect()
    if client.revision.era is Era.LEGACY:
        told = await client.initialize()
    else:
        told = await client.request("server/discover")

    assert told["capabilities"].pop("logging") == {}
    assert told["capabilities"] == ({"tools": {}} if has_tools else {})
    await client.disconnect()


# The design


def test_rooms_of_the_design_are_those_there_are():
    tree = next(
        block.text
        for block in blocks_of("docs/design.md", "text")
        if block.text.startswith("mcp_channels/")
    )
    drawn, room = set(), ""
    for line in tree.splitlines()[1:]:
        indent, name = re.match(r"( +)(\S+)", line).groups()
        if name.endswith("/"):
            room = name
        else:
            drawn.add((room if len(indent) > 4 else "") + name)
    package = ROOT / "mcp_channels"

    assert drawn == {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if path.name != "__init__.py" or path.parent == package
    }


def test_files_of_the_ways_exist_and_hold_what_is_named():
    ways = [
        re.match(r" (\S+\.py) +(?:\w+\.)?(\w+)", line)
        for block in blocks_of("docs/design.md", "text")
        for line in block.text.splitlines()
    ]
    for file, name in (way.groups() for way in ways if way):
        source = (ROOT / "mcp_channels" / file).read_text(encoding="utf-8")

        assert name == "the" or f"def {name}(" in source


def test_libraries_of_the_design_are_those_that_are_needed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = {row["library"].split()[0].lower() for row in LIBRARIES}

    assert listed == {re.split("[<>=]", text)[0] for text in project["dependencies"]}


LIBRARIES = find_table("docs/design.md", "library")


def test_benchmarks_of_the_budgets_exist():
    for row in find_table("docs/design.md", "what", "budget"):
        assert importlib.util.find_spec(code(row["measured by"]))


# Names of the interface


def test_client_takes_and_does_what_the_testing_page_says():
    parameters = inspect.signature(MCPCommunicator).parameters
    arguments = {
        code(row["argument"]): code(row["default"])
        for row in find_table("docs/testing.md", "argument")
    }
    rows = " ".join(row["method"] for row in find_table("docs/testing.md", "method"))
    public = {name for name in vars(MCPCommunicator) if not name.startswith("_")}

    assert list(arguments) == list(parameters)
    for name, shown in arguments.items():
        default = parameters[name].default
        assert shown == ("MCPConsumer" if default is MCPConsumer else shown)
        assert default is MCPConsumer or ast.literal_eval(shown) == default
    assert set(re.findall(r"`(\w+)\(", rows)) == public


def test_every_option_of_a_tool_is_explained():
    text = (ROOT / "docs/tools.md").read_text(encoding="utf-8")
    options = list(inspect.signature(Tool).parameters)[1:]

    assert [
        option
        for option in options
        if f"`{option}`" not in text and f"{option}=" not in text
    ] == []


def test_every_member_of_a_context_is_explained():
    listed = {
        re.match(r"`(\w+)", row["member"])[1]
        for row in find_table("docs/tools.md", "member")
    }
    own = {name for name in vars(Context) if not name.startswith("_")}

    assert listed == own - {"request", "session"}


# What the README says


async def test_readme_tool_is_offered_as_it_says(page, db):
    (block,) = (
        block for block in blocks_of("README.md", "python") if "@tool" in block.text
    )
    exec(compile(block.text, block.place, "exec"), vars(page))
    somebody = get_user_model()(username="ada", is_superuser=True)
    consumer = consumer_of(page.registry)
    async with MCPCommunicator(somebody, consumer=consumer) as client:
        (tool,) = await client.list_tools()
        counted = await client.call_tool("count_users", {"active": True})
        refused = await client.call_tool("count_users", {"activ": True})
    async with MCPCommunicator(consumer=consumer) as nobody:
        hidden = await nobody.list_tools()
        with pytest.raises(RequestFailed, match="Unknown tool"):
            await nobody.call_tool("count_users")

    assert tool["description"] == "Count the people who have an account."
    assert tool["inputSchema"]["properties"]["active"]["description"]
    assert counted["structuredContent"] == 0
    assert refused["isError"]
    assert "did you mean 'active'?" in refused["content"][0]["text"]
    assert hidden == []


@pytest.mark.parametrize("allowed", [False, True])
async def test_nobody_gets_in_unless_that_is_allowed(allowed, registry, settings):
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True} if allowed else {}
    client = MCPCommunicator(consumer=consumer_of(registry))
    if allowed:
        assert await client.connect() is None
        await client.disconnect()
    else:
        with pytest.raises(ConnectionRefusedError, match="401"):
            await client.connect()


def test_readme_has_the_files_of_the_tutorial():
    (short,) = (b for b in blocks_of("README.md", "python") if "asgi.py" in b.text)
    (long,) = (
        b for b in blocks_of("docs/tutorial.md") if b.lead == "Write `mysite/asgi.py`:"
    )

    assert short.text == f"# mysite/asgi.py\n{long.text}"


def test_versions_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    djangos = [
        name.rpartition(" ")[2]
        for name in project["classifiers"]
        if re.search(r"Django :: \d", name)
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert project["requires-python"] == ">=3.11"
    assert "channels>=4.3,<5" in project["dependencies"]
    assert "django>=5.2,<6.2" in project["dependencies"]
    assert djangos == ["5.2", "6.0", "6.1"]
    assert "Python 3.11 or newer, Django 5.2, 6.0 or 6.1, and Channels 4.3" in readme
    assert f"It is version {mcp_channels.__version__}," in readme


def test_transport_is_missing_and_short():
    (block,) = (
        block
        for block in blocks_of("docs/tutorial.md")
        if block.lead == "Write `websocket_transport.py`:"
    )

    assert importlib.util.find_spec("mcp.client.websocket") is None
    assert importlib.util.find_spec("mcp_channels.client") is None
    assert len([line for line in block.text.splitlines() if line]) == 30


def test_what_is_not_there_yet_is_not_there():
    for name in ("admin", "models", "modeltools"):
        assert importlib.util.find_spec(f"mcp_channels.{name}") is None
    for path in (ROOT / "mcp_channels").rglob("*.py"):
        if path.name != "testing.py":  # its requests are those of a client
            assert ".send_request(" not in path.read_text(encoding="utf-8"), path


async def test_bearer_token_is_refused(registry):
    headers = [(b"authorization", b"Bearer x")]
    client = MCPCommunicator(consumer=consumer_of(registry), headers=headers)

    with pytest.raises(ConnectionRefusedError, match="401"):
        await client.connect()


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
WAIT = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "wait"}}

# A small limit, and the frames that go beyond it.
BEYOND: dict[str, tuple[float, list[Any]]] = {
    "MAX_FRAME_BYTES": (300, [PING | {"x": "y" * 300}]),
    "MAX_JSON_DEPTH": (3, [PING | {"x": [[[]]]}]),
    "MAX_BATCH_LENGTH": (1, [[PING, PING]]),
    "MAX_REQUESTS_IN_FLIGHT": (1, [WAIT | {"id": 1}, WAIT | {"id": 2}]),
    "MAX_VIOLATIONS": (0, ["no message"]),
    "IDLE_TIMEOUT": (0.01, []),
}
LIMITS = {
    code(row["setting"]): row["what happens beyond it"]
    for row in find_table("docs/settings.md", "setting", "default", "unit")
}


@pytest.mark.parametrize("name", BEYOND)
async def test_limit_does_what_the_settings_page_says(name, registry, settings):
    @registry.tool
    async def wait() -> None:
        await asyncio.sleep(60)

    limit, frames = BEYOND[name]
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, name: limit}
    expected = int(re.findall(r"-?\d+", LIMITS[name])[-1])
    consumer = consumer_of(registry)
    async with MCPCommunicator(revision="2025-03-26", consumer=consumer) as client:
        for frame in frames:
            await client.send(frame)
        seen = None
        while seen != expected:  # receive() raises when nothing comes any more
            try:
                seen = (await client.receive())["error"]["code"]
            except ConnectionResetError as exc:
                (seen,) = exc.args
                break

    assert seen == expected


def test_every_limit_of_the_settings_page_is_tried():
    assert LIMITS.keys() == {*BEYOND, "MAX_OUTBOX_FRAMES", "MAX_OUTBOX_BYTES"}


def test_full_outbox_does_what_the_settings_page_says():
    info = types.Implementation("test", "1")
    description = ServerDescription(info, types.ServerCapabilities())
    for name in ("max_outbox_frames", "max_outbox_bytes"):
        connection = ServerConnection(description, Limits(**{name: 1}))
        connection.receive('{"jsonrpc": "2.0", "id": 1, "method": "ping"}')
        is_open = connection.closing is None
        connection.receive('{"jsonrpc": "2.0", "id": 2, "method": "ping"}')

        assert is_open
        assert f"closed, {connection.closing.code}." in LIMITS["MAX_OUTBOX_FRAMES"]
    assert LIMITS["MAX_OUTBOX_BYTES"] == "The same."


# Every claim of the README, by the words it begins with, and where it is tested: here,
# or in another module of the tests.

BANNER = "project/test_demo.py::test_banner_says_where_and_who_and_how"
DEMO = "project/test_check.py::test_demo_passes_its_check"
TUTORIAL = "test_tutorial_does_what_it_says"
DECIDED = "test_decision_is_what_the_page_says"
ANSWERED = "test_requests_are_answered_as_the_page_says"
METHODS = "test_methods_of_the_page_are_those_of_the_code"
NO_CLAIM = ""

CLAIMS = {
    "A Model Context Protocol (MCP) server over WebSocket": TUTORIAL,
    "Agents connect to `/ws` of your site": TUTORIAL,
    "The annotations become the JSON Schema": "test_readme_tool_is_offered_as_it_says",
    "Arguments are checked before": "test_readme_tool_is_offered_as_it_says",
    "One site speaks five revisions": ANSWERED,
    "It is for you when": NO_CLAIM,
    "You need Python 3.11 or newer, Django": "test_versions_are_those_of_the_package",
    "The package is not on PyPI": "test_extra_that_is_installed_exists",
    "Then it takes three steps.": "test_readme_has_the_files_of_the_tutorial",
    "The third is an `mcp.py`": TUTORIAL,
    "It is found by itself.": TUTORIAL,
    "Nobody gets in": "test_nobody_gets_in_unless_that_is_allowed",
    "A tool with a permission": "test_readme_tool_is_offered_as_it_says",
    "[The tutorial](docs/tutorial.md) goes": TUTORIAL,
    "Any MCP client that can open": DEMO,
    "The official Python SDK": "test_transport_is_missing_and_short",
    "This package brings no client": "test_transport_is_missing_and_short",
    "They need Python 3.11 or newer": "test_scripts.py::test_environment_is_made_once",
    "`scripts/demo` prints": BANNER,
    "`scripts/demo --check` connects": DEMO,
    "It is version 0.1.0": "test_versions_are_those_of_the_package",
    "| Tools:": DEMO,
    "| Handshake": DECIDED,
    "| Batches": DECIDED,
    "| Identity": "test_readme_tool_is_offered_as_it_says",
    "| Limits": "test_limit_does_what_the_settings_page_says",
    "| Resources, prompts, completion": ANSWERED,
    "| Subscriptions": ANSWERED,
    "| Questions to the client": "test_what_is_not_there_yet_is_not_there",
    "| Models as tools": "test_what_is_not_there_yet_is_not_there",
    "[docs/protocol.md](docs/protocol.md) has": METHODS,
}


def find_unclaimed(
    prose: list[str], claims: Iterable[str]
) -> tuple[set[str], set[str]]:
    """Give the sentences that no claim begins, and the claims that nobody makes."""
    made, unclaimed = set(), set()
    for line in prose:
        begun = {claim for claim in claims if line.startswith(claim)}
        made |= begun
        if not begun and not re.match(r"#|- |\| (---|what) \|", line):
            unclaimed.add(line)
    return unclaimed, set(claims) - made


def test_every_claim_of_the_readme_is_tested():
    prose = read_prose((ROOT / "README.md").read_text(encoding="utf-8"))

    assert find_unclaimed(prose, CLAIMS) == (set(), set())
    for place in filter(None, CLAIMS.values()):
        file, _, name = place.rpartition("::")
        source = ROOT / "tests" / (file or Path(__file__).name)
        tests = ast.parse(source.read_text(encoding="utf-8")).body

        assert name in {getattr(test, "name", None) for test in tests}, place


# The checks themselves: each finds what it is there to find.


def test_blocks_are_read_with_what_leads_to_them():
    text = "# A\n\nWrite `a.py`:\n\n```python\nx = 1\n```\n\n```\ny\n```\n"

    assert read_blocks(text) == [
        Block("page.md", 6, "python", "x = 1\n", "Write `a.py`:"),
        Block("page.md", 10, "", "y\n", ""),
    ]
    assert read_prose(text) == ["# A", "Write `a.py`:"]


def test_tables_are_read_by_cell():
    text = "| a | b |\n| --- | --- |\n| `x \\| y` | |\n\n| c |\n"

    assert read_tables(text) == [
        [["a", "b"], ["---", "---"], ["`x | y`", ""]],
        [["c"]],
    ]


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# One, two\n")
    page = tmp_path / "page.md"
    page.write_text(
        "## Here\n[a](other.md) [b](other.md#one-two) [c](#here) [d](https://x.y)\n"
        "[e](gone.md) [f](other.md#three) [g](#there)\n"
    )

    assert find_broken_links(page) == ["gone.md", "other.md#three", "#there"]


@pytest.mark.parametrize(
    "command", ["scripts/none", "none", "python -m none", "python none.py", "README.md"]
)
def test_command_that_does_not_exist_is_found(command):
    assert not is_there(command)


@pytest.mark.parametrize(
    ("expected", "printed", "is_right"),
    [
        ([], [], True),
        (["a"], ["a"], True),
        (["a"], ["a", "b"], False),
        (["a", "b"], ["b", "a"], False),
        (["a", "..."], ["a", "b", "c"], True),
        (["...", "c"], ["c"], True),
        (["in ...s"], ["in 0.3s"], True),
        (["in ...s"], ["in 0.3"], False),
        ([], ["a"], False),
    ],
)
def test_output_is_compared(expected, printed, is_right):
    assert matches(expected, printed) is is_right


async def test_wrong_examples_are_found():
    text = """
        >>> 1 + 1
        3
        >>> [1,
        ...  2]
        [1,
         2]
        >>> None.x
        Traceback (most recent call last):
        ValueError: no
        """

    assert [wrong.partition("\n")[0] for wrong in await run_examples(text, {})] == [
        "1 + 1",
        "None.x",
    ]
    with pytest.raises(ZeroDivisionError):
        await run_examples(">>> 1 / 0\n", {})


@pytest.mark.parametrize(
    ("value", "part", "is_held"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1.0}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ([{"a": 1, "b": 2}], [{"b": 2}], True),
        (None, {}, False),
        ({"id": None}, {"id": None}, True),
        ({"id": False}, {"id": 0}, False),
    ],
)
def test_part_of_an_answer_is_compared(value, part, is_held):
    assert holds(value, part) is is_held


def test_untested_claims_are_found():
    prose = ["# A", "It works.", "It is fast.", "- [link](x.md)"]

    assert find_unclaimed(prose, ["It works", "It is safe"]) == (
        {"It is fast."},
        {"It is safe"},
    )
