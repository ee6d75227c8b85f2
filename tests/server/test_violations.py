import json
import re
import tracemalloc
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from mcp_channels.server.violations import Violations, describe_failure

MEBIBYTE = 1024 * 1024

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=10,
)


def describe(schema: Any, value: Any) -> list[str]:
    return Violations(schema, label="tool").describe(value)


def check(schema: Any) -> None:
    Violations(schema, label="shop.mcp.count").check()


def takes(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


# The schema itself


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "additionalProperties": False},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"$ref": "#a", "$defs": {"A": {"$anchor": "a"}}},
        {"x-of-ours": [1, {"type": "no keyword here"}]},
    ],
)
def test_good_schema_passes(schema: Any) -> None:
    check(schema)


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "objekt"}, 'type: it is not valid .*, got string "objekt"'),
        (
            {"properties": {"a": {"pattern": "("}}},
            'properties.a.pattern: it is not a "regex", got string "("',
        ),
        ({"minimum": "1"}, 'minimum: it is not of type "number", got string "1"'),
        ([], "it is not of types"),
        ({"$ref": "#/$defs/A"}, "Pointer '/$defs/A' does not exist"),
        ({"$schema": "https://example.com/own"}, "Unknown meta-schema"),
        ({"enum": {1, 2}}, "Unsupported type: 'set'"),
        ({"title": "\ud800"}, ".* surrogates not allowed"),
    ],
)
def test_bad_schema_is_refused_with_whose_and_what(schema: Any, fault: str) -> None:
    fault = fault.replace("(", r"\(").replace("$", r"\$")
    with pytest.raises(ImproperlyConfigured, match=f"^shop.mcp.count: {fault}"):
        check(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/hostname"},
        {"$ref": "other.json"},
        {"$id": "https://example.com/a", "$ref": "b"},
        {"properties": {"a": {"$ref": "https://example.com/a#/b"}}},
    ],
)
def test_nothing_is_fetched_for_a_reference(
    schema: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*arguments: Any) -> None:
        raise AssertionError(f"connects to {arguments}")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)

    with pytest.raises(ImproperlyConfigured, match="not present in a registry"):
        check(schema)


def test_refused_reference_tells_the_fix() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"not fetched; put it into \$defs"):
        check({"$ref": "https://example.com/address.json"})


# What is wrong with a value


@pytest.mark.parametrize(
    ("schema", "value", "sentences"),
    [
        ({"type": "integer"}, 5, []),
        ({"type": "integer"}, "5", ['arguments: expected integer, got string "5"']),
        ({"type": "integer"}, None, ["arguments: expected integer, got null"]),
        ({"type": "integer"}, True, ["arguments: expected integer, got true"]),
        ({"type": "integer"}, 1.5, ["arguments: expected integer, got number 1.5"]),
        ({"type": "string"}, [1], ["arguments: expected string, got array [1]"]),
        (
            {"type": ["string", "null"]},
            {"a": "ä"},
            ['arguments: expected null or string, got object {"a": "ä"}'],
        ),
        (
            {"enum": ["a", 1, None]},
            "b",
            ['arguments: expected one of "a", 1, null, got string "b"'],
        ),
        (
            {"items": {"properties": {"a": {"type": "null"}}}},
            [{}, {"a": [5]}],
            ["[1].a: expected null, got array [5]"],
        ),
        (
            {"properties": {"a": {"items": {"type": "integer"}}}},
            {"a": [1, "x", 2, "y"]},
            [
                'a[1]: expected integer, got string "x"',
                'a[3]: expected integer, got string "y"',
            ],
        ),
        (
            {"properties": {"a": {"required": ["b", "c"]}}},
            {"a": {}},
            ["a.b: required, but missing", "a.c: required, but missing"],
        ),
        (
            {"maximum": 5},
            10**30,
            [
                "arguments: it is greater than the maximum of 5, "
                "got integer 1000000000000000000000000000000"
            ],
        ),
        (
            {"pattern": "^a+$"},
            "b",
            ['arguments: it does not match "^a+$", got string "b"'],
        ),
        (
            {"format": "date"},
            "2024-02-30",
            ['arguments: it is not a "date", got string "2024-02-30"'],
        ),
    ],
)
def test_violation_tells_where_what_was_expected_and_what_came(
    schema: Any, value: Any, sentences: list[str]
) -> None:
    assert describe(schema, value) == sentences


