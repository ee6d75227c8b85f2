"""Operations: functions that a tool can be made of, whatever the model."""

import inspect
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from mcp_channels import Context, ToolError
from mcp_channels.modeltools.exposure import OPERATIONS
from mcp_channels.modeltools.operations import (
    Operation,
    described,
    key_parameter,
    plural,
    result_type,
    with_signature,
)
from tests.shop.counter import Anybody, Counter
from tests.shop.models import Category, Product

pytestmark = pytest.mark.django_db


@pytest.fixture
def counter() -> Counter:
    return Counter()


def make_operation(counter: Counter, run: Any = None, **options: Any) -> Operation:
    exposure = counter.expose(Category, fields=["name"], **options)
    return Operation(
        exposure,
        "get",
        "get_category",
        "Get it.",
        run or (lambda context, **arguments: arguments),
        {"pk": key_parameter(exposure), "loud": (described(bool, "How."), False)},
        dict[str, Any],
    )


def test_operation_is_a_tool_like_one_that_a_site_wrote(counter: Counter) -> None:
    operation = make_operation(counter, description="A shelf.")
    tool = operation.make_tool()

    assert tool.definition.name == "get_category"
    assert tool.definition.title == "Get category"
    assert tool.definition.description == "Get it. A shelf."
    assert tool.place == "tests.shop.counter.CategoryTools.get"
    assert tool.definition.input_schema == {
        "type": "object",
        "properties": {
            "pk": {
                "type": "integer",
                "minimum": -(2**63),
                "maximum": 2**63 - 1,
                "description": "The key of the category.",
            },
            "loud": {"type": "boolean", "description": "How."},
        },
        "required": ["pk"],
        "additionalProperties": False,
    }
    assert operation.arguments.schema == tool.definition.input_schema


def test_operation_is_for_those_who_may(counter: Counter) -> None:
    tool: Any = make_operation(counter).make_tool()
    nobody = Counter(Anybody("shop.add_category"))

    assert tool.permission(counter.context.identity) is True
    assert tool.permission(nobody.context.identity) is False


@pytest.mark.parametrize(
    ("kind", "hints"),
    [
        ("list", (True, None, None)),
        ("get", (True, None, None)),
        ("aggregate", (True, None, None)),
        ("create", (False, False, False)),
        ("update", (False, True, True)),
        ("delete", (False, True, False)),
        ("bulk_create", (False, False, False)),
        ("bulk_update", (False, True, True)),
        ("bulk_delete", (False, True, False)),
    ],
)
def test_operation_says_what_it_may_do(kind: str, hints: Any) -> None:
    found = Operation.hints_of(kind)

    assert kind in OPERATIONS
    assert found["open_world"] is False
    names = ("read_only", "destructive", "idempotent")
    assert tuple(found.get(name) for name in names) == hints


@pytest.mark.parametrize(("generic", "name"), [(False, None), (True, "models.get")])
def test_operation_knows_its_tool(
    counter: Counter, generic: bool, name: str | None
) -> None:
    operation = make_operation(counter, generic=generic)

    assert operation.tool_name == (name or "get_category")


def test_what_is_left_out_is_left_to_the_function(counter: Counter) -> None:
    function = make_operation(counter).make_function()

    assert function(counter.context, pk=5) == {"pk": 5}
    assert function(counter.context, pk=5, loud=True) == {"pk": 5, "loud": True}


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (PermissionDenied("Jo"), "You may not do that."),
        (Http404("/jo"), "Something that it needs does not exist."),
    ],
)
def test_what_a_site_refuses_in_words_for_a_page_is_put_into_others(
    counter: Counter, refusal: Exception, said: str
) -> None:
    def run(context: Any) -> None:
        raise refusal

    operation = make_operation(counter, run)
    with pytest.raises(ToolError) as caught:
        operation.run(counter.context)

    assert caught.value.message == said


def test_signature_is_the_one_that_is_said() -> None:
    def function(context: Any, **arguments: Any) -> Any: ...

    made = with_signature(
        function, {"a": (int, True), "b": (str, False)}, bool, {"b": "x"}
    )

    assert made is function
    assert str(inspect.signature(made)).startswith("(context: ")
    parameters = inspect.signature(made).parameters
    assert parameters["a"].default is inspect.Parameter.empty
    assert parameters["b"].default == "x"
    assert made.__annotations__ == {
        "context": Context,
        "a": int,
        "b": str,
        "return": bool,
    }


def test_rows_are_called_what_the_model_says(counter: Counter) -> None:
    exposure = counter.expose(Category, fields=["name"])

    assert plural(exposure) == "categories"


def test_result_is_a_row_with_what_one_can_do_with_it(counter: Counter) -> None:
    exposure = counter.expose(Product, fields=["name"])
    result = result_type(exposure, "seen")

    assert result.__name__ == "Product_seen"
    assert result.__struct_fields__ == ("row", "version", "uri")
