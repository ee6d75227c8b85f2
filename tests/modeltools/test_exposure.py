"""A model as it is exposed: names, reach, and what is wrong with its options."""

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.models import Session
from django.core.checks import Error
from django.db import connection, models
from django.db.models import Count, F, Prefetch
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import translation
from django.utils.translation import gettext_lazy

from mcp_channels import ModelTools, ToolError, register
from mcp_channels.modeltools.exposure import Exposure, looks_secret
from mcp_channels.server.registry import Registry
from tests.shop.counter import Anybody, Counter
from tests.shop.models import (
    Book,
    Category,
    Customer,
    Delivery,
    Letter,
    Line,
    Offer,
    Order,
    Product,
    Remark,
    Sample,
    Seat,
    Tag,
)


@pytest.fixture
def counter() -> Counter:
    return Counter()


def expose(model: Any, **options: Any) -> Exposure:
    """Return a model with options that may be wrong."""
    options.setdefault("fields", ["name"])
    tools = type("Tools", (ModelTools,), options)
    return Exposure(tools(model), {})


# Names


@pytest.mark.parametrize(
    ("model", "name", "plural", "label", "noun"),
    [
        (Product, "product", "products", "shop.product", "product"),
        (Category, "category", "categories", "shop.category", "category"),
        (Offer, "offer", "offers", "shop.offer", "offer"),
        (Remark, "remark", "remarks", "shop.remark", "remark"),
    ],
)
def test_a_model_has_names(model, name, plural, label, noun):
    exposure = expose(model)

    assert (exposure.name, exposure.name_plural) == (name, plural)
    assert (exposure.label, exposure.noun) == (label, noun)


def test_names_can_be_given():
    exposure = expose(Product, name="item", name_plural="wares")

    assert (exposure.name, exposure.name_plural) == ("item", "wares")


def test_names_are_the_same_in_every_language():
    with isolate_apps("tests.shop"):

        class BigThing(models.Model):
            name = models.TextField()

            class Meta:
                app_label = "shop"
                verbose_name = gettext_lazy("user")
                verbose_name_plural = gettext_lazy("users")

        class Other(models.Model):
            name = models.TextField()

            class Meta:
                app_label = "shop"
                verbose_name_plural = "Ζώα"

    with translation.override("de"):
        exposure = expose(BigThing)

        assert (exposure.name, exposure.name_plural) == ("big_thing", "users")
        assert exposure.noun == "Benutzer"
        assert expose(Other).name_plural == "others"


def test_a_row_has_a_uri():
    assert expose(Product).uri(0) == "django://shop.product/0"


# "__all__"


def names(model: Any, **options: Any) -> list[str]:
    exposure = expose(model, fields="__all__", **options)

    assert exposure.problems == []

    return list(exposure.allowlist.by_path)


def test_all_fields_are_those_of_the_model_but_keys_of_no_meaning():
    assert names(Tag) == ["name"]
    assert names(Letter) == ["subject", "is_deleted"]
    assert names(Line) == ["order", "product", "count"]
    assert names(Seat) == ["row", "number", "guest", "customer"]
    assert names(Remark) == ["content_type", "object_id", "text", "file"]
    assert names(Delivery)[-2:] == ["helpers", "products"]


def test_all_fields_of_a_child_are_those_of_its_parent_too():
    assert names(Book) == [
        *[name for name in names(Product) if name != "tags"],
        "isbn",
        "tags",
    ]
    assert names(Offer) == names(Product)


def test_all_fields_are_none_that_looks_secret():
    assert names(Customer) == ["id", "owner", "name", "email"]
    assert "password" not in names(User)
    assert names(Session) == ["session_data", "expire_date"]


