from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.models import Permission as DjangoPermission

from mcp_channels.server.permissions import Identity, Permission, may_see


@dataclass
class Primitive:
    permission: Permission | None


class UserWithoutPermissions(AbstractBaseUser):
    """A user model that does not use PermissionsMixin."""

    class Meta:
        app_label = "tests"


def test_principal_is_the_key_of_the_user() -> None:
    assert Identity(User(pk=7, username="ada")).principal == "user:7"


def test_principal_does_not_depend_on_what_a_user_may_change() -> None:
    before = Identity(User(pk=7, username="ada", email="a@example.com"))
    after = Identity(User(pk=7, username="user:8", email="anonymous"))

    assert before.principal == after.principal


def test_anonymous_users_are_one_principal() -> None:
    assert Identity(AnonymousUser()).principal == "anonymous"


def test_identity_is_fixed() -> None:
    identity: Any = Identity(AnonymousUser())

    with pytest.raises(FrozenInstanceError):
        identity.user = User(pk=1)


@pytest.mark.parametrize(
    "user", [AnonymousUser(), User(pk=1), UserWithoutPermissions()]
)
def test_everybody_sees_what_needs_no_permission(user: Any) -> None:
    assert may_see(Identity(user), Primitive(None))


@pytest.mark.django_db
def test_permission_decides() -> None:
    user = User.objects.create_user("ada")
    user.user_permissions.add(DjangoPermission.objects.get(codename="view_group"))
    identity = Identity(User.objects.get(pk=user.pk))

    assert may_see(identity, Primitive("auth.view_group"))
    assert not may_see(identity, Primitive("auth.delete_group"))
    assert not may_see(identity, Primitive("auth.no_such_permission"))


@pytest.mark.django_db
def test_superuser_sees_everything_while_active() -> None:
    user = User.objects.create_superuser("admin")

    assert may_see(Identity(user), Primitive("auth.delete_group"))

    user.is_active = False

    assert not may_see(Identity(user), Primitive("auth.delete_group"))


@pytest.mark.django_db
def test_anonymous_user_has_no_permission() -> None:
    assert not may_see(Identity(AnonymousUser()), Primitive("auth.view_group"))


def test_user_of_a_model_without_permissions_has_none() -> None:
    identity = Identity(UserWithoutPermissions())

    assert not may_see(identity, Primitive("auth.view_group"))


@pytest.mark.django_db
def test_several_permissions_are_all_needed() -> None:
    user = User.objects.create_user("ada")
    both = Primitive(("auth.view_group", "auth.delete_group"))
    view, delete = (
        DjangoPermission.objects.get(codename=name)
        for name in ("view_group", "delete_group")
    )
    user.user_permissions.add(view)

    assert not may_see(Identity(User.objects.get(pk=user.pk)), both)

    user.user_permissions.add(delete)

    assert may_see(Identity(User.objects.get(pk=user.pk)), both)


@pytest.mark.parametrize(("answer", "seen"), [(True, True), (False, False), (1, False)])
def test_function_decides(answer: Any, seen: bool) -> None:
    asked = []

    def decide(identity: Identity) -> Any:
        asked.append(identity)
        return answer

    identity = Identity(AnonymousUser())

    assert may_see(identity, Primitive(decide)) is seen
    assert asked == [identity]


def test_function_that_fails_hides(caplog: pytest.LogCaptureFixture) -> None:
    def decide(identity: Identity) -> bool:
        raise RuntimeError("The directory is down")

    assert not may_see(Identity(AnonymousUser()), Primitive(decide))
    assert "The directory is down" in caplog.text


def test_identity_can_be_asked_where_a_context_can() -> None:
    identity = Identity(User(pk=7, username="ada"))

    assert identity.identity is identity
