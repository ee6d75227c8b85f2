"""Lists: orders, and pages that stay right while rows come and go."""

import datetime as dt
import json
import math
import random
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.core.signing import Signer
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from mcp_channels import ToolError
from mcp_channels.modeltools.allowlist import Allowlist
from mcp_channels.modeltools.query import Ordering, Pages
from mcp_channels.server.pagination import decode_cursor, encode_cursor
from tests.shop.counter import Anybody, Counter
from tests.shop.models import (
    Book,
    Category,
    Customer,
    Delivery,
    Invoice,
    Product,
    Sample,
    Seat,
    Supplier,
    Tag,
)

pytestmark = pytest.mark.django_db

UTC = dt.UTC


@pytest.fixture
def counter() -> Counter:
    return Counter()


def walk(counter: Counter, tool: str, between: Any = None, **arguments: Any) -> Any:
    """Return the keys of all pages; call `between` with those so far after each."""
    keys: list[Any] = []
    page: dict[str, Any] = {"next_cursor": None}
    while True:
        page = counter.call(tool, **arguments)
        keys += [
            tuple(row["pk"]) if isinstance(row["pk"], list) else row["pk"]
            for row in page["rows"]
        ]
        if page["next_cursor"] is None:
            return keys
        arguments["cursor"] = page["next_cursor"]
        assert len(keys) < 1000
        if between is not None:
            between(keys)


# Every type that has an order, with ties, extremes and nothing at all.
ORDERED: dict[str, list[Any]] = {
    "key": [UUID(int=n % 5) for n in range(11)],
    "text": ["", "a", "A", "é", "a b", "'", "\\", "a\nb", "x" * 600, "x" * 601, "日"],
    "slug": ["b", "a", "a", "c", "", "", "b", "c", "a", "d", "e"],
    "flag": [True, None, False, True, None, False, True, False, None, True, None],
    "size": [1, 2, None, 1, 2, None, 1, 2, None, 1, 2],
    "big": [2**63 - 1, -(2**63), 0, None, 2**53 + 1, 2**53, 1, None, -1, 0, 5],
    "ratio": [0.1 + 0.2, 0.3, -0.0, None, 1e308, -1e308, 5e-324, 0.0, None, 1, 2],
    "amount": [
        Decimal(text) if text else None
        for text in (
            *("0.1", "0.100001", "-5", "", "12345678901234.000001", "0", "0.3"),
            *("", "0.3", "0.299999", "1"),
        )
    ],
    "day": [dt.date.min, dt.date.max, None, *[dt.date(2026, 1, 1 + n % 3) for n in
            range(8)]],
    "moment": [
        None if n % 4 == 0 else dt.datetime(2026, 1, 1, 0, 0, 0, n % 3, tzinfo=UTC)
        for n in range(11)
    ],
    "clock": [None if n % 4 == 0 else dt.time(1, 2, 3, n % 3) for n in range(11)],
    "span": [
        None if n % 4 == 0 else dt.timedelta(days=n % 3 - 1, microseconds=n % 2)
        for n in range(11)
    ],
}  # fmt: skip


@pytest.fixture
def samples() -> list[Sample]:
    made = [
        Sample.objects.create(**{name: values[n] for name, values in ORDERED.items()})
        for n in range(11)
    ]
    random.Random(5).shuffle(made)
    return made


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("name", [*ORDERED, "address", "shouted", "path", "pk"])
def test_pages_are_the_list_in_pieces(counter, samples, name, sign):
    fields = [*ORDERED, "address", "shouted", "path"]
    counter.expose(Sample, fields=fields)
    order = [f"{sign}{name}"]

    whole = walk(counter, "list_samples", ordering=order, page_size=200)

    assert len(whole) == len(set(whole)) == 11
    for size in (1, 2, 3, 10, 11):
        ordering = {"ordering": order, "page_size": size, "fields": ["slug"]}
        assert walk(counter, "list_samples", **ordering) == whole


