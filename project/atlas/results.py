"""
What the atlas's tools answer with.

Names say the units: kilometres, square kilometres, minutes. Moments carry the offset
of the place they belong to.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct

from project.atlas.geography import bearing, compass_point, distance
from project.atlas.models import City, Country, Trip

MILE = 1.609344  # km


class Place(Struct, kw_only=True, frozen=True):
    """The city that a reference was taken to mean."""

    geonameid: int
    name: str
    country: str

    @classmethod
    def of(cls, city: City) -> "Place":
        return Place(
            geonameid=city.pk, name=named_with_state(city), country=city.country.name
        )


class CityDetails(Place, kw_only=True, frozen=True):
    """A city of the atlas."""

    country_code: str
    latitude: float
    longitude: float
    population: int
    timezone: str

    @classmethod
    def of(cls, city: City) -> "CityDetails":
        return CityDetails(
            geonameid=city.pk,
            name=named_with_state(city),
            country=city.country.name,
            country_code=city.country.code,
            latitude=city.latitude,
            longitude=city.longitude,
            population=city.population,
            timezone=city.timezone,
        )


class CityDescription(Struct, frozen=True):
    place: Place
    text: str
    written_by: str | None  # the client's model; None for the atlas itself


class CitySearch(Struct, kw_only=True, frozen=True):
    cities: list[CityDetails]
    total: int  # how many there are; more than are listed when the limit is lower
    similar: list[CityDetails]  # with almost that name, when none has it


class NearbyCity(Struct, kw_only=True, frozen=True):
    city: CityDetails
    distance_km: float
    direction: str  # from the centre: one of sixteen points of the compass


class Nearby(Struct, kw_only=True, frozen=True):
    """Cities around a point, the nearest first."""

    latitude: float
    longitude: float
    radius_km: float
    cities: list[NearbyCity]
    total: int  # how many lie within the radius


class Leg(Struct, kw_only=True, frozen=True):
    """The great circle between two cities."""

    origin: Place
    destination: Place
    distance_km: float
    distance_miles: float
    bearing_degrees: float  # as it leaves the origin, from north over east
    direction: str

    @classmethod
    def between(cls, origin: City, destination: City) -> "Leg":
        points = coordinates(origin), coordinates(destination)
        kilometres, degrees = distance(*points), bearing(*points)
        return cls(
            origin=Place.of(origin),
            destination=Place.of(destination),
            distance_km=round(kilometres, 1),
            distance_miles=round(kilometres / MILE, 1),
            bearing_degrees=round(degrees, 1) % 360,
            direction=compass_point(degrees),
        )


class Route(Struct, kw_only=True, frozen=True):
    legs: list[Leg]
    total_km: float
    total_miles: float

    @classmethod
    def along(cls, legs: Sequence[Leg]) -> "Route":
        kilometres = sum(leg.distance_km for leg in legs)
        return cls(
            legs=list(legs),
            total_km=round(kilometres, 1),
            total_miles=round(kilometres / MILE, 1),
        )


class LocalTime(Struct, kw_only=True, frozen=True):
    place: Place
    timezone: str
    local: datetime
    utc_offset_minutes: int


class TimeDifference(Struct, kw_only=True, frozen=True):
    """One moment on the clocks of two cities."""

    origin: LocalTime
    destination: LocalTime
    difference_minutes: int  # the destination's clock minus the origin's
    summary: str


class SunTimes(Struct, kw_only=True, frozen=True):
    """The sun's day; sunrise and sunset are null in the polar day and night."""

    place: Place
    on: date
    sunrise: datetime | None
    solar_noon: datetime
    sunset: datetime | None
    daylight_minutes: int


class Neighbour(Struct, kw_only=True, frozen=True):
    code: str
    name: str


class CountryProfile(Struct, kw_only=True, frozen=True):
    code: str
    iso3: str
    name: str
    capital: str | None
    continent: str
    population: int
    area_km2: int
    density_per_km2: float | None
    currency_code: str | None
    currency_name: str | None
    calling_code: str | None
    languages: list[str]  # BCP 47 tags, the most spoken first
    neighbours: list[Neighbour]
    largest_cities: list[CityDetails]
    cities_total: int  # of 15,000 people and more

    @classmethod
    def of(
        cls,
        country: Country,
        neighbours: Sequence[Country],
        largest_cities: Sequence[City],
        cities_total: int,
    ) -> "CountryProfile":
        return cls(
            code=country.code,
            iso3=country.iso3,
            name=country.name,
            capital=country.capital or None,
            continent=country.get_continent_display(),
            population=country.population,
            area_km2=country.area,
            density_per_km2=country.density,
            currency_code=country.currency_code or None,
            currency_name=country.currency_name or None,
            calling_code=country.calling_code or None,
            languages=country.languages,
            neighbours=[
                Neighbour(code=other.code, name=other.name) for other in neighbours
            ],
            largest_cities=[CityDetails.of(city) for city in largest_cities],
            cities_total=cities_total,
        )


class CountrySummary(Struct, kw_only=True, frozen=True):
    """One line of the list of all countries; `uri` has the rest."""

    code: str
    name: str
    capital: str | None
    continent: str
    population: int
    uri: str


class RankedCountry(Struct, kw_only=True, frozen=True):
    rank: int
    code: str
    name: str
    value: float | None
    share_of_first: float | None  # 1 for the first, 0.5 for one half as large


class Comparison(Struct, kw_only=True, frozen=True):
    """Countries from the largest value down; those without a value come last."""

    by: str
    unit: str
    ranking: list[RankedCountry]


class TripStop(Struct, kw_only=True, frozen=True):
    place: Place
    arrives_on: date
    nights: int


class TripDetails(Struct, kw_only=True, frozen=True):
    id: int
    title: str
    starts_on: date
    ends_on: date
    nights: int
    stops: list[TripStop]

    @classmethod
    def of(cls, trip: Trip) -> "TripDetails":
        """Describe a trip; one query per stop unless cities were prefetched."""
        stops, day = [], trip.starts_on
        for stop in trip.stops.all():
            place = Place.of(stop.city)
            stops.append(TripStop(place=place, arrives_on=day, nights=stop.nights))
            day += timedelta(days=stop.nights)
        return cls(
            id=trip.pk,
            title=trip.title,
            starts_on=trip.starts_on,
            ends_on=day,
            nights=(day - trip.starts_on).days,
            stops=stops,
        )


class TripList(Struct, kw_only=True, frozen=True):
    """The trips of the signed-in user, the earliest first."""

    trips: list[TripDetails]


class CancelledTrip(Struct, kw_only=True, frozen=True):
    id: int
    title: str
    reason: str
    trips_left: int  # of the same traveller


class ExportedTrip(Struct, kw_only=True, frozen=True):
    id: int
    text: str  # Markdown
    places: list[str]  # URIs of files where the client can write it


def coordinates(city: City) -> tuple[float, float]:
    return city.latitude, city.longitude


def named_with_state(city: City) -> str:
    """Name a city, with its state where states are how people tell cities apart."""
    has_state = city.country.code == "US" and city.region
    return f"{city.name}, {city.region}" if has_state else city.name
