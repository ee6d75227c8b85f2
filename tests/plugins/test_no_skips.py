import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parents[2]

SKIPS = {
    "decorator": """
        import pytest

        @pytest.mark.skip(reason="no browser")
        def test_it(): ...
    """,
    "call": """
        import pytest

        def test_it():
            pytest.skip("no browser")
    """,
    "fixture": """
        import pytest

        @pytest.fixture
        def browser():
            pytest.skip("no browser")

        def test_it(browser): ...
    """,
    "module": """
        import pytest

        pytest.importorskip("no_such_browser", reason="no browser")

        def test_it(): ...
    """,
}

NOT_SKIPS = """
    import pytest

    def test_passes(): ...

    @pytest.mark.xfail(reason="known")
    def test_is_known_to_fail():
        raise AssertionError
"""


def run_pytest(
    folder: Path, source: str, *, required: str | None
) -> subprocess.CompletedProcess[str]:
    test = folder / "test_it.py"
    test.write_text(dedent(source))
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MCP_CHANNELS_REQUIRE_ALL", "PYTEST_ADDOPTS")
    } | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    if required is not None:
        environment["MCP_CHANNELS_REQUIRE_ALL"] = required
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.plugins.no_skips", test.name],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS)
def test_skip_is_a_failure_when_everything_is_required(source, tmp_path):
    run = run_pytest(tmp_path, source, required="1")

    assert run.returncode != 0
    assert "nothing may be skipped" in run.stdout
    assert "no browser" in run.stdout


@pytest.mark.parametrize("required", [None, "", "0"])
def test_skip_stays_a_skip_otherwise(required, tmp_path):
    run = run_pytest(tmp_path, SKIPS["decorator"], required=required)

    assert run.returncode == 0
    assert "1 skipped" in run.stdout


def test_expected_failure_is_not_a_skip(tmp_path):
    run = run_pytest(tmp_path, NOT_SKIPS, required="1")

    assert run.returncode == 0
    assert "1 passed, 1 xfailed" in run.stdout


def test_plugin_is_loaded_in_this_run(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("tests.plugins.no_skips")
