"""Tell those who watch a trip that it has changed, whoever changed it, and where."""

from typing import Any

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from mcp_channels import ResourceUpdated, publish
from project.atlas.models import Stop, Trip

__all__ = ["TRIP"]

TRIP = "atlas://trips/{id}"


# What is written with bulk_create() or update() sends no signal. In the atlas that
# happens to stops alone, in the transaction that saves their trip.
@receiver([post_save, post_delete], sender=Trip)
def tell_of_trip(instance: Trip, **kwargs: Any) -> None:
    publish(ResourceUpdated(TRIP.format(id=instance.pk)))


@receiver([post_save, post_delete], sender=Stop)
def tell_of_stop(instance: Stop, **kwargs: Any) -> None:
    publish(ResourceUpdated(TRIP.format(id=instance.trip_id)))
