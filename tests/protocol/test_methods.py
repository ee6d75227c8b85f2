import json
from pathlib import Path
from typing import Any

import mcp_types._v2025_11_25 as v2025_11_25
import mcp_types._v2026_07_28 as v2026_07_28
import msgspec
import pytest
from mcp_types import methods as reference
from msgspec import UNSET, Raw
from pydantic import TypeAdapter

from mcp_channels.protocol import content, elicitation, errors, methods, types
from mcp_channels.protocol.messages import encode_error
from mcp_channels.protocol.methods import (
    NOTIFICATIONS,
    REQUESTS,
    CreateMessageRequestParams,
    Direction,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    Method,
    RequestParams,
    find_request,
)
from mcp_channels.protocol.versions import Revision

OLDEST = Revision.V2024_11_05
V2025_11_25 = Revision.V2025_11_25
NEWEST = Revision.V2026_07_28
TOLD = NOTIFICATIONS["notifications/initialized"]
METHODS = [*REQUESTS.values(), *NOTIFICATIONS.values()]

# The table


# The reference leaves tasks out, those of 2025-11-25 and those of the extension.
TASK_METHODS = {
    "tasks/get": ({V2025_11_25, NEWEST}, {V2025_11_25}),
    "tasks/cancel": ({V2025_11_25, NEWEST}, {V2025_11_25}),
    "tasks/result": ({V2025_11_25}, {V2025_11_25}),
    "tasks/list": ({V2025_11_25}, {V2025_11_25}),
    "tasks/update": ({NEWEST}, set()),
    "notifications/tasks/status": ({V2025_11_25}, {V2025_11_25}),
    "notifications/tasks": (set(), {NEWEST}),
}


@pytest.mark.parametrize(
    ("rows", "by_client", "by_server"),
    [
        (REQUESTS, reference.CLIENT_REQUESTS, reference.SERVER_REQUESTS),
        (NOTIFICATIONS, reference.CLIENT_NOTIFICATIONS, reference.SERVER_NOTIFICATIONS),
    ],
)
def test_methods_and_their_revisions_are_those_of_the_reference(
    rows: Any, by_client: Any, by_server: Any
) -> None:
    ours = [row for name, row in rows.items() if name not in TASK_METHODS]

    assert {(m.name, r.value) for m in ours for r in m.from_client} == set(by_client)
    assert {(m.name, r.value) for m in ours for r in m.from_server} == set(by_server)


def test_task_methods_are_those_of_both_specifications() -> None:
    rows = {m.name: (set(m.from_client), set(m.from_server)) for m in METHODS}

    assert {name: row for name, row in rows.items() if "tasks" in name} == TASK_METHODS


def test_row_is_found_by_its_name() -> None:
    assert all(REQUESTS[method.name].result for method in REQUESTS.values())
    assert all(NOTIFICATIONS[m.name].result is None for m in NOTIFICATIONS.values())


@pytest.mark.parametrize(
    ("method", "revision", "found"),
    [
        ("tools/call", OLDEST, True),
        ("tools/call", NEWEST, True),
        ("initialize", V2025_11_25, True),
        ("initialize", NEWEST, False),
        ("server/discover", V2025_11_25, False),
        ("server/discover", NEWEST, True),
        ("ping", OLDEST, True),
        ("ping", NEWEST, False),
        ("tasks/update", V2025_11_25, False),
        # A client must not ask what a server may ask.
        ("roots/list", V2025_11_25, False),
        # A notification with an id is no request.
        ("notifications/initialized", V2025_11_25, False),
        ("tools/fly", NEWEST, False),
        ("", NEWEST, False),
    ],
)
def test_client_may_send_what_its_revision_has(
    method: str, revision: Revision, found: bool
) -> None:
    expected = REQUESTS[method] if found else None

    assert find_request(method, revision) is expected


@pytest.mark.parametrize(
    ("method", "revision", "found"),
    [
        ("roots/list", OLDEST, True),
        ("roots/list", NEWEST, False),
        ("elicitation/create", Revision.V2025_03_26, False),
        ("elicitation/create", Revision.V2025_06_18, True),
        ("ping", OLDEST, True),
        ("tools/call", OLDEST, False),
        ("tools/fly", OLDEST, False),
    ],
)
def test_server_may_send_what_its_revision_has(
    method: str, revision: Revision, found: bool
) -> None:
    expected = REQUESTS[method] if found else None

    assert find_request(method, revision, from_server=True) is expected


