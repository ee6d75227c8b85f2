"""Which names exist for an agent, and which cannot."""

from functools import cached_property
from typing import Any

import pytest
from django.contrib.contenttypes.fields import GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.test.utils import isolate_apps
from django.utils.functional import cached_property as django_cached_property

from mcp_channels.modeltools.allowlist import (
    Allowlist,
    Column,
    Computed,
    Generic,
    Related,
)
from tests.shop.models import (
    Book,
    Category,
    Customer,
    Delivery,
    Invoice,
    Line,
    Offer,
    Order,
    Product,
    Remark,
    Seat,
    Tag,
)


class Owner:
    """Methods that a ModelTools could have."""

    label = "an option, not a method"

    def total(self, row: Any) -> int:
        """Return the total."""
        return int(row.stock) * 2

    def name(self, row: Any) -> int:
        return 0

    def untyped(self, row: Any):  # type: ignore[no-untyped-def]
        return 0

    def asked(self, row: Any, currency: str) -> int:
        return 0

    def lost(self, row: Any) -> "Nowhere":  # type: ignore[name-defined]  # noqa: F821
        return 0

    def odd(self, row: Any) -> models.Model:
        return row

    async def late(self, row: Any) -> int:
        return 0


def allow(model: Any, *fields: str) -> Allowlist:
    allowlist = Allowlist(model, fields, Owner())

    assert allowlist.problems == []

    return allowlist


def refuse(model: Any, *fields: str) -> str:
    (problem,) = Allowlist(model, fields, Owner()).problems
    return problem


def kinds(allowlist: Allowlist) -> dict[str, type]:
    return {path: type(exposed) for path, exposed in allowlist.by_path.items()}


def test_fields_are_columns_and_relations():
    allowlist = allow(Product, "name", "category", "tags", "value")

    assert kinds(allowlist) == {
        "name": Column,
        "category": Related,
        "tags": Related,
        "value": Column,
    }
    assert [*allowlist.columns] == ["name", "value"]
    assert allowlist.defaults == ["name", "category", "tags", "value"]
    assert allowlist.key_annotation is int


def test_a_path_brings_in_the_relations_on_it_and_nothing_else():
    allowlist = allow(Line, "order__customer__name", "product")

    assert list(allowlist.by_path) == [
        "order",
        "order__customer",
        "order__customer__name",
        "product",
    ]
    assert allowlist.defaults == ["order", "product"]
    assert [*allowlist.columns] == []


def test_a_relation_is_there_once():
    allowlist = allow(Line, "order", "order__placed_at", "order__is_paid")

    assert list(allowlist.by_path) == ["order", "order__placed_at", "order__is_paid"]


def test_relations_on_a_path_are_told():
    allowlist = allow(Order, "lines__product__name", "placed_at", "customer")

    def hops(path: str) -> list[str]:
        return [hop.path for hop in allowlist.relations(path)]

    assert hops("placed_at") == []
    assert hops("customer") == ["customer"]
    assert hops("lines__product__name") == ["lines", "lines__product"]
    assert hops("pk") == []
    assert allowlist.crosses_many("lines__product__name")
    assert not allowlist.crosses_many("customer")


@pytest.mark.parametrize(
    ("model", "name", "target", "is_many", "accessor"),
    [
        (Product, "category", Category, False, "category"),
        (Product, "tags", Tag, True, "tags"),
        (Tag, "products", Product, True, "products"),
        (Category, "products", Product, True, "products"),
        (Category, "children", Category, True, "children"),
        (Category, "parent", Category, False, "parent"),
        (Delivery, "invoice", Invoice, False, "invoice"),
        (Invoice, "delivery", Delivery, False, "delivery"),
        (Delivery, "products", Product, True, "products"),  # through a model
        (Book, "product_ptr", Product, False, "product_ptr"),
        (Product, "book", Book, False, "book"),
        (Offer, "category", Category, False, "category"),
        (ContentType, "remark", Remark, True, "remark_set"),
    ],
)
def test_every_kind_of_relation_leads_somewhere(model, name, target, is_many, accessor):
    related = allow(model, name).by_path[name]

    assert isinstance(related, Related)
    assert (related.model, related.is_many) == (target, is_many)
    assert related.accessor == accessor


def test_a_generic_foreign_key_is_read():
    exposed = allow(Remark, "subject").by_path["subject"]

    assert isinstance(exposed, Generic)
    assert exposed.title == "subject"
    assert exposed.annotation is None


