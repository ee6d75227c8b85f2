"""
The schema's nouns: who speaks, what is offered, what is answered.

Every shape is the newest superset of the five revisions and knows none of them:
`projection` takes away what a revision lacks, and sets `result_type`, `ttl_ms` and
`cache_scope` where the wire demands them. MCP 2026-07-28, schema.
"""

from typing import Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import UNSET, UnsetType, field

from mcp_channels.protocol.content import (
    Annotated,
    ContentBlock,
    Icon,
    Noun,
    Resource,
    ResourceContents,
    Role,
)
from mcp_channels.protocol.elicitation import InputRequest

__all__ = [
    "LOGGING_LEVELS",
    "CacheScope",
    "CacheableResult",
    "CallToolResult",
    "CancelTaskResult",
    "ClientCapabilities",
    "CompleteResult",
    "Completion",
    "CompletionArgument",
    "CompletionContext",
    "CreateTaskResult",
    "DetailedTask",
    "DiscoverResult",
    "EmptyResult",
    "GetPromptResult",
    "GetTaskPayloadResult",
    "GetTaskResult",
    "Implementation",
    "InitializeResult",
    "InputRequiredResult",
    "LegacyCreateTaskResult",
    "LegacyTask",
    "ListPromptsResult",
    "ListResourceTemplatesResult",
    "ListResourcesResult",
    "ListRootsResult",
    "ListTasksResult",
    "ListToolsResult",
    "LoggingLevel",
    "PaginatedResult",
    "ProgressToken",
    "Prompt",
    "PromptArgument",
    "PromptMessage",
    "PromptReference",
    "PromptsCapability",
    "ReadResourceResult",
    "ResourceTemplate",
    "ResourceTemplateReference",
    "ResourcesCapability",
    "Result",
    "Root",
    "ServerCapabilities",
    "SubscriptionFilter",
    "SubscriptionsListenResult",
    "Task",
    "TaskMetadata",
    "TaskStatus",
    "TasksCapability",
    "Tool",
    "ToolAnnotations",
    "ToolExecution",
    "ToolsCapability",
    "UpdateTaskResult",
]

CacheScope: TypeAlias = Literal["public", "private"]
LoggingLevel: TypeAlias = Literal[
    "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"
]
LOGGING_LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)  # least severe first
ProgressToken: TypeAlias = int | str
TaskStatus: TypeAlias = Literal[
    "working", "input_required", "completed", "failed", "cancelled"
]


# Who speaks


class Implementation(Noun):
    """
    The name of a program and its version, to be shown and logged.

    Only for that: so a client is forgiven null where it means absent, and icons of
    any shape. Send neither.
    """

    name: str
    version: str
    title: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    website_url: str | UnsetType | None = UNSET
    icons: Any = UNSET  # list[Icon]


class ClientCapabilities(Noun, kw_only=True):
    """
    What a client says it can do. Ask declares(): a member may hold any JSON.

    A client that spells one capability wrong must not lose the others with it, so
    nothing is checked on decoding.
    """

    experimental: Any = UNSET
    roots: Any = UNSET
    sampling: Any = UNSET
    elicitation: Any = UNSET
    tasks: Any = UNSET  # 2025-11-25 only
    extensions: Any = UNSET

    def declares(self, *path: str) -> bool:
        """
        Tell whether every step of `path` is a JSON object inside the one before.

        `declares("sampling", "tools")` asks for the member `tools` of `sampling`.
        Anything but an object, such as `true` or null, declares nothing. Elicitation
        that names no mode means forms: MCP 2025-11-25, client/elicitation,
        "Capabilities". An empty path asks for nothing and is declared.
        """
        members: Any = msgspec.structs.asdict(self)
        elicitation = self.elicitation
        if isinstance(elicitation, dict) and not elicitation.keys() & {"form", "url"}:
            members["elicitation"] = {**elicitation, "form": {}}
        for step in path:
            members = members.get(step)
            if not isinstance(members, dict):
                return False
        return True


class PromptsCapability(Noun):
    list_changed: bool | UnsetType = UNSET


class ResourcesCapability(Noun):
    subscribe: bool | UnsetType = UNSET
    list_changed: bool | UnsetType = UNSET


class ToolsCapability(Noun):
    list_changed: bool | UnsetType = UNSET


