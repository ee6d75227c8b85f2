"""Traps 135 to 143: who gets in, and what calls of one connection leave behind."""

import asyncio
import logging
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from django.test import Client
from django.utils import timezone, translation
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import Context, Handshake, consumers
from mcp_channels.conf import get_settings
from mcp_channels.server import concurrency
from mcp_channels.server.concurrency import get_workers
from mcp_channels.server.permissions import EndpointPolicy, Identity, TokenGrant
from tests.sites import Site
from tests.sockets import Socket
from tests.traps.tools import text_of
from tests.traps.wire import request_frame

SECRET = "s3cret"


def know(handshake: Handshake) -> Identity | None:
    """A scheme of the site's own, for which the secret is good."""
    is_right = handshake.bearer == SECRET
    return Identity(AnonymousUser(), credential="word") if is_right else None


@pytest.fixture
def cookie(transactional_db: None) -> tuple[bytes, bytes]:
    """The session cookie of a user who is signed in."""
    client = Client()
    client.force_login(get_user_model().objects.create_user("ada"))
    return b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()


async def test_trap_135_token_that_expires_on_an_open_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    @site.tool
    async def stay() -> str:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return "late"

    async def authenticate(scope: Any, endpoint: EndpointPolicy) -> Identity:
        return Identity(
            AnonymousUser(),
            token=TokenGrant(pk="1", name="laptop"),
            endpoint=endpoint,
            expires_at=timezone.now() + timedelta(seconds=1),
        )

    monkeypatch.setattr(consumers, "authenticate", authenticate)
    async with site.client() as client:
        await client.send_request("tools/call", {"name": "stay"})
        await entered.wait()
        with pytest.raises(ConnectionResetError, match="1008"):
            await client.receive()
        await left.wait()

        await client.send_request("tools/list")

        assert await client.receive_nothing()


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example",
        b"http://testserver.evil.example",
        b"http://testserver:81",
        b"null",
        b"",
        None,
    ],
)
async def test_trap_136_session_cookie_on_a_strange_page(
    site: Site, cookie: tuple[bytes, bytes], origin: bytes | None
) -> None:
    headers = [cookie] if origin is None else [cookie, (b"origin", origin)]
    with pytest.raises(ConnectionRefusedError, match="403"):
        await site.client(headers=headers).connect()


async def test_trap_136_session_cookie_on_a_page_of_the_site(
    site: Site, cookie: tuple[bytes, bytes]
) -> None:
    @site.tool
    async def whoami(context: Context) -> str:
        return context.user.get_username()

    headers = [cookie, (b"origin", b"http://testserver")]
    async with site.client(headers=headers) as client:
        assert text_of(await client.call_tool("whoami")) == "ada"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([f"mcp.auth.{SECRET}"], None),
        ([f"mcp.auth.{SECRET}", "mcp"], "mcp"),
        ([f"mcp.auth.{SECRET}", "mcp.version.2025-06-18"], "mcp.version.2025-06-18"),
    ],
)
async def test_trap_137_credential_in_a_subprotocol(
    site: Site,
    settings: DjangoSettings,
    caplog: pytest.LogCaptureFixture,
    offered: list[str],
    chosen: str | None,
) -> None:
    settings.MCP_CHANNELS = {
        "ALLOW_ANONYMOUS": True,
        "AUTHENTICATORS": [f"{__name__}.know"],
    }

    @site.tool
    async def fail() -> None:
        raise ValueError

    caplog.set_level(logging.DEBUG)
    async with Socket(site.consumer.as_asgi(), subprotocols=offered) as socket:
        accepted = await socket.connect()
        socket.put_frame(request_frame(1, "tools/call", name="fail", arguments={}))
        await socket.until(2)

    assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", chosen)
    assert "fail" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in repr(socket.sent)


