import asyncio
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import Context, policy
from mcp_channels.auth import Handshake, Refused
from mcp_channels.conf import Settings, get_settings, problems
from mcp_channels.routing import application
from mcp_channels.server.permissions import Identity
from mcp_channels.testing import MCPCommunicator, RequestFailed
from mcp_channels.worker import get_worker
from tests.sockets import PATIENCE, Socket, make_consumer

SERVER_INFO = "io.modelcontextprotocol/serverInfo"
PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
PONG = '{"id":1,"result":{},"jsonrpc":"2.0"}'

_proven: set[str] = set()

Configure = Callable[..., None]


def proves(*names: str) -> Callable[[Any], Any]:
    """Say that a test shows what these settings do, at their boundaries."""

    def mark(test: Any) -> Any:
        _proven.update(names)
        return test

    return mark


@pytest.fixture
def configure(settings: DjangoSettings) -> Configure:
    """Set MCP_CHANNELS, letting everybody in."""

    def configure(**values: Any) -> None:
        settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, **values}

    return configure


def one() -> int:
    return 1


def two() -> int:
    return 2


def three() -> int:
    return 3


def test_every_setting_is_proven_to_have_an_effect() -> None:
    assert _proven == {setting.name for setting in fields(Settings)}


# What the server says of itself


