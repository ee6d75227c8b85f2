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
import importlib.util
import inspect
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
from logging.config import DictConfigurator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured

import mcp_channels
from mcp_channels import Context, ModelTools, register
from mcp_channels.client import WebSocketConfig, connection, errors
from mcp_channels.client.__main__ import main as command_line
from mcp_channels.client.hosts import HOSTS
from mcp_channels.conf import Settings, problems
from mcp_channels.consumers import MCPConsumer
from mcp_channels.logging import ClientHandler
from mcp_channels.modeltools.exposure import OPERATIONS
from mcp_channels.protocol import types
from mcp_channels.protocol.connection import Limits
from mcp_channels.protocol.description import ServerDescription
from mcp_channels.protocol.server import ServerConnection
from mcp_channels.server.prompts import Prompt
from mcp_channels.server.resources import Resource, ResourceTemplate
from mcp_channels.server.tools import Tool
from mcp_channels.testing import MCPCommunicator, RequestFailed
from project.peer import sign_in
from tests.pages import (
    BLOCKS,
    PAGES,
    ROOT,
    Block,
    blocks_of,
    code,
    find_broken_links,
    find_table,
    read_prose,
    read_tables,
    run_examples,
)
from tests.shop.models import Category, Customer, Product, Tag
from tests.sites import Site, refusal

START_TIMEOUT = 60  # seconds for a server to listen; a busy machine takes five
COMMAND_TIMEOUT = 120  # seconds for one command of a page


