import re
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from msgspec import UNSET

import mcp_channels
from mcp_channels.protocol.types import ToolsCapability
from mcp_channels.server import registry as module
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.permissions import Identity
from mcp_channels.server.registry import AlreadyRegistered, NotRegistered, Registry
from mcp_channels.server.tools import Tool

ANONYMOUS = Identity(AnonymousUser())
ADMIN = Identity(User(pk=1, is_superuser=True))


@pytest.fixture
def registry() -> Registry:
    return Registry()


def add(registry: Registry, *names: str, **options: Any) -> None:
    def function() -> None: ...

    for name in names:
        registry.tool(name=name, **options)(function)


def look(
    registry: Registry, identity: Identity = ANONYMOUS, size: int = 9
) -> Catalogue:
    return registry.catalogue_for(identity, page_size=size)


# Registration


def test_decorator_registers_the_function_and_returns_it(registry: Registry) -> None:
    @registry.tool
    def count() -> int:
        return 5

    assert count() == 5
    assert registry.tools["count"].function is count


def test_decorator_takes_the_options_of_a_tool(registry: Registry) -> None:
    @registry.tool(name="orders.count", title="Count", read_only=True, timeout=3)
    async def count() -> int:
        return 5

    tool = registry.tools["orders.count"]

    assert tool.function is count
    assert tool.definition.title == "Count"
    assert tool.is_read_only
    assert tool.timeout == 3


def test_decorator_of_the_package_fills_the_default_registry() -> None:
    assert mcp_channels.registry is module.registry
    assert mcp_channels.tool == module.registry.tool


def test_registries_are_apart(registry: Registry) -> None:
    add(registry, "a")

    assert not Registry().tools
    assert "a" not in module.registry.tools


def test_unknown_option_is_refused(registry: Registry) -> None:
    with pytest.raises(TypeError, match="readonly"):
        add(registry, "a", readonly=True)


def test_name_that_is_taken_is_refused_with_both_places(registry: Registry) -> None:
    def first() -> None: ...
    def second() -> None: ...

    registry.tool(name="count")(first)

    with pytest.raises(AlreadyRegistered) as refusal:
        registry.tool(name="count")(second)

    place = re.escape(
        f"{__name__}.{test_name_that_is_taken_is_refused_with_both_places.__name__}.<locals>"
    )

    assert isinstance(refusal.value, ImproperlyConfigured)
    assert re.fullmatch(
        rf"Two tools are called 'count': {place}.first and {place}.second. "
        rf"Give one another name, as in @tool\(name=...\).",
        str(refusal.value),
    )
    assert registry.tools["count"].function is first


def test_names_differ_by_case(registry: Registry) -> None:
    add(registry, "count", "Count")

    assert list(registry.tools) == ["count", "Count"]


def test_tool_is_taken_away(registry: Registry) -> None:
    add(registry, "a", "b")
    registry.remove("a")

    assert list(registry.tools) == ["b"]

    add(registry, "a")

    assert list(registry.tools) == ["b", "a"]


def test_tool_that_is_not_there_is_not_taken_away(registry: Registry) -> None:
    revision = registry.revision

    with pytest.raises(NotRegistered, match="No tool is called 'a'"):
        registry.remove("a")

    assert registry.revision == revision


def test_tools_are_changed_by_the_registry_alone(registry: Registry) -> None:
    tools: Any = registry.tools

    with pytest.raises(TypeError):
        tools["a"] = Tool(lambda: None, name="a")


def test_revision_grows_with_every_change(registry: Registry) -> None:
    revisions = [registry.revision]
    add(registry, "a")
    revisions.append(registry.revision)
    registry.remove("a")
    revisions.append(registry.revision)
    with pytest.raises(ImproperlyConfigured):
        add(registry, "no name")
    revisions.append(registry.revision)

    assert revisions == [0, 1, 2, 2]


# What is offered


def test_registry_without_tools_offers_none(registry: Registry) -> None:
    assert registry.capabilities.tools is UNSET
    assert registry.capabilities.logging == {}


def test_registry_with_tools_offers_tools(registry: Registry) -> None:
    add(registry, "a", permission="auth.view_group")

    # The same for those who see none of them.
    assert registry.capabilities.tools == ToolsCapability()


def test_permission_of_any_tool_makes_the_catalogue_depend_on_the_user(
    registry: Registry,
) -> None:
    add(registry, "a")

    assert not registry.needs_permissions

    add(registry, "b", permission="auth.view_group")

    assert registry.needs_permissions

    registry.remove("b")

    assert not registry.needs_permissions


# Catalogues


def test_catalogue_holds_what_the_identity_may_see(registry: Registry) -> None:
    add(registry, "open")
    add(registry, "secret", permission="auth.view_group")

    assert list(look(registry).tools) == ["open"]
    assert list(look(registry, ADMIN).tools) == ["open", "secret"]


def test_all_who_see_the_same_share_one_catalogue(registry: Registry) -> None:
    add(registry, "open")
    add(registry, "secret", permission="auth.view_group")
    nobody = Identity(User(pk=2, is_active=False))

    assert look(registry, nobody) is look(registry)
    assert look(registry, Identity(User(pk=3, is_superuser=True))) is look(
        registry, ADMIN
    )
    assert look(registry, ADMIN) is not look(registry)


def test_page_size_is_the_catalogues(registry: Registry) -> None:
    add(registry, "a", "b", "c")

    assert look(registry, size=2) is look(registry, size=2)
    assert look(registry, size=2) is not look(registry, size=3)
    assert look(registry, size=3).list_tools(None) is not look(
        registry, size=2
    ).list_tools(None)


def test_change_of_the_registry_makes_a_new_catalogue(registry: Registry) -> None:
    add(registry, "a", "b")
    before = look(registry)
    registry.remove("b")
    registry.tool(name="b", title="Another")(lambda: None)
    after = look(registry)

    assert after is not before
    assert before.tools["b"].definition.title is UNSET
    assert after.tools["b"].definition.title == "Another"


def test_catalogue_of_an_open_connection_does_not_change(registry: Registry) -> None:
    add(registry, "a")
    before = look(registry)
    add(registry, "b")

    assert list(before.tools) == ["a"]
    assert list(look(registry).tools) == ["a", "b"]
