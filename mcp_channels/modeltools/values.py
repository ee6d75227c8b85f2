"""
The value of one model field as JSON: which type it has, the way out, and the way in.

Decimals stay exact, as text; moments carry their offset; bytes are base64.
"""

import inspect
import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, get_origin
from uuid import UUID

import msgspec
from django.conf import settings
from django.core.validators import (
    MaxValueValidator,
    MinLengthValidator,
    MinValueValidator,
)
from django.db import models
from django.utils import timezone
from django.utils.functional import Promise
from msgspec import Meta, Struct

from mcp_channels.server.tools import ToolError

__all__ = [
    "File",
    "Range",
    "Unshowable",
    "Upload",
    "annotation_of",
    "converter_of",
    "describe",
    "is_list",
    "is_range",
    "is_text",
    "one_of",
    "to_database",
    "to_moment",
    "to_python",
    "without_none",
    "write_annotation_of",
]

# What every database can be asked for: SQLite stops at 64 bits, also for the
# microseconds of a duration, and PostgreSQL at some 100,000 digits.
LEAST_INTEGER: Final = -(2**63)
MOST_INTEGER: Final = 2**63 - 1
_MOST_DIGITS: Final = 1000
_LONGEST: Final = timedelta(microseconds=MOST_INTEGER)

# Of choices, beyond which a description would be longer than all the rest.
_MOST_DESCRIBED: Final = 50


Bound = TypeVar("Bound")


class Unshowable(Exception):
    """A field has no JSON form; the text says why, and what to do."""


class File(Struct, frozen=True):
    """A file that a row has."""

    name: str  # in its storage
    url: str | None  # None where the storage has none


class Upload(Struct, frozen=True, forbid_unknown_fields=True):
    """A file that a row is to have."""

    filename: Annotated[str, Meta(min_length=1, max_length=255)]
    data: Annotated[bytes, Meta(description="The content as base64.")]


class Range(Struct, Generic[Bound], frozen=True, forbid_unknown_fields=True):
    """A range of PostgreSQL; "[" and "]" include a bound, and None is none at all."""

    lower: Bound | None = None
    upper: Bound | None = None
    bounds: Literal["[]", "[)", "(]", "()", "empty"] = "[)"


# The first that fits counts: a DateTimeField is a DateField, too.
_TYPES: Final[tuple[tuple[type[Any], Any], ...]] = (
    (models.BooleanField, bool),
    (models.UUIDField, UUID),
    (models.DecimalField, Decimal),
    (models.FloatField, float),
    (models.DurationField, timedelta),
    (models.DateTimeField, datetime),
    (models.DateField, date),
    (models.TimeField, time),
    (models.IntegerField, int),  # and those of other sizes, and AutoField
    (models.BinaryField, bytes),
    (models.FileField, File),
    (models.JSONField, Any),
    (models.CharField, str),  # and EmailField, URLField, SlugField
    (models.TextField, str),
    (models.GenericIPAddressField, str),
    (models.FilePathField, str),
)

_FORMATS: Final[tuple[tuple[type[Any], str], ...]] = (
    (models.EmailField, "email"),
    (models.URLField, "uri"),
)


def annotation_of(field: Any) -> Any:
    """
    Return the type of what is read from `field`, None included where it may be.

    Raise Unshowable when it has no JSON form.
    """
    annotation = _annotation_of(field)
    # NaN is null in JSON, and a file field may have no file.
    can_be_none = field.null or annotation is float or annotation is File
    return annotation | None if can_be_none and annotation is not Any else annotation


def write_annotation_of(field: Any) -> Any:
    """
    Return the type of what may be written to `field`, with what its validators say.

    Raise Unshowable when it has no JSON form.
    """
    annotation = _constrained(field)
    can_be_empty = field.null or (field.blank and not is_text(field))
    if annotation is Any or not can_be_empty:
        return annotation
    return annotation | None


def converter_of(field: Any) -> Callable[[Any], Any] | None:
    """
    Return a function that makes JSON's types of a value of `field`.

    None where the value already is of its annotation.
    """
    if isinstance(field, models.FileField):
        return _to_file
    if _wraps_values(field):
        convert: Callable[[Any], Any] = field.get_prep_value
        return convert
    if isinstance(field, models.GeneratedField):
        field = field.output_field
    if isinstance(field, models.BinaryField):
        return _to_bytes
    if isinstance(field, models.JSONField):
        return _to_json
    if _postgres(field, "RangeField"):
        return _to_range
    return None


