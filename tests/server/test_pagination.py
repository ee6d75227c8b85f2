import pytest
from django.core.signing import Signer
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from mcp_channels.protocol.errors import InvalidParams
from mcp_channels.server.pagination import decode_cursor, encode_cursor


def sign(content: object) -> str:
    return Signer(salt="mcp_channels.cursor").sign_object(content)


@settings(deadline=None)
@given(last=st.text(st.characters(codec="utf-8"), max_size=50))
def test_cursor_gives_back_the_item_that_it_was_made_for(last: str) -> None:
    assert decode_cursor("tools", encode_cursor("tools", last)) == last


def test_cursor_goes_into_a_url_and_a_log_as_it_is() -> None:
    cursor = encode_cursor("tools", "größe/ \n?")

    assert cursor.isascii()
    assert cursor.isprintable()
    assert " " not in cursor


def test_every_tampering_is_refused() -> None:
    cursor = encode_cursor("tools", "count_orders")

    for place, character in enumerate(cursor):
        other = "A" if character != "A" else "B"
        with pytest.raises(InvalidParams, match="Invalid cursor"):
            decode_cursor("tools", cursor[:place] + other + cursor[place + 1 :])


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        ":",
        "2",
        "count_orders",
        "\ud800",
        "x" * 10_000,
        Signer().sign_object(["tools", "a"]),  # signed, but not as a cursor
        Signer(salt="mcp_channels.cursor").sign("no JSON"),
        sign("tools"),
        sign({"tools": "a"}),
        sign(["tools"]),
        sign(["tools", "a", "b"]),
        sign(["tools", 1]),
        sign(["tools", None]),
    ],
)
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidParams, match="Invalid cursor") as refusal:
        decode_cursor("tools", cursor)

    assert refusal.value.code == -32602


def test_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidParams, match="Invalid cursor"):
        decode_cursor("prompts", encode_cursor("tools", "a"))


def test_cursor_of_another_site_is_refused(settings: Settings) -> None:
    cursor = encode_cursor("tools", "a")
    settings.SECRET_KEY = "of another site"

    with pytest.raises(InvalidParams, match="Invalid cursor"):
        decode_cursor("tools", cursor)


def test_cursor_outlives_the_rotation_of_the_secret_key(
    settings: Settings,
) -> None:
    cursor = encode_cursor("tools", "a")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next one"

    assert decode_cursor("tools", cursor) == "a"