class TasksCapability(Noun):
    """Tasks of 2025-11-25, of either side; later they are an extension."""

    list: dict[str, Any] | UnsetType = UNSET
    cancel: dict[str, Any] | UnsetType = UNSET
    # {"tools": {"call": {}}} of a server
    requests: dict[str, dict[str, Any]] | UnsetType = UNSET


class ServerCapabilities(Noun, kw_only=True):
    """What a server offers. A member that is there is offered, even when empty."""

    experimental: dict[str, dict[str, Any]] | UnsetType = UNSET
    logging: dict[str, Any] | UnsetType = UNSET
    completions: dict[str, Any] | UnsetType = UNSET
    prompts: PromptsCapability | UnsetType = UNSET
    resources: ResourcesCapability | UnsetType = UNSET
    tools: ToolsCapability | UnsetType = UNSET
    tasks: TasksCapability | UnsetType = UNSET
    extensions: dict[str, dict[str, Any]] | UnsetType = UNSET  # settings by id


# What is offered


class ToolAnnotations(Noun, kw_only=True):
    """Hints about a tool, which a client must not trust."""

    title: str | UnsetType = UNSET
    read_only_hint: bool | UnsetType = UNSET  # absent: false
    destructive_hint: bool | UnsetType = UNSET  # absent: true
    idempotent_hint: bool | UnsetType = UNSET  # absent: false
    open_world_hint: bool | UnsetType = UNSET  # absent: true


class ToolExecution(Noun):
    """How 2025-11-25 may run a tool."""

    # Absent: forbidden.
    task_support: Literal["forbidden", "optional", "required"] | UnsetType = UNSET


class Tool(Noun):
    """
    A function the model may call.

    The schemas are JSON Schema 2020-12 and are sent as they are, so msgspec.Raw will
    do for them. The root of `input_schema` is of type object.
    """

    name: str
    input_schema: dict[str, Any]
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    output_schema: dict[str, Any] | UnsetType = UNSET
    annotations: ToolAnnotations | UnsetType = UNSET
    execution: ToolExecution | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


class ResourceTemplate(Annotated):
    """Resources whose URIs follow a pattern."""

    uri_template: str  # RFC 6570
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    mime_type: str | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET


class PromptArgument(Noun):
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    required: bool | UnsetType = UNSET


class Prompt(Noun):
    """A template of messages, which the user chooses."""

    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    arguments: list[PromptArgument] | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


class PromptMessage(Noun):
    """One message of a prompt: who says it, and what."""

    role: Role
    content: ContentBlock


class PromptReference(Noun, tag="ref/prompt", tag_field="type"):
    name: str
    title: str | UnsetType = UNSET


class ResourceTemplateReference(Noun, tag="ref/resource", tag_field="type"):
    """Of a resource, or of a resource template by the template itself."""

    uri: str


class CompletionArgument(Noun):
    """The argument being typed, and what is typed of it."""

    name: str
    value: str


class CompletionContext(Noun):
    """The arguments that have their value already."""

    arguments: dict[str, str] | UnsetType = UNSET


class SubscriptionFilter(Noun, kw_only=True):
    """What a `subscriptions/listen` wants to hear of; false is the same as absent."""

    tools_list_changed: bool | UnsetType = UNSET
    prompts_list_changed: bool | UnsetType = UNSET
    resources_list_changed: bool | UnsetType = UNSET
    resource_subscriptions: list[str] | UnsetType = UNSET  # URIs
    task_ids: list[str] | UnsetType = UNSET  # the tasks extension


# What the client has


class Root(Noun):
    """A place the client works in: information, not access control."""

    uri: str  # file://
    name: str | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


# Tasks: the extension's shapes. LegacyTask and LegacyCreateTaskResult are what
# 2025-11-25 has in their place.


class Task(Noun, kw_only=True):
    """Work that goes on after its request was answered."""

    task_id: str
    status: TaskStatus
    status_message: str | UnsetType = UNSET
    created_at: str  # ISO 8601
    last_updated_at: str  # ISO 8601
    ttl_ms: int | None  # since created_at; None: kept for ever
    poll_interval_ms: int | UnsetType = UNSET


class DetailedTask(Task, kw_only=True):
    """A task and, by its status, what it waits for or how it ended."""

    input_requests: dict[str, InputRequest] | UnsetType = UNSET  # input_required
    result: Any = UNSET  # completed
    error: Any = UNSET  # failed: a JSON-RPC error object


