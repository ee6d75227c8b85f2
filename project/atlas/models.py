"""Countries and cities, which are everybody's, and trips, which are somebody's."""

from datetime import date, timedelta

from django.conf import settings
from django.db import models

from project.atlas.names import fold

__all__ = ["City", "CityName", "Country", "Stop", "Trip"]


class Country(models.Model):
    class Continent(models.TextChoices):
        AFRICA = "AF", "Africa"
        ANTARCTICA = "AN", "Antarctica"
        ASIA = "AS", "Asia"
        EUROPE = "EU", "Europe"
        NORTH_AMERICA = "NA", "North America"
        OCEANIA = "OC", "Oceania"
        SOUTH_AMERICA = "SA", "South America"

    code = models.CharField("ISO code", max_length=2, primary_key=True)
    iso3 = models.CharField("ISO code of three letters", max_length=3, unique=True)
    name = models.CharField(max_length=100, unique=True)
    capital = models.CharField(max_length=100, blank=True)
    continent = models.CharField(max_length=2, choices=Continent.choices)
    currency_code = models.CharField(max_length=3, blank=True)
    currency_name = models.CharField(max_length=50, blank=True)
    calling_code = models.CharField(max_length=30, blank=True)
    population = models.PositiveBigIntegerField()
    area = models.PositiveIntegerField(help_text="In square kilometres.")
    languages = models.JSONField(
        default=list, blank=True, help_text="BCP 47 tags, the most spoken first."
    )
    neighbours = models.ManyToManyField("self", blank=True)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "countries"

    def __str__(self) -> str:
        return self.name

    @property
    def density(self) -> float | None:
        """People per square kilometre; None for a country without area."""
        return round(self.population / self.area, 1) if self.area else None


class CityQuerySet(models.QuerySet["City"]):
    def named(self, name: str) -> "CityQuerySet":
        """Keep the cities that have this name, in any language or spelling."""
        return self.filter(
            pk__in=CityName.objects.filter(key=fold(name)).values("city_id")
        )

    def named_like(self, beginning: str) -> "CityQuerySet":
        """Keep the cities with a name that begins like this; none for no letters."""
        key = fold(beginning)
        if not key:
            return self.none()
        # A range, because SQLite searches an index for it, and not for LIKE.
        names = CityName.objects.filter(key__gte=key, key__lt=key + "\U0010ffff")
        return self.filter(pk__in=names.values("city_id"))


class City(models.Model):
    geonameid = models.PositiveIntegerField("GeoNames id", primary_key=True)
    name = models.CharField(max_length=100)
    country = models.ForeignKey(
        Country, on_delete=models.PROTECT, related_name="cities", db_index=False
    )
    region = models.CharField(
        max_length=10,
        blank=True,
        help_text="GeoNames' code of the state: 'CA' for California.",
    )
    latitude = models.FloatField(help_text="In degrees, north is positive.")
    longitude = models.FloatField(help_text="In degrees, east is positive.")
    population = models.PositiveIntegerField()
    timezone = models.CharField(max_length=40, help_text="As in the tz database.")

    objects = CityQuerySet.as_manager()

    class Meta:
        ordering = ("-population", "geonameid")
        verbose_name_plural = "cities"
        indexes = (
            models.Index(
                fields=("latitude", "longitude"), name="atlas_city_coordinates"
            ),
            models.Index(fields=("country", "-population"), name="atlas_city_largest"),
        )

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """Name, state and country; needs `country` selected to stay one query."""
        # Outside the US the regions are numbers that say nothing to a reader.
        if self.country_id == "US" and self.region:
            return f"{self.name}, {self.region}, {self.country.name}"
        return f"{self.name}, {self.country.name}"


class CityName(models.Model):
    """One name of a city in any language or spelling, folded for searching."""

    city = models.ForeignKey(City, on_delete=models.CASCADE, related_name="names")
    key = models.CharField(max_length=255)  # as names.fold() makes it

    class Meta:
        indexes = (models.Index(fields=("key", "city"), name="atlas_cityname_key"),)

    def __str__(self) -> str:
        return self.key


class Trip(models.Model):
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="trips"
    )
    title = models.CharField(max_length=100)
    starts_on = models.DateField()

    class Meta:
        ordering = ("starts_on", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=("owner", "title", "starts_on"),
                name="atlas_trip_once",
                violation_error_message="There is such a trip already.",
            ),
        )

    def __str__(self) -> str:
        return self.title

    @property
    def nights(self) -> int:
        return sum(stop.nights for stop in self.stops.all())

    @property
    def ends_on(self) -> date:
        return self.starts_on + timedelta(days=self.nights)


class Stop(models.Model):
    trip = models.ForeignKey(
        Trip, on_delete=models.CASCADE, related_name="stops", db_index=False
    )
    position = models.PositiveSmallIntegerField(help_text="1 is the first stop.")
    city = models.ForeignKey(City, on_delete=models.PROTECT, related_name="stops")
    nights = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(
                fields=("trip", "position"), name="atlas_stop_position"
            ),
        )

    def __str__(self) -> str:
        return f"{self.position}. {self.city}"
