"""The blocking client, in programs that have no event loop: these tests are none."""

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest
from mcp import MCPError
from mcp_types import PromptReference

from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.errors import OUTCOME_UNKNOWN, ConnectionFailed
from mcp_channels.client.synchronous import SyncClient
from tests.client.conftest import DistantServer
from tests.client.stranger import Refusal

TEXT = {"type": "text", "text": "seen"}


@pytest.fixture
def server(distant: DistantServer) -> DistantServer:
    return distant


def configure(server: DistantServer) -> WebSocketConfig:
    return WebSocketConfig(server.url, proxy=None, reconnect_delay=0.01)


@pytest.fixture
def client(server: DistantServer) -> Iterator[SyncClient]:
    with SyncClient(configure(server)) as client:
        yield client


def test_client_connects_and_leaves(server):
    with SyncClient(configure(server), mode="legacy") as client:
        assert client.protocol_version == "2025-11-25"
    server.run(server.until(lambda: server.last.socket.close_code == 1000))


def test_lists_are_given_whole(server, client):
    schema = {"type": "object"}
    pages: dict[str, list[dict[str, Any]]] = {
        "tools/list": [{"tools": [{"name": "a", "inputSchema": schema}]}],
        "resources/list": [{"resources": [{"name": "a", "uri": "x://a"}]}],
        "resources/templates/list": [
            {"resourceTemplates": [{"name": "a", "uriTemplate": "x://{a}"}]}
        ],
        "prompts/list": [{"prompts": [{"name": "a"}]}],
    }

    def give(page: dict[str, Any]) -> Any:
        return lambda params: page if params else {**page, "nextCursor": "more"}

    for method, (page,) in pages.items():
        server.answers[method] = give(page)

    assert [one.name for one in client.list_tools()] == ["a", "a"]
    assert [one.uri for one in client.list_resources()] == ["x://a"] * 2
    assert [one.uri_template for one in client.list_resource_templates()] == [
        "x://{a}",
        "x://{a}",
    ]
    assert [one.name for one in client.list_prompts()] == ["a", "a"]


def test_tools_are_called(server, client):
    server.answers["tools/call"] = lambda params: {"content": [TEXT]}
    result = client.call_tool("look", {"text": "sea"})
    (asked,) = server.last.asked("tools/call")

    assert result.content[0].text == "seen"
    assert asked["params"]["arguments"] == {"text": "sea"}


def test_progress_is_told(server, client):
    async def call(params: Any) -> Any:
        told = {"progressToken": params["_meta"]["progressToken"], "total": 2}
        for progress in (1, 2):
            params = {**told, "progress": progress, "message": "on"}
            await server.last.send(method="notifications/progress", params=params)
        return {"content": [TEXT]}

    server.answers["tools/call"] = call
    told: list[Any] = []
    client.call_tool("look", on_progress=lambda *step: told.append(step))

    assert told == [(1.0, 2.0, "on"), (2.0, 2.0, "on")]


def test_call_is_not_waited_for_longer_than_wanted(server, client):
    server.answers["tools/call"] = None
    with pytest.raises(MCPError, match="timed out"):
        client.call_tool("look", timeout=0.1)


def test_resources_and_prompts_are_read(server, client):
    server.answers["resources/read"] = {"contents": [{"uri": "x://a", "text": "A"}]}
    message = {"role": "user", "content": TEXT}
    server.answers["prompts/get"] = {"messages": [message]}

    assert client.read_resource("x://a").contents[0].text == "A"
    assert client.get_prompt("p", {"a": "b"}).messages[0].content.text == "seen"
    assert server.last.asked("prompts/get")[0]["params"]["arguments"] == {"a": "b"}


def test_anything_else_is_run(server, client):
    server.answers["completion/complete"] = {"completion": {"values": ["ada"]}}
    reference = PromptReference(name="p")
    argument = {"name": "who", "value": "a"}
    completed = client.run(lambda sdk: sdk.complete(reference, argument))

    assert completed.completion.values == ["ada"]


def test_several_threads_may_call(server, client):
    def call(params: Any) -> Any:
        return {"content": [{"type": "text", "text": params["arguments"]["n"]}]}

    server.answers["tools/call"] = call
    with ThreadPoolExecutor(8) as threads:
        calls = [
            threads.submit(client.call_tool, "echo", {"n": f"{number}"})
            for number in range(40)
        ]
        texts = [call.result(15).content[0].text for call in calls]

    assert texts == [f"{number}" for number in range(40)]


def test_writer_that_is_cut_off_fails(server, client):
    async def hang_up(params: Any) -> None:
        server.last.socket.transport.abort()

    server.answers["tools/call"] = hang_up
    with pytest.raises(MCPError) as caught:
        client.call_tool("refund")
    server.answers["tools/call"] = lambda params: {"content": [TEXT]}

    assert caught.value.code == OUTCOME_UNKNOWN
    assert client.call_tool("refund").content[0].text == "seen"


def test_refusal_is_raised(server):
    server.refusals.append(Refusal(401, "Credentials are required"))
    client = SyncClient(configure(server))
    with pytest.raises(ConnectionFailed, match="Credentials are required"), client:
        pass
    with client:
        assert client.list_tools() == []


def test_client_is_used_in_its_block(server):
    client = SyncClient(server.url)
    with pytest.raises(RuntimeError, match="in its `with` block"):
        client.list_tools()
    client.__exit__(None, None, None)  # nothing to leave
    client = SyncClient(configure(server))
    with client, pytest.raises(RuntimeError, match="once at a time"):
        client.__enter__()


def is_waiting(thread: int) -> bool:
    """Say whether a thread waits for the answer to a call."""
    frame: FrameType | None = sys._current_frames()[thread]
    while frame is not None:
        caller = frame.f_back
        if frame.f_code is Future.result.__code__ and caller is not None:
            return caller.f_code is SyncClient.run.__code__
        frame = caller
    return False


def test_call_that_is_interrupted_is_cancelled(server, client):
    main = threading.main_thread().ident
    assert main is not None

    async def interrupt(params: Any) -> None:
        while not is_waiting(main):
            await asyncio.sleep(0.001)
        signal.pthread_kill(main, signal.SIGINT)  # as Ctrl-C does

    server.answers["tools/call"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.call_tool("refund")
    server.run(server.until(lambda: server.last.asked("notifications/cancelled")))
