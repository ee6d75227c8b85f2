from datetime import date

import pytest

from mcp_channels import ResourceUpdated
from project.atlas import itinerary, news
from project.atlas.models import City, Stop, Trip

pytestmark = pytest.mark.usefixtures("atlas")


@pytest.fixture
def told(monkeypatch):
    """The URIs of which clients were told, as they were published."""
    uris = []

    def publish(event):
        assert isinstance(event, ResourceUpdated)
        uris.append(event.uri)

    monkeypatch.setattr(news, "publish", publish)
    return uris


@pytest.fixture
def trip(make_user):
    start = date(2030, 1, 1)
    stops = [(City.objects.get(pk=2267057), 2)]
    return itinerary.plan(make_user("ada").pk, "Away", start, stops, today=start)


def test_change_of_a_trip_is_told(trip, told):
    trip.title = "Far away"
    trip.save()

    assert told == [f"atlas://trips/{trip.pk}"]


def test_change_of_a_stop_is_told_of_its_trip(trip, told):
    stop = trip.stops.get()
    stop.nights = 5
    stop.save()
    Stop.objects.filter(pk=stop.pk).delete()

    assert told == [f"atlas://trips/{trip.pk}"] * 2


def test_deletion_of_a_trip_is_told(trip, told):
    Trip.objects.filter(pk=trip.pk).delete()

    assert set(told) == {f"atlas://trips/{trip.pk}"}


def test_planned_trip_is_told(told, trip):
    assert told == [f"atlas://trips/{trip.pk}"]
