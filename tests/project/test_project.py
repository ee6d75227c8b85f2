"""The demo site's tests, in a process that has its settings."""

import subprocess
import sys
from pathlib import Path


def test_demo_site():
    pytest = [sys.executable, "-m", "pytest", "--ds=project.settings", "tests/project"]
    child = subprocess.run(
        pytest,
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=290,
    )

    assert child.returncode == 0, child.stdout
