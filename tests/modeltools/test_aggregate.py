"""Aggregates: what is measured and grouped, and that nothing else is."""

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import DataError, OperationalError, connection
from django.db.models import Count
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from mcp_channels.modeltools.aggregate import Aggregates
from mcp_channels.modeltools.allowlist import Allowlist
from tests.shop.counter import Anybody, Counter
from tests.shop.models import (
    Book,
    Category,
    Delivery,
    Invoice,
    Offer,
    Product,
    Remark,
    Sample,
    Seat,
    Tag,
)

pytestmark = pytest.mark.django_db

UTC = dt.UTC


@pytest.fixture
def counter() -> Counter:
    return Counter()


FIELDS = [
    *("key", "text", "address", "flag", "size", "big", "ratio", "amount", "day"),
    *("moment", "clock", "span", "data", "blob", "document"),
]


@pytest.fixture
def samples(counter) -> None:
    counter.expose(Sample, fields=FIELDS, operations=["aggregate"])
    for number in range(4):
        Sample.objects.create(
            key=UUID(int=number % 2),
            text="ab"[number % 2],
            address="192.0.2.1",
            flag=number > 0,
            size=1 + number % 2,
            big=number,
            ratio=number / 2,
            amount=Decimal("0.1"),
            day=dt.date(2026, 1 + number, 15),
            moment=dt.datetime(2026, 3, 31, 21 + number % 2, 30 + number, tzinfo=UTC),
            clock=dt.time(number),
            span=dt.timedelta(hours=number),
        )
    Sample.objects.create(key=UUID(int=7))


def measure(counter: Counter, *measures: str, **arguments: Any) -> Any:
    tool = "aggregate_samples"
    (group,) = counter.call(tool, measures=measures, **arguments)["groups"]

    assert group["group"] == {}
    assert list(group["measures"]) == list(measures)

    return list(group["measures"].values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 5),
        ("key__count_distinct", 3),
        ("text__count_distinct", 3),
        ("text__min", ""),
        ("text__max", "b"),
        ("flag__count_distinct", 2),
        ("size__min", 1),
        ("size__max", 2),
        ("size__sum", 6),
        ("size__avg", 1.5),
        ("big__sum", 6),
        ("ratio__sum", 3.0),
        ("ratio__avg", 0.75),
        ("amount__sum", "0.400000"),
        ("amount__min", "0.100000"),
        ("amount__max", "0.100000"),
        ("day__min", "2026-01-15"),
        ("day__max", "2026-04-15"),
        ("moment__max", "2026-03-31T22:33:00Z"),
        ("clock__min", "00:00:00"),
        ("span__sum", "PT21600S"),
        ("span__avg", "PT5400S"),
        ("span__max", "PT10800S"),
    ],
)
def test_a_measure_is_exact(counter, samples, name, value):
    assert measure(counter, name) == [value]


def test_an_average_of_decimals_is_one(counter, samples):
    (average,) = measure(counter, "amount__avg")

    assert Decimal(average) == Decimal("0.1")


def test_several_measures_are_one_query(counter, samples):
    with CaptureQueriesContext(connection) as queries:
        assert measure(counter, "count", "big__sum", "big__max") == [5, 6, 3]
    assert len(queries) == 1


def test_nothing_has_no_sum(counter):
    counter.expose(Sample, fields=FIELDS, operations=["aggregate"])

    assert measure(counter, "count", "big__sum", "amount__min") == [0, None, None]


def groups(counter: Counter, *by: str, tool: str = "aggregate_samples") -> Any:
    """Return the counts by what is grouped by."""
    result = counter.call(tool, measures=["count"], group_by=by)

    assert not result["has_more"]

    return [
        (*group["group"].values(), group["measures"]["count"])
        for group in result["groups"]
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("size", [(1, 2), (2, 2), (None, 1)]),
        ("flag", [(True, 3), (False, 1), (None, 1)]),
        ("text", [("a", 2), ("b", 2), ("", 1)]),
        ("amount", [("0.100000", 4), (None, 1)]),
        ("day__year", [("2026-01-01", 4), (None, 1)]),
        ("day__quarter", [("2026-01-01", 3), ("2026-04-01", 1), (None, 1)]),
        ("day__month", [(f"2026-0{n}-01", 1) for n in (1, 2, 3, 4)] + [(None, 1)]),
        ("day__week", [("2026-01-12", 1), ("2026-02-09", 1), ("2026-03-09", 1),
                       ("2026-04-13", 1), (None, 1)]),
        ("moment__hour", [("2026-03-31T23:00:00+02:00", 2),
                          ("2026-04-01T00:00:00+02:00", 2), (None, 1)]),
        ("moment__day", [("2026-03-31T00:00:00+02:00", 2),
                         ("2026-04-01T00:00:00+02:00", 2), (None, 1)]),
        ("moment__month", [("2026-03-01T00:00:00+01:00", 2),
                           ("2026-04-01T00:00:00+02:00", 2), (None, 1)]),
    ],
)  # fmt: skip
def test_rows_are_grouped(counter, samples, settings, name, expected):
    settings.TIME_ZONE = "Europe/Berlin"
    timezone.deactivate()

    assert sorted(groups(counter, name), key=str) == sorted(expected, key=str)


