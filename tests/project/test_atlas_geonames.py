from zoneinfo import ZoneInfo

from project.atlas import geonames
from project.atlas.models import City, Country


def test_withdrawn_countries_are_left_out(records):
    countries, _ = records

    codes = {record["iso"] for record in countries}
    assert {"RS", "ME", "CW"} <= codes
    assert not codes & geonames.WITHDRAWN


def test_countries_have_clean_values(records):
    countries, _ = records

    by_code = {country.code: country for country in geonames.countries(countries)}
    assert by_code["CW"].capital == "Willemstad"
    assert by_code["PT"].calling_code == "+351"
    assert by_code["AG"].calling_code == "+1-268"
    assert by_code["HM"].calling_code == ""
    assert by_code["PT"].languages == ["pt-PT", "mwl"]
    assert by_code["AQ"].languages == []
    assert {country.continent for country in by_code.values()} <= set(
        Country.Continent.values
    )


def test_neighbours_are_mutual_and_known():
    def record(iso, neighbours):
        return {"iso": iso, "neighbours": neighbours}

    pairs = geonames.neighbours([record("AA", "BB,XX"), record("BB", "")])

    assert pairs == {("AA", "BB"), ("BB", "AA")}


def test_every_time_zone_is_known():
    _, cities = geonames.records()

    for name in {record["timezone"] for record in cities}:
        assert ZoneInfo(name).key == name


def test_every_value_fits_its_field():
    countries, cities = geonames.records()

    for row in [*geonames.countries(countries), *geonames.cities(cities)]:
        for field in row._meta.concrete_fields:
            if field.max_length:
                assert len(field.value_from_object(row)) <= field.max_length
    assert all(isinstance(city, City) for city in geonames.cities(cities))


def test_city_has_each_name_once():
    record = {
        "geonameid": 7,
        "name": "Porto",
        "alternatenames": ["porto", "Oporto", "PÔRTO", "?"],
    }

    assert list(geonames.city_names([record])) == [(7, "porto"), (7, "oporto")]
