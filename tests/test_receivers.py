from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import user_logged_out
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from pytest_django.fixtures import DjangoCaptureOnCommitCallbacks

from mcp_channels import receivers
from mcp_channels.models import AccessToken, Endpoint, PrimitiveSetting, digest_of
from mcp_channels.server.events import AccessChanged
from mcp_channels.server.registry import Registry

EVERYBODY = AccessChanged("everybody")
POLICY = AccessChanged("policy")

pytestmark = pytest.mark.django_db


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[AccessChanged]:
    """Collect what is published, and on which database."""
    events: list[AccessChanged] = []

    def publish(event: AccessChanged, *, using: str = "default") -> None:
        assert using == "default"
        events.append(event)

    monkeypatch.setattr(receivers, "publish", publish)
    return events


@pytest.fixture
def ada() -> User:
    return User.objects.create(username="ada", password="hashed")


@pytest.fixture
def editors() -> Group:
    return Group.objects.create(name="editors")


@pytest.fixture
def permission() -> Permission:
    return Permission.objects.get(codename="view_group")


def user(user: User) -> AccessChanged:
    return AccessChanged("user", str(user.pk))


# Users


def test_user_that_is_new_has_no_connections(published: list[AccessChanged]) -> None:
    User.objects.create(username="grace", password="hashed")

    assert published == []


@pytest.mark.parametrize(
    "fields", [None, ["is_active"], ["password"], ["last_login", "is_staff"]]
)
def test_user_that_is_saved_changed(
    ada: User, published: list[AccessChanged], fields: Any
) -> None:
    ada.save(update_fields=fields)

    assert published == [user(ada)]


def test_user_that_signs_in_is_the_same_as_before(
    ada: User, published: list[AccessChanged]
) -> None:
    Client().force_login(ada)

    assert published == []


def test_user_that_is_deleted_changed(
    ada: User, published: list[AccessChanged]
) -> None:
    event = user(ada)
    ada.delete()

    assert event in published


def test_user_that_signs_out_ends_its_session(
    ada: User, published: list[AccessChanged]
) -> None:
    client = Client()
    client.force_login(ada)
    key = client.session.session_key or ""
    client.logout()

    assert published == [AccessChanged("session", digest_of(key))]
    # No event shows the key.
    assert key not in repr(published)


@pytest.mark.parametrize(
    "request_", [None, SimpleNamespace(), SimpleNamespace(session=SessionStore())]
)
def test_sign_out_without_a_session_ends_none(
    published: list[AccessChanged], request_: Any
) -> None:
    user_logged_out.send(sender=User, request=request_, user=None)

    assert published == []


# Groups and permissions


def test_membership_concerns_the_user_from_either_side(
    ada: User, editors: Group, permission: Permission, published: list[AccessChanged]
) -> None:
    changes = [
        lambda: ada.groups.add(editors),
        lambda: ada.groups.remove(editors),
        lambda: editors.user_set.add(ada),
        lambda: editors.user_set.remove(ada),
        lambda: ada.groups.set([editors]),
        lambda: ada.groups.clear(),
        lambda: ada.user_permissions.add(permission),
        lambda: permission.user_set.remove(ada),
    ]
    for number, change in enumerate(changes, 1):
        change()
        assert published == [user(ada)] * number


def test_nothing_that_is_added_again_changes_anybody(
    ada: User, editors: Group, published: list[AccessChanged]
) -> None:
    editors.user_set.add(ada)
    published.clear()
    editors.user_set.add(ada)

    assert published == []


