import enum
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import wraps
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    Optional,
    Required,
    TypedDict,
    Union,
)
from uuid import UUID

import jsonschema_rs
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.utils import translation
from django.utils.functional import Promise
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, ValidationError
from pydantic import BaseModel, ConfigDict, Field, computed_field, field_validator

from mcp_channels.protocol.content import (
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceContents,
    ResourceLink,
    TextContent,
)
from mcp_channels.protocol.projection import RootValue
from mcp_channels.protocol.types import CallToolResult
from mcp_channels.server.schemas import (
    Arguments,
    ArgumentsError,
    Returned,
    check_content,
    convert_value,
    encode_value,
    type_hints,
)

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypeCheckers

DRAFT = "https://json-schema.org/draft/2020-12/schema"
LATER = gettext_lazy("Yes")  # in German: Ja


class Skipped:
    """What is not for the client."""


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Address(TypedDict, total=False):
    city: Required[str]
    street: str


@dataclass
class Point:
    x: int
    y: float = 0.5


class Pair(NamedTuple):
    first: int
    second: str = "second"


class Node(Struct):
    value: int
    children: list["Node"] = []


class Closed(Struct, forbid_unknown_fields=True):
    alpha: int
    beta: str = "b"


class Picky(Struct):
    even: int

    def __post_init__(self) -> None:
        if self.even % 2:
            raise ValueError("even is odd")


class Inner(BaseModel):
    count: int


class Model(BaseModel):
    inner: Inner
    name: str = "n"


class Tree(BaseModel):
    branches: list["Tree"] = []


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    day: date
    key: UUID


class Validated(BaseModel):
    low: int
    high: int

    @field_validator("low", "high")
    @classmethod
    def check(cls, value: int) -> int:
        if value > 9:
            raise ValueError("more than nine")
        return value


class Renamed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    full_name: str = Field(serialization_alias="fullName")
    born: datetime

    @computed_field
    @property
    def initial(self) -> str:
        return self.full_name[:1]


class HasModel(Struct):
    model: Model


def with_parameter(annotation: Any) -> Callable[..., Any]:
    """Return a function with one parameter that has this annotation."""

    def function(a): ...

    function.__annotations__["a"] = annotation
    return function


def with_result(annotation: Any) -> Callable[..., Any]:
    """Return a function that has this annotation for what it returns."""

    def function(): ...

    function.__annotations__["return"] = annotation
    return function


def compile(function: Callable[..., Any], **options: Any) -> Arguments:
    return Arguments(function, skip=Skipped, **options)


def decode(arguments: Arguments, value: Any) -> dict[str, Any]:
    return arguments.decode(Raw(json.dumps(value).encode()))


def refuse(arguments: Arguments, value: Any) -> list[str]:
    """Return why these arguments are refused."""
    with pytest.raises(ArgumentsError) as refusal:
        decode(arguments, value)
    return str(refusal.value).splitlines()


# Schemas of parameters

