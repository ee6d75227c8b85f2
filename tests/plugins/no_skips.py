"""
A pytest plugin: a skip is a failure while MCP_CHANNELS_REQUIRE_ALL=1 is set.

On a developer's machine a test may skip for want of a browser or another program. Where
a run must prove that everything works, nothing may be left out in silence.
"""

import os
from collections.abc import Generator

import pytest

VARIABLE = "MCP_CHANNELS_REQUIRE_ALL"


def is_everything_required() -> bool:
    return os.environ.get(VARIABLE, "") not in ("", "0")


def fail_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """
    Turn the report of a skip into one of a failure that gives the reason of the skip.

    An expected failure is reported as a skip too, but it did run: it stays.
    """
    if not is_everything_required() or hasattr(report, "wasxfail"):
        return
    if report.skipped:
        # pytest gives a skip's place and reason as (path, line, reason).
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        report.outcome = "failed"
        report.longrepr = f"{VARIABLE} is set, so nothing may be skipped. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    report = yield
    fail_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[
    None, pytest.CollectReport, pytest.CollectReport
]:
    report = yield
    fail_skipped(report)
    return report
