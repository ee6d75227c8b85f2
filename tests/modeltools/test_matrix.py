"""
Who may do what with which row: every operation, by everybody.

The row belongs to Ada. For whoever may not see it, it looks exactly as if it did not
exist; for whoever may do nothing, there is nothing to do it with.
"""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Permission

from mcp_channels import ModelTools, ToolError, register, tool
from mcp_channels.server.schemas import ArgumentsError
from mcp_channels.testing import RequestFailed
from tests.shop.counter import Counter
from tests.shop.models import Customer, Order
from tests.sites import LEGACY, MODERN, Site, refusal, silence

MISSING = uuid.UUID("00000000-0000-4000-8000-000000000000")
UPDATED = "notifications/resources/updated"

# Those who may do everything, each with rows of their own, and one who sees all rows.
ADA, BOB, ROOT = "ada", "bob", "root"
# Those who may do nothing: nobody, somebody without permissions, and one who works here
# and has none either.
NOBODY, EVE, STAFF = "nobody", "eve", "staff"

EVERYBODY = [ADA, BOB, ROOT, NOBODY, EVE, STAFF]


class OwnTools(ModelTools):
    owner = "owner"
    operations = [
        *("list", "get", "aggregate", "create", "update", "delete"),
        *("bulk_create", "bulk_update", "bulk_delete"),
    ]

    def get_queryset(self, context: Any) -> Any:
        rows = super().get_queryset(context)
        if context.user.is_superuser:
            return rows
        return rows.filter(**{self.owner: context.user.pk})


class CustomerTools(OwnTools):
    fields = ["name", "email", "orders"]
    filters = {"name": ["exact", "startswith"], "email": ["isnull"]}
    search_fields = ["name"]

    def save_model(self, context: Any, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.owner = context.user
        super().save_model(context, obj, form, change)

    @tool
    def greet(self, customer: Customer) -> Customer:
        """Say hello, and note it."""
        customer.email = "hello@example.com"
        customer.save()
        return customer

    @tool(read_only=True)
    def look(self, customers: list[Customer]) -> list[str]:
        """Look at some."""
        return [customer.name for customer in customers]


class OrderTools(OwnTools):
    owner = "customer__owner"
    fields = ["customer", "customer__name", "placed_at"]
    filters = ["customer", "customer__name"]


def make_user(name: str) -> Any:
    if name == NOBODY:
        return AnonymousUser()
    user = get_user_model().objects.create(
        username=name, is_superuser=name == ROOT, is_staff=name == STAFF
    )
    if name in (ADA, BOB):
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="shop")
        )
    return user


class Stage:
    """Everybody, and one row that is Ada's."""

    def __init__(self) -> None:
        self.site = Site()
        register(Customer, registry=self.site)(CustomerTools)
        register(Order, registry=self.site)(OrderTools)
        self.users = {name: make_user(name) for name in EVERYBODY}
        self.row = Customer.objects.create(name="Zoe", owner=self.users[ADA])
        placed = datetime(2026, 1, 1, tzinfo=UTC)
        self.order = Order.objects.create(customer=self.row, placed_at=placed)
        for name in (ADA, BOB):
            Customer.objects.create(name="Own", owner=self.users[name])

    def counter(self, name: str) -> Counter:
        return Counter(self.users[name], self.site)


@pytest.fixture
def stage(db: None) -> Stage:
    return Stage()


def answer(stage: Stage, name: str, call: Callable[..., Any], key: Any) -> str:
    """Return what comes of a call, without the key."""
    try:
        found = str(call(stage.counter(name), str(key)))
    except (ArgumentsError, ToolError) as exc:
        found = f"refused: {exc}"
    except KeyError as exc:
        found = f"no tool {exc}"
    return found.replace(str(key), "KEY") if key else found


VALUES = {"values": {"email": "new@example.com"}}
PLACED = "2026-02-01T00:00:00Z"

