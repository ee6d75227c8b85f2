"""The key of a row: as an argument, and as text in a URI."""

from typing import Annotated, Any, Final, get_args
from urllib.parse import quote, unquote

from django.core.exceptions import ValidationError
from msgspec import Meta, json

from mcp_channels.modeltools.values import (
    LEAST_INTEGER,
    MOST_INTEGER,
    annotation_of,
    to_python,
)

__all__ = [
    "NoSuchKey",
    "key_annotation_of",
    "key_from_text",
    "key_to_text",
    "row_uri",
    "show_key",
]

_LONGEST_SHOWN: Final = 100  # characters of a key that leads nowhere


class NoSuchKey(Exception):
    """A text is the key of nothing."""


def key_annotation_of(model: Any) -> Any:
    """Return the type of a key of `model` that somebody gives."""
    return _bounded(annotation_of(model._meta.pk))


def row_uri(label: str, key: Any) -> str:
    """Return the URI of a row of the model `label`, "app_label.model"."""
    return f"django://{label}/{quote(key_to_text(key), safe='')}"


def key_to_text(key: Any) -> str:
    """
    Return a key as the variable of a URI: one of several columns is written as JSON.

    What could lead elsewhere in a URI, no template takes: that is encoded.
    """
    text = json.encode(key).decode() if isinstance(key, tuple | list) else str(key)
    for character in "%/\\":
        text = text.replace(character, f"%{ord(character):02X}")
    return "%2E%2E" if text == ".." else text


def key_from_text(model: Any, text: str) -> Any:
    """
    Return the key that the variable of a URI stands for.

    Raise NoSuchKey also for another spelling of one: whoever watched a row under it
    would hear nothing.
    """
    field = model._meta.pk
    try:
        given: Any = unquote(text)
        if hasattr(field, "fields"):
            given = json.decode(given, type=list)
            if len(given) != len(field.fields):
                raise NoSuchKey
        key = to_python(field, given)
    except (OverflowError, TypeError, ValidationError, ValueError):
        raise NoSuchKey from None
    # No database has a text with the character NUL.
    if "\0" in text or key_to_text(key) != text:
        raise NoSuchKey
    return key


def show_key(key: Any) -> str:
    """Return a key, or a natural one, as whoever gave it would write it."""
    return json.encode(key).decode()[:_LONGEST_SHOWN]


def _bounded(kind: Any) -> Any:
    if kind is int:
        # Databases do not even look for others.
        return Annotated[int, Meta(ge=LEAST_INTEGER, le=MOST_INTEGER)]
    if getattr(kind, "__origin__", None) is tuple:
        parts = tuple(map(_bounded, get_args(kind)))
        return tuple[parts]  # type: ignore[valid-type]
    return kind
