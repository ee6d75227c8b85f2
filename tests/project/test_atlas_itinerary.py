from datetime import date, timedelta

import pytest

from project.atlas.itinerary import FARTHEST_START, LONGEST_TRIP, PlanRejected, plan
from project.atlas.models import City, Trip

TODAY = date(2030, 5, 1)


@pytest.fixture
def cities(atlas):
    by_id = City.objects.select_related("country").in_bulk([2267057, 2735943])
    return by_id[2267057], by_id[2735943]


@pytest.fixture
def ada(make_user):
    return make_user("ada")


def test_plan_is_written_down(ada, cities):
    lisbon, porto = cities
    trip = plan(ada.pk, "  Two   towns ", TODAY, [(lisbon, 3), (porto, 2)], today=TODAY)

    saved = Trip.objects.get(pk=trip.pk)
    assert (saved.owner, saved.title, saved.starts_on) == (ada, "Two towns", TODAY)
    assert [(stop.position, stop.city, stop.nights) for stop in saved.stops.all()] == [
        (1, lisbon, 3),
        (2, porto, 2),
    ]


@pytest.mark.parametrize("title", ["", "  ", "a\x00b", "a\x1b[31m"])
def test_title_must_be_a_line_of_text(ada, cities, title):
    with pytest.raises(PlanRejected, match="title must be a line of text"):
        plan(ada.pk, title, TODAY, [(cities[0], 1)], today=TODAY)


@pytest.mark.parametrize("days", [-1, FARTHEST_START + 1])
def test_start_out_of_range_is_rejected(ada, cities, days):
    start = TODAY + timedelta(days=days)

    with pytest.raises(PlanRejected, match=f"starts_on is {start}; today is {TODAY}"):
        plan(ada.pk, "Away", start, [(cities[0], 1)], today=TODAY)


@pytest.mark.parametrize("days", [0, FARTHEST_START])
def test_start_at_the_end_of_the_range_is_planned(ada, cities, days):
    start = TODAY + timedelta(days=days)

    assert plan(ada.pk, "Away", start, [(cities[0], 1)], today=TODAY).pk


def test_trip_without_stops_is_rejected(ada):
    with pytest.raises(PlanRejected, match="no stops"):
        plan(ada.pk, "Away", TODAY, [], today=TODAY)


def test_same_city_twice_in_a_row_is_rejected(ada, cities):
    lisbon, porto = cities

    with pytest.raises(PlanRejected, match="Stops 2 and 3 are both Porto"):
        plan(ada.pk, "Away", TODAY, [(lisbon, 1), (porto, 1), (porto, 1)], today=TODAY)
    assert plan(
        ada.pk, "Away", TODAY, [(lisbon, 1), (porto, 1), (lisbon, 1)], today=TODAY
    )


def test_longest_trip_is_planned_and_a_longer_one_is_rejected(ada, cities):
    lisbon, porto = cities
    plan(ada.pk, "Long", TODAY, [(lisbon, LONGEST_TRIP - 1), (porto, 1)], today=TODAY)

    with pytest.raises(PlanRejected, match="has 366 nights, 1 more than the 365"):
        plan(ada.pk, "Longer", TODAY, [(lisbon, LONGEST_TRIP), (porto, 1)], today=TODAY)


def test_same_trip_is_not_planned_twice(ada, cities, make_user):
    stops = [(cities[0], 1)]
    trip = plan(ada.pk, "Away", TODAY, stops, today=TODAY)

    with pytest.raises(PlanRejected, match=f"already, with the id {trip.pk}"):
        plan(ada.pk, "Away", TODAY, stops, today=TODAY)
    assert Trip.objects.get().stops.count() == 1
    assert plan(make_user("grace").pk, "Away", TODAY, stops, today=TODAY)
