import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from mcp_channels.models import AccessToken, Endpoint, PrimitiveSetting

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(admin_client: Client) -> Client:
    return admin_client


def url(model: type[Any], page: str = "", row: Any = None) -> str:
    place = f"/admin/mcp_channels/{model._meta.model_name}/"
    return f"{place}{row.pk}/{page}" if row is not None else f"{place}{page}"


@pytest.mark.parametrize("model", [AccessToken, Endpoint, PrimitiveSetting])
def test_rows_are_listed(staff: Client, model: type[Any], admin_user: User) -> None:
    if model is AccessToken:
        AccessToken.objects.issue(admin_user, "ci")
    elif model is Endpoint:
        Endpoint.objects.create(slug="shop")
    else:
        PrimitiveSetting.objects.create(kind="tool", key="refund")

    assert staff.get(url(model)).status_code == 200
    assert staff.get(url(model), {"q": "shop"}).status_code == 200


def test_endpoint_is_made(staff: Client) -> None:
    page = {
        "slug": "shop",
        "enabled": "on",
        "selection": "tagged",
        "tags": '["orders"]',
        "groups": "[]",
        "icons": "[]",
        "audit": "metadata",
    }
    answer = staff.post(url(Endpoint, "add/"), page)

    assert answer.status_code == 302
    assert Endpoint.objects.get().tags == ["orders"]


def test_primitives_are_neither_made_nor_lost(staff: Client) -> None:
    here = PrimitiveSetting.objects.create(kind="tool", key="refund")
    gone = PrimitiveSetting.objects.create(
        kind="tool", key="old", missing_since=timezone.now()
    )

    assert staff.get(url(PrimitiveSetting, "add/")).status_code == 403
    for row, status in [(here, 403), (gone, 302)]:
        answer = staff.post(url(PrimitiveSetting, "delete/", row), {"post": "yes"})
        assert answer.status_code == status
    assert list(PrimitiveSetting.objects.all()) == [here]


def make_token(staff: Client, user: User) -> str:
    """Make a token on the page, and return what the next page says."""
    page = {"name": "ci", "user": user.pk, "endpoints": "[]", "patterns": '["a_*"]'}
    answer = staff.post(url(AccessToken, "add/"), page, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_token_is_shown_once(staff: Client, admin_user: User) -> None:
    found = re.search(r"mcp_[\w-]{43}", make_token(staff, admin_user))

    assert found is not None
    token = AccessToken.objects.find(found[0])
    assert token is not None
    assert (token.user, token.name, token.patterns) == (admin_user, "ci", ["a_*"])

    for page in ("change/", "history/"):
        shown = staff.get(url(AccessToken, page, token)).content.decode()
        assert token.prefix in shown or page == "history/"
        assert found[0][10:] not in shown
        assert token.digest not in shown


def test_token_stays_its_users_and_keeps_its_secret(
    staff: Client, admin_user: User, django_user_model: type[User]
) -> None:
    token, secret = AccessToken.objects.issue(admin_user, "ci")
    other = django_user_model.objects.create(username="other")
    page = {"name": "new", "user": other.pk, "endpoints": "[]", "patterns": "[]"}
    staff.post(url(AccessToken, "change/", token), page)
    token.refresh_from_db()

    assert (token.name, token.user) == ("new", admin_user)
    assert AccessToken.objects.find(secret) == token


def test_tokens_are_revoked_by_an_action(staff: Client, admin_user: User) -> None:
    tokens = [AccessToken.objects.issue(admin_user, name)[0] for name in "abc"]
    page = {"action": "revoke", "_selected_action": [tokens[0].pk, tokens[2].pk]}
    staff.post(url(AccessToken), page)

    revoked = AccessToken.objects.filter(revoked_at__isnull=False)
    assert {token.name for token in revoked} == {"a", "c"}
