import json
from typing import Any

import mcp_types._v2025_11_25 as v2025_11_25
import mcp_types._v2026_07_28 as v2026_07_28
import msgspec
import pytest
from msgspec import UNSET
from pydantic import BaseModel

from mcp_channels.protocol import content, elicitation, types
from mcp_channels.protocol.types import (
    LOGGING_LEVELS,
    CallToolResult,
    CancelTaskResult,
    ClientCapabilities,
    CompleteResult,
    Completion,
    CreateTaskResult,
    DetailedTask,
    DiscoverResult,
    EmptyResult,
    GetPromptResult,
    GetTaskPayloadResult,
    GetTaskResult,
    Implementation,
    InitializeResult,
    InputRequiredResult,
    LegacyCreateTaskResult,
    LegacyTask,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListRootsResult,
    ListTasksResult,
    ListToolsResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    PromptReference,
    PromptsCapability,
    ReadResourceResult,
    ResourcesCapability,
    ResourceTemplate,
    ResourceTemplateReference,
    Root,
    ServerCapabilities,
    SubscriptionFilter,
    SubscriptionsListenResult,
    Task,
    TasksCapability,
    Tool,
    ToolAnnotations,
    ToolExecution,
    ToolsCapability,
    UpdateTaskResult,
)

# The models of a noun, where they are not those of its name in both revisions.
MODELS: dict[str, list[type[BaseModel]]] = {
    "CompletionArgument": [v2025_11_25.Argument, v2026_07_28.Argument],
    "CompletionContext": [v2025_11_25.Context, v2026_07_28.Context],
    "EnumItems": [v2025_11_25.Items1, v2026_07_28.Items1],
    "EnumOption": [v2026_07_28.AnyOfItem, v2026_07_28.OneOfItem],
    "InputRequest": [
        v2026_07_28.CreateMessageRequest,
        v2026_07_28.ElicitRequest,
        v2026_07_28.ListRootsRequest,
    ],
    "LegacyCreateTaskResult": [v2025_11_25.CreateTaskResult],
    "LegacyTask": [
        v2025_11_25.Task,
        v2025_11_25.GetTaskResult,
        v2025_11_25.CancelTaskResult,
    ],
    "PromptsCapability": [v2025_11_25.Prompts, v2026_07_28.Prompts],
    "ResourceContents": [
        v2025_11_25.TextResourceContents,
        v2025_11_25.BlobResourceContents,
        v2026_07_28.TextResourceContents,
        v2026_07_28.BlobResourceContents,
    ],
    "ResourcesCapability": [v2025_11_25.Resources, v2026_07_28.Resources],
    "TasksCapability": [v2025_11_25.Tasks, v2025_11_25.Tasks1],
    "TitledEnumItems": [v2025_11_25.Items, v2026_07_28.Items],
    "ToolsCapability": [v2025_11_25.Tools1, v2026_07_28.Tools],
    # The tasks extension is not in the reference, or only under names of 2025-11-25.
    "CancelTaskResult": [],
    "CreateTaskResult": [],
    "DetailedTask": [],
    "GetTaskResult": [],
    "Task": [],
    "UpdateTaskResult": [],
    # Ours alone.
    "Annotated": [],
    "Noun": [],
}
TASK = {"taskId", "status", "statusMessage", "createdAt", "lastUpdatedAt"}
TASK |= {"ttlMs", "pollIntervalMs"}
DETAILED_TASK = TASK | {"inputRequests", "result", "error"}
RESULT = {"resultType", "_meta"}
# Members that those models do not have.
OURS = {
    "Annotated": {"annotations", "_meta"},
    "CancelTaskResult": RESULT,
    "CreateTaskResult": TASK | RESULT,
    "DetailedTask": DETAILED_TASK,
    "GetTaskResult": DETAILED_TASK | RESULT,
    "Task": TASK,
    "UpdateTaskResult": RESULT,
    # Every answer of a server has it; projection never sends it in these revisions.
    "GetTaskPayloadResult": {"resultType"},
    "InitializeResult": {"resultType"},
    "LegacyCreateTaskResult": {"resultType"},
    "ListTasksResult": {"resultType"},
    # Whatever the modern era pages, it also caches.
    "PaginatedResult": {"ttlMs", "cacheScope"},
    # The tasks extension adds it.
    "SubscriptionFilter": {"taskIds"},
}
# Members that projection adds to modern answers.
ADDED = {"resultType", "ttlMs", "cacheScope"}
# Required members of a model that need not be given here: another model of the noun
# lacks them, or they have a default that is sent.
OPTIONAL = {
    "InputRequest": {"params"},
    "NumberSchema": {"type"},
    "ResourceContents": {"text", "blob"},
    "SubscriptionsListenResult": {"_meta"},
}