@pytest.mark.parametrize(
    "order",
    [
        ["slug", "-size"],
        ["-flag", "size", "-moment"],
        ["size", "-pk"],
        ["-amount", "ratio", "day", "clock", "-span"],
    ],
)
def test_orders_can_be_combined(counter, samples, order):
    counter.expose(Sample, fields=[*ORDERED])
    expected = [
        row.pk
        for row in Sample.objects.order_by(
            *(
                F(name[1:]).desc(nulls_last=True)
                if name.startswith("-")
                else F(name).asc(nulls_last=True)
                for name in [*order, "pk"]
            )
        )
    ]

    assert walk(counter, "list_samples", ordering=order, page_size=2) == expected


def test_nothing_is_lost_or_seen_twice_while_rows_come_and_go(counter):
    rows = [Sample.objects.create(size=n % 3, slug=f"{n}") for n in range(30)]
    counter.expose(Sample, fields=["size", "slug"])
    stable = {row.pk for row in rows[1::2]}
    doomed = rows[::2]

    def disturb(keys: list[int]) -> None:
        for row in doomed[:2]:  # the last row of a page is among them
            row.delete()
        del doomed[:2]
        Sample.objects.create(size=0, slug="new")
        Sample.objects.create(size=2, slug="new")

    for order in (["-size"], ["size", "-slug"], ["slug"]):
        keys = walk(counter, "list_samples", disturb, ordering=order, page_size=4)

        assert len(keys) == len(set(keys))
        assert stable <= set(keys)


def test_the_row_a_cursor_stands_at_may_be_gone(counter):
    rows = [Sample.objects.create(size=1) for _ in range(4)]
    counter.expose(Sample, fields=["size"], ordering=["-size"])
    page = counter.call("list_samples", page_size=2)
    Sample.objects.filter(pk__in=[rows[0].pk, rows[1].pk]).delete()

    rest = counter.call("list_samples", page_size=2, cursor=page["next_cursor"])

    assert [row["pk"] for row in rest["rows"]] == [rows[2].pk, rows[3].pk]
    assert rest["next_cursor"] is None


def test_a_decimal_that_sqlite_keeps_as_a_float_is_not_lost(counter):
    tea = Category.objects.create(name="Tea", slug="tea")
    for number in range(6):
        Product.objects.create(
            name=f"{number}", sku=f"{number}", price="19.99", stock=3, category=tea
        )
    # Shown as 22.11 and 66.34, whatever is in the column.
    Product.objects.filter(sku__lt="4").update(price=F("price") * 1.1063)
    fields = ["price", "value", "category__name"]
    counter.expose(Product, fields=fields)

    for order in (["price"], ["-price"], ["value"], ["-value", "price"]):
        assert len(walk(counter, "list_products", ordering=order, page_size=1)) == 6


def test_numbers_that_are_none_are_in_a_cursor(counter):
    exposure = counter.expose(Sample, fields=["ratio"])
    (term, _) = exposure.ordering.terms(["ratio"], counter.context, {})

    for value in (math.inf, -math.inf, 0.5, None):
        assert term.decode(json.loads(json.dumps(term.encode(value)))) == value
    assert math.isnan(term.decode(term.encode(math.nan)))


@pytest.mark.parametrize(
    ("model", "make"),
    [
        (Seat, lambda n: Seat(row="ab"[n % 2], number=n)),
        (Tag, lambda n: Tag(name=f"{n}/ä")),
        (Customer, lambda n: Customer(name=str(n), owner_id=None)),
        (Book, lambda n: Book(name="a", sku=str(n), price=1, isbn="", category_id=1)),
    ],
)
def test_every_kind_of_key_makes_pages(counter, django_user_model, model, make):
    Category.objects.create(pk=1, name="Tea", slug="tea")
    owner = django_user_model.objects.create(username="ada")
    for number in range(5):
        row = make(number)
        if model is Customer:
            row.owner = owner
        row.save()
    names = {Seat: "number", Tag: "name"}
    exposure = counter.expose(model, fields=[names.get(model, "name")])
    tool = exposure.operations["list"].name

    for order in (["pk"], ["-pk"], [exposure.ordering.names[-1]]):
        keys = walk(counter, tool, ordering=order, page_size=2)

        assert len(keys) == len(set(keys)) == 5
    backwards = walk(counter, tool, ordering=["-pk"], page_size=2)
    assert backwards == walk(counter, tool, ordering=["pk"], page_size=3)[::-1]