def test_formats_can_be_comments() -> None:
    violations = Violations({"format": "date"}, label="tool", formats=False)

    assert violations.describe("no date") == []


@pytest.mark.parametrize(
    ("schema", "value", "sentence"),
    [
        (takes(status={}), {"statsu": 1}, "statsu: unknown argument, did you mean"),
        (takes(a={}, b={}), {"zzz": 1}, "zzz: unknown argument; known are a, b"),
        (takes(), {"zzz": 1}, "zzz: unknown argument; there are none"),
        (
            {"additionalProperties": False},
            {"zzz": 1},
            "arguments: unknown argument; there are none",
        ),
        (
            takes(**{"5": takes(number={})}),
            {"5": {"numbr": 1}},
            "[5].numbr: unknown argument, did you mean 'number'?",
        ),
        (
            {"prefixItems": [takes(a={})]},
            [{"zzz": 1}],
            "[0].zzz: unknown argument; known are a",
        ),
        (
            {"allOf": [{}, takes(a={})]},
            {"zzz": 1},
            "zzz: unknown argument; known are a",
        ),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": takes(a={})}},
            {"zzz": 1},
            "zzz: unknown argument; known are a",
        ),
        (
            {"properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": {"A": takes(a={})}},
            {"x": {"zzz": 1}},
            "x.zzz: unknown argument; known are a",
        ),
        (
            # Which schema the path begins at is not known.
            {
                "properties": {"x": {"$ref": "https://example.com/a"}},
                "$defs": {"A": {"$id": "https://example.com/a", **takes(a={})}},
            },
            {"x": {"zzz": 1}},
            "x.zzz: unknown argument",
        ),
    ],
)
def test_unknown_argument_is_named_beside_the_known_ones(
    schema: Any, value: Any, sentence: str
) -> None:
    (found,) = describe(schema, value)

    assert found.startswith(sentence)


def test_every_unknown_argument_is_named() -> None:
    assert describe(takes(a={}), {"x": 1, "a": 1, "y": 1}) == [
        "x: unknown argument; known are a",
        "y: unknown argument; known are a",
    ]


@pytest.mark.parametrize(
    ("alternatives", "value", "sentences"),
    [
        (
            [{"type": "integer"}, {"type": "string"}, {"type": ["string", "null"]}],
            [],
            ["arguments: expected integer or string or null, got array []"],
        ),
        (
            # The one that was meant.
            [{"type": "null"}, {"type": "object", "required": ["a", "b"]}],
            {},
            ["a: required, but missing", "b: required, but missing"],
        ),
        (
            [{"enum": ["a", "b"]}, {"type": "null"}],
            "c",
            ['arguments: expected one of "a", "b", got string "c"'],
        ),
        (
            [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"type": "null"}],
            [],
            ["arguments: expected integer or string, got array []"],
        ),
        (
            [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}],
            [1, "x"],
            ['[1]: expected integer, got string "x"'],
        ),
    ],
)
def test_alternatives_are_told_apart_by_their_type(
    alternatives: list[Any], value: Any, sentences: list[str]
) -> None:
    assert describe({"anyOf": alternatives}, value) == sentences


def test_same_sentence_comes_once() -> None:
    schema = {"allOf": [{"type": "integer"}, {"type": "integer"}]}

    assert describe(schema, "x") == ['arguments: expected integer, got string "x"']


def test_at_most_ten_violations_are_told() -> None:
    found = describe({"items": {"type": "integer"}}, ["x"] * 11)

    assert found == [f'[{n}]: expected integer, got string "x"' for n in range(10)]


