"""
The form of a model: what an agent may give, and how it becomes what a form takes.

The form checks, as it does in the admin; its widgets have no part in it. It is filled
from the row first, and what is not given stays as it is, unchecked.
"""

import json
from collections.abc import Mapping
from mimetypes import guess_type
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from django import forms
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    MultipleObjectsReturned,
    ObjectDoesNotExist,
    SuspiciousFileOperation,
    ValidationError,
)
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models, router
from django.db.models import QuerySet
from django.forms.models import modelform_factory
from django.utils.text import get_valid_filename
from msgspec import UNSET, Meta, Struct, UnsetType

from mcp_channels.modeltools.allowlist import Column, Related
from mcp_channels.modeltools.keys import key_annotation_of, show_key
from mcp_channels.modeltools.reach import Sight, reach
from mcp_channels.modeltools.values import (
    Range,
    Upload,
    describe,
    to_database,
    write_annotation_of,
)
from mcp_channels.server.permissions import Asker
from mcp_channels.server.tools import ToolError

if TYPE_CHECKING:
    from mcp_channels.modeltools.exposure import Exposure

__all__ = ["RowForm"]

_MOST_KEYS: Final = 100  # of a relation to many
_HIDDEN: Final = "The values do not go together, or not with those of another row."


class _Given(forms.Widget):
    """Takes what is given as it is: it has its type already."""

    def __init__(self, widget: Any) -> None:
        super().__init__()
        self._widget = widget

    def decompress(self, value: Any) -> Any:
        """Return the parts of a value, for a field that has several."""
        return self._widget.decompress(value)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return data.get(name)


