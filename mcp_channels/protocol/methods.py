"""
The schema's verbs: the params of each method, who may send it, and since when.

REQUESTS and NOTIFICATIONS hold every method of the five revisions and of the tasks
extension. Params are the newest superset, as the nouns are; null is forgiven where a
client can only mean that a member is absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType, field

from mcp_channels.protocol import elicitation, types
from mcp_channels.protocol.content import Noun
from mcp_channels.protocol.errors import InvalidParams
from mcp_channels.protocol.messages import RequestId
from mcp_channels.protocol.versions import (
    HANDSHAKE_REVISIONS,
    MODERN_REVISIONS,
    Revision,
)

__all__ = [
    "NOTIFICATIONS",
    "REQUESTS",
    "TASKS_EXTENSION",
    "CallToolRequestParams",
    "CancelledNotificationParams",
    "CompleteRequestParams",
    "CreateMessageRequestParams",
    "Direction",
    "ElicitRequestFormParams",
    "ElicitRequestParams",
    "ElicitRequestURLParams",
    "ElicitationCompleteNotificationParams",
    "GetPromptRequestParams",
    "InitializeRequestParams",
    "InputResponseRequestParams",
    "LegacyTaskStatusNotificationParams",
    "LoggingMessageNotificationParams",
    "Method",
    "NotificationParams",
    "PaginatedRequestParams",
    "ProgressNotificationParams",
    "ReadResourceRequestParams",
    "RequestParams",
    "ResourceUpdatedNotificationParams",
    "SetLevelRequestParams",
    "SubscribeRequestParams",
    "SubscriptionsAcknowledgedNotificationParams",
    "SubscriptionsListenRequestParams",
    "TaskAugmentedRequestParams",
    "TaskRequestParams",
    "TaskStatusNotificationParams",
    "UnsubscribeRequestParams",
    "UpdateTaskRequestParams",
    "find_request",
]

TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"


# Params of requests


class RequestParams(Noun, kw_only=True):
    """What every request may hold."""

    meta: dict[str, Any] | UnsetType | None = field(default=UNSET, name="_meta")


class InitializeRequestParams(RequestParams, kw_only=True):
    protocol_version: str  # any text: an unknown one is negotiated
    capabilities: types.ClientCapabilities
    client_info: types.Implementation


class PaginatedRequestParams(RequestParams, kw_only=True):
    cursor: str | UnsetType | None = UNSET  # "" is a cursor


class InputResponseRequestParams(RequestParams, kw_only=True):
    """What may be answered with InputRequiredResult, and comes again with answers."""

    # By the keys of the questions; neither is to be trusted.
    input_responses: dict[str, Any] | UnsetType | None = UNSET
    request_state: str | UnsetType | None = UNSET


class TaskAugmentedRequestParams(RequestParams, kw_only=True):
    """What 2025-11-25 may ask the client to run as a task."""

    task: types.TaskMetadata | UnsetType = UNSET


class CallToolRequestParams(InputResponseRequestParams, kw_only=True):
    name: str
    # Still JSON: the tool decodes it into its own types, once. May be any value; null
    # means absent, and only an object is valid.
    arguments: Raw | UnsetType = UNSET
    # "MUST ignore" what is no task where none are offered: so any value may be here.
    task: Any = UNSET  # types.TaskMetadata, 2025-11-25 only


class GetPromptRequestParams(InputResponseRequestParams, kw_only=True):
    name: str
    arguments: dict[str, str] | UnsetType | None = UNSET


class ReadResourceRequestParams(InputResponseRequestParams, kw_only=True):
    uri: str


class SubscribeRequestParams(RequestParams, kw_only=True):
    uri: str


class UnsubscribeRequestParams(RequestParams, kw_only=True):
    uri: str


class SubscriptionsListenRequestParams(RequestParams, kw_only=True):
    notifications: types.SubscriptionFilter


class CompleteRequestParams(RequestParams, kw_only=True):
    ref: types.PromptReference | types.ResourceTemplateReference
    argument: types.CompletionArgument
    context: types.CompletionContext | UnsetType = UNSET


class SetLevelRequestParams(RequestParams, kw_only=True):
    level: types.LoggingLevel


class CreateMessageRequestParams(TaskAugmentedRequestParams, kw_only=True):
    messages: list[elicitation.SamplingMessage]
    max_tokens: int
    model_preferences: elicitation.ModelPreferences | UnsetType = UNSET
    system_prompt: str | UnsetType = UNSET
    # Other than "none" only with the client's sampling.context; deprecated.
    include_context: Literal["none", "thisServer", "allServers"] | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    stop_sequences: list[str] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET  # for the model's provider
    tools: list[types.Tool] | UnsetType = UNSET  # only with the client's sampling.tools
    tool_choice: elicitation.ToolChoice | UnsetType = UNSET


class ElicitRequestParams(TaskAugmentedRequestParams, kw_only=True):
    """What both modes of elicitation share. Send one of the two below."""

    mode: Literal["form", "url"] | UnsetType = UNSET  # absent: form
    message: str


class ElicitRequestFormParams(ElicitRequestParams, kw_only=True):
    mode: Literal["form"] | UnsetType = UNSET
    requested_schema: elicitation.RequestedSchema


class ElicitRequestURLParams(ElicitRequestParams, kw_only=True):
    mode: Literal["url"] = "url"
    url: str
    elicitation_id: str | UnsetType = UNSET  # required by 2025-11-25, gone since


class TaskRequestParams(RequestParams, kw_only=True):
    """Of `tasks/get`, `tasks/result` and `tasks/cancel`."""

    task_id: str


class UpdateTaskRequestParams(RequestParams, kw_only=True):
    task_id: str
    input_responses: dict[str, Any]  # by the keys of the task's input_requests


# Params of notifications


class NotificationParams(Noun, kw_only=True):
    """What every notification may hold."""

    meta: dict[str, Any] | UnsetType | None = field(default=UNSET, name="_meta")


class CancelledNotificationParams(NotificationParams, kw_only=True):
    request_id: RequestId | UnsetType = UNSET  # absent: nothing to cancel
    reason: str | UnsetType | None = UNSET


class ProgressNotificationParams(NotificationParams, kw_only=True):
    progress_token: types.ProgressToken
    progress: int | float
    total: int | float | UnsetType = UNSET
    message: str | UnsetType = UNSET


class LoggingMessageNotificationParams(NotificationParams, kw_only=True):
    level: types.LoggingLevel
    logger: str | UnsetType = UNSET
    data: Any


class ResourceUpdatedNotificationParams(NotificationParams, kw_only=True):
    uri: str  # may lie below the URI subscribed to


class SubscriptionsAcknowledgedNotificationParams(NotificationParams, kw_only=True):
    notifications: types.SubscriptionFilter  # what of the filter is honoured


class ElicitationCompleteNotificationParams(NotificationParams, kw_only=True):
    elicitation_id: str


class TaskStatusNotificationParams(types.DetailedTask, kw_only=True):
    """Of `notifications/tasks`, the extension's."""

    meta: dict[str, Any] | UnsetType | None = field(default=UNSET, name="_meta")


