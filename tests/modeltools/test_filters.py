"""Filters: every lookup there is, what may be given to it, and what it tells."""

import datetime as dt
import re
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.contrib.postgres.fields import ArrayField, HStoreField, IntegerRangeField
from django.db import connection, models
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone

from mcp_channels import ToolError
from mcp_channels.modeltools.allowlist import Allowlist
from mcp_channels.modeltools.filters import Filters, to_column
from mcp_channels.modeltools.values import Range
from tests.shop.counter import Anybody, Counter
from tests.shop.models import (
    Book,
    Category,
    Customer,
    Delivery,
    Invoice,
    Letter,
    Line,
    Product,
    Remark,
    Sample,
    Seat,
    Supplier,
    Tag,
)

UTC = dt.UTC
BIGGEST = 2**63 - 1


def compile(model: Any, fields: list[str], options: Any) -> Filters:
    return Filters(model.__name__, Allowlist(model, fields, None), options)


def problem(model: Any, fields: list[str], options: Any) -> str:
    (found,) = compile(model, fields, options).problems
    return found


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def samples(db) -> dict[str, Sample]:
    """Two rows: one with a value in every field, and one without."""
    full = Sample.objects.create(
        key=UUID(int=5),
        text="Ärger_100%",
        address="192.0.2.1",
        flag=True,
        size=2,
        big=BIGGEST,
        ratio=1.5,
        amount=Decimal("1.500000"),
        day=dt.date(2026, 2, 3),
        moment=dt.datetime(2026, 2, 3, 23, 30, tzinfo=UTC),
        clock=dt.time(8, 30),
        span=dt.timedelta(hours=1),
        data={"a": 1, "b": None},
        blob=b"x",
    )
    empty = Sample.objects.create(key=UUID(int=9))
    return {"full": full, "empty": empty}


FIELDS = [
    *("key", "text", "address", "flag", "size", "big", "ratio", "amount", "day"),
    *("moment", "clock", "span", "data", "blob", "document", "shouted"),
]


