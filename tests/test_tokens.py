import logging
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser, User
from django.utils import timezone
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels.auth import Refused, admit, renew
from mcp_channels.models import AccessToken, Endpoint
from mcp_channels.server.permissions import EndpointPolicy, Identity, TokenGrant
from mcp_channels.tokens import identify_token, note_use
from tests.handshakes import (
    SITE,
    bearer,
    cookie,
    enter_now,
    log_in,
    make_scope,
    status_now,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def ada(transactional_db: None) -> User:
    # Committed: a thread looks it up.
    return User.objects.create(username="ada", password="hashed")


@pytest.fixture
def issued(ada: User) -> tuple[AccessToken, str]:
    return AccessToken.objects.issue(
        ada,
        "ci",
        read_only=True,
        patterns=["count_*"],
        rate="60/minute",
        endpoints=[""],
        expires_at=timezone.now() + MINUTE,
    )


def who(secret: str) -> Identity:
    return enter_now(make_scope(bearer(secret)))


def test_token_says_who_it_is_and_what_it_is_for(
    ada: User, issued: tuple[AccessToken, str]
) -> None:
    token, secret = issued
    identity = who(secret)

    assert identity.user == ada
    assert identity.token == TokenGrant(
        pk=str(token.pk),
        name="ci",
        endpoints=frozenset({""}),
        read_only=True,
        patterns=("count_*",),
        rate="60/minute",
    )
    assert identity.expires_at == token.expires_at
    assert identity.credential == "token"
    assert identity.principal == f"user:{ada.pk} token:{token.pk}"


def test_token_may_come_in_a_subprotocol(
    issued: tuple[AccessToken, str],
) -> None:
    _, secret = issued
    identity = enter_now(make_scope(subprotocols=["mcp", f"mcp.auth.{secret}"]))

    assert identity.token is not None
    assert status_now(make_scope(bearer(secret), subprotocols=["mcp"])) is None


def test_token_needs_no_origin_and_no_cookie(
    issued: tuple[AccessToken, str], settings: DjangoSettings
) -> None:
    settings.MCP_CHANNELS = {"ALLOWED_ORIGINS": ["*"]}
    _, secret = issued
    evil = (b"origin", b"https://evil.example")

    # Whoever has the token could do without a browser.
    assert status_now(make_scope(bearer(secret), evil)) is None
    stranger = log_in(User.objects.create(username="bob", password="hashed"))
    assert status_now(make_scope(bearer(secret), evil, cookie(stranger))) is None


def test_token_and_session_are_of_the_same_user(
    ada: User, issued: tuple[AccessToken, str]
) -> None:
    _, secret = issued
    bob = User.objects.create(username="bob", password="hashed")
    own = make_scope(SITE, bearer(secret), cookie(log_in(ada)))
    other = make_scope(SITE, bearer(secret), cookie(log_in(bob)))

    # What allows less decides.
    assert (enter_now(own)).token is not None
    assert status_now(other) == 401


def test_two_tokens_are_refused(ada: User, issued: tuple[AccessToken, str]) -> None:
    _, first = issued
    _, second = AccessToken.objects.issue(ada, "other")
    scope = make_scope(bearer(first), subprotocols=[f"mcp.auth.{second}"])

    assert status_now(scope) == 401


def spoil_unknown(token: AccessToken) -> None:
    token.renew_secret()
    token.save()


def spoil_revoked(token: AccessToken) -> None:
    token.revoke()


def spoil_expired(token: AccessToken) -> None:
    token.expires_at = timezone.now()
    token.save()


def spoil_deleted(token: AccessToken) -> None:
    token.delete()


def spoil_inactive(token: AccessToken) -> None:
    User.objects.update(is_active=False)


def spoil_user(token: AccessToken) -> None:
    User.objects.all().delete()


def spoil_rotated(token: AccessToken) -> None:
    token.rotate()


spoilt = pytest.mark.parametrize(
    "spoil",
    [
        spoil_unknown,
        spoil_revoked,
        spoil_expired,
        spoil_deleted,
        spoil_inactive,
        spoil_user,
        spoil_rotated,
    ],
)


@spoilt
def test_token_that_is_over_is_refused_whatever_the_reason(
    issued: tuple[AccessToken, str], settings: DjangoSettings, spoil: Any
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True}
    token, secret = issued
    identity = identify_token(token.digest)
    spoil(token)

    assert identity is not None
    assert renew(identity) is None
    with pytest.raises(Refused) as caught:
        who(secret)
    assert caught.value.status == 401
    assert caught.value.reason == "This credential is not known here"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda secret: secret[:-1],
        lambda secret: secret + "a",
        lambda secret: secret.swapcase(),
        lambda secret: secret.replace("mcp_", ""),
        lambda secret: secret[:10] + "a" * 37,
        lambda secret: f"{secret} {secret}",
        lambda secret: f"{secret}, {secret}",
        lambda secret: secret + "\x00",
    ],
)
def test_token_that_is_not_quite_one_is_refused(
    issued: tuple[AccessToken, str], wrong: Any
) -> None:
    assert status_now(make_scope(bearer(wrong(issued[1])))) == 401


