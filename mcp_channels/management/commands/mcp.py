"""
manage.py mcp: access tokens, what somebody sees, what is wrong.

    manage.py mcp token create ada "nightly report" --read-only --expires 90d
    manage.py mcp list --user ada
    manage.py mcp check
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core import checks
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from mcp_channels.auth import Refused, admit
from mcp_channels.models import AccessToken, Endpoint, PrimitiveSetting
from mcp_channels.policy import compile_policy
from mcp_channels.server.permissions import Identity
from mcp_channels.server.primitives import Primitive
from mcp_channels.server.registry import registry
from mcp_channels.tokens import identify_token

__all__ = ["Command"]

_DURATION: Final = re.compile(r"(\d+)([smhdw])")
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


class Command(BaseCommand):
    help = "Manage the MCP server: access tokens, what is seen, what is wrong."
    # What is wrong is for `mcp check` to say, and a token must be revocable meanwhile.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)

        token = actions.add_parser("token", help="Manage access tokens.")
        tokens = token.add_subparsers(dest="token_action", required=True)
        create = tokens.add_parser(
            "create", help="Make a token and print its secret, this once."
        )
        create.add_argument("user", help="The user's name.")
        create.add_argument("name", help="What the token is for.")
        create.add_argument(
            "--endpoint",
            action="append",
            default=[],
            metavar="SLUG",
            help="An endpoint that it is for, '' for the default one; several times.",
        )
        create.add_argument("--read-only", action="store_true")
        create.add_argument(
            "--pattern",
            action="append",
            default=[],
            help="Of names or URIs that it is for, such as 'count_*'; several times.",
        )
        create.add_argument("--rate", default="", help="Such as 60/minute.")
        create.add_argument(
            "--expires", metavar="WHEN", help="A duration such as 90d, or a date."
        )
        listed = tokens.add_parser("list", help="List tokens, never their secrets.")
        listed.add_argument("--user", help="Of this user.")
        listed.add_argument("--all", action="store_true", help="Also those of before.")
        revoke = tokens.add_parser("revoke", help="Let a token be good for nothing.")
        revoke.add_argument("token", help="Its id or its prefix.")
        rotate = tokens.add_parser(
            "rotate", help="Give a token another secret and print it, this once."
        )
        rotate.add_argument("token", help="Its id or its prefix.")
        rotate.add_argument(
            "--overlap",
            default="0s",
            metavar="DURATION",
            help="How long the secret of before stays good, such as 1d.",
        )

        seen = actions.add_parser("list", help="List what somebody sees.")
        whose = seen.add_mutually_exclusive_group()
        whose.add_argument("--user", help="This user, who is signed in.")
        whose.add_argument("--token", help="Who has the token of this id or prefix.")
        seen.add_argument("--endpoint", default="", metavar="SLUG")

        check = actions.add_parser("check", help="Look for what is wrong.")
        check.add_argument(
            "--fail-level",
            default="WARNING",
            choices=["WARNING", "ERROR"],
            help="From what level on it fails, with exit code 1.",
        )
        actions.add_parser("sync", help="Make the rows of primitives, as migrate does.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what is asked. Raise CommandError, which ends with 1, when it cannot be
        done."""
        action = options["action"]
        if action == "token":
            action = f"{options['token_action']}_token"
        getattr(self, f"_{action}")(options)

    # Tokens

    def _create_token(self, options: dict[str, Any]) -> None:
        try:
            token, secret = AccessToken.objects.issue(
                _find_user(options["user"]),
                options["name"],
                endpoints=options["endpoint"],
                read_only=options["read_only"],
                patterns=options["pattern"],
                rate=options["rate"],
                expires_at=_parse_time(options["expires"]),
            )
        except ValidationError as exc:
            raise CommandError(" ".join(exc.messages)) from exc
        self.stderr.write(f"Made token {token.pk}. It is shown only now:")
        self.stdout.write(secret)

    def _list_token(self, options: dict[str, Any]) -> None:
        tokens = AccessToken.objects.select_related("user")
        if options["user"]:
            tokens = tokens.filter(user=_find_user(options["user"]))
        for token in tokens:
            if token.is_usable or options["all"]:
                self.stdout.write(_describe_token(token))

    def _revoke_token(self, options: dict[str, Any]) -> None:
        token = _find_token(options["token"])
        token.revoke()
        self.stdout.write(f"Revoked {_describe_token(token)}")

    def _rotate_token(self, options: dict[str, Any]) -> None:
        token = _find_token(options["token"])
        try:
            secret = token.rotate(_parse_duration(options["overlap"]))
        except ValueError as exc:
            raise CommandError(str(exc)) from exc
        self.stderr.write(f"Rotated token {token.pk}. It is shown only now:")
        self.stdout.write(secret)

    # What is seen

    def _list(self, options: dict[str, Any]) -> None:
        policy = compile_policy()
        endpoint = policy.find_endpoint(options["endpoint"])
        if endpoint is None:
            raise CommandError("There is nothing at this endpoint.")
        if options["token"]:
            identity = identify_token(_find_token(options["token"]).digest)
            if identity is None:
                raise CommandError("This token lets nobody in.")
        elif options["user"]:
            identity = Identity(_find_user(options["user"]))
            if not identity.user.is_active:
                raise CommandError("This user is not active.")
        else:
            identity = Identity(AnonymousUser())
        identity = Identity(identity.user, identity.token, endpoint)
        try:
            admit(identity)
        except Refused as exc:
            raise CommandError(f"Not let in: {exc.reason}.") from exc
        catalogue = registry.catalogue_for(
            identity, page_size=1, primitives=policy.offer(registry)
        )
        for keyed in (
            catalogue.tools,
            catalogue.prompts,
            catalogue.resources,
            catalogue.templates,
        ):
            for key, primitive in keyed.items():
                self.stdout.write(f"{primitive.kind}\t{key}\t{_hints(primitive)}")

    # What is wrong

    def _check(self, options: dict[str, Any]) -> None:
        found = checks.run_checks(
            tags=["mcp_channels"], databases=[Endpoint.objects.db]
        )
        for one in found:
            self.stdout.write(str(one))
        level = getattr(checks, options["fail_level"])
        wrong = sum(one.level >= level and not one.is_silenced() for one in found)
        if wrong:
            raise CommandError(f"Found {wrong} to mend.")
        self.stdout.write("Nothing to mend.")

    def _sync(self, options: dict[str, Any]) -> None:
        made, marked = PrimitiveSetting.objects.sync(registry.primitives)
        self.stdout.write(f"Made {made} rows; {marked} are of what no code offers.")


