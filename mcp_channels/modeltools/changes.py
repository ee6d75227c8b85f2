"""
News of rows: whoever watches one is told when a transaction that changed it commits.

What goes past save() and delete() sends no signal, as update(), bulk_create() and what
a database sets by itself: call rows_changed() after it.
"""

from collections.abc import Iterable
from typing import Any, Final

from django.apps import apps
from django.db import models, router
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import Signal

from mcp_channels.broadcast import publish
from mcp_channels.modeltools.allowlist import Related
from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.server.events import ResourceUpdated

__all__ = ["Watch", "rows_changed"]

# What rows_changed() tells, in the words of post_save.
_rows_changed: Final = Signal()


class Watch:
    """Tells of the rows of an exposed model, for as long as it lives."""

    def __init__(self, exposure: Exposure) -> None:
        self._exposure = exposure
        self._family = _family(exposure.model)
        # By the model whose rows are shown with those of this one, what leads there.
        self._owners: dict[Any, list[Any]] = {}
        self._links: dict[Any, Any] = {}  # by model, the relation that it holds
        for sender in self._family:
            for signal in (post_save, post_delete, _rows_changed):
                signal.connect(self._tell, sender=sender)
        for child in exposure.allowlist.children.values():
            if not isinstance(child, Related):
                continue
            if child.field.many_to_many:
                self._follow_links(child.field)
            elif child.field.auto_created and not child.field.concrete:
                self._follow(child.model, child.field.field)

    def _follow_links(self, field: Any) -> None:
        link = field.field if field.auto_created else field
        through = link.remote_field.through
        self._links[through] = link
        m2m_changed.connect(self._tell_of_links, sender=through)
        if not through._meta.auto_created:
            # A site writes such rows itself, too.
            to_link, from_link = link.m2m_reverse_field_name(), link.m2m_field_name()
            name = to_link if field.auto_created else from_link
            self._follow(through, through._meta.get_field(name))

    def _follow(self, model: Any, forward: Any) -> None:
        for sender in _family(model):
            self._owners.setdefault(sender, []).append(forward)
            for signal in (post_save, post_delete, _rows_changed):
                signal.connect(self._tell_of_owner, sender=sender)

    def _tell(self, instance: Any, using: str, **kwargs: Any) -> None:
        self._publish([instance.pk], using)

    def _tell_of_owner(
        self, sender: Any, instance: Any, using: str, **kwargs: Any
    ) -> None:
        """Tell of the rows with which `instance` is shown."""
        for forward in self._owners[sender]:
            # None of what is but the part of it that is in the table of a parent.
            key = getattr(instance, forward.attname, None)
            if key is not None and not forward.target_field.primary_key:
                key = getattr(instance, forward.name).pk
            self._publish([key], using)

    def _tell_of_links(
        self,
        sender: Any,
        instance: Any,
        action: str,
        reverse: bool,
        model: Any,
        pk_set: set[Any] | None,
        using: str,
        **kwargs: Any,
    ) -> None:
        """Tell of the rows on either side of a relation to many."""
        if action == "pre_clear":
            # Afterwards nobody knows which they were.
            pk_set = _linked(self._links[sender], instance, reverse, using)
        elif action not in ("post_add", "post_remove"):
            return
        if pk_set and type(instance) in self._family:
            self._publish([instance.pk], using)
        if pk_set and model in self._family:
            self._publish(pk_set, using)

    def _publish(self, keys: Iterable[Any], using: str) -> None:
        for key in keys:
            if key is not None:
                publish(ResourceUpdated(self._exposure.uri(key)), using=using)


def rows_changed(rows: Iterable[models.Model]) -> None:
    """
    Tell those who watch any of `rows`, or a row that shows one, that it was changed.

    Call it in the transaction that changed them, or after it. A queryset is evaluated:
    where it does not find them any more, take a list of them before.
    """
    for row in rows:
        using = router.db_for_write(type(row), instance=row)
        _rows_changed.send(sender=type(row), instance=row, using=using)


def _linked(link: Any, instance: Any, reverse: bool, using: str) -> set[Any]:
    """Return the keys of the rows that a relation leads to from `instance`."""
    here, there = link.m2m_field_name(), link.m2m_reverse_field_name()
    if reverse:
        here, there = there, here
    rows = link.remote_field.through._base_manager.using(using)
    return set(rows.filter(**{here: instance}).values_list(f"{there}__pk", flat=True))


def _family(model: Any) -> list[Any]:
    """Return the models whose rows are, or are a part of, rows of `model`: proxies,
    children and parents."""
    concrete = model._meta.concrete_model
    others: list[Any] = apps.get_models()
    return [
        other
        for other in others
        if issubclass(other._meta.concrete_model, concrete)
        or issubclass(concrete, other._meta.concrete_model)
    ]
