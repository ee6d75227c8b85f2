"""What the client is told: by the server, and in the server's place."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from mcp_channels.client.agreement import LISTS, SUBSCRIPTION_ID
from mcp_channels.protocol.messages import RequestId, encode_error, encode_notification

__all__ = ["Inbox"]


class Inbox:
    """Frames for the client, in the order in which it has to read them."""

    def __init__(self) -> None:
        self.characters = 0  # that wait to be taken
        self._frames: deque[str] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: str) -> None:
        self._frames.append(frame)
        self.characters += len(frame)

    def take(self) -> str | None:
        """Take the oldest frame; None when there is none."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self.characters -= len(frame)
        return frame

    def put_error(
        self, id: RequestId | None, code: int, message: str, data: Any = UNSET
    ) -> None:
        """Refuse a request of the client; None when its id could not be read."""
        self.put(encode_error(id, code, message, data))

    def put_cancelled(self, id: RequestId) -> None:
        """Take a question of the server back."""
        self.put(encode_notification("notifications/cancelled", {"requestId": id}))

    def put_lists_changed(self, lists: Iterable[str], params: Any = UNSET) -> None:
        for name in lists:
            method = f"notifications/{name}/list_changed"
            self.put(encode_notification(method, params))

    def put_updated(self, params: dict[str, Any]) -> None:
        """Tell that a resource reads differently now."""
        self.put(encode_notification("notifications/resources/updated", params))

    def put_changes(self, listen: RequestId, filter: Any) -> None:
        """Tell a listen that all has changed that its filter names."""
        if not isinstance(filter, dict):
            return
        meta = {"_meta": {SUBSCRIPTION_ID: listen}}
        named = [name for name in LISTS if filter.get(f"{name}ListChanged") is True]
        self.put_lists_changed(named, meta)
        uris = filter.get("resourceSubscriptions")
        for uri in uris if isinstance(uris, list) else ():
            self.put_updated({"uri": uri, **meta})
