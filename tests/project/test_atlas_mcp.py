import msgspec
import pytest

from mcp_channels import registry
from mcp_channels.server.prompts import Prompt
from mcp_channels.server.resources import Resource, ResourceTemplate
from project.atlas.mcp import cities, countries, trips
from tests.project.contexts import FakeContext

VERBS = ("create", "update", "delete")
WRITING = {
    *("plan_trip", "cancel_trip"),
    *(f"{verb}_{noun}" for verb in VERBS for noun in ("trip", "stop")),
    "bulk_create_stops",
}


def offered(kind):
    """What the atlas offers of a kind, by key."""
    return {
        primitive.key: primitive.definition
        for primitive in registry.primitives
        if isinstance(primitive, kind)
        and primitive.function.__module__.startswith("project.atlas.mcp.")
    }


def test_every_tool_is_registered_and_says_what_it_does():
    tools = {
        name: tool.definition
        for name, tool in registry.tools.items()
        if tool.function.__module__.startswith("project.atlas.mcp.")
    }

    assert len(tools) == 30
    for name, definition in tools.items():
        hints = definition.annotations
        assert hints.read_only_hint is (name not in WRITING), name
        assert hints.open_world_hint is False, name
        assert definition.title, name
        assert definition.output_schema["type"] == "object", name
        for argument in definition.input_schema["properties"].values():
            assert argument["description"], name
    assert tools["plan_trip"].annotations.destructive_hint is False
    assert tools["cancel_trip"].annotations.destructive_hint is True


def test_every_resource_says_what_it_is():
    resources = offered((Resource, ResourceTemplate))

    assert sorted(resources) == [
        "atlas://countries",
        "atlas://countries/{code}",
        "atlas://countries/{code}/map.png",
        "atlas://trips/{id}",
    ]
    for uri, definition in resources.items():
        assert definition.title, uri
        assert definition.description, uri
        assert definition.mime_type, uri


def test_every_prompt_says_what_it_is_for():
    prompts = offered(Prompt)

    assert sorted(prompts) == ["country_briefing", "plan_holiday"]
    for name, definition in prompts.items():
        assert definition.title, name
        assert definition.description, name
        for argument in definition.arguments:
            assert argument.description, (name, argument.name)


@pytest.mark.usefixtures("atlas")
def test_results_have_a_json_form(make_user):
    results = [
        cities.find_city("Lisbon"),
        cities.nearest_cities(city="Lisbon"),
        cities.time_difference("Lisbon", "Tokyo"),
        cities.sunrise_sunset("Lisbon"),
        countries.country_profile("PT"),
        countries.compare_countries(["PT", "ES"]),
        trips.my_trips(FakeContext(make_user("ada"))),
    ]

    for result in results:
        again = msgspec.json.decode(msgspec.json.encode(result), type=type(result))
        assert again == result
