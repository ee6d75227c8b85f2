"""What one connection may do, and what becomes of it when that changes."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import OperationalError
from django.utils import timezone

from mcp_channels import AccessChanged, Context, publish
from mcp_channels.server import access as access_module
from mcp_channels.server import audience
from mcp_channels.server.access import Access, Renewed, check_visible, concerns
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.events import Event
from mcp_channels.server.permissions import Identity, TokenGrant
from mcp_channels.server.tools import Tool
from mcp_channels.worker import get_worker
from tests.sites import LEGACY, MODERN, Clerk, Site, both_eras, refusal
from tests.sockets import Socket

EVERYBODY = AccessChanged("everybody")
SECOND = timedelta(seconds=1)


def one() -> int:
    return 1


# Whom an event concerns


@pytest.mark.parametrize(
    ("event", "is_concerned"),
    [
        (AccessChanged("user", "5"), True),
        (AccessChanged("user", "7"), False),
        (AccessChanged("user", ""), False),
        (AccessChanged("token", "7"), True),
        (AccessChanged("token", "5"), False),
        (AccessChanged("session", "key"), True),
        (AccessChanged("session", "other"), False),
        (AccessChanged("policy", "1"), True),
        (AccessChanged("everybody"), True),
    ],
)
def test_event_concerns_whom_it_names(event: AccessChanged, is_concerned: bool) -> None:
    token = TokenGrant(pk="7", name="ci")

    assert concerns(event, Identity(User(pk=5), token, session="key")) is is_concerned


def test_event_of_a_token_concerns_nobody_without_one() -> None:
    assert not concerns(AccessChanged("token", "7"), Identity(User(pk=7)))


# Without a socket


class Session:
    """What Access uses of a dispatcher."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_revoked = False
        self.heard = asyncio.Queue[Event]()

    def revoke(self) -> None:
        self.is_revoked = True

    def notify(self, event: Event) -> None:
        self.heard.put_nowait(event)


Answer = Callable[[Identity], Identity | None]


class Case:
    """Access of an identity, with what a look at it finds."""

    def __init__(self, identity: Identity | None = None) -> None:
        self.session: Any = Session()
        self.looks: list[float] = []
        self.looked: list[bool] = []
        self.answer: Answer = lambda identity: identity
        self.tools = [Tool(one)]
        self.access = Access(
            self.session, identity or Identity(User(pk=5)), self.catalogue(), self.renew
        )

    def catalogue(self) -> Catalogue:
        return Catalogue(self.tools, page_size=5)

    async def renew(
        self, identity: Identity, since: float, must_look: bool
    ) -> Renewed | None:
        self.looks.append(since)
        self.looked.append(must_look)
        found = self.answer(identity)
        return None if found is None else (found, self.catalogue())


async def test_access_is_current_until_something_concerns_it() -> None:
    access = Case().access

    assert access.is_current
    assert not access.notify(AccessChanged("user", "7"))
    assert access.is_current
    assert access.notify(AccessChanged("user", "5"))
    assert not access.is_current


@pytest.mark.parametrize(
    ("event", "is_new"),
    [
        (EVERYBODY, True),
        (AccessChanged("policy"), True),
        # Nothing of a user says that the policy is another.
        (AccessChanged("user", "5"), False),
    ],
)
async def test_refresh_goes_by_no_policy_that_is_older_than_the_event(
    event: AccessChanged, is_new: bool
) -> None:
    case = Case()
    await case.access.refresh()
    before = access_module.monotonic()
    case.access.notify(event)
    await case.access.refresh()

    assert case.looks[0] < 0
    assert (before <= case.looks[1]) is is_new


@pytest.mark.parametrize(
    ("events", "must_look"),
    [
        ([], True),
        ([AccessChanged("policy")], False),
        ([AccessChanged("policy")] * 2, False),
        ([EVERYBODY], True),
        ([AccessChanged("user", "5")], True),
        ([AccessChanged("policy"), AccessChanged("user", "5")], True),
        ([AccessChanged("policy"), AccessChanged("user", "7")], False),
    ],
)
async def test_identity_is_looked_up_unless_only_the_policy_changed(
    events: list[AccessChanged], must_look: bool
) -> None:
    case = Case()
    for event in events:
        case.access.notify(event)
    await case.access.refresh()
    await case.access.refresh()

    assert case.looked == [must_look, True]


async def test_look_that_nobody_waits_for_is_taken_too() -> None:
    case = Case()
    case.access.expect("everybody")

    assert case.access.is_current

    case.access.notify(AccessChanged("policy"))
    await case.access.refresh()

    assert case.looked == [True]
    assert case.access.is_current


async def test_refresh_that_failed_is_made_up_for() -> None:
    case = Case()

    def fail(identity: Identity) -> Identity:
        raise OperationalError

    case.access.notify(EVERYBODY)
    case.answer = fail
    with pytest.raises(OperationalError):
        await case.access.refresh()
    case.answer = lambda identity: identity
    case.access.notify(AccessChanged("policy"))
    await case.access.refresh()

    assert case.looked == [True, True]
    assert case.access.is_current


