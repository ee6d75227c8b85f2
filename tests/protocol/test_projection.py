import json
from typing import Any

import msgspec
import pytest
from mcp_types import methods as reference
from msgspec import UNSET, Raw, Struct

from mcp_channels.protocol import content, elicitation, types
from mcp_channels.protocol.elicitation import SamplingMessage
from mcp_channels.protocol.envelope import SERVER_INFO
from mcp_channels.protocol.methods import (
    CreateMessageRequestParams,
    ElicitRequestFormParams,
    ProgressNotificationParams,
)
from mcp_channels.protocol.projection import (
    RootValue,
    SharedResult,
    has_object_root,
    project,
    project_result,
)
from mcp_channels.protocol.versions import (
    HANDSHAKE_REVISIONS,
    MODERN_REVISIONS,
    Revision,
)

STAMP = {SERVER_INFO: {"name": "s", "version": "1"}}
META = {"example.com/a": 1}
MODERN = Revision.V2026_07_28
SINCE_03 = {*Revision} - {Revision.V2024_11_05}
SINCE_06 = SINCE_03 - {Revision.V2025_03_26}
SINCE_11 = SINCE_06 - {Revision.V2025_06_18}
ONLY_11 = {Revision.V2025_11_25}
STRUCTURED_LEGACY = {Revision.V2025_06_18, Revision.V2025_11_25}

ICONS = [content.Icon("https://example.com/icon.png")]
NOTED = content.Annotations(priority=1.0, last_modified="2026-01-01T00:00:00Z")
TEXT = content.TextContent("x", annotations=NOTED, meta=META)
IMAGE = content.ImageContent(b"x", "image/png", annotations=NOTED, meta=META)
AUDIO = content.AudioContent(b"xyz", "audio/wav", annotations=NOTED, meta=META)
CONTENTS = content.ResourceContents("a://b", text="x", meta=META)
EMBEDDED = content.EmbeddedResource(CONTENTS, annotations=NOTED, meta=META)
LINK = content.ResourceLink(
    "a://b", "b", title="B", icons=ICONS, annotations=NOTED, meta=META
)
TOOL = types.Tool(
    "t",
    {"type": "object"},
    title="T",
    description="d",
    output_schema={"type": "object"},
    annotations=types.ToolAnnotations(read_only_hint=True),
    execution=types.ToolExecution(),
    icons=ICONS,
    meta=META,
)


def wire(value: Any) -> Any:
    """What is sent for a value."""
    return json.loads(msgspec.json.encode(value))


# Members. The tables of the specifications, told once more: by member, since when.

MEMBERS: list[tuple[Struct, dict[str, set[Revision]]]] = [
    (NOTED, {"lastModified": SINCE_06}),
    (content.TextContent("x"), {}),
    (TEXT, {"_meta": SINCE_06}),
    (IMAGE, {"_meta": SINCE_06}),
    (EMBEDDED, {"_meta": SINCE_06}),
    (CONTENTS, {"_meta": SINCE_06}),
    (
        types.Implementation(
            "s", "1", title="S", description="d", website_url="https://x", icons=ICONS
        ),
        {
            "title": SINCE_06,
            "description": SINCE_11,
            "icons": SINCE_11,
            "websiteUrl": SINCE_11,
        },
    ),
    (
        types.ServerCapabilities(
            experimental={},
            logging={},
            completions={},
            prompts=types.PromptsCapability(),
            resources=types.ResourcesCapability(),
            tools=types.ToolsCapability(),
            tasks=types.TasksCapability(),
            extensions={},
        ),
        {"completions": SINCE_03, "tasks": ONLY_11, "extensions": SINCE_11},
    ),
    (
        TOOL,
        {
            "annotations": SINCE_03,
            "title": SINCE_06,
            "outputSchema": SINCE_06,
            "_meta": SINCE_06,
            "icons": SINCE_11,
            "execution": ONLY_11,
        },
    ),
    (
        content.Resource(
            "a://b", "b", title="B", icons=ICONS, annotations=NOTED, meta=META
        ),
        {"title": SINCE_06, "_meta": SINCE_06, "icons": SINCE_11},
    ),
    (
        types.ResourceTemplate(
            "a://{b}", "b", title="B", icons=ICONS, annotations=NOTED, meta=META
        ),
        {"title": SINCE_06, "_meta": SINCE_06, "icons": SINCE_11},
    ),
    (
        types.Prompt(
            "p",
            title="P",
            arguments=[types.PromptArgument("a")],
            icons=ICONS,
            meta=META,
        ),
        {"title": SINCE_06, "_meta": SINCE_06, "icons": SINCE_11},
    ),
    (
        types.PromptArgument("a", title="A", description="d", required=True),
        {"title": SINCE_06},
    ),
    (
        types.CallToolResult(
            content=[], structured_content={"a": 1}, is_error=False, meta=META
        ),
        {"structuredContent": SINCE_06},
    ),
    (
        ProgressNotificationParams(progress_token=1, progress=1, total=2, message="m"),
        {"message": SINCE_03},
    ),
    (SamplingMessage("user", TEXT, meta=META), {"_meta": SINCE_11}),
    (types.GetPromptResult(messages=[], description="d", meta=META), {}),
    (types.Completion([], total=1, has_more=False), {}),
]


