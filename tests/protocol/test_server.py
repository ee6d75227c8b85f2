import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import UNSET

from mcp_channels.protocol import types
from mcp_channels.protocol.connection import (
    Cancelled,
    Closing,
    Initialized,
    Limits,
    Request,
    Response,
)
from mcp_channels.protocol.content import Icon, TextContent
from mcp_channels.protocol.elicitation import RequestedSchema, StringSchema
from mcp_channels.protocol.envelope import (
    CLIENT_CAPABILITIES,
    CLIENT_INFO,
    LOG_LEVEL,
    PROTOCOL_VERSION,
    SERVER_INFO,
    SUBSCRIPTION_ID,
)
from mcp_channels.protocol.errors import (
    InvalidParams,
    ProtocolError,
    ResourceNotFound,
)
from mcp_channels.protocol.methods import (
    TASKS_EXTENSION,
    ElicitRequestFormParams,
    RequestParams,
)
from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.server import ServerConnection, ServerDescription
from mcp_channels.protocol.types import LOGGING_LEVELS, LoggingLevel
from mcp_channels.protocol.versions import (
    HANDSHAKE_REVISIONS,
    LATEST_HANDSHAKE,
    Revision,
)

MODERN = Revision.V2026_07_28
BATCHING = Revision.V2025_03_26
WITHOUT_BATCHES = [r for r in HANDSHAKE_REVISIONS if r is not BATCHING]
ENVELOPE = {PROTOCOL_VERSION: MODERN.value, CLIENT_CAPABILITIES: {}}
HELLO = {"capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
INFO = types.Implementation(
    "tests",
    "1",
    title="Tests",
    website_url="https://example.com",
    icons=[Icon("https://example.com/i.png")],
)
EVERYTHING = types.ServerCapabilities(
    logging={},
    completions={},
    prompts=types.PromptsCapability(list_changed=True),
    resources=types.ResourcesCapability(subscribe=True, list_changed=True),
    tools=types.ToolsCapability(list_changed=True),
    extensions={TASKS_EXTENSION: {}},
)
OK = types.CallToolResult(content=[TextContent("ok")])


class Client:
    """Speaks to a connection, frame by frame."""

    def __init__(
        self,
        revision: Revision | None = None,
        *,
        capabilities: types.ServerCapabilities = EVERYTHING,
        instructions: Any = UNSET,
        **limits: Any,
    ) -> None:
        """Shake hands in a legacy `revision`; None leaves the connection new."""
        self.revision = revision
        description = ServerDescription(INFO, capabilities, instructions)
        self.connection = ServerConnection(description, Limits(**limits))
        if revision is not None and revision is not MODERN:
            self.hello = self.ask(
                "initialize", {"protocolVersion": revision.value, **HELLO}, id="hello"
            )
            self.notify("notifications/initialized")

    def message(
        self, method: str, params: Any = None, id: Any = 1, **meta: Any
    ) -> dict[str, Any]:
        """A request, with an envelope when this client is a modern one."""
        params = dict(params or {})
        if self.revision is MODERN:
            meta = {**ENVELOPE, **meta}
        if meta:
            params["_meta"] = meta
        return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}

    def send(self, message: Any) -> list[Any]:
        """Send JSON and return the events."""
        return self.connection.receive(json.dumps(message))

    def notify(self, method: str, params: Any = None) -> list[Any]:
        message = {"jsonrpc": "2.0", "method": method}
        return self.send(message if params is None else {**message, "params": params})

    def open(self, method: str = "tools/call", id: Any = 1, **meta: Any) -> Request:
        """Send a request that is admitted."""
        params = {"name": "t"} if method == "tools/call" else {}
        (request,) = self.send(self.message(method, params, id, **meta))

        assert isinstance(request, Request)
        return request

    def ask(self, method: str, params: Any = None, id: Any = 1, **meta: Any) -> Any:
        """Send a request that is answered at once, and return the answer."""
        events = self.send(self.message(method, params, id, **meta))
        (answer,) = self.received()

        assert events == []
        assert answer["id"] == id
        return answer

    def received(self) -> list[Any]:
        """All that came since the last time."""
        return list(self._received())

    def _received(self) -> Iterator[Any]:
        while (frame := self.connection.next_frame()) is not None:
            yield json.loads(frame)


def code_of(answer: Any) -> int:
    code: int = answer["error"]["code"]
    return code


# The description


def test_capabilities_are_offered_by_their_dotted_names() -> None:
    description = ServerDescription(
        INFO,
        types.ServerCapabilities(
            logging={},
            resources=types.ResourcesCapability(subscribe=False, list_changed=True),
            extensions={TASKS_EXTENSION: {}},
        ),
    )

    assert description.offered == {
        "logging",
        "resources",
        "resources.listChanged",
        "extensions",
        f"extensions.{TASKS_EXTENSION}",
    }


# The handshake


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
def test_handshake_agrees_on_the_revision(revision: Revision) -> None:
    client = Client(revision)

    assert client.hello["result"]["protocolVersion"] == revision.value
    assert client.connection.handshake is not None
    assert client.connection.handshake.revision is revision


