from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
)
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels.auth import (
    Refused,
    admit,
    authenticate,
    choose_subprotocol,
    renew,
)
from mcp_channels.protocol.versions import Revision
from mcp_channels.server.permissions import (
    EndpointPolicy,
    Identity,
    Requirement,
    TokenGrant,
)
from tests.sites import Clerk

Headers = list[tuple[bytes, bytes]]

SITE = (b"origin", b"http://testserver")


def make_scope(*headers: tuple[bytes, bytes], **scope: Any) -> dict[str, Any]:
    """Return a scope with these headers, and a Host if there is none."""
    if not any(name.lower() == b"host" for name, _ in headers):
        headers = ((b"host", b"testserver"), *headers)
    return {"type": "websocket", "path": "/ws", "headers": [*headers], **scope}


async def status_of(
    scope: dict[str, Any], endpoint: EndpointPolicy | None = None
) -> int | None:
    """Return the HTTP status of a refusal, None when `scope` is let in."""
    try:
        await authenticate(scope, endpoint)
    except Refused as exc:
        assert str(exc) == exc.reason
        return exc.status
    return None


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
async def test_host_must_be_one_that_is_served(
    settings: DjangoSettings,
    allowed: list[str],
    debug: bool,
    host: str,
    status: int | None,
) -> None:
    settings.ALLOWED_HOSTS = allowed
    settings.DEBUG = debug

    assert await status_of(make_scope((b"host", host.encode()))) == status


async def test_absent_host_is_refused() -> None:
    assert await status_of({"type": "websocket", "headers": []}) == 403


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
async def test_origin_must_be_the_sites_own(
    settings: DjangoSettings, origin: str, host: str, scheme: str, status: int | None
) -> None:
    settings.ALLOWED_HOSTS = ["shop.example", "[::1]"]
    headers = (b"host", host.encode()), (b"origin", origin.encode("latin-1"))

    assert await status_of(make_scope(*headers, scheme=scheme)) == status


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
async def test_origin_may_be_a_listed_one(
    settings: DjangoSettings, origin: str, status: int | None
) -> None:
    settings.MCP_CHANNELS = {
        "ALLOW_ANONYMOUS": True,
        "ALLOWED_ORIGINS": ["https://App.example", "vscode-file://vscode-app"],
    }

    assert await status_of(make_scope((b"origin", origin.encode()))) == status


@pytest.mark.parametrize("origin", [b"https://evil.example", b"null", b""])
async def test_origin_may_be_anything_where_all_are_listed(
    settings: DjangoSettings, origin: bytes
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": True, "ALLOWED_ORIGINS": ["*"]}

    assert await status_of(make_scope((b"origin", origin))) is None


async def test_absent_origin_is_no_page_and_let_in() -> None:
    assert await status_of(make_scope()) is None


async def test_scheme_is_plain_where_the_server_does_not_say() -> None:
    assert await status_of(make_scope(SITE)) is None


@pytest.mark.parametrize("name", [b"host", b"Origin", b"AUTHORIZATION"])
async def test_header_that_decides_must_not_come_twice(name: bytes) -> None:
    with pytest.raises(Refused, match=f"More than one {name.decode().lower()}") as e:
        await authenticate(make_scope((name, b"testserver"), (name, b"testserver")))

    assert e.value.status == 400


async def test_other_headers_may_come_twice() -> None:
    forwarded = (b"x-forwarded-for", b"192.0.2.1")

    assert await status_of(make_scope(forwarded, forwarded)) is None


# Who it is


@pytest.mark.parametrize(("is_open", "status"), [(True, None), (False, 401)])
async def test_nobody_is_let_in_only_where_that_is_allowed(
    settings: DjangoSettings, is_open: bool, status: int | None
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": is_open}

    assert await status_of(make_scope()) == status
    assert await status_of(make_scope(user=AnonymousUser())) == status


async def test_anonymous_identity_has_the_anonymous_user() -> None:
    identity = await authenticate(make_scope())

    assert identity.user == AnonymousUser()
    assert identity.principal == "anonymous"


async def test_user_may_be_given_by_a_middleware() -> None:
    user = get_user_model()(pk=7, username="ada")

    identity = await authenticate(make_scope(user=user))

    assert identity.user is user


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], None),
        ([(b"cookie", b"sessionid=x")], 403),
        ([(b"cookie", b"sessionid=x"), SITE], None),
        ([(b"cookie", b"sessionid=x"), (b"origin", b"https://evil.example")], 403),
    ],
)
@pytest.mark.parametrize("allowed", [[], ["*"]])
async def test_user_that_came_with_a_cookie_needs_a_page_of_the_site(
    settings: DjangoSettings, headers: Headers, status: int | None, allowed: list[str]
) -> None:
    settings.MCP_CHANNELS = {"ALLOWED_ORIGINS": allowed}
    user = get_user_model()(pk=7, username="ada")

    assert await status_of(make_scope(*headers, user=user)) == status


