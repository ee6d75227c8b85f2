"""Traps 121 to 134: questions to the client in both eras, and tasks."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import Group
from django.core import signing
from django.db import IntegrityError

from mcp_channels import ClientRefused, Context, Sample, ToolError
from mcp_channels.testing import MCPCommunicator
from tests.sites import LEGACY, MODERN, Site, both_eras, refusal
from tests.traps.tools import frame_of, text_of
from tests.traps.wire import every

FORMS: dict[str, Any] = {"elicitation": {}, "sampling": {}}
INVALID_STATE = (-32602, "Invalid or expired requestState", None)


class Confirm(msgspec.Struct):
    sure: bool


class Person:
    is_authenticated = True

    def __init__(self, pk: int) -> None:
        self.pk = pk


def accept(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


SURE = {"question_1": accept(sure=True)}


@pytest.fixture
def site() -> Site:
    site = Site()

    @site.tool
    async def pay(context: Context, amount: int = 0) -> str:
        answer = await context.aelicit(f"Pay {amount}?", Confirm)
        return f"paid {amount}" if answer.sure else "kept"

    return site


async def call(client: MCPCommunicator, **more: Any) -> Any:
    return await client.request("tools/call", {"name": "pay", **more})


async def state_of(client: MCPCommunicator, **more: Any) -> str:
    state: str = (await call(client, **more))["requestState"]
    return state


async def refused(asking: Any) -> tuple[int, str, Any]:
    error = await refusal(asking)
    return error.code, error.message, error.data


async def test_trap_121_completion_and_lists_never_ask(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()

    async def cities(value: str, context: Context) -> list[str]:
        await context.aelicit("Sure?", Confirm)
        return ["Porto"]

    async def orders(context: Context) -> list[dict[str, str]]:
        await context.aelicit("Sure?", Confirm)
        return []

    @site.prompt(complete={"city": cities})
    def travel(city: str) -> str:
        return city

    @site.resource("shop://orders/{number}", list=orders)
    def order(number: str) -> str:
        return number

    async with site.client(capabilities=FORMS) as client:
        ref = {"type": "ref/prompt", "name": "travel"}

        assert (await refused(client.complete(ref, "city", "P")))[0] == -32603
        assert (await refused(client.list_resources()))[0] == -32603
    for method in ("completion/complete", "resources/list"):
        assert f"{method} must not ask the client anything" in caplog.text


async def test_trap_122_retry_with_the_same_id_is_served(site: Site) -> None:
    request = {
        "jsonrpc": "2.0",
        "id": "same",
        "method": "tools/call",
        "params": {
            "name": "pay",
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": FORMS,
            },
        },
    }
    async with site.client() as client:
        await client.send(request)
        asked = (await client.receive())["result"]
        request["params"] |= {
            "requestState": asked["requestState"],
            "inputResponses": SURE,
        }
        await client.send(request)
        answer = await client.receive()

    assert answer["id"] == "same"
    assert text_of(answer["result"]) == "paid 0"


async def test_trap_123_retry_with_altered_arguments_is_refused(site: Site) -> None:
    async with site.client(capabilities=FORMS) as client:
        answers: Any = {
            "requestState": await state_of(client, arguments={"amount": 1}),
            "inputResponses": SURE,
        }
        error = await refused(call(client, arguments={"amount": 1_000}, **answers))
        result = await call(client, arguments={"amount": 1}, **answers)

    assert error == INVALID_STATE
    assert text_of(result) == "paid 1"


async def test_trap_124_another_user_and_a_late_one_learn_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site.client(Person(1), capabilities=FORMS) as client:
        state = await state_of(client)
        answers: Any = {"requestState": state, "inputResponses": SURE}
        async with site.client(Person(2), capabilities=FORMS) as another:
            errors = [await refused(call(another, **answers))]
        tampered = {**answers, "requestState": "x" + state}
        errors.append(await refused(call(client, **tampered)))
        now = signing.time.time
        later = SimpleNamespace(time=lambda: now() + 601)
        monkeypatch.setattr(signing, "time", later)
        errors.append(await refused(call(client, **answers)))

    assert errors == [INVALID_STATE] * 3


@pytest.mark.parametrize("answers", [{}, {"wrong": accept(sure=True)}, {"": None}])
async def test_trap_125_wrong_and_missing_keys_are_asked_again(
    site: Site, answers: dict[str, Any]
) -> None:
    async with site.client(capabilities=FORMS) as client:
        state = await state_of(client)
        again = await call(client, requestState=state, inputResponses=answers)

    assert again["resultType"] == "input_required"
    assert again["inputRequests"].keys() == {"question_1"}


@both_eras
async def test_trap_126_answer_to_another_kind_of_question_is_asked_again(
    revision: str,
) -> None:
    site = Site()
    poem = {
        "role": "assistant",
        "content": {"type": "text", "text": "Roses"},
        "model": "m",
    }
    wrong: list[Any] = [accept(sure=True)]

    @site.tool
    async def write(context: Context) -> str:
        answers = await context.aask({"poem": Sample("A poem", max_tokens=9)})
        return str(answers["poem"].content.text)

    async with site.client(revision=revision, capabilities=FORMS) as client:
        client.answers["sampling/createMessage"] = lambda params: (
            wrong.pop() if wrong else poem
        )

        assert text_of(await client.call_tool("write")) == "Roses"
    assert not wrong


@pytest.mark.django_db(transaction=True)
async def test_trap_127_replay_finds_what_was_done_once() -> None:
    """What may happen but once is unique in the database, not in a state."""
    site = Site()

    @site.tool(name="pay", atomic=True)
    def found(context: Context) -> str:
        context.elicit("Found it?", Confirm)
        try:
            Group.objects.create(name="one")
        except IntegrityError:
            raise ToolError("It is founded already.") from None
        return "founded"

    async with site.client(capabilities=FORMS) as client:
        answers: Any = {
            "requestState": await state_of(client),
            "inputResponses": SURE,
        }
        results = [await call(client, **answers) for _ in range(3)]

    assert [text_of(result) for result in results] == [
        "founded",
        "It is founded already.",
        "It is founded already.",
    ]
    assert await Group.objects.acount() == 1


@both_eras
@pytest.mark.django_db(transaction=True)
async def test_trap_128_what_stands_behind_the_last_question_happens_once(
    revision: str,
) -> None:
    site = Site()
    runs: list[int] = []

    @site.tool(atomic=True)
    def found(context: Context) -> str:
        runs.append(1)
        # A transaction that ends with a question is rolled back.
        Group.objects.create(name=f"run {len(runs)}")
        context.elicit("Sure?", Confirm)
        context.elicit("Really?", Confirm)
        return "founded"

    async with site.client(revision=revision, capabilities=FORMS) as client:
        client.answers["elicitation/create"] = lambda params: accept(sure=True)
        await client.call_tool("found")

    assert len(runs) == 3
    names = [name async for name in Group.objects.values_list("name", flat=True)]
    assert names == ["run 3"]


TASKS = "io.modelcontextprotocol/tasks"


@every
async def test_trap_129_params_that_want_a_task(site: Site, revision: str) -> None:
    site.tool(name="ok")(lambda: "ok")
    async with site.client(revision=revision) as client:
        expected = await frame_of(client, "tools/call", name="ok")
        for task in ({"ttl": 1_000}, {}, None, 5):
            message = await frame_of(client, "tools/call", name="ok", task=task)

            assert message["result"] == expected["result"]
    assert text_of(message["result"]) == "ok"


@every
@pytest.mark.parametrize("declared", [{}, {"tasks": {}}, {"extensions": {TASKS: {}}}])
async def test_trap_130_call_of_a_client_with_tasks_and_without(
    site: Site, revision: str, declared: dict[str, Any]
) -> None:
    site.tool(name="ok")(lambda: "ok")
    async with site.client(revision=revision, capabilities=declared) as client:
        result = await client.call_tool("ok")

    assert text_of(result) == "ok"
    assert result.get("resultType", "complete") == "complete"


@every
@pytest.mark.parametrize("method", ["get", "result", "cancel", "update", "list"])
async def test_tasks_are_not_offered(site: Site, revision: str, method: str) -> None:
    """So there is no trap 131: an id of somebody else's task."""
    async with site.client(
        revision=revision, capabilities={"extensions": {TASKS: {}}}
    ) as client:
        error = await refusal(client.request(f"tasks/{method}", {"taskId": "x"}))

    assert error.code == -32601


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_trap_132_question_does_not_block_its_own_answer(kind: str) -> None:
    site = Site()

    if kind == "sync":

        @site.tool(name="pay")
        def pay(context: Context) -> str:
            return str(context.elicit("Sure?", Confirm).sure)

    else:

        @site.tool(name="pay")
        async def apay(context: Context) -> str:
            return str((await context.aelicit("Sure?", Confirm)).sure)

    async with site.client(revision=LEGACY, capabilities=FORMS) as client:
        client.answers["elicitation/create"] = lambda params: accept(sure=True)

        assert text_of(await client.call_tool("pay")) == "True"


