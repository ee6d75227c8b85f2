"""The check itself: that it passes, and that it can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

from project import check
from project.peer import CheckFailed

ROOT = Path(__file__).resolve().parents[2]


def test_demo_passes_its_check():
    child = subprocess.run(
        [sys.executable, "-m", "project.demo", "--check"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=240,
    )

    assert child.returncode == 0, child.stdout
    assert "legacy <- " in child.stdout
    assert "modern -> " in child.stdout
    # Each feature is tried in both eras.
    for claim in (
        "it is JSON with 250 countries",  # a resource
        "is a PNG of",  # a resource of a template
        "cancelled on another connection, ",  # news of one
        "country_briefing brings a resource along",
        "ok a country is completed",
        "the code of a country is completed",
        "is asked for again, in its words",
        "the first is not forgotten",
        "when the user says decline",
        "when the user says cancel",
        "passes on what it wrote",
        "proposes a file in it",
        "tells its progress after each leg",
        "logs what it does",
        "is never answered",
    ):
        assert child.stdout.count(claim) == 2, claim
    for claim in (
        "a state that was changed is refused",
        "is acknowledged first",
        "who watches the trip is told of its new stop",
    ):
        assert claim in child.stdout
    assert " claims hold (" in child.stdout.splitlines()[-1]


def test_claim_that_holds_is_counted_and_printed(capsys):
    judge = check.Judge()
    judge.expect([1], "there is something")

    assert judge.proved == 1
    assert capsys.readouterr().out == "   ok there is something\n"


def test_claim_that_does_not_hold_fails_with_what_was_seen():
    judge = check.Judge()

    with pytest.raises(CheckFailed, match=r'Not so: it is empty. Seen: \{"a": 1\}'):
        judge.expect([], "it is empty", {"a": 1})
    assert judge.proved == 0


@pytest.mark.parametrize(
    ("exception", "reason"),
    [
        (CheckFailed("Not so: it works"), "FAILED: Not so: it works"),
        (KeyError("serverInfo"), "FAILED: KeyError: 'serverInfo'"),
        (ConnectionRefusedError("refused"), "FAILED: ConnectionRefusedError: refused"),
        (TimeoutError(), "FAILED: TimeoutError"),
    ],
)
def test_failure_is_an_exit_status_and_a_reason(monkeypatch, capsys, exception, reason):
    async def fail(judge):
        raise exception

    monkeypatch.setattr(check, "check", fail)

    assert check.run() == 1
    assert reason in capsys.readouterr().out


async def test_server_that_does_not_start_is_a_failure(monkeypatch, tmp_path, capsys):
    # A directory is no database.
    (tmp_path / "check.sqlite3").mkdir()

    with pytest.raises(CheckFailed, match="ended before it listened"):
        async with check.served(tmp_path):
            pytest.fail("It was served.")
    assert "unable to open database file" in capsys.readouterr().out
