"""
Whatever a client sends, in any order: nothing raises, and what is due is answered once.
"""

import json
from collections import Counter
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec import UNSET

from mcp_channels.protocol import types
from mcp_channels.protocol.connection import (
    Cancelled,
    Event,
    Initialized,
    Limits,
    Request,
    Response,
)
from mcp_channels.protocol.content import TextContent
from mcp_channels.protocol.elicitation import (
    BooleanSchema,
    RequestedSchema,
    SamplingMessage,
)
from mcp_channels.protocol.envelope import (
    CLIENT_CAPABILITIES,
    CLIENT_INFO,
    LOG_LEVEL,
    PROTOCOL_VERSION,
    SUBSCRIPTION_ID,
)
from mcp_channels.protocol.errors import InternalError, InvalidParams, ProtocolError
from mcp_channels.protocol.messages import (
    BatchMessage,
    InvalidMessage,
    Message,
    NotificationMessage,
    RequestMessage,
    ResponseMessage,
    decode,
    decode_member,
)
from mcp_channels.protocol.methods import (
    NOTIFICATIONS,
    REQUESTS,
    CreateMessageRequestParams,
    ElicitRequestFormParams,
    RequestParams,
)
from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.server import ServerConnection, ServerDescription
from mcp_channels.protocol.types import LOGGING_LEVELS
from mcp_channels.protocol.versions import Era, Revision

MAX_DEPTH = 8
MAX_BATCH = 4
ABSENT = object()

thorough = settings(deadline=None, max_examples=400)

# What a peer may send


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["2.0", "2026-07-28", "2025-03-26", "notifications/cancelled"])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
# Few, so that they meet; and each of them looks like another.
ids = st.sampled_from([0, 1, "", "1", "0", 2**60])
methods = st.sampled_from([*REQUESTS, *NOTIFICATIONS, "", "nothing/here"])
bad_ids = st.sampled_from([None, True, 1.0, 1.5, [], {}])
metas = st.fixed_dictionaries(
    {},
    optional={
        PROTOCOL_VERSION: st.sampled_from(["2026-07-28"] * 4 + ["2025-06-18", 5]),
        CLIENT_CAPABILITIES: st.just({}) | st.just({}) | anything,
        LOG_LEVEL: st.sampled_from([*LOGGING_LEVELS, "warn", None]),
        CLIENT_INFO: st.just({"name": "in the envelope", "version": "1"}),
        "progressToken": ids | bad_ids,
    },
)
params = st.fixed_dictionaries(
    {},
    optional={
        "_meta": metas | anything,
        "name": st.just("t") | anything,
        "arguments": anything,
        "uri": st.just("a://b"),
        "level": st.sampled_from([*LOGGING_LEVELS, "warn"]),
        "requestId": ids | anything,
        "cursor": st.text(max_size=3),
        "notifications": st.just({}),
    },
)
# Any object with the members that mean something, present or not, right or wrong.
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0"] * 6 + ["1.0", 2.0, None]),
        "id": ids | ids | bad_ids | anything,
        "method": methods | methods | anything,
        "params": params | params | anything,
        "result": anything,
        "error": anything,
    },
)
messages = envelopes | anything


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """JSON in which one character is another, or more, or fewer."""
    text = json.dumps(draw(messages), ensure_ascii=draw(st.booleans()))
    place = draw(st.integers(0, len(text)))
    rest = place + draw(st.integers(0, 1))
    other = draw(st.text(max_size=1) | st.sampled_from('{}[]",:\\0-+.eE\ud800\ufeff'))
    return text[:place] + other + text[rest:]


texts = st.text() | damaged() | messages.map(json.dumps)


