import logging
import re
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import checks
from mcp_channels.management.commands import mcp
from mcp_channels.models import AccessToken, Endpoint, PrimitiveSetting
from mcp_channels.server.registry import Registry

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry()

    @registry.tool(read_only=True)
    def count() -> int:
        """Count."""
        return 1

    @registry.tool(permission="auth.change_user")
    def refund() -> None:
        """Refund."""

    @registry.prompt
    def plan() -> str:
        """Plan."""
        return "x"

    @registry.resource("shop://orders")
    def orders() -> str:
        """List orders."""
        return "x"

    monkeypatch.setattr(mcp, "registry", registry)
    monkeypatch.setattr(checks, "registry", registry)
    return registry


@pytest.fixture
def ada() -> User:
    user = User.objects.create(username="ada", password="hashed")
    user.user_permissions.add(Permission.objects.get(codename="change_user"))
    return user


def run(*words: str) -> tuple[str, str]:
    """Return what `manage.py mcp` writes with these words, to where."""
    out, err = StringIO(), StringIO()
    call_command("mcp", *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def lines(*words: str) -> list[list[str]]:
    return [line.split("\t") for line in run(*words)[0].splitlines()]


# Tokens


def test_token_is_made_and_its_secret_printed_alone(ada: User) -> None:
    Endpoint.objects.create(slug="staff")
    out, err = run(
        *("token", "create", "ada", "nightly report", "--read-only"),
        *("--endpoint", "", "--endpoint", "staff", "--rate", "60/minute"),
        *("--pattern", "count_*", "--pattern", "shop://*", "--expires", "90d"),
    )
    token = AccessToken.objects.get()
    left = (token.expires_at or timezone.now()) - timezone.now()

    assert re.fullmatch(r"mcp_[\w-]{43}\n", out)
    assert AccessToken.objects.find(out.strip()) == token
    assert err == f"Made token {token.pk}. It is shown only now:\n"
    assert (token.user, token.name, token.read_only) == (ada, "nightly report", True)
    assert (token.endpoints, token.rate) == (["", "staff"], "60/minute")
    assert token.patterns == ["count_*", "shop://*"]
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)


def test_token_is_made_with_nothing_but_a_user_and_a_name(ada: User) -> None:
    run("token", "create", "ada", "ci")
    token = AccessToken.objects.get()

    assert (token.endpoints, token.patterns, token.read_only) == ([], [], False)
    assert (token.rate, token.expires_at) == ("", None)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nobody", "ci"], "There is no user 'nobody'."),
        (["ada", "ci", "--endpoint", "shop"], "There is no endpoint shop."),
        (["ada", "ci", "--rate", "often"], "A rate is such as 60/minute"),
        (["ada", ""], "This field cannot be blank."),
        (["ada", "ci", "--pattern", " "], "list of names"),
        (["ada", "ci", "--expires", "soon"], "'soon' is no duration"),
        (["ada", "ci", "--expires", "-5d"], "expected one argument"),
        (["ada", "ci", "--expires", "0d"], "0d is over."),
        (["ada", "ci", "--expires", "2020-01-01"], "2020-01-01 is over."),
        (["ada", "ci", "--expires", "2020-13-01"], "is no duration"),
    ],
)
def test_token_that_would_be_wrong_is_not_made(
    ada: User, words: list[str], reason: str
) -> None:
    with pytest.raises(CommandError, match=re.escape(reason)):
        run("token", "create", *words)

    assert not AccessToken.objects.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2999-01-02", datetime(2999, 1, 2)),
        ("2999-01-02T03:04", datetime(2999, 1, 2, 3, 4)),
        ("2999-01-02T03:04Z", datetime(2999, 1, 2, 3, 4)),
    ],
)
def test_token_expires_when_it_is_said(
    ada: User, settings: DjangoSettings, text: str, expected: datetime
) -> None:
    settings.TIME_ZONE = "UTC"
    run("token", "create", "ada", "ci", "--expires", text)

    assert AccessToken.objects.get().expires_at == timezone.make_aware(expected)