def test_all_fields_can_be_less():
    assert names(Customer, exclude=["email", "owner"]) == ["id", "name"]
    assert names(Line, exclude=["count", "product"]) == ["order"]


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Password2", "user_passwd", "passphrase", "clientSecret"),
        *("secret", "api_token", "token", "access_token_expires", "apikey", "api_key"),
        *("private_key", "stripe_secret_key", "webhook_key", "ssh_key", "session_key"),
        *("salt", "password_hash", "hash", "otp", "otp_seed", "totp", "pin"),
        *("credentials", "signature", "backup_codes", "reset_code", "cvv", "jwt"),
        "owner__password",
    ],
)  # fmt: skip
def test_a_name_looks_secret(name):
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("name", "key", "hashtag", "basalt", "footpath", "opinion", "postal_code"),
        *("code", "compass", "author", "monkey", "pinned", "price", "country_code"),
    ],
)
def test_a_name_looks_harmless(name):
    assert not looks_secret(name)


# What is wrong


PROBLEMS: Any = {
    "operations": (["list", "drop"], "operation 'drop' is none of list, get,"),
    "page_size": (201, "page_size must be at most max_page_size."),
    "max_page_size": (49, "page_size must be at most max_page_size."),
    "exclude": (
        ["sku"],
        'exclude is for fields = "__all__": leave the names out of fields.',
    ),
    "readonly_fields": (
        ["sku"],
        "readonly_fields names 'sku', which is not among the fields.",
    ),
    "fields": ([], "no fields are named, so there is nothing to show. Set fields."),
    "filters": (["sku"], "filter 'sku', 'exact': it is not among the fields."),
    "search_fields": (["sku"], "search field 'sku' is no column among the fields."),
    "ordering": (["-sku"], "ordering 'sku' is no column with an order among the"),
    "ordering_fields": (["sku"], "ordering 'sku' is no column with an order among"),
    "list_select_related": (
        ["tags"],
        "list_select_related names 'tags', which is no relation to one row. For",
    ),
    "list_prefetch_related": (
        ["nope__x"],
        "list_prefetch_related names 'nope__x', which is no relation.",
    ),
}


@pytest.mark.parametrize("option", PROBLEMS)
def test_what_is_wrong_with_an_option_is_a_problem(option):
    value, problem = PROBLEMS[option]
    (found,) = expose(Product, **{option: value}).problems

    assert found.startswith(problem)


def test_a_name_that_cannot_be_exposed_is_a_problem():
    (found,) = expose(Product, fields=["nope"]).problems

    assert found.startswith("'nope': Product has no such field. It has ")


def test_a_field_may_be_shown_and_not_written():
    assert expose(Product, readonly_fields=["name"]).problems == []


def test_a_misspelt_exclusion_is_a_problem():
    (found,) = expose(Customer, fields="__all__", exclude=["emial"]).problems

    assert found == "exclude names 'emial', which is no field."


@pytest.mark.parametrize(
    ("path", "is_right"),
    [
        ("category", True),
        ("category__parent", True),
        ("book", True),
        ("book__product_ptr", True),
        ("name", False),
        ("category__name", False),
        ("category__children", False),
        ("nope", False),
    ],
)
def test_relations_to_fetch_lead_to_one_row(path, is_right):
    problems = expose(Product, list_select_related=[path]).problems

    assert (problems == []) is is_right


def test_a_generic_relation_is_not_selected():
    problems = expose(Remark, fields=["text"], list_select_related=["subject"]).problems

    assert len(problems) == 1


def test_relations_to_prefetch_are_there():
    prefetch = Prefetch("lines", Line.objects.all(), to_attr="sold")
    lookups = ["tags", "category__parent", prefetch, "sold__order"]

    assert expose(Product, list_prefetch_related=lookups).problems == []
    for lookup in ("name", "line_set", "sold"):
        assert len(expose(Product, list_prefetch_related=[lookup]).problems) == 1
    options: Any = {"fields": ["text"], "list_prefetch_related": ["subject"]}
    assert expose(Remark, **options).problems == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("fields", "name"),
        ("fields", None),
        ("exclude", 5),
        ("filters", {"name": 5}),
        ("ordering", "name"),
        ("page_size", None),
        ("form", object),
        ("list_prefetch_related", None),
    ],
)
def test_an_option_of_a_wrong_type_is_a_problem_and_the_rest_is_looked_at(
    option, value
):
    problems = expose(Product, **{"search_fields": ["nope"], option: value}).problems

    assert problems[0].startswith(f"{option} must be ")
    assert problems[1].startswith("search field 'nope'")


