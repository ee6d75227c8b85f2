import logging
import threading
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connections
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import policy
from mcp_channels.models import Endpoint, PrimitiveSetting
from mcp_channels.policy import (
    Policy,
    PrimitivePolicy,
    compile_policy,
    current_policy,
    forget_policy,
    is_migrated,
    renew_policy,
)
from mcp_channels.server.permissions import EndpointPolicy, Requirement
from mcp_channels.server.registry import Registry


def one() -> int:
    """Say one."""
    return 1


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.tool(one, timeout=5)
    registry.prompt(name="one")(one)
    return registry


# What the rows say


@pytest.mark.usefixtures("rows")
def test_without_rows_the_settings_hold() -> None:
    found = compile_policy()

    assert (found.revision, found.endpoints, found.primitives) == ("", {}, {})
    assert found.find_endpoint("") == EndpointPolicy()
    assert found.find_endpoint("staff") is None


@pytest.mark.usefixtures("rows")
def test_endpoint_is_what_its_row_says() -> None:
    tool = PrimitiveSetting.objects.create(kind="tool", key="one")
    PrimitiveSetting.objects.create(kind="tool", key="two")
    chosen = Endpoint.objects.create(
        slug="staff",
        title="For the staff",
        instructions="Be quick.",
        website_url="https://shop.example",
        icons=[{"src": "https://shop.example/icon.png"}],
        selection="chosen",
        read_only=True,
        page_size=5,
        groups=["editors"],
        staff_only=True,
        rate="600/minute",
        identity_rate="60/minute",
        max_connections=3,
        audit="arguments",
    )
    chosen.primitives.add(tool)
    Endpoint.objects.create(selection="tagged", tags=["a", "b"], allow_anonymous=True)
    Endpoint.objects.create(slug="all", tags=["a"]).primitives.add(tool)

    assert compile_policy().endpoints == {
        "": EndpointPolicy(tags=frozenset({"a", "b"}), allow_anonymous=True),
        "all": EndpointPolicy(slug="all", allow_anonymous=False),
        "staff": EndpointPolicy(
            slug="staff",
            title="For the staff",
            instructions="Be quick.",
            website_url="https://shop.example",
            icons=({"src": "https://shop.example/icon.png"},),
            chosen=frozenset({("tool", "one")}),
            read_only=True,
            page_size=5,
            allow_anonymous=False,
            requirement=Requirement(groups=frozenset({"editors"}), staff_only=True),
            rate="600/minute",
            identity_rate="60/minute",
            max_connections=3,
            audit="arguments",
        ),
    }


@pytest.mark.usefixtures("rows")
def test_primitive_is_what_its_row_says() -> None:
    PrimitiveSetting.objects.create(kind="tool", key="one")
    PrimitiveSetting.objects.create(
        kind="tool",
        key="two",
        enabled=False,
        title="Two",
        description="Say two.",
        permission="shop.two",
        groups=["editors"],
        staff_only=True,
        rate="60/minute",
        timeout=2.5,
    )

    assert compile_policy().primitives == {
        ("tool", "two"): PrimitivePolicy(
            enabled=False,
            title="Two",
            description="Say two.",
            requirement=Requirement(("shop.two",), frozenset({"editors"}), True),
            timeout=2.5,
            rate="60/minute",
        ),
    }


@pytest.mark.usefixtures("rows")
def test_revision_is_the_same_for_the_same_rows() -> None:
    endpoint = Endpoint.objects.create(slug="staff")
    setting = PrimitiveSetting.objects.create(kind="tool", key="one")
    revisions = [compile_policy().revision]
    assert compile_policy().revision == revisions[0]

    # However they were changed.
    Endpoint.objects.update(title="For the staff")
    revisions.append(compile_policy().revision)
    endpoint.primitives.add(setting)
    revisions.append(compile_policy().revision)
    PrimitiveSetting.objects.update(enabled=False)
    revisions.append(compile_policy().revision)

    assert len(set(revisions)) == 4

    endpoint.delete()
    setting.delete()

    assert compile_policy().revision == ""


def test_endpoint_that_is_disabled_is_not_there() -> None:
    found = Policy(
        endpoints={
            "": EndpointPolicy(enabled=False),
            "staff": EndpointPolicy(slug="staff"),
            "old": EndpointPolicy(slug="old", enabled=False),
        }
    )

    assert found.find_endpoint("") is None
    assert found.find_endpoint("staff") == EndpointPolicy(slug="staff")
    assert found.find_endpoint("old") is None
    assert found.find_endpoint("new") is None


def test_primitive_without_a_row_is_offered_as_it_is(registry: Registry) -> None:
    assert Policy().offer(registry) == tuple(registry.primitives)


def test_primitive_is_offered_as_its_row_says(registry: Registry) -> None:
    required = Requirement(staff_only=True)
    found = Policy(
        primitives={
            ("tool", "one"): PrimitivePolicy(
                title="One", description="One!", requirement=required, timeout=2.5
            ),
            ("tool", "gone"): PrimitivePolicy(),
        }
    )
    tool, prompt = found.offer(registry)

    assert (tool.definition.title, tool.definition.description) == ("One", "One!")
    assert (tool.requirement, tool.timeout, tool.key) == (required, 2.5, "one")
    assert prompt in registry.primitives
    # What is registered stays as it is.
    assert registry.tools["one"].definition.description == "Say one."
    assert registry.tools["one"].requirement is None