def test_tokens_are_listed_without_secrets(ada: User, settings: DjangoSettings) -> None:
    settings.TIME_ZONE = "UTC"
    User.objects.create(username="bob", password="hashed")
    secrets = [
        run("token", "create", *words)[0].strip()
        for words in (
            ["ada", "plain"],
            ["ada", "narrow", "--read-only", "--pattern", "a", "--endpoint", ""],
            ["bob", "late", "--expires", "1d"],
            ["bob", "gone"],
        )
    ]
    plain, narrow, late, gone = AccessToken.objects.order_by("pk")
    gone.revoke()
    AccessToken.objects.filter(pk=plain.pk).update(
        last_used_at=datetime(2026, 1, 2, 3, 4, tzinfo=timezone.get_current_timezone())
    )
    late.refresh_from_db()
    assert late.expires_at is not None

    listed = {line[3]: line for line in lines("token", "list", "--all")}
    assert listed == {
        "plain": [
            str(plain.pk),
            f"{plain.prefix}…",
            "ada",
            "plain",
            "last used 2026-01-02 03:04",
        ],
        "narrow": [
            str(narrow.pk),
            f"{narrow.prefix}…",
            "ada",
            "narrow",
            "read-only",
            "endpoints default",
            "patterns a",
            "never used",
        ],
        "late": [
            str(late.pk),
            f"{late.prefix}…",
            "bob",
            "late",
            f"expires {late.expires_at:%Y-%m-%d %H:%M}",
            "never used",
        ],
        "gone": [
            str(gone.pk),
            f"{gone.prefix}…",
            "bob",
            "gone",
            "never used",
            "revoked",
        ],
    }
    assert [line[3] for line in lines("token", "list")] == ["late", "narrow", "plain"]
    assert [line[3] for line in lines("token", "list", "--user", "bob")] == ["late"]
    assert not any(secret[10:] in str(listed) for secret in secrets)


@pytest.mark.parametrize("by", ["pk", "prefix"])
def test_token_is_revoked(ada: User, by: str) -> None:
    token, secret = AccessToken.objects.issue(ada, "ci")
    other, _ = AccessToken.objects.issue(ada, "other")
    out, _ = run("token", "revoke", str(getattr(token, by)))

    assert out.startswith(f"Revoked {token.pk}\t")
    assert AccessToken.objects.find(secret) is None
    other.refresh_from_db()
    assert other.is_usable


@pytest.mark.parametrize("action", ["revoke", "rotate"])
@pytest.mark.parametrize("name", ["999999", "mcp_nosuch", "", "0x1"])
def test_token_that_does_not_exist_is_missed(action: str, name: str) -> None:
    with pytest.raises(CommandError, match="0 tokens have the id or prefix"):
        run("token", action, name)


def test_prefix_of_two_tokens_is_none(ada: User) -> None:
    for name in "ab":
        AccessToken.objects.issue(ada, name)
    AccessToken.objects.update(prefix="mcp_same12")
    with pytest.raises(CommandError, match="2 tokens have"):
        run("token", "revoke", "mcp_same12")


@pytest.mark.parametrize(("overlap", "is_good"), [((), False), (("1h",), True)])
def test_token_is_rotated(ada: User, overlap: Any, is_good: bool) -> None:
    token, first = AccessToken.objects.issue(ada, "ci")
    words = ("--overlap", *overlap) if overlap else ()
    out, err = run("token", "rotate", str(token.pk), *words)

    assert AccessToken.objects.find(out.strip()) == token
    assert (AccessToken.objects.find(first) == token) is is_good
    assert err == f"Rotated token {token.pk}. It is shown only now:\n"


def test_token_that_is_over_is_not_rotated(ada: User) -> None:
    token, _ = AccessToken.objects.issue(ada, "ci")
    token.revoke()
    with pytest.raises(CommandError, match="revoked or expired"):
        run("token", "rotate", str(token.pk))
    with pytest.raises(CommandError, match="'1y' is no duration"):
        run("token", "rotate", str(token.pk), "--overlap", "1y")


# What is seen


