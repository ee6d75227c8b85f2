"""
What goes wrong easily where models meet agents, each tried once from end to end.

The modules have tests of their own for how it is done; here is what must never happen.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import models
from django.db.models.signals import m2m_changed
from django.test.utils import isolate_apps
from django.utils.functional import lazystr
from django.utils.translation import gettext_lazy, override
from msgspec import to_builtins

from mcp_channels import ModelTools, ToolError, register, tool
from tests.shop.counter import Anybody, Counter
from tests.shop.models import Category, Customer, Line, Order, Product, Tag

pytestmark = pytest.mark.django_db

ALL = [
    *("list", "get", "aggregate", "create", "update", "delete"),
    *("bulk_create", "bulk_update", "bulk_delete"),
]
User = get_user_model()


@pytest.fixture
def shelf(db: None) -> Category:
    return Category.objects.create(slug="books", name="Books")


@pytest.fixture
def atlas(shelf: Category) -> Product:
    return Product.objects.create(name="Atlas", sku="A", price=1, category=shelf)


# Writing


def test_change_of_a_user_blanks_nothing_and_locks_nobody_out(db: None) -> None:
    """A form takes what is missing for empty, and a missing checkbox for no."""
    user = User.objects.create_user(
        "ada", "ada@example.com", "secret", first_name="Ada", is_staff=True
    )
    group = Group.objects.create(name="Editors")
    user.groups.add(group)
    before = User.objects.values().get()
    counter = Counter()
    fields = ["username", "first_name", "last_name", "email", "is_active", "is_staff"]
    counter.expose(User, fields=[*fields, "groups"])
    counter.call("update_user", pk=user.pk, values={"last_name": "Lovelace"})

    assert User.objects.values().get() == {**before, "last_name": "Lovelace"}
    assert list(user.groups.all()) == [group]
    assert user.check_password("secret")


def test_history_is_written(atlas: Product) -> None:
    counter = Counter(User.objects.create_superuser("ada"))
    counter.expose(Product, fields=["name"])
    counter.call("update_product", pk=atlas.pk, values={"name": "B"})
    counter.call("delete_product", pk=atlas.pk)

    assert [str(entry.user) for entry in LogEntry.objects.all()] == ["ada", "ada"]


def test_links_are_written_once(atlas: Product) -> None:
    Tag.objects.create(name="a")
    said: list[str] = []

    def hear(action: str, **kwargs: Any) -> None:
        said.append(action)

    counter = Counter()
    counter.expose(Tag, fields=["name"])
    counter.expose(Product, fields=["name", "tags"])
    m2m_changed.connect(hear, sender=Product.tags.through)
    try:
        counter.call("update_product", pk=atlas.pk, values={"tags": ["a"]})
        assert said == ["pre_add", "post_add"]
        counter.call("update_product", pk=atlas.pk, values={"tags": ["a"]})
        counter.call("update_product", pk=atlas.pk, values={"name": "B"})
        assert said == ["pre_add", "post_add"]
    finally:
        m2m_changed.disconnect(hear, sender=Product.tags.through)


def test_row_of_somebody_elses_parent_is_not_changed(atlas: Product) -> None:
    """Nor moved there, nor made there, nor reached through one's own parent."""
    placed = datetime(2026, 1, 1, tzinfo=UTC)
    users, orders, lines = [], [], []
    for name in ("ada", "eve"):
        users.append(User.objects.create_superuser(name))
        customer = Customer.objects.create(name=name, owner=users[-1])
        orders.append(Order.objects.create(customer=customer, placed_at=placed))
        lines.append(Line.objects.create(order=orders[-1], product=atlas, count=1))
    counter = Counter(users[1])
    counter.expose(
        Order,
        fields=["is_paid", "lines"],
        get_queryset=lambda self, context: Order.objects.filter(
            customer__owner=context.user
        ),
    )
    counter.expose(
        Line,
        fields=["order", "product", "count"],
        operations=ALL,
        get_queryset=lambda self, context: Line.objects.filter(
            order__customer__owner=context.user
        ),
    )
    mine, theirs = orders[1].pk, orders[0].pk

    said = counter.refusal("update_line", pk=lines[0].pk, values={"count": 9})
    assert said == f"There is no line {lines[0].pk}."
    said = counter.refusal("update_line", pk=lines[1].pk, values={"order": theirs})
    assert said == f"values.order: there is no order {theirs}."
    said = counter.refusal(
        "create_line", values={"order": theirs, "product": atlas.pk, "count": 1}
    )
    assert said == f"values.order: there is no order {theirs}."
    said = counter.refusal("update_order", pk=mine, values={"lines": []})
    assert said.startswith("values.lines: unknown argument")
    counter.call("delete_order", pk=mine)
    assert list(Line.objects.all()) == [lines[0]]