# What is done with one row, by its key.
ON_ONE: dict[str, Callable[[Counter, str], Any]] = {
    "get": lambda at, key: at.call("get_customer", pk=key),
    "update": lambda at, key: at.call("update_customer", pk=key, **VALUES),
    "update with a version": lambda at, key: at.call(
        "update_customer", pk=key, version="x", **VALUES
    ),
    "delete": lambda at, key: at.call("delete_customer", pk=key),
    "bulk_update": lambda at, key: at.call(
        "bulk_update_customers", rows=[{"pk": key, **VALUES}]
    ),
    "bulk_delete": lambda at, key: at.call("bulk_delete_customers", pks=[key]),
    "action": lambda at, key: at.call("greet", customer=key),
    "action that reads": lambda at, key: at.call("look", customers=[key]),
    "foreign key": lambda at, key: at.call(
        "create_order", values={"customer": key, "placed_at": PLACED}
    ),
    "foreign key of several": lambda at, key: at.call(
        "bulk_create_orders", rows=[{"customer": key, "placed_at": PLACED}]
    ),
    "filter by foreign key": lambda at, key: at.call(
        "list_orders", filters={"customer": key}, count=True
    ),
    "aggregate by foreign key": lambda at, key: at.call(
        "aggregate_orders", measures=["count"], filters={"customer": key}
    ),
}

# What is done with all rows there are.
ON_ALL: dict[str, Callable[[Counter, str], Any]] = {
    "list": lambda at, key: at.call("list_customers"),
    "list of those that show it": lambda at, key: at.call("list_orders"),
    "count": lambda at, key: at.call("list_customers", count=True, page_size=1),
    "order": lambda at, key: at.call("list_customers", ordering=["-name"], page_size=1),
    "filter": lambda at, key: at.call("list_customers", filters={"name": "Zoe"}),
    "filter of its beginning": lambda at, key: at.call(
        "list_customers", filters={"name__startswith": "Z"}, count=True
    ),
    "filter through a relation": lambda at, key: at.call(
        "list_orders", filters={"customer__name": "Zoe"}, count=True
    ),
    "search": lambda at, key: at.call("list_customers", search="zo"),
    "aggregate": lambda at, key: at.call(
        "aggregate_customers", measures=["count", "name__max"]
    ),
    "groups": lambda at, key: at.call(
        "aggregate_customers", measures=["count"], group_by=["name"]
    ),
    "description": lambda at, key: at.call("describe_models"),
}


@pytest.mark.parametrize("operation", ON_ONE)
@pytest.mark.parametrize("name", EVERYBODY)
def test_one_row(stage: Stage, name: str, operation: str) -> None:
    missing = answer(stage, name, ON_ONE[operation], MISSING)
    there = answer(stage, name, ON_ONE[operation], stage.row.pk)

    if name in (ADA, ROOT):
        assert there != missing
        assert there.startswith("refused: ") is (operation == "update with a version")
    else:
        stage.row.refresh_from_db()
        assert there == missing
        assert stage.row.email == ""
        assert Order.objects.get() == stage.order
        assert missing.startswith("no tool ") is (name != BOB)


@pytest.mark.parametrize("operation", ON_ALL)
@pytest.mark.parametrize("name", EVERYBODY)
def test_all_rows(stage: Stage, name: str, operation: str) -> None:
    with_it = answer(stage, name, ON_ALL[operation], "")
    stage.row.delete()
    without = answer(stage, name, ON_ALL[operation], "")

    assert not with_it.startswith("refused: ")
    assert with_it.startswith("no tool ") is (name in (NOBODY, EVE, STAFF))
    if name in (ADA, ROOT) and operation != "description":
        assert with_it != without
    else:
        assert with_it == without


@pytest.mark.parametrize("operation", ["create", "bulk_create"])
@pytest.mark.parametrize("name", EVERYBODY)
def test_new_row(stage: Stage, name: str, operation: str) -> None:
    values = {"name": "New"}
    call: dict[str, Callable[[Counter, str], Any]] = {
        "create": lambda at, key: at.call("create_customer", values=values),
        "bulk_create": lambda at, key: at.call("bulk_create_customers", rows=[values]),
    }
    found = answer(stage, name, call[operation], "")

    owners = [row.owner for row in Customer.objects.filter(name="New")]
    if name in (ADA, BOB, ROOT):
        assert owners == [stage.users[name]]
    else:
        assert found.startswith("no tool ")
        assert owners == []