@pytest.mark.parametrize("version", ["2026-07-28", "1.0.0", "", "2099-01-01"])
def test_other_version_is_answered_with_the_newest_handshake(version: str) -> None:
    answer = Client().ask("initialize", {"protocolVersion": version, **HELLO})

    assert answer["result"]["protocolVersion"] == LATEST_HANDSHAKE.value


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
def test_handshake_says_what_its_revision_knows(revision: Revision) -> None:
    result = Client(revision, instructions="Be kind.").hello["result"]

    assert result["instructions"] == "Be kind."
    assert ("title" in result["serverInfo"]) is (revision.value >= "2025-06-18")
    assert ("completions" in result["capabilities"]) is (revision.value >= "2025-03-26")
    assert ("icons" in result["serverInfo"]) is (revision is LATEST_HANDSHAKE)
    assert not {"resultType", "_meta"} & result.keys()


def test_absent_instructions_are_not_sent() -> None:
    assert "instructions" not in Client(LATEST_HANDSHAKE).hello["result"]


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        HELLO,
        {**HELLO, "protocolVersion": None},
        {**HELLO, "protocolVersion": 20250618},
        {"protocolVersion": "2025-06-18", "capabilities": {}},
        {**HELLO, "protocolVersion": "2025-06-18", "capabilities": None},
    ],
)
def test_malformed_handshake_agrees_on_nothing(params: Any) -> None:
    client = Client()

    assert code_of(client.ask("initialize", params)) == -32602
    assert client.connection.handshake is None


def test_handshake_remembers_the_peer() -> None:
    client = Client()
    client.ask(
        "initialize",
        {
            "protocolVersion": "2025-11-25",
            "capabilities": {"sampling": {}, "future": 1},
            "clientInfo": {"name": "c", "version": "2", "icons": None},
        },
    )
    peer = client.open().peer

    assert peer.capabilities.declares("sampling")
    assert peer.info is not None
    assert (peer.info.name, peer.info.version) == ("c", "2")


def test_handshake_is_over_when_the_client_says_so_once() -> None:
    client = Client()
    client.ask("initialize", {"protocolVersion": "2025-06-18", **HELLO})

    assert client.notify("notifications/initialized") == [Initialized()]
    assert client.notify("notifications/initialized") == []
    assert client.received() == []


def test_handshake_that_was_not_begun_is_not_over() -> None:
    client = Client()

    assert client.notify("notifications/initialized") == []
    assert client.received() == []


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
def test_second_handshake_is_refused_and_changes_nothing(revision: Revision) -> None:
    client = Client(revision)
    before = client.connection.handshake
    answer = client.ask("initialize", {"protocolVersion": "2024-11-05", **HELLO})

    assert code_of(answer) == -32600
    assert "Already initialized" in answer["error"]["message"]
    assert client.connection.handshake is before


# Before the handshake


@pytest.mark.parametrize("method", ["tools/list", "tools/call", "logging/setLevel"])
def test_request_before_the_handshake_is_told_both_ways_in(method: str) -> None:
    answer = Client().ask(method)

    assert code_of(answer) == -32602
    assert "initialize" in answer["error"]["message"]
    assert PROTOCOL_VERSION in answer["error"]["message"]
    assert CLIENT_CAPABILITIES in answer["error"]["message"]


@pytest.mark.parametrize("method", ["nothing/here", "", "rpc.list"])
def test_unknown_method_before_the_handshake_is_not_found(method: str) -> None:
    assert code_of(Client().ask(method)) == -32601


def test_refused_request_does_not_choose_an_era() -> None:
    client = Client()
    client.ask("tools/list")
    answer = client.ask("initialize", {"protocolVersion": "2025-06-18", **HELLO})

    assert answer["result"]["protocolVersion"] == "2025-06-18"


@pytest.mark.parametrize("revision", [None, *HANDSHAKE_REVISIONS])
def test_ping_is_always_answered(revision: Revision | None) -> None:
    assert Client(revision).ask("ping")["result"] == {}


def test_ping_is_answered_while_modern_requests_are_served() -> None:
    client = Client(MODERN)
    client.open()
    client.send({"jsonrpc": "2.0", "id": 2, "method": "ping"})

    assert client.received() == [{"jsonrpc": "2.0", "id": 2, "result": {}}]


# Legacy requests


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
def test_request_belongs_to_the_handshake(revision: Revision) -> None:
    client = Client(revision)
    request = client.open(progressToken="p")

    assert request.revision is revision
    assert client.connection.handshake is not None
    assert request.peer is client.connection.handshake.peer
    assert request.params.name == "t"
    assert request.meta == {"progressToken": "p"}
    assert request.progress_token == "p"
    assert request.log_level is None


@pytest.mark.parametrize("params", [{}, {"params": None}, {"params": {}}])
def test_absent_params_are_an_empty_object(params: dict[str, Any]) -> None:
    client = Client(LATEST_HANDSHAKE)
    events = client.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list", **params})

    assert [event.method for event in events] == ["tools/list"]


