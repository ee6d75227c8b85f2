"""
The layout that docs/design.md describes, proved from the source text alone.

Nothing is imported here: a rule holds for code that never runs too, and an import under
`if TYPE_CHECKING:` or inside a function counts like any other.
"""

import ast
import gc
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "mcp_channels"

# More lines than this, and a module has more than one noun in it.
MAX_LINES = 500

# A module with such a word in its name says nothing of what is in it.
EMPTY_WORDS = frozenset({"base", "common", "helpers", "manager", "utils"})

# Written by Django, and tested by migrating.
GENERATED = f"{PACKAGE}.migrations."

# Tests of what is no single module of the package: of the project as a whole, ...
TESTS_OF_THE_WHOLE = frozenset(
    {
        "test_docs",
        "test_docs_protocol",
        "test_exports",
        "test_layout",
        "test_scripts",
        "test_threats",
    }
)
# ... of a room as a whole, ...
TESTS_OF_A_ROOM = frozenset(
    {
        "tests.modeltools.test_leaks",
        "tests.modeltools.test_matrix",
        "tests.modeltools.test_pitfalls",
        "tests.protocol.test_fuzz",
    }
)
# ... between it and other programs, of the whole protocol, and of what stands beside
# the package.
ROOMS_OF_THEIR_OWN = frozenset(
    {"benchmarks", "interop", "plugins", "postgres", "project", "traps"}
)


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    # What is collected while CPython 3.11 makes a tree may run code of other tests, and
    # then it takes the depth of its own recursion for wrong.
    gc.disable()
    yield
    gc.enable()


@dataclass(frozen=True)
class Room:
    """What the modules of one folder of the package may import, besides themselves."""

    name: str  # dotted
    ours: frozenset[str] = frozenset()
    theirs: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()  # though it is in the standard library


PROTOCOL = f"{PACKAGE}.protocol"
SERVER = f"{PACKAGE}.server"
MODELTOOLS = f"{PACKAGE}.modeltools"
CLIENT = f"{PACKAGE}.client"

# Whatever touches the world: a file, a socket, a thread, a task, the clock.
OUTSIDE_WORLD = frozenset(
    {
        "asyncio",
        "concurrent",
        "multiprocessing",
        "os",
        "queue",
        "sched",
        "select",
        "selectors",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "time",
    }
)

ROOMS = (
    Room(PROTOCOL, theirs=frozenset({"msgspec"}), forbidden=OUTSIDE_WORLD),
    Room(
        SERVER,
        ours=frozenset({PROTOCOL}),
        theirs=frozenset(
            {"asgiref", "django", "docstring_parser", "jsonschema_rs", "msgspec"}
        ),
    ),
    Room(
        MODELTOOLS,
        # It has news of rows to tell.
        ours=frozenset({PROTOCOL, SERVER, f"{PACKAGE}.broadcast"}),
        theirs=frozenset({"django", "msgspec"}),
    ),
    Room(
        CLIENT,
        ours=frozenset({PROTOCOL}),
        theirs=frozenset({"anyio", "mcp", "mcp_types", "msgspec", "websockets"}),
    ),
)

# Pairs that never meet, wherever they stand: the first imports nothing of the second.
STRANGERS = (
    (f"{PACKAGE}.consumers", f"{PACKAGE}.models"),
    (f"{PACKAGE}.consumers", f"{PACKAGE}.admin"),
    (f"{PACKAGE}.consumers", MODELTOOLS),
    (f"{PACKAGE}.consumers", "django.contrib.admin"),
    (f"{PACKAGE}.consumers", "django.contrib.auth.models"),
    (f"{PACKAGE}.consumers", "django.db.models"),
    (f"{PACKAGE}.models", f"{PACKAGE}.consumers"),
    (f"{PACKAGE}.admin", f"{PACKAGE}.consumers"),
    (PACKAGE, CLIENT),
    (PACKAGE, "benchmarks"),
    (PACKAGE, "project"),
    (PACKAGE, "tests"),
)


@dataclass(frozen=True)
class Module:
    """One source file, by the dotted name it is imported as."""

    name: str
    source: str
    is_package: bool = False

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[2]


def read_modules(folder: str) -> dict[str, Module]:
    """Read every Python file below a folder of the repository, by dotted name."""
    modules = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = Module(name, path.read_text(encoding="utf-8"), is_package)
    return modules


