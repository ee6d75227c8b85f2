import asyncio
import gc
import json
import logging
import threading
import weakref
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import alogin, get_user_model
from django.contrib.auth.models import AbstractUser, Permission
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import AccessChanged, Context, PrimitivesChanged, policy, publish
from mcp_channels.consumers import MCPConsumer
from mcp_channels.models import AccessToken, Endpoint, PrimitiveSetting
from mcp_channels.server.registry import Registry
from mcp_channels.testing import MCPCommunicator, RequestFailed
from mcp_channels.worker import get_worker
from tests.sites import Clerk
from tests.sockets import PATIENCE, Socket, make_consumer

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
DENIALS = {"websocket.http.response": {}}

Headers = list[tuple[bytes, bytes]]


def serve(*functions: Any, **options: Any) -> Any:
    """Return an application that serves these functions as tools."""
    return make_consumer(*functions, **options).as_asgi()


def hello() -> str:
    return "hello"


def one() -> int:
    return 1


def call(name: str, id: int = 1) -> dict[str, Any]:
    """Return the request that calls a tool, for a client that speaks by hand."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": name, "_meta": meta}
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


def initialize(id: int) -> dict[str, Any]:
    """Return the request that shakes hands."""
    params = {
        "protocolVersion": "2025-03-26",
        "capabilities": {},
        "clientInfo": {"name": "old", "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": id, "method": "initialize", "params": params}


# Connecting


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([], None), (["mcp"], "mcp"), (["graphql-ws", "mcp"], "mcp")],
)
async def test_socket_is_accepted_with_an_offered_subprotocol(
    offered: list[str], chosen: str | None
) -> None:
    async with Socket(serve(), subprotocols=offered) as socket:
        assert await socket.connect() == {
            "type": "websocket.accept",
            "subprotocol": chosen,
        }


REFUSALS = [
    ({"subprotocols": ["graphql-ws"]}, [], False, 400, "The subprotocol to offer"),
    ({}, [(b"authorization", b"Bearer x")], False, 401, "This credential is not"),
    ({}, [], True, 401, "Credentials are required"),
    ({}, [(b"origin", b"http://evil.example")], False, 403, "This origin is not"),
    ({"headers": [(b"host", b"evil.example")]}, [], False, 403, "This host is not"),
]


@pytest.mark.parametrize(
    ("scope", "headers", "is_closed", "status", "reason"), REFUSALS
)
async def test_refusal_has_a_status_and_a_reason(
    settings: DjangoSettings,
    scope: dict[str, Any],
    headers: Headers,
    is_closed: bool,
    status: int,
    reason: str,
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": not is_closed}
    async with Socket(serve(), extensions=DENIALS, **scope) as socket:
        socket.scope["headers"] += headers
        socket.put("websocket.connect")
        start, body = await socket.until(2)

    assert start["type"] == "websocket.http.response.start"
    assert start["status"] == status
    assert (b"content-type", b"text/plain; charset=utf-8") in start["headers"]
    # RFC 9110, 15.5.2: a 401 says what would be a credential.
    assert ((b"www-authenticate", b"Bearer") in start["headers"]) is (status == 401)
    assert body["type"] == "websocket.http.response.body"
    assert body["body"].decode().startswith(reason)


@pytest.mark.parametrize(
    ("scope", "headers", "is_closed", "status", "reason"), REFUSALS
)
async def test_refusal_closes_where_the_server_has_no_denials(
    settings: DjangoSettings,
    scope: dict[str, Any],
    headers: Headers,
    is_closed: bool,
    status: int,
    reason: str,
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": not is_closed}
    async with Socket(serve(), **scope) as socket:
        socket.scope["headers"] += headers
        message = await socket.connect()
        # Some servers deliver what came before they refused.
        socket.put_frame(PING)
        socket.put("websocket.receive", bytes=b"x")

    assert message["type"] == "websocket.close"
    assert message["code"] == 1008
    assert message["reason"].startswith(reason)
    assert socket.sent == [message]
    assert socket.task.done() and socket.task.exception() is None


async def test_frames_before_the_connection_are_ignored() -> None:
    async with Socket(serve()) as socket:
        socket.put_frame(PING)
        accepted = await socket.connect()

    assert accepted["type"] == "websocket.accept"
    assert socket.sent == [accepted]


async def test_client_may_go_before_it_was_accepted() -> None:
    async with Socket(serve()) as socket:
        socket.put("websocket.disconnect", code=1006)
        await asyncio.wait_for(socket.task, PATIENCE)

    assert socket.sent == []


async def test_credentials_in_subprotocols_are_neither_echoed_nor_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    for offered in (
        ["mcp.auth.secret"],
        ["mcp.auth.secret", "mcp"],
        ["mcp.auth.secret", "x"],
    ):
        async with Socket(serve(), subprotocols=offered, extensions=DENIALS) as socket:
            await socket.connect()
            socket.put_frame("no JSON")

        assert "secret" not in str(socket.sent)
    assert "secret" not in caplog.text


async def test_failure_before_the_socket_is_accepted_is_left_to_the_server() -> None:
    class Broken(Registry):
        def catalogue_for(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("The database is down.")

    consumer = type("Consumer", (MCPConsumer,), {"registry": Broken()})
    async with Socket(consumer.as_asgi()) as socket:
        socket.put("websocket.connect")
        with pytest.raises(RuntimeError, match="The database is down"):
            await asyncio.wait_for(socket.task, PATIENCE)

    # Neither accepted nor closed: the server answers 500.
    assert socket.sent == []


async def test_server_describes_what_is_registered_at_each_connection() -> None:
    registry = Registry()
    consumer = type("Consumer", (MCPConsumer,), {"registry": registry})
    capabilities = []
    for function in (None, hello):
        if function:
            registry.tool(function)
        async with MCPCommunicator(consumer=consumer) as client:
            discovered = await client.request("server/discover")
            capabilities.append(set(discovered["capabilities"]))

    assert capabilities == [{"logging"}, {"logging", "tools"}]


# Frames


async def test_text_is_answered_in_text() -> None:
    async with Socket(serve()) as socket:
        await socket.connect()
        socket.put_frame(PING)
        answer = (await socket.until(2))[1]

    assert answer["type"] == "websocket.send"
    assert answer["bytes"] is None
    assert json.loads(answer["text"]) == {"jsonrpc": "2.0", "id": 1, "result": {}}


@pytest.mark.parametrize(
    "text", ["", " ", "{", "no JSON", "\x00", "\ud800", "[" * 9999]
)
async def test_text_that_is_no_json_is_answered_and_the_socket_stays(text: str) -> None:
    async with Socket(serve()) as socket:
        await socket.connect()
        socket.put("websocket.receive", text=text)
        socket.put_frame(PING)
        refused, answer = [json.loads(m["text"]) for m in (await socket.until(3))[1:]]

    assert (refused["id"], refused["error"]["code"]) == (None, -32700)
    assert answer["result"] == {}


@pytest.mark.parametrize(
    "frame", [{"bytes": b"{}"}, {"bytes": b""}, {"bytes": b"{}", "text": None}]
)
async def test_binary_frame_closes(frame: dict[str, Any]) -> None:
    async with Socket(serve()) as socket:
        await socket.connect()
        socket.put("websocket.receive", **frame)
        closed = (await socket.until(2))[1]
        socket.put_frame(PING)

    assert closed["type"] == "websocket.close"
    assert closed["code"] == 1003
    assert socket.sent[2:] == []


@pytest.mark.parametrize("character", ["e", "é", "€", "😀"])
@pytest.mark.parametrize("more", [0, 1])
async def test_frame_is_measured_in_bytes_of_utf_8(
    settings: DjangoSettings, character: str, more: int
) -> None:
    frame = json.dumps({**PING, "params": {"text": character * 50}}, ensure_ascii=False)
    limit = len(frame.encode()) - more
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "MAX_FRAME_BYTES": limit}
    async with Socket(serve()) as socket:
        await socket.connect()
        socket.put_frame(frame)
        message = (await socket.until(2))[1]

    if more:
        assert message["type"] == "websocket.close"
        assert message["code"] == 1009
        assert message["reason"] == f"A frame may have {limit} bytes"
    else:
        assert json.loads(message["text"])["result"] == {}


async def test_what_was_due_is_sent_before_the_socket_is_closed() -> None:
    async with Socket(serve()) as socket:
        await socket.connect()
        socket.put_frame(PING)
        socket.put("websocket.receive", bytes=b"")
        sent = await socket.until(3)

    assert [m["type"] for m in sent[1:]] == ["websocket.send", "websocket.close"]


async def test_repeated_abuse_closes_only_the_abusers_socket(
    settings: DjangoSettings,
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "MAX_VIOLATIONS": 3}
    async with Socket(serve()) as abuser, Socket(serve()) as other:
        await abuser.connect()
        await other.connect()
        for _ in range(1000):
            abuser.put_frame("no JSON")
        sent = await abuser.until(6)
        other.put_frame(PING)
        await other.until(2)

    assert [json.loads(m["text"])["error"]["code"] for m in sent[1:5]] == [-32700] * 4
    assert sent[5]["code"] == 1008
    assert abuser.sent[6:] == []
    assert json.loads(other.sent[1]["text"])["result"] == {}


async def test_long_row_of_frames_is_answered_as_it_comes(
    settings: DjangoSettings,
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "MAX_OUTBOX_FRAMES": 5}
    async with Socket(serve()) as socket:
        await socket.connect()
        # All have arrived before the first is looked at.
        for _ in range(100):
            socket.put_frame(PING)
        sent = await socket.until(101)

    assert {message["type"] for message in sent[1:]} == {"websocket.send"}


async def test_answers_wait_for_a_client_that_reads_slowly() -> None:
    async with Socket(serve()) as socket:
        await socket.connect()
        socket.reading.clear()
        socket.put_frame(PING)
        await socket.until(2)
        for id in (2, 3):
            socket.put_frame({**PING, "id": id})
        socket.reading.set()
        sent = await socket.until(4)

    assert [json.loads(message["text"])["id"] for message in sent[1:]] == [1, 2, 3]


# Closing


class Daphne:
    """What Daphne is to a consumer: it takes few close codes, its protocol any."""

    def __init__(self) -> None:
        self.closed: list[Any] = []

    def handle_reply(self, message: Any) -> None:
        code = message.get("code")
        if message["type"] == "websocket.close":
            if code not in (None, 1000) and not 3000 <= code < 5000:
                raise Exception(f"invalid close code {code}")
            self.closed.append(code)

    def sendCloseFrame(self, code: int, reasonUtf8: bytes) -> None:
        self.closed.append((code, reasonUtf8))


async def reply(protocol: Daphne, message: Any) -> None:
    """Send as Daphne's Server.handle_reply, which it hands on as a partial."""
    protocol.handle_reply(message)


