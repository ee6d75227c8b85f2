"""
One neutral value, five wires.

Handlers build the newest form of everything, without the members that only a stateless
wire needs. On the way out, project() takes away what the revision of the request does
not know, and adds what it demands.
"""

from collections.abc import Callable, Mapping
from copy import copy
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct

from mcp_channels.protocol import content, elicitation, methods, types
from mcp_channels.protocol.versions import Era, Revision

__all__ = ["RootValue", "SharedResult", "has_object_root", "project", "project_result"]

_03 = Revision.V2025_03_26
_06 = Revision.V2025_06_18
_11 = Revision.V2025_11_25

# Since when a member exists. What is not named here is as old as its struct.
_SINCE: Final[Mapping[type[Struct], Mapping[str, Revision]]] = {
    content.Annotations: {"last_modified": _06},
    content.ResourceContents: {"meta": _06},
    content.TextContent: {"meta": _06},
    content.ImageContent: {"meta": _06},
    content.AudioContent: {"meta": _06},
    content.EmbeddedResource: {"meta": _06},
    content.ResourceLink: {"icons": _11},
    elicitation.SamplingMessage: {"meta": _11},
    types.Implementation: {
        "title": _06,
        "description": _11,
        "icons": _11,
        "website_url": _11,
    },
    types.ServerCapabilities: {"completions": _03, "tasks": _11, "extensions": _11},
    types.Tool: {
        "annotations": _03,
        "title": _06,
        "output_schema": _06,
        "meta": _06,
        "icons": _11,
        "execution": _11,
    },
    content.Resource: {"title": _06, "meta": _06, "icons": _11},
    types.ResourceTemplate: {"title": _06, "meta": _06, "icons": _11},
    types.Prompt: {"title": _06, "meta": _06, "icons": _11},
    types.PromptArgument: {"title": _06},
    types.CallToolResult: {"structured_content": _06},
    methods.ProgressNotificationParams: {"message": _03},
}

# What the newest revision has dropped again.
_GONE_IN_MODERN: Final[Mapping[type[Struct], tuple[str, ...]]] = {
    types.ServerCapabilities: ("tasks",),
    types.Tool: ("execution",),
}


class RootValue(Struct, frozen=True):
    """
    Structured content whose schema does not have an object at its root.

    Only MCP 2026-07-28 can send it as it is; 2025-06-18 and 2025-11-25 get it as the
    member `result` of an object, and a schema that says so.
    """

    value: Any


class SharedResult:
    """
    A result that many requests get: encoded once for each revision.

    `result` must not change any more.
    """

    __slots__ = ("_encoded", "result")

    def __init__(self, result: Struct) -> None:
        self.result = result
        self._encoded: dict[Revision, tuple[dict[str, Any], str]] = {}

    def encode(self, revision: Revision, stamp: dict[str, Any]) -> str:
        """Return its JSON on the wire of `revision`, stamped as project_result()
        does."""
        last_stamp, text = self._encoded.get(revision, (None, ""))
        if last_stamp is not stamp:
            projected = project_result(self.result, revision, stamp)
            text = msgspec.json.encode(projected).decode()
            self._encoded[revision] = stamp, text
        return text


def project_result(result: Struct, revision: Revision, stamp: dict[str, Any]) -> Struct:
    """
    Return `result` as the wire of `revision` has it; `result` is left as it was.

    On the modern wire `stamp` goes into `_meta`, below what is there already. MCP
    2026-07-28, basic, results.
    """
    projected = project(result, revision)
    if not isinstance(projected, _STAMPED):
        return projected
    if revision.era is Era.LEGACY:
        return _without_modern_members(projected)
    stamped = copy(projected)
    if stamped.result_type is UNSET:
        stamped.result_type = "complete"
    if isinstance(stamped, types.CacheableResult):
        # Not to be kept, and not to be shared, unless the answer says otherwise.
        if stamped.ttl_ms is UNSET:
            stamped.ttl_ms = 0
        if stamped.cache_scope is UNSET:
            stamped.cache_scope = "private"
    stamped.meta = {**stamp, **stamped.meta} if stamped.meta else stamp
    return stamped


def _without_modern_members(
    result: types.Result | types.GetTaskResult,
) -> types.Result | types.GetTaskResult:
    names = ["result_type"]
    if isinstance(result, types.CacheableResult):
        names += "ttl_ms", "cache_scope"
    if all(getattr(result, name) is UNSET for name in names):
        return result
    bare = copy(result)
    for name in names:
        setattr(bare, name, UNSET)
    return bare


def project(value: Struct, revision: Revision) -> Struct:
    """Return `value` as `revision` knows it; `value` is left as it was."""
    kind = type(value)
    replace = _REPLACE.get(kind)
    if replace is not None:
        value = replace(value, revision)
        if type(value) is not kind:
            return value
    unknown, nested = _plan(kind, revision)
    if not unknown and not nested:
        return value
    changes: dict[str, Any] = dict.fromkeys(unknown, UNSET)
    for name in nested:
        before = getattr(value, name)
        after = _project_nested(before, revision)
        if after is not before:
            changes[name] = after
    if not changes:
        return value
    value = copy(value)
    for name, member in changes.items():
        setattr(value, name, member)
    return value


def _project_nested(value: Any, revision: Revision) -> Any:
    if isinstance(value, Struct):
        return project(value, revision)
    if isinstance(value, list):
        projected = [
            project(item, revision) if isinstance(item, Struct) else item
            for item in value
        ]
        # Most lists have nothing to change: then the caller need not copy.
        return value if all(map(_is, projected, value)) else projected
    return value


def _is(one: object, other: object) -> bool:
    return one is other


