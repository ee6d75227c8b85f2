"""The tables of the atlas: who sees which rows, and who may write them."""

from datetime import date

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser

from mcp_channels.testing import MCPCommunicator, RequestFailed
from project.atlas.models import City, Stop, Trip

pytestmark = pytest.mark.django_db(transaction=True)

OPEN = {"cities", "countries"}


@pytest.fixture
def ada(atlas, make_user):
    return make_user("ada")


@pytest.fixture
def connect(atlas):
    def connect(user=None):
        return MCPCommunicator(user, headers=[(b"host", b"localhost")])

    return connect


@pytest.mark.parametrize("table", ["cities", "countries", "trips", "stops"])
@pytest.mark.parametrize("is_signed_in", [False, True])
async def test_table_is_listed_for_those_who_may_see_it(
    table, is_signed_in, connect, ada
):
    async with connect(ada if is_signed_in else AnonymousUser()) as client:
        if is_signed_in or table in OPEN:
            page = await client.call_tool(f"list_{table}")

            assert "rows" in page["structuredContent"]
        else:
            with pytest.raises(RequestFailed, match="Unknown tool"):
                await client.call_tool(f"list_{table}")


async def test_city_is_found_and_shown_with_its_country(connect):
    async with connect() as client:
        page = await client.call_tool(
            "list_cities",
            {
                "search": "Lis",
                "filters": {"country__continent": "EU"},
                "fields": ["name", "country", "country__continent"],
            },
        )

    assert page["structuredContent"]["rows"] == [
        {
            "pk": 2267057,
            "name": "Lisbon",
            "country": {"pk": "PT", "label": "Portugal", "continent": "EU"},
        }
    ]


async def test_countries_are_counted_by_continent(connect):
    async with connect() as client:
        counted = await client.call_tool(
            "aggregate_countries", {"measures": ["count"], "group_by": ["continent"]}
        )
    groups = counted["structuredContent"]["groups"]

    assert sum(group["measures"]["count"] for group in groups) == 250
    assert len(groups) == 7


async def test_trip_is_written_as_its_owners(connect, ada):
    async with connect(ada) as client:
        made = await client.call_tool(
            "create_trip", {"values": {"title": "North", "starts_on": "2030-01-01"}}
        )
        trip = made["structuredContent"]["row"]["pk"]
        stop = {"trip": trip, "position": 1, "city": 2267057, "nights": 2}
        await client.call_tool("create_stop", {"values": stop})
        read = await client.call_tool("get_trip", {"pk": trip})

    assert read["structuredContent"]["row"] == {
        "pk": trip,
        "title": "North",
        "starts_on": "2030-01-01",
        "ends_on": "2030-01-03",
        "nights": 2,
        "stops": [
            {
                "pk": (await Stop.objects.aget()).pk,
                "label": "1. Lisbon, Portugal",
            }
        ],
    }
    assert (await Trip.objects.aget()).owner_id == ada.pk


@pytest.mark.parametrize("verb", ["get", "update", "delete"])
async def test_trip_of_another_is_not_there(verb, connect, ada, make_user):
    grace = await sync_to_async(make_user)("grace")
    trip = await Trip.objects.acreate(
        owner=grace, title="South", starts_on=date(2030, 1, 1)
    )
    city = await City.objects.aget(pk=2267057)
    stop = await Stop.objects.acreate(trip=trip, position=1, city=city, nights=1)
    values = {"values": {"title": "Mine"}} if verb == "update" else {}
    async with connect(ada) as client:
        of_trip = await client.call_tool(f"{verb}_trip", {"pk": trip.pk, **values})
        values = {"values": {"nights": 5}} if verb == "update" else {}
        of_stop = await client.call_tool(f"{verb}_stop", {"pk": stop.pk, **values})

    assert of_trip["isError"]
    assert of_trip["content"][0]["text"] == f"There is no trip {trip.pk}."
    assert of_stop["content"][0]["text"] == f"There is no stop {stop.pk}."
    assert (await Trip.objects.aget()).title == "South"
    assert (await Stop.objects.aget()).nights == 1