async def close_at_daphne(code: int | None, reason: str, *, is_wrapped: bool) -> Any:
    """Let a consumer close an open socket of Daphne; return what came of it."""
    daphne = Daphne()
    send = partial(reply, daphne)
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "websocket.connect"})

    class Closing(MCPConsumer):
        async def websocket_receive(self, message: Any) -> None:
            await self.close(code, reason)

    inbox.put_nowait({"type": "websocket.receive", "text": "x"})
    inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def send_on(message: Any) -> None:
        await send(message)

    scope = {"type": "websocket", "headers": [(b"host", b"testserver")]}
    await Closing()(scope, inbox.get, send_on if is_wrapped else send)
    return daphne.closed


@pytest.mark.parametrize(
    ("code", "direct", "wrapped"),
    [
        (1003, (1003, b"why"), 4003),
        (1013, (1013, b"why"), 4013),
        (1000, 1000, 1000),
        (None, None, None),
        (3000, 3000, 3000),
        (4001, 4001, 4001),
    ],
)
async def test_daphne_closes_with_any_code(
    code: int | None, direct: Any, wrapped: int | None
) -> None:
    assert await close_at_daphne(code, "why", is_wrapped=False) == [direct]
    assert await close_at_daphne(code, "why", is_wrapped=True) == [wrapped]