SCHEMAS: list[tuple[Any, Any]] = [
    (str, {"type": "string"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (None, {"type": "null"}),
    (bytes, {"type": "string", "contentEncoding": "base64"}),
    (Decimal, {"type": "string", "format": "decimal"}),
    (UUID, {"type": "string", "format": "uuid"}),
    (date, {"type": "string", "format": "date"}),
    (datetime, {"type": "string"}),
    (Annotated[datetime, Meta(tz=True)], {"type": "string", "format": "date-time"}),
    (timedelta, {"type": "string", "format": "duration"}),
    (Any, {}),
    (Literal["a", "b"], {"enum": ["a", "b"]}),
    (Literal["a", 1, None], {"enum": [None, 1, "a"]}),
    (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
    (Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}),  # noqa: UP007
    (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    (list, {"type": "array"}),
    (list[int], {"type": "array", "items": {"type": "integer"}}),
    (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
    (
        set[str],
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    ),
    (dict, {"type": "object"}),
    (
        dict[str, int],
        {"type": "object", "additionalProperties": {"type": "integer"}},
    ),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    (
        tuple[int, str],
        {
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "items": False,
        },
    ),
    (
        Annotated[int, Meta(ge=1, le=5, description="Stars.", title="Rating")],
        {
            "title": "Rating",
            "description": "Stars.",
            "type": "integer",
            "minimum": 1,
            "maximum": 5,
        },
    ),
    (
        Annotated[str, Meta(pattern="^a+$", max_length=3, examples=["aa"])],
        {"type": "string", "pattern": "^a+$", "maxLength": 3, "examples": ["aa"]},
    ),
    (
        Annotated[Fraction, Meta(extra_json_schema={"type": "string"})],
        {"type": "string"},
    ),
]

DEFINITIONS: list[tuple[Any, str, Any]] = [
    (Colour, "Colour", {"enum": ["blue", "red"]}),
    (Size, "Size", {"enum": [1, 2]}),
    (
        Address,
        "Address",
        {
            "type": "object",
            "properties": {"city": {"type": "string"}, "street": {"type": "string"}},
            "required": ["city"],
        },
    ),
    (
        Point,
        "Point",
        {
            "type": "object",
            "properties": {
                "x": {"type": "integer"},
                "y": {"type": "number", "default": 0.5},
            },
            "required": ["x"],
        },
    ),
    (
        Pair,
        "Pair",
        {
            "type": "array",
            "prefixItems": [
                {"type": "integer"},
                {"type": "string", "default": "second"},
            ],
            "minItems": 1,
            "maxItems": 2,
        },
    ),
    (
        Node,
        "Node",
        {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "children": {
                    "type": "array",
                    "items": {"$ref": "#/$defs/Node"},
                    "default": [],
                },
            },
            "required": ["value"],
        },
    ),
]


def object_schema(member: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"a": member},
        "required": ["a"],
        "additionalProperties": False,
        **more,
    }


@pytest.mark.parametrize(("annotation", "member"), SCHEMAS)
def test_annotation_becomes_a_schema(annotation: Any, member: Any) -> None:
    schema = compile(with_parameter(annotation)).schema

    assert schema == object_schema(member)


@pytest.mark.parametrize(("annotation", "name", "definition"), DEFINITIONS)
def test_annotation_becomes_a_definition(
    annotation: Any, name: str, definition: Any
) -> None:
    schema = compile(with_parameter(annotation)).schema
    definition = {"title": name, **definition}

    assert schema == object_schema(
        {"$ref": f"#/$defs/{name}"}, **{"$defs": {name: definition}}
    )


def test_schema_of_a_pydantic_model_is_its_own() -> None:
    schema = compile(with_parameter(list[Model])).schema
    model = Model.model_json_schema()
    definitions = model.pop("$defs")

    assert schema == object_schema(
        {"type": "array", "items": model}, **{"$defs": definitions}
    )
    assert definitions.keys() == {"Inner"}


def test_recursive_pydantic_model_refers_to_itself() -> None:
    schema = compile(with_parameter(Tree)).schema

    assert schema["properties"] == {"a": {"$ref": "#/$defs/Tree"}}
    assert schema["$defs"].keys() == {"Tree"}


def test_types_that_share_a_definition_share_it() -> None:
    def function(a: Model, b: HasModel | None, c: list[Inner]) -> None: ...

    schema = compile(function).schema

    assert schema["$defs"].keys() == {"Inner", "HasModel"}


def test_two_pydantic_models_of_one_name_are_refused() -> None:
    def make(kind: type) -> type[BaseModel]:
        class Part(BaseModel):
            value: kind

        class Whole(BaseModel):
            part: Part

        return Whole

    def function(a, b): ...

    function.__annotations__ = {"a": make(int), "b": make(str)}

    with pytest.raises(ImproperlyConfigured, match="types are called 'Part'"):
        compile(function)


def test_missing_annotation_takes_anything() -> None:
    def function(a): ...

    arguments = compile(function)

    assert arguments.schema == object_schema({})
    for value in (None, 1, [{"b": 1.5}]):
        assert decode(arguments, {"a": value}) == {"a": value}


def test_function_without_parameters_takes_none() -> None:
    def function() -> None: ...

    arguments = compile(function)

    assert arguments.schema == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }
    assert decode(arguments, {}) == {}
    assert refuse(arguments, {"a": 1}) == ["a: unknown argument; there are none"]


def test_parameters_may_be_keyword_only_and_have_odd_names() -> None:
    def function(self: int, *, _private: str, __struct_fields__: bool) -> None: ...

    values = {"self": 1, "_private": "p", "__struct_fields__": True}
    arguments = compile(function)

    assert arguments.schema["required"] == list(values)
    assert decode(arguments, values) == values


def test_annotations_of_a_wrapped_function_count() -> None:
    def function(a: int) -> str: ...

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any: ...

    assert compile(wrapper).schema == object_schema({"type": "integer"})


def test_parameter_of_the_skipped_type_is_not_in_the_schema() -> None:
    class Special(Skipped): ...

    def function(a: int, it: Special) -> None: ...

    arguments = compile(function)

    assert arguments.skipped == "it"
    assert arguments.schema == object_schema({"type": "integer"})
    assert refuse(arguments, {"a": 1, "it": 1}) == ["it: unknown argument; known are a"]


def test_nothing_is_skipped_where_nothing_is_to_skip() -> None:
    assert compile(with_parameter(int)).skipped is None


ALL_ANNOTATIONS = [
    *(annotation for annotation, _ in SCHEMAS),
    *(annotation for annotation, _, _ in DEFINITIONS),
    *(Model, Tree, list[Model | None], Strict, HasModel, Closed, dict[str, Node]),
]


@pytest.mark.parametrize("annotation", ALL_ANNOTATIONS)
def test_schema_is_valid_in_its_dialect(annotation: Any) -> None:
    schema = compile(with_parameter(annotation)).schema

    jsonschema_rs.meta.validate({"$schema": DRAFT, **schema})
    jsonschema_rs.Draft202012Validator(schema)


# What a decoder makes of arguments


@pytest.mark.parametrize(
    ("annotation", "given_value", "value"),
    [
        (str, "ä\n\u0000😀", "ä\n\u0000😀"),
        (int, 10**30, 10**30),
        (float, 5, 5.0),
        (bytes, "+//+AA==", b"\xfb\xff\xfe\x00"),
        (Decimal, "1.10", Decimal("1.10")),
        (Decimal, 1.5, Decimal("1.5")),
        (UUID, "12345678-1234-5678-1234-567812345678", UUID(int=0x12345678 << 96)),
        (date, "2024-02-29", date(2024, 2, 29)),
        (datetime, "2024-02-29T12:00:00Z", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        (timedelta, "P1DT1S", timedelta(days=1, seconds=1)),
        (Colour, "red", Colour.RED),
        (Size, 2, Size.LARGE),
        (set[str], ["a", "b", "a"], {"a", "b"}),
        (tuple[int, str], [1, "a"], (1, "a")),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (Point, {"x": 1}, Point(1, 0.5)),
        (Pair, [1], Pair(1, "second")),
        (Node, {"value": 1, "children": [{"value": 2}]}, Node(1, [Node(2)])),
        (Address, {"city": "Rome"}, {"city": "Rome"}),
        (Model, {"inner": {"count": 1}}, Model(inner=Inner(count=1))),
        (list[Inner], [{"count": 1}], [Inner(count=1)]),
        (Tree, {"branches": [{}]}, Tree(branches=[Tree()])),
    ],
)
def test_argument_arrives_as_its_type(
    annotation: Any, given_value: Any, value: Any
) -> None:
    decoded = decode(compile(with_parameter(annotation)), {"a": given_value})["a"]

    if annotation is UUID:
        value = UUID(given_value)
    assert decoded == value
    assert type(decoded) is type(value)


def test_strict_pydantic_model_takes_what_json_has() -> None:
    key = "12345678-1234-5678-1234-567812345678"
    decoded = decode(
        compile(with_parameter(Strict)), {"a": {"day": "2024-02-29", "key": key}}
    )

    assert decoded == {"a": Strict(day=date(2024, 2, 29), key=UUID(key))}


class Everything(Struct):
    """Where a decoder and a schema must agree; see the values below."""

    text: str = ""
    short: Annotated[str, Meta(max_length=1, pattern="^a*$")] = ""
    flag: bool = False
    whole: int = 0
    small: Annotated[int, Meta(ge=0, lt=2)] = 0
    number: float = 0.0
    nothing: None = None
    either: int | str | None = None
    choice: Literal["a", 1] = "a"
    colour: Colour = Colour.RED
    size: Size | None = None
    numbers: list[int] = []
    longer: Annotated[list[Any], Meta(min_length=1, max_length=2)] | None = None
    mapping: dict[str, bool] = {}
    fixed: tuple[int, str] = (0, "")
    pair: Pair = Pair(0)
    address: Address | None = None
    point: Point | None = None
    node: Node | list[Node] = []
    closed: Closed | None = None


NAMES = [*Everything.__struct_fields__]
# Not 1.0: it is an integer to JSON Schema and none to the decoder. See
# test_integral_number_with_a_point_is_refused_for_an_integer.
LEAVES: list[Any] = [None, True, False, 0, 1, -1, 2, 1.5, "", "a", "red", "b", 10**20]
MEMBERS = ["a", "alpha", "beta", "city", "street", "value", "children", "x", "y"]
VALUES = st.recursive(
    st.sampled_from(LEAVES),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(st.sampled_from(MEMBERS), values, max_size=3)
    ),
    max_leaves=6,
)
EVERYTHING = compile(with_parameter(Everything))
VALIDATOR = jsonschema_rs.Draft202012Validator(EVERYTHING.schema)


@settings(deadline=None)
@given(
    value=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=2)
    | VALUES
)
def test_decoder_takes_what_the_schema_takes(value: Any) -> None:
    is_valid = VALIDATOR.is_valid({"a": value})

    if is_valid:
        assert decode(EVERYTHING, {"a": value}).keys() == {"a"}
    else:
        reasons = refuse(EVERYTHING, {"a": value})

        # Every violation is found by the schema, none only by the decoder.
        assert all(reason.startswith("a") for reason in reasons)


