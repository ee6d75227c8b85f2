import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.exceptions import ImproperlyConfigured
from django.urls import path as url
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import ModelTools, register
from mcp_channels.consumers import MCPConsumer
from mcp_channels.routing import application
from tests.shop.models import Letter, Tag
from tests.sites import Site
from tests.sockets import Socket, make_consumer

ROOT = Path(__file__).resolve().parents[1]

DENIALS = {"websocket.http.response": {}}


def run_python(source: str, settings: str | None = None) -> str:
    """Run source in a process of its own and return what it prints."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "DJANGO_SETTINGS_MODULE"
    }
    if settings is not None:
        environment["DJANGO_SETTINGS_MODULE"] = settings
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stderr == ""
    return run.stdout.strip()


class Seen(MCPConsumer):
    """Refuses everybody, and says which endpoint was asked for."""

    async def websocket_connect(self, message: Any) -> None:
        slug = self.scope["url_route"]["kwargs"]["endpoint"]
        await self.send_json({"endpoint": slug})
        await self.close()


async def open_socket(app: Any, path: str = "/ws", **scope: Any) -> dict[str, Any]:
    """Return the first thing that the application says to a new connection."""
    async with Socket(app, path, **scope) as socket:
        return await socket.connect()


# Paths


@pytest.mark.parametrize(
    ("own", "path", "slug"),
    [
        ("ws", "/ws", ""),
        ("ws", "/ws/staff", "staff"),
        ("ws", "/ws/staff/", "staff"),
        ("ws", "/ws/Read-only_2", "Read-only_2"),
        ("ws", "/ws/ws", "ws"),
        ("a/b", "/a/b", ""),
        ("a/b", "/a/b/c", "c"),
        ("", "/", ""),
        ("", "/staff", "staff"),
        # Where there can be none.
        ("ws", "/staff", None),
        ("ws", "/wsstaff", None),
        ("ws", "/ws/staff/more", None),
        ("ws", "/ws//staff", None),
        ("ws", "/ws/a b", None),
        ("ws", "/ws/..", None),
        ("ws", "/ws/%2e", None),
        ("ws", "/ws/caf\u00e9", None),
        ("ws", "/ws/staff\n", None),
    ],
)
async def test_endpoint_is_the_last_part_of_the_path(
    settings: DjangoSettings, own: str, path: str, slug: str | None
) -> None:
    settings.MCP_CHANNELS = {"PATH": own}
    async with Socket(application(Seen), path, extensions=DENIALS) as socket:
        answer = await socket.connect()

    if slug is None:
        assert answer["status"] == 404
    else:
        assert json.loads(answer["text"]) == {"endpoint": slug}


@pytest.mark.parametrize(
    ("root_path", "path", "is_served"),
    [
        ("", "/ws", True),
        ("", "/ws/", True),
        ("", "/", False),
        ("", "/WS", False),
        ("", "/ws/other", False),
        ("", "/other/ws", False),
        # Some servers put the root path before the path ...
        ("/site", "/site/ws", True),
        ("/site/", "/site/ws", True),
        ("/site/more", "/site/more/ws", True),
        ("/site", "/site/other", False),
        ("/ws", "/ws/ws", True),
        # ... others do not.
        ("/site", "/ws", True),
        ("/w", "/ws", True),
        ("/s", "/sws", False),
        ("/site", "/other/ws", False),
    ],
)
async def test_path_is_found_below_the_root_path(
    root_path: str, path: str, is_served: bool
) -> None:
    answer = await open_socket(
        application(), path, root_path=root_path, extensions=DENIALS
    )

    if is_served:
        assert answer["type"] == "websocket.accept"
    else:
        assert answer["type"] == "websocket.http.response.start"
        assert answer["status"] == 404


async def test_other_path_is_closed_where_the_server_has_no_denials() -> None:
    async with Socket(application(), "/other") as socket:
        await socket.connect()
        await socket.task

    assert socket.sent == [
        {"type": "websocket.close", "code": 1008, "reason": "There is nothing here"}
    ]


async def test_other_path_says_nothing_to_those_who_look_around(
    settings: DjangoSettings,
) -> None:
    # Without a look at who it is, and at which Host.
    settings.ALLOWED_HOSTS = []
    answer = await open_socket(application(), "/other", extensions=DENIALS)

    assert answer["status"] == 404


async def test_path_is_read_at_each_connection(settings: DjangoSettings) -> None:
    app = application()
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "PATH": "agents"}

    assert (await open_socket(app, "/agents"))["type"] == "websocket.accept"
    assert (await open_socket(app, "/ws"))["type"] == "websocket.close"


async def test_other_consumer_may_be_served() -> None:
    class Refusing(MCPConsumer):
        async def websocket_connect(self, message: Any) -> None:
            await self.close(4000)

    assert (await open_socket(application(Refusing)))["code"] == 4000


async def test_consumer_may_stand_in_a_router_of_the_site() -> None:
    app = URLRouter([url("agents/<slug:name>/", make_consumer().as_asgi())])

    answer = await open_socket(app, "/agents/shop/")

    assert answer["type"] == "websocket.accept"


# Starting


def test_wrong_settings_keep_a_server_from_starting(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"PAGE_SIZE": 0}

    with pytest.raises(ImproperlyConfigured, match="PAGE_SIZE must be at least 1"):
        application()


def test_wrong_model_tools_keep_a_server_from_starting() -> None:
    """It does not run the system checks, and half of it could be the wrong half."""
    site = Site()
    register(Letter, registry=site)(
        type("Tools", (ModelTools,), {"fields": ["subject"]})
    )
    application(site.consumer)
    register(Tag, registry=site)(type("Tools", (ModelTools,), {"fields": ["colour"]}))

    with pytest.raises(ImproperlyConfigured, match=r"^shop\.tag: 'colour': "):
        application(site.consumer)


async def test_asgi_module_of_a_site_serves_both() -> None:
    app = importlib.import_module("tests.asgi").application

    assert isinstance(app, ProtocolTypeRouter)
    assert set(app.application_mapping) == {"http", "websocket"}
    assert (await open_socket(app))["type"] == "websocket.accept"


def test_asgi_module_sets_django_up_by_itself() -> None:
    source = (
        "from tests.asgi import application; from django.apps import apps; "
        "from django.conf import settings; print(apps.ready, settings.SETTINGS_MODULE)"
    )

    assert run_python(source) == "True tests.settings"


def test_routing_is_importable_before_django_is_set_up() -> None:
    source = (
        "import mcp_channels.routing; from django.apps import apps; "
        "from django.conf import settings; print(apps.ready, settings.configured)"
    )

    assert run_python(source) == "False False"
    assert run_python(source, "no.such.settings") == "False False"


def test_tools_can_be_written_before_django_is_set_up() -> None:
    source = (
        "from mcp_channels import *\n"
        "def f(): ...\n"
        "assert tool(f) is f\n"
        "from django.conf import settings; print(settings.configured, *registry.tools)"
    )

    assert run_python(source) == "False f"