# Calls


async def test_reader_never_waits_for_a_call() -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with Socket(serve(wait)) as socket:
        await socket.connect()
        socket.put_frame(call("wait", id=5))
        socket.put_frame(PING)
        ponged = (await socket.until(2))[1]
        gate.set()
        answered = (await socket.until(3))[2]

    assert json.loads(ponged["text"])["id"] == 1
    assert json.loads(answered["text"])["id"] == 5


class Waiting:
    """A tool that waits, and tells what becomes of it."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()

    def tool(self) -> Any:
        async def wait() -> None:
            self.entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        return wait


async def test_calls_in_flight_are_cancelled_when_the_client_goes() -> None:
    waiting = Waiting()
    async with Socket(serve(waiting.tool())) as socket:
        await socket.connect()
        socket.put_frame(call("wait"))
        await asyncio.wait_for(waiting.entered.wait(), PATIENCE)
        socket.put("websocket.disconnect", code=1001)
        await asyncio.wait_for(socket.task, PATIENCE)

        assert waiting.cancelled.is_set()
    assert socket.sent[1:] == []


async def test_calls_in_flight_are_cancelled_when_the_server_stops() -> None:
    waiting = Waiting()
    async with Socket(serve(waiting.tool())) as socket:
        await socket.connect()
        socket.put_frame(call("wait"))
        await asyncio.wait_for(waiting.entered.wait(), PATIENCE)
        socket.task.cancel()
        await asyncio.wait({socket.task}, timeout=PATIENCE)

        assert socket.task.cancelled()
        assert waiting.cancelled.is_set()
    assert socket.sent[1:] == []


async def test_call_that_will_not_be_cancelled_is_not_waited_for_long() -> None:
    gate = asyncio.Event()
    entered = asyncio.Event()

    async def stay() -> None:
        entered.set()
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    async with Socket(serve(stay)) as socket:
        await socket.connect()
        socket.put_frame(call("stay"))
        await asyncio.wait_for(entered.wait(), PATIENCE)
        socket.put("websocket.disconnect", code=1001)
        # It stays until the test lets it go.
        await asyncio.wait_for(asyncio.shield(socket.task), PATIENCE)
        gate.set()

    assert socket.sent[1:] == []


async def test_thread_that_cannot_be_stopped_is_not_waited_for_long() -> None:
    gate = threading.Event()
    entered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def block() -> None:
        loop.call_soon_threadsafe(entered.set)
        gate.wait(2 * PATIENCE)

    async with Socket(serve(block)) as socket:
        await socket.connect()
        socket.put_frame(call("block"))
        await asyncio.wait_for(entered.wait(), PATIENCE)
        socket.put("websocket.disconnect", code=1001)
        try:
            await asyncio.wait_for(asyncio.shield(socket.task), PATIENCE)
        finally:
            gate.set()

    assert socket.sent[1:] == []


# Idle connections


async def closed_after(client: MCPCommunicator) -> float:
    """Return when the server closes the connection, on the loop's clock."""
    with pytest.raises(ConnectionResetError, match="1000"):
        await client.receive()
    return asyncio.get_running_loop().time()


