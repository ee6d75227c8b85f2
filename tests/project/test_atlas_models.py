from datetime import date

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command

from project.atlas.models import City, Country, Stop, Trip

pytestmark = pytest.mark.usefixtures("atlas")


def test_migrations_are_complete():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.parametrize("name", ["Lisbon", "lisboa", "Лиссабон", "リスボン"])
def test_city_is_named_in_any_language(name):
    assert [city.pk for city in City.objects.named(name)] == [2267057]


def test_city_is_named_by_the_beginning_of_a_name():
    assert {city.pk for city in City.objects.named_like("lisb")} == {2267057}
    assert not City.objects.named_like("isbon").exists()


@pytest.mark.parametrize("name", ["", "%", "\x00"])
def test_no_letters_name_no_city(name):
    assert not City.objects.named(name).exists()
    assert not City.objects.named_like(name).exists()


def test_searching_uses_the_indexes():
    queries = [
        City.objects.named("Lisbon"),
        City.objects.named_like("Lisb"),
        City.objects.filter(latitude__range=(38, 39)),
        City.objects.filter(country="PT"),
    ]

    plans = [query.explain() for query in queries]
    assert "atlas_cityname_key (key=?)" in plans[0]
    assert "atlas_cityname_key (key>? AND key<?)" in plans[1]
    assert "atlas_city_coordinates (latitude>? AND latitude<?)" in plans[2]
    assert "atlas_city_largest (country_id=?)" in plans[3]


def test_label_names_the_state_only_in_the_us():
    cities = City.objects.select_related("country").in_bulk([4250542, 2267057])

    assert cities[4250542].label == "Springfield, IL, United States"
    assert str(cities[2267057]) == "Lisbon, Portugal"


def test_density_needs_an_area():
    assert Country(population=100, area=8).density == 12.5
    assert Country(population=100, area=0).density is None


def test_neighbours_go_both_ways():
    spain, portugal = Country.objects.get(code="ES"), Country.objects.get(code="PT")

    assert portugal in spain.neighbours.all()
    assert list(portugal.neighbours.all()) == [spain]


def test_trip_ends_after_its_nights(make_user):
    trip = Trip.objects.create(
        owner=make_user("ada"), title="Away", starts_on=date(2030, 12, 30)
    )
    assert trip.ends_on == date(2030, 12, 30)

    Stop.objects.create(trip=trip, position=2, city_id=2735943, nights=1)
    Stop.objects.create(trip=trip, position=1, city_id=2267057, nights=2)

    assert (trip.nights, trip.ends_on) == (3, date(2031, 1, 2))
    assert [str(stop) for stop in trip.stops.all()] == [
        "1. Lisbon, Portugal",
        "2. Porto, Portugal",
    ]


def test_owner_has_a_trip_once(make_user):
    ada = make_user("ada")
    trip = {"title": "Away", "starts_on": date(2030, 1, 1)}
    Trip.objects.create(owner=ada, **trip)

    with pytest.raises(ValidationError, match="such a trip already"):
        Trip(owner=ada, **trip).full_clean()
    Trip(owner=make_user("grace"), **trip).full_clean()
