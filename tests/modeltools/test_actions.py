"""Actions: methods that get rows for keys, and whose rows are shown as rows are."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import connection
from django.http import Http404
from django.test.utils import CaptureQueriesContext
from msgspec import Struct

from mcp_channels import Context, ModelTools, ToolError, register, tool
from tests.shop.counter import Anybody, Counter
from tests.shop.models import Book, Category, Product, Seat, Tag
from tests.sites import Site, both_eras

pytestmark = pytest.mark.django_db


class Sure(Struct):
    sure: bool


class ProductTools(ModelTools):
    """Products that are not secret, of which old ones stay as they are."""

    fields = ["name", "stock", "category"]
    operations = ["list", "get", "update"]

    def get_queryset(self, context: Any) -> Any:
        return super().get_queryset(context).exclude(sku="secret")

    def has_view_permission(self, context: Any, obj: Any = None) -> bool:
        if obj is not None and obj.sku == "hidden":
            return False
        return super().has_view_permission(context, obj)

    def has_change_permission(self, context: Any, obj: Any = None) -> bool:
        if obj is not None and obj.sku == "old":
            return False
        return super().has_change_permission(context, obj)

    @tool(destructive=False)
    def restock(self, product: Product, count: int = 10) -> Product:
        """
        Put more of a product on the shelf.

        Args:
            product: which one.
            count: how many.
        """
        product.stock += count
        product.save()
        return product

    @tool(read_only=True)
    def price(self, product: Product) -> Decimal:
        """Tell the price."""
        return product.price

    @tool(read_only=True)
    def cheapest(self) -> list[Product]:
        """Tell which one is the cheapest."""
        return list(Product.objects.order_by("price")[:1])

    @tool
    def sell(self, products: list[Product], reason: str = "") -> list[Product]:
        """Sell several."""
        for product in products:
            if not product.stock:
                raise ToolError(f"There is no {product.name} left.")
            product.stock -= 1
            product.save()
        return products

    @tool
    def move(self, product: Product, category: Category | None = None) -> None:
        """Put it on a shelf."""
        if category is not None:
            product.category = category
            product.save()

    @tool(permission="shop.steal_product", name="steal")
    def take(self, product: Product) -> Product | None:
        """Take it away."""
        return None if product.stock else product

    @tool
    def spoil(self, product: Product, how: str) -> Product:
        """Do harm."""
        product.stock = 99
        product.save()
        if how == "forbid":
            raise PermissionDenied("Jo's")
        if how == "miss":
            raise Http404("/jo")
        if how == "break":
            raise ZeroDivisionError
        if how == "hide":
            product.sku = "secret"
            product.save()
        return product


@pytest.fixture
def shelf(db: None) -> Category:
    return Category.objects.create(slug="books", name="Books")


@pytest.fixture
def make(shelf: Category) -> Callable[..., Product]:
    def make(sku: str, **fields: Any) -> Product:
        return Product.objects.create(
            name=sku.title(), sku=sku, price=Decimal("2.50"), category=shelf, **fields
        )

    return make


@pytest.fixture
def counter() -> Counter:
    counter = Counter()
    counter.expose(Category, fields=["name"])
    register(Product, registry=counter.registry)(ProductTools)
    return counter


# What the method gets, and what comes of it


def test_action_gets_a_row_and_shows_one(counter: Counter, make: Any) -> None:
    product = make("atlas", stock=1)
    row = counter.call("restock", product=product.pk, count=5)

    assert row == {
        "pk": product.pk,
        "name": "Atlas",
        "stock": 6,
        "category": {"pk": product.category_id, "label": "Books"},
    }
    product.refresh_from_db()
    assert product.stock == 6
    assert counter.call("restock", product=product.pk)["stock"] == 16


def test_action_gets_rows_in_the_order_of_their_keys(
    counter: Counter, make: Any
) -> None:
    a, b = make("a", stock=5), make("b", stock=5)
    rows = counter.call("sell", products=[b.pk, a.pk, b.pk])

    assert [row["pk"] for row in rows] == [b.pk, a.pk, b.pk]
    assert [row["stock"] for row in rows] == [3, 4, 3]


def test_action_returns_what_it_likes(counter: Counter, make: Any) -> None:
    product = make("a")

    assert counter.call("price", product=product.pk) == "2.50"
    assert counter.call("cheapest")[0]["name"] == "A"

    Product.objects.update(sku="hidden")
    assert counter.refusal("cheapest") == "What it returns is out of your reach."


def test_action_may_do_without_a_row(counter: Counter, make: Any) -> None:
    product, other = make("a"), Category.objects.create(slug="b", name="B")
    counter.call("move", product=product.pk)
    counter.call("move", product=product.pk, category=None)
    product.refresh_from_db()
    assert product.category != other

    counter.call("move", product=product.pk, category=other.pk)
    product.refresh_from_db()
    assert product.category == other

    said = counter.refusal("move", product=product.pk, category=99)
    assert said == "There is no category 99."


def test_action_may_return_no_row(make: Any) -> None:
    counter = Counter()
    register(Product, registry=counter.registry)(ProductTools)
    assert counter.call("steal", product=make("a").pk)["pk"]
    assert counter.call("steal", product=make("b", stock=1).pk) is None


def test_action_is_described_as_the_method_is(counter: Counter) -> None:
    definition = counter.tools["restock"].definition

    assert definition.description == "Put more of a product on the shelf."
    assert definition.annotations.destructive_hint is False
    assert definition.input_schema["required"] == ["product"]
    properties = definition.input_schema["properties"]
    assert properties["product"]["description"] == "which one."
    assert properties["product"]["title"] == "Key of a product"
    assert properties["product"]["type"] == "integer"
    assert properties["count"]["default"] == 10
    assert counter.tools["restock"].place.endswith("test_actions.ProductTools.restock")


def test_rows_of_one_parameter_have_a_limit(counter: Counter, make: Any) -> None:
    schema = counter.tools["sell"].definition.input_schema["properties"]["products"]
    assert (schema["minItems"], schema["maxItems"]) == (1, 100)

    product = make("a", stock=100)
    counter.call("sell", products=[product.pk] * 100)

    assert counter.refusal("sell", products=[]).startswith("products: ")
    assert counter.refusal("sell", products=[product.pk] * 101).startswith("products: ")


def test_rows_that_are_shown_take_the_same_queries(counter: Counter, make: Any) -> None:
    keys = [make(f"p{number}", stock=5).pk for number in range(10)]
    counts = []
    for some in (keys[:2], keys):
        with CaptureQueriesContext(connection) as queries:
            counter.call("sell", products=some)
        counts.append(sum(one["sql"].startswith("SELECT") for one in queries))

    assert counts[0] == counts[1]


def test_action_takes_a_key_of_several_columns() -> None:
    counter = Counter()

    class SeatTools(ModelTools):
        fields = ["guest"]
        operations = ["list"]

        @tool
        def invite(self, seats: list[Seat], guest: str) -> list[Seat]:
            """Give seats to somebody."""
            for seat in seats:
                seat.guest = guest
                seat.save()
            return seats

    register(Seat, registry=counter.registry)(SeatTools)
    Seat.objects.create(row="A", number=1)
    rows = counter.call("invite", seats=[["A", 1]], guest="Ada")

    assert rows == [{"pk": ["A", 1], "guest": "Ada"}]
    assert counter.refusal("invite", seats=[["A", 2]], guest="Ada") == (
        'There is no seat ["A",2].'
    )


# Whom it is for, and which rows


@pytest.mark.parametrize("name", ["restock", "price", "sell"])
@pytest.mark.parametrize("sku", ["secret", "hidden"])
def test_hidden_row_is_one_that_does_not_exist(
    counter: Counter, make: Any, name: str, sku: str
) -> None:
    hidden = make(sku, stock=5)
    argument = "products" if name == "sell" else "product"
    for key in (hidden.pk, 99):
        given = [key] if name == "sell" else key
        said = counter.refusal(name, **{argument: given})
        assert said == f"There is no product {key}."

    hidden.refresh_from_db()
    assert hidden.stock == 5


@pytest.mark.parametrize("key", [2**63, "1", None, 1.5])
def test_what_is_no_key_is_refused(counter: Counter, key: Any) -> None:
    assert counter.refusal("restock", product=key).startswith("product: ")


def test_key_that_no_row_could_have_is_not_asked_for(db: None) -> None:
    class TagTools(ModelTools):
        fields = ["name"]

        @tool
        def mark(self, tag: Tag) -> None:
            """Mark it."""

    counter = Counter()
    register(Tag, registry=counter.registry)(TagTools)
    with CaptureQueriesContext(connection) as queries:
        assert counter.refusal("mark", tag="a\0") == 'There is no tag "a\\u0000".'

    assert not [one for one in queries if "shop_tag" in one["sql"]]


def test_row_that_may_not_be_changed_may_be_looked_at(
    counter: Counter, make: Any
) -> None:
    old = make("old", stock=5)

    assert counter.call("price", product=old.pk) == "2.50"
    assert counter.refusal("restock", product=old.pk) == (
        "You may not change product 'Old'."
    )
    # It says itself who may.
    assert counter.call("steal", product=old.pk) is None


def test_row_of_a_model_that_nobody_may_see_does_not_exist(make: Any) -> None:
    product = make("a")
    counter = Counter(Anybody("shop.change_product"))
    register(Product, registry=counter.registry)(ProductTools)
    said = counter.refusal("move", product=product.pk, category=product.category_id)

    assert said == f"There is no category {product.category_id}."


def test_row_of_a_model_without_tools_may_be_given(make: Any) -> None:
    product, other = make("a"), Category.objects.create(slug="b", name="B")
    counter = Counter()
    register(Product, registry=counter.registry)(ProductTools)
    counter.call("move", product=product.pk, category=other.pk)

    product.refresh_from_db()
    assert product.category == other


def test_action_is_for_those_who_may_do_such_things(counter: Counter) -> None:
    def names(*permissions: str) -> set[str]:
        user = Anybody(*permissions)
        return set(Counter(user, counter.registry).tools) - {"describe_models"}

    read = {"list_products", "get_product", "price", "cheapest"}
    write = {"update_product", "restock", "sell", "move", "spoil"}

    assert names("shop.add_product") == set()
    assert names("shop.view_product") == read
    assert names("shop.change_product") == read | write
    assert names("shop.view_product", "shop.steal_product") == read | {"steal"}


# All or nothing


def test_tool_error_undoes_what_was_done(counter: Counter, make: Any) -> None:
    a, b = make("a", stock=1), make("b", stock=0)

    assert counter.refusal("sell", products=[a.pk, b.pk]) == "There is no B left."
    a.refresh_from_db()
    assert a.stock == 1


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("forbid", "You may not do that."),
        ("miss", "Something that it needs does not exist."),
        ("hide", "What it returns is out of your reach."),
    ],
)
def test_refusal_of_a_site_undoes_what_was_done(
    counter: Counter, make: Any, how: str, said: str
) -> None:
    product = make("a")

    assert counter.refusal("spoil", product=product.pk, how=how) == said
    product.refresh_from_db()
    assert (product.stock, product.sku) == (0, "a")


def test_fault_undoes_what_was_done(counter: Counter, make: Any) -> None:
    product = make("a")
    with pytest.raises(ZeroDivisionError):
        counter.call("spoil", product=product.pk, how="break")

    product.refresh_from_db()
    assert product.stock == 0


def test_rows_are_locked_by_those_who_change_them(
    counter: Counter, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [make("b", stock=5).pk, make("a", stock=5).pk]
    monkeypatch.setattr(connection.features, "has_select_for_update", True)
    monkeypatch.setattr(connection.ops, "for_update_sql", lambda **options: "-- locked")
    with CaptureQueriesContext(connection) as queries:
        counter.call("sell", products=keys)
        counter.call("price", product=keys[0])

    locked = [one["sql"] for one in queries if "-- locked" in one["sql"]]
    assert len(locked) == 1
    assert 'ORDER BY "shop_product"."id" ASC' in locked[0]


@pytest.mark.django_db(databases=["default", "archive"])
def test_action_reads_and_writes_where_the_rows_are() -> None:
    class TagTools(ModelTools):
        fields = ["name"]
        operations = ["list"]

        def get_queryset(self, context: Any) -> Any:
            return super().get_queryset(context).using("archive")

        @tool
        def mark(self, tag: Tag, fail: bool = False) -> Tag:
            """Make another."""
            Tag.objects.using("archive").create(name=f"{tag.name}!")
            if fail:
                raise ToolError("No.")
            return tag

    counter = Counter()
    register(Tag, registry=counter.registry)(TagTools)
    Tag.objects.using("archive").create(name="a")
    counter.call("mark", tag="a")

    assert Tag.objects.using("archive").count() == 2

    counter.refusal("mark", tag="a!", fail=True)
    assert Tag.objects.using("archive").count() == 2


# Asynchronous ones


@pytest.fixture
def site() -> Site:
    site = Site()

    class CategoryTools(ModelTools):
        fields = ["name"]
        operations = ["list", "get", "update"]

        @tool
        async def rename(
            self, context: Context, category: Category, name: str
        ) -> Category:
            """Give it another name."""
            if not name:
                raise ToolError("It needs a name.")
            if name == "forbidden":
                raise PermissionDenied("Jo's")
            context.progress(1)
            category.name = f"{name} for {context.user}"
            await category.asave()
            return category

        @tool
        def merge(self, context: Context, category: Category) -> Category:
            """Ask, and rename."""
            category.name += "!"
            category.save()
            if not context.elicit("Really?", Sure).sure:
                raise ToolError("Not done.")
            return category

    register(Category, registry=site)(CategoryTools)
    return site


@pytest.mark.django_db(transaction=True)
async def test_asynchronous_action_gets_rows_and_a_context(site: Site) -> None:
    user = await get_user_model().objects.acreate_superuser("ada")
    category = await Category.objects.acreate(slug="a", name="A")
    progress: list[Any] = []
    async with site.client(user) as client:
        result = await client.call_tool(
            "rename",
            {"category": category.pk, "name": "B"},
            on_progress=progress.append,
        )
        refused = [
            await client.call_tool("rename", {"category": key, "name": name})
            for key, name in [(99, "B"), (category.pk, ""), (category.pk, "forbidden")]
        ]

    assert result["structuredContent"] == {"pk": category.pk, "name": "B for ada"}
    assert len(progress) == 1
    assert [one["content"][0]["text"] for one in refused] == [
        "There is no category 99.",
        "It needs a name.",
        "You may not do that.",
    ]


@both_eras
@pytest.mark.django_db(transaction=True)
async def test_action_may_ask_and_is_done_once(site: Site, revision: str) -> None:
    """It runs from the top again, and nothing is kept of the first time."""
    user = await get_user_model().objects.acreate_superuser("ada")
    category = await Category.objects.acreate(slug="a", name="A")
    sure = {"sure": False}
    async with site.client(
        user,
        revision=revision,
        capabilities={"elicitation": {"form": {}}},
        answers={
            "elicitation/create": lambda params: {"action": "accept", "content": sure}
        },
    ) as client:
        refused = await client.call_tool("merge", {"category": category.pk})
        await category.arefresh_from_db()
        assert refused["content"][0]["text"] == "Not done."
        assert category.name == "A"

        sure = {"sure": True}
        await client.call_tool("merge", {"category": category.pk})
        await category.arefresh_from_db()
        assert category.name == "A!"


# Mistakes of a site


def test_row_that_nobody_says_how_to_show_is_a_mistake() -> None:
    class CategoryTools(ModelTools):
        fields = ["name"]

        @tool
        def first(self, category: Category) -> Product | None:
            """Get the first product."""

    with pytest.raises(
        ImproperlyConfigured, match="returns rows of Product, which has no ModelTools"
    ):
        register(Category, registry=Counter().registry)(CategoryTools)


@pytest.mark.parametrize("kind", ["many", "only", "names"])
def test_arguments_come_by_name(kind: str) -> None:
    class CategoryTools(ModelTools):
        fields = ["name"]

        if kind == "many":

            @tool
            def act(self, *categories: Category) -> None:
                """Act."""

        elif kind == "only":

            @tool
            def act(self, category: Category, /) -> None:
                """Act."""

        else:

            @tool
            def act(self, **names: str) -> None:
                """Act."""

    with pytest.raises(ImproperlyConfigured, match="arguments come by name"):
        register(Category, registry=Counter().registry)(CategoryTools)


def test_context_is_annotated_as_one() -> None:
    class CategoryTools(ModelTools):
        fields = ["name"]

        @tool
        def act(self, context, category: Category) -> None:
            """Act."""

    with pytest.raises(ImproperlyConfigured, match="'context' is the Context"):
        register(Category, registry=Counter().registry)(CategoryTools)


def test_method_that_is_overridden_without_tool_is_none(shelf: Category) -> None:
    class BookTools(ProductTools):
        def restock(self, product: Product, count: int = 10) -> Product:
            return product

        @tool
        def read(self, book: Book, unmarked: Any) -> list[str]:
            """Read it."""
            return [f"{book.isbn} {unmarked}"]

    counter = Counter()
    counter.expose(Product, fields=["name"])
    register(Book, registry=counter.registry)(BookTools)
    book = Book.objects.create(name="B", sku="b", price=1, category=shelf, isbn="978")

    assert "restock" not in counter.tools
    assert counter.call("read", book=book.pk, unmarked=[1]) == ["978 [1]"]