def test_what_is_wrong_is_an_error_of_the_checks_and_exposes_nothing(monkeypatch):
    from mcp_channels import checks

    registry = Registry()
    monkeypatch.setattr(checks, "registry", registry)

    @register(Product, registry=registry)
    class ProductTools(ModelTools):
        fields = ["name", "nope"]
        filters = {"name": ["regex"]}

    errors = [
        found for found in checks.check_registry(None) if isinstance(found, Error)
    ]
    assert [error.id for error in errors] == ["mcp_channels.E003"] * 2
    assert [error.obj for error in errors] == ["shop.product"] * 2
    assert "'nope': Product has no such field." in errors[0].msg
    assert registry.tools == {}
    assert len(registry.primitives) == 0


class OddField(models.Field):
    pass


def test_a_model_that_cannot_be_shown_at_all_fails_nowhere_but_in_the_checks():
    with isolate_apps("tests.shop"):

        class Odd(models.Model):
            id = OddField(primary_key=True)
            data = models.JSONField()
            odd = OddField()

            class Meta:
                app_label = "shop"
                ordering = ("odd",)

    exposure = expose(
        Odd,
        fields=["data", "odd"],
        filters={"id": ["exact"], "odd": ["exact"], "pk": ["in"]},
        search_fields=["odd"],
        ordering=["odd"],
        operations=["list", "get", "aggregate", "create", "update", "delete"],
    )

    assert len(exposure.problems) > 4
    assert exposure.problems[0].startswith("the key of Odd: OddField has no JSON form")


# Who may do what


def test_who_may_not_view_may_do_nothing():
    exposure = expose(Product)

    def allowed(*permissions: str) -> str:
        asker: Any = Counter(Anybody(*permissions)).context
        kinds = ("list", "aggregate", "create", "update", "delete")
        return " ".join(kind for kind in kinds if exposure.may(kind, asker))

    assert allowed("shop.view_product") == "list aggregate"
    assert allowed("shop.change_product") == "list aggregate update"
    assert allowed("shop.add_product", "shop.delete_product") == ""
    assert allowed("shop.view_product", "shop.add_product") == "list aggregate create"


def test_a_model_is_visible_through_what_can_be_done(counter):
    exposure = counter.expose(Product, fields=["name"], operations=["create"])
    viewer: Any = Counter(Anybody("shop.view_product")).context
    editor: Any = Counter(Anybody("shop.view_product", "shop.add_product")).context

    assert not exposure.is_visible(viewer)
    assert exposure.is_visible(editor)
    assert not exposure.is_visible(counter.as_user(AnonymousUser()).context)


# Rows


@pytest.fixture
def products(db) -> list[Product]:
    tea = Category.objects.create(name="Tea", slug="tea")
    made = [
        Product.objects.create(name=name, sku=name, price=1, category=tea)
        for name in "abc"
    ]
    for name in ("x", "y"):
        made[0].tags.add(Tag.objects.create(name=name))
    return made


def scoped(rows: Any) -> Any:
    return lambda self, context: rows


@pytest.mark.parametrize(("most", "total", "is_capped"), [
    (None, 3, False), (4, 3, False), (3, 3, False), (2, 2, True), (1, 1, True),
])  # fmt: skip
def test_rows_are_counted_up_to_a_limit(counter, products, most, total, is_capped):
    counter.expose(Product, fields=["name"], max_count=most)
    with CaptureQueriesContext(connection) as queries:
        page = counter.call("list_products", count=True, page_size=1)

    assert (page["total"], page["total_is_capped"]) == (total, is_capped)
    assert len(queries) == 2
    assert "total" not in counter.call("list_products")