def test_integral_number_with_a_point_is_refused_for_an_integer() -> None:
    assert refuse(compile(with_parameter(int)), {"a": 1.0}) == [
        "The arguments are wrong: Expected `int`, got `float` - at `$.a`"
    ]


def test_default_is_left_to_the_function() -> None:
    def function(a: int = 1, b: list[int] = [2], c: str | None = None) -> None: ...  # noqa: B006

    arguments = compile(function)

    assert decode(arguments, {}) == {}
    assert decode(arguments, {"a": 1, "c": None}) == {"a": 1, "c": None}
    assert "required" not in arguments.schema


@pytest.mark.parametrize(
    ("annotation", "default", "served"),
    [
        (int, 5, 5),
        (Any, None, None),
        (str | None, None, None),
        (date, date(2024, 2, 29), "2024-02-29"),
        (Decimal, Decimal("1.10"), "1.10"),
        (Colour, Colour.RED, "red"),
        (list[int], [1], [1]),
        (tuple[int, ...], (1,), [1]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Node, Node(1), {"value": 1, "children": []}),
        (Inner, Inner(count=1), {"count": 1}),
        (str, LATER, "Yes"),
    ],
)
def test_default_is_in_the_schema(annotation: Any, default: Any, served: Any) -> None:
    def function(a=default): ...

    function.__annotations__["a"] = annotation
    schema = compile(function).schema

    assert schema["properties"]["a"]["default"] == served
    assert "required" not in schema
    jsonschema_rs.validate(schema, {"a": served})


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (Any, object()),
        (float, math.nan),
        (float, math.inf),
        (int, None),
        (str, "\ud800"),
        (int | UnsetType, UNSET),
        (Inner, object()),
    ],
)
def test_default_that_a_client_could_not_send_is_not_in_the_schema(
    annotation: Any, default: Any
) -> None:
    def function(a=default): ...

    function.__annotations__["a"] = annotation
    arguments = compile(function)

    assert "default" not in arguments.schema["properties"]["a"]
    assert decode(arguments, {}) == {}


def test_description_of_a_parameter_is_in_the_schema() -> None:
    def function(
        a: int, b: Node, c: Annotated[int, Meta(description="Its own.")]
    ) -> None: ...

    descriptions = {"a": "The a.", "b": "The b.", "c": "Another.", "d": "Nobody's."}
    properties = compile(function, descriptions=descriptions).schema["properties"]

    assert properties == {
        "a": {"type": "integer", "description": "The a."},
        "b": {"$ref": "#/$defs/Node", "description": "The b."},
        "c": {"type": "integer", "description": "Its own."},
    }


