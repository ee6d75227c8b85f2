import msgspec
import pytest

from mcp_channels import ProtocolError
from project.atlas.mcp import prompts
from project.atlas.results import CountryProfile

pytestmark = pytest.mark.usefixtures("atlas")


def test_holiday_is_planned_with_what_was_said():
    text = prompts.plan_holiday("pt", 5, "outdoors", "Porto")

    assert text.startswith("Plan 5 days in Portugal for me. I arrive in Porto.")
    assert "mountains" in text


def test_holiday_is_planned_without_an_arrival():
    assert "arrive" not in prompts.plan_holiday("Portugal")


def test_briefing_embeds_the_country():
    embedded, question = prompts.country_briefing("Portugal")

    assert embedded.resource.uri == "atlas://countries/PT"
    facts = msgspec.json.decode(embedded.resource.text, type=CountryProfile)
    assert facts.capital == "Lisbon"
    assert "Portugal" in question


@pytest.mark.parametrize("prompt", [prompts.plan_holiday, prompts.country_briefing])
def test_unknown_country_is_the_mistake_of_the_client(prompt):
    with pytest.raises(ProtocolError, match="Did you mean Portugal") as caught:
        prompt("Portugual")
    assert caught.value.code == -32602


def test_cities_are_those_of_the_country_that_is_known():
    assert set(prompts.cities_of("par", {})) == {"Paris"}
    assert list(prompts.cities_of("PAR", {"country": "france"})) == ["Paris"]
    assert list(prompts.cities_of("par", {"country": "Portugal"})) == []
