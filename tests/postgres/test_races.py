"""Two writers at once: nothing is lost, and who comes second is told so."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Event, get_ident
from typing import Any

import pytest
from django.db import connection, connections, transaction

from mcp_channels import ModelTools, register, tool
from mcp_channels.server.tools import ToolError
from tests.postgres.models import Room
from tests.shop.counter import Anybody, Counter
from tests.shop.models import Book, Category, Product
from tests.sites import Site

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 20  # for what takes milliseconds

Run = Callable[..., "Future[Any]"]


@pytest.fixture
def start() -> Iterator[Run]:
    """Call a function in a thread, with a database connection of its own."""

    def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as threads:
        yield lambda *args, **kwargs: threads.submit(run, *args, **kwargs)


class Meeting:
    """Stops the first of two writers until the second one waits for it."""

    def __init__(self) -> None:
        self.has_begun = Event()

    def wait(self) -> None:
        """Wait, in the first one's transaction, until somebody waits for a lock."""
        if self.has_begun.is_set():
            return
        self.has_begun.set()
        with connection.cursor() as cursor:
            # The database tells nobody of it, so it is asked every few milliseconds.
            for _ in range(SECONDS * 100):
                cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
                if cursor.fetchone():
                    return
                cursor.execute("SELECT pg_sleep(0.01)")
        raise AssertionError("Nobody came to wait")


@pytest.fixture
def meeting() -> Meeting:
    return Meeting()


