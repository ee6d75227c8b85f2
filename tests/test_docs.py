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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mcp_channels.conf import Settings, problems
from mcp_channels.consumers import MCPConsumer
from mcp_channels.protocol import errors, methods
from mcp_channels.protocol.versions import Era, Revision
from mcp_channels.server.dispatch import HANDLERS
from mcp_channels.server.registry import Registry
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


def read_prose(text: str) -> list[str]:
    """Give the lines of a page that are neither code nor empty."""
    prose, is_code = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code and line.strip():
            prose.append(line)
    return prose


def read_tables(text: str) -> list[list[list[str]]]:
    """Give the tables of a page, each a list of rows, each a list of cells."""
    tables: list[list[list[str]]] = []
    before = ""
    for line in [*read_prose(text), ""]:
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append([])
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            tables[-1].append([cell.strip().replace("\\|", "|") for cell in cells])
        before = line
    return tables


def find_table(page: str, *header: str) -> list[dict[str, str]]:
    """Give the rows of the one table of a page whose header begins so."""
    (table,) = (
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


class Site:
    """A directory that the files and commands of a page make a site of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "library-site"
        self.folder.mkdir()
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
        if re.match(r"mkdir|cd|python -m venv|\. \.venv|python -m pip", command):
            return  # The environment that the tests run in is that already.
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
                [sys.executable, "manage.py", "runserver", "--noreload", str(self.port)],
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
    said = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")

    assert "SESSION" in site.environment  # the last step was reached
    assert "Protocol revision 2026-07-28" in said


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
