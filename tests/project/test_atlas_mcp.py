from datetime import date, datetime, timedelta, timezone

import msgspec
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone as django_timezone

from mcp_channels import ToolError, registry
from project.atlas import mcp
from project.atlas.mcp import PlannedStop
from project.atlas.models import Trip

pytestmark = pytest.mark.usefixtures("atlas")


class FakeContext:
    def __init__(self, user=None):
        self.user = user or AnonymousUser()
        self.steps = []
        self.messages = []

    def progress(self, done, total=None, message=None):
        self.steps.append((done, total, message))

    def log(self, level, data, logger=None):
        self.messages.append((level, data))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(mcp, "SECONDS_PER_LEG", 0)


@pytest.fixture
def ada(make_user):
    return FakeContext(make_user("ada"))


def test_every_tool_is_registered_and_says_what_it_does():
    tools = {
        name: tool.definition
        for name, tool in registry.tools.items()
        if tool.function.__module__ == "project.atlas.mcp"
    }

    assert len(tools) == 10
    for name, definition in tools.items():
        hints = definition.annotations
        assert hints.read_only_hint is (name != "plan_trip"), name
        assert hints.open_world_hint is False, name
        assert definition.title, name
        assert definition.output_schema["type"] == "object", name
        for argument in definition.input_schema["properties"].values():
            assert argument["description"], name
    assert tools["plan_trip"].annotations.destructive_hint is False


def test_found_city_has_an_id_and_a_time_zone():
    result = mcp.find_city("lisboa")

    assert [(city.geonameid, city.timezone) for city in result.cities] == [
        (2267057, "Europe/Lisbon")
    ]
    assert (result.total, result.similar) == (1, [])


def test_misspelled_city_is_found_as_similar():
    result = mcp.find_city("Lissbon")

    assert (result.cities, result.total) == ([], 0)
    assert [city.name for city in result.similar] == ["Lisbon"]


def test_city_is_found_in_a_country():
    result = mcp.find_city("Paris", "usa")

    assert [city.geonameid for city in result.cities] == [4717560]
    with pytest.raises(ToolError, match="No country is called 'Frnce'"):
        mcp.find_city("Paris", "Frnce")


def test_nearest_cities_come_in_order_and_without_the_centre():
    result = mcp.nearest_cities(city="Porto", radius_km=300)

    assert [near.city.name for near in result.cities] == ["Braga", "Lisbon"]
    assert result.cities[0].distance_km == pytest.approx(47, abs=2)
    assert [near.direction for near in result.cities] == ["NNE", "S"]
    assert result.total == 2


def test_nearest_cities_are_limited_but_all_counted():
    result = mcp.nearest_cities(city="Porto", radius_km=1000, limit=1)

    assert len(result.cities) == 1
    assert result.total > 3


def test_nearest_cities_may_be_large_ones_only():
    result = mcp.nearest_cities(city="Porto", radius_km=500, min_population=1_000_000)

    assert [near.city.name for near in result.cities] == ["Madrid"]


def test_nearest_cities_are_found_across_the_date_line():
    result = mcp.nearest_cities(latitude=-18.0, longitude=-179.9, radius_km=900)

    assert {near.city.country for near in result.cities} == {"Fiji", "Tonga"}


@pytest.mark.parametrize("latitude", [90, -90])
def test_nearest_cities_at_a_pole_are_none(latitude):
    assert mcp.nearest_cities(latitude=latitude, longitude=0).cities == []


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
        mcp.nearest_cities(**centre)


def test_distance_is_between_the_cities_meant():
    leg = async_to_sync(mcp.distance_between)("Lisbon, PT", 2735943)

    assert (leg.origin.name, leg.destination.name) == ("Lisbon", "Porto")
    assert leg.distance_km == pytest.approx(273.4, abs=0.2)


def test_distance_to_an_ambiguous_city_names_the_candidates():
    with pytest.raises(ToolError, match="id 4250542"):
        async_to_sync(mcp.distance_between)("Lisbon", "Springfield")


def test_route_tells_its_progress_leg_by_leg():
    context = FakeContext()
    route = async_to_sync(mcp.route_length)(context, ["Lisbon", "Porto", "Madrid"])

    assert context.steps == [
        (1, 2, "Lisbon to Porto: 273 km"),
        (2, 2, "Porto to Madrid: 421 km"),
    ]
    assert context.messages == [("info", "Measuring a route of 2 legs.")]
    assert route.total_km == sum(leg.distance_km for leg in route.legs)


def test_round_trip_comes_back():
    route = async_to_sync(mcp.route_length)(
        FakeContext(), ["Lisbon", "Porto"], round_trip=True
    )

    assert [leg.destination.name for leg in route.legs] == ["Porto", "Lisbon"]


def test_route_with_an_unknown_stop_is_refused_before_it_starts():
    context = FakeContext()

    with pytest.raises(ToolError, match="No city is called 'Atlantis'"):
        async_to_sync(mcp.route_length)(context, ["Lisbon", "Atlantis"])
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
    result = mcp.time_difference("Lisbon", "Tokyo", at)

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

    assert mcp.time_difference(origin, destination, at).summary == summary


def test_time_difference_is_of_now_if_nothing_is_said():
    before = django_timezone.now().replace(microsecond=0)
    result = mcp.time_difference("Lisbon", "Tokyo")

    assert before <= result.origin.local <= django_timezone.now()
    assert result.origin.local == result.destination.local


