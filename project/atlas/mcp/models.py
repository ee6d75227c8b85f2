"""
The tables of the atlas as they are: places for everybody, trips for those who own them.

The other modules answer a traveller's questions; here an agent can look around by
itself, filter and count, and write down trips row by row.
"""

from typing import Any

from django.db.models import QuerySet

from mcp_channels import Asker, ModelTools, register
from project.atlas.models import City, Country, Stop, Trip


class PublicTools(ModelTools):
    """Of what anybody may see."""

    operations = ["list", "get", "aggregate"]
    list_resources = False  # there are 34,000 of them

    def has_view_permission(self, context: Asker, obj: Any = None) -> bool:
        return True


@register(Country)
class CountryTools(PublicTools):
    description = "A country of the world."
    fields = [
        *("code", "iso3", "name", "capital", "continent", "population", "area"),
        *("density", "currency_code", "currency_name", "languages", "neighbours"),
    ]
    search_fields = ["name", "capital"]
    filters = {
        "continent": ["exact", "in"],
        "currency_code": ["exact"],
        "population": ["gte", "lte"],
        "neighbours": ["exact"],
    }


@register(City)
class CityTools(PublicTools):
    description = "A city of 15,000 people or more; its key is its GeoNames id."
    fields = [
        *("name", "country", "country__continent", "region", "population"),
        *("latitude", "longitude", "timezone"),
    ]
    search_fields = ["^name"]
    filters = {
        "country": ["exact", "in"],
        "country__continent": ["exact"],
        "population": ["gte", "lte"],
        "timezone": ["exact"],
    }
    # A city is called by its country, too.
    list_select_related = ["country"]


class OwnTools(ModelTools):
    """Of what belongs to somebody, who may do anything with it."""

    operations = ["list", "get", "create", "update", "delete"]

    def has_view_permission(self, context: Asker, obj: Any = None) -> bool:
        return context.user.is_authenticated

    def has_add_permission(self, context: Asker, obj: Any = None) -> bool:
        return context.user.is_authenticated

    def has_change_permission(self, context: Asker, obj: Any = None) -> bool:
        return context.user.is_authenticated

    def has_delete_permission(self, context: Asker, obj: Any = None) -> bool:
        return context.user.is_authenticated


@register(Trip)
class TripTools(OwnTools):
    description = "A trip of the signed-in user. Its stops are rows of their own."
    fields = ["title", "starts_on", "ends_on", "nights", "stops", "stops__nights"]
    filters = {"starts_on": ["gte", "lte"]}
    list_prefetch_related = ["stops"]  # ends_on and nights add them up

    def get_queryset(self, context: Asker) -> QuerySet[Any]:
        return super().get_queryset(context).filter(owner=context.user.pk)

    def save_model(self, context: Asker, obj: Trip, form: Any, change: bool) -> None:
        owner: Any = context.user  # who is signed in, or this is not called
        obj.owner = owner
        super().save_model(context, obj, form, change)


@register(Stop)
class StopTools(OwnTools):
    description = "A stop of a trip: so many nights in a city. Position 1 is the first."
    fields = ["trip", "position", "city", "nights"]
    filters = ["trip"]
    operations = [*OwnTools.operations, "bulk_create"]
    list_resources = False  # they are shown with their trips
    list_select_related = ["city__country"]

    def get_queryset(self, context: Asker) -> QuerySet[Any]:
        return super().get_queryset(context).filter(trip__owner=context.user.pk)
