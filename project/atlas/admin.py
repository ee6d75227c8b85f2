"""
The atlas in the admin: places for everyone, trips for those who own them.

The classes of Django's admin have type arguments in its stubs, and none at run time:
hence what is ignored here.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest

from project.atlas.models import City, Country, Stop, Trip


@admin.register(Country)
class CountryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "code", "capital", "continent", "population", "area")
    list_filter = ("continent",)
    search_fields = ("name", "code", "iso3", "capital")
    filter_horizontal = ("neighbours",)


@admin.register(City)
class CityAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "country", "region", "population", "timezone")
    list_filter = ("country__continent",)
    list_select_related = ("country",)
    search_fields = ("name", "names__key")
    autocomplete_fields = ("country",)
    show_full_result_count = False


class StopInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Stop
    extra = 1
    autocomplete_fields = ("city",)


@admin.register(Trip)
class TripAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("title", "owner", "starts_on", "ends_on")
    search_fields = ("title", "owner__username")
    date_hierarchy = "starts_on"
    inlines = (StopInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Trip]:
        trips = super().get_queryset(request).prefetch_related("stops")
        # Staff who are not superusers are travellers: they see trips of their own.
        return trips if request.user.is_superuser else trips.filter(owner=request.user)

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "owner" and not request.user.is_superuser:
            # A choice of one, so that the form still checks what is unique per owner.
            users = get_user_model().objects.filter(
                username=request.user.get_username()
            )
            kwargs |= {"queryset": users, "initial": request.user.pk}
        return super().formfield_for_foreignkey(db_field, request, **kwargs)
