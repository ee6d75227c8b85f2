"""A form asks what its type, its Django form or its schema says, and judges answers."""

import datetime
import re
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pytest
from django import forms
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy, override

from mcp_channels.server.forms import Unacceptable, get_form


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Order(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(description="Whose it is", max_length=5)]
    count: Annotated[int, msgspec.Meta(ge=1, le=9)]
    size: Size
    weight: float = 0.5
    gift: bool = False
    color: Literal["red", "blue"] = "red"
    extras: list[Literal["bow", "card"]] = []
    due: datetime.date | None = None
    note: str | None = None


@dataclass
class Trip:
    city: str
    nights: int = 2
    sizes: list[Size] = field(default_factory=list)


class Address(TypedDict):
    street: str
    number: NotRequired[int]


def refusal(form: Any, content: dict[str, Any]) -> str:
    with pytest.raises(Unacceptable) as caught:
        get_form(form).read(content)
    return str(caught.value)


def property_of(form: Any, name: str) -> dict[str, Any]:
    schema = get_form(form).describe()
    member: dict[str, Any] = schema["properties"][name]
    return member


# Types


def test_struct_becomes_a_flat_form() -> None:
    assert get_form(Order).describe() == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Whose it is", "maxLength": 5},
            "count": {"type": "integer", "minimum": 1, "maximum": 9},
            "size": {"type": "string", "title": "Size", "enum": ["large", "small"]},
            "weight": {"type": "number", "default": 0.5},
            "gift": {"type": "boolean", "default": False},
            "color": {"type": "string", "default": "red", "enum": ["blue", "red"]},
            "extras": {
                "type": "array",
                "default": [],
                "items": {"type": "string", "enum": ["bow", "card"]},
            },
            "due": {"type": "string", "format": "date"},
            "note": {"type": "string"},
        },
        "required": ["name", "count", "size"],
    }


def test_struct_reads_its_answer() -> None:
    content = {"name": "ada", "count": 2, "size": "small", "due": "2026-02-28"}

    assert get_form(Order).read(content) == Order(
        "ada", 2, Size.SMALL, due=datetime.date(2026, 2, 28)
    )


def test_dataclass_becomes_a_form() -> None:
    form = get_form(Trip)

    assert form.describe() == {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "nights": {"type": "integer", "default": 2},
            "sizes": {
                "type": "array",
                "items": {"type": "string", "enum": ["large", "small"]},
            },
        },
        "required": ["city"],
    }
    assert form.read({"city": "Porto", "sizes": ["small"]}) == Trip(
        "Porto", 2, [Size.SMALL]
    )


def test_typed_dict_becomes_a_form() -> None:
    form = get_form(Address)

    assert form.describe()["required"] == ["street"]
    assert form.read({"street": "Rua"}) == {"street": "Rua"}


def test_form_of_optional_fields_requires_none() -> None:
    class Optional(msgspec.Struct):
        note: str = ""

    assert "required" not in get_form(Optional).describe()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 1},
        {"name": "adalovelace"},
        {"count": "2"},
        {"count": 0},
        {"count": 2.5},
        {"count": True},
        {"size": "medium"},
        {"weight": "1"},
        {"gift": "yes"},
        {"gift": 1},
        {"color": "green"},
        {"extras": "bow"},
        {"extras": ["ribbon"]},
        {"due": "2026-02-30"},
        {"note": ["a"]},
    ],
)
def test_answer_of_a_wrong_type_is_not_acceptable(wrong: dict[str, Any]) -> None:
    right = {"name": "ada", "count": 2, "size": "small"}

    assert next(iter(wrong)) in refusal(Order, {**right, **wrong})


def test_missing_answer_is_not_acceptable() -> None:
    assert "count" in refusal(Order, {"name": "ada", "size": "small"})


def test_every_wrong_answer_is_told_in_words_for_a_person() -> None:
    content = {"name": "ada", "count": 10, "size": "medium", "due": "tomorrow"}

    assert refusal(Order, content).split("\n") == [
        "count: it is greater than the maximum of 9, got integer 10",
        'size: expected one of "large", "small", got string "medium"',
        'due: it is not a "date", got string "tomorrow"',
    ]


def test_answer_to_a_pattern_that_only_python_has_is_told_as_python_does() -> None:
    class Code(msgspec.Struct):
        code: Annotated[str, msgspec.Meta(pattern="x\\Z")]

    assert "matching regex" in refusal(Code, {"code": "y"})


