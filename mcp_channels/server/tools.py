"""
Tools: functions that a client may call. MCP 2026-07-28, server/tools.

A Tool is compiled when it is registered; call_tool() only executes.
"""

import logging
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured
from msgspec import UNSET, Raw, UnsetType

from mcp_channels.protocol import types
from mcp_channels.protocol.content import ContentBlock, Icon, TextContent
from mcp_channels.protocol.errors import InvalidParams, ProtocolError
from mcp_channels.protocol.methods import CallToolRequestParams, PaginatedRequestParams
from mcp_channels.protocol.projection import SharedResult
from mcp_channels.protocol.types import CallToolResult, ToolAnnotations
from mcp_channels.server.context import Context
from mcp_channels.server.interaction import ClientRefused
from mcp_channels.server.permissions import Permission
from mcp_channels.server.primitives import Primitive, or_unset
from mcp_channels.server.schemas import (
    Arguments,
    ArgumentsError,
    Returned,
    check_content,
)

if TYPE_CHECKING:
    from mcp_channels.server.catalogue import Catalogue

__all__ = ["Tool", "ToolError", "call_tool", "find_tool", "list_tools"]

logger = logging.getLogger("mcp_channels")

# MCP 2025-11-25, server/tools, tool names.
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_NO_ARGUMENTS: Final = Raw(b"{}")


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


class Tool(Primitive):
    """
    A function with everything that a client is told about it.

    `read_only`, `destructive`, `idempotent` and `open_world` are hints, None when not
    said. `structured` False keeps results text. For the rest see Primitive. Raise
    ImproperlyConfigured when it cannot be offered.
    """

    kind = "tool"

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
        permission: Permission | Iterable[str] | None = None,
        icons: list[Icon] | None = None,
        meta: dict[str, Any] | None = None,
        input_schema: dict[str, Any] | None = None,
        output_schema: dict[str, Any] | None = None,
        structured: bool = True,
        timeout: float | None = None,
        atomic: bool | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        super().__init__(
            function,
            name=name,
            permission=permission,
            timeout=timeout,
            atomic=atomic,
            tags=tags,
        )
        if not _NAME.fullmatch(self.name):
            raise ImproperlyConfigured(
                f"Tool name {self.name!r} is invalid: use 1 to 128 letters, digits, "
                f"'_', '-' and '.'."
            )
        self._arguments = Arguments(
            function,
            skip=Context,
            schema=input_schema,
            descriptions=self.parameter_descriptions,
        )
        self._returned = Returned(function, schema=output_schema, structured=structured)
        annotations = ToolAnnotations(
            read_only_hint=or_unset(read_only),
            destructive_hint=or_unset(destructive),
            idempotent_hint=or_unset(idempotent),
            open_world_hint=or_unset(open_world),
        )
        has_hints = any(
            hint is not None
            for hint in (read_only, destructive, idempotent, open_world)
        )
        self._expired = _error(f"{self.label} did not finish in time.")
        definition = types.Tool(
            name=self.name,
            title=or_unset(title),
            description=or_unset(description or self.description),
            input_schema=self._arguments.schema,
            output_schema=or_unset(self._returned.schema),
            annotations=annotations if has_hints else UNSET,
            icons=or_unset(icons),
            meta=or_unset(meta),
        )
        self.definition: types.Tool = self.check(definition)

    @property
    def is_read_only(self) -> bool:
        """Whether it is declared to change nothing."""
        hints = self.definition.annotations
        return not isinstance(hints, UnsetType) and hints.read_only_hint is True

    async def call(self, context: Context, arguments: Raw) -> CallToolResult:
        """
        Run the function and make a result of what comes of it.

        Its own failures are results with `isError`, since the model should see them;
        raise only ProtocolError, when the function does, and InputRequired.
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
        except ClientRefused as exc:
            return _error(str(exc))
        except ProtocolError:
            raise
        except (Exception, SystemExit):
            # Its text may hold anything: a query, a path, another person's data.
            logger.exception("%s failed", self.label)
            return _error(f"{self.label} failed.")

    async def _run(self, context: Context, arguments: Raw) -> Any:
        keywords = self._arguments.decode(arguments)
        if self._arguments.skipped is not None:
            keywords[self._arguments.skipped] = context
        context.session.expire_after(self.timeout, context.request, self._expired)
        return await self.run(context, keywords)


async def list_tools(context: Context, params: PaginatedRequestParams) -> SharedResult:
    """Answer tools/list. Raise InvalidParams for a cursor not made here."""
    return context.session.catalogue.list_tools(params.cursor)


def find_tool(catalogue: "Catalogue", name: str) -> Tool:
    """Return the tool. Raise InvalidParams for one that does not exist."""
    # Hidden and missing look the same, so nothing is revealed.
    tool = catalogue.tools.get(name)
    if tool is None:
        raise InvalidParams(f"Unknown tool: {name[:128]}")
    return tool


async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
    """
    Answer tools/call. Raise InvalidParams for a tool that does not exist.

    MCP 2026-07-28, server/tools, error handling.
    """
    tool = find_tool(context.session.catalogue, params.name)
    arguments = params.arguments
    if isinstance(arguments, UnsetType):
        arguments = _NO_ARGUMENTS
    elif bytes(arguments)[:1] != b"{":
        if bytes(arguments) != b"null":
            raise InvalidParams("arguments must be an object")
        arguments = _NO_ARGUMENTS
    return await tool.call(context, arguments)


def _error(message: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(message)], is_error=True)
