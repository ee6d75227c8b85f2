from datetime import date

import pytest

from project.atlas.models import City, Country, Stop, Trip
from project.atlas.results import (
    CityDetails,
    CountryProfile,
    Leg,
    Place,
    Route,
    TripDetails,
)


@pytest.fixture
def cities(atlas):
    return City.objects.select_related("country").in_bulk()


def test_place_has_its_state_in_the_us(cities):
    assert Place.of(cities[4250542]).name == "Springfield, IL"
    assert Place.of(cities[2267057]) == Place(
        geonameid=2267057, name="Lisbon", country="Portugal"
    )


def test_city_details_are_those_of_the_row(cities):
    details = CityDetails.of(cities[2267057])

    assert (details.country_code, details.timezone) == ("PT", "Europe/Lisbon")
    assert details.population == cities[2267057].population


def test_leg_is_measured_in_both_units(cities):
    leg = Leg.between(cities[2267057], cities[2735943])

    assert leg.distance_km == pytest.approx(273.4, abs=0.2)
    assert leg.distance_miles == pytest.approx(leg.distance_km / 1.609344, abs=0.1)
    assert (leg.bearing_degrees, leg.direction) == (pytest.approx(9.5, abs=0.1), "N")


def test_leg_to_itself_is_nothing(cities):
    leg = Leg.between(cities[2267057], cities[2267057])

    assert (leg.distance_km, leg.distance_miles) == (0, 0)


def test_route_is_the_sum_of_its_legs(cities):
    there = Leg.between(cities[2267057], cities[2735943])
    back = Leg.between(cities[2735943], cities[2267057])

    route = Route.along([there, back])
    assert route.total_km == pytest.approx(there.distance_km * 2, abs=0.1)
    assert Route.along([]).total_km == 0


def test_profile_says_null_for_what_is_unknown(atlas):
    antarctica = Country.objects.get(code="AQ")

    profile = CountryProfile.of(antarctica, [], [], 0)
    assert (profile.capital, profile.currency_code, profile.calling_code) == (None,) * 3
    assert profile.continent == "Antarctica"


def test_trip_knows_when_each_stop_begins(atlas, make_user):
    trip = Trip.objects.create(
        owner=make_user("ada"), title="Away", starts_on=date(2030, 2, 27)
    )
    Stop.objects.create(trip=trip, position=1, city_id=2267057, nights=2)
    Stop.objects.create(trip=trip, position=2, city_id=2735943, nights=1)

    details = TripDetails.of(trip)
    assert [stop.arrives_on for stop in details.stops] == [
        date(2030, 2, 27),
        date(2030, 3, 1),
    ]
    assert (details.nights, details.ends_on) == (3, date(2030, 3, 2))