# Through relations


@pytest.fixture
def deliveries() -> list[Delivery]:
    made = []
    for number in range(7):
        supplier = Supplier.objects.create(code=f"s{number}")
        made.append(
            Delivery.objects.create(
                supplier=supplier, title=f"d{number}", day="2026-01-01"
            )
        )
        if number % 2:
            Invoice.objects.create(delivery=made[-1], total=number % 3)
    return made


ORDERS = ["title", "supplier__code", "invoice__total"]


@pytest.mark.parametrize("order", [["supplier__code"], ["-invoice__total"]])
def test_pages_are_ordered_by_a_related_row(counter, deliveries, order):
    counter.expose(Delivery, fields=ORDERS, ordering_fields=ORDERS)

    whole = walk(counter, "list_deliverys", ordering=order, page_size=200)

    assert len(whole) == len(set(whole)) == 7
    assert walk(counter, "list_deliverys", ordering=order, page_size=2) == whole
    if "-invoice__total" in order:
        rows = Delivery.objects.in_bulk()
        assert [rows[key].invoice.total for key in whole[:3]] == [2, 1, 0]
        assert whole[3:] == sorted(whole[3:])


def test_an_order_tells_nothing_of_hidden_rows(counter, deliveries):
    counter.expose(
        Supplier,
        fields=["code"],
        get_queryset=lambda self, context: Supplier.objects.filter(code="s3"),
    )
    counter.expose(Delivery, fields=ORDERS, ordering_fields=ORDERS)

    for sign in ("", "-"):
        order = [f"{sign}supplier__code"]
        keys = walk(counter, "list_deliverys", ordering=order, page_size=2)

        titles = [Delivery.objects.get(pk=key).title for key in keys]
        # What may not be seen is missing, and so comes last, by its key.
        assert titles == ["d3", "d0", "d1", "d2", "d4", "d5", "d6"]


def test_an_order_by_what_may_not_be_seen_is_refused_or_left_out(deliveries):
    clerk = Counter(Anybody("shop.view_delivery"))
    clerk.expose(
        Delivery,
        fields=ORDERS,
        ordering_fields=ORDERS,
        ordering=["-supplier__code", "-title"],
    )

    assert clerk.refusal("list_deliverys", ordering=["supplier__code"]) == (
        "ordering: you may not see any suppliers."
    )
    # Nobody asked for it, so it is not theirs to mend.
    keys = walk(clerk, "list_deliverys", page_size=3)
    assert keys == [row.pk for row in reversed(deliveries)]


def test_the_usual_order_does_without_what_cannot_be_found_out(
    counter, deliveries, monkeypatch
):
    monkeypatch.setattr("mcp_channels.modeltools.reach.MOST_ASKED", 1)
    counter.expose(
        Supplier,
        fields=["code"],
        has_view_permission=lambda self, context, obj=None: not obj,
    )
    order = ["supplier__code", "-title"]
    counter.expose(Delivery, fields=ORDERS, ordering_fields=ORDERS, ordering=order)

    refusal = counter.refusal("list_deliverys", ordering=["supplier__code"])
    assert refusal.startswith("ordering: There are more than 1 suppliers, too many")
    keys = walk(counter, "list_deliverys", page_size=3)
    assert keys == [row.pk for row in reversed(deliveries)]


# Rows that only a permission knows


def few(self: Any, context: Any, obj: Any = None) -> bool:
    return obj is None or obj.size == 1


