"""Who is asking, and the one predicate: may this identity see this primitive?"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    # An asgi.py imports this package before Django is set up, when no model can be.
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

__all__ = ["Asker", "Identity", "Permission", "Permitted", "User", "may_see"]

logger = logging.getLogger("mcp_channels")

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

    @property
    def identity(self) -> Self:
        """Itself: whoever is asked on behalf of a Context may be asked without one."""
        return self


class Asker(Protocol):
    """Whoever asks: a Context while a request is answered, an Identity before."""

    @property
    def identity(self) -> Identity: ...

    @property
    def user(self) -> User: ...


# "app_label.codename", several that are all needed, or a function that decides.
Permission: TypeAlias = str | tuple[str, ...] | Callable[[Identity], bool]


class Permitted(Protocol):
    """Whatever may be behind a permission."""

    @property
    def permission(self) -> Permission | None:
        """What is needed to see it; None: nothing."""


def may_see(identity: Identity, primitive: Permitted) -> bool:
    """
    Tell whether `primitive` exists for `identity`.

    It is asked for lists and for calls alike, so that hidden and missing look the
    same. May read the database: call it from synchronous code.
    """
    permission = primitive.permission
    if permission is None:
        return True
    if callable(permission):
        try:
            return permission(identity) is True
        except Exception:
            # One that cannot decide opens nothing, and hides nothing else.
            logger.exception("Permission %r failed", permission)
            return False
    has_perm = getattr(identity.user, "has_perm", None)
    if has_perm is None:
        # A user model without PermissionsMixin has no permissions at all.
        return False
    names = (permission,) if isinstance(permission, str) else permission
    return all(has_perm(name) for name in names)
