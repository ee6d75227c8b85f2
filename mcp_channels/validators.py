"""Rules of single fields. Migrations name them, so they stay here under these names."""

import re
from typing import Any, Final

import msgspec
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from mcp_channels.protocol.content import Icon

__all__ = [
    "validate_icons",
    "validate_names",
    "validate_permission",
    "validate_rate",
    "validate_slugs",
]

_RATE: Final = re.compile(r"[1-9][0-9]*/(second|minute|hour|day)")
_PERMISSION: Final = re.compile(r"\w+\.\w+")


def validate_names(value: Any) -> None:
    """Raise ValidationError unless `value` is a list of names."""
    if not isinstance(value, list) or not all(
        isinstance(name, str) and name.strip() for name in value
    ):
        raise ValidationError(_('This must be a list of names, such as ["staff"].'))


def validate_slugs(value: Any) -> None:
    """Raise ValidationError unless `value` is a list of slugs; the default endpoint's
    is empty."""
    if not isinstance(value, list) or not all(isinstance(slug, str) for slug in value):
        raise ValidationError(_('This must be a list of slugs, such as ["staff"].'))


def validate_icons(value: Any) -> None:
    """Raise ValidationError unless `value` is a list of icons as MCP writes them."""
    try:
        icons = msgspec.convert(value, list[Icon])
    except msgspec.ValidationError as exc:
        raise ValidationError(str(exc)) from exc
    for icon in icons:
        if not icon.src.startswith(("https:", "data:")):
            raise ValidationError(_("Clients load only https: and data: URIs."))


def validate_rate(value: str) -> None:
    """Raise ValidationError unless `value` is a rate."""
    if not _RATE.fullmatch(value):
        raise ValidationError(
            _("A rate is such as 60/minute: a number per second, minute, hour or day.")
        )


def validate_permission(value: str) -> None:
    """Raise ValidationError unless `value` could be a permission."""
    if not _PERMISSION.fullmatch(value):
        raise ValidationError(_("A permission is such as shop.change_order."))
