"""
Each benchmark runs, with real server processes, and ends with the line it promises.

Nothing is measured here: a smoke run is too short for that. It takes about 15 seconds,
most of it spent starting servers.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("calls", ["of_bare_asgi", "times_sdk"]),
        ("client", ["of_memory_pipe", "bridge_start_ms"]),
        ("lists", ["times_call", "times_call_walk"]),
        (
            "models",
            ["times_by_hand", "growth_1e6_over_1e3", "schema_ms_per_model"],
        ),
        ("startup", ["plain_import_ms", "setup_with_ms"]),
        ("sync_tools", ["together_ms"]),
    ],
)
def test_benchmark_ends_with_its_figures(name: str, keys: list[str]) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--smoke"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert completed.returncode == 0, completed.stdout + completed.stderr
    result = json.loads(completed.stdout.splitlines()[-1])
    assert result["benchmark"] == name
    assert all(result[key] > 0 for key in keys), result
