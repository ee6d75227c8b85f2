"""Pages of what PostgreSQL has, or orders, in its own way."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.postgres.models import Room
from tests.shop.counter import Counter
from tests.shop.models import Customer, Order, Seat


def walk(counter: Counter, tool: str, **arguments: Any) -> list[Any]:
    """Return the rows of all pages."""
    rows: list[Any] = []
    while True:
        page = counter.call(tool, **arguments)
        rows += page["rows"]
        if page["next_cursor"] is None:
            return rows
        assert len(page["rows"]) == arguments["page_size"]
        arguments["cursor"] = page["next_cursor"]


@pytest.fixture
def rooms(db) -> Counter:
    counter = Counter()
    counter.expose(Room, fields=["name", "area", "address"], search_fields=["name"])
    return counter


@pytest.mark.parametrize("page_size", [1, 2, 3])
@pytest.mark.parametrize("sign", ["", "-"])
def test_numbers_that_are_none_are_walked_over(rooms, page_size, sign) -> None:
    """PostgreSQL keeps NaN and infinity, of which JSON knows nothing."""
    areas = [1.5, None, math.nan, math.inf, -math.inf, math.nan, None, math.inf, 0.1]
    for number, area in enumerate(areas):
        Room.objects.create(name=str(number), area=area)
    rows = walk(rooms, "list_rooms", ordering=[f"{sign}area"], page_size=page_size)
    order = "4 8 0 3 7 2 5 1 6" if sign == "" else "2 5 3 7 0 8 4 1 6"

    assert [row["name"] for row in rows] == order.split()


@pytest.mark.parametrize("sign", ["", "-"])
def test_texts_are_walked_over_in_the_order_of_their_column(rooms, sign) -> None:
    names = ["b", "B", "a", "ä", "Z", "é", "", " b", "ﬀ", "ß", "zz", "🙂", "a b", "a-b"]
    for name in names:
        Room.objects.create(name=name)
    order = list(Room.objects.order_by(f"{sign}name").values_list("name", flat=True))
    rows = walk(rooms, "list_rooms", ordering=[f"{sign}name"], page_size=1)

    assert [row["name"] for row in rows] == order


def test_search_knows_letters_beyond_ascii(rooms) -> None:
    # SQLite finds them in their own case only.
    Room.objects.create(name="ÄRGER")
    rows = rooms.call("list_rooms", search="ärger")["rows"]

    assert [row["name"] for row in rows] == ["ÄRGER"]


def test_addresses_are_walked_over_as_numbers(rooms) -> None:
    for address in ["10.0.0.10", "10.0.0.9", None, "::1", "9.255.255.255"]:
        Room.objects.create(name="A", address=address)
    rows = walk(rooms, "list_rooms", ordering=["address"], page_size=1)

    assert [row["address"] for row in rows] == [
        *("9.255.255.255", "10.0.0.9", "10.0.0.10", "::1", None)
    ]


@pytest.mark.parametrize("sign", ["", "-"])
def test_moments_are_told_apart_by_their_microseconds(db, sign) -> None:
    user = User.objects.create(username="A")
    customers = [Customer.objects.create(owner=user, name=str(i)) for i in range(2)]
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(8):
        Order.objects.create(
            customer=customers[number % 2],
            placed_at=first + timedelta(microseconds=number // 2),
        )
    orders = Counter()
    orders.expose(Order, fields=["placed_at", "customer"])
    rows = walk(orders, "list_orders", ordering=[f"{sign}placed_at"], page_size=3)
    keys = Order.objects.order_by(f"{sign}placed_at", "pk").values_list("pk", flat=True)

    assert [row["pk"] for row in rows] == list(keys)


@pytest.mark.parametrize("sign", ["", "-"])
def test_keys_that_are_no_numbers_are_walked_over(db, sign) -> None:
    user = User.objects.create(username="A")
    for number in range(5):
        Customer.objects.create(owner=user, name=str(number))
    customers = Counter()
    customers.expose(Customer, fields=["name"])
    rows = walk(customers, "list_customers", ordering=[f"{sign}pk"], page_size=2)
    keys = Customer.objects.order_by(f"{sign}pk").values_list("pk", flat=True)

    assert [row["pk"] for row in rows] == [str(key) for key in keys]


@pytest.mark.parametrize("ordering", [["pk"], ["-pk"], ["guest"], ["-number", "row"]])
def test_keys_of_two_columns_are_walked_over(db, ordering) -> None:
    for row in "ABC":
        for number in range(3):
            Seat.objects.create(row=row, number=number, guest="x" * number)
    seats = Counter()
    seats.expose(Seat, fields=["row", "number", "guest"])
    rows = walk(seats, "list_seats", ordering=ordering, page_size=2)
    order = [*ordering, "pk"] if "pk" not in ordering[0] else ordering
    keys = Seat.objects.order_by(*order).values_list("row", "number")

    assert [tuple(row["pk"]) for row in rows] == list(keys)
