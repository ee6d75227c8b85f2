from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import sessions
from mcp_channels.auth import Refused, authenticate, read_handshake, renew
from mcp_channels.models import digest_of
from mcp_channels.sessions import Session, find_living
from tests.handshakes import SITE, bearer, cookie, log_in, make_scope, status_of

Headers = list[tuple[bytes, bytes]]

# Of a middleware


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


# Sessions


@pytest.fixture
def ada(transactional_db: None) -> AbstractUser:
    # Committed: a thread looks it up. The password only needs to differ from another,
    # and hashing one takes its time.
    return get_user_model().objects.create(username="ada", password="hashed")


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


async def test_session_user_who_is_not_active_is_nobody(
    ada: AbstractUser, settings: DjangoSettings
) -> None:
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.AllowAllUsersModelBackend"
    ]
    session = await sync_to_async(log_in)(ada)
    assert await who(cookie(session)) == "ada"

    await get_user_model().objects.aupdate(is_active=False)

    assert await who(cookie(session)) == ""


async def test_session_outlives_a_change_of_the_secret_key(
    ada: AbstractUser, settings: DjangoSettings
) -> None:
    session = await sync_to_async(log_in)(ada)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    assert await who(cookie(session)) == ""

    settings.SECRET_KEY_FALLBACKS = [old]

    assert await who(cookie(session)) == "ada"


# What becomes of it


def identify(session: SessionStore) -> Any:
    return Session(session.session_key or "")()


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
def test_identity_does_not_outlive_its_session(
    ada: AbstractUser, session: SessionStore, spoil: Any
) -> None:
    identity = identify(session)

    assert renew(identity) is not None

    async_to_sync(spoil)(ada, session)

    assert renew(identity) is None


def test_identity_knows_its_session_by_a_digest(session: SessionStore) -> None:
    identity = identify(session)

    assert identity.session == digest_of(session.session_key or "")
    assert session.session_key not in repr(identity)


async def test_session_of_a_middleware_is_known(
    ada: AbstractUser, session: SessionStore
) -> None:
    scope = make_scope(SITE, cookie(session), user=ada, session=session)
    identity = await authenticate(scope)
    key = digest_of(session.session_key or "")

    assert (identity.session, identity.credential) == (key, "session")
    await session.aflush()
    assert await sync_to_async(renew)(identity) is None


async def test_user_of_a_middleware_without_a_session_is_looked_up(
    ada: AbstractUser,
) -> None:
    identity = await authenticate(make_scope(user=ada))

    assert identity.session == ""
    assert await sync_to_async(renew)(identity) == identity
    await get_user_model().objects.aupdate(is_active=False)
    assert await sync_to_async(renew)(identity) is None


async def test_user_of_a_middleware_who_is_not_active_is_nobody() -> None:
    user = get_user_model()(pk=7, username="ada", is_active=False)

    assert (await authenticate(make_scope(user=user))).user == AnonymousUser()


# Many at once


@pytest.mark.parametrize(
    "engine",
    [
        "django.contrib.sessions.backends.db",
        "django.contrib.sessions.backends.cached_db",
        "django.contrib.sessions.backends.cache",
        "django.contrib.sessions.backends.signed_cookies",
    ],
)
def test_living_sessions_are_found_whatever_keeps_them(
    ada: AbstractUser, settings: DjangoSettings, engine: str
) -> None:
    settings.SESSION_ENGINE = engine
    store = import_module(engine).SessionStore

    def open_session(seconds: int) -> str:
        session = store()
        session["a"] = 1
        session.set_expiry(seconds)
        session.save()
        return str(session.session_key)

    alive, ended = open_session(60), open_session(60)
    store(ended).flush()
    over = "x" * 32
    found = find_living([alive, ended, over])
    # What is in a cookie is nobody's to end.
    is_ended = "signed_cookies" not in engine

    assert found == ({alive} if is_ended else {alive, ended})
    assert find_living([]) == set()


def test_living_sessions_are_found_in_parts(
    session: SessionStore, ada: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {str(one.session_key) for one in (session, log_in(ada), log_in(ada))}
    monkeypatch.setattr(sessions, "_AT_ONCE", 2)

    assert find_living(keys) == keys


async def test_cookie_says_nothing_of_who_comes_with_a_credential(
    session: SessionStore, settings: DjangoSettings
) -> None:
    settings.MCP_CHANNELS = {"ALLOWED_ORIGINS": ["*"]}
    handshake = read_handshake(
        make_scope(
            (b"origin", b"https://evil.example"), cookie(session), bearer("token")
        )
    )

    assert await sync_to_async(sessions.authenticate)(handshake) is None