def nouns() -> list[type[msgspec.Struct]]:
    names = [(m, name) for m in (content, elicitation, types) for name in m.__all__]
    values = [getattr(module, name) for module, name in names]
    return [v for v in values if isinstance(v, type) and issubclass(v, msgspec.Struct)]


def models_of(name: str) -> list[type[BaseModel]]:
    if name in MODELS:
        return MODELS[name]
    references = (v2025_11_25, v2026_07_28)
    models = [getattr(r, name) for r in references if hasattr(r, name)]
    assert models, "Neither a noun of the schema, nor explained above"
    return models


@pytest.mark.parametrize("noun", nouns(), ids=lambda noun: noun.__name__)
def test_members_are_those_of_the_schemas(noun: type[msgspec.Struct]) -> None:
    tag_field = noun.__struct_config__.tag_field
    expected = set(OURS.get(noun.__name__, ()))
    for model in models_of(noun.__name__):
        expected |= {f.alias or name for name, f in model.model_fields.items()}

    assert {*noun.__struct_encode_fields__} | {tag_field} - {None} == expected


@pytest.mark.parametrize("noun", nouns(), ids=lambda noun: noun.__name__)
def test_required_members_are_those_of_the_schemas(
    noun: type[msgspec.Struct],
) -> None:
    fields = msgspec.structs.fields(noun)
    required = {field.encode_name for field in fields if field.required}
    required |= {noun.__struct_config__.tag_field} - {None}
    lenient = ADDED | OPTIONAL.get(noun.__name__, set())
    for model in models_of(noun.__name__):
        theirs = {
            f.alias or name for name, f in model.model_fields.items() if f.is_required()
        }

        assert required - theirs == set()
        assert theirs - required - lenient == set()


IMPLEMENTATION = Implementation(
    "shop",
    "1.0",
    title="Shop",
    description="Sells.",
    website_url="https://example.com",
    icons=[content.Icon("https://example.com/a.png", sizes=["48x48"])],
)
TOOL = Tool(
    "add",
    {"type": "object", "$defs": {"a": True}, "x-own": None},
    title="Add",
    description="Adds.",
    output_schema={"type": "object"},
    annotations=ToolAnnotations(
        title="Add",
        read_only_hint=True,
        destructive_hint=False,
        idempotent_hint=True,
        open_world_hint=False,
    ),
    icons=[content.Icon("https://example.com/a.png")],
    meta={"a": 1},
)
RESOURCE = content.Resource("shop://a", "A", size=0)
TEXT = content.TextContent("hello")
SERVER_CAPABILITIES = ServerCapabilities(
    experimental={"example.com/a": {}},
    logging={},
    completions={},
    prompts=PromptsCapability(list_changed=True),
    resources=ResourcesCapability(subscribe=True, list_changed=False),
    tools=ToolsCapability(),
)

