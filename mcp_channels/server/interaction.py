"""
Questions to the client, written once for both eras.

A client with a handshake is asked over the socket. MCP 2026-07-28 has no requests to
the client: there the call ends with the questions, and the client comes back with the
answers, which travel in a signed state.

An asynchronous function waits for a client with a handshake. In all other cases it ends
with the questions, and runs again from the top with the answers: so nobody who thinks
about one keeps a thread or a transaction. Writes belong after the last question.

MCP 2026-07-28, basic/patterns/multi-round-trip-requests; client/elicitation,
client/sampling, client/roots.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import uuid4

import msgspec
from asgiref.sync import sync_to_async
from django.core import signing
from django.db import close_old_connections
from msgspec import UNSET, Raw, Struct

from mcp_channels.protocol.content import TextContent
from mcp_channels.protocol.elicitation import (
    CreateMessageResult,
    ElicitResult,
    InputRequest,
    ModelPreferences,
    RequestedSchema,
    SamplingMessage,
    ToolChoice,
)
from mcp_channels.protocol.errors import InvalidParams, MissingClientCapability
from mcp_channels.protocol.methods import (
    CreateMessageRequestParams,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    RequestParams,
)
from mcp_channels.protocol.types import (
    InputRequiredResult,
    ListRootsResult,
    Root,
    Tool,
)
from mcp_channels.protocol.versions import Era, Revision
from mcp_channels.server.forms import Unacceptable, get_form

if TYPE_CHECKING:
    from mcp_channels.server.context import Context

__all__ = [
    "ClientRefused",
    "Declined",
    "Elicit",
    "ElicitURL",
    "InputRequired",
    "Interaction",
    "ListRoots",
    "Question",
    "Sample",
]

T = TypeVar("T")

_SALT: Final = "mcp_channels.request_state"
# Seconds a state stays valid: time for a person to answer, no more to misuse it.
_STATE_AGE: Final = 600
# How often a wrong answer is asked for again before the call fails.
_ATTEMPTS: Final = 3
_NOTHING_FITS: Final = "The client gave no answer that fits."


class InputRequired(BaseException):
    """
    The client has to be asked before the call can go on.

    Not an Exception, so that a function's own `except Exception` lets it through.
    """

    def __init__(self, result: InputRequiredResult) -> None:
        super().__init__("input required")
        self.result = result


class ClientRefused(Exception):
    """The client did not do what it was asked for."""


class Declined(ClientRefused):
    """The user declined, or dismissed the question; `action` says which."""

    def __init__(self, action: str) -> None:
        super().__init__(
            "The user declined." if action == "decline" else "The user cancelled."
        )
        self.action = action


class Question(Generic[T]):
    """Something to ask the client: a request of the protocol, and how to read what
    comes back."""

    method: str
    capability: tuple[str, ...]  # that the client must declare
    since = Revision.V2024_11_05  # before, clients do not know it

    def params(self, complaint: str | None, *, live: bool) -> RequestParams | None:
        """
        Return the params of the request.

        `complaint` says what was wrong with the last answer, and `live` that it is
        asked over the socket. Called in a thread.
        """
        raise NotImplementedError

    def read(self, answer: Any) -> T:
        """
        Return what the client answered, given as JSON.

        Called in a thread. Raise Unacceptable for what should be asked again, Declined
        when the user does not want to.
        """
        raise NotImplementedError

    def needs(self) -> dict[str, Any]:
        """Return the capabilities that the client must declare."""
        needed: dict[str, Any] = {}
        for name in reversed(self.capability):
            needed = {name: needed}
        return needed


class Elicit(Question[Any]):
    """
    Ask the user to fill in a form.

    `form` is a msgspec Struct, a dataclass, a TypedDict, a Django form class or a JSON
    Schema with flat properties. The answer is of that type: of a Django form its
    cleaned data, of a schema a dict. Never ask for secrets.
    """

    method = "elicitation/create"
    capability = ("elicitation", "form")
    since = Revision.V2025_06_18

    def __init__(self, message: str, form: Any) -> None:
        self._message = message
        self._form = get_form(form)

    def params(self, complaint: str | None, *, live: bool) -> RequestParams:
        message = self._message
        if complaint is not None:
            message = f"{message}\n\n{complaint}"
        schema = self._form.describe()
        return ElicitRequestFormParams(
            message=str(message),
            requested_schema=RequestedSchema(
                properties=schema["properties"],
                required=schema.get("required", UNSET),
            ),
        )

    def read(self, answer: Any) -> Any:
        result = _convert(answer, ElicitResult)
        if result.action != "accept":
            raise Declined(result.action)
        return self._form.read(result.content or {})


class ElicitURL(Question[None]):
    """
    Ask the user to open a page, for what must not go through the client.

    The answer says that the user agreed to open it, not that anything was done there.
    The page must make sure that it is the same person.
    """

    method = "elicitation/create"
    capability = ("elicitation", "url")
    since = Revision.V2025_11_25

    def __init__(self, message: str, url: str) -> None:
        self._message = message
        self._url = url

    def params(self, complaint: str | None, *, live: bool) -> RequestParams:
        return ElicitRequestURLParams(
            message=str(self._message),
            url=self._url,
            mode="url",
            elicitation_id=str(uuid4()) if live else UNSET,
        )

    def read(self, answer: Any) -> None:
        result = _convert(answer, ElicitResult)
        if result.action != "accept":
            raise Declined(result.action)


class Sample(Question[CreateMessageResult]):
    """
    Ask the client's model to go on from `messages`, which may be one text.

    `max_tokens` is a limit for the answer. `tools` and `tool_choice` need a client
    that samples with tools.
    """

    method = "sampling/createMessage"
    capability: tuple[str, ...] = ("sampling",)

    def __init__(
        self,
        messages: str | list[SamplingMessage],
        *,
        max_tokens: int,
        system_prompt: str | None = None,
        temperature: float | None = None,
        stop_sequences: list[str] | None = None,
        model_preferences: ModelPreferences | None = None,
        tools: list[Tool] | None = None,
        tool_choice: ToolChoice | None = None,
    ) -> None:
        if isinstance(messages, str):
            messages = [SamplingMessage("user", TextContent(messages))]
        if tools is not None or tool_choice is not None:
            self.capability = ("sampling", "tools")
            self.since = Revision.V2025_11_25
        self._params = CreateMessageRequestParams(
            messages=messages,
            max_tokens=max_tokens,
            system_prompt=_or_unset(system_prompt),
            temperature=_or_unset(temperature),
            stop_sequences=_or_unset(stop_sequences),
            model_preferences=_or_unset(model_preferences),
            tools=_or_unset(tools),
            tool_choice=_or_unset(tool_choice),
        )

    def params(self, complaint: str | None, *, live: bool) -> RequestParams:
        return self._params

    def read(self, answer: Any) -> CreateMessageResult:
        return _convert(answer, CreateMessageResult)


class ListRoots(Question[list[Root]]):
    """Ask which folders the user has given the client to work with."""

    method = "roots/list"
    capability = ("roots",)

    def params(self, complaint: str | None, *, live: bool) -> RequestParams | None:
        return RequestParams() if live else None

    def read(self, answer: Any) -> list[Root]:
        return _convert(answer, ListRootsResult).roots


class Interaction:
    """The questions of one request, by key."""

    def __init__(self, context: "Context") -> None:
        self._context = context
        self._count = 0
        self._given: dict[str, Any] = {}  # answers that came with it, as JSON
        self._accepted: dict[str, Any] = {}  # those of them that fit
        # Of a client with a handshake, what it was asked and did not answer.
        self._asked: Counter[str] = Counter()
        self._refused: dict[str, str] = {}
        if context.request.revision.era is Era.MODERN:
            self._resume()

    def next_key(self) -> str:
        """
        Return a key for a question without one.

        The same in each round, because a function asks in the same order each time.
        """
        self._count += 1
        return f"question_{self._count}"

    async def ask(
        self, questions: Mapping[str, Question[Any]], *, may_wait: bool
    ) -> dict[str, Any]:
        """
        Ask all of `questions` at once and return the answers by their keys.

        Raise Declined and ClientRefused, and MissingClientCapability when the client
        cannot be asked. In the modern era, or unless the function `may_wait`, raise
        InputRequired until every answer is there.
        """
        self._check(questions)
        is_live = self._context.request.revision.era is Era.LEGACY
        if is_live and may_wait:
            return {
                key: await self._ask_live(question)
                for key, question in questions.items()
            }
        answers = {}
        pending: dict[str, InputRequest] = {}
        for key, question in questions.items():
            complaint = None
            if key in self._refused:
                raise ClientRefused(self._refused[key])
            if key in self._given:
                given = self._given[key]
                try:
                    answers[key] = await _in_thread(question.read, given)
                    self._accepted[key] = given
                    continue
                except Declined:
                    # An answer as well: a function that goes on without one must not
                    # find the question open again in the next round.
                    self._accepted[key] = given
                    raise
                except Unacceptable as exc:
                    complaint = str(exc)
            params = await _in_thread(question.params, complaint, live=is_live)
            pending[key] = InputRequest(
                method=question.method,  # type: ignore[arg-type]
                params=UNSET if params is None else params,
            )
        if pending:
            state = UNSET if is_live else self._sign_state()
            raise InputRequired(
                InputRequiredResult(input_requests=pending, request_state=state)
            )
        return answers

    async def ask_live(self, required: InputRequired) -> None:
        """Ask over the socket what a function ended with, before it runs again."""
        self._count = 0
        for key, question in (required.result.input_requests or {}).items():
            self._asked[key] += 1
            if self._asked[key] > _ATTEMPTS:
                self._refused[key] = _NOTHING_FITS
                continue
            try:
                self._given[key] = await self._send(question.method, question.params)
            except ClientRefused as exc:
                self._refused[key] = str(exc)

    def _check(self, questions: Mapping[str, Question[Any]]) -> None:
        request = self._context.request
        if request.method not in _INTERACTIVE:
            raise RuntimeError(f"{request.method} must not ask the client anything.")
        for question in questions.values():
            if (
                request.revision.rank < question.since.rank
                or not request.peer.capabilities.declares(*question.capability)
            ):
                if request.revision.era is Era.LEGACY:
                    # It has no code for this, and a model can go on without.
                    needed = ".".join(question.capability)
                    raise ClientRefused(f"The client does not declare {needed}.")
                raise MissingClientCapability(question.needs())

    async def _ask_live(self, question: Question[Any]) -> Any:
        complaint: str | None = None
        for _ in range(_ATTEMPTS):
            params = await _in_thread(question.params, complaint, live=True)
            answer = await self._send(question.method, params)
            try:
                return await _in_thread(question.read, answer)
            except Unacceptable as exc:
                complaint = str(exc)
        raise ClientRefused(_NOTHING_FITS)

    async def _send(self, method: str, params: Any) -> Any:
        """Ask over the socket and return the answer, as JSON."""
        response = await self._context.session.ask(
            self._context.request, method, params or RequestParams()
        )
        if isinstance(response.result, Raw):
            try:
                return msgspec.json.decode(response.result)
            except msgspec.ValidationError:
                # A number beyond any float: that is no answer to anything.
                return None
        # Its text is the client's own and may be anything.
        raise ClientRefused("The client refused to be asked.")

    # The state of the modern era

    def _resume(self) -> None:
        """Take the answers that came with the request. Raise InvalidParams when the
        state is not what was given for it."""
        params = self._context.request.params
        state = getattr(params, "request_state", None)
        if isinstance(state, str):
            self._given = self._read_state(state)
        responses = getattr(params, "input_responses", None)
        if isinstance(responses, dict):
            self._given |= responses

    def _sign_state(self) -> str:
        # Signed, not encrypted: it holds nothing but what the client itself said.
        content = [*self._binding(), self._accepted]
        return signing.dumps(content, salt=_SALT, compress=True)

    def _read_state(self, state: str) -> dict[str, Any]:
        accepted: dict[str, Any]
        try:
            *binding, accepted = signing.loads(state, salt=_SALT, max_age=_STATE_AGE)
            is_valid = binding == self._binding()
        except (signing.BadSignature, ValueError, msgspec.ValidationError):
            is_valid = False
        if not is_valid:
            # One text for every reason, so that nobody learns which it was.
            raise InvalidParams("Invalid or expired requestState")
        return accepted

    def _binding(self) -> list[str]:
        """Who may use a state, and for what."""
        request = self._context.request
        params = request.params
        target = params.uri if hasattr(params, "uri") else params.name
        arguments = getattr(params, "arguments", UNSET)
        if isinstance(arguments, Raw):
            arguments = msgspec.json.decode(arguments)
        canonical = msgspec.json.encode(arguments or {}, order="deterministic")
        digest = hashlib.sha256(canonical).hexdigest()
        return [self._context.identity.principal, request.method, target, digest]


_INTERACTIVE: Final = ("tools/call", "prompts/get", "resources/read")


async def _in_thread(function: Callable[..., T], *args: Any, **keywords: Any) -> T:
    """Call `function`, which may look into the database."""
    # Not in one of the workers' threads: all may be waiting for this very answer.
    call = sync_to_async(_call, thread_sensitive=False)
    return await call(function, args, keywords)


def _call(function: Callable[..., T], args: Any, keywords: Any) -> T:
    close_old_connections()
    try:
        return function(*args, **keywords)
    finally:
        close_old_connections()


S = TypeVar("S", bound=Struct)


def _convert(answer: Any, type: type[S]) -> S:
    try:
        return msgspec.convert(answer, type)
    except msgspec.ValidationError as exc:
        raise Unacceptable(f"The answer is malformed: {exc}") from None


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value
