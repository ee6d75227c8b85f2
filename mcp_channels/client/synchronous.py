"""
The official SDK's Client for programs that have no event loop.

    with SyncClient("wss://example.com/ws") as client:
        print(client.call_tool("find_books", {"text": "sea"}).content)
"""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp_types import (
    CallToolResult,
    GetPromptResult,
    Prompt,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    Tool,
)

from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.pages import list_all
from mcp_channels.client.websocket import WebSocketTransport

__all__ = ["SyncClient"]

_Result = TypeVar("_Result")


class SyncClient:
    """
    A client whose methods return when there is an answer.

    The connection is served by a thread of its own, from the beginning of the `with`
    block to its end, and several threads may use the client. `options` are those of the
    SDK's Client; its callbacks are async, and run in that thread.
    """

    def __init__(self, config: WebSocketConfig | str, **options: Any) -> None:
        self._config = config
        self._options = options
        self._stack: ExitStack | None = None
        self._portal: BlockingPortal
        self._client: Client

    def __enter__(self) -> Self:
        """Connect. Raise ConnectionFailed when that does not succeed."""
        if self._stack is not None:
            raise RuntimeError("A SyncClient is used once at a time.")
        client = Client(WebSocketTransport(self._config), **self._options)
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            opened = self._portal.wrap_async_context_manager(client)
            self._client = stack.enter_context(opened)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    def run(self, function: Callable[[Client], Awaitable[_Result]]) -> _Result:
        """
        Run an async function with the SDK's Client, and return its result.

        For all that has no method here: `run(lambda client: client.complete(...))`.
        """
        if self._stack is None:
            raise RuntimeError("A SyncClient is used in its `with` block.")
        future = self._portal.start_task_soon(function, self._client)
        try:
            return future.result()
        except BaseException:
            # After Ctrl-C nobody waits for the answer any more.
            future.cancel()
            raise

    @property
    def protocol_version(self) -> str:
        """The revision that both sides speak."""
        return self._client.protocol_version

    def list_tools(self) -> list[Tool]:
        """Return the tools of all pages."""
        return self.run(
            lambda client: list_all(client.list_tools, lambda page: page.tools)
        )

    def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        on_progress: Callable[[float, float | None, str | None], object] | None = None,
    ) -> CallToolResult:
        """
        Call a tool.

        `timeout` is in seconds; None is that of the client. `on_progress` is called in
        the client's thread, with how far it is, of how much, and a message. Raise
        MCPError when the call is refused, with the code OUTCOME_UNKNOWN when the
        connection dropped and the tool may have run.
        """
        tell = None
        if on_progress is not None:

            async def tell(
                progress: float, total: float | None, message: str | None
            ) -> None:
                on_progress(progress, total, message)

        return self.run(lambda client: client.call_tool(name, arguments, timeout, tell))

    def list_resources(self) -> list[Resource]:
        """Return the resources of all pages."""
        return self.run(
            lambda client: list_all(client.list_resources, lambda page: page.resources)
        )

    def list_resource_templates(self) -> list[ResourceTemplate]:
        """Return the resource templates of all pages."""
        return self.run(
            lambda client: list_all(
                client.list_resource_templates, lambda page: page.resource_templates
            )
        )

    def read_resource(self, uri: str) -> ReadResourceResult:
        """Read a resource."""
        return self.run(lambda client: client.read_resource(uri))

    def list_prompts(self) -> list[Prompt]:
        """Return the prompts of all pages."""
        return self.run(
            lambda client: list_all(client.list_prompts, lambda page: page.prompts)
        )

    def get_prompt(
        self, name: str, arguments: dict[str, str] | None = None
    ) -> GetPromptResult:
        """Get a prompt."""
        return self.run(lambda client: client.get_prompt(name, arguments))