def test_the_largest_group_comes_first(counter, samples):
    assert [count for *_, count in groups(counter, "size")] == [2, 2, 1]

    result = counter.call(
        "aggregate_samples", measures=["big__sum", "count"], group_by=["size", "flag"]
    )
    sums = [group["measures"]["big__sum"] for group in result["groups"]]
    assert sums == [4, 2, 0, None]


def test_groups_are_capped(counter):
    counter.expose(
        Sample, fields=FIELDS, operations=["aggregate"], max_page_size=2, page_size=1
    )
    Sample.objects.bulk_create([Sample(big=number) for number in range(2)])

    arguments: Any = {"measures": ["count"], "group_by": ["big"]}
    assert not counter.call("aggregate_samples", **arguments)["has_more"]

    Sample.objects.create(big=5)
    result = counter.call("aggregate_samples", **arguments)
    assert len(result["groups"]) == 2 and result["has_more"]


def test_groups_have_a_limit_in_bytes(counter):
    counter.expose(Sample, fields=["text"], operations=["aggregate"], max_bytes=300)
    Sample.objects.create(text="x" * 300)

    assert counter.refusal(
        "aggregate_samples", measures=["count"], group_by=["text"]
    ) == (
        "The groups have more than 300 bytes. Group by less, or narrow the rows down "
        "with filters."
    )
    assert "more than 300 bytes" in counter.refusal(
        "aggregate_samples", measures=["text__max"]
    )


@pytest.mark.sqlite
def test_a_sum_that_is_too_large_is_refused(counter):
    counter.expose(Sample, fields=FIELDS, operations=["aggregate"])
    Sample.objects.bulk_create([Sample(big=2**63 - 1) for _ in range(2)])

    assert counter.refusal("aggregate_samples", measures=["big__sum"]) == (
        "The database cannot compute it: a sum, or a date, is out of its range."
    )


@pytest.mark.parametrize(
    ("error", "is_refused"), [(DataError, True), (OperationalError, False)]
)
def test_a_database_that_fails_is_no_refusal(counter, samples, error, is_refused):
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        raise error("secret")

    with connection.execute_wrapper(fail):
        if is_refused:
            assert "out of its range" in counter.refusal(
                "aggregate_samples", measures=["big__sum"]
            )
        else:
            with pytest.raises(error):
                counter.call("aggregate_samples", measures=["big__sum"])


# Bounds


def names(model: Any, *fields: str) -> tuple[set[str], set[str]]:
    aggregates = Aggregates(Allowlist(model, fields, None))
    return set(aggregates._measures), set(aggregates._groupings)


def test_what_is_not_among_the_fields_is_not_measured():
    measures, groupings = names(Product, "name", "category__name", "is_available")

    assert measures == {"count", "name__count_distinct", "name__min", "name__max"}
    assert groupings == {"name", "category"}


@pytest.mark.parametrize(
    ("model", "field", "groupings"),
    [
        (Product, "category", {"category"}),
        (Product, "tags", set()),
        (Category, "products", set()),
        (Invoice, "delivery", {"delivery"}),
        (Delivery, "invoice", set()),
        (Delivery, "supplier", set()),  # it is referred to by its code
        (Remark, "subject", set()),
        (Book, "name", {"name"}),
        (Seat, "guest", {"guest"}),
    ],
)
def test_rows_are_grouped_by_relations_that_they_have_themselves(
    model, field, groupings
):
    assert names(model, field)[1] == groupings


@pytest.mark.parametrize("field", ["data", "blob", "document"])
def test_what_has_no_order_is_not_measured(field):
    assert names(Sample, field) == ({"count"}, set())


