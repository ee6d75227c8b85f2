import asyncio
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import (
    ClientRefused,
    Context,
    PrimitivesChanged,
    ResourceUpdated,
    publish,
)
from mcp_channels.consumers import MCPConsumer
from mcp_channels.models import AccessToken
from mcp_channels.protocol.envelope import SUBSCRIPTION_ID
from mcp_channels.protocol.errors import ProtocolError
from mcp_channels.protocol.versions import Revision
from mcp_channels.testing import MCPCommunicator, RequestFailed
from tests.sites import LEGACY, Site, both_eras
from tests.sockets import make_consumer

REVISIONS = [revision.value for revision in Revision]


async def count(context: Context, to: int) -> int:
    """Count, telling how far."""
    for number in range(1, to + 1):
        context.progress(number, to)
    return to


async def one() -> str:
    return "1"


async def two() -> str:
    return "2"


# Connecting


@pytest.mark.parametrize("revision", REVISIONS)
async def test_client_speaks_any_revision(revision: str) -> None:
    consumer = make_consumer(one)
    async with MCPCommunicator(revision=revision, consumer=consumer) as client:
        names = [tool["name"] for tool in await client.list_tools()]
        result = await client.call_tool("one")

    assert names == ["one"]
    assert result["content"] == [{"type": "text", "text": "1"}]


def test_unknown_revision_is_an_error() -> None:
    with pytest.raises(ValueError, match="There is no revision '2025-01-01'"):
        MCPCommunicator(revision="2025-01-01")


async def test_client_says_what_it_is_and_can() -> None:
    heard: list[Any] = []

    async def listen(context: Context) -> None:
        heard.append((context.client_info, context.capabilities.declares("sampling")))

    for revision in REVISIONS[-2:]:
        async with MCPCommunicator(
            revision=revision,
            capabilities={"sampling": {}},
            consumer=make_consumer(listen),
        ) as client:
            await client.call_tool("listen")

    assert [info.name for info, _ in heard] == ["mcp_channels.testing"] * 2
    assert [is_declared for _, is_declared in heard] == [True, True]


