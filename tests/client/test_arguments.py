"""Arguments as they are written on a command line."""

from typing import Any

import pytest

from mcp_channels.client.arguments import ArgumentError, read_arguments

SCHEMA: dict[str, Any] = {
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "flag": {"type": "boolean"},
        "list": {"type": "array"},
        "text_or_null": {"type": ["string", "null"]},
        "number_or_null": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "either": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        "color": {"enum": ["red", "blue"]},
        "level": {"enum": [1, 2]},
        "named": {"$ref": "#/$defs/Name"},
        "numbered": {"$ref": "#/$defs/Number"},
        "lost": {"$ref": "#/$defs/Lost"},
        "odd": True,
    },
    "$defs": {"Name": {"type": "string"}, "Number": {"type": "integer"}},
}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("text=sea", {"text": "sea"}),
        ("text=7", {"text": "7"}),
        ("text=", {"text": ""}),
        ("text=a=b", {"text": "a=b"}),
        ("text:=null", {"text": None}),
        ("count=7", {"count": 7}),
        ("flag=true", {"flag": True}),
        ("list=[1]", {"list": [1]}),
        ("text_or_null=null", {"text_or_null": "null"}),
        ("number_or_null=null", {"number_or_null": None}),
        ("either=1", {"either": "1"}),
        ("color=red", {"color": "red"}),
        ("level=1", {"level": 1}),
        ("named=1", {"named": "1"}),
        ("numbered=1", {"numbered": 1}),
        ("lost=1", {"lost": "1"}),
        ("odd=1", {"odd": "1"}),
        ("unknown=1", {"unknown": "1"}),
    ],
)
def test_schema_says_what_a_value_is(word, expected):
    assert read_arguments([word], SCHEMA) == expected


def test_arguments_are_taken_together():
    assert read_arguments(["a=1", "b:=2"], {}) == {"a": "1", "b": 2}
    assert read_arguments([], SCHEMA) == {}
    assert read_arguments(["a=1"], {"properties": 1}) == {"a": "1"}
    assert read_arguments(["a=1"], {"properties": {"a": {"$ref": "#/x"}}}) == {"a": "1"}


def test_one_object_may_say_it_all():
    assert read_arguments([' {"a": [1]}'], SCHEMA) == {"a": [1]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sea"], "'sea': write name=value, or one JSON object"),
        (["=sea"], "'=sea': write name=value"),
        ([":=1"], "':=1': write name=value"),
        (["text=a", "text=b"], "text is given twice"),
        (["count=many"], "count: 'many' is no JSON"),
        (["{'a': 1}"], "The arguments: .* is no JSON"),
        (["{}", "a=1"], "'{}': write name=value"),
    ],
)
def test_what_is_wrong_is_said(words, message):
    with pytest.raises(ArgumentError, match=message):
        read_arguments(words, SCHEMA)