# Links


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    assert find_broken_links(path) == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")

    assert [
        path.name
        for path in PAGES
        if path.parent == ROOT / "docs"
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
TOOLS = frozenset({".", "cd", "echo", "export", "mkdir"})

# What the documentation makes before it uses it.
MADE = frozenset({"manage.py", "agent.py", "conversation.py", "loop.py", "report.py"})


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
    return program in ("django-admin", "mcp-ws")


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


class SiteOfPages:
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
        for name, module in (
            ("python", ""),
            ("django-admin", "-m django"),
            ("mcp-ws", "-m mcp_channels.client"),
        ):
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

    def export(self, command: str) -> None:
        """Run a command that sets a variable for those after it."""
        name = command.removeprefix("export ").partition("=")[0]
        run = subprocess.run(
            ["sh", "-c", f'{command}; printf %s "${name}"'],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=COMMAND_TIMEOUT,
        )
        self.environment[name] = run.stdout

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
def site(tmp_path_factory) -> Iterator[SiteOfPages]:
    """The tutorial's site, followed to its end and served meanwhile."""
    site = SiteOfPages(tmp_path_factory.mktemp("tutorial"))
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


@pytest.fixture
def shelves(site, tmp_path) -> SiteOfPages:
    """The tutorial's site at its end, to go on with."""
    other = SiteOfPages(tmp_path)
    shutil.rmtree(other.folder)
    shutil.copytree(site.folder, other.folder)
    agent = other.folder / "agent.py"
    agent.write_text(agent.read_text().replace(str(site.port), str(other.port)))
    other.environment["SESSION"] = site.environment["SESSION"]
    return other


def test_models_page_does_what_it_says(shelves):
    with contextlib.ExitStack() as until_the_end:
        for block in blocks_of("docs/models.md"):
            if re.match("Write|Add to", block.lead):
                shelves.follow(block)
            for command, output in (
                read_commands(block) if block.language == "console" else []
            ):
                if command == "python manage.py runserver":
                    until_the_end.enter_context(shelves.served(output))
                else:
                    shelves.run(command, output)

    assert len(shelves.ran) > 6


@pytest.mark.django_db(transaction=True)
async def test_classes_of_the_models_page_do_what_it_says(page):
    page.Product, user = Product, get_user_model()
    ada, eve = [
        await user.objects.acreate(username=name, is_superuser=True)
        for name in ("ada", "eve")
    ]
    home = await Category.objects.acreate(slug="home", name="Home")
    cup = await Product.objects.acreate(name="Cup", price=1, category=home)
    blocks = [
        compile(block.text, block.place, "exec")
        for block in blocks_of("docs/models.md", "python")
        if not re.match("Write|Add to", block.lead)
    ]
    own, actions, say_so, generic = blocks
    for block in (own, actions, generic):
        exec(block, vars(page))
    for model in (Customer, Product, Tag):
        tools = getattr(page, f"{model.__name__}Tools")
        register(model, registry=page.site)(tools)
    async with page.site.client(ada) as client, page.site.client(eve) as other:
        made = await client.call_tool("create_customer", {"values": {"name": "Bea"}})
        seen = await other.call_tool("list_customers")
        refused = await refusal(client.call_tool("delete_customer", {"pk": "1"}))
        stocked = await client.call_tool("restock", {"product": cup.pk, "count": 3})
        tags = await client.call_tool("models.list", {"model": "shop.tag"})
        uri = f"django://shop.product/{cup.pk}"
        await client.listen({"resourceSubscriptions": [uri]})
        await sync_to_async(exec)(say_so, vars(page))
        told = await client.notification("notifications/resources/updated")
        emptied = await client.call_tool("get_product", {"pk": cup.pk})

    assert made["structuredContent"]["row"]["name"] == "Bea"
    assert seen["structuredContent"]["rows"] == []
    assert refused.message == "Unknown tool: delete_customer"
    assert stocked["structuredContent"] == {"pk": cup.pk, "name": "Cup", "stock": 3}
    assert tags["structuredContent"]["rows"] == []
    assert told["uri"] == uri
    assert emptied["structuredContent"]["row"]["stock"] == 0


def test_options_of_model_tools_are_those_that_are_listed():
    rows = {
        code(row["option"]): row["default"]
        for row in find_table("docs/models.md", "option")
    }
    options = inspect.get_annotations(ModelTools)

    assert list(rows) == list(options)
    for name, shown in rows.items():
        default = getattr(ModelTools, name)
        if isinstance(default, int):
            assert shown.replace(",", "") == str(default), name


def test_methods_of_model_tools_are_those_that_are_listed():
    rows = find_table("docs/models.md", "method")
    listed = {code(row["method"]).partition("(")[0] for row in rows}

    assert listed == {
        name
        for name, member in vars(ModelTools).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def test_operations_are_those_that_are_listed():
    rows = find_table("docs/models.md", "operation")

    assert {
        code(row["operation"]): row["Django's permission"] for row in rows
    } == OPERATIONS


def test_clients_page_does_what_it_says(site):
    for block in blocks_of("docs/clients.md"):
        if block.language == "console":
            for command, output in read_commands(block):
                if command.startswith("export "):
                    site.export(command)
                else:
                    site.run(command, output)
        elif block.lead.startswith("Write "):
            site.follow(block)


def test_client_that_is_shown_first_lists_the_tools(site):
    first, *_ = blocks_of("docs/clients.md")
    (of_readme,) = (
        block
        for block in blocks_of("README.md", "python")
        if "WebSocketTransport" in block.text
    )
    (site.folder / "first.py").write_text(site.text(first.text))

    assert of_readme.text == first.text
    site.run("python first.py", ["...name='find_books'..."])


# Examples, run


@pytest.fixture
def page(monkeypatch) -> ModuleType:
    """A module that the examples of a page define, and their site with nothing else."""
    module = ModuleType("page")
    # Where the annotations of a class in it are looked up.
    monkeypatch.setitem(sys.modules, "page", module)
    module.site = Site()
    monkeypatch.setattr(mcp_channels, "registry", module.site)
    for name in ("prompt", "resource", "tool"):
        monkeypatch.setattr(mcp_channels, name, getattr(module.site, name))
    # What clients meet that an example makes.
    monkeypatch.setattr(MCPConsumer, "registry", module.site)
    return module


EXAMPLES = sorted({block.page for block in BLOCKS if block.language == "pycon"})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", EXAMPLES)
async def test_examples_print_what_is_shown(name, page, monkeypatch):
    monkeypatch.setattr(builtins, "_", None, raising=False)  # a session sets it
    for block in blocks_of(name):
        if block.language == "python":
            exec(compile(block.text, block.place, "exec"), vars(page))
        if "class ShopConfig" in block.text:
            page.ShopConfig.mcp_register(None, page.site)  # as Django does
        if block.language == "pycon":
            async with page.site.client() as page.client:
                assert await run_examples(block.text, vars(page)) == [], block.place


def test_pages_that_show_how_to_write_have_examples():
    assert [
        f"docs/{name}.md"
        for name in (
            "access",
            "interaction",
            "prompts",
            "resources",
            "subscriptions",
            "tools",
        )
    ] == EXAMPLES


def test_handler_of_the_tools_page_can_be_configured(page):
    (block,) = (b for b in blocks_of("docs/tools.md", "python") if "LOGGING" in b.text)
    exec(compile(block.text, block.place, "exec"), vars(page))
    configured = DictConfigurator(page.LOGGING)
    handler = configured.configure_handler(page.LOGGING["handlers"]["client"])

    assert isinstance(handler, ClientHandler)
    assert page.LOGGING["disable_existing_loggers"] is False


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
        if (path.name != "__init__.py" or path.parent == package)
        and path.parent.name != "migrations"
    }


def find_ways(text: str) -> list[tuple[str, str]]:
    """Give the files of a drawn way, each with the functions that are named there."""
    lines = [
        re.match(r" (\S+\.py) +(.+?)(?: {2,}|$)", line) for line in text.splitlines()
    ]
    return [
        (way[1], re.split(r"\W", name)[-1])
        for way in lines
        if way and not way[2].startswith("the ")
        for name in way[2].split(" -> ")
    ]


def test_files_of_the_ways_exist_and_hold_what_is_named():
    ways = [
        way
        for block in blocks_of("docs/design.md", "text")
        for way in find_ways(block.text)
    ]

    assert len(ways) > 15
    for file, name in ways:
        source = (ROOT / "mcp_channels" / file).read_text(encoding="utf-8")

        assert f"def {name}(" in source, (file, name)


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


def test_every_member_of_a_context_is_explained():
    listed = [
        name
        for row in find_table("docs/tools.md", "member")
        for name in re.findall(r"`(\w+)", row["member"])
    ]
    own = {name for name in vars(Context) if not name.startswith("_")}

    # The rest is for what is around the function.
    assert sorted(listed) == sorted(own - {"interaction", "request", "session"})


def options_of(*kinds: type) -> set[str]:
    """Give what the decorator of these takes by name."""
    return {
        name
        for kind in kinds
        for base in kind.__mro__
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def test_every_option_of_a_tool_is_explained():
    text = (ROOT / "docs/tools.md").read_text(encoding="utf-8")

    assert [
        option
        for option in sorted(options_of(Tool))
        if f"`{option}`" not in text and f"{option}=" not in text
    ] == []


@pytest.mark.parametrize(
    ("page", "kinds"),
    [("prompts", (Prompt,)), ("resources", (Resource, ResourceTemplate))],
)
def test_options_are_those_that_are_listed(page, kinds):
    listed = [code(row["option"]) for row in find_table(f"docs/{page}.md", "option")]

    assert sorted(listed) == sorted(options_of(*kinds))


# What the threat model says

THREATS = [
    row
    for table in read_tables((ROOT / "docs/threat-model.md").read_text("utf-8"))
    for row in table[2:]
]


def find_missing_tests(rows: Iterable[list[str]]) -> list[str]:
    """Give the tests that are named in the last column and are not there."""
    missing = []
    for row in rows:
        place, _, name = code(row[-1]).partition("::")
        path = ROOT / place
        source = path.read_text("utf-8") if path.is_file() else ""
        if not name or not re.search(rf"^(async )?def {name}\(", source, re.MULTILINE):
            missing.append(row[-1])
    return missing


def test_every_claim_of_the_threat_model_is_tested():
    assert len(THREATS) > 40
    assert find_missing_tests(THREATS) == []


def test_missing_tests_are_found():
    here = f"tests/test_docs.py::{test_missing_tests_are_found.__name__}"

    assert find_missing_tests([["claim", f"`{here}`"]]) == []
    for wrong in ("", "tests/test_docs.py", f"{here}_not", "tests/none.py::test_a"):
        assert find_missing_tests([["claim", f"`{wrong}`"]]) == [f"`{wrong}`"]


def test_options_of_the_clients_page_are_those_of_the_code():
    fields = {field.name: field for field in dataclasses.fields(WebSocketConfig)}
    rows = {
        code(row["option"]): code(row["default"])
        for row in find_table("docs/clients.md", "option", "default")
    }
    defaults = {
        name: ""
        if field.default is field.default_factory is dataclasses.MISSING
        else repr({} if name == "headers" else field.default)
        for name, field in fields.items()
    }

    assert rows == defaults
    assert list(rows) == list(defaults)


def test_client_errors_of_the_page_are_those_of_the_code():
    assert {
        code(row["name"]): int(row["code"])
        for row in find_table("docs/clients.md", "code", "name")
    } == {name: value for name, value in vars(errors).items() if name.isupper()}


def test_close_codes_of_the_clients_page_are_those_of_the_code():
    (row,) = (
        row["what the server says"]
        for row in find_table("docs/clients.md", "what the server says")
        if "3000" in row["what the server says"]
    )

    assert set(map(int, re.findall(r"\d+", row))) == connection._FINAL_CODES


def test_commands_of_the_clients_page_are_those_of_the_command_line(capsys):
    listed = [
        code(row["command"]).split()[1]
        for row in find_table("docs/clients.md", "command", "what it does")
    ]
    with pytest.raises(SystemExit):
        command_line(["--help"])
    shown = re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE)

    assert listed == shown


def test_hosts_of_the_clients_page_are_those_of_the_code():
    rows = find_table("docs/clients.md", "host", "file", "the token")

    assert [code(row["host"]) for row in rows] == list(HOSTS)
    for row in rows:
        host = HOSTS[code(row["host"])]
        path = None if host.find_path is None else host.find_path().name
        assert (path is None) == ("`" not in row["file"])
        assert path is None or path in row["file"]
        assert row["the token"].startswith(
            "asked for"
            if "input" in host.reference
            else "from the environment"
            if "$" in host.reference
            else "you write it"
        )


# What the README says


async def test_readme_tool_is_offered_as_it_says(page, db):
    (block,) = (
        block for block in blocks_of("README.md", "python") if "@tool" in block.text
    )
    exec(compile(block.text, block.place, "exec"), vars(page))
    somebody = get_user_model()(username="ada", is_superuser=True)
    async with page.site.client(somebody) as client:
        (tool,) = await client.list_tools()
        counted = await client.call_tool("count_users", {"active": True})
        refused = await client.call_tool("count_users", {"activ": True})
    async with page.site.client() as nobody:
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
async def test_nobody_gets_in_unless_that_is_allowed(allowed, settings):
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True} if allowed else {}
    client = Site().client()
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


