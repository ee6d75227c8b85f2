"""What `mcp-ws` does with a server: list, call, read, prompt, watch, ping."""

import argparse
import json
import shutil
import sys
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import anyio
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp import Client, MCPError
from mcp.client import IncomingMessage
from mcp.client.subscriptions import ServerEvent, SubscriptionLost
from mcp.shared.subscriptions import event_from_wire
from mcp_types import (
    ContentBlock,
    EmbeddedResource,
    EmptyResult,
    ResourceLink,
    SubscribeRequest,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    Tool,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_channels.client import errors
from mcp_channels.client.arguments import ArgumentError, read_arguments
from mcp_channels.client.configuration import WebSocketConfig
from mcp_channels.client.errors import ConnectionFailed
from mcp_channels.client.pages import list_all
from mcp_channels.client.questions import ask
from mcp_channels.client.terminal import ProgressBar, harmless, make_table
from mcp_channels.client.websocket import WebSocketTransport

__all__ = ["run_command"]

FAILED: Final = 1  # the tool says so
MISUSED: Final = 2
UNREACHABLE: Final = 3
REFUSED: Final = 4
UNKNOWN: Final = 5

Arrivals = MemoryObjectReceiveStream[IncomingMessage]


async def run_command(options: argparse.Namespace, config: WebSocketConfig) -> int:
    """Do what the command line says, and return the exit status."""
    put, arrivals = anyio.create_memory_object_stream[IncomingMessage]()

    async def hear(message: IncomingMessage) -> None:
        if options.command == "watch":
            await put.send(message)

    transport = WebSocketTransport(config)
    with put, arrivals:
        try:
            async with Client(
                transport,
                mode="legacy" if options.legacy else "auto",
                message_handler=hear,
                elicitation_callback=ask,
            ) as client:
                status = await COMMANDS[options.command](client, options, arrivals)
        except Exception as exc:
            status = _explain(exc, transport.failure)
    return status


def _explain(exc: Exception, failure: ConnectionFailed | None) -> int:
    """Say what went wrong, and return the exit status for it."""
    while isinstance(exc, ExceptionGroup):
        exc = exc.exceptions[0]  # of the SDK's tasks
    reason = str(exc)
    match exc:
        case MCPError(code=mcp_types.CONNECTION_CLOSED) | SubscriptionLost():
            # The SDK knows no more than that.
            status, reason = UNREACHABLE, failure.reason if failure else reason
        case MCPError(code=errors.CONNECTION_LOST | errors.REQUEST_TIMED_OUT):
            status = UNREACHABLE
        case MCPError(code=errors.OUTCOME_UNKNOWN):
            status = UNKNOWN
        case ConnectionFailed():
            status = UNREACHABLE
        case MCPError():
            status = REFUSED
        case ArgumentError():
            status = MISUSED
        case ValueError() | RuntimeError():
            # The SDK holds answers against the protocol, and results of tools against
            # their schemas.
            status, reason = REFUSED, f"The server's answer is wrong: {reason}"
        case _:
            raise exc
    print(harmless(reason, allowed="\n"), file=sys.stderr)
    return status


# Each command


async def _list(client: Client, options: argparse.Namespace, arrivals: Arrivals) -> int:
    offered = client.server_capabilities
    wanted = options.what
    found: dict[str, list[Any]] = {}
    if offered.tools and wanted in (None, "tools"):
        found["tools"] = await _list_tools(client)
    if offered.resources and wanted in (None, "resources"):
        found["resources"] = await list_all(
            client.list_resources, lambda page: page.resources
        )
        found["resourceTemplates"] = await list_all(
            client.list_resource_templates, lambda page: page.resource_templates
        )
    if offered.prompts and wanted in (None, "prompts"):
        found["prompts"] = await list_all(
            client.list_prompts, lambda page: page.prompts
        )
    if options.json:
        _print_json({name: list(map(_dump, items)) for name, items in found.items()})
        return 0
    width = shutil.get_terminal_size((100, 24)).columns
    for name, items in found.items():
        print(f"{_TITLES[name]}:" if items else f"{_TITLES[name]}: none")
        rows = [[f"  {_describe(item)}", _first_line(item)] for item in items]
        print(make_table(rows, width), end="")
    return 0


async def _call(client: Client, options: argparse.Namespace, arrivals: Arrivals) -> int:
    # Listed first: the schema says what the arguments are, and the annotations whether
    # the call may be repeated after a drop.
    tools = {tool.name: tool for tool in await _list_tools(client)}
    tool = tools.get(options.name)
    arguments = read_arguments(options.arguments, tool.input_schema if tool else {})
    bar = ProgressBar(sys.stderr)
    try:
        result = await client.call_tool(
            options.name, arguments, progress_callback=bar.show
        )
    finally:
        bar.clear()
    if options.json:
        _print_json(_dump(result))
    else:
        for block in result.content:
            _print_text(_show(block))
    return FAILED if result.is_error else 0


async def _read(client: Client, options: argparse.Namespace, arrivals: Arrivals) -> int:
    result = await client.read_resource(options.uri)
    if options.json:
        _print_json(_dump(result))
        return 0
    for contents in result.contents:
        if isinstance(contents, TextResourceContents):
            _print_text(contents.text)
        else:
            sys.stdout.flush()
            sys.stdout.buffer.write(b64decode(contents.blob))
            sys.stdout.buffer.flush()
    return 0


async def _prompt(
    client: Client, options: argparse.Namespace, arrivals: Arrivals
) -> int:
    arguments = read_arguments(options.arguments, {})
    result = await client.get_prompt(options.name, arguments)
    if options.json:
        _print_json(_dump(result))
        return 0
    for message in result.messages:
        _print_text(f"{message.role}: {_show(message.content)}")
    return 0


async def _watch(
    client: Client, options: argparse.Namespace, arrivals: Arrivals
) -> int:
    seen = 0
    async for event in _events(client, options.uris, arrivals):
        told = {"event": type(event).__name__, **vars(event)}
        if options.json:
            _print_json(told)
        else:
            _print_text(" ".join(told.values()))
        sys.stdout.flush()
        seen += 1
        if seen == options.count:
            break
    return 0


async def _events(
    client: Client, uris: list[str], arrivals: Arrivals
) -> AsyncIterator[ServerEvent]:
    """Give the changes of some resources, or of all lists, for as long as it takes."""
    if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
        lists = not uris
        async with client.listen(
            tools_list_changed=lists,
            prompts_list_changed=lists,
            resources_list_changed=lists,
            resource_subscriptions=uris,
        ) as events:
            for uri in set(uris).difference(
                events.honored.resource_subscriptions or ()
            ):
                reason = f"{uri} cannot be watched"
                raise MCPError(code=mcp_types.INVALID_PARAMS, message=reason)
            _say("Watching; Ctrl-C ends it.")
            async for event in events:
                yield event
        return
    for uri in uris:
        params = SubscribeRequestParams(uri=uri)
        await client.session.send_request(SubscribeRequest(params=params), EmptyResult)
    _say("Watching; Ctrl-C ends it.")
    while True:
        message = await arrivals.receive()
        if isinstance(message, Exception):
            raise message
        notification = message.model_dump(by_alias=True, mode="json")
        change = event_from_wire(notification["method"], notification.get("params"))
        if change is not None:
            yield change


async def _ping(client: Client, options: argparse.Namespace, arrivals: Arrivals) -> int:
    info, revision = client.server_info, client.protocol_version
    name = f"{info.name} {info.version}" if info else "a server without a name"
    for number in range(options.count):
        if number:
            await anyio.sleep(options.interval)
        began = time.perf_counter()
        if revision in MODERN_PROTOCOL_VERSIONS:
            # It has no `ping` any more; this is what every server answers.
            await client.session.send_discover(revision)
        else:
            await client.session.send_ping()
        milliseconds = (time.perf_counter() - began) * 1000
        if options.json:
            _print_json({"revision": revision, "milliseconds": milliseconds})
        else:
            _print_text(f"{name}, {revision}: {milliseconds:.1f} ms")
        sys.stdout.flush()
    return 0


Command = Callable[[Client, argparse.Namespace, Arrivals], Awaitable[int]]

COMMANDS: Final[dict[str, Command]] = {
    "list": _list,
    "call": _call,
    "read": _read,
    "prompt": _prompt,
    "watch": _watch,
    "ping": _ping,
}


# What they print

_TITLES: Final = {
    "tools": "Tools",
    "resources": "Resources",
    "resourceTemplates": "Resource templates",
    "prompts": "Prompts",
}


async def _list_tools(client: Client) -> list[Tool]:
    return await list_all(client.list_tools, lambda page: page.tools)


def _describe(item: Any) -> str:
    """Return how something is called: its name and arguments, or its URI."""
    if isinstance(item, Tool):
        required = item.input_schema.get("required", ())
        names = item.input_schema.get("properties", {})
        arguments = [name if name in required else f"[{name}]" for name in names]
    elif hasattr(item, "arguments"):
        given = item.arguments or ()
        arguments = [one.name if one.required else f"[{one.name}]" for one in given]
    else:
        return harmless(getattr(item, "uri", None) or item.uri_template)
    return harmless(" ".join([item.name, *arguments]))


def _first_line(item: Any) -> str:
    text = item.description or item.title or ""
    return harmless(text.strip().partition("\n")[0])


def _show(block: ContentBlock) -> str:
    if isinstance(block, TextContent):
        return block.text
    if isinstance(block, ResourceLink):
        return block.uri
    if isinstance(block, EmbeddedResource):
        resource = block.resource
        if isinstance(resource, TextResourceContents):
            return resource.text
        kind, data = resource.mime_type, resource.blob
    else:  # an image, or sound
        kind, data = block.mime_type, block.data
    return f"({kind or 'data'}, {len(b64decode(data))} bytes)"


def _print_text(text: str) -> None:
    if sys.stdout.isatty():
        text = harmless(text, allowed="\n\t")
    print(text)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _dump(item: Any) -> Any:
    return item.model_dump(mode="json", by_alias=True, exclude_none=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
