"""The fields of django.contrib.postgres, in and out."""

import math
from typing import Any

import pytest
from django.contrib.postgres import fields

from mcp_channels import ModelTools, register
from mcp_channels.checks import check_registry
from mcp_channels.server.registry import registry
from tests.postgres.models import Page, Room
from tests.shop.counter import Counter

VALUES = {
    "name": "Blue room",
    "labels": ["quiet", "with, comma", 'quo"ted', "NULL", "{}"],
    "seats": [[1, None], [3, 4]],
    "closed_on": ["2026-12-24", "2026-12-31"],
    "equipment": {"screens": "2", "note": None, "": "=>"},
    "floors": {"lower": 1, "upper": 3, "bounds": "[)"},
    "budget_ids": {"lower": 9007199254740993, "upper": None, "bounds": "[)"},
    "price": {"lower": "10.50", "upper": "20.00", "bounds": "(]"},
    "open_days": {"lower": "2026-01-01", "upper": "2027-01-01", "bounds": "[)"},
    "booked": {
        "lower": "2026-07-01T10:00:00.000001Z",
        "upper": "2026-07-01T12:00:00Z",
        "bounds": "()",
    },
    "address": "2001:db8::1",
    "area": 12.5,
}
OPERATIONS = ["list", "get", "create", "update", "aggregate"]
FILTERS = {
    "labels": ["exact", "contains", "contained_by", "overlap", "len__gt"],
    "seats": ["exact"],
    "closed_on": ["contains"],
    "equipment": ["exact", "has_key", "has_keys", "has_any_keys", "isnull"],
    "floors": ["exact", "contains", "contained_by", "overlap", "isnull"],
    "price": ["contains"],
    "open_days": ["contains"],
    "booked": ["contains", "overlap"],
    "address": ["exact", "in", "gt", "startswith"],
}


@pytest.fixture
def rooms(db) -> Counter:
    counter = Counter()
    counter.expose(
        Room, fields=[*VALUES, "plan"], operations=OPERATIONS, filters=FILTERS
    )
    return counter


@pytest.fixture
def room(rooms) -> Any:
    return rooms.call("create_room", values=VALUES)["row"]


def test_every_field_is_written_and_read(rooms, room) -> None:
    read = rooms.call("get_room", pk=room["pk"])["row"]

    assert read == room == {"pk": room["pk"], **VALUES, "plan": None}


def test_every_field_of_postgresql_is_tried() -> None:
    tried = {type(field).__name__ for field in Room._meta.fields}
    # Those that stand in migrations only, and what others are made of.
    ended = {"CICharField", "CIEmailField", "CITextField"}
    others = {"RangeField", "JSONField"}
    known = {name for name in vars(fields) if name.endswith("Field")}

    assert known - tried - ended - others == set()


def test_change_of_one_field_touches_no_other(rooms, room) -> None:
    for name, value in VALUES.items():
        rooms.call("update_room", pk=room["pk"], values={name: value})

    rooms.call("update_room", pk=room["pk"], values={"name": "Red room"})
    read = rooms.call("get_room", pk=room["pk"])["row"]

    assert read == {**room, "name": "Red room"}


def test_every_field_can_be_emptied(rooms, room) -> None:
    empty = {"labels": [], "closed_on": [], "equipment": {}} | dict.fromkeys(
        ["seats", "floors", "budget_ids", "price", "open_days", "booked", "address"]
    )
    row = rooms.call("update_room", pk=room["pk"], values=empty)["row"]

    assert row == {**room, **empty}


def test_what_is_not_given_is_null_where_it_may_be(rooms) -> None:
    row = rooms.call("create_room", values={"name": "Bare"})["row"]
    empty = {"labels": [], "closed_on": [], "equipment": {}}

    assert row == {"pk": row["pk"], **dict.fromkeys([*VALUES, "plan"]), **empty} | {
        "name": "Bare"
    }


def test_bounds_of_whole_numbers_become_those_of_postgresql(rooms) -> None:
    given = {"lower": 1, "upper": 3, "bounds": "(]"}
    row = rooms.call("create_room", values={"name": "A", "floors": given})["row"]

    assert row["floors"] == {"lower": 2, "upper": 4, "bounds": "[)"}


def test_empty_range_is_read(rooms) -> None:
    room = Room.objects.create(name="A", floors=(1, 1))
    row = rooms.call("get_room", pk=room.pk)["row"]

    assert row["floors"] == {"lower": None, "upper": None, "bounds": "empty"}


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        ({"labels": ["x" * 21]}, "values.labels[0]: it is longer than 20 characters"),
        ({"labels": ["a\0"]}, "values.labels"),
        ({"labels": [""]}, "values.labels[0]: it is shorter than 1 character"),
        ({"seats": [[1], [2, 3]]}, "Nested arrays must have the same length."),
        ({"seats": [[2**31]]}, "values.seats[0][0]: it is greater than the maximum"),
        ({"closed_on": ["2026-01-01"] * 4}, "values.closed_on: it has more than 3"),
        ({"closed_on": ["soon"]}, "values.closed_on[0]"),
        ({"equipment": {"a": 1}}, "values.equipment.a: expected string or null"),
        (
            {"equipment": {"a\0": "b"}},
            "values.equipment: a text cannot contain the character NUL.",
        ),
        (
            {"floors": {"lower": 3, "upper": 1}},
            "values.floors: the lower bound is above",
        ),
        ({"floors": {"lower": 2**31}}, "values.floors.lower: it is greater"),
        ({"floors": {"lower": 1, "bounds": "("}}, "values.floors.bounds"),
        ({"floors": {"upper": 2**31 - 1, "bounds": "(]"}}, "does not fit into the"),
        ({"floors": {"least": 1}}, "values.floors.least: unknown argument"),
        ({"booked": {"lower": [1]}}, "values.booked.lower: expected string or null"),
        ({"open_days": {"lower": "soon"}}, "values.open_days.lower"),
        ({"address": "nowhere"}, "values.address: Enter a valid IPv4 or IPv6 address."),
    ],
)
def test_what_does_not_fit_is_refused(rooms, values, refusal) -> None:
    assert refusal in rooms.refusal("create_room", values={"name": "A", **values})


