"""
From a function's signature to a JSON Schema and a typed decoder, and from what it
returns to a result. All is compiled once, at registration.

MCP 2026-07-28, server/tools: the input schema has an object at its root, and its
dialect is JSON Schema 2020-12.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import (
    Any,
    Final,
    ForwardRef,
    Literal,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from django.core.exceptions import ImproperlyConfigured
from msgspec import UNSET, Raw

from mcp_channels.protocol.content import ContentBlock, TextContent
from mcp_channels.protocol.projection import RootValue, has_object_root
from mcp_channels.protocol.types import CallToolResult
from mcp_channels.server.blocks import (
    BLOCKS,
    TEXT,
    has_block,
    is_bytes,
    is_content,
    to_block,
    to_text,
)
from mcp_channels.server.violations import Violations, describe_failure

__all__ = [
    "Arguments",
    "ArgumentsError",
    "Returned",
    "check_content",
    "convert_value",
    "encode_value",
    "schema_of",
    "type_hints",
]

JSONSchema = dict[str, Any]


class ArgumentsError(Exception):
    """
    The arguments do not fit the schema; its text tells a model how to mend them.

    It becomes a tool result with `isError`, not a JSON-RPC error: MCP 2025-11-25,
    server/tools, error handling.
    """


class Arguments:
    """
    The parameters of `function`, as a schema and as a decoder.

    `skip` are types whose parameter is not for the client, such as Context. `schema`,
    when given, is served verbatim and takes the place of the annotations. Raise
    ImproperlyConfigured when there is no schema for the signature.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        skip: type,
        schema: JSONSchema | None = None,
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        self.skipped: str | None = None  # the name of the parameter that is skipped
        self._label = f"{function.__module__}.{function.__qualname__}"
        parameters = self._parameters(function, skip)
        self._decoder: msgspec.json.Decoder[Any] | None = None
        if schema is not None:
            if not isinstance(schema, dict) or not has_object_root(schema):
                raise ImproperlyConfigured(
                    f"{self._label}: input_schema must be a dictionary with "
                    f'"type": "object" at its root.'
                )
            self.schema = schema
            self._violations.check()
            self._signature = inspect.Signature(list(parameters.values()))
            return
        struct = self._struct(parameters)
        self._names: tuple[str, ...] = struct.__struct_fields__
        self.schema = self._describe(struct, parameters, descriptions or {})
        self._decoder = msgspec.json.Decoder(struct, dec_hook=_decode_custom)

    def decode(self, arguments: Raw) -> dict[str, Any]:
        """
        Return the keyword arguments for the function.

        Raise ArgumentsError with every fault that was found.
        """
        if self._decoder is None:
            return self._decode_verbatim(arguments)
        try:
            decoded = self._decoder.decode(arguments)
        except msgspec.ValidationError as exc:
            raise ArgumentsError(
                describe_failure(self._violations, arguments, str(exc))
            ) from None
        values = {}
        for name in self._names:
            value = getattr(decoded, name)
            if value is not UNSET:
                values[name] = value
        return values

    def _decode_verbatim(self, arguments: Raw) -> dict[str, Any]:
        try:
            decoded: dict[str, Any] = msgspec.json.decode(arguments, type=dict)
        except msgspec.ValidationError as exc:
            raise ArgumentsError(f"The arguments are wrong: {exc}") from None
        found = self._violations.describe(decoded)
        if found:
            raise ArgumentsError("\n".join(found))
        try:
            # The schema may allow what the function does not take.
            self._signature.bind(**decoded)
        except TypeError as exc:
            raise ArgumentsError(f"The arguments are wrong: {exc}") from None
        return decoded

    @cached_property
    def _violations(self) -> Violations:
        return Violations(self.schema, label=f"{self._label}: input_schema")

    def _parameters(
        self, function: Callable[..., Any], skip: type
    ) -> dict[str, inspect.Parameter]:
        hints = type_hints(function)
        parameters = {}
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise ImproperlyConfigured(
                    f"{self._label}: parameter {name!r} is positional-only, but "
                    f"arguments come by name. Remove the '/'."
                )
            if parameter.kind is parameter.VAR_POSITIONAL:
                raise ImproperlyConfigured(
                    f"{self._label}: '*{name}' cannot be described by a schema. "
                    f"Use a parameter annotated as a list."
                )
            annotation = hints.get(name, Any)
            if isinstance(annotation, type) and issubclass(annotation, skip):
                self.skipped = name
            else:
                parameters[name] = parameter.replace(annotation=annotation)
        return parameters

    def _struct(self, parameters: dict[str, inspect.Parameter]) -> Any:
        fields: list[Any] = []
        for name, parameter in parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                raise ImproperlyConfigured(
                    f"{self._label}: '**{name}' cannot be described by a schema. "
                    f"Name the parameters, or give input_schema."
                )
            if parameter.default is parameter.empty:
                fields.append((name, parameter.annotation))
            else:
                # Left UNSET, so that the function's own default is what counts.
                fields.append((name, parameter.annotation, UNSET))
        # Models call tools; an ignored misspelt argument is a bug nobody sees.
        return msgspec.defstruct(
            "Arguments", fields, kw_only=True, forbid_unknown_fields=True
        )

    def _describe(
        self,
        struct: Any,
        parameters: dict[str, inspect.Parameter],
        descriptions: Mapping[str, str],
    ) -> JSONSchema:
        schema = self._schema_of(struct, parameters)
        del schema["title"]
        if not schema["required"]:
            del schema["required"]
        for name, member in schema["properties"].items():
            parameter = parameters[name]
            if parameter.default is not parameter.empty:
                # A client can do without a default that it could not send, such as NaN.
                with suppress(TypeError, ValueError, msgspec.ValidationError):
                    encoded = encode_value(parameter.default)
                    msgspec.json.decode(
                        encoded, type=parameter.annotation, dec_hook=_decode_custom
                    )
                    member["default"] = msgspec.json.decode(encoded)
            if name in descriptions:
                member.setdefault("description", descriptions[name])
        return schema

    def _schema_of(
        self, struct: Any, parameters: dict[str, inspect.Parameter]
    ) -> JSONSchema:
        try:
            return schema_of(struct, self._label)
        except ImproperlyConfigured:
            # Rather say which of them it is.
            for name, parameter in parameters.items():
                schema_of(parameter.annotation, f"{self._label}: parameter {name!r}")
            raise


