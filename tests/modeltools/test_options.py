"""What a site says of a model: defaults, permissions, and options of a wrong type."""

from types import SimpleNamespace
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import AnonymousUser
from django.db.models import Prefetch

from mcp_channels import ModelTools
from mcp_channels.modeltools.options import mistakes
from tests.shop.counter import Anybody
from tests.shop.models import Category, Letter, Product


def asker(user: Any) -> Any:
    return SimpleNamespace(user=user)


def tools(**options: Any) -> ModelTools:
    made = ModelTools(Product)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def may(user: Any, obj: Any = None) -> str:
    """Return the operations that are allowed, by their initials."""
    made = tools()
    return "".join(
        name[0]
        for name in ("view", "add", "change", "delete")
        if getattr(made, f"has_{name}_permission")(asker(user), obj)
    )


@pytest.mark.parametrize(
    ("user", "allowed"),
    [
        (Anybody(), "vacd"),
        (Anybody("shop.view_product"), "v"),
        (Anybody("shop.add_product"), "a"),
        (Anybody("shop.change_product"), "vc"),  # who changes sees
        (Anybody("shop.delete_product"), "d"),
        (Anybody("shop.view_order"), ""),
        (AnonymousUser(), ""),
        (SimpleNamespace(), ""),  # a user model without permissions
    ],
)
def test_permissions_are_those_of_django(user, allowed):
    assert may(user) == allowed


class Owner:
    """May do with one row what nobody may do with all."""

    def __init__(self, row: Any) -> None:
        self.row = row

    def has_perm(self, permission: str, obj: Any = None) -> bool:
        return obj is self.row and permission == "shop.change_product"


def test_a_permission_can_be_of_one_row():
    row = Product()

    assert may(Owner(row)) == ""
    assert may(Owner(row), row) == "vc"
    assert may(Owner(row), Product()) == ""


@pytest.mark.django_db
def test_rows_are_made_anew_and_are_those_of_the_default_manager():
    made = ModelTools(Letter)
    Letter.objects.create(subject="gone", is_deleted=True)
    before = made.get_queryset(asker(Anybody()))

    assert list(before) == []
    Letter.objects.create(subject="here")
    assert [letter.subject for letter in made.get_queryset(asker(Anybody()))] == [
        "here"
    ]


@pytest.mark.django_db
def test_rows_are_saved_and_deleted():
    made, row = ModelTools(Category), Category(name="Tea", slug="tea")
    made.save_model(asker(Anybody()), row, None, change=False)

    assert Category.objects.get() == row
    made.delete_model(asker(Anybody()), row)
    assert not Category.objects.exists()


def test_the_defaults_are_right():
    assert list(mistakes(ModelTools(Product))) == []


NAMES = "must be a list of names, as in ['name']."
NUMBER = "must be a whole number, and at least 1."


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("fields", "name", NAMES),
        ("fields", None, NAMES),
        ("fields", {"name"}, NAMES),
        ("fields", [("name", "price")], NAMES),
        ("exclude", "__all__", NAMES),
        ("readonly_fields", "name", NAMES),
        ("operations", "list", NAMES),
        ("search_fields", None, NAMES),
        ("ordering", "name", NAMES),
        ("ordering_fields", 5, NAMES),
        ("list_select_related", True, NAMES),
        ("page_size", None, NUMBER),
        ("max_page_size", 0, NUMBER),
        ("max_count", -1, NUMBER),
        ("max_bytes", 1.5, NUMBER),
        ("max_bulk", True, NUMBER),
        ("max_upload_bytes", "1", NUMBER),
        ("filters", "price", "must be a list of names, or a dictionary of them with"),
        ("filters", {"price": None}, "must be a list of names, or a dictionary of"),
        ("filters", {"price": [5]}, "must be a list of names, or a dictionary of"),
        ("filters", {5: ["exact"]}, "must be a list of names, or a dictionary of"),
        ("list_prefetch_related", "tags", "must be a list of names and Prefetch"),
        ("list_prefetch_related", [5], "must be a list of names and Prefetch"),
        ("form", forms.Form, "must be a class derived of django.forms.ModelForm."),
        ("form", 5, "must be a class derived of django.forms."),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_an_option_of_a_wrong_type_is_a_mistake(option, value, problem):
    ((found, sentence),) = mistakes(tools(**{option: value}))

    assert found == option
    assert sentence.startswith(f"{option} {problem}")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("fields", "__all__"),
        ("fields", ("name",)),
        ("ordering", None),
        ("ordering_fields", []),
        ("max_count", None),
        ("page_size", 1),
        ("filters", ["price"]),
        ("filters", {"price": "gte", "stock": ("lt", "gt")}),
        ("list_prefetch_related", ("tags", Prefetch("lines"))),
    ],
)
def test_an_option_of_its_type_is_none(option, value):
    assert list(mistakes(tools(**{option: value}))) == []