def before_saving(meeting: Meeting) -> Any:
    def save_model(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
        meeting.wait()
        obj.save()

    return save_model


def after_saving(meeting: Meeting) -> Any:
    def save_model(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
        obj.save()
        meeting.wait()

    return save_model


def told(future: "Future[Any]") -> str:
    """Return what is told to whoever was refused."""
    with pytest.raises(ToolError) as caught:
        future.result(SECONDS)
    return caught.value.message


@pytest.fixture
def room() -> Room:
    return Room.objects.create(name="Blue room", area=1)


@pytest.fixture
def rooms(meeting: Meeting) -> Counter:
    counter = Counter()
    counter.expose(Room, fields=["name", "area"], save_model=before_saving(meeting))
    return counter


def test_two_changes_of_one_row_are_both_kept(rooms, room, meeting, start) -> None:
    first = start(rooms.call, "update_room", pk=room.pk, values={"name": "Red room"})
    meeting.has_begun.wait(SECONDS)
    second = start(rooms.call, "update_room", pk=room.pk, values={"area": 2})
    first.result(SECONDS), second.result(SECONDS)
    room.refresh_from_db()

    assert (room.name, room.area) == ("Red room", 2)


def test_second_change_of_a_version_is_refused(rooms, room, meeting, start) -> None:
    version = rooms.call("get_room", pk=room.pk)["version"]
    keywords = {"pk": room.pk, "version": version}
    first = start(rooms.call, "update_room", **keywords, values={"name": "Red room"})
    meeting.has_begun.wait(SECONDS)
    second = start(rooms.call, "update_room", **keywords, values={"name": "Mine"})
    first.result(SECONDS)

    assert "was changed since you read it" in told(second)
    room.refresh_from_db()
    assert room.name == "Red room"


def test_changed_row_is_not_deleted_by_its_old_version(
    rooms, room, meeting, start
) -> None:
    version = rooms.call("get_room", pk=room.pk)["version"]
    first = start(rooms.call, "update_room", pk=room.pk, values={"name": "Red room"})
    meeting.has_begun.wait(SECONDS)
    second = start(rooms.call, "delete_room", pk=room.pk, version=version)
    first.result(SECONDS)

    assert "was changed since you read it" in told(second)
    assert Room.objects.filter(pk=room.pk).exists()


def test_row_that_is_being_deleted_is_gone_for_the_next(room, meeting, start) -> None:
    def delete_model(self: Any, context: Any, obj: Any) -> None:
        meeting.wait()
        obj.delete()

    rooms = Counter()
    rooms.expose(Room, fields=["name"], delete_model=delete_model)
    first = start(rooms.call, "delete_room", pk=room.pk)
    meeting.has_begun.wait(SECONDS)
    second = start(rooms.call, "update_room", pk=room.pk, values={"name": "Red room"})
    first.result(SECONDS)

    assert told(second) == f"There is no room {room.pk}."


def test_what_is_unique_goes_to_the_first(meeting, start) -> None:
    tags = Counter()
    tags.expose(Category, fields=["slug", "name"], save_model=after_saving(meeting))
    first = start(tags.call, "create_category", values={"slug": "a", "name": "First"})
    meeting.has_begun.wait(SECONDS)
    second = start(tags.call, "create_category", values={"slug": "a", "name": "Last"})
    first.result(SECONDS)

    assert "must be unique is taken" in told(second)
    assert Category.objects.get().name == "First"


def test_relation_to_what_is_deleted_meanwhile_is_refused(start) -> None:
    category = Category.objects.create(slug="a", name="A")

    def save_model(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
        obj.save()
        # PostgreSQL looks whether the category is there when this commits.
        start(category.delete).result(SECONDS)

    products = Counter()
    products.expose(
        Product,
        fields=["name", "sku", "price", "category"],
        operations=["bulk_create"],
        save_model=save_model,
    )
    row = {"name": "A", "sku": "1", "price": "1", "category": category.pk}

    assert "something that it refers to is gone" in products.refusal(
        "bulk_create_products", rows=[row]
    )
    assert not Product.objects.exists()


def test_row_is_locked_in_the_table_of_its_parent_too(meeting, start) -> None:
    category = Category.objects.create(slug="a", name="A")
    common = {"price": 1, "category": category}
    book = Book.objects.create(name="Old", sku="1", isbn="1", **common)
    shop = Counter()
    shop.expose(Product, fields=["name"], save_model=before_saving(meeting))
    shop.expose(Book, fields=["isbn"])
    first = start(shop.call, "update_product", pk=book.pk, values={"name": "New"})
    meeting.has_begun.wait(SECONDS)
    second = start(shop.call, "update_book", pk=book.pk, values={"isbn": "2"})
    first.result(SECONDS), second.result(SECONDS)
    book.refresh_from_db()

    assert (book.name, book.isbn) == ("New", "2")


def test_action_on_one_row_waits_for_the_other(room, meeting, start) -> None:
    class RoomTools(ModelTools):
        fields = ["area"]

        @tool
        def enlarge(self, room: Room) -> float:
            """Make a room larger by one."""
            meeting.wait()
            room.area += 1
            room.save()
            return room.area

    rooms = Counter()
    register(Room, registry=rooms.registry)(RoomTools)
    first = start(rooms.call, "enlarge", room=room.pk)
    meeting.has_begun.wait(SECONDS)
    second = start(rooms.call, "enlarge", room=room.pk)

    assert first.result(SECONDS) == 2
    assert second.result(SECONDS) == 3


def test_one_of_two_that_wait_for_each_other_is_to_try_again(start) -> None:
    both, met = Barrier(2), set[int]()
    pks = [Room.objects.create(name="Old").pk for _ in range(2)]

    def save_model(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
        obj.save()
        if get_ident() not in met:
            met.add(get_ident())
            both.wait(SECONDS)  # each has one row, and wants the other

    rooms = Counter()
    rooms.expose(
        Room, fields=["name"], operations=["bulk_update"], save_model=save_model
    )
    futures = [
        start(
            rooms.call,
            "bulk_update_rooms",
            rows=[{"pk": pk, "values": {"name": name}} for pk in order],
        )
        for name, order in (("One", pks), ("Two", pks[::-1]))
    ]
    [failed] = [future for future in futures if future.exception(SECONDS)]
    winner = {"One", "Two"} - {"One" if failed is futures[0] else "Two"}

    assert told(failed) == "Somebody else is changing the same rows. Try again."
    assert set(Room.objects.values_list("name", flat=True)) == winner


def test_transaction_that_cannot_be_serialized_is_to_try_again(
    rooms, room, meeting, start
) -> None:
    def update() -> Any:
        run("SET default_transaction_isolation = 'repeatable read'")
        return rooms.call("update_room", pk=room.pk, values={"name": "Mine"})

    first = start(rooms.call, "update_room", pk=room.pk, values={"name": "Red room"})
    meeting.has_begun.wait(SECONDS)
    second = start(update)

    assert told(second) == "Somebody else is changing the same rows. Try again."
    first.result(SECONDS)
    room.refresh_from_db()
    assert room.name == "Red room"


def test_lock_that_is_waited_for_too_long_is_to_try_again(room, start) -> None:
    def update() -> Any:
        run("SET lock_timeout = '1ms'")
        return rooms.call("update_room", pk=room.pk, values={"name": "Mine"})

    rooms = Counter()
    rooms.expose(Room, fields=["name"])
    with transaction.atomic():
        Room.objects.select_for_update().get()

        assert told(start(update)) == (
            "Somebody else is changing the same rows. Try again."
        )


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


async def test_of_two_clients_that_change_a_version_one_is_refused(room) -> None:
    """All the way: two connections, two threads of the pool, two transactions."""
    site = Site()
    options = {"fields": ["name"], "operations": ["get", "update"]}
    register(Room, registry=site)(type("RoomTools", (ModelTools,), options))
    async with site.client(Anybody()) as one, site.client(Anybody()) as another:
        got = await one.call_tool("get_room", {"pk": room.pk})
        change = {"pk": room.pk, "version": got["structuredContent"]["version"]}
        results = await asyncio.gather(
            one.call_tool("update_room", {**change, "values": {"name": "One"}}),
            another.call_tool("update_room", {**change, "values": {"name": "Two"}}),
        )
    [text] = [r["content"][0]["text"] for r in results if r.get("isError")]

    assert "was changed since you read it" in text
