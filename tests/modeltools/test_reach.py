"""How much of a model somebody may see, and queries that tell of nothing else."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import models
from django.db.models import Count, Q
from django.db.models.functions import Upper
from django.test.utils import isolate_apps

from mcp_channels import ModelTools, ToolError
from mcp_channels.modeltools import reach as module
from mcp_channels.modeltools.allowlist import Allowlist
from mcp_channels.modeltools.reach import (
    Hidden,
    has_scope,
    is_own_key,
    narrow,
    once,
    only_seen,
    plain,
    reach,
    sight,
    visible,
)
from tests.shop.counter import Anybody, Counter
from tests.shop.models import (
    Book,
    Category,
    Delivery,
    Invoice,
    Letter,
    Line,
    Offer,
    Product,
    Seat,
    Supplier,
    Tag,
)

pytestmark = pytest.mark.django_db


def asker(user: Any = None) -> Any:
    return SimpleNamespace(user=Anybody() if user is None else user)


def make_product(name: str, category: Category, *tags: str) -> Product:
    product = Product.objects.create(
        name=name, sku=name, price=Decimal(1), category=category
    )
    for tag in tags:
        product.tags.add(Tag.objects.get_or_create(name=tag)[0])
    return product


@pytest.fixture
def tea() -> Category:
    return Category.objects.create(name="Tea", slug="tea")


@pytest.fixture
def salt() -> Category:
    return Category.objects.create(name="Salt", slug="salt")


@pytest.fixture
def counter() -> Counter:
    return Counter()


def without_salt(self: Any, context: Any) -> Any:
    return Category.objects.exclude(slug="salt")


# How much


def test_without_tools_the_permission_of_django_decides():
    full = reach({}, Category, asker(Anybody("shop.view_category")))
    change = reach({}, Category, asker(Anybody("shop.change_category")))
    none = reach({}, Category, asker(Anybody("shop.view_product")))

    assert full.can_view and full.rows is None and full.sees is None
    assert change.can_view
    assert not none.can_view


def test_without_tools_the_default_manager_decides():
    Letter.objects.create(subject="gone", is_deleted=True)
    here = Letter.objects.create(subject="here")

    assert list(reach({}, Letter, asker()).rows) == [here]


def test_the_tools_decide(counter, tea, salt):
    counter.expose(
        Category,
        fields=["name"],
        get_queryset=without_salt,
        has_view_permission=lambda self, context, obj=None: context.user.is_clerk,
    )
    registered = counter.registry.exposures
    seen = reach(registered, Category, asker(SimpleNamespace(is_clerk=True)))

    assert seen.can_view and list(seen.rows) == [tea]
    assert not reach(
        registered, Category, asker(SimpleNamespace(is_clerk=False))
    ).can_view


def test_a_kind_of_a_model_is_seen_as_far_as_the_model(counter, tea):
    make_product("shown", tea)
    hidden = make_product("hidden", tea)
    books = [
        Book.objects.create(name=name, sku=f"{name}5", price=1, category=tea)
        for name in ("shown", "hidden")
    ]
    counter.expose(
        Product,
        fields=["name"],
        get_queryset=lambda self, context: Product.objects.exclude(name="hidden"),
        has_view_permission=lambda self, context, obj=None: (
            context.user.permissions is None and (obj is None or obj.stock < 5)
        ),
    )
    registered = counter.registry.exposures
    offers = reach(registered, Offer, asker())
    found = reach(registered, Book, asker())

    assert {offer.name for offer in offers.rows} == {"shown"}
    assert list(found.rows) == books[:1]
    assert found.sees(books[0]) and not found.sees(Book(stock=5))
    assert not reach(registered, Offer, asker(Anybody("shop.view_offer"))).can_view
    assert not reach(registered, Book, asker(Anybody("shop.view_tag"))).can_view
    assert hidden.name == "hidden"


def test_a_kind_of_a_model_that_is_all_seen_is_all_seen(counter):
    counter.expose(Product, fields=["name"])
    found = reach(counter.registry.exposures, Offer, asker())

    assert found.can_view and found.rows is None and found.sees is None


def test_a_kind_of_a_model_with_tools_of_its_own_has_its_own_rows(counter, tea):
    counter.expose(
        Product, fields=["name"], get_queryset=lambda s, c: Product.objects.none()
    )
    counter.expose(Offer, fields=["name"])

    assert reach(counter.registry.exposures, Offer, asker()).rows is None


def test_a_scope_is_what_leaves_rows_out():
    class Scoped(ModelTools):
        def get_queryset(self, context):
            return super().get_queryset(context)

    assert not has_scope(ModelTools(Product))
    assert not has_scope(ModelTools(Category))  # whose manager filters nothing
    assert has_scope(Scoped(Product))
    assert has_scope(ModelTools(Letter))


def test_a_manager_of_django_that_filters_is_a_scope():
    with isolate_apps("tests.shop"):

        class Filtering(models.Manager):
            def get_queryset(self):
                return super().get_queryset().none()

        class Heir(Filtering):
            pass

        class Thing(models.Model):
            objects = Heir.from_queryset(models.QuerySet)()

            class Meta:
                app_label = "shop"

        class Other(models.Model):
            objects = models.QuerySet.as_manager()

            class Meta:
                app_label = "shop"

    assert has_scope(ModelTools(Thing))
    assert not has_scope(ModelTools(Other))


# Single rows


def permission(decide: Any) -> ModelTools:
    class Tools(ModelTools):
        def has_view_permission(self, context, obj=None):
            return decide(self, context, obj)

    return Tools(Product)


@pytest.mark.parametrize(
    "decide",
    [
        lambda tools, context, obj: True,
        lambda tools, context, obj: context.user.is_authenticated,
        lambda tools, context, obj: obj is not None or context.user.is_authenticated,
        lambda tools, context, obj: ModelTools.has_view_permission(tools, context, obj),
    ],
)
def test_a_permission_that_looks_at_no_row_is_of_all_rows(decide):
    assert sight(permission(decide), asker()) is None


def swallow(tools: Any, context: Any, obj: Any) -> bool:
    try:
        return obj.stock > 0
    except Exception:
        return True


@pytest.mark.parametrize(
    "decide",
    [
        lambda tools, context, obj: obj is None or obj.stock > 0,
        lambda tools, context, obj: not obj or obj.stock > 0,
        lambda tools, context, obj: obj == Product(pk=5, stock=1),
        lambda tools, context, obj: obj != Product(pk=6, stock=0),
        lambda tools, context, obj: obj in {Product(pk=5, stock=1)},
        lambda tools, context, obj: isinstance(obj, Product) and obj.stock > 0,
        lambda tools, context, obj: str(obj) == "5",
        lambda tools, context, obj: repr(obj) == "<Product: 5>",
        lambda tools, context, obj: f"{obj}" == "5",
        lambda tools, context, obj: len(obj.name) > 0 and obj.stock > 0,
        lambda tools, context, obj: int(getattr(obj, "stock", 0)) > 0,
        swallow,
    ],
)
def test_a_permission_that_looks_at_a_row_is_asked_of_each(decide):
    sees = sight(permission(decide), asker())

    assert sees is not None
    assert sees(Product(pk=5, name="5", stock=1))
    assert not sees(Product(pk=6, name="6", stock=0))


def test_a_permission_that_refuses_every_row_shows_none():
    sees = sight(permission(lambda tools, context, obj: obj is None), asker())

    assert sees is not None
    assert not sees(Product(stock=1))


def test_only_rows_that_are_seen_are_left(tea):
    rows = [make_product(name, tea) for name in "abc"]
    kept = only_seen(Product.objects.order_by("-name"), lambda row: row.name != "b")

    assert only_seen(Product.objects.all(), None).count() == 3
    assert {row.name for row in kept} == {"a", "c"}
    assert list(kept.filter(name="a")) == rows[:1]  # it can be filtered


def test_keys_of_several_columns_are_left(tea):
    seat, other = (Seat.objects.create(row="a", number=number) for number in (1, 2))

    assert list(only_seen(Seat.objects.all(), lambda row: row.number == 1)) == [seat]
    assert list(plain(Seat.objects.filter(number=2))) == [other]


def test_too_many_rows_are_not_asked(tea, monkeypatch):
    monkeypatch.setattr(module, "MOST_ASKED", 2)
    make_product("a", tea)
    make_product("b", tea)

    assert only_seen(Product.objects.all(), lambda row: True).count() == 2

    make_product("c", tea)
    with pytest.raises(ToolError, match="There are more than 2 products, too many"):
        only_seen(Product.objects.all(), lambda row: True)


# Through relations


def through(counter: Counter, model: Any, path: str, user: Any = None) -> Q:
    allowlist = Allowlist(model, [path], None)
    return visible(allowlist, path, asker(user), counter.registry.exposures)


def test_a_path_through_what_is_all_seen_has_no_condition(counter):
    assert not through(counter, Product, "category__name")
    assert not through(counter, Product, "name")


def test_a_path_leads_to_rows_that_are_seen_alone(counter, tea, salt):
    counter.expose(Category, fields=["name"], get_queryset=without_salt)
    shown, hidden = make_product("shown", tea), make_product("hidden", salt)

    seen = through(counter, Product, "category__name")
    assert list(Product.objects.filter(seen)) == [shown]
    # Also on the way to something else, and from the other side.
    assert through(counter, Line, "product__category__name")
    seen = through(counter, Category, "parent__children__name")
    assert len(seen.children) == 2
    # The key of the other is a value of the row's own.
    assert not through(counter, Product, "category")
    assert hidden.category_id == salt.pk


def test_a_path_leads_to_rows_that_a_permission_lets_pass(counter, tea, salt):
    counter.expose(
        Category,
        fields=["name"],
        has_view_permission=lambda self, context, obj=None: (
            obj is None or obj.slug != "salt"
        ),
    )
    shown = make_product("shown", tea)
    make_product("hidden", salt)

    seen = through(counter, Product, "category__name")
    assert list(Product.objects.filter(seen)) == [shown]


def test_both_rows_and_permission_count(counter, tea, salt):
    counter.expose(
        Category,
        fields=["name"],
        get_queryset=without_salt,
        has_view_permission=lambda self, context, obj=None: (
            obj is None or obj.slug == "salt"
        ),
    )
    make_product("tea", tea)
    make_product("salt", salt)

    seen = through(counter, Product, "category__name")
    assert not Product.objects.filter(seen).exists()


def test_a_path_to_what_may_not_be_seen_is_hidden(counter):
    user = Anybody("shop.view_product")

    with pytest.raises(Hidden) as caught:
        through(counter, Product, "category__name", user)

    assert caught.value.message == "you may not see any categories."
    assert not through(counter, Product, "category", user)


@pytest.mark.parametrize(
    ("model", "name", "is_own"),
    [
        (Product, "category", True),
        (Invoice, "delivery", True),
        (Book, "product_ptr", True),
        (Delivery, "supplier", False),  # has its code
        (Delivery, "invoice", False),  # is on the other side
        (Category, "products", False),
        (Product, "tags", False),
    ],
)
def test_a_row_knows_the_key_of_another_or_does_not(model, name, is_own):
    (related,) = Allowlist(model, [name], None).relations(name)

    assert is_own_key(related) is is_own


def test_a_key_that_a_row_does_not_have_is_hidden_with_the_row(counter):
    supplier = Supplier.objects.create(code="s")
    day = "2026-01-01"
    delivery = Delivery.objects.create(supplier=supplier, title="d", day=day)
    Invoice.objects.create(delivery=delivery, total=5)
    user = Anybody("shop.view_delivery")

    for name in ("invoice", "supplier", "items", "products"):
        with pytest.raises(Hidden):
            through(counter, Delivery, name, user)


# Queries


def test_a_row_is_found_once(tea):
    product = make_product("a", tea, "x", "y")
    other = make_product("b", tea, "z")
    condition = Q(tags__name__in=["x", "y"])
    rows = Product.objects.all()

    assert list(narrow(rows, condition, crosses_many=True)) == [product]
    assert list(narrow(rows, condition, crosses_many=False)) == [product, product]
    assert list(narrow(rows, Q(), crosses_many=True)) == [product, other]


def test_a_query_of_no_certain_database_stays_so(tea):
    for rows in (narrow(Product.objects.all(), Q(tags=5), True), plain(Tag.objects)):
        assert rows._db is None
    pinned = plain(Product.objects.using("default"))
    assert pinned._db == "default"


def test_a_scope_that_joins_gives_each_row_once(tea):
    product = make_product("a", tea, "x", "y")
    tagged = Product.objects.filter(tags__isnull=False)

    assert tagged.count() == 2
    assert list(once(tagged)) == [product]
    assert once(tagged).count() == 1
    assert list(once(Category.objects.filter(products__tags__isnull=False))) == [tea]


@pytest.mark.parametrize(
    "rows",
    [
        Product.objects.all(),
        Product.objects.filter(category__parent__name="a"),
        Product.objects.filter(tags=5).distinct(),
        Product.objects.annotate(tagged=Count("tags")),
        Delivery.objects.filter(invoice__total=5),
        Product.objects.filter(pk__in=Tag.objects.values("products")),
    ],
)
def test_a_query_that_gives_each_row_once_stays(rows):
    assert once(rows) is rows


def test_the_bare_rows_have_nothing_of_their_query(tea):
    product = make_product("a", tea, "x", "y")
    rows = Product.objects.annotate(tagged=Count("tags"), loud=Upper("name"))

    assert list(plain(rows.filter(tagged=2))) == [product]
    assert not plain(rows).query.annotations
    assert plain(Product.objects.filter(tags__isnull=False)).count() == 1