def test_primitive_that_is_disabled_is_not_offered(registry: Registry) -> None:
    found = Policy(primitives={("tool", "one"): PrimitivePolicy(enabled=False)})

    assert [p.kind for p in found.offer(registry)] == ["prompt"]


def test_offer_is_made_once_and_again_when_more_is_registered(
    registry: Registry,
) -> None:
    found = Policy(primitives={("tool", "one"): PrimitivePolicy(title="One")})
    first = found.offer(registry)

    assert found.offer(registry) is first
    assert found.offer(Registry()) == ()

    registry.tool(one, name="two")

    assert len(found.offer(registry)) == 3


# When it is loaded


@pytest.fixture
def compiled(no_rows: pytest.MonkeyPatch) -> list[Policy]:
    """Note every policy that is compiled, each with a revision of its own."""
    policies: list[Policy] = []

    def compile_next() -> Policy:
        policies.append(Policy(revision=str(len(policies))))
        return policies[-1]

    no_rows.setattr(policy, "compile_policy", compile_next)
    return policies


def test_policy_is_loaded_when_there_is_none(compiled: list[Policy]) -> None:
    assert current_policy(0.0) is None

    assert renew_policy() is compiled[0] is current_policy(0.0)

    forget_policy()

    assert current_policy(0.0) is None


def test_policy_from_before_the_news_is_none(compiled: list[Policy]) -> None:
    before = policy.monotonic()
    renew_policy()

    assert current_policy(before) is compiled[0]
    assert current_policy(policy.monotonic()) is None


@pytest.mark.parametrize(("interval", "is_kept"), [(3600, True), (1e-9, False)])
def test_policy_is_looked_at_again_after_the_interval(
    compiled: list[Policy], settings: DjangoSettings, interval: float, is_kept: bool
) -> None:
    settings.MCP_CHANNELS = {"ACCESS_INTERVAL": interval}
    renew_policy()

    assert (current_policy(0.0) is not None) is is_kept


def test_policy_that_is_newer_than_the_news_is_not_loaded_again(
    compiled: list[Policy],
) -> None:
    before = policy.monotonic()
    renew_policy()

    assert renew_policy(before) is compiled[0]
    assert len(compiled) == 1
    assert renew_policy(policy.monotonic()) is compiled[1]


def test_policy_that_says_the_same_is_kept(
    no_rows: pytest.MonkeyPatch, registry: Registry
) -> None:
    first = renew_policy()
    first.offer(registry)

    assert renew_policy() is first


def test_many_who_wait_are_given_the_same(
    compiled: list[Policy], no_rows: pytest.MonkeyPatch
) -> None:
    compile_next, compiling, going = (
        policy.compile_policy,
        threading.Event(),
        threading.Event(),
    )

    def compile_slowly() -> Policy:
        compiling.set()
        going.wait(10)
        return compile_next()

    no_rows.setattr(policy, "compile_policy", compile_slowly)
    given: list[Policy] = []
    threads = [
        threading.Thread(target=lambda: given.append(renew_policy(0.0)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    compiling.wait(10)
    going.set()
    for thread in threads:
        thread.join(10)

    assert given == [compiled[0]] * 8


def test_last_policy_holds_while_the_database_is_away(
    compiled: list[Policy],
    no_rows: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> Policy:
        raise OperationalError("The password of db.example is secret")

    compile_next = policy.compile_policy
    no_rows.setattr(policy, "compile_policy", fail)
    with pytest.raises(DatabaseError):
        renew_policy()
    no_rows.setattr(policy, "compile_policy", compile_next)
    renew_policy()
    no_rows.setattr(policy, "compile_policy", fail)

    assert renew_policy() is compiled[0]
    assert "the last one holds" in caplog.text


# Before the first migration


@pytest.fixture
def unmigrated(rows: None) -> Any:
    call_command("migrate", "mcp_channels", "zero", verbosity=0)
    yield
    call_command("migrate", "mcp_channels", verbosity=0)


@pytest.mark.usefixtures("unmigrated")
def test_where_no_table_is_the_settings_hold(caplog: pytest.LogCaptureFixture) -> None:
    assert not is_migrated()

    with caplog.at_level(logging.ERROR, "mcp_channels"):
        found = renew_policy()
        renew_policy()

    assert found.find_endpoint("") == EndpointPolicy()
    # Once is enough.
    assert caplog.messages == ["Run manage.py migrate: mcp_channels has no tables yet"]


def test_where_no_database_is_the_settings_hold(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dummy = connections.configure_settings({})["default"]
    monkeypatch.setattr(connections["default"], "settings_dict", dummy)
    found = compile_policy()

    assert found.find_endpoint("") == EndpointPolicy()
    assert caplog.messages == []


@pytest.mark.usefixtures("rows")
def test_database_that_fails_with_its_tables_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: Any) -> Any:
        raise OperationalError

    assert is_migrated()
    monkeypatch.setattr(PrimitiveSetting.objects, "values", fail)
    with pytest.raises(OperationalError):
        compile_policy()
