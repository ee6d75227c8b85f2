"""The tests on PostgreSQL, in a process that has their settings."""

import subprocess
import sys
from pathlib import Path


def test_postgres(postgres_package: Path) -> None:
    pytest = [sys.executable, "-m", "pytest", "--ds=tests.postgres.settings"]
    child = subprocess.run(
        [*pytest, "tests/postgres"],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=290,
    )

    assert child.returncode == 0, child.stdout
