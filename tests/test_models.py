import hashlib
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from mcp_channels.models import (
    AccessToken,
    Endpoint,
    PrimitiveSetting,
    Ticket,
    digest_of,
)
from mcp_channels.server.registry import Registry

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def ada() -> User:
    return User.objects.create(username="ada", password="hashed")


@pytest.fixture
def token(ada: User) -> AccessToken:
    return AccessToken.objects.issue(ada, "ci")[0]


def refused(row: Any) -> dict[str, list[str]]:
    """Return what the rules say against a row, by field."""
    with pytest.raises(ValidationError) as caught:
        row.full_clean()
    return caught.value.message_dict


def test_migrations_make_what_the_models_say() -> None:
    call_command("makemigrations", "mcp_channels", check=True, dry_run=True)


# Rules


def test_fields_have_their_rules() -> None:
    wrong: dict[str, Any] = {
        "groups": ["", 5],
        "tags": "a",
        "rate": "often",
        "identity_rate": "often",
        "icons": [{}],
        "website_url": "shop",
    }

    assert refused(Endpoint(**wrong)).keys() == wrong.keys()
    assert refused(
        PrimitiveSetting(kind="tool", key="a", permission="a", groups=5, rate="a")
    ).keys() == {"permission", "groups", "rate"}


@pytest.mark.parametrize(
    ("timeout", "is_right"), [(0.1, True), (0, False), (-1, False)]
)
def test_timeout_is_more_than_nothing(timeout: float, is_right: bool) -> None:
    row = PrimitiveSetting(kind="tool", key="refund", timeout=timeout)
    if is_right:
        row.full_clean()
        row.save()
    else:
        assert "more than 0 seconds" in str(refused(row))
        with pytest.raises(IntegrityError), transaction.atomic():
            row.save()


def test_primitive_has_one_row() -> None:
    PrimitiveSetting.objects.create(kind="tool", key="refund")
    PrimitiveSetting.objects.create(kind="prompt", key="refund")
    with pytest.raises(IntegrityError), transaction.atomic():
        PrimitiveSetting.objects.create(kind="tool", key="refund")


def test_page_has_at_least_one_item() -> None:
    assert "page_size" in refused(Endpoint(page_size=0))
    with pytest.raises(IntegrityError), transaction.atomic():
        Endpoint.objects.create(page_size=0)


@pytest.mark.parametrize("options", [{"groups": ["editors"]}, {"staff_only": True}])
def test_endpoint_for_nobody_and_for_some_is_refused(options: Any) -> None:
    Endpoint(**options).full_clean()

    assert "anonymous" in str(refused(Endpoint(allow_anonymous=True, **options)))


def test_endpoint_by_tags_needs_one() -> None:
    Endpoint(selection="tagged", tags=["shop"]).full_clean()

    assert refused(Endpoint(selection="tagged")).keys() == {"tags"}


def test_rows_are_called_by_what_they_are() -> None:
    assert str(Endpoint()) == "default"
    assert str(Endpoint(slug="staff")) == "staff"
    assert str(PrimitiveSetting(kind="tool", key="refund")) == "tool refund"


# Tokens


def test_secret_has_256_random_bits_and_is_not_kept(ada: User) -> None:
    token, secret = AccessToken.objects.issue(ada, "ci")
    row = AccessToken.objects.filter(pk=token.pk).values().get()

    assert re.fullmatch(r"mcp_[A-Za-z0-9_-]{43}", secret)
    assert row["digest"] == hashlib.sha256(secret.encode()).hexdigest()
    assert row["prefix"] == secret[:10]
    assert secret not in str(row)
    assert secret[10:] not in f"{token!r}{token}{vars(token)}"


def test_secrets_differ(ada: User) -> None:
    secrets = {AccessToken.objects.issue(ada, "ci")[1] for _ in range(20)}

    assert len(secrets) == 20


def test_token_is_called_by_name_and_prefix(token: AccessToken) -> None:
    assert str(token) == f"ci ({token.prefix}…)"


def test_token_is_found_by_its_secret(
    ada: User, django_assert_num_queries: Any
) -> None:
    token, secret = AccessToken.objects.issue(ada, "ci")
    with django_assert_num_queries(1):
        found = AccessToken.objects.find(secret)

        assert found == token
        assert found is not None and found.user == ada