class TaskMetadata(Noun):
    """The wish of a 2025-11-25 request to be run as a task."""

    ttl: int | UnsetType = UNSET  # milliseconds


class LegacyTask(Noun, kw_only=True):
    """A task of 2025-11-25: its GetTaskResult, CancelTaskResult, and listed."""

    task_id: str
    status: TaskStatus
    status_message: str | UnsetType = UNSET
    created_at: str  # ISO 8601
    last_updated_at: str  # ISO 8601
    ttl: int | None  # milliseconds since created_at; None: kept for ever
    poll_interval: int | UnsetType = UNSET  # milliseconds
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


# What is answered


class Result(Noun, kw_only=True):
    """What every answer may hold."""

    result_type: str | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


class EmptyResult(Result):
    """Nothing but the fact that it was done."""


class CacheableResult(Result, kw_only=True):
    """An answer the client may keep. MCP 2026-07-28, server/utilities/caching."""

    ttl_ms: int | UnsetType = UNSET  # 0: stale at once
    # public: may be shown to other users, even if this one had to log in.
    cache_scope: CacheScope | UnsetType = UNSET


class PaginatedResult(CacheableResult, kw_only=True):
    next_cursor: str | UnsetType = UNSET  # absent on the last page; "" is a cursor


class InitializeResult(Result):
    protocol_version: str
    capabilities: ServerCapabilities
    server_info: Implementation
    instructions: str | UnsetType = UNSET


class DiscoverResult(CacheableResult):
    supported_versions: list[str]
    capabilities: ServerCapabilities
    instructions: str | UnsetType = UNSET


class ListToolsResult(PaginatedResult):
    tools: list[Tool]


class CallToolResult(Result):
    """
    The outcome of a tool, also a failed one.

    `structured_content` is any JSON value, and None is one: UNSET when there is none.
    """

    content: list[ContentBlock]
    structured_content: Any = UNSET
    is_error: bool | UnsetType = UNSET


class ListResourcesResult(PaginatedResult):
    resources: list[Resource]


class ListResourceTemplatesResult(PaginatedResult):
    resource_templates: list[ResourceTemplate]


class ReadResourceResult(CacheableResult):
    """The contents of a resource, and how long they may be kept."""

    contents: list[ResourceContents]  # never empty: a missing resource is an error


class ListPromptsResult(PaginatedResult):
    prompts: list[Prompt]


class GetPromptResult(Result):
    """The messages of a prompt, ready for the model."""

    messages: list[PromptMessage]
    description: str | UnsetType = UNSET


class Completion(Noun):
    values: list[str]  # at most 100, the best first
    total: int | UnsetType = UNSET  # may exceed 100
    has_more: bool | UnsetType = UNSET


class CompleteResult(Result):
    completion: Completion


class InputRequiredResult(Result, kw_only=True):
    """
    The request must be sent again, with answers. MCP 2026-07-28,
    basic/patterns/mrtr: at least one of the two is there.
    """

    result_type: str | UnsetType = "input_required"
    input_requests: dict[str, InputRequest] | UnsetType = UNSET
    request_state: str | UnsetType = UNSET  # attacker-controlled on its way back


class SubscriptionsListenResult(Result):
    """The server's end of a subscription; `meta` names it."""


class CreateTaskResult(Result, kw_only=True):
    """The members of Task, instead of the answer that the request asked for."""

    result_type: str | UnsetType = "task"
    task_id: str
    status: TaskStatus
    status_message: str | UnsetType = UNSET
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | UnsetType = UNSET


class GetTaskResult(DetailedTask, kw_only=True):
    result_type: str | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


class UpdateTaskResult(Result):
    """The answers were taken; the task may still show its old status."""


class CancelTaskResult(Result):
    """The wish was heard; the task may still show its old status."""


class LegacyCreateTaskResult(Result):
    task: LegacyTask


class GetTaskPayloadResult(Result):
    """Stands for the result of the request that became a task of 2025-11-25."""


class ListTasksResult(Result):
    tasks: list[LegacyTask]  # only 2025-11-25 has this list
    next_cursor: str | UnsetType = UNSET


class ListRootsResult(Noun):
    """The client's answer. It has no result type, as none of a client's has."""

    roots: list[Root]
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")