# What is wrong with arguments


def test_all_that_is_wrong_is_told_at_once() -> None:
    def function(
        count: int, status: Literal["paid", "shipped"], to: Address, by: int | str
    ) -> None: ...

    reasons = refuse(
        compile(function),
        {"count": "5", "status": "lost", "to": {"street": 1}, "by": [], "statsu": 1},
    )

    assert sorted(reasons) == [
        "by: expected integer or string, got array []",
        'count: expected integer, got string "5"',
        "statsu: unknown argument, did you mean 'status'?",
        'status: expected one of "paid", "shipped", got string "lost"',
        "to.city: required, but missing",
        "to.street: expected string, got integer 1",
    ]


def test_missing_arguments_are_named() -> None:
    def function(a: int, b: int, c: int = 0) -> None: ...

    assert refuse(compile(function), {}) == [
        "a: required, but missing",
        "b: required, but missing",
    ]


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [
        (Decimal, "abc", "Invalid decimal string - at `$.a`"),
        (Picky, {"even": 1}, "even is odd - at `$.a`"),
        (list[Picky], [{"even": 1}], "even is odd - at `$.a[0]`"),
        (dict[int, str], {"x": "y"}, "Expected `int`, got `str` - at `key` in `$.a`"),
        (
            Validated,
            {"low": 10, "high": 11},
            "low: Value error, more than nine; high: Value error, more than nine"
            " - at `$.a`",
        ),
    ],
)
def test_what_only_the_decoder_knows_is_told_too(
    annotation: Any, value: Any, reason: str
) -> None:
    assert refuse(compile(with_parameter(annotation)), {"a": value}) == [
        f"The arguments are wrong: {reason}"
    ]


def test_calendar_is_known_to_the_schema() -> None:
    assert refuse(compile(with_parameter(date)), {"a": "2024-02-30"}) == [
        'a: it is not a "date", got string "2024-02-30"'
    ]


HOSTILE = {
    "a number beyond any float": b'{"a":1e999}',
    "a number with very many digits": b'{"a":' + b"9" * 5_000 + b"}",
    "a number beyond any float, unknown": b'{"b":-1e999,"a":1}',
    "an array at the root": b"[]",
    "a string at the root": b'"a"',
    "null at the root": b"null",
    "another type": b'{"a":true}',
    "null": b'{"a":null}',
    "depth": b'{"a":' + b"[" * 400 + b"]" * 400 + b"}",
    "depth that is unknown": b'{"a":1,"b":' + b'{"b":' * 400 + b"1" + b"}" * 401,
    "a mebibyte of errors": b'{"a":[' + b"true," * 200_000 + b"true]}",
    "a mebibyte of names": b"{"
    + b",".join(b'"k%d":0' % number for number in range(80_000))
    + b"}",
    "a name of a mebibyte": b'{"' + b"k" * 1_000_000 + b'":0}',
    "a string of a mebibyte": b'{"a":"' + b"k" * 1_000_000 + b'"}',
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize(
    "options", [{}, {"schema": object_schema({"type": "integer"})}]
)
def test_hostile_arguments_are_refused_in_a_few_words(
    raw: bytes, options: dict[str, Any]
) -> None:
    arguments = compile(with_parameter(int), **options)

    with pytest.raises(ArgumentsError) as refusal:
        arguments.decode(Raw(raw))

    assert 0 < len(str(refusal.value)) < 1_000


@pytest.mark.parametrize(
    "annotation", [list[int], list[int | Node | None], list[int] | None, list[Inner]]
)
def test_frame_full_of_wrong_values_is_refused_by_the_first(annotation: Any) -> None:
    arguments = compile(with_parameter(annotation))

    (reason,) = refuse(arguments, {"a": ["x"] * 100_000})

    assert reason.startswith("The arguments are wrong: ")
    assert "`$.a[0]`" in reason or "`$.a`" in reason


def test_last_of_duplicate_arguments_counts() -> None:
    arguments = compile(with_parameter(int))

    assert arguments.decode(Raw(b'{"a":1,"a":2}')) == {"a": 2}
    with pytest.raises(ArgumentsError, match="expected integer"):
        arguments.decode(Raw(b'{"a":1,"a":"x"}'))


def test_exception_of_the_types_own_code_is_not_the_clients_fault() -> None:
    class Broken(Struct):
        a: int

        def __post_init__(self) -> None:
            raise KeyError("a")

    with pytest.raises(KeyError):
        decode(compile(with_parameter(Broken)), {"a": {"a": 1}})


def test_type_that_only_has_a_schema_cannot_be_decoded() -> None:
    annotation = Annotated[Fraction, Meta(extra_json_schema={"type": "string"})]

    with pytest.raises(NotImplementedError, match="Fraction"):
        decode(compile(with_parameter(annotation)), {"a": "1/2"})


# Hand-written schemas of arguments


def takes_all(**arguments: Any) -> None: ...


def test_own_schema_is_served_verbatim() -> None:
    schema = {
        "$schema": DRAFT,
        "type": "object",
        "properties": {"a": {"$ref": "#count", "x-unit": "m"}},
        "required": ["a"],
        "if": {"required": ["b"]},
        "then": {"properties": {"c": False}},
        "$defs": {"count": {"$anchor": "count", "type": "integer", "default": 1.0}},
    }
    before = json.dumps(schema)
    arguments = compile(takes_all, schema=schema, descriptions={"a": "Ignored."})

    assert json.dumps(arguments.schema) == before


def test_own_schema_is_checked() -> None:
    schema = object_schema({"type": "array", "items": {"format": "date"}})
    arguments = compile(takes_all, schema=schema)

    assert decode(arguments, {"a": ["2024-02-29"]}) == {"a": ["2024-02-29"]}
    assert sorted(refuse(arguments, {"a": ["2024-02-30"], "b": 1})) == [
        'a[0]: it is not a "date", got string "2024-02-30"',
        "b: unknown argument; known are a",
    ]


def test_own_schema_takes_the_place_of_annotations() -> None:
    arguments = compile(with_parameter(int), schema=object_schema({}))

    assert decode(arguments, {"a": "text"}) == {"a": "text"}


def test_own_schema_of_draft_7_is_understood() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"a": {"items": [{"type": "integer"}]}},
    }

    assert refuse(compile(takes_all, schema=schema), {"a": ["x"]}) == [
        'a[0]: expected integer, got string "x"'
    ]