# A row that fits, and a value that fits no row.
@pytest.mark.parametrize(
    ("path", "lookup", "hit", "miss"),
    [
        ("pk", "in", "pk", [0]),
        ("key", "exact", str(UUID(int=5)), str(UUID(int=6))),
        ("key", "in", [str(UUID(int=5))], [str(UUID(int=6))]),
        ("key", "lt", str(UUID(int=6)), str(UUID(int=5))),
        ("text", "exact", "Ärger_100%", "ärger_100%"),
        ("text", "iexact", "Ärger_100%", "rger"),
        ("text", "contains", "r_1", "r-1"),
        ("text", "icontains", "0%", "%0"),
        ("text", "startswith", "Ä", "%"),
        ("text", "istartswith", "Ärg", "_"),
        ("text", "endswith", "%", "_"),
        ("text", "iendswith", "100%", "x"),
        ("text", "in", ["a", "Ärger_100%"], ["a"]),
        ("text", "gt", "A", "Å"),
        ("text", "range", ["Ä", "Å"], ["A", "B"]),
        ("shouted", "contains", "100%", "x"),
        ("address", "exact", "192.0.2.1", "192.0.2.2"),
        ("address", "in", ["192.0.2.1", "::1"], ["::1"]),
        ("address", "startswith", "192.", "193."),
        ("flag", "exact", True, False),
        ("flag", "in", [True, False], [False]),
        ("size", "exact", 2, BIGGEST),
        ("big", "gte", BIGGEST, None),
        ("big", "range", [0, BIGGEST], [-(2**63), 0]),
        ("big", "in", [BIGGEST], [-(2**63)]),
        ("ratio", "lt", 1.6, 1.5),
        ("amount", "exact", "1.5", "1.5000001"),
        ("amount", "gte", "-1E+900", "1E+900"),
        ("amount", "in", ["1.5"], ["1.4"]),
        ("day", "exact", "2026-02-03", "2026-02-04"),
        ("day", "range", ["2026-01-01", "2026-12-31"], ["0001-01-01", "2026-01-01"]),
        ("day", "year", 2026, 2025),
        ("day", "year", 2026, 9998),
        ("day", "year__in", [2026, 2027], [2]),
        ("day", "year__gte", 2, 2027),
        ("day", "iso_year", 2026, 9998),
        ("day", "month", 2, BIGGEST),
        ("day", "day__range", [1, 3], [4, 31]),
        ("day", "week", 6, 5),
        ("day", "week_day", 3, 2),
        ("day", "iso_week_day", 2, 3),
        ("day", "quarter", 1, 2),
        ("moment", "exact", "2026-02-04T00:30:00+01:00", "2026-02-03T23:31:00Z"),
        ("moment", "gt", "0002-01-01T00:00:00Z", "9998-12-31T23:59:59Z"),
        ("moment", "date", "2026-02-04", "2026-02-03"),  # as it is in Berlin
        ("moment", "date__lt", "2026-02-05", "0001-01-01"),
        ("moment", "time", "00:30:00", "23:30:00"),
        ("moment", "hour", 0, 23),
        ("moment", "minute", 30, 31),
        ("moment", "second", 0, 1),
        ("moment", "year", 2026, 2),
        ("clock", "exact", "08:30:00", "08:30:01"),
        ("clock", "hour__lt", 9, 8),
        ("span", "lte", "PT1H", "PT59M"),
        ("span", "gte", "-P100000000D", "P100000000D"),
        ("data", "has_key", "a", "c"),
        ("data", "has_keys", ["a", "b"], ["a", "c"]),
        ("data", "has_any_keys", ["c", "a"], ['"', "$", "a'b"]),
        ("blob", "isnull", False, None),
        ("document", "isnull", False, None),
    ],
)  # fmt: skip
def test_every_lookup_finds_what_fits(
    counter, samples, settings, path, lookup, hit, miss
):
    settings.TIME_ZONE = "Europe/Berlin"
    timezone.deactivate()
    counter.expose(Sample, fields=FIELDS, filters={path: [lookup]})
    name = path if lookup == "exact" else f"{path}__{lookup}"
    full = samples["full"].pk

    def find(value: Any) -> list[int]:
        value = [full] if value == "pk" else value
        arguments = {"filters": {name: value}, "fields": ["key"]}
        rows = counter.call("list_samples", **arguments)["rows"]
        return [row["pk"] for row in rows]

    assert full in find(hit)
    if miss is not None:
        assert find(miss) == []


@pytest.mark.parametrize("path", [*FIELDS, "pk"])
def test_every_field_can_be_missing(counter, samples, path):
    counter.expose(Sample, fields=FIELDS, filters={path: ["isnull"]})
    full, empty = samples["full"].pk, samples["empty"].pk
    never_null = path in ("key", "text", "shouted", "document", "pk")

    def find(value: bool) -> list[int]:
        arguments = {"filters": {f"{path}__isnull": value}, "fields": ["key"]}
        rows = counter.call("list_samples", **arguments)["rows"]
        return [row["pk"] for row in rows]

    assert find(True) == ([] if never_null else [empty])
    assert find(False) == ([full, empty] if never_null else [full])


def test_a_moment_without_an_offset_is_of_the_current_time_zone(
    counter, samples, settings
):
    settings.TIME_ZONE = "Europe/Berlin"
    counter.expose(Sample, fields=FIELDS, filters={"moment": ["exact", "date"]})

    def count(**filters: Any) -> int:
        arguments = {"filters": filters, "fields": ["key"]}
        return len(counter.call("list_samples", **arguments)["rows"])

    assert count(moment="2026-02-04T00:30:00") == 1
    assert count(moment="2026-02-03T23:30:00") == 0
    with timezone.override(dt.UTC):
        assert count(moment="2026-02-03T23:30:00") == 1
        assert count(moment__date="2026-02-03") == 1