def test_pages_are_full_of_rows_that_are_seen(counter):
    rows = [Sample.objects.create(size=n % 4, slug=f"secret-{n}") for n in range(40)]
    counter.expose(Sample, fields=["slug"], ordering=["slug"], has_view_permission=few)
    page = counter.call("list_samples", page_size=4)

    assert len(page["rows"]) == 4
    keys = walk(counter, "list_samples", page_size=4)
    assert sorted(keys) == [row.pk for row in rows[1::4]]


def test_a_cursor_holds_nothing_of_hidden_rows(counter):
    for number in range(8):
        Sample.objects.create(size=number % 2, slug=f"secret-{number}")
    counter.expose(Sample, fields=["slug"], ordering=["slug"], has_view_permission=few)
    arguments: dict[str, Any] = {"page_size": 1}
    while True:
        page = counter.call("list_samples", **arguments)
        if page["next_cursor"] is None:
            break
        arguments["cursor"] = page["next_cursor"]
        _, values = Signer(salt="mcp_channels.cursor").unsign_object(
            page["next_cursor"]
        )

        assert json.loads(values)[0] == page["rows"][-1]["slug"]


def test_too_many_hidden_rows_are_not_looked_through(counter, monkeypatch):
    monkeypatch.setattr("mcp_channels.modeltools.query.MOST_ASKED", 200)
    Sample.objects.bulk_create([Sample(size=0) for _ in range(199)])
    counter.expose(Sample, fields=["slug"], has_view_permission=few)

    for size in (1, 200):
        with CaptureQueriesContext(connection) as queries:
            assert counter.call("list_samples", page_size=size)["rows"] == []
        assert len(queries) <= 2
    Sample.objects.create(size=0)
    assert counter.refusal("list_samples", page_size=1) == (
        "There are too many rows to find out which of them you may see. Narrow them "
        "down with filters."
    )


# Cursors


@pytest.mark.parametrize("cursor", ["", "x", "5", "bm9uZQ:1:x", "é\0"])
def test_a_cursor_that_was_not_given_is_refused(counter, cursor):
    counter.expose(Sample, fields=["size"])

    assert counter.refusal("list_samples", cursor=cursor) == (
        "cursor: it was not given for this list in this order. Leave it out to begin "
        "anew."
    )


def test_a_cursor_is_good_for_its_list_and_order_alone(counter, samples):
    counter.expose(Sample, fields=["size", "slug"])
    counter.expose(Tag, fields=["name"])
    Tag.objects.create(name="a")
    page = counter.call("list_samples", page_size=1, ordering=["size"])
    cursor = page["next_cursor"]

    assert counter.call("list_samples", cursor=cursor, ordering=["size"])["rows"]
    for arguments in ({}, {"ordering": ["-size"]}, {"ordering": ["size", "slug"]}):
        refusal = counter.refusal("list_samples", cursor=cursor, **arguments)
        assert refusal.startswith("cursor: it was not given for this list")
    assert counter.refusal("list_tags", cursor=cursor).startswith("cursor: ")


@pytest.mark.parametrize("values", ["[5]", '["x", 5]', "[{}, 5]", "[null]", "x"])
def test_a_cursor_of_what_the_model_was_before_is_refused(counter, values):
    exposure = counter.expose(Sample, fields=["day"])
    terms = exposure.ordering.terms(["day"], counter.context, {})
    pages = Pages(exposure.label, terms)
    cursor = encode_cursor(pages._kind, values)

    assert decode_cursor(pages._kind, cursor) == values
    with pytest.raises(ToolError, match="cursor: it was not given for this list"):
        pages.take(Sample.objects.all(), cursor, 5)


def test_a_long_text_is_in_no_cursor(counter):
    for number in range(4):
        Sample.objects.create(text="x" * 10_000 + str(number))
    counter.expose(Sample, fields=["text", "slug"])
    page = counter.call("list_samples", ordering=["text"], fields=["slug"], page_size=2)

    assert len(page["next_cursor"]) < 1500