@pytest.mark.parametrize("value", [b"Bearer abc", b"bearer abc", b"BEARER  abc"])
async def test_bearer_token_is_refused_rather_than_ignored(value: bytes) -> None:
    user = get_user_model()(pk=7, username="ada")

    for scope in (make_scope(), make_scope(user=user)):
        scope["headers"].append((b"authorization", value))
        assert await status_of(scope) == 401


async def test_other_authorization_is_left_to_the_site() -> None:
    # Such as that of a proxy in front of a site that is not public yet.
    assert await status_of(make_scope((b"authorization", b"Basic YTpi"))) is None


# Sessions


@pytest.fixture
def ada(transactional_db: None) -> AbstractUser:
    # Committed: a thread looks it up. The password only needs to differ from another,
    # and hashing one takes its time.
    return get_user_model().objects.create(username="ada", password="hashed")


def log_in(user: AbstractUser, **data: Any) -> SessionStore:
    """Return a session as django.contrib.auth.login() leaves it."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = django_settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.update(data)
    session.save()
    return session


def cookie(session: SessionStore, name: str = "sessionid") -> tuple[bytes, bytes]:
    return b"cookie", f"csrftoken=x; {name}={session.session_key}".encode()


@pytest.fixture
def session(ada: AbstractUser) -> SessionStore:
    return log_in(ada)


async def who(*headers: tuple[bytes, bytes]) -> str:
    """Return the name of who comes with these headers and with a page of the site."""
    return (await authenticate(make_scope(SITE, *headers))).user.get_username()


async def test_session_cookie_says_who_it_is(
    ada: AbstractUser, session: SessionStore
) -> None:
    identity = await authenticate(make_scope(SITE, cookie(session)))

    assert identity.user == ada
    assert identity.principal == f"user:{ada.pk}"


async def test_session_cookie_has_the_name_that_the_site_gave_it(
    session: SessionStore, settings: DjangoSettings
) -> None:
    settings.SESSION_COOKIE_NAME = "shop"

    assert await who(cookie(session)) == ""
    assert await who(cookie(session, "shop")) == "ada"


async def test_cookies_may_come_in_several_headers(session: SessionStore) -> None:
    assert await who(cookie(session), (b"cookie", b"theme=dark")) == "ada"
    assert await who((b"cookie", b"theme=dark"), cookie(session)) == "ada"


async def test_session_cookie_without_an_origin_is_refused(
    session: SessionStore,
) -> None:
    with pytest.raises(Refused, match="Origin of a known site") as caught:
        await authenticate(make_scope(cookie(session)))

    assert caught.value.status == 403


async def test_cookie_of_nobody_needs_no_origin() -> None:
    assert await status_of(make_scope((b"cookie", b"theme=dark"))) is None


async def test_session_cookie_is_not_for_every_page(
    session: SessionStore, settings: DjangoSettings
) -> None:
    settings.MCP_CHANNELS = {
        "ALLOW_ANONYMOUS": True,
        "ALLOWED_ORIGINS": ["*", "https://app.example"],
    }
    evil, listed = (
        make_scope((b"origin", origin), cookie(session))
        for origin in (b"https://evil.example", b"https://app.example")
    )

    assert await status_of(evil) == 403
    assert await status_of(listed) is None


async def spoil_expired(ada: AbstractUser, session: SessionStore) -> None:
    session.set_expiry(timedelta(seconds=-1))
    await session.asave()


async def spoil_flushed(ada: AbstractUser, session: SessionStore) -> None:
    await session.adelete(session.session_key)


async def spoil_empty(ada: AbstractUser, session: SessionStore) -> None:
    await session.apop(SESSION_KEY)
    await session.asave()


async def spoil_password(ada: AbstractUser, session: SessionStore) -> None:
    ada.password = "changed"
    await ada.asave()


async def spoil_activity(ada: AbstractUser, session: SessionStore) -> None:
    ada.is_active = False
    await ada.asave()


async def spoil_user(ada: AbstractUser, session: SessionStore) -> None:
    await ada.adelete()


async def spoil_backend(ada: AbstractUser, session: SessionStore) -> None:
    await session.aset(BACKEND_SESSION_KEY, "no.longer.Here")
    await session.asave()


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_expired,
        spoil_flushed,
        spoil_empty,
        spoil_password,
        spoil_activity,
        spoil_user,
        spoil_backend,
    ],
)
async def test_session_that_is_over_is_nobodys(
    ada: AbstractUser, session: SessionStore, settings: DjangoSettings, spoil: Any
) -> None:
    key = cookie(session)
    await spoil(ada, session)

    assert await who(key) == ""
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": False}
    assert await status_of(make_scope(SITE, key)) == 401


@pytest.mark.parametrize("key", ["", "x", "../../etc/passwd", "a" * 10_000, "%00"])
@pytest.mark.usefixtures("transactional_db")
async def test_session_cookie_of_a_guesser_is_nobodys(key: str) -> None:
    assert await who((b"cookie", f"sessionid={key}".encode())) == ""


async def test_session_cookie_is_nobodys_without_the_sessions_app(
    session: SessionStore, settings: DjangoSettings
) -> None:
    key = cookie(session)
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "django.contrib.sessions"
    ]

    assert await who(key) == ""


# Subprotocols


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["mcp"], "mcp"),
        (["graphql-ws", "mcp"], "mcp"),
        (["mcp.version.2025-06-18", "mcp"], "mcp"),
        (["mcp.auth.secret", "mcp"], "mcp"),
        (["mcp.auth.mcp", "mcp.version.2025-06-18"], "mcp.version.2025-06-18"),
        *(
            ([f"mcp.version.{revision.value}"], f"mcp.version.{revision.value}")
            for revision in Revision
        ),
        (
            [
                "mcp.version.2099-01-01",
                "mcp.version.2025-03-26",
                "mcp.version.2025-11-25",
            ],
            "mcp.version.2025-03-26",
        ),
        # Whatever is chosen is sent back in a header, and logged on the way.
        (["mcp.auth.secret"], None),
        (["mcp.auth.secret", "mcp.auth.other"], None),
    ],
)
def test_subprotocol_is_chosen_of_what_is_offered(
    offered: list[str], chosen: str | None
) -> None:
    assert choose_subprotocol(offered) == chosen


@pytest.mark.parametrize(
    "offered",
    [
        ["graphql-ws"],
        ["MCP"],
        [""],
        ["mcp.version.2099-01-01"],
        ["mcp.version."],
        ["mcp.version"],
        ["version.2025-06-18"],
        ["mcp.versions.2025-06-18"],
        ["mcp.auth"],
        ["mcp.auth.secret", "graphql-ws"],
        ["mcp.auth.secret", "mcp.version.2099-01-01"],
    ],
)
def test_subprotocols_that_are_not_spoken_are_refused(offered: list[str]) -> None:
    with pytest.raises(Refused, match="The subprotocol to offer is mcp") as caught:
        choose_subprotocol(offered)

    assert caught.value.status == 400
    assert "secret" not in caught.value.reason


def test_subprotocols_may_be_given_by_any_iterable() -> None:
    assert choose_subprotocol(name for name in ("graphql-ws", "mcp")) == "mcp"


# Endpoints


@pytest.mark.parametrize(
    ("allowed", "of_settings", "status"),
    [
        (None, True, None),
        (None, False, 401),
        (True, False, None),
        (False, True, 401),
    ],
)
async def test_endpoint_decides_on_nobody_before_the_settings(
    settings: DjangoSettings, allowed: bool | None, of_settings: bool, status: int
) -> None:
    settings.MCP_CHANNELS = {"ALLOW_ANONYMOUS": of_settings}
    endpoint = EndpointPolicy(allow_anonymous=allowed)

    assert await status_of(make_scope(), endpoint) == status


async def test_identity_carries_the_endpoint() -> None:
    endpoint = EndpointPolicy(slug="staff")

    assert (await authenticate(make_scope(), endpoint)).endpoint is endpoint
    assert (await authenticate(make_scope())).endpoint == EndpointPolicy()


async def test_endpoint_may_be_for_some() -> None:
    endpoint = EndpointPolicy(requirement=Requirement(staff_only=True))
    users = [get_user_model()(pk=7, is_staff=is_staff) for is_staff in (True, False)]
    statuses = [await status_of(make_scope(user=user), endpoint) for user in users]

    assert statuses == [None, 403]


@pytest.mark.parametrize(
    ("endpoints", "slug", "is_admitted"),
    [
        ([], "", True),
        ([], "staff", True),
        (["staff"], "staff", True),
        (["staff", ""], "", True),
        (["staff"], "", False),
        (["staff"], "shop", False),
    ],
)
def test_token_is_for_its_endpoints(
    endpoints: list[str], slug: str, is_admitted: bool
) -> None:
    identity = Identity(
        get_user_model()(pk=7),
        TokenGrant(pk="1", name="ci", endpoints=frozenset(endpoints)),
        EndpointPolicy(slug=slug),
    )
    if is_admitted:
        admit(identity)
    else:
        with pytest.raises(Refused, match="other endpoints"):
            admit(identity)


# Looking again


def test_user_is_looked_up_again(ada: AbstractUser) -> None:
    endpoint = EndpointPolicy(slug="staff")
    identity = Identity(ada, endpoint=endpoint)
    get_user_model().objects.update(email="ada@example.com")
    found = renew(identity)

    assert found is not None
    assert (found.user, found.endpoint) == (ada, endpoint)
    assert found.user.email == "ada@example.com"
    # A call that is at work keeps what it has.
    assert ada.email == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda users: users.update(is_active=False),
        lambda users: users.delete(),
    ],
)
def test_user_that_is_gone_is_nobody(ada: AbstractUser, change: Any) -> None:
    identity = Identity(ada)
    change(get_user_model().objects.filter(pk=ada.pk))

    assert renew(identity) is None


@pytest.mark.parametrize("user", [AnonymousUser(), Clerk("a.b")])
def test_user_without_a_row_stays(user: Any) -> None:
    found = renew(Identity(user))

    assert found is not None
    assert found.user is user


@pytest.mark.parametrize(("seconds", "is_over"), [(60, False), (0, True), (-60, True)])
def test_identity_ends_when_it_expires(seconds: float, is_over: bool) -> None:
    expires_at = timezone.now() + timedelta(seconds=seconds)
    found = renew(Identity(AnonymousUser(), expires_at=expires_at))

    assert (found is None) is is_over


def test_identity_may_know_how_to_look() -> None:
    other = Identity(AnonymousUser())
    past = timezone.now() - timedelta(seconds=1)

    assert renew(Identity(Clerk(), expires_at=past, renew=lambda: other)) is other  # type: ignore[arg-type]
    assert renew(Identity(Clerk(), renew=lambda: None)) is None  # type: ignore[arg-type]
