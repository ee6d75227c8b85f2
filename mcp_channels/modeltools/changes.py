"""
News of rows: whoever watches one is told when a transaction that changed it commits.

What goes past save() and delete(), as update() and bulk_create() do, sends no signal:
call rows_changed() after it.
"""

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save

from mcp_channels.broadcast import publish
from mcp_channels.modeltools.allowlist import Related
from mcp_channels.modeltools.exposure import Exposure, row_uri
from mcp_channels.server.events import ResourceUpdated

__all__ = ["Watch", "rows_changed"]


class Watch:
    """Tells of the rows of an exposed model, for as long as it lives."""

    def __init__(self, exposure: Exposure) -> None:
        self._exposure = exposure
        # Of a relation to many, by the model on its other side.
        self._reverse: dict[Any, list[Related]] = {}
        for sender in _family(exposure.model):
            post_save.connect(self._tell, sender=sender)
            post_delete.connect(self._tell, sender=sender)
        for child in exposure.allowlist.children.values():
            if isinstance(child, Related) and child.is_many:
                self._follow(child)

    def _follow(self, related: Related) -> None:
        field = related.field
        if field.many_to_many:
            through = (
                field.through
                if related.field.auto_created
                else (field.remote_field.through)
            )
            m2m_changed.connect(self._tell_of_both, sender=through)
            return
        for sender in _family(related.model):
            self._reverse.setdefault(sender, []).append(related)
            post_save.connect(self._tell_of_owner, sender=sender)
            post_delete.connect(self._tell_of_owner, sender=sender)

    def _tell(self, instance: Any, using: str, **kwargs: Any) -> None:
        self._publish([instance.pk], using)

    def _tell_of_owner(
        self, sender: Any, instance: Any, using: str, **kwargs: Any
    ) -> None:
        """Tell of the rows that show `instance` among others."""
        for related in self._reverse[sender]:
            owner = getattr(instance, related.field.field.attname)
            if owner is not None:
                self._publish([owner], using)

    def _tell_of_both(
        self,
        instance: Any,
        action: str,
        model: Any,
        pk_set: set[Any] | None,
        using: str,
        **kwargs: Any,
    ) -> None:
        if action not in ("post_add", "post_remove", "pre_clear", "post_clear"):
            return
        if isinstance(instance, self._exposure.model):
            self._publish([instance.pk], using)
        if issubclass(model, self._exposure.model) and pk_set:
            self._publish(pk_set, using)

    def _publish(self, keys: Iterable[Any], using: str) -> None:
        for key in keys:
            publish(ResourceUpdated(self._exposure.uri(key)), using=using)


def rows_changed(rows: QuerySet[Any] | Iterable[models.Model]) -> None:
    """
    Tell those who watch any of `rows` that it was changed.

    Call it in the transaction that changed them, or after it. A queryset is evaluated.
    """
    if isinstance(rows, QuerySet):
        label, using = rows.model._meta.label_lower, rows.db
        for key in rows.values_list("pk", flat=True):
            publish(ResourceUpdated(row_uri(label, key)), using=using)
        return
    for row in rows:
        uri = row_uri(row._meta.label_lower, row.pk)
        publish(ResourceUpdated(uri), using=row._state.db or "default")


def _family(model: Any) -> list[Any]:
    """Return the models whose rows are rows of `model`: proxies and children, too."""
    concrete = model._meta.concrete_model
    return [
        other
        for other in apps.get_models()
        if issubclass(other, model) or other._meta.concrete_model is concrete
    ]
