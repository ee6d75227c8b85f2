"""@register: what is made of a model, and what is refused at once."""

from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test.utils import isolate_apps

from mcp_channels import ModelTools, Registry, register, registry, tool
from mcp_channels.modeltools.changes import Watch
from mcp_channels.server.registry import AlreadyRegistered
from tests.shop.models import Category, Product, Tag


class TagTools(ModelTools):
    fields = ["name"]


def keys(found: Registry) -> set[str]:
    return {primitive.key for primitive in found.primitives}


def test_model_becomes_tools_and_a_resource_template() -> None:
    found = Registry()

    assert register(Tag, registry=found)(TagTools) is TagTools
    assert keys(found) == {
        *("list_tags", "get_tag", "describe_models"),
        "django://shop.tag/{pk}",
    }
    assert list(found.exposures) == [Tag]
    assert isinstance(found.exposures[Tag].watch, Watch)


def test_default_registry_is_the_default() -> None:
    try:
        register(Tag)(TagTools)

        assert {"list_tags", "describe_models"} <= set(registry.tools)
    finally:
        registry.exposures.pop(Tag)
        for name in ("list_tags", "get_tag", "describe_models"):
            registry.remove(name)
        registry.remove("django://shop.tag/{pk}", kind="resource template")


def test_every_operation_has_its_tool() -> None:
    found = Registry()

    @register(Tag, registry=found)
    class Tools(TagTools):
        operations = [
            *("list", "get", "aggregate", "create", "update", "delete"),
            *("bulk_create", "bulk_update", "bulk_delete"),
        ]

    assert set(found.tools) == {
        *("list_tags", "get_tag", "aggregate_tags", "create_tag", "update_tag"),
        *("delete_tag", "bulk_create_tags", "bulk_update_tags", "bulk_delete_tags"),
        "describe_models",
    }


def test_operation_that_is_named_twice_is_there_once() -> None:
    found = Registry()

    @register(Tag, registry=found)
    class Tools(TagTools):
        operations = ["list", "list"]

    assert set(found.tools) == {"list_tags", "describe_models"}


def test_several_models_may_have_the_same_options() -> None:
    found = Registry()
    register(Tag, Category, registry=found)(TagTools)

    assert {"list_tags", "list_categories", "describe_models"} <= set(found.tools)
    assert type(found.exposures[Tag].tools) is TagTools
    assert found.exposures[Tag].tools is not found.exposures[Category].tools


def test_generic_models_share_their_tools() -> None:
    found = Registry()

    class Tools(TagTools):
        generic = True

        @tool
        def mark(self, tag: Tag) -> None:
            """Mark it."""

    class CategoryTools(ModelTools):
        fields = ["name"]
        operations = ["list", "create"]
        generic = True

    register(Tag, registry=found)(Tools)
    register(Category, registry=found)(CategoryTools)

    assert keys(found) == {
        *("models.list", "models.get", "models.create", "describe_models", "mark"),
        "django://shop.tag/{pk}",
    }


def test_rows_that_cannot_be_got_are_no_resources() -> None:
    found = Registry()

    @register(Tag, registry=found)
    class Tools(TagTools):
        operations = ["list"]

    assert keys(found) == {"list_tags", "describe_models"}
    assert found.exposures[Tag].watch is None


def test_nothing_is_made_of_wrong_options() -> None:
    found = Registry()

    @register(Tag, registry=found)
    class Tools(TagTools):
        fields = ["name", "colour"]

        @tool
        def mark(self, tag: Tag) -> None:
            """Mark it."""

    assert keys(found) == set()
    assert len(found.exposures[Tag].problems) == 1


def test_model_is_registered_once() -> None:
    found = Registry()
    register(Tag, registry=found)(TagTools)

    with pytest.raises(AlreadyRegistered, match=r"shop\.Tag has its ModelTools"):
        register(Tag, registry=found)(TagTools)


@isolate_apps("tests.shop", "django.contrib.auth")
def test_models_of_one_name_are_told_how_to_get_another() -> None:
    other: Any = type(
        "Product",
        (models.Model,),
        {
            "__module__": __name__,
            "Meta": type("Meta", (), {"app_label": "auth"}),
            "name": models.CharField(max_length=5),
        },
    )

    class Tools(ModelTools):
        fields = ["name"]

    class Renamed(Tools):
        name = "part"
        name_plural = "parts"

    found = Registry()
    register(Product, registry=found)(Tools)
    with pytest.raises(
        AlreadyRegistered,
        match=r"auth\.Product: there is a tool 'list_products' already\. Set name",
    ):
        register(other, registry=found)(Tools)

    found = Registry()
    register(Product, registry=found)(Tools)
    register(other, registry=found)(Renamed)
    assert {"list_products", "list_parts", "get_part"} <= set(found.tools)


def test_action_of_a_taken_name_is_told_how_to_get_another() -> None:
    class Marking(TagTools):
        @tool
        def mark(self, name: str) -> None:
            """Mark it."""

    with pytest.raises(AlreadyRegistered, match=r"@tool\(name=\.\.\.\)"):
        register(Tag, Category, registry=Registry())(Marking)


@isolate_apps("tests.shop")
def test_only_models_with_rows_can_be_registered() -> None:
    class Swapped(models.Model):
        class Meta:
            app_label = "shop"
            swappable = "AUTH_USER_MODEL"

    wrong: list[Any] = [AbstractBaseUser, Swapped]
    for model in wrong:
        with pytest.raises(ImproperlyConfigured, match="has no rows of its own"):
            register(model, registry=Registry())(TagTools)
    wrong = ["shop.Tag", TagTools, None]
    for model in wrong:
        with pytest.raises(ImproperlyConfigured, match="is no model"):
            register(model, registry=Registry())(TagTools)


def test_only_options_can_be_decorated() -> None:
    wrong: list[Any] = [Tag, object, TagTools(Tag), "TagTools"]
    for tools in wrong:
        with pytest.raises(
            ImproperlyConfigured, match="no class derived of ModelTools"
        ):
            register(Tag, registry=Registry())(tools)