async def test_connection_is_idle_from_the_last_frame_on(
    settings: DjangoSettings,
) -> None:
    timeout = 0.3
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "IDLE_TIMEOUT": timeout}
    async with MCPCommunicator() as client:
        await asyncio.sleep(timeout / 3)
        pinged_at = asyncio.get_running_loop().time()
        await client.notify("notifications/cancelled", {"requestId": 5})

        assert await closed_after(client) - pinged_at >= timeout


async def test_connection_is_idle_from_the_last_answer_on(
    settings: DjangoSettings,
) -> None:
    timeout = 0.2
    answered_at = 0.0

    async def work() -> None:
        nonlocal answered_at
        await asyncio.sleep(1.5 * timeout)
        answered_at = asyncio.get_running_loop().time()

    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "IDLE_TIMEOUT": timeout}
    async with MCPCommunicator(consumer=make_consumer(work)) as client:
        # Longer than the timeout, and still answered.
        await client.call_tool("work")

        assert await closed_after(client) - answered_at >= timeout


async def test_connection_that_ended_is_not_kept_to_be_watched(
    settings: DjangoSettings,
) -> None:
    consumers: list[weakref.ref[MCPConsumer]] = []

    class Counted(MCPConsumer):
        async def websocket_connect(self, message: Any) -> None:
            consumers.append(weakref.ref(self))
            await super().websocket_connect(message)

    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "IDLE_TIMEOUT": 3600}
    async with MCPCommunicator(consumer=make_consumer(kind=Counted)) as client:
        await client.request("server/discover")
        assert consumers[0]() is not None
    del client
    gc.collect()

    assert consumers[0]() is None


