from datetime import date, datetime, timedelta, timezone

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone as django_timezone

from mcp_channels import (
    ClientRefused,
    CreateMessageResult,
    ImageContent,
    TextContent,
    ToolError,
)
from project.atlas.mcp import cities
from tests.project.contexts import FakeContext

pytestmark = pytest.mark.usefixtures("atlas")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(cities, "SECONDS_PER_LEG", 0)


def test_found_city_has_an_id_and_a_time_zone():
    result = cities.find_city("lisboa")

    assert [(city.geonameid, city.timezone) for city in result.cities] == [
        (2267057, "Europe/Lisbon")
    ]
    assert (result.total, result.similar) == (1, [])


def test_misspelled_city_is_found_as_similar():
    result = cities.find_city("Lissbon")

    assert (result.cities, result.total) == ([], 0)
    assert [city.name for city in result.similar] == ["Lisbon"]


def test_city_is_found_in_a_country():
    result = cities.find_city("Paris", "usa")

    assert [city.geonameid for city in result.cities] == [4717560]
    with pytest.raises(ToolError, match="No country is called 'Frnce'"):
        cities.find_city("Paris", "Frnce")


def test_nearest_cities_come_in_order_and_without_the_centre():
    result = cities.nearest_cities(city="Porto", radius_km=300)

    assert [near.city.name for near in result.cities] == ["Braga", "Lisbon"]
    assert result.cities[0].distance_km == pytest.approx(47, abs=2)
    assert [near.direction for near in result.cities] == ["NNE", "S"]
    assert result.total == 2


def test_nearest_cities_are_limited_but_all_counted():
    result = cities.nearest_cities(city="Porto", radius_km=1000, limit=1)

    assert len(result.cities) == 1
    assert result.total > 3


def test_nearest_cities_may_be_large_ones_only():
    result = cities.nearest_cities(
        city="Porto", radius_km=500, min_population=1_000_000
    )

    assert [near.city.name for near in result.cities] == ["Madrid"]


def test_nearest_cities_are_found_across_the_date_line():
    result = cities.nearest_cities(latitude=-18.0, longitude=-179.9, radius_km=900)

    assert {near.city.country for near in result.cities} == {"Fiji", "Tonga"}


@pytest.mark.parametrize("latitude", [90, -90])
def test_nearest_cities_at_a_pole_are_none(latitude):
    assert cities.nearest_cities(latitude=latitude, longitude=0).cities == []


@pytest.mark.parametrize(
    "centre",
    [
        {},
        {"latitude": 1.0},
        {"longitude": 1.0},
        {"city": "Lisbon", "latitude": 1.0},
        {"city": "Lisbon", "latitude": 1.0, "longitude": 1.0},
    ],
)
def test_nearest_cities_need_one_centre(centre):
    with pytest.raises(ToolError, match="either city, or both latitude and longitude"):
        cities.nearest_cities(**centre)


def test_distance_is_between_the_cities_meant():
    leg = async_to_sync(cities.distance_between)("Lisbon, PT", 2735943)

    assert (leg.origin.name, leg.destination.name) == ("Lisbon", "Porto")
    assert leg.distance_km == pytest.approx(273.4, abs=0.2)


def test_distance_to_an_ambiguous_city_names_the_candidates():
    with pytest.raises(ToolError, match="id 4250542"):
        async_to_sync(cities.distance_between)("Lisbon", "Springfield")


def test_route_tells_its_progress_leg_by_leg():
    context = FakeContext()
    route = async_to_sync(cities.route_length)(context, ["Lisbon", "Porto", "Madrid"])

    assert context.steps == [
        (1, 2, "Lisbon to Porto: 273 km"),
        (2, 2, "Porto to Madrid: 421 km"),
    ]
    assert context.messages == [("info", "Measuring a route of 2 legs.")]
    assert route.total_km == sum(leg.distance_km for leg in route.legs)


def test_round_trip_comes_back():
    route = async_to_sync(cities.route_length)(
        FakeContext(), ["Lisbon", "Porto"], round_trip=True
    )

    assert [leg.destination.name for leg in route.legs] == ["Porto", "Lisbon"]


