"""
What is wrong with a JSON value, by its schema, in words that say how to do better.

jsonschema-rs is asked only for hand-written schemas, and for the words once a value was
refused: it is imported when first needed.
"""

import difflib
import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
from django.core.exceptions import ImproperlyConfigured
from msgspec import Raw

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

__all__ = ["Violations", "describe_failure"]

# Enough to mend a call in one go, too few to fill a model's context.
_MOST: Final = 10
_LONGEST_VALUE: Final = 60  # characters of a refused value that are shown


class Violations:
    """
    The violations of `schema`.

    `label` says whose schema it is, in messages to the site's developer.
    """

    def __init__(self, schema: dict[str, Any], *, label: str) -> None:
        self._schema = schema
        self._label = label

    def check(self) -> None:
        """Raise ImproperlyConfigured when the schema itself is wrong."""
        self._validator  # noqa: B018

    def describe(self, value: Any) -> list[str]:
        """Return a sentence for each violation, at most ten; none when it is valid."""
        sentences = self._sentences(self._validator.iter_errors(value))
        return list(dict.fromkeys(islice(sentences, _MOST)))

    @cached_property
    def _validator(self) -> "Draft202012Validator":
        import jsonschema_rs

        try:
            validator = jsonschema_rs.validator_for(
                self._schema, validate_formats=True, retriever=_retrieve
            )
        except (jsonschema_rs.ValidationError, ValueError) as exc:
            reason = str(exc).partition("\n")[0]
            raise ImproperlyConfigured(f"{self._label}: {reason}") from None
        return validator  # type: ignore[return-value]

    def _sentences(self, errors: Iterable["ValidationError"]) -> Iterator[str]:
        for error in errors:
            yield from self._describe(error)

    def _describe(self, error: "ValidationError") -> Iterator[str]:
        path = _join(error.instance_path)
        kind: Any = error.kind  # its type says which members it has
        match kind.name:
            case "type":
                wanted = " or ".join(kind.types)
                yield f"{path}: expected {wanted}, got {_show(error.instance)}"
            case "enum":
                wanted = ", ".join(json.dumps(option) for option in kind.options)
                yield f"{path}: expected one of {wanted}, got {_show(error.instance)}"
            case "required":
                missing = _join([*error.instance_path, kind.property])
                yield f"{missing}: required, but missing"
            case "additionalProperties":
                for name in kind.unexpected:
                    unknown = _join([*error.instance_path, name])
                    yield f"{unknown}: unknown argument{self._suggest(error, name)}"
            case "anyOf":
                yield from self._describe_alternatives(error, path)
            case _:
                yield f"{path}: {error.message[:200]}"

    def _describe_alternatives(
        self, error: "ValidationError", path: str
    ) -> Iterator[str]:
        # The alternative that was meant is the one whose type is right.
        types: list[str] = []
        kind: Any = error.kind
        for alternative in kind.context:
            first = alternative[0]
            if first.kind.name == "type" and first.instance_path == error.instance_path:
                types += first.kind.types
            else:
                yield from self._sentences(alternative)
                return
        wanted = " or ".join(dict.fromkeys(types))
        yield f"{path}: expected {wanted}, got {_show(error.instance)}"

    def _suggest(self, error: "ValidationError", name: str) -> str:
        known = _properties(self._schema, error.schema_path)
        close = difflib.get_close_matches(name, known, n=1)
        if close:
            return f", did you mean {close[0]!r}?"
        return f"; known are {', '.join(known)}" if known else "; there are none"


def describe_failure(violations: Violations, arguments: Raw, reason: str) -> str:
    """
    Return what is wrong with `arguments`, which a typed decoder refused for `reason`.

    The schema knows every violation, the decoder only the first; but what a schema
    cannot say, such as that the 30th of February is no date, only the decoder knows.
    """
    try:
        value = msgspec.json.decode(arguments)
    except msgspec.ValidationError as exc:
        # A number beyond any float.
        return f"The arguments are wrong: {exc}"
    if not isinstance(value, dict):
        return f"arguments: expected object, got {_show(value)}"
    found = violations.describe(value)
    return "\n".join(found) if found else f"The arguments are wrong: {reason}"


def _retrieve(uri: str) -> Any:
    # "MUST NOT automatically dereference": a schema could name any host inside.
    raise ValueError(f"{uri} is not fetched; put it into $defs")


def _properties(schema: Any, path: list[str | int]) -> list[str]:
    """Return the names of the properties beside the keyword at the end of `path`."""
    for step in path[:-1]:
        if isinstance(schema, dict) and "$ref" in schema:
            return []
        schema = schema[step]
    return list(schema.get("properties", {}))


def _join(path: Iterable[str | int]) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text or "arguments"


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > _LONGEST_VALUE:
        text = text[:_LONGEST_VALUE] + "..."
    kind = _JSON_TYPES[type(value)]
    return text if kind in ("null", "boolean") else f"{kind} {text}"


_JSON_TYPES: Final = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