@pytest.mark.parametrize(
    ("path", "lookup", "value", "reason"),
    [
        ("text", "exact", "a\0b", "filters.text: a text cannot contain the character"),
        ("text", "in", ["a", "\0"], "filters.text__in: a text cannot contain the"),
        ("text", "exact", None, "filters.text: expected string, got null"),
        ("text", "icontains", "x" * 201, "filters.text__icontains: it is longer"),
        ("text", "in", [], "filters.text__in: it has less than"),
        ("text", "in", ["x"] * 101, "filters.text__in: it has more than"),
        ("text", "in", "x", "filters.text__in: expected array"),
        ("text", "range", ["a"], "filters.text__range: it has less than"),
        ("text", "isnull", 1, "filters.text__isnull: expected boolean"),
        ("address", "exact", "1.2.3", "filters.address: it is no IP address."),
        ("address", "in", ["::1", "x"], "filters.address__in: it is no IP address."),
        ("big", "exact", BIGGEST + 1, "filters.big: it is greater than the maximum"),
        ("big", "in", [-BIGGEST - 2], "filters.big__in[0]: it is less than"),
        ("big", "exact", 1.5, "filters.big: expected integer"),
        ("big", "exact", True, "filters.big: expected integer"),
        ("ratio", "lt", "NaN", "filters.ratio__lt: expected number"),
        ("amount", "exact", "NaN", "filters.amount: it must be a number, and finite."),
        ("amount", "lt", "-inf", "filters.amount__lt: it must be a number, and finit"),
        ("amount", "lt", "1e9999", "filters.amount__lt: a number has at most 1000"),
        ("amount", "lt", "1.5x", "The arguments are wrong: Invalid decimal string"),
        ("day", "exact", "2026-02-30", "filters.day: "),
        ("day", "year", 1, "filters.day__year: it is less than the minimum of 2"),
        ("day", "year__in", [9999], "filters.day__year__in[0]: it is greater than"),
        ("day", "iso_year", 9999, "filters.day__iso_year: it is greater than the"),
        ("moment", "gt", "0001-01-01T00:00:00+14:00",
         "filters.moment__gt: the year must be from 2 to 9998."),
        ("moment", "gt", "9999-12-31T23:59:59",
         "filters.moment__gt: the year must be from 2 to 9998."),
        ("moment", "time", "12:00:00Z",
         "filters.moment__time: a time of day cannot have an offset."),
        ("clock", "lt", "12:00:00+02:00",
         "filters.clock__lt: a time of day cannot have an offset."),
        ("span", "lt", "P999999999D", "filters.span__lt: a duration has at most"),
        ("data", "has_key", "x\0", "filters.data__has_key: a text cannot contain"),
        ("data", "has_keys", ["x" * 201], "filters.data__has_keys[0]: it is longer"),
        ("key", "exact", "5", "filters.key: "),
    ],
)  # fmt: skip
def test_what_no_lookup_takes_is_refused(counter, db, path, lookup, value, reason):
    counter.expose(Sample, fields=FIELDS, filters={path: [lookup]})
    name = path if lookup == "exact" else f"{path}__{lookup}"

    assert counter.refusal("list_samples", filters={name: value}).startswith(reason)


def test_what_is_no_filter_is_refused_with_those_there_are(counter, db):
    counter.expose(Product, fields=["name", "price"], filters={"price": ["gte", "lt"]})

    for name in ("nmae", "name", "internal_note", "Q", "pk", ""):
        refusal = counter.refusal("list_products", filters={name: "1"})

        assert refusal == (
            f"filters.{name}: unknown argument; known are price__gte, price__lt"
        )
    refusal = counter.refusal("list_products", filters={"price__lte": "1"})
    assert refusal.startswith("filters.price__lte: unknown argument, did you mean")


def test_several_filters_must_all_fit(counter, samples):
    counter.expose(Sample, fields=FIELDS, filters={"size": ["lt", "gt"], "text": []})

    def count(**filters: Any) -> int:
        return len(counter.call("list_samples", filters=filters)["rows"])

    assert count(size__gt=1, size__lt=3) == 1
    assert count(size__gt=1, size__lt=2) == 0
    assert count() == 2


# Relations


