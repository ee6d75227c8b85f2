"""Primitives: what is refused at registration, and how their functions are run."""

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import docstring_parser
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils.translation import gettext_lazy
from msgspec import UNSET

from mcp_channels.protocol.types import Prompt
from mcp_channels.server.concurrency import get_workers
from mcp_channels.server.context import current_context
from mcp_channels.server.permissions import Identity, Requirement
from mcp_channels.server.primitives import Primitive, or_unset

CONTEXT: Any = SimpleNamespace(session=SimpleNamespace(workers=get_workers(4)))


class Recipe(Primitive):
    kind = "recipe"


def make(function: Callable[..., Any], **options: Any) -> Recipe:
    options = {
        "name": None,
        "permission": None,
        "timeout": None,
        "atomic": None,
        **options,
    }
    return Recipe(function, **options)


def cake(eggs: int = 2, sugar: int = 1) -> str:
    """
    Bake a cake.

    It takes an hour.

    Args:
        eggs: how many,
            of any size.
        sugar:
    """
    return f"{eggs} eggs"


def bare() -> None: ...


async def soup() -> str:
    return "soup"


def generate() -> Iterator[str]:
    yield "one"


async def stream() -> AsyncIterator[str]:
    yield "one"


def test_docstring_describes_it_and_its_parameters() -> None:
    recipe = make(cake)

    assert recipe.description == "Bake a cake.\n\nIt takes an hour."
    assert recipe.parameter_descriptions == {"eggs": "how many,\nof any size."}


def draw() -> str:
    """Draw a face.

    :
      : )
    """
    return ":)"


def test_docstring_that_parsers_stumble_over_is_a_description() -> None:
    with pytest.raises(IndexError):
        docstring_parser.parse(inspect.getdoc(draw) or "")

    recipe = make(draw)

    assert recipe.description == "Draw a face.\n\n:\n  : )"
    assert recipe.parameter_descriptions == {}


def test_without_docstring_there_is_no_description() -> None:
    recipe = make(bare)

    assert recipe.description is None
    assert recipe.parameter_descriptions == {}


def test_names_for_clients_and_for_the_developer() -> None:
    recipe = make(cake, name="torte")

    assert recipe.key == "torte"
    assert recipe.label == "Recipe 'torte'"
    assert recipe.place == f"{__name__}.cake"


@pytest.mark.parametrize("permission", ["", "shop", "shop.", "a b.c", "shop.a.b", ".x"])
def test_permission_that_django_does_not_have_is_refused(permission: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"use 'app_label\.codename'"):
        make(cake, permission=permission)

    assert make(cake, permission="shop.view_order").permission == "shop.view_order"

    with pytest.raises(ImproperlyConfigured, match="is invalid"):
        make(cake, permission=["shop.view_order", permission])


def test_several_permissions_are_a_permission() -> None:
    assert make(cake, permission=["a.b", "c.d"]).permission == ("a.b", "c.d")

    with pytest.raises(ImproperlyConfigured, match="say which"):
        make(cake, permission=[])


def test_function_is_a_permission() -> None:
    def decide(identity: Identity) -> bool:
        return True

    assert make(cake, permission=decide).permission is decide


def test_asynchronous_function_is_no_permission() -> None:
    async def decide(identity: Identity) -> bool:
        return True

    with pytest.raises(ImproperlyConfigured, match="asked in a thread"):
        make(cake, permission=decide)


@pytest.mark.parametrize("timeout", [0, -1.5])
def test_timeout_of_no_time_is_refused(timeout: float) -> None:
    with pytest.raises(ImproperlyConfigured, match="'cake': timeout must be more than"):
        make(cake, timeout=timeout)

    assert make(cake, timeout=0.1).timeout == 0.1


def test_asynchronous_function_cannot_be_atomic() -> None:
    with pytest.raises(ImproperlyConfigured, match="transactions are synchronous"):
        make(soup, atomic=True)

    assert make(soup, atomic=False).is_async
    assert make(cake, atomic=True).atomic


@pytest.mark.parametrize("function", [generate, stream])
def test_generator_is_refused_with_what_to_do_instead(
    function: Callable[..., Any],
) -> None:
    with pytest.raises(ImproperlyConfigured, match="cannot be a recipe"):
        make(function)