def test_argument_that_the_function_does_not_take_is_refused() -> None:
    def function(a: int, it: Skipped) -> None: ...

    arguments = compile(function, schema={"type": "object"})

    assert decode(arguments, {"a": 1}) == {"a": 1}
    for wrong in ({}, {"a": 1, "b": 1}, {"a": 1, "it": 1}):
        (reason,) = refuse(arguments, wrong)

        assert reason.startswith("The arguments are wrong: ")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array"},
        {"type": ["object", "null"]},
        {"$ref": "#"},
        [],
        True,
        "{}",
    ],
)
def test_own_schema_without_an_object_at_its_root_is_refused(schema: Any) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r'input_schema must be .* "type": "object"'
    ):
        compile(takes_all, schema=schema)


@pytest.mark.parametrize(
    ("member", "fault"),
    [
        ({"type": "int"}, "properties.a.type: "),
        ({"$ref": "https://example.com/a"}, "is not fetched"),
        ({"$ref": "#/$defs/A"}, "does not exist"),
    ],
)
def test_wrong_schema_is_refused_at_registration(member: Any, fault: str) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=f"takes_all: input_schema: .*{fault}"
    ):
        compile(takes_all, schema=object_schema(member))


# Signatures without a schema


def positional_only(a: int, /) -> None: ...
def any_positional(*a: int) -> None: ...
def any_keyword(**a: int) -> None: ...
def only_for_type_checkers(a: "OnlyForTypeCheckers") -> None: ...
def complex_number(b: int, a: complex) -> None: ...
def bare_object(a: object) -> None: ...
def optional_context(a: Skipped | None = None) -> None: ...
def two_structs(a: Node | Closed) -> None: ...
def callback(a: Callable[[], None]) -> None: ...
def no_type(a: 5) -> None: ...


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (positional_only, "parameter 'a' is positional-only, .* Remove the '/'"),
        (any_positional, r"'\*a' cannot .* Use a parameter annotated as a list"),
        (any_keyword, r"'\*\*a' cannot .* or give input_schema"),
        (
            only_for_type_checkers,
            "name 'OnlyForTypeCheckers' is not defined.* import their types for real",
        ),
        (complex_number, "parameter 'a': no schema for <class 'complex'>.* Use what"),
        (bare_object, "parameter 'a': no schema for <class 'object'>"),
        (optional_context, "parameter 'a': no schema for .*Skipped"),
        (two_structs, "parameter 'a': .* all Struct types must be tagged"),
        (callback, "parameter 'a': no schema for .*Callable"),
        (no_type, "parameter 'a': no schema for 5"),
    ],
)
def test_signature_without_a_schema_is_refused_with_the_fix(
    function: Callable[..., Any], fault: str
) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=f"test_schemas.{function.__name__}: {fault}"
    ):
        compile(function)


@pytest.mark.parametrize("function", [positional_only, any_positional])
def test_own_schema_does_not_help_a_signature_without_names(
    function: Callable[..., Any],
) -> None:
    with pytest.raises(ImproperlyConfigured):
        compile(function, schema=object_schema({}))


def test_model_without_a_json_schema_is_refused() -> None:
    class Callback(BaseModel):
        call: Callable[[], None]

    with pytest.raises(ImproperlyConfigured, match="parameter 'a': no schema for"):
        compile(with_parameter(Callback))


# Results: schemas


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (dict, {"type": "object"}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["a"], {"enum": ["a"]}),
        (list[bytes], None),
    ],
)
def test_result_has_the_schema_of_its_annotation(annotation: Any, schema: Any) -> None:
    served = Returned(with_result(annotation)).schema

    if schema is None:
        schema = {
            "type": "array",
            "items": {"type": "string", "contentEncoding": "base64"},
        }
    assert served == schema


def test_root_of_a_schema_is_no_reference() -> None:
    schema = Returned(with_result(Point)).schema

    assert schema is not None
    assert schema["type"] == "object"
    assert "$defs" not in schema


@pytest.mark.parametrize("annotation", [Node, Tree])
def test_root_of_a_recursive_schema_is_no_reference(annotation: Any) -> None:
    schema = Returned(with_result(annotation)).schema

    assert schema is not None
    assert schema["type"] == "object"
    assert schema["$defs"].keys() == {annotation.__name__}


def test_definition_that_others_refer_to_is_kept() -> None:
    class Parent(Struct):
        children: list["Child"]

    class Child(Struct):
        parent: Parent

    globals()["Child"] = Child
    try:
        schema = Returned(with_result(Parent)).schema
    finally:
        del globals()["Child"]

    assert schema is not None
    assert schema["$defs"].keys() == {"Parent", "Child"}