# What both the oldest and the newest reference know. The newest also wants what
# projection adds.
ANSWERS = [
    CallToolResult([TEXT], structured_content={"a": None}, is_error=False),
    CompleteResult(Completion(["a"], total=150, has_more=True)),
    EmptyResult(),
    GetPromptResult([PromptMessage("user", TEXT)], description="Says hello."),
    ListPromptsResult([Prompt("hello", arguments=[PromptArgument("who")])]),
    ListResourceTemplatesResult([ResourceTemplate("shop://{a}", "A")]),
    ListResourcesResult([RESOURCE], next_cursor=""),
    ListToolsResult([TOOL], next_cursor="2"),
    ReadResourceResult([content.ResourceContents("shop://a", blob=b"a")]),
]
MODERN_ANSWERS = [
    CallToolResult([], structured_content=None),
    DiscoverResult(["2026-07-28"], SERVER_CAPABILITIES, "Be kind."),
    InputRequiredResult(request_state="s"),
    SubscriptionsListenResult(meta={"io.modelcontextprotocol/subscriptionId": 0}),
]
LEGACY_TASK = LegacyTask(
    task_id="t",
    status="working",
    created_at="2025-11-25T00:00:00Z",
    last_updated_at="2025-11-25T00:00:00Z",
    ttl=None,
    poll_interval=1000,
)
LEGACY_ANSWERS = [
    InitializeResult("2025-11-25", SERVER_CAPABILITIES, IMPLEMENTATION, "Be kind."),
    InitializeResult(
        "2025-11-25",
        ServerCapabilities(
            tasks=TasksCapability(list={}, requests={"tools": {"call": {}}})
        ),
        IMPLEMENTATION,
    ),
    ListTasksResult([LEGACY_TASK], next_cursor="2"),
    GetTaskPayloadResult(meta={"a": 1}),
    ListToolsResult(
        [Tool("add", {"type": "object"}, execution=ToolExecution("optional"))]
    ),
]


@pytest.mark.parametrize("result", [*ANSWERS, *LEGACY_ANSWERS])
def test_answer_is_valid_in_2025_11_25(result: Any) -> None:
    text = msgspec.json.encode(result)
    model = getattr(v2025_11_25, type(result).__name__)

    assert model.model_validate_json(text)
    assert msgspec.json.encode(msgspec.json.decode(text, type=type(result))) == text


@pytest.mark.parametrize("result", [*ANSWERS, *MODERN_ANSWERS])
def test_answer_is_valid_in_2026_07_28(result: Any) -> None:
    if result.result_type is UNSET:
        result = msgspec.structs.replace(result, result_type="complete")
    if isinstance(result, types.CacheableResult):
        result = msgspec.structs.replace(result, ttl_ms=0, cache_scope="private")

    text = msgspec.json.encode(result)
    model = getattr(v2026_07_28, type(result).__name__)

    assert model.model_validate_json(text)
    assert msgspec.json.encode(msgspec.json.decode(text, type=type(result))) == text


def test_only_lists_reads_and_discovery_are_cacheable() -> None:
    cacheable = {n.__name__ for n in nouns() if issubclass(n, types.CacheableResult)}

    assert cacheable - {"CacheableResult", "PaginatedResult"} == {
        "DiscoverResult",
        "ListPromptsResult",
        "ListResourceTemplatesResult",
        "ListResourcesResult",
        "ListToolsResult",
        "ReadResourceResult",
    }


@pytest.mark.parametrize(
    "result",
    [result for result in (*ANSWERS, *MODERN_ANSWERS) if result.meta is UNSET],
)
def test_answer_says_nothing_of_the_modern_wire_by_itself(result: Any) -> None:
    wire = json.loads(msgspec.json.encode(result))

    assert wire.keys() & {"ttlMs", "cacheScope", "_meta"} == set()
    assert wire.get("resultType") in (None, "input_required")