def make_request(id: Any, method: str, meta: dict[str, Any]) -> dict[str, Any]:
    """A request whose params do for every method."""
    params = {
        "name": "t",
        "uri": "a://b",
        "level": "notice",
        "notifications": {},
        "ref": {"type": "ref/prompt", "name": "p"},
        "argument": {"name": "a", "value": ""},
        "_meta": meta,
    }
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def make_envelope(token: Any, level: str | None) -> dict[str, Any]:
    return {
        PROTOCOL_VERSION: "2026-07-28",
        CLIENT_CAPABILITIES: {},
        CLIENT_INFO: {"name": "in the envelope", "version": "1"},
        LOG_LEVEL: level,
        "progressToken": token,
    }


def make_handshake(id: Any, version: str) -> dict[str, Any]:
    params = {
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "in the handshake", "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": id, "method": "initialize", "params": params}


def make_answer(id: Any, member: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, member: {}}


def make_cancellation(id: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": id},
    }


# What must come of it, told without the package


class Pairs(tuple[Any, ...]):
    """The members of an object, also those of one name."""


def read(text: str) -> Any:
    """
    Return the JSON value of a frame.

    Raise ValueError for what is no JSON, has half characters, or is too deep.
    """

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    value = json.loads(text, parse_constant=refuse, object_pairs_hook=Pairs)
    json.dumps(value, ensure_ascii=False).encode()
    if depth_of(value) > MAX_DEPTH:
        raise ValueError("too deep")
    return json.loads(text)


