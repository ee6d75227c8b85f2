"""
Trips: tools to see, plan, cancel and export one's own, and a resource for each.

Who watches `atlas://trips/5` is told when that trip changes, by the module `news`.
"""

import logging
from contextlib import suppress
from datetime import date
from typing import Annotated, Literal

from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.text import slugify
from msgspec import Meta, Struct

from mcp_channels import ClientRefused, Context, Resource, ToolError, resource, tool
from project.atlas import itinerary
from project.atlas.mcp.places import CityReference, get_city
from project.atlas.models import Trip
from project.atlas.news import TRIP
from project.atlas.results import CancelledTrip, ExportedTrip, TripDetails, TripList

# The client hears of it too: see LOGGING in the settings.
logger = logging.getLogger(__name__)


class PlannedStop(Struct, kw_only=True, forbid_unknown_fields=True):
    city: Annotated[
        CityReference, Meta(description="Name, name with country, or geonameid.")
    ]
    nights: Annotated[int, Meta(ge=1, le=itinerary.LONGEST_TRIP)]


@tool(title="My trips", read_only=True, open_world=False)
def my_trips(context: Context, upcoming_only: bool = False) -> TripList:
    """
    List the trips of the signed-in user, with their stops and dates.

    Needs a connection that is signed in.

    Args:
        upcoming_only: leave out trips that have begun already.
    """
    trips = trips_of(signed_in(context))
    if upcoming_only:
        trips = trips.filter(starts_on__gte=timezone.localdate())
    return TripList(trips=[TripDetails.of(trip) for trip in trips])


@tool(title="Plan a trip", read_only=False, destructive=False, open_world=False)
def plan_trip(
    context: Context,
    title: Annotated[str, Meta(min_length=1, max_length=100)],
    starts_on: date,
    stops: Annotated[list[PlannedStop], Meta(min_length=1, max_length=30)],
) -> TripDetails:
    """
    Write down a new trip for the signed-in user.

    Needs a connection that is signed in. At most 365 nights, starting today or within
    three years. Nothing is booked, and no other trip is changed.

    Args:
        title: what to call the trip.
        starts_on: the day of arrival at the first stop.
        stops: 1 to 30 cities in the order of travel, with nights at each.
    """
    owner = signed_in(context)
    places = [(get_city(stop.city), stop.nights) for stop in stops]
    try:
        trip = itinerary.plan(
            owner, title, starts_on, places, today=timezone.localdate()
        )
    except itinerary.PlanRejected as exc:
        raise ToolError(str(exc)) from None
    logger.info("Planned trip %s with %s stops.", trip.pk, len(places))
    return TripDetails.of(trips_of(owner).get(pk=trip.pk))


class Cancellation(Struct, kw_only=True):
    reason: Annotated[
        Literal["other plans", "too expensive", "illness", "other"],
        Meta(title="Reason", description="Why the trip is cancelled."),
    ]


class Confirmation(forms.Form):
    word = forms.CharField(
        label="Confirmation",
        help_text="Write CANCEL. It cannot be undone.",
        max_length=20,
    )

    def clean_word(self) -> str:
        word: str = self.cleaned_data["word"]
        if word.upper() != "CANCEL":
            raise forms.ValidationError("That is not the word CANCEL.")
        return word


@tool(title="Cancel a trip", read_only=False, destructive=True, open_world=False)
def cancel_trip(context: Context, trip: Annotated[int, Meta(ge=1)]) -> CancelledTrip:
    """
    Delete a trip of the signed-in user, who is asked first, twice.

    Needs a connection that is signed in, and a client that can ask its user. There is
    no way back.

    Args:
        trip: id of the trip, as my_trips and plan_trip give it.
    """
    owner = signed_in(context)
    subject = trips_of(owner).filter(pk=trip).first()
    if subject is None:
        raise ToolError(no_such_trip(trip))
    cancellation = context.elicit(
        f"Why do you cancel '{subject.title}', from {subject.starts_on}?", Cancellation
    )
    context.elicit(
        f"This deletes '{subject.title}' and its stops.",
        Confirmation,
    )
    # Written after the last question: before, this function may begin again.
    count, _ = Trip.objects.filter(owner_id=owner, pk=trip).delete()
    if not count:
        raise ToolError(no_such_trip(trip))
    logger.info("Cancelled trip %s because of %s.", trip, cancellation.reason)
    return CancelledTrip(
        id=trip,
        title=subject.title,
        reason=cancellation.reason,
        trips_left=trips_of(owner).count(),
    )


@tool(title="Export a trip", read_only=True, open_world=False)
def export_trip(context: Context, trip: Annotated[int, Meta(ge=1)]) -> ExportedTrip:
    """
    Write out a trip of the signed-in user in Markdown, to be kept as a file.

    Needs a connection that is signed in. `places` are files to write it to, in the
    folders that the client works with; nothing is written here.

    Args:
        trip: id of the trip, as my_trips and plan_trip give it.
    """
    subject = trips_of(signed_in(context)).filter(pk=trip).first()
    if subject is None:
        raise ToolError(no_such_trip(trip))
    places = []
    if context.capabilities.declares("roots"):
        # The id makes it another name than that of a trip with the same title.
        name = slugify(f"{subject.title} {subject.pk}")
        # A client that refuses gets the text alone.
        with suppress(ClientRefused):
            places = [
                f"{root.uri.rstrip('/')}/{name}.md" for root in context.list_roots()
            ]
    details = TripDetails.of(subject)
    stops = [
        f"- {stop.arrives_on}: {stop.place.name}, {stop.place.country}, "
        f"nights: {stop.nights}"
        for stop in details.stops
    ]
    return ExportedTrip(
        id=trip,
        text="\n".join([f"# {subject.title}", "", *stops, ""]),
        places=places,
    )


def own_trips(context: Context) -> list[Resource]:
    return [
        Resource(
            uri=TRIP.format(id=trip.pk),
            name=f"trip {trip.pk}",
            title=trip.title,
            mime_type="application/json",
        )
        for trip in Trip.objects.filter(owner_id=context.user.pk)
    ]


@resource(TRIP, title="A trip", mime_type="application/json", list=own_trips)
def trip(context: Context, id: int) -> TripDetails:
    """A trip of the signed-in user, with its stops and dates. Watch it for changes."""
    # Somebody else's is not found: nobody learns that it exists.
    return TripDetails.of(trips_of(context.user.pk).get(pk=id))


def trips_of(owner_id: int | None) -> QuerySet[Trip]:
    """Return the trips of a user, None for nobody, with what TripDetails needs."""
    trips = Trip.objects.filter(owner_id=owner_id)
    return trips.prefetch_related("stops__city__country")


def no_such_trip(trip: int) -> str:
    return f"There is no trip {trip} of yours. See my_trips for those there are."


def signed_in(context: Context) -> int:
    """Return the id of the user. Raise ToolError for an anonymous connection."""
    if not context.user.is_authenticated:
        raise ToolError(
            "Nobody is signed in on this connection, so there are no trips to see, "
            "plan or cancel. Ask the user to sign in at /admin/ and to connect with "
            "that session's cookie."
        )
    user_id: int = context.user.pk
    return user_id
