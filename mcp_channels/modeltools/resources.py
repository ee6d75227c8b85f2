"""Rows as resources: django://app_label.model/key."""

from contextlib import suppress
from functools import partial
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.utils.text import capfirst

from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.modeltools.keys import NoSuchKey, key_from_text, key_to_text
from mcp_channels.modeltools.read_operations import read_one
from mcp_channels.modeltools.search import LONGEST_SEARCH
from mcp_channels.modeltools.values import is_text
from mcp_channels.protocol import content
from mcp_channels.protocol.errors import InternalError
from mcp_channels.server.context import Context
from mcp_channels.server.permissions import Identity
from mcp_channels.server.resources import ResourceTemplate
from mcp_channels.server.schemas import encode_value
from mcp_channels.server.tools import ToolError

__all__ = ["make_template"]

_JSON: Final = "application/json"
_MOST_COMPLETED: Final = 100


def make_template(exposure: Exposure) -> ResourceTemplate:
    """Return the resource template of an exposed model."""

    def row(context: Context, pk: str) -> Any:
        try:
            _, found = read_one(exposure, context, key_from_text(exposure.model, pk))
        except (NoSuchKey, ToolError):
            raise ObjectDoesNotExist from None
        most = exposure.tools.max_bytes
        if len(encode_value(found)) > most:
            raise InternalError(f"The row has more than {most} bytes")
        return found

    def complete(value: str, context: Context) -> list[str]:
        return [key_to_text(row.pk) for row in _complete(exposure, context, value)]

    def list_rows(context: Context) -> list[content.Resource]:
        queryset = exposure.prepare(exposure.rows(context))
        return [
            content.Resource(
                uri=exposure.uri(row.pk),
                name=f"{exposure.name} {key_to_text(row.pk)}",
                title=str(row),
                mime_type=_JSON,
            )
            for row in _first(exposure, context, queryset, exposure.tools.page_size)
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


def _complete(exposure: Exposure, context: Context, value: str) -> list[Any]:
    """Return the rows whose keys `value` may be meant to become."""
    rows = exposure.rows(context)
    # One more than is sent, so that the client is told that there are more.
    first = partial(_first, exposure, context, most=_MOST_COMPLETED + 1)
    if not value:
        return first(rows)
    if len(value) > LONGEST_SEARCH or "\0" in value:
        return []  # which no database is asked for
    if is_text(exposure.model._meta.pk):
        return first(rows.filter(pk__istartswith=value))
    found = []
    with suppress(NoSuchKey):
        found = first(rows.filter(pk=key_from_text(exposure.model, value)))
    if not found and exposure.search:
        with suppress(ToolError):
            found = first(
                exposure.search.apply(rows, value, context, exposure.registered)
            )
    return found


def _first(
    exposure: Exposure, context: Context, queryset: QuerySet[Any], most: int
) -> list[Any]:
    instances, _ = exposure.pages(context).take(queryset, None, most)
    return instances
