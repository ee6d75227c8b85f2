from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels.auth import renew
from mcp_channels.models import AccessToken, Ticket, digest_of
from mcp_channels.tickets import LIFETIME
from tests.handshakes import (
    SITE,
    bearer,
    cookie,
    enter_now,
    log_in,
    make_scope,
    status_now,
)

URL = "/mcp/ticket/"


@pytest.fixture
def ada(transactional_db: None) -> User:
    return User.objects.create(username="ada", password="hashed")


@pytest.fixture
def token(ada: User) -> tuple[AccessToken, str]:
    return AccessToken.objects.issue(ada, "ci", patterns=["a_*"])


def with_ticket(ticket: str, *headers: tuple[bytes, bytes], **scope: Any) -> Any:
    return make_scope(*headers, query_string=f"ticket={ticket}".encode(), **scope)


def ask(client: Client, **headers: str) -> Any:
    return client.post(URL, headers=headers)


@pytest.fixture
def page(ada: User) -> Client:
    """A browser that is signed in."""
    client = Client()
    client.force_login(ada)
    return client


# Asking for one


def test_ticket_is_given_to_who_is_signed_in(page: Client, ada: User) -> None:
    answer = ask(page)
    ticket = Ticket.objects.get()

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["expires_in"] == 60
    assert ticket.digest == digest_of(answer.json()["ticket"])
    assert (ticket.user, ticket.token) == (ada, None)
    assert ticket.session_key == page.session.session_key
    assert (
        LIFETIME - timedelta(seconds=5) < ticket.expires_at - timezone.now() <= LIFETIME
    )


def test_ticket_is_given_to_who_has_a_token(
    ada: User, token: tuple[AccessToken, str]
) -> None:
    answer = ask(Client(enforce_csrf_checks=True), Authorization=f"Bearer {token[1]}")
    ticket = Ticket.objects.get()

    assert answer.status_code == 200
    assert (ticket.user, ticket.token, ticket.session_key) == (ada, token[0], "")


@pytest.mark.usefixtures("transactional_db")
def test_nobody_is_given_a_ticket() -> None:
    assert ask(Client()).status_code == 401
    assert not Ticket.objects.exists()


def test_another_site_cannot_ask_with_the_cookie(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)

    assert ask(client).status_code == 403
    assert not Ticket.objects.exists()


def test_ticket_is_given_for_a_post_alone(page: Client) -> None:
    assert page.get(URL).status_code == 405


def spoil_revoked(token: AccessToken) -> None:
    token.revoke()


def spoil_user(token: AccessToken) -> None:
    User.objects.update(is_active=False)


def spoil_nothing(token: AccessToken) -> None: ...


@pytest.mark.parametrize("spoil", [spoil_revoked, spoil_user])
def test_token_that_is_over_gets_no_ticket(
    token: tuple[AccessToken, str], spoil: Any
) -> None:
    spoil(token[0])

    assert ask(Client(), Authorization=f"Bearer {token[1]}").status_code == 401


def test_wrong_token_gets_no_ticket_even_with_a_session(page: Client) -> None:
    for wrong in ("Bearer x", "Bearer", "Bearer mcp_" + "a" * 43):
        answer = ask(page, Authorization=wrong)
        assert answer.status_code == 401
        assert "mcp_" not in answer.content.decode()
    assert not Ticket.objects.exists()


def test_failures_are_counted(
    token: tuple[AccessToken, str], settings: DjangoSettings
) -> None:
    settings.MCP_CHANNELS = {"MAX_FAILED_ATTEMPTS": 2, "TRUSTED_PROXIES": 1}
    statuses = [
        ask(
            Client(),
            Authorization=f"Bearer {secret}",
            X_Forwarded_For=forwarded,
        ).status_code
        for secret, forwarded in [
            ("x", "203.0.113.1"),
            ("x", "evil, 203.0.113.1"),
            (token[1], "203.0.113.1"),
            (token[1], "203.0.113.2"),
        ]
    ]

    assert statuses == [401, 401, 429, 200]


# Coming with one


def test_ticket_of_a_session_stands_for_it(ada: User, page: Client) -> None:
    ticket = ask(page).json()["ticket"]
    identity = enter_now(with_ticket(ticket))

    assert identity.user == ada
    assert identity.token is None
    assert identity.credential == "ticket"
    assert identity.session == digest_of(page.session.session_key or "")


def test_ticket_of_a_token_allows_no_more_than_that(
    token: tuple[AccessToken, str],
) -> None:
    ticket = Ticket.objects.issue(token[0].user, LIFETIME, token=token[0])
    identity = enter_now(with_ticket(ticket))

    assert identity.token is not None
    assert identity.token.patterns == ("a_*",)
    assert identity.credential == "ticket"


def test_ticket_is_good_once(token: tuple[AccessToken, str]) -> None:
    ticket = Ticket.objects.issue(token[0].user, LIFETIME, token=token[0])

    assert status_now(with_ticket(ticket)) is None
    assert status_now(with_ticket(ticket)) == 401


def test_ticket_that_is_too_old_is_refused(
    token: tuple[AccessToken, str],
) -> None:
    ticket = Ticket.objects.issue(token[0].user, timedelta(0), token=token[0])

    assert status_now(with_ticket(ticket)) == 401


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("ticket", ["", "x", "%00", "a" * 43, "'; DROP TABLE"])
def test_ticket_of_a_guesser_is_refused(ticket: str) -> None:
    assert status_now(with_ticket(ticket)) == 401


@pytest.mark.parametrize("spoil", [spoil_revoked, spoil_user])
def test_ticket_does_not_outlive_its_token(
    token: tuple[AccessToken, str], spoil: Any
) -> None:
    ticket = Ticket.objects.issue(token[0].user, LIFETIME, token=token[0])
    spoil(token[0])

    assert status_now(with_ticket(ticket)) == 401


def test_ticket_does_not_outlive_its_session(ada: User) -> None:
    session = log_in(ada)
    tickets = [
        Ticket.objects.issue(ada, LIFETIME, session_key=session.session_key)
        for _ in range(2)
    ]
    identity = enter_now(with_ticket(tickets[0]))
    session.flush()

    assert status_now(with_ticket(tickets[1])) == 401
    assert renew(identity) is None


def test_ticket_and_cookie_must_be_of_one(
    ada: User, token: tuple[AccessToken, str]
) -> None:
    bob = User.objects.create(username="bob", password="hashed")
    for user, status in [(ada, None), (bob, 401)]:
        ticket = Ticket.objects.issue(ada, LIFETIME, token=token[0])
        scope = with_ticket(ticket, SITE, cookie(log_in(user)))
        assert status_now(scope) == status


def test_ticket_and_token_must_be_one(
    ada: User, token: tuple[AccessToken, str]
) -> None:
    _, other = AccessToken.objects.issue(ada, "other")
    for secret, status in [(token[1], None), (other, 401)]:
        ticket = Ticket.objects.issue(ada, LIFETIME, token=token[0])
        assert status_now(with_ticket(ticket, bearer(secret))) == status


@pytest.mark.usefixtures("transactional_db")
def test_who_has_no_ticket_comes_otherwise() -> None:
    assert status_now(make_scope()) is None