class Nested(msgspec.Struct):
    order: Order


class Many(msgspec.Struct):
    names: list[str]


class Untyped(msgspec.Struct):
    anything: Any


class Empty(msgspec.Struct):
    pass


class Either(msgspec.Struct):
    value: int | str


class Numbered(msgspec.Struct):
    level: Literal[1, 2]


class Level(IntEnum):
    LOW = 1


class Levels(msgspec.Struct):
    levels: list[Level]


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (Nested, "Nested.order: a form is flat"),
        (Many, "Many.names: a list in a form must be of choices"),
        (Untyped, "Untyped.anything: a form is flat"),
        (Either, "Either.value: a form is flat"),
        (Numbered, "Numbered.level: the choices of a form must be text"),
        (Levels, "Levels.levels: the choices of a form must be text"),
        (Empty, "has no fields to ask for"),
        (int, "has no fields to ask for"),
        (Size, "has no fields to ask for"),
        (dict[str, int], "has no fields to ask for"),
        (object, "no schema for"),
        ({}, "no properties to ask for"),
        ({"type": "object", "properties": {}}, "no properties to ask for"),
        ({"properties": {"a": {"type": "string"}}}, "no properties to ask for"),
        (
            {"type": "object", "properties": {"a": {"type": "object"}}},
            "requestedSchema.a: a form is flat",
        ),
        ({"type": "objekt", "properties": {"a": {"type": "string"}}}, "objekt"),
    ],
)
def test_what_is_no_form_is_refused(form: Any, reason: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=reason):
        get_form(form)


# Schemas

SCHEMA = {
    "type": "object",
    "properties": {
        "mail": {"type": "string", "format": "email"},
        "count": {"type": "integer", "minimum": 1},
    },
    "required": ["mail"],
}


def test_schema_is_asked_as_it_is_written() -> None:
    form = get_form(SCHEMA)

    assert form.describe() is SCHEMA
    assert form.read({"mail": "a@b.example"}) == {"mail": "a@b.example"}


@pytest.mark.parametrize(
    "content",
    [{}, {"mail": 1}, {"mail": "nobody"}, {"mail": "a@b.example", "count": 0}],
)
def test_schema_judges_the_answer(content: dict[str, Any]) -> None:
    assert refusal(SCHEMA, content)


# Django forms


class OrderForm(forms.Form):
    name = forms.CharField(label="Your name", min_length=2, max_length=5)
    nickname = forms.CharField(required=False, help_text="If any", initial="ada")
    count = forms.IntegerField(min_value=1, max_value=9, initial=3)
    price = forms.DecimalField(required=False, min_value=0.5)
    ratio = forms.FloatField(required=False)
    agree = forms.BooleanField()
    gift = forms.NullBooleanField(required=False)
    mail = forms.EmailField(required=False)
    page = forms.URLField(required=False, assume_scheme="https")
    day = forms.DateField(required=False)
    moment = forms.DateTimeField(required=False)
    hour = forms.TimeField(required=False)
    color = forms.ChoiceField(
        required=False,
        choices=[
            ("", "---"),
            ("r", "Red"),
            ("Cold", [("b", "Blue"), ("g", "Green")]),
        ],
    )
    extras = forms.MultipleChoiceField(required=False, choices=[("x", "X"), ("y", "Y")])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("name") == cleaned.get("nickname"):
            raise forms.ValidationError("A nickname is another name.")
        return cleaned


RIGHT = {"name": "ada", "count": 2, "agree": True}


def test_django_form_becomes_a_flat_form() -> None:
    assert get_form(OrderForm).describe() == {
        "type": "object",
        "properties": {
            "name": {
                "type": "string",
                "title": "Your name",
                "minLength": 2,
                "maxLength": 5,
            },
            "nickname": {"type": "string", "description": "If any", "default": "ada"},
            "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
            "price": {"type": "number", "minimum": 0.5},
            "ratio": {"type": "number"},
            "agree": {"type": "boolean"},
            "gift": {"type": "boolean"},
            "mail": {"type": "string", "format": "email"},
            "page": {"type": "string", "format": "uri"},
            "day": {"type": "string", "format": "date"},
            "moment": {"type": "string", "format": "date-time"},
            "hour": {"type": "string"},
            "color": {
                "type": "string",
                "oneOf": [
                    {"const": "r", "title": "Red"},
                    {"const": "b", "title": "Blue"},
                    {"const": "g", "title": "Green"},
                ],
            },
            "extras": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"const": "x", "title": "X"},
                        {"const": "y", "title": "Y"},
                    ]
                },
            },
        },
        "required": ["name", "count"],
    }