@pytest.mark.parametrize("revision", Revision)
@pytest.mark.parametrize(("value", "since"), MEMBERS)
def test_revision_gets_the_members_that_it_knows(
    value: Struct, since: dict[str, set[Revision]], revision: Revision
) -> None:
    everything = set(wire(value))
    unknown = {name for name, revisions in since.items() if revision not in revisions}

    assert since.keys() <= everything
    assert set(wire(project(value, revision))) == everything - unknown


@pytest.mark.parametrize("value", [TEXT, IMAGE, LINK, EMBEDDED])
def test_what_is_all_known_is_not_copied(value: Struct) -> None:
    assert project(value, Revision.V2025_11_25) is value


NESTED: list[tuple[Struct, list[str | int], str, set[Revision]]] = [
    (
        types.InitializeResult(
            "x",
            types.ServerCapabilities(completions={}),
            types.Implementation("s", "1"),
        ),
        ["capabilities"],
        "completions",
        SINCE_03,
    ),
    (
        types.InitializeResult(
            "x", types.ServerCapabilities(), types.Implementation("s", "1", title="S")
        ),
        ["serverInfo"],
        "title",
        SINCE_06,
    ),
    (
        types.DiscoverResult([], types.ServerCapabilities(extensions={})),
        ["capabilities"],
        "extensions",
        SINCE_11,
    ),
    (types.ListToolsResult([TOOL]), ["tools", 0], "title", SINCE_06),
    (
        types.ListPromptsResult(
            [types.Prompt("p", arguments=[types.PromptArgument("a", title="A")])]
        ),
        ["prompts", 0, "arguments", 0],
        "title",
        SINCE_06,
    ),
    (
        types.ListResourcesResult([content.Resource("a://b", "b", annotations=NOTED)]),
        ["resources", 0, "annotations"],
        "lastModified",
        SINCE_06,
    ),
    (
        types.ListResourceTemplatesResult(
            [types.ResourceTemplate("a://{b}", "b", annotations=NOTED)]
        ),
        ["resourceTemplates", 0, "annotations"],
        "lastModified",
        SINCE_06,
    ),
    (types.ReadResourceResult([CONTENTS]), ["contents", 0], "_meta", SINCE_06),
    (
        types.GetPromptResult([types.PromptMessage("user", EMBEDDED)]),
        ["messages", 0, "content", "resource"],
        "_meta",
        SINCE_06,
    ),
    (
        types.CallToolResult([IMAGE]),
        ["content", 0, "annotations"],
        "lastModified",
        SINCE_06,
    ),
    (
        types.CallToolResult([AUDIO]),
        ["content", 0],
        "mimeType",
        SINCE_03,
    ),
]


@pytest.mark.parametrize("revision", Revision)
@pytest.mark.parametrize(("result", "path", "member", "known_to"), NESTED)
def test_what_is_inside_is_projected_too(
    result: Struct,
    path: list[str | int],
    member: str,
    known_to: set[Revision],
    revision: Revision,
) -> None:
    before = wire(result)
    inside = wire(project(result, revision))
    for step in path:
        inside = inside[step]

    assert (member in inside) is (revision in known_to)
    assert wire(result) == before


def test_raw_json_among_nouns_is_left_alone() -> None:
    tools: Any = [Raw(b'{"name":"t","inputSchema":{},"title":"T"}'), TOOL]
    (raw, projected) = wire(
        project(types.ListToolsResult(tools), Revision.V2024_11_05)
    )["tools"]

    assert raw["title"] == "T"
    assert "title" not in projected


