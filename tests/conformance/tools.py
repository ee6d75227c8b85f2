"""Tools that ask the client nothing: content of every kind, reports, diagnostics."""

import asyncio
from typing import Annotated, Any, Final

from msgspec import Meta

from mcp_channels import (
    AudioContent,
    Context,
    EmbeddedResource,
    ImageContent,
    PrimitivesChanged,
    ResourceContents,
    TextContent,
    ToolError,
    publish,
)
from mcp_channels.server.registry import NotRegistered
from tests.conformance.media import PIXEL_PNG, SILENCE_WAV
from tests.conformance.registration import registry

# Seconds between the reports of a tool that seems to work.
STEP: Final = 0.05

# Handed out as it stands, keyword by keyword.
CONTACT_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {
        "properties": {"contactMethod": {"const": "phone"}},
        "required": ["contactMethod"],
    },
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@registry.tool
def test_simple_text() -> str:
    """Return a text."""
    return "This is a simple text response for testing."


@registry.tool
def test_image_content() -> ImageContent:
    """Return an image."""
    return ImageContent(PIXEL_PNG, "image/png")


@registry.tool
def test_audio_content() -> AudioContent:
    """Return a sound."""
    return AudioContent(SILENCE_WAV, "audio/wav")


@registry.tool
def test_embedded_resource() -> EmbeddedResource:
    """Return the contents of a resource."""
    return EmbeddedResource(
        ResourceContents(
            "test://embedded-resource",
            text="This is an embedded resource.",
            mime_type="text/plain",
        )
    )


@registry.tool
def test_multiple_content_types() -> list[
    TextContent | ImageContent | EmbeddedResource
]:
    """Return a text, an image and a resource at once."""
    return [
        TextContent("Several kinds of content:"),
        ImageContent(PIXEL_PNG, "image/png"),
        EmbeddedResource(
            ResourceContents(
                "test://mixed-content-resource",
                text='{"test":"data","value":123}',
                mime_type="application/json",
            )
        ),
    ]


@registry.tool
def test_error_handling() -> str:
    """Fail, in a way that a model can understand."""
    raise ToolError("This tool always fails, so that failures can be tested.")


@registry.tool
async def test_tool_with_progress(context: Context) -> str:
    """Report progress on the way."""
    for done in (0, 50, 100):
        context.progress(done, 100, f"{done} of 100")
        await asyncio.sleep(STEP)
    return "Done, with progress."


@registry.tool
async def test_tool_with_logging(context: Context) -> str:
    """Log on the way."""
    context.log("info", "Tool execution started")
    await asyncio.sleep(STEP)
    context.log("info", "Tool is processing data")
    await asyncio.sleep(STEP)
    context.log("info", "Tool execution completed")
    return "Done, with log messages."


@registry.tool
def test_logging_tool(context: Context) -> str:
    """Log once, if the client wants to hear of it."""
    context.log("info", "A client that asked for no logs does not see this.")
    return "Done."


@registry.tool(input_schema=CONTACT_SCHEMA)
def json_schema_2020_12_tool(**contact: str) -> str:
    """Take arguments that need most of JSON Schema to be described."""
    return f"Received {', '.join(sorted(contact))}."


@registry.tool
def test_reconnection() -> str:
    """Return a text, whatever became of the connection meanwhile."""
    return "Still here."


@registry.tool
def test_x_mcp_header(
    region: Annotated[str, Meta(extra_json_schema={"x-mcp-header": "Region"})],
) -> str:
    """Take an argument that proxies see as a header."""
    return f"Region: {region}"


# The first of the list: some suites call that one, and with no arguments.
@registry.tool
def greet(name: str = "World") -> str:
    """Greet somebody."""
    return f"Hello, {name}!"


@registry.tool
async def slow_compute(seconds: float, label: str) -> str:
    """
    Take a while.

    Args:
        seconds: how long.
        label: what to call it in the answer.
    """
    await asyncio.sleep(seconds)
    return f"{label}: done after {seconds:g} s."


# Asynchronous, so that two calls at a time toggle one after the other.
@registry.tool
async def test_trigger_tool_change() -> str:
    """Add a tool, or take it away again, and announce that."""
    try:
        registry.remove("test_dynamic_tool")
    except NotRegistered:
        registry.tool(name="test_dynamic_tool")(make_dynamic)
    publish(PrimitivesChanged("tools"))
    return "The tools have changed."


@registry.tool
async def test_trigger_prompt_change() -> str:
    """Add a prompt, or take it away again, and announce that."""
    try:
        registry.remove("test_dynamic_prompt", kind="prompt")
    except NotRegistered:
        registry.prompt(name="test_dynamic_prompt")(make_dynamic)
    publish(PrimitivesChanged("prompts"))
    return "The prompts have changed."


def make_dynamic() -> str:
    """Return a text; this comes and goes."""
    return "Here for now."
