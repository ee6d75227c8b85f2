import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import OperationalError
from django.utils import timezone
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import watch as watch_module
from mcp_channels.models import AccessToken, Endpoint, PrimitiveSetting, digest_of
from mcp_channels.policy import renew_policy
from mcp_channels.server.events import AccessChanged, Event
from mcp_channels.server.permissions import Identity
from mcp_channels.sessions import Session
from mcp_channels.tokens import identify_token
from mcp_channels.watch import find_fingerprints, unwatch, watch
from tests.handshakes import log_in
from tests.sites import Clerk, Site

# What is seen


@pytest.fixture
def ada(rows: None) -> User:
    return User.objects.create(username="ada", password="hashed")


@pytest.fixture
def office(ada: User) -> dict[str, Any]:
    """Return one identity of each kind, by what it is called."""
    bob = User.objects.create(username="bob", password="hashed")
    token, _ = AccessToken.objects.issue(ada, "ci")
    other, _ = AccessToken.objects.issue(bob, "ci")
    session = log_in(ada)
    return {
        "ada": Identity(ada),
        "bob": Identity(bob),
        "ada by token": identify_token(token.digest),
        "bob by token": identify_token(other.digest),
        "ada by session": Session(session.session_key or "")(),
        "nobody": Identity(AnonymousUser()),
        "clerk": Identity(Clerk()),  # type: ignore[arg-type]
    }


ADA = {"ada", "ada by token", "ada by session"}
ALL = {*ADA, "bob", "bob by token"}


def of_ada(**changes: Any) -> Callable[[], Any]:
    return lambda: User.objects.filter(username="ada").update(**changes)


def add_to_group() -> None:
    group = Group.objects.create(name="editors")
    User.groups.through.objects.create(user=get("ada"), group=group)


def permit() -> None:
    permission = Permission.objects.get(codename="view_group")
    User.user_permissions.through.objects.create(user=get("ada"), permission=permission)


def permit_group() -> None:
    group = Group.objects.create(name="editors")
    permission = Permission.objects.get(codename="view_group")
    Group.permissions.through.objects.create(group=group, permission=permission)


def get(name: str) -> User:
    return User.objects.get(username=name)


def of_token(**changes: Any) -> Callable[[], Any]:
    return lambda: AccessToken.objects.filter(user__username="ada").update(**changes)


def flush() -> None:
    from django.contrib.sessions.models import Session as Row

    Row.objects.all().delete()


def expire() -> None:
    from django.contrib.sessions.models import Session as Row

    Row.objects.update(expire_date=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("change", "concerned"),
    [
        (lambda: None, set()),
        (of_ada(is_active=False), ADA),
        (of_ada(is_staff=True), ADA),
        (of_ada(is_superuser=True), ADA),
        (of_ada(password="changed"), ADA),
        (of_ada(last_login=timezone.now()), set()),
        (add_to_group, ADA),
        (permit, ADA),
        (permit_group, ALL),
        (of_token(revoked_at=timezone.now()), {"ada by token"}),
        (of_token(read_only=True), {"ada by token"}),
        (of_token(patterns=["a_*"]), {"ada by token"}),
        (of_token(last_used_at=timezone.now()), set()),
        (lambda: AccessToken.objects.all().delete(), {"ada by token", "bob by token"}),
        (flush, {"ada by session"}),
        (expire, {"ada by session"}),
    ],
)
def test_change_without_a_word_is_seen_for_whom_it_concerns(
    office: dict[str, Any], change: Any, concerned: set[str]
) -> None:
    before = find_fingerprints(list(office.values()))
    assert find_fingerprints(list(office.values())) == before

    change()
    after = find_fingerprints(list(office.values()))

    assert {
        name
        for name, one, other in zip(office, before, after, strict=True)
        if one != other
    } == concerned


def test_user_that_is_gone_is_seen(office: dict[str, Any]) -> None:
    before = find_fingerprints(list(office.values()))
    User.objects.filter(username="ada").delete()
    after = find_fingerprints(list(office.values()))

    assert before[0] != after[0]
    assert before[1] == after[1]


def test_change_of_the_policy_concerns_all(office: dict[str, Any]) -> None:
    before = find_fingerprints(list(office.values()))
    PrimitiveSetting.objects.create(kind="tool", key="a", enabled=False)
    after = find_fingerprints(list(office.values()))

    assert not set(before) & set(after)


def test_rows_that_say_nothing_are_no_change(office: dict[str, Any]) -> None:
    before = find_fingerprints(list(office.values()))
    PrimitiveSetting.objects.create(kind="tool", key="a")

    assert find_fingerprints(list(office.values())) == before