async def test_who_waits_goes_on_after_the_refresh() -> None:
    case = Case()
    case.access.notify(EVERYBODY)
    waiting = asyncio.create_task(case.access.wait_until_current())
    await asyncio.sleep(0)

    assert not waiting.done()

    await case.access.refresh()
    await asyncio.wait_for(waiting, 5)

    assert case.access.is_current


async def test_event_during_a_refresh_asks_for_another() -> None:
    case = Case()
    case.access.notify(EVERYBODY)

    def change(identity: Identity) -> Identity:
        case.access.notify(EVERYBODY)
        return identity

    case.answer = change
    await case.access.refresh()

    assert not case.access.is_current

    case.answer = lambda identity: identity
    await case.access.refresh()

    assert case.access.is_current


async def test_refresh_takes_what_was_found_and_says_what_is_other() -> None:
    case, other = Case(), Identity(User(pk=5), TokenGrant(pk="1", name="ci"))
    case.answer = lambda identity: other

    assert list(await case.access.refresh()) == []

    case.tools = [Tool(one, name="two")]

    assert list(await case.access.refresh()) == ["tools"]
    assert case.access.identity is other
    assert case.access.catalogue.tools.keys() == {"two"}


async def test_refresh_that_finds_nobody_revokes() -> None:
    case = Case()
    case.access.notify(EVERYBODY)
    case.answer = lambda identity: None

    assert list(await case.access.refresh()) == []
    assert case.session.is_revoked
    assert not case.access.is_current


async def test_refresh_that_fails_leaves_all_as_it_was() -> None:
    case = Case()
    case.access.notify(EVERYBODY)

    def fail(identity: Identity) -> Identity:
        raise OperationalError

    case.answer = fail
    with pytest.raises(OperationalError):
        await case.access.refresh()

    assert not case.access.is_current
    assert not case.session.is_revoked


async def test_session_that_is_over_is_not_looked_for() -> None:
    case = Case(Identity(User(pk=5), session="key"))

    assert not case.access.notify(AccessChanged("session", "other"))
    assert not case.session.is_revoked
    assert not case.access.notify(AccessChanged("session", "key"))
    assert case.session.is_revoked
    assert case.looks == []


# Expiry


async def test_expiry_is_heard_of_when_it_comes() -> None:
    case = Case(Identity(User(pk=5), expires_at=timezone.now() + SECOND / 100))

    assert await asyncio.wait_for(case.session.heard.get(), 5) == EVERYBODY


async def test_expiry_in_the_past_is_heard_of_at_once() -> None:
    case = Case(Identity(User(pk=5), expires_at=timezone.now() - SECOND))

    assert await asyncio.wait_for(case.session.heard.get(), 5) == EVERYBODY


async def test_expiry_far_away_is_looked_at_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access_module, "_LONGEST_WAIT", 0.0)
    looks: list[int] = []
    now = timezone.now()

    class Clock:
        @staticmethod
        def now() -> Any:
            # The machine sleeps, and the time is later than the timers know.
            looks.append(1)
            return now if len(looks) < 6 else now + SECOND * 7200

    monkeypatch.setattr(access_module, "timezone", Clock)
    case = Case(Identity(User(pk=5), expires_at=now + SECOND * 3600))

    assert await asyncio.wait_for(case.session.heard.get(), 5) == EVERYBODY
    assert len(looks) == 6


async def test_expiry_that_was_put_off_is_watched_anew() -> None:
    later = Identity(User(pk=5), expires_at=timezone.now() + SECOND * 3600)
    case = Case(Identity(User(pk=5), expires_at=timezone.now() + SECOND * 60))
    first = case.access._timer
    case.answer = lambda identity: later
    await case.access.refresh()

    assert first is not None and first.cancelled()
    assert case.access._timer is not None

    case.answer = lambda identity: Identity(User(pk=5))
    await case.access.refresh()

    assert case.access._timer is None


async def test_nothing_is_watched_when_the_channel_is_gone() -> None:
    case = Case(Identity(User(pk=5), expires_at=timezone.now() + SECOND * 3600))
    timer = case.access._timer
    case.access.shut()

    assert timer is not None and timer.cancelled()


# Requests that are worked on


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("tools/call", {"name": "hidden"}, "Unknown tool: hidden"),
        ("prompts/get", {"name": "hidden"}, "Unknown prompt: hidden"),
        ("resources/read", {"uri": "shop://hidden"}, "Resource not found"),
    ],
)
async def test_request_for_what_is_hidden_is_found(
    method: str, params: Any, message: str
) -> None:
    request: Any = type("Asked", (), {"method": method})
    request.params = type("Params", (), params)
    with pytest.raises(Exception, match=message):
        check_visible(Catalogue([], page_size=5), request)

    request.method = "tools/list"
    check_visible(Catalogue([], page_size=5), request)