def test_rows_in_scope_are_counted_once_and_those_seen_alone(counter, products):
    counter.expose(
        Product,
        fields=["name", "tags"],
        filters={"tags": ["in"]},
        get_queryset=scoped(Product.objects.filter(tags__isnull=False)),
        has_view_permission=lambda self, context, obj=None: (
            obj is None or obj.name != "b"
        ),
    )

    page = counter.call("list_products", count=True)
    assert (page["total"], len(page["rows"])) == (1, 1)
    page = counter.call("list_products", count=True, filters={"tags__in": ["x", "y"]})
    assert (page["total"], len(page["rows"])) == (1, 1)


@pytest.mark.parametrize(
    "rows",
    [
        Product.objects.all(),
        Product.objects.filter(tags__isnull=False).distinct(),
        Product.objects.annotate(tagged=Count("tags")).order_by("-tagged"),
        Product.objects.order_by("?").defer("name"),
        Product.objects.using("default").select_related("category"),
        Product.objects.annotate(upper=F("name")).filter(lines__isnull=True),
    ],
)
def test_a_scope_may_be_any_query(counter, products, rows):
    counter.expose(
        Product,
        fields=["name", "category__name", "tags", "value"],
        operations=["list", "get", "aggregate"],
        filters={"tags": ["in"], "category__name": ["exact"]},
        search_fields=["name"],
        get_queryset=scoped(rows),
    )
    counter.expose(Line, fields=["product__name"])
    arguments: Any = {"filters": {"tags__in": ["x", "y"]}, "search": "a"}
    page = counter.call("list_products", count=True, page_size=1, **arguments)
    found = counter.call("aggregate_products", measures=["count"], **arguments)

    assert [row["name"] for row in page["rows"]] == ["a"]
    assert page["total"] == found["groups"][0]["measures"]["count"] == 1
    assert counter.call("get_product", pk=products[0].pk)["row"]["name"] == "a"
    assert counter.call("list_lines")["rows"] == []


@pytest.mark.django_db(databases=["default", "archive"])
@pytest.mark.parametrize("is_scoped", [False, True])
def test_rows_may_be_in_another_database(counter, is_scoped):
    archive = {"using": "archive"}
    shown, hidden = (
        Category.objects.using("archive").create(name=name, slug=name)
        for name in ("shown", "hidden")
    )
    for name, category in {"a": shown, "b": hidden}.items():
        product = Product(name=name, sku=name, price=1, category=category)
        product.save(**archive)
        for tag in "xy":
            product.tags.add(Tag.objects.using("archive").get_or_create(name=tag)[0])
    if is_scoped:
        counter.expose(
            Category,
            fields=["name"],
            get_queryset=scoped(Category.objects.filter(name="shown")),
        )
        counter.expose(
            Tag, fields=["name"], get_queryset=scoped(Tag.objects.filter(name="x"))
        )
    counter.expose(
        Product,
        fields=["name", "category__name", "tags__name"],
        operations=["list", "get", "aggregate"],
        filters={"category__name": ["in"], "tags": ["in"]},
        search_fields=["tags__name"],
        ordering_fields=["category__name"],
        get_queryset=scoped(Product.objects.using("archive")),
    )
    arguments: Any = {
        "filters": {"category__name__in": ["shown", "hidden"], "tags__in": ["x", "y"]},
        "search": "x",
    }
    shown_names = ["a"] if is_scoped else ["b", "a"]
    with CaptureQueriesContext(connection) as queries:
        page = counter.call(
            "list_products",
            ordering=["category__name"],
            fields=["name", "category", "tags"],
            count=True,
            **arguments,
        )
        found = counter.call("aggregate_products", measures=["count"], **arguments)

    assert len(queries) == 0  # of the usual database
    assert [row["name"] for row in page["rows"]] == shown_names
    assert page["total"] == found["groups"][0]["measures"]["count"] == len(shown_names)
    assert len(page["rows"][0]["tags"]) == (1 if is_scoped else 2)


