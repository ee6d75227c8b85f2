"""What docs/protocol.md says is so."""

import ast
import contextlib
import inspect
import json
import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest

from mcp_channels import (
    AudioContent,
    ClientRefused,
    Context,
    Elicit,
    ListRoots,
    PrimitivesChanged,
    ResourceLink,
    ResourceUpdated,
    Sample,
    publish,
)
from mcp_channels.protocol import content, elicitation, errors, methods, types
from mcp_channels.protocol.projection import project
from mcp_channels.protocol.versions import HANDSHAKE_REVISIONS, Era, Revision
from mcp_channels.server.dispatch import HANDLERS
from mcp_channels.testing import RequestFailed
from tests.pages import ROOT, code, find_table
from tests.sites import Site, silence

# How the cells begin that say whether a method is implemented.
IMPLEMENTED = ("yes", "not yet", "no, by design")

CODE = re.compile(r"`([^`]+)`")


def marks_of(method: methods.Method) -> dict[str, str]:
    """Say who sends a method in each revision, as the tables of the page do."""
    marks = {
        (True, True): "both",
        (True, False): "client",
        (False, True): "server",
        (False, False): "-",
    }
    return {
        one.value: marks[one in method.from_client, one in method.from_server]
        for one in Revision
    }


@pytest.mark.parametrize(
    ("kind", "table"),
    [("request", methods.REQUESTS), ("notification", methods.NOTIFICATIONS)],
)
def test_methods_of_the_page_are_those_of_the_code(kind, table):
    rows = find_table("docs/protocol.md", kind)
    listed = {code(row.pop(kind)): row for row in rows}
    for row in listed.values():
        assert row.pop("implemented").split(";")[0] in IMPLEMENTED

    assert listed == {name: marks_of(method) for name, method in table.items()}


def implemented(kind: str, revision: str, *senders: str) -> set[str]:
    """Give the methods that one of these sends, and that are implemented."""
    return {
        code(row[kind])
        for row in find_table("docs/protocol.md", kind)
        if row["implemented"].startswith("yes") and row[revision] in senders
    }


# Asynchronous functions: the threads of synchronous ones may have kept a connection to
# the database from a test that was allowed to use it.


class Amount(msgspec.Struct):
    count: int


async def echo(text: str) -> str:
    return text


async def total() -> int:
    return 3


async def ask(context: Context) -> str:
    return f"{(await context.aelicit('How many?', Amount)).count}"


async def greet(name: Literal["Ada", "Alan"]) -> str:
    return f"Hello, {name}."


async def note() -> str:
    return "Buy tea."


async def numbered_note(number: int) -> str | None:
    return "Buy cake." if number == 1 else None


OFFERED: dict[str, Any] = {
    "tool": lambda site: [site.tool(one) for one in (echo, total, ask)],
    "prompt": lambda site: site.prompt(greet),
    "resource": lambda site: site.resource("x://note")(note),
    "template": lambda site: site.resource("x://notes/{number}")(numbered_note),
}


def site_with(*kinds: str) -> Site:
    site = Site()
    for kind in kinds:
        OFFERED[kind](site)
    return site


@pytest.fixture
def site() -> Site:
    return site_with(*OFFERED)


every_revision = pytest.mark.parametrize(
    "revision", [revision.value for revision in Revision]
)


async def find_answered(site: Site, revision: str) -> set[str]:
    """Give the requests that a client may send, by sending all that there are."""
    async with site.client(revision=revision) as client:
        answered = set()
        for name in methods.REQUESTS:
            try:
                await client.request(name)
            except RequestFailed as exc:
                if exc.code == errors.METHOD_NOT_FOUND:
                    continue
            answered.add(name)
    return answered


@every_revision
async def test_requests_are_answered_as_the_page_says(revision, site):
    answered = await find_answered(site, revision)

    assert answered == implemented("request", revision, "client", "both")
    assert {
        name
        for name in HANDLERS
        if methods.find_request(name, Revision(revision)) is not None
    } == answered & HANDLERS.keys()


def kinds_of(cell: str) -> set[str]:
    """Give what a site may have for something to be there; "" is nothing at all."""
    if cell == "anything or nothing":
        return {"", *OFFERED}
    return set(re.findall("|".join(OFFERED), cell))


@every_revision
@pytest.mark.parametrize("kind", ["", *OFFERED])
async def test_requests_are_offered_as_the_page_says(kind, revision):
    rows = find_table("docs/protocol.md", "requests", "the site has")
    there = implemented("request", revision, "client", "both")
    answered = await find_answered(site_with(*filter(None, [kind])), revision)

    assert {name for row in rows for name in CODE.findall(row["requests"])} == {
        name
        for one in Revision
        for name in implemented("request", one.value, "client", "both")
    }
    assert answered == there & {
        name
        for row in rows
        if kind in kinds_of(row["the site has"])
        for name in CODE.findall(row["requests"])
    }


