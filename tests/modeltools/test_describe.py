"""describe_models, and the tools that serve all models alike."""

from typing import Any

import pytest
from django.db import transaction
from msgspec import Raw

from mcp_channels import ToolError
from mcp_channels.modeltools.describe import DESCRIBE
from mcp_channels.server.permissions import TokenGrant
from mcp_channels.server.schemas import ArgumentsError
from tests.shop.counter import Anybody, Counter
from tests.shop.models import Category, Customer, Product, Seat, Tag

pytestmark = pytest.mark.django_db

ALL = [
    *("list", "get", "aggregate", "create", "update", "delete"),
    *("bulk_create", "bulk_update", "bulk_delete"),
]


def expose(counter: Counter, **options: Any) -> None:
    counter.expose(
        Category, fields=["name", "slug", "products"], operations=ALL, **options
    )
    counter.expose(Tag, fields=["name"], operations=ALL, **options)
    counter.expose(
        Product,
        fields=["name", "sku", "price", "category", "category__name", "tags"],
        operations=ALL,
        filters={
            "category": ["exact", "isnull"],
            "category__name": ["exact", "icontains"],
            "price": ["gte"],
            "tags": ["exact"],
        },
        search_fields=["name", "category__name"],
        ordering_fields=["price", "category__name"],
        description="Something to buy.",
        **options,
    )


@pytest.fixture
def counter() -> Counter:
    counter = Counter()
    expose(counter)
    return counter


@pytest.fixture
def generic() -> Counter:
    counter = Counter()
    expose(counter, generic=True)
    return counter


# What is described


def test_models_are_described_with_all_that_can_be_named(counter: Counter) -> None:
    described = counter.call("describe_models")["models"]

    assert [one["model"] for one in described] == [
        *("shop.category", "shop.product", "shop.tag"),
    ]
    product = described[1]
    fields = {field["name"]: field for field in product.pop("fields")}
    operations = product.pop("operations")
    assert product == {
        "model": "shop.product",
        "title": "product",
        "description": "Something to buy.",
        "uri_template": "django://shop.product/{pk}",
        "filters": [
            *("category", "category__isnull", "category__name"),
            *("category__name__icontains", "price__gte", "tags"),
        ],
        "search_fields": ["name", "category__name"],
        "ordering_fields": ["pk", "price", "category__name"],
    }
    assert list(fields) == [
        *("name", "sku", "price", "category", "category__name", "tags"),
    ]
    assert fields["sku"] == {
        "name": "sku",
        "title": "stock keeping unit",
        "description": "",
        "is_writable": True,
    }
    assert fields["category"]["leads_to"] == "shop.category"
    assert fields["category"]["is_many"] is False
    assert fields["tags"]["is_many"] is True
    assert fields["category__name"]["is_writable"] is False
    assert {"operation": "update", "tool": "update_product"} in operations
    assert [one["operation"] for one in operations] == ALL


def test_one_model_is_described_with_its_arguments(counter: Counter) -> None:
    (described,) = counter.call("describe_models", model="Shop.Product")["models"]
    arguments = {one["operation"]: one["arguments"] for one in described["operations"]}

    tool = counter.tools["update_product"]
    assert arguments["update"] == tool.definition.input_schema


def test_model_that_is_hidden_is_one_that_does_not_exist(counter: Counter) -> None:
    nobody = Counter(Anybody("shop.view_tag"), counter.registry)
    described = nobody.call("describe_models")["models"]

    assert [one["model"] for one in described] == ["shop.tag"]
    for label in ("shop.product", "shop.nothing", "auth.user", "x" * 200):
        assert nobody.refusal("describe_models", model=label) == (
            f"There is no model {label[:100]!r}. See describe_models."
        )


def test_nobody_is_told_what_cannot_be_done(counter: Counter) -> None:
    reader = Counter(Anybody("shop.view_product"), counter.registry)
    (described,) = reader.call("describe_models")["models"]

    assert [one["operation"] for one in described["operations"]] == [
        *("list", "get", "aggregate"),
    ]
    assert not any(field["is_writable"] for field in described["fields"])