@pytest.mark.parametrize(
    ("offered", "authorization"),
    [([f"mcp.auth.{SECRET}", "soap"], b""), ([], f"Bearer {SECRET}".encode())],
)
async def test_trap_137_credential_of_who_is_refused(
    site: Site,
    caplog: pytest.LogCaptureFixture,
    offered: list[str],
    authorization: bytes,
) -> None:
    caplog.set_level(logging.DEBUG)
    scope = {
        "subprotocols": offered,
        "headers": [(b"host", b"testserver"), (b"authorization", authorization)],
        "extensions": {"websocket.http.response": {}},
    }
    async with Socket(site.consumer.as_asgi(), **scope) as socket:
        await socket.connect()
        start, body = await socket.until(2)

    assert start["status"] == (400 if offered else 401)
    assert body["body"]
    assert SECRET not in caplog.text
    assert SECRET not in repr(socket.sent)


@pytest.mark.parametrize(
    "offered",
    [["graphql-ws"], ["MCP"], ["mcp.version.1999-01-01"], ["soap", "mcp.auth.x"]],
)
async def test_trap_138_subprotocols_that_nobody_speaks(
    site: Site, offered: list[str]
) -> None:
    with pytest.raises(ConnectionRefusedError, match="400"):
        await site.client(subprotocols=offered).connect()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_trap_140_database_behind_a_tool(
    site: Site, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(concurrency, "_HYGIENE_INTERVAL", 0)
    used = []

    def note() -> None:
        database = connections["default"]  # of this thread

        assert database.connection is not None

        used.append(database)

    if kind == "sync":

        @site.tool(name="count")
        def count() -> int:
            groups = Group.objects.count()
            note()
            return groups

    else:

        @site.tool(name="count")
        async def acount() -> int:
            groups = await Group.objects.acount()
            await sync_to_async(note)()
            return groups

    async with site.client() as client:
        result = await client.call_tool("count")
        await asyncio.gather(*get_workers(get_settings().SYNC_THREADS)._tasks)

    assert text_of(result) == "0"
    assert [database.connection for database in used] == [None]


@pytest.mark.django_db(transaction=True)
async def test_trap_140_database_used_synchronously_in_the_event_loop(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    @site.tool
    async def count() -> int:
        return Group.objects.count()

    async with site.client() as client:
        result = await client.call_tool("count")

    assert result["isError"] is True
    assert text_of(result) == "Tool 'count' failed."
    assert SynchronousOnlyOperation.__name__ in caplog.text


name: ContextVar[str] = ContextVar("name", default="nobody")


def state() -> str:
    zone = timezone.get_current_timezone_name()
    return f"{name.get()} {translation.get_language()} {zone}"


def settle() -> None:
    name.set("ada")
    translation.activate("de")
    timezone.activate("Asia/Tokyo")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_trap_141_call_that_changes_its_context(
    site: Site, settings: Any, kind: str
) -> None:
    # One thread, so that it is the same for both calls.
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "SYNC_THREADS": 1}

    def change() -> str:
        before = state()
        settle()
        return f"{before}, {state()}"

    async def achange() -> str:
        return change()

    site.tool(name="change")(change if kind == "sync" else achange)
    async with site.client() as client:
        texts = [text_of(await client.call_tool("change")) for _ in range(2)]

    assert texts == [f"{state()}, ada de Asia/Tokyo"] * 2


async def test_trap_141_calls_side_by_side(site: Site) -> None:
    settled, release = asyncio.Event(), asyncio.Event()

    @site.tool
    async def stay() -> str:
        settle()
        settled.set()
        await release.wait()
        return state()

    @site.tool
    async def look() -> str:
        return state()

    async with site.client() as client:
        staying = await client.send_request("tools/call", {"name": "stay"})
        await settled.wait()
        seen = text_of(await client.call_tool("look"))
        release.set()
        kept = text_of(await client.answer_to(staying))

    assert (seen, kept) == (state(), "ada de Asia/Tokyo")