def test_many_members_are_everybody(
    ada: User,
    editors: Group,
    published: list[AccessChanged],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grace = User.objects.create(username="grace", password="hashed")
    monkeypatch.setattr(receivers, "_MOST_USERS", 2)
    editors.user_set.add(ada, grace)

    assert sorted(published, key=lambda event: event.key) == [user(ada), user(grace)]

    published.clear()
    monkeypatch.setattr(receivers, "_MOST_USERS", 1)
    editors.user_set.remove(ada, grace)

    assert published == [EVERYBODY]


def test_group_without_members_concerns_everybody(
    ada: User, editors: Group, published: list[AccessChanged]
) -> None:
    editors.user_set.add(ada)
    published.clear()
    editors.user_set.clear()

    assert published == [EVERYBODY]


def test_what_a_group_may_do_concerns_everybody(
    editors: Group, permission: Permission, published: list[AccessChanged]
) -> None:
    changes = [
        lambda: editors.permissions.add(permission),
        lambda: editors.permissions.clear(),
        lambda: permission.group_set.add(editors),
        lambda: editors.save(),
        lambda: permission.save(),
        lambda: editors.delete(),
        lambda: permission.delete(),
    ]
    for change in changes:
        published.clear()
        change()
        assert set(published) == {EVERYBODY}


# Rows of the package


def test_token_that_is_saved_or_deleted_changed(
    ada: User, published: list[AccessChanged]
) -> None:
    token, _ = AccessToken.objects.issue(ada, "ci")
    event = AccessChanged("token", str(token.pk))
    published.clear()
    token.revoke()
    token.delete()

    assert published == [event] * 2


def test_policy_changed_with_its_rows(published: list[AccessChanged]) -> None:
    setting = PrimitiveSetting.objects.create(kind="tool", key="refund")
    endpoint = Endpoint.objects.create(slug="staff")
    published.clear()
    changes = [
        lambda: setting.save(),
        lambda: endpoint.save(),
        lambda: endpoint.primitives.add(setting),
        lambda: endpoint.primitives.clear(),
        lambda: endpoint.delete(),
        lambda: setting.delete(),
    ]
    for change in changes:
        published.clear()
        change()
        assert set(published) == {POLICY}


def test_nobody_hears_of_what_was_not_committed(
    ada: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        with pytest.raises(RuntimeError), transaction.atomic():
            ada.save()
            raise RuntimeError
        assert callbacks == []
        ada.save()

    assert len(callbacks) == 1


# Rows of primitives


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry()
    registry.tool(name="refund")(lambda: None)
    registry.prompt(name="refund")(lambda: "x")
    registry.resource("shop://orders/{number}", name="order")(lambda number: "x")
    monkeypatch.setattr(receivers, "registry", registry)
    return registry


def rows() -> set[tuple[str, str, bool]]:
    return {
        (row.kind, row.key, row.missing_since is None)
        for row in PrimitiveSetting.objects.all()
    }


def test_rows_of_primitives_are_made_by_migrating(registry: Registry) -> None:
    call_command("migrate", verbosity=0)

    assert rows() == {
        ("tool", "refund", True),
        ("prompt", "refund", True),
        ("resource template", "shop://orders/{number}", True),
    }


def test_rows_of_what_is_gone_are_kept_and_marked(registry: Registry) -> None:
    registry.resource("shop://" + "a" * 500, name="too long for a row")(lambda: "x")

    assert PrimitiveSetting.objects.sync(registry.primitives) == (3, 0)

    PrimitiveSetting.objects.filter(kind="tool").update(enabled=False)
    registry.remove("refund")

    assert PrimitiveSetting.objects.sync(registry.primitives) == (0, 1)
    assert ("tool", "refund", False) in rows()
    assert PrimitiveSetting.objects.sync(registry.primitives) == (0, 1)

    registry.tool(name="refund")(lambda: None)

    assert PrimitiveSetting.objects.sync(registry.primitives) == (0, 0)
    assert ("tool", "refund", True) in rows()
    assert not PrimitiveSetting.objects.get(kind="tool").enabled


@pytest.mark.parametrize(("using", "is_made"), [("default", True), ("other", False)])
def test_rows_are_made_where_they_belong(
    registry: Registry, using: str, is_made: bool
) -> None:
    receivers._migrated(using=using, sender=apps.get_app_config("mcp_channels"))

    assert bool(rows()) is is_made


def test_no_rows_are_made_without_a_table(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "is_migrated", lambda: False)
    call_command("migrate", verbosity=0)

    assert rows() == set()


def test_receivers_are_connected_to_a_user_model_without_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Plain:
        pass

    connected: list[Any] = []
    for signal in ("post_save", "post_delete", "m2m_changed", "post_migrate"):
        fake = SimpleNamespace(
            connect=lambda receiver, sender: connected.append(sender)
        )
        monkeypatch.setattr(receivers, signal, fake)
    monkeypatch.setattr(receivers, "get_user_model", lambda: Plain)
    receivers.connect_receivers()

    assert connected.count(Plain) == 2
    assert Endpoint.primitives.through in connected