@pytest.mark.parametrize("revision", [None, *HANDSHAKE_REVISIONS, MODERN])
@pytest.mark.parametrize("params", [[], [1], 1, "x", True])
def test_params_that_are_no_object_are_refused(
    revision: Revision | None, params: Any
) -> None:
    client = Client(revision)
    client.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params})
    (answer,) = client.received()

    assert (answer["id"], code_of(answer)) == (1, -32602)


@pytest.mark.parametrize("meta", [None, [], "x", 1])
def test_meta_that_is_no_object_is_no_envelope(meta: Any) -> None:
    client = Client(LATEST_HANDSHAKE)
    client.send(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/list",
            "params": {"_meta": meta},
        }
    )
    answers = client.received()

    # Null is forgiven as absent.
    assert [code_of(answer) for answer in answers] == ([] if meta is None else [-32602])


@pytest.mark.parametrize(
    ("method", "known_to"),
    [
        ("tools/list", HANDSHAKE_REVISIONS),
        ("resources/subscribe", HANDSHAKE_REVISIONS),
        ("completion/complete", HANDSHAKE_REVISIONS),
        ("server/discover", ()),
        ("subscriptions/listen", ()),
        ("tasks/update", ()),
        ("roots/list", ()),
    ],
)
@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
def test_method_of_another_revision_is_not_found(
    method: str, known_to: tuple[Revision, ...], revision: Revision
) -> None:
    client = Client(revision)
    client.send(client.message(method))
    errors = [code_of(answer) for answer in client.received()]

    assert (-32601 in errors) is (revision not in known_to)


@pytest.mark.parametrize(
    "method",
    [
        "tools/list",
        "prompts/list",
        "resources/read",
        "resources/subscribe",
        "completion/complete",
        "logging/setLevel",
        "tasks/get",
        "subscriptions/listen",
    ],
)
@pytest.mark.parametrize("revision", [LATEST_HANDSHAKE, MODERN])
def test_method_that_is_not_offered_is_not_found(
    method: str, revision: Revision
) -> None:
    client = Client(revision, capabilities=types.ServerCapabilities())

    assert code_of(client.ask(method)) == -32601


def test_capability_that_is_denied_is_not_offered() -> None:
    resources = types.ResourcesCapability(subscribe=False)
    client = Client(
        LATEST_HANDSHAKE, capabilities=types.ServerCapabilities(resources=resources)
    )

    assert code_of(client.ask("resources/subscribe", {"uri": "a://b"})) == -32601
    assert client.open("resources/list").method == "resources/list"


# Modern requests


def test_modern_request_stands_for_itself() -> None:
    client = Client(MODERN)
    first = client.open(
        id=1,
        **{
            CLIENT_CAPABILITIES: {"sampling": {}},
            CLIENT_INFO: {"name": "c", "version": "1"},
            LOG_LEVEL: "error",
        },
    )
    second = client.open(id=2)

    assert first.revision is second.revision is MODERN
    assert first.peer.capabilities.declares("sampling")
    assert first.peer.info is not None
    assert first.log_level == "error"
    assert not second.peer.capabilities.declares("sampling")
    assert second.peer.info is None
    assert second.log_level is None
    assert client.connection.handshake is None


@pytest.mark.parametrize("initialized", [False, True])
def test_envelope_without_capabilities_is_refused(initialized: bool) -> None:
    client = Client(LATEST_HANDSHAKE if initialized else None)
    answer = client.ask("tools/list", **{PROTOCOL_VERSION: MODERN.value})

    assert code_of(answer) == -32602
    assert CLIENT_CAPABILITIES in answer["error"]["message"]
    assert PROTOCOL_VERSION not in answer["error"]["message"]


def test_envelope_without_a_version_is_refused() -> None:
    answer = Client().ask("tools/list", **{CLIENT_CAPABILITIES: {}})

    assert code_of(answer) == -32602
    assert PROTOCOL_VERSION in answer["error"]["message"]
    assert CLIENT_CAPABILITIES not in answer["error"]["message"]


def test_capabilities_alone_are_no_envelope_after_a_handshake() -> None:
    client = Client(LATEST_HANDSHAKE)

    assert client.open(**{CLIENT_CAPABILITIES: {}}).revision is LATEST_HANDSHAKE


def test_unsupported_version_is_told_which_are() -> None:
    client = Client(MODERN)
    answer = client.ask("nothing/here", **{PROTOCOL_VERSION: "2025-11-25"})

    assert code_of(answer) == -32022
    assert answer["error"]["data"] == {
        "supported": ["2026-07-28"],
        "requested": "2025-11-25",
    }


@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "tasks/list",
        "x",
    ],
)
def test_method_that_modern_clients_lack_is_not_found(method: str) -> None:
    assert code_of(Client(MODERN).ask(method)) == -32601