def is_within(name: str, package: str) -> bool:
    """Say whether a dotted name is the package, or anything in it."""
    return name == package or name.startswith(f"{package}.")


def iterate_imports(module: Module) -> Iterator[str]:
    """
    Give the dotted name of all that a module imports, wherever in the file it does so.

    For `from a import b` that is `a.b`, as `b` may be a module. A literal name handed
    to import_module() counts.
    """
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    for node in ast.walk(ast.parse(module.source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                if level:
                    above = package.split(".")
                    above = above[: len(above) - level + 1]
                    source = ".".join([*above, source] if source else above)
                yield from (f"{source}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called),
                args=[ast.Constant(value=str(name)), *_],
            ) if called in ("import_module", "__import__"):
                yield name


def find_forbidden_imports(modules: Iterable[Module]) -> list[str]:
    """Find what is imported upwards, from the side, or from outside without leave."""
    return [
        f"{module.name} imports {imported}"
        for module in modules
        for imported in iterate_imports(module)
        if is_out_of_room(module.name, imported) or are_strangers(module.name, imported)
    ]


def is_out_of_room(name: str, imported: str) -> bool:
    """Say whether the module stands in a room that may not import this."""
    room = next((room for room in ROOMS if is_within(name, room.name)), None)
    if room is None:
        return False
    top = imported.partition(".")[0]
    if top == PACKAGE:
        return not any(is_within(imported, one) for one in (room.name, *room.ours))
    if top in room.forbidden:
        return True
    return top not in sys.stdlib_module_names and top not in room.theirs


def are_strangers(name: str, imported: str) -> bool:
    """Say whether the two are a pair that never meets. A room may import itself."""
    return any(
        is_within(name, one) and is_within(imported, other)
        for one, other in STRANGERS
        if not is_within(name, other)
    )


def find_models(modules: Iterable[Module]) -> list[str]:
    """Find classes in server/ that derive from Django's Model: it owns no tables."""
    return [
        f"{module.name}.{node.name}"
        for module in modules
        if is_within(module.name, SERVER)
        for node in ast.walk(ast.parse(module.source))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if ast.unparse(base) in ("Model", "models.Model", "django.db.models.Model")
    ]


def find_long_modules(modules: Iterable[Module]) -> list[str]:
    return [
        f"{module.name} has {lines} lines"
        for module in modules
        if (lines := len(module.source.splitlines())) > MAX_LINES
        and not module.name.startswith(GENERATED)
    ]


def find_empty_names(modules: Iterable[Module]) -> list[str]:
    return [
        module.name
        for module in modules
        if EMPTY_WORDS.intersection(module.stem.removeprefix("test_").split("_"))
    ]


def find_test(name: str) -> str:
    """Name the test module of a module: a.b.c is tested by tests.b.test_c."""
    *rooms, stem = name.split(".")[1:]
    return ".".join(["tests", *rooms, f"test_{stem.strip('_')}"])


def find_untested(modules: Iterable[Module], tests: Iterable[Module]) -> list[str]:
    names = {test.name for test in tests}
    return [
        f"{module.name} has no {find_test(module.name)}"
        for module in modules
        if not module.is_package
        and not module.name.startswith(GENERATED)
        and find_test(module.name) not in names
    ]


def find_stray_tests(modules: Iterable[Module], tests: Iterable[Module]) -> list[str]:
    """
    Find test modules that test no module, so nobody would look for them.

    What the tests themselves are built of may be tested where it stands.
    """
    tests = list(tests)
    mirrors = {
        find_test(module.name)
        for module in modules
        if "." in module.name  # the package itself is tested by test_exports
    } | {f"tests.test_{test.stem}" for test in tests if test.name.count(".") == 1}
    return [
        test.name
        for test in tests
        if test.stem.startswith("test_")
        and test.name not in mirrors | TESTS_OF_A_ROOM
        and test.name.split(".")[1] not in TESTS_OF_THE_WHOLE | ROOMS_OF_THEIR_OWN
    ]


def find_idle_exemptions(tests: Iterable[Module]) -> list[str]:
    """Find what is exempt and not there: nobody would notice what takes its place."""
    names = {test.name for test in tests}
    places = {name.split(".")[1] for name in names if "." in name}
    return sorted(
        (TESTS_OF_THE_WHOLE | ROOMS_OF_THEIR_OWN).difference(places)
        | TESTS_OF_A_ROOM.difference(names)
    )


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return list(read_modules(PACKAGE).values())


@pytest.fixture(scope="module")
def tests() -> list[Module]:
    return list(read_modules("tests").values())


def test_imports_point_down(modules):
    assert find_forbidden_imports(modules) == []


def test_server_defines_no_model(modules):
    assert find_models(modules) == []


def test_no_module_is_long(modules):
    assert find_long_modules(modules) == []


@pytest.mark.parametrize("folder", [PACKAGE, "project", "benchmarks", "tests"])
def test_names_say_something(folder):
    assert find_empty_names(read_modules(folder).values()) == []


def test_every_module_has_its_test(modules, tests):
    assert find_untested(modules, tests) == []


def test_every_test_has_its_module(modules, tests):
    assert find_stray_tests(modules, tests) == []


def test_every_exemption_is_of_something(tests):
    assert find_idle_exemptions(tests) == []


# The checks themselves: each finds what it is there to find, and leaves the rest alone.


def test_source_is_read(modules, tests):
    names = {module.name for module in modules}

    assert {PACKAGE, PROTOCOL, f"{PROTOCOL}.errors"} <= names
    assert __name__.rpartition(".")[2] in {test.stem for test in tests}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("protocol.errors", "import django"),
        ("protocol.errors", "import pydantic"),
        ("protocol.errors", "import asyncio"),
        ("protocol.errors", "from time import monotonic"),
        ("protocol.errors", "from mcp_channels.server.tools import Tool"),
        ("protocol.errors", "from mcp_channels.server import tools"),
        ("protocol.errors", "from mcp_channels import server"),
        ("protocol.errors", "from mcp_channels import conf"),
        ("protocol.errors", "import mcp_channels"),
        ("protocol.errors", "from ..server import tools"),
        ("protocol.errors", "from .. import conf"),
        ("protocol.errors", "def late():\n    import django.http"),
        ("protocol.errors", "if TYPE_CHECKING:\n    from django.http import Http404"),
        ("protocol.errors", "importlib.import_module('mcp_channels.conf')"),
        ("protocol.errors", "__import__('socket')"),
        ("server.tools", "import channels.layers"),
        ("server.tools", "from mcp_channels.conf import settings"),
        (
            "server.tools",
            "from mcp_channels.client.websocket import WebSocketTransport",
        ),
        ("server.tools", "import mcp"),
        ("server.tools", "from mcp_channels.modeltools.options import ModelTools"),
        ("modeltools.rows", "from mcp_channels.consumers import MCPConsumer"),
        ("modeltools.rows", "from mcp_channels.conf import settings"),
        ("modeltools.rows", "from channels.db import database_sync_to_async"),
        ("consumers", "from mcp_channels.modeltools.registration import register"),
        ("client.websocket", "import django"),
        ("client.websocket", "from mcp_channels.server.tools import Tool"),
        ("client.websocket", "from mcp_channels.conf import settings"),
        ("consumers", "from mcp_channels.models import AccessToken"),
        ("consumers", "from mcp_channels import models"),
        ("consumers", "from .models import AccessToken"),
        ("consumers", "from django.db import models"),
        ("consumers", "from django.contrib.auth.models import User"),
        ("models", "from mcp_channels.consumers import MCPConsumer"),
        ("admin.tokens", "import mcp_channels.consumers"),
        ("routing", "from mcp_channels.client import bridge"),
        ("conf", "from tests.settings import SECRET_KEY"),
        ("conf", "import project"),
    ],
)
def test_forbidden_import_is_found(name, source):
    module = Module(f"{PACKAGE}.{name}", source)

    assert len(find_forbidden_imports([module])) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("protocol.types", "from mcp_channels.protocol.errors import ProtocolError"),
        ("protocol.types", "from mcp_channels.protocol import errors"),
        ("protocol.types", "from . import errors"),
        ("protocol.types", "import msgspec.json\nimport collections.abc"),
        ("protocol.types", "'import django'  # import django"),
        ("server.tools", "from mcp_channels.protocol.types import Tool"),
        ("server.tools", "from django.db import connections, transaction"),
        ("server.tools", "import asgiref.sync, asyncio, jsonschema_rs"),
        ("modeltools.changes", "from mcp_channels.broadcast import publish"),
        ("modeltools.rows", "from django.db.models import QuerySet"),
        ("modeltools.rows", "from mcp_channels.server.tools import ToolError"),
        ("checks", "from mcp_channels.modeltools.exposure import Exposure"),
        ("client.bridge", "import websockets\nfrom mcp_channels.protocol import types"),
        ("client.bridge", "from mcp_channels.client.websocket import WebSocketConfig"),
        ("consumers", "from channels.generic.websocket import AsyncWebsocketConsumer"),
        ("consumers", "from mcp_channels.server.dispatch import Dispatcher"),
        ("models", "from django.db import models"),
        ("routing", "from mcp_channels.consumers import MCPConsumer"),
        ("modelsets", "from mcp_channels.consumers import MCPConsumer"),
    ],
)
def test_allowed_import_is_left_alone(name, source):
    module = Module(f"{PACKAGE}.{name}", source)

    assert find_forbidden_imports([module]) == []


