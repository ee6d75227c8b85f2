"""Rows as resources: read, listed and completed by those who may see them."""

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission

from mcp_channels import ModelTools, register
from tests.shop.models import Category, Customer, Letter, Product, Seat, Tag
from tests.sites import Site, both_eras, refusal

pytestmark = pytest.mark.django_db(transaction=True)


def expose(site: Site, model: Any, **options: Any) -> None:
    register(model, registry=site)(type("Tools", (ModelTools,), options))


@pytest.fixture
def site() -> Site:
    site = Site()
    expose(
        site,
        Category,
        fields=["name", "slug"],
        description="A shelf.",
        get_queryset=lambda self, context: Category.objects.exclude(slug="secret"),
        has_view_permission=lambda self, context, obj=None: (
            context.user.has_perm("shop.view_category")
            and (obj is None or obj.slug != "hidden")
        ),
    )
    return site


@pytest.fixture
def ada() -> Any:
    return get_user_model().objects.create_superuser("ada")


@pytest.fixture
def shelves() -> dict[str, int]:
    return {
        slug: Category.objects.create(slug=slug, name=slug.title()).pk
        for slug in ("books", "maps", "secret", "hidden")
    }


def uri(key: Any, model: str = "category") -> str:
    return f"django://shop.{model}/{key}"


# Reading


@both_eras
async def test_row_is_read(
    site: Site, ada: Any, shelves: dict[str, int], revision: str
) -> None:
    key = shelves["books"]
    async with site.client(ada, revision=revision) as client:
        (content,) = (await client.read_resource(uri(key)))["contents"]
        got = await client.call_tool("get_category", {"pk": key})

    assert content["uri"] == got["structuredContent"]["uri"] == uri(key)
    assert content["mimeType"] == "application/json"
    assert json.loads(content["text"]) == got["structuredContent"]["row"]


@both_eras
async def test_row_that_is_hidden_is_one_that_does_not_exist(
    site: Site, ada: Any, shelves: dict[str, int], revision: str
) -> None:
    keys = [shelves["secret"], shelves["hidden"], 999, "x", "0" + str(shelves["books"])]
    async with site.client(ada, revision=revision) as client:
        errors = [(key, await refusal(client.read_resource(uri(key)))) for key in keys]

    said = {
        (error.code, error.message.replace(uri(key), "URI"), str(error.data)[:0])
        for key, error in errors
    }
    assert len(said) == 1


async def test_row_that_is_too_large_is_refused(site: Site, ada: Any) -> None:
    expose(site, Letter, fields=["subject"], max_bytes=30)
    small = await Letter.objects.acreate(subject="x")
    large = await Letter.objects.acreate(subject="x" * 30)
    async with site.client(ada) as client:
        await client.read_resource(uri(small.pk, "letter"))
        error = await refusal(client.read_resource(uri(large.pk, "letter")))

    assert error.message == "The row has more than 30 bytes"


@pytest.mark.parametrize("key", ["a", "a/b", "..", "a b?c#d", "100%", "ü"])
async def test_key_is_any_text(site: Site, ada: Any, key: str) -> None:
    expose(site, Tag, fields=["name"], operations=["get", "create"])
    async with site.client(ada) as client:
        made = await client.call_tool("create_tag", {"values": {"name": key}})
        found = made["structuredContent"]["uri"]
        (content,) = (await client.read_resource(found))["contents"]
        (listed,) = [
            one
            for one in await client.list_resources()
            if one["uri"].startswith("django://shop.tag/")
        ]

    assert json.loads(content["text"]) == {"pk": key, "name": key}
    assert listed["uri"] == found


async def test_key_may_have_several_columns(site: Site, ada: Any) -> None:
    expose(site, Seat, fields=["guest"])
    await Seat.objects.acreate(row="A", number=1, guest="Ada")
    async with site.client(ada) as client:
        (listed,) = [
            one
            for one in await client.list_resources()
            if one["uri"].startswith("django://shop.seat/")
        ]
        (content,) = (await client.read_resource(listed["uri"]))["contents"]

    assert listed["uri"] == "django://shop.seat/%5B%22A%22%2C1%5D"
    assert listed["name"] == 'seat ["A",1]'
    assert json.loads(content["text"]) == {"pk": ["A", 1], "guest": "Ada"}


# Listing


async def test_rows_are_listed_for_those_who_see_them(
    site: Site, ada: Any, shelves: dict[str, int]
) -> None:
    async with site.client(ada) as client:
        listed = await client.list_resources()
        (template,) = await client.list_resource_templates()

    # Sorted as texts.
    assert sorted(listed, key=lambda one: one["title"]) == [
        {
            "uri": uri(shelves[slug]),
            "name": f"category {shelves[slug]}",
            "title": slug.title(),
            "mimeType": "application/json",
        }
        for slug in ("books", "maps")
    ]
    assert template == {
        "uriTemplate": "django://shop.category/{pk}",
        "name": "category",
        "title": "Category",
        "description": "One category. A shelf.",
        "mimeType": "application/json",
    }


async def test_first_rows_are_listed(ada: Any, shelves: dict[str, int]) -> None:
    site = Site()
    expose(site, Category, fields=["slug"], page_size=2, ordering=["slug"])
    async with site.client(ada) as client:
        listed = await client.list_resources()

    assert {one["title"] for one in listed} == {"Books", "Hidden"}


