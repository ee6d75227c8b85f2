"""Keys: as arguments, and as text in the URI of a row."""

import uuid
from typing import Any

import msgspec
import pytest

from mcp_channels.modeltools.keys import (
    NoSuchKey,
    key_annotation_of,
    key_from_text,
    key_to_text,
    row_uri,
    show_key,
)
from mcp_channels.protocol.uris import URITemplate
from tests.shop.models import Category, Customer, Seat, Tag

NUMBER = uuid.UUID("6ba7b810-9dad-41d1-80b4-00c04fd430c8")


@pytest.mark.parametrize(
    ("model", "key", "text"),
    [
        (Category, 5, "5"),
        (Category, -(2**63), str(-(2**63))),
        (Tag, "a b.c", "a b.c"),
        (Tag, "a/b", "a%2Fb"),
        (Tag, "a\\b", "a%5Cb"),
        (Tag, "100%", "100%25"),
        (Tag, "a%2Fb", "a%252Fb"),
        (Tag, "..", "%2E%2E"),
        (Tag, "../..", "..%2F.."),
        (Tag, "", ""),
        (Customer, NUMBER, str(NUMBER)),
        (Seat, ("A", 1), '["A",1]'),
    ],
)
def test_key_goes_into_a_uri_and_back(model: Any, key: Any, text: str) -> None:
    assert key_to_text(key) == text
    assert key_from_text(model, text) == key
    assert msgspec.convert(key, key_annotation_of(model)) == key


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Category, ""),
        (Category, "five"),
        (Category, "5.0"),
        (Category, "1e3"),
        (Tag, "a\0b"),
        (Tag, "%00"),
        (Customer, "5"),
        (Seat, "A"),
        (Seat, "5"),
        (Seat, '["A"]'),
        (Seat, '["A",1,2]'),
        (Seat, '["A",{}]'),
        (Seat, '["A","one"]'),
        (Seat, '["A",1'),
        # Others ways to write one: nobody would be told of changes under these.
        (Category, " 5"),
        (Category, "05"),
        (Category, "+5"),
        (Category, "5_0"),
        (Category, "\u0665"),
        (Tag, "a/b"),
        (Tag, "%61"),
        (Tag, "a%2fb"),
        (Tag, "100%"),
        (Customer, str(NUMBER).upper()),
        (Customer, NUMBER.hex),
        (Seat, '["A", 1]'),
        (Seat, '["A","1"]'),
        (Seat, '["A",1.5]'),
        (Seat, "[5,1]"),
    ],
)
def test_text_that_is_no_key_leads_nowhere(model: Any, text: str) -> None:
    with pytest.raises(NoSuchKey):
        key_from_text(model, text)


@pytest.mark.parametrize(
    ("model", "key", "is_one"),
    [
        (Category, 2**63 - 1, True),
        (Category, 2**63, False),
        (Category, -(2**63) - 1, False),
        (Category, "5", False),
        (Category, None, False),
        (Seat, ["A", 1], True),
        (Seat, ["A", 2**63], False),
        (Seat, ["A"], False),
    ],
)
def test_argument_is_a_key_that_can_be_asked_for(
    model: Any, key: Any, is_one: bool
) -> None:
    given = msgspec.json.encode(key)
    decoder = msgspec.json.Decoder(key_annotation_of(model))

    if is_one:
        assert msgspec.json.encode(decoder.decode(given)) == given
    else:
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(given)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (5, "5"),
        ("five", '"five"'),
        (NUMBER, f'"{NUMBER}"'),
        (("A", 1), '["A",1]'),
        ("x" * 200, '"' + "x" * 99),
    ],
)
def test_key_is_shown_as_it_is_given(key: Any, shown: str) -> None:
    assert show_key(key) == shown


@pytest.mark.parametrize(
    ("key", "uri"),
    [
        (5, "django://shop.x/5"),
        ("a b?#", "django://shop.x/a%20b%3F%23"),
        ("a/b", "django://shop.x/a%252Fb"),
        ("..", "django://shop.x/%252E%252E"),
        (("A", 1), "django://shop.x/%5B%22A%22%2C1%5D"),
    ],
)
def test_row_has_a_uri_that_its_template_takes(key: Any, uri: str) -> None:
    assert row_uri("shop.x", key) == uri
    found = URITemplate("django://shop.x/{pk}").match(uri)
    assert found == {"pk": key_to_text(key)}