def test_digest_is_no_secret(issued: tuple[AccessToken, str]) -> None:
    token, _ = issued
    for known in (token.digest, token.prefix, f"mcp_{token.digest[:43]}"):
        assert status_now(make_scope(bearer(known))) == 401


def test_token_is_for_its_endpoints_alone(
    issued: tuple[AccessToken, str],
) -> None:
    scope = make_scope(bearer(issued[1]))

    assert status_now(scope, EndpointPolicy()) is None
    assert status_now(scope, EndpointPolicy(slug="staff")) == 403


def test_token_of_an_endpoint_that_is_gone_opens_no_other(ada: User) -> None:
    endpoint = Endpoint.objects.create(slug="staff")
    token, _ = AccessToken.objects.issue(ada, "ci", endpoints=["staff"])
    endpoint.delete()
    identity = identify_token(AccessToken.objects.get(pk=token.pk).digest)

    assert identity is not None
    with pytest.raises(Refused, match="other endpoints"):
        admit(identity)


def test_renewal_finds_what_was_changed(issued: tuple[AccessToken, str]) -> None:
    token, _ = issued
    identity = identify_token(token.digest)
    AccessToken.objects.update(read_only=False, expires_at=None)
    User.objects.update(email="ada@example.com")

    assert identity is not None
    found = renew(identity)
    assert found is not None and found.token is not None
    assert (found.token.read_only, found.expires_at) == (False, None)
    assert getattr(found.user, "email", "") == "ada@example.com"


@pytest.mark.parametrize(("overlap", "own"), [(30, None), (30, 60), (60, 30)])
def test_secret_of_before_ends_with_the_overlap_or_the_token(
    ada: User, overlap: int, own: int | None
) -> None:
    expires_at = None if own is None else timezone.now() + timedelta(seconds=own)
    token, _ = AccessToken.objects.issue(ada, "ci", expires_at=expires_at)
    first = token.digest
    token.rotate(timedelta(seconds=overlap))
    before, after = identify_token(first), identify_token(token.digest)
    ends = [end for end in (token.previous_expires_at, expires_at) if end is not None]

    assert before is not None and after is not None
    assert before.expires_at == min(ends)
    assert after.expires_at == expires_at
    # It is one token, whichever secret it came with.
    assert before.principal == after.principal


# Use


def test_use_is_noted(issued: tuple[AccessToken, str]) -> None:
    token, secret = issued
    assert token.last_used_at is None

    who(secret)
    token.refresh_from_db()

    assert token.last_used_at is not None
    assert timezone.now() - token.last_used_at < MINUTE


@pytest.mark.parametrize(("seconds", "is_noted"), [(50, False), (70, True)])
def test_use_is_noted_once_a_minute(
    issued: tuple[AccessToken, str], seconds: int, is_noted: bool
) -> None:
    token, _ = issued
    before = timezone.now() - timedelta(seconds=seconds)
    AccessToken.objects.update(last_used_at=before)
    note_use([str(token.pk)])
    token.refresh_from_db()

    assert (token.last_used_at != before) is is_noted


def test_failed_attempt_is_no_use(issued: tuple[AccessToken, str]) -> None:
    token, secret = issued
    status_now(make_scope(bearer(secret[:-1] + "_")))
    token.refresh_from_db()

    assert token.last_used_at is None


# Nowhere to be seen


def test_secret_is_nowhere_to_be_seen(
    issued: tuple[AccessToken, str], caplog: pytest.LogCaptureFixture
) -> None:
    _, secret = issued
    with caplog.at_level(logging.DEBUG):
        identity = who(secret)
        statuses = [
            status_now(make_scope(bearer(wrong)))
            for wrong in (secret[:-1], secret[:-1] + "_")
        ]

    assert statuses == [401, 401]
    renewal: Any = identity.renew
    shown = f"{identity!r} {renewal!r} {caplog.text} {vars(identity)}"
    assert secret[10:-1] not in shown


def test_user_of_a_token_is_one_query(
    issued: tuple[AccessToken, str], django_assert_num_queries: Any
) -> None:
    token, _ = issued
    with django_assert_num_queries(1):
        identity = identify_token(token.digest)

        assert identity is not None
        assert isinstance(identity.user, AbstractUser)
        assert identity.user.username == "ada"
