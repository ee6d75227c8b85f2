"""The operations that write: create, update, delete, and several rows at once."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct

from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.modeltools.keys import key_annotation_of
from mcp_channels.modeltools.operations import (
    Operation,
    described,
    key_parameter,
    plural,
    result_type,
)
from mcp_channels.modeltools.read_operations import read_one
from mcp_channels.modeltools.values import annotation_of
from mcp_channels.modeltools.write import Transaction
from mcp_channels.server.context import Context
from mcp_channels.server.schemas import encode_value

__all__ = [
    "make_bulk_create",
    "make_bulk_delete",
    "make_bulk_update",
    "make_create",
    "make_delete",
    "make_update",
]


class Deleted(Struct, frozen=True):
    """Rows that are gone."""

    deleted: list[str]  # what they were called


def make_create(exposure: Exposure) -> Operation:
    """Return the operation that makes one row."""
    result = result_type(exposure, "created")

    def run(context: Context, values: Any) -> Any:
        with exposure.writer.begin(context) as begun:
            instance = begun.create(values)
            return _show(exposure, context, instance.pk, result, begun)

    parameters = {"values": _values_parameter(exposure, exposure.form.type_for_create)}
    text = f"Create one {exposure.noun}."
    name = f"create_{exposure.name}"
    return Operation(exposure, "create", name, text, run, parameters, result)


def make_update(exposure: Exposure) -> Operation:
    """Return the operation that changes one row."""
    result = result_type(exposure, "updated")

    def run(context: Context, pk: Any, values: Any, version: Any = None) -> Any:
        with exposure.writer.begin(context) as begun:
            instance = begun.update(pk, values, version)
            return _show(exposure, context, instance.pk, result, begun)

    parameters = {
        "pk": key_parameter(exposure),
        "values": _values_parameter(exposure, exposure.form.type_for_update),
        "version": _version_parameter(),
    }
    text = f"Change one {exposure.noun}. Fields that are left out stay as they are."
    name = f"update_{exposure.name}"
    return Operation(exposure, "update", name, text, run, parameters, result)


def make_delete(exposure: Exposure) -> Operation:
    """Return the operation that deletes one row."""

    def run(context: Context, pk: Any, version: Any = None) -> Deleted:
        with exposure.writer.begin(context) as begun:
            return Deleted([begun.delete(pk, version)])

    parameters = {"pk": key_parameter(exposure), "version": _version_parameter()}
    text = f"Delete one {exposure.noun}, and what belongs to it."
    name = f"delete_{exposure.name}"
    return Operation(exposure, "delete", name, text, run, parameters, Deleted)


def make_bulk_create(exposure: Exposure) -> Operation:
    """Return the operation that makes several rows."""
    result = _keys_type(exposure, "created")

    def run(context: Context, rows: Any) -> Any:
        with exposure.writer.begin(context) as begun:
            made = [
                begun.create(values, f"rows[{index}]")
                for index, values in enumerate(rows)
            ]
        return result([instance.pk for instance in made])

    text = "The fields of each."
    parameters = {"rows": _several(exposure, exposure.form.type_for_create, text)}
    text = (
        f"Create several {plural(exposure)}, all or none of them. Returns their keys."
    )
    name = f"bulk_create_{exposure.name_plural}"
    return Operation(exposure, "bulk_create", name, text, run, parameters, result)


def make_bulk_update(exposure: Exposure) -> Operation:
    """Return the operation that changes several rows."""
    result = _keys_type(exposure, "updated")
    change: Any = msgspec.defstruct(
        f"{exposure.model.__name__}_change",
        [
            ("pk", key_annotation_of(exposure.model)),
            ("values", exposure.form.type_for_update),
            ("version", str | None, None),  # as it was read; None: any
        ],
        forbid_unknown_fields=True,
    )

    def run(context: Context, rows: Any) -> Any:
        with exposure.writer.begin(context) as begun:
            for index, row in enumerate(rows):
                place = f"rows[{index}]"
                label = f"{place}.values"
                begun.update(row.pk, row.values, row.version, label, place)
        return result([row.pk for row in rows])

    text = "The key of each, and what to change of it."
    parameters = {"rows": _several(exposure, change, text)}
    text = f"Change several {plural(exposure)}, all or none of them."
    name = f"bulk_update_{exposure.name_plural}"
    return Operation(exposure, "bulk_update", name, text, run, parameters, result)


def make_bulk_delete(exposure: Exposure) -> Operation:
    """Return the operation that deletes several rows."""

    def run(context: Context, pks: Any) -> Deleted:
        with exposure.writer.begin(context) as begun:
            return Deleted(
                [
                    begun.delete(key, place=f"pks[{index}]")
                    for index, key in enumerate(pks)
                ]
            )

    key = key_annotation_of(exposure.model)
    parameters = {"pks": _several(exposure, key, "The key of each.")}
    text = f"Delete several {plural(exposure)}, all or none of them."
    name = f"bulk_delete_{exposure.name_plural}"
    return Operation(exposure, "bulk_delete", name, text, run, parameters, Deleted)


def _show(
    exposure: Exposure, context: Context, key: Any, result: Any, begun: Transaction
) -> Any:
    instance, row = read_one(exposure, context, key, database=begun.database)
    if len(encode_value(row)) > exposure.tools.max_bytes:
        # It is written: that it is large is no reason to write it again.
        row = exposure.row_types.root(instance.pk)
    can_get = "get" in exposure.tools.operations
    return result(
        row,
        exposure.writer.version(instance),
        exposure.uri(instance.pk) if can_get else UNSET,
    )


def _values_parameter(exposure: Exposure, annotation: Any) -> tuple[Any, bool]:
    return described(annotation, f"The fields of the {exposure.noun}."), True


def _version_parameter() -> tuple[Any, bool]:
    text = (
        "The version that you have read. If the row was changed since, nothing is "
        "done. Without it the last one to write wins."
    )
    return described(str, text), False


def _keys_type(exposure: Exposure, kind: str) -> Any:
    key: Any = annotation_of(exposure.model._meta.pk)
    return msgspec.defstruct(
        f"{exposure.model.__name__}_keys_{kind}", [("pks", list[key])], frozen=True
    )


def _several(exposure: Exposure, annotation: Any, text: str) -> tuple[Any, bool]:
    most = exposure.tools.max_bulk
    meta = Meta(min_length=1, max_length=most, description=text)
    return Annotated[list[annotation], meta], True