def test_discover_says_what_is_served() -> None:
    result = Client(MODERN, instructions="Be kind.").ask("server/discover")["result"]

    assert result == {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {
            "logging": {},
            "completions": {},
            "prompts": {"listChanged": True},
            "resources": {"subscribe": True, "listChanged": True},
            "tools": {"listChanged": True},
            "extensions": {TASKS_EXTENSION: {}},
        },
        "instructions": "Be kind.",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {
            SERVER_INFO: {
                "name": "tests",
                "version": "1",
                "title": "Tests",
                "websiteUrl": "https://example.com",
                "icons": [{"src": "https://example.com/i.png"}],
            }
        },
    }


def test_extension_must_be_declared_by_the_request_itself() -> None:
    client = Client(MODERN)
    answer = client.ask("tasks/get", {"taskId": "t"})
    declared = {CLIENT_CAPABILITIES: {"extensions": {TASKS_EXTENSION: {}}}}
    (request,) = client.send(client.message("tasks/get", {"taskId": "t"}, **declared))

    assert code_of(answer) == -32021
    assert answer["error"]["data"] == {
        "requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}
    }
    assert request.params.task_id == "t"


@pytest.mark.parametrize(
    "capabilities",
    [
        types.ServerCapabilities(tools=types.ToolsCapability(list_changed=True)),
        types.ServerCapabilities(prompts=types.PromptsCapability(list_changed=True)),
        types.ServerCapabilities(
            resources=types.ResourcesCapability(list_changed=True)
        ),
        types.ServerCapabilities(resources=types.ResourcesCapability(subscribe=True)),
        types.ServerCapabilities(extensions={TASKS_EXTENSION: {}}),
    ],
)
def test_listening_needs_something_that_changes(
    capabilities: types.ServerCapabilities,
) -> None:
    client = Client(MODERN, capabilities=capabilities)
    (request,) = client.send(
        client.message("subscriptions/listen", {"notifications": {}})
    )

    assert request.method == "subscriptions/listen"


def test_nothing_is_heard_where_nothing_changes() -> None:
    tools = types.ToolsCapability(list_changed=False)
    client = Client(MODERN, capabilities=types.ServerCapabilities(tools=tools))

    assert code_of(client.ask("subscriptions/listen", {"notifications": {}})) == -32601


# Both eras


def test_discover_and_refusals_leave_the_way_to_the_handshake_open() -> None:
    client = Client(MODERN)
    client.ask("server/discover")
    client.ask("tools/list", **{PROTOCOL_VERSION: "2099-01-01"})
    client.ask("nothing/here")
    client.ask("tools/call", {"name": 5})
    client.revision = None
    answer = client.ask("initialize", {"protocolVersion": "2025-06-18", **HELLO})

    assert answer["result"]["protocolVersion"] == "2025-06-18"


def test_handshake_after_modern_requests_is_told_the_versions() -> None:
    client = Client(MODERN)
    client.open()
    client.revision = None
    answer = client.ask(
        "initialize", {"protocolVersion": "2025-06-18", **HELLO}, id="late"
    )

    assert code_of(answer) == -32022
    assert answer["error"]["data"] == {
        "supported": ["2026-07-28"],
        "requested": "2025-06-18",
    }
    assert client.connection.handshake is None


def test_malformed_handshake_after_modern_requests_is_malformed() -> None:
    client = Client(MODERN)
    client.open()
    client.revision = None

    assert code_of(client.ask("initialize", HELLO, id="late")) == -32602


def test_one_connection_may_serve_both_eras_at_once() -> None:
    client = Client(Revision.V2025_06_18)
    legacy = client.open(id=1)
    client.revision = MODERN
    modern = client.open(id=2, **{CLIENT_CAPABILITIES: {"roots": {}}})
    client.revision = None
    late = client.open(id=3)

    assert [r.revision for r in (legacy, modern, late)] == [
        Revision.V2025_06_18,
        MODERN,
        Revision.V2025_06_18,
    ]
    assert not late.peer.capabilities.declares("roots")

    for request in (modern, legacy):
        client.connection.send_result(request, OK)
    (second, first) = client.received()

    assert (second["id"], second["result"]["resultType"]) == (2, "complete")
    assert (first["id"], "resultType" in first["result"]) == (1, False)


# Ids


@pytest.mark.parametrize("revision", [*HANDSHAKE_REVISIONS, MODERN])
def test_id_in_flight_is_refused_and_the_first_goes_on(revision: Revision) -> None:
    client = Client(revision)
    request = client.open(id=1)
    answer = client.ask("tools/list", id=1)
    client.connection.send_result(request, OK)
    (result,) = client.received()

    assert code_of(answer) == -32600
    assert result["id"] == 1
    assert result["result"]["content"] == [{"type": "text", "text": "ok"}]


def test_ids_are_shared_by_the_eras() -> None:
    client = Client(LATEST_HANDSHAKE)
    client.open(id=1)
    client.revision = MODERN

    assert code_of(client.ask("tools/list", id=1)) == -32600


