from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.auth.models import Permission as DjangoPermission

from mcp_channels.server.permissions import (
    EndpointPolicy,
    Identity,
    Permission,
    Requirement,
    TokenGrant,
    may_see,
)


@dataclass
class Primitive:
    permission: Permission | None = None
    kind: str = "tool"
    key: str = "count_orders"
    tags: frozenset[str] = frozenset()
    is_read_only: bool = False
    requirement: Requirement | None = None


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


def test_principal_tells_tokens_of_a_user_apart() -> None:
    ada = User(pk=7, username="ada")
    principals = {
        Identity(ada).principal,
        Identity(ada, token=TokenGrant(pk="1", name="ci")).principal,
        Identity(ada, token=TokenGrant(pk="2", name="ci")).principal,
    }

    assert principals == {"user:7", "user:7 token:1", "user:7 token:2"}


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


# What rows require


@pytest.fixture
def ada(db: None) -> User:
    user = User.objects.create_user("ada")
    user.groups.add(Group.objects.create(name="editors"))
    user.user_permissions.add(DjangoPermission.objects.get(codename="view_group"))
    return user


@pytest.mark.parametrize(
    ("requirement", "admitted"),
    [
        (Requirement(), True),
        (Requirement(permissions=("auth.view_group",)), True),
        (Requirement(permissions=("auth.view_group", "auth.add_group")), False),
        (Requirement(groups=frozenset({"editors"})), True),
        (Requirement(groups=frozenset({"editors", "nobody"})), True),
        (Requirement(groups=frozenset({"nobody"})), False),
        (Requirement(groups=frozenset({"Editors"})), False),
        (Requirement(staff_only=True), False),
        (Requirement(groups=frozenset({"editors"}), staff_only=True), False),
    ],
)
def test_requirement_admits_who_has_all_of_it(
    ada: User, requirement: Requirement, admitted: bool
) -> None:
    assert requirement.admits(Identity(ada)) is admitted
    assert may_see(Identity(ada), Primitive(requirement=requirement)) is admitted


def test_requirement_does_not_stand_for_what_code_requires(ada: User) -> None:
    required = Requirement(groups=frozenset({"editors"}))

    assert not may_see(Identity(ada), Primitive("auth.add_group", requirement=required))


@pytest.mark.parametrize("is_staff", [True, False])
def test_staff_is_who_may_enter_the_admin(is_staff: bool) -> None:
    user = User(pk=1, is_staff=is_staff)

    assert Requirement(staff_only=True).admits(Identity(user)) is is_staff


def test_superuser_needs_no_group() -> None:
    required = Requirement(groups=frozenset({"editors"}))

    assert required.admits(Identity(User(pk=1, is_superuser=True)))


@pytest.mark.parametrize("user", [AnonymousUser(), UserWithoutPermissions()])
@pytest.mark.parametrize(
    "requirement",
    [
        Requirement(permissions=("auth.view_group",)),
        Requirement(groups=frozenset({"editors"})),
        Requirement(staff_only=True),
    ],
)
def test_requirement_does_not_admit_nobody(user: Any, requirement: Requirement) -> None:
    assert not requirement.admits(Identity(user))


def test_groups_are_looked_up_once(ada: User, django_assert_num_queries: Any) -> None:
    identity = Identity(ada)
    with django_assert_num_queries(1):
        for _ in range(3):
            assert identity.groups == {"editors"}


# What an endpoint and a token let through


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({}, True),
        ({"chosen": frozenset({("tool", "count_orders")})}, True),
        ({"chosen": frozenset({("prompt", "count_orders")})}, False),
        ({"chosen": frozenset()}, False),
        ({"tags": frozenset({"orders", "stock"})}, True),
        ({"tags": frozenset({"stock"})}, False),
        ({"tags": frozenset()}, False),
        ({"read_only": True}, False),
    ],
)
def test_endpoint_serves_what_it_selects(options: Any, seen: bool) -> None:
    identity = Identity(User(pk=1), endpoint=EndpointPolicy(**options))

    assert may_see(identity, Primitive(tags=frozenset({"orders"}))) is seen


@pytest.mark.parametrize(
    ("options", "key", "seen"),
    [
        ({}, "count_orders", True),
        ({"patterns": ("count_orders",)}, "count_orders", True),
        ({"patterns": ("refund", "count_*")}, "count_orders", True),
        ({"patterns": ("count",)}, "count_orders", False),
        ({"patterns": ("COUNT_*",)}, "count_orders", False),
        ({"patterns": ("count_order?",)}, "count_orders", True),
        ({"patterns": ("count_*",)}, "shop://orders/{number}", False),
        ({"patterns": ("shop://orders/*",)}, "shop://orders/{number}", True),
        ({"patterns": ("shop://orders/*",)}, "shop://people", False),
        ({"read_only": True}, "count_orders", False),
    ],
)
def test_token_is_for_what_it_names(options: Any, key: str, seen: bool) -> None:
    token = TokenGrant(pk="1", name="ci", **options)

    assert may_see(Identity(User(pk=1), token), Primitive(key=key)) is seen


def test_token_gives_nothing_that_its_user_has_not() -> None:
    token = TokenGrant(pk="1", name="ci", patterns=("*",))
    identity = Identity(AnonymousUser(), token)

    assert not may_see(identity, Primitive("auth.view_group"))


def test_what_is_read_only_is_seen_through_what_is_read_only() -> None:
    identity = Identity(
        User(pk=1),
        TokenGrant(pk="1", name="ci", read_only=True),
        EndpointPolicy(read_only=True),
    )

    assert may_see(identity, Primitive(is_read_only=True))
