import pytest
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels.origins import is_allowed_host, is_known_origin

# Host


@pytest.mark.parametrize(
    ("allowed", "debug", "host", "status"),
    [
        (["shop.example"], False, "shop.example", None),
        (["shop.example"], False, "shop.example:8000", None),
        (["shop.example"], False, "SHOP.example", None),
        ([".example"], False, "shop.example", None),
        (["*"], False, "anything.example", None),
        # A name of the attacker's that resolves to this machine.
        (["shop.example"], False, "evil.example", 403),
        (["shop.example"], False, "shop.example.evil.example", 403),
        (["shop.example"], False, "127.0.0.1", 403),
        (["shop.example"], False, "", 403),
        (["*"], False, "", 403),
        (["*"], False, "shop example", 403),
        (["*"], False, "shop.example/path", 403),
        # As Django's own requests: loopback only, and only when debugging.
        ([], True, "localhost:8000", None),
        ([], True, "shop.localhost", None),
        ([], True, "127.0.0.1:8000", None),
        ([], True, "[::1]:8000", None),
        ([], True, "evil.example", 403),
        ([], False, "localhost", 403),
        (["shop.example"], True, "localhost", 403),
    ],
)
def test_host_must_be_one_that_is_served(
    settings: DjangoSettings,
    allowed: list[str],
    debug: bool,
    host: str,
    status: int | None,
) -> None:
    settings.ALLOWED_HOSTS = allowed
    settings.DEBUG = debug

    assert is_allowed_host(host) is (status is None)


# Origin


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "status"),
    [
        # The site's own.
        ("http://shop.example", "shop.example", "ws", None),
        ("http://shop.example:8000", "shop.example:8000", "ws", None),
        ("HTTP://Shop.Example", "shop.example", "ws", None),
        ("http://shop.example", "SHOP.example", "ws", None),
        ("http://shop.example:80", "shop.example", "ws", None),
        ("http://shop.example", "shop.example:80", "ws", None),
        ("https://shop.example", "shop.example", "wss", None),
        ("https://shop.example:443", "shop.example", "wss", None),
        ("https://shop.example", "shop.example:443", "wss", None),
        ("http://[::1]:8000", "[::1]:8000", "ws", None),
        # A proxy ended TLS, and said so to nobody.
        ("https://shop.example", "shop.example", "ws", None),
        ("https://shop.example", "shop.example:443", "ws", None),
        # Somebody else's.
        ("http://shop.example:8001", "shop.example:8000", "ws", 403),
        ("http://shop.example:8000", "shop.example", "ws", 403),
        ("https://shop.example", "shop.example:80", "ws", 403),
        ("http://evil.example", "shop.example", "ws", 403),
        ("https://evil.example", "shop.example", "wss", 403),
        ("http://shop.example.evil.example", "shop.example", "ws", 403),
        ("http://evil.shop.example", "shop.example", "ws", 403),
        # Anybody on the way may have written a page that came without TLS.
        ("http://shop.example", "shop.example", "wss", 403),
        ("ftp://shop.example", "shop.example", "ws", 403),
        ("ws://shop.example", "shop.example", "ws", 403),
        # A sandboxed frame, a file, a redirect; and what is no origin at all.
        ("null", "shop.example", "ws", 403),
        ("", "shop.example", "ws", 403),
        ("shop.example", "shop.example", "ws", 403),
        ("http://", "shop.example", "ws", 403),
        ("http://shop.example/", "shop.example", "ws", 403),
        ("http://shop.example?page", "shop.example", "ws", 403),
        ("http://shop.example:port", "shop.example", "ws", 403),
        ("http://shop.example:99999", "shop.example", "ws", 403),
        ("http://[shop.example", "shop.example", "ws", 403),
        ("\xff", "shop.example", "ws", 403),
    ],
)
def test_origin_must_be_the_sites_own(
    origin: str, host: str, scheme: str, status: int | None
) -> None:
    assert is_known_origin(origin, host, scheme) is (status is None)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://app.example", None),
        ("HTTPS://APP.example:443", None),
        ("vscode-file://vscode-app", None),
        ("http://testserver", None),
        ("http://app.example", 403),
        ("https://app.example:8443", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ],
)
def test_origin_may_be_a_listed_one(
    settings: DjangoSettings, origin: str, status: int | None
) -> None:
    settings.MCP_CHANNELS = {
        "ALLOW_ANONYMOUS": True,
        "ALLOWED_ORIGINS": ["https://App.example", "vscode-file://vscode-app"],
    }

    assert is_known_origin(origin, "testserver", "ws") is (status is None)