@pytest.mark.sqlite
def test_a_page_is_one_query_that_an_index_serves(counter, samples):
    counter.expose(Product, fields=["sku"])
    with CaptureQueriesContext(connection) as queries:
        for arguments in ({}, {"ordering": ["-sku"]}):
            counter.call("list_products", **arguments)
    assert len(queries) == 2

    tea = Category.objects.create(name="Tea", slug="tea")
    for number in range(3):
        Product.objects.create(name="a", sku=str(number), price=1, category=tea)
    page = counter.call("list_products", ordering=["sku"], page_size=1)
    with CaptureQueriesContext(connection) as queries:
        counter.call(
            "list_products", ordering=["sku"], page_size=1, cursor=page["next_cursor"]
        )
    (query,) = queries
    with connection.cursor() as database:
        database.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
        plan = " ".join(row[-1] for row in database.fetchall())

    assert "SEARCH shop_product USING INDEX" in plan
    assert "TEMP B-TREE" not in plan.replace("LAST TERM", "")


# What a site may say


def order(model: Any, fields: list[str], *arguments: Any) -> Ordering:
    return Ordering(Allowlist(model, fields, None), *arguments)


FIELDS = [
    *("name", "stock", "details", "is_available", "category__name", "tags__name"),
    "book__isbn",
]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nope", "is no column with an order among the fields."),
        ("-name", "is no column with an order among the fields. An order tells what"),
        ("", "is no column with an order among the fields."),
        ("?", "is no column with an order among the fields."),
        ("sku", "is no column with an order among the fields."),
        ("details", "is no column with an order among the fields."),
        ("is_available", "is no column with an order among the fields."),
        ("category", "is no column with an order among the fields."),
        ("category__slug", "is no column with an order among the fields."),
        ("tags__name", "leads to several rows, of which nobody knows which one counts"),
    ],
)
def test_what_has_no_order_is_a_problem(name, reason):
    (problem,) = order(Product, FIELDS, [name], []).problems

    assert problem.startswith(f"ordering {name!r} {reason}")


def test_the_usual_order_is_checked_too():
    problems = order(Product, FIELDS, [], ["-name", "--name", "nope"]).problems

    assert [problem.split()[1] for problem in problems] == ["'-name'", "'nope'"]


def test_all_own_columns_with_an_order_can_be_chosen():
    found = order(Product, FIELDS, None, None, ["name"])

    assert found.names == ["pk", "name", "stock"]
    assert found.problems == []


def test_names_are_what_can_be_chosen():
    found = order(Product, FIELDS, ["category__name", "pk", "book__isbn"], ["-pk"])

    assert found.names == ["pk", "category__name", "book__isbn"]
    assert found.default == ["-pk"]


@pytest.mark.parametrize(
    ("fallback", "default"),
    [
        (["name", "-stock"], ["name", "-stock"]),
        (["-pk"], ["-pk"]),
        (["name", "sku", "stock"], ["name"]),
        (["category__name", "stock"], ["category__name", "stock"]),
        (["category"], []),
        (["details", "name"], []),
        (["name", F("stock").desc()], ["name"]),
        (["?"], []),
        ([], []),
    ],
)
def test_the_order_of_the_model_counts_as_far_as_it_may_be_known(fallback, default):
    found = order(Product, FIELDS, None, None, fallback)

    assert found.default == default
    assert found.problems == []


@pytest.mark.parametrize(
    ("asked", "paths"),
    [
        (None, ["-stock", "pk"]),
        (["name"], ["name", "pk"]),
        (["-name", "name", "stock"], ["-name", "stock", "pk"]),
        (["-pk", "name"], ["-pk"]),
        (["name", "-pk", "stock"], ["name", "-pk"]),
    ],
)
def test_no_two_rows_are_equal(counter, asked, paths):
    ordering = order(Product, FIELDS, None, ["-stock"])
    terms = ordering.terms(asked, counter.context, {})

    assert [f"{'-' * term.is_descending}{term.path}" for term in terms] == paths
