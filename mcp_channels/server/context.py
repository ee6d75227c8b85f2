"""What a function knows of the request that it answers, and can say meanwhile."""

import math
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Raw, Struct

from mcp_channels.protocol.connection import Request, Response
from mcp_channels.protocol.elicitation import CreateMessageResult, SamplingMessage
from mcp_channels.protocol.errors import ProtocolError
from mcp_channels.protocol.messages import RequestId
from mcp_channels.protocol.methods import RequestParams
from mcp_channels.protocol.server import ServerConnection
from mcp_channels.protocol.types import (
    LOGGING_LEVELS,
    ClientCapabilities,
    Implementation,
    LoggingLevel,
    Root,
)
from mcp_channels.server.blocks import to_text
from mcp_channels.server.concurrency import Workers
from mcp_channels.server.interaction import (
    Elicit,
    ElicitURL,
    Interaction,
    ListRoots,
    Question,
    Sample,
)
from mcp_channels.server.permissions import EndpointPolicy, Identity, TokenGrant, User
from mcp_channels.server.schemas import encode_value

if TYPE_CHECKING:
    from mcp_channels.server.audience import Audience
    from mcp_channels.server.catalogue import Catalogue
    from mcp_channels.server.events import Change, Kind
    from mcp_channels.server.subscriptions import Subscriptions

__all__ = ["Context", "Session", "current_context"]

T = TypeVar("T")

# Of the function that runs; None outside of one.
current_context: ContextVar["Context | None"] = ContextVar(
    "mcp_channels.current_context", default=None
)


class Session(Protocol):
    """What a connection shares among its requests; Dispatcher is the one there is."""

    id: str
    audience: "Audience"
    workers: Workers
    connection: ServerConnection
    subscriptions: "Subscriptions"

    @property
    def identity(self) -> Identity: ...

    @property
    def catalogue(self) -> "Catalogue": ...

    def post(self, send: Callable[..., bool], *arguments: Any) -> None:
        """Call `send` in the event loop, soon, from any thread."""

    async def ask(
        self, request: Request, method: str, params: RequestParams
    ) -> Response:
        """Ask the client over the socket, on behalf of `request`."""

    async def refresh(self) -> "Collection[Kind]":
        """See to it that the catalogue is that of now; return the kinds of which it
        holds something else than before."""

    def notify(self, event: "Change") -> None:
        """Hear of what happened on the site. Call it in the event loop."""

    def do(self, chore: Coroutine[Any, Any, None]) -> object:
        """Run `chore` beside the requests, until the channel is gone."""

    def wake(self) -> None:
        """See to it that the outbox is drained, without waiting for it."""

    def wait_for(self, answer: Coroutine[Any, Any, T]) -> T:
        """Run `answer` in the event loop, from a thread, and return its result."""

    def expire_after(
        self,
        seconds: float | None,
        request: Request,
        answer: Struct | ProtocolError,
    ) -> None:
        """Answer `request` with `answer` and stop it, unless it ends in time; None
        for the time that the settings allow."""


