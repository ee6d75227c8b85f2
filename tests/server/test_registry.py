"""The registry: what is registered, what is said of it, and who sees it."""

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.exceptions import ImproperlyConfigured
from msgspec import UNSET, to_builtins

from mcp_channels import PrimitivesChanged, ResourceUpdated, publish
from mcp_channels.server import registry as registry_module
from mcp_channels.server.catalogue import Catalogue
from mcp_channels.server.permissions import Identity
from mcp_channels.server.prompts import Prompt
from mcp_channels.server.registry import (
    AlreadyRegistered,
    NotRegistered,
    Registry,
    method_options,
)
from mcp_channels.server.resources import Resource, ResourceTemplate
from mcp_channels.server.tools import Tool
from tests.sites import LEGACY, Clerk, Site, both_eras


def one() -> str:
    """One."""
    return "one"


def two() -> str:
    return "two"


def with_argument(a: str) -> str:
    return a


def see(registry: Registry, user: Any = None, **options: Any) -> Catalogue:
    identity = Identity(AnonymousUser() if user is None else user)
    return registry.catalogue_for(identity, page_size=10, **options)


# Registration


def test_decorators_return_the_function_as_it_is() -> None:
    registry = Registry()

    assert registry.tool(one) is one
    assert registry.tool(name="uno")(one) is one
    assert registry.prompt(one) is one
    assert registry.prompt(title="Uno")(two) is two
    assert registry.resource("a://one")(one) is one
    assert registry.resource("a://{a}")(with_argument) is with_argument

    assert [(type(p), p.key) for p in registry.primitives] == [
        (Tool, "one"),
        (Tool, "uno"),
        (Prompt, "one"),
        (Prompt, "two"),
        (Resource, "a://one"),
        (ResourceTemplate, "a://{a}"),
    ]
    assert registry.tools.keys() == {"one", "uno"}


@pytest.mark.parametrize("name", ["tool", "prompt", "resource"])
def test_module_has_the_decorators_of_the_default_registry(name: str) -> None:
    decorator = getattr(registry_module, name)

    assert decorator.__self__ is registry_module.registry
    assert decorator.__func__ is getattr(Registry, name)


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (
            lambda r, f: r.tool(name="x")(f),
            r"Two tools are called 'x': {0}\.one and {0}\.two\. "
            r"Give one another name, as in @tool\(name=\.\.\.\)\.",
        ),
        (
            lambda r, f: r.prompt(name="x")(f),
            r"Two prompts are called 'x': .* as in @prompt\(name=\.\.\.\)\.",
        ),
        (
            lambda r, f: r.resource("a://x")(f),
            r"Two resources are called 'a://x': {0}\.one and {0}\.two\. "
            r"Give one another URI\.",
        ),
        (
            lambda r, f: r.resource("a://{a}")(lambda a: f()),
            r"Two resource templates are called 'a://\{{a\}}': .*Give one another URI",
        ),
    ],
)
def test_name_that_is_taken_is_refused_with_both_places(
    register: Callable[[Registry, Any], Any], message: str
) -> None:
    registry = Registry()
    register(registry, one)
    revision = registry.revision

    with pytest.raises(AlreadyRegistered, match=message.format(__name__)) as caught:
        register(registry, two)

    assert isinstance(caught.value, ImproperlyConfigured)
    assert len(registry.primitives) == 1
    assert registry.revision == revision


def test_kinds_have_names_of_their_own() -> None:
    registry = Registry()
    registry.tool(name="x")(one)
    registry.prompt(name="x")(one)
    registry.resource("x:x", name="x")(one)
    registry.resource("x:y", name="x")(one)

    assert len(registry.primitives) == 4


