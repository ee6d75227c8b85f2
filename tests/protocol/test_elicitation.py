import json
from typing import Any

import mcp_types._v2025_11_25 as v2025_11_25
import mcp_types._v2026_07_28 as v2026_07_28
import msgspec
import pytest
from pydantic import TypeAdapter

from mcp_channels.protocol.content import TextContent, ToolUseContent
from mcp_channels.protocol.elicitation import (
    BooleanSchema,
    CreateMessageResult,
    ElicitResult,
    EnumItems,
    EnumOption,
    InputRequest,
    LegacyTitledEnumSchema,
    ModelHint,
    ModelPreferences,
    NumberSchema,
    RequestedSchema,
    SamplingMessage,
    StringSchema,
    TitledEnumItems,
    TitledMultiSelectEnumSchema,
    TitledSingleSelectEnumSchema,
    ToolChoice,
    UntitledMultiSelectEnumSchema,
    UntitledSingleSelectEnumSchema,
)

OPTIONS = [EnumOption("r", "Red"), EnumOption("g", "Green")]
OPTIONS_WIRE = [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}]

PROPERTIES = [
    (
        StringSchema(min_length=0, max_length=9, format="date-time", default=""),
        {
            "type": "string",
            "minLength": 0,
            "maxLength": 9,
            "format": "date-time",
            "default": "",
        },
    ),
    (NumberSchema(minimum=0.5), {"type": "number", "minimum": 0.5}),
    (
        NumberSchema(type="integer", minimum=0, maximum=9, default=3),
        {"type": "integer", "minimum": 0, "maximum": 9, "default": 3},
    ),
    (BooleanSchema(default=False), {"type": "boolean", "default": False}),
    (
        UntitledSingleSelectEnumSchema(enum=["r", "g"], default="r"),
        {"type": "string", "enum": ["r", "g"], "default": "r"},
    ),
    (
        TitledSingleSelectEnumSchema(one_of=OPTIONS),
        {"type": "string", "oneOf": OPTIONS_WIRE},
    ),
    (
        UntitledMultiSelectEnumSchema(items=EnumItems(["r"]), min_items=0, default=[]),
        {
            "type": "array",
            "items": {"type": "string", "enum": ["r"]},
            "minItems": 0,
            "default": [],
        },
    ),
    (
        TitledMultiSelectEnumSchema(items=TitledEnumItems(OPTIONS), max_items=1),
        {"type": "array", "items": {"anyOf": OPTIONS_WIRE}, "maxItems": 1},
    ),
    (
        LegacyTitledEnumSchema(enum=["r", "g"], enum_names=["Red", "Green"]),
        {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]},
    ),
]


@pytest.mark.parametrize("reference", [v2025_11_25, v2026_07_28])
@pytest.mark.parametrize(("schema", "wire"), PROPERTIES)
def test_property_of_a_form_is_json_schema(
    schema: Any, wire: dict[str, Any], reference: Any
) -> None:
    text = msgspec.json.encode(schema)
    model = getattr(reference, type(schema).__name__)

    assert json.loads(text) == wire
    assert msgspec.json.decode(text, type=type(schema)) == schema
    assert model.model_validate_json(text)


@pytest.mark.parametrize("reference", [v2025_11_25, v2026_07_28])
def test_form_holds_its_properties(reference: Any) -> None:
    form = RequestedSchema(
        {"age": NumberSchema(type="integer"), "raw": {"type": "boolean"}},
        required=["age"],
        schema="https://json-schema.org/draft/2020-12/schema",
    )

    text = msgspec.json.encode(form)

    assert json.loads(text) == {
        "type": "object",
        "properties": {"age": {"type": "integer"}, "raw": {"type": "boolean"}},
        "required": ["age"],
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }
    assert reference.RequestedSchema.model_validate_json(text)


def test_answers_keep_their_types() -> None:
    content = {"a": "1", "b": 1, "c": 1.5, "d": True, "e": ["x"]}

    result = msgspec.convert({"action": "accept", "content": content}, ElicitResult)

    assert result == ElicitResult("accept", content)
    assert [type(v) for v in result.content.values()] == [str, int, float, bool, list]


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_null_instead_of_answers_is_forgiven(action: str) -> None:
    text = json.dumps({"action": action, "content": None})

    assert not msgspec.json.decode(text, type=ElicitResult).content


@pytest.mark.parametrize(
    "result",
    [
        {"action": "maybe"},
        {"content": {}},
        {"action": "accept", "content": {"a": {"nested": 1}}},
        {"action": "accept", "content": {"a": [1]}},
    ],
)
def test_malformed_answer_is_refused(result: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(result, ElicitResult)


@pytest.mark.parametrize(
    "content",
    [
        TextContent("Hello"),
        [TextContent("Hello"), ToolUseContent("c1", "add", {"a": 1})],
    ],
)
@pytest.mark.parametrize("reference", [v2025_11_25, v2026_07_28])
def test_sample_is_one_block_or_several(content: Any, reference: Any) -> None:
    result = CreateMessageResult("assistant", content, "m", "toolUse", {"a": 1})
    message = SamplingMessage("assistant", content)

    for value in (result, message):
        text = msgspec.json.encode(value)

        assert msgspec.json.decode(text, type=type(value)) == value
        assert getattr(reference, type(value).__name__).model_validate_json(text)


@pytest.mark.parametrize("reference", [v2025_11_25, v2026_07_28])
def test_preferences_of_a_model_are_as_the_schema_says(reference: Any) -> None:
    preferences = ModelPreferences(
        hints=[ModelHint("opus"), ModelHint()],
        cost_priority=0,
        speed_priority=0.5,
        intelligence_priority=1,
    )

    for value in (preferences, ToolChoice("required"), ToolChoice()):
        text = msgspec.json.encode(value)

        assert getattr(reference, type(value).__name__).model_validate_json(text)


def test_question_holds_the_params_of_its_method() -> None:
    questions = {
        "a": InputRequest(
            "elicitation/create",
            {"message": "Name?", "requestedSchema": RequestedSchema({})},
        ),
        "b": InputRequest("roots/list"),
    }

    text = msgspec.json.encode(questions)

    assert json.loads(text)["b"] == {"method": "roots/list"}
    assert TypeAdapter(v2026_07_28.InputRequests).validate_json(text)
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value"):
        msgspec.json.decode('{"method": "tools/call"}', type=InputRequest)
