from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.utils import timezone
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels.auth import (
    Handshake,
    Refused,
    admit,
    authenticate,
    choose_subprotocol,
    read_handshake,
    renew,
    without_credentials,
)
from mcp_channels.protocol.versions import Revision
from mcp_channels.server.permissions import (
    EndpointPolicy,
    Identity,
    Requirement,
    TokenGrant,
)
from tests.handshakes import SITE, bearer, make_scope, status_of
from tests.sites import Clerk

# Host and Origin


async def test_absent_host_is_refused() -> None:
    assert await status_of({"type": "websocket", "headers": []}) == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"host", b"testserver")], None),
        ([(b"host", b"evil.example")], 403),
        ([(b"host", b"testserver"), SITE], None),
        ([(b"host", b"testserver"), (b"origin", b"https://evil.example")], 403),
    ],
)
async def test_host_and_origin_are_looked_at(headers: Any, status: int | None) -> None:
    assert await status_of(make_scope(*headers)) == status


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


@pytest.mark.parametrize("value", [b"Bearer abc", b"bearer abc", b"BEARER  abc"])
async def test_bearer_token_is_refused_rather_than_ignored(value: bytes) -> None:
    user = get_user_model()(pk=7, username="ada")

    for scope in (make_scope(), make_scope(user=user)):
        scope["headers"].append((b"authorization", value))
        assert await status_of(scope) == 401


async def test_other_authorization_is_left_to_the_site() -> None:
    # Such as that of a proxy in front of a site that is not public yet.
    assert await status_of(make_scope((b"authorization", b"Basic YTpi"))) is None


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


@pytest.fixture
def ada(transactional_db: None) -> AbstractUser:
    return get_user_model().objects.create(username="ada", password="hashed")


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
    past, later = (timezone.now() + timedelta(seconds=own) for own in (-1, 60))
    user, endpoint = Clerk(), EndpointPolicy(slug="staff")

    def look(finds: Identity | None) -> Identity | None:
        return renew(Identity(user, None, endpoint, past, renew=lambda: finds))  # type: ignore[arg-type]

    found = look(Identity(AnonymousUser(), expires_at=later))

    assert found is not None
    assert (found.user, found.endpoint) == (AnonymousUser(), endpoint)
    assert look(Identity(AnonymousUser(), expires_at=past)) is None
    assert look(None) is None


# Credentials that a site knows


def known_by_header(handshake: Handshake) -> Identity | None:
    name = handshake.headers.get("x-known-as")
    if name is None:
        return None
    if name == "evil":
        raise Refused(401, "Evil is not let in")
    return Identity(get_user_model()(pk=len(name), username=name), credential="header")


def known_by_bearer(handshake: Handshake) -> Identity | None:
    if handshake.bearer != "ada's":
        return None
    return Identity(get_user_model()(pk=3, username="ada"), credential="jwt")


def forbidden(handshake: Handshake) -> Identity | None:
    raise Refused(403, "This network is not let in")


def broken(handshake: Handshake) -> Identity | None:
    raise RuntimeError(f"{handshake!r}")


@pytest.fixture
def schemes(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {
        "AUTHENTICATORS": [
            f"{__name__}.known_by_header",
            f"{__name__}.known_by_bearer",
            "mcp_channels.sessions.authenticate",
        ]
    }


def header(name: str) -> tuple[bytes, bytes]:
    return b"x-known-as", name.encode()


@pytest.mark.usefixtures("schemes")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([header("ada")], None),
        ([header("evil")], 401),
        ([bearer("ada's")], None),
        ([bearer("bob's")], 401),
        ([header("ada"), bearer("ada's")], None),
        ([header("evil"), bearer("ada's")], 401),
        # Who is meant?
        ([header("grace"), bearer("ada's")], 401),
    ],
)
async def test_site_may_have_schemes_of_its_own(headers: Any, status: int) -> None:
    assert await status_of(make_scope(*headers)) == status


@pytest.mark.usefixtures("schemes")
@pytest.mark.parametrize(
    ("name", "status"), [("ada", None), ("grace", 401), ("", None)]
)
async def test_credential_and_session_must_be_of_one(name: str, status: int) -> None:
    user = get_user_model()(pk=len(name)) if name else AnonymousUser()

    assert await status_of(make_scope(bearer("ada's"), user=user)) == status


@pytest.mark.usefixtures("schemes")
async def test_identity_is_called_by_what_it_came_with() -> None:
    for headers, credential in [(header("ada"), "header"), (bearer("ada's"), "jwt")]:
        assert (await authenticate(make_scope(headers))).credential == credential


