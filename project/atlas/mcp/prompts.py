"""Prompts: what a traveller picks from a menu, and the model then reads."""

from typing import Annotated, Literal

import msgspec
from django.db.models import QuerySet
from msgspec import Meta

from mcp_channels import EmbeddedResource, ProtocolError, ResourceContents, prompt
from project.atlas import gazetteer
from project.atlas.mcp.countries import COUNTRY, profile
from project.atlas.models import City, Country

INVALID_PARAMS = -32602  # JSON-RPC's code for an argument that cannot be right

NAMES = Country.objects.values_list("name", flat=True)

STYLES = {
    "quiet": "small towns, museums and long breakfasts",
    "lively": "large cities, markets and music at night",
    "outdoors": "mountains, coasts and nights in huts",
}


def cities_of(value: str, arguments: dict[str, str]) -> QuerySet[City, str]:
    """Complete a city; of the country, if that is known already."""
    cities = City.objects.filter(name__istartswith=value)
    if "country" in arguments:
        cities = cities.filter(country__name__iexact=arguments["country"])
    return cities.values_list("name", flat=True)


@prompt(title="Plan a holiday", complete={"country": NAMES, "start": cities_of})
def plan_holiday(
    country: str,
    days: Annotated[int, Meta(ge=1, le=60)] = 7,
    style: Literal["quiet", "lively", "outdoors"] = "quiet",
    start: str | None = None,
) -> str:
    """
    Have a holiday in one country planned, city by city.

    Args:
        country: where to go: English name or ISO code.
        days: how many days there are, from 1 to 60. 7, if left out.
        style: quiet, lively or outdoors. Quiet, if left out.
        start: the city to arrive in.
    """
    subject = get_country(country)
    arrival = f" I arrive in {start}." if start else ""
    return (
        f"Plan {days} days in {subject.name} for me.{arrival} I like {STYLES[style]}. "
        "Choose the cities with country_profile and nearest_cities, keep the way short "
        "with route_length, and when I agree write it down with plan_trip."
    )


@prompt(title="Country briefing", complete={"country": NAMES})
def country_briefing(country: str) -> list[EmbeddedResource | str]:
    """
    Have a country explained, with the facts of the atlas at hand.

    Args:
        country: English name or ISO code.
    """
    subject = get_country(country)
    facts = msgspec.json.encode(profile(subject)).decode()
    contents = ResourceContents(
        COUNTRY.format(code=subject.code), text=facts, mime_type="application/json"
    )
    question = f"What should a traveller know about {subject.name}? Use these facts."
    return [EmbeddedResource(contents), question]


def get_country(reference: str) -> Country:
    """Get the country meant. Raise ProtocolError when there is none."""
    try:
        return gazetteer.get_country(reference)
    except gazetteer.PlaceNotFound as exc:
        raise ProtocolError(str(exc), code=INVALID_PARAMS) from None