def test_many_are_looked_at_in_a_few_queries(
    office: dict[str, Any], django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(11):
        find_fingerprints(list(office.values()) * 50)


def test_parts_of_many_keys_are_looked_at(
    office: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = find_fingerprints(list(office.values()))
    monkeypatch.setattr(watch_module, "_AT_ONCE", 1)

    assert find_fingerprints(list(office.values())) == expected


def test_nobody_costs_no_query_but_for_the_policy(
    django_assert_max_num_queries: Any, rows: None
) -> None:
    renew_policy()
    with django_assert_max_num_queries(3):
        find_fingerprints([Identity(AnonymousUser())] * 3)


def test_user_model_without_groups_has_none(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watch_module._find_members(object, [1]) == {}


def test_token_that_is_connected_is_in_use(ada: User) -> None:
    token, _ = AccessToken.objects.issue(ada, "ci")
    find_fingerprints([identify_token(token.digest) or Identity(ada)])
    token.refresh_from_db()

    assert token.last_used_at is not None


# When it is looked


class Listener:
    """A dispatcher that notes what becomes of it."""

    def __init__(self, name: str = "") -> None:
        self.loop = asyncio.get_running_loop()
        self.identity = Identity(AnonymousUser())
        self.name = name
        self.heard: list[Event] = []
        self.looks = 0
        self.news = asyncio.Event()

    def notify(self, event: Event) -> None:
        self.heard.append(event)
        self.news.set()

    def look_again(self) -> None:
        self.looks += 1
        self.news.set()

    async def next(self) -> None:
        async with asyncio.timeout(5):
            await self.news.wait()
        self.news.clear()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let what is seen be the last of these, for all."""
    numbers: list[Any] = [1]
    threads: list[int] = []

    def find(identities: Any) -> list[int]:
        threads.append(threading.get_ident())
        if isinstance(numbers[-1], Exception):
            raise numbers[-1]
        assert threading.get_ident() != threading.main_thread().ident
        return [numbers[-1]] * len(identities)

    monkeypatch.setattr(watch_module, "find_fingerprints", find)
    return numbers


@pytest.fixture
def soon(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"ACCESS_INTERVAL": 0.01, "ALLOW_ANONYMOUS": True}


@pytest.mark.usefixtures("soon")
async def test_new_connection_is_looked_at_once_more(seen: list[Any]) -> None:
    listeners: list[Any] = [Listener(), Listener()]
    for listener in listeners:
        watch(listener)
    for listener in listeners:
        await listener.next()

    assert [listener.looks for listener in listeners] == [1, 1]

    seen.append(2)
    for listener in listeners:
        await listener.next()

    assert [listener.heard for listener in listeners] == [
        [AccessChanged("everybody")]
    ] * 2
    assert [listener.looks for listener in listeners] == [1, 1]
    for listener in listeners:
        unwatch(listener)
    assert asyncio.get_running_loop() not in watch_module._watches


@pytest.mark.usefixtures("soon")
async def test_look_that_fails_is_tried_again(
    seen: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    listener: Any = Listener()
    watch(listener)
    await listener.next()
    seen.append(OperationalError("away"))
    async with asyncio.timeout(5):
        while "Access was not looked at" not in caplog.text:
            await asyncio.sleep(0.001)
    seen.append(2)
    await listener.next()
    unwatch(listener)

    assert len(listener.heard) == 1


@pytest.mark.usefixtures("soon")
async def test_who_has_gone_meanwhile_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looking, going = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    numbers = iter([1, 2, 3])

    def find(identities: Any) -> list[int]:
        number = next(numbers, 3)
        if number == 2:
            loop.call_soon_threadsafe(looking.set)
            going.wait(5)
        return [number] * len(identities)

    monkeypatch.setattr(watch_module, "find_fingerprints", find)
    gone, stays = [Listener(), Listener()]
    fresh: Any = Listener()
    watch(gone)  # type: ignore[arg-type]
    watch(stays)  # type: ignore[arg-type]
    await gone.next()
    await stays.next()
    await asyncio.wait_for(looking.wait(), 5)
    unwatch(gone)  # type: ignore[arg-type]
    watch(fresh)
    going.set()
    await stays.next()
    unwatch(stays)  # type: ignore[arg-type]
    unwatch(fresh)

    assert (gone.heard, len(stays.heard)) == ([], 1)


async def test_last_one_stops_the_watch(settings: DjangoSettings) -> None:
    listener: Any = Listener()
    unwatch(listener)  # nobody watched it
    watch(listener)
    timer = watch_module._watches[listener.loop]._timer
    unwatch(listener)

    assert timer.cancelled()


@pytest.mark.usefixtures("soon")
async def test_watch_that_is_stopped_while_it_looks_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looking, going = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def find(identities: Any) -> list[int]:
        loop.call_soon_threadsafe(looking.set)
        going.wait(5)
        return [1] * len(identities)

    monkeypatch.setattr(watch_module, "find_fingerprints", find)
    listener: Any = Listener()
    watch(listener)
    task_of = watch_module._watches[loop]
    await asyncio.wait_for(looking.wait(), 5)
    unwatch(listener)
    going.set()
    task: Any = task_of._task
    await asyncio.wait({task}, timeout=5)

    assert task.cancelled()
    assert listener.looks == 0


# With sockets


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "change",
    [
        lambda: User.objects.update(is_active=False),
        lambda: AccessToken.objects.update(revoked_at=timezone.now()),
        lambda: AccessToken.objects.update(endpoints=["other"]),
        lambda: Endpoint.objects.update(enabled=False),
    ],
)
async def test_connection_is_closed_though_nobody_told(ada: User, change: Any) -> None:
    await Endpoint.objects.acreate(slug="staff")
    _, secret = await sync_to_async(AccessToken.objects.issue)(ada, "ci")
    site = Site()
    site.tool(name="one")(lambda: None)
    async with site.client(token=secret, endpoint="staff") as client:
        await client.list_tools()
        await sync_to_async(change)()
        with pytest.raises(ConnectionResetError, match="1008"):
            await client.receive()


@pytest.mark.usefixtures("soon", "rows")
async def test_lists_are_announced_though_nobody_told() -> None:
    site = Site()
    site.tool(name="one")(lambda: None)
    async with site.client(revision="2025-06-18") as client:
        assert len(await client.list_tools()) == 1
        await sync_to_async(PrimitiveSetting.objects.bulk_create)(
            [PrimitiveSetting(kind="tool", key="one", enabled=False)]
        )
        await client.notification("notifications/tools/list_changed")

        assert await client.list_tools() == []


def test_session_is_told_by_a_digest(office: dict[str, Any]) -> None:
    identity = office["ada by session"]

    assert identity.session == digest_of(identity.renew.key)
    assert get_user_model() is User
