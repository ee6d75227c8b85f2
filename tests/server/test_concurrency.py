import asyncio
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import IntegrityError, connections, transaction
from django.utils import timezone, translation

from mcp_channels.server import concurrency
from mcp_channels.server.concurrency import Workers, get_access_workers, get_workers

PATIENCE = 10.0  # seconds that a test waits for what must happen

who: ContextVar[str] = ContextVar("who", default="nobody")


@contextmanager
def open_pool(threads: int) -> Iterator[Workers]:
    def forget_connections() -> None:
        barrier.wait(PATIENCE)  # so that each thread does so
        for wrapper in connections.all(initialized_only=True):
            # Django never closes a connection to a database in memory.
            if wrapper.connection is not None:
                wrapper.connection.close()

    workers = Workers(threads)
    yield workers
    barrier = threading.Barrier(threads)
    for _ in range(threads):
        workers._executor.submit(forget_connections)
    workers._executor.shutdown()


@pytest.fixture
def workers() -> Iterator[Workers]:
    with open_pool(4) as workers:
        yield workers


@pytest.fixture
def single() -> Iterator[Workers]:
    """A pool of one thread."""
    with open_pool(1) as workers:
        yield workers


class Gate:
    """Holds a function in its thread until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.is_passed = False

    def __call__(self) -> str:
        self.entered.set()
        assert self.opened.wait(PATIENCE)
        self.is_passed = True
        return "passed"

    async def wait_until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE)


# Threads


async def test_function_runs_in_another_thread_with_its_arguments(
    workers: Workers,
) -> None:
    def function(*args: int) -> tuple[Any, ...]:
        return threading.get_ident(), threading.current_thread().name, args

    thread, name, args = await workers.run(function, 1, 2)

    assert thread != threading.get_ident()
    assert name.startswith("mcp")
    assert args == (1, 2)


async def test_as_many_functions_run_side_by_side_as_there_are_threads(
    workers: Workers,
) -> None:
    barrier = threading.Barrier(4)  # broken, unless all four get there

    places = await asyncio.gather(
        *(workers.run(barrier.wait, PATIENCE) for _ in range(4))
    )

    assert sorted(places) == [0, 1, 2, 3]


async def test_one_function_more_waits_for_a_thread(single: Workers) -> None:
    gate, ran = Gate(), threading.Event()
    first = asyncio.create_task(single.run(gate))
    second = asyncio.create_task(single.run(ran.set))
    await gate.wait_until_entered()

    assert not ran.is_set()

    gate.opened.set()
    await asyncio.gather(first, second)

    assert ran.is_set()


async def test_exception_comes_to_the_caller(workers: Workers) -> None:
    def function() -> None:
        raise KeyError("missing")

    with pytest.raises(KeyError, match="missing"):
        await workers.run(function)


async def test_stop_iteration_does_not_hang_the_caller(workers: Workers) -> None:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(RuntimeError, match="raised StopIteration") as failure:
            await workers.run(next, iter(()))

    assert isinstance(failure.value.__cause__, StopIteration)


def test_pool_of_a_size_exists_once() -> None:
    assert get_workers(3) is get_workers(3)
    assert get_workers(3) is not get_workers(2)
    assert get_access_workers() is get_access_workers()
    # Slow tools do not keep access.
    assert get_access_workers() is not get_workers(4)


# Context


async def test_context_is_the_callers_own(workers: Workers) -> None:
    async def call(name: str) -> str:
        who.set(name)
        barrier.wait(0)
        return await workers.run(read)

    def read() -> str:
        barrier_of_threads.wait(PATIENCE)
        return who.get()

    barrier = threading.Barrier(1)
    barrier_of_threads = threading.Barrier(2)

    assert await asyncio.gather(call("ada"), call("grace")) == ["ada", "grace"]


async def test_what_a_function_sets_does_not_leak_to_the_next(
    single: Workers,
) -> None:
    def change() -> None:
        who.set("ada")
        translation.activate("de")
        timezone.activate("Asia/Tokyo")

    def read() -> tuple[str, str, str]:
        return (
            who.get(),
            translation.get_language(),
            timezone.get_current_timezone_name(),
        )

    before = await asyncio.create_task(single.run(read))
    await asyncio.create_task(single.run(change))

    assert await asyncio.create_task(single.run(read)) == before
    assert before == read()


async def test_language_and_time_zone_are_the_callers(workers: Workers) -> None:
    def read() -> tuple[str, str]:
        barrier.wait(PATIENCE)
        return translation.get_language(), timezone.get_current_timezone_name()

    async def call(language: str, zone: str) -> tuple[str, str]:
        with translation.override(language), timezone.override(zone):
            return await workers.run(read)

    barrier = threading.Barrier(2)

    assert await asyncio.gather(call("de", "Asia/Tokyo"), call("fr", "UTC")) == [
        ("de", "Asia/Tokyo"),
        ("fr", "UTC"),
    ]


# Cancellation


async def test_queued_call_that_is_cancelled_is_never_run(single: Workers) -> None:
    gate, ran = Gate(), threading.Event()
    first = asyncio.create_task(single.run(gate))
    await gate.wait_until_entered()
    queued = asyncio.create_task(single.run(ran.set))
    await asyncio.sleep(0)
    queued.cancel()

    with pytest.raises(asyncio.CancelledError):
        await queued

    gate.opened.set()

    assert await first == "passed"
    assert await single.run(lambda: "next") == "next"
    assert not ran.is_set()


async def test_running_call_that_is_cancelled_lasts_until_it_returns(
    workers: Workers,
) -> None:
    gate = Gate()
    running = asyncio.create_task(workers.run(gate))
    await gate.wait_until_entered()
    for _ in range(3):  # by the client, by its timeout, and with its connection
        running.cancel()
        await asyncio.wait({running}, timeout=0.01)

        assert not running.done()

    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, PATIENCE)

    assert gate.is_passed


async def test_exception_of_a_call_that_was_cancelled_is_dropped(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        gate()
        raise ValueError("secret")

    gate = Gate()
    running = asyncio.create_task(workers.run(fail))
    await gate.wait_until_entered()
    running.cancel()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    gc.collect()

    assert "secret" not in caplog.text


async def test_cancellation_by_the_function_itself_is_passed_on(
    workers: Workers,
) -> None:
    def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await workers.run(give_up)


async def test_asynchronous_code_inside_a_function_is_cancelled_with_it(
    workers: Workers,
) -> None:
    async def wait() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    entered, left = asyncio.Event(), list[bool]()
    running = asyncio.create_task(workers.run(async_to_sync(wait)))
    async with asyncio.timeout(PATIENCE):
        await entered.wait()
        running.cancel()
        await asyncio.wait({running})

    assert running.cancelled()
    assert left == [True]


async def test_call_that_is_cancelled_before_it_begins_is_not_made(
    workers: Workers,
) -> None:
    ran = threading.Event()
    call = asyncio.create_task(workers.run(ran.set))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert await workers.run(ran.is_set) is False


# The database


async def test_connections_are_cleaned_before_and_after(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def fail() -> None:
        happened.append("call")
        raise ValueError

    monkeypatch.setattr(
        concurrency, "close_old_connections", lambda: happened.append("clean")
    )
    await workers.run(happened.append, "call")
    with pytest.raises(ValueError):
        await workers.run(fail)

    assert happened == ["clean", "call", "clean"] * 2


@pytest.fixture
def file_database(
    tmp_path: Path, transactional_db: None, single: Workers
) -> Iterator[str]:
    """A database for the pool of one thread, which does close its connections."""
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "db.sqlite3"}
    databases = connections.configure_settings({"default": {}, "file": settings})
    connections.settings["file"] = databases["file"]
    yield "file"
    single._executor.submit(lambda: connections["file"].close()).result()
    del connections.settings["file"]


def query(alias: str, sql: str = "SELECT 1") -> Any:
    """Return the database wrapper that this thread queries with."""
    wrapper = connections[alias]
    if wrapper.connection is None:
        # Other threads may not do so with ensure_connection() while a test runs.
        wrapper.connect()
    wrapper.cursor().execute(sql)
    return wrapper


async def test_no_connection_is_left_open(single: Workers, file_database: str) -> None:
    used = await single.run(query, file_database)

    assert used.connection is None


async def test_persistent_connection_is_kept_while_it_works(
    single: Workers, file_database: str
) -> None:
    connections.settings[file_database]["CONN_MAX_AGE"] = None
    used = await single.run(query, file_database)
    opened = used.connection

    assert opened is not None
    assert await single.run(query, file_database) is used
    assert used.connection is opened

    used.errors_occurred = True
    used.is_usable = lambda: False
    await single.run(lambda: None)

    assert used.connection is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("requested", [False, True])
@pytest.mark.parametrize("atomic", [False, True, None])
async def test_exception_rolls_back_what_is_atomic(
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    atomic: bool | None,
    requested: bool,
) -> None:
    def fail() -> None:
        Group.objects.create(name="half")
        raise ValueError

    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", requested)
    with pytest.raises(ValueError):
        await workers.run(fail, atomic=atomic)

    is_rolled_back = requested if atomic is None else atomic

    assert await Group.objects.aexists() is not is_rolled_back


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic", [False, True])
async def test_return_commits(workers: Workers, atomic: bool) -> None:
    def create() -> bool:
        Group.objects.create(name="whole")
        return transaction.get_connection().in_atomic_block

    assert await workers.run(create, atomic=atomic) is atomic
    assert await Group.objects.aexists()


@pytest.mark.django_db(transaction=True)
async def test_constraint_that_is_checked_at_the_end_fails_the_call(
    workers: Workers,
) -> None:
    def create() -> None:
        Group.objects.create(name="one")
        transaction.on_commit(Group.objects.create(name="two").delete)
        Group.objects.create(name="one")

    with pytest.raises(IntegrityError):
        await workers.run(create, atomic=True)

    assert not await Group.objects.aexists()


@pytest.mark.django_db(transaction=True)
async def test_every_database_with_atomic_requests_rolls_back(
    single: Workers, file_database: str
) -> None:
    def fail() -> None:
        query(file_database, "INSERT INTO orders VALUES (1)")
        raise ValueError

    def count() -> int:
        with connections[file_database].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM orders")
            number: int = cursor.fetchone()[0]
            return number

    connections.settings[file_database]["CONN_MAX_AGE"] = None
    await single.run(query, file_database, "CREATE TABLE orders (id integer)")
    for is_atomic, rows in ((True, 0), (False, 1)):
        connections.settings[file_database]["ATOMIC_REQUESTS"] = is_atomic
        with pytest.raises(ValueError):
            await single.run(fail, atomic=None)

        assert await single.run(count) == rows


@pytest.mark.django_db(transaction=True)
async def test_transactions_of_side_by_side_calls_are_apart(workers: Workers) -> None:
    def is_atomic(expected: bool) -> bool:
        barrier.wait(PATIENCE)
        return transaction.get_connection().in_atomic_block is expected

    barrier = threading.Barrier(2)

    assert await asyncio.gather(
        workers.run(is_atomic, True, atomic=True),
        workers.run(is_atomic, False, atomic=False),
    ) == [True, True]


# Asynchronous code


async def test_connections_of_asynchronous_code_are_cleaned_now_and_then(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    cleaned = asyncio.Event()
    loop = asyncio.get_running_loop()

    def clean() -> None:
        threads.append(threading.get_ident())
        loop.call_soon_threadsafe(cleaned.set)

    monkeypatch.setattr(concurrency, "close_old_connections", clean)
    workers.clean_after_async()
    workers.clean_after_async()
    async with asyncio.timeout(PATIENCE):
        await cleaned.wait()

    # In the thread that asynchronous code has its connections in, and once.
    assert threads == [await sync_to_async(threading.get_ident)()]

    cleaned.clear()
    workers._last_hygiene -= 1.0
    workers.clean_after_async()
    async with asyncio.timeout(PATIENCE):
        await cleaned.wait()
        while workers._tasks:
            await asyncio.sleep(0)

    assert len(threads) == 2
