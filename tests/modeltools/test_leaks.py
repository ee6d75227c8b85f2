"""
What nobody is told of models: neither by a result nor by a refusal.

All of it over a connection, with tools of a model's own and with the generic ones.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from mcp_channels import ModelTools, register
from mcp_channels.testing import MCPCommunicator
from tests.shop.counter import Anybody
from tests.shop.models import Category, Customer, Product, Tag
from tests.sites import Site, refusal

pytestmark = pytest.mark.django_db(transaction=True)

# In columns that are not among the fields, and in rows of somebody else.
SECRET = "SENTINEL"
ASKED: list[Any] = []  # each time that products were
HIDDEN = ("purchase_price", "internal_note", "api_token", "owner", "sku")


class Shopper(Anybody):
    """Somebody who owns customers."""

    def __init__(self, pk: int) -> None:
        super().__init__()
        self.pk = pk


@pytest.fixture(params=[False, True], ids=["own tools", "generic tools"])
def site(request) -> Iterator[Site]:
    site = Site()

    class Shown(ModelTools):
        operations = ["list", "get", "aggregate"]
        generic = request.param

    @register(Category, registry=site)
    class CategoryTools(Shown):
        fields = ["name"]

        def get_queryset(self, context: Any) -> Any:
            return super().get_queryset(context).exclude(slug=SECRET)

    @register(Product, registry=site)
    class ProductTools(Shown):
        fields = ["name", "price", "category__name", "tags"]
        filters = {
            "price": ["gte"],
            "name": ["exact"],
            "category__name": ["startswith"],
            "category": ["in"],
        }
        search_fields = ["name", "category__name"]
        ordering_fields = ["name", "category__name"]
        page_size = 2
        max_page_size = 3

        def get_queryset(self, context: Any) -> Any:
            ASKED.append(context)
            return super().get_queryset(context)

    @register(Customer, registry=site)
    class CustomerTools(Shown):
        fields = ["name"]
        filters = {"name": ["startswith"]}
        ordering = ["name"]
        search_fields = ["name"]

        def get_queryset(self, context: Any) -> Any:
            return super().get_queryset(context).filter(owner=context.user.pk)

    yield site


@pytest.fixture
def shop() -> None:
    shown = Category.objects.create(name="Tea", slug="tea")
    hidden = Category.objects.create(name=f"{SECRET} category", slug=SECRET)
    for number in range(5):
        product = Product.objects.create(
            name=f"P{number}",
            sku=f"{SECRET}{number}",
            price=Decimal(number + 1),
            purchase_price=Decimal(number),
            internal_note=SECRET,
            category=hidden if number == 4 else shown,
        )
        product.tags.add(Tag.objects.get_or_create(name="t")[0])
    for name in ("ada", "bob"):
        owner = User.objects.create(username=name, password=SECRET)
        Customer.objects.create(owner=owner, name=f"{name}'s", api_token=SECRET)


async def owner(name: str) -> Shopper:
    return Shopper((await User.objects.aget(username=name)).pk)


class Agent:
    """Asks for rows by whichever tool there is, and keeps all that it is told."""

    def __init__(self, client: MCPCommunicator, *, is_generic: bool) -> None:
        self.client = client
        self.is_generic = is_generic
        self.told: list[str] = []

    async def ask(self, kind: str, model: str, **arguments: Any) -> Any:
        """Return a result."""
        if self.is_generic:
            name, arguments = f"models.{kind}", {"model": f"shop.{model}", **arguments}
        else:
            plural = {"category": "categories"}.get(model, f"{model}s")
            name = f"{kind}_{model if kind == 'get' else plural}"
        result = await self.client.call_tool(name, arguments)
        self.told.append(json.dumps(result))
        return result

    async def refusal(self, kind: str, model: str, **arguments: Any) -> str:
        result = await self.ask(kind, model, **arguments)

        assert result["isError"]

        text: str = result["content"][0]["text"]
        return text

    async def rows(self, model: str, **arguments: Any) -> Any:
        result = await self.ask("list", model, **arguments)
        return result["structuredContent"]["rows"]


@pytest.fixture
def is_generic(request) -> bool:
    return "generic" in request.node.callspec.id


async def test_hidden_columns_are_in_nothing_that_is_told(site, shop, is_generic):
    async with site.client(await owner("ada")) as client:
        agent = Agent(client, is_generic=is_generic)
        for model in ("product", "category", "customer"):
            rows = await agent.rows(model)
            key = rows[0]["pk"]
            await agent.ask("get", model, pk=key)
            await agent.ask("aggregate", model, measures=["count"])
            agent.told.append(
                json.dumps(await client.read_resource(f"django://shop.{model}/{key}"))
            )
        described = await client.call_tool("describe_models", {})
        for listed in (
            await client.list_tools(),
            await client.list_resources(),
            await client.list_resource_templates(),
            described,
        ):
            agent.told.append(json.dumps(listed))

    told = " ".join(agent.told)
    assert "P0" in told and "ada's" in told
    assert SECRET not in told
    for name in HIDDEN:
        assert f'"{name}' not in told


@pytest.mark.parametrize("name", [*HIDDEN, "nope", "owner__password", "tags__name"])
async def test_no_way_to_name_a_hidden_column(site, shop, is_generic, name):
    ways: Any = [
        {"fields": [name]},
        {"fields": ["name", f"{name}__x"]},
        {"ordering": [name]},
        {"ordering": [f"-{name}"]},
        {"filters": {name: SECRET}},
        {"filters": {f"{name}__startswith": SECRET}},
        {"filters": {f"{name}__regex": "^S"}},
        {"filters": {"price__gte": "0", f"{name}__isnull": False}},
    ]
    measured: Any = [
        {"measures": [f"{name}__max"]},
        {"measures": ["count"], "group_by": [name]},
        {"measures": ["count"], "filters": {name: SECRET}},
    ]
    async with site.client(await owner("ada")) as client:
        agent = Agent(client, is_generic=is_generic)
        assert await agent.rows("product")
        before = len(ASKED)
        for arguments in ways:
            await agent.refusal("list", "product", **arguments)
        for arguments in measured:
            await agent.refusal("aggregate", "product", **arguments)
        await agent.refusal("get", "product", pk=1, fields=[name])

        # Nothing was looked at before it was refused.
        assert before > 0 and len(ASKED) == before
    assert SECRET not in " ".join(agent.told).replace(f"'{SECRET}'", "")


async def test_what_is_hidden_and_what_is_not_there_are_refused_alike(
    site, shop, is_generic
):
    async with site.client(await owner("ada")) as client:
        agent = Agent(client, is_generic=is_generic)
        for member in ("fields", "ordering"):
            hidden, missing = [
                await agent.refusal("list", "product", **{member: [name]})
                for name in ("internal_note", "external_note")
            ]
            assert hidden.replace("internal", "external") == missing
        theirs = (await Customer.objects.aget(name="bob's")).pk
        nobodys = "5e3f7c59-7a4c-4f5c-8f3d-0c5d8f1f6f10"
        hidden, missing = [
            await agent.refusal("get", "customer", pk=str(key))
            for key in (theirs, nobodys)
        ]
        assert hidden.replace(str(theirs), nobodys) == missing
        hidden_error, missing_error = [
            await refusal(client.read_resource(f"django://shop.customer/{key}"))
            for key in (theirs, nobodys)
        ]
        assert hidden_error.code == missing_error.code
        assert hidden_error.message.replace(str(theirs), nobodys) == (
            missing_error.message
        )


async def test_rows_are_those_of_now_and_of_whoever_asks(site, shop, is_generic):
    async with (
        site.client(await owner("ada")) as adas,
        site.client(await owner("bob")) as bobs,
    ):
        ada = Agent(adas, is_generic=is_generic)
        bob = Agent(bobs, is_generic=is_generic)

        async def names(agent: Agent) -> list[str]:
            return [row["name"] for row in await agent.rows("customer")]

        assert await names(ada) == ["ada's"]
        assert await names(bob) == ["bob's"]
        user = await User.objects.aget(username="ada")
        await Customer.objects.acreate(owner=user, name="another")
        assert await names(ada) == ["ada's", "another"]
        assert await names(bob) == ["bob's"]
        assert await ada.rows("customer", search="bob") == []
        assert await ada.rows("customer", filters={"name__startswith": "bob"}) == []
        counted = await ada.ask("aggregate", "customer", measures=["count"])
        (group,) = counted["structuredContent"]["groups"]
        assert group["measures"] == {"count": 2}


async def test_resources_are_of_whoever_asks(site, shop):
    bobs = await Customer.objects.aget(name="bob's")
    theirs = f"django://shop.customer/{bobs.pk}"
    async with site.client(await owner("ada")) as client:
        listed = await client.list_resources()
        uris = {resource["uri"] for resource in listed}
        template = {"type": "ref/resource", "uri": "django://shop.customer/{pk}"}
        completed = await client.complete(template, "pk", "")
        found = await client.complete(template, "pk", "bob")

    assert theirs not in uris
    assert len([uri for uri in uris if "customer" in uri]) == 1
    assert SECRET not in json.dumps(listed)
    assert len(completed["values"]) == 1
    assert found["values"] == []


async def test_a_page_has_an_end_and_pages_have_none_left_out(site, shop, is_generic):
    async with site.client(await owner("ada")) as client:
        agent = Agent(client, is_generic=is_generic)
        assert len(await agent.rows("product")) == 2
        assert len(await agent.rows("product", page_size=3)) == 3
        for size in (0, 4, -1, 10**30):
            text = await agent.refusal("list", "product", page_size=size)
            assert "page_size" in text
        found, arguments = [], {}
        while True:
            result = await agent.ask("list", "product", **arguments)
            page = result["structuredContent"]
            found += [row["name"] for row in page["rows"]]
            if page["next_cursor"] is None:
                break
            arguments = {"cursor": page["next_cursor"]}
    assert found == [f"P{number}" for number in range(5)]


async def test_hidden_rows_are_no_oracle(site, shop, is_generic):
    hidden = (await Category.objects.aget(slug=SECRET)).pk
    async with site.client(await owner("ada")) as client:
        agent = Agent(client, is_generic=is_generic)

        async def names(**arguments: Any) -> list[str]:
            rows = await agent.rows("product", page_size=3, **arguments)
            return [row["name"] for row in rows]

        prefix = ""
        for letter in SECRET:
            prefix += letter
            assert await names(filters={"category__name__startswith": prefix}) == []
            assert await names(search=prefix) == []
        # What the row itself has may be asked for: it is shown, too.
        assert await names(filters={"category__in": [hidden]}) == ["P4"]
        await Category.objects.filter(pk=hidden).aupdate(name="AAA")
        first = await names(ordering=["category__name"])
        await Category.objects.filter(pk=hidden).aupdate(name="ZZZ")
        assert await names(ordering=["category__name"]) == first == ["P0", "P1", "P2"]
        assert 'label": null' in json.dumps(
            await agent.rows("product", filters={"category__in": [hidden]})
        )


async def test_nothing_of_an_error_is_told(site, shop, is_generic, monkeypatch):
    def fail(self: Any, context: Any) -> Any:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(type(site.exposures[Product].tools), "get_queryset", fail)
    async with site.client(await owner("ada")) as client:
        agent = Agent(client, is_generic=is_generic)
        assert "failed" in await agent.refusal("list", "product")
    assert SECRET not in agent.told[-1]
