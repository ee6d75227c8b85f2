"""
Signals of Django that change what somebody may do become events.

What changes without a signal, as by update() of a queryset, is found by `watch`.
"""

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model, user_logged_out
from django.contrib.auth.models import Group, Permission
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_migrate,
    post_save,
)

from mcp_channels.broadcast import publish
from mcp_channels.models import AccessToken, Endpoint, PrimitiveSetting, digest_of
from mcp_channels.policy import is_migrated
from mcp_channels.server.events import AccessChanged
from mcp_channels.server.registry import registry

__all__ = ["connect_receivers"]

# More than these at once are everybody.
_MOST_USERS = 100


def connect_receivers() -> None:
    """Receive the signals from now on. Call it when all models are there."""
    user = get_user_model()
    post_save.connect(_user_saved, sender=user)
    post_delete.connect(_user_deleted, sender=user)
    user_logged_out.connect(_logged_out)
    for name in ("groups", "user_permissions"):
        field = getattr(user, name, None)  # not of every user model
        if field is not None:
            m2m_changed.connect(_memberships_changed, sender=field.through)
    m2m_changed.connect(_everybody_changed, sender=Group.permissions.through)
    for model in (Group, Permission):
        post_save.connect(_everybody_changed, sender=model)
        post_delete.connect(_everybody_changed, sender=model)
    post_save.connect(_token_changed, sender=AccessToken)
    post_delete.connect(_token_changed, sender=AccessToken)
    for row in (Endpoint, PrimitiveSetting):
        post_save.connect(_policy_changed, sender=row)
        post_delete.connect(_policy_changed, sender=row)
    m2m_changed.connect(_policy_changed, sender=Endpoint.primitives.through)
    post_migrate.connect(_migrated, sender=apps.get_app_config("mcp_channels"))


def _user_saved(
    instance: Any,
    created: bool,
    using: str,
    update_fields: Iterable[str] | None,
    **kwargs: Any,
) -> None:
    # Who signs in is saved for that, too.
    if not created and set(update_fields or ()) != {"last_login"}:
        publish(AccessChanged("user", str(instance.pk)), using=using)


def _user_deleted(instance: Any, using: str, **kwargs: Any) -> None:
    publish(AccessChanged("user", str(instance.pk)), using=using)


def _logged_out(request: Any, **kwargs: Any) -> None:
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key is not None:
        publish(AccessChanged("session", digest_of(key)))


def _memberships_changed(
    instance: Any,
    action: str,
    reverse: bool,
    pk_set: set[Any] | None,
    using: str,
    **kwargs: Any,
) -> None:
    """Hear of groups and permissions of users, changed from either side."""
    if not action.startswith("post_"):
        return
    users = (pk_set or set()) if reverse else {instance.pk}
    is_cleared = reverse and action == "post_clear"
    if is_cleared or len(users) > _MOST_USERS:
        publish(AccessChanged("everybody"), using=using)
        return
    for pk in users:
        publish(AccessChanged("user", str(pk)), using=using)


def _everybody_changed(using: str, action: str = "post_", **kwargs: Any) -> None:
    if action.startswith("post_"):
        publish(AccessChanged("everybody"), using=using)


def _token_changed(instance: AccessToken, using: str, **kwargs: Any) -> None:
    publish(AccessChanged("token", str(instance.pk)), using=using)


def _policy_changed(using: str, action: str = "post_", **kwargs: Any) -> None:
    if action.startswith("post_"):
        publish(AccessChanged("policy"), using=using)


def _migrated(using: str, **kwargs: Any) -> None:
    """Make the rows of primitives: every deployment migrates, and only once."""
    # After the migrations were undone there is no table.
    if using == PrimitiveSetting.objects.db and is_migrated():
        PrimitiveSetting.objects.sync(registry.primitives)