def to_python(field: Any, value: Any) -> Any:
    """Return what stands in JSON as the value of `field` that it was."""
    if isinstance(field, models.GeneratedField):
        return to_python(field.output_field, value)
    if isinstance(field, models.CompositePrimaryKey):
        return tuple(map(to_python, field.fields, value))
    return field.to_python(value)


def to_database(value: Any) -> Any:
    """
    Return what an agent gave as a database can be asked for it.

    Raise ToolError, which does not say where it stood, for what none can be asked for.
    """
    if isinstance(value, list | tuple):
        return type(value)(to_database(item) for item in value)
    if isinstance(value, dict):
        return {to_database(key): to_database(item) for key, item in value.items()}
    if isinstance(value, Range):
        lower, upper = to_database([value.lower, value.upper])
        if None not in (lower, upper) and lower > upper:
            raise ToolError("the lower bound is above the upper one.")
        return Range(lower, upper, value.bounds)
    if isinstance(value, str) and "\0" in value:
        raise ToolError("a text cannot contain the character NUL.")
    if isinstance(value, int) and not LEAST_INTEGER <= value <= MOST_INTEGER:
        raise ToolError("a number cannot have more than 64 bits.")
    if isinstance(value, Decimal):
        _, digits, exponent = value.as_tuple()
        if isinstance(exponent, str):  # NaN or infinite
            raise ToolError("it must be a number, and finite.")
        if len(digits) + abs(exponent) > _MOST_DIGITS:
            raise ToolError(f"a number has at most {_MOST_DIGITS} digits.")
    if isinstance(value, timedelta) and abs(value) > _LONGEST:
        raise ToolError(f"a duration has at most {_LONGEST.days} days.")
    if isinstance(value, time) and value.tzinfo is not None:
        raise ToolError("a time of day cannot have an offset.")
    return to_moment(value) if isinstance(value, datetime) else value


def to_moment(value: datetime) -> datetime:
    """
    Return a moment as the database keeps it; without an offset it is one of the current
    time zone.

    Raise ToolError when it is not of the same calendar in every time zone.
    """
    if not datetime.min.year < value.year < datetime.max.year:
        raise ToolError("the year must be from 2 to 9998.")
    if settings.USE_TZ and timezone.is_naive(value):
        return timezone.make_aware(value)
    if not settings.USE_TZ and timezone.is_aware(value):
        return timezone.make_naive(value, timezone.get_default_timezone())
    return value


def is_text(field: Any) -> bool:
    """Tell whether an empty value of `field` is the empty text, not NULL."""
    return bool(field.empty_strings_allowed) and _annotation_of(field) is str


def describe(field: Any) -> str:
    """Return what a reader should know of the values of `field`; "" for nothing."""
    sentences = []
    if field.help_text:
        sentences.append(str(field.help_text).strip())
    if isinstance(field, models.DecimalField) and field.max_digits is not None:
        sentences.append(
            f"At most {field.max_digits} digits, {field.decimal_places} of them after "
            f"the point."
        )
    choices = _choices(field)
    if choices and len(choices) <= _MOST_DESCRIBED:
        # Only what the label adds to the value.
        labels = [
            f"{value} ({label})" if str(value) != label else str(value)
            for value, label in choices
        ]
        sentences.append(f"One of {', '.join(labels)}.")
    return " ".join(
        sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
        for sentence in sentences
    )


def without_none(annotation: Any) -> Any:
    """Return what an annotation is besides None."""
    if type(None) not in getattr(annotation, "__args__", ()) or is_list(annotation):
        return annotation
    rest = [kind for kind in annotation.__args__ if kind is not type(None)]
    return rest[0] if len(rest) == 1 else annotation


def is_list(annotation: Any) -> bool:
    """Tell whether an annotation is that of a list."""
    return get_origin(annotation) is list


def is_range(annotation: Any) -> bool:
    """Tell whether an annotation is that of a range."""
    return get_origin(annotation) is Range


def _annotation_of(field: Any) -> Any:
    if isinstance(field, models.GeneratedField):
        return _annotation_of(field.output_field)
    if isinstance(field, models.CompositePrimaryKey):
        kinds = tuple(_annotation_of(part) for part in field.fields)
        return tuple[kinds]  # type: ignore[valid-type]
    if isinstance(field, models.ForeignKey):
        return _annotation_of(field.target_field)
    special = _postgres_annotation(field)
    if special is not None:
        return special
    if _makes_values(field):
        raise Unshowable(
            f"{type(field).__name__} makes values of its own, whose JSON form is not "
            f"known. Leave it out, or name a method with a return annotation instead."
        )
    for kind, annotation in _TYPES:
        if isinstance(field, kind):
            return annotation
    raise Unshowable(
        f"{type(field).__name__} has no JSON form. Leave it out, or name a method with "
        f"a return annotation instead."
    )


