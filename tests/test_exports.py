"""
What `mcp_channels` offers by name: complete, documented, and cheap to import.

The public names are lazy (PEP 562): every process of a site imports the package, and
each pays only for what it uses.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

import mcp_channels
import mcp_channels.client

ROOT = Path(__file__).resolve().parents[1]

# Importing the package imports none of these: they are what costs, or needs settings.
EXPENSIVE = ("asgiref", "channels", "django", "jsonschema_rs", "mcp", "msgspec")

# What a site, and a program, import from.
PACKAGES = [mcp_channels, mcp_channels.client]

MODULES = [
    "mcp_channels",
    *(
        module.name
        for module in pkgutil.walk_packages(mcp_channels.__path__, "mcp_channels.")
        # Importing __main__ would run it.
        if not module.name.endswith(".__main__")
    ),
]


def find_imported(statement: str) -> list[str]:
    """Run a statement in a new process and name the expensive packages it imports."""
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys\n{statement}\n"
            f"print(*(name for name in {EXPENSIVE!r} if name in sys.modules))",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return run.stdout.split()


def find_documentation(value: object) -> str | None:
    """
    Give the docstring somebody wrote for this value, or for its type; None without one.

    One that is inherited, or that dataclasses made up from the fields, does not count.
    """
    owner = value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
    text = vars(owner).get("__doc__") if inspect.isclass(owner) else owner.__doc__
    return None if not text or text.startswith(f"{owner.__name__}(") else text


def sort_key(name: str) -> tuple[int, str]:
    """Sort as ruff does (RUF022): CONSTANTS, then Classes, then the rest."""
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name


def find_static_names(source: str) -> set[str]:
    """Give the names a type checker sees bound at the top of a module."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(names=aliases):
                names.update(alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
    return names


def find_false_exports(module: ModuleType) -> list[str]:
    """Find names of a module's __all__ that it has not, has twice, or keeps private."""
    names = getattr(module, "__all__", [])
    return [
        name
        for name in names
        if not hasattr(module, name)
        or list(names).count(name) > 1
        or (name.startswith("_") and not name.startswith("__"))
    ]


@pytest.mark.parametrize(
    ("package", "name"),
    [(package, name) for package in PACKAGES for name in package.__all__],
)
def test_public_name_is_there_and_documented(package, name):
    value = getattr(package, name)

    assert isinstance(value, str | int) or find_documentation(value)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_sorted_and_unique(package):
    names = list(package.__all__)

    assert names == sorted(set(names), key=sort_key)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_listed_by_dir(package):
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_what_a_star_imports(package):
    namespace: dict[str, object] = {}
    exec(f"from {package.__name__} import *", namespace)

    assert set(namespace) - {"__builtins__"} == set(package.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_seen_by_type_checkers(package):
    source = Path(package.__file__).read_text()

    assert set(package.__all__) <= find_static_names(source)


@pytest.mark.parametrize("package", PACKAGES)
def test_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=rf"{package.__name__}.*no_such_name"):
        _ = package.no_such_name
    with pytest.raises(ImportError, match="no_such_name"):
        exec(f"from {package.__name__} import no_such_name")


def test_version_is_a_release():
    assert re.fullmatch(r"\d+\.\d+\.\d+", mcp_channels.__version__)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_the_package_imports_nothing_expensive(package):
    assert find_imported(f"import {package.__name__}") == []


@pytest.mark.parametrize("name", MODULES)
def test_exports_of_every_module_are_true(name):
    assert find_false_exports(importlib.import_module(name)) == []


# The checks themselves: each finds what it is there to find.


def test_expensive_import_is_found():
    assert find_imported("import mcp_channels, msgspec") == ["msgspec"]
    assert find_imported("import channels.exceptions, django.db") == [
        "asgiref",
        "channels",
        "django",
    ]


def test_missing_documentation_is_found():
    class Written:
        """Say something."""

    class Inheriting(Written): ...

    class Shape(msgspec.Struct): ...

    @dataclass
    class Point:
        x: int

    def silent(): ...

    def speaking():
        """Say something."""

    undocumented = [Inheriting, Inheriting(), Shape, Point, silent]

    assert [find_documentation(value) for value in undocumented] == [None] * 5
    assert find_documentation(Written) == "Say something."
    assert find_documentation(Written()) == "Say something."
    assert find_documentation(speaking) == "Say something."


def test_false_exports_are_found():
    module = ModuleType("module")
    module.__all__ = ["here", "missing", "twice", "twice", "_private"]
    module.here = module.twice = module._private = 1

    assert find_false_exports(module) == ["missing", "twice", "twice", "_private"]


def test_sort_key_puts_constants_first_and_functions_last():
    assert sorted(["tool", "Tool", "LIMIT", "Context"], key=sort_key) == [
        "LIMIT",
        "Context",
        "Tool",
        "tool",
    ]


def test_static_names_are_found_under_a_condition_too():
    source = "if TYPE_CHECKING:\n    from a import b, c as d\n__version__ = '1'"

    assert find_static_names(source) == {"b", "d", "__version__"}
