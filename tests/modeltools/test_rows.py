"""Rows as JSON: relations, labels, what is hidden, and how many queries it takes."""

import datetime as dt
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext, isolate_apps

from mcp_channels.modeltools import rows as module
from mcp_channels.modeltools.allowlist import Allowlist
from mcp_channels.modeltools.rows import RowTypes
from tests.shop.counter import Anybody, Counter
from tests.shop.models import (
    Book,
    Category,
    Customer,
    Delivery,
    Invoice,
    Item,
    Letter,
    Line,
    Offer,
    Order,
    Product,
    Remark,
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


@pytest.fixture(autouse=True)
def shop() -> dict[str, Any]:
    """Three of everything, each belonging to the one before."""
    made: dict[str, Any] = {}
    owner = User.objects.create(username="ada")
    root = Category.objects.create(name="All", slug="all")
    for number in range(3):
        category = Category.objects.create(
            name=f"C{number}", slug=f"c{number}", parent=root
        )
        product = Product.objects.create(
            name=f"P{number}", sku=f"p{number}", price=1, category=category
        )
        for tag in ("a", "b", "c")[: number + 1]:
            product.tags.add(Tag.objects.get_or_create(name=tag)[0])
        customer = Customer.objects.create(owner=owner, name=f"U{number}")
        order = Order.objects.create(
            customer=customer, placed_at=dt.datetime(2026, 1, 1 + number, tzinfo=UTC)
        )
        for count in range(number):
            Line.objects.create(order=order, product=product, count=count)
        supplier = Supplier.objects.create(code=f"s{number}")
        delivery = Delivery.objects.create(
            supplier=supplier, title=f"D{number}", day="2026-01-01"
        )
        Item.objects.create(delivery=delivery, product=product, count=1)
        if number:
            Invoice.objects.create(delivery=delivery, total=number)
    first, second, third = Supplier.objects.order_by("code")
    first.friends.add(second, third)
    made["root"] = root
    return made


def read(counter: Counter, model: Any, *fields: str, **options: Any) -> Any:
    """Expose a model, and return its rows with all of these fields."""
    if model not in counter.registry.exposures:
        counter.expose(model, fields=fields, **options)
    tool = counter.registry.exposures[model].operations["list"].name
    return counter.call(tool, fields=fields)["rows"]


# How many queries


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (Product, ["name"], 1),
        (Product, ["category"], 1),
        (Product, ["category__name", "category__parent__name"], 1),
        (Product, ["tags"], 2),
        (Product, ["tags", "category__children", "category__children__parent"], 3),
        (Tag, ["products__category__name"], 2),
        (Tag, ["products__tags"], 3),
        (Category, ["products", "children", "parent"], 3),
        (Category, ["products__lines__order__customer"], 3),
        (Category, ["parent__children__products__tags"], 4),
        (Delivery, ["invoice__total"], 1),  # one to one, from the other side
        (Delivery, ["invoice__delivery__items"], 2),
        (Invoice, ["delivery__supplier__code"], 1),  # by another column
        (Delivery, ["products", "items__product"], 3),  # through a model
        (Supplier, ["friends", "friends__friends", "deliveries"], 4),  # to itself
        (Customer, ["orders__lines", "owner__username"], 3),
        (Line, ["product", "order__customer__owner__email"], 1),
        (Book, ["name", "category", "product_ptr__name"], 1),
        (Book, ["product_ptr__tags"], 3),  # a parent is fetched to find its others
        (Product, ["book__isbn"], 1),
        (Offer, ["category", "tags"], 2),
        (Seat, ["guest"], 1),
        (User, ["groups__permissions"], 3),
    ],
)
def test_queries_grow_with_relations_and_not_with_rows(
    counter, model, fields, expected
):
    tea = Category.objects.get(slug="c0")
    group = Group.objects.create(name="g")
    group.permissions.set(Permission.objects.all()[:5])
    for number in range(3):
        Book.objects.create(name="b", sku=f"b{number}", price=1, category=tea)
        Seat.objects.create(row="a", number=number)
        User.objects.create(username=f"u{number}").groups.add(group)

    # str() of a permission needs it.
    counter.expose(Permission, fields=["name"], list_select_related=["content_type"])
    with CaptureQueriesContext(connection) as queries:
        rows = read(counter, model, *fields)

    assert len(rows) >= 2
    assert len(queries) == expected
    with CaptureQueriesContext(connection) as queries:
        tool = counter.registry.exposures[model].operations["get"].name
        pk = rows[-1]["pk"]
        row = counter.call(tool, pk=pk, fields=fields)["row"]

    assert row == rows[-1]
    assert len(queries) <= expected