def test_relative_import_in_a_package_is_resolved():
    module = Module(PROTOCOL, "from .errors import A\nfrom ..conf import b", True)

    assert list(iterate_imports(module)) == [
        f"{PROTOCOL}.errors.A",
        f"{PACKAGE}.conf.b",
    ]


@pytest.mark.parametrize("base", ["Model", "models.Model", "django.db.models.Model"])
def test_model_in_server_is_found(base):
    source = f"class Order({base}): ..."

    assert find_models([Module(f"{SERVER}.tools", source)]) == [f"{SERVER}.tools.Order"]
    assert find_models([Module(f"{PACKAGE}.models", source)]) == []


def test_long_module_is_found():
    longest = "pass\n" * MAX_LINES

    assert find_long_modules([Module("m", longest)]) == []
    assert find_long_modules([Module("m", longest + "pass")]) == ["m has 501 lines"]
    assert find_long_modules([Module(f"{GENERATED}m", longest * 2)]) == []


@pytest.mark.parametrize(
    "name", ["utils", "base", "tool_helpers", "common_types", "tests.test_manager"]
)
def test_empty_name_is_found(name):
    assert find_empty_names([Module(name, "")]) == [name]


@pytest.mark.parametrize("name", ["database", "management", "m.utilities.tools"])
def test_name_that_only_resembles_an_empty_one_is_left_alone(name):
    assert find_empty_names([Module(name, "")]) == []


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("conf", "tests.test_conf"),
        ("server.tools", "tests.server.test_tools"),
        ("client.__main__", "tests.client.test_main"),
        ("management.commands.mcp", "tests.management.commands.test_mcp"),
    ],
)
def test_module_and_its_test_belong_together(name, test):
    module, its_test = Module(f"{PACKAGE}.{name}", ""), Module(test, "")

    assert find_untested([module], []) == [f"{module.name} has no {test}"]
    assert find_untested([module], [its_test]) == []
    assert find_stray_tests([], [its_test]) == [test]
    assert find_stray_tests([module], [its_test]) == []