# With a socket


@pytest.fixture
def site() -> Site:
    site = Site()
    site.tool(permission="shop.see")(one)
    return site


@both_eras
async def test_lists_that_are_other_are_announced_and_no_others(
    site: Site, revision: str
) -> None:
    site.prompt(name="open")(one)
    clerk = Clerk("shop.see")
    async with site.client(clerk, revision=revision) as client:
        if revision == MODERN:
            await client.listen({"toolsListChanged": True, "promptsListChanged": True})
        clerk.permissions.clear()
        publish(EVERYBODY)
        await client.notification("notifications/tools/list_changed")

        assert await client.list_tools() == []
        assert not client.notifications

        publish(EVERYBODY)
        await asyncio.sleep(0)
        # A request waits until that was looked at.
        await client.list_tools()

        assert not client.notifications


async def test_request_waits_for_the_look_that_is_due(site: Site) -> None:
    clerk = Clerk("shop.see")
    async with site.client(clerk) as client:
        assert (await client.call_tool("one"))["content"][0]["text"] == "1"

        clerk.permissions.clear()
        publish(EVERYBODY)
        await asyncio.sleep(0)

        assert (await refusal(client.call_tool("one"))).message == "Unknown tool: one"


async def test_request_does_not_wait_for_ever(
    site: Site, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.MCP_CHANNELS = {"CALL_TIMEOUT": 0.1, "ALLOW_ANONYMOUS": True}

    async def fail(self: Any) -> Any:
        raise OperationalError

    monkeypatch.setattr(Access, "refresh", fail)
    async with site.client(Clerk("shop.see")) as client:
        publish(EVERYBODY)
        await asyncio.sleep(0)

        assert (await refusal(client.call_tool("one"))).code == -32603


@both_eras
async def test_call_in_flight_of_what_is_hidden_now_is_answered_as_hidden(
    revision: str,
) -> None:
    site, started = Site(), asyncio.Event()
    ended: list[str] = []

    async def wait(context: Context) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return "secret"

    async def stay() -> str:
        await asyncio.Event().wait()
        return "never"

    site.tool(permission="shop.see")(wait)
    site.tool(stay)
    clerk = Clerk("shop.see")
    async with site.client(clerk, revision=revision) as client:
        staying = await client.send_request("tools/call", {"name": "stay"})
        waiting = await client.send_request("tools/call", {"name": "wait"})
        await asyncio.wait_for(started.wait(), 5)
        clerk.permissions.clear()
        publish(EVERYBODY)
        error = await refusal(client.answer_to(waiting))
        missing = await refusal(client.call_tool("missing"))

        assert error.message == "Unknown tool: wait"
        assert error.code == missing.code
        assert ended == ["cancelled"]
        # What is still seen goes on.
        assert staying not in client._answers


async def test_call_in_flight_gets_no_answer_after_a_revocation(site: Site) -> None:
    """Nor does anything else that was due."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def wait(context: Context) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            context.progress(1)
            ended.set()
        return "secret"

    site.tool(wait)
    site.resource("shop://open")(one)
    async with site.client(Clerk(), revision=LEGACY) as client:
        await client.request("resources/subscribe", {"uri": "shop://open"})
        await client.send_request(
            "tools/call", {"name": "wait", "_meta": {"progressToken": 1}}
        )
        await asyncio.wait_for(started.wait(), 5)
        (dispatcher,) = dispatchers()
        dispatcher.revoke()
        # What comes after it is not even read.
        dispatcher.receive('{"jsonrpc":"2.0","id":9,"method":"ping"}')
        dispatcher.notify(EVERYBODY)
        with pytest.raises(ConnectionResetError, match="1008"):
            await client.receive()
        await asyncio.wait_for(ended.wait(), 5)

        assert await client.receive_nothing()


async def test_revocation_does_not_wait_for_a_slow_reader(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets time to read what is not theirs any more."""
    async with Socket(site.consumer.as_asgi(), user=AnonymousUser()) as socket:
        await socket.connect()
        (dispatcher,) = dispatchers()
        socket.reading.clear()
        socket.put_frame("no JSON")
        await socket.until(2)
        dispatcher.revoke()
        sent = await socket.until(3)

        assert sent[2]["type"] == "websocket.close"
        assert sent[2]["code"] == 1008


async def test_news_is_not_told_after_a_revocation(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def revoke(self: Any) -> list[str]:
        self._session.revoke()
        return ["tools"]

    monkeypatch.setattr(Access, "refresh", revoke)
    monkeypatch.setattr(audience, "_COLLECTED", 0.0)
    async with site.client(Clerk(), revision=LEGACY) as client:
        publish(EVERYBODY)
        with pytest.raises(ConnectionResetError, match="1008"):
            await client.receive()


def dispatchers() -> Any:
    (everybody,) = get_worker().audiences
    return everybody.sessions.values()
