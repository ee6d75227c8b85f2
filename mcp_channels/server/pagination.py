"""
Opaque cursors: where a page of a list begins.

A cursor names the last item of the page before, so that it stays right when items come
and go, and needs no memory here. MCP, server/utilities/pagination.
"""

from typing import Final

from django.core.signing import BadSignature, Signer

from mcp_channels.protocol.errors import InvalidParams

__all__ = ["decode_cursor", "encode_cursor"]

_SALT: Final = "mcp_channels.cursor"


def encode_cursor(kind: str, last: str) -> str:
    """Return the cursor for what follows `last` in the list `kind`."""
    return Signer(salt=_SALT).sign_object([kind, last])


def decode_cursor(kind: str, cursor: str) -> str:
    """
    Return the item after which the page begins.

    Raise InvalidParams when the cursor was not made here, or for another list. The
    empty string is a cursor like any other, and so a wrong one.
    """
    try:
        content = Signer(salt=_SALT).unsign_object(cursor)
    except (BadSignature, ValueError):
        content = None
    if (
        not isinstance(content, list)
        or len(content) != 2
        or content[0] != kind
        or not isinstance(content[1], str)
    ):
        raise InvalidParams("Invalid cursor")
    return content[1]