def test_route_with_an_unknown_stop_is_refused_before_it_starts():
    context = FakeContext()

    with pytest.raises(ToolError, match="No city is called 'Atlantis'"):
        async_to_sync(cities.route_length)(context, ["Lisbon", "Atlantis"])
    assert context.steps == []


@pytest.mark.parametrize(
    ("at", "minutes", "local"),
    [
        # Without an offset it is noon in Lisbon, which has summer time; Tokyo has none.
        (datetime(2026, 7, 1, 12), 480, "2026-07-01T20:00:00+09:00"),
        (datetime(2026, 1, 1, 12), 540, "2026-01-01T21:00:00+09:00"),
        (
            datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=-4))),
            480,
            "2026-07-02T01:00:00+09:00",
        ),
    ],
)
def test_time_difference_knows_summer_time(at, minutes, local):
    result = cities.time_difference("Lisbon", "Tokyo", at)

    assert result.difference_minutes == minutes
    assert result.destination.local.isoformat() == local


@pytest.mark.parametrize(
    ("origin", "destination", "summary"),
    [
        ("Lisbon", "Kathmandu", "Kathmandu is 4 h 45 min ahead of Lisbon."),
        ("Tokyo", "Lisbon", "Lisbon is 8 h behind Tokyo."),
        ("Lisbon", "London", "London has the same time as Lisbon."),
    ],
)
def test_time_difference_is_said_in_words(origin, destination, summary):
    at = datetime(2026, 7, 1, 12)

    assert cities.time_difference(origin, destination, at).summary == summary


def test_time_difference_is_of_now_if_nothing_is_said():
    before = django_timezone.now().replace(microsecond=0)
    result = cities.time_difference("Lisbon", "Tokyo")

    assert before <= result.origin.local <= django_timezone.now()
    assert result.origin.local == result.destination.local


@pytest.mark.parametrize("year", [1, 1949, 2101, 9999])
def test_years_far_away_are_refused(year):
    with pytest.raises(ToolError, match="use 1950 to 2100"):
        cities.time_difference("Lisbon", "Tokyo", datetime(year, 1, 1))
    with pytest.raises(ToolError, match="use 1950 to 2100"):
        cities.sunrise_sunset("Lisbon", date(year, 12, 31))


def test_sun_rises_in_local_time():
    result = cities.sunrise_sunset("London", date(2024, 6, 20))

    assert result.sunrise.strftime("%H:%M %z") in ("04:42 +0100", "04:43 +0100")
    assert result.sunset.strftime("%H:%M %z") in ("21:21 +0100", "21:22 +0100")
    assert result.daylight_minutes == pytest.approx(998, abs=2)


def test_sun_of_today_if_nothing_is_said():
    today = datetime.now(timezone(timedelta(hours=9))).date()

    assert cities.sunrise_sunset("Tokyo").on in (today, today + timedelta(days=1))


def test_polar_night_has_no_sunrise():
    result = cities.sunrise_sunset("Tromsø", date(2026, 12, 21))

    assert (result.sunrise, result.sunset, result.daylight_minutes) == (None, None, 0)


def test_city_is_described_by_the_model_of_the_client():
    answer = CreateMessageResult("assistant", TextContent("Steep and bright."), "m-1")
    context = FakeContext(sampling=answer)
    result = async_to_sync(cities.describe_city)(context, "Lisbon")

    assert (result.text, result.written_by) == ("Steep and bright.", "m-1")
    ((question, max_tokens),) = context.questions
    assert "Lisbon, Portugal has 517,802 people" in question
    assert max_tokens == 200


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([TextContent("Steep."), TextContent("Bright.")], "Steep. Bright."),
        (ImageContent(b"", "image/png"), "Lisbon, Portugal has"),
    ],
)
def test_only_what_a_model_writes_is_passed_on(content, text):
    context = FakeContext(sampling=CreateMessageResult("assistant", content, "m-1"))

    result = async_to_sync(cities.describe_city)(context, "Lisbon")
    assert result.text.startswith(text)


@pytest.mark.parametrize("sampling", [None, ClientRefused("No.")])
def test_city_is_described_by_facts_without_a_model(sampling):
    context = FakeContext(sampling=sampling)
    result = async_to_sync(cities.describe_city)(context, "Lisbon")

    assert result.text.startswith("Lisbon, Portugal has 517,802 people")
    assert result.written_by is None