@pytest.mark.parametrize(
    ("model", "name", "title", "description"),
    [
        (Product, "sku", "stock keeping unit", ""),
        (
            Product,
            "price",
            "price",
            "With tax. At most 8 digits, 2 of them after the point.",
        ),
        (Product, "category", "category", ""),
        (Product, "tags", "tags", "The first 100 of them."),
        (Delivery, "invoice", "invoice", ""),
        (Category, "children", "children", "The first 100 of them."),
        (Product, "is_available", "is available", "Whether it can be bought now."),
        (Product, "total", "total", "Return the total."),
    ],
)
def test_names_have_titles_and_descriptions(model, name, title, description):
    exposed = allow(model, name).by_path[name]

    assert (exposed.title, exposed.description) == (title, description)


def test_a_key_of_several_columns_has_its_type():
    assert allow(Seat, "guest").key_annotation == tuple[str, int]
    assert allow(Customer, "name").key.convert is None


# Methods and properties


with isolate_apps("tests.shop"):  # not among the models of other tests

    class Parcel(Product):
        class Meta:
            app_label = "shop"
            proxy = True

        @cached_property
        def kept(self) -> int:
            return self.stock + 1

        @django_cached_property
        def held(self) -> int:
            return self.stock + 2

        def called(self) -> int:
            return self.stock + 3

        @property
        def label(self) -> int:
            return self.stock + 4

        @staticmethod
        def fixed() -> int:
            return 0

        writable = property(fset=lambda self, value: None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("kept", 6), ("held", 7), ("called", 8), ("label", 9), ("total", 10)],
)
def test_methods_and_properties_are_computed(name, value):
    computed = allow(Parcel, name).by_path[name]

    assert isinstance(computed, Computed)
    assert computed.compute(Parcel(stock=5)) == value
    assert computed.annotation is int


def test_a_field_comes_before_a_method_of_its_name():
    assert isinstance(allow(Product, "name").by_path["name"], Column)


def test_methods_of_the_tools_are_of_their_own_rows_alone():
    problem = refuse(Line, "product__total")

    assert problem.startswith("'product__total': Product has no such field. It has ")
    assert "internal_note" in problem


# What is refused


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nmae", "Product has no such field. It has "),
        ("", "Product has no such field."),
        ("category__", "Category has no such field."),
        ("category__nmae", "Category has no such field. It has "),
        ("name__length", "'name' is no relation, so nothing is behind it."),
        ("category_id", "write 'category' instead."),
        ("category__pk", "of a related row the key is always shown, and as its label"),
        ("category__label", "of a related row the key is always shown, and as its"),
        ("untyped", "it has no return annotation, which says what it gives."),
        ("asked", "it must be callable with a row and nothing else."),
        ("lost", "name 'Nowhere' is not defined."),
        ("odd", "has no schema: "),
        ("late", "a row is read in a thread, by synchronous methods."),
        ("get_state_display", "it has no return annotation"),
        ("objects", "Product has no such field."),
    ],
)
def test_what_cannot_be_exposed_is_a_problem(name, reason):
    problem = refuse(Product, name)

    assert problem.startswith(f"{name!r}: ")
    assert reason in problem


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fixed", "it must be callable with a row"),
        ("writable", "Parcel has no such field."),
    ],
)
def test_what_only_resembles_a_property_is_a_problem(name, reason):
    assert reason in refuse(Parcel, name)


class OddField(models.Field):
    pass


def test_a_field_without_a_json_form_is_a_problem():
    with isolate_apps("tests.shop"):

        class Thing(models.Model):
            odd = OddField()

            class Meta:
                app_label = "shop"

    assert "OddField has no JSON form." in refuse(Thing, "odd")


def test_a_key_without_a_json_form_is_a_problem():
    with isolate_apps("tests.shop"):

        class Thing(models.Model):
            id = OddField(primary_key=True)
            name = models.TextField()

            class Meta:
                app_label = "shop"

        class Part(models.Model):
            thing = models.ForeignKey(Thing, on_delete=models.CASCADE)

            class Meta:
                app_label = "shop"

    assert refuse(Thing, "name").startswith("the key of Thing: OddField has no JSON")
    assert refuse(Part, "thing").startswith("'thing': OddField has no JSON form")


def test_a_relation_of_an_unknown_kind_is_a_problem():
    with isolate_apps("tests.shop", "django.contrib.contenttypes"):

        class Thing(models.Model):
            remarks = GenericRelation(Remark)

            class Meta:
                app_label = "shop"

    problem = refuse(Thing, "remarks")

    assert "GenericRelation is a relation of a kind that is not known." in problem


def test_the_rest_is_exposed_beside_a_problem():
    allowlist = Allowlist(Product, ["nope", "name", "nope2"], Owner())

    assert len(allowlist.problems) == 2
    assert list(allowlist.by_path) == ["name"]