@pytest.fixture
def products(db) -> dict[str, Product]:
    found = {}
    for name, tags in {"tea": "ab", "salt": "b", "soap": ""}.items():
        category = Category.objects.create(name=name, slug=name)
        found[name] = Product.objects.create(
            name=name, sku=name, price=1, category=category
        )
        for tag in tags:
            found[name].tags.add(Tag.objects.get_or_create(name=tag)[0])
    return found


def find(counter: Counter, **filters: Any) -> list[str]:
    page = counter.call("list_products", filters=filters, count=True, fields=["name"])

    assert page["total"] == len(page["rows"])

    return [row["name"] for row in page["rows"]]


TAGS = {
    "tags": ["exact", "in", "isnull"],
    "tags__name": ["startswith", "isnull", "gte"],
    "category": ["exact", "in", "isnull"],
    "category__name": ["exact", "isnull", "in"],
    "category__parent": ["exact", "isnull"],
}
PATHS = ["name", "category__name", "category__parent", "tags__name"]


def test_a_row_is_found_once_through_several_others(counter, products):
    counter.expose(Product, fields=PATHS, filters=TAGS)

    assert find(counter, tags__in=["a", "b"]) == ["salt", "tea"]
    assert find(counter, tags__name__gte="a") == ["salt", "tea"]
    assert find(counter, tags="a") == ["tea"]
    assert find(counter, tags__isnull=True) == ["soap"]
    assert find(counter, tags__isnull=False) == ["salt", "tea"]
    # Of one and the same other row.
    assert find(counter, tags="a", tags__name__startswith="b") == []
    assert find(counter, tags__in=["a", "b"], category__name="tea") == ["tea"]


def test_a_key_is_that_of_the_row_also_where_another_column_refers_to_it(counter, db):
    supplier = Supplier.objects.create(code="five")
    Supplier.objects.create(code="5")
    Delivery.objects.create(supplier=supplier, title="d", day="2026-01-01")
    counter.expose(
        Delivery, fields=["title", "supplier"], filters={"supplier": ["exact", "in"]}
    )

    def titles(**filters: Any) -> list[str]:
        rows = counter.call("list_deliverys", filters=filters)["rows"]
        return [row["title"] for row in rows]

    assert titles(supplier=supplier.pk) == ["d"]
    assert titles(supplier__in=[supplier.pk, BIGGEST]) == ["d"]
    assert titles(supplier=supplier.pk + 1) == []
    assert "expected integer" in counter.refusal(
        "list_deliverys", filters={"supplier": "five"}
    )


@pytest.mark.parametrize(
    ("model", "path", "lookup"),
    [
        (Delivery, "invoice", "exact"),  # one to one, from the other side
        (Delivery, "products", "in"),  # through a model
        (Category, "children", "exact"),
        (Category, "parent", "in"),
        (Product, "book", "exact"),  # a child that shares the table
        (Book, "product_ptr", "exact"),
        (Supplier, "friends", "in"),  # to itself, in both directions
    ],
)
def test_every_kind_of_relation_can_be_filtered_by(counter, db, model, path, lookup):
    exposure = counter.expose(model, fields=[path], filters={path: [lookup]})
    tool = exposure.operations["list"].name
    name, value = (path, 1) if lookup == "exact" else (f"{path}__in", [1, BIGGEST])

    assert counter.call(tool, filters={name: value})["rows"] == []


def test_keys_of_several_columns_can_be_filtered_by(counter, db):
    Seat.objects.create(row="a", number=1)
    Seat.objects.create(row="a", number=2)
    counter.expose(Seat, fields=["guest"], filters=["pk"])

    def keys(pk: Any) -> list[Any]:
        rows = counter.call("list_seats", filters={"pk": pk})["rows"]
        return [row["pk"] for row in rows]

    assert keys(["a", 2]) == [["a", 2]]
    assert keys(["b", 2]) == []
    refusal = counter.refusal("list_seats", filters={"pk": ["a", 2**64]})
    assert refusal == "filters.pk: a number cannot have more than 64 bits."


SEATS: Any = {
    "nothing": {},
    "rows": {"get_queryset": lambda self, context: Seat.objects.exclude(number=1)},
    "a permission": {
        "has_view_permission": lambda self, context, obj=None: (
            obj is None or obj.number != 1
        )
    },
}