def test_what_is_not_asked_for_is_not_fetched(counter):
    counter.expose(Product, fields=["name", "category__parent", "tags"])

    with CaptureQueriesContext(connection) as queries:
        (row, *_) = counter.call("list_products", fields=["name"])["rows"]

    assert list(row) == ["pk", "name"]
    (query,) = queries
    assert "JOIN" not in query["sql"]


def test_content_types_are_remembered(counter):
    product, category = Product.objects.all()[0], Category.objects.all()[0]
    for subject in (product, category, product, category):
        Remark.objects.create(subject=subject, text="x")
    ContentType.objects.clear_cache()

    with CaptureQueriesContext(connection) as queries:
        read(counter, Remark, "subject")
    assert len(queries) == 3  # the rows, and each content type once
    with CaptureQueriesContext(connection) as queries:
        read(counter, Remark, "subject")
    assert len(queries) == 1


def test_labels_may_need_more_than_the_row(counter, monkeypatch):
    monkeypatch.setattr(
        Product, "__str__", lambda self: f"{self.category.name}: {self.name}"
    )
    counter.expose(Product, fields=["name"], list_select_related=["category"])

    with CaptureQueriesContext(connection) as queries:
        rows = read(counter, Line, "product")

    assert labels(rows, "product") == ["C1: P1", "C2: P2", "C2: P2"]
    assert len(queries) == 1


# What is shown


def test_a_row_has_its_key_and_its_fields(counter):
    (row, *_) = read(counter, Product, "name", "category", "is_available")

    assert row == {
        "pk": Product.objects.get(sku="p0").pk,
        "name": "P0",
        "category": {"pk": Category.objects.get(slug="c0").pk, "label": "C0"},
        "is_available": False,
    }


def test_a_related_row_shows_more_on_request(counter):
    fields = ["name", "category__name", "category__parent__name"]
    counter.expose(Product, fields=fields)
    key = Category.objects.get(slug="c0").pk
    root = Category.objects.get(slug="all").pk

    def show(*wanted: str) -> Any:
        arguments = {"fields": wanted} if wanted else {}
        return counter.call("list_products", **arguments)["rows"][0].get("category")

    assert show() == {"pk": key, "label": "C0"}
    assert show("category") == {"pk": key, "label": "C0"}
    assert show("category__name") == {"pk": key, "label": "C0", "name": "C0"}
    assert show("category__parent__name") == {
        "pk": key,
        "label": "C0",
        "parent": {"pk": root, "label": "All", "name": "All"},
    }
    assert show("name") is None


def test_relations_to_several_are_lists(counter):
    rows = read(counter, Product, "tags")

    assert [[tag["label"] for tag in row["tags"]] for row in rows] == [
        ["a"],
        ["a", "b"],
        ["a", "b", "c"],
    ]
    assert rows[0]["tags"] == [{"pk": "a", "label": "a"}]


def test_relations_to_several_have_a_limit_for_each_row(counter, monkeypatch):
    monkeypatch.setattr(module, "MOST_RELATED", 2)

    assert [len(row["tags"]) for row in read(counter, Product, "tags")] == [1, 2, 2]


def test_relations_to_several_come_in_the_order_of_their_model(counter):
    (customer, *_) = Customer.objects.all()
    for day in (3, 9, 6):
        placed_at = dt.datetime(2025, 1, day, tzinfo=UTC)
        Order.objects.create(customer=customer, placed_at=placed_at)
    counter.expose(Customer, fields=["orders__placed_at"])

    row = counter.call(
        "get_customer", pk=str(customer.pk), fields=["orders__placed_at"]
    )
    days = [order["placed_at"] for order in row["row"]["orders"]]
    assert days == sorted(days, reverse=True)
    assert len(days) == 4