CONTENT: list[Any] = [
    Any,
    None,
    str,
    str | None,
    Promise,
    Annotated[str, "for people"],
    CallToolResult,
    TextContent,
    ImageContent,
    AudioContent,
    ResourceLink,
    EmbeddedResource,
    ContentBlock,
    ImageContent | None,
    list[TextContent],
    list[ContentBlock],
    list[str | ImageContent],
    Annotated[list[ContentBlock], "in this order"],
    tuple[ContentBlock, ...],
    tuple[str, ImageContent],
    Sequence[ContentBlock],
    list[ContentBlock] | str,
]


@pytest.mark.parametrize("annotation", CONTENT)
def test_content_has_no_schema(annotation: Any) -> None:
    assert Returned(with_result(annotation)).schema is None


def test_missing_annotation_has_no_schema() -> None:
    def function(): ...

    assert Returned(function).schema is None


def test_unstructured_result_has_no_schema() -> None:
    assert Returned(with_result(Point), structured=False).schema is None


@pytest.mark.parametrize(
    "annotation",
    [
        bytes,
        bytearray,
        memoryview,
        bytes | None,
        Annotated[bytes, "x"],
        Union[int, bytes],  # noqa: UP007
    ],
)
def test_bare_bytes_are_refused_with_the_fix(annotation: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="Return ImageContent, AudioContent"):
        Returned(with_result(annotation))


@pytest.mark.parametrize(
    "annotation",
    [QuerySet, Iterator[int], complex, NoReturn, Node | CallToolResult],
)
def test_result_without_a_schema_is_refused(annotation: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"with_result.*no schema for"):
        Returned(with_result(annotation))


def test_annotation_of_a_result_is_read_at_registration() -> None:
    with pytest.raises(ImproperlyConfigured, match="not under TYPE_CHECKING"):
        Returned(with_result("OnlyForTypeCheckers"))


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "int"}, "output_schema: type: it is not valid"),
        ({"$ref": "https://example.com/a"}, "is not fetched"),
        (True, "output_schema must be a dictionary"),
        ([], "output_schema must be a dictionary"),
    ],
)
def test_wrong_output_schema_is_refused(schema: Any, fault: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=fault):
        Returned(with_result(Any), schema=schema)


def test_output_schema_of_an_unstructured_result_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="only for structured results"):
        Returned(with_result(Any), schema={"type": "object"}, structured=False)


# Results: content


def to_result(annotation: Any, value: Any, **options: Any) -> CallToolResult:
    return Returned(with_result(annotation), **options).to_result(value)


TEXT = TextContent("Hello")
IMAGE = ImageContent(b"\x89", "image/png")
AUDIO = AudioContent(b"R", "audio/wav")
LINK = ResourceLink("shop://orders/7", "Order 7")
EMBEDDED = EmbeddedResource(ResourceContents("shop://a", "text"))


@pytest.mark.parametrize("annotation", [Any, str, str | None])
def test_text_becomes_text(annotation: Any) -> None:
    assert to_result(annotation, "Hello") == CallToolResult([TEXT])


def test_text_may_be_of_a_kind_of_text() -> None:
    result = to_result(Any, mark_safe("<b>"))

    assert encode_value(result.content) == b'[{"type":"text","text":"<b>"}]'


@pytest.mark.parametrize("annotation", [Any, None, str | None, list[ContentBlock]])
def test_nothing_becomes_no_content(annotation: Any) -> None:
    assert to_result(annotation, None) == CallToolResult([])


@pytest.mark.parametrize("block", [TEXT, IMAGE, AUDIO, LINK, EMBEDDED])
def test_block_becomes_the_content(block: ContentBlock) -> None:
    assert to_result(Any, block) == CallToolResult([block])
    assert to_result(type(block), block) == CallToolResult([block])


@pytest.mark.parametrize("make", [list, tuple])
def test_blocks_and_texts_become_the_content(make: Any) -> None:
    value = make([TEXT, "and", LATER, IMAGE, AUDIO, LINK, EMBEDDED])
    result = to_result(Any, value)

    assert result == CallToolResult(
        [TEXT, TextContent("and"), TextContent("Yes"), IMAGE, AUDIO, LINK, EMBEDDED]
    )


@pytest.mark.parametrize(
    "annotation",
    [list[ContentBlock], tuple[ImageContent, ...], list[str | TextContent]],
)
def test_no_blocks_become_no_content(annotation: Any) -> None:
    assert to_result(annotation, []) == CallToolResult([])


@pytest.mark.parametrize(
    "value", [LATER, TextContent(LATER), [TextContent("", meta={"a": LATER}), LATER]]
)
def test_lazy_translation_is_translated_by_the_time_of_the_call(value: Any) -> None:
    with translation.override("de"):
        result = to_result(Any, value)

    assert b"Ja" in encode_value(result)
    assert b"Yes" not in encode_value(result)


@pytest.mark.parametrize(
    "value",
    [
        [TEXT, 5],
        [TEXT, None],
        TextContent(5),
        TextContent("a", meta=5),
        ImageContent(5, "image/png"),
        ImageContent(b"", None),
        [EmbeddedResource(ResourceContents("a", 5))],
        [EmbeddedResource("a")],
        TextContent("\ud800"),
        TextContent("a", meta={"a": object()}),
        "\ud800",
        b"bytes",
        bytearray(b"bytes"),
        memoryview(b"bytes"),
        object(),
        {"a": object()},
        {"a": "\ud800"},
        {(1, 2): 3},
        (number for number in (1, 2)),
        [10**5_000],
        ValueError("secret"),
    ],
)
def test_what_cannot_be_sent_is_no_result(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, ValidationError)):
        encode_value(to_result(Any, value))