@pytest.mark.parametrize(
    ("method", "direction"),
    [
        (REQUESTS["tools/call"], Direction.CLIENT_TO_SERVER),
        (REQUESTS["roots/list"], Direction.SERVER_TO_CLIENT),
        (REQUESTS["ping"], Direction.BOTH),
        # Both in one revision only: there is no one direction for all.
        (NOTIFICATIONS["notifications/progress"], Direction.BOTH),
    ],
)
def test_method_knows_who_sends_it(method: Method, direction: Direction) -> None:
    assert method.direction is direction


def test_method_knows_all_its_revisions() -> None:
    assert REQUESTS["tasks/get"].revisions == {V2025_11_25, NEWEST}
    assert REQUESTS["tools/call"].revisions == set(Revision)
    assert NOTIFICATIONS["notifications/progress"].revisions == set(Revision)


def test_each_request_of_clients_names_what_the_server_must_offer() -> None:
    offered = {m.name: m.server_capability for m in REQUESTS.values() if m.from_client}

    assert offered == {
        "initialize": None,
        "ping": None,
        "server/discover": None,
        "subscriptions/listen": None,
        "tools/list": "tools",
        "tools/call": "tools",
        "prompts/list": "prompts",
        "prompts/get": "prompts",
        "resources/list": "resources",
        "resources/templates/list": "resources",
        "resources/read": "resources",
        "resources/subscribe": "resources.subscribe",
        "resources/unsubscribe": "resources.subscribe",
        "completion/complete": "completions",
        "logging/setLevel": "logging",
        "tasks/get": "tasks",
        "tasks/result": "tasks",
        "tasks/list": "tasks.list",
        "tasks/cancel": "tasks.cancel",
        "tasks/update": None,
    }


def test_each_request_of_servers_names_what_the_client_must_declare() -> None:
    declared = {m.name: m.client_capability for m in REQUESTS.values() if m.from_server}

    assert declared == {
        "ping": None,
        "roots/list": ("roots",),
        "sampling/createMessage": ("sampling",),
        "elicitation/create": ("elicitation",),
        "tasks/get": ("tasks",),
        "tasks/result": ("tasks",),
        "tasks/list": ("tasks", "list"),
        "tasks/cancel": ("tasks", "cancel"),
    }


def test_notifications_name_what_must_be_advertised() -> None:
    gates = {
        m.name: m.server_capability or m.client_capability
        for m in NOTIFICATIONS.values()
    }

    assert gates == {
        "notifications/initialized": None,
        "notifications/cancelled": None,
        "notifications/progress": None,
        "notifications/message": "logging",
        "notifications/tools/list_changed": "tools.listChanged",
        "notifications/prompts/list_changed": "prompts.listChanged",
        "notifications/resources/list_changed": "resources.listChanged",
        "notifications/resources/updated": "resources.subscribe",
        "notifications/subscriptions/acknowledged": None,
        "notifications/roots/list_changed": ("roots",),
        "notifications/elicitation/complete": ("elicitation", "url"),
        "notifications/tasks/status": "tasks",
        "notifications/tasks": None,
    }


def test_modern_tasks_need_the_extension() -> None:
    extended = {method.name for method in METHODS if method.extension}

    assert extended == {
        name for name, sides in TASK_METHODS.items() if NEWEST in sides[0] | sides[1]
    }
    assert {m.extension for m in METHODS} == {None, "io.modelcontextprotocol/tasks"}


def test_only_three_requests_may_be_answered_with_questions() -> None:
    asking = {
        m.name
        for m in REQUESTS.values()
        if issubclass(m.params, methods.InputResponseRequestParams)
    }

    assert asking == reference.INPUT_REQUIRED_METHODS


def test_cacheable_answers_are_those_of_the_reference() -> None:
    cacheable = {
        m.name
        for m in REQUESTS.values()
        if m.result and issubclass(m.result, types.CacheableResult)
    }

    assert cacheable == reference.CACHEABLE_METHODS


def test_decoder_is_made_once_and_late() -> None:
    method = Method("a/b", RequestParams)

    assert "decoder" not in vars(method)
    assert method.decoder is method.decoder
    assert method.decoder.type is RequestParams


def test_absent_params_are_an_empty_object() -> None:
    method = REQUESTS["tools/list"]

    assert method.decode_params(None) == method.decode_params(Raw(b"{}"))
    assert method.decode_params(None).cursor is UNSET