def test_what_was_removed_is_gone_and_its_name_free() -> None:
    registry = Registry()
    registry.tool(one)
    registry.prompt(one)
    registry.resource("a://one")(one)
    registry.resource("a://{a}")(with_argument)
    registry.remove("one")
    registry.remove("one", kind="prompt")
    registry.remove("a://one", kind="resource")
    registry.remove("a://{a}", kind="resource template")

    assert not registry.primitives

    registry.tool(one)

    assert registry.tools.keys() == {"one"}


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        ("two", "tool", "No tool is called 'two'"),
        ("one", "prompt", "No prompt is called 'one'"),
        ("a://x", "resource", "No resource is called 'a://x'"),
    ],
)
def test_what_is_not_there_cannot_be_removed(key: str, kind: str, message: str) -> None:
    registry = Registry()
    registry.tool(one)
    revision = registry.revision

    with pytest.raises(NotRegistered, match=message):
        registry.remove(key, kind=kind)

    assert registry.revision == revision


def test_revision_grows_with_every_change() -> None:
    registry = Registry()
    revisions = [registry.revision]
    registry.tool(one)
    revisions.append(registry.revision)
    registry.remove("one")
    revisions.append(registry.revision)
    registry.tool(one)
    revisions.append(registry.revision)

    assert revisions == sorted(set(revisions))


# Methods, which wait for a ModelTools


class Shelf:
    registry = Registry()

    @registry.tool
    def plain(self) -> str:
        """Plain."""
        return "plain"

    @registry.tool(name="other", read_only=True)
    def named(self) -> None: ...

    @registry.tool
    async def asynchronous(self) -> None: ...

    @registry.tool
    def without_an_owner(label: str) -> str:
        """It has no instance to be called with."""
        return label


def test_method_is_marked_and_left_as_it_is() -> None:
    assert method_options(Shelf.plain) == {}
    assert method_options(Shelf.named) == {"name": "other", "read_only": True}
    assert method_options(Shelf.asynchronous) == {}
    assert Shelf().plain() == "plain"


def test_method_is_no_tool_by_itself() -> None:
    assert list(Shelf.registry.tools) == ["without_an_owner"]


def test_method_of_a_class_in_a_function_is_one_too() -> None:
    registry = Registry()

    class Local:
        @registry.tool
        def act(self) -> None: ...

    assert method_options(Local.act) == {}
    assert registry.tools == {}


def test_what_is_not_marked_has_no_options() -> None:
    def plain() -> None: ...

    registry = Registry()
    registry.tool(plain)

    assert method_options(plain) is None
    assert method_options(Shelf) is None
    assert method_options(5) is None


def test_function_outside_of_classes_is_a_tool_whatever_it_takes() -> None:
    registry = Registry()

    @registry.tool
    def local(self: int) -> int:
        return self

    registry.tool(name="bound")(Shelf().plain)

    assert list(registry.tools) == ["local", "bound"]
    assert method_options(local) is None
    assert registry.tools["local"].definition.input_schema["properties"].keys() == {
        "self"
    }


def test_what_is_no_function_is_refused_as_ever() -> None:
    class Callable:
        def __call__(self) -> None: ...

    wrong: list[Any] = [Callable(), Callable, 5]
    for thing in wrong:
        with pytest.raises(ImproperlyConfigured, match="cannot be a tool"):
            Registry().tool(thing)


def test_every_registry_has_exposures_of_its_own() -> None:
    one, other = Registry(), Registry()
    one.exposures[int] = "exposed"

    assert other.exposures == {}


# What is offered

LIST = {"listChanged": True}


@pytest.mark.parametrize(
    ("register", "capabilities"),
    [
        (lambda r: None, {}),
        (lambda r: r.tool(one), {"tools": LIST}),
        (lambda r: r.prompt(one), {"prompts": LIST, "completions": {}}),
        (
            lambda r: r.resource("a://a")(one),
            {"resources": {"subscribe": True, **LIST}},
        ),
        (
            lambda r: r.resource("a://{a}")(with_argument),
            {"resources": {"subscribe": True, **LIST}, "completions": {}},
        ),
        (lambda r: r.tool(permission="a.b")(one), {"tools": LIST}),
    ],
)
def test_capabilities_are_those_of_what_is_registered(
    register: Callable[[Registry], Any], capabilities: dict[str, Any]
) -> None:
    registry = Registry()
    register(registry)

    assert to_builtins(registry.capabilities) == {"logging": {}, **capabilities}