@pytest.mark.parametrize("hiding", SEATS)
def test_rows_with_keys_of_several_columns_can_be_filtered_through(
    counter, db, django_user_model, hiding
):
    owner = django_user_model.objects.create(username="ada")
    ada, _ = (Customer.objects.create(owner=owner, name=name) for name in ("a", "b"))
    for number in range(3):
        Seat.objects.create(row="r", number=number, guest=str(number), customer=ada)
    counter.expose(Seat, fields=["guest"], **SEATS[hiding])
    counter.expose(
        Customer,
        fields=["name", "seats__guest"],
        filters={"seats": ["exact", "isnull"], "seats__guest": ["exact", "isnull"]},
        ordering=["name"],
    )
    second = ["a"] if hiding == "nothing" else []

    def names(**filters: Any) -> list[str]:
        page = counter.call("list_customers", filters=filters, count=True)

        assert page["total"] == len(page["rows"])

        return [row["name"] for row in page["rows"]]

    (row, _) = counter.call("list_customers", fields=["seats__guest"])["rows"]
    assert [seat["guest"] for seat in row["seats"]] == ["0", *"1" * len(second), "2"]
    assert names(seats=["r", 0]) == names(seats__guest="0") == ["a"]
    assert names(seats=["r", 1]) == names(seats__guest="1") == second
    assert names(seats__isnull=True) == names(seats__guest__isnull=True) == ["b"]
    assert names(seats__isnull=False) == ["a"]


# What may not be seen


def expose_without_salt(counter: Counter, **options: Any) -> None:
    counter.expose(
        Category,
        fields=["name"],
        get_queryset=lambda self, context: Category.objects.exclude(slug="salt"),
    )
    counter.expose(
        Tag,
        fields=["name"],
        get_queryset=lambda self, context: Tag.objects.exclude(name="b"),
    )
    counter.expose(Product, fields=PATHS, filters=TAGS)


def test_hidden_rows_are_not_found_through(counter, products):
    expose_without_salt(counter)

    assert find(counter, category__name="salt") == []
    assert find(counter, category__name__in=["salt", "tea"]) == ["tea"]
    assert find(counter, tags="b") == []
    assert find(counter, tags__in=["a", "b"]) == ["tea"]
    assert find(counter, tags__name__startswith="b") == []
    # A key that a row itself has, and shows.
    assert find(counter, category=products["salt"].category_id) == ["salt"]
    assert find(counter, category__isnull=False) == ["salt", "soap", "tea"]


def test_hidden_rows_are_missing(counter, products):
    expose_without_salt(counter)
    tea = products["tea"].category
    Category.objects.filter(slug="salt").update(parent=tea)
    Category.objects.filter(slug="soap").update(parent=tea)

    assert find(counter, tags__isnull=True) == ["salt", "soap"]
    assert find(counter, tags__isnull=False) == ["tea"]
    assert find(counter, tags__name__isnull=True) == ["salt", "soap"]
    assert find(counter, category__name__isnull=True) == ["salt"]
    assert find(counter, category__name__isnull=False) == ["soap", "tea"]
    assert find(counter, category__parent__isnull=True) == ["salt", "tea"]
    assert find(counter, category__parent=tea.pk) == ["soap"]


def test_nothing_is_told_by_a_hidden_row_from_the_other_side(counter, db):
    supplier = Supplier.objects.create(code="s")
    delivery = Delivery.objects.create(supplier=supplier, title="d", day="2026-01-01")
    invoice = Invoice.objects.create(delivery=delivery, total=5)
    counter.expose(
        Invoice, fields=["total"], get_queryset=lambda s, c: Invoice.objects.none()
    )
    counter.expose(
        Delivery,
        fields=["title", "invoice__total"],
        filters={"invoice": ["exact", "isnull"], "invoice__total": ["gt"]},
    )

    def count(**filters: Any) -> int:
        return len(counter.call("list_deliverys", filters=filters)["rows"])

    assert count(invoice=invoice.pk) == count(invoice=invoice.pk + 1) == 0
    assert count(invoice__total__gt=0) == 0
    assert count(invoice__isnull=False) == 0
    assert count(invoice__isnull=True) == 1


