"""Who is asking, and the one predicate: may this identity see this primitive?"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    # An asgi.py imports this package before Django is set up, when no model can be.
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

__all__ = [
    "Asker",
    "EndpointPolicy",
    "Identity",
    "Permission",
    "Permitted",
    "Requirement",
    "TokenGrant",
    "User",
    "may_see",
]

logger = logging.getLogger("mcp_channels")

User: TypeAlias = "AbstractBaseUser | AnonymousUser"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What somebody needs besides what code requires."""

    permissions: tuple[str, ...] = ()  # all of them
    groups: frozenset[str] = frozenset()  # one of them; empty: none
    staff_only: bool = False

    def admits(self, identity: "Identity") -> bool:
        """Tell whether `identity` has it. May read the database."""
        user: Any = identity.user
        if self.staff_only and getattr(user, "is_staff", False) is not True:
            return False
        # A superuser has every permission, and so needs no group to get one from.
        if (
            self.groups
            and getattr(user, "is_superuser", False) is not True
            and not self.groups & identity.groups
        ):
            return False
        return _has_permissions(user, self.permissions)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPolicy:
    """What is served at one path, and to whom. What is None or empty, the settings
    say."""

    slug: str = ""  # empty: the default endpoint
    title: str = ""
    instructions: str = ""
    website_url: str = ""
    icons: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    enabled: bool = True
    chosen: frozenset[tuple[str, str]] | None = None  # kinds and keys; None: all
    tags: frozenset[str] | None = None  # one of them; None: whatever the tags
    read_only: bool = False
    page_size: int | None = None
    allow_anonymous: bool | None = None
    requirement: Requirement = Requirement()
    rate: str = ""
    identity_rate: str = ""
    max_connections: int | None = None
    audit: str = "metadata"

    def offers(self, primitive: "Permitted") -> bool:
        """Tell whether `primitive` is served here, to whomever."""
        if self.chosen is not None and (
            (primitive.kind, primitive.key) not in self.chosen
        ):
            return False
        return self.tags is None or bool(self.tags & primitive.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrant:
    """What an access token lets through of what its user may do."""

    pk: str
    name: str
    endpoints: frozenset[str] = frozenset()  # slugs; empty: all
    read_only: bool = False
    patterns: tuple[str, ...] = ()  # of names and URIs; empty: all
    rate: str = ""

    def covers(self, primitive: "Permitted") -> bool:
        """Tell whether the token is for `primitive`."""
        if self.read_only and not primitive.is_read_only:
            return False
        return not self.patterns or any(
            fnmatchcase(primitive.key, pattern) for pattern in self.patterns
        )


@dataclass(frozen=True)
class Identity:
    """
    The somebody behind a connection.

    `expires_at` is when the credential ends, None for never. `renew` looks at it again
    and returns the identity of now, or None when there is none any more; it is called
    in a thread, and without one the user is looked up again.
    """

    user: User
    token: TokenGrant | None = None
    endpoint: EndpointPolicy = EndpointPolicy()
    expires_at: datetime | None = None
    session: str = ""  # the digest of the session's key, empty without a session
    credential: str = ""  # "token", "ticket" or "session", or what the site calls it
    renew: "Callable[[], Identity | None] | None" = field(
        default=None, compare=False, repr=False
    )

    @property
    def principal(self) -> str:
        """A stable key for this identity, safe to sign and to compare."""
        if not self.user.is_authenticated:
            return "anonymous"
        token = "" if self.token is None else f" token:{self.token.pk}"
        return f"user:{self.user.pk}{token}"

    @property
    def identity(self) -> Self:
        """Itself: whoever is asked on behalf of a Context may be asked without one."""
        return self

    @cached_property
    def groups(self) -> frozenset[str]:
        """The names of the user's groups. May read the database."""
        groups = getattr(self.user, "groups", None)
        if groups is None:
            # A user model without PermissionsMixin.
            return frozenset()
        return frozenset(groups.values_list("name", flat=True))


class Asker(Protocol):
    """Whoever asks: a Context while a request is answered, an Identity before."""

    @property
    def identity(self) -> Identity: ...

    @property
    def user(self) -> User: ...


# "app_label.codename", several that are all needed, or a function that decides.
Permission: TypeAlias = str | tuple[str, ...] | Callable[[Identity], bool]


class Permitted(Protocol):
    """Whatever somebody may see or not."""

    @property
    def kind(self) -> str:
        """What it is called in messages, such as "tool"."""

    @property
    def key(self) -> str:
        """Its name, or its URI."""

    @property
    def tags(self) -> frozenset[str]:
        """What endpoints can choose it by."""

    @property
    def is_read_only(self) -> bool:
        """Whether it changes nothing."""

    @property
    def permission(self) -> Permission | None:
        """What is needed to see it; None: nothing."""

    @property
    def requirement(self) -> Requirement | None:
        """What is needed besides; None: nothing."""


def may_see(identity: Identity, primitive: Permitted) -> bool:
    """
    Tell whether `primitive` exists for `identity`.

    It is asked for lists and for calls alike, so that hidden and missing look the
    same. May read the database: call it from synchronous code.
    """
    endpoint, token, permission = (
        identity.endpoint,
        identity.token,
        primitive.permission,
    )
    if endpoint.read_only and not primitive.is_read_only:
        return False
    if token is not None and not token.covers(primitive):
        return False
    if not endpoint.offers(primitive):
        return False
    if primitive.requirement is not None and not primitive.requirement.admits(identity):
        return False
    if permission is None:
        return True
    if callable(permission):
        try:
            return permission(identity) is True
        except Exception:
            # One that cannot decide opens nothing, and hides nothing else.
            logger.exception("Permission %r failed", permission)
            return False
    names = (permission,) if isinstance(permission, str) else permission
    return _has_permissions(identity.user, names)


def _has_permissions(user: Any, names: tuple[str, ...]) -> bool:
    # A user model without PermissionsMixin has no permissions at all.
    has_perm = getattr(user, "has_perm", None)
    return all(has_perm is not None and has_perm(name) for name in names)