# Content


@pytest.mark.parametrize("revision", Revision)
def test_sound_is_described_where_it_is_unknown(revision: Revision) -> None:
    result = types.CallToolResult(content=[AUDIO])
    (block,) = wire(project(result, revision))["content"]

    if revision in SINCE_03:
        assert (block["type"], block["data"]) == ("audio", "eHl6")
    else:
        assert block == {"type": "text", "text": "[audio, audio/wav, 3 bytes]"}


@pytest.mark.parametrize("revision", Revision)
def test_link_is_written_out_where_it_is_unknown(revision: Revision) -> None:
    result = types.GetPromptResult([types.PromptMessage("user", LINK)])
    block = wire(project(result, revision))["messages"][0]["content"]

    if revision in SINCE_06:
        assert (block["type"], block["uri"]) == ("resource_link", "a://b")
        assert ("icons" in block) is (revision in SINCE_11)
    else:
        assert block == {"type": "text", "text": "b: a://b"}


# Structured content


def structured(value: Any, revision: Revision) -> Any:
    """The structured content that is sent, UNSET when there is none."""
    result = types.CallToolResult(content=[], structured_content=value)

    return wire(project(result, revision)).get("structuredContent", UNSET)


@pytest.mark.parametrize("revision", Revision)
@pytest.mark.parametrize("value", [{"a": [1]}, Raw(b'{"a":[1]}')])
def test_object_is_sent_as_it_is(value: Any, revision: Revision) -> None:
    expected = {"a": [1]} if revision in SINCE_06 else UNSET

    assert structured(value, revision) == expected


@pytest.mark.parametrize("revision", Revision)
@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ([1, 2], [1, 2]),
        ("x", "x"),
        (0, 0),
        (None, None),
        (Raw(b"[1,2]"), [1, 2]),
        (Raw(b"null"), None),
        (RootValue([1, 2]), [1, 2]),
        (RootValue(None), None),
        (RootValue(Raw(b'{"a":1}')), {"a": 1}),
    ],
)
def test_other_value_is_wrapped_where_only_objects_may_be(
    value: Any, plain: Any, revision: Revision
) -> None:
    found = structured(value, revision)

    if revision is MODERN:
        assert found == plain
    elif revision in STRUCTURED_LEGACY:
        assert found == {"result": plain}
    else:
        assert found is UNSET


def test_absent_structured_content_stays_absent() -> None:
    assert all(structured(UNSET, revision) is UNSET for revision in Revision)


def test_projected_result_leaves_the_original_as_it_was() -> None:
    result = types.CallToolResult(content=[AUDIO], structured_content=RootValue(5))
    for revision in Revision:
        project_result(result, revision, STAMP)

    assert result == types.CallToolResult(
        content=[AUDIO], structured_content=RootValue(5)
    )


# Output schemas


def output_schema(schema: dict[str, Any], revision: Revision) -> Any:
    """The output schema that is sent, UNSET when there is none."""
    tool = types.Tool("t", {"type": "object"}, output_schema=schema)
    sent = wire(project(tool, revision))

    assert tool.output_schema is schema
    return sent.get("outputSchema", UNSET)


@pytest.mark.parametrize("revision", Revision)
def test_schema_of_objects_is_sent_as_it_is(revision: Revision) -> None:
    schema = {"type": "object", "$defs": {"a": {}}, "properties": {"b": {"$ref": "#"}}}
    expected = schema if revision in SINCE_06 else UNSET

    assert output_schema(schema, revision) == expected


@pytest.mark.parametrize(
    "schema",
    [{"type": "array"}, {"type": ["object", "null"]}, {"anyOf": []}, {}],
)
def test_other_schema_is_wrapped_where_only_objects_may_be(
    schema: dict[str, Any],
) -> None:
    wrapped = {
        "type": "object",
        "properties": {"result": schema},
        "required": ["result"],
    }

    assert output_schema(schema, MODERN) == schema
    assert {revision: output_schema(schema, revision) for revision in SINCE_06} == {
        **dict.fromkeys(STRUCTURED_LEGACY, wrapped),
        MODERN: schema,
    }
    assert output_schema(schema, Revision.V2025_03_26) is UNSET


