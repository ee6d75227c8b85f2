"""Values of fields: their types, on the way out, and on the way in."""

import datetime as dt
import enum
import json
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from django.contrib.postgres.fields import (
    ArrayField,
    DateRangeField,
    HStoreField,
    IntegerRangeField,
)
from django.core.files.storage import Storage
from django.core.validators import (
    MaxValueValidator,
    MinLengthValidator,
    MinValueValidator,
)
from django.db import models
from django.db.backends.postgresql.psycopg_any import DateRange, NumericRange
from django.db.models.functions import Upper
from django.test.utils import isolate_apps
from django.utils.translation import gettext_lazy
from msgspec import Meta

from mcp_channels.modeltools.values import (
    File,
    Range,
    Unshowable,
    Upload,
    annotation_of,
    converter_of,
    describe,
    is_list,
    is_range,
    is_text,
    one_of,
    to_database,
    to_moment,
    to_python,
    without_none,
    write_annotation_of,
)
from mcp_channels.server.tools import ToolError
from tests.shop.models import Book, Delivery, Product, Sample, Seat

UTC = dt.UTC
BIGGEST = 2**63 - 1


class Secret(str):
    pass


class EncryptedField(models.CharField):
    def from_db_value(self, value, expression, connection):
        return Secret(value)


class Phone:
    def __init__(self, number):
        self.number = number


class PhoneDescriptor:
    """As libraries do it whose values are objects: made when they are set."""

    def __init__(self, field):
        self.field = field

    def __get__(self, instance, owner=None):
        return self if instance is None else instance.__dict__[self.field.attname]

    def __set__(self, instance, value):
        instance.__dict__[self.field.attname] = value and Phone(value)


class PhoneField(models.CharField):
    descriptor_class = PhoneDescriptor

    def get_prep_value(self, value):
        return value.number if isinstance(value, Phone) else value


class Odd(models.Field):
    pass


class Colour(enum.Enum):
    RED = "red"


def field(name: str, model: Any = Sample) -> Any:
    return model._meta.get_field(name)


def in_model(value: models.Field) -> Any:
    """Return the field as one of a model that has it."""
    with isolate_apps("tests.shop"):

        class Holder(models.Model):
            held = value

            class Meta:
                app_label = "shop"

    return Holder._meta.get_field("held")


READ = {
    "id": int,
    "key": UUID,
    "text": str,
    "slug": str,
    "email": str,
    "url": str,
    "address": str | None,
    "path": str,
    "flag": bool | None,
    "size": int | None,
    "big": int | None,
    "ratio": float | None,
    "amount": Decimal | None,
    "day": dt.date | None,
    "moment": dt.datetime | None,
    "clock": dt.time | None,
    "span": dt.timedelta | None,
    "data": Any,
    "blob": bytes | None,
    "document": File | None,
    "shouted": str,
}


def test_every_field_has_its_type():
    assert {f.name: annotation_of(f) for f in Sample._meta.fields} == READ


@pytest.mark.parametrize(
    ("model", "name", "annotation"),
    [
        (Product, "category", int),
        (Delivery, "supplier", str),  # which is referred to by its code
        (Book, "product_ptr", int),
        (Seat, "pk", tuple[str, int]),
        (Product, "value", Decimal),
    ],
)
def test_a_key_has_the_type_of_its_column(model, name, annotation):
    assert annotation_of(field(name, model)) == annotation


@pytest.mark.parametrize(
    ("made", "annotation"),
    [
        (ArrayField(models.FloatField()), list[float | None]),
        (ArrayField(ArrayField(models.UUIDField())), list[list[UUID]]),
        (HStoreField(null=True), dict[str, str | None] | None),
        (IntegerRangeField(), Range[int]),
        (DateRangeField(), Range[dt.date]),
    ],
)
def test_a_field_of_postgresql_has_its_type(made, annotation):
    assert annotation_of(made) == annotation


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (Odd(), "Odd has no JSON form. Leave it out, or name a method with a return"),
        (EncryptedField(), "EncryptedField makes values of its own"),
        (models.JSONField(decoder=json.JSONDecoder), "JSONField makes values of its"),
        (ArrayField(Odd()), "Odd has no JSON form"),
    ],
)
def test_what_has_no_json_form_is_refused(made, reason):
    with pytest.raises(Unshowable, match=reason):
        annotation_of(made)


@pytest.mark.parametrize(
    ("made", "annotation"),
    [
        (models.BooleanField(), bool),
        (models.DateField(blank=True), dt.date | None),
        (models.JSONField(null=True), Any),
        (models.FileField(), Upload),
        (models.FileField(blank=True), Upload | None),
        (models.TextField(blank=True), str),
        (
            models.CharField(max_length=5),
            Annotated[str, Meta(min_length=1, max_length=5)],
        ),
        (
            ArrayField(ArrayField(models.DateField(null=True)), size=2, null=True),
            Annotated[list[Annotated[list[dt.date | None], Meta()]], Meta(max_length=2)]
            | None,
        ),
        (DateRangeField(), Range[dt.date]),
    ],
)
def test_what_may_be_written_has_its_type(made, annotation):
    assert write_annotation_of(made) == annotation


