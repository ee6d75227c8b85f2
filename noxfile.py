"""
Run the tests on every supported Python and Django, and the checks of the source.

`nox` runs everything, `nox -s lint` one session, `nox -s tests -- -x` passes options to
pytest. A session whose interpreter is not on this machine fails and says so: a matrix
with a hole in it has not passed.
"""

import shutil
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.10"
nox.options.default_venv_backend = "venv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).resolve().parent


@nox.session
@nox.parametrize("python,django", [("3.11", "5.2"), ("3.12", "6.1"), ("3.13", "6.1")])
def tests(session: nox.Session, django: str) -> None:
    """Run the tests against the source tree."""
    session.install("-r", "requirements.txt")
    # requirements.txt chooses Django by the version of Python. This proves its choice.
    installed = session.run(
        "python", "-c", "import django; print(django.__version__)", silent=True
    )
    if not str(installed).startswith(f"{django}."):
        session.error(f"Django {django} is meant, but {installed} was installed.")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format, changing nothing."""
    session.install("-r", "requirements.txt")
    session.run("python", "-m", "ruff", "check", ".")
    session.run("python", "-m", "ruff", "format", "--check", ".")


@nox.session
def mypy(session: nox.Session) -> None:
    """Check the types."""
    session.install("-r", "requirements.txt")
    session.run("python", "-m", "mypy")


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """Build the wheel, see that it is complete, install it and import it."""
    folder = Path(session.create_tmp())
    shutil.rmtree(folder)
    session.run("python", "-m", "pip", "wheel", "--no-deps", "-w", str(folder), ".")
    (built,) = folder.glob("django_mcp_channels-*.whl")
    missing = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mcp_channels").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }.difference(zipfile.ZipFile(built).namelist())
    if missing:
        session.error(f"Not in the wheel: {sorted(missing)}")
    session.install(str(built))
    session.chdir(folder)  # away from the source tree
    session.run("python", "-c", "import mcp_channels; print(mcp_channels.__version__)")
