"""
Writes: through the model's form, filled from the row first, in one transaction.

What is not given is not touched. What a row refers to must be in reach of whoever
writes, and so must the row itself, before and after.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import (
    DataError,
    IntegrityError,
    OperationalError,
    connections,
    models,
    router,
    transaction,
)
from django.db.models import ProtectedError, RestrictedError
from django.db.models.deletion import Collector
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.text import get_text_list
from msgspec import Struct

from mcp_channels.modeltools.allowlist import Column, Related
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

if TYPE_CHECKING:
    from mcp_channels.modeltools.exposure import Exposure

__all__ = ["Writer", "writing"]

_VERSION_SALT: Final = "mcp_channels.modeltools.version"
_CONFLICTS: Final = frozenset({"40001", "40P01", "55P03"})  # SQLSTATE


class Writer:
    """Writes rows of an exposed model."""

    def __init__(self, exposure: "Exposure") -> None:
        self._exposure = exposure
        self._tools = exposure.tools
        self._form = exposure.form

    # One row

    def create(self, context: Asker, values: Struct) -> Any:
        """Return a new row. Raise ToolError with all that is wrong."""
        database = router.db_for_write(self._tools.model)
        with writing(database):
            return self._create(context, values, database, "values")

    def update(
        self, context: Asker, key: Any, values: Struct, version: str | None
    ) -> Any:
        """Return the changed row. Raise ToolError with all that is wrong."""
        database = router.db_for_write(self._tools.model)
        with writing(database):
            return self._update(context, key, values, version, database, "values")

    def delete(self, context: Asker, key: Any, version: str | None) -> str:
        """Delete a row, and return what it was called. Raise ToolError if it cannot
        be."""
        database = router.db_for_write(self._tools.model)
        with writing(database):
            return self._delete(context, key, version, database, "")

    # Several, all or none

    def create_all(self, context: Asker, rows: Iterable[Struct]) -> list[Any]:
        """Return new rows. Raise ToolError with what is wrong with the first that
        cannot be created; then there is none of them."""
        database = router.db_for_write(self._tools.model)
        with writing(database):
            return [
                self._create(context, values, database, f"rows[{index}]")
                for index, values in enumerate(rows)
            ]

    def update_all(self, context: Asker, rows: Iterable[Any]) -> list[Any]:
        """Return the changed rows. Raises as create_all() does."""
        database = router.db_for_write(self._tools.model)
        with writing(database):
            return [
                self._update(
                    context,
                    row.pk,
                    row.values,
                    row.version,
                    database,
                    f"rows[{index}].values",
                )
                for index, row in enumerate(rows)
            ]

    def delete_all(self, context: Asker, keys: Iterable[Any]) -> list[str]:
        """Return what the deleted rows were called. Raises as create_all() does."""
        database = router.db_for_write(self._tools.model)
        with writing(database):
            return [
                self._delete(context, key, None, database, f"pks[{index}]: ")
                for index, key in enumerate(keys)
            ]

    def version(self, instance: Any) -> str:
        """Return what changes when a column of the row does that is shown."""
        shown = [
            getattr(instance, child.field.attname)
            for child in self._exposure.allowlist.children.values()
            if isinstance(child, Column | Related) and hasattr(child.field, "attname")
        ]
        # Keyed: what was guessed cannot be tried out.
        text = repr([str(value) for value in shown])
        return salted_hmac(_VERSION_SALT, text, algorithm="sha256").hexdigest()[:16]

    def _create(self, context: Asker, values: Struct, database: str, label: str) -> Any:
        return self._save(
            context, self._tools.model(), values, database, label, is_new=True
        )

    def _update(
        self,
        context: Asker,
        key: Any,
        values: Struct,
        version: str | None,
        database: str,
        label: str,
    ) -> Any:
        instance = self._find(context, key, database)
        if not self._tools.has_change_permission(context, instance):
            raise ToolError(f"You may not change {self._name_of(instance)}.")
        self._check_version(instance, version)
        return self._save(context, instance, values, database, label, is_new=False)

    def _delete(
        self,
        context: Asker,
        key: Any,
        version: str | None,
        database: str,
        label: str,
    ) -> str:
        instance = self._find(context, key, database)
        if not self._tools.has_delete_permission(context, instance):
            raise ToolError(f"{label}You may not delete {self._name_of(instance)}.")
        self._check_version(instance, version)
        self._check_cascade(context, instance, database, label)
        name = str(instance)
        # Before: a deleted row has no key.
        self._log(context, instance, name, "delete", [])
        try:
            self._tools.delete_model(context, instance)
        except (ProtectedError, RestrictedError):
            raise ToolError(
                f"{label}{self._name_of(instance)} cannot be deleted: other rows need "
                f"it."
            ) from None
        return name

    def _find(self, context: Asker, key: Any, database: str) -> Any:
        if connections[database].features.has_select_for_update:
            # By itself: what get_queryset() returns need not be lockable.
            rows = self._tools.model._base_manager.using(database).filter(pk=key)
            list(rows.select_for_update().values_list("pk"))
        queryset = self._tools.get_queryset(context).using(database)
        return self._exposure.find(context, key, queryset)

    def _save(
        self,
        context: Asker,
        instance: Any,
        values: Struct,
        database: str,
        label: str,
        *,
        is_new: bool,
    ) -> Any:
        given = self._form.given(values)
        form = self._form.bind(context, instance, given, database, label, is_new=is_new)
        if not form.is_valid():
            raise ToolError(self._form.sentences(form.errors.as_data(), label))
        instance = form.save(commit=False)
        try:
            self._tools.save_model(context, instance, form, change=not is_new)
        except ValidationError as exc:
            errors = getattr(exc, "error_dict", {NON_FIELD_ERRORS: [exc]})
            raise ToolError(self._form.sentences(errors, label)) from None
        form.save_m2m()
        queryset = self._tools.get_queryset(context).using(database)
        if not queryset.filter(pk=instance.pk).exists():
            # Else rows could be slipped to somebody else.
            raise ToolError(f"{label}: it would be out of your own reach.")
        self._log(
            context, instance, str(instance), "add" if is_new else "change", [*given]
        )
        return instance

    def _check_version(self, instance: Any, version: str | None) -> None:
        if version is None:
            return
        current = self.version(instance)
        if not constant_time_compare(current, version):
            raise ToolError(
                f"{self._name_of(instance)} was changed since you read it. Read it "
                f"again; its version is {current!r} now."
            )

    def _check_cascade(
        self, context: Asker, instance: Any, database: str, label: str
    ) -> None:
        """Raise ToolError if rows would go along that may not be deleted."""
        if type(instance).delete is not models.Model.delete:
            return  # what it deletes is its own matter, as where it only marks a row
        collector = Collector(using=database, origin=instance)
        try:
            collector.collect([instance])
        except (ProtectedError, RestrictedError):
            return  # it will be refused for that
        going = {model for model, rows in collector.data.items() if rows}
        going |= {rows.model for rows in collector.fast_deletes}
        for model in going - {type(instance)}:
            exposure = self._exposure.registered.get(model)
            if exposure and not exposure.tools.has_delete_permission(context):
                raise ToolError(
                    f"{label}{self._name_of(instance)} cannot be deleted: you may not "
                    f"delete what belongs to it."
                )

    def _name_of(self, instance: Any) -> str:
        return f"{self._exposure.noun} {str(instance)!r}"

    def _log(
        self,
        context: Asker,
        instance: Any,
        name: str,
        action: str,
        changed: list[str],
    ) -> None:
        """Write to the history that Django's admin shows, where there is one."""
        if not apps.is_installed("django.contrib.admin"):
            return
        if not context.user.is_authenticated:
            return
        from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
        from django.contrib.contenttypes.models import ContentType

        flags = {"add": ADDITION, "change": CHANGE, "delete": DELETION}
        message = "MCP"
        if action == "change":
            message = f"MCP: changed {get_text_list(changed, 'and') or 'nothing'}"
        LogEntry.objects.create(
            user_id=context.user.pk,
            content_type=ContentType.objects.get_for_model(
                instance, for_concrete_model=False
            ),
            object_id=str(instance.pk),
            object_repr=name[:200],
            action_flag=flags[action],
            change_message=message,
        )


@contextmanager
def writing(database: str) -> Iterator[None]:
    """
    Make the writes of a block one, on `database`.

    Raise ToolError for what only the database could know.
    """
    try:
        with transaction.atomic(using=database):
            yield
    except IntegrityError:
        raise ToolError(
            "It does not go together with other rows: something that must be unique "
            "is taken, or something that it refers to is gone."
        ) from None
    except DataError:
        raise ToolError("A value is too large for the database.") from None
    except OperationalError as exc:
        if not _is_conflict(exc):
            raise
        raise ToolError("Somebody else is changing the same rows. Try again.") from None


def _is_conflict(exc: OperationalError) -> bool:
    cause = exc.__cause__
    if getattr(cause, "sqlstate", None) in _CONFLICTS:
        return True
    return str(getattr(cause, "sqlite_errorname", "")).startswith("SQLITE_BUSY")