# Users


@pytest.fixture
def users(transactional_db: None) -> dict[str, AbstractUser]:
    create = get_user_model().objects.create
    users = {name: create(username=name) for name in ("ada", "grace")}
    permission = Permission.objects.get(codename="view_user")
    users["ada"].user_permissions.add(permission)
    return users


async def test_users_of_one_process_see_what_each_may(
    users: dict[str, AbstractUser],
) -> None:
    registry = Registry()
    consumer = type("Consumer", (MCPConsumer,), {"registry": registry})

    @registry.tool
    def whoami(context: Context) -> str:
        return context.user.get_username()

    @registry.tool(permission="auth.view_user")
    def look() -> str:
        return "seen"

    async with (
        MCPCommunicator(users["ada"], consumer=consumer) as ada,
        MCPCommunicator(users["grace"], consumer=consumer) as grace,
        MCPCommunicator(consumer=consumer) as nobody,
    ):
        clients = (ada, grace, nobody)
        seen = [[t["name"] for t in await client.list_tools()] for client in clients]
        names = [await client.call_tool("whoami") for client in clients]
        looked = await ada.call_tool("look")
        refusals = []
        for client in (grace, nobody):
            for name in ("look", "missing"):
                with pytest.raises(RequestFailed) as caught:
                    await client.call_tool(name)
                refusals.append((caught.value.code, caught.value.message))

    assert seen == [["look", "whoami"], ["whoami"], ["whoami"]]
    assert [n["content"][0]["text"] for n in names] == ["ada", "grace", ""]
    assert looked["content"][0]["text"] == "seen"
    # What is hidden looks as what does not exist.
    assert (
        refusals
        == [
            (-32602, "Unknown tool: look"),
            (-32602, "Unknown tool: missing"),
        ]
        * 2
    )


async def test_who_it_is_is_decided_when_the_client_connects(
    users: dict[str, AbstractUser],
) -> None:
    async def whoami(context: Context) -> str:
        return context.user.get_username()

    session = SessionStore()
    await session.asave()
    request = SimpleNamespace(session=session, META={}, user=None)
    await alogin(request, users["ada"], "django.contrib.auth.backends.ModelBackend")
    await session.asave()
    options: dict[str, Any] = {
        "consumer": make_consumer(whoami),
        "headers": [
            (b"cookie", f"sessionid={session.session_key}".encode()),
            (b"origin", b"http://testserver"),
        ],
    }
    async with MCPCommunicator(**options) as before:
        await session.aflush()
        async with MCPCommunicator(**options) as after:
            names = [await client.call_tool("whoami") for client in (before, after)]

    assert [name["content"][0]["text"] for name in names] == ["ada", ""]


async def test_what_is_seen_is_decided_again_when_access_changes(
    users: dict[str, AbstractUser],
) -> None:
    consumer = make_consumer(hello, permission="auth.view_user")
    async with MCPCommunicator(users["ada"], consumer=consumer) as before:
        seen = [len(await before.list_tools())]
        await users["ada"].user_permissions.aclear()
        ada = await get_user_model().objects.aget(username="ada")
        async with MCPCommunicator(ada, consumer=consumer) as after:
            seen += [len(await client.list_tools()) for client in (before, after)]

    assert seen == [1, 0, 0]


# Endpoints


@pytest.fixture
def catalogue_of(rows: None) -> Any:
    """Return what the clients of an endpoint see: names of tools, by page."""
    registry = Registry()
    registry.tool(name="count", read_only=True, tags=["orders"])(hello)
    registry.tool(name="refund", tags=["orders", "money"])(hello)
    registry.tool(name="stock", permission="shop.see")(hello)
    consumer = type("Consumer", (MCPConsumer,), {"registry": registry})

    async def look(slug: str = "", user: Any = None) -> list[str]:
        async with MCPCommunicator(user, endpoint=slug, consumer=consumer) as client:
            tools = await client.list_tools()
            for name in ("count", "refund", "stock"):
                if name not in [tool["name"] for tool in tools]:
                    with pytest.raises(RequestFailed, match=f"Unknown tool: {name}"):
                        await client.call_tool(name)
            return [tool["name"] for tool in tools]

    return look


