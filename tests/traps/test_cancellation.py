"""Traps 68 to 82: cancellation, progress and log messages."""

import asyncio
import json
from typing import Any

import pytest

from mcp_channels import PrimitivesChanged, ResourceUpdated, publish
from mcp_channels.protocol.envelope import LOG_LEVEL
from mcp_channels.protocol.types import SubscriptionFilter, SubscriptionsListenResult
from mcp_channels.testing import RequestFailed
from tests.sites import MODERN, Site, settled
from tests.traps.tools import (
    Connect,
    Tools,
    cancel,
    frame_of,
    next_answer,
    text_of,
    until,
)
from tests.traps.wire import (
    A,
    Wire,
    cancel_frame,
    every,
    legacy,
    listen_frame,
    modern,
    tag_of,
)


@every
async def test_trap_68_cancellation_of_nothing_that_is_there(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client, other = await connect(revision), await connect(revision)
    done = await client.send_request("tools/call", {"name": "echo"})
    await client.answer_to(done)
    id = await client.send_request("tools/call", {"name": "wait"})
    await until(lambda: "waited" in tools.calls)
    for stray in (done, 1_000, "x", None, {}):
        await cancel(client, stray)
    await client.notify("notifications/cancelled", {})
    await client.notify("notifications/cancelled")
    await cancel(other, id)

    assert text_of(await next_answer(other)) == "ok"
    assert text_of(await next_answer(client)) == "ok"

    tools.release.set()

    assert text_of(await client.answer_to(id)) == "waited"


@legacy
def test_trap_68_cancellation_of_the_handshake(revision: str) -> None:
    wire = Wire(revision)
    frame = (
        '{"jsonrpc":"2.0","method":"notifications/cancelled",'
        '"params":{"requestId":"hello"}}'
    )

    assert wire.send(frame) == []
    assert wire.connection.handshake is not None


@every
async def test_trap_69_cancellation_by_an_id_that_looks_the_same(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    id = await client.send_request("tools/call", {"name": "wait"})
    await until(lambda: "waited" in tools.calls)
    await cancel(client, str(id))

    assert text_of(await next_answer(client)) == "ok"

    tools.release.set()

    assert text_of(await client.answer_to(id)) == "waited"


@every
async def test_trap_70_cancellation_before_the_task_began(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    # Nothing is awaited between the two: both are there before the consumer runs.
    id = await client.send_request("tools/call", {"name": "wait"})
    await cancel(client, id)

    assert text_of(await next_answer(client)) == "ok"

    tools.release.set()

    assert text_of(await next_answer(client)) == "ok"
    assert await client.receive_nothing()


@every
async def test_trap_71_handler_that_swallows_its_cancellation(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    id = await client.send_request("tools/call", {"name": "stubborn"})
    await until(lambda: tools.calls == ["stubborn"])
    await cancel(client, id)
    await tools.stopped.wait()
    tools.release.set()

    assert text_of(await next_answer(client)) == "ok"
    assert await client.receive_nothing()


@modern
async def test_trap_72_id_that_is_used_again_after_its_cancellation(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    frame = {"name": "stubborn", "arguments": {"text": "old"}}
    await client.send_text(Wire(revision).request("tools/call", frame, id="again"))
    await until(lambda: tools.calls == ["old"])
    await cancel(client, "again")
    await tools.stopped.wait()
    frame = {"name": "wait", "arguments": {"text": "new"}}
    await client.send_text(Wire(revision).request("tools/call", frame, id="again"))
    await until(lambda: tools.calls == ["old", "new"])
    tools.release.set()
    answer = await client.receive()

    assert answer["id"] == "again"
    assert text_of(answer["result"]) == "new"
    assert text_of(await next_answer(client)) == "ok"


@every
async def test_trap_73_thread_that_cannot_be_interrupted(
    revision: str, connect: Connect, tools: Tools, settings: Any
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "MAX_REQUESTS_IN_FLIGHT": 1}
    client = await connect(revision)
    params = {"name": "block", "_meta": {"progressToken": "p"}}
    id = await client.send_request("tools/call", params)
    await until(tools.thread_started.is_set)
    await cancel(client, id)

    # Nobody waits for it, but it still counts.
    with pytest.raises(RequestFailed, match="Too many requests in flight"):
        await client.call_tool("echo")

    tools.thread_release.set()
    result = None
    async with asyncio.timeout(10):
        while result is None:
            try:
                result = await client.call_tool("echo")
            except RequestFailed:
                await asyncio.sleep(0)

    assert text_of(result) == "ok"
    assert not client.notifications
    assert await client.receive_nothing()


def test_trap_74_cancellation_of_a_listen_that_is_not_acknowledged_yet() -> None:
    wire = Wire(MODERN)
    wire.send(wire.request("subscriptions/listen", {"notifications": {}}))
    (request,) = wire.admitted()
    wire.send(json.dumps(cancel_frame(1)))
    wire.connection.send_acknowledged(request, SubscriptionFilter())
    wire.connection.send_result(request, SubscriptionsListenResult(meta={}))

    assert wire.send() == []


async def test_trap_74_cancellation_of_a_listen(site: Site) -> None:
    async with site.client() as client:
        wanted = {"toolsListChanged": True, "resourceSubscriptions": [A]}
        id = await client.listen(wanted)
        await cancel(client, id)
        publish(PrimitivesChanged("tools"))
        publish(ResourceUpdated(A))
        await settled()

        assert "result" in await frame_of(client, "tools/list")

        # It is over: its id is free.
        await client.send(listen_frame(id))

        assert tag_of(await client.receive()) == id


@every
@pytest.mark.parametrize("end", ["answered", "cancelled"])
async def test_trap_75_progress_after_the_end(
    revision: str, end: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    params = {"name": "wait", "_meta": {"progressToken": 0}}
    id = await client.send_request("tools/call", params)
    await until(lambda: tools.context is not None)
    context = tools.context

    assert context is not None

    context.progress(1)

    assert (await client.receive())["params"]["progress"] == 1

    if end == "answered":
        tools.release.set()
        await client.answer_to(id)
    else:
        await cancel(client, id)
        await next_answer(client)
    context.progress(2)

    assert text_of(await next_answer(client)) == "ok"


@every
async def test_trap_76_progress_that_does_not_grow(
    revision: str, connect: Connect
) -> None:
    client = await connect(revision)
    seen: list[Any] = []
    arguments = {"steps": [0, 0, 1, 0.5, 1.0, 2.5, 2], "total": 3}
    await client.call_tool("steps", arguments, on_progress=seen.append)

    assert [params["progress"] for params in seen] == [0, 1, 2.5]
    assert not client.notifications


@every
async def test_trap_77_progress_without_a_token(
    revision: str, connect: Connect
) -> None:
    client = await connect(revision)
    result = await client.call_tool("steps", {"steps": [1, 2], "total": 3})

    assert text_of(result) == "done"
    assert not client.notifications


@every
@pytest.mark.parametrize(("total", "sent"), [(0, {}), (1, {"total": 1})])
async def test_trap_78_progress_beyond_its_total_or_without_one(
    revision: str, total: float, sent: dict[str, Any], connect: Connect
) -> None:
    client = await connect(revision)
    seen: list[Any] = []
    arguments = {"steps": [5, 6], "total": total}
    await client.call_tool("steps", arguments, on_progress=seen.append)

    assert [params["progress"] for params in seen] == [5, 6]
    assert all({**params, **sent} == params for params in seen)
    assert all("total" in params for params in seen) is bool(sent)


@modern
async def test_trap_79_log_message_that_the_request_does_not_want(
    revision: str, connect: Connect
) -> None:
    client = await connect(revision)
    await client.call_tool("log")
    await client.request("tools/call", {"name": "log", "_meta": {LOG_LEVEL: "notice"}})

    assert not client.notifications

    await client.request("tools/call", {"name": "log", "_meta": {LOG_LEVEL: "info"}})

    assert [m["params"] for m in client.notifications] == [
        {"level": "info", "data": "something"}
    ]


@legacy
def test_trap_80_level_that_is_called_otherwise(revision: str) -> None:
    wire = Wire(revision)

    assert wire.codes(wire.request("logging/setLevel", {"level": "warn"})) == [
        (1, -32602)
    ]
    assert wire.codes(wire.request("logging/setLevel", {"level": "warning"})) == [
        (1, None)
    ]


@legacy
async def test_trap_81_level_that_another_connection_set(
    revision: str, connect: Connect
) -> None:
    loud, quiet = await connect(revision), await connect(revision)
    await loud.request("logging/setLevel", {"level": "debug"})
    await quiet.request("logging/setLevel", {"level": "error"})
    for client in (loud, quiet):
        await client.call_tool("log")

    assert len(loud.notifications) == 1
    assert not quiet.notifications


@every
async def test_trap_82_error_of_a_cancelled_request(
    revision: str, connect: Connect, tools: Tools
) -> None:
    client = await connect(revision)
    params = {"name": "stubborn", "arguments": {"raising": True}}
    id = await client.send_request("tools/call", params)
    await until(lambda: tools.calls == ["stubborn"])
    await cancel(client, id)
    await tools.stopped.wait()
    tools.release.set()

    assert text_of(await next_answer(client)) == "ok"
    assert await client.receive_nothing()
