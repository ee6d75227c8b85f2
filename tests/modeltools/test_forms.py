"""What may be written, and what the form of a model makes of it."""

import base64
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django import forms
from django.contrib.auth import get_user_model
from django.contrib.postgres.fields import (
    ArrayField,
    DateRangeField,
    IntegerRangeField,
)
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import models
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.test.utils import isolate_apps
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import ModelTools, ToolError, register
from mcp_channels.server.registry import Registry
from tests.shop.counter import Anybody, Counter
from tests.shop.models import (
    Category,
    Customer,
    Delivery,
    Invoice,
    Letter,
    Order,
    Product,
    Remark,
    Seat,
    Supplier,
    Tag,
)

pytestmark = pytest.mark.django_db

PRODUCT = ("name", "sku", "state", "price", "stock", "weight", "category", "tags")


@pytest.fixture
def counter() -> Counter:
    counter = Counter()
    counter.expose(Category, fields=["slug", "name", "parent"])
    counter.expose(Tag, fields=["name"])
    counter.expose(Product, fields=[*PRODUCT, "details", "released_on"])
    return counter


@pytest.fixture
def books(db: None) -> Category:
    return Category.objects.create(slug="books", name="Books")


@pytest.fixture
def atlas(books: Category) -> Product:
    return Product.objects.create(
        name="Atlas", sku="A1", price=Decimal("12.50"), category=books
    )


def columns(instance: Any) -> dict[str, Any]:
    """Return what the database has of a row."""
    names = [field.attname for field in instance._meta.concrete_fields]
    found: dict[str, Any] = (
        type(instance)._base_manager.values(*names).get(pk=instance.pk)
    )
    return found


def schema_of(counter: Counter, tool: str) -> Any:
    schema = counter.tools[tool].definition.input_schema
    ref = schema["properties"]["values"]["$ref"].rpartition("/")[2]
    return schema["$defs"][ref]


# What is left out


def test_change_of_one_field_touches_no_other(counter: Counter, atlas: Product) -> None:
    """Not even if what the others hold would be refused, or cleaned, today."""
    tag = Tag.objects.create(name="old")
    atlas.tags.add(tag)
    Product.objects.update(
        name="  Atlas \t",
        state="vanished",  # no choice any more
        stock=123_456,  # more than the validator allows
        weight=0.0,
        details={"pages": None},
        released_on=date(1999, 1, 1),
        purchase_price=Decimal("-1"),
        internal_note=" from Jo ",
    )
    before = columns(atlas)

    counter.call("update_product", pk=atlas.pk, values={"sku": "A2"})

    assert columns(atlas) == {**before, "sku": "A2"}
    assert list(atlas.tags.all()) == [tag]


def test_change_leaves_a_boolean_and_a_moment_alone(counter: Counter) -> None:
    """A missing checkbox means no to a browser; it means nothing here."""
    customer = Customer.objects.create(name="Ada", owner=make_user("ada"))
    placed = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    order = Order.objects.create(customer=customer, placed_at=placed, is_paid=True)
    counter.expose(Customer, fields=["name"])
    counter.expose(Order, fields=["customer", "placed_at", "is_paid", "gift_wrapped"])

    counter.call("update_order", pk=order.pk, values={"gift_wrapped": False})

    order.refresh_from_db()
    assert (order.is_paid, order.gift_wrapped, order.placed_at) == (True, False, placed)


def test_change_leaves_a_relation_to_a_hidden_row_alone(counter: Counter) -> None:
    hidden = Category.objects.create(slug="hidden", name="Hidden")
    product = Product.objects.create(name="P", sku="P", price=1, category=hidden)
    counter = Counter()
    counter.expose(
        Category,
        fields=["name"],
        get_queryset=lambda self, context: Category.objects.exclude(slug="hidden"),
    )
    counter.expose(Product, fields=["name", "category"])

    counter.call("update_product", pk=product.pk, values={"name": "Q"})

    product.refresh_from_db()
    assert (product.name, product.category_id) == ("Q", hidden.pk)


