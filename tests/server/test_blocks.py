from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from mcp_channels.protocol.content import ImageContent, TextContent
from mcp_channels.protocol.types import CallToolResult
from mcp_channels.server.blocks import (
    has_block,
    is_bytes,
    is_content,
    to_block,
    to_text,
)

IMAGE = ImageContent(b"", "image/png")


@pytest.mark.parametrize(
    "annotation",
    [
        Any,
        type(None),
        str,
        ImageContent,
        CallToolResult,
        str | None,
        Annotated[str, "text"],
        list[ImageContent],
        list[str | ImageContent],
        tuple[ImageContent, ...],
        Sequence[TextContent | str],
    ],
)
def test_content_has_no_schema(annotation: Any) -> None:
    assert is_content(annotation)


@pytest.mark.parametrize(
    "annotation", [int, dict[str, str], list[str], list[int | ImageContent], int | None]
)
def test_other_results_have_a_schema(annotation: Any) -> None:
    assert not is_content(annotation)


def test_block_is_found_anywhere() -> None:
    assert has_block(list[str | ImageContent])
    assert not has_block(list[str])


@pytest.mark.parametrize("annotation", [bytes, bytes | None, Annotated[bytes, "raw"]])
def test_bare_bytes_are_found(annotation: Any) -> None:
    assert is_bytes(annotation)


def test_bytes_inside_of_something_are_not_bare() -> None:
    assert not is_bytes(list[bytes])
    assert not is_bytes(str)


def test_block_stays_what_it_is() -> None:
    assert to_block(IMAGE) is IMAGE


def test_text_becomes_a_block() -> None:
    assert to_block(gettext_lazy("Hello")) == TextContent("Hello")


def test_anything_else_is_no_content() -> None:
    with pytest.raises(TypeError, match="int is no content"):
        to_block(5)


def test_text_is_a_plain_str() -> None:
    assert type(to_text(mark_safe("<b>"))) is str
