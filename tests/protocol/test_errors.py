import mcp_types as reference
import pytest
from msgspec import UNSET

from mcp_channels.protocol import errors
from mcp_channels.protocol.errors import (
    InternalError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    MissingClientCapability,
    ParseError,
    ProtocolError,
    ResourceNotFound,
    UnsupportedProtocolVersion,
)
from mcp_channels.protocol.versions import (
    HANDSHAKE_REVISIONS,
    MODERN_REVISIONS,
    Revision,
)

EVERY = [None, *Revision]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (errors.PARSE_ERROR, "PARSE_ERROR"),
        (errors.INVALID_REQUEST, "INVALID_REQUEST"),
        (errors.METHOD_NOT_FOUND, "METHOD_NOT_FOUND"),
        (errors.INVALID_PARAMS, "INVALID_PARAMS"),
        (errors.INTERNAL_ERROR, "INTERNAL_ERROR"),
        (errors.URL_ELICITATION_REQUIRED, "URL_ELICITATION_REQUIRED"),
        (errors.HEADER_MISMATCH, "HEADER_MISMATCH"),
        (errors.MISSING_CLIENT_CAPABILITY, "MISSING_REQUIRED_CLIENT_CAPABILITY"),
        (errors.UNSUPPORTED_PROTOCOL_VERSION, "UNSUPPORTED_PROTOCOL_VERSION"),
    ],
)
def test_codes_are_those_of_the_reference(code: int, name: str) -> None:
    assert code == getattr(reference, name)


def test_code_for_a_missing_resource_is_that_of_the_text() -> None:
    # The reference has none: its servers say -32602 in every revision.
    assert errors.RESOURCE_NOT_FOUND == -32002


@pytest.mark.parametrize("revision", EVERY)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ParseError("x"), -32700),
        (InvalidRequest("x"), -32600),
        (MethodNotFound("x"), -32601),
        (InvalidParams("x"), -32602),
        (InternalError(), -32603),
        (UnsupportedProtocolVersion("x"), -32022),
        (ProtocolError("x"), -32603),
        (ProtocolError("x", code=7), 7),
        (ProtocolError("x", code=0), 0),
    ],
)
def test_code_is_the_same_in_every_revision(
    error: ProtocolError, code: int, revision: Revision | None
) -> None:
    assert error.code == error.code_for(revision) == code


def test_error_is_raised_with_its_message() -> None:
    with pytest.raises(ProtocolError, match="Already paid") as caught:
        raise InvalidParams("Already paid", data={"order": 7})

    assert caught.value.message == "Already paid"
    assert caught.value.data == {"order": 7}


def test_data_that_is_null_is_not_absent() -> None:
    assert ProtocolError("x", data=None).data is None
    assert ProtocolError("x").data is UNSET


def test_code_of_one_error_is_not_that_of_its_kind() -> None:
    InvalidParams("x", code=7)

    assert InvalidParams.code == InvalidParams("x").code == -32602


def test_internal_error_tells_nothing() -> None:
    assert InternalError().message == "Internal error"


def test_hostile_method_name_is_cut() -> None:
    assert MethodNotFound("x" * 10_000).message == f"Method not found: {'x' * 100}"


def test_missing_resource_has_the_code_of_its_revision() -> None:
    error = ResourceNotFound("shop://orders/7")

    assert isinstance(error, InvalidParams)
    assert error.data == {"uri": "shop://orders/7"}
    assert {error.code_for(r) for r in (None, *HANDSHAKE_REVISIONS)} == {-32002}
    assert {error.code_for(r) for r in MODERN_REVISIONS} == {-32602}


def test_missing_capability_has_its_code_where_there_is_one() -> None:
    error = MissingClientCapability({"elicitation": {"form": {}}})

    assert error.data == {"requiredCapabilities": {"elicitation": {"form": {}}}}
    assert {error.code_for(r) for r in HANDSHAKE_REVISIONS} == {-32603}
    assert {error.code_for(r) for r in (None, *MODERN_REVISIONS)} == {-32021}


def test_unsupported_version_names_only_modern_ones() -> None:
    error = UnsupportedProtocolVersion("2099-01-01")

    assert error.data == {"supported": ["2026-07-28"], "requested": "2099-01-01"}


def test_hostile_version_is_cut() -> None:
    assert UnsupportedProtocolVersion("9" * 10_000).data["requested"] == "9" * 100
