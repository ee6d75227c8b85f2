"""
Tickets: how a page connects that cannot set a header, or has no cookie.

It asks for one with a POST, and connects with `?ticket=` within a minute, once. A
ticket in a log is worth nothing by then.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_POST

from mcp_channels import tokens
from mcp_channels.auth import Handshake, Refused, read_bearer
from mcp_channels.models import AccessToken, Ticket
from mcp_channels.server.permissions import Identity
from mcp_channels.sessions import Session
from mcp_channels.throttle import address_of, count_failure, is_throttled

__all__ = ["authenticate", "issue_ticket"]

LIFETIME: Final = timedelta(seconds=60)


def authenticate(handshake: Handshake) -> Identity | None:
    """Return whom a ticket stands for. Raise Refused with 401 when it is none, or was
    used, or is too old."""
    if handshake.ticket is None:
        return None
    ticket = Ticket.objects.redeem(handshake.ticket)
    identity = None
    if ticket is not None and ticket.token is not None:
        identity = tokens.identify_token(ticket.token.digest)
    elif ticket is not None:
        identity = Session(ticket.session_key)()
    if identity is None:
        raise Refused(401, "This credential is not known here")
    return replace(identity, credential="ticket")


# A request with a token of its own is made by no page that only has the cookie.
@csrf_exempt
@require_POST
def issue_ticket(request: HttpRequest) -> HttpResponse:
    """Answer with a ticket for whoever asks, by a token or by the session."""
    bearer = read_bearer(request.headers.get("Authorization", ""))
    if bearer is None:
        return _issue_for_session(request)
    forwarded = request.headers.get("X-Forwarded-For", "")
    address = address_of(request.META.get("REMOTE_ADDR"), forwarded)
    if is_throttled(address):
        return _answer(429, {"error": "Too many failed attempts"})
    token = AccessToken.objects.find(bearer)
    if token is None or not token.user.is_active:
        count_failure(address)
        return _answer(401, {"error": "This credential is not known here"})
    return _issue(token.user, token=token)


@csrf_protect
def _issue_for_session(request: HttpRequest) -> HttpResponse:
    user: Any = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return _answer(401, {"error": "Credentials are required"})
    return _issue(user, session_key=request.session.session_key)


def _issue(user: Any, **options: Any) -> HttpResponse:
    ticket = Ticket.objects.issue(user, LIFETIME, **options)
    seconds = int(LIFETIME.total_seconds())
    return _answer(200, {"ticket": ticket, "expires_in": seconds})


def _answer(status: int, content: dict[str, Any]) -> HttpResponse:
    response = JsonResponse(content, status=status)
    response["Cache-Control"] = "no-store"
    return response