class Returned:
    """
    What `function` returns, as a schema (None when it is not structured) and as a way
    to make a result of it.

    `schema`, when given, is served verbatim and takes the place of the annotation.
    `structured` False keeps results text. Raise ImproperlyConfigured when the
    annotation cannot be a result.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        schema: JSONSchema | None = None,
        structured: bool = True,
    ) -> None:
        label = f"{function.__module__}.{function.__qualname__}"
        self._structured = structured
        self.schema: JSONSchema | None = None
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._violations: Violations | None = None
        annotation = type_hints(function).get("return", Any)
        self._has_block = is_content(annotation) and has_block(annotation)
        if schema is not None:
            if not isinstance(schema, dict) or not structured:
                raise ImproperlyConfigured(
                    f"{label}: output_schema must be a dictionary, and is only for "
                    f"structured results."
                )
            self.schema = schema
            self._violations = Violations(schema, label=f"{label}: output_schema")
            self._violations.check()
        elif is_bytes(annotation):
            raise ImproperlyConfigured(
                f"{label}: bytes alone are no result, because nobody can tell "
                f"what they are. Return ImageContent, AudioContent or EmbeddedResource."
            )
        elif structured and not is_content(annotation):
            self.schema, has_model = _describe_type(annotation, label, "serialization")
            if has_model:
                # What a model dumps need not be what it takes: aliases differ, and
                # computed fields are only dumped.
                self._violations = Violations(
                    self.schema, label=f"{label}: result", formats=False
                )
            else:
                self._decoder = msgspec.json.Decoder(annotation)

    def to_result(self, value: Any) -> CallToolResult:
        """
        Make a result of what the function returned.

        Raise TypeError, ValueError, msgspec.ValidationError or RecursionError when it
        cannot be encoded, or is not what was promised.
        """
        if isinstance(value, CallToolResult):
            return self._check_result(value)
        if self.schema is not None:
            return self._structure(value)
        if value is None:
            return CallToolResult(content=[])
        if isinstance(value, TEXT):
            return CallToolResult(content=[TextContent(to_text(value))])
        if isinstance(value, BLOCKS):
            return CallToolResult(content=check_content([value]))
        if isinstance(value, list | tuple) and (
            any(isinstance(item, BLOCKS) for item in value)
            or (self._has_block and not value)
        ):
            return CallToolResult(content=check_content(map(to_block, value)))
        if isinstance(value, bytes | bytearray | memoryview):
            raise TypeError("bytes alone are no result")
        return self._structure(value)

    def _structure(self, value: Any) -> CallToolResult:
        encoded = encode_value(value)
        # "a tool that returns structured content SHOULD also return the serialized
        # JSON in a TextContent block": older clients know nothing else.
        content: list[Any] = [TextContent(encoded.decode())]
        if not self._structured:
            return CallToolResult(content=content)
        self._check(encoded)
        return CallToolResult(content=content, structured_content=self._root(encoded))

    def _check_result(self, result: CallToolResult) -> CallToolResult:
        value = result.structured_content
        checked = _decode_result(
            _ENCODER.encode(msgspec.structs.replace(result, structured_content=UNSET))
        )
        if value is not UNSET:
            encoded = encode_value(value)
            if checked.is_error is not True:
                self._check(encoded)
            checked.structured_content = self._root(encoded)
        elif self.schema is not None and checked.is_error is not True:
            raise ValueError("an output schema needs structured_content")
        return checked

    def _check(self, encoded: bytes) -> None:
        """Raise msgspec.ValidationError or ValueError for what was not promised."""
        if self._decoder is not None:
            self._decoder.decode(encoded)
        if self._violations is not None:
            found = self._violations.describe(msgspec.json.decode(encoded))
            if found:
                raise ValueError("; ".join(found))

    def _root(self, encoded: bytes) -> Any:
        """Return structured content for the projection."""
        if self.schema is None or has_object_root(self.schema):
            return Raw(encoded)
        return RootValue(Raw(encoded))


def encode_value(value: Any) -> bytes:
    """
    Encode what a site's function returned, as JSON.

    Beyond what msgspec knows it takes lazy translations, safe strings and pydantic
    models. Raise TypeError, ValueError or RecursionError for anything else.
    """
    return _ENCODER.encode(value)


def convert_value(value: Any, type: Any, *, strict: bool = True) -> Any:
    """
    Return decoded JSON as `type`; unless `strict`, text may stand for numbers.

    Raise msgspec.ValidationError when it does not fit.
    """
    return msgspec.convert(value, type, strict=strict, dec_hook=_decode_custom)


def _encode_custom(value: Any) -> Any:
    if isinstance(value, TEXT):
        return to_text(value)
    if _is_pydantic(type(value)):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_encode_custom)
_decode_content: Final = msgspec.json.Decoder(list[ContentBlock]).decode
_decode_result: Final = msgspec.json.Decoder(CallToolResult).decode


def _decode_custom(type: Any, value: Any) -> Any:
    if not _is_pydantic(type):
        raise NotImplementedError(f"{type!r} cannot be an argument")
    try:
        # As JSON: a strict model takes text for a date there, and only there.
        return type.model_validate_json(msgspec.json.encode(value))
    except ValueError as exc:
        errors: Any = exc
        faults = [
            ": ".join([*map(str, error["loc"]), error["msg"]])
            for error in errors.errors(include_url=False)
        ]
        raise ValueError("; ".join(faults)) from None


def _describe_custom(type: Any, mode: str) -> JSONSchema:
    if _is_pydantic(type):
        schema: JSONSchema = type.model_json_schema(mode=mode)
        return schema
    raise NotImplementedError


def _is_pydantic(type: Any) -> bool:
    # Known by its methods: pydantic need not be installed, nor be imported here.
    return hasattr(type, "model_json_schema") and hasattr(type, "model_validate")


def schema_of(type: Any, label: str) -> JSONSchema:
    """Return the schema of `type`, its root not a reference. Raise
    ImproperlyConfigured when there is none; `label` says whose type it is."""
    schema, _ = _describe_type(type, label, "validation")
    return schema


def _describe_type(type: Any, label: str, mode: str) -> tuple[JSONSchema, bool]:
    """Return the schema of `type`, and whether a pydantic model is anywhere in it."""
    models = []

    def describe_custom(custom: Any) -> JSONSchema:
        models.append(custom)
        return _describe_custom(custom, mode)

    try:
        schema = msgspec.json.schema(type, schema_hook=describe_custom)
    except (TypeError, NameError, RuntimeError) as exc:
        # Around it stand hints for those who use msgspec or pydantic themselves.
        reason = str(exc).splitlines()[-1 if isinstance(exc, TypeError) else 0]
        raise ImproperlyConfigured(
            f"{label}: no schema for {type!r}: {reason}. Use what JSON has, a Struct, "
            f"dataclass, TypedDict or pydantic model, or give a schema."
        ) from exc
    definitions = schema.pop("$defs", {})
    reference = schema.get("$ref", "")
    name = reference.removeprefix("#/$defs/")
    if name in definitions:
        schema = {**definitions[name]}
        others = [value for other, value in definitions.items() if other != name]
        if not _refers([schema, *others], reference):
            del definitions[name]
    if models:
        _hoist([schema, *definitions.values()], definitions, label)
    if definitions:
        schema["$defs"] = definitions
    return schema, bool(models)


def _refers(schema: Any, reference: str) -> bool:
    # A text that happens to be one costs a definition that nobody needs.
    return msgspec.json.encode(reference) in msgspec.json.encode(schema)


def _hoist(schema: Any, definitions: JSONSchema, label: str) -> None:
    """Move `$defs` that a custom type brought along to the root, where its
    references look for them."""
    members = schema.values() if isinstance(schema, dict) else schema
    for member in list(members):
        if isinstance(member, dict):
            for name, definition in member.pop("$defs", {}).items():
                if definitions.setdefault(name, definition) != definition:
                    raise ImproperlyConfigured(
                        f"{label}: two different types are called {name!r}."
                    )
        if isinstance(member, dict | list):
            _hoist(member, definitions, label)


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of `function`. Raise ImproperlyConfigured when one of them
    cannot be looked up."""
    try:
        annotations = getattr(function, "__annotations__", {})
        if any(map(_is_spelled, annotations.values())):
            return get_type_hints(function, include_extras=True)
    except NameError as exc:
        raise ImproperlyConfigured(
            f"{function.__module__}.{function.__qualname__}: {exc}. Annotations are "
            f"read when it is registered: import their types for real, not under "
            f"TYPE_CHECKING."
        ) from exc
    # To look for names where there are none takes as long as to describe the types.
    return {
        name: type(None) if annotation is None else annotation
        for name, annotation in annotations.items()
    }


def _is_spelled(annotation: Any) -> bool:
    """Tell whether a name in `annotation` is still to be looked up."""
    if isinstance(annotation, str | ForwardRef):
        return True
    if get_origin(annotation) is Literal:
        return False
    parts = annotation if isinstance(annotation, list) else get_args(annotation)
    return any(map(_is_spelled, parts))


def check_content(content: Iterable[ContentBlock]) -> list[ContentBlock]:
    """
    Return `content` as a client would read it, lazy translations translated.

    Raise TypeError, ValueError or msgspec.ValidationError for what no content block
    may hold: a struct takes any value.
    """
    return _decode_content(_ENCODER.encode(list(content)))