def _find_user(name: str) -> Any:
    model: Any = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise CommandError(f"There is no user {name!r}.") from None


def _find_token(name: str) -> AccessToken:
    tokens = AccessToken.objects.select_related("user")
    found = tokens.filter(pk=name) if name.isdecimal() else tokens.filter(prefix=name)
    if len(found) != 1:
        raise CommandError(f"{len(found)} tokens have the id or prefix {name!r}.")
    return found[0]


def _parse_duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise CommandError(f"{text!r} is no duration: write such as 12h, 90d or 4w.")
    return int(match[1]) * _UNITS[match[2]]


def _parse_time(text: str | None) -> datetime | None:
    """Return when something ends. Raise CommandError when it is over, or no time."""
    if text is None:
        return None
    try:
        day = parse_date(text)
        when = parse_datetime(text)
    except ValueError:
        day = when = None
    if day is not None:
        when = datetime(day.year, day.month, day.day)
    if when is None:
        when = timezone.now() + _parse_duration(text)
    elif timezone.is_naive(when) and settings.USE_TZ:
        when = timezone.make_aware(when)
    if when <= timezone.now():
        raise CommandError(f"{text} is over.")
    return when


def _describe_token(token: AccessToken) -> str:
    """Return what there is to know of a token, in one line."""
    facts = [
        f"{token.pk}",
        f"{token.prefix}…",
        token.user.get_username(),
        token.name,
        *(["read-only"] if token.read_only else []),
        *_several("endpoints", token.endpoints),
        *_several("patterns", token.patterns),
        *([f"expires {_show(token.expires_at)}"] if token.expires_at else []),
        f"last used {_show(token.last_used_at)}"
        if token.last_used_at
        else "never used",
        *(["revoked"] if token.revoked_at else []),
    ]
    return "\t".join(facts)


def _show(when: datetime) -> str:
    local = timezone.localtime(when) if timezone.is_aware(when) else when
    return f"{local:%Y-%m-%d %H:%M}"


def _several(word: str, names: Iterable[str]) -> list[str]:
    shown = ", ".join(name or "default" for name in names)
    return [f"{word} {shown}"] if shown else []


def _hints(primitive: Primitive) -> str:
    return "read-only" if primitive.is_read_only else "may write"