@pytest.mark.parametrize(
    "secret",
    ["", "mcp_", "mcp_" + "a" * 42, "mcp_" + "a" * 44, "a" * 47, "mcp_" + "é" * 43],
)
def test_what_is_no_secret_is_not_looked_up(
    secret: str, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        assert AccessToken.objects.find(secret) is None


def test_digest_of_anything_can_be_taken() -> None:
    assert digest_of("\ud800") != digest_of("")


def spoil_secret(token: AccessToken) -> None:
    token.renew_secret()


def spoil_revoked(token: AccessToken) -> None:
    token.revoked_at = timezone.now()


def spoil_expired(token: AccessToken) -> None:
    token.expires_at = timezone.now()


@pytest.mark.parametrize("spoil", [spoil_secret, spoil_revoked, spoil_expired])
def test_token_that_is_over_is_not_found(ada: User, spoil: Any) -> None:
    token, secret = AccessToken.objects.issue(
        ada, "ci", expires_at=timezone.now() + MINUTE
    )
    assert AccessToken.objects.find(secret) == token
    assert token.is_usable

    spoil(token)
    token.save()

    assert AccessToken.objects.find(secret) is None
    assert token.is_usable is (spoil is spoil_secret)


@pytest.mark.parametrize("overlap", [timedelta(0), MINUTE])
def test_rotation_lets_the_old_secret_live_on_for_a_while(
    ada: User, overlap: timedelta
) -> None:
    token, first = AccessToken.objects.issue(ada, "ci")
    second = token.rotate(overlap)

    assert AccessToken.objects.find(second) == token
    assert AccessToken.objects.find(first) == (token if overlap else None)

    third = token.rotate(overlap)

    assert AccessToken.objects.find(third) == token
    assert AccessToken.objects.find(second) == (token if overlap else None)
    assert AccessToken.objects.find(first) is None


def test_token_that_is_over_is_not_rotated(token: AccessToken) -> None:
    digest = token.digest
    token.revoke()
    with pytest.raises(ValueError, match="revoked or expired"):
        token.rotate()
    token.refresh_from_db()

    assert token.digest == digest


def test_token_is_revoked_once(token: AccessToken) -> None:
    token.revoke()
    first = token.revoked_at
    token.revoke()
    token.refresh_from_db()

    assert token.revoked_at == first is not None


def test_token_is_for_endpoints_that_exist(ada: User) -> None:
    Endpoint.objects.create(slug="staff")
    AccessToken.objects.issue(ada, "ci", endpoints=["", "staff"])
    with pytest.raises(ValidationError, match="There is no endpoint shop"):
        AccessToken.objects.issue(ada, "ci", endpoints=["shop"])
    for endpoints in ("staff", [5]):
        with pytest.raises(ValidationError, match="list of slugs"):
            AccessToken.objects.issue(ada, "ci", endpoints=endpoints)

    assert AccessToken.objects.count() == 1


# Tickets


def test_ticket_is_good_once(ada: User, token: AccessToken) -> None:
    ticket = Ticket.objects.issue(ada, MINUTE, token=token)
    found = Ticket.objects.redeem(ticket)

    assert found is not None
    assert (found.user, found.token, found.session_key) == (ada, token, "")
    assert Ticket.objects.redeem(ticket) is None


def test_ticket_of_two_who_come_at_once_is_for_one(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = Ticket.objects.issue(ada, MINUTE)
    delete = Ticket.objects.all().__class__.delete

    def lose(self: Any) -> Any:
        delete(Ticket.objects.all())
        return delete(self)

    monkeypatch.setattr(Ticket.objects.all().__class__, "delete", lose)

    assert Ticket.objects.redeem(ticket) is None


def test_ticket_is_kept_as_a_digest(ada: User) -> None:
    ticket = Ticket.objects.issue(ada, MINUTE, session_key="key")
    row = Ticket.objects.get()

    assert ticket not in str(Ticket.objects.values().get())
    assert len(ticket) == 43
    assert str(row) == f"ada {row.expires_at:%H:%M:%S}"


def test_ticket_is_good_for_its_time(ada: User) -> None:
    old = Ticket.objects.issue(ada, timedelta(0))

    assert Ticket.objects.redeem(old) is None

    Ticket.objects.issue(ada, MINUTE)

    # Who asks for one sweeps the old ones away.
    assert Ticket.objects.count() == 1


# Rows of primitives


def test_rows_of_primitives_are_made_kept_and_marked() -> None:
    registry = Registry()
    registry.tool(name="refund")(lambda: None)
    registry.resource("shop://" + "a" * 500, name="too long for a row")(lambda: "x")

    assert PrimitiveSetting.objects.sync(registry.primitives) == (1, 0)
    assert PrimitiveSetting.objects.sync(registry.primitives) == (0, 0)

    PrimitiveSetting.objects.update(enabled=False)

    assert PrimitiveSetting.objects.sync([]) == (0, 1)
    row = PrimitiveSetting.objects.get()
    assert row.missing_since is not None
    assert PrimitiveSetting.objects.sync([]) == (0, 1)

    assert PrimitiveSetting.objects.sync(registry.primitives) == (0, 0)
    row.refresh_from_db()
    assert (row.missing_since, row.enabled) == (None, False)