def test_absent_structured_content_is_not_null() -> None:
    absent = msgspec.json.encode(CallToolResult([]))
    null = msgspec.json.encode(CallToolResult([], None))

    assert json.loads(absent) == {"content": []}
    assert json.loads(null) == {"content": [], "structuredContent": None}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "allOf": [True], "if": {}, "$anchor": "a", "x-own": [1.0]},
        msgspec.Raw(b'{"type":"object","allOf":[true],"x-own":[1.0]}'),
    ],
)
def test_tool_schema_is_sent_as_it_is(schema: Any) -> None:
    text = msgspec.json.encode(Tool("a", schema, output_schema=schema))

    assert text.count(msgspec.json.encode(schema)) == 2


def test_cursor_may_be_empty() -> None:
    text = msgspec.json.encode(ListToolsResult([], next_cursor=""))

    assert json.loads(text) == {"tools": [], "nextCursor": ""}


def test_logging_levels_ascend() -> None:
    ascending = "debug info notice warning error critical alert emergency"

    assert " ".join(LOGGING_LEVELS) == ascending


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"title": None, "description": None, "websiteUrl": None, "icons": None},
        {"icons": [{"src": "https://example.com/a.png", "sizes": "48x48"}]},
        {"icons": "none", "mood": "fine"},
    ],
)
def test_client_is_known_whatever_it_adds_to_its_name(members: dict[str, Any]) -> None:
    wire = {"name": "c", "version": "1", **members}

    info = msgspec.json.decode(json.dumps(wire), type=Implementation)

    assert (info.name, info.version) == ("c", "1")


@pytest.mark.parametrize("wire", [{}, {"name": "c"}, {"name": 1, "version": "1"}])
def test_client_without_a_name_is_refused(wire: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wire, Implementation)


@pytest.mark.parametrize(
    ("wire", "path", "declared"),
    [
        ({}, (), True),
        ({}, ("sampling",), False),
        ({"sampling": {}}, ("sampling",), True),
        ({"sampling": {}}, ("sampling", "tools"), False),
        ({"sampling": {"tools": {}}}, ("sampling", "tools"), True),
        ({"sampling": {"tools": {}}}, ("sampling", "context"), False),
        ({"sampling": {"tools": True}}, ("sampling", "tools"), False),
        ({"sampling": {"tools": None}}, ("sampling", "tools"), False),
        ({"sampling": True}, ("sampling",), False),
        ({"sampling": True}, ("sampling", "tools"), False),
        ({"sampling": None}, ("sampling",), False),
        ({"roots": []}, ("roots",), False),
        ({"roots": {"listChanged": True}}, ("roots",), True),
        ({"roots": {"listChanged": True}}, ("roots", "listChanged"), False),
        ({"elicitation": {}}, ("elicitation",), True),
        ({"elicitation": {}}, ("elicitation", "form"), True),
        ({"elicitation": {}}, ("elicitation", "form", "deep"), False),
        ({"elicitation": {}}, ("elicitation", "url"), False),
        ({"elicitation": {"mood": {}}}, ("elicitation", "form"), True),
        ({"elicitation": {"mood": {}}}, ("elicitation", "mood"), True),
        ({"elicitation": {"form": {}}}, ("elicitation", "form"), True),
        ({"elicitation": {"form": {}}}, ("elicitation", "url"), False),
        ({"elicitation": {"form": True}}, ("elicitation", "form"), False),
        ({"elicitation": {"url": {}}}, ("elicitation", "form"), False),
        ({"elicitation": {"url": {}}}, ("elicitation", "url"), True),
        ({"elicitation": {"url": {}, "form": {}}}, ("elicitation", "form"), True),
        ({"elicitation": None}, ("elicitation", "form"), False),
        ({"elicitation": True}, ("elicitation", "form"), False),
        ({"extensions": {"a.b/c": {}}}, ("extensions", "a.b/c"), True),
        ({"extensions": {"a.b/c": {}}}, ("extensions", "a.b/d"), False),
        ({"tasks": {"requests": {"x": {}}}}, ("tasks", "requests", "x"), True),
        ({"unheardOf": {}}, ("unheardOf",), False),
        ({}, ("declares",), False),
    ],
)
def test_only_objects_declare_a_capability(
    wire: dict[str, Any], path: tuple[str, ...], declared: bool
) -> None:
    capabilities = msgspec.json.decode(json.dumps(wire), type=ClientCapabilities)

    assert capabilities.declares(*path) is declared


