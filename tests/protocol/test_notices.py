"""Notices are worded for each era, and encoded once for all who get the same bytes."""

import json
from typing import Any

import pytest

from mcp_channels.protocol.envelope import SUBSCRIPTION_ID
from mcp_channels.protocol.notices import encode_list_changed, encode_resource_updated


@pytest.mark.parametrize("kind", ["tools", "prompts", "resources"])
def test_client_with_a_handshake_gets_no_params(kind: str) -> None:
    assert json.loads(encode_list_changed(kind, None)) == {
        "jsonrpc": "2.0",
        "method": f"notifications/{kind}/list_changed",
        "params": {},
    }


@pytest.mark.parametrize("id", [0, 1, "1", "", 2**60])
def test_listen_gets_its_id(id: Any) -> None:
    frame = json.loads(encode_list_changed("tools", id))

    assert frame["params"] == {"_meta": {SUBSCRIPTION_ID: id}}
    assert type(frame["params"]["_meta"][SUBSCRIPTION_ID]) is type(id)


def test_updated_resource_is_named() -> None:
    plain = json.loads(encode_resource_updated("shop://a", None))
    tagged = json.loads(encode_resource_updated("shop://a", 7))

    assert plain["method"] == tagged["method"] == "notifications/resources/updated"
    assert plain["params"] == {"uri": "shop://a"}
    assert tagged["params"] == {"uri": "shop://a", "_meta": {SUBSCRIPTION_ID: 7}}


def test_same_bytes_are_encoded_once() -> None:
    assert encode_list_changed("tools", 1) is encode_list_changed("tools", 1)
    assert encode_list_changed("tools", 1) != encode_list_changed("tools", "1")
    assert encode_resource_updated("a:b", None) is encode_resource_updated("a:b", None)
    assert encode_resource_updated("a:b", None) != encode_resource_updated("a:c", None)
