import asyncio
import json
import math
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.utils import translation
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from msgspec import Struct

from mcp_channels.protocol.connection import Limits, Request
from mcp_channels.protocol.envelope import (
    CLIENT_CAPABILITIES,
    CLIENT_INFO,
    LOG_LEVEL,
    PROTOCOL_VERSION,
)
from mcp_channels.protocol.methods import CallToolRequestParams
from mcp_channels.protocol.server import ServerConnection, ServerDescription
from mcp_channels.protocol.types import (
    LOGGING_LEVELS,
    CallToolResult,
    Implementation,
    LoggingLevel,
    ServerCapabilities,
    ToolsCapability,
)
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.concurrency import get_workers
from mcp_channels.server.context import Context
from mcp_channels.server.interaction import (
    Elicit,
    ElicitURL,
    ListRoots,
    Question,
    Sample,
)
from mcp_channels.server.permissions import Identity, TokenGrant

LATER = gettext_lazy("Yes")  # in German: Ja


class FakeSession:
    """A session that sends at once, and keeps the book."""

    def __init__(self, connection: ServerConnection, user: Any) -> None:
        self.identity = Identity(user)
        self.catalogue = Catalogue([], page_size=1)
        self.workers = get_workers(1)
        self.connection = connection
        self.sent: list[bool] = []

    def post(self, send: Callable[..., bool], *arguments: Any) -> None:
        self.sent.append(send(*arguments))

    def expire_after(
        self, seconds: float | None, request: Request, answer: Struct
    ) -> None:
        raise AssertionError("nothing here takes time")

    def wait_for(self, answer: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(answer)

    def frames(self) -> list[Any]:
        """Take the params of all that was sent."""
        frames = []
        while (frame := self.connection.next_frame()) is not None:
            frames.append(json.loads(frame)["params"])
        return frames


def make_context(*, user: Any = None, **meta: Any) -> tuple[Context, FakeSession]:
    """Return the context of a modern request with this `_meta`."""
    connection = ServerConnection(
        ServerDescription(
            Implementation("tests", "1"),
            ServerCapabilities(logging={}, tools=ToolsCapability()),
        ),
        Limits(),
    )
    meta = {PROTOCOL_VERSION: "2026-07-28", CLIENT_CAPABILITIES: {}, **meta}
    params = {"name": "count", "_meta": meta}
    message = {"jsonrpc": "2.0", "id": "r-1", "method": "tools/call", "params": params}
    (request,) = connection.receive(json.dumps(message))

    assert isinstance(request, Request)
    session = FakeSession(connection, user or AnonymousUser())
    return Context(request, session), session


# Who asks


def test_context_knows_who_asks() -> None:
    user = User(pk=1)
    context, session = make_context(user=user)

    assert context.user is user
    assert context.identity is session.identity
    assert context.request_id == "r-1"


def test_context_knows_the_endpoint_and_the_token() -> None:
    context, session = make_context()

    assert context.token is None
    assert context.endpoint is session.identity.endpoint

    token = TokenGrant(pk="1", name="laptop")
    session.identity = replace(session.identity, token=token)

    assert context.token is token


def test_context_knows_what_the_client_says_of_itself() -> None:
    context, _ = make_context(
        **{
            CLIENT_INFO: {"name": "client", "version": "2"},
            CLIENT_CAPABILITIES: {"elicitation": {}},
            "traceparent": "00-0af7",
        }
    )

    assert context.client_info == Implementation("client", "2")
    assert context.capabilities.declares("elicitation")
    assert not context.capabilities.declares("sampling")
    assert context.meta["traceparent"] == "00-0af7"


def test_client_need_not_say_what_it_is() -> None:
    context, _ = make_context()

    assert context.client_info is None


# Progress


def test_progress_tells_how_far_a_call_has_come() -> None:
    context, session = make_context(progressToken="p")
    context.progress(1)
    context.progress(2.5, 10)
    context.progress(3, total=None, message="Half")

    assert session.sent == [True, True, True]
    assert session.frames() == [
        {"progressToken": "p", "progress": 1},
        {"progressToken": "p", "progress": 2.5, "total": 10},
        {"progressToken": "p", "progress": 3, "message": "Half"},
    ]


def test_progress_that_does_not_grow_is_not_sent() -> None:
    context, session = make_context(progressToken=5)
    for progress in (2, 2, 1, 2.0, 3):
        context.progress(progress)

    assert session.sent == [True, False, False, False, True]


def test_progress_may_go_beyond_the_total() -> None:
    context, session = make_context(progressToken=5)
    context.progress(11, 10)

    assert session.frames() == [{"progressToken": 5, "progress": 11, "total": 10}]


def test_progress_that_nobody_wants_is_not_sent() -> None:
    context, session = make_context()
    context.progress(1)

    assert session.sent == [False]
    assert session.frames() == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, Decimal("NaN")])
