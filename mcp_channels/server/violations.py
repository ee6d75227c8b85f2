"""
What is wrong with a JSON value, by its schema, in words that say how to do better.

jsonschema-rs is asked only for hand-written schemas, and for the words once a value was
refused: it is imported when first needed.
"""

import difflib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
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
_LONGEST_VALUE: Final = 60  # characters of a refused value, or name, that are shown
_LONGEST_REASON: Final = 500  # characters of what others say is wrong

# JSON values inside each other in what is looked at closely. jsonschema-rs makes an
# object of every violation before it gives the first: for a frame full of them that
# takes seconds, in which nobody else is served.
_MOST_VALUES: Final = 250


class Violations:
    """
    The violations of `schema`.

    `label` says whose schema it is, in messages to the site's developer. `formats`
    False makes each `format` a comment, as it is by default in JSON Schema.
    """

    def __init__(
        self, schema: dict[str, Any], *, label: str, formats: bool = True
    ) -> None:
        self._schema = schema
        self._label = label
        self._formats = formats

    def check(self) -> None:
        """Raise ImproperlyConfigured when the schema itself is wrong."""
        self._validator  # noqa: B018

    def describe(self, value: Any) -> list[str]:
        """
        Return a sentence for each violation, at most ten; none when it is valid.

        Of a large value they say only that it is not valid.
        """
        if self._validator.is_valid(value):
            return []
        if _is_large(value):
            return ["arguments: wrong somewhere, but too long to tell where"]
        sentences = self._sentences(self._validator.iter_errors(value))
        return list(dict.fromkeys(islice(sentences, _MOST)))

    @cached_property
    def _validator(self) -> "Draft202012Validator":
        import jsonschema_rs

        try:
            validator = jsonschema_rs.validator_for(
                self._schema,
                validate_formats=self._formats,
                retriever=_retrieve,
                mask="it",
            )
        except jsonschema_rs.ValidationError as exc:
            reason, path = exc.message, _join(exc.instance_path, root="")
            if path:
                reason = f"{path}: {reason}, got {_show(exc.instance)}"
            raise ImproperlyConfigured(f"{self._label}: {reason}") from None
        except ValueError as exc:
            raise ImproperlyConfigured(f"{self._label}: {exc}") from None
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
            case "falseSchema" if error.schema_path[-1:] == ["additionalProperties"]:
                yield f"{path}: unknown argument; there are none"
            case "anyOf":
                yield from self._describe_alternatives(error, path)
            case _:
                reason = error.message[:_LONGEST_REASON]
                yield f"{path}: {reason}, got {_show(error.instance)}"

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
        if error.absolute_keyword_location is not None:
            # There is an `$id`, and the path may begin at any of them.
            return ""
        known = _properties(self._schema, error.schema_path)
        close = difflib.get_close_matches(name[:_LONGEST_VALUE], known, n=1)
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
    found = []
    if not _is_large(value):
        # A pattern in the schema may be one that only Python understands.
        with suppress(ImproperlyConfigured):
            found = violations.describe(value)
    if not found:
        return f"The arguments are wrong: {reason[:_LONGEST_REASON]}"
    return "\n".join(found)


def _retrieve(uri: str) -> Any:
    # "MUST NOT automatically dereference": a schema could name any host inside.
    raise ValueError(f"{uri} is not fetched; put it into $defs")


def _is_large(value: Any) -> bool:
    """Tell whether there are more values in `value` than are looked at closely."""
    inside = [value]
    for value in inside:  # grows meanwhile
        if isinstance(value, dict):
            value = value.values()
        elif not isinstance(value, list):
            continue
        if len(inside) + len(value) > _MOST_VALUES:
            return True
        inside += value
    return False


def _properties(schema: Any, path: list[str | int]) -> list[str]:
    """Return the names of the properties beside the keyword at the end of `path`."""
    for step in path[:-1]:
        # What looks like an index may also be a name.
        schema = schema[str(step) if isinstance(schema, dict) else step]
    return list(schema.get("properties", {}))


def _join(path: Iterable[str | int], *, root: str = "arguments") -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step[:_LONGEST_VALUE]
            text += f".{name}" if text else name
    return text or root


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
