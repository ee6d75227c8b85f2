"""Rows as resources: django://app_label.model/key."""

from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.utils.text import capfirst
from msgspec import DecodeError, json

from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.modeltools.query import Pages
from mcp_channels.modeltools.values import is_text, to_python
from mcp_channels.protocol import content
from mcp_channels.server.context import Context
from mcp_channels.server.permissions import Identity
from mcp_channels.server.resources import ResourceTemplate
from mcp_channels.server.tools import ToolError

__all__ = ["make_template"]

_JSON = "application/json"
_MOST_COMPLETED = 100


def make_template(exposure: Exposure) -> ResourceTemplate:
    """Return the resource template of an exposed model."""
    key = exposure.model._meta.pk

    def row(context: Context, pk: str) -> Any:
        try:
            found = exposure.find(context, _to_key(key, pk), _prepared(context))
        except (ToolError, ValidationError, ValueError, OverflowError):
            raise ObjectDoesNotExist from None
        return exposure.reader(context).read(found)

    def _prepared(context: Context) -> Any:
        queryset = exposure.tools.get_queryset(context)
        return exposure.reader(context).prepare(exposure.prepare(queryset))

    def complete(value: str, context: Context) -> list[str]:
        queryset = exposure.tools.get_queryset(context)
        if value and is_text(key):
            queryset = queryset.filter(pk__istartswith=value)
        elif value and exposure.search:
            queryset = exposure.search.apply(
                queryset, value, context, exposure.registered
            )
        elif value:
            try:
                queryset = queryset.filter(pk=_to_key(key, value))
            except (ValidationError, ValueError, OverflowError):
                return []
        instances, _ = _pages(exposure).take(queryset, None, _MOST_COMPLETED)
        return [_to_text(instance.pk) for instance in instances]

    def list_rows(context: Context) -> list[content.Resource]:
        queryset = exposure.prepare(exposure.tools.get_queryset(context))
        instances, _ = _pages(exposure).take(queryset, None, exposure.tools.page_size)
        return [
            content.Resource(
                uri=exposure.uri(instance.pk),
                name=f"{exposure.name} {_to_text(instance.pk)}",
                title=str(instance),
                mime_type=_JSON,
            )
            for instance in instances
            if not exposure.checks_rows
            or exposure.tools.has_view_permission(context, instance)
        ]

    def may_read(identity: Identity) -> bool:
        return exposure.may("get", identity)

    row.__name__ = exposure.name
    return ResourceTemplate(
        row,
        f"django://{exposure.label}/{{pk}}",
        name=exposure.name,
        title=capfirst(exposure.noun),
        description=f"One {exposure.noun}. {exposure.tools.description}".strip(),
        mime_type=_JSON,
        complete={"pk": complete},
        list=list_rows if exposure.tools.list_resources else None,
        permission=may_read,
    )


def _pages(exposure: Exposure) -> Pages:
    return Pages(exposure.label, exposure.ordering.terms(None))


def _to_key(field: Any, text: str) -> Any:
    """Return the key that a URI names. Raise ValidationError or ValueError when it
    cannot be one."""
    if "\0" in text:
        raise ValueError("No database has a text with the character NUL.")
    if not hasattr(field, "fields"):
        return to_python(field, text)
    try:
        values = json.decode(text)
    except DecodeError as exc:
        raise ValueError(str(exc)) from None
    if not isinstance(values, list) or len(values) != len(field.fields):
        raise ValueError("It has another number of columns.")
    return to_python(field, values)


def _to_text(key: Any) -> str:
    return json.encode(key).decode() if isinstance(key, tuple) else str(key)
