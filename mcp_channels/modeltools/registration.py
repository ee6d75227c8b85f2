"""
The decorator that exposes models.

    @register(Product)
    class ProductTools(ModelTools): ...
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import models

from mcp_channels.modeltools.actions import make_actions
from mcp_channels.modeltools.changes import Watch
from mcp_channels.modeltools.describe import (
    DESCRIBE,
    make_describe_tool,
    make_generic_tool,
)
from mcp_channels.modeltools.exposure import Exposure
from mcp_channels.modeltools.operations import Operation
from mcp_channels.modeltools.options import ModelTools
from mcp_channels.modeltools.read_operations import make_aggregate, make_get, make_list
from mcp_channels.modeltools.resources import make_template
from mcp_channels.modeltools.write_operations import (
    make_bulk_create,
    make_bulk_delete,
    make_bulk_update,
    make_create,
    make_delete,
    make_update,
)
from mcp_channels.server.registry import AlreadyRegistered, Registry
from mcp_channels.server.registry import registry as default_registry

__all__ = ["register"]

Tools = TypeVar("Tools", bound=ModelTools)

_MAKERS: Final[Mapping[str, Callable[[Exposure], Operation]]] = {
    "list": make_list,
    "get": make_get,
    "aggregate": make_aggregate,
    "create": make_create,
    "update": make_update,
    "delete": make_delete,
    "bulk_create": make_bulk_create,
    "bulk_update": make_bulk_update,
    "bulk_delete": make_bulk_delete,
}


def register(
    *models_: type[models.Model], registry: Registry = default_registry
) -> Callable[[type[Tools]], type[Tools]]:
    """
    Expose models as the ModelTools says that is decorated.

    What is wrong with its options is told by the system checks, and then nothing is
    exposed. Raise AlreadyRegistered when a model or a name is taken,
    ImproperlyConfigured when something cannot be a model, a ModelTools or an action.
    """

    def decorate(tools: type[Tools]) -> type[Tools]:
        if not (isinstance(tools, type) and issubclass(tools, ModelTools)):
            raise ImproperlyConfigured(f"{tools!r} is no class derived of ModelTools.")
        for model in models_:
            _expose(registry, model, tools(model))
        return tools

    return decorate


def _expose(registry: Registry, model: Any, tools: ModelTools) -> None:
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        raise ImproperlyConfigured(f"{model!r} is no model.")
    if model._meta.abstract or model._meta.swapped:
        raise ImproperlyConfigured(f"{model.__name__} has no rows of its own.")
    exposures = registry.exposures
    if model in exposures:
        raise AlreadyRegistered(f"{model._meta.label} has its ModelTools already.")
    exposure = exposures[model] = Exposure(tools, exposures)
    if exposure.problems:
        # Half of it could be the wrong half. The system checks say what is wrong.
        return
    for kind in dict.fromkeys(tools.operations):
        operation = exposure.operations[kind] = _MAKERS[kind](exposure)
        if not tools.generic:
            _add(registry, operation)
        elif f"models.{operation.kind}" not in registry.tools:
            registry.add(make_generic_tool(operation.kind, exposures))
    for action in make_actions(exposure):
        registry.add(action)
    if "get" in exposure.operations:
        registry.add(make_template(exposure))
        exposure.watch = Watch(exposure)
    if DESCRIBE not in registry.tools:
        registry.add(make_describe_tool(exposures))


def _add(registry: Registry, operation: Operation) -> None:
    try:
        registry.add(operation.make_tool())
    except AlreadyRegistered as exc:
        label = operation.exposure.model._meta.label
        raise AlreadyRegistered(
            f"{label}: there is a tool {operation.name!r} already. Set name and "
            f"name_plural of its ModelTools."
        ) from exc
