"""Arguments of a tool, as they are written on a command line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["ArgumentError", "read_arguments"]


class ArgumentError(ValueError):
    """The words are no arguments; it says what to write instead."""


def read_arguments(words: Sequence[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the arguments that the words say.

    They are `name=value`, where the value is text if the schema has text there and JSON
    if not; or `name:=value`, which is always JSON; or one JSON object for all. Raise
    ArgumentError when they are not.
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        value = _read_json(words[0], "The arguments")
        assert isinstance(value, dict)
        return value
    arguments: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        is_json = name.endswith(":")
        name = name.removesuffix(":")
        if not equals or not name:
            raise ArgumentError(f"{word!r}: write name=value, or one JSON object.")
        if name in arguments:
            raise ArgumentError(f"{name} is given twice.")
        if is_json or not _may_be_text(schema, name):
            arguments[name] = _read_json(text, name)
        else:
            arguments[name] = text
    return arguments


def _read_json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ArgumentError(f"{name}: {text!r} is no JSON: {exc}.") from None


def _may_be_text(schema: Mapping[str, Any], name: str) -> bool:
    """Tell whether a property may be a string; so may one that nothing is said of."""
    properties = schema.get("properties")
    property = properties.get(name) if isinstance(properties, dict) else None
    return _allows_text(property, schema)


def _allows_text(property: Any, schema: Mapping[str, Any]) -> bool:
    if not isinstance(property, dict):
        return True
    reference = property.get("$ref")
    if isinstance(reference, str):
        # Tools refer to definitions of their own schema; those of those hardly ever.
        _, _, key = reference.rpartition("/")
        definitions = schema.get("$defs")
        found = definitions.get(key) if isinstance(definitions, dict) else None
        return _allows_text(found, {})
    for key in ("anyOf", "oneOf"):
        if isinstance(property.get(key), list):
            return any(_allows_text(one, schema) for one in property[key])
    if isinstance(property.get("enum"), list):
        return any(isinstance(one, str) for one in property["enum"])
    types = property.get("type", "string")
    return "string" in (types if isinstance(types, list) else [types])