@pytest.mark.parametrize("year", [1, 1949, 2101, 9999])
def test_years_far_away_are_refused(year):
    with pytest.raises(ToolError, match="use 1950 to 2100"):
        mcp.time_difference("Lisbon", "Tokyo", datetime(year, 1, 1))
    with pytest.raises(ToolError, match="use 1950 to 2100"):
        mcp.sunrise_sunset("Lisbon", date(year, 12, 31))


def test_sun_rises_in_local_time():
    result = mcp.sunrise_sunset("London", date(2024, 6, 20))

    assert result.sunrise.strftime("%H:%M %z") in ("04:42 +0100", "04:43 +0100")
    assert result.sunset.strftime("%H:%M %z") in ("21:21 +0100", "21:22 +0100")
    assert result.daylight_minutes == pytest.approx(998, abs=2)


def test_sun_of_today_if_nothing_is_said():
    today = datetime.now(timezone(timedelta(hours=9))).date()

    assert mcp.sunrise_sunset("Tokyo").on in (today, today + timedelta(days=1))


def test_polar_night_has_no_sunrise():
    result = mcp.sunrise_sunset("Tromsø", date(2026, 12, 21))

    assert (result.sunrise, result.sunset, result.daylight_minutes) == (None, None, 0)


def test_country_profile_has_neighbours_and_large_cities():
    profile = mcp.country_profile("Portugal")

    assert (profile.code, profile.capital) == ("PT", "Lisbon")
    assert [other.name for other in profile.neighbours] == ["Spain"]
    assert [city.name for city in profile.largest_cities] == [
        "Lisbon",
        "Porto",
        "Braga",
    ]
    assert profile.cities_total == 3


@pytest.mark.parametrize(
    ("by", "codes"),
    [
        ("population", ["ES", "PT", "AD", "AQ"]),
        ("area", ["AQ", "ES", "PT", "AD"]),
        ("density", ["AD", "PT", "ES", "AQ"]),
    ],
)
def test_countries_are_ranked(by, codes):
    result = mcp.compare_countries(["AQ", "Spain", "PRT", "ad"], by)

    assert [country.code for country in result.ranking] == codes
    assert [country.rank for country in result.ranking] == [1, 2, 3, 4]
    assert result.ranking[0].share_of_first == 1


def test_country_is_not_compared_with_itself():
    with pytest.raises(ToolError, match="all the same country"):
        mcp.compare_countries(["PT", "Portugal"])


def test_trips_need_somebody_signed_in():
    with pytest.raises(ToolError, match="Nobody is signed in"):
        mcp.my_trips(FakeContext())
    with pytest.raises(ToolError, match="Nobody is signed in"):
        mcp.plan_trip(FakeContext(), "Away", date(2030, 1, 1), [])


def test_planned_trip_is_among_my_trips_and_nobody_elses(ada, make_user):
    start = django_timezone.localdate()
    stops = [PlannedStop(city="Lisbon", nights=2), PlannedStop(city=2735943, nights=1)]
    planned = mcp.plan_trip(ada, "Away", start, stops)

    assert [stop.place.name for stop in planned.stops] == ["Lisbon", "Porto"]
    assert mcp.my_trips(ada).trips == [planned]
    assert mcp.my_trips(FakeContext(make_user("grace"))).trips == []


def test_past_trips_can_be_left_out(ada):
    today = django_timezone.localdate()
    for title, days in (("Past", -1), ("Today", 0)):
        Trip.objects.create(
            owner=ada.user, title=title, starts_on=today + timedelta(days=days)
        )

    assert [trip.title for trip in mcp.my_trips(ada).trips] == ["Past", "Today"]
    assert [trip.title for trip in mcp.my_trips(ada, True).trips] == ["Today"]


def test_trips_take_the_same_queries_however_many(ada, django_assert_num_queries):
    start = django_timezone.localdate()
    stops = [PlannedStop(city="Lisbon", nights=2), PlannedStop(city="Porto", nights=1)]
    for title in ("One", "Two", "Three"):
        mcp.plan_trip(ada, title, start, stops)

    with django_assert_num_queries(4):
        assert len(mcp.my_trips(ada).trips) == 3


@pytest.mark.parametrize(
    ("stops", "reason"),
    [
        ([PlannedStop(city="Atlantis", nights=1)], "No city is called"),
        ([PlannedStop(city="Lisbon", nights=1)] * 2, "Make them one stop"),
    ],
)
def test_rejected_plan_leaves_nothing_behind(ada, stops, reason):
    with pytest.raises(ToolError, match=reason):
        mcp.plan_trip(ada, "Away", django_timezone.localdate(), stops)
    assert not Trip.objects.exists()


def test_results_have_a_json_form(ada):
    results = [
        mcp.find_city("Lisbon"),
        mcp.nearest_cities(city="Lisbon"),
        mcp.time_difference("Lisbon", "Tokyo"),
        mcp.sunrise_sunset("Lisbon"),
        mcp.country_profile("PT"),
        mcp.compare_countries(["PT", "ES"]),
        mcp.my_trips(ada),
    ]

    for result in results:
        again = msgspec.json.decode(msgspec.json.encode(result), type=type(result))
        assert again == result