def test_new_row_has_its_defaults(counter: Counter, books: Category) -> None:
    found = counter.call(
        "create_product",
        values={"name": "Map", "sku": "M1", "price": "3", "category": books.pk},
    )["row"]

    product = Product.objects.get()
    assert found["state"] == product.state == "draft"
    assert found["details"] == product.details == {}
    assert product.created_at is not None
    assert product.purchase_price == 0


def test_new_row_has_a_true_default(counter: Counter) -> None:
    counter.expose(Customer, fields=["name"])
    counter.expose(Order, fields=["customer", "placed_at", "gift_wrapped", "is_paid"])
    customer = Customer.objects.create(name="Ada", owner=make_user("ada"))

    counter.call(
        "create_order",
        values={"customer": str(customer.pk), "placed_at": "2026-01-01T00:00:00Z"},
    )

    order = Order.objects.get()
    assert (order.gift_wrapped, order.is_paid) == (True, False)


def test_new_row_has_the_default_of_the_database(deliveries: Counter) -> None:
    row = deliveries.call("create_delivery", values=delivery())["row"]

    assert row["state"] == Delivery.objects.get().state == "open"

    row = deliveries.call("create_delivery", values=delivery(title="b", state="done"))

    assert row["row"]["state"] == "done"


def test_required_is_what_has_no_default(counter: Counter) -> None:
    created = schema_of(counter, "create_product")
    changed = schema_of(counter, "update_product")

    assert created["required"] == ["name", "sku", "price", "category"]
    assert changed.get("required", []) == []
    assert set(changed["properties"]) == {*PRODUCT, "details", "released_on"}


def test_what_a_row_calculates_or_notes_by_itself_cannot_be_given(
    books: Category,
) -> None:
    counter = Counter()
    counter.expose(
        Product,
        fields=["name", "sku", "value", "created_at", "is_available", "price"],
        readonly_fields=["price"],
    )

    for name in ("value", "created_at", "is_available", "price", "id", "pk"):
        said = counter.refusal("update_product", pk=1, values={name: 5})
        assert said == f"values.{name}: unknown argument; known are name, sku"


# Values


def test_values_become_those_of_python(deliveries: Counter) -> None:
    values = delivery(
        slot="10:30:00", takes="PT90M", arrived_at="2026-05-01T12:00:00+02:00"
    )
    deliveries.call("create_delivery", values=values)

    found = Delivery.objects.get()
    assert found.day == date(2026, 5, 1)
    assert found.slot == time(10, 30)
    assert found.takes == timedelta(minutes=90)
    assert found.arrived_at == datetime(2026, 5, 1, 10, tzinfo=UTC)


def test_moment_without_an_offset_is_one_of_the_time_zone(
    deliveries: Counter, settings: DjangoSettings
) -> None:
    settings.TIME_ZONE = "Europe/Lisbon"
    values = delivery(arrived_at="2026-07-01T12:00:00")
    deliveries.call("create_delivery", values=values)

    assert Delivery.objects.get().arrived_at == datetime(2026, 7, 1, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"arrived_at": "0001-01-01T00:00:00+14:00"},
            "values.arrived_at: the year must be from 2 to 9998.",
        ),
        (
            {"arrived_at": "9999-12-31T23:59:59-14:00"},
            "values.arrived_at: the year must be from 2 to 9998.",
        ),
        (
            {"slot": "10:00:00+02:00"},
            "values.slot: a time of day cannot have an offset.",
        ),
        (
            {"title": "a\0b"},
            "values.title: a text cannot contain the character NUL.",
        ),
        ({"title": " \n"}, "values.title: This field is required."),
        (
            {"takes": "P999999999D"},
            "values.takes: a duration has at most 106751991 days.",
        ),
    ],
)
def test_value_that_no_database_takes_is_refused(
    deliveries: Counter, values: dict[str, Any], reason: str
) -> None:
    assert deliveries.refusal("create_delivery", values=delivery(**values)) == reason
    assert not Delivery.objects.exists()


def test_decimal_is_exact(counter: Counter, atlas: Product) -> None:
    counter.call("update_product", pk=atlas.pk, values={"price": "123456.78"})

    atlas.refresh_from_db()
    assert atlas.price == Decimal("123456.78")
    assert counter.refusal(
        "update_product", pk=atlas.pk, values={"price": "1.005"}
    ) == ("values.price: Ensure that there are no more than 2 decimal places.")


