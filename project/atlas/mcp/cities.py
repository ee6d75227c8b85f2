"""Cities as tools: find them, measure between them, ask their clocks and the sun."""

import asyncio
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Annotated
from zoneinfo import ZoneInfo

from django.db.models import Q
from msgspec import Meta

from mcp_channels import ClientRefused, Context, TextContent, ToolError, tool
from project.atlas import gazetteer, geography, sun
from project.atlas.mcp.places import (
    CityReference,
    CountryReference,
    get_cities,
    get_city,
    get_country,
)
from project.atlas.models import City
from project.atlas.results import (
    CityDescription,
    CityDetails,
    CitySearch,
    Leg,
    LocalTime,
    Nearby,
    NearbyCity,
    Place,
    Route,
    SunTimes,
    TimeDifference,
    coordinates,
)

# A leg costs microseconds to measure. The pause makes route_length as slow as tools
# that ask other services are, so that there is progress to watch and time to cancel.
SECONDS_PER_LEG = 0.25


@tool(title="Find a city", read_only=True, open_world=False)
def find_city(
    name: Annotated[str, Meta(min_length=1, max_length=100)],
    country: CountryReference | None = None,
    limit: Annotated[int, Meta(ge=1, le=50)] = 10,
) -> CitySearch:
    """
    Find cities by name, or by the beginning of a name, in any language.

    Knows cities of 15,000 people and more. Exact matches come first, then the larger
    cities; when nothing matches, `similar` lists cities that are spelled almost so.
    The geonameid of a result can be passed to every tool that takes a city.

    Args:
        name: a name or its beginning, such as "Lisbon", "Lisboa" or "San J".
        country: only cities of this country: English name or ISO code.
        limit: how many cities to list at most.
    """
    only = get_country(country) if country is not None else None
    cities, total = gazetteer.find_cities(name, only, limit=limit)
    similar = [] if cities else gazetteer.similar_cities(name)
    return CitySearch(
        cities=[CityDetails.of(city) for city in cities],
        total=total,
        similar=[CityDetails.of(city) for city in similar],
    )


@tool(title="Cities nearby", read_only=True, open_world=False)
def nearest_cities(
    city: CityReference | None = None,
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None,
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None,
    radius_km: Annotated[float, Meta(gt=0, le=1000)] = 100,
    min_population: Annotated[int, Meta(ge=0)] = 0,
    limit: Annotated[int, Meta(ge=1, le=50)] = 10,
) -> Nearby:
    """
    List the cities around a city or a point, the nearest first.

    Give either `city` or both `latitude` and `longitude`. A city is not listed among
    its own neighbours. Distances are great circles in kilometres.

    Args:
        city: the centre: name, name with country, or geonameid.
        latitude: of the centre, in degrees, north is positive.
        longitude: of the centre, in degrees, east is positive.
        radius_km: how far to look, in kilometres.
        min_population: leave out cities with fewer people.
        limit: how many cities to list at most.
    """
    centre = get_city(city) if city is not None else None
    if centre is not None and latitude is None and longitude is None:
        point = coordinates(centre)
    elif centre is None and latitude is not None and longitude is not None:
        point = latitude, longitude
    else:
        raise ToolError("Give either city, or both latitude and longitude.")
    # The index finds what is in the box; what is in the circle has to be measured.
    area = geography.Area.around(point, radius_km)
    within = Q()
    for west, east in area.longitudes:
        within |= Q(longitude__range=(west, east))
    cities = City.objects.filter(
        within,
        latitude__range=(area.south, area.north),
        population__gte=min_population,
    ).select_related("country")
    measured = sorted(
        (
            (kilometres, other)
            for other in cities
            if other != centre
            and (kilometres := geography.distance(point, coordinates(other)))
            <= radius_km
        ),
        key=lambda pair: (pair[0], pair[1].pk),
    )
    return Nearby(
        latitude=point[0],
        longitude=point[1],
        radius_km=radius_km,
        cities=[
            NearbyCity(
                city=CityDetails.of(other),
                distance_km=round(kilometres, 1),
                direction=geography.compass_point(
                    geography.bearing(point, coordinates(other))
                ),
            )
            for kilometres, other in measured[:limit]
        ],
        total=len(measured),
    )


@tool(title="Distance between two cities", read_only=True, open_world=False)
async def distance_between(origin: CityReference, destination: CityReference) -> Leg:
    """
    Measure the great circle between two cities, in kilometres and miles.

    This is the shortest way through the air, within 0.5 %; roads are longer. Also
    says in which direction one leaves.

    Args:
        origin: name, name with country, or geonameid.
        destination: name, name with country, or geonameid.
    """
    return Leg.between(*await get_cities([origin, destination]))


