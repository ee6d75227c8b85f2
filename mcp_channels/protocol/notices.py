"""
Notices that many connections get: encoded once for all that get the same bytes.

A client with a handshake gets them as they are, a listen of MCP 2026-07-28 with its id
in `_meta`; most clients number their requests alike.
"""

from functools import lru_cache
from typing import Any, Final

from msgspec import UNSET, UnsetType

from mcp_channels.protocol.envelope import SUBSCRIPTION_ID
from mcp_channels.protocol.messages import RequestId, encode_notification
from mcp_channels.protocol.methods import (
    NotificationParams,
    ResourceUpdatedNotificationParams,
)

__all__ = ["encode_list_changed", "encode_resource_updated"]

# What is told at the same time, which is a few events to listens of a few ids.
_KEPT: Final = 64


@lru_cache(_KEPT)
def encode_list_changed(kind: str, listen: RequestId | None) -> str:
    """Return the frame that tells a listen, or for None a client with a handshake,
    that a list of `kind` has changed."""
    params = NotificationParams(meta=_tag(listen))
    return encode_notification(f"notifications/{kind}/list_changed", params)


@lru_cache(_KEPT)
def encode_resource_updated(uri: str, listen: RequestId | None) -> str:
    """Return the frame that tells that `uri` reads differently now."""
    params = ResourceUpdatedNotificationParams(uri=uri, meta=_tag(listen))
    return encode_notification("notifications/resources/updated", params)


def _tag(listen: RequestId | None) -> dict[str, Any] | UnsetType:
    return UNSET if listen is None else {SUBSCRIPTION_ID: listen}
