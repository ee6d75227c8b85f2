"""Which place somebody means by a name."""

import difflib
from collections.abc import Iterable, Sequence

from project.atlas.models import City, CityName, Country
from project.atlas.names import fold

__all__ = [
    "PlaceNotFound",
    "find_cities",
    "get_city",
    "get_country",
    "similar_cities",
]

# The largest of several cities of one name is meant when it has this many times the
# people of the next: London without more is England's, a Springfield may be any.
DOMINANCE = 5

# How much a city counts for more when the name asked for is its own: Porto is called
# so, Bordeaux was once, by the Portuguese.
OWN_NAME = 10

# Reserved in ISO 3166 for a country that has another code.
ALSO_CALLED = {"uk": "GB"}

CANDIDATES = 8  # as many as are worth reading in one message


class PlaceNotFound(LookupError):
    """No place, or not one place, goes by a name. The text says what to try."""


def get_city(reference: int | str) -> City:
    """
    Get the one city that a geonameid or a name means.

    A name may be followed by a country, or a state of the US, or both:
    "Springfield, IL, United States". Raise PlaceNotFound when there is no such city
    or when several are likely; the message names the candidates and their ids.
    """
    if isinstance(reference, str) and reference.strip().isdecimal():
        reference = int(reference)
    if isinstance(reference, int):
        city = City.objects.select_related("country").filter(pk=reference).first()
        if city is None:
            raise PlaceNotFound(
                f"No city has the id {reference}. Search it by name with find_city."
            )
        return city
    ranked = rank(reference, candidates(reference))
    if not ranked:
        raise PlaceNotFound(nothing_found(reference))
    if len(ranked) > 1 and ranked[0][0] < DOMINANCE * ranked[1][0]:
        cities = [city for _, city in ranked]
        raise PlaceNotFound(
            f"{len(cities)} cities are called '{reference}': {listed(cities)}. "
            "Pass the id of the one you mean."
        )
    return ranked[0][1]


def get_country(reference: str) -> Country:
    """
    Get the country with this ISO code, of two or three letters, or English name.

    Raise PlaceNotFound when there is none; the message suggests similar names.
    """
    key = fold(reference)
    code = ALSO_CALLED.get(key, reference.strip().upper())
    by_name = {}
    for country in Country.objects.all():
        if code in (country.code, country.iso3):
            return country
        by_name[fold(country.name)] = country
    if key in by_name:
        return by_name[key]
    similar = difflib.get_close_matches(key, by_name, n=3, cutoff=0.7)
    hint = "Use its English name or ISO code, such as 'Portugal' or 'PT'."
    if similar:
        hint = f"Did you mean {joined(by_name[key].name for key in similar)}?"
    raise PlaceNotFound(f"No country is called '{reference}'. {hint}")


def find_cities(
    name: str, country: Country | None = None, *, limit: int
) -> tuple[list[City], int]:
    """
    Find cities with a name like this, and how many there are in all.

    Those that have exactly this name come first, the likeliest before the others,
    then those with a name that begins so, from the largest down.
    """
    exact, alike = City.objects.named(name), City.objects.named_like(name)
    if country is not None:
        exact, alike = exact.filter(country=country), alike.filter(country=country)
    found = [city for _, city in rank(name, exact.select_related("country"))][:limit]
    if len(found) < limit:
        others = alike.exclude(pk__in=[city.pk for city in found])
        found += others.select_related("country")[: limit - len(found)]
    return found, alike.count()


def candidates(reference: str) -> list[City]:
    """List the cities that a name may mean, with what follows its commas obeyed."""
    # The whole first: a comma may belong to the name, as in "Washington, D.C.".
    cities = list(City.objects.named(reference).select_related("country"))
    name, *qualifiers = reference.split(",")
    if cities or not qualifiers:
        return cities
    return [
        city
        for city in City.objects.named(name).select_related("country")
        if all(is_in(city, qualifier) for qualifier in qualifiers)
    ]


def is_in(city: City, qualifier: str) -> bool:
    """Return whether a city lies in the country or region that is called so."""
    key = fold(qualifier)
    country = city.country
    codes = {country.code.lower(), country.iso3.lower(), city.region.lower()}
    return (
        key in codes
        or key == fold(country.name)
        or ALSO_CALLED.get(key) == country.code
    )


def rank(reference: str, cities: Iterable[City]) -> list[tuple[int, City]]:
    """Order cities by how likely each is meant, with a weight, the likeliest first."""
    keys = {fold(reference), fold(reference.split(",")[0])}
    weighed = [
        # Nobody lives in some places, as far as GeoNames knows.
        ((city.population or 1) * (OWN_NAME if fold(city.name) in keys else 1), city)
        for city in cities
    ]
    return sorted(weighed, key=lambda pair: (-pair[0], pair[1].pk))


def nothing_found(reference: str) -> str:
    """Say that no city is called so, and which are called almost so."""
    name, *qualifiers = reference.split(",")
    same_name = list(City.objects.named(name).select_related("country"))
    if qualifiers and same_name:
        return (
            f"No city called '{name}' is in '{', '.join(qualifiers).strip()}'. "
            f"There is {listed(same_name)}. Give the country's English name or ISO "
            "code, or the id."
        )
    similar = similar_cities(name)
    hint = f" Did you mean {listed(similar)}?" if similar else ""
    return (
        f"No city is called '{reference}'.{hint} The atlas knows cities of "
        "15,000 people and more, by their names in any language."
    )


def similar_cities(name: str) -> list[City]:
    """List a few cities whose names are spelled almost like this one."""
    key = fold(name)
    # Misspelled names mostly begin well, and to compare with all 323,000 is slow.
    beginning = key[:3]
    if not beginning:
        return []
    keys = CityName.objects.filter(key__gte=beginning, key__lt=beginning + "\U0010ffff")
    close = difflib.get_close_matches(
        key, set(keys.values_list("key", flat=True)), n=3, cutoff=0.75
    )
    cities = City.objects.filter(names__key__in=close).distinct()
    return list(cities.select_related("country")[:3]) if close else []


def listed(cities: Sequence[City]) -> str:
    """Name cities with their ids, largest first, in the words of a sentence."""
    largest = sorted(cities, key=lambda city: -city.population)
    shown = [
        f"{city.label} (id {city.pk}, {city.population:,} people)"
        for city in largest[:CANDIDATES]
    ]
    if len(cities) > CANDIDATES:
        shown.append(f"{len(cities) - CANDIDATES} more")
    return joined(shown)


def joined(words: Iterable[str]) -> str:
    """Join at least one word as a sentence does: "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