@every_revision
@pytest.mark.parametrize("kind", ["", *OFFERED])
async def test_capabilities_are_told_as_the_page_says(kind, revision):
    client = site_with(*filter(None, [kind])).client(revision=revision)
    await client.connect()
    if client.revision.era is Era.LEGACY:
        told = await client.initialize()
    else:
        told = await client.request("server/discover")
    await client.disconnect()

    assert told["capabilities"] == {
        code(row["capability"]): json.loads(code(row["told"]))
        for row in find_table("docs/protocol.md", "capability", "told")
        if kind in kinds_of(row["the site has"]) and row["since"] <= revision
    }


ANSWERS: dict[str, Any] = {
    "elicitation/create": {"action": "accept", "content": {"count": 1}},
    "roots/list": {"roots": []},
    "sampling/createMessage": {
        "role": "assistant",
        "model": "m",
        "content": {"type": "text", "text": "x"},
    },
}
CAPABILITIES: dict[str, Any] = {"elicitation": {}, "roots": {}, "sampling": {}}


@every_revision
async def test_client_is_asked_as_the_page_says(revision):
    site, asked = Site(), set()

    @site.tool
    async def ask_all(context: Context) -> None:
        for question in (Elicit("?", Amount), Sample("?", max_tokens=1), ListRoots()):
            with contextlib.suppress(ClientRefused):  # of a revision without it
                await context.aask({question.method: question})

    def answer(method: str) -> Callable[[Any], Any]:
        def note_down(params: Any) -> Any:
            asked.add(method)
            return ANSWERS[method]

        return note_down

    client = site.client(
        revision=revision,
        capabilities=CAPABILITIES,
        answers={method: answer(method) for method in ANSWERS},
    )
    async with client:
        result = await client.call_tool("ask_all")
    # In the modern era they are no requests, but in a result.
    table = "2025-11-25" if client.revision.era is Era.MODERN else revision

    assert not result.get("isError")
    assert asked == implemented("request", table, "server", "both") - {"ping"}


@every_revision
async def test_notifications_are_sent_as_the_page_says(revision, site):
    @site.tool
    async def report(context: Context) -> None:
        context.progress(1)
        context.log("error", "x")

    @site.tool
    async def wait(context: Context) -> None:
        await context.alist_roots()

    client = site.client(revision=revision, capabilities=CAPABILITIES)
    is_legacy = client.revision.era is Era.LEGACY
    sent = set()
    async with client:
        meta = {"progressToken": "t", "io.modelcontextprotocol/logLevel": "info"}
        await client.request("tools/call", {"name": "report", "_meta": meta})
        if is_legacy:
            await client.request("resources/subscribe", {"uri": "x://note"})
            id = await client.send_request("tools/call", {"name": "wait"})
            await client.notification("roots/list")
            await client.notify("notifications/cancelled", {"requestId": id})
            await client.notification("notifications/cancelled")
            sent.add("notifications/cancelled")
        else:
            wanted = dict.fromkeys(
                [f"{kind}ListChanged" for kind in ("tools", "prompts", "resources")],
                True,
            )
            await client.send_request(
                "subscriptions/listen",
                {"notifications": {**wanted, "resourceSubscriptions": ["x://note"]}},
            )
            await client.request("tools/call", {"name": "wait"})
            await client.request("tools/list")  # the listen is open by now
        for event in (
            PrimitivesChanged("tools"),
            PrimitivesChanged("prompts"),
            PrimitivesChanged("resources"),
            ResourceUpdated("x://note"),
        ):
            publish(event)
        await silence(client)
        sent |= {message["method"] for message in client.notifications}
    expected = implemented("notification", revision, "server", "both")

    # "before 2026-07-28": there are no questions to take back.
    assert sent == expected - (set() if is_legacy else {"notifications/cancelled"})


def test_notifications_are_received_as_the_page_says():
    source = (ROOT / "mcp_channels/protocol/server.py").read_text(encoding="utf-8")
    (receiver,) = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == "_receive_notification"
    )
    ignored = {
        code(row["notification"])
        for row in find_table("docs/protocol.md", "notification")
        if "from a client ignored" in row["implemented"]
    }
    received = {
        name
        for one in Revision
        for name in implemented("notification", one.value, "client", "both")
    }

    assert ignored <= received
    assert received - ignored == {
        node.value
        for node in ast.walk(receiver)
        if isinstance(node, ast.Constant) and node.value in methods.NOTIFICATIONS
    }


def test_error_codes_of_the_page_are_those_of_the_code():
    assert {
        code(row["name"]): int(row["code"])
        for row in find_table("docs/protocol.md", "code", "name")
    } == {name: value for name, value in vars(errors).items() if type(value) is int}