def _makes_values(field: Any) -> bool:
    """Tell whether a site's own code makes the values of `field`."""
    if getattr(field, "decoder", None) is not None:  # of a JSONField
        return True
    return any(
        "from_db_value" in vars(base) and not base.__module__.startswith("django.")
        for base in type(field).__mro__
    )


def _wraps_values(field: Any) -> bool:
    """Tell whether something that is not Django's stands between a row and a value of
    `field`, as where a number of a telephone is an object."""
    attribute = inspect.getattr_static(field.model, field.attname)
    return not type(attribute).__module__.startswith("django.")


def _constrained(field: Any) -> Any:
    choices = _choices(field)
    if choices and all(type(value) in (str, int) for value, _ in choices):
        values = [value for value, _ in choices]
        if field.blank and is_text(field) and "" not in values:
            values.append("")
        return Literal[tuple(values)]
    annotation = _annotation_of(field)
    if annotation is File:
        return Upload
    if is_list(annotation):
        item = write_annotation_of(field.base_field)
        most = Meta(max_length=field.size)
        return Annotated[list[item], most]  # type: ignore[valid-type]
    if is_range(annotation):
        return Range[write_annotation_of(field.base_field)]  # type: ignore[misc]
    meta: dict[str, Any] = {}
    if annotation is int:
        meta = {
            "ge": _limit(field, MinValueValidator, max, LEAST_INTEGER),
            "le": _limit(field, MaxValueValidator, min, MOST_INTEGER),
        }
    elif annotation is str:
        # Of spaces it may have as many as it likes: a form takes them away.
        meta = {"max_length": field.max_length} if field.max_length else {}
        least = _limit(field, MinLengthValidator, max, 0 if field.blank else 1)
        if least:
            meta["min_length"] = least
        for kind, name in _FORMATS:
            if isinstance(field, kind):
                meta["extra_json_schema"] = {"format": name}
    return Annotated[annotation, Meta(**meta)] if meta else annotation


def _limit(field: Any, kind: Any, choose: Callable[..., int], otherwise: int) -> int:
    limits = [
        validator.limit_value
        for validator in field.validators
        if isinstance(validator, kind)
    ]
    return choose(
        [otherwise, *(limit for limit in limits if type(limit) is int)],
    )


def _choices(field: Any) -> list[tuple[Any, str]]:
    if not getattr(field, "choices", None):
        return []
    return [
        (value.value if isinstance(value, Enum) else value, str(label))
        for value, label in field.flatchoices
        if value is not None and not isinstance(value, Promise)
    ]


def _postgres(field: Any, name: str) -> bool:
    """Tell whether `field` is of this kind of django.contrib.postgres, which cannot be
    imported where its driver is not installed."""
    return any(
        base.__name__ == name and base.__module__.startswith("django.contrib.postgres.")
        for base in type(field).__mro__
    )


def _postgres_annotation(field: Any) -> Any:
    if _postgres(field, "ArrayField"):
        item = annotation_of(field.base_field)
        return list[item]  # type: ignore[valid-type]
    if _postgres(field, "HStoreField"):
        return dict[str, str | None]
    if _postgres(field, "RangeField"):
        return Range[annotation_of(field.base_field)]  # type: ignore[misc]
    return None


def one_of(values: Iterable[str]) -> Any:
    """Return the type of texts of which there are only these."""
    choices: Any = Literal
    return choices[tuple(values)]


def _to_file(value: Any) -> File | None:
    if not value:
        return None
    try:
        url = value.url
    except (NotImplementedError, ValueError):
        url = None
    return File(value.name, url)


def _to_bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)  # SQLite has memoryviews


def _to_json(value: Any) -> Any:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        # Half of a character: SQLite keeps it, but nobody else takes it.
        text = json.dumps(value, ensure_ascii=False).encode(errors="replace")
        return json.loads(text)
    return value


def _to_range(value: Any) -> Range[Any] | None:
    if value is None:
        return None
    if value.isempty:
        return Range(bounds="empty")
    return Range(value.lower, value.upper, value.bounds)
