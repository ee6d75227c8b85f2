"""The codes and the exception of the client."""

import pytest

from mcp_channels.client import errors
from mcp_channels.client.errors import ConnectionFailed

CODES = {name: value for name, value in vars(errors).items() if name.isupper()}


def test_codes_are_nobody_elses():
    # JSON-RPC keeps -32768 to -32000 for itself, and MCP a part of that.
    assert len(set(CODES.values())) == len(CODES) == 4
    assert not any(-32768 <= code <= -32000 for code in CODES.values())


def test_failure_says_what_it_knows():
    with pytest.raises(ConnectionError, match="gone") as caught:
        raise ConnectionFailed("gone", code=1006)
    failure = caught.value

    assert isinstance(failure, ConnectionFailed)
    assert (failure.reason, failure.code, failure.status) == ("gone", 1006, None)
    assert (failure.is_final, failure.retry_after) == (False, 0.0)
