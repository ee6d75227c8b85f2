"""
Writes: through the model's form, filled from the row first, in one transaction.

What is not given is not touched. What a row refers to must be in reach of whoever
writes, and so must the row itself, before and after.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    PermissionDenied,
    ValidationError,
)
from django.db import (
    DataError,
    IntegrityError,
    OperationalError,
    connections,
    models,
    transaction,
)
from django.db.models import ProtectedError, QuerySet, RestrictedError
from django.db.models.deletion import Collector
from django.http import Http404
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.text import get_text_list
from msgspec import Struct

from mcp_channels.modeltools.allowlist import Column, Related
from mcp_channels.modeltools.options import ModelTools
from mcp_channels.modeltools.values import to_database
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

if TYPE_CHECKING:
    from mcp_channels.modeltools.exposure import Exposure

__all__ = ["Transaction", "Writer", "refusing", "writing"]

logger = logging.getLogger("mcp_channels")

_VERSION_SALT: Final = "mcp_channels.modeltools.version"
_CONFLICTS: Final = frozenset({"40001", "40P01", "55P03"})  # SQLSTATE


class Writer:
    """Writes rows of an exposed model."""

    def __init__(self, exposure: "Exposure") -> None:
        self._exposure = exposure

    @contextmanager
    def begin(self, context: Asker) -> Iterator["Transaction"]:
        """Make the writes of a block one: all of them, or none if it raises."""
        begun = Transaction(self._exposure, context)
        try:
            with writing(begun.database):
                yield begun
                begun.log()
        except BaseException:
            begun.discard_files()
            raise

    def database(self, context: Asker) -> str:
        """Return the alias of the database that whoever asks writes to."""
        # It is that of the rows, if a site says one; as a lock would, ask for the one
        # to write to.
        rows = self._exposure.tools.get_queryset(context)
        return rows.select_for_update().db

    def version(self, instance: Any) -> str:
        """Return what changes when a column of the row does that is shown."""
        shown = [
            str(getattr(instance, child.field.attname))
            for child in self._exposure.allowlist.children.values()
            if isinstance(child, Column | Related)
            and child.field.concrete
            and not child.field.many_to_many
        ]
        # Keyed: what was guessed cannot be tried out.
        digest = salted_hmac(_VERSION_SALT, repr(shown), algorithm="sha256")
        return digest.hexdigest()[:16]


class Transaction:
    """
    What one call writes, see Writer.begin().

    Each method raises ToolError with all that is wrong. `place` and `label` say there
    which row, and which values, of several.
    """

    def __init__(self, exposure: "Exposure", context: Asker) -> None:
        self._exposure = exposure
        self._context = context
        self._tools = exposure.tools
        self._form = exposure.form
        self.database = exposure.writer.database(context)
        self._entries: list[Any] = []
        self._files: list[Any] = []

    def create(self, values: Struct, label: str = "values") -> Any:
        """Return a new row."""
        instance = self._tools.model()
        instance._state.db = self.database
        return self._save(instance, values, label, is_new=True)

    def update(
        self,
        key: Any,
        values: Struct,
        version: str | None = None,
        label: str = "values",
        place: str = "",
    ) -> Any:
        """Return the changed row; refuse when it has another `version`."""
        with _at(place):
            instance = self._find(key, version)
            if not self._tools.has_change_permission(self._context, instance):
                raise ToolError(f"You may not change {self._name_of(instance)}.")
        return self._save(instance, values, label, is_new=False)

    def delete(self, key: Any, version: str | None = None, place: str = "") -> str:
        """Delete a row, and return what it was called."""
        with _at(place):
            instance = self._find(key, version)
            if not self._tools.has_delete_permission(self._context, instance):
                raise ToolError(f"You may not delete {self._name_of(instance)}.")
            name = str(instance)
            # Before: a deleted row has no key.
            self._note(instance, name, "delete")
            self._delete(instance, key)
        return name

    def log(self) -> None:
        """Write to the history that Django's admin shows, where there is one."""
        if self._entries:
            from django.contrib.admin.models import LogEntry

            LogEntry.objects.bulk_create(self._entries)

    def discard_files(self) -> None:
        """Delete the files that were saved for rows that there will not be."""
        for file in self._files:
            if file and file._committed:
                try:
                    file.storage.delete(file.name)
                except Exception:
                    # What went wrong before is what matters to whoever asked.
                    logger.exception("A file of a row that is not there is left")

    def _find(self, key: Any, version: str | None) -> Any:
        if connections[self.database].features.has_select_for_update:
            # By itself: what get_queryset() returns need not be lockable. All columns:
            # some may be in the table of a parent.
            rows = self._tools.model._base_manager.using(self.database)
            with suppress(ToolError):  # for a key that no row could have
                list(rows.filter(pk=to_database(key)).select_for_update())
        instance = self._exposure.find(self._context, key, self._rows())
        if version is not None and not constant_time_compare(
            version, self._exposure.writer.version(instance)
        ):
            raise ToolError(
                f"{self._name_of(instance)} was changed since you read it. Read it "
                f"again."
            )
        return instance

    def _rows(self) -> QuerySet[Any]:
        return self._tools.get_queryset(self._context).using(self.database)

    def _save(self, instance: Any, values: Struct, label: str, *, is_new: bool) -> Any:
        given = self._form.given(values)
        form = self._form.bind(self._context, instance, given, label, is_new=is_new)
        if not form.is_valid():
            raise ToolError(self._form.sentences(form.errors.as_data(), label))
        instance = form.save(commit=False)
        self._files += [
            getattr(instance, name)
            for name in given
            if isinstance(instance._meta.get_field(name), models.FileField)
        ]
        with self._refusing(label):
            self._tools.save_model(self._context, instance, form, change=not is_new)
            form.save_m2m()
        row = self._rows().filter(pk=instance.pk).first()
        if row is None or not self._tools.has_view_permission(self._context, row):
            # Else rows could be slipped to somebody else.
            raise ToolError(f"{label}: it would be out of your own reach.")
        changed = [name for name in given if name in form.changed_data]
        self._note(instance, str(instance), "add" if is_new else "change", changed)
        return instance

    def _delete(self, instance: Any, key: Any) -> None:
        is_refused = not self._may_delete_with(instance)
        name = self._name_of(instance)
        refusal = f"{name} cannot be deleted: you may not delete what belongs to it."
        is_plain = (
            type(instance).delete is models.Model.delete
            and type(self._tools).delete_model is ModelTools.delete_model
        )
        if is_refused and is_plain:
            raise ToolError(refusal)
        with self._refusing("pk"):
            try:
                self._tools.delete_model(self._context, instance)
            except (ProtectedError, RestrictedError):
                raise ToolError(
                    f"{name} cannot be deleted: other rows need it."
                ) from None
        rows = self._tools.model._base_manager.using(self.database)
        if is_refused and not rows.filter(pk=key).exists():
            # It was not only marked as deleted.
            raise ToolError(refusal)

    def _may_delete_with(self, instance: Any) -> bool:
        """Tell whether all rows may be deleted that go along with this one."""
        collector = Collector(using=self.database, origin=instance)
        try:
            collector.collect([instance])
        except (ProtectedError, RestrictedError):
            return True  # it will be refused for that
        going: list[tuple[Any, Any]] = [*collector.data.items()]
        going += [(rows.model, rows) for rows in collector.fast_deletes]
        return all(
            self._may_delete(model, list(rows))
            for model, rows in going
            # What is in the table of a parent is a part of the row itself.
            if not isinstance(instance, model)
        )

    def _may_delete(self, model: Any, rows: list[Any]) -> bool:
        exposure = self._exposure.registered.get(model)
        if exposure is None or not rows:
            return True
        tools = exposure.tools
        seen = tools.get_queryset(self._context).using(self.database)
        found = list(seen.filter(pk__in=[row.pk for row in rows]))
        return len(found) == len(rows) and all(
            tools.has_delete_permission(self._context, row) for row in found
        )

    @contextmanager
    def _refusing(self, label: str) -> Iterator[None]:
        """Let what a site or a database refuses be a ToolError."""
        try:
            yield
        except IntegrityError:
            raise ToolError(f"{label}: {_refused_by_database()}") from None
        except (DataError, OverflowError):
            raise ToolError(
                f"{label}: A value does not fit into the database."
            ) from None
        except ValidationError as exc:
            errors: Any = getattr(exc, "error_dict", None)
            if errors is None:
                errors = {NON_FIELD_ERRORS: exc.error_list}
            raise ToolError(self._form.sentences(errors, label)) from None

    def _name_of(self, instance: Any) -> str:
        return f"{self._exposure.noun} {str(instance)!r}"

    def _note(
        self, instance: Any, name: str, action: str, changed: Iterable[str] = ()
    ) -> None:
        if not apps.is_installed("django.contrib.admin"):
            return
        if not isinstance(self._context.user, get_user_model()):
            return  # nobody, or one that is in no database
        from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
        from django.contrib.contenttypes.models import ContentType

        flags = {"add": ADDITION, "change": CHANGE, "delete": DELETION}
        message = "MCP"
        if action == "change":
            message = f"MCP: changed {get_text_list([*changed], 'and') or 'nothing'}"
        kind = ContentType.objects.get_for_model(instance, for_concrete_model=False)
        self._entries.append(
            LogEntry(
                user_id=self._context.user.pk,
                content_type=kind,
                object_id=str(instance.pk),
                object_repr=name[:200],
                action_flag=flags[action],
                change_message=message,
            )
        )