@pytest.mark.parametrize("revision", [LATEST_HANDSHAKE, MODERN])
def test_id_may_be_used_again_after_the_answer(revision: Revision) -> None:
    client = Client(revision)
    first = client.open(id=1)
    client.connection.send_error(first, InvalidParams("no"))
    second = client.open(id=1)
    client.received()
    client.connection.send_result(first, OK)

    assert client.received() == []
    assert client.connection.is_open(second)


# Batches


def batch_of(*messages: Any) -> tuple[Client, list[Any]]:
    client = Client(BATCHING)
    return client, client.send(list(messages))


def test_batch_is_answered_by_one_when_all_are_done() -> None:
    client = Client(BATCHING)
    events = client.send(
        [
            client.message("tools/call", {"name": "t"}, id=1),
            client.message("ping", id=2),
            client.message("tools/call", {"name": "t"}, id=3),
            client.message("nothing/here", id=4),
            {"jsonrpc": "2.0", "method": "notifications/unknown"},
            {"jsonrpc": "2.0", "id": 99, "result": {}},
            5,
        ]
    )
    first, third = events

    assert client.received() == []

    client.connection.send_result(third, OK)
    client.connection.send_error(first, InvalidParams("no"))
    (answers,) = client.received()

    assert {
        answer["id"]: answer.get("error", {}).get("code") for answer in answers
    } == {
        2: None,
        4: -32601,
        None: -32600,
        3: None,
        1: -32602,
    }


def test_batch_answered_at_once_is_answered_by_one() -> None:
    client, _ = batch_of(
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "logging/setLevel"},
    )
    (answers,) = client.received()

    assert [answer["id"] for answer in answers] == [1, 2]


@pytest.mark.parametrize("revision", [None, *WITHOUT_BATCHES, MODERN])
def test_batch_is_refused_as_one_where_there_is_none(
    revision: Revision | None,
) -> None:
    client = Client(revision)

    assert client.send([client.message("ping"), client.message("tools/list")]) == []
    (answer,) = client.received()
    assert (answer["id"], code_of(answer)) == (None, -32600)


def test_empty_batch_is_refused() -> None:
    client, events = batch_of()
    (answer,) = client.received()

    assert events == []
    assert (answer["id"], code_of(answer)) == (None, -32600)


@pytest.mark.parametrize(("length", "refused"), [(3, False), (4, True)])
def test_batch_may_be_as_long_as_the_limit(length: int, refused: bool) -> None:
    client = Client(BATCHING, max_batch_length=3)
    client.send([client.message("ping", id=id) for id in range(length)])
    (answer,) = client.received()

    assert isinstance(answer, list) is not refused


def test_batch_without_a_limit_may_be_long() -> None:
    client = Client(BATCHING, max_batch_length=None)
    client.send([client.message("ping", id=id) for id in range(200)])
    (answers,) = client.received()

    assert len(answers) == 200


def test_handshake_in_a_batch_is_refused() -> None:
    client, events = batch_of(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", **HELLO},
        }
    )
    ((answer,),) = client.received()

    assert events == []
    assert (answer["id"], code_of(answer)) == (1, -32600)
    assert "batch" in answer["error"]["message"]


@pytest.mark.parametrize("method", ["ping", "tools/list"])
def test_id_that_is_twice_in_a_batch_is_refused_once(method: str) -> None:
    client = Client(BATCHING)
    events = client.send([client.message(method), client.message(method)])
    for request in events:
        client.connection.send_result(request, types.ListToolsResult(tools=[]))
    (answers,) = client.received()

    assert [answer["id"] for answer in answers] == [1, 1]
    assert sorted("result" in answer for answer in answers) == [False, True]


def test_cancelled_member_is_left_out() -> None:
    client = Client(BATCHING)
    first, second = client.send(
        [client.message("tools/list", id=id) for id in ("a", "b")]
    )
    client.notify("notifications/cancelled", {"requestId": "a"})
    client.connection.send_result(first, types.ListToolsResult(tools=[]))

    assert client.received() == []

    client.connection.send_result(second, types.ListToolsResult(tools=[]))
    ((answer,),) = client.received()

    assert answer["id"] == "b"


# Notifications


@pytest.mark.parametrize("revision", [*HANDSHAKE_REVISIONS, MODERN])
@pytest.mark.parametrize("reason", [None, "", "Too slow"])
def test_cancelled_request_is_over(revision: Revision, reason: str | None) -> None:
    client = Client(revision)
    request = client.open(id=0)
    params = {"requestId": 0} if reason is None else {"requestId": 0, "reason": reason}

    assert client.notify("notifications/cancelled", params) == [
        Cancelled(request, reason or None)
    ]
    assert client.notify("notifications/cancelled", params) == []

    client.connection.send_result(request, OK)
    client.connection.send_error(request, InvalidParams("no"))

    assert client.received() == []


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"requestId": "1"},
        {"requestId": 2},
        {"requestId": None},
        {"requestId": True},
        {"requestId": 1.5},
        {"requestId": [1]},
        {"requestId": 1, "reason": 5},
        [],
        1,
    ],
)
def test_cancellation_of_nothing_is_ignored(params: Any) -> None:
    client = Client(LATEST_HANDSHAKE)
    request = client.open(id=1)

    assert client.notify("notifications/cancelled", params) == []
    assert client.connection.is_open(request)
    assert client.received() == []