async def test_trap_133_client_that_is_gone_ends_the_call_and_is_not_asked_again() -> (
    None
):
    site = Site()
    runs: list[str] = []

    @site.tool
    async def pay(context: Context) -> str:
        runs.append("begun")
        try:
            await context.aelicit("Sure?", Confirm)
        except asyncio.CancelledError:
            runs.append("cancelled")
            raise
        return "paid"

    async with site.client(revision=LEGACY, capabilities=FORMS) as client:
        await client.send_request("tools/call", {"name": "pay"})
        question = await client.receive()

    assert question["method"] == "elicitation/create"
    assert runs == ["begun", "cancelled"]


@pytest.mark.parametrize("code", [-32601, -32602, -1, 0, 400])
async def test_trap_134_refusal_of_the_client_is_an_exception_of_its_own(
    code: int,
) -> None:
    site = Site()

    @site.tool
    async def write(context: Context) -> str:
        try:
            return str((await context.asample("A poem", max_tokens=9)).model)
        except ClientRefused:
            return "I wrote it myself"

    async with site.client(revision=LEGACY, capabilities=FORMS) as client:
        id = await client.send_request("tools/call", {"name": "write"})
        question = await client.receive()
        error = {"code": code, "message": "no"}
        await client.send({"jsonrpc": "2.0", "id": question["id"], "error": error})

        assert text_of(await client.answer_to(id)) == "I wrote it myself"


async def test_trap_134_client_without_an_answer_is_an_exception_too(
    settings: Any,
) -> None:
    settings.MCP_CHANNELS = {**settings.MCP_CHANNELS, "INTERACTION_TIMEOUT": 0.05}
    site = Site()

    @site.tool
    def write(context: Context) -> str:
        try:
            return str(context.sample("A poem", max_tokens=9).model)
        except ClientRefused:
            return "I wrote it myself"

    async with site.client(revision=LEGACY, capabilities=FORMS) as client:
        assert text_of(await client.call_tool("write")) == "I wrote it myself"