def test_a_relation_that_leads_nowhere_is_null(counter):
    (root, *_) = read(counter, Category, "parent")
    invoices = [row["invoice"] for row in read(counter, Delivery, "invoice__total")]

    assert root["parent"] is None
    assert [invoice and invoice["total"] for invoice in invoices] == [None, 1, 2]


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (Product.objects.only("stock"), 18),
        (Product.objects.defer("name", "internal_note"), 18),
        (Product.objects.defer("category"), 18),
        (Product.objects.select_related("category").defer("category__slug"), 18),
        # Nobody asks for these.
        (Product.objects.defer("internal_note", "details"), 16),
        (Product.objects.select_related("category").defer("category__name"), 17),
    ],
)
def test_what_is_read_is_fetched_with_its_row(counter, rows, columns):
    counter.expose(
        Product,
        fields=["name", "category__slug"],
        get_queryset=lambda self, context: rows.all(),
    )
    with CaptureQueriesContext(connection) as queries:
        found = read(counter, Product, "name", "category__slug")

    assert [row["category"]["slug"] for row in found] == ["c0", "c1", "c2"]
    assert queries[0]["sql"].partition(" FROM ")[0].count('"."') == columns


def test_a_row_leads_to_its_parent_and_its_child(counter):
    tea = Category.objects.get(slug="c0")
    book = Book.objects.create(name="b", sku="b", price=1, isbn="5", category=tea)
    (row,) = read(counter, Book, "product_ptr__sku", "isbn")

    parent = {"pk": book.pk, "label": "b", "sku": "b"}
    assert row == {"pk": book.pk, "product_ptr": parent, "isbn": "5"}
    rows = read(counter, Product, "book__isbn")
    assert [row["book"] for row in rows] == [
        *[None] * 3,
        {"pk": book.pk, "label": "b", "isbn": "5"},
    ]


def test_a_generic_relation_names_a_row_of_any_model(counter):
    tag = Tag.objects.get(name="a")
    Remark.objects.create(subject=tag, text="x")
    (row,) = read(counter, Remark, "subject", "text")

    assert row["subject"] == {"model": "shop.tag", "pk": "a"}


def test_a_generic_relation_may_lead_nowhere():
    with isolate_apps("tests.shop"):

        class Loose(Remark):
            class Meta:
                app_label = "shop"
                proxy = True

    types = RowTypes("Loose", Allowlist(Loose, ["subject"], None))
    reader = module.Reader(
        Allowlist(Loose, ["subject"], None), types, ["subject"], Anybody(), {}
    )

    assert reader.read(Loose(pk=5)) == types.root(5, None)


def test_values_are_converted(counter):
    Sample.objects.create(blob=b"\xff", ratio=0.5, document="a.txt")
    (row,) = read(counter, Sample, "blob", "ratio", "document", "shouted")

    assert row["blob"] == "/w=="
    assert row["document"] == {"name": "a.txt", "url": "/a.txt"}


# Whose rows


def scope(**filters: Any) -> Any:
    return lambda self, context: self.model.objects.filter(**filters)


def labels(rows: Any, name: str) -> list[Any]:
    return [row[name] and row[name]["label"] for row in rows]


def test_of_a_hidden_row_there_is_only_the_key_that_the_row_has(counter):
    counter.expose(Category, fields=["name"], get_queryset=scope(slug="c1"))
    rows = read(counter, Product, "category__name", "category__parent")

    assert labels(rows, "category") == [None, "C1", None]
    assert [list(row["category"]) for row in rows] == [
        ["pk", "label"],
        ["pk", "label", "name", "parent"],
        ["pk", "label"],
    ]
    parent = {"pk": Category.objects.get(slug="all").pk, "label": None}
    assert rows[1]["category"]["parent"] == parent


def test_what_a_site_fetches_itself_is_not_shown_for_that(counter):
    counter.expose(Category, fields=["name"], get_queryset=scope(slug="c1"))
    rows = read(
        counter,
        Product,
        "category",
        "tags",
        list_select_related=["category__parent"],
        list_prefetch_related=["tags", "category__parent"],
        get_queryset=lambda self, context: Product.objects.select_related(
            "category"
        ).prefetch_related("category"),
    )

    assert labels(rows, "category") == [None, "C1", None]


def test_a_method_has_what_it_needs_of_a_hidden_row(counter):
    counter.expose(Category, fields=["name"], get_queryset=scope(slug="c1"))

    def shelf(self: Any, product: Product) -> str:
        return product.category.slug

    rows = read(counter, Product, "shelf", "category", shelf=shelf)

    assert [row["shelf"] for row in rows] == ["c0", "c1", "c2"]
    assert labels(rows, "category") == [None, "C1", None]