@pytest.mark.parametrize(
    "fitting",
    [
        {"labels": VALUES["labels"]},
        {"labels__contains": ["quiet", "{}"]},
        {"labels__contained_by": [*VALUES["labels"], "more"]},
        {"labels__overlap": ["more", "NULL"]},
        {"labels__len__gt": 4},
        {"seats": VALUES["seats"]},
        {"closed_on__contains": ["2026-12-31"]},
        {"equipment": VALUES["equipment"]},
        {"equipment__has_key": "note"},
        {"equipment__has_keys": ["note", "screens"]},
        {"equipment__has_any_keys": ["no", "screens"]},
        {"equipment__isnull": False},
        {"floors": {"lower": 0, "upper": 2, "bounds": "(]"}},
        {"floors__contains": 2},
        {"floors__contains": {"lower": 1, "upper": 2}},
        {"floors__contains": {"bounds": "empty"}},
        {"floors__contained_by": {"upper": 9}},
        {"floors__overlap": {"lower": 2}},
        {"floors__isnull": False},
        {"price__contains": "20.00"},
        {"open_days__contains": "2026-12-31"},
        {"booked__contains": "2026-07-01T10:00:00.000002Z"},
        {"booked__overlap": {"lower": "2026-07-01T11:00:00Z", "upper": None}},
        {"address": "2001:DB8:0::1"},
        {"address__in": ["::1", "2001:db8::1"]},
        {"address__gt": "::1"},
        {"address__startswith": "2001:"},
    ],
)
def test_filter_finds_what_fits(rooms, room, fitting) -> None:
    assert rooms.call("list_rooms", filters=fitting)["rows"] == [room]


@pytest.mark.parametrize(
    "unfitting",
    [
        {"labels": ["quiet"]},
        {"labels__contains": ["more"]},
        {"labels__contained_by": ["quiet"]},
        {"labels__len__gt": 5},
        {"equipment": {}},
        {"equipment__has_keys": ["note", "no"]},
        {"floors": {"lower": 1, "upper": 3, "bounds": "[]"}},
        {"floors": {"bounds": "empty"}},
        {"floors__contains": 3},
        {"floors__overlap": {"lower": 3}},
        {"price__contains": "10.50"},
        {"booked__contains": "2026-07-01T10:00:00.000001Z"},
        {"address__gt": "2001:db8::1"},
    ],
)
def test_filter_leaves_out_what_does_not(rooms, room, unfitting) -> None:
    assert rooms.call("list_rooms", filters=unfitting)["rows"] == []


@pytest.mark.parametrize(
    ("filters", "refusal"),
    [
        # In Django's hands a text would be the name of another column.
        ({"floors__contains": "budget_ids"}, "filters.floors__contains: expected"),
        ({"floors__contains": 2**31}, "filters.floors__contains"),
        ({"floors": {"lower": 2, "upper": 1}}, "filters.floors: the lower bound is"),
        ({"booked__contains": "0001-01-01T00:00:00Z"}, "filters.booked__contains: the"),
        ({"labels__contains": []}, "filters.labels__contains: it has less than 1 item"),
        ({"labels__overlap": ["x"] * 101}, "filters.labels__overlap: it has more than"),
        ({"labels": ["a\0"]}, "filters.labels: a text cannot contain"),
        ({"equipment": {"a": "\0"}}, "filters.equipment: a text cannot contain"),
        ({"address__gt": "nowhere"}, "filters.address__gt: it is no IP address."),
    ],
)
def test_filter_with_what_cannot_be_is_refused(rooms, filters, refusal) -> None:
    assert refusal in rooms.refusal("list_rooms", filters=filters)


def test_rows_are_grouped_and_measured(rooms) -> None:
    Room.objects.create(name="A", address="::1", area=1)
    Room.objects.create(name="B", address="::1", area=2)
    Room.objects.create(name="C", area=math.inf)
    found = rooms.call(
        "aggregate_rooms", measures=["count", "area__sum"], group_by=["address"]
    )

    assert found["groups"] == [
        {"group": {"address": "::1"}, "measures": {"count": 2, "area__sum": 3.0}},
        {"group": {"address": None}, "measures": {"count": 1, "area__sum": None}},
    ]


def test_version_is_of_every_field_and_of_nothing_else(rooms, room) -> None:
    def version() -> str:
        return rooms.call("get_room", pk=room["pk"])["version"]

    Room.objects.update(plan=b"plan")
    before = version()

    assert version() == before
    for name, value in {
        "labels": ["loud"],
        "equipment": {"note": ""},
        "price": (1, 2),
        "plan": b"PLAN",
    }.items():
        Room.objects.update(**{name: value})
        assert version() != before
        before = version()


def test_field_without_a_json_form_is_refused_at_start() -> None:
    tools = type("PageTools", (ModelTools,), {"fields": ["text", "vector"]})
    register(Page)(tools)
    try:
        errors = [(found.id, found.msg) for found in check_registry(None)]
    finally:
        del registry.exposures[Page]

    assert registry.tools == {}
    assert errors == [
        (
            "mcp_channels.E003",
            "tests.postgres.test_fields.PageTools: 'vector': SearchVectorField has no "
            "JSON form. Leave it out, or name a method with a return annotation "
            "instead.",
        )
    ]