def test_nobody_is_told_of_tools_that_a_token_hides(counter: Counter) -> None:
    counter.token = TokenGrant(pk="1", name="reader", read_only=True)
    described = {one["model"]: one for one in counter.call("describe_models")["models"]}

    assert len(described) == 3
    for one in described.values():
        kinds = [operation["operation"] for operation in one["operations"]]
        assert kinds == ["list", "get", "aggregate"]
        assert "uri_template" in one

    counter.token = TokenGrant(
        pk="1", name="narrow", patterns=("describe_models", "list_tags")
    )
    (described_tag,) = counter.call("describe_models")["models"]

    assert described_tag["model"] == "shop.tag"
    assert [one["tool"] for one in described_tag["operations"]] == ["list_tags"]
    assert "uri_template" not in described_tag
    assert counter.refusal("describe_models", model="shop.product") == (
        "There is no model 'shop.product'. See describe_models."
    )


def test_nobody_is_told_of_ways_into_hidden_models(counter: Counter) -> None:
    reader = Counter(Anybody("shop.view_product"), counter.registry)
    (described,) = reader.call("describe_models")["models"]
    fields = {field["name"]: field for field in described["fields"]}

    # The key of the category is a value of the product.
    assert list(fields) == ["name", "sku", "price", "category"]
    assert fields["category"]["is_many"] is False
    assert "leads_to" not in fields["category"]
    assert described["filters"] == ["category", "category__isnull", "price__gte"]
    assert described["search_fields"] == ["name"]
    assert described["ordering_fields"] == ["pk", "price"]
    assert "shop.category" not in str(described)


def test_rows_that_cannot_be_got_have_no_uri() -> None:
    counter = Counter()
    counter.expose(Tag, fields=["name"], operations=["list"])

    assert "uri_template" not in counter.call("describe_models")["models"][0]


def test_description_is_for_those_who_see_something(counter: Counter) -> None:
    assert DESCRIBE in counter.tools
    assert DESCRIBE not in Counter(Anybody("auth.view_user"), counter.registry).tools
    assert DESCRIBE not in counter.as_user(None).tools


# The tools for all models


@pytest.fixture
def shelf(db: None) -> Category:
    return Category.objects.create(slug="books", name="Books")


def test_generic_tools_do_what_the_others_do(
    counter: Counter, generic: Counter, shelf: Category
) -> None:
    """The same calls, one after the other: each in its own copy of the rows."""
    Tag.objects.create(name="a")
    Product.objects.create(pk=1, name="A", sku="a", price=5, category=shelf)
    product = {"name": "B", "sku": "b", "price": "123456.70", "category": shelf.pk}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("create", "tag", {"values": {"name": "z"}}),
        ("get", "product", {"pk": 1}),
        ("get", "product", {"pk": 1, "fields": ["name"]}),
        ("list", "products", {}),
        (
            "list",
            "products",
            {
                "filters": {"price__gte": 5},
                "search": "A",
                "ordering": ["-price"],
                "fields": ["price"],
                "page_size": 5,
                "count": True,
            },
        ),
        ("aggregate", "products", {"measures": ["count"], "group_by": ["category"]}),
        ("update", "product", {"pk": 1, "values": {"name": "B"}}),
        ("bulk_create", "tags", {"rows": [{"name": "b"}, {"name": "c"}]}),
        ("bulk_update", "products", {"rows": [{"pk": 1, "values": {"name": "C"}}]}),
        ("bulk_delete", "tags", {"pks": ["b"]}),
        ("delete", "product", {"pk": 1}),
        # And what is refused.
        ("get", "product", {"pk": 99}),
        ("get", "product", {"pk": "x"}),
        ("get", "product", {"pk": 2**63}),
        ("list", "products", {"filters": {"colour": 1}}),
        ("list", "products", {"filters": None}),
        ("list", "products", {"page_size": 0}),
        ("list", "products", {"cursor": "x"}),
        ("create", "product", {"values": {}}),
        ("create", "product", {"values": {**product, "price": 0.1234567890123456789}}),
        ("bulk_delete", "tags", {"pks": []}),
    ]
    for kind, noun, arguments in calls:
        label = f"shop.{noun.removesuffix('s')}"
        with transaction.atomic():
            own = answer(counter, f"{kind}_{noun}", arguments)
            transaction.set_rollback(True)
        # Only what this one does is kept, for the next ones.
        shared = answer(generic, f"models.{kind}", {"model": label, **arguments})
        assert own == shared, (kind, arguments)


