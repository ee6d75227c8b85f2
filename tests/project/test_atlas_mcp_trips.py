import logging
from datetime import date, timedelta

import pytest
from django.utils import timezone as django_timezone

from mcp_channels import ClientRefused, Declined, Root, ToolError
from project.atlas.mcp import trips
from project.atlas.mcp.trips import Cancellation, Confirmation, PlannedStop
from project.atlas.models import Trip
from tests.project.contexts import FakeContext

pytestmark = pytest.mark.usefixtures("atlas")


@pytest.fixture
def ada(make_user):
    return FakeContext(make_user("ada"))


@pytest.fixture
def trip(ada):
    stops = [PlannedStop(city="Lisbon", nights=2)]
    return trips.plan_trip(ada, "Away", django_timezone.localdate(), stops)


def test_trips_need_somebody_signed_in():
    with pytest.raises(ToolError, match="Nobody is signed in"):
        trips.my_trips(FakeContext())
    with pytest.raises(ToolError, match="Nobody is signed in"):
        trips.plan_trip(FakeContext(), "Away", date(2030, 1, 1), [])
    with pytest.raises(ToolError, match="Nobody is signed in"):
        trips.cancel_trip(FakeContext(), 1)


def test_planned_trip_is_among_my_trips_and_nobody_elses(ada, make_user):
    start = django_timezone.localdate()
    stops = [PlannedStop(city="Lisbon", nights=2), PlannedStop(city=2735943, nights=1)]
    planned = trips.plan_trip(ada, "Away", start, stops)

    assert [stop.place.name for stop in planned.stops] == ["Lisbon", "Porto"]
    assert trips.my_trips(ada).trips == [planned]
    assert trips.my_trips(FakeContext(make_user("grace"))).trips == []


def test_past_trips_can_be_left_out(ada):
    today = django_timezone.localdate()
    for title, days in (("Past", -1), ("Today", 0)):
        Trip.objects.create(
            owner=ada.user, title=title, starts_on=today + timedelta(days=days)
        )

    assert [trip.title for trip in trips.my_trips(ada).trips] == ["Past", "Today"]
    assert [trip.title for trip in trips.my_trips(ada, True).trips] == ["Today"]


def test_trips_take_the_same_queries_however_many(ada, django_assert_num_queries):
    start = django_timezone.localdate()
    stops = [PlannedStop(city="Lisbon", nights=2), PlannedStop(city="Porto", nights=1)]
    for title in ("One", "Two", "Three"):
        trips.plan_trip(ada, title, start, stops)

    with django_assert_num_queries(4):
        assert len(trips.my_trips(ada).trips) == 3


@pytest.mark.parametrize(
    ("stops", "reason"),
    [
        ([PlannedStop(city="Atlantis", nights=1)], "No city is called"),
        ([PlannedStop(city="Lisbon", nights=1)] * 2, "Make them one stop"),
    ],
)
def test_rejected_plan_leaves_nothing_behind(ada, stops, reason):
    with pytest.raises(ToolError, match=reason):
        trips.plan_trip(ada, "Away", django_timezone.localdate(), stops)
    assert not Trip.objects.exists()


def test_trip_is_a_resource_for_its_owner_alone(ada, trip, make_user):
    assert trips.trip(ada, trip.id) == trip
    assert [entry.uri for entry in trips.own_trips(ada)] == [f"atlas://trips/{trip.id}"]
    for other in (FakeContext(make_user("grace")), FakeContext()):
        assert trips.own_trips(other) == []
        with pytest.raises(Trip.DoesNotExist):
            trips.trip(other, trip.id)


def test_trip_is_cancelled_after_the_last_answer(ada, trip):
    def confirm():
        assert Trip.objects.filter(pk=trip.id).exists()
        return {"word": "CANCEL"}

    context = FakeContext(ada.user, answers=[Cancellation(reason="illness"), confirm])
    result = trips.cancel_trip(context, trip.id)

    assert [form for _, form in context.questions] == [Cancellation, Confirmation]
    assert (result.id, result.reason, result.trips_left) == (trip.id, "illness", 0)
    assert not Trip.objects.exists()


@pytest.mark.parametrize(
    "answers",
    [[Declined("decline")], [Cancellation(reason="other"), Declined("cancel")]],
)
def test_trip_stays_when_the_user_declines(ada, trip, answers):
    with pytest.raises(Declined):
        trips.cancel_trip(FakeContext(ada.user, answers=answers), trip.id)
    assert Trip.objects.filter(pk=trip.id).exists()


def test_nobody_is_asked_about_a_trip_of_somebody_else(trip, make_user):
    grace = FakeContext(make_user("grace"))

    with pytest.raises(ToolError, match=f"no trip {trip.id} of yours"):
        trips.cancel_trip(grace, trip.id)
    assert grace.questions == []


def test_trip_that_goes_meanwhile_is_not_cancelled_again(ada, trip):
    def go():
        Trip.objects.all().delete()
        return {"word": "CANCEL"}

    context = FakeContext(ada.user, answers=[Cancellation(reason="other"), go])

    with pytest.raises(ToolError, match="no trip"):
        trips.cancel_trip(context, trip.id)


@pytest.mark.parametrize("word", ["CANCEL", "cancel", " Cancel "])
def test_word_confirms(word):
    assert Confirmation({"word": word}).is_valid()


@pytest.mark.parametrize("word", ["", "yes", "CANCEL it"])
def test_other_words_do_not_confirm(word):
    assert not Confirmation({"word": word}).is_valid()


def test_trip_is_exported_to_the_folders_of_the_client(ada, trip):
    roots = [Root("file:///home/ada/"), Root("file:///srv")]
    exported = trips.export_trip(FakeContext(ada.user, roots=roots), trip.id)

    start = trip.starts_on
    assert exported.text == f"# Away\n\n- {start}: Lisbon, Portugal, nights: 2\n"
    assert exported.places == [
        f"file:///home/ada/away-{trip.id}.md",
        f"file:///srv/away-{trip.id}.md",
    ]


@pytest.mark.parametrize("roots", [None, [], ClientRefused("No.")])
def test_trip_is_exported_without_folders(ada, trip, roots):
    exported = trips.export_trip(FakeContext(ada.user, roots=roots), trip.id)

    assert exported.text.startswith("# Away")
    assert exported.places == []


def test_trip_of_somebody_else_is_not_exported(trip, make_user):
    grace = FakeContext(make_user("grace"), roots=[])

    with pytest.raises(ToolError, match=f"no trip {trip.id} of yours"):
        trips.export_trip(grace, trip.id)


def test_what_happens_to_trips_is_logged_without_their_titles(ada, trip, caplog):
    caplog.set_level(logging.INFO, "project.atlas")
    answers = [Cancellation(reason="illness"), {"word": "CANCEL"}]
    trips.cancel_trip(FakeContext(ada.user, answers=answers), trip.id)

    assert caplog.messages == [f"Cancelled trip {trip.id} because of illness."]