def test_number_that_is_not_finite_is_refused(number: Any) -> None:
    context, session = make_context(progressToken=5)

    with pytest.raises(ValueError, match="must be finite"):
        context.progress(number)
    with pytest.raises(ValueError, match="must be finite"):
        context.progress(1, number)

    assert session.sent == []


@pytest.mark.parametrize("number", ["one", None, [1]])
def test_what_is_no_number_is_refused(number: Any) -> None:
    context, session = make_context(progressToken=5)

    with pytest.raises((TypeError, ValueError)):
        context.progress(number)

    assert session.sent == []


@pytest.mark.parametrize(
    ("number", "sent"),
    [(True, "1"), (2, "2"), (Decimal("0.5"), "0.5"), (Fraction(1, 4), "0.25")],
)
def test_every_number_is_sent_as_one(number: Any, sent: str) -> None:
    context, session = make_context(progressToken=5)
    context.progress(number, number)
    frame = session.connection.next_frame()

    assert frame is not None
    assert f'"progress":{sent},' in frame
    assert f'"total":{sent}}}' in frame


@pytest.mark.parametrize(
    ("message", "sent"), [(LATER, "Ja"), (mark_safe("<b>"), "<b>"), ("", "")]
)
def test_message_is_sent_in_the_language_of_now(message: Any, sent: str) -> None:
    context, session = make_context(progressToken=5)
    with translation.override("de"):
        context.progress(1, message=message)

    assert session.frames() == [{"progressToken": 5, "progress": 1, "message": sent}]


def test_message_that_is_not_unicode_fails_where_it_is_said() -> None:
    context, session = make_context(progressToken=5)

    with pytest.raises(ValueError, match="surrogates"):
        context.progress(1, message="\ud800")

    assert session.sent == []


# Log messages


@pytest.mark.parametrize("level", LOGGING_LEVELS)
def test_log_message_of_every_level_is_sent(level: LoggingLevel) -> None:
    context, session = make_context(**{LOG_LEVEL: "debug"})
    context.log(level, "Hello")

    assert session.frames() == [{"level": level, "data": "Hello"}]


def test_log_message_below_the_wanted_level_is_not_sent() -> None:
    context, session = make_context(**{LOG_LEVEL: "warning"})
    context.log("notice", "no")
    context.log("warning", "yes")
    context.log("emergency", "yes")

    assert session.sent == [False, True, True]


def test_log_message_that_nobody_wants_is_not_sent() -> None:
    context, session = make_context()
    context.log("emergency", "Hello")

    assert session.sent == [False]


@pytest.mark.parametrize("level", ["warn", "WARNING", "", None, 5])
def test_unknown_level_is_refused_with_the_known_ones(level: Any) -> None:
    context, session = make_context(**{LOG_LEVEL: "debug"})

    with pytest.raises(ValueError, match="use one of debug, info, notice, warning"):
        context.log(level, "Hello")

    assert session.sent == []


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ({"a": [1, None, "ä"]}, {"a": [1, None, "ä"]}),
        (None, None),
        (Decimal("1.5"), "1.5"),
        ({"a": LATER}, {"a": "Yes"}),
        (mark_safe("<b>"), "<b>"),
    ],
)
def test_anything_with_a_json_form_can_be_logged(data: Any, sent: Any) -> None:
    context, session = make_context(**{LOG_LEVEL: "debug"})
    context.log("info", data, logger="shop")

    assert session.frames() == [{"level": "info", "data": sent, "logger": "shop"}]


def test_logged_data_is_that_of_now() -> None:
    context, session = make_context(**{LOG_LEVEL: "debug"})
    data = [1]
    posted: list[Callable[[], bool]] = []
    session.post = lambda send, *arguments: posted.append(lambda: send(*arguments))
    context.log("info", data)
    data.append(2)
    posted[0]()

    assert session.frames() == [{"level": "info", "data": [1]}]