def answer(counter: Counter, name: str, arguments: dict[str, Any]) -> str:
    try:
        return counter.text(name, **arguments)
    except (ArgumentsError, ToolError) as exc:
        return str(exc)


def test_generic_tools_take_decimals_to_the_last_digit(
    generic: Counter, shelf: Category
) -> None:
    tool = generic.tools["models.create"]
    text = (
        b'{"model": "shop.product", "values": {"name": "A", "sku": "a", '
        b'"price": 999999.99, "category": ["books"]}}'
    )
    tool.function(generic.context, **tool._arguments.decode(Raw(text)))
    assert str(Product.objects.get().price) == "999999.99"

    text = text.replace(b"999999.99", b"0.10000000000000000001")
    with pytest.raises(ToolError, match="no more than 8 digits"):
        tool.function(generic.context, **tool._arguments.decode(Raw(text)))


def test_generic_tools_serve_only_models_that_chose_them() -> None:
    """A site may have taken the tool of the model away."""
    counter = Counter()
    counter.expose(Category, fields=["name"], operations=["list", "delete"])
    counter.expose(Tag, fields=["name"], operations=["list", "delete"], generic=True)
    shelf = Category.objects.create(slug="a", name="A")
    counter.registry.remove("delete_category")

    for kind in ("list", "delete"):
        more = {"pk": shelf.pk} if kind == "delete" else {}
        said = counter.refusal(f"models.{kind}", model="shop.category", **more)
        assert said == f"There is no {kind} for 'shop.category'. See describe_models."
    assert counter.call("models.list", model="shop.tag")["rows"] == []


def test_generic_tools_know_nothing_that_is_hidden(generic: Counter) -> None:
    reader = Counter(Anybody("shop.view_tag"), generic.registry)

    assert set(reader.tools) == {
        *("models.list", "models.get", "models.aggregate", "describe_models"),
    }
    for label in ("shop.product", "shop.nothing"):
        assert reader.refusal("models.get", model=label, pk=1) == (
            f"There is no model {label!r}. See describe_models."
        )

    writer = Counter(
        Anybody("shop.view_tag", "shop.view_product", "shop.add_tag"), generic.registry
    )
    values = {"name": "x"}
    assert writer.call("models.create", model="shop.tag", values=values)
    assert writer.refusal("models.create", model="shop.product", values=values) == (
        "There is no create for 'shop.product'. See describe_models."
    )


def test_generic_tools_do_only_what_a_model_offers() -> None:
    counter = Counter()
    counter.expose(Tag, fields=["name"], operations=["list"], generic=True)
    counter.expose(Category, fields=["name"], operations=["get"], generic=True)

    assert counter.refusal("models.get", model="shop.tag", pk="a") == (
        "There is no get for 'shop.tag'. See describe_models."
    )


def test_generic_tools_take_any_key() -> None:
    counter = Counter()
    options: Any = {"operations": ["get"], "generic": True}
    counter.expose(Seat, fields=["guest"], **options)
    counter.expose(Customer, fields=["name"], **options)
    Seat.objects.create(row="A", number=1, guest="Ada")

    found = counter.call("models.get", model="shop.seat", pk=["A", 1])
    assert found["row"]["guest"] == "Ada"
    said = counter.refusal(
        "models.get", model="shop.customer", pk="6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    )
    assert said.startswith("There is no customer ")


def test_generic_tools_say_what_they_take(generic: Counter) -> None:
    definition = generic.tools["models.update"].definition

    assert definition.description == (
        "Change one row of a model. See describe_models for models and their arguments."
    )
    assert definition.input_schema == {
        "type": "object",
        "properties": {
            "model": {
                "type": "string",
                "description": 'Which one, as in "shop.product".',
            },
            "pk": {"description": "The key of the row."},
            "values": {"type": "object"},
            "version": {"type": "string"},
        },
        "required": ["model", "pk", "values"],
        "additionalProperties": False,
    }
    assert generic.tools["models.bulk_update"].definition.annotations.idempotent_hint
    assert generic.refusal("models.get", model="shop.tag") == (
        "pk: required, but missing"
    )