@pytest.mark.parametrize("name", EVERYBODY)
def test_row_of_somebody_else_is_not_taken(stage: Stage, name: str) -> None:
    """By giving one's own row the name of theirs, or one's own order to them."""
    counter = stage.counter(name)
    if name in (NOBODY, EVE, STAFF):
        assert counter.tools.keys() == set()
        return
    if name == BOB:
        own = Customer.objects.get(owner=stage.users[BOB])
        placed = stage.order.placed_at
        order = Order.objects.create(customer=own, placed_at=placed)
        for key in (stage.row.pk, MISSING):
            said = counter.refusal(
                "update_order", pk=order.pk, values={"customer": str(key)}
            )
            assert said == f'values.customer: there is no customer "{key}".'
    if name != ADA:
        # Another owner's name is not in the way.
        counter.call("create_customer", values={"name": "Zoe"})

    assert Customer.objects.filter(owner=stage.users[ADA], name="Zoe").count() == 1


# Over a connection: resources


@pytest.fixture
def theatre(transactional_db: None) -> Stage:
    return Stage()


async def outcome(asking: Any, key: Any) -> str:
    try:
        found = str(await asking)
    except RequestFailed as exc:
        found = f"refused: {exc.code} {exc.message} {exc.data}"
    return found.replace(str(key), "KEY")


def uri_of(key: Any) -> str:
    return f"django://shop.customer/{key}"


TEMPLATE = {"type": "ref/resource", "uri": uri_of("{pk}")}


async def read(client: Any, key: Any) -> str:
    return await outcome(client.read_resource(uri_of(key)), key)


async def complete(client: Any, key: Any) -> str:
    return await outcome(client.complete(TEMPLATE, "pk", str(key)), key)


async def subscribe(client: Any, key: Any) -> str:
    if client.revision.value == LEGACY:
        asking = client.request("resources/subscribe", {"uri": uri_of(key)})
        return await outcome(asking, key)
    wanted = {"resourceSubscriptions": [uri_of(key)]}
    await client.send_request("subscriptions/listen", {"notifications": wanted})
    told = await client.notification("notifications/subscriptions/acknowledged")
    return str(told["notifications"]).replace(str(key), "KEY")


@pytest.mark.parametrize("name", EVERYBODY)
@pytest.mark.parametrize("revision", [LEGACY, MODERN])
async def test_resource(theatre: Stage, name: str, revision: str) -> None:
    row = theatre.row
    async with theatre.site.client(theatre.users[name], revision=revision) as client:
        listed = str(await client.list_resources())
        answers = {
            ask: (await ask(client, row.pk), await ask(client, MISSING))
            for ask in (read, complete, subscribe)
        }
        await row.asave()
        if name in (ADA, ROOT):
            assert (await client.notification(UPDATED))["uri"] == uri_of(row.pk)
        else:
            assert await silence(client)

    assert (str(row.pk) in listed) is (name in (ADA, ROOT))
    for there, missing in answers.values():
        assert (there != missing) is (name in (ADA, ROOT))


@pytest.mark.parametrize("name", EVERYBODY)
async def test_completion_of_nothing_names_nothing_hidden(
    theatre: Stage, name: str
) -> None:
    async with theatre.site.client(theatre.users[name]) as client:
        if name in (NOBODY, EVE, STAFF):
            error = await refusal(client.complete(TEMPLATE, "pk", ""))
            assert error.message == f"Unknown resource: {TEMPLATE['uri']}"
            return
        found = await client.complete(TEMPLATE, "pk", "")

    rows = Customer.objects.all()
    if name != ROOT:
        rows = rows.filter(owner__username=name)
    keys = await sync_to_async(list)(rows.values_list("pk", flat=True))
    assert set(found["values"]) == set(map(str, keys))