@pytest.mark.parametrize("revision", [None, *HANDSHAKE_REVISIONS, MODERN])
@pytest.mark.parametrize(
    "method",
    [
        "notifications/unknown",
        "notifications/progress",
        "notifications/roots/list_changed",
        "notifications/tools/list_changed",
        "tools/call",
        "initialize",
        "ping",
        "",
    ],
)
@pytest.mark.parametrize("params", [None, {}, [], 5])
def test_notification_is_never_answered(
    revision: Revision | None, method: str, params: Any
) -> None:
    client = Client(revision)

    assert client.notify(method, params) == []
    assert client.received() == []


@pytest.mark.parametrize("revision", [LATEST_HANDSHAKE, MODERN])
def test_notification_with_an_id_is_a_request_for_no_method(revision: Revision) -> None:
    client = Client(revision)

    assert code_of(client.ask("notifications/initialized", id=5)) == -32601


# Responses


def test_answer_to_a_request_of_the_server_is_an_event() -> None:
    client = Client(LATEST_HANDSHAKE)
    id = client.connection.send_request("ping", RequestParams())
    (asked,) = client.received()
    (event,) = client.send({"jsonrpc": "2.0", "id": id, "result": {}})

    assert (asked["id"], asked["method"]) == (id, "ping")
    assert isinstance(event, Response)
    assert event.id == id
    assert client.send({"jsonrpc": "2.0", "id": id, "result": {}}) == []
    assert client.received() == []


# Questions


@pytest.mark.parametrize(
    ("revision", "has_default"),
    [(None, True), (Revision.V2025_06_18, False), (LATEST_HANDSHAKE, True)],
)
def test_question_is_worded_for_the_revision_of_the_handshake(
    revision: Revision | None, has_default: bool
) -> None:
    client = Client(revision)
    form = RequestedSchema({"name": StringSchema(default="Ada")})
    params = ElicitRequestFormParams(message="Who?", requested_schema=form)
    client.connection.send_request("elicitation/create", params)
    (question,) = client.received()
    asked = question["params"]["requestedSchema"]["properties"]["name"]

    assert asked == {"type": "string", **({"default": "Ada"} if has_default else {})}


# News


def listen(client: Client, id: Any = 1) -> Request:
    """Open a listen for everything."""
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["a://b"]}
    message = client.message("subscriptions/listen", {"notifications": wanted}, id)
    (request,) = client.send(message)

    assert isinstance(request, Request)
    return request


@pytest.mark.parametrize("id", [0, "", "x"])
def test_what_is_sent_for_a_listen_has_its_id(id: int | str) -> None:
    client = Client(MODERN)
    connection = client.connection
    request = listen(client, id)
    connection.send_acknowledged(request, request.params.notifications)

    assert connection.send_list_changed("tools", request)
    assert connection.send_resource_updated("a://b", request)

    acknowledged, changed, updated = client.received()

    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"]["notifications"] == {
        "toolsListChanged": True,
        "resourceSubscriptions": ["a://b"],
    }
    assert changed["method"] == "notifications/tools/list_changed"
    assert updated["method"] == "notifications/resources/updated"
    assert updated["params"]["uri"] == "a://b"
    for message in (acknowledged, changed, updated):
        assert message["params"]["_meta"] == {SUBSCRIPTION_ID: id}


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
def test_client_of_the_handshake_is_told_without_an_id(revision: Revision) -> None:
    client = Client(revision)

    assert client.connection.send_list_changed("prompts", None)
    assert client.connection.send_resource_updated("a://b", None)

    changed, updated = client.received()

    assert changed["method"] == "notifications/prompts/list_changed"
    assert changed.get("params", {}) == {}
    assert updated["params"] == {"uri": "a://b"}


def test_listen_that_is_over_is_not_acknowledged() -> None:
    client = Client(MODERN)
    request = listen(client)
    client.notify("notifications/cancelled", {"requestId": request.id})
    client.connection.send_acknowledged(request, types.SubscriptionFilter())

    assert client.received() == []


def test_news_find_no_room_in_a_full_outbox() -> None:
    client = Client(MODERN, max_outbox_frames=1)
    connection = client.connection
    request = listen(client)

    assert connection.send_list_changed("tools", request)
    assert not connection.send_list_changed("tools", request)
    assert not connection.send_resource_updated("a://b", request)
    assert connection.closing is None

    # An acknowledgement is due: it is not lost in silence.
    connection.send_acknowledged(request, types.SubscriptionFilter())

    assert connection.closing == Closing(1013, "The client reads too slowly")


# Answers


@pytest.mark.parametrize("revision", [*HANDSHAKE_REVISIONS, MODERN])
def test_answer_is_worded_for_its_revision(revision: Revision) -> None:
    client = Client(revision)
    client.connection.send_result(client.open(), OK)
    (answer,) = client.received()

    assert answer["result"]["content"] == [{"type": "text", "text": "ok"}]
    assert ("resultType" in answer["result"]) is (revision is MODERN)