def test_rows_are_read_as_far_as_is_asked(counter, products):
    exposure = counter.expose(
        Product, fields=["name", "category__name"], operations=["list", "aggregate"]
    )
    product = Product.objects.select_related("category").get(name="a")
    reader = exposure.reader(counter.context)

    assert reader.read(reader.prepare(Product.objects.all())[0]).category.label == "Tea"
    assert exposure.reader(counter.context, ["name"]).read(product).name == "a"
    found = counter.call("aggregate_products", measures=["count"])
    assert found["groups"] == [{"group": {}, "measures": {"count": 3}}]


def test_a_row_is_found_by_its_key(counter, products):
    exposure = counter.expose(
        Product, fields=["name"], get_queryset=scoped(Product.objects.exclude(name="b"))
    )
    a, b, _ = products
    context = counter.context

    assert exposure.find(context, a.pk) == a
    for key in (b.pk, 0, -1, 2**64):
        with pytest.raises(ToolError, match=f"There is no product {key}."):
            exposure.find(context, key)
    with pytest.raises(ToolError, match="There is no product"):
        exposure.find(context, a.pk, Product.objects.filter(name="c"))


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (Tag, "x\0"),
        (Seat, ("a", 2**64)),
        (Seat, ("\0", 1)),
        (Book, 2**64),
        (Customer, "5e3f7c59-7a4c-4f5c-8f3d-0c5d8f1f6f10"),
    ],
)
def test_a_key_that_no_row_could_have_is_of_none(counter, db, model, key):
    exposure = counter.expose(model, fields=["guest" if model is Seat else "name"])

    with pytest.raises(ToolError, match=f"There is no {exposure.noun} "):
        exposure.find(counter.context, key)


def test_a_row_that_a_permission_hides_does_not_exist(counter, products):
    exposure = counter.expose(
        Product,
        fields=["name"],
        has_view_permission=lambda self, context, obj=None: (
            obj is None or obj.name == "a"
        ),
    )

    assert exposure.find(counter.context, products[0].pk) == products[0]
    with pytest.raises(ToolError, match="There is no product"):
        exposure.find(counter.context, products[1].pk)


def test_rows_are_made_ready_as_the_site_says(counter, products):
    seen: list[int] = []

    def shelf(self: Any, product: Product) -> str:
        with CaptureQueriesContext(connection) as queries:
            text = f"{product.category.name}: {len(product.tags.all())}"
        seen.append(len(queries))
        return text

    counter.expose(
        Product,
        fields=["shelf"],
        list_select_related=["category"],
        list_prefetch_related=["tags"],
        shelf=shelf,
    )
    rows = counter.call("list_products")["rows"]

    assert [row["shelf"] for row in rows] == ["Tea: 2", "Tea: 0", "Tea: 0"]
    assert seen == [0, 0, 0]


def test_a_page_is_cut_where_it_has_too_many_bytes_and_goes_on_there(counter, db):
    for number in range(7):
        Sample.objects.create(text="x" * 100, slug=f"s{number}")
    counter.expose(Sample, fields=["text", "slug"], max_bytes=400, ordering=["-slug"])
    found: list[str] = []
    arguments: dict[str, Any] = {}
    while True:
        page = counter.call("list_samples", **arguments)
        assert len(page["rows"]) <= 3
        found += [row["slug"] for row in page["rows"]]
        if page["next_cursor"] is None:
            break
        arguments["cursor"] = page["next_cursor"]

    assert found == [f"s{number}" for number in range(6, -1, -1)]


def test_the_order_of_the_model_counts(counter, db):
    owner = User.objects.create(username="ada")
    customer = Customer.objects.create(owner=owner, name="Ada")
    for day in (2, 9, 5):
        placed_at = dt.datetime(2026, 1, day, tzinfo=dt.UTC)
        Order.objects.create(customer=customer, placed_at=placed_at)
    counter.expose(Order, fields=["placed_at"])

    days = [row["placed_at"] for row in counter.call("list_orders")["rows"]]
    assert days == sorted(days, reverse=True)