def test_transport_is_missing_in_the_sdk_and_brought_by_the_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {
        re.split("[<>=]", text)[0]
        for text in project["optional-dependencies"]["client"]
    }

    assert importlib.util.find_spec("mcp.client.websocket") is None
    assert needed == {"mcp", "websockets"}
    assert project["scripts"] == {"mcp-ws": "mcp_channels.client.__main__:main"}


async def test_bearer_token_is_refused():
    client = Site().client(headers=[(b"authorization", b"Bearer x")])

    with pytest.raises(ConnectionRefusedError, match="401"):
        await client.connect()


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
WAIT = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "wait"}}
SUBSCRIBE = {"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe"}

# A small limit, and the frames that go beyond it.
BEYOND: dict[str, tuple[float, list[Any]]] = {
    "MAX_FRAME_BYTES": (300, [PING | {"x": "y" * 300}]),
    "MAX_JSON_DEPTH": (3, [PING | {"x": [[[]]]}]),
    "MAX_BATCH_LENGTH": (1, [[PING, PING]]),
    "MAX_REQUESTS_IN_FLIGHT": (1, [WAIT | {"id": 1}, WAIT | {"id": 2}]),
    "MAX_SUBSCRIPTIONS": (
        1,
        [SUBSCRIBE | {"params": {"uri": uri}} for uri in ("x://a", "x://b")],
    ),
    "MAX_VIOLATIONS": (0, ["no message"]),
    "IDLE_TIMEOUT": (0.5, []),  # enough for the handshake
}
LIMITS = {
    code(row["setting"]): row["what happens beyond it"]
    for row in find_table("docs/settings.md", "setting", "default", "unit")
}


