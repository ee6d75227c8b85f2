"""
This process, among those that serve the site: its connections, and its line to others.
"""

import asyncio
import atexit
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Final

from channels.layers import InMemoryChannelLayer, channel_layers
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string
from msgspec import UNSET, UnsetType

from mcp_channels.conf import get_settings
from mcp_channels.hub import Hub
from mcp_channels.server.audience import Audience
from mcp_channels.server.events import Event

__all__ = ["Worker", "get_worker"]


class Worker:
    """Everything of it may be called from any thread, but enter() and leave(), which
    are for an event loop with connections."""

    def __init__(self) -> None:
        self.id: Final = secrets.token_hex(6)
        self.process: Final = os.getpid()
        self._numbers = count(1)
        # How many connections there are in each event loop, and who they are.
        self._audiences: dict[asyncio.AbstractEventLoop, tuple[Audience, int]] = {}
        self._hub: Hub | UnsetType | None = UNSET  # until it is needed
        self._changing = threading.Lock()

    @property
    def hub(self) -> Hub | None:
        """The line to the other workers; None when there is no channel layer, or one
        that reaches no further than this process."""
        with self._changing:
            if self._hub is UNSET:
                make_layer = _find_layer(get_settings().CHANNEL_LAYER)
                self._hub = make_layer and Hub(self.id, make_layer, self.receive)
            return self._hub

    @property
    def audiences(self) -> list[Audience]:
        """The connections, by event loop."""
        with self._changing:
            return [audience for audience, _ in self._audiences.values()]

    def next_connection_id(self) -> str:
        """Return an id that no other connection of the site has."""
        return f"{self.id}-{next(self._numbers)}"

    def enter(self) -> Audience:
        """Return the audience of this event loop, for one more connection; leave() when
        that is over. What it misses before settle() nobody makes up for."""
        hub, loop = self.hub, asyncio.get_running_loop()
        with self._changing:
            audience, number = self._audiences.get(loop) or (Audience(), 0)
            self._audiences[loop] = audience, number + 1
        if hub is not None:
            hub.join()
        return audience

    async def settle(self) -> None:
        """Wait until nothing is missed of what other workers say, if there is any way
        to hear it."""
        if self.hub is not None:
            await self.hub.settle()

    def leave(self, audience: Audience) -> None:
        """Take back one enter()."""
        hub = self.hub
        with self._changing:
            # It is not there any more when its loop was found closed.
            _, number = self._audiences.pop(audience.loop, (audience, 1))
            if number > 1:
                self._audiences[audience.loop] = audience, number - 1
            if hub is not None and not self._audiences:
                hub.leave()
        if number == 1:
            audience.shut()

    def send(self, event: Event) -> None:
        """Tell all connections of the site of `event`, also those of other workers."""
        self.receive(event)
        if self.hub is not None:
            self.hub.send(event)

    def receive(self, event: Event) -> None:
        """Tell the connections of this worker of `event`."""
        for audience in self.audiences:
            try:
                audience.loop.call_soon_threadsafe(audience.receive, event)
            except RuntimeError:
                # It was closed without them leaving.
                with self._changing:
                    self._audiences.pop(audience.loop, None)

    def close(self) -> None:
        """Send what is due to others, and leave them."""
        with self._changing:
            hub, self._hub = self._hub, UNSET
        if hub:
            hub.close()


_worker = Worker()


def get_worker() -> Worker:
    """Return the worker that this process is."""
    global _worker
    if _worker.process != os.getpid():
        # A child has neither the thread nor the connections of its parent.
        _worker = Worker()
    return _worker


def _find_layer(alias: str | None) -> Callable[[], Any] | None:
    """Return what makes a channel layer of the settings that reaches other processes;
    None when there is none."""
    if alias is None or alias not in channel_layers:
        return None
    with suppress(ImportError, LookupError):  # the hub says so, and goes on without
        backend = import_string(channel_layers.configs[alias]["BACKEND"])
        if issubclass(backend, InMemoryChannelLayer):
            return None
    # One of its own: consumers of the site use theirs in their own event loops, and
    # what they send must not crowd this out.
    return partial(channel_layers.make_backend, alias)


@atexit.register
def _close() -> None:
    get_worker().close()


@receiver(setting_changed)
def _reset(*, setting: str, **kwargs: Any) -> None:
    if setting in ("CHANNEL_LAYERS", "MCP_CHANNELS"):
        get_worker().close()