class LegacyTaskStatusNotificationParams(types.LegacyTask):
    """Of `notifications/tasks/status` of 2025-11-25."""


# The methods


class Direction(Enum):
    """Who sends a method, in any of its revisions."""

    CLIENT_TO_SERVER = "client to server"
    SERVER_TO_CLIENT = "server to client"
    BOTH = "both"


@dataclass(frozen=True)
class Method:
    """
    One method in all the revisions that have it.

    Without its capabilities it must not be sent: the server's by a dotted name such as
    `resources.subscribe`, the client's as a path for declares() of its capabilities.
    In the modern era an `extension`, if there is one, is needed on both sides instead.
    """

    name: str
    params: type[Noun]
    result: type[Noun] | None = None  # None: a notification
    from_client: frozenset[Revision] = frozenset()  # where a client may send it
    from_server: frozenset[Revision] = frozenset()  # where a server may send it
    server_capability: str | None = None
    client_capability: tuple[str, ...] | None = None
    extension: str | None = None

    @cached_property
    def direction(self) -> Direction:
        """Who sends it; `from_client` and `from_server` tell it for one revision."""
        if not self.from_server:
            return Direction.CLIENT_TO_SERVER
        if not self.from_client:
            return Direction.SERVER_TO_CLIENT
        return Direction.BOTH

    @cached_property
    def revisions(self) -> frozenset[Revision]:
        """The revisions that have it, in any direction."""
        return self.from_client | self.from_server

    # Made at first use: most processes that import the package serve nothing.
    @cached_property
    def decoder(self) -> msgspec.json.Decoder[Any]:
        """
        What reads params, with decode().

        It raises msgspec.ValidationError for JSON that is none. Of elicitation/create,
        which only clients receive, it reads what both modes share.
        """
        return msgspec.json.Decoder(self.params)

    def decode_params(self, params: Raw | None) -> Any:
        """Return the params struct; None stands for `{}`. Raise InvalidParams when
        they are not what the schema says."""
        try:
            return self.decoder.decode(_NO_PARAMS if params is None else params)
        except msgspec.ValidationError as exc:
            # It names the path and the types; of the value only an unknown choice.
            raise InvalidParams(f"Invalid params: {str(exc)[:200]}") from None