@pytest.mark.parametrize("data", [object(), {"a": object()}, {1, object()}])
def test_data_without_a_json_form_is_refused(data: Any) -> None:
    context, session = make_context(**{LOG_LEVEL: "debug"})

    with pytest.raises(TypeError):
        context.log("info", data)

    assert session.sent == []


@pytest.mark.parametrize(
    ("data", "logger"), [("\ud800", None), ({"a": "\ud800"}, None), ("a", "\ud800")]
)
def test_log_message_that_is_not_unicode_is_refused(data: Any, logger: Any) -> None:
    context, session = make_context(**{LOG_LEVEL: "debug"})

    with pytest.raises(ValueError, match="surrogates"):
        context.log("info", data, logger)

    assert session.sent == []


@pytest.mark.parametrize("logger", [LATER, mark_safe("Yes")])
def test_name_of_a_logger_may_be_any_text(logger: Any) -> None:
    context, session = make_context(**{LOG_LEVEL: "debug"})
    context.log("info", 1, logger)

    assert session.frames() == [{"level": "info", "data": 1, "logger": "Yes"}]


# After the answer


def test_nothing_is_sent_for_a_request_that_was_answered() -> None:
    context, session = make_context(progressToken=5, **{LOG_LEVEL: "debug"})
    session.connection.send_result(context.request, CallToolResult([]))
    session.connection.next_frame()
    context.progress(1)
    context.log("info", "late")

    assert session.sent == [False, False]
    assert session.frames() == []


# Questions


class FakeInteraction:
    """Answers every question with its key, and keeps the book."""

    def __init__(self) -> None:
        self.asked: list[tuple[Question[Any], bool]] = []

    def next_key(self) -> str:
        return "next"

    async def ask(
        self, questions: Mapping[str, Question[Any]], *, may_wait: bool
    ) -> dict[str, str]:
        self.asked += [(question, may_wait) for question in questions.values()]
        return {key: f"answer to {key}" for key in questions}


class Form(Struct):
    agreed: bool


QUESTIONS: list[tuple[str, Any, dict[str, Any], type]] = [
    ("elicit", ("Sure?", Form), {}, Elicit),
    ("elicit_url", ("Sign in", "https://example.com/"), {}, ElicitURL),
    ("sample", ("Go on",), {"max_tokens": 5, "temperature": 0.5}, Sample),
    ("list_roots", (), {}, ListRoots),
]


@pytest.mark.parametrize(("name", "arguments", "options", "kind"), QUESTIONS)
@pytest.mark.parametrize(("given", "key"), [({}, "next"), ({"key": "mine"}, "mine")])
@pytest.mark.parametrize("is_async", [False, True])
def test_question_is_asked(
    name: str,
    arguments: Any,
    options: dict[str, Any],
    kind: type,
    given: dict[str, str],
    key: str,
    is_async: bool,
) -> None:
    context, _ = make_context()
    interaction: Any = FakeInteraction()
    context._interaction = interaction
    method = getattr(context, f"a{name}" if is_async else name)
    answer = method(*arguments, **options, **given)
    if is_async:
        answer = asyncio.run(answer)
    ((question, may_wait),) = interaction.asked

    assert answer == (None if kind is ElicitURL else f"answer to {key}")
    assert type(question) is kind
    # A thread, and its transaction, do not wait for a person.
    assert may_wait is is_async


@pytest.mark.parametrize("is_async", [False, True])
def test_several_questions_are_asked_at_once(is_async: bool) -> None:
    context, _ = make_context()
    interaction: Any = FakeInteraction()
    context._interaction = interaction
    questions = {"a": ListRoots(), "b": Elicit("Sure?", Form)}
    answers = (
        asyncio.run(context.aask(questions)) if is_async else context.ask(questions)
    )

    assert answers == {"a": "answer to a", "b": "answer to b"}
    assert [question for question, _ in interaction.asked] == [*questions.values()]


def test_request_has_one_interaction() -> None:
    context, _ = make_context()

    assert context.interaction is context.interaction


@pytest.mark.parametrize(
    ("params", "has_answers"),
    [
        ({}, False),
        ({"inputResponses": {}}, False),
        ({"inputResponses": {"a": {}}}, True),
        ({"requestState": "signed"}, True),
    ],
)
def test_request_that_came_again_has_answers(
    params: dict[str, Any], has_answers: bool
) -> None:
    context, _ = make_context()
    context.request.params = msgspec.convert(
        {"name": "count", **params}, CallToolRequestParams
    )

    assert context.has_answers is has_answers