class Context:
    """
    The request that a function answers.

    A parameter annotated Context receives it and is not in the schema. It may be used
    from any thread, and until the function returns.
    """

    __slots__ = ("_interaction", "request", "session")

    def __init__(self, request: Request, session: Session) -> None:
        self.request = request
        self.session = session
        self._interaction: Interaction | None = None

    @property
    def interaction(self) -> Interaction:
        """The questions of this request. Raise InvalidParams when it came with a state
        that was not given for it."""
        if self._interaction is None:
            self._interaction = Interaction(self)
        return self._interaction

    @property
    def has_answers(self) -> bool:
        """Whether the request came again, with answers of the client."""
        params = self.request.params
        return bool(
            getattr(params, "request_state", None)
            or getattr(params, "input_responses", None)
        )

    @property
    def identity(self) -> Identity:
        """Who is asking."""
        return self.session.identity

    @property
    def user(self) -> User:
        """The Django user behind the connection."""
        return self.session.identity.user

    @property
    def token(self) -> TokenGrant | None:
        """The access token that the client came with; None when it came otherwise."""
        return self.session.identity.token

    @property
    def endpoint(self) -> EndpointPolicy:
        """The endpoint that the client is connected to."""
        return self.session.identity.endpoint

    @property
    def request_id(self) -> RequestId:
        """The id that the client gave this request."""
        return self.request.id

    @property
    def client_info(self) -> Implementation | None:
        """What the client says it is; None when it does not. Never decide on it."""
        return self.request.peer.info

    @property
    def capabilities(self) -> ClientCapabilities:
        """What the client says it can do, for this request."""
        return self.request.peer.capabilities

    @property
    def meta(self) -> dict[str, Any]:
        """The request's `_meta`, such as a `traceparent`."""
        return self.request.meta

    def progress(
        self,
        progress: float,
        total: float | None = None,
        message: str | None = None,
    ) -> None:
        """
        Tell the client how far this call has come.

        `progress` counts in any unit and must grow from call to call, else it is not
        sent; `total` is in the same unit, None when unknown. Nothing is sent when the
        client did not ask for it, or reads too slowly. It never waits. Raise
        ValueError when a number is not finite, or `message` is not Unicode.
        """
        # What cannot be sent fails here, where the function sees it.
        self.session.post(
            self.session.connection.send_progress,
            self.request,
            _check_number(progress),
            None if total is None else _check_number(total),
            None if message is None else to_text(message),
        )

    def log(self, level: LoggingLevel, data: Any, logger: str | None = None) -> None:
        """
        Send the client a log message about this call, if it wants that level.

        `data` is anything with a JSON form, without secrets. It never waits. Raise
        ValueError for an unknown level or what is not Unicode, TypeError for data
        without a JSON form.
        """
        if level not in LOGGING_LEVELS:
            raise ValueError(
                f"Unknown level {level!r}: use one of {', '.join(LOGGING_LEVELS)}."
            )
        self.session.post(
            self.session.connection.send_log,
            self.request,
            level,
            Raw(encode_value(data)),
            None if logger is None else to_text(logger),
        )

    # Questions to the client. In asynchronous functions use those that begin with an a.

    async def aask(self, questions: Mapping[str, Question[Any]]) -> dict[str, Any]:
        """
        Ask the client several questions at once; return the answers by their keys.

        In the modern era the function may run again from the top for each round: write
        after the last question. Raise Declined when the user does not want to answer,
        ClientRefused when the client does not, MissingClientCapability when it cannot.
        """
        return await self.interaction.ask(questions, may_wait=True)

    def ask(self, questions: Mapping[str, Question[Any]]) -> dict[str, Any]:
        """See aask(). The function runs again from the top in every era: its thread
        and its transaction do not wait for a person."""
        answers = self.interaction.ask(questions, may_wait=False)
        return self.session.wait_for(answers)

    async def aelicit(self, message: str, form: Any, *, key: str | None = None) -> Any:
        """
        Ask the user to fill in `form`, and return the answer as its type.

        See Elicit for what a form can be, and aask() for what is raised. `key` names
        the question on the wire.
        """
        return await self._aask_one(Elicit(message, form), key)

    def elicit(self, message: str, form: Any, *, key: str | None = None) -> Any:
        """See aelicit()."""
        return self._ask_one(Elicit(message, form), key)

    async def aelicit_url(
        self, message: str, url: str, *, key: str | None = None
    ) -> None:
        """Ask the user to open a page. See ElicitURL, and aask() for what is raised."""
        await self._aask_one(ElicitURL(message, url), key)

    def elicit_url(self, message: str, url: str, *, key: str | None = None) -> None:
        """See aelicit_url()."""
        self._ask_one(ElicitURL(message, url), key)

    async def asample(
        self,
        messages: str | list[SamplingMessage],
        *,
        max_tokens: int,
        key: str | None = None,
        **options: Any,
    ) -> CreateMessageResult:
        """Ask the client's model. See Sample for the options, and aask() for what is
        raised."""
        question = Sample(messages, max_tokens=max_tokens, **options)
        result: CreateMessageResult = await self._aask_one(question, key)
        return result

    def sample(
        self,
        messages: str | list[SamplingMessage],
        *,
        max_tokens: int,
        key: str | None = None,
        **options: Any,
    ) -> CreateMessageResult:
        """See asample()."""
        question = Sample(messages, max_tokens=max_tokens, **options)
        result: CreateMessageResult = self._ask_one(question, key)
        return result

    async def alist_roots(self, *, key: str | None = None) -> list[Root]:
        """Ask which folders the client may work with; see aask() for what is raised."""
        roots: list[Root] = await self._aask_one(ListRoots(), key)
        return roots

    def list_roots(self, *, key: str | None = None) -> list[Root]:
        """See alist_roots()."""
        roots: list[Root] = self._ask_one(ListRoots(), key)
        return roots

    async def _aask_one(self, question: Question[Any], key: str | None) -> Any:
        if key is None:
            key = self.interaction.next_key()
        return (await self.aask({key: question}))[key]

    def _ask_one(self, question: Question[Any], key: str | None) -> Any:
        if key is None:
            key = self.interaction.next_key()
        return self.ask({key: question})[key]


def _check_number(value: float) -> float:
    """Return `value` as a number that JSON has. Raise ValueError when it has none."""
    number = int(value) if isinstance(value, int) else float(value)
    if not math.isfinite(number):
        raise ValueError("Progress and total must be finite numbers.")
    return number