def test_params_are_decoded_into_their_struct() -> None:
    params = REQUESTS["tools/list"].decode_params(Raw(b'{"cursor":"x","a":1}'))

    assert (type(params).__name__, params.cursor) == ("PaginatedRequestParams", "x")


@pytest.mark.parametrize("params", [b"[]", b'{"cursor":5}', b'{"cursor":1e999}'])
def test_wrong_params_are_the_peers_fault(params: bytes) -> None:
    with pytest.raises(errors.InvalidParams, match="Invalid params"):
        REQUESTS["tools/list"].decode_params(Raw(params))


def test_refusal_of_params_is_short() -> None:
    level = json.dumps({"level": "x" * 10_000}).encode()
    with pytest.raises(errors.InvalidParams) as caught:
        REQUESTS["logging/setLevel"].decode_params(Raw(level))

    assert len(caught.value.message) <= len("Invalid params: ") + 200


# The params


# The models of params, where they are not those of its name in both revisions.
MODELS: dict[str, list[Any]] = {
    "ElicitRequestParams": [],  # a union; what it shares is below
    "ElicitationCompleteNotificationParams": [v2025_11_25.Params1],
    "LegacyTaskStatusNotificationParams": [v2025_11_25.TaskStatusNotificationParams],
    "TaskRequestParams": [
        v2025_11_25.GetTaskRequest.model_fields["params"].annotation,
        v2025_11_25.GetTaskPayloadRequest.model_fields["params"].annotation,
        v2025_11_25.CancelTaskRequest.model_fields["params"].annotation,
    ],
    # The tasks extension is not in the reference, or only under names of 2025-11-25.
    "TaskStatusNotificationParams": [],
    "UpdateTaskRequestParams": [],
}
# Members that those models do not have. All params may have `_meta`.
OURS = {
    "ElicitRequestParams": {"message", "mode", "task"},
    "TaskStatusNotificationParams": {"taskId", "status", "statusMessage"}
    | {"createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"}
    | {"inputRequests", "result", "error"},
    "UpdateTaskRequestParams": {"taskId", "inputResponses"},
}
# Required members of a model that are optional here, as another revision lacks them,
# or with a default that is sent. `_meta` is required of modern requests.
OPTIONAL = {
    "CancelledNotificationParams": {"requestId"},
    "ElicitRequestURLParams": {"mode", "elicitationId"},
}


def params_structs() -> list[type[msgspec.Struct]]:
    values = [getattr(methods, name) for name in methods.__all__]
    return [v for v in values if isinstance(v, type) and issubclass(v, msgspec.Struct)]


def models_of(name: str) -> list[Any]:
    if name in MODELS:
        return MODELS[name]
    models = [getattr(r, name, None) for r in (v2025_11_25, v2026_07_28)]
    assert any(models), "Neither params of the schema, nor explained above"
    return [model for model in models if model]


def test_all_params_of_the_table_are_public() -> None:
    assert {m.params for m in METHODS} <= set(params_structs())


@pytest.mark.parametrize("params", params_structs(), ids=lambda p: p.__name__)
def test_members_are_those_of_the_schemas(params: type[msgspec.Struct]) -> None:
    expected = OURS.get(params.__name__, set()) | {"_meta"}
    for model in models_of(params.__name__):
        expected |= {f.alias or name for name, f in model.model_fields.items()}

    assert set(params.__struct_encode_fields__) == expected


@pytest.mark.parametrize("params", params_structs(), ids=lambda p: p.__name__)
def test_required_members_are_those_of_the_schemas(
    params: type[msgspec.Struct],
) -> None:
    fields = msgspec.structs.fields(params)
    required = {field.encode_name for field in fields if field.required}
    lenient = OPTIONAL.get(params.__name__, set()) | {"_meta"}
    for model in models_of(params.__name__):
        theirs = {
            f.alias or name for name, f in model.model_fields.items() if f.is_required()
        }

        assert required - theirs == set()
        assert theirs - required - lenient == set()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_params_that_are_no_object_are_refused(method: Method) -> None:
    for text in ("[]", "1", '"a"', "null", '{"_meta": []}'):
        with pytest.raises(msgspec.ValidationError):
            method.decoder.decode(text)


