"""The options of a client: what is refused, and what is never printed."""

import ssl

import pytest

from mcp_channels.client.configuration import WebSocketConfig

URL = "wss://example.com/ws"


def test_url_is_enough():
    config = WebSocketConfig(URL)

    assert config.auto_reconnect
    assert config.token is None


@pytest.mark.parametrize(
    "url", ["http://example.com/ws", "ws:///ws", "ws", "", "ws://[x/", "ws://a:x/"]
)
def test_url_that_is_none_is_refused_without_showing_it(url):
    with pytest.raises(ValueError, match="url must be like"):
        WebSocketConfig(url)


def test_url_with_a_fragment_is_refused():
    with pytest.raises(ValueError, match="leave out what follows '#'"):
        WebSocketConfig(f"{URL}#x")


def test_ssl_needs_an_encrypted_url():
    context = ssl.create_default_context()
    assert WebSocketConfig(URL, ssl=context).ssl is context

    with pytest.raises(ValueError, match="ssl needs a wss:// url"):
        WebSocketConfig("ws://example.com/ws", ssl=context)


@pytest.mark.parametrize(
    ("url", "headers"),
    [(URL, {"authorization": "Basic x"}), ("wss://ada:moby@example.com/ws", {})],
)
def test_two_credentials_are_one_too_many(url, headers):
    WebSocketConfig(url, headers=headers)

    with pytest.raises(ValueError, match="Give one credential"):
        WebSocketConfig(url, headers=headers, token="t")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "sesame\r\nX-B: b"),
        ("X-A", "sesame\u00e9"),
        ("X A", "sesame"),
        ("", "sesame"),
        ("X-A:", "sesame"),
    ],
)
def test_header_that_is_none_is_refused_without_showing_it(name, value):
    with pytest.raises(ValueError, match="not allowed") as caught:
        WebSocketConfig(URL, headers={name: value})

    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "least"),
    [
        ("reconnect_delay", 0),
        ("max_reconnect_delay", 0),
        ("max_reconnect_attempts", 0),
        ("max_message_size", 1),
    ],
)
def test_option_has_a_lowest_value(option, least):
    WebSocketConfig(URL, **{option: least})
    for value in (least - 1, float("nan")):
        with pytest.raises(ValueError, match=f"{option} must be at least {least}"):
            WebSocketConfig(URL, **{option: value})


@pytest.mark.parametrize(
    "option", ["open_timeout", "ping_interval", "ping_timeout", "request_timeout"]
)
def test_time_is_more_than_nothing_or_none(option):
    for value in (0.001, None):
        assert getattr(WebSocketConfig(URL, **{option: value}), option) == value
    for value in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=f"{option} must be more than 0 seconds"):
            WebSocketConfig(URL, **{option: value})


def test_what_may_be_secret_is_not_printed():
    config = WebSocketConfig(
        "wss://ada:moby@example.com:8443/ws?ticket=queequeg",
        headers={"Cookie": "sessionid=ishmael"},
        proxy="http://ahab:starbuck@proxy",
    )

    assert repr(config) == "WebSocketConfig('wss://example.com:8443/ws')"
    assert config.address == "wss://example.com:8443/ws"
    assert repr(WebSocketConfig(URL, token="t0ps3cret")) == f"WebSocketConfig({URL!r})"