async def test_synchronous_function_runs_in_a_thread_with_its_context() -> None:
    seen: list[Any] = []

    def look() -> str:
        seen.append((threading.current_thread(), current_context.get()))
        return "seen"

    assert await make(look).run(CONTEXT, {}) == "seen"
    assert seen[0][0] is not threading.current_thread()
    assert seen[0][1] is CONTEXT


async def test_asynchronous_function_runs_in_the_event_loop() -> None:
    async def look(a: int) -> Any:
        return a, asyncio.get_running_loop(), current_context.get()

    assert await make(look).run(CONTEXT, {"a": 5}) == (
        5,
        asyncio.get_running_loop(),
        CONTEXT,
    )


async def test_synchronous_wrapper_of_an_asynchronous_function_is_awaited() -> None:
    @functools.wraps(soup)
    def wrapper() -> Awaitable[str]:
        return soup()

    recipe = make(wrapper)

    assert not recipe.is_async
    assert await recipe.run(CONTEXT, {}) == "soup"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("atomic", "is_atomic"), [(True, True), (None, False)])
async def test_atomic_function_runs_in_a_transaction(
    atomic: bool | None, is_atomic: bool
) -> None:
    def look() -> bool:
        return connection.in_atomic_block

    assert await make(look, atomic=atomic).run(CONTEXT, {}) is is_atomic


async def test_what_the_function_raises_is_raised() -> None:
    def burn() -> None:
        raise ValueError("burnt")

    with pytest.raises(ValueError, match="burnt"):
        await make(burn).run(CONTEXT, {})


class Oven:
    def __call__(self) -> str:
        return "hot"


@pytest.mark.parametrize(
    "callable", [Oven(), Oven, functools.partial(cake, eggs=1), str]
)
def test_only_functions_are_taken(callable: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="write a function that calls it"):
        make(callable, name="oven")

    assert make(Oven().__call__, name="oven").name == "oven"


def test_definition_is_translated_and_checked() -> None:
    recipe = make(cake)
    definition = recipe.check(Prompt("cake", title=gettext_lazy("Yes")))  # type: ignore[arg-type]

    assert type(definition.title) is str

    with pytest.raises(ImproperlyConfigured, match=r"^Recipe 'cake': Expected `str`"):
        recipe.check(Prompt("cake", title=5))  # type: ignore[arg-type]
    with pytest.raises(ImproperlyConfigured, match="object has no JSON form"):
        recipe.check(Prompt("cake", meta={"a": object()}))


@pytest.mark.parametrize("value", ["", 0, False, "text"])
def test_what_a_site_leaves_out_is_absent_on_the_wire(value: Any) -> None:
    assert or_unset(None) is UNSET
    assert or_unset(value) is value


# What an endpoint may need to know


def test_primitive_has_the_tags_it_was_given() -> None:
    assert make(cake).tags == frozenset()
    assert make(cake, tags=["sweet", "warm", "sweet"]).tags == {"sweet", "warm"}


def test_tags_are_no_text() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"write tags=\['sweet'\]"):
        make(cake, tags="sweet")


def test_what_is_read_changes_nothing() -> None:
    assert make(cake).is_read_only


def test_primitive_is_adapted_in_what_is_given() -> None:
    recipe = make(cake, permission="a.b", timeout=5, tags=["sweet"])
    recipe.definition = Prompt(name="cake", title="Cake", description="Bake.")
    required = Requirement(staff_only=True)
    same = recipe.adapt()
    other = recipe.adapt(
        title="Torte", description="Backen.", requirement=required, timeout=9
    )

    assert same.definition == recipe.definition
    assert (same.timeout, same.requirement) == (5, None)
    assert (other.definition.title, other.definition.description) == (
        "Torte",
        "Backen.",
    )
    assert (other.timeout, other.requirement) == (9, required)
    assert (other.key, other.permission, other.tags) == ("cake", "a.b", {"sweet"})
    assert other.function is cake
    assert isinstance(other, Recipe)
    # The one it was made of stays as it is.
    assert (recipe.definition.title, recipe.timeout) == ("Cake", 5)


def test_permission_is_needed_if_code_or_a_row_says_so() -> None:
    recipe = make(cake)
    recipe.definition = Prompt(name="cake")

    assert not recipe.needs_permission
    assert make(cake, permission="a.b").needs_permission
    assert recipe.adapt(requirement=Requirement(staff_only=True)).needs_permission