@pytest.mark.parametrize("name", BEYOND)
async def test_limit_does_what_the_settings_page_says(name, settings):
    site = Site()

    @site.tool
    async def wait() -> None:
        await asyncio.sleep(60)

    for uri in ("x://a", "x://b"):
        site.resource(uri)(wait)
    limit, frames = BEYOND[name]
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, name: limit}
    expected = int(re.findall(r"-?\d+", LIMITS[name])[-1])
    async with site.client(revision="2025-03-26") as client:
        for frame in frames:
            await client.send(frame)
        seen = None
        while seen != expected:  # receive() raises when nothing comes any more
            try:
                seen = (await client.receive()).get("error", {}).get("code")
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
MODELS = "test_models_page_does_what_it_says"
PROTOCOL = "test_docs_protocol.py::"
DECIDED = f"{PROTOCOL}test_decision_is_what_the_page_says"
ANSWERED = f"{PROTOCOL}test_requests_are_answered_as_the_page_says"
METHODS = f"{PROTOCOL}test_methods_of_the_page_are_those_of_the_code"
ASKED = f"{PROTOCOL}test_client_is_asked_as_the_page_says"
TOLD = f"{PROTOCOL}test_notifications_are_sent_as_the_page_says"
SHOWN = "test_examples_print_what_is_shown"
UNMIGRATED = "test_policy.py::test_where_no_table_is_the_settings_hold"
NO_CLAIM = ""

