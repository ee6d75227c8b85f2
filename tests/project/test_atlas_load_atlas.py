from datetime import date
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from project.atlas.models import City, CityName, Country, Stop, Trip

User = get_user_model()


def load(**options):
    output = StringIO()
    call_command("load_atlas", stdout=output, **options)
    return output.getvalue()


@pytest.mark.django_db
def test_whole_atlas_is_loaded():
    output = load()

    assert Country.objects.count() == 250
    assert City.objects.count() == 34_006
    assert CityName.objects.count() > 300_000
    assert "Loaded 34,006 cities." in output
    assert "The atlas is ready" in output
    assert not User.objects.exists()


def contents():
    borders = Country.neighbours.through.objects
    return [
        list(Country.objects.values()),
        list(City.objects.values()),
        sorted(CityName.objects.values_list("city", "key")),
        sorted(borders.values_list("from_country", "to_country")),
    ]


def test_loading_again_changes_nothing(atlas):
    before = contents()
    load()

    assert contents() == before


def test_loading_again_mends_what_was_changed(atlas):
    City.objects.filter(pk=2267057).update(name="Lissabon", population=1)
    Country.objects.filter(pk="PT").update(capital="")
    load()

    assert City.objects.get(pk=2267057).name == "Lisbon"
    assert Country.objects.get(pk="PT").capital == "Lisbon"


def test_city_that_left_the_data_keeps_its_trips_and_loses_its_names(
    atlas, make_user, records, monkeypatch
):
    trip = Trip.objects.create(
        owner=make_user("ada"), title="Away", starts_on=date(2030, 1, 1)
    )
    Stop.objects.create(trip=trip, position=1, city_id=2267057, nights=1)
    countries, cities = records
    rest = [city for city in cities if city["geonameid"] != 2267057]
    monkeypatch.setattr("project.atlas.geonames.records", lambda: (countries, rest))
    load()

    assert trip.stops.get().city.name == "Lisbon"
    assert not City.objects.named("Lisbon").exists()


def test_quiet_load_says_nothing(atlas):
    assert load(verbosity=0) == ""


def test_demo_users_are_created_with_trips(atlas, settings):
    settings.DEBUG = True
    output = load(demo_users=True)

    assert "Created the user ada, who plans: Iberian rivers, Northern light." in output
    for name in ("ada", "grace", "admin"):
        user = User.objects.get(username=name)
        assert user.check_password(name)
        assert user.is_staff
        assert user.is_superuser == (name == "admin")
    ada = User.objects.get(username="ada")
    assert [trip.title for trip in ada.trips.all()] == [
        "Iberian rivers",
        "Northern light",
    ]
    assert ada.has_perms(["atlas.view_city", "atlas.add_trip", "atlas.change_stop"])
    assert not ada.has_perm("atlas.change_city")
    assert not ada.has_perm("auth.view_user")


def test_demo_users_are_left_as_they_are_the_second_time(atlas, settings):
    settings.DEBUG = True
    load(demo_users=True)
    ada = User.objects.get(username="ada")
    ada.set_password("changed")
    ada.save()
    ada.trips.all().delete()
    output = load(demo_users=True)

    assert "Created" not in output
    ada.refresh_from_db()
    assert ada.check_password("changed")
    assert not ada.trips.exists()


def test_demo_users_need_debug(atlas, settings):
    settings.DEBUG = False

    with pytest.raises(CommandError, match="needs DEBUG = True"):
        load(demo_users=True)
    assert not User.objects.exists()
