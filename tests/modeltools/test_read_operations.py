"""The operations that read, as an agent calls them."""

from decimal import Decimal
from typing import Any

import pytest

from mcp_channels import ToolError
from mcp_channels.modeltools.read_operations import read_one
from tests.shop.counter import Anybody, Counter
from tests.shop.models import Category, Product

pytestmark = pytest.mark.django_db

READ = ["list", "get", "aggregate"]
FIELDS = ["name", "price", "stock", "category"]


@pytest.fixture
def shelf(db: None) -> Category:
    shelf = Category.objects.create(slug="books", name="Books")
    Product.objects.bulk_create(
        Product(name=name, sku=name, price=price, stock=stock, category=shelf)
        for name, price, stock in [
            ("Atlas", Decimal("12.50"), 3),
            ("Bible", Decimal("30"), 0),
            ("Comic", Decimal("4"), 9),
        ]
    )
    return shelf


@pytest.fixture
def counter(shelf: Category) -> Counter:
    counter = Counter()
    counter.expose(Category, fields=["name"], operations=READ)
    counter.expose(
        Product,
        fields=FIELDS,
        operations=READ,
        description="Something to buy.",
        search_fields=["name"],
        filters={"price": ["gte"], "stock": ["exact"]},
        page_size=2,
        max_page_size=3,
    )
    return counter


def names(page: Any) -> list[str]:
    return [row["name"] for row in page["rows"]]


# Lists


def test_list_comes_in_pages(counter: Counter) -> None:
    first = counter.call("list_products")
    second = counter.call("list_products", cursor=first["next_cursor"])

    assert names(first) == ["Atlas", "Bible"]
    assert names(second) == ["Comic"]
    assert second["next_cursor"] is None
    assert "total" not in first


def test_list_has_what_is_asked_for(counter: Counter) -> None:
    page = counter.call(
        "list_products",
        filters={"price__gte": "5"},
        search="i",
        ordering=["-price"],
        fields=["name"],
        page_size=3,
        count=True,
    )

    row = Product.objects.get(name="Bible")
    assert page == {
        "rows": [{"pk": row.pk, "name": "Bible"}],
        "next_cursor": None,
        "total": 1,
        "total_is_capped": False,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"page_size": 0},
        {"page_size": 4},
        {"filters": {"sku": "x"}},
        {"filters": {"price__lte": 5}},
        {"filters": {"stock": "many"}},
        {"fields": ["sku"]},
        {"fields": []},
        {"ordering": ["sku"]},
        {"search": ""},
        {"search": "x" * 201},
        {"cursor": "nonsense"},
        {"limit": 5},
    ],
)
def test_list_refuses_what_it_does_not_know(
    counter: Counter, arguments: dict[str, Any]
) -> None:
    assert next(iter(arguments)) in counter.refusal("list_products", **arguments)


def test_list_without_filters_and_searches_offers_none(counter: Counter) -> None:
    schema = counter.tools["list_categories"].definition.input_schema

    assert set(schema["properties"]) == {
        *("ordering", "fields", "page_size", "cursor", "count"),
    }


def test_page_ends_before_it_has_too_many_bytes(shelf: Category) -> None:
    counter = Counter()
    counter.expose(Product, fields=["name"], max_bytes=60)
    seen = []
    page = counter.call("list_products")
    seen += names(page)
    while page["next_cursor"]:
        page = counter.call("list_products", cursor=page["next_cursor"])
        assert len(page["rows"]) >= 1
        seen += names(page)

    assert seen == ["Atlas", "Bible", "Comic"]


def test_page_that_just_fits_is_whole(shelf: Category) -> None:
    rows = Counter()
    rows.expose(Product, fields=["name"])
    size = len(str(rows.call("list_products")["rows"]).replace(" ", ""))
    counter = Counter()
    counter.expose(Product, fields=["name"], max_bytes=size)

    assert counter.call("list_products")["next_cursor"] is None

    counter = Counter()
    counter.expose(Product, fields=["name"], max_bytes=size - 1)
    assert len(counter.call("list_products")["rows"]) == 2