# Who sees it


def test_permission_is_needed_for_what_has_one() -> None:
    registry = Registry()
    registry.tool(one)
    registry.prompt(permission="a.b")(one)

    assert [p.needs_permission for p in registry.primitives] == [False, True]


def test_others_may_be_offered_than_are_registered() -> None:
    registry = Registry()
    registry.tool(one)
    tool, identity = Tool(two), Identity(AnonymousUser())
    catalogue = registry.catalogue_for(identity, page_size=10, primitives=[tool])

    assert catalogue.tools == {"two": tool}


def test_everybody_sees_what_has_no_permission() -> None:
    registry = Registry()
    registry.tool(one)
    registry.tool(permission="a.b")(two)
    registry.prompt(permission="a.b")(one)
    registry.resource("a://a", permission="a.c")(one)
    registry.resource("a://{a}", permission="a.b")(with_argument)

    assert see(registry).tools.keys() == {"one"}
    assert not see(registry).prompts
    assert see(registry, Clerk("a.b")).tools.keys() == {"one", "two"}
    assert see(registry, Clerk("a.b")).prompts.keys() == {"one"}
    assert not see(registry, Clerk("a.b")).resources
    assert see(registry, Clerk("a.b")).templates.keys() == {"a://{a}"}
    assert see(registry, Clerk("a.c")).resources.keys() == {"a://a"}


def test_who_sees_the_same_shares_a_catalogue() -> None:
    registry = Registry()
    registry.tool(one)
    registry.tool(permission="a.b")(two)

    assert see(registry) is see(registry, Clerk("a.c"))
    assert see(registry) is not see(registry, Clerk("a.b"))
    assert see(registry, Clerk("a.b")) is see(registry, Clerk("a.b", "a.c"))

    other = registry.catalogue_for(Identity(AnonymousUser()), page_size=11)

    assert other is not see(registry)
    assert other.page_size == 11


def test_catalogue_follows_every_change() -> None:
    registry = Registry()
    registry.tool(name="x")(one)
    first = see(registry)
    registry.remove("x")

    assert not see(registry).tools

    registry.tool(name="x")(two)

    assert see(registry).tools["x"].function is two
    assert first.tools["x"].function is one


def test_registry_may_change_in_a_thread_while_others_look() -> None:
    registry = Registry()
    for number in range(200):
        registry.tool(name=f"t{number}", permission="a.b")(one)
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            registry.tool(name="new")(one)
            registry.remove("new")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            assert len(see(registry, Clerk("a.b")).tools) in (200, 201)
            assert registry.capabilities.prompts is UNSET
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)


@pytest.fixture
def clerk(transactional_db: None) -> User:
    user = User.objects.create_user("ada")
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    # As it comes from the session, with nothing looked up.
    return User.objects.get(pk=user.pk)


@pytest.fixture
def office() -> Registry:
    registry = Registry()
    registry.tool(permission="auth.view_user")(one)
    return registry


@both_eras
async def test_right_that_was_taken_is_noticed_when_news_is_told(
    clerk: User, revision: str
) -> None:
    site = Site()
    site.resource("a://open")(one)
    site.resource("a://secret", permission="auth.view_user")(one)
    method = "notifications/resources/updated"
    uris = ["a://secret", "a://open"]
    async with site.client(clerk, revision=revision) as client:
        if revision == LEGACY:
            for uri in uris:
                await client.request("resources/subscribe", {"uri": uri})
        else:
            for uri in uris:
                await client.listen({"resourceSubscriptions": [uri]})
        publish(ResourceUpdated("a://secret"))

        assert (await client.notification(method))["uri"] == "a://secret"

        await clerk.user_permissions.aclear()
        for uri in uris:
            publish(ResourceUpdated(uri))

        assert (await client.notification(method))["uri"] == "a://open"

        publish(PrimitivesChanged("resources"))
        listed = await client.list_resources()

    assert [entry["uri"] for entry in listed] == ["a://open"]
