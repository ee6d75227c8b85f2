"""What a server says of itself decides which methods it has."""

import msgspec
import pytest
from msgspec import UNSET

from mcp_channels.protocol.description import ServerDescription
from mcp_channels.protocol.methods import TASKS_EXTENSION, find_request
from mcp_channels.protocol.types import (
    Implementation,
    PromptsCapability,
    ResourcesCapability,
    ServerCapabilities,
    ToolsCapability,
)
from mcp_channels.protocol.versions import Revision

LEGACY, MODERN = Revision.V2025_11_25, Revision.V2026_07_28


def describe(**capabilities: object) -> ServerDescription:
    return ServerDescription(
        info=Implementation("shop", "1"),
        capabilities=ServerCapabilities(**capabilities),
    )


def offers(description: ServerDescription, name: str, revision: Revision) -> bool:
    method = find_request(name, revision)
    assert method is not None
    return description.offers(method, revision)


def test_nothing_is_offered_that_is_not_said() -> None:
    description = describe()

    assert description.offered == frozenset()
    assert description.instructions is UNSET


def test_capabilities_are_known_by_dotted_names() -> None:
    description = describe(
        tools=ToolsCapability(list_changed=True),
        resources=ResourcesCapability(subscribe=True),
        logging={},
        extensions={"io.modelcontextprotocol/ui": {}},
    )

    assert description.offered == {
        "tools",
        "tools.listChanged",
        "resources",
        "resources.subscribe",
        "logging",
        "extensions",
        "extensions.io.modelcontextprotocol/ui",
    }


def test_capability_that_is_false_is_not_offered() -> None:
    description = describe(
        tools=ToolsCapability(list_changed=False),
        resources=ResourcesCapability(list_changed=False, subscribe=False),
    )

    assert description.offered == {"tools", "resources"}


def test_capability_that_is_no_object_has_no_parts() -> None:
    assert describe(logging=True).offered == {"logging"}


def test_stamp_names_the_server() -> None:
    stamp = describe().stamp

    assert msgspec.json.decode(msgspec.json.encode(stamp)) == {
        "io.modelcontextprotocol/serverInfo": {"name": "shop", "version": "1"}
    }


@pytest.mark.parametrize("revision", [LEGACY, MODERN])
def test_method_needs_its_capability(revision: Revision) -> None:
    offering = describe(
        tools=ToolsCapability(), resources=ResourcesCapability(), logging={}
    )

    assert offers(offering, "tools/call", revision)
    assert not offers(describe(), "tools/call", revision)
    assert not offers(offering, "prompts/list", revision)


def test_method_without_capability_is_always_offered() -> None:
    assert offers(describe(), "ping", LEGACY)
    assert offers(describe(), "server/discover", MODERN)


def test_subscribing_needs_its_part_of_a_capability() -> None:
    method = "resources/subscribe"

    assert not offers(describe(resources=ResourcesCapability()), method, LEGACY)
    assert offers(
        describe(resources=ResourcesCapability(subscribe=True)), method, LEGACY
    )


@pytest.mark.parametrize(
    ("capabilities", "is_offered"),
    [
        ({}, False),
        ({"tools": ToolsCapability(), "logging": {}}, False),
        ({"tools": ToolsCapability(list_changed=True)}, True),
        ({"prompts": PromptsCapability(list_changed=True)}, True),
        ({"resources": ResourcesCapability(list_changed=True)}, True),
        ({"resources": ResourcesCapability(subscribe=True)}, True),
        ({"extensions": {TASKS_EXTENSION: {}}}, True),
    ],
)
def test_listening_needs_something_to_be_told(
    capabilities: dict[str, object], is_offered: bool
) -> None:
    description = describe(**capabilities)

    assert offers(description, "subscriptions/listen", MODERN) is is_offered


def test_extension_is_needed_in_its_era_only() -> None:
    extension = describe(extensions={TASKS_EXTENSION: {}})
    core = describe(tasks={"cancel": {}, "list": {}})

    assert offers(extension, "tasks/get", MODERN)
    assert not offers(extension, "tasks/get", LEGACY)
    assert offers(core, "tasks/get", LEGACY)
    assert not offers(core, "tasks/get", MODERN)
