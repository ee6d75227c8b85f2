import base64
import json
from typing import Any

import msgspec
import pytest

from mcp_channels.protocol.content import (
    Annotations,
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    Icon,
    ImageContent,
    Resource,
    ResourceContents,
    ResourceLink,
    SamplingMessageContentBlock,
    TextContent,
    ToolResultContent,
    ToolUseContent,
)

# Its base64 has both characters of the standard alphabet, and padding.
BINARY = b"\xfb\xff\xfe\x00"
LINK = ResourceLink("shop://orders/7", "Order 7", mime_type="text/html", size=0)

WIRE = [
    (TextContent("hello"), {"type": "text", "text": "hello"}),
    (
        TextContent(
            "hello",
            annotations=Annotations(audience=["user"], priority=0.5),
            meta={"example.com/a": None},
        ),
        {
            "type": "text",
            "text": "hello",
            "annotations": {"audience": ["user"], "priority": 0.5},
            "_meta": {"example.com/a": None},
        },
    ),
    (
        ImageContent(BINARY, "image/png"),
        {"type": "image", "data": "+//+AA==", "mimeType": "image/png"},
    ),
    (
        AudioContent(BINARY, "audio/wav"),
        {"type": "audio", "data": "+//+AA==", "mimeType": "audio/wav"},
    ),
    (
        LINK,
        {
            "type": "resource_link",
            "uri": "shop://orders/7",
            "name": "Order 7",
            "mimeType": "text/html",
            "size": 0,
        },
    ),
    (
        EmbeddedResource(ResourceContents("shop://a", "", mime_type="text/plain")),
        {
            "type": "resource",
            "resource": {"uri": "shop://a", "text": "", "mimeType": "text/plain"},
        },
    ),
    (
        EmbeddedResource(ResourceContents("shop://a", blob=BINARY, meta={})),
        {
            "type": "resource",
            "resource": {"uri": "shop://a", "blob": "+//+AA==", "_meta": {}},
        },
    ),
    (
        ToolUseContent("c1", "add", {"a": 1}),
        {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}},
    ),
    (
        ToolResultContent("c1", [TextContent("2")], structured_content=None),
        {
            "type": "tool_result",
            "toolUseId": "c1",
            "content": [{"type": "text", "text": "2"}],
            "structuredContent": None,
        },
    ),
]


@pytest.mark.parametrize(("block", "wire"), WIRE)
def test_block_has_its_form_on_the_wire(block: Any, wire: dict[str, Any]) -> None:
    text = msgspec.json.encode(block)

    assert json.loads(text) == wire
    assert msgspec.json.decode(text, type=type(block)) == block


@pytest.mark.parametrize("block", [block for block, _ in WIRE[:7]])
def test_content_block_is_known_by_its_type(block: Any) -> None:
    text = msgspec.json.encode(block)

    assert msgspec.json.decode(text, type=ContentBlock) == block


@pytest.mark.parametrize("block", [block for block, _ in (*WIRE[:4], *WIRE[7:])])
def test_sampled_block_is_known_by_its_type(block: Any) -> None:
    text = msgspec.json.encode([block])

    assert msgspec.json.decode(text, type=list[SamplingMessageContentBlock]) == [block]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"text": "a"}', "missing required field `type`"),
        ('{"type": "video", "text": "a"}', "Invalid value 'video'"),
        ('{"type": "text"}', "missing required field `text`"),
        ('{"type": "image", "data": "_-8=", "mimeType": "a/b"}', "Invalid base64"),
        ('{"type": "tool_use", "id": "1", "name": "a", "input": {}}', "'tool_use'"),
    ],
)
def test_malformed_block_is_refused(text: str, fault: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=fault):
        msgspec.json.decode(text, type=ContentBlock)


def test_unknown_members_are_ignored() -> None:
    text = '{"type": "text", "text": "a", "colour": "red", "annotations": {"x": 1}}'

    block = msgspec.json.decode(text, type=ContentBlock)

    assert block == TextContent("a", annotations=Annotations())


def test_binary_data_is_one_line_of_padded_base64() -> None:
    data = bytes(range(256)) * 4

    wire = json.loads(msgspec.json.encode(ImageContent(data, "image/png")))

    assert wire["data"] == base64.b64encode(data).decode()


@pytest.mark.parametrize("members", [{}, {"text": "", "blob": b""}])
def test_resource_contents_are_either_text_or_blob(members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either text or blob"):
        ResourceContents("shop://a", **members)


@pytest.mark.parametrize("rest", ["", ', "text": "", "blob": ""'])
def test_decoded_resource_contents_are_either_text_or_blob(rest: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="either text or blob"):
        msgspec.json.decode(f'{{"uri": "shop://a"{rest}}}', type=ResourceContents)


def test_resource_link_is_a_resource_with_a_type() -> None:
    wire = json.loads(msgspec.json.encode(LINK))
    del wire["type"]

    assert isinstance(LINK, Resource)
    assert msgspec.convert(wire, Resource) == Resource(
        "shop://orders/7", "Order 7", mime_type="text/html", size=0
    )


def test_icon_says_what_it_suits() -> None:
    icon = Icon("https://example.com/a.svg", "image/svg+xml", ["any"], "dark")

    assert json.loads(msgspec.json.encode(icon)) == {
        "src": "https://example.com/a.svg",
        "mimeType": "image/svg+xml",
        "sizes": ["any"],
        "theme": "dark",
    }
