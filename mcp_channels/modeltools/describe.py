"""
One tool that tells an agent of the models, and one for each operation on any of them:
a site with fifty models need not list three hundred tools.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from django.db.models.constants import LOOKUP_SEP
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from mcp_channels.modeltools.allowlist import Exposed, Related
from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.modeltools.operations import Operation, Parameters, with_signature
from mcp_channels.modeltools.reach import reach
from mcp_channels.server.context import Context
from mcp_channels.server.permissions import Asker, Identity
from mcp_channels.server.schemas import ArgumentsError
from mcp_channels.server.tools import Tool, ToolError

__all__ = ["DESCRIBE", "make_describe_tool", "make_generic_tool"]

DESCRIBE: Final = "describe_models"

Exposures = Mapping[Any, Exposure]


class FieldDescription(Struct):
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


class ModelDescription(Struct, frozen=True, kw_only=True):
    """One model, as far as it can be seen."""

    model: str
    title: str
    description: str
    uri_template: str | UnsetType = UNSET  # of its rows as resources
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
            described = _describe(_find(exposures, model, context), context, True)
            if not described.operations:
                raise _missing(model)
            return Models([described])
        found = [
            _describe(exposure, context, False)
            for exposure in sorted(exposures.values(), key=lambda e: e.label)
            if exposure.is_visible(context)
        ]
        return Models([described for described in found if described.operations])

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
        operation = _find(exposures, model, context).operations.get(kind)
        if operation is None or not _offers(operation, context):
            raise ToolError(f"There is no {kind} for {model[:100]!r}. See {DESCRIBE}.")
        try:
            decoded = operation.arguments.decode(Raw(msgspec.json.encode(arguments)))
        except ArgumentsError as exc:
            raise ToolError(str(exc)) from None
        result: dict[str, Any] = operation.run(context, **decoded)
        return result

    def may_any(identity: Identity) -> bool:
        return any(
            _offers(exposure.operations[kind], identity)
            for exposure in exposures.values()
            if kind in exposure.operations
        )

    run.__name__ = run.__qualname__ = f"models_{kind}"
    return Tool(
        with_signature(run, {"model": (_MODEL, True), **_PARAMETERS[kind]}, _OBJECT),
        name=f"models.{kind}",
        description=f"{_TEXTS[kind]} See {DESCRIBE} for models and their arguments.",
        permission=may_any,
        **Operation.hints_of(kind),
    )


def _offers(operation: Operation, asker: Asker) -> bool:
    # What a site offers as a tool of its own it may have taken away again.
    is_generic = operation.exposure.tools.generic
    return is_generic and operation.exposure.may(operation.kind, asker)


def _find(exposures: Exposures, label: str, context: Context) -> Exposure:
    for exposure in exposures.values():
        if exposure.label == label.lower() and exposure.is_visible(context):
            return exposure
    raise _missing(label)


def _missing(label: str) -> ToolError:
    # Hidden and missing look the same.
    return ToolError(f"There is no model {label[:100]!r}. See {DESCRIBE}.")


def _describe(
    exposure: Exposure, context: Context, with_arguments: bool
) -> ModelDescription:
    # An endpoint, a token or a row of the admin may hide what the user may do.
    seen = context.session.catalogue
    operations = [
        OperationDescription(
            operation.kind,
            operation.tool_name,
            operation.arguments.schema if with_arguments else UNSET,
        )
        for operation in exposure.operations.values()
        if exposure.may(operation.kind, context) and operation.tool_name in seen.tools
    ]
    kinds = {operation.operation for operation in operations}
    may_write = bool(kinds - {"list", "get", "aggregate"})
    writable = exposure.form.names if may_write else []
    template: Any = UNSET
    uri_template = f"django://{exposure.label}/{{pk}}"
    if uri_template in seen.templates:
        template = uri_template
    paths = _Paths(exposure, context)
    return ModelDescription(
        model=exposure.label,
        title=exposure.noun,
        description=exposure.tools.description,
        uri_template=template,
        fields=[
            _describe_field(path, exposed, paths, writable)
            for path, exposed in exposure.allowlist.by_path.items()
            if paths.tell(path)
        ],
        filters=list(filter(paths.tell, exposure.filters)),
        search_fields=list(filter(paths.tell, exposure.search.paths)),
        ordering_fields=list(filter(paths.tell, exposure.ordering.names)),
        operations=operations,
    )


def _describe_field(
    path: str, exposed: Exposed, paths: "_Paths", writable: list[str]
) -> FieldDescription:
    described = FieldDescription(
        path, exposed.title, exposed.description, path in writable
    )
    if isinstance(exposed, Related):
        described.is_many = exposed.is_many
        if paths.can_view(exposed.model):
            described.leads_to = exposed.model._meta.label_lower
    return described


class _Paths:
    """Which paths of a model mean something to whoever asks."""

    def __init__(self, exposure: Exposure, asker: Asker) -> None:
        self._exposure = exposure
        self._asker = asker
        self._seen: dict[Any, bool] = {}

    def can_view(self, model: Any) -> bool:
        """Tell whether rows of a related model can be seen."""
        if model not in self._seen:
            registered = self._exposure.registered
            self._seen[model] = reach(registered, model, self._asker).can_view
        return self._seen[model]

    def tell(self, name: str) -> bool:
        """Tell whether all is seen that a path, with or without a lookup, goes
        through. The key of one row is a value of the row that has it."""
        allowlist = self._exposure.allowlist
        path = name
        while path not in allowlist.by_path and LOOKUP_SEP in path:
            path = path.rpartition(LOOKUP_SEP)[0]
        hops = allowlist.relations(path) if path in allowlist.by_path else []
        return all(
            self.can_view(hop.model) for hop in hops if hop.is_many or hop.path != path
        )


_OBJECT = dict[str, Any]
_MODEL = Annotated[str, Meta(description='Which one, as in "shop.product".')]


def _raw(**schema: Any) -> Any:
    # As it came: the operation decodes it, a decimal to the last digit.
    return Annotated[Raw, Meta(extra_json_schema=schema)]


_STRUCTURE: Final = _raw(type="object")
_TEXT: Final = _raw(type="string")
_NAMES: Final = _raw(type="array", items={"type": "string"})
_KEY: Final = _raw(description="The key of the row.")
_KEYS: Final = _raw(type="array", description="The keys of the rows.")
_ROWS: Final = _raw(type="array", items={"type": "object"})

_PARAMETERS: Final[Mapping[str, Parameters]] = {
    "list": {
        "filters": (_STRUCTURE, False),
        "search": (_TEXT, False),
        "ordering": (_NAMES, False),
        "fields": (_NAMES, False),
        "page_size": (_raw(type="integer"), False),
        "cursor": (_TEXT, False),
        "count": (_raw(type="boolean"), False),
    },
    "get": {"pk": (_KEY, True), "fields": (_NAMES, False)},
    "aggregate": {
        "measures": (_NAMES, True),
        "group_by": (_NAMES, False),
        "filters": (_STRUCTURE, False),
        "search": (_TEXT, False),
    },
    "create": {"values": (_STRUCTURE, True)},
    "update": {
        "pk": (_KEY, True),
        "values": (_STRUCTURE, True),
        "version": (_TEXT, False),
    },
    "delete": {"pk": (_KEY, True), "version": (_TEXT, False)},
    "bulk_create": {"rows": (_ROWS, True)},
    "bulk_update": {"rows": (_ROWS, True)},
    "bulk_delete": {"pks": (_KEYS, True)},
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