def test_long_values_and_names_are_cut() -> None:
    schema = {"properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    sentences = describe(schema, {"a": "x" * MEBIBYTE, "y" * MEBIBYTE: 1})

    assert sentences == [
        'a: expected integer, got string "' + "x" * 59 + "...",
        "y" * 60 + ": unknown argument; known are a",
    ]


def test_reason_in_the_words_of_others_is_cut() -> None:
    schema = {"unevaluatedProperties": False, "properties": {}}
    (sentence,) = describe(schema, {"y" * MEBIBYTE: 1})

    assert sentence.startswith("arguments: Unevaluated properties are not allowed")
    assert len(sentence) < 700


@settings(deadline=None)
@given(value=JSON_VALUES)
def test_whatever_is_wrong_is_told_in_a_few_sentences(value: Any) -> None:
    schema = {
        "$defs": {"A": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/B"}]}}
        | {"B": {"type": "array", "items": {"$ref": "#/$defs/A"}}},
        **takes(a={"$ref": "#/$defs/A"}, b={"oneOf": [{"const": 1}, {"minLength": 2}]}),
        "propertyNames": {"maxLength": 3},
        "not": {"required": ["a", "b"]},
    }
    found = describe(schema, value)

    assert len(found) <= 10
    assert all(0 < len(sentence) < 1_000 for sentence in found)
    if value == {}:
        assert found == []


# Hostile values: what is looked at closely is bounded


@pytest.mark.parametrize(
    "value",
    [
        ["x"] * 249,
        {str(number): "x" for number in range(249)},
        [["x"] * 100, {str(number): "x" for number in range(147)}],
    ],
)
def test_value_of_250_values_is_looked_at_closely(value: Any) -> None:
    inside = {"type": ["array", "object"], "items": {"$ref": "#/$defs/A"}}
    inside["additionalProperties"] = {"$ref": "#/$defs/A"}
    either = {"anyOf": [{"type": "integer"}, inside]}
    schema = {"$ref": "#/$defs/A", "$defs": {"A": either}}
    larger = [*value, 1] if isinstance(value, list) else {**value, "y": 1}

    assert "expected integer or array or object" in describe(schema, value)[0]
    assert describe(schema, larger) == [
        "arguments: wrong somewhere, but too long to tell where"
    ]


def test_large_value_that_is_valid_stays_valid() -> None:
    assert describe({"items": {"type": "integer"}}, list(range(100_000))) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"type": "integer"}},
        {"items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
        {"anyOf": [{"items": {"type": "integer"}}, {"type": "null"}]},
    ],
)
def test_frame_full_of_violations_costs_no_memory(schema: Any) -> None:
    value = {"a": ["x"] * (MEBIBYTE // 4)}
    arguments = Raw(json.dumps(value).encode())
    violations = Violations(takes(a=schema), label="tool")
    violations.check()
    tracemalloc.start()
    try:
        violations.describe(value)
        describe_failure(violations, arguments, "it is wrong")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # The decoded strings; an object for each violation would take ten times as much.
    assert peak < 32 * MEBIBYTE


def test_deep_value_is_not_followed() -> None:
    value: Any = 1
    for _ in range(500):
        value = [value]

    assert describe({"const": 1}, value) == [
        "arguments: wrong somewhere, but too long to tell where"
    ]


# What a typed decoder refused


def fail(schema: Any, arguments: bytes, reason: str = "Expected `x`, got `y`") -> str:
    return describe_failure(Violations(schema, label="tool"), Raw(arguments), reason)


def test_failure_tells_all_that_the_schema_knows() -> None:
    schema = takes(a={"type": "integer"}, b={"type": "string"})

    assert fail(schema, b'{"a": "x", "b": 1}').splitlines() == [
        'a: expected integer, got string "x"',
        "b: expected string, got integer 1",
    ]


def test_failure_that_the_schema_does_not_know_is_told_by_the_decoder() -> None:
    assert fail(takes(a={}), b'{"a": 1}') == (
        "The arguments are wrong: Expected `x`, got `y`"
    )


def test_long_reason_of_the_decoder_is_cut() -> None:
    failure = fail(takes(a={}), b'{"a": 1}', "x" * 501)

    assert failure == "The arguments are wrong: " + "x" * 500


def test_failure_of_what_is_no_object() -> None:
    assert fail(takes(), b"[1]") == "arguments: expected object, got array [1]"


def test_failure_of_a_number_beyond_any_float() -> None:
    failure = fail(takes(a={}), b'{"a": 1e999}')

    assert re.match("The arguments are wrong: Number out of range", failure)


def test_failure_of_a_large_value_is_told_by_the_decoder() -> None:
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    arguments = json.dumps({"a": ["x"] * 250}).encode()

    assert fail(schema, arguments) == "The arguments are wrong: Expected `x`, got `y`"


def test_failure_beside_a_pattern_that_only_python_has() -> None:
    schema = takes(a={"pattern": "x\\Z"}, b={"type": "integer"})

    assert fail(schema, b'{"b": "x"}') == (
        "The arguments are wrong: Expected `x`, got `y`"
    )