def test_null_meta_is_absent() -> None:
    for decode in (REQUESTS["ping"].decoder.decode, TOLD.decoder.decode):
        assert decode('{"mood": "fine"}').meta is UNSET
        assert decode('{"_meta": null}').meta is None
        assert decode('{"_meta": {"a": 1}}').meta == {"a": 1}


@pytest.mark.parametrize("arguments", ["{}", "null", "[1]", '{"a" : [1.0]}'])
def test_arguments_of_a_tool_stay_json(arguments: str) -> None:
    text = f'{{"name": "add", "arguments": {arguments}}}'

    params = REQUESTS["tools/call"].decoder.decode(text)

    assert bytes(params.arguments) == arguments.encode()
    assert arguments.encode() in msgspec.json.encode(params)


@pytest.mark.parametrize("task", [{"ttl": 5}, {}, True, None, "soon"])
def test_task_in_a_tool_call_never_refuses_it(task: Any) -> None:
    text = json.dumps({"name": "add", "task": task})

    assert REQUESTS["tools/call"].decoder.decode(text).task == task


@pytest.mark.parametrize(
    ("method", "members"),
    [
        ("tools/list", {"cursor": None}),
        ("tools/call", {"name": "a", "inputResponses": None, "requestState": None}),
        ("prompts/get", {"name": "a", "arguments": None}),
    ],
)
def test_null_is_forgiven_where_it_means_absent(
    method: str, members: dict[str, Any]
) -> None:
    params = REQUESTS[method].decoder.decode(json.dumps(members))

    for field in msgspec.structs.fields(params):
        if members.get(field.encode_name) is None:
            assert getattr(params, field.name) in (None, UNSET)


def test_empty_cursor_is_a_cursor() -> None:
    decode = REQUESTS["tools/list"].decoder.decode

    assert decode('{"cursor": ""}').cursor == ""
    assert decode("{}").cursor is UNSET


