"""
Tools: functions that a client may call. MCP 2026-07-28, server/tools.

A Tool is compiled when it is registered; call_tool() only executes.
"""

import inspect
import logging
import re
from collections.abc import Callable
from typing import Any, Final

import docstring_parser
import msgspec
from django.core.exceptions import ImproperlyConfigured
from msgspec import UNSET, Raw, UnsetType

from mcp_channels.protocol import types
from mcp_channels.protocol.content import ContentBlock, Icon, TextContent
from mcp_channels.protocol.errors import InvalidParams, ProtocolError
from mcp_channels.protocol.methods import CallToolRequestParams, PaginatedRequestParams
from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.types import CallToolResult, ToolAnnotations
from mcp_channels.server.context import Context
from mcp_channels.server.schemas import (
    Arguments,
    ArgumentsError,
    Returned,
    check_content,
    encode_value,
)

__all__ = ["Tool", "ToolError", "call_tool", "list_tools"]

logger = logging.getLogger("mcp_channels")

# MCP 2025-11-25, server/tools, tool names.
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_PERMISSION: Final = re.compile(r"\w+\.\w+")
_NO_ARGUMENTS: Final = Raw(b"{}")
_decode_definition: Final = msgspec.json.Decoder(types.Tool).decode


class ToolError(Exception):
    """
    The call did not succeed, and the model can do something about it.

    The text is all that is shown: say what to do better. `content` adds blocks to it. A
    transaction that the tool runs in is rolled back.
    """

    def __init__(self, message: str, *, content: list[ContentBlock] | None = None):
        super().__init__(message)
        # A lazy translation is translated here, in the language of the request.
        self.message = str(message)
        self.content = content or []