@pytest.mark.parametrize("revision", [*HANDSHAKE_REVISIONS, MODERN])
@pytest.mark.parametrize("id", [0, "", "1", 10**30, 'quo"te'])
def test_shared_answer_is_worded_like_any_other(
    revision: Revision, id: int | str
) -> None:
    result = types.ListToolsResult(tools=[types.Tool("t", {"type": "object"})])
    client = Client(revision)
    client.connection.send_result(client.open("tools/list", id=id), result)
    client.connection.send_result(
        client.open("tools/list", id=id), SharedResult(result)
    )
    (alone, shared) = client.received()

    assert alone == shared
    assert shared["id"] == id


def test_request_is_answered_once() -> None:
    client = Client(MODERN)
    request = client.open()
    client.connection.send_result(request, OK)
    client.connection.send_result(request, OK)
    client.connection.send_error(request, InvalidParams("no"))

    assert len(client.received()) == 1


@pytest.mark.parametrize("value", [object(), "\ud800", {1, object()}])
def test_answer_that_cannot_be_encoded_leaves_the_request_open(value: Any) -> None:
    client = Client(MODERN)
    request = client.open()

    with pytest.raises((TypeError, ValueError)):
        client.connection.send_result(
            request, types.CallToolResult(content=[], structured_content=value)
        )

    assert client.received() == []
    assert client.connection.is_open(request)


@pytest.mark.parametrize(
    ("revision", "code"),
    [*((revision, -32002) for revision in HANDSHAKE_REVISIONS), (MODERN, -32602)],
)
def test_error_has_the_code_of_its_revision(revision: Revision, code: int) -> None:
    client = Client(revision)
    client.connection.send_error(client.open(), ResourceNotFound("a://b"))
    (answer,) = client.received()

    assert answer["error"] == {
        "code": code,
        "message": "Resource not found",
        "data": {"uri": "a://b"},
    }


@pytest.mark.parametrize(
    "error",
    [
        ProtocolError("x", code=7, data=object()),
        ProtocolError("x", code=7, data={"a": "\ud800"}),
        ProtocolError("\ud800", code=7),
    ],
)
def test_error_that_cannot_be_encoded_is_internal(error: ProtocolError) -> None:
    client = Client(MODERN)
    client.connection.send_error(client.open(), error)
    (answer,) = client.received()

    assert answer["error"] == {"code": -32603, "message": "Internal error"}


# Progress


@pytest.mark.parametrize("revision", [*HANDSHAKE_REVISIONS, MODERN])
@pytest.mark.parametrize("token", [0, "", "p", 7])
def test_progress_has_the_token_of_the_request(
    revision: Revision, token: int | str
) -> None:
    client = Client(revision)
    request = client.open(progressToken=token)

    assert client.connection.send_progress(request, 1, 2, "Half")

    (notice,) = client.received()
    message = {} if revision.value == "2024-11-05" else {"message": "Half"}

    assert notice["method"] == "notifications/progress"
    assert "id" not in notice
    assert notice["params"] == {
        "progressToken": token,
        "progress": 1,
        "total": 2,
        **message,
    }


def test_progress_must_grow() -> None:
    client = Client(MODERN)
    request = client.open(progressToken=1)
    steps = [-1, 0, 0, 0.5, 0.25, 7, 7.0, 6, 8]
    sent = [client.connection.send_progress(request, step) for step in steps]

    assert sent == [True, True, False, True, False, True, False, False, True]
    assert [notice["params"]["progress"] for notice in client.received()] == [
        -1,
        0,
        0.5,
        7,
        8,
    ]


@pytest.mark.parametrize("token", [None, True, 1.5, [], {}])
def test_progress_is_not_sent_without_a_token(token: Any) -> None:
    client = Client(LATEST_HANDSHAKE)
    request = client.open(progressToken=token)

    assert request.progress_token is None
    assert not client.connection.send_progress(request, 1)
    assert client.received() == []


@pytest.mark.parametrize("end", ["answered", "cancelled"])
def test_nothing_is_said_of_a_request_that_is_over(end: str) -> None:
    client = Client(MODERN)
    request = client.open(progressToken=1, **{LOG_LEVEL: "debug"})
    if end == "answered":
        client.connection.send_result(request, OK)
    else:
        client.notify("notifications/cancelled", {"requestId": 1})
    client.received()

    assert not client.connection.send_progress(request, 1)
    assert not client.connection.send_log(request, "alert", "x")
    assert client.received() == []


# Logging


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
def test_level_is_that_of_the_connection(revision: Revision) -> None:
    client = Client(revision)
    request = client.open()

    assert not client.connection.send_log(request, "debug", "x")
    assert client.connection.send_log(request, "info", "x")

    client.received()

    assert client.ask("logging/setLevel", {"level": "error"}, id=2)["result"] == {}
    assert not client.connection.send_log(request, "warning", "x")
    assert client.connection.send_log(request, "error", None)