async def test_user_is_who_connects(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": False}

    async def whoami(context: Context) -> str:
        return context.user.get_username()

    user = get_user_model()(pk=7, username="ada")
    async with MCPCommunicator(user, consumer=make_consumer(whoami)) as client:
        result = await client.call_tool("whoami")

    assert result["content"][0]["text"] == "ada"


@pytest.mark.parametrize("hosts", [["testserver"], ["shop.example", "testserver"]])
async def test_host_is_the_one_that_test_runs_allow(
    settings: DjangoSettings, hosts: list[str]
) -> None:
    settings.ALLOWED_HOSTS = hosts

    async with MCPCommunicator() as client:
        assert await client.request("server/discover")


@pytest.mark.parametrize("name", [b"host", b"Host"])
async def test_host_may_be_another(settings: DjangoSettings, name: bytes) -> None:
    settings.ALLOWED_HOSTS = ["shop.example"]

    async with MCPCommunicator(headers=[(name, b"shop.example")]) as client:
        assert await client.request("server/discover")


async def test_connect_returns_the_subprotocol() -> None:
    for offered, chosen in ((None, None), (["x", "mcp"], "mcp")):
        client = MCPCommunicator(subprotocols=offered)
        assert await client.connect() == chosen
        await client.disconnect()


async def test_refused_connection_is_over(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": False}
    over = []

    class Telling(MCPConsumer):
        async def websocket_disconnect(self, message: Any) -> None:
            over.append(message["code"])
            await super().websocket_disconnect(message)

    with pytest.raises(ConnectionRefusedError) as caught:
        async with MCPCommunicator(consumer=Telling):
            raise AssertionError("not reached")

    assert caught.value.args == (401,)
    assert over == [1000]


async def test_context_manager_disconnects_after_a_failure() -> None:
    cancelled = asyncio.Event()
    entered = asyncio.Event()

    async def wait() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(ZeroDivisionError):
        async with MCPCommunicator(consumer=make_consumer(wait)) as client:
            await client.send_request("tools/call", {"name": "wait"})
            await asyncio.wait_for(entered.wait(), 5)
            raise ZeroDivisionError

    assert cancelled.is_set()


# Requests


@pytest.mark.parametrize("revision", REVISIONS[-2:])
async def test_error_is_raised_with_all_it_says(revision: str) -> None:
    async def refuse() -> None:
        raise ProtocolError("No such order.", code=-32602, data={"order": 5})

    consumer = make_consumer(refuse)
    async with MCPCommunicator(revision=revision, consumer=consumer) as client:
        with pytest.raises(RequestFailed) as caught:
            await client.call_tool("refuse")
        with pytest.raises(RequestFailed) as other:
            await client.request("nonsense")

    assert str(caught.value) == "-32602: No such order."
    assert (caught.value.code, caught.value.message) == (-32602, "No such order.")
    assert caught.value.data == {"order": 5}
    assert (other.value.code, other.value.data) == (-32601, None)


async def test_answers_are_told_apart() -> None:
    gate = asyncio.Event()

    async def late() -> str:
        await gate.wait()
        return "late"

    async with MCPCommunicator(consumer=make_consumer(one, late)) as client:
        first = await client.send_request("tools/call", {"name": "late"})
        second = await client.send_request("tools/call", {"name": "one"})
        answers = [await client.answer_to(second)]
        gate.set()
        third = await client.send_request("tools/call", {"name": "one"})
        answers += [await client.answer_to(id) for id in (third, first)]

    assert [a["content"][0]["text"] for a in answers] == ["1", "1", "late"]


async def test_all_pages_are_listed(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "PAGE_SIZE": 1}
    async with MCPCommunicator(consumer=make_consumer(one, two, count)) as client:
        tools = await client.list_tools()

    assert [tool["name"] for tool in tools] == ["count", "one", "two"]


@pytest.fixture
def site() -> Site:
    site = Site()

    def cities(value: str, arguments: dict[str, str]) -> list[str]:
        return [f"{value} in {arguments.get('country', 'any country')}"]

    @site.prompt(complete={"city": cities})
    def travel(city: str, country: str = "") -> str:
        return f"Plan a trip to {city}."

    site.prompt(name="greet")(lambda: "Hello")
    for name in ("a", "b"):
        site.resource(f"shop://{name}")(lambda: "text")
        site.resource(f"shop://{name}/{{number}}")(lambda number: number)
    return site


@both_eras
async def test_all_pages_of_other_kinds_are_listed(
    settings: DjangoSettings, site: Site, revision: str
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "PAGE_SIZE": 1}
    async with site.client(revision=revision) as client:
        prompts = await client.list_prompts()
        resources = await client.list_resources()
        templates = await client.list_resource_templates()

    assert [prompt["name"] for prompt in prompts] == ["greet", "travel"]
    assert [resource["uri"] for resource in resources] == ["shop://a", "shop://b"]
    assert [template["uriTemplate"] for template in templates] == [
        "shop://a/{number}",
        "shop://b/{number}",
    ]


@both_eras
async def test_prompt_and_resource_are_returned(site: Site, revision: str) -> None:
    async with site.client(revision=revision) as client:
        greeting = await client.get_prompt("greet")
        plan = await client.get_prompt("travel", {"city": "Porto"})
        read = await client.read_resource("shop://b")

    assert greeting["messages"][0]["content"]["text"] == "Hello"
    assert plan["messages"][0]["content"]["text"] == "Plan a trip to Porto."
    assert [contents["text"] for contents in read["contents"]] == ["text"]


@both_eras
async def test_argument_is_completed(site: Site, revision: str) -> None:
    ref = {"type": "ref/prompt", "name": "travel"}
    async with site.client(revision=revision) as client:
        alone = await client.complete(ref, "city", "Por")
        known = await client.complete(ref, "city", "Por", {"country": "Portugal"})

    assert alone["values"] == ["Por in any country"]
    assert known["values"] == ["Por in Portugal"]


# News


@both_eras
async def test_notification_is_waited_for(site: Site, revision: str) -> None:
    async with site.client(revision=revision) as client:
        if revision == LEGACY:
            for uri in ("shop://a", "shop://b"):
                await client.request("resources/subscribe", {"uri": uri})
        else:
            uris = ["shop://a", "shop://b"]
            await client.listen({"promptsListChanged": True})
            await client.listen({"resourceSubscriptions": uris})
        publish(ResourceUpdated("shop://a"))
        publish(ResourceUpdated("shop://b"))
        publish(PrimitivesChanged("prompts"))
        await client.notification("notifications/prompts/list_changed")
        # What came before was kept, the oldest first.
        updated = [
            await client.notification("notifications/resources/updated")
            for _ in range(2)
        ]

    assert [params["uri"] for params in updated] == ["shop://a", "shop://b"]
    assert not client.notifications


async def test_listen_returns_the_id_of_what_is_told(site: Site) -> None:
    async with site.client() as client:
        id = await client.listen({"resourceSubscriptions": ["shop://a"]})
        publish(ResourceUpdated("shop://a"))
        params = await client.notification("notifications/resources/updated")

    assert params["_meta"] == {SUBSCRIPTION_ID: id}
    assert not client.notifications


# Questions


FORMS: dict[str, Any] = {"elicitation": {}, "roots": {}}


class Name(msgspec.Struct):
    name: str


def accept(name: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": name}}


@pytest.fixture
def asking(site: Site) -> Site:
    @site.tool
    async def greet(context: Context, times: int = 1) -> str:
        names = []
        for number in range(times):
            try:
                answer = await context.aelicit(f"Who is {number}?", Name)
            except ClientRefused:
                return "Nobody is there."
            names.append(answer.name)
        return " and ".join(names)

    @site.tool
    async def look(context: Context) -> str:
        return ", ".join(root.uri for root in await context.alist_roots())

    return site


@both_eras
async def test_questions_are_answered(asking: Site, revision: str) -> None:
    asked: list[str] = []

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        asked.append(params["message"])
        return accept(f"Ada {len(asked)}")

    async with asking.client(
        revision=revision, capabilities=FORMS, answers={"elicitation/create": answer}
    ) as client:
        result = await client.call_tool("greet", {"times": 3})

    assert result["content"][0]["text"] == "Ada 1 and Ada 2 and Ada 3"
    assert asked == ["Who is 0?", "Who is 1?", "Who is 2?"]


@both_eras
async def test_question_may_come_without_params(asking: Site, revision: str) -> None:
    heard: list[Any] = []

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        heard.append(params)
        return {"roots": [{"uri": "file:///home/ada"}]}

    async with asking.client(revision=revision, capabilities=FORMS) as client:
        client.answers["roots/list"] = answer
        result = await client.call_tool("look")

    assert result["content"][0]["text"] == "file:///home/ada"
    assert heard == [{}]


async def test_legacy_question_without_an_answer_is_left(asking: Site) -> None:
    async with asking.client(revision=LEGACY, capabilities=FORMS) as client:
        id = await client.send_request("tools/call", {"name": "greet"})
        params = await client.notification("elicitation/create")
        await client.notify("notifications/cancelled", {"requestId": id})

    assert params["message"] == "Who is 0?"


async def test_modern_question_without_an_answer_is_the_result(asking: Site) -> None:
    async with asking.client(capabilities=FORMS) as client:
        client.answers["roots/list"] = lambda params: {"roots": []}
        result = await client.call_tool("greet")

    assert result["resultType"] == "input_required"
    assert [q["method"] for q in result["inputRequests"].values()] == [
        "elicitation/create"
    ]


async def test_question_may_be_refused_with_an_error(asking: Site) -> None:
    def refuse(params: dict[str, Any]) -> dict[str, Any]:
        raise RequestFailed({"code": -1, "message": "No."})

    async with asking.client(revision=LEGACY, capabilities=FORMS) as client:
        client.answers["elicitation/create"] = refuse
        result = await client.call_tool("greet")

    assert result["content"][0]["text"] == "Nobody is there."


async def test_call_that_never_stops_asking_is_given_up(asking: Site) -> None:
    async with asking.client(capabilities=FORMS) as client:
        client.answers["elicitation/create"] = lambda params: accept("Ada")
        enough = await client.call_tool("greet", {"times": 9})
        with pytest.raises(AssertionError, match="still asks after 10 rounds"):
            await client.call_tool("greet", {"times": 10})

    assert enough["resultType"] == "complete"


async def test_state_is_sent_back_if_there_is_one() -> None:
    question = {"method": "roots/list"}
    results = [
        {"resultType": "input_required", "inputRequests": {"a": question}},
        {
            "resultType": "input_required",
            "inputRequests": {"b": question},
            "requestState": "s",
        },
        {"resultType": "complete"},
    ]
    sent: list[dict[str, Any]] = []

    class Client(MCPCommunicator):
        async def send_request(self, method: str, params: Any = None) -> int:
            sent.append(params)
            return 0

        async def answer_to(self, id: int) -> Any:
            return results[len(sent) - 1]

    client = Client(answers={"roots/list": lambda params: {"roots": []}})

    assert await client.call_tool("look") == {"resultType": "complete"}
    assert [params.get("requestState") for params in sent] == [None, None, "s"]
    assert [[*params.get("inputResponses", {})] for params in sent] == [
        [],
        ["a"],
        ["b"],
    ]


# What comes besides


@pytest.mark.parametrize("revision", REVISIONS)
async def test_progress_of_a_call_is_handed_over(revision: str) -> None:
    told: list[Any] = []
    async with MCPCommunicator(
        revision=revision, consumer=make_consumer(count)
    ) as client:
        await client.call_tool("count", {"to": 3}, on_progress=told.append)
        await client.call_tool("count", {"to": 2})

    assert [(params["progress"], params["total"]) for params in told] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    assert not client.notifications


async def test_progress_of_another_call_is_left_alone() -> None:
    told: list[Any] = []
    async with MCPCommunicator(consumer=make_consumer(count)) as client:
        meta = {"_meta": {"progressToken": "mine"}}
        params = {"name": "count", "arguments": {"to": 1}, **meta}
        await client.answer_to(await client.send_request("tools/call", params))
        await client.call_tool("count", {"to": 1}, on_progress=told.append)

    assert len(told) == 1
    (left,) = client.notifications
    assert left["method"] == "notifications/progress"
    assert left["params"]["progressToken"] == "mine"


async def test_log_messages_are_kept() -> None:
    async def speak(context: Context) -> None:
        context.log("warning", {"stock": 0}, "shop")

    consumer = make_consumer(speak)
    async with MCPCommunicator(revision="2025-06-18", consumer=consumer) as client:
        await client.call_tool("speak")

    (message,) = client.notifications
    assert message["params"] == {
        "level": "warning",
        "data": {"stock": 0},
        "logger": "shop",
    }


async def test_cancelled_request_is_not_answered() -> None:
    entered = asyncio.Event()

    async def wait() -> None:
        entered.set()
        await asyncio.Event().wait()

    async with MCPCommunicator(consumer=make_consumer(wait)) as client:
        id = await client.send_request("tools/call", {"name": "wait"})
        await asyncio.wait_for(entered.wait(), 5)
        await client.notify("notifications/cancelled", {"requestId": id})

        assert await client.receive_nothing()


# Frames


async def test_any_frame_may_be_sent() -> None:
    async with MCPCommunicator() as client:
        await client.send([])
        empty = await client.receive()
        await client.send_text("no JSON")
        broken = await client.receive()
        await client.send_bytes(b"\x00")
        with pytest.raises(ConnectionResetError) as caught:
            await client.receive()

    assert empty["error"]["code"] == -32600
    assert broken["error"]["code"] == -32700
    assert caught.value.args == (1003,)


async def test_receive_nothing_tells_when_there_is_something() -> None:
    async with MCPCommunicator() as client:
        await client.send_text("no JSON")

        assert not await client.receive_nothing(5)
        assert (await client.receive())["error"]


async def test_waiting_has_an_end() -> None:
    client = MCPCommunicator()
    await client.connect()
    client._timeout = 0.01

    with pytest.raises(TimeoutError):
        await client.receive()


@pytest.mark.usefixtures("rows")
async def test_client_comes_with_the_token_it_was_given(site: Site) -> None:
    user = await get_user_model().objects.acreate(username="ada")
    token, secret = await sync_to_async(AccessToken.objects.issue)(user, "ci")

    @site.tool
    async def whose(context: Context) -> str:
        return f"{context.user.get_username()} {context.token and context.token.pk}"

    headers = [(b"x-other", b"1")]
    async with site.client(token=secret, headers=headers) as client:
        result = await client.call_tool("whose")

    assert result["content"][0]["text"] == f"ada {token.pk}"
    # What a test hands over stays as it is.
    assert headers == [(b"x-other", b"1")]