@cache
def _plan(
    kind: type[Struct], revision: Revision
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the members that `revision` does not know, and those in which it may not
    know something."""
    since = _SINCE.get(kind, {})
    unknown = [name for name, first in since.items() if revision.rank < first.rank]
    if revision.era is Era.MODERN:
        unknown += _GONE_IN_MODERN.get(kind, ())
    elif issubclass(kind, types.CacheableResult):
        unknown += ("ttl_ms", "cache_scope")
    # All that content can be is in every revision since; most answers are content.
    table = _NESTED if revision.rank >= _11.rank else _NESTED | _NESTED_CONTENT
    nested = [name for name in table.get(kind, ()) if name not in unknown]
    return tuple(unknown), tuple(nested)


def has_object_root(schema: Mapping[str, Any]) -> bool:
    """Tell whether all that conforms to `schema` is a JSON object, by its `type`."""
    return schema.get("type") == "object"


def _project_call_tool_result(
    result: types.CallToolResult, revision: Revision
) -> Struct:
    value = result.structured_content
    if value is UNSET or revision.rank < _06.rank:
        return result
    if isinstance(value, RootValue):
        value = value.value
        if revision.era is Era.LEGACY:
            value = {"result": value}
    elif revision.era is Era.LEGACY and not _is_object(value):
        value = {"result": value}
    else:
        return result
    result = copy(result)
    result.structured_content = value
    return result


def _is_object(value: Any) -> bool:
    if isinstance(value, Raw):
        return bytes(value)[:1] == b"{"
    return isinstance(value, Mapping)


def _project_tool(tool: types.Tool, revision: Revision) -> Struct:
    schema = tool.output_schema
    if (
        schema is UNSET
        or revision.era is Era.MODERN
        or revision.rank < _06.rank
        or has_object_root(schema)
    ):
        return tool
    wrapper: dict[str, Any] = {}
    if "$schema" in schema:
        schema = {**schema}
        wrapper["$schema"] = schema.pop("$schema")
    wrapper |= {
        "type": "object",
        "properties": {"result": _move_references(schema)},
        "required": ["result"],
    }
    tool = copy(tool)
    tool.output_schema = wrapper
    return tool


def _move_references(schema: Any) -> Any:
    """Let references to the root of a schema follow it into `properties.result`."""
    if isinstance(schema, list):
        return [_move_references(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: _move_references(member) for name, member in schema.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and (reference == "#" or reference[:2] == "#/"):
        moved["$ref"] = "#/properties/result" + reference[1:]
    return moved


def _project_audio(audio: content.AudioContent, revision: Revision) -> Struct:
    if revision.rank >= _03.rank:
        return audio
    size = len(audio.data)
    return content.TextContent(f"[audio, {audio.mime_type}, {size} bytes]")


def _project_link(link: content.ResourceLink, revision: Revision) -> Struct:
    if revision.rank >= _06.rank:
        return link
    return content.TextContent(f"{link.name}: {link.uri}")


_STAMPED: Final = (types.Result, types.GetTaskResult)

# Where a noun can hold others that differ between revisions.
_NESTED: Final[dict[type[Struct], tuple[str, ...]]] = {
    types.DiscoverResult: ("capabilities",),
    types.InitializeResult: ("capabilities", "server_info"),
    types.ListPromptsResult: ("prompts",),
    types.ListResourceTemplatesResult: ("resource_templates",),
    types.ListResourcesResult: ("resources",),
    types.ListToolsResult: ("tools",),
    types.Prompt: ("arguments",),
}

# The same for what differs only before 2025-11-25.
_NESTED_CONTENT: Final[dict[type[Struct], tuple[str, ...]]] = {
    content.AudioContent: ("annotations",),
    content.EmbeddedResource: ("annotations", "resource"),
    content.ImageContent: ("annotations",),
    content.Resource: ("annotations",),
    content.ResourceLink: ("annotations",),
    content.TextContent: ("annotations",),
    elicitation.SamplingMessage: ("content",),
    methods.CreateMessageRequestParams: ("messages",),
    types.CallToolResult: ("content",),
    types.GetPromptResult: ("messages",),
    types.PromptMessage: ("content",),
    types.ReadResourceResult: ("contents",),
    types.ResourceTemplate: ("annotations",),
}


def _project_form(
    params: methods.ElicitRequestFormParams, revision: Revision
) -> Struct:
    """2025-06-18 knows defaults of booleans only, and names of choices as a list."""
    if revision.rank >= _11.rank:
        return params
    schema = copy(params.requested_schema)
    schema.properties = {
        name: _project_property(member) for name, member in schema.properties.items()
    }
    params = copy(params)
    params.requested_schema = schema
    return params


def _project_property(member: Any) -> Any:
    if not isinstance(member, dict):
        member = msgspec.to_builtins(member)
    member = dict(member)
    if member.get("type") != "boolean":
        member.pop("default", None)
    options = member.pop("oneOf", None)
    if options is not None:
        member["enum"] = [option["const"] for option in options]
        member["enumNames"] = [option["title"] for option in options]
    return member


def _project_sampling(
    params: methods.CreateMessageRequestParams, revision: Revision
) -> Struct:
    """Before 2025-11-25 a message is one block: each of several is a message."""
    if revision.rank >= _11.rank:
        return params
    params = copy(params)
    params.messages = [
        elicitation.SamplingMessage(message.role, block)
        for message in params.messages
        for block in (
            message.content if isinstance(message.content, list) else [message.content]
        )
    ]
    return params


_REPLACE: Final[Mapping[type[Struct], Callable[[Any, Revision], Struct]]] = {
    content.AudioContent: _project_audio,
    content.ResourceLink: _project_link,
    methods.CreateMessageRequestParams: _project_sampling,
    methods.ElicitRequestFormParams: _project_form,
    types.CallToolResult: _project_call_tool_result,
    types.Tool: _project_tool,
}