async def test_default_endpoint_is_as_the_settings_say(catalogue_of: Any) -> None:
    assert await catalogue_of() == ["count", "refund"]
    with pytest.raises(ConnectionRefusedError, match="404"):
        await catalogue_of("staff")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["count", "refund"]),
        ({"read_only": True}, ["count"]),
        ({"selection": "tagged", "tags": ["money"]}, ["refund"]),
        ({"selection": "tagged", "tags": ["orders"], "read_only": True}, ["count"]),
        ({"selection": "chosen"}, []),
    ],
)
@pytest.mark.parametrize("slug", ["", "shop"])
async def test_endpoint_serves_what_its_row_says(
    catalogue_of: Any, slug: str, options: Any, names: list[str]
) -> None:
    await Endpoint.objects.acreate(slug=slug, allow_anonymous=True, **options)

    assert await catalogue_of(slug) == names


async def test_endpoint_serves_what_is_chosen(catalogue_of: Any) -> None:
    endpoint = await Endpoint.objects.acreate(
        slug="shop", allow_anonymous=True, selection="chosen"
    )
    await endpoint.primitives.aadd(
        await PrimitiveSetting.objects.acreate(kind="tool", key="refund"),
        await PrimitiveSetting.objects.acreate(kind="tool", key="stock"),
    )

    assert await catalogue_of("shop") == ["refund"]
    assert await catalogue_of("shop", Clerk("shop.see")) == ["refund", "stock"]
    assert await catalogue_of() == ["count", "refund"]


async def test_endpoint_lets_in_whom_its_row_says(catalogue_of: Any) -> None:
    await Endpoint.objects.acreate(slug="shop", staff_only=True)
    await Endpoint.objects.acreate(enabled=False, allow_anonymous=True)
    staff, clerk = Clerk(), Clerk()
    staff.is_staff = True  # type: ignore[attr-defined]

    assert await catalogue_of("shop", staff) == ["count", "refund"]
    for slug, user, status in [
        ("shop", None, "401"),
        ("shop", clerk, "403"),
        ("", clerk, "404"),
        ("", None, "404"),
    ]:
        with pytest.raises(ConnectionRefusedError, match=status):
            await catalogue_of(slug, user)


async def test_primitive_is_as_its_row_says(catalogue_of: Any) -> None:
    await PrimitiveSetting.objects.acreate(kind="tool", key="count", enabled=False)
    await PrimitiveSetting.objects.acreate(
        kind="tool", key="refund", permission="shop.refund"
    )
    await PrimitiveSetting.objects.acreate(kind="prompt", key="stock", enabled=False)

    assert await catalogue_of() == []
    assert await catalogue_of(user=Clerk("shop.refund", "shop.see")) == [
        "refund",
        "stock",
    ]


@pytest.mark.usefixtures("rows")
async def test_endpoint_introduces_itself_in_its_own_words() -> None:
    await Endpoint.objects.acreate(
        slug="shop",
        allow_anonymous=True,
        title="The shop",
        instructions="Be quick.",
        website_url="https://shop.example",
        icons=[{"src": "https://shop.example/icon.png"}],
        page_size=1,
    )
    consumer = type("Consumer", (MCPConsumer,), {"registry": Registry()})
    consumer.registry.tool(hello)
    consumer.registry.tool(hello, name="other")
    async with MCPCommunicator(endpoint="shop", consumer=consumer) as client:
        found = await client.request("server/discover")
        page = await client.request("tools/list")
        names = [tool["name"] for tool in await client.list_tools()]

    info = found["_meta"]["io.modelcontextprotocol/serverInfo"]
    assert info == {
        "name": "tests",
        "version": info["version"],
        "title": "The shop",
        "websiteUrl": "https://shop.example",
        "icons": [{"src": "https://shop.example/icon.png"}],
    }
    assert found["instructions"] == "Be quick."
    assert len(page["tools"]) == 1
    assert names == ["hello", "other"]


