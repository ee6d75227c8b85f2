"""Models with the fields that only PostgreSQL has."""

from django.contrib.postgres.fields import (
    ArrayField,
    BigIntegerRangeField,
    DateRangeField,
    DateTimeRangeField,
    DecimalRangeField,
    HStoreField,
    IntegerRangeField,
)
from django.contrib.postgres.search import SearchVectorField
from django.db import models


class Room(models.Model):
    name = models.CharField(max_length=50)
    labels = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    # As rows of seats; None where there is a pillar.
    seats = ArrayField(
        ArrayField(models.IntegerField(null=True, blank=True)), null=True, blank=True
    )
    closed_on = ArrayField(models.DateField(), default=list, blank=True, size=3)
    equipment = HStoreField(default=dict, blank=True)
    floors = IntegerRangeField(null=True, blank=True)
    budget_ids = BigIntegerRangeField(null=True, blank=True)
    price = DecimalRangeField(null=True, blank=True)
    open_days = DateRangeField(null=True, blank=True)
    booked = DateTimeRangeField(null=True, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    plan = models.BinaryField(null=True, blank=True)
    area = models.FloatField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class Page(models.Model):
    text = models.TextField()
    vector = SearchVectorField(null=True)

    def __str__(self) -> str:
        return self.text