def test_validators_are_in_the_schema():
    number = models.IntegerField(
        validators=[MinValueValidator(3), MinValueValidator(5), MaxValueValidator(9)]
    )
    text = models.CharField(validators=[MinLengthValidator(4)], blank=True)
    lazy = models.PositiveBigIntegerField(validators=[MinValueValidator(lambda: -7)])

    assert write_annotation_of(number) == Annotated[int, Meta(ge=5, le=9)]
    assert write_annotation_of(text) == Annotated[str, Meta(min_length=4)]
    assert write_annotation_of(lazy) == Annotated[int, Meta(ge=0, le=BIGGEST)]


def test_email_and_url_say_so():
    schemas = [
        msgspec.json.schema(write_annotation_of(made))
        for made in (models.EmailField(), models.URLField(), models.CharField())
    ]

    assert [one.get("format") for one in schemas] == ["email", "uri", None]


@pytest.mark.parametrize(
    ("made", "annotation"),
    [
        (models.CharField(choices=[("a", "A"), ("b", "B")]), Literal["a", "b"]),
        (models.CharField(choices=[("a", "A")], blank=True), Literal["a", ""]),
        (models.CharField(choices=[("", "-"), ("a", "A")], blank=True),
         Literal["", "a"]),
        (models.IntegerField(choices=Sample.Size, null=True), Literal[1, 2] | None),
        (models.CharField(choices=[("A-B", [("a", "A"), ("b", "B")])]),
         Literal["a", "b"]),
        (models.CharField(choices=[(Colour.RED, "Red"), (None, "-")]), Literal["red"]),
        (models.FloatField(choices=[(1.5, "1.5")]), float),
    ],
)  # fmt: skip
def test_choices_are_all_that_may_be_written(made, annotation):
    assert write_annotation_of(made) == annotation


def test_what_says_nothing_has_no_description():
    assert describe(models.CharField(max_length=5)) == ""


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (models.CharField(help_text=gettext_lazy("Without tax")), "Without tax."),
        (models.CharField(help_text="Really?"), "Really?"),
        (
            models.DecimalField(max_digits=8, decimal_places=2, help_text="In EUR."),
            "In EUR. At most 8 digits, 2 of them after the point.",
        ),
        (models.DecimalField(), ""),
        (
            models.CharField(choices=[("a", gettext_lazy("Alpha")), ("b", "b")]),
            "One of a (Alpha), b.",
        ),
        (models.IntegerField(choices=[(i, str(i)) for i in range(51)]), ""),
    ],
)
def test_a_field_is_described(made, text):
    assert describe(made) == text


@pytest.mark.parametrize(
    "name", ["id", "key", "text", "flag", "ratio", "amount", "moment", "shouted"]
)
def test_a_value_that_is_json_stays(name):
    assert converter_of(field(name)) is None


def test_nan_is_null():
    assert msgspec.json.encode([float("nan"), float("inf")]) == b"[null,null]"


def test_bytes_are_base64():
    convert = converter_of(field("blob"))

    assert convert(None) is None
    assert msgspec.json.encode(convert(memoryview(b"\0\xff"))) == b'"AP8="'


class Nowhere(Storage):
    """Has no URLs."""


def test_a_file_has_a_name_and_a_url():
    convert = converter_of(field("document"))
    nowhere = in_model(models.FileField(storage=Nowhere()))

    assert convert(Sample(document="a b.txt").document) == File("a b.txt", "/a%20b.txt")
    assert convert(Sample().document) is None
    assert converter_of(nowhere)(nowhere.model(held="a").held) == File("a", None)


def test_half_a_character_in_json_is_replaced():
    convert = converter_of(field("data"))

    assert convert({"a": [1.5, None]}) == {"a": [1.5, None]}
    assert convert({"\ud800": ["ü", "\udfff!"]}) == {"?": ["ü", "?!"]}


def test_a_range_has_bounds():
    ranges = IntegerRangeField(), DateRangeField()
    numbers, days = (converter_of(in_model(made)) for made in ranges)
    day = dt.date(2026, 1, 2)

    assert numbers(None) is None
    assert numbers(NumericRange(1, None)) == Range(1, None, "[)")
    assert numbers(NumericRange(empty=True)) == Range(bounds="empty")
    assert days(DateRange(day, day, "[]")) == Range(day, day, "[]")