def test_endless_value_is_no_result() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(RecursionError):
        to_result(Any, endless)


def test_content_is_checked_on_its_own() -> None:
    assert check_content(iter([TEXT, TextContent(LATER)])) == [TEXT, TextContent("Yes")]
    with pytest.raises(ValidationError, match="Expected `object`, got `int`"):
        check_content([5])


# Results: structured content


def structured(result: CallToolResult) -> Any:
    """Return the structured content, and see that the text says the same."""
    value = result.structured_content
    if isinstance(value, RootValue):
        value = value.value
    (text,) = result.content

    assert isinstance(value, Raw)
    assert isinstance(text, TextContent)
    assert text.text.encode() == bytes(value)
    return json.loads(bytes(value))


@pytest.mark.parametrize(
    ("annotation", "value", "json_value"),
    [
        (int, 5, 5),
        (float, 5, 5),
        (bool, True, True),
        (int | None, None, None),
        (Decimal, Decimal("1.10"), "1.10"),
        (date, date(2024, 2, 29), "2024-02-29"),
        (UUID, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (timedelta, timedelta(hours=1), "PT3600S"),
        (Colour, Colour.RED, "red"),
        (list[str], ["a", LATER], ["a", "Yes"]),
        (list[int], [], []),
        (set[int], {1}, [1]),
        (tuple[int, ...], (1, 2), [1, 2]),
        (Pair, Pair(1), [1, "second"]),
        (list[Model], [Model(inner=Inner(count=1))], None),
    ],
)
def test_value_that_is_no_object_becomes_a_root_value(
    annotation: Any, value: Any, json_value: Any
) -> None:
    result = to_result(annotation, value)

    if annotation == list[Model]:
        json_value = [{"inner": {"count": 1}, "name": "n"}]
    assert isinstance(result.structured_content, RootValue)
    assert structured(result) == json_value


@pytest.mark.parametrize(
    ("annotation", "value", "json_value"),
    [
        (dict, {"a": 1, "b": LATER}, {"a": 1, "b": "Yes"}),
        (dict[str, int], {}, {}),
        (dict[UUID, int], {UUID(int=1): 1}, {str(UUID(int=1)): 1}),
        (Node, Node(1, [Node(2)]), None),
        (Node, {"value": 1}, {"value": 1}),
        (Point, Point(1), {"x": 1, "y": 0.5}),
        (Address, {"city": "Rome"}, {"city": "Rome"}),
        (Model, Model(inner=Inner(count=1)), {"inner": {"count": 1}, "name": "n"}),
        (Model, {"inner": Inner(count=1)}, {"inner": {"count": 1}}),
        (Tree, Tree(branches=[Tree()]), {"branches": [{"branches": []}]}),
        (
            HasModel,
            HasModel(Model(inner=Inner(count=1))),
            {"model": {"inner": {"count": 1}, "name": "n"}},
        ),
    ],
)
def test_object_becomes_structured_content(
    annotation: Any, value: Any, json_value: Any
) -> None:
    result = to_result(annotation, value)

    if isinstance(value, Node):
        json_value = {"value": 1, "children": [{"value": 2, "children": []}]}
    assert isinstance(result.structured_content, Raw)
    assert structured(result) == json_value


def test_pydantic_model_is_sent_as_it_serializes() -> None:
    returned = Returned(with_result(Renamed))
    result = returned.to_result(Renamed(full_name="Ada", born=datetime(1815, 12, 10)))
    value = structured(result)

    assert value == {
        "fullName": "Ada",
        "born": "1815-12-10T00:00:00",
        "initial": "A",
    }
    assert returned.schema is not None
    jsonschema_rs.validate(returned.schema, value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "5"),
        (int, True),
        (int, None),
        (int, 5.5),
        (float, math.nan),
        (float, math.inf),
        (list[int], [1, "x"]),
        (dict[str, int], {"a": None}),
        (Node, {"value": "x"}),
        (Node, {}),
        (Literal["a"], "b"),
        (Annotated[int, Meta(ge=1)], 0),
        (Model, {"inner": {"count": "x"}}),
        (Model, {}),
        (list[Model], [Model(inner=Inner(count=1)), {}]),
        (HasModel, {"model": {}}),
        (Node, object()),
        (dict, [1]),
    ],
)
def test_value_that_was_not_promised_is_no_result(annotation: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError, ValidationError)):
        to_result(annotation, value)


@pytest.mark.parametrize(
    ("annotation", "value", "json_value"),
    [
        (Any, 5, 5),
        (Any, True, True),
        (Any, {"a": None}, {"a": None}),
        (Any, ["a"], ["a"]),
        (Any, [], []),
        (Any, Point(1), {"x": 1, "y": 0.5}),
        (Any, Inner(count=1), {"count": 1}),
        (Any, math.nan, None),
        (Any, {"a": math.inf}, {"a": None}),
        (str, {"a": 1}, {"a": 1}),
    ],
)
def test_value_is_structured_though_nothing_was_promised(
    annotation: Any, value: Any, json_value: Any
) -> None:
    result = to_result(annotation, value)

    assert isinstance(result.structured_content, Raw)
    assert structured(result) == json_value


@pytest.mark.parametrize("annotation", [Any, Point, int])
@pytest.mark.parametrize("value", [5, {"x": 1}])
def test_unstructured_result_is_text(annotation: Any, value: Any) -> None:
    result = to_result(annotation, value, structured=False)

    assert result == CallToolResult([TextContent(encode_value(value).decode())])


