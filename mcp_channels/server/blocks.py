"""What of a result is text or content blocks, by its type and by its value."""

import types as python_types
from collections.abc import Sequence
from typing import Annotated, Any, Final, Union, get_args, get_origin

from django.utils.functional import Promise

from mcp_channels.protocol.content import ContentBlock, TextContent
from mcp_channels.protocol.types import CallToolResult

__all__ = [
    "BLOCKS",
    "TEXT",
    "has_block",
    "is_bytes",
    "is_content",
    "to_block",
    "to_text",
]

TEXT: Final = (str, Promise)
BLOCKS: Final = get_args(ContentBlock)

_UNIONS: Final = (Union, python_types.UnionType)


def is_content(annotation: Any) -> bool:
    """Tell whether `annotation` is text, content or nothing, and so has no schema."""
    if annotation in (Any, python_types.NoneType, *TEXT, *BLOCKS, CallToolResult):
        return True
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return is_content(arguments[0])
    if origin in _UNIONS:
        return all(map(is_content, arguments))
    if origin in (list, tuple, Sequence):
        kinds = [kind for kind in arguments if kind is not ...]
        return any(map(has_block, kinds)) and all(map(is_content, kinds))
    return False


def has_block(annotation: Any) -> bool:
    """Tell whether a content block is anywhere in `annotation`."""
    return annotation in BLOCKS or any(map(has_block, get_args(annotation)))


def is_bytes(annotation: Any) -> bool:
    """Tell whether `annotation` allows bytes that are not in anything."""
    if get_origin(annotation) in (Annotated, *_UNIONS):
        return any(map(is_bytes, get_args(annotation)))
    return annotation in (bytes, bytearray, memoryview)


def to_block(item: Any) -> Any:
    """Return `item` as a content block. Raise TypeError when it is neither one nor
    text."""
    if isinstance(item, BLOCKS):
        return item
    if isinstance(item, TEXT):
        return TextContent(to_text(item))
    raise TypeError(f"{type(item).__name__} is no content")


def to_text(text: str | Promise) -> str:
    """
    Return `text` as a str and no kind of it, such as what a template renders.

    Raise ValueError when it has surrogates that stand alone.
    """
    return str(text).encode().decode()