def test_keys_without_an_order_of_their_own_are_counted_alone():
    assert names(Sample, "key")[0] == {"count", "key__count_distinct"}
    assert "flag__min" not in names(Sample, "flag")[0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "measures: "),
        ({"measures": []}, "measures: "),
        ({"measures": ["purchase_price__sum"]}, "measures[0]: "),
        ({"measures": ["name__sum"]}, "measures[0]: "),
        ({"measures": ["category__name__max"]}, "measures[0]: "),
        ({"measures": ["count"] * 11}, "measures: "),
        ({"measures": ["count"], "group_by": ["sku"]}, "group_by[0]: "),
        ({"measures": ["count"], "group_by": ["pk"]}, "group_by[0]: "),
        ({"measures": ["count"], "group_by": ["category__name"]}, "group_by[0]: "),
        ({"measures": ["count"], "group_by": ["name"] * 4}, "group_by: "),
        ({"measures": ["count"], "group_by": ["name__year"]}, "group_by[0]: "),
    ],
)
def test_what_may_not_be_measured_is_refused(counter, arguments, reason):
    counter.expose(Product, fields=["name", "category__name"], operations=["aggregate"])

    assert counter.refusal("aggregate_products", **arguments).startswith(reason)


def test_a_model_without_groups_has_none(counter):
    counter.expose(Sample, fields=["data"], operations=["aggregate"])

    assert measure(counter, "count") == [0]
    assert counter.refusal(
        "aggregate_samples", measures=["count"], group_by=["data"]
    ).startswith("group_by: ")


def test_names_may_be_given_twice(counter, samples):
    result = counter.call(
        "aggregate_samples", measures=["count", "count"], group_by=["text", "text"]
    )

    assert result["groups"][0] == {"group": {"text": "a"}, "measures": {"count": 2}}


# Whose rows


@pytest.fixture
def products() -> dict[str, Product]:
    found = {}
    for number, name in enumerate(["tea", "salt"], 1):
        category = Category.objects.create(name=name, slug=name)
        found[name] = Product.objects.create(
            name=name, sku=name, price=number, stock=number, category=category
        )
    for name in "ab":
        found["tea"].tags.add(Tag.objects.create(name=name))
    return found


AGGREGATED: Any = {
    "fields": ["name", "price", "stock", "category", "tags"],
    "operations": ["aggregate"],
    "filters": {"tags": ["in"], "category": ["exact"]},
    "search_fields": ["name"],
}


def total(counter: Counter, **arguments: Any) -> Any:
    (group,) = counter.call(
        "aggregate_products", measures=["count", "price__sum"], **arguments
    )["groups"]
    return tuple(group["measures"].values())


def test_a_row_counts_once_whatever_it_was_found_through(counter, products):
    counter.expose(Product, **AGGREGATED)

    assert total(counter, filters={"tags__in": ["a", "b"]}) == (1, "1.00")
    assert total(counter, search="salt") == (1, "2.00")
    assert total(counter) == (2, "3.00")


def test_only_rows_in_scope_count_and_each_once(counter, products):
    counter.expose(
        Product,
        **AGGREGATED,
        # It joins, annotates and orders as a site may.
        get_queryset=lambda self, context: (
            Product.objects.filter(tags__isnull=False)
            .annotate(sold=Count("lines"))
            .order_by("tags__name")
        ),
    )

    assert total(counter) == (1, "1.00")
    assert groups(counter, "category", tool="aggregate_products") == [
        (products["tea"].category_id, 1)
    ]


def test_only_rows_that_are_seen_count(counter, products):
    counter.expose(
        Product,
        **AGGREGATED,
        has_view_permission=lambda self, context, obj=None: (
            obj is None or obj.name == "tea"
        ),
    )

    assert total(counter) == (1, "1.00")
    assert total(counter, search="salt") == (0, None)


def test_too_many_rows_to_look_at_are_refused(counter, products, monkeypatch):
    monkeypatch.setattr("mcp_channels.modeltools.reach.MOST_ASKED", 1)
    counter.expose(
        Product, **AGGREGATED, has_view_permission=lambda s, c, obj=None: not obj
    )

    assert counter.refusal("aggregate_products", measures=["count"]).startswith(
        "There are more than 1 products, too many"
    )


def test_who_may_not_view_may_not_count(products):
    clerk = Counter(Anybody("shop.add_product"))
    clerk.expose(Product, **AGGREGATED)

    assert clerk.tools == {}


@pytest.mark.parametrize(
    ("model", "field"),
    [(Seat, "guest"), (Tag, "name"), (Book, "isbn"), (Offer, "name")],
)
def test_rows_with_every_kind_of_key_are_counted(counter, products, model, field):
    Seat.objects.create(row="a", number=1)
    exposure = counter.expose(
        model,
        fields=[field],
        operations=["aggregate"],
        get_queryset=lambda self, context: model.objects.all(),
    )
    arguments = {"measures": ["count"]}
    (group,) = counter.call(exposure.operations["aggregate"].name, **arguments)[
        "groups"
    ]

    assert group["measures"]["count"] == model.objects.count()