@contextmanager
def _at(place: str) -> Iterator[None]:
    try:
        yield
    except ToolError as exc:
        if not place:
            raise
        raise ToolError(f"{place}: {exc.message}", content=exc.content) from None


@contextmanager
def refusing() -> Iterator[None]:
    """Let what a site's code refuses in Django's words be a ToolError."""
    # Without their own words, which are written for a page.
    try:
        yield
    except PermissionDenied:
        raise ToolError("You may not do that.") from None
    except Http404:
        raise ToolError("Something that it needs does not exist.") from None


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
        # What is checked at the end of a transaction.
        raise ToolError(_refused_by_database()) from None
    except OperationalError as exc:
        if not _is_conflict(exc):
            raise
        raise ToolError("Somebody else is changing the same rows. Try again.") from None


def _refused_by_database() -> str:
    """Say that something is wrong with the rows, and tell the site's developer what."""
    # Its own text names columns, and shows other people's values.
    logger.warning("The database refused a write", exc_info=True)
    return (
        "It does not go together with other rows: something that must be unique is "
        "taken, or something that it refers to is gone."
    )


def _is_conflict(exc: OperationalError) -> bool:
    cause = exc.__cause__
    if getattr(cause, "sqlstate", None) in _CONFLICTS:
        return True
    return str(getattr(cause, "sqlite_errorname", "")).startswith("SQLITE_BUSY")