def test_references_follow_a_wrapped_schema() -> None:
    dialect = "https://json-schema.org/draft/2020-12/schema"
    schema = {
        "$schema": dialect,
        "type": "array",
        "items": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#"}, {"type": "null"}]},
        "$defs": {
            "a": {"properties": {"b": {"$ref": "https://x/y#/z"}, "$ref": {}}},
            "c": {"$ref": "#anchor"},
        },
    }
    before = json.dumps(schema)

    assert output_schema(schema, Revision.V2025_11_25) == {
        "$schema": dialect,
        "type": "object",
        "properties": {
            "result": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"$ref": "#/properties/result/$defs/a"},
                        {"$ref": "#/properties/result"},
                        {"type": "null"},
                    ]
                },
                "$defs": {
                    "a": {"properties": {"b": {"$ref": "https://x/y#/z"}, "$ref": {}}},
                    "c": {"$ref": "#anchor"},
                },
            }
        },
        "required": ["result"],
    }
    assert json.dumps(schema) == before


def test_root_is_an_object_when_its_type_says_so() -> None:
    assert has_object_root({"type": "object"})
    assert not has_object_root({"type": ["object"]})
    assert not has_object_root({"properties": {}})


# Sampling


@pytest.mark.parametrize("revision", Revision)
def test_sampling_has_one_block_in_a_message_where_there_are_no_more(
    revision: Revision,
) -> None:
    said = [SamplingMessage("user", [TEXT, AUDIO]), SamplingMessage("assistant", TEXT)]
    params = CreateMessageRequestParams(messages=said, max_tokens=1)
    before = wire(params)
    text, audio = wire(project(TEXT, revision)), wire(project(AUDIO, revision))
    answered = {"role": "assistant", "content": text}
    messages = wire(project(params, revision))["messages"]

    if revision in SINCE_11:
        assert messages == [{"role": "user", "content": [text, audio]}, answered]
    else:
        assert messages == [
            {"role": "user", "content": text},
            {"role": "user", "content": audio},
            answered,
        ]
    assert wire(params) == before


# The result envelope


RESULTS: list[tuple[str, types.Result]] = [
    ("tools/list", types.ListToolsResult(tools=[TOOL])),
    ("prompts/list", types.ListPromptsResult(prompts=[])),
    ("resources/list", types.ListResourcesResult(resources=[])),
    ("resources/templates/list", types.ListResourceTemplatesResult([])),
    ("resources/read", types.ReadResourceResult(contents=[CONTENTS])),
    ("tools/call", types.CallToolResult(content=[TEXT, IMAGE, AUDIO, EMBEDDED, LINK])),
    ("prompts/get", types.GetPromptResult([types.PromptMessage("user", LINK)])),
    ("completion/complete", types.CompleteResult(types.Completion(["x"]))),
]
CACHED = {
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
}


@pytest.mark.parametrize("revision", Revision)
@pytest.mark.parametrize(("method", "result"), RESULTS)
def test_result_is_valid_in_every_revision(
    method: str, result: types.Result, revision: Revision
) -> None:
    sent = wire(project_result(result, revision, STAMP))

    reference.validate_server_result(method, revision.value, sent)
    if revision is MODERN:
        assert sent["resultType"] == "complete"
        assert sent["_meta"] == STAMP
        hints = {"ttlMs": 0, "cacheScope": "private"} if method in CACHED else {}
        assert {
            name: sent[name] for name in ("ttlMs", "cacheScope") if name in sent
        } == (hints)
    else:
        assert not {"resultType", "ttlMs", "cacheScope", "_meta"} & sent.keys()


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
@pytest.mark.parametrize(
    "result",
    [
        types.EmptyResult(result_type="complete"),
        types.ListToolsResult(tools=[], ttl_ms=5),
        types.ListToolsResult(tools=[], cache_scope="public"),
        types.ListToolsResult(tools=[], result_type="complete"),
    ],
)
def test_modern_members_never_leave_on_a_legacy_wire(
    result: types.Result, revision: Revision
) -> None:
    before = wire(result)
    sent = wire(project_result(result, revision, STAMP))

    assert not {"resultType", "ttlMs", "cacheScope"} & sent.keys()
    assert wire(result) == before


@pytest.mark.parametrize("revision", MODERN_REVISIONS)
def test_what_the_answer_says_of_itself_is_kept(revision: Revision) -> None:
    result = types.ListToolsResult(
        tools=[],
        ttl_ms=60_000,
        cache_scope="public",
        result_type="other",
        meta={**META, SERVER_INFO: "mine"},
    )

    assert wire(project_result(result, revision, STAMP)) == {
        "resultType": "other",
        "tools": [],
        "ttlMs": 60_000,
        "cacheScope": "public",
        "_meta": {**META, SERVER_INFO: "mine"},
    }