@pytest.mark.parametrize("value", [{}, [], {"a": [1, None]}, "text", "", 0, False, 1.5])
def test_json_is_what_was_given(
    counter: Counter, atlas: Product, value: object
) -> None:
    atlas.details = {"old": 1}
    atlas.save()
    counter.call("update_product", pk=atlas.pk, values={"details": value})

    atlas.refresh_from_db()
    assert atlas.details == value
    assert type(atlas.details) is type(value)


def test_null_is_for_json_that_may_be_null(
    counter: Counter, atlas: Product, deliveries: Counter
) -> None:
    said = counter.refusal("update_product", pk=atlas.pk, values={"details": None})

    assert said == "values.details: null is not possible."

    deliveries.call("create_delivery", values=delivery(extra={"a": 1}))
    key = Delivery.objects.get().pk
    deliveries.call("update_delivery", pk=key, values={"extra": None})

    assert Delivery.objects.get().extra is None
    assert Delivery.objects.filter(extra__isnull=True).exists()


def test_text_that_may_be_empty_becomes_empty(counter: Counter) -> None:
    user = make_user("ada")
    customer = Customer.objects.create(name="Ada", owner=user, email="a@example.com")
    counter.expose(Customer, fields=["name", "email"])
    counter.call("update_customer", pk=str(customer.pk), values={"email": ""})

    customer.refresh_from_db()
    assert customer.email == ""


def test_choice_is_one_of_the_choices(counter: Counter, atlas: Product) -> None:
    said = counter.refusal("update_product", pk=atlas.pk, values={"state": "vanished"})

    assert said.startswith("values.state: ")
    assert "sold" in said


def test_several_faults_are_told_at_once(counter: Counter, atlas: Product) -> None:
    said = counter.refusal(
        "update_product", pk=atlas.pk, values={"category": 99, "tags": ["no"]}
    )

    assert said.splitlines() == [
        "values.category: there is no category 99.",
        'values.tags: there is no tag "no".',
    ]


# Relations


def test_relation_is_set_by_key_natural_key_and_taken_away(
    counter: Counter, books: Category
) -> None:
    made = counter.call(
        "create_category", values={"slug": "maps", "name": "Maps", "parent": books.pk}
    )
    key = made["row"]["pk"]

    assert made["row"]["parent"] == {"pk": books.pk, "label": "Books"}

    counter.call("update_category", pk=key, values={"parent": None})
    assert Category.objects.get(pk=key).parent is None

    counter.call("update_category", pk=key, values={"parent": ["books"]})
    assert Category.objects.get(pk=key).parent == books


@pytest.mark.parametrize(
    "key", [99, 2**63 - 1, [], ["no"], ["a", "b"], [5], ["a\0"], ["hidden"]]
)
def test_relation_to_a_hidden_row_is_one_to_none(atlas: Product, key: Any) -> None:
    Category.objects.create(slug="hidden", name="Hidden")
    counter = Counter()
    counter.expose(
        Category,
        fields=["name"],
        get_queryset=lambda self, context: Category.objects.exclude(slug="hidden"),
    )
    counter.expose(Product, fields=["name", "category"])
    said = counter.refusal("update_product", pk=atlas.pk, values={"category": key})

    shown = str(key).replace("'", '"').replace("\\x00", "\\u0000")
    assert said.replace('","', '", "') == (
        f"values.category: there is no category {shown}."
    )


def test_relation_to_a_row_hidden_by_itself_is_one_to_none(atlas: Product) -> None:
    hidden = Category.objects.create(slug="hidden", name="Hidden")
    counter = Counter()
    counter.expose(
        Category,
        fields=["name"],
        has_view_permission=lambda self, context, obj=None: (
            obj is None or obj.slug != "hidden"
        ),
    )
    counter.expose(Product, fields=["name", "category"])

    for key in (hidden.pk, 99):
        said = counter.refusal("update_product", pk=atlas.pk, values={"category": key})
        assert said == f"values.category: there is no category {key}."


def test_relation_to_a_model_that_nobody_may_see_is_one_to_none(
    atlas: Product, books: Category
) -> None:
    counter = Counter(Anybody(but={"shop.view_category", "shop.change_category"}))
    counter.expose(Product, fields=["name", "category"])
    said = counter.refusal("update_product", pk=atlas.pk, values={"category": books.pk})

    assert said == f"values.category: there is no category {books.pk}."


