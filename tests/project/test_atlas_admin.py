from datetime import date

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command

from project.atlas.models import Trip


@pytest.fixture
def users(atlas, settings):
    settings.DEBUG = True
    call_command("load_atlas", demo_users=True, verbosity=0)
    return {user.username: user for user in get_user_model().objects.all()}


@pytest.fixture
def sign_in(users, client):
    def sign_in(name):
        assert client.login(username=name, password=name)
        return client

    return sign_in


def form(owner, **fields):
    return {
        "owner": owner.pk,
        "title": "Away",
        "starts_on": "2030-01-01",
        "stops-TOTAL_FORMS": 1,
        "stops-INITIAL_FORMS": 0,
        "stops-0-position": 1,
        "stops-0-city": 2267057,
        "stops-0-nights": 2,
        **fields,
    }


@pytest.mark.parametrize("model", ["country", "city", "trip"])
def test_superuser_sees_every_list_and_form(sign_in, model):
    admin = sign_in("admin")
    pk = {"country": "PT", "city": 2267057, "trip": Trip.objects.first().pk}[model]

    assert admin.get(f"/admin/atlas/{model}/").status_code == 200
    assert admin.get(f"/admin/atlas/{model}/?q=lisb").status_code == 200
    assert admin.get(f"/admin/atlas/{model}/{pk}/change/").status_code == 200


def test_traveller_sees_only_trips_of_her_own(sign_in):
    ada = sign_in("ada")
    foreign = Trip.objects.get(title="Pacific arc")
    page = ada.get("/admin/atlas/trip/").content.decode()

    assert "Iberian rivers" in page
    assert "Pacific arc" not in page
    assert ada.get(f"/admin/atlas/trip/{foreign.pk}/change/").status_code == 302


def test_traveller_plans_a_trip_for_herself(sign_in, users):
    sign_in("ada").post("/admin/atlas/trip/add/", form(users["ada"]))

    trip = Trip.objects.get(title="Away")
    assert (trip.owner, trip.ends_on) == (users["ada"], date(2030, 1, 3))


def test_traveller_cannot_plan_for_somebody_else(sign_in, users):
    response = sign_in("ada").post("/admin/atlas/trip/add/", form(users["grace"]))

    assert b"Select a valid choice" in response.content
    assert not Trip.objects.filter(title="Away").exists()


def test_traveller_is_told_of_a_trip_that_is_there_already(sign_in, users):
    ada = sign_in("ada")
    ada.post("/admin/atlas/trip/add/", form(users["ada"]))
    response = ada.post("/admin/atlas/trip/add/", form(users["ada"]))

    assert b"There is such a trip already" in response.content


def test_traveller_cannot_change_places(sign_in):
    ada = sign_in("ada")

    assert ada.get("/admin/atlas/city/").status_code == 200
    assert ada.get("/admin/atlas/city/add/").status_code == 403
    assert ada.post("/admin/atlas/country/PT/delete/").status_code == 403
