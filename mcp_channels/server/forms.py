"""
What a form of an elicitation asks, and what its answer is worth.

A form is flat: each property is text, a number, a boolean or a choice. It is made from
a msgspec Struct, a dataclass or a TypedDict, from a Django form, whose own clean()
judges the answer, or from a hand-written schema. MCP 2025-11-25, client/elicitation.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

import msgspec
from django import forms
from django.core.exceptions import ImproperlyConfigured

from mcp_channels.server.schemas import convert_value, schema_of
from mcp_channels.server.violations import Violations

__all__ = ["RequestedForm", "Unacceptable", "get_form"]

JSONSchema = dict[str, Any]

# What the revisions allow in a property; the rest is for this side alone.
_KEYWORDS: Final = (
    "type",
    "title",
    "description",
    "default",
    "enum",
    "enumNames",
    "oneOf",
    "items",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
)
_FORMATS: Final = ("email", "uri", "date", "date-time")
_TYPES: Final = ("string", "number", "integer", "boolean", "array")


class Unacceptable(Exception):
    """The answer does not fit the form; its text says to the user why."""


class RequestedForm:
    """A form: what makes the `requestedSchema`, and what reads an answer to it."""

    def __init__(
        self, describe: Callable[[], JSONSchema], read: Callable[[Any], Any]
    ) -> None:
        self._describe = describe
        self._read = read

    def describe(self) -> JSONSchema:
        """
        Return the `requestedSchema`.

        May read the database, for the choices there are now: call it from synchronous
        code.
        """
        return self._describe()

    def read(self, content: Mapping[str, Any]) -> Any:
        """
        Return the answer as the form's own type has it.

        May read the database: call it from synchronous code. Raise Unacceptable when
        the answer does not fit.
        """
        return self._read(content)


def get_form(form: Any) -> RequestedForm:
    """Return the form that `form` describes. Raise ImproperlyConfigured when it is not
    flat, or is nothing that can be asked."""
    if isinstance(form, dict):
        return _from_schema(form)
    if isinstance(form, type) and issubclass(form, forms.BaseForm):
        # Not kept: its choices and its words may be others the next time.
        return _from_django(form)
    return _from_type(form)


def _from_schema(schema: JSONSchema) -> RequestedForm:
    violations = Violations(schema, label="requestedSchema")
    violations.check()
    for name, member in schema.get("properties", {}).items():
        _check_flat(member, f"requestedSchema.{name}")
    if schema.get("type") != "object" or not schema.get("properties"):
        raise ImproperlyConfigured("requestedSchema has no properties to ask for.")

    def read(content: Any) -> Any:
        found = violations.describe(content)
        if found:
            raise Unacceptable("\n".join(found))
        return content

    return RequestedForm(lambda: schema, read)


@lru_cache
def _from_type(type: Any) -> RequestedForm:
    label = getattr(type, "__qualname__", repr(type))
    schema = schema_of(type, label)
    violations = Violations(schema, label=label)
    definitions = schema.get("$defs", {})
    properties = {}
    for name, member in schema.get("properties", {}).items():
        properties[name] = _flatten(member, definitions, f"{label}.{name}")
    if schema.get("type") != "object" or not properties:
        raise ImproperlyConfigured(f"{label} is no form: it has no fields to ask for.")

    def read(content: Any) -> Any:
        try:
            return convert_value(content, type)
        except msgspec.ValidationError as exc:
            # Its words are a programmer's, and of the first fault alone.
            found: list[str] = []
            # A pattern in the schema may be one that only Python understands.
            with suppress(ImproperlyConfigured):
                found = violations.describe(content)
            raise Unacceptable("\n".join(found) or str(exc)) from None

    requested = {"type": "object", "properties": properties}
    if schema.get("required"):
        requested["required"] = schema["required"]
    return RequestedForm(lambda: requested, read)


def _flatten(member: JSONSchema, definitions: JSONSchema, label: str) -> JSONSchema:
    """Return a property as a form can have it."""
    alternatives = [
        option for option in member.get("anyOf", []) if option != {"type": "null"}
    ]
    if len(alternatives) == 1:
        member = {**member, **alternatives[0]}
    if "$ref" in member:
        member = {**member, **definitions[member["$ref"].removeprefix("#/$defs/")]}
    if "enum" in member:
        options = [option for option in member["enum"] if option is not None]
        _check_choices(options, label)
        member = {**member, "type": "string", "enum": options}
    if member.get("type") == "array":
        items = member.get("items", {})
        if "$ref" in items:
            items = definitions[items["$ref"].removeprefix("#/$defs/")]
        if "enum" not in items:
            raise ImproperlyConfigured(f"{label}: a list in a form must be of choices.")
        _check_choices(items["enum"], label)
        member = {**member, "items": {"type": "string", "enum": items["enum"]}}
    _check_flat(member, label)
    flat = {key: member[key] for key in _KEYWORDS if member.get(key) is not None}
    if member.get("format") in _FORMATS:
        flat["format"] = member["format"]
    return flat


def _check_flat(member: JSONSchema, label: str) -> None:
    if member.get("type") not in _TYPES:
        raise ImproperlyConfigured(
            f"{label}: a form is flat, with text, numbers, booleans and choices only."
        )


def _check_choices(options: list[Any], label: str) -> None:
    if not all(isinstance(option, str) for option in options):
        raise ImproperlyConfigured(f"{label}: the choices of a form must be text.")


# Django forms


def _from_django(form_class: type[forms.BaseForm]) -> RequestedForm:
    def describe() -> JSONSchema:
        fields = form_class().fields
        schema: JSONSchema = {
            "type": "object",
            "properties": {
                name: _describe_field(field, f"{form_class.__qualname__}.{name}")
                for name, field in fields.items()
            },
        }
        # A box that is not ticked is an answer too.
        required = [
            name
            for name, field in fields.items()
            if field.required and not isinstance(field, forms.BooleanField)
        ]
        if required:
            schema["required"] = required
        return schema

    def read(content: Any) -> Any:
        # Django would make text of a number, and a ticked box of any text. All else
        # it says better.
        kinds = {
            name: {"type": member["type"]}
            for name, member in describe()["properties"].items()
        }
        found = Violations({"properties": kinds}, label="form").describe(content)
        if found:
            raise Unacceptable("\n".join(found))
        form = form_class(data=content)
        if not form.is_valid():
            raise Unacceptable(_describe_errors(form))
        return form.cleaned_data

    return RequestedForm(describe, read)


def _describe_errors(form: forms.BaseForm) -> str:
    lines = []
    for name, errors in form.errors.items():
        label = "" if name == "__all__" else f"{form[name].label}: "
        lines += [f"{label}{error}" for error in errors]
    return "\n".join(lines)


def _describe_field(field: forms.Field, label: str) -> JSONSchema:
    schema = _describe_kind(field, label)
    if field.label:
        schema["title"] = str(field.label)
    if field.help_text:
        schema["description"] = str(field.help_text)
    if isinstance(field.initial, str | bool | int | float):
        schema["default"] = field.initial
    return schema


def _describe_kind(field: forms.Field, label: str) -> JSONSchema:
    match field:
        case forms.FileField():
            raise ImproperlyConfigured(f"{label}: a form cannot ask for a file.")
        case forms.MultipleChoiceField() | forms.ModelMultipleChoiceField():
            return {
                "type": "array",
                "items": {"anyOf": _options(field)},
            }
        case forms.NullBooleanField() | forms.BooleanField():
            return {"type": "boolean"}
        case forms.ChoiceField() | forms.ModelChoiceField():
            return {"type": "string", "oneOf": _options(field)}
        case forms.DecimalField() | forms.FloatField():
            return {"type": "number"} | _bounds(field)
        case forms.IntegerField():
            return {"type": "integer"} | _bounds(field)
        case forms.EmailField():
            return {"type": "string", "format": "email"}
        case forms.URLField():
            return {"type": "string", "format": "uri"}
        case forms.DateTimeField():
            return {"type": "string", "format": "date-time"}
        case forms.DateField():
            return {"type": "string", "format": "date"}
    schema: JSONSchema = {"type": "string"}
    if isinstance(field, forms.CharField):
        if field.min_length is not None:
            schema["minLength"] = field.min_length
        if field.max_length is not None:
            schema["maxLength"] = field.max_length
    return schema


def _bounds(field: Any) -> JSONSchema:
    bounds = {"minimum": field.min_value, "maximum": field.max_value}
    return {
        name: value if isinstance(value, int) else float(value)
        for name, value in bounds.items()
        if value is not None
    }


def _options(field: Any) -> list[JSONSchema]:
    options = []
    for value, title in field.choices:
        # A group has a list for a title.
        members = title if isinstance(title, list | tuple) else [(value, title)]
        options += [
            {"const": str(const), "title": str(text)}
            for const, text in members
            if str(const)
        ]
    return options