@pytest.mark.usefixtures("rows")
async def test_tool_knows_where_and_with_what_its_client_came() -> None:
    async def where(context: Context) -> list[Any]:
        return [context.endpoint.slug, context.endpoint.title, context.token]

    await Endpoint.objects.acreate(slug="shop", title="The shop", allow_anonymous=True)
    async with MCPCommunicator(
        endpoint="shop", consumer=make_consumer(where)
    ) as client:
        result = await client.call_tool("where")

    assert result["structuredContent"] == ["shop", "The shop", None]


async def test_nobody_comes_in_while_the_policy_cannot_be_known(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Any:
        raise OperationalError("The password of db.example is secret")

    monkeypatch.setattr(policy, "compile_policy", fail)
    async with Socket(make_consumer(hello).as_asgi(), extensions=DENIALS) as socket:
        answer = await socket.connect()

    assert answer["status"] == 503
    assert "secret" not in str(socket.sent)
    assert "Connection refused" in caplog.text


@pytest.mark.parametrize("change", ["disable", "close"])
@pytest.mark.usefixtures("rows")
async def test_endpoint_that_is_closed_ends_its_connections(change: str) -> None:
    endpoint = await Endpoint.objects.acreate(slug="shop", allow_anonymous=True)
    consumer = make_consumer(hello)
    async with (
        MCPCommunicator(endpoint="shop", consumer=consumer) as client,
        MCPCommunicator(consumer=consumer) as other,
    ):
        if change == "disable":
            endpoint.enabled = False
        else:
            endpoint.allow_anonymous = False
        await endpoint.asave()
        publish(AccessChanged("policy"))
        with pytest.raises(ConnectionResetError, match="1008"):
            await client.receive()

        assert await other.list_tools()


# Credentials


@pytest.fixture
def secret(rows: None) -> str:
    user = get_user_model().objects.create(username="ada", password="hashed")
    return AccessToken.objects.issue(user, "ci", patterns=["whoami", "hello"])[1]


@pytest.mark.parametrize("place", ["header", "subprotocol", "both"])
async def test_client_comes_with_a_token(secret: str, place: str) -> None:
    async def whoami(context: Context) -> list[Any]:
        assert context.token is not None
        return [context.user.get_username(), context.token.name]

    options: dict[str, Any] = {"consumer": make_consumer(whoami, one)}
    if place != "subprotocol":
        options["token"] = secret
    if place != "header":
        options["subprotocols"] = ["mcp", f"mcp.auth.{secret}"]
    async with MCPCommunicator(**options) as client:
        tools = [tool["name"] for tool in await client.list_tools()]
        result = await client.call_tool("whoami")

    assert tools == ["whoami"]
    assert result["structuredContent"] == ["ada", "ci"]


async def test_token_is_nowhere_in_what_is_kept_or_sent(
    secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[Any] = []

    class Consumer(MCPConsumer):
        registry = Registry()

        async def accept(self, *args: Any, **kwargs: Any) -> None:
            kept.append(self)
            await super().accept(*args, **kwargs)

    Consumer.registry.tool(hello)
    with caplog.at_level(logging.DEBUG):
        async with Socket(
            Consumer.as_asgi(),
            headers=[
                (b"host", b"testserver"),
                (b"authorization", f"Bearer {secret}".encode()),
            ],
            subprotocols=["mcp", f"mcp.auth.{secret}"],
            query_string=b"",
        ) as socket:
            await socket.connect()
            socket.put_frame(call("hello"))
            socket.put_frame("no JSON")
            await socket.until(3)
            shown = repr((kept[0].scope, kept[0].dispatcher.identity, socket.sent))

    assert secret[10:] not in shown
    assert secret[10:] not in caplog.text


# Eras


async def test_both_eras_may_speak_on_one_connection() -> None:
    consumer = make_consumer(hello)
    async with MCPCommunicator(revision="2025-06-18", consumer=consumer) as client:
        legacy = await client.request("tools/call", {"name": "hello"})
        await client.send(call("hello", id=77))
        modern = await client.answer_to(77)
        again = await client.request("tools/call", {"name": "hello"})

    assert legacy == again
    assert "resultType" not in legacy
    assert modern["resultType"] == "complete"
    assert modern["content"] == legacy["content"]


async def test_probe_leaves_the_handshake_open() -> None:
    async with MCPCommunicator(consumer=make_consumer(hello)) as client:
        await client.request("server/discover")
        await client.send(initialize(id=90))
        answer = await client.answer_to(90)

    assert answer["protocolVersion"] == "2025-03-26"


async def test_handshake_is_closed_to_a_modern_client() -> None:
    async with MCPCommunicator(consumer=make_consumer(hello)) as client:
        await client.call_tool("hello")
        await client.send(initialize(id=90))
        with pytest.raises(RequestFailed) as caught:
            await client.answer_to(90)

    assert caught.value.code == -32022


# Bugs


class Clumsy(MCPConsumer):
    """A consumer of a site's own, with a bug."""

    async def websocket_receive(self, message: Any) -> None:
        if message.get("text") == "stumble":
            raise RuntimeError("stumbled over a secret")
        await super().websocket_receive(message)


async def test_bug_closes_only_the_connection_that_met_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    waiting = Waiting()
    app = serve(waiting.tool(), kind=Clumsy)
    async with Socket(app) as socket, Socket(app) as other:
        await socket.connect()
        await other.connect()
        socket.put_frame(call("wait"))
        await asyncio.wait_for(waiting.entered.wait(), PATIENCE)
        socket.put_frame("stumble")
        await socket.until(2)
        # The server has still to say that the client is gone.
        socket.put_frame(PING)
        socket.put_frame("stumble")
        other.put_frame(PING)
        await other.until(2)
        socket.put("websocket.disconnect", code=1011)
        await asyncio.wait_for(socket.task, PATIENCE)

        assert waiting.cancelled.is_set()
    closed = {"type": "websocket.close", "code": 1011, "reason": "Internal error"}
    assert socket.sent[1:] == [closed]
    assert json.loads(other.sent[1]["text"])["result"] == {}
    assert caplog.records[0].name == "mcp_channels"
    assert caplog.records[0].getMessage() == "Connection failed"
    assert "stumbled over a secret" in caplog.text


async def test_event_that_nobody_knows_closes_the_connection() -> None:
    async with Socket(serve()) as socket:
        await socket.connect()
        socket.put("websocket.nonsense")
        closed = (await socket.until(2))[1]

    assert closed["code"] == 1011


# What is inherited


async def test_json_of_a_subclass_goes_past_the_outbox() -> None:
    class Chatty(MCPConsumer):
        async def websocket_receive(self, message: Any) -> None:
            await self.send_json({"jsonrpc": "2.0", "method": "notifications/hello"})
            await super().websocket_receive(message)

        async def receive_json(self, content: Any, **kwargs: Any) -> None:
            raise AssertionError("never called")

        async def receive(self, *args: Any, **kwargs: Any) -> None:
            raise AssertionError("never called")

    async with Socket(serve(kind=Chatty)) as socket:
        await socket.connect()
        socket.put_frame(PING)
        hello, pong = [json.loads(m["text"]) for m in (await socket.until(3))[1:]]

    assert hello["method"] == "notifications/hello"
    assert pong["result"] == {}


async def test_what_changes_while_somebody_comes_in_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = make_consumer(hello)
    find = Registry.catalogue_for
    events = [PrimitivesChanged("tools")]

    def change(registry: Any, *arguments: Any, **options: Any) -> Any:
        found = find(registry, *arguments, **options)
        while events:
            # After the look, and before the connection hears of anything.
            registry.tool(name="new")(hello)
            (audience,) = get_worker().audiences
            audience.receive(events.pop())
        return found

    monkeypatch.setattr(Registry, "catalogue_for", change)
    async with MCPCommunicator(consumer=consumer, revision="2025-11-25") as client:
        await client.notification("notifications/tools/list_changed")

        assert len(await client.list_tools()) == 2


async def test_no_channel_layer_is_needed(settings: DjangoSettings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "no.such.Layer"}}
    async with MCPCommunicator(consumer=make_consumer(hello)) as client:
        assert len(await client.list_tools()) == 1