def test_a_model_that_may_not_be_seen_is_not_filtered_by(products):
    clerk = Counter(Anybody("shop.view_product"))
    clerk.expose(Product, fields=PATHS, filters=TAGS)

    for filters in (
        {"category__name": "tea"},
        {"category__name__isnull": True},
        {"category__parent__isnull": True},
    ):
        (name,) = filters
        assert clerk.refusal("list_products", filters=filters) == (
            f"filters.{name}: you may not see any categories."
        )
    for name, value in {"tags": "a", "tags__isnull": True}.items():
        assert clerk.refusal("list_products", filters={name: value}) == (
            f"filters.{name}: you may not see any tags."
        )
    assert find(clerk, category=products["tea"].category_id) == ["tea"]


def test_too_many_rows_to_ask_for_are_refused(counter, products, monkeypatch):
    monkeypatch.setattr("mcp_channels.modeltools.reach.MOST_ASKED", 1)
    counter.expose(
        Category,
        fields=["name"],
        has_view_permission=lambda s, c, obj=None: obj is None or obj.slug == "tea",
    )
    counter.expose(Product, fields=PATHS, filters=TAGS)

    assert counter.refusal("list_products", filters={"category__name": "tea"}) == (
        "filters.category__name: There are more than 1 categories, too many to find "
        "out which of them you may see."
    )


def test_what_is_marked_as_deleted_is_missing(counter, db):
    Letter.objects.create(subject="gone", is_deleted=True)
    counter.expose(Letter, fields=["subject"], filters=["subject"])

    assert counter.call("list_letters", filters={"subject": "gone"})["rows"] == []


def test_a_filter_is_one_query(counter, products):
    expose_without_salt(counter)

    with CaptureQueriesContext(connection) as queries:
        counter.call(
            "list_products",
            filters={"tags__in": ["a"], "category__name": "tea"},
            fields=["name"],
        )

    assert len(queries) == 1


# What a site may not say


@pytest.mark.parametrize(
    ("path", "lookup", "reason"),
    [
        ("name", "bogus", "there is no 'bogus' for this field."),
        ("name", "", "there is no '' for this field."),
        ("name", "bogus__isnull", "there is no 'bogus' for this field."),
        ("name", "year", "there is no 'year' for this field."),
        ("name", "regex", "a regular expression of an agent's can keep a database"),
        ("name", "iregex", "a regular expression of an agent's can keep a database"),
        ("name", "isnull__exact", "there is no 'isnull' for this field."),
        ("name", "len", "there is no 'len' for this field."),
        ("price", "icontains", "there is no 'icontains' for this field."),
        ("released_on", "hour", "there is no 'hour' for this field."),
        ("released_on", "year__bogus", "there is no 'bogus' for this field."),
        ("released_on", "date", "there is no 'date' for this field."),
        ("is_available", "exact", "what is computed is in no column to filter by."),
        ("details", "exact", "there is no 'exact' for this field."),
        ("details", "color", "there is no 'color' for this field."),
        ("details", "contains", "there is no 'contains' for this field."),
        ("category", "gt", "a relation has the lookups exact, in and isnull."),
        ("category", "name", "a relation has the lookups exact, in and isnull."),
        ("category", "year__exact", "a relation has the lookups exact, in and isnull"),
        ("sku", "exact", "it is not among the fields. Filters tell what is in a"),
        ("category__name", "exact", "it is not among the fields."),
        ("internal_note", "isnull", "it is not among the fields."),
    ],
)
def test_what_is_no_lookup_is_a_problem(path, lookup, reason):
    fields = ["name", "price", "released_on", "is_available", "details", "category"]
    found = problem(Product, fields, {path: [lookup]})

    assert found.startswith(f"filter {path!r}, {lookup!r}: {reason}")