def test_what_somebody_sees_is_listed(ada: User, settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True}
    common = [
        ["prompt", "plan", "read-only"],
        ["resource", "shop://orders", "read-only"],
    ]
    count, refund = ["tool", "count", "read-only"], ["tool", "refund", "may write"]
    narrow, _ = AccessToken.objects.issue(ada, "narrow", patterns=["refund"])
    reader, _ = AccessToken.objects.issue(ada, "reader", read_only=True)

    assert lines("list") == [count, *common]
    assert lines("list", "--user", "ada") == [count, refund, *common]
    assert lines("list", "--token", str(narrow.pk)) == [refund]
    assert lines("list", "--token", reader.prefix) == [count, *common]


def test_what_is_seen_is_what_the_rows_say(ada: User) -> None:
    Endpoint.objects.create(slug="staff", read_only=True)
    PrimitiveSetting.objects.create(kind="prompt", key="plan", enabled=False)

    assert lines("list", "--user", "ada", "--endpoint", "staff") == [
        ["tool", "count", "read-only"],
        ["resource", "shop://orders", "read-only"],
    ]


def test_who_is_not_let_in_sees_nothing(ada: User, settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {}
    Endpoint.objects.create(slug="staff", staff_only=True)
    elsewhere, _ = AccessToken.objects.issue(ada, "a", endpoints=["staff"])
    revoked, _ = AccessToken.objects.issue(ada, "b")
    revoked.revoke()
    User.objects.create(username="gone", password="hashed", is_active=False)
    for words, reason in [
        ((), "Credentials are required"),
        (("--endpoint", "shop"), "There is nothing at this endpoint"),
        (("--user", "nobody"), "There is no user 'nobody'"),
        (("--user", "gone"), "This user is not active"),
        (("--user", "ada", "--endpoint", "staff"), "This endpoint is for others"),
        (("--token", str(elsewhere.pk)), "This token is for other endpoints"),
        (("--token", str(revoked.pk)), "This token lets nobody in"),
    ]:
        with pytest.raises(CommandError, match=reason):
            run("list", *words)


# What is wrong


def test_site_without_faults_has_nothing_to_mend() -> None:
    assert run("check")[0] == "Nothing to mend.\n"


def test_what_is_wrong_is_said_and_fails(registry: Registry) -> None:
    registry.tool(name="silent")(lambda: None)
    out = StringIO()
    with pytest.raises(CommandError, match=r"Found 2 to mend") as caught:
        call_command("mcp", "check", stdout=out)

    assert caught.value.returncode == 1
    assert "(mcp_channels.W001) Tool 'silent' has no description." in out.getvalue()
    assert "(mcp_channels.W002) Tool 'silent' may be called by anybody" in (
        out.getvalue()
    )
    assert "HINT" in out.getvalue()


def test_level_of_failure_can_be_chosen(
    registry: Registry, settings: DjangoSettings
) -> None:
    registry.tool(name="silent")(lambda: None)

    assert "Nothing to mend." in run("check", "--fail-level", "ERROR")[0]

    settings.SILENCED_SYSTEM_CHECKS = ["mcp_channels.W001", "mcp_channels.W002"]

    assert "Nothing to mend." in run("check")[0]

    settings.MCP_CHANNELS = {"PAGE_SIZE": 0}
    with pytest.raises(CommandError, match="Found 1 to mend"):
        run("check", "--fail-level", "ERROR")


def test_rows_are_checked(ada: User) -> None:
    Endpoint.objects.create(slug="staff", groups=["nobody"])
    with pytest.raises(CommandError, match="Found 1 to mend"):
        run("check")


# Rows


def test_rows_of_primitives_are_made() -> None:
    assert run("sync")[0] == "Made 4 rows; 0 are of what no code offers.\n"
    assert run("sync")[0] == "Made 0 rows; 0 are of what no code offers.\n"
    assert PrimitiveSetting.objects.count() == 4


# All of it


@pytest.mark.parametrize("words", [(), ("token",), ("no",), ("list", "--user")])
def test_command_without_sense_is_refused(words: Any) -> None:
    with pytest.raises(CommandError, match="Error: "):
        run(*words)


def test_secret_is_not_logged(ada: User, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "mcp_channels"):
        out, err = run("token", "create", "ada", "ci")

    assert out.strip() not in caplog.text + err