def test_packages_and_migrations_need_no_test():
    exempt = [
        Module(SERVER, "", is_package=True),
        Module(f"{GENERATED}0001_initial", ""),
    ]

    assert find_untested(exempt, []) == []


@pytest.mark.parametrize(
    "name",
    [
        "tests.settings",
        "tests.test_layout",
        "tests.interop.test_sdk",
        "tests.protocol.test_fuzz",
    ],
)
def test_tests_of_no_module_are_listed(name):
    assert find_stray_tests([], [Module(name, "")]) == []


def test_exemption_of_nothing_is_found(tests):
    left = [test for test in tests if not is_within(test.name, "tests.interop")]
    left = [test for test in left if test.stem not in ("test_docs", "test_fuzz")]

    assert find_idle_exemptions(left) == [
        "interop",
        "test_docs",
        "tests.protocol.test_fuzz",
    ]


def test_test_of_what_tests_are_built_of_is_no_stray():
    part, its_test = Module("tests.fakes", ""), Module("tests.test_fakes", "")

    assert find_stray_tests([], [part, its_test]) == []
    assert find_stray_tests([], [its_test]) == [its_test.name]


def test_imports_are_found_anywhere_in_a_file():
    source = dedent(
        """
        import a, b.c as d
        from e import f, g
        class H:
            async def i(self):
                try:
                    from j.k import l
                except ImportError:
                    import m
        """
    )

    assert sorted(iterate_imports(Module("x", source))) == [
        "a",
        "b.c",
        "e.f",
        "e.g",
        "j.k.l",
        "m",
    ]
