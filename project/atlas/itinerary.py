"""Trips that are planned: the rules, and writing them down."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

from django.db import transaction

from project.atlas.models import City, Stop, Trip

__all__ = ["LONGEST_TRIP", "PlanRejected", "plan"]

LONGEST_TRIP = 365  # nights
FARTHEST_START = 3 * 365  # days ahead; what is later is a slip in the year


class PlanRejected(ValueError):
    """A trip cannot be planned so. The text says what to change."""


def plan(
    owner_id: int,
    title: str,
    starts_on: date,
    stops: Sequence[tuple[City, int]],
    *,
    today: date,
) -> Trip:
    """
    Write down a trip of at least one stop, each a city and nights there.

    Raise PlanRejected when the dates, the stops or an earlier trip forbid it.
    """
    title = " ".join(title.split())
    # Control characters would reach admin pages and other people's terminals.
    if not title or not title.isprintable():
        raise PlanRejected("The title must be a line of text, such as 'Lisbon in May'.")
    if not today <= starts_on <= today + timedelta(days=FARTHEST_START):
        raise PlanRejected(
            f"starts_on is {starts_on}; today is {today}. Choose a day from today "
            f"to {today + timedelta(days=FARTHEST_START)}."
        )
    if not stops:
        raise PlanRejected("The trip has no stops. Give at least one.")
    for position, ((one, _), (other, _)) in enumerate(pairwise(stops), start=1):
        if one == other:
            raise PlanRejected(
                f"Stops {position} and {position + 1} are both {one}. "
                "Make them one stop with the nights of both."
            )
    nights = sum(nights for _, nights in stops)
    if nights > LONGEST_TRIP:
        raise PlanRejected(
            f"The trip has {nights} nights, {nights - LONGEST_TRIP} more than the "
            f"{LONGEST_TRIP} allowed. Shorten some stops."
        )
    with transaction.atomic():
        trip, is_new = Trip.objects.get_or_create(
            owner_id=owner_id, title=title, starts_on=starts_on
        )
        # An agent that got no answer asks again; that must not make two trips.
        if not is_new:
            raise PlanRejected(
                f"There is a trip '{title}' from {starts_on} already, with the id "
                f"{trip.pk}. See my_trips, or choose another title."
            )
        Stop.objects.bulk_create(
            Stop(trip=trip, position=position, city=city, nights=nights)
            for position, (city, nights) in enumerate(stops, start=1)
        )
    return trip
