"""Prompts of every kind of content, with arguments, and one that asks first."""

import msgspec

from mcp_channels import Context, EmbeddedResource, ImageContent, ResourceContents
from tests.conformance.media import PIXEL_PNG
from tests.conformance.registration import registry


class UserContext(msgspec.Struct):
    context: str


@registry.prompt
def test_simple_prompt() -> str:
    """A text without arguments."""
    return "This is a simple prompt for testing."


@registry.prompt(complete={"arg1": ["test1", "test2", "other"]})
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """
    A text with two arguments in it.

    Args:
        arg1: the first, which can be completed.
        arg2: the second.
    """
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@registry.prompt
def test_prompt_with_embedded_resource(
    resourceUri: str,
) -> list[EmbeddedResource | str]:
    """
    A resource, and a text about it.

    Args:
        resourceUri: the URI that the resource gets.
    """
    contents = ResourceContents(
        resourceUri, text="Embedded resource content.", mime_type="text/plain"
    )
    return [EmbeddedResource(contents), "Please go through the resource above."]


@registry.prompt
def test_prompt_with_image() -> list[ImageContent | str]:
    """An image, and a text about it."""
    return [ImageContent(PIXEL_PNG, "image/png"), "Please describe the image above."]


@registry.prompt
def test_input_required_result_prompt(context: Context) -> str:
    """A text about what the user was asked first."""
    user = context.elicit("What is it about?", UserContext, key="user_context")
    return f"Please help with this: {user.context}"