async def discover() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a legacy and a modern client are told of the server."""
    legacy = MCPCommunicator(revision="2025-11-25")
    await legacy.connect()
    initialized = await legacy.initialize()
    await legacy.disconnect()
    async with MCPCommunicator() as modern:
        return initialized, await modern.request("server/discover")


@proves("SERVER_NAME", "SERVER_VERSION", "SERVER_TITLE", "INSTRUCTIONS", "WEBSITE_URL")
async def test_server_introduces_itself_in_the_words_of_the_site(
    configure: Configure,
) -> None:
    configure(
        SERVER_NAME="shop",
        SERVER_VERSION="2.1",
        SERVER_TITLE="The shop",
        INSTRUCTIONS="Ask before you buy.",
        WEBSITE_URL="https://shop.example",
    )

    initialized, discovered = await discover()

    info = {
        "name": "shop",
        "version": "2.1",
        "title": "The shop",
        "websiteUrl": "https://shop.example",
    }
    assert initialized["serverInfo"] == discovered["_meta"][SERVER_INFO] == info
    assert initialized["instructions"] == "Ask before you buy."
    assert discovered["instructions"] == "Ask before you buy."


async def test_what_the_site_does_not_say_is_absent(configure: Configure) -> None:
    configure()

    initialized, discovered = await discover()

    info = {"name": "django-mcp-channels", "version": Settings().SERVER_VERSION}
    assert initialized["serverInfo"] == discovered["_meta"][SERVER_INFO] == info
    assert "instructions" not in initialized.keys() | discovered.keys()


# Where it is and who may come in


@proves("PATH")
@pytest.mark.parametrize(
    ("setting", "path", "is_served"),
    [
        ("ws", "/ws", True),
        ("ws", "/ws/", True),
        ("ws", "/wss", False),
        ("ws", "/", False),
        ("agents/mcp", "/agents/mcp", True),
        ("agents/mcp", "/ws", False),
        ("", "/", True),
        ("", "/ws", False),
    ],
)
async def test_sockets_are_served_at_the_path(
    configure: Configure, setting: str, path: str, is_served: bool
) -> None:
    configure(PATH=setting)

    async with Socket(application(), path) as socket:
        answer = await socket.connect()

    assert (answer["type"] == "websocket.accept") is is_served


@proves("ALLOW_ANONYMOUS")
async def test_anonymous_clients_are_let_in_only_when_allowed(
    configure: Configure,
) -> None:
    configure()
    async with MCPCommunicator() as client:
        assert await client.request("server/discover")

    configure(ALLOW_ANONYMOUS=False)
    with pytest.raises(ConnectionRefusedError, match="401"):
        await MCPCommunicator().connect()


def nobody_else(handshake: Handshake) -> Identity | None:
    if handshake.bearer == "evil":
        raise Refused(401, "Evil is not let in")
    return Identity(get_user_model()(pk=7, username="somebody"))


@proves("AUTHENTICATORS")
async def test_authenticators_say_who_it_is(configure: Configure) -> None:
    async def whoami(context: Context) -> str:
        return context.user.get_username()

    configure(AUTHENTICATORS=[f"{__name__}.nobody_else"])
    async with MCPCommunicator(consumer=make_consumer(whoami)) as client:
        result = await client.call_tool("whoami")

    assert result["content"][0]["text"] == "somebody"


async def statuses(*options: dict[str, Any]) -> list[int]:
    """Return how each of some connections is answered, one after the other; 101 when
    it is accepted."""
    answers = []
    for scope in options:
        headers = [(b"host", b"testserver"), *scope.pop("headers")]
        scope["extensions"] = {"websocket.http.response": {}}
        async with Socket(application(), headers=headers, **scope) as socket:
            answers.append((await socket.connect()).get("status", 101))
    return answers


EVIL = (b"authorization", b"Bearer evil")


@proves("MAX_FAILED_ATTEMPTS", "CACHE")
@pytest.mark.parametrize(
    ("limit", "answered"),
    [(2, [401, 401, 429, 429]), (1, [401, 429, 429, 429]), (None, [401] * 4)],
)
async def test_too_many_failures_are_refused(
    configure: Configure,
    settings: DjangoSettings,
    limit: int | None,
    answered: list[int],
) -> None:
    memory = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {
        "default": {"BACKEND": "tests.no_such.Cache"},
        "counts": {"BACKEND": memory, "LOCATION": f"{limit}"},
    }
    configure(
        AUTHENTICATORS=[f"{__name__}.nobody_else"],
        MAX_FAILED_ATTEMPTS=limit,
        CACHE="counts",
    )
    evil = [{"headers": [EVIL], "client": ("192.0.2.1", 5)} for _ in range(4)]

    assert await statuses(*evil) == answered


@proves("TRUSTED_PROXIES")
@pytest.mark.parametrize(("proxies", "answered"), [(0, [401, 429]), (1, [401, 401])])
async def test_proxies_tell_whom_they_saw(
    configure: Configure, proxies: int, answered: list[int]
) -> None:
    configure(
        AUTHENTICATORS=[f"{__name__}.nobody_else"],
        MAX_FAILED_ATTEMPTS=1,
        TRUSTED_PROXIES=proxies,
    )
    forwarded = [
        {
            "headers": [EVIL, (b"x-forwarded-for", address)],
            "client": ("192.0.2.1", 5),
        }
        for address in (b"203.0.113.1", b"203.0.113.2")
    ]

    assert await statuses(*forwarded) == answered


@proves("ACCESS_INTERVAL")
@pytest.mark.parametrize(("interval", "is_kept"), [(3600, True), (1e-9, False)])
async def test_rows_are_looked_at_again_after_the_interval(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    interval: float,
    is_kept: bool,
) -> None:
    looked: list[int] = []

    def look() -> policy.Policy:
        looked.append(1)
        return policy.Policy()

    monkeypatch.setattr(policy, "compile_policy", look)
    configure(ACCESS_INTERVAL=interval)
    async with Socket(application()) as first, Socket(application()) as second:
        for socket in (first, second):
            await socket.connect()

    assert (len(looked) == 1) is is_kept


@proves("ALLOWED_ORIGINS")
@pytest.mark.parametrize(
    ("allowed", "is_served"),
    [
        ([], False),
        (["https://app.example.com"], True),
        (("https://app.example.com",), True),
        (["https://example.com"], False),
        (["http://app.example.com"], False),
        (["https://app.example.com:8443"], False),
        (["*"], True),
    ],
)
async def test_foreign_pages_are_let_in_only_when_listed(
    configure: Configure, allowed: list[str], is_served: bool
) -> None:
    configure(ALLOWED_ORIGINS=allowed)
    client = MCPCommunicator(headers=[(b"origin", b"https://app.example.com")])

    try:
        await client.connect()
    except ConnectionRefusedError as exc:
        assert (is_served, exc.args) == (False, (403,))
    else:
        assert is_served
    await client.disconnect()


# What it offers


@proves("AUTODISCOVER_MODULE")
def test_the_module_with_this_name_is_imported_from_every_app(
    configure: Configure,
    settings: DjangoSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = tmp_path / "bookshelf"
    app.mkdir()
    app.joinpath("__init__.py").touch()
    app.joinpath("mcp.py").write_text("raise AssertionError('not the one')")
    app.joinpath("agents.py").write_text("imported = True")
    monkeypatch.syspath_prepend(tmp_path)
    configure(AUTODISCOVER_MODULE="agents")

    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "bookshelf"]

    assert sys.modules.pop("bookshelf.agents").imported
    assert "bookshelf.mcp" not in sys.modules


@proves("PAGE_SIZE")
async def test_a_list_page_holds_so_many_items(configure: Configure) -> None:
    consumer = make_consumer(one, two, three)
    pages = []
    for size in (2, 3):
        configure(PAGE_SIZE=size)
        async with MCPCommunicator(consumer=consumer) as client:
            pages.append(await client.request("tools/list"))

    assert [len(page["tools"]) for page in pages] == [2, 3]
    assert ["nextCursor" in page for page in pages] == [True, False]


# What one connection may use


@proves("MAX_FRAME_BYTES")
async def test_a_frame_has_at_most_so_many_bytes(configure: Configure) -> None:
    configure(MAX_FRAME_BYTES=len(PING))
    async with MCPCommunicator() as client:
        await client.send_text(PING)
        answer = await client.receive()
        await client.send_text(f"{PING} ")
        with pytest.raises(ConnectionResetError, match="1009"):
            await client.receive()

    assert answer["result"] == {}


async def test_a_frame_may_have_any_size_without_a_limit(configure: Configure) -> None:
    configure(MAX_FRAME_BYTES=None)
    async with MCPCommunicator() as client:
        await client.send_text(PING + " " * 2 * 1024 * 1024)

        assert (await client.receive())["result"] == {}


@proves("MAX_JSON_DEPTH")
@pytest.mark.parametrize("limit", [3, 64, 500])
async def test_json_is_at_most_so_deep(configure: Configure, limit: int) -> None:
    configure(MAX_JSON_DEPTH=limit)
    answers = []
    async with MCPCommunicator() as client:
        for depth in (limit, limit + 1):
            deep = "[" * (depth - 2) + "]" * (depth - 2)
            await client.send_text(f'{PING[:-1]},"params":{{"deep":{deep}}}}}')
            answers.append(await client.receive())

    assert answers[0]["result"] == {}
    assert answers[1]["error"]["code"] == -32700


@proves("MAX_BATCH_LENGTH")
@pytest.mark.parametrize(
    ("limit", "length", "is_answered"),
    [(2, 2, True), (2, 3, False), (50, 51, False), (None, 51, True)],
)
async def test_a_batch_has_at_most_so_many_messages(
    configure: Configure, limit: int | None, length: int, is_answered: bool
) -> None:
    configure(MAX_BATCH_LENGTH=limit)
    async with MCPCommunicator(revision="2025-03-26") as client:
        await client.send(
            [{"jsonrpc": "2.0", "id": id, "method": "ping"} for id in range(length)]
        )
        answer = await client.receive()

    if is_answered:
        assert [member["result"] for member in answer] == [{}] * length
    else:
        assert answer["error"]["code"] == -32600


@proves("MAX_REQUESTS_IN_FLIGHT")
async def test_so_many_requests_are_worked_on_at_a_time(configure: Configure) -> None:
    gate = asyncio.Event()

    async def wait() -> str:
        await gate.wait()
        return "done"

    configure(MAX_REQUESTS_IN_FLIGHT=2)
    async with MCPCommunicator(consumer=make_consumer(wait)) as client:
        params = {"name": "wait"}
        first, second, third = [
            await client.send_request("tools/call", params) for _ in range(3)
        ]
        with pytest.raises(RequestFailed, match=r"requests in flight.* 2 "):
            await client.answer_to(third)
        gate.set()
        answers = [await client.answer_to(id) for id in (first, second)]
        answers.append(await client.call_tool("wait"))

    assert [answer["content"][0]["text"] for answer in answers] == ["done"] * 3


@proves("MAX_OUTBOX_FRAMES", "MAX_OUTBOX_BYTES")
@pytest.mark.parametrize(
    ("frames", "size", "room"),
    [(3, None, 3), (None, 2 * len(PONG), 2), (None, 2 * len(PONG) + 1, 3)],
)
async def test_so_much_waits_for_a_client_that_reads_slowly(
    configure: Configure, frames: int | None, size: int | None, room: int
) -> None:
    configure(MAX_OUTBOX_FRAMES=frames, MAX_OUTBOX_BYTES=size)
    for waiting in (room, room + 1):
        async with Socket(application()) as socket:
            await socket.connect()
            socket.reading.clear()
            socket.put_frame(PING)
            # The first is on its way, no longer in the outbox.
            await socket.until(2)
            for _ in range(waiting):
                socket.put_frame(PING)
            if waiting > room:
                assert (await socket.until(3))[2]["code"] == 1013
            else:
                socket.reading.set()
                sent = await socket.until(2 + room)
                assert [message["text"] for message in sent[1:]] == [PONG] * (1 + room)


@proves("MAX_VIOLATIONS")
@pytest.mark.parametrize("limit", [0, 2])
async def test_so_many_malformed_messages_are_forgiven(
    configure: Configure, limit: int
) -> None:
    configure(MAX_VIOLATIONS=limit)
    async with MCPCommunicator() as client:
        for _ in range(limit):
            await client.send_text("no JSON")
            assert (await client.receive())["error"]["code"] == -32700
        # Not malformed, though refused: it does not count.
        with pytest.raises(RequestFailed, match="-32601"):
            await client.request("nonsense")
        await client.send_text("no JSON")
        assert (await client.receive())["error"]["code"] == -32700
        with pytest.raises(ConnectionResetError, match="1008"):
            await client.receive()


@proves("IDLE_TIMEOUT")
async def test_an_idle_connection_is_closed(configure: Configure) -> None:
    configure(IDLE_TIMEOUT=0.02)
    async with MCPCommunicator() as client:
        with pytest.raises(ConnectionResetError, match="1000"):
            await client.receive()


@proves("MAX_SUBSCRIPTIONS")
async def test_one_subscription_more_than_allowed_is_refused(
    configure: Configure,
) -> None:
    configure(MAX_SUBSCRIPTIONS=2)
    consumer = make_consumer()
    for number in range(3):
        uri = f"shop://orders/{number}"
        consumer.registry.resource(uri, name=uri)(lambda: "text")
    client = MCPCommunicator(revision="2025-11-25", consumer=consumer)
    async with client:
        await client.request("resources/subscribe", {"uri": "shop://orders/0"})
        await client.request("resources/subscribe", {"uri": "shop://orders/1"})

        with pytest.raises(RequestFailed, match="There may be 2 subscriptions"):
            await client.request("resources/subscribe", {"uri": "shop://orders/2"})


# How it works


@proves("INTERACTION_TIMEOUT")
async def test_client_that_does_not_answer_in_time_is_asked_no_more(
    configure: Configure,
) -> None:
    configure(INTERACTION_TIMEOUT=0.05)

    async def ask(context: Context) -> str:
        return str(await context.alist_roots())

    client = MCPCommunicator(
        revision="2025-11-25",
        consumer=make_consumer(ask),
        capabilities={"roots": {}},
    )
    async with client:
        result = await client.call_tool("ask")

    assert result["isError"] is True
    assert result["content"][0]["text"] == "The client gave no answer in time."


@proves("CALL_TIMEOUT")
async def test_a_call_has_so_many_seconds(configure: Configure) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    configure(CALL_TIMEOUT=0.02)
    async with MCPCommunicator(consumer=make_consumer(wait)) as client:
        result = await client.call_tool("wait")

    assert result["isError"]
    assert result["content"][0]["text"] == "Tool 'wait' did not finish in time."


async def test_a_call_has_all_time_without_a_limit(configure: Configure) -> None:
    configure(CALL_TIMEOUT=None)
    async with MCPCommunicator(consumer=make_consumer(one)) as client:
        assert (await client.call_tool("one"))["structuredContent"] == 1


@proves("SYNC_THREADS")
async def test_synchronous_functions_get_so_many_threads(configure: Configure) -> None:
    threads = 3
    entered = threading.Semaphore(0)
    gate = threading.Event()

    def block() -> None:
        entered.release()
        gate.wait(PATIENCE)

    configure(SYNC_THREADS=threads)
    async with MCPCommunicator(consumer=make_consumer(block)) as client:
        ids = [
            await client.send_request("tools/call", {"name": "block"})
            for _ in range(threads + 1)
        ]
        for _ in range(threads):
            assert await asyncio.to_thread(entered.acquire, timeout=PATIENCE)
        # Time enough for the one that must wait, were there a thread for it.
        is_another_in = await asyncio.to_thread(entered.acquire, timeout=0.05)
        gate.set()
        for id in ids:
            await client.answer_to(id)

    assert not is_another_in


# Reading them


def test_settings_follow_an_override() -> None:
    before = get_settings()
    with override_settings(MCP_CHANNELS={"PAGE_SIZE": 7}):
        assert get_settings().PAGE_SIZE == 7
        with override_settings(MCP_CHANNELS={"PAGE_SIZE": 8}):
            assert get_settings().PAGE_SIZE == 8
        assert get_settings().PAGE_SIZE == 7

    assert get_settings() == before


def test_settings_are_read_once(settings: DjangoSettings) -> None:
    before = get_settings()
    settings.LANGUAGE_CODE = "de"

    assert get_settings() is before


def test_a_site_need_not_set_anything(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {}
    assert get_settings() == Settings()
    del settings.MCP_CHANNELS

    assert problems() == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "It must be a dictionary."),
        (None, "It must be a dictionary."),
        ({"PAGESIZE": 5}, "'PAGESIZE' is not a setting."),
        ({"page_size": 5}, "'page_size' is not a setting."),
        ({5: 5}, "5 is not a setting."),
        ({"PAGE_SIZE": "5"}, "PAGE_SIZE: Expected `int`, got `str`."),
        ({"PAGE_SIZE": True}, "PAGE_SIZE: Expected `int`, got `bool`."),
        ({"PAGE_SIZE": None}, "PAGE_SIZE: Expected `int`, got `null`."),
        ({"PAGE_SIZE": 0}, "PAGE_SIZE must be at least 1."),
        ({"MAX_FRAME_BYTES": 0}, "MAX_FRAME_BYTES must be at least 1."),
        ({"MAX_JSON_DEPTH": 0}, "MAX_JSON_DEPTH must be at least 1."),
        ({"MAX_JSON_DEPTH": 501}, "MAX_JSON_DEPTH must be at most 500."),
        ({"MAX_JSON_DEPTH": None}, "MAX_JSON_DEPTH: Expected `int`, got `null`."),
        ({"MAX_BATCH_LENGTH": 0}, "MAX_BATCH_LENGTH must be at least 1."),
        ({"MAX_REQUESTS_IN_FLIGHT": 0}, "MAX_REQUESTS_IN_FLIGHT must be at least 1."),
        ({"MAX_OUTBOX_FRAMES": 0}, "MAX_OUTBOX_FRAMES must be at least 1."),
        ({"MAX_OUTBOX_BYTES": -1}, "MAX_OUTBOX_BYTES must be at least 1."),
        ({"MAX_VIOLATIONS": -1}, "MAX_VIOLATIONS must be at least 0."),
        ({"SYNC_THREADS": 0}, "SYNC_THREADS must be at least 1."),
        ({"CALL_TIMEOUT": 0}, "CALL_TIMEOUT must be more than 0 seconds."),
        ({"CALL_TIMEOUT": -1.5}, "CALL_TIMEOUT must be more than 0 seconds."),
        ({"IDLE_TIMEOUT": 0.0}, "IDLE_TIMEOUT must be more than 0 seconds."),
        (
            {"IDLE_TIMEOUT": float("nan")},
            "IDLE_TIMEOUT must be more than 0 seconds.",
        ),
        ({"PATH": "/ws"}, "PATH must not begin or end with a slash."),
        ({"PATH": "ws/"}, "PATH must not begin or end with a slash."),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS: Expected `array`, got `str`."),
        *(
            (
                {"ALLOWED_ORIGINS": ["*", origin]},
                f"ALLOWED_ORIGINS: {origin!r} is no origin: use a scheme and a host, "
                f"as in 'https://app.example.com', without a path.",
            )
            for origin in ["app.example.com", "https://example.com/", "null", ""]
        ),
    ],
)
def test_a_wrong_setting_is_named(
    settings: DjangoSettings, given: Any, problem: str
) -> None:
    settings.MCP_CHANNELS = given

    assert problems() == [problem]
    for _ in range(2):  # a failure is not kept in place of the settings
        with pytest.raises(ImproperlyConfigured) as caught:
            get_settings()
        assert str(caught.value) == f"MCP_CHANNELS: {problem}"


@proves("CHANNEL_LAYER")
@pytest.mark.parametrize(
    ("alias", "reaches"), [(None, False), ("default", False), ("other", True)]
)
def test_events_go_to_other_processes_over_the_layer_of_this_alias(
    configure: Configure, settings: DjangoSettings, alias: str | None, reaches: bool
) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
        "other": {"BACKEND": "channels_redis.core.RedisChannelLayer"},
    }
    configure(CHANNEL_LAYER=alias)

    assert (get_worker().hub is not None) is reaches


@pytest.mark.parametrize(
    "given",
    [
        {"PAGE_SIZE": 1, "SYNC_THREADS": 1, "MAX_JSON_DEPTH": 500},
        {"MAX_VIOLATIONS": 0, "MAX_FRAME_BYTES": 1, "MAX_OUTBOX_FRAMES": 1},
        {"CALL_TIMEOUT": 5, "IDLE_TIMEOUT": 0.1},
        {"CALL_TIMEOUT": float("inf")},
        {"PATH": ""},
        {"PATH": "agents/mcp"},
        {"ALLOWED_ORIGINS": ["http://localhost:3000", "vscode-file://vscode-app"]},
    ],
)
def test_a_setting_at_its_boundary_is_right(
    settings: DjangoSettings, given: dict[str, Any]
) -> None:
    settings.MCP_CHANNELS = given

    assert problems() == []
    for name, value in given.items():
        wanted = tuple(value) if isinstance(value, list) else value
        assert getattr(get_settings(), name) == wanted


def test_every_setting_that_may_be_none_has_no_limit_then(
    settings: DjangoSettings,
) -> None:
    settings.MCP_CHANNELS = {
        name: None
        for name, kind in Settings.__annotations__.items()
        if kind in (str | None, int | None, float | None)
    }

    assert len(settings.MCP_CHANNELS) == 15
    assert problems() == []


def test_all_that_is_wrong_is_named_at_once(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"PAGE_SIZE": 0, "PATH": 5, "COLOUR": "red"}

    assert problems() == [
        "'COLOUR' is not a setting.",
        "PAGE_SIZE must be at least 1.",
        "PATH: Expected `str`, got `int`.",
    ]