CLAIMS = {
    "A Model Context Protocol (MCP) server over WebSocket": TUTORIAL,
    "Agents connect to `/ws` of your site": TUTORIAL,
    "The annotations become the JSON Schema": "test_readme_tool_is_offered_as_it_says",
    "Arguments are checked before": "test_readme_tool_is_offered_as_it_says",
    "[Django models become tools]": MODELS,
    "Besides tools, which a model calls": SHOWN,
    "A function may [ask]": SHOWN,
    "`publish()` [tells clients]": SHOWN,
    "One site speaks five revisions": ANSWERED,
    "It is for you when": NO_CLAIM,
    "You need Python 3.11 or newer, Django": "test_versions_are_those_of_the_package",
    "The package is not on PyPI": "test_extra_that_is_installed_exists",
    "Then it takes three steps.": "test_readme_has_the_files_of_the_tutorial",
    "The third is an `mcp.py`": TUTORIAL,
    "It is found by itself.": TUTORIAL,
    "Run `manage.py migrate`": UNMIGRATED,
    "Nobody gets in": "test_nobody_gets_in_unless_that_is_allowed",
    "A tool with a permission": "test_readme_tool_is_offered_as_it_says",
    "[The tutorial](docs/tutorial.md) goes": TUTORIAL,
    "Any MCP client that can open": DEMO,
    "The official Python SDK": (
        "test_transport_is_missing_in_the_sdk_and_brought_by_the_extra"
    ),
    "It never sends anything twice": (
        "interop/test_reconnect.py::test_every_call_ends_once_and_no_write_runs_twice"
    ),
    "There is also a client without": "test_clients_page_does_what_it_says",
    "[docs/clients.md](docs/clients.md) goes": "test_clients_page_does_what_it_says",
    "They need Python 3.11 or newer": "test_scripts.py::test_environment_is_made_once",
    "`scripts/demo` prints": BANNER,
    "`scripts/demo --check` connects": DEMO,
    "It is version 0.1.0": "test_versions_are_those_of_the_package",
    "| Tools:": DEMO,
    "| Resources and resource templates": ANSWERED,
    "| Subscriptions": TOLD,
    "| Questions to the client": ASKED,
    "| Clients for any server": (
        "interop/test_strangers.py::test_everything_is_as_with_ours"
    ),
    "| Handshake": DECIDED,
    "| Batches": DECIDED,
    "| Identity": "test_consumers.py::test_client_comes_with_a_token",
    "| Permissions": "test_threats.py::test_connection_ends_within_a_second_when",
    "| Limits": "test_limit_does_what_the_settings_page_says",
    "| Tasks |": DECIDED,
    "| Models as tools": MODELS,
    "| Rates,": NO_CLAIM,
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


def test_ways_are_read_by_file_and_function():
    text = " a.py  One.two -> three   why?\n   |  x\n b/c.py four\n d.py  the socket\n"

    assert find_ways(text) == [("a.py", "two"), ("a.py", "three"), ("b/c.py", "four")]


def test_untested_claims_are_found():
    prose = ["# A", "It works.", "It is fast.", "- [link](x.md)"]

    assert find_unclaimed(prose, ["It works", "It is safe"]) == (
        {"It is fast."},
        {"It is safe"},
    )