def depth_of(value: Any) -> int:
    if isinstance(value, Pairs):
        return 1 + max((depth_of(member) for _, member in value), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def ids_due(message: Any) -> list[Any]:
    """The id of the answer that a message must get, None for null; if any."""
    if not isinstance(message, dict):
        return [None]
    members = [message.get(name, ABSENT) for name in ("id", "method", "jsonrpc")]
    if any("inf" in str(member) for member in members):
        return [None]  # a number beyond any float: nothing of it could be read
    id, method, version = members
    if method is ABSENT and (
        "result" in message
        or "error" in message
        or (id is not ABSENT and "params" not in message)
    ):
        return []
    known = id if type(id) in (int, str) else None
    if version != "2.0" or not isinstance(method, str):
        return [known]
    return [] if id is ABSENT else [known]


def ids_answered(message: Any) -> list[Any]:
    """The id of the question that a message answers; if it answers any."""
    if not isinstance(message, dict) or message.keys() & {"method", "params"}:
        return []
    id = message.get("id", ABSENT)
    if message.get("jsonrpc") != "2.0" or type(id) not in (int, str):
        return []
    return [id] if ("result" in message) is not ("error" in message) else []


def key_of(id: Any) -> tuple[str, Any]:
    """Tells 1, "1", 1.0 and true apart."""
    return type(id).__name__, id


# One frame


@thorough
@given(text=texts)
@example(text='{"a":"\\ud800"}')
@example(text="[" * 9 + "]" * 9)
@example(text="[" * 100_000)
@example(text='{"a":' * 100_000)
@example(text='"' + "\\" * 9_999)
@example(text='{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1e999}}')
def test_frame_is_read_as_json_is(text: str) -> None:
    message = decode(text, max_depth=MAX_DEPTH)
    try:
        value = read(text)
    except (ValueError, RecursionError):
        assert isinstance(message, InvalidMessage)
        assert (message.id, message.error.code) == (None, -32700)
    else:
        assert isinstance(message, BatchMessage) is isinstance(value, list)
        assert (
            getattr(message, "error", None) is None
            or not isinstance(message, InvalidMessage)
            or message.error.code == -32600
        )


@thorough
@given(message=messages.filter(lambda message: not isinstance(message, list)))
@example(message={"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}})
@example(message={"jsonrpc": "2.0", "id": True, "method": "m"})
def test_message_is_what_its_members_say(message: Any) -> None:
    found = decode(json.dumps(message), max_depth=100)
    due = [key_of(id) for id in ids_due(message)]
    if isinstance(found, RequestMessage):
        assert found.method == message["method"]
        assert due == [key_of(found.id)] == [key_of(message["id"])]
    elif isinstance(found, InvalidMessage):
        assert due == [key_of(found.id)]
    else:
        assert due == []
    if isinstance(found, NotificationMessage):
        assert found.method == message["method"]
    elif isinstance(found, ResponseMessage):
        assert key_of(found.id) == key_of(message["id"])
        assert ("result" in message) is not ("error" in message)


@thorough
@given(members=st.lists(messages, max_size=5))
def test_member_of_a_batch_is_what_it_would_be_alone(members: list[Any]) -> None:
    batch = decode(json.dumps(members), max_depth=100)

    assert isinstance(batch, BatchMessage)
    for member, raw in zip(members, batch.members, strict=True):
        alone = decode(json.dumps(member), max_depth=100)
        if isinstance(alone, BatchMessage):
            # A batch in a batch is none.
            alone = decode("5", max_depth=100)

        assert plain(decode_member(raw)) == plain(alone)


def plain(message: Message | None) -> Any:
    """A message in a form that can be compared."""
    if message is None:
        return None
    members = msgspec.structs.astuple(message)
    return type(message), [
        bytes(member) if isinstance(member, msgspec.Raw) else str(member)
        for member in members
    ]


# A conversation


def describe() -> ServerDescription:
    return ServerDescription(
        types.Implementation("tests", "1"),
        types.ServerCapabilities(
            logging={},
            completions={},
            prompts=types.PromptsCapability(),
            resources=types.ResourcesCapability(subscribe=True),
            tools=types.ToolsCapability(list_changed=True),
        ),
    )


# A valid result for each method that may be admitted.
RESULTS: dict[str, types.Result] = {
    "tools/list": types.ListToolsResult(tools=[]),
    "tools/call": types.CallToolResult(content=[TextContent("x")]),
    "prompts/list": types.ListPromptsResult(prompts=[]),
    "prompts/get": types.GetPromptResult(messages=[]),
    "resources/list": types.ListResourcesResult(resources=[]),
    "resources/templates/list": types.ListResourceTemplatesResult([]),
    "resources/read": types.ReadResourceResult(contents=[]),
    "resources/subscribe": types.EmptyResult(),
    "resources/unsubscribe": types.EmptyResult(),
    "completion/complete": types.CompleteResult(types.Completion([])),
    "subscriptions/listen": types.SubscriptionsListenResult(
        meta={"io.modelcontextprotocol/subscriptionId": 1}
    ),
}
# Requests that a server may send.
QUESTIONS: list[tuple[str, msgspec.Struct]] = [
    ("ping", RequestParams()),
    ("roots/list", RequestParams()),
    (
        "sampling/createMessage",
        CreateMessageRequestParams(
            messages=[SamplingMessage("user", TextContent("x"))], max_tokens=1
        ),
    ),
    (
        "elicitation/create",
        ElicitRequestFormParams(
            message="x",
            requested_schema=RequestedSchema({"a": BooleanSchema(default=True)}),
        ),
    ),
]
methods_served = st.sampled_from(
    [*RESULTS, "ping", "server/discover", "logging/setLevel"]
)
# With batches more often than without.
VERSIONS = [*[revision.value for revision in Revision], *["2025-03-26"] * 4, "?"]
versions = st.sampled_from(VERSIONS)


class Conversation(RuleBasedStateMachine):
    """A client that says anything, and a server that answers in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = ServerConnection(
            describe(),
            Limits(
                max_json_depth=MAX_DEPTH,
                max_batch_length=MAX_BATCH,
                max_outbox_frames=None,
                max_outbox_bytes=None,
                max_violations=None,
            ),
        )
        self.due = Counter[tuple[str, Any]]()  # answers, by id
        self.open: list[Request] = []
        self.over: list[Request] = []
        self.asked = set[tuple[str, Any]]()  # of the client, without an answer so far
        self.sent_questions = Counter[tuple[str, Any]]()
        self.finished_handshakes = 0

    # What the client does

    @initialize(version=st.sampled_from([None, None, *VERSIONS]))
    def begin(self, version: str | None) -> None:
        if version is not None:
            self.send(make_handshake("hello", version))

    @rule(id=ids, version=versions)
    def shake_hands(self, id: Any, version: str) -> None:
        self.send(make_handshake(id, version))

    @rule()
    def finish_handshake(self) -> None:
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    @rule(text=texts)
    def send_anything(self, text: str) -> None:
        self.send_text(text)

    @rule(id=ids, method=methods_served)
    def ask(self, id: Any, method: str) -> None:
        self.send(make_request(id, method, {"progressToken": id}))

    @rule(
        id=ids,
        method=methods_served,
        level=st.sampled_from([None, *LOGGING_LEVELS]),
    )
    def ask_in_an_envelope(self, id: Any, method: str, level: str | None) -> None:
        self.send(make_request(id, method, make_envelope(id, level)))

    @rule(id=ids, method=methods_served, params=params)
    def ask_oddly(self, id: Any, method: str, params: Any) -> None:
        message = make_request(id, method, {})
        self.send({**message, "params": {**message["params"], **params}})

    @rule(
        members=st.lists(
            messages
            | st.builds(make_request, ids, methods_served, st.just({}))
            | st.builds(make_cancellation, ids)
            | st.builds(make_handshake, ids, versions)
            | st.builds(make_answer, ids, st.sampled_from(["result", "error"])),
            max_size=MAX_BATCH + 1,
        )
    )
    def send_batch(self, members: list[Any]) -> None:
        self.send(members)

    @precondition(lambda self: self.allows_batches())
    @rule(
        members=st.lists(
            st.builds(make_request, ids, methods_served, st.just({}))
            | st.builds(make_cancellation, ids),
            min_size=2,
            max_size=MAX_BATCH,
        )
    )
    def send_good_batch(self, members: list[Any]) -> None:
        self.send(members)

    @rule(id=ids)
    def cancel(self, id: Any) -> None:
        before = list(self.open)
        self.send(make_cancellation(id))
        left = {key_of(request.id) for request in self.open}

        assert {key_of(request.id) for request in before} - {key_of(id)} == left

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def cancel_what_is_open(self, data: st.DataObject) -> None:
        self.cancel(data.draw(st.sampled_from(self.open)).id)

    @rule(id=ids, member=st.sampled_from(["result", "error"]))
    def answer_what_may_not_be_asked(self, id: Any, member: str) -> None:
        self.send(make_answer(id, member))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), member=st.sampled_from(["result", "error"]))
    def answer_a_question(self, data: st.DataObject, member: str) -> None:
        kind, id = data.draw(st.sampled_from(sorted(self.asked)))
        # The same in another type is the answer to nothing.
        self.send(make_answer(str(id), member))
        self.send(make_answer(id, member))

        assert (kind, id) not in self.asked

        # Nobody waits for it any more.
        self.send(make_answer(id, member))

    # What the server does

    @precondition(lambda self: self.open)
    @rule(data=st.data(), is_shared=st.booleans())
    def answer(self, data: st.DataObject, is_shared: bool) -> None:
        request = data.draw(st.sampled_from(self.open))
        result = RESULTS[request.method]
        self.finish(request)
        self.connection.send_result(
            request, SharedResult(result) if is_shared else result
        )
        answers = self.drain()

        assert len(answers) == 1 or request.batch is not None
        for message in answers:
            if key_of(message["id"]) == key_of(request.id) and "result" in message:
                assert ("resultType" in message["result"]) is (
                    request.revision.era is Era.MODERN
                )

    @precondition(lambda self: self.open)
    @rule(
        data=st.data(),
        error=st.sampled_from(
            [InvalidParams("no"), InternalError(), ProtocolError("x", data=object())]
        ),
    )
    def refuse(self, data: st.DataObject, error: ProtocolError) -> None:
        request = data.draw(st.sampled_from(self.open))
        self.finish(request)
        self.connection.send_error(request, error)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), value=st.sampled_from([object(), "\ud800"]))
    def fail_to_answer(self, data: st.DataObject, value: Any) -> None:
        request = data.draw(st.sampled_from(self.open))
        try:
            self.connection.send_result(request, types.EmptyResult(meta={"a": value}))
        except (TypeError, ValueError):
            pass
        else:
            raise AssertionError("It was encoded.")

        assert self.connection.is_open(request)
        assert self.drain() == []

    @precondition(lambda self: self.open)
    @rule(data=st.data(), progress=st.integers(0, 9))
    def report(self, data: st.DataObject, progress: int) -> None:
        request = data.draw(st.sampled_from(self.open))
        last = request.last_progress
        is_sent = self.connection.send_progress(request, progress)
        is_logged = self.connection.send_log(request, "error", "x")
        notices = self.drain()

        assert len(notices) == is_sent + is_logged
        if is_sent:
            token = notices[0]["params"]["progressToken"]

            assert key_of(token) == key_of(request.meta["progressToken"])
            assert last is None or progress > last

    @precondition(lambda self: self.connection.handshake)
    @rule(data=st.data())
    def ask_the_client(self, data: st.DataObject) -> None:
        handshake = self.connection.handshake

        assert handshake is not None

        question = data.draw(
            st.sampled_from(
                [
                    question
                    for question in QUESTIONS
                    if handshake.revision in REQUESTS[question[0]].from_server
                ]
            )
        )
        id = self.connection.send_request(*question)

        assert key_of(id) not in self.sent_questions

        self.asked.add(key_of(id))
        self.sent_questions[key_of(id)] += 1
        (message,) = self.drain()

        assert (key_of(message["id"]), message["method"]) == (key_of(id), question[0])

    @precondition(lambda self: self.sent_questions)
    @rule(data=st.data())
    def take_a_question_back(self, data: st.DataObject) -> None:
        kind, id = data.draw(st.sampled_from(sorted(self.sent_questions)))
        self.connection.forget(id, "No longer needed")
        notices = [message["params"]["requestId"] for message in self.drain()]

        assert notices == ([id] if (kind, id) in self.asked else [])

        self.asked.discard((kind, id))

    @rule(id=ids)
    def listen(self, id: Any) -> None:
        before = self.listens()
        envelope = make_envelope(None, None)
        self.send(make_request(id, "subscriptions/listen", envelope))
        for listen in self.listens():
            if listen not in before:
                self.acknowledge(listen)

    def acknowledge(self, listen: Request) -> None:
        self.drain()
        self.connection.send_acknowledged(listen, listen.params.notifications)
        (message,) = self.drain()

        assert key_of(message["params"]["_meta"][SUBSCRIPTION_ID]) == key_of(listen.id)

    @precondition(lambda self: self.connection.handshake or self.listens())
    @rule(data=st.data(), kind=st.sampled_from(["tools", "prompts", "resources", None]))
    def tell_news(self, data: st.DataObject, kind: str | None) -> None:
        whom: list[Request | None] = [*self.listens()]
        if self.connection.handshake is not None:
            whom.append(None)
        listen = data.draw(st.sampled_from(whom))
        if kind is None:
            assert self.connection.send_resource_updated("a://b", listen)
        else:
            assert self.connection.send_list_changed(kind, listen)
        (message,) = self.drain()
        meta = message.get("params", {}).get("_meta", {})

        assert list(map(key_of, meta.values())) == (
            [] if listen is None else [key_of(listen.id)]
        )

    @precondition(lambda self: self.over)
    @rule(data=st.data())
    def be_late(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.over))
        self.connection.send_result(request, RESULTS[request.method])
        self.connection.send_error(request, InternalError())
        self.connection.send_acknowledged(request, types.SubscriptionFilter())

        assert not self.connection.send_progress(request, 10**9)
        assert not self.connection.send_log(request, "emergency", "x")
        assert self.drain() == []

    # What must be so

    @invariant()
    def is_never_closed(self) -> None:
        self.drain()

        assert self.connection.closing is None

    def teardown(self) -> None:
        for request in self.open:
            self.connection.send_result(request, RESULTS[request.method])
        self.drain()

        assert not +self.due, "Something was never answered."

    def send(self, message: Any) -> None:
        self.send_text(json.dumps(message))

    def send_text(self, text: str) -> None:
        """Send a frame, know what is due for it, and look at what it does."""
        try:
            message = read(text)
        except ValueError:
            members = [None]
        else:
            members = [message]
            if isinstance(message, list):
                is_allowed = self.allows_batches() and 0 < len(message) <= MAX_BATCH
                members = message if is_allowed else [None]
        expected = []
        for member in members:
            self.due.update(map(key_of, ids_due(member)))
            expected += [id for id in ids_answered(member) if key_of(id) in self.asked]
        events = self.connection.receive(text)
        answered = [event.id for event in events if isinstance(event, Response)]
        # An answer in a batch may be there twice.
        assert answered == list(dict.fromkeys(expected))
        for event in events:
            self.take(event)

    def take(self, event: Event) -> None:
        if isinstance(event, Request):
            self.admit(event)
        elif isinstance(event, Cancelled):
            assert event.request in self.open

            self.finish(event.request)
            self.due[key_of(event.request.id)] -= 1
        elif isinstance(event, Response):
            assert (event.result is UNSET) is not (event.error is UNSET)

            self.asked.remove(key_of(event.id))
        else:
            # Only once.
            assert isinstance(event, Initialized)
            assert not self.finished_handshakes

            self.finished_handshakes += 1

    def admit(self, request: Request) -> None:
        """Note a request, and that it sees nothing of the other era."""
        handshake = self.connection.handshake

        assert key_of(request.id) not in {key_of(other.id) for other in self.open}
        if request.revision.era is Era.MODERN:
            assert request.meta[PROTOCOL_VERSION] == request.revision.value
            info = request.peer.info
            assert info is None or info.name == "in the envelope"
        else:
            assert handshake is not None
            assert PROTOCOL_VERSION not in request.meta
            assert request.peer is handshake.peer
            assert request.revision is handshake.revision
        self.open.append(request)

    def allows_batches(self) -> bool:
        handshake = self.connection.handshake
        return handshake is not None and handshake.revision is Revision.V2025_03_26

    def listens(self) -> list[Request]:
        return [r for r in self.open if r.method == "subscriptions/listen"]

    def finish(self, request: Request) -> None:
        self.open.remove(request)
        self.over.append(request)

    def drain(self) -> list[Any]:
        """Take what the server sent, and see that each answer was due."""
        received: list[Any] = []
        while (frame := self.connection.next_frame()) is not None:
            message = json.loads(frame)
            if isinstance(message, list):
                assert message
            received += message if isinstance(message, list) else [message]
        for message in received:
            assert message["jsonrpc"] == "2.0"
            if "method" in message:
                # A question is sent once; all else that is no answer has no id.
                if "id" in message:
                    self.sent_questions[key_of(message["id"])] -= 1

                    assert self.sent_questions[key_of(message["id"])] == 0
                continue
            assert ("result" in message) is not ("error" in message)
            key = key_of(message["id"])
            self.due[key] -= 1

            assert self.due[key] >= 0, f"Nobody waits for {message}."
        return received


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    deadline=None, max_examples=150, stateful_step_count=50
)


@thorough
@given(frames=st.lists(texts | st.just("[]") | st.just("5"), max_size=12))
def test_client_that_reads_nothing_costs_no_more_than_the_limits(
    frames: list[str],
) -> None:
    connection = ServerConnection(
        describe(), Limits(max_outbox_frames=3, max_violations=5)
    )
    for frame in frames:
        connection.receive(frame)
    closing = connection.closing
    sent = 0
    while connection.next_frame() is not None:
        sent += 1

    assert sent <= 3
    assert closing is None or closing.code in (1008, 1013)
    assert closing is None or sent == 3
