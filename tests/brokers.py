"""A broker for hubs, without a network, that does what a test wants of it."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from typing import Any

__all__ = ["Broker", "Layer"]


class Broker:
    """
    What layers have in common. It may be used from any thread.

    `error` is what each operation raises, None for none. `change` takes a message and
    returns those that arrive instead.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.change: Callable[[Any], list[Any]] = lambda message: [message]
        self.sent: list[tuple[str, Any]] = []  # group and message
        self.layers: list[Layer] = []
        self._members: dict[str, dict[str, None]] = defaultdict(dict)
        self._queues: dict[str, tuple[Any, asyncio.Queue[Any]]] = {}
        self._numbers = count()
        self._changing = threading.RLock()

    def make_layer(self) -> "Layer":
        layer = Layer(self)
        self.layers.append(layer)
        return layer

    def flush(self) -> None:
        """Forget who is in which group."""
        with self._changing:
            self._members.clear()

    def members(self, group: str) -> list[str]:
        with self._changing:
            return list(self._members[group])

    def send(self, group: str, message: Any) -> None:
        with self._changing:
            self.sent.append((group, message))
            for channel in self._members[group]:
                loop, queue = self._queues[channel]
                for arriving in self.change(message):
                    if not loop.is_closed():
                        loop.call_soon_threadsafe(queue.put_nowait, arriving)

    def fail(self, error: Exception) -> None:
        """Let everything raise this, until `error` is None again."""
        self.error = error
        self.interrupt(error)

    def interrupt(self, error: Exception) -> None:
        """Let everybody who waits for messages get this exception instead."""
        with self._changing:
            for loop, queue in self._queues.values():
                if not loop.is_closed():
                    loop.call_soon_threadsafe(queue.put_nowait, error)

    def open(self, channel: str) -> None:
        with self._changing:
            self._queues[channel] = asyncio.get_running_loop(), asyncio.Queue()


class Layer:
    """As much of a channel layer as a hub needs."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def _check(self) -> None:
        if self._broker.error is not None:
            raise self._broker.error

    async def new_channel(self, prefix: str) -> str:
        self._check()
        channel = f"{prefix}.{next(self._broker._numbers)}"
        self._broker.open(channel)
        return channel

    async def group_add(self, group: str, channel: str) -> None:
        self._check()
        with self._broker._changing:
            self._broker._members[group][channel] = None

    async def group_discard(self, group: str, channel: str) -> None:
        self._check()
        with self._broker._changing:
            self._broker._members[group].pop(channel, None)

    async def group_send(self, group: str, message: Any) -> None:
        self._check()
        self._broker.send(group, message)

    async def receive(self, channel: str) -> Any:
        self._check()
        message = await self._broker._queues[channel][1].get()
        if isinstance(message, Exception):
            raise message
        return message