async def test_scheme_that_fails_lets_nobody_in(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {
        "ALLOW_ANONYMOUS": True,
        "AUTHENTICATORS": [f"{__name__}.broken"],
    }
    scope = make_scope(bearer("a secret"), (b"cookie", b"sessionid=a secret"))
    scope["query_string"] = b"ticket=a%20secret"
    with pytest.raises(RuntimeError) as caught:
        await authenticate(scope)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        ({}, None),
        ({"headers": [bearer("a")]}, "a"),
        ({"headers": [bearer(" a ")]}, "a"),
        ({"headers": [bearer("")]}, ""),
        ({"headers": [(b"Authorization", b"BEARER a")]}, "a"),
        ({"headers": [(b"authorization", b"bearer")]}, ""),
        ({"headers": [(b"authorization", b"Basic YTpi")]}, None),
        ({"headers": [(b"authorization", b"Bearera")]}, None),
        ({"subprotocols": ["mcp", "mcp.auth.a", "mcp.version.x"]}, "a"),
        ({"subprotocols": ["mcp.auth."]}, ""),
        ({"subprotocols": ["mcp.auth.a", "mcp.auth.a"]}, "a"),
        ({"headers": [bearer("a")], "subprotocols": ["mcp.auth.a"]}, "a"),
        ({"headers": [bearer("a" * 8192)]}, "a" * 8192),
    ],
)
def test_token_is_found_where_it_may_be(scope: Any, found: str | None) -> None:
    headers = scope.pop("headers", [])

    assert read_handshake(make_scope(*headers, **scope)).bearer == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", None),
        (b"ticket=a", "a"),
        (b"x=1&ticket=a&y=2", "a"),
        (b"ticket=", ""),
        (b"ticket", ""),
        (b"%74icket=a", "a"),
        (b"ticket=a&ticket=a", "a"),
        (b"tickets=a", None),
        (b"\xff&ticket=\xff", "\xff"),
    ],
)
def test_ticket_is_found_in_the_query(query: bytes, found: str | None) -> None:
    assert read_handshake(make_scope(query_string=query)).ticket == found


@pytest.mark.parametrize(
    "scope",
    [
        {"headers": [bearer("a")], "subprotocols": ["mcp.auth.b"]},
        {"headers": [bearer("")], "subprotocols": ["mcp.auth.b"]},
        {"subprotocols": ["mcp.auth.a", "mcp.auth.b"]},
        {"query_string": b"ticket=a&ticket=b"},
        {"query_string": b"ticket=a&%74icket=b"},
        {"headers": [bearer("a" * 8193)]},
        {"subprotocols": ["mcp.auth." + "a" * 8193]},
        {"query_string": b"ticket=" + b"a" * 8193},
    ],
)
async def test_credentials_that_contradict_or_are_too_long_are_refused(
    scope: Any,
) -> None:
    headers = scope.pop("headers", [])

    assert await status_of(make_scope(*headers, **scope)) == 401


@pytest.mark.parametrize("where", ["header", "subprotocol", "query"])
@pytest.mark.parametrize("value", ["", "x", "mcp_", "\x00", "Bearer x", "caf\xe9", "%"])
async def test_credential_that_nobody_knows_is_refused(
    settings: DjangoSettings, where: str, value: str
) -> None:
    settings.MCP_CHANNELS = {
        "ALLOW_ANONYMOUS": True,
        "AUTHENTICATORS": ["mcp_channels.tokens.authenticate"],
    }
    scopes = {
        "header": make_scope((b"authorization", b"Bearer " + value.encode("latin-1"))),
        "subprotocol": make_scope(subprotocols=["mcp", f"mcp.auth.{value}"]),
        "query": make_scope(query_string=b"ticket=" + value.encode("latin-1")),
    }

    assert await status_of(scopes[where]) == 401
    assert await status_of(make_scope()) is None


def test_scope_is_left_without_what_is_secret() -> None:
    scope = make_scope(
        bearer("secret"),
        (b"Authorization", b"Basic secret"),
        (b"cookie", b"theme=dark"),
        subprotocols=["mcp", "mcp.auth.secret"],
        query_string=b"a=1&ticket=secret&%74icket=secret&ticket&b=2",
        client=("192.0.2.1", 5),
    )
    left = without_credentials(scope)

    assert "secret" not in str(left)
    assert left == {
        **make_scope((b"cookie", b"theme=dark")),
        "subprotocols": ["mcp"],
        "query_string": b"a=1&b=2",
        "client": ("192.0.2.1", 5),
    }
    assert without_credentials(make_scope())["query_string"] == b""


# Failed attempts


async def test_failures_are_counted_by_address(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {
        "MAX_FAILED_ATTEMPTS": 2,
        "ALLOW_ANONYMOUS": True,
        "AUTHENTICATORS": [f"{__name__}.known_by_bearer"],
    }
    mine, other = ("192.0.2.1", 5), ("192.0.2.2", 5)
    wrong, right = bearer("bob's"), bearer("ada's")

    assert await status_of(make_scope(right, client=mine)) is None
    for _ in range(2):
        assert await status_of(make_scope(wrong, client=mine)) == 401
    # What is right is not told from what is wrong any more.
    assert await status_of(make_scope(wrong, client=mine)) == 429
    assert await status_of(make_scope(right, client=mine)) == 429
    assert await status_of(make_scope(query_string=b"ticket=x", client=mine)) == 429
    # Nobody else suffers, and whoever brings nothing has not failed.
    assert await status_of(make_scope(right, client=other)) is None
    assert await status_of(make_scope(client=mine)) is None


async def test_what_is_forbidden_is_no_failure(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {
        "MAX_FAILED_ATTEMPTS": 1,
        "AUTHENTICATORS": [f"{__name__}.forbidden"],
    }
    scope = make_scope(bearer("x"), client=("192.0.2.1", 5))

    assert [await status_of(scope) for _ in range(3)] == [403] * 3


async def test_what_is_no_failure_is_not_counted(settings: DjangoSettings) -> None:
    settings.MCP_CHANNELS = {
        "MAX_FAILED_ATTEMPTS": 1,
        "AUTHENTICATORS": [f"{__name__}.known_by_bearer"],
    }
    client = ("192.0.2.1", 5)
    staff = EndpointPolicy(requirement=Requirement(staff_only=True))

    assert await status_of(make_scope(client=client)) == 401  # nobody
    assert await status_of(make_scope(bearer("ada's"), client=client), staff) == 403
    assert await status_of(make_scope(bearer("ada's"), client=client)) is None
