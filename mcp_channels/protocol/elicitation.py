"""
What a server draws out of the other side: answers of the user, which is elicitation,
and of the client's model, which is sampling.

MCP 2026-07-28, client/elicitation and client/sampling. The params are in `methods`.
"""

from typing import Any, Literal, TypeAlias

from msgspec import UNSET, UnsetType, field

from mcp_channels.protocol.content import Noun, Role, SamplingMessageContentBlock

__all__ = [
    "BooleanSchema",
    "CreateMessageResult",
    "ElicitResult",
    "EnumItems",
    "EnumOption",
    "EnumSchema",
    "InputRequest",
    "LegacyTitledEnumSchema",
    "ModelHint",
    "ModelPreferences",
    "MultiSelectEnumSchema",
    "NumberSchema",
    "PrimitiveSchemaDefinition",
    "RequestedSchema",
    "SamplingMessage",
    "SingleSelectEnumSchema",
    "StringSchema",
    "TitledEnumItems",
    "TitledMultiSelectEnumSchema",
    "TitledSingleSelectEnumSchema",
    "ToolChoice",
    "UntitledMultiSelectEnumSchema",
    "UntitledSingleSelectEnumSchema",
]


class InputRequest(Noun):
    """
    A question inside an InputRequiredResult: CreateMessageRequest, ElicitRequest or
    ListRootsRequest of the schema in one shape.
    """

    method: Literal["elicitation/create", "sampling/createMessage", "roots/list"]
    params: Any = UNSET  # the params struct of the method, absent for roots/list


# Elicitation


class StringSchema(Noun, tag="string", tag_field="type", kw_only=True):
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    min_length: int | UnsetType = UNSET
    max_length: int | UnsetType = UNSET
    format: Literal["email", "uri", "date", "date-time"] | UnsetType = UNSET
    default: str | UnsetType = UNSET


class NumberSchema(Noun, kw_only=True):
    type: Literal["number", "integer"] = "number"
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    minimum: int | float | UnsetType = UNSET
    maximum: int | float | UnsetType = UNSET
    default: int | float | UnsetType = UNSET


class BooleanSchema(Noun, tag="boolean", tag_field="type", kw_only=True):
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    default: bool | UnsetType = UNSET


class EnumOption(Noun):
    """One choice: the value, and what the user sees."""

    const: str
    title: str


class UntitledSingleSelectEnumSchema(
    Noun, tag="string", tag_field="type", kw_only=True
):
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enum: list[str]
    default: str | UnsetType = UNSET


class TitledSingleSelectEnumSchema(Noun, tag="string", tag_field="type", kw_only=True):
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    one_of: list[EnumOption]
    default: str | UnsetType = UNSET


class EnumItems(Noun, tag="string", tag_field="type"):
    enum: list[str]


class TitledEnumItems(Noun):
    any_of: list[EnumOption]


class UntitledMultiSelectEnumSchema(Noun, tag="array", tag_field="type", kw_only=True):
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    min_items: int | UnsetType = UNSET
    max_items: int | UnsetType = UNSET
    items: EnumItems
    default: list[str] | UnsetType = UNSET


class TitledMultiSelectEnumSchema(Noun, tag="array", tag_field="type", kw_only=True):
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    min_items: int | UnsetType = UNSET
    max_items: int | UnsetType = UNSET
    items: TitledEnumItems
    default: list[str] | UnsetType = UNSET


class LegacyTitledEnumSchema(Noun, tag="string", tag_field="type", kw_only=True):
    """The only titled choice that 2025-06-18 knows."""

    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enum: list[str]
    enum_names: list[str] | UnsetType = UNSET  # in the order of enum
    default: str | UnsetType = UNSET


SingleSelectEnumSchema: TypeAlias = (
    UntitledSingleSelectEnumSchema | TitledSingleSelectEnumSchema
)
MultiSelectEnumSchema: TypeAlias = (
    UntitledMultiSelectEnumSchema | TitledMultiSelectEnumSchema
)
EnumSchema: TypeAlias = (
    SingleSelectEnumSchema | MultiSelectEnumSchema | LegacyTitledEnumSchema
)
PrimitiveSchemaDefinition: TypeAlias = (
    StringSchema | NumberSchema | BooleanSchema | EnumSchema
)


class RequestedSchema(Noun, tag="object", tag_field="type"):
    """The form of an elicitation: flat, one primitive for each property."""

    # PrimitiveSchemaDefinition, or its JSON: no member tells its kinds apart for
    # certain, so decoding leaves the JSON.
    properties: dict[str, Any]
    required: list[str] | UnsetType = UNSET
    schema: str | UnsetType = field(default=UNSET, name="$schema")


class ElicitResult(Noun):
    """
    What the user did with a question.

    `content` may not be valid under the question's schema: check it. After a URL,
    accept means that the user agreed to open it, not that all is done.
    """

    action: Literal["accept", "decline", "cancel"]
    # Clients are forgiven null where they mean absent.
    content: dict[str, str | int | float | bool | list[str]] | UnsetType | None = UNSET
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


# Sampling


class SamplingMessage(Noun):
    """One message of a conversation with the client's model."""

    role: Role
    content: SamplingMessageContentBlock | list[SamplingMessageContentBlock]
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")


class ModelHint(Noun):
    """A model that would do well."""

    name: str | UnsetType = UNSET  # any part of a model's name


class ModelPreferences(Noun, kw_only=True):
    """What matters when the client chooses a model; priorities are from 0 to 1."""

    hints: list[ModelHint] | UnsetType = UNSET  # the best first
    cost_priority: float | UnsetType = UNSET
    speed_priority: float | UnsetType = UNSET
    intelligence_priority: float | UnsetType = UNSET


class ToolChoice(Noun):
    """Whether the client's model may, must or must not use tools."""

    mode: Literal["auto", "required", "none"] | UnsetType = UNSET  # absent: auto


class CreateMessageResult(Noun):
    """What the client's model said, and why it stopped."""

    role: Role
    content: SamplingMessageContentBlock | list[SamplingMessageContentBlock]
    model: str
    stop_reason: str | UnsetType = UNSET  # endTurn, stopSequence, maxTokens, toolUse...
    meta: dict[str, Any] | UnsetType = field(default=UNSET, name="_meta")
