"""What is measured of the library."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

from django.contrib.auth.models import User
from django.db import models
from msgspec import Raw

from benchmarks.library.mcp import ROWS, books_by_hand
from benchmarks.library.models import Author, Book
from benchmarks.library.tables import Router
from mcp_channels import ModelTools, register
from mcp_channels.consumers import MCPConsumer
from mcp_channels.modeltools.exposure import OPERATIONS
from mcp_channels.modeltools.query import Pages
from mcp_channels.server.permissions import Identity
from mcp_channels.server.registry import Registry, registry

CALLS = 20  # of each side in each round; its figure is their median
MODELS = 50
REVISION = "2025-11-25"
USUAL = "list, get"
SOMEBODY = User(pk=1, is_superuser=True)

Figures = dict[str, float]
Clock = Callable[[], float]  # seconds of one call


def measure_by_hand(name: str, rounds: int) -> dict[str, Figures]:
    """Compare a list of 50 rows with one that is written by hand, as a function and as
    a whole call."""
    Router.alias = f"{name} small"
    ours = operation("list")
    if not len(ours().rows) == len(books_by_hand().rows) == ROWS:
        raise RuntimeError("Both lists have to be full")
    with asyncio.Runner() as runner:
        client = Client()
        runner.run(client.open())

        def call(tool: str) -> float:
            return runner.run(client.time_call(tool))

        cases = {
            "function": (partial(clock, ours), partial(clock, books_by_hand)),
            "call": (partial(call, "list_books"), partial(call, "books_by_hand")),
        }
        measured = {
            case: compare(*sides, other="by_hand", rounds=rounds)
            for case, sides in cases.items()
        }
        runner.run(client.close())
    return measured


def measure_growth(name: str, rounds: int) -> dict[str, Figures]:
    """Compare the large table with the small one."""
    measured: dict[str, Figures] = {}
    sides: dict[str, dict[str, Callable[[], Any]]] = {}
    for size in ("large", "small"):
        Router.alias = f"{name} {size}"
        count = Book.objects.count()
        sides[size] = {
            "first page": operation("list"),
            "page in the middle": operation("list", cursor=find_middle()),
            "page of an author's": operation("list", filters={"author": 7}),
            "page of half of all": operation("list", filters={"price__gte": "45"}),
            "get": operation("get", pk=count // 2),
        }
    for case in sides["large"]:
        large, small = (
            partial(clock, sides[size][case], f"{name} {size}")
            for size in ("large", "small")
        )
        measured[case] = compare(large, small, other="small", rounds=rounds)
    return measured


def measure_schema(rounds: int) -> dict[str, float]:
    """Return the milliseconds of processor time that it takes to register a model: with
    the operations that it has unless a site says more, and with all."""
    kinds = [_make_model(number) for number in range(MODELS)]
    operations = {USUAL: ["list", "get"], "all": list(OPERATIONS)}
    measured: dict[str, list[float]] = {name: [] for name in operations}
    for _ in range(rounds):
        for name, found in operations.items():
            options = {
                "fields": "__all__",
                "operations": found,
                "filters": {"name": ["exact", "icontains"], "price": ["gte", "lte"]},
                "search_fields": ["name"],
            }
            tools: Any = type("Tools", (ModelTools,), options)
            own = Registry()
            for kind in kinds:
                started = time.process_time()
                register(kind, registry=own)(tools)
                measured[name].append((time.process_time() - started) * 1e3)
    return {name: median(found) for name, found in measured.items()}


def find_middle() -> str:
    """Return the cursor of a page in the middle of all."""
    exposures = registry.exposures
    terms = exposures[Book].ordering.terms(None, Identity(SOMEBODY), exposures)
    pages = Pages("library.book", terms)
    [middle], _ = pages.take(Book.objects.filter(title__gte="Book 5"), None, 1)
    return pages.cursor(middle)


def operation(kind: str, **arguments: Any) -> Callable[[], Any]:
    """Return what a tool of the books does when it is called with `arguments`."""
    found = registry.exposures[Book].operations[kind]
    decoded = found.arguments.decode(Raw(json.dumps(arguments).encode()))
    return partial(found.run, Identity(SOMEBODY), **decoded)


def clock(function: Callable[[], Any], alias: str | None = None) -> float:
    """Return the seconds of one call of `function`."""
    if alias is not None:
        Router.alias = alias
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(ours: Clock, theirs: Clock, *, other: str, rounds: int) -> Figures:
    """
    Call both in turn, so that drift of the machine meets both.

    A figure is the median of the rounds, and so is the ratio.
    """
    ours(), theirs()
    found = []
    for _ in range(rounds):
        pairs = [(ours(), theirs()) for _ in range(CALLS)]
        found.append([median(side) * 1e6 for side in zip(*pairs, strict=True)])
    return {
        "microseconds": median(one for one, _ in found),
        other: median(one for _, one in found),
        "times": median(one / another for one, another in found),
    }


class Client:
    """One connection to the consumer, without a socket."""

    def __init__(self) -> None:
        self._frames = asyncio.Queue[dict[str, Any]]()
        self._answers = asyncio.Queue[dict[str, Any]]()
        self._last_id = 0

    async def open(self) -> None:
        scope = {
            "type": "websocket",
            "path": "/",
            "headers": [(b"host", b"localhost")],
            "subprotocols": [],
            "user": SOMEBODY,
        }
        application = MCPConsumer.as_asgi()
        self._served = asyncio.create_task(
            application(scope, self._frames.get, self._answers.put)
        )
        self._frames.put_nowait({"type": "websocket.connect"})
        await self._answers.get()
        peer = {
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": {"name": "benchmarks", "version": "1"},
        }
        await self._ask("initialize", peer)
        self._send({"method": "notifications/initialized"})

    async def time_call(self, tool: str) -> float:
        """Return the seconds from the frame of a call to that of its answer."""
        started = time.perf_counter()
        answer = await self._ask("tools/call", {"name": tool})
        seconds = time.perf_counter() - started
        if '"isError":true' in answer or answer.count('"isbn"') != ROWS:
            raise RuntimeError(f"{tool} answered {answer[:200]}")
        return seconds

    async def close(self) -> None:
        self._frames.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self._served

    async def _ask(self, method: str, params: Mapping[str, Any]) -> str:
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params})
        answer = await self._answers.get()
        text: str = answer["text"]
        return text

    def _send(self, message: Mapping[str, Any]) -> None:
        text = json.dumps({"jsonrpc": "2.0", **message})
        self._frames.put_nowait({"type": "websocket.receive", "text": text})


def _make_model(number: int) -> Any:
    fields = {
        "name": models.CharField(max_length=100, help_text="As it is on the cover."),
        "slug": models.SlugField(unique=True),
        "text": models.TextField(blank=True),
        "price": models.DecimalField(max_digits=8, decimal_places=2),
        "count": models.PositiveIntegerField(default=0),
        "state": models.CharField(
            max_length=10, choices=[("new", "New"), ("old", "Old")]
        ),
        "is_shown": models.BooleanField(default=True),
        "made_on": models.DateField(null=True, blank=True),
        "changed_at": models.DateTimeField(auto_now=True),
        "author": models.ForeignKey(Author, on_delete=models.CASCADE, related_name="+"),
    }
    name = f"Thing{number}"
    meta = type("Meta", (), {"app_label": "library"})
    return type(name, (models.Model,), {"__module__": __name__, "Meta": meta, **fields})