@pytest.mark.parametrize("lookup", ["exact", "in", "gt", "contains"])
def test_bytes_files_and_generic_relations_are_not_compared(lookup):
    for name in ("blob", "document"):
        assert f"there is no {lookup!r}" in problem(Sample, [name], {name: [lookup]})
    assert "what is computed" in problem(Remark, ["subject"], {"subject": [lookup]})


def test_a_list_of_names_compares_for_equality():
    filters = compile(Product, ["name", "price"], ["name", "price"])

    assert list(filters) == ["name", "price"]
    assert filters and not compile(Product, ["name"], [])


def test_one_lookup_may_be_given_without_a_list():
    assert list(compile(Product, ["price"], {"price": "gte"})) == ["price__gte"]


def test_filters_are_described():
    filters = compile(
        Line,
        ["product__released_on", "order__placed_at", "count"],
        {
            "product__released_on": ["year__gte", "month", "isnull"],
            "order__placed_at": ["iso_week_day"],
            "product": ["in"],
            "count": ["exact"],
        },
    )
    schema = msgspec.json.schema(filters.type)["$defs"]["Line_filters"]

    assert {
        name: said["description"] for name, said in schema["properties"].items()
    } == {
        "product__released_on__year__gte": "product released on (year) is at least",
        "product__released_on__month": "product released on is in the month",
        "product__released_on__isnull": "product released on is missing",
        "order__placed_at__iso_week_day": "order placed at is in the iso week day",
        "product__in": "product is one of",
        "count": "count is",
    }
    assert schema["additionalProperties"] is False


def test_fields_of_postgresql_have_lookups_of_their_own():
    with isolate_apps("tests.shop"):

        class Room(models.Model):
            labels = ArrayField(models.CharField(max_length=9))
            equipment = HStoreField()
            floors = IntegerRangeField()
            all_floors = models.GeneratedField(
                expression=models.F("floors"),
                output_field=IntegerRangeField(),
                db_persist=True,
            )

            class Meta:
                app_label = "shop"

    fields = ["labels", "equipment", "floors", "all_floors"]
    filters = compile(
        Room,
        fields,
        {
            "labels": ["contains", "contained_by", "overlap", "len", "len__gt"],
            "equipment": ["has_key", "has_keys"],
            "floors": ["exact", "contains", "contained_by", "overlap"],
            "all_floors": ["exact"],
        },
    )

    assert filters.problems == []
    decode = msgspec.json.Decoder(filters.type).decode
    assert decode(b'{"labels__len": 2, "equipment__has_keys": ["a"]}').labels__len == 2
    with pytest.raises(msgspec.ValidationError, match=re.escape("$.labels__overlap")):
        decode(b'{"labels__overlap": []}')
    with pytest.raises(msgspec.ValidationError, match=re.escape("$.labels__overlap")):
        decode(b'{"labels__overlap": ["longer than 9"]}')
    assert decode(b'{"floors__contains": 2}').floors__contains == 2
    assert decode(b'{"floors__contains": {}}').floors__contains == Range()
    assert decode(b'{"all_floors": {"lower": 1}}').all_floors == Range(1)
    with pytest.raises(
        msgspec.ValidationError, match=re.escape("Expected `int | object`")
    ):
        # In Django's hands it would be the name of another column.
        decode(b'{"floors__contains": "id"}')
    assert "there is no 'gt'" in problem(Room, fields, {"floors": ["gt"]})
    assert "there is no 'gt'" in problem(Room, fields, {"labels": ["gt"]})


def test_what_is_compared_with_a_column_fits_it():
    address = Sample._meta.get_field("address")

    assert to_column(address, ["::1", "192.0.2.1"]) == ["::1", "192.0.2.1"]
    assert to_column(None, "no address") == "no address"
    with pytest.raises(ToolError, match="it is no IP address"):
        to_column(address, ("::1", "::x"))


def test_what_is_compared_with_a_range_is_one():
    floors = IntegerRangeField()

    assert to_column(floors, Range(1, 3, "(]")) == NumericRange(1, 3, "(]")
    assert to_column(floors, Range(bounds="empty")) == NumericRange(empty=True)
    assert to_column(floors, 2) == NumericRange(2, 2, "[]")