class _PartialForm(forms.ModelForm):  # type: ignore[type-arg]
    """
    Leaves alone the fields that are `left` out.

    They are not cleaned, and on a change not validated: what the row has was valid when
    it was written. `kept` is what they hold, for the methods of a site's form; what
    clean() makes of it counts.
    """

    is_new: bool
    left: frozenset[str] = frozenset()
    kept: Mapping[str, Any] = {}
    # Of relations to many, the keys of rows that the one who writes does not see.
    unseen: Mapping[str, list[Any]] = {}

    def _clean_fields(self) -> None:
        fields = self.fields
        self.fields = {name: fields[name] for name in fields if name not in self.left}
        self.cleaned_data.update(self.kept)
        super()._clean_fields()  # type: ignore[misc]
        self.fields = fields

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded if self.is_new else excluded | self.left

    def _post_clean(self) -> None:
        for name, value in self.kept.items():
            if self.cleaned_data.get(name) is value:
                self.cleaned_data.pop(name, None)
        super()._post_clean()  # type: ignore[misc]
        for name, keys in self.unseen.items():
            if name in self.cleaned_data:
                self.cleaned_data[name] = [*self.cleaned_data[name], *keys]


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
            and _is_wanted(tools.form, child.name)
        ]
        form = type(tools.form.__name__, (_PartialForm, tools.form), {})
        self._form: Any = modelform_factory(
            tools.model, form=form, fields=[child.name for child in self._writable]
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
        label: str,
        *,
        is_new: bool,
    ) -> Any:
        """
        Return the form with what is `given`, for a row that is read from where it will
        be written.

        Raise ToolError, in which `label` stands for the values, when something given
        cannot even be looked at.
        """
        form = self._form(data={}, instance=instance)
        form.is_new = is_new
        form.left = frozenset(self.names) - given.keys()
        form.unseen = {}
        problems: list[str] = []
        for child in self._writable:
            name = child.name
            try:
                if name in given:
                    form.data[name] = self._to_form(context, child, given[name], form)
                    form.fields[name].widget = _Given(form.fields[name].widget)
                elif name in form.fields:
                    form.fields[name].disabled = True  # so it is not among the changes
            except ToolError as exc:
                problems.append(f"{label}.{name}: {exc.message}")
        if problems:
            raise ToolError("\n".join(problems))
        if self._tools.form is not forms.ModelForm:
            form.kept = self._kept(instance, form.left, is_new)
        return form

    def sentences(self, errors: Mapping[str, Any], label: str) -> str:
        """Return errors in words, without one of what is not shown."""
        found = []
        for name, listed in errors.items():
            for error in listed:
                if not self._may_tell(name, error):
                    found.append(f"{label}: {_HIDDEN}")
                elif name == NON_FIELD_ERRORS:
                    found.append(f"{label}: {' '.join(error.messages)}")
                else:
                    found.append(f"{label}.{name}: {' '.join(error.messages)}")
        return "\n".join(dict.fromkeys(found))

    def _may_tell(self, name: str, error: ValidationError) -> bool:
        params = error.params or {}
        involved = [*params.get("unique_check", ()), params.get("date_field", name)]
        shown = {*self._allowlist.children, NON_FIELD_ERRORS}
        return shown.issuperset([name, *involved]) and not any(
            message in _messages_with_names(self._tools.model)
            for message in error.messages
        )

    def _kept(
        self, instance: Any, left: frozenset[str], is_new: bool
    ) -> dict[str, Any]:
        kept = {}
        for child in self._writable:
            if child.name not in left or (is_new and _has_db_default(child.field)):
                continue
            if child.field.many_to_many:
                kept[child.name] = [] if is_new else getattr(instance, child.name).all()
            else:
                # A relation that leads nowhere yet has no such attribute.
                kept[child.name] = getattr(instance, child.name, None)
        return kept

    def _to_form(
        self, context: Asker, child: Column | Related, value: Any, form: Any
    ) -> Any:
        """Return a value as the field of the form takes it. Raise ToolError if it
        cannot be one."""
        field: Any = form.fields.get(child.name)
        if field is None:
            # A site's form may do without one, of this row.
            raise ToolError("it cannot be written.")
        if isinstance(child, Related):
            database = router.db_for_write(child.model, instance=form.instance)
            if isinstance(field, forms.ModelChoiceField):
                choices: Any = field.queryset
                field.queryset = choices.using(database)
            if child.is_many:
                return self._to_keys(context, child, value, form, database)
            return self._to_key(context, child, value, database)
        if isinstance(value, Upload):
            return self._to_file(value)
        if value is None and isinstance(child.field, models.FileField):
            if field.required:
                # A form would keep it, and say nothing.
                raise ToolError("a file is needed.")
            return False  # how a form is told to take the file away
        if value is None and not child.field.null and _is_json(field):
            raise ToolError("null is not possible.")
        if value is None and child.field.null and not field.required:
            # Forms of arrays and the like make something empty of it.
            field.clean = _to_null
        if isinstance(value, Range):
            value = to_database(value)
            if value.bounds == "empty" or value.lower is value.upper is None:
                # A form takes these for no value at all.
                raise ToolError("a range has a lower or an upper bound, or both.")
            field.range_kwargs = {"bounds": value.bounds}
            return [value.lower, value.upper]
        if _is_json(field):
            return json.dumps(value)
        value = to_database(value)
        if isinstance(field, forms.MultiValueField):
            return field.widget.decompress(value)
        return value

    def _to_file(self, upload: Upload) -> SimpleUploadedFile:
        name, most = upload.filename, self._tools.max_upload_bytes
        if len(upload.data) > most:
            raise ToolError(f"a file may have at most {most} bytes.")
        try:
            if set(name) & set("/\\\0"):
                raise SuspiciousFileOperation
            get_valid_filename(name)
        except SuspiciousFileOperation:
            raise ToolError(
                "the filename is one without folders, of letters or digits."
            ) from None
        kind = guess_type(name)[0] or "application/octet-stream"
        return SimpleUploadedFile(name, upload.data, kind)

    def _to_key(
        self, context: Asker, related: Related, value: Any, database: str
    ) -> Any:
        if value is None:
            return None
        (row,) = self._find(context, related, [value], database)
        return getattr(row, related.field.target_field.attname)

    def _to_keys(
        self, context: Asker, related: Related, values: Any, form: Any, database: str
    ) -> Any:
        keys = [row.pk for row in self._find(context, related, values, database)]
        if form.is_new:
            return keys
        linked = getattr(form.instance, related.name).using(database)
        rows, sees = self._sight(context, related, database)
        among = linked.filter(pk__in=rows.order_by().values("pk"))
        seen = [row.pk for row in among if sees(row)]
        if len(seen) > _MOST_KEYS:
            # Only the first of them are shown, so that nobody can name them all.
            raise ToolError(f"there are more than {_MOST_KEYS} of them.")
        # What somebody does not see is not theirs to take away.
        form.unseen[related.name] = list(
            linked.exclude(pk__in=seen).values_list("pk", flat=True)
        )
        return keys

    def _find(
        self, context: Asker, related: Related, values: list[Any], database: str
    ) -> list[Any]:
        """Return the rows that keys or natural keys lead to. Raise ToolError when one
        does not exist for whoever asks."""
        keys = [_to_key(related.model, value, database) for value in values]
        rows, sees = self._sight(context, related, database)
        by_key = {row.pk: row for row in rows.filter(pk__in=keys)}
        for key, value in zip(keys, values, strict=True):
            # Hidden and missing look the same.
            if key not in by_key or not sees(by_key[key]):
                noun = related.model._meta.verbose_name
                raise ToolError(f"there is no {noun} {show_key(value)}.")
        return [by_key[key] for key in keys]

    def _sight(
        self, context: Asker, related: Related, database: str
    ) -> tuple[QuerySet[Any], Sight]:
        """Return the rows in reach, and what tells whether one of them is seen."""
        seen = reach(self._exposure.registered, related.model, context)
        rows = related.model._default_manager.all() if seen.rows is None else seen.rows
        rows = rows.using(database) if seen.can_view else rows.none()
        return rows, seen.sees or _sees_any

    def _type(self, name: str, declared: Any, *, is_new: bool) -> type[Struct]:
        members: list[Any] = []
        for child in self._writable:
            if not is_new and _is_in_key(child.field):
                continue  # a row with another key is another row
            annotation = self._annotation(child)
            said = {"title": child.title, "description": describe(child.field)}
            meta: Any = {key: text for key, text in said.items() if text}
            is_required = (
                is_new
                and declared[child.name].required
                and not child.field.has_default()
                and not _has_db_default(child.field)
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
        key: Any = key_annotation_of(child.model)
        if hasattr(child.model._default_manager, "get_by_natural_key"):
            key = key | list[str | int]
        if child.is_many:
            return Annotated[list[key], Meta(max_length=_MOST_KEYS)]
        return key | None if child.field.null else key


def _is_writable(field: Any) -> bool:
    if field.many_to_many and not field.auto_created:
        # A row of another model has what there is to say of a link.
        return bool(field.editable and field.remote_field.through._meta.auto_created)
    return bool(
        field.concrete
        and field.editable
        and not getattr(field, "generated", False)
        and not (field.primary_key and isinstance(field, models.AutoField))
        and not isinstance(field, models.BinaryField)
    )


def _is_wanted(form: Any, name: str) -> bool:
    """Tell whether a field may be in a site's form, which may say so itself."""
    names: Any = getattr(getattr(form, "Meta", None), "fields", None)
    says_all = names in (None, forms.ALL_FIELDS)
    return says_all or name in names or name in form.declared_fields


def _is_in_key(field: Any) -> bool:
    key = field.model._meta.pk
    return bool(field.primary_key or field in getattr(key, "fields", ()))


def _is_json(field: Any) -> bool:
    return isinstance(field, forms.JSONField)


def _has_db_default(field: Any) -> bool:
    return getattr(field, "db_default", models.NOT_PROVIDED) is not models.NOT_PROVIDED


def _sees_any(row: Any) -> bool:
    return True


def _to_key(model: Any, value: Any, database: str) -> Any:
    """Return the key that a key or a natural key stands for; None if that is none."""
    try:
        value = to_database(value)
        if isinstance(value, list):
            manager = model._default_manager.db_manager(database)
            return manager.get_by_natural_key(*value).pk
    except (
        MultipleObjectsReturned,
        ObjectDoesNotExist,
        OverflowError,
        ToolError,
        TypeError,
        ValidationError,
        ValueError,
    ):
        return None
    return value


def _messages_with_names(model: Any) -> list[str]:
    """Return the messages of constraints that name them: one may be called after a
    column."""
    return [
        constraint.get_violation_error_message()
        for parent in (model, *model._meta.all_parents)
        for constraint in parent._meta.constraints
        if constraint.violation_error_message
        == constraint.default_violation_error_message
    ]


def _to_null(value: Any) -> None:
    return None