def test_django_form_gives_its_cleaned_data() -> None:
    cleaned = get_form(OrderForm).read(
        {**RIGHT, "day": "2026-02-28", "extras": ["x"], "color": "b", "gift": False}
    )

    assert cleaned["name"] == "ada"
    assert cleaned["count"] == 2
    assert cleaned["agree"] is True
    assert cleaned["gift"] is False
    assert cleaned["day"] == datetime.date(2026, 2, 28)
    assert cleaned["extras"] == ["x"]
    assert cleaned["nickname"] == ""


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"name": "a"}, "Your name: Ensure this value has at least 2"),
        ({"count": 10}, "Count: Ensure this value is less than or equal to 9"),
        ({"agree": False}, "Agree: This field is required"),
        ({"mail": "nobody"}, "Mail: Enter a valid email address"),
        ({"day": "2026-02-30"}, "Day: Enter a valid date"),
        ({"color": "z"}, "Color: Select a valid choice"),
        ({"extras": ["z"]}, "Extras: Select a valid choice"),
        ({"nickname": "ada"}, "A nickname is another name."),
        # What Django would take for something else.
        ({"name": 12}, 'name: expected string, got integer "?12'),
        ({"name": ["ada"]}, "name: expected string"),
        ({"agree": "no"}, "agree: expected boolean"),
        ({"count": "2"}, "count: expected integer"),
        ({"extras": "x"}, "extras: expected array"),
    ],
)
def test_django_form_judges_the_answer(content: dict[str, Any], complaint: str) -> None:
    assert re.match(complaint, refusal(OrderForm, {**RIGHT, **content}))


def test_django_form_complains_of_everything_at_once() -> None:
    assert refusal(OrderForm, {"name": "a", "count": 0, "agree": True}).count("\n") == 1


def test_django_form_of_optional_fields_requires_none() -> None:
    class Optional(forms.Form):
        note = forms.CharField(required=False)

    assert "required" not in get_form(Optional).describe()


class TranslatedForm(forms.Form):
    name = forms.CharField(label=gettext_lazy("Password"), required=False)


def test_django_form_is_asked_in_the_language_of_now() -> None:
    with override("de"):
        german = property_of(TranslatedForm, "name")["title"]

    assert german == "Passwort"
    assert property_of(TranslatedForm, "name")["title"] == "Password"


def test_choices_that_come_from_a_function_are_those_of_now() -> None:
    choices = [("a", "A")]

    class Chosen(forms.Form):
        one = forms.ChoiceField(choices=lambda: choices)

    form = get_form(Chosen)
    assert len(form.describe()["properties"]["one"]["oneOf"]) == 1
    choices.append(("b", "B"))

    assert len(form.describe()["properties"]["one"]["oneOf"]) == 2
    assert form.read({"one": "b"}) == {"one": "b"}


class GroupForm(forms.Form):
    group = forms.ModelChoiceField(Group.objects.all(), required=False)
    groups = forms.ModelMultipleChoiceField(Group.objects.all(), required=False)


@pytest.mark.django_db
def test_choices_from_the_database_are_those_of_now() -> None:
    form = get_form(GroupForm)
    assert form.describe()["properties"]["group"]["oneOf"] == []
    group = Group.objects.create(name="Staff")

    option = {"const": str(group.pk), "title": "Staff"}
    properties = form.describe()["properties"]
    assert properties["group"]["oneOf"] == [option]
    assert properties["groups"]["items"]["anyOf"] == [option]
    cleaned = form.read({"group": str(group.pk), "groups": [str(group.pk)]})
    assert cleaned["group"] == group
    assert list(cleaned["groups"]) == [group]


def test_making_a_form_does_not_touch_the_database() -> None:
    """pytest-django refuses the database to a test without its mark."""
    assert get_form(GroupForm)


def test_file_cannot_be_asked_for() -> None:
    class Upload(forms.Form):
        file = forms.FileField()

    with pytest.raises(ImproperlyConfigured, match=r"Upload\.file: .* a file"):
        get_form(Upload).describe()