def test_own_output_schema_is_served_and_checked() -> None:
    schema = {"type": "object", "required": ["a"], "x-ours": 1}
    returned = Returned(with_result(int), schema=schema)

    assert returned.schema == schema
    assert structured(returned.to_result({"a": 1})) == {"a": 1}
    with pytest.raises(ValueError, match="a: required, but missing"):
        returned.to_result({})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "array"}, [1]),
        ({}, {"a": 1}),
        ({"type": ["object", "null"]}, None),
        ({"type": "string"}, "Hello"),
    ],
)
def test_own_output_schema_may_have_any_root(schema: Any, value: Any) -> None:
    result = to_result(Any, value, schema=schema)

    assert isinstance(result.structured_content, RootValue)
    assert structured(result) == value


# Results that are results already


def test_result_stays_as_it_is() -> None:
    result = CallToolResult([TEXT, IMAGE], is_error=True, meta={"a": 1})

    assert to_result(CallToolResult, result) == result
    assert to_result(Any, result) == result


def test_result_is_left_unchanged() -> None:
    result = CallToolResult([TextContent(LATER)], structured_content={"a": LATER})
    checked = to_result(Any, result)

    assert checked is not result
    assert isinstance(result.content[0].text, Promise)
    assert encode_value(checked) == (
        b'{"content":[{"type":"text","text":"Yes"}],"structuredContent":{"a":"Yes"}}'
    )


@pytest.mark.parametrize("value", [None, [1], "text", {"a": 1}])
def test_structured_content_of_a_result_needs_no_schema(value: Any) -> None:
    result = to_result(Any, CallToolResult([], structured_content=value))

    assert isinstance(result.structured_content, Raw)
    assert json.loads(bytes(result.structured_content)) == value


@pytest.mark.parametrize(
    ("annotation", "options"), [(int, {}), (Any, {"schema": {"type": "integer"}})]
)
def test_structured_content_of_a_result_is_checked(
    annotation: Any, options: dict[str, Any]
) -> None:
    returned = Returned(with_result(annotation), **options)
    result = returned.to_result(CallToolResult([TEXT], structured_content=5))

    assert isinstance(result.structured_content, RootValue)
    with pytest.raises((ValueError, ValidationError)):
        returned.to_result(CallToolResult([TEXT], structured_content="x"))
    with pytest.raises(ValueError, match="needs structured_content"):
        returned.to_result(CallToolResult([TEXT]))


def test_failed_result_keeps_no_promise() -> None:
    returned = Returned(with_result(int))

    assert returned.to_result(CallToolResult([TEXT], is_error=True)).content == [TEXT]

    result = returned.to_result(
        CallToolResult([TEXT], structured_content={"a": 1}, is_error=True)
    )

    assert result.structured_content is not UNSET


@pytest.mark.parametrize(
    "result",
    [
        CallToolResult([5]),
        CallToolResult(["text"]),
        CallToolResult("text"),
        CallToolResult(None),
        CallToolResult([TextContent(5)]),
        CallToolResult([], is_error="yes"),
        CallToolResult([], meta=5),
        CallToolResult([], structured_content=object()),
        CallToolResult([], structured_content="\ud800"),
    ],
)
def test_result_that_the_wire_does_not_know_is_none(result: CallToolResult) -> None:
    with pytest.raises((TypeError, ValueError, ValidationError)):
        to_result(Any, result)


# Values


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ({"a": [1, None, 1.5, "ä"]}, '{"a":[1,null,1.5,"ä"]}'),
        (LATER, '"Yes"'),
        ({LATER: LATER}, '{"Yes":"Yes"}'),
        (Inner(count=1), '{"count":1}'),
        (mark_safe("<b>"), '"<b>"'),
    ],
)
def test_value_is_encoded(value: Any, encoded: str) -> None:
    assert encode_value(value) == encoded.encode()


@pytest.mark.parametrize(
    ("value", "kind", "strict", "converted"),
    [
        (5, int, True, 5),
        ("5", int, False, 5),
        ("2024-02-29", date, True, date(2024, 2, 29)),
        ({"value": 1}, Node, True, Node(1)),
        ({"count": 1}, Inner, True, Inner(count=1)),
    ],
)
def test_value_is_converted(
    value: Any, kind: Any, strict: bool, converted: Any
) -> None:
    assert convert_value(value, kind, strict=strict) == converted


def test_value_that_does_not_fit_is_not_converted() -> None:
    with pytest.raises(ValidationError, match="Expected `int`, got `str`"):
        convert_value("5", int)


@pytest.mark.parametrize("value", [object(), {"a": {1: object()}}, UNSET])
def test_value_without_a_json_form_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        encode_value(value)


class Named:
    """Is looked up by its name."""


def test_hints_are_looked_up_where_they_are_names() -> None:
    def function(
        one: "Named",
        several: list["Named"],
        taken: Callable[["Named"], None],
        text: Literal["Named"],
        number: int,
    ) -> None: ...

    assert type_hints(function) == {
        "one": Named,
        "several": list[Named],
        "taken": Callable[[Named], None],
        "text": Literal["Named"],
        "number": int,
        "return": type(None),
    }


def test_hints_without_names_are_as_they_are() -> None:
    def function(
        text: Annotated[Literal["Nothing"], Meta(title="Nothing")],
        taken: Callable[[int], str],
    ) -> None: ...

    assert type_hints(function) == {**function.__annotations__, "return": type(None)}
    assert type_hints(print) == {}
