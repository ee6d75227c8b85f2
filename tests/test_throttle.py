import logging
from typing import Any

import pytest
from django.core.cache import cache, caches
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import throttle
from mcp_channels.throttle import address_of, count_failure, is_throttled

MEMORY = "django.core.cache.backends.locmem.LocMemCache"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        # A socket file, or a test.
        ("", ""),
        (None, ""),
        ("testclient", ""),
    ],
)
def test_attempts_are_counted_by_who_is_connected(
    peer: str | None, address: str
) -> None:
    for forwarded in ("", "203.0.113.5", "203.0.113.5, 203.0.113.6"):
        assert address_of(peer, forwarded) == address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (1, "203.0.113.5", "203.0.113.5"),
        (1, "evil, 203.0.113.5", "203.0.113.5"),
        (1, "203.0.113.9, 203.0.113.5", "203.0.113.5"),
        (2, "203.0.113.9, 203.0.113.5,10.0.0.1", "203.0.113.5"),
        (1, "2001:db8::1", "2001:db8::/64"),
        # It did not come through them all, or they do not say.
        (2, "203.0.113.5", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "unknown", "192.0.2.1"),
        (1, "203.0.113.5, ", "192.0.2.1"),
    ],
)
def test_proxies_are_believed_as_far_as_they_are_known(
    settings: DjangoSettings, proxies: int, forwarded: str, address: str
) -> None:
    settings.MCP_CHANNELS = {"TRUSTED_PROXIES": proxies}

    assert address_of("192.0.2.1", forwarded) == address


def test_failures_are_counted_up_to_the_limit(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"MAX_FAILED_ATTEMPTS": 3}
    throttled = []
    for _ in range(4):
        throttled.append(is_throttled("192.0.2.1"))
        count_failure("192.0.2.1")

    assert throttled == [False, False, False, True]
    assert not is_throttled("192.0.2.2")


def test_failures_are_forgotten(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {"MAX_FAILED_ATTEMPTS": 1}
    count_failure("192.0.2.1")
    assert is_throttled("192.0.2.1")

    cache.delete(throttle._key("192.0.2.1"))

    assert not is_throttled("192.0.2.1")


def test_failures_are_counted_for_a_while_only(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[Any] = []
    add = cache.add

    def note(key: str, value: int, timeout: Any) -> Any:
        times.append(timeout)
        return add(key, value, timeout)

    monkeypatch.setattr(caches["default"], "add", note)
    count_failure("192.0.2.1")

    assert times == [60]


@pytest.mark.parametrize(("limit", "address"), [(None, "192.0.2.1"), (1, "")])
def test_without_a_limit_or_an_address_nothing_is_counted(
    settings: DjangoSettings, limit: int | None, address: str
) -> None:
    settings.MCP_CHANNELS = {"MAX_FAILED_ATTEMPTS": limit}
    for _ in range(3):
        count_failure(address)

    assert not is_throttled(address)


def test_failures_are_counted_in_the_cache_of_the_setting(
    settings: DjangoSettings,
) -> None:
    settings.CACHES = {
        "default": {"BACKEND": MEMORY, "LOCATION": "a"},
        "shared": {"BACKEND": MEMORY, "LOCATION": "b"},
    }
    settings.MCP_CHANNELS = {"CACHE": "shared", "MAX_FAILED_ATTEMPTS": 1}
    count_failure("192.0.2.1")

    assert caches["shared"].get(throttle._key("192.0.2.1")) == 1
    assert caches["default"].get(throttle._key("192.0.2.1")) is None


class Away:
    """A cache that is away, or forgets."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get(self, key: str, default: Any) -> Any:
        raise self.error

    def add(self, key: str, value: int, timeout: int) -> bool:
        return False

    def incr(self, key: str) -> int:
        raise self.error


def test_without_the_cache_nobody_is_kept_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(throttle, "_cache", lambda: Away(ConnectionError("away")))
    count_failure("192.0.2.1")

    assert not is_throttled("192.0.2.1")
    assert caplog.messages == ["Failed attempts are not counted"] * 2


def test_failure_that_was_just_forgotten_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(throttle, "_cache", lambda: Away(ValueError("no such key")))
    with caplog.at_level(logging.WARNING, "mcp_channels"):
        count_failure("192.0.2.1")

    assert not caplog.messages