@pytest.mark.parametrize("revision", Revision)
def test_meta_of_a_result_is_kept(revision: Revision) -> None:
    result = types.CallToolResult(content=[], meta=META)
    expected = {**STAMP, **META} if revision is MODERN else META

    assert wire(project_result(result, revision, STAMP))["_meta"] == expected
    assert result.meta == META


@pytest.mark.parametrize("revision", Revision)
def test_empty_answer_is_empty_except_where_all_are_stamped(revision: Revision) -> None:
    sent = wire(project_result(types.EmptyResult(), revision, STAMP))

    assert sent == (
        {"resultType": "complete", "_meta": STAMP} if revision is MODERN else {}
    )


def test_detailed_task_is_stamped_as_results_are() -> None:
    task = types.GetTaskResult(
        task_id="t", status="working", created_at="x", last_updated_at="x", ttl_ms=None
    )
    sent = wire(project_result(task, MODERN, STAMP))

    assert (sent["resultType"], sent["_meta"]) == ("complete", STAMP)
    assert sent["ttlMs"] is None


def test_what_is_no_result_of_a_server_is_not_stamped() -> None:
    roots = types.ListRootsResult(roots=[])

    assert wire(project_result(roots, MODERN, STAMP)) == {"roots": []}


# Questions


COLOURS = {"r": "Red", "g": "Green"}
OPTIONS = [elicitation.EnumOption(*option) for option in COLOURS.items()]
FORM = ElicitRequestFormParams(
    message="Who?",
    requested_schema=elicitation.RequestedSchema(
        {
            "name": elicitation.StringSchema(title="Name", default="Ada"),
            "age": elicitation.NumberSchema(type="integer", minimum=0, default=36),
            "is_sure": elicitation.BooleanSchema(default=True),
            "colour": elicitation.TitledSingleSelectEnumSchema(
                one_of=OPTIONS, default="r"
            ),
            # As JSON, which a schema by hand gives.
            "size": {"type": "string", "enum": ["s", "m"], "default": "s"},
        },
        required=["name"],
    ),
)


def properties(params: Struct) -> Any:
    return wire(params)["requestedSchema"]["properties"]


@pytest.mark.parametrize("revision", [Revision.V2025_11_25, MODERN])
def test_form_is_sent_as_it_is(revision: Revision) -> None:
    assert project(FORM, revision) == FORM


def test_form_of_2025_06_18_has_choices_with_names_and_few_defaults() -> None:
    before = wire(FORM)
    projected = project(FORM, Revision.V2025_06_18)

    assert properties(projected) == {
        "name": {"type": "string", "title": "Name"},
        "age": {"type": "integer", "minimum": 0},
        "is_sure": {"type": "boolean", "default": True},
        "colour": {
            "type": "string",
            "enum": ["r", "g"],
            "enumNames": ["Red", "Green"],
        },
        "size": {"type": "string", "enum": ["s", "m"]},
    }
    assert wire(projected)["requestedSchema"]["required"] == ["name"]
    # The form itself serves other clients, too.
    assert wire(FORM) == before


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS[2:])
def test_form_is_valid_in_every_revision_that_has_forms(revision: Revision) -> None:
    params = wire(project(FORM, revision))

    assert reference.parse_server_request("elicitation/create", revision.value, params)


# Results for many


@pytest.mark.parametrize("revision", Revision)
def test_shared_result_is_encoded_once_for_a_revision(revision: Revision) -> None:
    result = types.ListToolsResult(tools=[TOOL])
    shared = SharedResult(result)
    text = shared.encode(revision, STAMP)

    assert json.loads(text) == wire(project_result(result, revision, STAMP))
    assert shared.encode(revision, STAMP) is text


def test_shared_result_differs_between_revisions() -> None:
    shared = SharedResult(types.ListToolsResult(tools=[TOOL]))

    assert len({shared.encode(revision, STAMP) for revision in Revision}) == 5


def test_shared_result_has_the_stamp_of_who_sends_it() -> None:
    shared = SharedResult(types.ListToolsResult(tools=[]))
    for number in range(100):
        # A new object each time, which may well take the place of the last in memory.
        text = shared.encode(MODERN, {SERVER_INFO: number})

        assert json.loads(text)["_meta"] == {SERVER_INFO: number}