def test_asking_leaves_the_capabilities_as_they_were() -> None:
    capabilities = ClientCapabilities(elicitation={})
    capabilities.declares("elicitation", "form")

    assert capabilities == ClientCapabilities(elicitation={})


def test_created_task_has_its_members_in_the_answer() -> None:
    result = CreateTaskResult(
        task_id="t",
        status="working",
        created_at="2026-07-28T00:00:00Z",
        last_updated_at="2026-07-28T00:00:00Z",
        ttl_ms=None,
        poll_interval_ms=1000,
    )

    wire = json.loads(msgspec.json.encode(result))

    assert wire == {
        "resultType": "task",
        "taskId": "t",
        "status": "working",
        "createdAt": "2026-07-28T00:00:00Z",
        "lastUpdatedAt": "2026-07-28T00:00:00Z",
        "ttlMs": None,
        "pollIntervalMs": 1000,
    }


def test_created_task_of_2025_11_25_is_inside_the_answer() -> None:
    text = msgspec.json.encode(LegacyCreateTaskResult(LEGACY_TASK))

    assert v2025_11_25.CreateTaskResult.model_validate_json(text)
    assert json.loads(text)["task"]["ttl"] is None


def test_task_tells_how_it_ended() -> None:
    times = {"createdAt": "2026-07-28T00:00:00Z", "lastUpdatedAt": "2026-07-28"}
    wire = {"taskId": "t", "ttlMs": 5, **times}
    failed = {**wire, "status": "failed", "error": {"code": -1, "message": "No"}}
    asking = {**wire, "status": "input_required"}
    asking |= {"inputRequests": {"a": {"method": "roots/list"}}}
    done = {**wire, "status": "completed", "result": {"content": []}}

    for task in (failed, asking, done):
        decoded = msgspec.convert(task, DetailedTask)
        answer = msgspec.convert(task, GetTaskResult)

        assert msgspec.to_builtins(decoded) == task
        assert msgspec.to_builtins(answer) == task
        assert isinstance(answer, Task)


@pytest.mark.parametrize("result", [UpdateTaskResult(), CancelTaskResult()])
def test_wish_about_a_task_is_only_acknowledged(result: Any) -> None:
    assert msgspec.json.encode(result) == b"{}"


@pytest.mark.parametrize(
    ("wire", "reference"),
    [
        ({"type": "ref/prompt", "name": "p", "title": "P"}, PromptReference("p", "P")),
        (
            {"type": "ref/resource", "uri": "shop://{a}"},
            ResourceTemplateReference("shop://{a}"),
        ),
    ],
)
def test_reference_is_known_by_its_type(wire: dict[str, Any], reference: Any) -> None:
    kind = PromptReference | ResourceTemplateReference

    assert msgspec.convert(wire, kind) == reference
    assert msgspec.to_builtins(reference) == wire


def test_filter_ignores_what_it_does_not_know() -> None:
    wire = {"toolsListChanged": True, "moonChanged": True, "taskIds": ["t"]}

    assert msgspec.convert(wire, SubscriptionFilter) == SubscriptionFilter(
        tools_list_changed=True, task_ids=["t"]
    )


def test_roots_are_read() -> None:
    wire = {"roots": [{"uri": "file:///a", "name": "A", "_meta": {"b": 1}}]}

    assert msgspec.convert(wire, ListRootsResult) == ListRootsResult(
        [Root("file:///a", "A", {"b": 1})]
    )