def test_log_message_holds_any_json() -> None:
    client = Client(LATEST_HANDSHAKE)
    request = client.open()
    client.connection.send_log(request, "info", {"a": None}, "shop")
    client.connection.send_log(request, "alert", None)

    assert [notice["params"] for notice in client.received()] == [
        {"level": "info", "logger": "shop", "data": {"a": None}},
        {"level": "alert", "data": None},
    ]


@pytest.mark.parametrize("least", LOGGING_LEVELS)
@pytest.mark.parametrize("level", LOGGING_LEVELS)
def test_level_is_that_of_the_modern_request(
    least: LoggingLevel, level: LoggingLevel
) -> None:
    client = Client(MODERN)
    wanting = client.open(id=1, **{LOG_LEVEL: least})
    silent = client.open(id=2)
    is_severe = LOGGING_LEVELS.index(level) >= LOGGING_LEVELS.index(least)

    assert client.connection.send_log(wanting, level, "x") is is_severe
    assert not client.connection.send_log(silent, level, "x")


def test_level_of_the_connection_is_not_that_of_a_modern_request() -> None:
    client = Client(LATEST_HANDSHAKE)
    client.ask("logging/setLevel", {"level": "debug"})
    client.revision = MODERN

    assert not client.connection.send_log(client.open(), "alert", "x")


@pytest.mark.parametrize("level", ["warn", "", "INFO", None, 3])
def test_unknown_level_is_refused_and_changes_nothing(level: Any) -> None:
    client = Client(LATEST_HANDSHAKE)

    assert code_of(client.ask("logging/setLevel", {"level": level})) == -32602
    assert client.connection.send_log(client.open(), "info", "x")


@pytest.mark.parametrize("revision", [LATEST_HANDSHAKE, MODERN])
def test_server_without_logging_logs_nothing(revision: Revision) -> None:
    tools = types.ServerCapabilities(tools=types.ToolsCapability())
    client = Client(revision, capabilities=tools)
    meta = {LOG_LEVEL: "debug"} if revision is MODERN else {}

    assert not client.connection.send_log(client.open(**meta), "alert", "x")


# Limits


@pytest.mark.parametrize(
    "message",
    ["nonsense", "5", "[]", '{"jsonrpc":"1.0","id":1,"method":"ping"}'],
)
def test_malformed_messages_close_beyond_the_limit(message: str) -> None:
    client = Client(BATCHING, max_violations=3)
    for _ in range(3):
        client.connection.receive(message)

    assert client.connection.closing is None

    client.connection.receive(message)

    assert client.connection.closing == Closing(1008, "Too many malformed messages")
    assert len(client.received()) == 4


def test_every_member_of_a_batch_may_be_malformed() -> None:
    client = Client(BATCHING, max_violations=3)
    client.send([1, 2, 3, 4])

    assert client.connection.closing is not None
    assert client.connection.closing.code == 1008


def test_misuse_of_ids_and_handshakes_is_malformed() -> None:
    client = Client(LATEST_HANDSHAKE, max_violations=1)
    client.open(id=1)
    client.ask("tools/list", id=1)

    assert client.connection.closing is None

    client.ask("initialize", {"protocolVersion": "2025-06-18", **HELLO}, id=2)

    assert client.connection.closing is not None


def test_mistakes_of_well_meaning_clients_never_close() -> None:
    client = Client(MODERN, max_violations=0)
    client.ask("nothing/here")
    client.ask("tools/call", {"name": 5})
    client.ask("tools/list", **{PROTOCOL_VERSION: "2099-01-01"})
    client.ask("tasks/get", {"taskId": "t"})
    client.send({"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}})
    client.notify("notifications/cancelled", {"requestId": []})

    assert client.connection.closing is None


def test_any_number_is_forgiven_without_a_limit() -> None:
    client = Client(max_violations=None)
    for _ in range(500):
        client.connection.receive("")

    assert client.connection.closing is None


def test_client_that_reads_too_slowly_is_closed_for_answers_only() -> None:
    client = Client(MODERN, max_outbox_frames=2)
    request = client.open(progressToken=1, **{LOG_LEVEL: "debug"})
    sent = [client.connection.send_progress(request, step) for step in range(3)]

    assert sent == [True, True, False]
    assert not client.connection.send_log(request, "alert", "x")
    assert client.connection.closing is None

    client.connection.send_result(request, OK)

    assert client.connection.closing == Closing(1013, "The client reads too slowly")
    assert len(client.received()) == 2


@pytest.mark.parametrize(("depth", "code"), [(8, None), (9, -32700)])
def test_depth_is_limited(depth: int, code: int | None) -> None:
    client = Client(LATEST_HANDSHAKE, max_json_depth=8)
    value: Any = []
    for _ in range(depth - 3):
        value = [value]
    events = client.send(client.message("tools/list", {"extra": value}))
    codes = [code_of(answer) for answer in client.received()]

    assert (len(events), codes) == ((1, []) if code is None else (0, [code]))