def test_a_hidden_row_that_another_column_refers_to_has_no_key(counter):
    counter.expose(Supplier, fields=["code"], get_queryset=scope(code="s1"))
    rows = read(counter, Delivery, "supplier")

    assert labels(rows, "supplier") == [None, "s1", None]
    assert rows[0]["supplier"] is None


def test_a_hidden_row_from_the_other_side_is_not_there(counter):
    counter.expose(Invoice, fields=["total"], get_queryset=scope(total=1))
    rows = read(counter, Delivery, "invoice__total")

    assert [row["invoice"] and row["invoice"]["total"] for row in rows] == [
        None,
        1,
        None,
    ]


def test_hidden_rows_are_in_no_list(counter):
    counter.expose(Tag, fields=["name"], get_queryset=scope(name__in="bc"))
    rows = read(counter, Product, "tags")

    assert [[tag["label"] for tag in row["tags"]] for row in rows] == [
        [],
        ["b"],
        ["b", "c"],
    ]


def test_a_scope_that_joins_shows_each_row_once_and_all(counter):
    # By a relation that the list itself comes through, to several rows.
    counter.expose(
        Tag, fields=["name"], get_queryset=scope(products__sku__in=["p1", "p2"])
    )
    rows = read(counter, Product, "tags")

    assert [[tag["label"] for tag in row["tags"]] for row in rows] == [
        ["a"],
        ["a", "b"],
        ["a", "b", "c"],
    ]


def test_a_permission_of_single_rows_counts_for_related_ones(counter):
    def few(self: Any, context: Any, obj: Any = None) -> bool:
        return obj is None or str(obj) in ("C1", "b")

    counter.expose(Category, fields=["name"], has_view_permission=few)
    counter.expose(Tag, fields=["name"], has_view_permission=few)
    rows = read(counter, Product, "category", "tags")

    assert labels(rows, "category") == [None, "C1", None]
    assert [row["tags"] for row in rows[:2]] == [[], [{"pk": "b", "label": "b"}]]


def test_what_is_marked_as_deleted_is_not_shown(counter):
    Letter.objects.create(subject="gone", is_deleted=True)
    Letter.objects.create(subject="here")

    assert [row["subject"] for row in read(counter, Letter, "subject")] == ["here"]


def test_a_model_that_may_not_be_seen_shows_keys_alone():
    permissions = [f"shop.view_{name}" for name in ("product", "delivery", "customer")]
    clerk = Counter(Anybody(*permissions))
    (row, *_) = read(clerk, Product, "category__name", "tags__name", "lines")

    key = Category.objects.get(slug="c0").pk
    assert row["category"] == {"pk": key, "label": None}
    assert row["tags"] == row["lines"] == []
    rows = read(clerk, Delivery, "invoice__total", "supplier__code")
    assert [(row["invoice"], row["supplier"]) for row in rows] == [(None, None)] * 3
    (row, *_) = read(clerk, Customer, "owner__password")
    assert row["owner"]["label"] is None
    assert "password" not in row["owner"]


def test_a_relation_to_a_hidden_model_may_lead_nowhere():
    clerk = Counter()
    exposure = clerk.expose(Category, fields=["parent"])
    reader = exposure.reader(Counter(Anybody("shop.view_tag")).context)
    root, other = Category.objects.get(slug="all"), Category.objects.get(slug="c0")

    assert msgspec.to_builtins(reader.read(root)) == {"pk": root.pk, "parent": None}
    assert msgspec.to_builtins(reader.read(other)) == {
        "pk": other.pk,
        "parent": {"pk": root.pk, "label": None},
    }


# Types


def test_rows_have_titles_and_descriptions():
    allowlist = Allowlist(Product, ["sku", "price", "category__name", "tags"], None)
    schema = msgspec.json.schema(RowTypes("Product", allowlist).root)["$defs"]
    members = schema["Product"]["properties"]

    assert list(members) == ["pk", "sku", "price", "category", "tags"]
    assert members["sku"]["title"] == "stock keeping unit"
    assert members["price"]["description"].startswith("With tax. At most 8 digits")
    assert schema["Product"]["required"] == ["pk"]
    assert list(schema["Product_category"]["properties"]) == ["pk", "label", "name"]
    assert schema["Product_tags"]["required"] == ["pk", "label"]