@pytest.mark.parametrize(
    ("method", "members"),
    [
        ("tools/list", {"cursor": 5}),
        ("tools/call", {}),
        ("tools/call", {"name": 5}),
        ("tools/call", {"name": "a", "inputResponses": []}),
        ("tools/call", {"name": "a", "requestState": {}}),
        ("prompts/get", {"name": "a", "arguments": {"n": 5}}),
        ("logging/setLevel", {"level": "warn"}),
        ("initialize", {"capabilities": {}, "clientInfo": {"name": "a"}}),
        ("initialize", {"protocolVersion": 1, "capabilities": {}}),
        ("subscriptions/listen", {}),
        ("subscriptions/listen", {"notifications": True}),
        ("completion/complete", {"ref": {"name": "a"}, "argument": {}}),
        ("completion/complete", {"ref": {"type": "ref/tool", "name": "a"}}),
    ],
)
def test_malformed_params_are_refused(method: str, members: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        REQUESTS[method].decoder.decode(json.dumps(members))


@pytest.mark.parametrize("id", [0, 1, "", "1", 2**70])
def test_cancelled_id_keeps_its_type(id: Any) -> None:
    decode = NOTIFICATIONS["notifications/cancelled"].decoder.decode

    params = decode(json.dumps({"requestId": id, "reason": None}))

    assert params.request_id == id
    assert type(params.request_id) is type(id)


@pytest.mark.parametrize("id", [True, 1.0, 1.5, None, [1]])
def test_what_is_no_id_is_refused(id: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        NOTIFICATIONS["notifications/cancelled"].decoder.decode(
            json.dumps({"requestId": id})
        )


ELICITATIONS = [
    ElicitRequestFormParams(
        message="Name?", requested_schema=elicitation.RequestedSchema({})
    ),
    ElicitRequestFormParams(
        mode="form", message="Name?", requested_schema=elicitation.RequestedSchema({})
    ),
    ElicitRequestURLParams(
        message="Pay", url="https://example.com", elicitation_id="1"
    ),
]


@pytest.mark.parametrize("params", ELICITATIONS)
def test_elicitation_is_valid_in_the_reference(params: Any) -> None:
    text = msgspec.json.encode(params)

    for revision in (v2025_11_25, v2026_07_28):
        assert TypeAdapter(revision.ElicitRequestParams).validate_json(text)
    assert isinstance(params, REQUESTS["elicitation/create"].params)
    assert REQUESTS["elicitation/create"].decoder.decode(text).mode == params.mode


def test_request_for_a_sample_is_valid_in_the_reference() -> None:
    params = CreateMessageRequestParams(
        messages=[elicitation.SamplingMessage("user", content.TextContent("Hello"))],
        max_tokens=10,
        model_preferences=elicitation.ModelPreferences(cost_priority=1),
        include_context="none",
        temperature=0.5,
        stop_sequences=["."],
        tools=[types.Tool("add", {"type": "object"})],
        tool_choice=elicitation.ToolChoice("auto"),
        task=types.TaskMetadata(5),
        meta={"progressToken": 0},
    )

    text = msgspec.json.encode(params)

    for revision in (v2025_11_25, v2026_07_28):
        assert revision.CreateMessageRequestParams.model_validate_json(text)
    assert REQUESTS["sampling/createMessage"].decoder.decode(text) == params


# The examples of 2026-07-28


EXAMPLES = sorted(Path(__file__).parent.glob("examples/*/*.json"))
# What the folders are called that are not called as ours.
NOUNS = {
    "BlobResourceContents": content.ResourceContents,
    "TextResourceContents": content.ResourceContents,
}
ERRORS = {
    "HeaderMismatchError": errors.HEADER_MISMATCH,
    "InternalError": errors.INTERNAL_ERROR,
    "InvalidParamsError": errors.INVALID_PARAMS,
    "MethodNotFoundError": errors.METHOD_NOT_FOUND,
    "MissingRequiredClientCapabilityError": errors.MISSING_CLIENT_CAPABILITY,
    "ParseError": errors.PARSE_ERROR,
    "UnsupportedProtocolVersionError": errors.UNSUPPORTED_PROTOCOL_VERSION,
}
# An answer to a question, by a member that only its kind has.
ANSWERS = {
    "action": elicitation.ElicitResult,
    "model": elicitation.CreateMessageResult,
    "roots": types.ListRootsResult,
}


def reencode(value: Any, noun: Any) -> Any:
    decoded = msgspec.json.decode(json.dumps(value), type=noun)
    return json.loads(msgspec.json.encode(decoded))


def reencode_message(message: dict[str, Any]) -> dict[str, Any]:
    """Reencode the params of a request, also of one inside a result."""
    method = (REQUESTS | NOTIFICATIONS)[message["method"]]
    params = method.params
    if message["method"] == "elicitation/create":
        is_url = message["params"]["mode"] == "url"
        params = ElicitRequestURLParams if is_url else ElicitRequestFormParams
    reencoded = {k: reencode(v, params) for k, v in message.items() if k == "params"}
    return message | reencoded


def reencode_error(folder: str, value: dict[str, Any]) -> dict[str, Any]:
    # Some of these examples are the error alone, without the message around it.
    is_message = "error" in value
    error = value["error"] if is_message else value
    data = error.get("data", UNSET)
    frame = encode_error(value.get("id"), ERRORS[folder], error["message"], data)
    return json.loads(frame) if is_message else json.loads(frame)["error"]


def reencode_example(folder: str, value: Any) -> Any:
    if folder in ERRORS:
        return reencode_error(folder, value)
    if folder.endswith("ResultResponse"):
        noun = getattr(types, folder.removesuffix("Response"))
        return value | {"result": reencode(value["result"], noun)}
    if folder.endswith(("Request", "Notification")):
        return reencode_message(value)
    if folder == "InputRequests":
        questions = reencode(value, dict[str, elicitation.InputRequest])
        return {key: reencode_message(question) for key, question in questions.items()}
    if folder == "InputResponses":
        return {
            key: reencode(answer, ANSWERS[(answer.keys() & ANSWERS).pop()])
            for key, answer in value.items()
        }
    for module in (content, elicitation, types, methods):
        if folder in module.__all__:
            return reencode(value, getattr(module, folder))
    return reencode(value, NOUNS[folder])


def canonical(value: Any) -> str:
    """Return the one text of all JSON that means the same: 1 and 1.0 do."""
    text = json.dumps(value)
    return json.dumps(json.loads(text, parse_int=float), sort_keys=True)


@pytest.mark.parametrize(
    "path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_example_survives_decoding_and_encoding(path: Path) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))

    reencoded = reencode_example(path.parent.name, example)

    assert canonical(reencoded) == canonical(example)


def test_no_example_is_missing() -> None:
    folders = {path.parent.name for path in EXAMPLES}

    assert (len(EXAMPLES), len(folders)) == (129, 88)
