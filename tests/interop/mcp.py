"""A shop for clients to try: tools, resources, prompts, questions and news."""

import asyncio
import threading
import time
from typing import Annotated, Literal
from uuid import uuid4

import msgspec
from django.contrib.auth.models import User
from msgspec import Meta

from mcp_channels import (
    Context,
    Declined,
    PrimitivesChanged,
    PromptMessage,
    ResourceLink,
    ResourceUpdated,
    TextContent,
    ToolError,
    prompt,
    publish,
    registry,
    resource,
    tool,
)

GUESTS = 8

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)

STOCK = {"green tea": 3, "rum": 2, "tea": 5}

# Literals, and not a queryset: completion of rooms depends on the house.
ROOMS = {"inn": ["attic", "cellar"], "mill": ["loft"]}

_cancelled = set[str]()
_cancelling = asyncio.Condition()
_table = threading.Barrier(GUESTS)


class Forecast(msgspec.Struct):
    city: str
    degrees: float


class Amount(msgspec.Struct):
    count: Annotated[int, Meta(ge=1, le=9, title="How many?")]
    kind: Literal["big", "small"] = "small"


class Guest(msgspec.Struct):
    name: str


class Confirmation(msgspec.Struct):
    sure: bool


# Calls that ask nothing


@tool(read_only=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(read_only=True)
async def forecast(city: str, scale: Literal["C", "F"] = "C") -> Forecast:
    """Say how warm it will be."""
    return Forecast(city, 21.5 if scale == "C" else 70.7)


@tool(read_only=True)
async def count(context: Context, to: int) -> str:
    """Count, telling how far."""
    for number in range(1, to + 1):
        context.progress(number, to, f"{number} of {to}")
        await asyncio.sleep(0)
    return "counted"


@tool(read_only=True)
async def gossip(context: Context) -> str:
    """Log at three levels."""
    context.log("debug", "A mouse.", "cellar")
    context.log("info", {"seen": ["a", "cat"]}, "kitchen")
    context.log("error", "No more cheese.")
    return "told"


@tool(read_only=True)
async def wait(name: str = "") -> None:
    """Wait until cancelled."""
    try:
        await asyncio.Event().wait()
    finally:
        async with _cancelling:
            _cancelled.add(name)
            _cancelling.notify_all()


@tool(read_only=True)
async def await_cancelled(name: str) -> None:
    """Wait until the call of wait with this name is cancelled."""
    async with _cancelling:
        await _cancelling.wait_for(lambda: name in _cancelled)


@tool(read_only=True)
def nap() -> str:
    """Sleep for 100 ms, and wake up when all guests have."""
    time.sleep(0.1)
    _table.wait(10)
    return "rested"


@tool(read_only=True)
async def repeat(text: str, times: int) -> str:
    """Repeat a text."""
    return text * times


@tool(read_only=True)
async def refuse() -> None:
    """Refuse, and say why."""
    raise ToolError("The shop is closed.")


@tool(read_only=True)
async def fail() -> None:
    """Fail, for a reason that is nobody's business."""
    raise RuntimeError("a secret of the site")


# Calls that ask


@tool(destructive=False)
def book(context: Context, room: str) -> str:
    """Book a room, asking who comes and whether it is meant."""
    guest = context.elicit("Who comes?", Guest)
    context.elicit(f"Book {room} for {guest.name}?", Confirmation)
    User.objects.create(username=uuid4().hex, first_name=guest.name, last_name=room)
    return f"{guest.name} has {room}."


@tool(destructive=False)
async def book_async(context: Context, room: str) -> str:
    """Book a room, asking who comes and whether it is meant."""
    guest = await context.aelicit("Who comes?", Guest)
    await context.aelicit(f"Book {room} for {guest.name}?", Confirmation)
    await User.objects.acreate(
        username=uuid4().hex, first_name=guest.name, last_name=room
    )
    return f"{guest.name} has {room}."


@tool(read_only=True)
async def order(context: Context) -> str:
    """Order some; it is no mistake to want none."""
    try:
        amount = await context.aelicit("How much?", Amount)
    except Declined as exc:
        return f"Nothing ordered: {exc.action}."
    return f"Ordered {amount.count} {amount.kind}."


@tool(read_only=True)
def pay(context: Context) -> str:
    """Have the user pay on a page of the site."""
    context.elicit_url("Please pay here.", "https://shop.example/pay")
    return "The page was opened."


@tool(read_only=True)
def rhyme(context: Context, word: str) -> str:
    """Let the client's model find a rhyme."""
    answer = context.sample(
        f"A rhyme on {word}, please.",
        max_tokens=20,
        system_prompt="You are a poet.",
        temperature=0.5,
    )
    assert isinstance(answer.content, TextContent)
    return f"{answer.content.text} ({answer.model})"


@tool(read_only=True)
async def folders(context: Context) -> list[str]:
    """List the folders that the client works with."""
    return [f"{root.name}: {root.uri}" for root in await context.alist_roots()]


# Resources and their news


@resource("shop://hours", title="Opening hours", mime_type="text/plain", ttl=60)
def hours() -> str:
    """When the shop is open."""
    return "From nine to five."


@resource("shop://sign", mime_type="image/png")
async def sign() -> bytes:
    """The sign above the door."""
    return PIXEL


@resource("shop://stock/{item}", complete={"item": list(STOCK)}, ttl=60)
async def stock(item: str) -> int | None:
    """How much there is of something."""
    return STOCK.get(item)


@resource("shop://greeting")
async def greeting(context: Context) -> str:
    """A greeting for whoever reads it."""
    return f"Good day, {(await context.aelicit('Who reads?', Guest)).name}!"


@tool(destructive=False)
def restock(item: str, count: int) -> str:
    """Say how much there is of something."""
    STOCK[item] = count
    publish(ResourceUpdated(f"shop://stock/{item}"))
    return "Restocked."


def drink() -> str:
    """Have a drink."""
    return "Cheers."


def bar() -> str:
    """What is served at the bar."""
    return "Drinks."


@tool(destructive=False)
def open_bar() -> str:
    """Offer the tool drink, and a resource for it."""
    registry.tool(drink)
    registry.resource("shop://bar")(bar)
    publish(PrimitivesChanged("tools"))
    publish(PrimitivesChanged("resources"))
    return "Open."


@tool
def close_bar() -> str:
    """Offer the tool drink, and its resource, no more."""
    registry.remove("drink")
    registry.remove("shop://bar", kind="resource")
    publish(PrimitivesChanged("tools"))
    publish(PrimitivesChanged("resources"))
    publish(ResourceUpdated("shop://bar"))
    return "Closed."


# Prompts


def rooms(value: str, arguments: dict[str, str]) -> list[str]:
    found = ROOMS.get(arguments.get("house", ""), [])
    return [room for room in found if room.startswith(value)]


@prompt(title="Advertise", complete={"house": list(ROOMS), "room": rooms})
def advertise(
    house: str, room: str, tone: Literal["loud", "soft"] = "soft", words: int = 50
) -> list[PromptMessage]:
    """
    Write an advertisement.

    Args:
        house: where the room is.
    """
    return [
        PromptMessage("user", TextContent(f"Praise {room} of {house} in {words}.")),
        PromptMessage("assistant", TextContent(f"In a {tone} voice?")),
        PromptMessage("user", ResourceLink(uri="shop://hours", name="hours")),
    ]


@prompt
def toast(context: Context) -> str:
    """Write a toast on somebody."""
    return f"A toast on {context.elicit('On whom?', Guest).name}, please."