def test_row_that_is_too_large_is_refused(shelf: Category) -> None:
    Product.objects.update(internal_note="x" * 200)
    counter = Counter()
    counter.expose(Product, fields=["name", "internal_note"], max_bytes=100)
    key = Product.objects.earliest("name").pk

    assert counter.refusal("list_products") == (
        "A row has more than 100 bytes. Ask for less of it with fields."
    )
    assert counter.refusal("get_product", pk=key) == (
        "The row has more than 100 bytes. Ask for less of it with fields."
    )
    assert names(counter.call("list_products", fields=["name"])) == [
        *("Atlas", "Bible", "Comic"),
    ]
    assert counter.call("get_product", pk=key, fields=["name"])["row"] == {
        "pk": key,
        "name": "Atlas",
    }


# One row


def test_row_is_got_by_its_key(counter: Counter, shelf: Category) -> None:
    product = Product.objects.get(name="Atlas")
    found = counter.call("get_product", pk=product.pk)

    assert found["row"] == {
        "pk": product.pk,
        "name": "Atlas",
        "price": "12.50",
        "stock": 3,
        "category": {"pk": shelf.pk, "label": "Books"},
    }
    assert found["uri"] == f"django://shop.product/{product.pk}"
    assert found["version"]


def test_row_that_does_not_exist_is_not_got(counter: Counter) -> None:
    assert counter.refusal("get_product", pk=99) == "There is no product 99."


def test_key_zero_is_a_key(counter: Counter) -> None:
    assert counter.refusal("get_category", pk=0) == "There is no category 0."

    Category.objects.create(pk=0, slug="zero", name="Zero")
    assert counter.call("get_category", pk=0)["row"]["name"] == "Zero"


@pytest.mark.django_db(databases=["default", "archive"])
def test_row_is_read_from_the_database_that_it_was_written_to(
    counter: Counter,
) -> None:
    exposure = counter.registry.exposures[Category]
    row = Category.objects.using("archive").create(pk=77, slug="old", name="Old")
    _, found = read_one(exposure, counter.context, 77, database="archive")

    assert found.name == row.name
    with pytest.raises(ToolError, match="There is no category 77"):
        read_one(exposure, counter.context, 77)


# Aggregates


def test_rows_are_added_up(counter: Counter, shelf: Category) -> None:
    found = counter.call(
        "aggregate_products",
        measures=["count", "stock__sum"],
        group_by=["category"],
        filters={"price__gte": "5"},
        search="a",
    )

    assert found == {
        "groups": [
            {
                "group": {"category": shelf.pk},
                "measures": {"count": 1, "stock__sum": 3},
            }
        ],
        "has_more": False,
    }
    assert counter.call("aggregate_products", measures=["count"])["groups"] == [
        {"group": {}, "measures": {"count": 3}}
    ]


def test_groups_have_a_limit(shelf: Category) -> None:
    counter = Counter()
    counter.expose(Product, fields=["name"], operations=READ, max_bytes=50)
    said = counter.refusal("aggregate_products", measures=["count"], group_by=["name"])

    assert said.startswith("The groups have more than 50 bytes.")


# For whom


def test_usual_order_tells_nothing_of_what_is_hidden(shelf: Category) -> None:
    """Nobody asked for it, so that a refusal would be nobody's to mend."""
    other = Category.objects.create(slug="zzz", name="A")
    Product.objects.filter(name="Comic").update(category=other)
    counter = Counter(Anybody("shop.view_product"))
    counter.expose(
        Product,
        fields=["name", "category__name"],
        ordering=["category__name", "name"],
    )

    assert names(counter.call("list_products")) == ["Atlas", "Bible", "Comic"]
    assert "ordering" in counter.refusal("list_products", ordering=["category__name"])


def test_tools_say_what_they_are_for(counter: Counter) -> None:
    texts = {
        name: counter.tools[name].definition.description
        for name in ("list_products", "get_product", "aggregate_products")
    }

    assert texts == {
        "list_products": "List products, a page at a time. Something to buy.",
        "get_product": "Get one product by its key. Something to buy.",
        "aggregate_products": (
            "Count, add up or average products, all together or by groups. Something "
            "to buy."
        ),
    }
