"""
Content: what results, prompts, resources and samples are made of.

Every shape is the newest superset of the five revisions and knows none of them:
what a revision lacks is taken away when a frame is written.
MCP 2026-07-28, schema; server/tools, "Tool Result"; server/resources, "Data Types".
"""

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType, field

__all__ = [
    "Annotated",
    "Annotations",
    "AudioContent",
    "ContentBlock",
    "EmbeddedResource",
    "Icon",
    "ImageContent",
    "Noun",
    "Resource",
    "ResourceContents",
    "ResourceLink",
    "Role",
    "SamplingMessageContentBlock",
    "TextContent",
    "ToolResultContent",
    "ToolUseContent",
]

Role: TypeAlias = Literal["user", "assistant"]


class Noun(msgspec.Struct, rename="camel"):
    """
    A shape of the schema: its names on the wire, snake_case in Python.

    An optional member is UNSET when absent; None is JSON null. `meta` is `_meta`.
    Unknown members are ignored on decoding: every schema is open.
    """


class Annotations(Noun, kw_only=True):
    """Hints for the client about the use of an object."""

    audience: list[Role] | UnsetType = UNSET
    priority: float | UnsetType = UNSET  # 0 (optional) to 1 (required)
    last_modified: str | UnsetType = UNSET  # ISO 8601


class Annotated(Noun, kw_only=True):
    """What may carry annotations and `_meta`."""

    annotations: Annotations | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


class Icon(Noun):
    """
    An image that stands for an object.

    Clients load only `https:` and `data:` URIs.
    """

    src: str
    mime_type: str | UnsetType = UNSET
    sizes: list[str] | UnsetType = UNSET  # "48x48", or "any" for a scalable one
    theme: Literal["light", "dark"] | UnsetType = UNSET  # the background it suits


class Resource(Annotated):
    """What `resources/list` says of a resource; its contents are read apart."""

    uri: str
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    mime_type: str | UnsetType = UNSET
    size: int | UnsetType = UNSET  # bytes before base64
    icons: list[Icon] | UnsetType = UNSET


class ResourceContents(Noun):
    """
    The contents of a resource, text or binary: TextResourceContents and
    BlobResourceContents of the schema in one shape.

    Raise ValueError unless exactly one of `text` and `blob` is given.
    """

    uri: str
    text: str | UnsetType = UNSET
    blob: bytes | UnsetType = UNSET  # base64 on the wire
    mime_type: str | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")

    def __post_init__(self) -> None:
        if (self.text is UNSET) is (self.blob is UNSET):
            raise ValueError("Resource contents have either text or blob.")


class TextContent(Annotated, tag="text", tag_field="type"):
    """Text for the model or the person."""

    text: str


class ImageContent(Annotated, tag="image", tag_field="type"):
    """An image, with its media type such as `image/png`."""

    data: bytes  # base64 on the wire
    mime_type: str


class AudioContent(Annotated, tag="audio", tag_field="type"):
    """A sound, with its media type such as `audio/wav`. Since 2025-03-26."""

    data: bytes  # base64 on the wire
    mime_type: str


class ResourceLink(Resource, tag="resource_link", tag_field="type"):
    """A resource the client may read; it need not appear in `resources/list`."""


class EmbeddedResource(Annotated, tag="resource", tag_field="type"):
    """The contents of a resource, right in the answer."""

    resource: ResourceContents


ContentBlock: TypeAlias = (
    TextContent | ImageContent | AudioContent | ResourceLink | EmbeddedResource
)


class ToolUseContent(Noun, tag="tool_use", tag_field="type"):
    """A sampled model's wish to call a tool; only in assistant messages."""

    id: str
    name: str
    input: dict[str, Any]
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


class ToolResultContent(Noun, tag="tool_result", tag_field="type"):
    """The answer to a ToolUseContent; a user message with one holds nothing else."""

    tool_use_id: str
    content: list[ContentBlock]
    structured_content: Any = UNSET
    is_error: bool | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


SamplingMessageContentBlock: TypeAlias = (
    TextContent | ImageContent | AudioContent | ToolUseContent | ToolResultContent
)