# Acting


def test_action_is_not_run_without_permission_or_with_hidden_rows(
    atlas: Product,
) -> None:
    ran: list[Any] = []

    class ProductTools(ModelTools):
        fields = ["name"]

        def get_queryset(self, context: Any) -> Any:
            return super().get_queryset(context).exclude(name="Atlas")

        @tool
        def act(self, products: list[Product]) -> None:
            """Act."""
            ran.append(products)

    counter = Counter()
    register(Product, registry=counter.registry)(ProductTools)
    assert counter.refusal("act", products=[atlas.pk]) == (
        f"There is no product {atlas.pk}."
    )
    reader = Counter(Anybody("shop.view_product"), counter.registry)
    assert "act" not in reader.tools
    assert ran == []


# Naming


def test_hidden_fields_are_named_nowhere(atlas: Product) -> None:
    """Not in a schema, a description, a list of what there is, or an error."""
    counter = Counter(User.objects.create_superuser("ada"))
    counter.expose(
        Product,
        fields=["name", "price", "category"],
        operations=ALL,
        filters=["name", "category"],
        search_fields=["name"],
    )
    hidden = [
        *("sku", "stock keeping", "internal_note", "internal note", "purchase_price"),
        *("purchase price", "slug"),
    ]
    said = [json.dumps(to_builtins(tool.definition)) for tool in counter.tools.values()]
    said.append(counter.text("describe_models"))
    said.append(counter.text("describe_models", model="shop.product"))
    said.append(counter.text("list_products"))
    said.append(counter.text("get_product", pk=atlas.pk))
    for name, arguments in [
        ("list_products", {"fields": ["x"]}),
        ("list_products", {"filters": {"x": 1}}),
        ("list_products", {"ordering": ["x"]}),
        ("aggregate_products", {"measures": ["x"]}),
        ("aggregate_products", {"measures": ["count"], "group_by": ["x"]}),
        ("update_product", {"pk": atlas.pk, "values": {"x": 1}}),
        # The hidden column is unique, and empty in both.
        (
            "bulk_create_products",
            {"rows": [{"name": "B", "price": "1", "category": atlas.category_id}] * 2},
        ),
    ]:
        said.append(counter.refusal(name, **arguments))

    assert [text for text in said for word in hidden if word in text] == []


@pytest.mark.parametrize("name", ["password", "owner__password", "owner", "api_token"])
def test_columns_that_are_not_named_cannot_be_guessed_at(db: None, name: str) -> None:
    owner = User.objects.create_user("ada", password="secret")
    Customer.objects.create(name="Ada", owner=owner, api_token="hush")
    counter = Counter()
    counter.expose(
        Customer, fields=["name"], operations=ALL, filters=["name"], page_size=10
    )
    for tool_name, arguments in [
        ("list_customers", {"filters": {name: "x"}}),
        ("list_customers", {"filters": {f"{name}__startswith": "h"}}),
        ("list_customers", {"filters": {f"{name}__regex": "^h"}}),
        ("list_customers", {"ordering": [name]}),
        ("list_customers", {"fields": [name]}),
        ("aggregate_customers", {"measures": [f"{name}__max"]}),
        ("aggregate_customers", {"measures": ["count"], "group_by": [name]}),
    ]:
        said = counter.refusal(tool_name, **arguments)
        assert "hush" not in said
        assert "pbkdf2" not in said


def test_filter_that_is_not_known_is_not_ignored(atlas: Product) -> None:
    """An agent would take all rows for those that it asked for."""
    counter = Counter()
    counter.expose(Product, fields=["name"], filters=["name"])
    for filters in ({"nmae": "Map"}, {"name__iexact": "Map"}, {"name": None}):
        assert counter.refusal("list_products", filters=filters)


def test_attribute_of_a_row_is_no_field(atlas: Product) -> None:
    """What a row can do is not what it shows."""
    counter = Counter()
    counter.expose(Product, fields=["name", "category"])
    for name in ("delete", "save", "pk", "_state", "__class__", "category__products"):
        assert counter.refusal("get_product", pk=atlas.pk, fields=[name])


