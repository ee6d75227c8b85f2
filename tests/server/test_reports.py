import asyncio
import threading
from collections.abc import Callable
from typing import Any

from mcp_channels.server.reports import Reports


class Sender:
    """Notes what is sent, in which thread, and how often somebody was woken."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.threads = set[int]()
        self.wakes = 0
        self.woken = asyncio.Event()

    def send(self, *report: Any) -> bool:
        self.sent.append(report)
        self.threads.add(threading.get_ident())
        return True

    def wake(self) -> None:
        self.wakes += 1
        self.woken.set()


async def in_a_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    # The loop has no turn meanwhile.
    thread.join(5)


async def test_report_of_the_loops_own_thread_is_sent_at_once() -> None:
    sender = Sender()
    Reports(sender.wake).post(sender.send, 1, 2)

    assert (sender.sent, sender.wakes) == ([(1, 2)], 1)


async def test_reports_of_a_thread_are_sent_in_the_loop_and_in_order() -> None:
    sender = Sender()
    reports = Reports(sender.wake)
    await in_a_thread(lambda: [reports.post(sender.send, n) for n in range(5)] and None)

    assert sender.sent == []

    await asyncio.wait_for(sender.woken.wait(), 5)

    assert sender.sent == [(n,) for n in range(5)]
    assert sender.threads == {threading.get_ident()}
    assert sender.wakes == 1

    sender.woken.clear()
    await in_a_thread(lambda: reports.post(sender.send, 5))
    await asyncio.wait_for(sender.woken.wait(), 5)

    assert sender.sent[-1] == (5,)


async def test_oldest_reports_are_lost_when_there_are_too_many() -> None:
    sender = Sender()
    reports = Reports(sender.wake)
    await in_a_thread(
        lambda: [reports.post(sender.send, n) for n in range(1_001)] and None
    )
    await asyncio.wait_for(sender.woken.wait(), 5)

    assert sender.sent == [(n,) for n in range(1, 1_001)]


def test_report_after_the_loop_was_closed_is_lost() -> None:
    async def make() -> tuple[Sender, Reports]:
        sender = Sender()
        return sender, Reports(sender.wake)

    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.extend(asyncio.run(make())))
    thread.start()
    thread.join(5)
    sender, reports = made
    reports.post(sender.send, 1)

    assert sender.sent == []