_NO_PARAMS: Final = Raw(b"{}")
_LEGACY: Final = frozenset(HANDSHAKE_REVISIONS)
_MODERN: Final = frozenset(MODERN_REVISIONS)
_ALL: Final = _LEGACY | _MODERN
_06: Final = frozenset({Revision.V2025_06_18})
_11: Final = frozenset({Revision.V2025_11_25})


def _served(
    name: str,
    params: type[Noun],
    result: type[Noun],
    revisions: frozenset[Revision] = _ALL,
) -> Method:
    """Define a request of clients; its first word is the server's capability."""
    capability = name.partition("/")[0]
    return Method(name, params, result, revisions, server_capability=capability)


def _asked(
    name: str,
    params: type[Noun],
    result: type[Noun],
    revisions: frozenset[Revision] = _LEGACY,
) -> Method:
    """Define a request of servers; its first word is the client's capability."""
    capability = (name.partition("/")[0],)
    return Method(
        name, params, result, from_server=revisions, client_capability=capability
    )


def _told(
    name: str, capability: str, params: type[Noun] = NotificationParams
) -> Method:
    """Define a notification of servers."""
    return Method(name, params, from_server=_ALL, server_capability=capability)


def _task(
    name: str,
    params: type[Noun],
    result: type[Noun] | None,
    capability: tuple[str, ...],
    modern: frozenset[Revision] = frozenset(),
) -> Method:
    """Define what both sides of 2025-11-25 may send, and modern clients."""
    dotted = ".".join(capability)
    extension = TASKS_EXTENSION if modern else None
    return Method(
        name, params, result, _11 | modern, _11, dotted, capability, extension
    )


def _by_name(*methods: Method) -> Mapping[str, Method]:
    return {method.name: method for method in methods}


