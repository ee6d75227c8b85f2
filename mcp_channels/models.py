"""
What can be changed while the site runs: endpoints, primitives, and access tokens.

A row only narrows what code offers. Whatever a row needs to name is named so that
nothing opens up when that is gone: groups by their names, endpoints by their slugs.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, URLValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from mcp_channels.server.primitives import Primitive
from mcp_channels.validators import (
    validate_icons,
    validate_names,
    validate_permission,
    validate_rate,
    validate_slugs,
)

__all__ = [
    "AccessToken",
    "AuditLevel",
    "Endpoint",
    "PrimitiveKind",
    "PrimitiveSetting",
    "Ticket",
    "digest_of",
]

# What a token begins with, so that a person, or a program that looks for lost secrets,
# can tell what it is; and how much of the rest is kept to recognise it by. What is not
# kept has more than 200 bits.
TOKEN_PREFIX: Final = "mcp_"
_RECOGNISED: Final = len(TOKEN_PREFIX) + 6


def digest_of(secret: str) -> str:
    """Return what is kept of a secret; nobody can find the secret from it."""
    # A secret has 256 random bits, so no guess comes near one: salt and iterations are
    # for passwords. It is looked up by its digest, and how long that takes tells
    # nothing about the secret.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _names(help_text: Any, validate: Any = validate_names) -> Any:
    return models.JSONField(
        default=list, blank=True, validators=[validate], help_text=help_text
    )


def _rate(help_text: Any) -> Any:
    return models.CharField(
        max_length=40, blank=True, validators=[validate_rate], help_text=help_text
    )


class AuditLevel(models.TextChoices):
    """How much of a call is recorded."""

    OFF = "off", _("nothing")
    METADATA = "metadata", _("who called what, and the outcome")
    ARGUMENTS = "arguments", _("the arguments too, without secrets")
    STRICT = "strict", _("the arguments too, before the answer leaves")


class PrimitiveKind(models.TextChoices):
    """What a primitive is; the values are the kinds of the registry."""

    TOOL = "tool", _("tool")
    PROMPT = "prompt", _("prompt")
    RESOURCE = "resource", _("resource")
    TEMPLATE = "resource template", _("resource template")


class PrimitiveSettingManager(models.Manager["PrimitiveSetting"]):
    def sync(self, primitives: Iterable[Primitive]) -> tuple[int, int]:
        """
        Make the rows of `primitives`, and mark those of what is gone.

        Return how many were made, and how many are marked now.
        """
        longest = PrimitiveSetting._meta.get_field("key").max_length or 0
        offered = {(p.kind, p.key) for p in primitives if len(p.key) <= longest}
        rows = {(row.kind, row.key): row for row in self.all()}
        made = [
            PrimitiveSetting(kind=kind, key=key)
            for kind, key in sorted(offered - rows.keys())
        ]
        # Another process may do the same.
        self.bulk_create(made, ignore_conflicts=True)
        marked = 0
        for place, row in rows.items():
            is_gone = place not in offered
            marked += is_gone
            if is_gone is (row.missing_since is None):
                row.missing_since = timezone.now() if is_gone else None
                row.save(update_fields=["missing_since"])
        return len(made), marked


class PrimitiveSetting(models.Model):
    """
    What is other about one primitive than its code says.

    Rows are made by themselves, and kept when the code is gone. A primitive without a
    row is as its code says.
    """

    kind = models.CharField(max_length=20, choices=PrimitiveKind.choices)
    key = models.CharField(
        max_length=500, help_text=_("The name, or the URI of a resource.")
    )
    enabled = models.BooleanField(
        default=True, help_text=_("Without it the primitive exists for nobody.")
    )
    title = models.CharField(
        max_length=200, blank=True, help_text=_("Instead of the code's; for people.")
    )
    description = models.TextField(
        blank=True, help_text=_("Instead of the code's; for models.")
    )
    permission = models.CharField(
        max_length=200,
        blank=True,
        validators=[validate_permission],
        help_text=_("Needed besides what the code requires: app_label.codename."),
    )
    groups = _names(_("Names of groups; one of them is needed. Empty: none is."))
    staff_only = models.BooleanField(default=False)
    rate = _rate(_("Calls of one identity, such as 60/minute. Empty: no limit."))
    timeout = models.FloatField(
        null=True, blank=True, help_text=_("Seconds. Empty: as the code says.")
    )
    missing_since = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("Since when no code offers it; empty while some does."),
    )

    objects: ClassVar[PrimitiveSettingManager] = PrimitiveSettingManager()

    class Meta:
        verbose_name = _("primitive")
        verbose_name_plural = _("primitives")
        ordering = ["kind", "key"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "key"], name="mcp_channels_primitive_unique"
            ),
            models.CheckConstraint(
                condition=Q(timeout__isnull=True) | Q(timeout__gt=0),
                name="mcp_channels_primitive_timeout",
                violation_error_message=_("A timeout is more than 0 seconds."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Endpoint(models.Model):
    """
    Which primitives are served at a path, to whom, and how much of them.

    The one with an empty slug is the default endpoint; without that row, the settings
    say what it is.
    """

    class Selection(models.TextChoices):
        """Which primitives an endpoint serves."""

        ALL = "all", _("all")
        CHOSEN = "chosen", _("those chosen below")
        TAGGED = "tagged", _("those with one of the tags below")

    slug = models.SlugField(
        unique=True,
        blank=True,
        help_text=_("The last part of the path. Empty: the default endpoint."),
    )
    title = models.CharField(
        max_length=200, blank=True, help_text=_("For people. Empty: the setting's.")
    )
    instructions = models.TextField(
        blank=True, help_text=_("For models. Empty: the setting's.")
    )
    website_url = models.CharField(
        max_length=200,
        blank=True,
        validators=[URLValidator(["https", "http"])],
        help_text=_("Where people find more. Empty: the setting's."),
    )
    icons = _names(
        _('Such as [{"src": "https://example.com/icon.png"}].'), validate_icons
    )
    enabled = models.BooleanField(
        default=True, help_text=_("Without it nothing is served at this path.")
    )

    selection = models.CharField(
        max_length=10, choices=Selection.choices, default=Selection.ALL
    )
    primitives = models.ManyToManyField(
        PrimitiveSetting, blank=True, related_name="endpoints"
    )
    tags = _names(_("Of tools, prompts and resources, as their code has them."))
    read_only = models.BooleanField(
        default=False, help_text=_("Tools that are not declared read-only are hidden.")
    )
    page_size = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Items of a list page. Empty: the setting's."),
    )

    allow_anonymous = models.BooleanField(
        default=False, help_text=_("Whether somebody may connect without credentials.")
    )
    groups = _names(_("Names of groups; one of them is needed. Empty: none is."))
    staff_only = models.BooleanField(default=False)

    rate = _rate(_("Calls of all together, such as 600/minute. Empty: no limit."))
    identity_rate = _rate(
        _("Calls of one identity, such as 60/minute. Empty: no limit.")
    )
    max_connections = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Of one identity. Empty: no limit."),
    )
    audit = models.CharField(
        max_length=10, choices=AuditLevel.choices, default=AuditLevel.METADATA
    )

    class Meta:
        verbose_name = _("endpoint")
        verbose_name_plural = _("endpoints")
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(page_size__isnull=True) | Q(page_size__gt=0),
                name="mcp_channels_endpoint_page_size",
            ),
        ]

    def __str__(self) -> str:
        return self.slug or str(_("default"))

    def clean(self) -> None:
        """Refuse what contradicts itself."""
        if self.allow_anonymous and (self.groups or self.staff_only):
            raise ValidationError(
                _("Who is anonymous is in no group and not of the staff.")
            )
        if self.selection == self.Selection.TAGGED and not self.tags:
            raise ValidationError({"tags": _("Without a tag nothing is served.")})


class AccessTokenManager(models.Manager["AccessToken"]):
    def issue(self, user: Any, name: str, **options: Any) -> tuple["AccessToken", str]:
        """
        Make a token for `user`, and return it with its secret.

        The secret is not kept and cannot be shown again. The options are fields. Raise
        ValidationError when one is wrong.
        """
        token = self.model(user=user, name=name, **options)
        secret = token.renew_secret()
        token.full_clean()
        token.save(using=self.db)
        return token, secret

    def find(self, secret: str) -> "AccessToken | None":
        """Return the token with this secret that may be used now, with its user; None
        when there is none."""
        return self.find_by_digest(digest_of(secret)) if is_token(secret) else None

    def find_by_digest(self, digest: str) -> "AccessToken | None":
        """Return the token whose secret has this digest; see find()."""
        now = timezone.now()
        return (
            self.select_related("user")
            .filter(
                Q(digest=digest)
                | Q(previous_digest=digest, previous_expires_at__gt=now),
                Q(expires_at__isnull=True) | Q(expires_at__gt=now),
                revoked_at__isnull=True,
            )
            .first()
        )


def is_token(secret: str) -> bool:
    """Tell whether a text could be the secret of a token."""
    return _SECRET.fullmatch(secret) is not None


# 43 characters of base64 are 256 bits.
_SECRET: Final = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}")


class AccessToken(models.Model):
    """
    A credential of a user for programs.

    It never allows more than its user may do, and can allow less. Its secret is shown
    once, when it is made or rotated; only a digest is kept.
    """

    name = models.CharField(max_length=100, help_text=_("What it is for."))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="mcp_access_tokens",
    )
    prefix = models.CharField(max_length=20, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    # Of the secret before the last rotation, which is good a while longer.
    previous_digest = models.CharField(
        max_length=64, unique=True, null=True, blank=True, editable=False
    )
    previous_expires_at = models.DateTimeField(null=True, blank=True, editable=False)

    endpoints = _names(
        _("Slugs of endpoints that it is for. Empty: for all."), validate_slugs
    )
    read_only = models.BooleanField(
        default=False, help_text=_("Tools that are not declared read-only are hidden.")
    )
    patterns = _names(
        _(
            "Names of tools and prompts and URIs of resources that it is for, "
            'such as ["count_*", "shop://*"]. Empty: for all.'
        )
    )
    rate = _rate(_("Calls, such as 60/minute. Empty: no limit."))

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text=_("Empty: never.")
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[AccessTokenManager] = AccessTokenManager()

    class Meta:
        verbose_name = _("access token")
        verbose_name_plural = _("access tokens")
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def clean(self) -> None:
        """Refuse endpoints that do not exist, except the default one."""
        slugs = set(self.endpoints) - {""} if isinstance(self.endpoints, list) else ()
        for slug in slugs:
            if not Endpoint.objects.filter(slug=slug).exists():
                raise ValidationError(
                    {"endpoints": _("There is no endpoint %(slug)s.") % {"slug": slug}}
                )

    @property
    def is_usable(self) -> bool:
        """Whether it lets anybody in, as far as the token itself goes."""
        is_over = self.expires_at is not None and self.expires_at <= timezone.now()
        return self.revoked_at is None and not is_over

    def renew_secret(self) -> str:
        """Give it another secret, without saving, and return that."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        self.digest = digest_of(secret)
        self.prefix = secret[:_RECOGNISED]
        return secret

    def rotate(self, overlap: timedelta = timedelta(0)) -> str:
        """
        Give it another secret, and return that.

        The one of before stays good for `overlap`, the one before that for no longer.
        Raise ValueError when the token is revoked or expired.
        """
        if not self.is_usable:
            raise ValueError("A token that is revoked or expired cannot be rotated.")
        self.previous_digest = self.digest
        self.previous_expires_at = timezone.now() + overlap
        secret = self.renew_secret()
        self.save(
            update_fields=["digest", "prefix", "previous_digest", "previous_expires_at"]
        )
        return secret

    def revoke(self) -> None:
        """Let it be good for nothing any more."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])


class TicketManager(models.Manager["Ticket"]):
    def issue(self, user: Any, lifetime: timedelta, **options: Any) -> str:
        """Return a ticket that lets `user` in once, within `lifetime`."""
        now = timezone.now()
        self.filter(expires_at__lte=now).delete()
        ticket = secrets.token_urlsafe(32)
        self.create(
            user=user, digest=digest_of(ticket), expires_at=now + lifetime, **options
        )
        return ticket

    def redeem(self, ticket: str) -> "Ticket | None":
        """Return what this ticket stands for, once; None for one that is unknown, used
        or too old."""
        found = (
            self.select_related("user", "token")
            .filter(digest=digest_of(ticket), expires_at__gt=timezone.now())
            .first()
        )
        # Of several who come with it at the same time, one deletes the row.
        if found is None or not self.filter(pk=found.pk).delete()[0]:
            return None
        return found


class Ticket(models.Model):
    """
    A credential that lets a browser in once, soon.

    It stands for the session or the access token that it was asked for with.
    """

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    token = models.ForeignKey(
        AccessToken, on_delete=models.CASCADE, null=True, related_name="+"
    )
    session_key = models.TextField(blank=True)  # empty when there is a token
    expires_at = models.DateTimeField(db_index=True)

    objects: ClassVar[TicketManager] = TicketManager()

    class Meta:
        verbose_name = _("ticket")
        verbose_name_plural = _("tickets")

    def __str__(self) -> str:
        return f"{self.user} {self.expires_at:%H:%M:%S}"
