import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from django.apps import apps
from django.core.checks.registry import registry as checks
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import registry
from mcp_channels.apps import MCPChannelsConfig
from mcp_channels.checks import check_registry, check_settings

ROOT = Path(__file__).resolve().parents[1]

TOOL = """
    from mcp_channels import tool

    @tool
    def {name}() -> str:
        '''Say it.'''
        return "it"
"""

HOOK = """
    from django.apps import AppConfig

    class ShelfConfig(AppConfig):
        name = "shelf"

        def mcp_register(self, registry):
            @registry.tool
            def hooked() -> str:
                return "it"
"""

SETTINGS = """
    SECRET_KEY = "for one test"
    ALLOWED_HOSTS = ["testserver"]
    INSTALLED_APPS = [
        "django.contrib.auth", "django.contrib.contenttypes", "mcp_channels", {apps}
    ]
    ASGI_APPLICATION = "asgi.application"
    MCP_CHANNELS = {given!r}
"""


class Site:
    """A Django project that lives for one test, in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.apps: list[str] = []

    def add_app(self, name: str, **modules: str) -> None:
        app = self.folder / name
        app.mkdir()
        app.joinpath("__init__.py").touch()
        for module, source in modules.items():
            app.joinpath(f"{module}.py").write_text(dedent(source))
        self.apps.append(name)

    def run(
        self, *arguments: str, given: object = None
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with these settings for MCP_CHANNELS."""
        names = ", ".join(map(repr, self.apps))
        settings = dedent(SETTINGS).format(apps=names, given=given or {})
        self.folder.joinpath("site_settings.py").write_text(settings)
        return subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "site_settings",
                "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def shelf(
    site: Site, monkeypatch: pytest.MonkeyPatch, settings: DjangoSettings
) -> Iterator[Site]:
    """Let an app `shelf` be imported here, and forget it and its tools afterwards."""
    monkeypatch.syspath_prepend(site.folder)
    before = set(registry.tools)
    yield site
    for name in set(registry.tools) - before:
        registry.remove(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shelf"]:
        del sys.modules[name]


# Starting


def test_tools_are_found_when_django_starts(site: Site) -> None:
    site.add_app("shelf", mcp=TOOL.format(name="discovered"), apps=HOOK)
    site.add_app("silent")

    run = site.run(
        "-c",
        "import django; django.setup(); from mcp_channels import registry;"
        "print(*(tool.place for tool in registry.tools.values()))",
    )

    assert run.stderr == ""
    assert run.stdout.split() == [
        "shelf.mcp.discovered",
        "shelf.apps.ShelfConfig.mcp_register.<locals>.hooked",
    ]


def test_two_tools_of_one_name_stop_the_start(site: Site) -> None:
    site.add_app("shelf", mcp=TOOL.format(name="greet"))
    site.add_app("door", mcp=TOOL.format(name="greet"))

    run = site.run("-m", "django", "check")

    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "mcp_channels.server.registry.AlreadyRegistered: Two tools are called 'greet': "
        "shelf.mcp.greet and door.mcp.greet. Give one another name, as in "
        "@tool(name=...)."
    )


def test_a_tool_that_cannot_be_offered_stops_the_start(site: Site) -> None:
    site.add_app(
        "shelf", mcp=TOOL.format(name="greet").replace("@tool", "@tool(name='a b')")
    )

    run = site.run("-m", "django", "check")

    assert run.returncode == 1
    assert "Tool name 'a b' is invalid: use 1 to 128 letters" in run.stderr


def test_a_broken_module_stops_the_start(site: Site) -> None:
    site.add_app("shelf", mcp="import no_such_module")

    run = site.run("-m", "django", "check")

    assert run.returncode == 1
    assert "No module named 'no_such_module'" in run.stderr


def test_wrong_settings_stop_commands_with_the_words_of_the_check(site: Site) -> None:
    site.add_app("shelf", mcp=TOOL.format(name="greet"))

    run = site.run("-m", "django", "check", given={"PAGE_SIZE": 0, "COLOUR": "red"})

    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "?: (mcp_channels.E001) MCP_CHANNELS: 'COLOUR' is not" in run.stderr
    assert "?: (mcp_channels.E001) MCP_CHANNELS: PAGE_SIZE must be" in run.stderr


# In this process, which has started already


def test_checks_are_registered() -> None:
    assert {check_settings, check_registry} <= checks.registered_checks


def test_an_app_is_searched_for_tools(shelf: Site, settings: DjangoSettings) -> None:
    shelf.add_app("shelf", mcp=TOOL.format(name="discovered"))

    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "shelf"]

    assert registry.tools["discovered"].place == "shelf.mcp.discovered"


def test_an_app_config_is_asked_once(shelf: Site, settings: DjangoSettings) -> None:
    shelf.add_app("shelf", apps=HOOK)

    # Django starts all apps again each time, and would be told of a duplicate.
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "shelf"]
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.humanize"]

    assert "hooked" in registry.tools


def test_nothing_is_searched_while_the_settings_are_wrong(
    shelf: Site, settings: DjangoSettings
) -> None:
    shelf.add_app("shelf", mcp=TOOL.format(name="discovered"), apps=HOOK)
    settings.MCP_CHANNELS = {"AUTODISCOVER_MODULE": None}

    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "shelf"]

    assert not {"discovered", "hooked"} & set(registry.tools)


def test_the_app_is_known_by_its_name() -> None:
    config = apps.get_app_config("mcp_channels")

    assert type(config) is MCPChannelsConfig
    assert str(config.verbose_name) == "MCP server"
