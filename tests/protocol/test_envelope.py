from typing import Any

import mcp_types as reference
import msgspec
import pytest

from mcp_channels.protocol import envelope
from mcp_channels.protocol.envelope import (
    CLIENT_CAPABILITIES,
    CLIENT_INFO,
    LOG_LEVEL,
    PROTOCOL_VERSION,
    read_envelope,
    read_meta,
)
from mcp_channels.protocol.errors import InvalidParams, UnsupportedProtocolVersion
from mcp_channels.protocol.types import LOGGING_LEVELS
from mcp_channels.protocol.versions import HANDSHAKE_REVISIONS, Revision

META = {PROTOCOL_VERSION: "2026-07-28", CLIENT_CAPABILITIES: {}}


def test_keys_are_those_of_the_reference() -> None:
    assert reference.PROTOCOL_VERSION_META_KEY == PROTOCOL_VERSION
    assert reference.CLIENT_CAPABILITIES_META_KEY == CLIENT_CAPABILITIES
    assert reference.CLIENT_INFO_META_KEY == CLIENT_INFO
    assert reference.LOG_LEVEL_META_KEY == LOG_LEVEL
    assert reference.SERVER_INFO_META_KEY == envelope.SERVER_INFO


# Finding it


def test_meta_is_read_out_of_params() -> None:
    params = msgspec.Raw(b'{"name":"x","_meta":{"progressToken":0,"a":[null]}}')

    assert read_meta(params) == {"progressToken": 0, "a": [None]}


@pytest.mark.parametrize(
    "params",
    [b"{}", b'{"_meta":null}', b'{"_meta":[]}', b'{"_meta":"x"}', b'{"meta":{}}'],
)
def test_params_without_an_object_for_meta_have_none(params: bytes) -> None:
    assert read_meta(msgspec.Raw(params)) is None


def test_absent_params_have_no_meta() -> None:
    assert read_meta(None) is None


def test_empty_meta_is_not_absent() -> None:
    assert read_meta(msgspec.Raw(b'{"_meta":{}}')) == {}


@pytest.mark.parametrize("params", [b"[]", b"1", b'"x"', b"true"])
def test_params_that_are_no_object_are_refused(params: bytes) -> None:
    with pytest.raises(InvalidParams, match="Expected `object`"):
        read_meta(msgspec.Raw(params))


def test_number_beyond_any_float_is_refused() -> None:
    with pytest.raises(InvalidParams, match="out of range"):
        read_meta(msgspec.Raw(b'{"_meta":{"a":1e999}}'))


# Reading it


def test_least_envelope_is_read() -> None:
    found = read_envelope(META)

    assert found.revision is Revision.V2026_07_28
    assert found.peer.info is None
    assert not found.peer.capabilities.declares("sampling")
    assert found.log_level is None


def test_whole_envelope_is_read() -> None:
    found = read_envelope(
        {
            PROTOCOL_VERSION: "2026-07-28",
            CLIENT_CAPABILITIES: {"sampling": {"tools": {}}, "unknown": 1},
            CLIENT_INFO: {"name": "c", "version": "1", "unknown": 1},
            LOG_LEVEL: "warning",
            "progressToken": 0,
        }
    )

    assert found.peer.info is not None
    assert (found.peer.info.name, found.peer.info.version) == ("c", "1")
    assert found.peer.capabilities.declares("sampling", "tools")
    assert found.log_level == "warning"


@pytest.mark.parametrize("level", LOGGING_LEVELS)
def test_every_level_is_known(level: str) -> None:
    assert read_envelope({**META, LOG_LEVEL: level}).log_level == level


@pytest.mark.parametrize(
    "missing",
    [
        {PROTOCOL_VERSION},
        {CLIENT_CAPABILITIES},
        {PROTOCOL_VERSION, CLIENT_CAPABILITIES},
    ],
)
def test_missing_keys_are_named(missing: set[str]) -> None:
    meta = {key: value for key, value in META.items() if key not in missing}

    with pytest.raises(InvalidParams) as caught:
        read_envelope(meta)

    assert {key for key in META if key in caught.value.message} == missing


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (PROTOCOL_VERSION, None),
        (PROTOCOL_VERSION, 20260728),
        (PROTOCOL_VERSION, ["2026-07-28"]),
        (CLIENT_CAPABILITIES, None),
        (CLIENT_CAPABILITIES, []),
        (CLIENT_CAPABILITIES, True),
        (LOG_LEVEL, "warn"),
        (LOG_LEVEL, "INFO"),
        (LOG_LEVEL, 3),
        (LOG_LEVEL, []),
        (CLIENT_INFO, {}),
        (CLIENT_INFO, {"name": "c"}),
        (CLIENT_INFO, {"name": 1, "version": "1"}),
        (CLIENT_INFO, "c"),
    ],
)
def test_malformed_value_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        read_envelope({**META, key: value})

    assert caught.value.code == -32602
    assert key in caught.value.message


@pytest.mark.parametrize("key", [CLIENT_INFO, LOG_LEVEL])
def test_optional_value_that_is_null_is_absent(key: str) -> None:
    assert read_envelope({**META, key: None}) == read_envelope(META)


@pytest.mark.parametrize(
    "version", ["", "2099-01-01", *[r.value for r in HANDSHAKE_REVISIONS]]
)
def test_version_that_is_no_modern_one_is_unsupported(version: str) -> None:
    with pytest.raises(UnsupportedProtocolVersion) as caught:
        read_envelope({**META, PROTOCOL_VERSION: version})

    assert caught.value.data == {"supported": ["2026-07-28"], "requested": version}


@pytest.mark.parametrize(
    "capabilities", [{"roots": True}, {"sampling": None}, {"elicitation": "form"}]
)
def test_capability_that_is_no_object_is_not_declared(
    capabilities: dict[str, Any],
) -> None:
    found = read_envelope({**META, CLIENT_CAPABILITIES: capabilities})

    assert not any(found.peer.capabilities.declares(name) for name in capabilities)