def test_an_object_in_place_of_a_value_is_shown_as_the_value():
    phone = in_model(PhoneField(null=True))
    convert = converter_of(phone)

    assert annotation_of(phone) == str | None
    assert convert(phone.model(held="+44").held) == "+44"
    assert convert(phone.model(held=None).held) is None


def test_a_generated_value_is_converted_as_its_output():
    made = models.GeneratedField(
        expression=Upper("held"), output_field=models.JSONField(), db_persist=True
    )

    assert converter_of(in_model(made))({"a": 1}) == {"a": 1}


VALUES = {
    "key": UUID(int=5),
    "text": "a\u2028'\"\\",
    "flag": True,
    "big": -(2**63),
    "ratio": 0.1 + 0.2,
    "amount": Decimal("12345678901234.000001"),
    "day": dt.date.max,
    "moment": dt.datetime(2026, 10, 25, 1, 30, 0, 1, tzinfo=UTC),
    "clock": dt.time(23, 59, 59, 999999),
    "span": dt.timedelta(days=-3, microseconds=5),
    "shouted": "A",
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_survives_json(name):
    given = json.loads(msgspec.json.encode(VALUES[name]))

    assert to_python(field(name), given) == VALUES[name]


def test_a_key_of_several_columns_survives_json():
    assert to_python(field("pk", Seat), ["a", 5]) == ("a", 5)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (models.TextField(), True),
        (models.GenericIPAddressField(), False),
        (models.IntegerField(), False),
        (HStoreField(), False),
    ],
)
def test_a_text_may_be_empty(made, expected):
    assert is_text(made) is expected


@pytest.mark.parametrize(
    ("annotation", "rest"),
    [
        (int, int),
        (int | None, int),
        (int | str | None, int | str | None),
        (list[int | None], list[int | None]),
        (dict[str, str | None] | None, dict[str, str | None]),
    ],
)
def test_none_can_be_left_out(annotation, rest):
    assert without_none(annotation) == rest


def test_lists_are_known():
    assert is_list(list[int])
    assert not is_list(dict[str, int])
    assert is_range(Range[int])
    assert not is_range(list[int])
    assert one_of(["a", "b"]) == Literal["a", "b"]


@pytest.mark.parametrize(
    "value",
    [
        "text",
        BIGGEST,
        -(2**63),
        True,
        0.5,
        Decimal("-1E-999"),
        dt.timedelta(microseconds=BIGGEST),
        dt.time(12),
        dt.date.min,
        None,
        ("a", 5),
        ["a", "b"],
        {"a": None, "": "b"},
        Range(1, 2, "[]"),
        Range(None, Decimal(1)),
        {"a": None, "b": ["c"]},
    ],
)
def test_what_a_database_takes_stays(value):
    assert to_database(value) == value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\0b", "a text cannot contain the character NUL."),
        ({"a": ["\0"]}, "a text cannot contain the character NUL."),
        ({"\0": "a"}, "a text cannot contain the character NUL."),
        (["a", "\0"], "a text cannot contain the character NUL."),
        (Range(2**63, None), "a number cannot have more than 64 bits."),
        (Range(2, 1), "the lower bound is above the upper one."),
        ((1, 2**63), "a number cannot have more than 64 bits."),
        (-(2**63) - 1, "a number cannot have more than 64 bits."),
        (Decimal("NaN"), "it must be a number, and finite."),
        (Decimal("-Infinity"), "it must be a number, and finite."),
        (Decimal("1E+1000"), "a number has at most 1000 digits."),
        (dt.timedelta.max, "a duration has at most 106751991 days."),
        (dt.timedelta.min, "a duration has at most 106751991 days."),
        (dt.time(12, tzinfo=UTC), "a time of day cannot have an offset."),
        (dt.datetime.min, "the year must be from 2 to 9998."),
        (dt.datetime.max, "the year must be from 2 to 9998."),
    ],
)
def test_what_no_database_takes_is_refused(value, reason):
    with pytest.raises(ToolError) as caught:
        to_database(value)

    assert caught.value.message == reason


NAIVE = dt.datetime(2026, 7, 1, 12)


def test_moments_of_a_range_are_those_of_the_database(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    found = to_database(Range(NAIVE, None))

    assert found.lower.isoformat() == "2026-07-01T12:00:00+02:00"
    assert found.upper is None


@pytest.mark.parametrize("value", [NAIVE.replace(tzinfo=UTC), NAIVE])
@pytest.mark.parametrize("use_tz", [True, False])
def test_a_moment_is_as_the_database_keeps_it(settings, use_tz, value):
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Europe/Berlin"
    moment = to_moment(value)

    assert (moment.tzinfo is not None) is use_tz
    if use_tz:
        hour = 12 if value.tzinfo else 10
        assert moment == dt.datetime(2026, 7, 1, hour, tzinfo=UTC)
    else:
        assert moment.hour == (14 if value.tzinfo else 12)