REQUESTS: Final = _by_name(
    Method("initialize", InitializeRequestParams, types.InitializeResult, _LEGACY),
    Method("ping", RequestParams, types.EmptyResult, _LEGACY, _LEGACY),
    Method("server/discover", RequestParams, types.DiscoverResult, _MODERN),
    Method(
        "subscriptions/listen",
        SubscriptionsListenRequestParams,
        types.SubscriptionsListenResult,
        _MODERN,
    ),
    _served("tools/list", PaginatedRequestParams, types.ListToolsResult),
    _served("tools/call", CallToolRequestParams, types.CallToolResult),
    _served("prompts/list", PaginatedRequestParams, types.ListPromptsResult),
    _served("prompts/get", GetPromptRequestParams, types.GetPromptResult),
    _served("resources/list", PaginatedRequestParams, types.ListResourcesResult),
    _served(
        "resources/templates/list",
        PaginatedRequestParams,
        types.ListResourceTemplatesResult,
    ),
    _served("resources/read", ReadResourceRequestParams, types.ReadResourceResult),
    Method(
        "resources/subscribe",
        SubscribeRequestParams,
        types.EmptyResult,
        _LEGACY,
        server_capability="resources.subscribe",
    ),
    Method(
        "resources/unsubscribe",
        UnsubscribeRequestParams,
        types.EmptyResult,
        _LEGACY,
        server_capability="resources.subscribe",
    ),
    # Servers of 2024-11-05 have the method, although they cannot advertise it.
    Method(
        "completion/complete",
        CompleteRequestParams,
        types.CompleteResult,
        _ALL,
        server_capability="completions",
    ),
    _served("logging/setLevel", SetLevelRequestParams, types.EmptyResult, _LEGACY),
    # The modern era asks the next three inside InputRequiredResult.
    _asked("roots/list", RequestParams, types.ListRootsResult),
    _asked(
        "sampling/createMessage",
        CreateMessageRequestParams,
        elicitation.CreateMessageResult,
    ),
    _asked(
        "elicitation/create", ElicitRequestParams, elicitation.ElicitResult, _06 | _11
    ),
    _task("tasks/get", TaskRequestParams, types.GetTaskResult, ("tasks",), _MODERN),
    _task("tasks/result", TaskRequestParams, types.GetTaskPayloadResult, ("tasks",)),
    _task(
        "tasks/list", PaginatedRequestParams, types.ListTasksResult, ("tasks", "list")
    ),
    _task(
        "tasks/cancel",
        TaskRequestParams,
        types.CancelTaskResult,
        ("tasks", "cancel"),
        _MODERN,
    ),
    Method(
        "tasks/update",
        UpdateTaskRequestParams,
        types.UpdateTaskResult,
        _MODERN,
        extension=TASKS_EXTENSION,
    ),
)

NOTIFICATIONS: Final = _by_name(
    Method("notifications/initialized", NotificationParams, None, _LEGACY),
    # Of modern servers only to end a subscription.
    Method("notifications/cancelled", CancelledNotificationParams, None, _ALL, _ALL),
    Method("notifications/progress", ProgressNotificationParams, None, _LEGACY, _ALL),
    _told("notifications/message", "logging", LoggingMessageNotificationParams),
    _told("notifications/tools/list_changed", "tools.listChanged"),
    _told("notifications/prompts/list_changed", "prompts.listChanged"),
    _told("notifications/resources/list_changed", "resources.listChanged"),
    _told(
        "notifications/resources/updated",
        "resources.subscribe",
        ResourceUpdatedNotificationParams,
    ),
    Method(
        "notifications/subscriptions/acknowledged",
        SubscriptionsAcknowledgedNotificationParams,
        from_server=_MODERN,
    ),
    Method(
        "notifications/roots/list_changed",
        NotificationParams,
        None,
        _LEGACY,
        client_capability=("roots",),
    ),
    Method(
        "notifications/elicitation/complete",
        ElicitationCompleteNotificationParams,
        from_server=_11,
        client_capability=("elicitation", "url"),
    ),
    _task(
        "notifications/tasks/status",
        LegacyTaskStatusNotificationParams,
        None,
        ("tasks",),
    ),
    Method(
        "notifications/tasks",
        TaskStatusNotificationParams,
        from_server=_MODERN,
        extension=TASKS_EXTENSION,
    ),
)


def find_request(
    name: str, revision: Revision, *, from_server: bool = False
) -> Method | None:
    """
    Return the request that a client may send in `revision`, None when there is none.

    With `from_server`, the one that a server may send.
    """
    method = REQUESTS.get(name)
    if method is None:
        return None
    revisions = method.from_server if from_server else method.from_client
    return method if revision in revisions else None
