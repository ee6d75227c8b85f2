import re
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.checks import CheckMessage, run_checks
from django.db import connection
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import ModelTools, checks, register
from mcp_channels.models import Endpoint, PrimitiveSetting
from mcp_channels.server.registry import Registry
from tests.shop.models import Customer, Tag


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Take the place of the registry that is checked."""
    registry = Registry()
    monkeypatch.setattr(checks, "registry", registry)
    return registry


def check() -> list[CheckMessage]:
    """Run what `manage.py check` runs, and return what this package finds."""
    # Without databases: since Django 6.1 the models of others would be asked what
    # theirs can do.
    found = run_checks(databases=[])
    return [one for one in found if "mcp_channels." in str(one.id)]


def described() -> None:
    """Say what it does."""


def undescribed() -> None: ...


def test_a_right_site_has_nothing_to_hear(registry: Registry) -> None:
    registry.tool(described, read_only=True)

    assert check() == []


def test_every_wrong_setting_is_an_error(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"PAGE_SIZE": 0, "COLOUR": "red"}

    found = check()

    assert [(one.id, one.msg) for one in found] == [
        ("mcp_channels.E001", "MCP_CHANNELS: 'COLOUR' is not a setting."),
        ("mcp_channels.E001", "MCP_CHANNELS: PAGE_SIZE must be at least 1."),
    ]
    assert all(one.is_serious() for one in found)


async def coroutine() -> None: ...


NO_FUNCTION = 5


@pytest.mark.parametrize(
    "path",
    [
        "no.such.module",
        "nothing",
        "mcp_channels.tokens.no_such",
        f"{__name__}.NO_FUNCTION",
        f"{__name__}.coroutine",
    ],
)
def test_authenticator_that_cannot_be_called_is_an_error(
    settings: DjangoSettings, path: str
) -> None:
    settings.MCP_CHANNELS = {
        "AUTHENTICATORS": ["mcp_channels.tokens.authenticate", path]
    }
    (found,) = check()

    assert found.id == "mcp_channels.E002"
    assert repr(path) in found.msg


def test_cache_that_does_not_exist_is_an_error(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"CACHE": "redis"}
    (found,) = check()

    assert (found.id, found.msg) == (
        "mcp_channels.E002",
        "CACHE: 'redis' is none of CACHES.",
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("databases", "tables", "ids"),
    [
        (None, [], []),
        ([], [], []),
        (["other"], [], []),
        (["default"], [], ["mcp_channels.W004"]),
        (["default"], ["mcp_channels_endpoint"], []),
    ],
)
def test_tables_are_missed_where_databases_are_checked(
    monkeypatch: pytest.MonkeyPatch, databases: Any, tables: Any, ids: list[str]
) -> None:
    monkeypatch.setattr(
        connection.introspection, "table_names", lambda *args, **kwargs: tables
    )
    found = checks.check_tables(None, databases=databases)

    assert [one.id for one in found] == ids
    assert not any(one.is_serious() for one in found)


@pytest.mark.django_db
def test_database_is_checked_when_django_is_asked_to() -> None:
    assert run_checks(tags=["database"], databases=["default"]) == []


def test_wrong_settings_are_no_reason_to_fail_at_the_registry(
    registry: Registry, settings: DjangoSettings
) -> None:
    registry.tool(undescribed)
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": 5}

    assert [one.id for one in check()] == ["mcp_channels.E001"]


def test_a_tool_without_a_description_is_named(registry: Registry) -> None:
    registry.tool(undescribed, read_only=True)
    registry.tool(undescribed, name="said", description="Say it.", read_only=True)

    (found,) = check()

    assert found.id == "mcp_channels.W001"
    assert found.msg == "Tool 'undescribed' has no description."
    assert found.hint is not None and "docstring" in found.hint
    assert found.obj == f"{__name__}.undescribed"
    assert not found.is_serious()


@pytest.mark.parametrize(
    ("is_open", "options", "is_found"),
    [
        (True, {}, True),
        (True, {"read_only": False}, True),
        (True, {"destructive": False}, True),
        (True, {"read_only": True}, False),
        (True, {"permission": "shop.change_order"}, False),
        (False, {}, False),
    ],
)
def test_a_tool_that_writes_for_anybody_is_named(
    registry: Registry,
    settings: DjangoSettings,
    is_open: bool,
    options: dict[str, Any],
    is_found: bool,
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": is_open}
    registry.tool(described, **options)

    found = check()

    assert [one.id for one in found] == ["mcp_channels.W002"] * is_found
    for one in found:
        assert one.msg == "Tool 'described' may be called by anybody, and may write."
        assert one.hint is not None and "read_only=True" in one.hint
        assert one.obj == f"{__name__}.described"


@pytest.mark.parametrize("is_absent", [True, False])
def test_a_site_that_cannot_speak_websocket_is_told(
    settings: DjangoSettings, is_absent: bool
) -> None:
    settings.ASGI_APPLICATION = None
    if is_absent:
        del settings.ASGI_APPLICATION

    (found,) = check()

    assert found.id == "mcp_channels.W003"
    assert found.msg == "ASGI_APPLICATION is not set."
    assert found.hint is not None and "asgi.py" in found.hint


class TagTools(ModelTools):
    fields = ["name"]


def test_model_that_is_exposed_well_has_nothing_to_hear(registry: Registry) -> None:
    register(Tag, registry=registry)(TagTools)

    assert check() == []


def test_everything_wrong_with_a_model_is_an_error(registry: Registry) -> None:
    class Tools(ModelTools):
        fields = ["name", "colour"]
        filters = {"name": ["regex"]}
        page_size = 0

    register(Tag, registry=registry)(Tools)
    found = check()

    place = f"{__name__}.test_everything_wrong_with_a_model_is_an_error.<locals>.Tools"
    assert [one.id for one in found] == ["mcp_channels.E003"] * 3
    for one, word in zip(found, ("page_size", "'colour'", "regex"), strict=True):
        assert one.msg.startswith(f"{place}: ")
        assert word in one.msg
        assert one.hint == "Nothing of the model is exposed until this is mended."
        assert one.obj == "shop.tag"
        assert one.is_serious()
    assert registry.tools == {}


def test_field_that_looks_secret_is_named(registry: Registry) -> None:
    class Tools(ModelTools):
        fields = ["name", "api_token", "owner__password"]

    register(Customer, registry=registry)(Tools)
    found = check()

    assert [(one.id, one.obj) for one in found] == [
        ("mcp_channels.W007", "shop.customer"),
        ("mcp_channels.W007", "shop.customer"),
    ]
    for one, path in zip(found, ("api_token", "owner__password"), strict=True):
        assert f"the field {path!r} looks as if it held a secret" in one.msg
        assert one.hint is not None and "silence this check" in one.hint
        assert not one.is_serious()


@pytest.mark.django_db
def test_ids_are_those_that_the_module_lists(
    registry: Registry, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tools(ModelTools):
        fields = ["api_token", "colour"]

    register(Customer, registry=registry)(Tools)
    registry.tool(undescribed)
    settings.ASGI_APPLICATION = None
    warnings = {one.id for one in check()}
    settings.MCP_CHANNELS = {"PAGE_SIZE": 0}
    errors = {one.id for one in check()} - warnings
    settings.MCP_CHANNELS = {"CACHE": "none"}
    errors |= {one.id for one in check()} - warnings
    monkeypatch.setattr(checks, "is_migrated", lambda: False)
    (missing,) = checks.check_tables(None, databases=["default"])
    warnings.add(missing.id)
    monkeypatch.undo()
    Endpoint.objects.create(groups=["none"])
    Endpoint.objects.create(slug="open", allow_anonymous=True)
    monkeypatch.setattr(checks, "registry", registry)
    settings.MCP_CHANNELS = {}
    warnings |= {one.id for one in checks.check_rows(None, databases=["default"])}

    assert errors | warnings == {
        f"mcp_channels.{id}" for id in re.findall(r"\b[EW]\d{3}\b", checks.__doc__)
    }


# Rows


@pytest.fixture
def rows(db: None, no_rows: Any, registry: Registry) -> None:
    no_rows.undo()
    registry.tool(described, name="count", read_only=True)
    registry.tool(described, name="refund")
    registry.tool(described, name="pay", permission="shop.pay")


def check_rows() -> list[tuple[str, str]]:
    return [
        (str(one.id), one.msg) for one in checks.check_rows(None, databases=["default"])
    ]


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    ("options", "is_named"),
    [
        ({"allow_anonymous": True}, True),
        ({}, False),
        ({"allow_anonymous": True, "enabled": False}, False),
        ({"allow_anonymous": True, "read_only": True}, False),
        ({"allow_anonymous": True, "selection": "chosen"}, False),
    ],
)
def test_endpoint_where_anybody_may_write_is_named(
    options: Any, is_named: bool
) -> None:
    Endpoint.objects.create(slug="shop", **options)
    message = "Endpoint 'shop' lets anybody call what may write: refund."

    assert check_rows() == ([("mcp_channels.W005", message)] if is_named else [])


@pytest.mark.usefixtures("rows")
def test_what_is_required_must_exist() -> None:
    Group.objects.create(name="editors")
    Endpoint.objects.create(slug="a", groups=["editors"])
    Endpoint.objects.create(slug="b", groups=["editors", "nobody"])
    PrimitiveSetting.objects.create(
        kind="tool", key="count", permission="auth.view_user"
    )
    PrimitiveSetting.objects.create(
        kind="tool", key="refund", permission="auth.no_such", groups=["none"]
    )
    PrimitiveSetting.objects.create(kind="tool", key="pay", enabled=False)

    assert check_rows() == [
        ("mcp_channels.W006", "Endpoint 'b' requires what does not exist: nobody."),
        (
            "mcp_channels.W006",
            "Tool 'refund' requires what does not exist: auth.no_such, none.",
        ),
    ]


@pytest.mark.usefixtures("rows")
def test_rows_are_checked_where_the_database_is(settings: DjangoSettings) -> None:
    Endpoint.objects.create(slug="b", groups=["nobody"])

    assert checks.check_rows(None) == []
    assert checks.check_rows(None, databases=["other"]) == []
    assert len(checks.check_rows(None, databases=["default"])) == 1
    settings.MCP_CHANNELS = {"PAGE_SIZE": 0}
    assert checks.check_rows(None, databases=["default"]) == []


@pytest.mark.usefixtures("rows")
def test_rows_are_not_checked_without_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    Endpoint.objects.create(slug="b", groups=["nobody"])
    monkeypatch.setattr(checks, "is_migrated", lambda: False)

    assert checks.check_rows(None, databases=["default"]) == []
