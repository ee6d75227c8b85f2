"""Countries: tools to look them up and compare them, resources to read them."""

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta

from mcp_channels import Annotations, Resource, ToolError, resource, tool
from project.atlas.dots import draw_dots
from project.atlas.mcp.places import CountryReference, get_country
from project.atlas.models import City, Country
from project.atlas.results import (
    Comparison,
    CountryProfile,
    CountrySummary,
    RankedCountry,
    coordinates,
)

COUNTRY = "atlas://countries/{code}"
# Seconds that a client may keep what it has read: GeoNames changes by the month.
FRESH = 3600

CODES = Country.objects.order_by("code").values_list("code", flat=True)


@tool(title="Country profile", read_only=True, open_world=False)
def country_profile(country: CountryReference) -> CountryProfile:
    """
    Describe a country: capital, people, money, languages, neighbours, large cities.

    Populations are GeoNames' estimates. Languages are BCP 47 tags, the most spoken
    first.

    Args:
        country: English name or ISO code, such as "Portugal", "PT" or "PRT".
    """
    return profile(get_country(country))


FIGURES: dict[str, tuple[str, Callable[[Country], float | None]]] = {
    "population": ("people", lambda country: country.population),
    "area": ("km²", lambda country: country.area),
    "density": ("people per km²", lambda country: country.density),
}


@tool(title="Compare countries", read_only=True, open_world=False)
def compare_countries(
    countries: Annotated[list[CountryReference], Meta(min_length=2, max_length=20)],
    by: Literal["population", "area", "density"] = "population",
) -> Comparison:
    """
    Rank countries by population, area or density, the largest first.

    Args:
        countries: 2 to 20 countries: English names or ISO codes.
        by: what to compare. Density is people per square kilometre.
    """
    found = {subject.code: subject for subject in map(get_country, countries)}
    if len(found) < 2:
        raise ToolError("Those are all the same country. Name at least two.")
    unit, figure = FIGURES[by]
    values = [(figure(subject), subject) for subject in found.values()]
    values.sort(key=lambda pair: (-(pair[0] or 0), pair[1].name))
    first = values[0][0]
    return Comparison(
        by=by,
        unit=unit,
        ranking=[
            RankedCountry(
                rank=rank,
                code=subject.code,
                name=subject.name,
                value=value,
                share_of_first=round(value / first, 4) if value and first else None,
            )
            for rank, (value, subject) in enumerate(values, start=1)
        ],
    )


@resource(
    "atlas://countries",
    title="All countries",
    mime_type="application/json",
    ttl=FRESH,
    cache_scope="public",
)
def countries() -> list[CountrySummary]:
    """Every country with its code, its capital, its people, and where more is."""
    return [
        CountrySummary(
            code=subject.code,
            name=subject.name,
            capital=subject.capital or None,
            continent=subject.get_continent_display(),
            population=subject.population,
            uri=COUNTRY.format(code=subject.code),
        )
        for subject in Country.objects.all()
    ]


def every_country() -> list[Resource]:
    return [
        Resource(
            uri=COUNTRY.format(code=code),
            name=code,
            title=name,
            mime_type="application/json",
        )
        for code, name in Country.objects.values_list("code", "name")
    ]


@resource(
    COUNTRY,
    title="A country",
    mime_type="application/json",
    complete={"code": CODES},
    list=every_country,
    ttl=FRESH,
    cache_scope="public",
)
def country(code: str) -> CountryProfile:
    """A country: capital, people, money, languages, neighbours, large cities."""
    return profile(Country.objects.get(code=code))


@resource(
    "atlas://countries/{code}/map.png",
    title="Map of a country",
    mime_type="image/png",
    complete={"code": CODES},
    annotations=Annotations(audience=["user"], priority=0.3),
    ttl=FRESH,
    cache_scope="public",
)
def country_map(code: str) -> bytes | None:
    """The cities of a country as dots, north at the top."""
    # None is not found: there is no map of a country without cities.
    points = [coordinates(city) for city in City.objects.filter(country_id=code)]
    return draw_dots(points) if points else None


def profile(country: Country) -> CountryProfile:
    cities = country.cities.select_related("country")
    return CountryProfile.of(
        country,
        neighbours=list(country.neighbours.all()),
        largest_cities=list(cities[:5]),
        cities_total=cities.count(),
    )
