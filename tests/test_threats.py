"""
Who may do what, and what becomes of it when that changes: the site as a whole.

The claims of docs/threat-model.md name these tests.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from copy import copy
from datetime import timedelta
from time import monotonic
from typing import Any, Final

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from msgspec import Struct
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import Context, Identity, ResourceUpdated, publish
from mcp_channels.models import AccessToken, Endpoint, PrimitiveSetting, Ticket
from mcp_channels.server.concurrency import get_workers
from mcp_channels.testing import MCPCommunicator, RequestFailed
from tests.handshakes import SITE, cookie, log_in
from tests.sites import LEGACY, MODERN, Site, both_eras

pytestmark = pytest.mark.usefixtures("rows")

# Identities by primitives

# Everything there is, and everything that is not: of each kind one that anybody may
# see, ones with each way of requiring something, and one that does not exist.
RULES: Final = ["open", "permitted", "both", "decided", "grouped", "staff", "off"]
KINDS: Final = ["tool", "prompt", "resource", "template"]


def decides(identity: Identity) -> bool:
    return identity.user.get_username() == "ada"


def make_site() -> Site:
    site = Site()
    permissions: dict[str, Any] = {
        "permitted": "auth.view_user",
        "both": ["auth.view_user", "auth.add_user"],
        "decided": decides,
    }
    for rule in RULES:
        options = {"permission": permissions.get(rule)}
        site.tool(name=f"{rule}.read", read_only=True, **options)(answer)
        site.tool(name=f"{rule}.write", **options)(answer)
        site.prompt(name=rule, complete={"x": ["xyz"]}, **options)(prompt)
        site.resource(f"shop://{rule}", **options)(answer)
        site.resource(f"shop://{rule}/{{x}}", complete={"x": ["xyz"]}, **options)(
            prompt
        )
    return site


def answer() -> str:
    return "answer"


def prompt(x: str = "") -> str:
    return f"answer {x}"


def write_rows() -> None:
    """Require by rows what code does not, for every kind."""
    places = [
        *(("tool", f"{{}}.{way}") for way in ("read", "write")),
        ("prompt", "{}"),
        ("resource", "shop://{}"),
        ("resource template", "shop://{}/{{x}}"),
    ]
    for kind, pattern in places:
        for rule, options in [
            ("grouped", {"groups": ["editors"]}),
            ("staff", {"staff_only": True}),
            ("off", {"enabled": False}),
        ]:
            PrimitiveSetting.objects.create(
                kind=kind, key=pattern.format(rule), **options
            )
    Endpoint.objects.create(slug="reader", read_only=True, allow_anonymous=True)


def make_people() -> dict[str, dict[str, Any]]:
    """Return how each identity connects, by what it is called."""

    def make(name: str, *codenames: str, **options: Any) -> User:
        user = User.objects.create(username=name, password="hashed", **options)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return user

    def issue(user: User, **options: Any) -> str:
        return AccessToken.objects.issue(user, "t", **options)[1]

    ada = make("ada", "view_user")
    editor = make("editor")
    editor.groups.add(Group.objects.create(name="editors"))
    root = make("root", is_superuser=True)
    return {
        "nobody": {},
        "plain": {"user": make("plain")},
        "ada": {"user": ada},
        "clerk": {"user": make("clerk", "view_user", "add_user")},
        "editor": {"user": editor},
        "staff": {"user": make("staff", is_staff=True)},
        "root": {"user": root},
        "root by token": {"token": issue(root)},
        "root by reading token": {"token": issue(root, read_only=True)},
        "root by narrow token": {
            "token": issue(root, patterns=["open*", "shop://*/*"])
        },
        "plain by token": {"token": issue(User.objects.get(username="plain"))},
        "root as reader": {"user": root, "endpoint": "reader"},
    }


# What each sees of the rules; and, where that is not all, which ways of it.
SEES: Final[dict[str, str]] = {
    "nobody": "open",
    "plain": "open",
    "ada": "open permitted decided",
    "clerk": "open permitted both",
    "editor": "open grouped",
    "staff": "open staff",
    "root": "open permitted both grouped",
    "root by token": "open permitted both grouped",
    "root by reading token": "open permitted both grouped",
    "root by narrow token": "open permitted both grouped",
    "plain by token": "open",
    "root as reader": "open permitted both grouped",
}


def expected(who: str) -> dict[str, set[str]]:
    """Return the keys that an identity sees, by kind."""
    rules = SEES[who].split()
    seen = {
        "tool": {f"{rule}.{way}" for rule in rules for way in ("read", "write")},
        "prompt": set(rules),
        "resource": {f"shop://{rule}" for rule in rules},
        "template": {f"shop://{rule}/{{x}}" for rule in rules},
    }
    if "read" in who:
        seen["tool"] = {key for key in seen["tool"] if key.endswith(".read")}
    if "narrow" in who:
        seen["tool"] = {"open.read", "open.write"}
        seen["prompt"] = {"open"}
        seen["resource"] = set()
    return seen


async def ask_raw(client: MCPCommunicator, method: str, params: Any) -> str:
    """Return the frame that answers a request, without the name of what was asked for
    and the id."""
    id = await client.send_request(method, params)
    async with asyncio.timeout(5):
        while True:
            message = await client._socket.receive_output(5)
            frame = json.loads(message["text"])
            if frame.get("id") == id:
                return str(message["text"]).replace(f'"id":{id},', '"id":0,')


ASKED: Final[dict[str, list[tuple[str, Callable[[str], Any]]]]] = {
    "tool": [("tools/call", lambda key: {"name": key, "arguments": {}})],
    "prompt": [
        ("prompts/get", lambda key: {"name": key}),
        (
            "completion/complete",
            lambda key: {
                "ref": {"type": "ref/prompt", "name": key},
                "argument": {"name": "x", "value": "x"},
            },
        ),
    ],
    "resource": [("resources/read", lambda key: {"uri": key})],
    "template": [
        ("resources/read", lambda key: {"uri": key.replace("{x}", "1")}),
        (
            "completion/complete",
            lambda key: {
                "ref": {"type": "ref/resource", "uri": key},
                "argument": {"name": "x", "value": "x"},
            },
        ),
    ],
}
ALL: Final = {
    "tool": [f"{rule}.{way}" for rule in RULES for way in ("read", "write")],
    "prompt": RULES,
    "resource": [f"shop://{rule}" for rule in RULES],
    "template": [f"shop://{rule}/{{x}}" for rule in RULES],
}
MISSING: Final = {
    "tool": "missing.read",
    "prompt": "missing",
    "resource": "shop://missing",
    "template": "shop://missing/{x}",
}


@pytest_asyncio.fixture
async def people() -> dict[str, dict[str, Any]]:
    await sync_to_async(write_rows)()
    found: dict[str, dict[str, Any]] = await sync_to_async(make_people)()
    return found


@both_eras
async def test_everybody_sees_what_is_theirs_and_hidden_is_as_missing(
    people: dict[str, dict[str, Any]], revision: str
) -> None:
    assert people.keys() == SEES.keys()

    site = make_site()
    for who, options in people.items():
        async with site.client(revision=revision, **options) as client:
            seen = expected(who)
            listed = {
                "tool": {one["name"] for one in await client.list_tools()},
                "prompt": {one["name"] for one in await client.list_prompts()},
                "resource": {one["uri"] for one in await client.list_resources()},
                "template": {
                    one["uriTemplate"] for one in await client.list_resource_templates()
                },
            }
            assert listed == seen, who

            for kind in KINDS:
                for method, params in ASKED[kind]:
                    await client.send({"jsonrpc": "2.0", "method": "x", "params": {}})
                    missing = await ask_raw(client, method, params(MISSING[kind]))
                    for key in ALL[kind]:
                        found = await ask_raw(client, method, params(key))
                        # Byte for byte, but for the name that was asked for.
                        as_missing = found.replace(
                            key.replace("{x}", "1"),
                            MISSING[kind].replace("{x}", "1"),
                        ).replace(key, MISSING[kind])
                        is_hidden = as_missing == missing
                        assert is_hidden is (key not in seen[kind]), (who, method, key)
                        assert ("error" in json.loads(found)) is is_hidden


@both_eras
async def test_hidden_resource_cannot_be_subscribed_to(
    people: dict[str, dict[str, Any]], revision: str
) -> None:
    site = make_site()
    uris = [*ALL["resource"], *(f"shop://{rule}/1" for rule in RULES)]
    for who, options in people.items():
        rules = SEES[who].split()
        seen = {f"shop://{rule}/1" for rule in rules}
        if "narrow" not in who:
            seen |= {f"shop://{rule}" for rule in rules}
        async with site.client(revision=revision, **options) as client:
            honoured = set()
            if revision == MODERN:
                wanted = {"resourceSubscriptions": [*uris, "shop://missing"]}
                await client.send_request(
                    "subscriptions/listen", {"notifications": wanted}
                )
                told = await client.notification(
                    "notifications/subscriptions/acknowledged"
                )
                honoured = set(told["notifications"].get("resourceSubscriptions", ()))
            else:
                for uri in uris:
                    try:
                        await client.request("resources/subscribe", {"uri": uri})
                        honoured.add(uri)
                    except RequestFailed as exc:
                        assert exc.message == "Resource not found"

            assert honoured == seen, who


async def test_token_allows_nothing_that_its_user_may_not(
    people: dict[str, dict[str, Any]],
) -> None:
    for who, owner in [
        ("root by token", "root"),
        ("root by reading token", "root"),
        ("root by narrow token", "root"),
        ("plain by token", "plain"),
    ]:
        for kind, keys in expected(who).items():
            assert keys <= expected(owner)[kind]


# Access that is taken away


class Sure(Struct):
    confirmed: bool


class Office:
    """A user with a token and a session, and clients of each."""

    def __init__(self) -> None:
        self.user = User.objects.create_user("ada", password="moby")
        self.user.user_permissions.add(Permission.objects.get(codename="view_user"))
        self.token, self.secret = AccessToken.objects.issue(self.user, "ci")
        self.page = Client()
        self.page.login(username="ada", password="moby")
        Endpoint.objects.create(slug="staff")
        self.site = Site()
        self.started = asyncio.Event()
        self.ended: list[str] = []
        self.site.tool(name="look", permission="auth.view_user")(answer)
        self.site.tool(name="wait")(self.wait)
        self.site.resource("shop://open")(answer)

    async def wait(self) -> str:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append("wait")
        return "secret"

    def client(self, by: str, **options: Any) -> MCPCommunicator:
        if by == "token":
            return self.site.client(token=self.secret, **options)
        if by == "user":
            return self.site.client(copy(self.user), **options)
        key = self.page.session.session_key
        headers = [SITE, (b"cookie", f"sessionid={key}".encode())]
        return self.site.client(headers=headers, **options)


@pytest_asyncio.fixture
async def office(settings: DjangoSettings) -> Office:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    made: Office = await sync_to_async(Office)()
    return made


def change(office: Office, **options: Any) -> None:
    for name, value in options.items():
        setattr(office.user, name, value)
    office.user.save()


def change_password(office: Office) -> None:
    office.user.set_password("dick")
    office.user.save()


def disable(office: Office) -> None:
    endpoint = Endpoint.objects.get(slug="staff")
    endpoint.enabled = False
    endpoint.save()


def expire(office: Office) -> None:
    office.token.expires_at = timezone.now()
    office.token.save()


def narrow(office: Office) -> None:
    office.token.endpoints = [""]
    office.token.save()


ENDS: Final[dict[str, tuple[Callable[[Office], Any], set[str]]]] = {
    "user is deactivated": (
        lambda office: change(office, is_active=False),
        {"token", "session", "user"},
    ),
    "user is deleted": (
        lambda office: office.user.delete(),
        {"token", "session", "user"},
    ),
    "password is changed": (change_password, {"session"}),
    "user signs out": (lambda office: office.page.logout(), {"session"}),
    "token is revoked": (lambda office: office.token.revoke(), {"token"}),
    "token is deleted": (lambda office: office.token.delete(), {"token"}),
    "token expires": (expire, {"token"}),
    "token is rotated": (lambda office: office.token.rotate(), {"token"}),
    "token is for another endpoint": (narrow, {"token"}),
    "endpoint is disabled": (disable, {"token", "session", "user"}),
    "endpoint is deleted": (
        lambda office: Endpoint.objects.get(slug="staff").delete(),
        {"token", "session", "user"},
    ),
    "endpoint is for the staff": (
        lambda office: [
            setattr(endpoint, "staff_only", True) or endpoint.save()
            for endpoint in Endpoint.objects.all()
        ],
        {"token", "session", "user"},
    ),
}


@both_eras
@pytest.mark.parametrize("what", ENDS)
async def test_connection_ends_within_a_second_when(
    office: Office, what: str, revision: str
) -> None:
    """And a call in flight gets no answer after it."""
    do, ended = ENDS[what]
    async with AsyncExitStack() as stack:
        clients = {
            by: await stack.enter_async_context(
                office.client(by, revision=revision, endpoint="staff")
            )
            for by in ("token", "session", "user")
        }
        for client in clients.values():
            office.started.clear()
            await client.send_request("tools/call", {"name": "wait"})
            await asyncio.wait_for(office.started.wait(), 5)
        await sync_to_async(do)(office)
        since = monotonic()
        for by in sorted(ended):
            with pytest.raises(ConnectionResetError, match="1008"):
                await clients[by].receive()
            assert await clients[by].receive_nothing()
            assert monotonic() - since < 1
        # The others are as before.
        for by in clients.keys() - ended:
            assert await clients[by].list_tools()

    assert len(office.ended) == 3


LOSSES: Final[dict[str, Callable[[Office], Any]]] = {
    "permission is taken": lambda office: office.user.user_permissions.clear(),
    "permission is deleted": lambda office: Permission.objects.get(
        codename="view_user"
    ).delete(),
    "primitive is disabled": lambda office: PrimitiveSetting.objects.create(
        kind="tool", key="look", enabled=False
    ),
    "primitive is for the staff": lambda office: PrimitiveSetting.objects.create(
        kind="tool", key="look", staff_only=True
    ),
    "endpoint serves less": lambda office: [
        setattr(endpoint, "selection", "chosen") or endpoint.save()
        for endpoint in Endpoint.objects.all()
    ],
}


@pytest.mark.parametrize("what", LOSSES)
async def test_lists_are_announced_within_a_second_when(
    office: Office, what: str
) -> None:
    async with office.client("token", revision=LEGACY, endpoint="staff") as client:
        assert "look" in [tool["name"] for tool in await client.list_tools()]

        await sync_to_async(LOSSES[what])(office)
        since = monotonic()
        await client.notification("notifications/tools/list_changed")

        assert monotonic() - since < 1
        assert "look" not in [tool["name"] for tool in await client.list_tools()]


async def test_groups_count_at_once(office: Office) -> None:
    group = await Group.objects.acreate(name="viewers")
    permission = await Permission.objects.aget(codename="view_user")
    await office.user.user_permissions.aclear()
    async with office.client("session", revision=LEGACY) as client:
        assert len(await client.list_tools()) == 1
        for step in (
            lambda: [
                group.permissions.add(permission),
                group.user_set.add(office.user),
            ],
            lambda: group.permissions.remove(permission),
            lambda: group.permissions.add(permission),
            lambda: group.delete(),
        ):
            before = len(await client.list_tools())
            await sync_to_async(step)()
            await client.notification("notifications/tools/list_changed")

            assert len(await client.list_tools()) == 3 - before


async def test_what_is_given_is_seen_at_once(office: Office) -> None:
    await office.user.user_permissions.aclear()
    async with office.client("token", revision=LEGACY) as client:
        assert len(await client.list_tools()) == 1

        await sync_to_async(change)(office, is_superuser=True)
        await client.notification("notifications/tools/list_changed")

        assert len(await client.list_tools()) == 2


async def test_token_ends_by_itself(office: Office) -> None:
    office.token.expires_at = timezone.now() + timedelta(seconds=0.3)
    await office.token.asave()
    async with office.client("token") as client:
        assert await client.list_tools()
        with pytest.raises(ConnectionResetError, match="1008"):
            await client.receive()


async def test_secret_of_before_ends_with_the_overlap(office: Office) -> None:
    async with office.client("token") as before:
        overlap = timedelta(seconds=0.3)
        office.secret = await sync_to_async(office.token.rotate)(overlap)
        async with office.client("token") as after:
            assert await before.list_tools()
            with pytest.raises(ConnectionResetError, match="1008"):
                await before.receive()

            assert await after.list_tools()


async def test_queued_call_is_not_made_after_a_revocation(
    office: Office, settings: DjangoSettings
) -> None:
    """Slow calls of others keep all the threads, and do not keep access either."""
    settings.MCP_CHANNELS = {"SYNC_THREADS": 1}
    going, started = threading.Event(), threading.Event()
    made: list[str] = []

    @office.site.tool
    def block() -> None:
        started.set()
        going.wait(10)

    @office.site.tool
    def spend() -> None:
        made.append("spent")

    async with office.client("token") as client, office.client("user") as other:
        await other.send_request("tools/call", {"name": "block"})
        assert await asyncio.to_thread(started.wait, 5)
        await client.send_request("tools/call", {"name": "spend"})
        await client.list_tools()  # by now it waits for the thread
        await sync_to_async(office.token.revoke)()
        with pytest.raises(ConnectionResetError, match="1008"):
            await client.receive()
        going.set()
    # Whatever was queued before has had its turn.
    await get_workers(1).run(int)

    assert made == []


async def test_news_is_not_for_who_may_not_see_it_any_more(office: Office) -> None:
    office.site.resource("shop://secret", permission="auth.view_user")(answer)
    async with office.client("token", revision=LEGACY) as client:
        for uri in ("shop://secret", "shop://open"):
            await client.request("resources/subscribe", {"uri": uri})
        await office.user.user_permissions.aclear()
        publish(ResourceUpdated("shop://secret"))
        publish(ResourceUpdated("shop://open"))
        told = await client.notification("notifications/resources/updated")

        assert told["uri"] == "shop://open"


async def test_question_is_not_answered_for_who_may_not_ask_any_more(
    office: Office,
) -> None:
    """While a person thinks, the person who asked loses the permission."""
    written: list[str] = []

    async def refund(context: Context) -> str:
        await context.aelicit("Sure?", Sure)
        written.append("refund")
        return "done"

    office.site.tool(name="refund", permission="auth.view_user")(refund)
    async with office.client(
        "token", revision=LEGACY, capabilities={"elicitation": {}}
    ) as client:
        id = await client.send_request("tools/call", {"name": "refund"})
        question = await client.receive()
        assert question["method"] == "elicitation/create"
        await office.user.user_permissions.aclear()
        with pytest.raises(RequestFailed, match="Unknown tool: refund"):
            await client.answer_to(id)
        await client.send(
            {
                "jsonrpc": "2.0",
                "id": question["id"],
                "result": {"action": "accept", "content": {"confirmed": True}},
            }
        )
        await client.list_tools()

    assert written == []


# Sessions


async def test_session_that_somebody_planted_stays_nobodys(
    office: Office, settings: DjangoSettings
) -> None:
    """Whoever gave a visitor a session key does not become that visitor."""
    planted = SessionStore()
    await planted.asave()
    options: Any = {"headers": [SITE, cookie(planted)]}
    async with office.site.client(**options) as attacker:

        def sign_in() -> str:
            request = HttpRequest()
            request.session = SessionStore(planted.session_key)
            user = authenticate(request, username="ada", password="moby")
            login(request, user)
            request.session.save()
            return str(request.session.session_key)

        key = await sync_to_async(sign_in)()
        async with office.site.client(**options) as again:
            for client in (attacker, again):
                names = [tool["name"] for tool in await client.list_tools()]
                assert names == ["wait"]

    assert key != planted.session_key


async def test_signing_out_in_one_place_leaves_the_others(office: Office) -> None:
    other = await sync_to_async(log_in)(office.user)
    async with (
        office.client("session") as here,
        office.site.client(headers=[SITE, cookie(other)]) as there,
    ):

        def sign_out() -> None:
            request = HttpRequest()
            request.session = SessionStore(office.page.session.session_key)
            request.user = office.user
            logout(request)

        await sync_to_async(sign_out)()
        with pytest.raises(ConnectionResetError, match="1008"):
            await here.receive()

        assert await there.list_tools()


# Secrets


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


async def test_no_secret_is_shown_anywhere(
    office: Office, everything_logged: pytest.LogCaptureFixture
) -> None:
    """Neither in a log, nor in an error, a header or a frame."""
    shown: list[Any] = []

    def fail(context: Context) -> None:
        shown.append(repr((context.identity, context.token, context.session)))
        raise RuntimeError(repr(context.session.identity))

    office.site.tool(name="fail")(fail)
    ticket = await sync_to_async(Ticket.objects.issue)(
        office.user, timedelta(minutes=1), token=office.token
    )
    async with office.client("token", subprotocols=["mcp"]) as client:
        shown.append(await client.call_tool("fail"))
        await client.send_text(f"Bearer {office.secret}")
        shown.append(await client.receive())
    by_ticket = office.site.client()
    by_ticket._socket.scope["query_string"] = f"ticket={ticket}".encode()
    async with by_ticket as client:
        shown.append(await client.call_tool("fail"))
    await sync_to_async(office.token.revoke)()
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError) as caught:
            await office.client("token").connect()
        shown.append(repr(caught.value))
    everywhere = f"{shown} {everything_logged.text}"

    assert "RuntimeError" in everywhere
    for secret in (office.secret[10:], ticket, office.page.session.session_key):
        assert secret and secret not in everywhere


async def test_answer_is_as_quick_for_what_is_nearly_right(office: Office) -> None:
    """A token is looked up by its digest: nothing is compared that could be timed."""

    def look(secret: str) -> list[str]:
        with CaptureQueriesContext(connection) as context:
            AccessToken.objects.find(secret)
        return [query["sql"] for query in context.captured_queries]

    for wrong in (office.secret[:-1] + "_", "mcp_" + "a" * 43):
        (sql,) = await sync_to_async(look)(wrong)
        assert wrong not in sql
        assert office.secret not in sql


async def test_nobody_is_nobody_whoever_they_say_they_are(office: Office) -> None:
    """What a client says of itself is no credential."""
    async with office.site.client() as client:
        await client.request(
            "server/discover",
            {"_meta": {"user": "ada", "token": office.secret, "principal": "user:1"}},
        )

        assert [tool["name"] for tool in await client.list_tools()] == ["wait"]
