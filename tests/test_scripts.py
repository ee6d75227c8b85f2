"""
The shell scripts, run in a small copy of the repository where every tool is a fake.

The copy's path has spaces in it, and its requirements need no network.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [
    "scripts/conformance-server",
    "scripts/demo",
    "scripts/lint",
    "scripts/test",
    ".ci/run",
]

# Says that it ran, with what, and fails when told to.
FAKE = """
import os, sys
print("ran", "{name}", *sys.argv[1:], flush=True)
if "{name}" == "pytest":
    print("required", os.environ.get("MCP_CHANNELS_REQUIRE_ALL"))
sys.exit("{name}" in os.environ.get("FAILING", ""))
"""

# All that the scripts need of a system, apart from sh itself and Python.
COMMANDS = ["cat", "dirname", "rm"]


class Checkout:
    """A copy of the scripts, and a PATH that holds next to nothing."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a check out"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for command in COMMANDS:
            (self.bin / command).symlink_to(str(shutil.which(command)))
        for script in [*SCRIPTS, "scripts/_environment"]:
            copy = self.root / script
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / script, copy)
        self.write("requirements.txt", "pip\n")
        self.write("pyproject.toml", "")
        self.write("project/__init__.py", "")
        self.write("project/demo.py", FAKE.format(name="demo"))
        self.write("tests/__init__.py", "")
        self.write("tests/conformance/__main__.py", FAKE.format(name="site"))
        for tool in ("coverage", "mypy", "pytest", "ruff"):
            self.write(f"{tool}.py", FAKE.format(name=tool))

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(exist_ok=True)
        (self.root / path).write_text(text)

    def add_command(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def run(
        self, script: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script from a directory that is not the checkout."""
        environment = {"PATH": str(self.bin), "PYTHON": sys.executable} | variables
        return subprocess.run(
            [self.root / script, *arguments],
            cwd=self.bin,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Checkout:
    """One checkout whose .venv is made, for the tests that leave it so."""
    checkout = Checkout(tmp_path_factory.mktemp("prepared"))
    run = checkout.run("scripts/demo")
    assert run.returncode == 0, run.stderr
    return checkout


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    """A checkout nothing ran in yet."""
    return Checkout(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_is_posix_sh_and_executable(script):
    path = ROOT / script

    assert path.read_text().startswith("#!/bin/sh\n")
    assert os.access(path, os.X_OK)
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


def test_environment_is_made_once(checkout):
    first = checkout.run("scripts/demo", "--port", "1")
    second = checkout.run("scripts/demo", "--port", "2")

    assert first.returncode == 0
    assert "Making .venv" in first.stderr
    assert "Installing" in first.stderr
    assert first.stdout == "ran demo --port 1\n"
    assert second.stdout == "ran demo --port 2\n"
    assert second.stderr == ""


@pytest.mark.parametrize("path", ["requirements.txt", "pyproject.toml"])
def test_changed_file_is_installed_from_once(prepared, path):
    text = (prepared.root / path).read_text()
    prepared.write(path, f"# {os.urandom(8).hex()}\n{text}")

    assert "Installing" in prepared.run("scripts/demo").stderr
    assert prepared.run("scripts/demo").stderr == ""


def test_failed_installation_is_tried_again(prepared):
    prepared.write("requirements.txt", "==no requirement\n")
    failed = prepared.run("scripts/demo")
    prepared.write("requirements.txt", "pip\n")
    mended = prepared.run("scripts/demo")

    assert failed.returncode != 0
    assert "ran demo" not in failed.stdout
    assert "Installing" in mended.stderr
    assert mended.returncode == 0


def test_broken_environment_is_made_anew(checkout):
    python = checkout.root / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/nonexistent/python")
    run = checkout.run("scripts/demo")

    assert run.returncode == 0
    assert "Making .venv" in run.stderr
    assert run.stdout == "ran demo\n"


def test_first_usable_python_is_taken(checkout):
    checkout.add_command("python3", "exit 1")  # too old
    checkout.add_command("python3.13", "exit 127")  # a shim for what is not there
    checkout.add_command("python3.12", f'exec "{sys.executable}" "$@"')
    run = checkout.run("scripts/demo", PYTHON="")

    assert run.returncode == 0
    assert run.stdout == "ran demo\n"


def test_missing_python_is_said(checkout):
    run = checkout.run("scripts/demo", PYTHON="")

    assert run.returncode != 0
    assert "demo: Python >= 3.11" in run.stderr
    assert run.stdout == ""


def test_unusable_chosen_python_is_said(checkout):
    checkout.add_command("python3", f'exec "{sys.executable}" "$@"')
    run = checkout.run("scripts/demo", PYTHON="/nonexistent/python")

    assert run.returncode != 0
    assert "PYTHON=/nonexistent/python is not a Python >= 3.11" in run.stderr


def test_exit_status_of_the_demo_is_passed_on(prepared):
    assert prepared.run("scripts/demo", FAILING="demo").returncode == 1


def test_conformance_server_is_told_its_port(prepared):
    run = prepared.run("scripts/conformance-server", "8123")

    assert run.returncode == 0
    assert run.stdout == "ran site 8123\n"
    assert prepared.run("scripts/conformance-server", FAILING="site").returncode == 1


def test_test_runs_every_check(prepared):
    run = prepared.run("scripts/test")

    assert run.returncode == 0
    assert re.findall("^ran (.*)", run.stdout, re.MULTILINE) == [
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "coverage erase",
        "coverage run -m pytest",
        "coverage report",
    ]


@pytest.mark.parametrize("tool", ["ruff", "mypy", "coverage"])
def test_test_fails_with_any_check_and_runs_the_rest(prepared, tool):
    run = prepared.run("scripts/test", FAILING=tool)

    assert run.returncode == 1
    assert run.stdout.count("ran ") == 6
    assert f"Failed:\n  {tool}" in run.stderr


def test_test_with_arguments_runs_only_pytest(prepared):
    run = prepared.run("scripts/test", "tests/a b.py", "-k", "x or y")

    assert run.stdout.startswith("ran pytest tests/a b.py -k x or y\n")
    assert run.stdout.count("ran ") == 1


def test_test_with_arguments_passes_on_the_exit_status(prepared):
    assert prepared.run("scripts/test", "-x", FAILING="pytest").returncode == 1


def test_lint_mends_then_checks(prepared):
    run = prepared.run("scripts/lint")

    assert run.returncode == 0
    assert run.stdout.splitlines() == [
        "ran ruff check --fix-only --quiet .",
        "ran ruff format .",
        "ran ruff check .",
        "ran mypy",
    ]


@pytest.mark.parametrize("tool", ["ruff", "mypy"])
def test_lint_fails_with_any_tool(prepared, tool):
    assert prepared.run("scripts/lint", FAILING=tool).returncode == 1


@pytest.fixture
def machine(prepared):
    """A checkout on a machine whose commands a test may add to."""
    yield prepared
    for command in prepared.bin.iterdir():
        if command.name not in COMMANDS:
            command.unlink()


def test_ci_requires_everything(machine):
    machine.add_command("chromium", "")
    machine.write("coverage.py", FAKE.format(name="pytest"))
    run = machine.run(".ci/run")
    machine.write("coverage.py", FAKE.format(name="coverage"))

    assert run.returncode == 0
    assert "required 1" in run.stdout
    assert "***" not in run.stderr


def test_ci_fails_with_the_tests(machine):
    machine.add_command("chromium", "")

    assert machine.run(".ci/run", FAILING="mypy").returncode == 1


def test_ci_installs_a_missing_browser(machine):
    machine.add_command("id", "echo 0")
    machine.add_command("apt-get", 'echo "apt-get $*" >&2')
    run = machine.run(".ci/run")

    assert run.returncode == 0
    assert "apt-get update" in run.stderr
    assert re.search("apt-get install .* chromium\n", run.stderr)
    assert "***" not in run.stderr


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ({}, "no apt-get"),
        ({"apt-get": "exit 1", "id": "echo 1000"}, "only root may install"),
        ({"apt-get": "exit 100", "id": "echo 0"}, "Installing chromium failed"),
    ],
    ids=["no apt", "not root", "apt fails"],
)
def test_ci_goes_on_loudly_without_a_browser(machine, commands, said):
    for name, script in commands.items():
        machine.add_command(name, script)
    run = machine.run(".ci/run")

    assert run.returncode == 0
    assert said in run.stderr
    assert "*** Tests in a browser will fail." in run.stderr
    assert "ran coverage run -m pytest" in run.stdout


PINS = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def find_pins(name: str, python: str) -> list[str]:
    """Give the versions pinned for a package on one version of Python."""
    return [
        str(pin.specifier).removeprefix("==")
        for pin in PINS
        if pin.name == name
        and (not pin.marker or pin.marker.evaluate({"python_version": python}))
    ]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(
    "text", sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
)
def test_dependency_is_pinned_within_its_range(text, python):
    dependency = Requirement(text)
    versions = find_pins(dependency.name, python)

    assert len(versions) == 1
    assert dependency.specifier.contains(versions[0])


@pytest.mark.parametrize("pin", PINS, ids=str)
def test_requirement_is_pinned(pin):
    assert re.fullmatch(r"==[\w.]+", str(pin.specifier))


@pytest.mark.parametrize(
    ("python", "django"), [("3.11", "5.2"), ("3.12", "6.1"), ("3.13", "6.1")]
)
def test_django_is_chosen_by_the_version_of_python(python, django):
    (version,) = find_pins("django", python)

    assert version.startswith(f"{django}.")
