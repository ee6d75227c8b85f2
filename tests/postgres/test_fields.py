"""The fields of django.contrib.postgres, in and out."""

import pytest

from tests.postgres.models import Room
from tests.shop.counter import Counter

VALUES = {
    "name": "Blue room",
    "labels": ["quiet", "with, comma", 'quo"ted', "NULL"],
    "seats": [[1, None], [3, 4]],
    "closed_on": ["2026-12-24", "2026-12-31"],
    "equipment": {"screens": "2", "note": None, "": "empty"},
    "floors": {"lower": 1, "upper": 3, "bounds": "[)"},
    "budget_ids": {"lower": 9007199254740993, "upper": None, "bounds": "[)"},
    "price": {"lower": "10.50", "upper": "20.00", "bounds": "[)"},
    "open_days": {"lower": "2026-01-01", "upper": "2027-01-01", "bounds": "[)"},
    "booked": {
        "lower": "2026-07-01T10:00:00.000001Z",
        "upper": "2026-07-01T12:00:00Z",
        "bounds": "[)",
    },
    "address": "2001:db8::1",
    "area": 12.5,
}

OPERATIONS = ["list", "get", "create", "update", "aggregate"]


@pytest.fixture
def rooms(db) -> Counter:
    counter = Counter()
    counter.expose(Room, fields=[*VALUES, "plan"], operations=OPERATIONS)
    return counter


def test_every_field_is_written_and_read(rooms):
    pk = rooms.call("create_room", values=VALUES)["row"]["pk"]

    assert rooms.call("get_room", pk=pk)["row"] == {"pk": pk, **VALUES, "plan": None}