def test_natural_key_of_several_rows_leads_to_none(
    counter: Counter, atlas: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        Category.objects.create(slug=name, name="Same")
    manager = type(Category.objects)
    monkeypatch.setattr(
        manager, "get_by_natural_key", lambda self, name: self.get(name=name)
    )
    said = counter.refusal("update_product", pk=atlas.pk, values={"category": ["Same"]})

    assert said == 'values.category: there is no category ["Same"].'


def test_relation_may_be_to_another_column_than_the_key(deliveries: Counter) -> None:
    deliveries.call("create_delivery", values=delivery())

    assert Delivery.objects.get().supplier_id == "fast"


@pytest.mark.parametrize("name", ["supplier", "helpers"])
def test_what_a_site_limits_choices_to_is_what_can_be_chosen(
    deliveries: Counter, name: str
) -> None:
    lazy = Supplier.objects.create(code="lazy", is_active=False)
    key: Any = [lazy.pk] if name == "helpers" else lazy.pk
    said = deliveries.refusal("create_delivery", values=delivery(**{name: key}))

    assert said.startswith(f"values.{name}: Select a valid choice.")


def test_several_rows_are_set_and_taken_away(counter: Counter, atlas: Product) -> None:
    for name in ("a", "b", "c"):
        Tag.objects.create(name=name)
    counter.call("update_product", pk=atlas.pk, values={"tags": ["a", "b", "a"]})

    assert {tag.pk for tag in atlas.tags.all()} == {"a", "b"}

    counter.call("update_product", pk=atlas.pk, values={"tags": ["c"]})
    assert {tag.pk for tag in atlas.tags.all()} == {"c"}

    counter.call("update_product", pk=atlas.pk, values={"tags": []})
    assert not atlas.tags.exists()


def test_new_row_is_linked(counter: Counter, books: Category) -> None:
    Tag.objects.create(name="a")
    values = {"name": "M", "sku": "M", "price": "1", "category": books.pk}
    row = counter.call("create_product", values={**values, "tags": ["a"]})["row"]

    assert row["tags"] == [{"pk": "a", "label": "a"}]


@pytest.mark.parametrize(
    "hide",
    [
        {"get_queryset": lambda self, context: Tag.objects.exclude(pk="secret")},
        {
            "has_view_permission": lambda self, context, obj=None: (
                obj is None or obj.pk != "secret"
            )
        },
    ],
)
def test_links_to_hidden_rows_stay(atlas: Product, hide: dict[str, Any]) -> None:
    for name in ("secret", "a", "b"):
        Tag.objects.create(name=name)
    atlas.tags.set(["secret", "a"])
    counter = Counter()
    counter.expose(Tag, fields=["name"], **hide)
    counter.expose(Product, fields=["name", "tags"])

    counter.call("update_product", pk=atlas.pk, values={"tags": ["b"]})
    assert {tag.pk for tag in atlas.tags.all()} == {"secret", "b"}

    counter.call("update_product", pk=atlas.pk, values={"tags": []})
    assert {tag.pk for tag in atlas.tags.all()} == {"secret"}

    said = counter.refusal("update_product", pk=atlas.pk, values={"tags": ["secret"]})
    assert said == 'values.tags: there is no tag "secret".'


def test_links_that_are_refused_are_not_set(deliveries: Counter) -> None:
    key = deliveries.call("create_delivery", values=delivery())["row"]["pk"]
    lazy = Supplier.objects.create(code="lazy", is_active=False)
    said = deliveries.refusal("update_delivery", pk=key, values={"helpers": [lazy.pk]})

    assert said.startswith("values.helpers: Select a valid choice.")
    assert not Delivery.objects.get().helpers.exists()


def test_links_that_are_not_all_shown_cannot_be_set(
    counter: Counter, atlas: Product
) -> None:
    tags = Tag.objects.bulk_create(Tag(name=f"{n:03}") for n in range(101))
    atlas.tags.set(tags[:100])
    counter.call(
        "update_product",
        pk=atlas.pk,
        values={"tags": [tag.pk for tag in tags[:100]]},
    )
    atlas.tags.add(tags[100])

    said = counter.refusal("update_product", pk=atlas.pk, values={"tags": []})

    assert said == "values.tags: there are more than 100 of them."
    assert atlas.tags.count() == 101


def test_link_with_something_to_say_is_a_row_to_write_itself(
    deliveries: Counter,
) -> None:
    assert "products" not in schema_of(deliveries, "create_delivery")["properties"]


def test_relation_from_the_other_side_is_not_written(counter: Counter) -> None:
    counter.expose(Supplier, fields=["code", "deliveries", "friends"])

    assert set(schema_of(counter, "create_supplier")["properties"]) == {
        "code",
        "friends",
    }


# Keys


def test_key_is_chosen_once(counter: Counter) -> None:
    counter.call("create_tag", values={"name": "new"})

    assert schema_of(counter, "update_tag")["properties"] == {}
    assert counter.refusal("create_tag", values={"name": "new"}) == (
        "values.name: Tag with this Name already exists."
    )


def test_key_of_several_columns_is_chosen_once(counter: Counter) -> None:
    counter.expose(Seat, fields=["row", "number", "guest"])
    counter.call("create_seat", values={"row": "A", "number": 1, "guest": "Ada"})

    said = counter.refusal("create_seat", values={"row": "A", "number": 1})

    assert said == "values: Seat with this Row and Number already exists."
    assert Seat.objects.get().guest == "Ada"
    assert set(schema_of(counter, "update_seat")["properties"]) == {"guest"}


# Files


@pytest.fixture
def remarks(tmp_path: Path, settings: DjangoSettings) -> Counter:
    settings.MEDIA_ROOT = tmp_path
    counter = Counter()
    counter.expose(Remark, fields=["text", "file"], max_upload_bytes=10)
    return counter


@pytest.fixture
def remark(remarks: Counter) -> Remark:
    remark = Remark(
        content_type_id=1, object_id="1", text="Look", file=ContentFile(b"1", "one.txt")
    )
    remark.save()
    return remark


def upload(data: bytes = b"two", name: str = "two.txt") -> dict[str, str]:
    return {"filename": name, "data": base64.b64encode(data).decode()}


def test_file_is_replaced(remarks: Counter, remark: Remark) -> None:
    row = remarks.call("update_remark", pk=remark.pk, values={"file": upload()})["row"]

    remark.refresh_from_db()
    assert Path(remark.file.path).read_bytes() == b"two"
    assert row["file"]["name"] == remark.file.name == "remarks/two.txt"
    assert remark.text == "Look"


def test_file_is_left_alone(remarks: Counter, remark: Remark) -> None:
    remarks.call("update_remark", pk=remark.pk, values={"text": "Hear"})

    remark.refresh_from_db()
    assert Path(remark.file.path).read_bytes() == b"1"


def test_file_is_taken_away(remarks: Counter, remark: Remark) -> None:
    row = remarks.call("update_remark", pk=remark.pk, values={"file": None})["row"]

    remark.refresh_from_db()
    assert not remark.file
    assert row["file"] is None


def test_file_that_is_needed_is_not_taken_away(
    remarks: Counter, remark: Remark
) -> None:
    class NeedsFile(forms.ModelForm):
        file = forms.FileField()

    counter = Counter()
    counter.expose(Remark, fields=["text", "file"], form=NeedsFile)

    said = counter.refusal("update_remark", pk=remark.pk, values={"file": None})

    assert said == "values.file: a file is needed."


def test_file_has_a_limit(remarks: Counter, remark: Remark) -> None:
    remarks.call("update_remark", pk=remark.pk, values={"file": upload(b"x" * 10)})
    said = remarks.refusal(
        "update_remark", pk=remark.pk, values={"file": upload(b"x" * 11)}
    )

    assert said == "values.file: a file may have at most 10 bytes."


@pytest.mark.parametrize(
    "name",
    ["../up.txt", "/etc/passwd", "a\\b.txt", "a\0.txt", ".", "..", "a/", "*?", " "],
)
def test_filename_leads_nowhere_else(
    remarks: Counter, remark: Remark, name: str
) -> None:
    said = remarks.refusal(
        "update_remark", pk=remark.pk, values={"file": upload(name=name)}
    )

    assert said == (
        "values.file: the filename is one without folders, of letters or digits."
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.png", "image/png"), ("a.nonsense", "application/octet-stream")],
)
def test_file_has_the_type_of_its_name(
    remarks: Counter, remark: Remark, name: str, kind: str
) -> None:
    kinds = []

    def save_model(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
        kinds.append(form.cleaned_data["file"].content_type)

    counter = Counter()
    counter.expose(Remark, fields=["file"], save_model=save_model)
    counter.call("update_remark", pk=remark.pk, values={"file": upload(name=name)})

    assert kinds == [kind]


# A form of the site's


class ProductForm(forms.ModelForm):
    """Looks at everything there is."""

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name == "Bad":
            raise ValidationError("Another name, please.")
        return name.title()

    def clean(self) -> dict[str, Any]:
        super().clean()
        data = self.cleaned_data
        if data["state"] == "sold" and data["stock"] == 0:
            self.add_error("stock", "There is none to sell.")
        if data["category"] is not None and data["category"].slug == "closed":
            raise ValidationError("That category is closed.")
        data["weight"] = len(data["tags"])
        return data


@pytest.fixture
def formed(counter: Counter) -> Counter:
    registry = Registry()
    counter = Counter(registry=registry)
    counter.expose(Category, fields=["name"])
    counter.expose(Tag, fields=["name"])
    counter.expose(Product, fields=PRODUCT, form=ProductForm)
    return counter


def test_form_sees_what_is_not_given(formed: Counter, atlas: Product) -> None:
    said = formed.refusal("update_product", pk=atlas.pk, values={"state": "sold"})

    assert said == "values.stock: There is none to sell."


def test_form_checks_what_is_given(formed: Counter, atlas: Product) -> None:
    said = formed.refusal("update_product", pk=atlas.pk, values={"name": "Bad"})

    assert said == "values.name: Another name, please."


def test_form_changes_what_it_means_to(formed: Counter, atlas: Product) -> None:
    atlas.tags.add(Tag.objects.create(name="a"))
    Product.objects.update(name="small")
    formed.call("update_product", pk=atlas.pk, values={"stock": 5})

    atlas.refresh_from_db()
    # It was not given, so that its own method has nothing to say of it.
    assert (atlas.name, atlas.stock, atlas.weight) == ("small", 5, 1)

    formed.call("update_product", pk=atlas.pk, values={"name": "great atlas"})
    atlas.refresh_from_db()
    assert atlas.name == "Great Atlas"


def test_form_sees_the_row_that_a_relation_leads_to(
    formed: Counter, atlas: Product
) -> None:
    Category.objects.update(slug="closed")
    said = formed.refusal("update_product", pk=atlas.pk, values={"stock": 5})

    assert said == "values: That category is closed."


def test_form_sees_the_defaults_of_a_new_row(
    formed: Counter, books: Category, deliveries: Counter
) -> None:
    values = {"name": "m", "sku": "M", "price": "1", "category": books.pk}
    formed.call("create_product", values=values)

    assert Product.objects.get().weight == 0

    seen = {}

    class DeliveryForm(forms.ModelForm):
        def clean(self) -> Any:
            seen.update(self.cleaned_data)
            return super().clean()

    counter = Counter()
    counter.expose(Supplier, fields=["code"])
    counter.expose(
        Delivery, fields=["supplier", "title", "day", "state"], form=DeliveryForm
    )
    counter.call("create_delivery", values=delivery())

    # What only the database knows is not there.
    assert set(seen) == {"supplier", "title", "day"}


def test_form_may_do_without_a_field_of_some_rows(atlas: Product) -> None:
    class Closed(forms.ModelForm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if self.instance.state == "gone":
                del self.fields["stock"]

    counter = Counter()
    counter.expose(Product, fields=["name", "stock"], form=Closed)
    counter.call("update_product", pk=atlas.pk, values={"stock": 1})
    Product.objects.update(state="gone")
    counter.call("update_product", pk=atlas.pk, values={"name": "Old"})

    said = counter.refusal("update_product", pk=atlas.pk, values={"stock": 2})

    assert said == "values.stock: it cannot be written."
    atlas.refresh_from_db()
    assert (atlas.name, atlas.stock) == ("Old", 1)


def test_form_may_exclude_a_field() -> None:
    class Excluding(forms.ModelForm):
        class Meta:
            exclude = ("stock",)

    counter = Counter()
    counter.expose(Product, fields=["name", "stock"], form=Excluding)

    assert set(schema_of(counter, "update_product")["properties"]) == {"name"}


def test_form_may_say_what_is_written() -> None:
    class Saying(forms.ModelForm):
        weight = forms.FloatField()

        class Meta:
            fields = ("name",)

    class SayingAll(forms.ModelForm):
        class Meta:
            fields = "__all__"

    names = ["name", "stock", "weight"]
    for form, expected in ((Saying, {"name", "weight"}), (SayingAll, {*names})):
        counter = Counter()
        counter.expose(Product, fields=names, form=form)
        schema = schema_of(counter, "update_product")
        assert set(schema["properties"]) == expected


def test_form_may_have_a_widget_of_several_parts(deliveries: Counter) -> None:
    class Split(forms.ModelForm):
        arrived_at = forms.SplitDateTimeField()

    counter = Counter()
    counter.expose(Supplier, fields=["code"])
    counter.expose(
        Delivery, fields=["supplier", "title", "day", "arrived_at"], form=Split
    )
    values = delivery(arrived_at="2026-05-01T12:00:00Z")
    counter.call("create_delivery", values=values)

    assert Delivery.objects.get().arrived_at == datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_form_may_choose_a_row_in_its_own_way(counter: Counter, atlas: Product) -> None:
    maps = Category.objects.create(slug="maps", name="Maps")

    class Choosing(forms.ModelForm):
        category = forms.TypedChoiceField(
            choices=[(maps.pk, "Maps")], coerce=lambda key: Category.objects.get(pk=key)
        )

    counter = Counter()
    counter.expose(Category, fields=["name"])
    counter.expose(Product, fields=["category"], form=Choosing)
    counter.call("update_product", pk=atlas.pk, values={"category": maps.pk})

    atlas.refresh_from_db()
    assert atlas.category == maps


def test_form_that_cannot_be_filled_is_a_problem() -> None:
    class Demanding(forms.ModelForm):
        captcha = forms.CharField()
        hint = forms.CharField(required=False)

    registry = Registry()

    @register(Product, registry=registry)
    class Tools(ModelTools):
        fields = ["name"]
        form = Demanding
        operations = ["create"]

    assert registry.exposures[Product].problems == [
        "the form requires 'captcha', which is no field that can be written. Name it "
        "among the fields, or let the form do without."
    ]


# What is said


def test_nothing_is_told_of_what_is_not_shown() -> None:
    user = make_user("ada")
    Customer.objects.create(name="Ada", owner=user, email="a@example.com")
    counter = Counter()

    def save_model(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
        obj.owner = user
        ModelTools.save_model(self, context, obj, form, change)

    counter.expose(Customer, fields=["name"], save_model=save_model)

    assert counter.refusal("create_customer", values={"name": "Ada"}) == (
        "values: The values do not go together, or not with those of another row."
    )


def test_hidden_date_is_not_told_of(deliveries: Counter) -> None:
    deliveries.call("create_delivery", values=delivery())
    assert deliveries.refusal("create_delivery", values=delivery()) == (
        "values.title: Title must be unique for Day date."
    )

    def save_model(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
        obj.day = date(2026, 5, 1)
        ModelTools.save_model(self, context, obj, form, change)

    counter = Counter()
    counter.expose(Supplier, fields=["code"])
    counter.expose(Delivery, fields=["supplier", "title"], save_model=save_model)
    values = delivery()
    del values["day"]
    assert counter.refusal("create_delivery", values=values) == (
        "values: The values do not go together, or not with those of another row."
    )


def test_name_of_a_constraint_is_not_told(deliveries: Counter) -> None:
    deliveries.call("create_delivery", values=delivery())
    deliveries.expose(Invoice, fields=["delivery", "total", "paid"])
    values = {"delivery": Delivery.objects.get().pk, "total": -1}

    assert deliveries.refusal("create_invoice", values={**values, "paid": -2}) == (
        "values: The values do not go together, or not with those of another row."
    )
    assert deliveries.refusal(
        "create_invoice", values={**values, "total": 1, "paid": 2}
    ) == ("values: It cannot be paid twice.")


def test_fault_is_told_once(counter: Counter, atlas: Product) -> None:
    """The form and save_model() both find it."""
    said = counter.refusal(
        "create_product",
        values={"name": "B", "sku": "A1", "price": "1", "category": atlas.category_id},
    )

    assert said == "values.sku: Product with this Stock keeping unit already exists."


# Ranges and arrays, of which only PostgreSQL has columns


@pytest.fixture
def bind_season() -> Any:
    with isolate_apps("tests.shop"):

        class Season(models.Model):
            days = DateRangeField(null=True, blank=True)
            sizes = IntegerRangeField(null=True, blank=True)
            names = ArrayField(models.TextField(), null=True, blank=True)

            class Meta:
                app_label = "shop"

    counter = Counter()
    form = counter.expose(Season, fields=["days", "sizes", "names"]).form

    def bind(was: Any = None, **given: Any) -> Any:
        season, is_new = Season(**(was or {})), was is None
        values = msgspec.convert(given, form.type_for_create)
        bound = form.bind(
            counter.context, season, form.given(values), "values", is_new=is_new
        )
        assert bound.is_valid(), bound.errors
        return bound

    return bind


def test_range_keeps_its_bounds(bind_season: Any) -> None:
    data = bind_season(
        days={"lower": "2026-01-01", "upper": "2026-02-01", "bounds": "[]"},
        sizes={"lower": 3},
    ).cleaned_data

    days = data["days"]
    assert (days.lower, days.upper) == (date(2026, 1, 1), date(2026, 2, 1))
    assert days.bounds == "[]"
    assert (data["sizes"].lower, data["sizes"].upper) == (3, None)


@pytest.mark.parametrize(
    "value", [{}, {"bounds": "empty"}, {"lower": 1, "upper": 2, "bounds": "empty"}]
)
def test_range_of_nothing_is_refused(bind_season: Any, value: Any) -> None:
    with pytest.raises(ToolError, match="a lower or an upper bound, or both"):
        bind_season(sizes=value)


def test_range_that_ends_before_it_begins_is_refused(bind_season: Any) -> None:
    with pytest.raises(ToolError, match="sizes: the lower bound is above the upper"):
        bind_season(sizes={"lower": 2, "upper": 1})


@pytest.mark.parametrize(
    ("sizes", "changed"), [({"lower": 1}, []), ({"lower": 2}, ["sizes"])]
)
def test_change_of_a_range_is_noticed(
    bind_season: Any, sizes: Any, changed: Any
) -> None:
    assert bind_season({"sizes": NumericRange(1)}, sizes=sizes).changed_data == changed


@pytest.mark.parametrize("names", [None, [], ["spring"]])
def test_null_is_not_an_empty_array(bind_season: Any, names: Any) -> None:
    assert bind_season(names=names).cleaned_data["names"] == names


# Rows that are there


@pytest.fixture
def deliveries(db: None, tmp_path: Path, settings: DjangoSettings) -> Counter:
    settings.MEDIA_ROOT = tmp_path
    Supplier.objects.create(code="fast")
    counter = Counter()
    counter.expose(Supplier, fields=["code"])
    fields = ["supplier", "helpers", "title", "day", "state", "slot", "takes"]
    counter.expose(
        Delivery, fields=[*fields, "arrived_at", "extra", "photo", "products"]
    )
    return counter


def delivery(**values: Any) -> dict[str, Any]:
    supplier = Supplier.objects.get(code="fast")
    return {"supplier": supplier.pk, "title": "a", "day": "2026-05-01", **values}


def make_user(name: str) -> Any:
    return get_user_model().objects.create(username=name)


def test_manager_that_hides_rows_hides_them_from_writers(counter: Counter) -> None:
    letter = Letter.objects.create(subject="Gone")
    counter.expose(Letter, fields=["subject"])
    letter.delete()

    said = counter.refusal("update_letter", pk=letter.pk, values={"subject": "Back"})

    assert said == f"There is no letter {letter.pk}."