class Tool:
    """
    A function with everything that a client is told about it.

    `read_only`, `destructive`, `idempotent` and `open_world` are hints, None when not
    said. `permission` is a Django permission, "app_label.codename"; the tool does not
    exist for a client without it. `timeout` is in seconds, None for the setting.
    `atomic` wraps a synchronous function in a transaction, None for ATOMIC_REQUESTS.
    `structured` False keeps results text. Raise ImproperlyConfigured when it cannot be
    offered.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        read_only: bool | None = None,
        destructive: bool | None = None,
        idempotent: bool | None = None,
        open_world: bool | None = None,
        permission: str | None = None,
        icons: list[Icon] | None = None,
        meta: dict[str, Any] | None = None,
        input_schema: dict[str, Any] | None = None,
        output_schema: dict[str, Any] | None = None,
        structured: bool = True,
        timeout: float | None = None,
        atomic: bool | None = None,
    ) -> None:
        if inspect.isclass(function) or not hasattr(function, "__qualname__"):
            raise ImproperlyConfigured(
                f"{function!r} cannot be a tool: write a function that calls it."
            )
        self.function = function
        self.name = function.__name__ if name is None else name
        self.permission = permission
        self.timeout = timeout
        self.atomic = atomic
        self.is_async = inspect.iscoroutinefunction(function)
        self._validate()
        docstring = _parse_docstring(inspect.getdoc(function) or "")
        self._arguments = Arguments(
            function,
            skip=Context,
            schema=input_schema,
            descriptions={
                parameter.arg_name: parameter.description
                for parameter in docstring.params
                if parameter.description
            },
        )
        self._returned = Returned(function, schema=output_schema, structured=structured)
        if description is None:
            description = docstring.description and docstring.description.strip()
        annotations = ToolAnnotations(
            read_only_hint=_or_unset(read_only),
            destructive_hint=_or_unset(destructive),
            idempotent_hint=_or_unset(idempotent),
            open_world_hint=_or_unset(open_world),
        )
        has_hints = any(
            hint is not None
            for hint in (read_only, destructive, idempotent, open_world)
        )
        self._expired = _error(f"Tool {self.name!r} did not finish in time.")
        definition = types.Tool(
            name=self.name,
            title=_or_unset(title),
            description=_or_unset(description),
            input_schema=self._arguments.schema,
            output_schema=_or_unset(self._returned.schema),
            annotations=annotations if has_hints else UNSET,
            icons=_or_unset(icons),
            meta=_or_unset(meta),
        )
        try:
            # What cannot be sent would take the whole list with it.
            self.definition: types.Tool = _decode_definition(encode_value(definition))
        except (TypeError, ValueError, msgspec.ValidationError) as exc:
            raise ImproperlyConfigured(f"Tool {self.name!r}: {exc}") from exc

    @property
    def place(self) -> str:
        """Where the function is defined, for messages to the site's developer."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def is_read_only(self) -> bool:
        """Whether it is declared to change nothing."""
        hints = self.definition.annotations
        return not isinstance(hints, UnsetType) and hints.read_only_hint is True

    def _validate(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ImproperlyConfigured(
                f"Tool name {self.name!r} is invalid: use 1 to 128 letters, digits, "
                f"'_', '-' and '.'."
            )
        if self.permission is not None and not _PERMISSION.fullmatch(self.permission):
            raise ImproperlyConfigured(
                f"Tool {self.name!r}: permission {self.permission!r} is invalid: use "
                f"'app_label.codename'."
            )
        if self.timeout is not None and not self.timeout > 0:  # NaN is neither
            raise ImproperlyConfigured(
                f"Tool {self.name!r}: timeout must be more than 0 seconds."
            )
        if self.atomic and self.is_async:
            raise ImproperlyConfigured(
                f"Tool {self.name!r}: an asynchronous function cannot be atomic, "
                f"because Django's transactions are synchronous."
            )
        if inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(
            self.function
        ):
            raise ImproperlyConfigured(
                f"Tool {self.name!r}: a generator cannot be a tool. Return a list, and "
                f"tell of the way with Context.progress()."
            )

    async def call(self, context: Context, arguments: Raw) -> CallToolResult:
        """
        Run the function and make a result of what comes of it.

        Its own failures are results with `isError`, since the model should see them;
        raise only ProtocolError, when the function does.
        """
        try:
            try:
                value = await self._run(context, arguments)
                return self._returned.to_result(value)
            except ToolError as exc:
                content = check_content([TextContent(exc.message), *exc.content])
                return CallToolResult(content=content, is_error=True)
        except ArgumentsError as exc:
            return _error(str(exc))
        except ProtocolError:
            raise
        except (Exception, SystemExit):
            # Its text may hold anything: a query, a path, another person's data.
            logger.exception("Tool %r failed", self.name)
            return _error(f"Tool {self.name!r} failed.")

    async def _run(self, context: Context, arguments: Raw) -> Any:
        keywords = self._arguments.decode(arguments)
        if self._arguments.skipped is not None:
            keywords[self._arguments.skipped] = context
        session = context.session
        session.expire_after(self.timeout, context.request, self._expired)
        if not self.is_async:
            value = await session.workers.run(self._call, keywords, atomic=self.atomic)
            return await value if inspect.isawaitable(value) else value
        try:
            return await self.function(**keywords)
        finally:
            session.workers.clean_after_async()

    def _call(self, keywords: dict[str, Any]) -> Any:
        return self.function(**keywords)


async def list_tools(context: Context, params: PaginatedRequestParams) -> SharedResult:
    """Answer tools/list. Raise InvalidParams for a cursor not made here."""
    return context.session.catalogue.list_tools(params.cursor)


async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
    """
    Answer tools/call. Raise InvalidParams for a tool that does not exist.

    MCP 2026-07-28, server/tools, error handling.
    """
    # Hidden and missing look the same, so nothing is revealed.
    tool = context.session.catalogue.tools.get(params.name)
    if tool is None:
        raise InvalidParams(f"Unknown tool: {params.name[:128]}")
    arguments = params.arguments
    if isinstance(arguments, UnsetType):
        arguments = _NO_ARGUMENTS
    elif bytes(arguments)[:1] != b"{":
        if bytes(arguments) != b"null":
            raise InvalidParams("arguments must be an object")
        arguments = _NO_ARGUMENTS
    return await tool.call(context, arguments)


def _parse_docstring(text: str) -> docstring_parser.Docstring:
    try:
        return docstring_parser.parse(text)
    except Exception:
        # The parsers of other styles than its own may stumble over it anyhow.
        docstring = docstring_parser.Docstring()
        docstring.long_description = text
        return docstring


def _error(message: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(message)], is_error=True)


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value
