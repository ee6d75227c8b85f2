"""Who is asking, and the one predicate: may this identity see this primitive?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    # An asgi.py imports this package before Django is set up, when no model can be.
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

__all__ = ["Identity", "Permitted", "User", "may_see"]

User: TypeAlias = "AbstractBaseUser | AnonymousUser"


@dataclass(frozen=True, slots=True)
class Identity:
    """The somebody behind a connection."""

    user: User

    @property
    def principal(self) -> str:
        """A stable key for this identity, safe to sign and to compare."""
        if not self.user.is_authenticated:
            return "anonymous"
        return f"user:{self.user.pk}"


class Permitted(Protocol):
    """Whatever may be behind a permission."""

    @property
    def permission(self) -> str | None:
        """A Django permission, "app_label.codename"; None: everybody."""


def may_see(identity: Identity, primitive: Permitted) -> bool:
    """
    Tell whether `primitive` exists for `identity`.

    It is asked for lists and for calls alike, so that hidden and missing look the
    same. May read the database: call it from synchronous code.
    """
    permission = primitive.permission
    if permission is None:
        return True
    has_perm = getattr(identity.user, "has_perm", None)
    # A user model without PermissionsMixin has no permissions at all.
    return has_perm is not None and has_perm(permission)
