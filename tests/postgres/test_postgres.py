"""
The tests on PostgreSQL, in processes that have their settings: those of this folder,
and of the others those of which a database has a say.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READING = ["filters", "search", "reach", "query", "aggregate"]
WRITING = ["forms", "write", "actions"]
OPERATIONS = ["read_operations", "write_operations", "resources"]


@pytest.mark.parametrize(
    "tests",
    [
        ["tests/postgres"],
        *(
            [f"tests/modeltools/test_{name}.py" for name in names]
            for names in (READING, WRITING, OPERATIONS)
        ),
    ],
)
def test_postgres(postgres_package: Path, tests: list[str]) -> None:
    pytest = [sys.executable, "-m", "pytest", "--ds=tests.postgres.settings"]
    child = subprocess.run(
        [*pytest, "-m", "not sqlite", *tests],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=290,
    )

    assert child.returncode == 0, child.stdout