@tool(title="Length of a route", read_only=True, open_world=False)
async def route_length(
    context: Context,
    stops: Annotated[list[CityReference], Meta(min_length=2, max_length=50)],
    round_trip: bool = False,
) -> Route:
    """
    Add up the great circles along a route, leg by leg.

    Takes about a quarter of a second per leg, tells its progress after each, and can
    be cancelled. Distances are in kilometres and miles, and not those of roads.

    Args:
        stops: 2 to 50 cities in the order of travel: names, names with country, or
            geonameids.
        round_trip: also go back from the last city to the first.
    """
    cities = await get_cities(stops)
    if round_trip:
        cities.append(cities[0])
    context.log("info", f"Measuring a route of {len(cities) - 1} legs.")
    legs = []
    for origin, destination in pairwise(cities):
        await asyncio.sleep(SECONDS_PER_LEG)
        leg = Leg.between(origin, destination)
        legs.append(leg)
        context.progress(
            len(legs),
            total=len(cities) - 1,
            message=f"{origin.name} to {destination.name}: {leg.distance_km:,.0f} km",
        )
    return Route.along(legs)


@tool(title="Time difference", read_only=True, open_world=False)
def time_difference(
    origin: CityReference,
    destination: CityReference,
    at: datetime | None = None,
) -> TimeDifference:
    """
    Compare the clocks of two cities at some moment, daylight saving included.

    Args:
        origin: name, name with country, or geonameid.
        destination: name, name with country, or geonameid.
        at: when, as ISO 8601, from 1950 to 2100. Without an offset it is the origin's
            local time. Now, if left out.
    """
    one, other = get_city(origin), get_city(destination)
    zone = ZoneInfo(one.timezone)
    moment = datetime.now(UTC) if at is None else at
    if not 1950 <= moment.year <= 2100:
        raise ToolError(f"The year {moment.year} is out of range: use 1950 to 2100.")
    moment = moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)
    here = local_time(one, moment)
    there = local_time(other, moment)
    minutes = there.utc_offset_minutes - here.utc_offset_minutes
    return TimeDifference(
        origin=here,
        destination=there,
        difference_minutes=minutes,
        summary=f"{other.name} {ahead(minutes)} {one.name}.",
    )


@tool(title="Sunrise and sunset", read_only=True, open_world=False)
def sunrise_sunset(city: CityReference, on: date | None = None) -> SunTimes:
    """
    Compute sunrise, solar noon, sunset and the length of the day in a city.

    Times are local, for a flat horizon, and good to about two minutes, near the poles
    somewhat less. In the polar day and night there is no sunrise and no sunset.

    Args:
        city: name, name with country, or geonameid.
        on: the local date, from 1950 to 2100. Today there, if left out.
    """
    place = get_city(city)
    zone = ZoneInfo(place.timezone)
    day = datetime.now(zone).date() if on is None else on
    if not 1950 <= day.year <= 2100:
        raise ToolError(f"The year {day.year} is out of range: use 1950 to 2100.")
    light = sun.daylight(place.latitude, place.longitude, day, zone)
    return SunTimes(
        place=Place.of(place),
        on=day,
        sunrise=light.sunrise and light.sunrise.replace(microsecond=0),
        solar_noon=light.noon.replace(microsecond=0),
        sunset=light.sunset and light.sunset.replace(microsecond=0),
        daylight_minutes=round(light.length.total_seconds() / 60),
    )


@tool(title="Describe a city", read_only=True, open_world=False)
async def describe_city(context: Context, city: CityReference) -> CityDescription:
    """
    Describe a city in two sentences, written by the client's own model.

    A client that does not lend its model gets the plain facts.

    Args:
        city: name, name with country, or geonameid.
    """
    (subject,) = await get_cities([city])
    facts = (
        f"{subject.label} has {subject.population:,} people and lies at "
        f"{subject.latitude:.2f}, {subject.longitude:.2f}."
    )
    # Asked first: only then is the model worth the question.
    if not context.capabilities.declares("sampling"):
        return CityDescription(Place.of(subject), facts, written_by=None)
    try:
        answer = await context.asample(
            f"Describe this city to a traveller in two sentences. {facts}",
            max_tokens=200,
        )
    except ClientRefused:
        # Whoever sits at the client may say no.
        return CityDescription(Place.of(subject), facts, written_by=None)
    blocks = answer.content if isinstance(answer.content, list) else [answer.content]
    text = " ".join(block.text for block in blocks if isinstance(block, TextContent))
    return CityDescription(Place.of(subject), text or facts, written_by=answer.model)


def local_time(city: City, moment: datetime) -> LocalTime:
    local = moment.astimezone(ZoneInfo(city.timezone))
    offset = local.utcoffset()
    assert offset is not None  # a ZoneInfo always knows
    return LocalTime(
        place=Place.of(city),
        timezone=city.timezone,
        local=local.replace(microsecond=0),
        utc_offset_minutes=round(offset.total_seconds() / 60),
    )


def ahead(minutes: int) -> str:
    """Say how far a clock is ahead of another, or behind it."""
    if minutes == 0:
        return "has the same time as"
    hours, rest = divmod(abs(minutes), 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest)
    return f"is {' '.join(parts)} {'ahead of' if minutes > 0 else 'behind'}"
