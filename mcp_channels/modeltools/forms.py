"""
The form of a model: what an agent may give, and how it becomes what a form takes.

The form checks, as it does in the admin; its widgets have no part in it.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.db.models import QuerySet
from django.forms.models import modelform_factory
from msgspec import UNSET, Meta, Struct, UnsetType

from mcp_channels.modeltools.allowlist import Column, Related
from mcp_channels.modeltools.filters import to_moment
from mcp_channels.modeltools.rows import reach
from mcp_channels.modeltools.values import (
    Range,
    Unshowable,
    Upload,
    annotation_of,
    describe,
    write_annotation_of,
)
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

if TYPE_CHECKING:
    from mcp_channels.modeltools.exposure import Exposure

__all__ = ["RowForm"]

_MOST_KEYS: Final = 100  # of a relation to many


class _Given(forms.Widget):
    """Takes what is given as it is: it has its type already."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return data.get(name)


class RowForm:
    """
    The form of an exposed model, with those of its fields that can be written.

    `type_for_create` and `type_for_update` are what an agent may give. What is wrong
    with the options is in `problems`.
    """

    def __init__(self, exposure: "Exposure", name: str) -> None:
        self._exposure = exposure
        self._tools = tools = exposure.tools
        self._allowlist = allowlist = exposure.allowlist
        self.problems: list[str] = []
        self._writable: list[Column | Related] = [
            child
            for child in allowlist.children.values()
            if isinstance(child, Column | Related)
            and _is_writable(child.field)
            and child.name not in tools.readonly_fields
        ]
        self._form: type[Any] = modelform_factory(
            tools.model, form=tools.form, fields=[c.name for c in self._writable]
        )
        declared = self._form.base_fields
        # A form may exclude what it does not want to be written.
        self._writable = [child for child in self._writable if child.name in declared]
        known = {child.name for child in self._writable}
        for other, field in declared.items():
            if field.required and other not in known:
                self.problems.append(
                    f"the form requires {other!r}, which is no field that can be "
                    f"written. Name it among the fields, or let the form do without."
                )
        self.type_for_create = self._type(f"{name}_to_create", declared, is_new=True)
        self.type_for_update = self._type(f"{name}_to_update", declared, is_new=False)

    @property
    def names(self) -> list[str]:
        """What can be written."""
        return [child.name for child in self._writable]

    def given(self, values: Struct) -> dict[str, Any]:
        """Return what of `values` was given."""
        return {
            name: value
            for name in self.names
            if (value := getattr(values, name, UNSET)) is not UNSET
        }

    def bind(
        self,
        context: Asker,
        instance: Any,
        given: Mapping[str, Any],
        database: str,
        label: str,
        *,
        is_new: bool,
    ) -> Any:
        data = {}
        problems: list[str] = []
        for child in self._writable:
            if child.name in given:
                try:
                    data[child.name] = self._to_form(
                        context, child, given[child.name], database
                    )
                except ToolError as exc:
                    problems.append(f"{label}.{child.name}: {exc.message}")
        if problems:
            raise ToolError("\n".join(problems))
        form = self._form(data=data, instance=instance)
        for child in self._writable:
            name = child.name
            field = form.fields[name]
            if isinstance(child, Related):
                # Looked for already, in reach of the one who writes.
                field.queryset = child.model._base_manager.using(database).all()
            if name in given:
                field.widget = _Given()
            elif _must_be_left_out(child, is_new):
                del form.fields[name]
            else:
                # It keeps the value of the row, or the default.
                field.disabled = True
                if isinstance(field, forms.CharField):
                    field.strip = False
        return form

    def _to_form(
        self, context: Asker, child: Column | Related, value: Any, database: str
    ) -> Any:
        if isinstance(child, Related):
            return self._to_keys(context, child, value, database)
        if isinstance(value, Upload):
            if len(value.data) > self._tools.max_upload_bytes:
                raise ToolError(
                    f"a file may have {self._tools.max_upload_bytes} bytes."
                )
            return SimpleUploadedFile(value.filename, value.data)
        if value is None and isinstance(child.field, models.FileField):
            return False  # how a form is told to take the file away
        if isinstance(value, Range):
            return [value.lower, value.upper]
        if isinstance(child.field, models.JSONField):
            return json.dumps(value)
        if isinstance(child.field, models.BinaryField):
            return value
        if isinstance(value, datetime):
            return to_moment(value)
        return value

    def _to_keys(
        self, context: Asker, related: Related, value: Any, database: str
    ) -> Any:
        if value is None:
            return None
        seen = reach(self._exposure.registered, related.model, context)
        rows = seen.rows
        if rows is None:
            rows = related.model._default_manager.all()
        rows = rows.using(database) if seen.can_view else rows.none()
        if related.is_many:
            return [self._to_key(related, item, rows) for item in value]
        return self._to_key(related, value, rows)

    def _to_key(self, related: Related, value: Any, rows: QuerySet[Any]) -> Any:
        model: Any = related.model
        if isinstance(value, list):
            manager: Any = model._default_manager
            try:
                found = manager.get_by_natural_key(*value)
            except (model.DoesNotExist, TypeError, ValueError):
                found = None
            rows = rows.filter(pk=None if found is None else found.pk)
        else:
            rows = rows.filter(pk=value)
        instance = rows.first()
        if instance is None:
            # Hidden and missing look the same.
            shown = msgspec.json.encode(value).decode()
            raise ToolError(f"there is no {model._meta.verbose_name} {shown}.")
        if not related.is_many and related.field.concrete:
            return getattr(instance, related.field.target_field.attname)
        return instance.pk

    def sentences(self, errors: Mapping[str, Any], label: str) -> str:
        found = []
        for name, listed in errors.items():
            for error in listed:
                if name in self._allowlist.children:
                    text = " ".join(error.messages)
                    found.append(f"{label}.{name}: {text}")
                else:
                    found.append(f"{label}: {self._neutral(name, error)}")
        return "\n".join(dict.fromkeys(found))

    def _neutral(self, name: str, error: ValidationError) -> str:
        """Return what is wrong without a word of fields that are not shown."""
        involved = (error.params or {}).get("unique_check", ())
        is_shown = name == NON_FIELD_ERRORS and all(
            field in self._allowlist.children for field in involved
        )
        if is_shown and error.code != "constraint":
            return " ".join(error.messages)
        return "It does not go together with another row."

    def _type(self, name: str, declared: Any, *, is_new: bool) -> type[Struct]:
        members: list[Any] = []
        for child in self._writable:
            if not is_new and _is_in_key(child.field):
                continue  # a row with another key is another row
            try:
                annotation = self._annotation(child)
            except Unshowable as exc:
                self.problems.append(f"{child.name!r}: {exc}")
                continue
            said = {"title": child.title, "description": describe(child.field)}
            meta: Any = {key: text for key, text in said.items() if text}
            is_required = (
                is_new
                and declared[child.name].required
                and not _has_default(child.field)
            )
            if is_required:
                members.append((child.name, Annotated[annotation, Meta(**meta)]))
            else:
                annotation = Annotated[annotation | UnsetType, Meta(**meta)]
                members.append((child.name, annotation, UNSET))
        return msgspec.defstruct(
            name, members, kw_only=True, forbid_unknown_fields=True
        )

    def _annotation(self, child: Column | Related) -> Any:
        if isinstance(child, Column):
            return write_annotation_of(child.field)
        key: Any = annotation_of(child.model._meta.pk)
        if hasattr(child.model._default_manager, "get_by_natural_key"):
            key = key | list[str | int]
        if child.is_many:
            return Annotated[list[key], Meta(max_length=_MOST_KEYS)]
        return key | None if child.field.null else key


def _is_writable(field: Any) -> bool:
    return bool(
        field.concrete
        and field.editable
        and not getattr(field, "generated", False)
        and not (field.primary_key and isinstance(field, models.AutoField))
        and not isinstance(field, models.BinaryField)
    )


def _is_in_key(field: Any) -> bool:
    key = field.model._meta.pk
    return bool(field.primary_key or field in getattr(key, "fields", ()))


def _has_default(field: Any) -> bool:
    has_db_default = getattr(field, "db_default", models.NOT_PROVIDED)
    return bool(field.has_default() or has_db_default is not models.NOT_PROVIDED)


def _must_be_left_out(child: Column | Related, is_new: bool) -> bool:
    """Tell whether a form cannot keep what a row has in this field."""
    field = child.field
    if field.many_to_many or isinstance(field, models.FileField):
        return True
    has_db_default = getattr(field, "db_default", models.NOT_PROVIDED)
    return is_new and has_db_default is not models.NOT_PROVIDED
