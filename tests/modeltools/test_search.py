"""Searches: where words are looked for, and what a search does not tell."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from mcp_channels import ToolError
from mcp_channels.modeltools.allowlist import Allowlist
from mcp_channels.modeltools.search import Search
from tests.shop.counter import Anybody, Counter
from tests.shop.models import Category, Customer, Product, Sample, Tag

pytestmark = pytest.mark.django_db

FIELDS = ["name", "sku", "stock", "price", "released_on", "category__name", "tags"]


def problems(model: Any, *names: str, fields: Any = None) -> list[str]:
    fields = fields or ["name", "stock", "details", "is_available", "category__name"]
    return Search(Allowlist(model, fields, None), names).problems


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture(autouse=True)
def products() -> dict[str, Product]:
    tea = Category.objects.create(name="Tea", slug="tea")
    found = {}
    for number, name in enumerate(["Green Tea", "Black tea", "50% Off", "Ça va"]):
        found[name] = Product.objects.create(
            name=name,
            sku=f"sku-{number}",
            stock=number,
            price=Decimal(f"{number}.50"),
            released_on=dt.date(2026, 1, number + 1),
            category=tea,
        )
    return found


def find(counter: Counter, search: str, *places: str, **options: Any) -> list[str]:
    if Product not in counter.registry.exposures:
        fields = [*FIELDS, "tags__name"]
        counter.expose(Product, fields=fields, search_fields=places, **options)
    rows = counter.call("list_products", search=search, fields=["name"])["rows"]
    return [row["name"] for row in rows]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("tea", ["Black tea", "Green Tea"]),
        ("tea green", ["Green Tea"]),
        ("TEA\tBLACK\n", ["Black tea"]),
        ("teapot", []),
        ("%", ["50% Off"]),
        ("_", []),
        ("ack t", ["Black tea"]),
        ("t ack", ["Black tea"]),
        ('"t ack"', []),
        ('"ack t"', ["Black tea"]),
        ("'ack t'", ["Black tea"]),
        ('"ack t" B', ["Black tea"]),
        ('"', []),
        ("'", []),
        ('"unclosed tea', []),
        ('"" tea', ["Black tea", "Green Tea"]),
        ("';drop table", []),
        ("a\\", []),
        (" ".join(["tea"] * 10), ["Black tea", "Green Tea"]),
    ],
)
def test_every_word_must_be_there(counter, search, found):
    assert find(counter, search, "name") == found


@pytest.mark.parametrize(
    ("place", "search", "found"),
    [
        ("^name", "bla", ["Black tea"]),
        ("^name", "tea", []),
        ("=name", "BLACK", []),
        ("=name", '"black TEA"', ["Black tea"]),
        ("=stock", "1", ["Black tea"]),
        ("=stock", "one", []),
        ("=stock", "9" * 30, []),
        ("=stock", "1e400", []),
        ("=price", "1.5", ["Black tea"]),
        ("=price", "NaN", []),
        ("=released_on", "2026-01-02", ["Black tea"]),
        ("=released_on", "January", []),
        ("category__name", "tea", ["50% Off", "Black tea", "Green Tea", "Ça va"]),
    ],
)
def test_words_are_looked_for_as_the_place_says(counter, place, search, found):
    assert find(counter, search, place) == found


def test_a_word_may_be_in_any_place(counter):
    assert find(counter, "tea sku-1", "name", "sku", "=stock") == ["Black tea"]
    assert find(counter, "0 Green") == ["Green Tea"]
    assert find(counter, "nothing Green") == []


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        ("a\0b", "search: a text cannot contain the character NUL."),
        (" \t ", "search: there is no word in it."),
        ("''", "search: there is no word in it."),
        (" ".join("abcdefghijk"), "search: at most 10 words."),
    ],
)
def test_what_is_no_search_is_refused(counter, search, reason):
    counter.expose(Product, fields=["name"], search_fields=["name"])

    assert counter.refusal("list_products", search=search) == reason


def test_a_long_search_is_refused(counter):
    exposure = counter.expose(Product, fields=["name"], search_fields=["name"])

    assert "200" in counter.refusal("list_products", search="x" * 201)
    assert counter.call("list_products", search="x" * 200)["rows"] == []
    with pytest.raises(ToolError, match="search: at most 200 characters"):
        exposure.search.apply(Product.objects.all(), "x" * 201, counter.context, {})


@pytest.mark.parametrize(
    ("search", "found"),
    [("2001:DB8::1", 1), ("192.0.2.1", 0), ("address", 0), ("true", 1), ("no", 0)],
)
def test_words_that_no_column_could_have_are_nowhere(counter, search, found):
    Sample.objects.create(address="2001:db8::1", flag=True)
    counter.expose(
        Sample, fields=["address", "flag"], search_fields=["=address", "=flag"]
    )

    assert len(counter.call("list_samples", search=search)["rows"]) == found


def test_a_row_with_several_hits_is_found_once(counter, products):
    product = products["Green Tea"]
    for name in ("fine", "finest"):
        product.tags.add(Tag.objects.create(name=name))

    assert find(counter, "fine", "tags__name") == ["Green Tea"]
    assert find(counter, "green") == []


def test_hidden_rows_are_not_searched(counter, products):
    salt = Category.objects.create(name="Tea secret", slug="salt")
    product = Product.objects.create(name="Salt", sku="x", price=1, category=salt)
    counter.expose(
        Category,
        fields=["name"],
        get_queryset=lambda self, context: Category.objects.exclude(slug="salt"),
    )

    assert find(counter, "secret", "name", "category__name") == []
    assert find(counter, "tea salt") == []
    assert find(counter, "salt") == ["Salt"]
    assert product.category.name == "Tea secret"


def test_a_model_that_may_not_be_seen_is_not_searched():
    clerk = Counter(Anybody("shop.view_product"))

    assert find(clerk, "tea", "name", "category__name") == ["Black tea", "Green Tea"]

    clerk = Counter(Anybody("shop.view_product"))
    assert find(clerk, "tea", "category__name") == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nope", "search field 'nope' is no column among the fields. A search tells"),
        ("", "search field '' is no column among the fields."),
        ("internal_note", "search field 'internal_note' is no column among the fields"),
        ("category", "search field 'category' is no column among the fields."),
        ("category__slug", "search field 'category__slug' is no column among the"),
        ("is_available", "search field 'is_available' is no column among the fields."),
        ("@name", "search field '@name' is no column among the fields."),
        ("=^name", "search field '=^name' is no column among the fields."),
        ("stock", "search field 'stock' is no text: write '=stock' to find it by all"),
        ("^stock", "search field '^stock' is no text: write '=stock' to find it by"),
        ("=details", "search field '=details' holds nothing that a word could be."),
    ],
)
def test_what_cannot_be_searched_is_a_problem(name, problem):
    (found,) = problems(Product, name)

    assert found.startswith(problem)


def test_what_can_be_searched_is_none():
    names = ["name", "^name", "=name", "=stock", "category__name"]
    search = Search(Allowlist(Product, FIELDS, None), names)

    assert search.problems == []
    assert search.paths == ["name", "stock", "category__name"]
    assert search
    assert not Search(Allowlist(Customer, ["name"], None), [])