async def test_site_may_list_no_rows(ada: Any, shelves: dict[str, int]) -> None:
    site = Site()
    expose(site, Category, fields=["slug"], list_resources=False)
    async with site.client(ada) as client:
        assert await client.list_resources() == []
        assert len(await client.list_resource_templates()) == 1


@both_eras
async def test_rows_do_not_exist_for_those_who_may_not(
    site: Site, shelves: dict[str, int], revision: str
) -> None:
    user = await get_user_model().objects.acreate(username="grace")
    for somebody in (None, user):
        async with site.client(somebody, revision=revision) as client:
            assert await client.list_resources() == []
            assert await client.list_resource_templates() == []
            there = await refusal(client.read_resource(uri(shelves["books"])))
            nowhere = await refusal(client.read_resource("django://no.such/1"))
            ref = {"type": "ref/resource", "uri": "django://shop.category/{pk}"}
            completed = await refusal(client.complete(ref, "pk", ""))

        assert (there.code, there.message) == (nowhere.code, nowhere.message)
        assert completed.message == f"Unknown resource: {ref['uri']}"


async def test_permission_is_what_it_takes(site: Site, shelves: dict[str, int]) -> None:
    user = await get_user_model().objects.acreate(username="grace")
    permission = await Permission.objects.aget(codename="view_category")
    await user.user_permissions.aadd(permission)
    async with site.client(user) as client:
        assert len(await client.list_resources()) == 2


# Completing


async def complete(site: Site, user: Any, model: str, value: str) -> Any:
    ref = {"type": "ref/resource", "uri": f"django://shop.{model}/{{pk}}"}
    async with site.client(user) as client:
        completion = await client.complete(ref, "pk", value)
    return completion["values"]


async def test_key_is_completed_to_what_is_seen(
    site: Site, ada: Any, shelves: dict[str, int]
) -> None:
    seen = [str(shelves[slug]) for slug in ("books", "maps")]

    assert await complete(site, ada, "category", "") == seen
    assert await complete(site, ada, "category", seen[1]) == [seen[1]]
    for value in (str(shelves["secret"]), str(shelves["hidden"]), "999", "x", "\0"):
        assert await complete(site, ada, "category", value) == []


async def test_key_of_text_is_completed_as_one_types(site: Site, ada: Any) -> None:
    expose(site, Tag, fields=["name"])
    for name in ("Red", "rose", "blue", "100%", "a\\b"):
        await Tag.objects.acreate(name=name)

    assert await complete(site, ada, "tag", "r") == ["Red", "rose"]
    for value in ("%", "_", "ed", "\0", "r\0", "r" * 100_000):
        assert await complete(site, ada, "tag", value) == []
    # As they are in a URI.
    assert await complete(site, ada, "tag", "100%") == ["100%25"]
    assert await complete(site, ada, "tag", "a\\") == ["a%5Cb"]


async def test_key_is_completed_by_what_one_searches_for(site: Site, ada: Any) -> None:
    expose(site, Letter, fields=["subject"], search_fields=["subject"])
    first = await Letter.objects.acreate(subject="Dear Ada")
    await Letter.objects.acreate(subject="Dear Grace")

    assert await complete(site, ada, "letter", "ada") == [str(first.pk)]
    assert await complete(site, ada, "letter", str(first.pk)) == [str(first.pk)]
    assert await complete(site, ada, "letter", "999") == []
    assert await complete(site, ada, "letter", "a " * 50) == []


async def test_client_is_told_that_there_are_more_keys(site: Site, ada: Any) -> None:
    expose(site, Tag, fields=["name"])
    ref = {"type": "ref/resource", "uri": "django://shop.tag/{pk}"}
    await Tag.objects.abulk_create(Tag(name=f"t{number:03}") for number in range(101))
    async with site.client(ada) as client:
        many = await client.complete(ref, "pk", "t")
        few = await client.complete(ref, "pk", "t00")

    assert len(many["values"]) == 100
    assert many["hasMore"] is True
    assert len(few["values"]) == 10
    assert few["hasMore"] is False


async def test_owners_see_their_own(site: Site, ada: Any) -> None:
    expose(
        site,
        Customer,
        fields=["name"],
        get_queryset=lambda self, context: Customer.objects.filter(
            owner=context.user.pk
        ),
    )
    grace = await get_user_model().objects.acreate_superuser("grace")
    mine = await Customer.objects.acreate(name="Mine", owner=ada)
    theirs = await Customer.objects.acreate(name="Theirs", owner=grace)

    assert await complete(site, ada, "customer", "") == [str(mine.pk)]
    assert await complete(site, ada, "customer", str(theirs.pk)) == []
    async with site.client(ada) as client:
        listed = [one["title"] for one in await client.list_resources()]
        error = await refusal(client.read_resource(uri(theirs.pk, "customer")))

    assert listed == ["Mine"]
    assert "not found" in error.message.lower()


async def test_name_of_a_row_may_need_other_rows(site: Site, ada: Any) -> None:
    class Tools(ModelTools):
        fields = ["name"]
        list_select_related = ["category"]

    register(Product, registry=site)(Tools)
    shelf = await Category.objects.acreate(slug="hidden", name="S")
    await Product.objects.acreate(name="P", sku="P", price=1, category=shelf)
    async with site.client(ada) as client:
        listed = await client.list_resources()

    assert [one["title"] for one in listed] == ["P"]