# Keys and options


def test_key_zero_is_a_key(shelf: Category) -> None:
    zero = Category.objects.create(pk=0, slug="zero", name="Zero")
    counter = Counter()
    fields = ["slug", "name", "parent"]
    counter.expose(Category, fields=fields, operations=ALL, filters=["parent"])
    counter.call("update_category", pk=shelf.pk, values={"parent": 0})
    shelf.refresh_from_db()
    assert shelf.parent == zero

    assert counter.call("get_category", pk=0)["row"]["name"] == "Zero"
    rows = counter.call("list_categories", filters={"parent": 0})["rows"]
    assert [row["pk"] for row in rows] == [shelf.pk]
    counter.call("update_category", pk=0, values={"name": "None"})
    assert counter.call("get_category", pk=shelf.pk)["row"]["parent"] == {
        "pk": 0,
        "label": "None",
    }
    assert counter.call("bulk_delete_categories", pks=[0]) == {"deleted": ["None"]}


def test_options_may_be_tuples(atlas: Product) -> None:
    counter = Counter()
    counter.expose(
        Product,
        fields=("name", "price"),
        readonly_fields=("price",),
        operations=("list", "update"),
        search_fields=("name",),
        filters={"price": ("gte",)},
        ordering=("-price",),
        ordering_fields=("price",),
        list_select_related=("category",),
        list_prefetch_related=("tags",),
    )

    assert counter.call("list_products", search="atl")["rows"]
    assert counter.call("update_product", pk=atlas.pk, values={"name": "B"})


def test_options_are_left_as_they_are(atlas: Product) -> None:
    fields, filters = ["name"], {"name": ["exact"]}
    counter = Counter()
    counter.expose(Product, fields=fields, filters=filters)
    counter.call("list_products", filters={"name": "x"})

    assert (fields, filters) == (["name"], {"name": ["exact"]})


# Words


def test_words_may_be_translated_late(db: None) -> None:
    """What is lazy has no JSON, and is not yet in anybody's language."""
    with isolate_apps("tests.shop"):

        class Notice(models.Model):
            state = models.CharField(
                lazystr("state of it"),
                max_length=5,
                choices=[("a", lazystr("Alpha"))],
                help_text=lazystr("How it is"),
            )

            class Meta:
                app_label = "shop"
                verbose_name = lazystr("notice")
                verbose_name_plural = lazystr("notices")

    counter = Counter()
    counter.expose(Notice, fields=["state"], operations=ALL, filters=["state"])
    (described,) = counter.call("describe_models", model="shop.notice")["models"]

    assert described["title"] == "notice"
    assert described["fields"][0]["title"] == "state of it"
    assert "How it is. One of a (Alpha)." in described["fields"][0]["description"]
    for made in counter.tools.values():
        json.dumps(to_builtins(made.definition))


def test_refusals_may_be_translated_late(atlas: Product) -> None:
    def save_model(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
        raise ToolError(gettext_lazy("This field is required."))

    counter = Counter()
    counter.expose(Product, fields=["name"], save_model=save_model)
    with override("de"):
        said = counter.refusal("update_product", pk=atlas.pk, values={"name": " "})
        late = counter.refusal("update_product", pk=atlas.pk, values={"name": "B"})

    assert said == "values.name: Dieses Feld ist zwingend erforderlich."
    assert late == "Dieses Feld ist zwingend erforderlich."


# Reading anew


def test_rows_are_those_of_now(shelf: Category) -> None:
    asked: list[int] = []

    def get_queryset(self: Any, context: Any) -> Any:
        asked.append(1)
        return Category.objects.all()

    counter = Counter()
    counter.expose(Category, fields=["name"], get_queryset=get_queryset)
    assert len(counter.call("list_categories")["rows"]) == 1

    Category.objects.create(slug="b", name="B")
    before = len(asked)
    assert len(counter.call("list_categories")["rows"]) == 2
    assert len(asked) > before


def test_page_has_a_limit_whatever_is_asked_for(db: None) -> None:
    Tag.objects.bulk_create(Tag(name=f"{n:04}") for n in range(250))
    counter = Counter()
    counter.expose(Tag, fields=["name"])

    assert len(counter.call("list_tags")["rows"]) == 50
    assert len(counter.call("list_tags", page_size=200)["rows"]) == 200
    assert counter.refusal("list_tags", page_size=201)
    assert counter.refusal("list_tags", page_size=None)
