"""
From a function's signature to a JSON Schema and a typed decoder, and from what it
returns to a result. All is compiled once, at registration.

MCP 2026-07-28, server/tools: the input schema has an object at its root, and its
dialect is JSON Schema 2020-12.
"""

import inspect
import types as python_types
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import (
    Annotated,
    Any,
    Final,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from msgspec import UNSET, Raw

from mcp_channels.protocol.content import (
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)
from mcp_channels.protocol.projection import RootValue, has_object_root
from mcp_channels.protocol.types import CallToolResult
from mcp_channels.server.violations import Violations, describe_failure

__all__ = [
    "Arguments",
    "ArgumentsError",
    "Returned",
    "convert_value",
    "encode_value",
    "schema_of",
    "type_hints",
]

JSONSchema = dict[str, Any]

_TEXT: Final = (str, Promise)
_BLOCKS: Final = (
    TextContent,
    ImageContent,
    AudioContent,
    ResourceLink,
    EmbeddedResource,
)


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
            if not has_object_root(schema):
                raise ImproperlyConfigured(
                    f"{self._label}: input_schema must have "
                    f'"type": "object" at its root.'
                )
            self.schema = schema
            self._violations.check()
            return
        struct = self._struct(parameters)
        self._names: tuple[str, ...] = struct.__struct_fields__
        self._decoder = msgspec.json.Decoder(struct, dec_hook=_decode_custom)
        self.schema = self._describe(struct, parameters, descriptions or {})

    def decode(self, arguments: Raw) -> dict[str, Any]:
        """
        Return the keyword arguments for the function; {} for UNSET and null.

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
        schema = schema_of(struct, self._label)
        del schema["title"]
        if not schema["required"]:
            del schema["required"]
        for name, member in schema["properties"].items():
            default = parameters[name].default
            if default is not inspect.Parameter.empty:
                # A client can do without a default that has no JSON form.
                with suppress(TypeError):
                    member["default"] = msgspec.to_builtins(default)
            if name in descriptions:
                member.setdefault("description", descriptions[name])
        return schema


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
        self._label = f"{function.__module__}.{function.__qualname__}"
        self._structured = structured
        self.schema: JSONSchema | None = None
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._violations: Violations | None = None
        annotation = type_hints(function).get("return", Any)
        if schema is not None:
            self.schema = schema
            self._violations = Violations(schema, label=f"{self._label}: output_schema")
            self._violations.check()
        elif annotation in (bytes, bytearray, memoryview):
            raise ImproperlyConfigured(
                f"{self._label}: bytes alone are no result, because nobody can tell "
                f"what they are. Return ImageContent, AudioContent or EmbeddedResource."
            )
        elif structured and not _is_content(annotation):
            self.schema = schema_of(annotation, self._label)
            self._decoder = msgspec.json.Decoder(annotation, dec_hook=_decode_custom)

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
        if isinstance(value, _TEXT):
            return CallToolResult(content=[TextContent(str(value))])
        if isinstance(value, _BLOCKS):
            return CallToolResult(content=_check_content([value]))
        if isinstance(value, list | tuple) and any(
            isinstance(item, _BLOCKS) for item in value
        ):
            content = [_to_block(item) for item in value]
            return CallToolResult(content=_check_content(content))
        if isinstance(value, bytes | bytearray | memoryview):
            raise TypeError("bytes alone are no result")
        return self._structure(value)

    def _structure(self, value: Any) -> CallToolResult:
        encoded = encode_value(value)
        if self._decoder is not None:
            self._decoder.decode(encoded)
        # "a tool that returns structured content SHOULD also return the serialized
        # JSON in a TextContent block": older clients know nothing else.
        content: list[Any] = [TextContent(encoded.decode())]
        if not self._structured:
            return CallToolResult(content=content)
        return CallToolResult(
            content=content, structured_content=self._root(Raw(encoded))
        )

    def _check_result(self, result: CallToolResult) -> CallToolResult:
        _check_content(result.content)
        value = result.structured_content
        if value is UNSET:
            if self.schema is not None and result.is_error is not True:
                raise ValueError("an output schema needs structured_content")
            return result
        return msgspec.structs.replace(
            result, structured_content=self._root(Raw(encode_value(value)))
        )

    def _root(self, encoded: Raw) -> Any:
        """Return structured content for the projection, after checking it."""
        if self._violations is not None:
            found = self._violations.describe(msgspec.json.decode(encoded))
            if found:
                raise ValueError("; ".join(found))
        if self.schema is None or has_object_root(self.schema):
            return encoded
        return RootValue(encoded)


def encode_value(value: Any) -> bytes:
    """
    Encode what a site's function returned, as JSON.

    Beyond what msgspec knows it takes lazy translations and pydantic models. Raise
    TypeError, ValueError or RecursionError for anything else.
    """
    return _ENCODER.encode(value)


def convert_value(value: Any, type: Any, *, strict: bool = True) -> Any:
    """
    Return decoded JSON as `type`; unless `strict`, text may stand for numbers.

    Raise msgspec.ValidationError when it does not fit.
    """
    return msgspec.convert(value, type, strict=strict, dec_hook=_decode_custom)


def _encode_custom(value: Any) -> Any:
    if isinstance(value, Promise):
        return str(value)
    if _is_pydantic(type(value)):
        return value.model_dump(mode="json")
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_encode_custom)
_decode_content: Final = msgspec.json.Decoder(list[ContentBlock]).decode


def _decode_custom(type: Any, value: Any) -> Any:
    if _is_pydantic(type):
        return type.model_validate(value)
    raise NotImplementedError(f"{type!r} cannot be an argument")


def _describe_custom(type: Any) -> JSONSchema:
    if _is_pydantic(type):
        schema: JSONSchema = type.model_json_schema()
        return schema
    raise NotImplementedError(f"{type!r} has no JSON Schema")


def _is_pydantic(type: Any) -> bool:
    # Known by its methods: pydantic need not be installed, nor be imported here.
    return hasattr(type, "model_json_schema") and hasattr(type, "model_validate")


def schema_of(type: Any, label: str) -> JSONSchema:
    """Return the schema of `type`, its root not a reference. Raise
    ImproperlyConfigured when there is none; `label` says whose type it is."""
    try:
        schema = msgspec.json.schema(type, schema_hook=_describe_custom)
    except (TypeError, NotImplementedError) as exc:
        raise ImproperlyConfigured(f"{label}: no schema for {type!r}: {exc}") from exc
    definitions = schema.pop("$defs", {})
    reference = schema.get("$ref", "")
    name = reference.removeprefix("#/$defs/")
    if name in definitions:
        schema = {**definitions[name]}
        if not _refers(schema, reference) and not any(
            _refers(definition, reference)
            for other, definition in definitions.items()
            if other != name
        ):
            del definitions[name]
    _hoist(schema, definitions, label)
    if definitions:
        schema["$defs"] = definitions
    return schema


def _refers(schema: Any, reference: str) -> bool:
    if isinstance(schema, dict):
        return schema.get("$ref") == reference or _refers(
            list(schema.values()), reference
        )
    return isinstance(schema, list) and any(_refers(item, reference) for item in schema)


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
        return get_type_hints(function, include_extras=True)
    except NameError as exc:
        raise ImproperlyConfigured(
            f"{function.__module__}.{function.__qualname__}: {exc}. Annotations are "
            f"read when it is registered: import their types for real, not under "
            f"TYPE_CHECKING."
        ) from exc


def _is_content(annotation: Any) -> bool:
    """Tell whether `annotation` is text or content blocks, and so has no schema."""
    if annotation in (Any, None, str, CallToolResult, Promise, inspect.Signature.empty):
        return True
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_content(arguments[0])
    if origin in (Union, python_types.UnionType):
        return all(map(_is_content_or_nothing, arguments))
    if origin in (list, tuple, Sequence):
        kinds = [kind for kind in arguments if kind is not ...]
        blocks = [kind for kind in kinds if _has_block(kind)]
        return bool(blocks) and all(map(_is_content, kinds))
    return annotation in _BLOCKS


def _is_content_or_nothing(annotation: Any) -> bool:
    return annotation is python_types.NoneType or _is_content(annotation)


def _has_block(annotation: Any) -> bool:
    return annotation in _BLOCKS or any(map(_has_block, get_args(annotation)))


def _check_content(content: list[ContentBlock]) -> list[ContentBlock]:
    """Raise msgspec.ValidationError for what no content block may hold, because a
    struct takes any value."""
    _decode_content(_ENCODER.encode(content))
    return content


def _to_block(item: Any) -> Any:
    if isinstance(item, _BLOCKS):
        return item
    if isinstance(item, _TEXT):
        return TextContent(str(item))
    raise TypeError(f"{type(item).__name__} is no content")
