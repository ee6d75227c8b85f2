"""
One tool that tells an agent of the models, and one for each operation on any of them:
a site with fifty models need not list three hundred tools.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from mcp_channels.modeltools.allowlist import Related
from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.modeltools.operations import Operation
from mcp_channels.server.context import Context
from mcp_channels.server.permissions import Identity
from mcp_channels.server.schemas import ArgumentsError
from mcp_channels.server.tools import Tool, ToolError

__all__ = ["DESCRIBE", "make_describe_tool", "make_generic_tool"]

DESCRIBE: Final = "describe_models"

Exposures = Mapping[Any, Exposure]


class FieldDescription(Struct, frozen=True):
    """What can be named of a row."""

    name: str
    title: str
    description: str
    is_writable: bool
    leads_to: str | UnsetType = UNSET  # the model of a relation
    is_many: bool | UnsetType = UNSET  # whether it leads to several rows


class OperationDescription(Struct, frozen=True):
    """What can be done."""

    operation: str
    tool: str
    # What the arguments are, besides `model` where that is one of them; only if a
    # single model was asked for.
    arguments: dict[str, Any] | UnsetType = UNSET


class ModelDescription(Struct, frozen=True):
    """One model, as far as it can be seen."""

    model: str
    title: str
    description: str
    uri_template: str | UnsetType  # of its rows as resources
    fields: list[FieldDescription]
    filters: list[str]
    search_fields: list[str]
    ordering_fields: list[str]
    operations: list[OperationDescription]


class Models(Struct, frozen=True):
    models: list[ModelDescription]


def make_describe_tool(exposures: Exposures) -> Tool:
    """Return the tool that describes the models."""

    def describe_models(
        context: Context,
        model: Annotated[
            str | None,
            Meta(
                description='Only this one, as in "shop.product", with all arguments.'
            ),
        ] = None,
    ) -> Models:
        """Tell which models there are, what is in them, and which tool does what."""
        if model is not None:
            return Models([_describe(_find(exposures, model, context), context, True)])
        return Models(
            [
                _describe(exposure, context, False)
                for exposure in sorted(exposures.values(), key=lambda e: e.label)
                if exposure.is_visible(context)
            ]
        )

    def may_see_any(identity: Identity) -> bool:
        return any(exposure.is_visible(identity) for exposure in exposures.values())

    return Tool(
        describe_models,
        title="Describe the models",
        read_only=True,
        open_world=False,
        permission=may_see_any,
    )


def make_generic_tool(kind: str, exposures: Exposures) -> Tool:
    """Return the tool `models.<kind>`, for the models without tools of their own."""

    def run(context: Context, model: str, **arguments: Any) -> dict[str, Any]:
        exposure = _find(exposures, model, context)
        operation = exposure.operations.get(kind)
        if operation is None or not exposure.may(kind, context):
            raise ToolError(f"There is no {kind} for {model!r}. See {DESCRIBE}.")
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            decoded = operation.arguments.decode(Raw(msgspec.json.encode(given)))
        except ArgumentsError as exc:
            raise ToolError(str(exc)) from None
        result: dict[str, Any] = operation.run(context, **decoded)
        return result

    def may_any(identity: Identity) -> bool:
        return any(
            kind in exposure.operations and exposure.may(kind, identity)
            for exposure in exposures.values()
        )

    return Tool(
        _SIGNATURES[kind](run),
        name=f"models.{kind}",
        description=f"{_TEXTS[kind]} See {DESCRIBE} for models and their arguments.",
        permission=may_any,
        **Operation.hints_of(kind),
    )


def _find(exposures: Exposures, label: str, context: Context) -> Exposure:
    for exposure in exposures.values():
        if exposure.label == label.lower() and exposure.is_visible(context):
            return exposure
    # Hidden and missing look the same.
    raise ToolError(f"There is no model {label[:100]!r}. See {DESCRIBE}.")


def _describe(
    exposure: Exposure, context: Context, with_arguments: bool
) -> ModelDescription:
    operations = [
        OperationDescription(
            operation.kind,
            operation.tool_name,
            operation.arguments.schema if with_arguments else UNSET,
        )
        for operation in exposure.operations.values()
        if exposure.may(operation.kind, context)
    ]
    kinds = {operation.operation for operation in operations}
    may_write = bool(kinds - {"list", "get", "aggregate"})
    writable = exposure.form.names if may_write else []
    template: Any = UNSET
    if "get" in kinds:
        template = f"django://{exposure.label}/{{pk}}"
    return ModelDescription(
        model=exposure.label,
        title=exposure.noun,
        description=exposure.tools.description,
        uri_template=template,
        fields=[
            FieldDescription(
                path,
                exposed.title,
                exposed.description,
                path in writable,
                exposed.model._meta.label_lower
                if isinstance(exposed, Related)
                else UNSET,
                exposed.is_many if isinstance(exposed, Related) else UNSET,
            )
            for path, exposed in exposure.allowlist.by_path.items()
        ],
        filters=list(exposure.filters),
        search_fields=exposure.search.paths,
        ordering_fields=exposure.ordering.names,
        operations=operations,
    )


Run = Callable[..., dict[str, Any]]

Model = Annotated[str, Meta(description='Which one, as in "shop.product".')]
Object = dict[str, Any]


def _list(run: Run) -> Callable[..., Any]:
    def models_list(
        context: Context,
        model: Model,
        filters: Object | None = None,
        search: str | None = None,
        ordering: list[str] | None = None,
        fields: list[str] | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
        count: bool | None = None,
    ) -> Object:
        return run(
            context,
            model,
            filters=filters,
            search=search,
            ordering=ordering,
            fields=fields,
            page_size=page_size,
            cursor=cursor,
            count=count,
        )

    return models_list


def _get(run: Run) -> Callable[..., Any]:
    def models_get(
        context: Context, model: Model, pk: Any, fields: list[str] | None = None
    ) -> Object:
        return run(context, model, pk=pk, fields=fields)

    return models_get


def _aggregate(run: Run) -> Callable[..., Any]:
    def models_aggregate(
        context: Context,
        model: Model,
        measures: list[str],
        group_by: list[str] | None = None,
        filters: Object | None = None,
        search: str | None = None,
    ) -> Object:
        return run(
            context,
            model,
            measures=measures,
            group_by=group_by,
            filters=filters,
            search=search,
        )

    return models_aggregate


def _create(run: Run) -> Callable[..., Any]:
    def models_create(context: Context, model: Model, values: Object) -> Object:
        return run(context, model, values=values)

    return models_create


def _update(run: Run) -> Callable[..., Any]:
    def models_update(
        context: Context,
        model: Model,
        pk: Any,
        values: Object,
        version: str | None = None,
    ) -> Object:
        return run(context, model, pk=pk, values=values, version=version)

    return models_update


def _delete(run: Run) -> Callable[..., Any]:
    def models_delete(
        context: Context, model: Model, pk: Any, version: str | None = None
    ) -> Object:
        return run(context, model, pk=pk, version=version)

    return models_delete


def _bulk_write(run: Run) -> Callable[..., Any]:
    def models_bulk(context: Context, model: Model, rows: list[Object]) -> Object:
        return run(context, model, rows=rows)

    return models_bulk


def _bulk_delete(run: Run) -> Callable[..., Any]:
    def models_bulk_delete(context: Context, model: Model, pks: list[Any]) -> Object:
        return run(context, model, pks=pks)

    return models_bulk_delete


_SIGNATURES: Final[Mapping[str, Callable[[Run], Callable[..., Any]]]] = {
    "list": _list,
    "get": _get,
    "aggregate": _aggregate,
    "create": _create,
    "update": _update,
    "delete": _delete,
    "bulk_create": _bulk_write,
    "bulk_update": _bulk_write,
    "bulk_delete": _bulk_delete,
}
_TEXTS: Final[Mapping[str, str]] = {
    "list": "List rows of a model, a page at a time.",
    "get": "Get one row of a model by its key.",
    "aggregate": "Count, add up or average rows of a model.",
    "create": "Create one row of a model.",
    "update": "Change one row of a model.",
    "delete": "Delete one row of a model.",
    "bulk_create": "Create several rows of a model, all or none of them.",
    "bulk_update": "Change several rows of a model, all or none of them.",
    "bulk_delete": "Delete several rows of a model, all or none of them.",
}