def owner_of(kind: type[msgspec.Struct], name: str) -> type[msgspec.Struct]:
    """Give the struct that the page names a member after."""
    # What all cacheable results have is one row.
    cacheable = types.CacheableResult
    inherited = issubclass(kind, cacheable) and name in cacheable.__struct_fields__
    return cacheable if inherited else kind


def find_gaps(kind: type[msgspec.Struct]) -> dict[str, list[str]]:
    """Give the members of a struct that some revisions lack, with those that do not."""
    fields: dict[str, Any] = dict.fromkeys(kind.__struct_fields__, "x")
    if kind is content.ResourceContents:
        fields["blob"] = msgspec.UNSET  # it has text
    objects: dict[str, Any] = {
        "messages": [],
        "output_schema": {"type": "object"},
        "requested_schema": elicitation.RequestedSchema(properties={}),
        "structured_content": {},
    }
    fields |= {name: objects[name] for name in objects.keys() & fields.keys()}
    projected = {
        revision.value: result
        for revision in Revision
        if type(result := project(kind(**fields), revision)) is kind
    }
    return {
        f"{owner_of(kind, name).__name__}.{wire}": there
        for name, wire in zip(fields, kind.__struct_encode_fields__, strict=True)
        if fields[name] is not msgspec.UNSET
        and len(
            there := [
                revision
                for revision, result in projected.items()
                if getattr(result, name) is not msgspec.UNSET
            ]
        )
        < len(projected)
    }


def test_members_by_revision_are_those_of_the_projection():
    nouns = {
        noun
        for module in (content, elicitation, methods, types)
        for noun in vars(module).values()
        if inspect.isclass(noun) and issubclass(noun, content.Noun)
    }
    gaps: dict[str, list[str]] = {}
    for noun in nouns:
        gaps |= find_gaps(noun)
    latest = list(Revision)[-1].value

    assert {
        code(row["member"]): (row["since"], row["until"] or latest)
        for row in find_table("docs/protocol.md", "member", "since")
    } == {name: (there[0], there[-1]) for name, there in gaps.items()}


CLIENT = {"name": "test", "version": "1"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def complete(frame: Any) -> Any:
    """Put into a frame of the page what it leaves out."""
    if isinstance(frame, list):
        return [complete(member) for member in frame]
    if not isinstance(frame, dict):
        return frame
    frame = {"jsonrpc": "2.0", **frame}
    if isinstance(frame.get("params"), dict) and frame["params"].get("_meta") == "ok":
        frame["params"]["_meta"] = ENVELOPE
    return frame


def holds(value: Any, part: Any) -> bool:
    """Say whether all of `part` is in `value`; a list has to be there whole."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(
            key in value and holds(value[key], member) for key, member in part.items()
        )
    if isinstance(part, list):
        return (
            isinstance(value, list)
            and len(value) == len(part)
            and all(map(holds, value, part))
        )
    return type(value) is type(part) and bool(value == part)


DECISIONS = find_table("docs/protocol.md", "before", "sent", "answered")


@pytest.mark.parametrize(
    "row", DECISIONS, ids=[f"{number}" for number, _ in enumerate(DECISIONS, start=1)]
)
async def test_decision_is_what_the_page_says(row, site):
    before, sent, answered = row["before"], code(row["sent"]), code(row["answered"])
    is_legacy = before in [revision.value for revision in HANDSHAKE_REVISIONS]
    client = site.client(revision=before if is_legacy else "2026-07-28")
    await client.connect()
    if is_legacy:
        await client.initialize()
    elif before != "nothing":
        before = {"modern": "tools/list", "discover": "server/discover"}[before]
        await client.request(before)
    with contextlib.suppress(ValueError):
        sent = json.dumps(complete(json.loads(sent)))
    await client.send_text(sent)
    if answered == "nothing":
        assert await client.receive_nothing()
    else:
        answer = await client.receive()

        assert holds(answer, json.loads(answered)), answer
    await client.disconnect()


@every_revision
async def test_content_is_worded_as_the_page_says(revision):
    site = Site()

    @site.tool
    async def show() -> list[AudioContent | ResourceLink]:
        link = ResourceLink("https://example.com/logo.png", "logo")
        return [AudioContent(b"abc", "audio/wav"), link]

    page = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    async with site.client(revision=revision) as client:
        audio, link = (await client.call_tool("show"))["content"]

    assert audio["type"] == ("text" if revision < "2025-03-26" else "audio")
    assert link["type"] == ("text" if revision < "2025-06-18" else "resource_link")
    for block in (audio, link):
        assert block["type"] != "text" or f"text: `{block['text']}`" in page


# The checks themselves


@pytest.mark.parametrize(
    ("value", "part", "is_held"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1.0}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ([{"a": 1, "b": 2}], [{"b": 2}], True),
        (None, {}, False),
        ({"id": None}, {"id": None}, True),
        ({"id": False}, {"id": 0}, False),
    ],
)
def test_part_of_an_answer_is_compared(value, part, is_held):
    assert holds(value, part) is is_held
