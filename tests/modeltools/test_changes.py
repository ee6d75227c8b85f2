"""News of rows: what is told, of which row, when, and to whom."""

import gc
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from mcp_channels import ModelTools, Registry, register, rows_changed
from mcp_channels.modeltools import changes
from mcp_channels.server import audience
from tests.shop.models import (
    Book,
    Category,
    Customer,
    Delivery,
    Invoice,
    Item,
    Letter,
    Line,
    Offer,
    Order,
    Product,
    Supplier,
    Tag,
)
from tests.sites import LEGACY, MODERN, Site, both_eras, refusal, silence

UPDATED = "notifications/resources/updated"

SIGNALS = (post_save, post_delete, m2m_changed, changes._rows_changed)


def watch(model: Any, *fields: str) -> Any:
    """Return a registry that watches `model`, shown with these fields."""
    registry = Registry()
    register(model, registry=registry)(
        type("Tools", (ModelTools,), {"fields": list(fields)})
    )
    assert registry.exposures[model].problems == []
    return registry


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is published, in its order, as "model/key", or "model/key@database"."""
    # Of other tests some may watch as long as they live.
    for signal in SIGNALS:
        monkeypatch.setattr(signal, "receivers", [])
        signal.sender_receivers_cache.clear()
    found: list[str] = []

    def publish(event: Any, *, using: str) -> None:
        place = "" if using == "default" else f"@{using}"
        found.append(event.uri.removeprefix("django://shop.") + place)

    monkeypatch.setattr(changes, "publish", publish)
    yield found
    monkeypatch.undo()
    for signal in SIGNALS:
        signal.sender_receivers_cache.clear()


def take(told: list[str]) -> list[str]:
    found = list(told)
    told.clear()
    return found


@pytest.fixture
def shelf(db: None) -> Category:
    return Category.objects.create(pk=1, slug="a", name="A")


def make_product(pk: int, shelf: Category, kind: Any = Product, **more: Any) -> Any:
    return kind.objects.create(
        pk=pk, name=f"P{pk}", sku=f"P{pk}", price=1, category=shelf, **more
    )


# Which rows


def test_row_that_is_saved_or_deleted_is_told_of(db: None, told: list[str]) -> None:
    watching = watch(Tag, "name")
    tag = Tag.objects.create(name="a/b")
    tag.save()
    Tag.objects.all().delete()

    assert told == ["tag/a%252Fb"] * 3
    assert watching


def test_row_of_another_model_is_not_told_of(
    db: None, told: list[str], shelf: Category
) -> None:
    watching = watch(Tag, "name"), watch(Order, "customer")
    shelf.save()
    make_product(1, shelf).delete()
    user = get_user_model().objects.create(username="ada")
    Customer.objects.create(name="Ada", owner=user).save()

    assert told == []
    assert watching


def test_nobody_watches_when_the_registry_is_gone(db: None, told: list[str]) -> None:
    watching = watch(Tag, "name")
    del watching
    gc.collect()
    Tag.objects.create(name="a")

    assert told == []


def test_row_of_a_proxy_is_told_of(db: None, told: list[str], shelf: Category) -> None:
    watching = [watch(Product, "name"), watch(Offer, "name")]
    product = make_product(7, shelf)
    assert sorted(take(told)) == ["offer/7", "product/7"]

    Offer.objects.get(pk=product.pk).save()
    assert sorted(take(told)) == ["offer/7", "product/7"]
    assert watching


def test_row_in_the_table_of_a_parent_is_told_of(
    db: None, told: list[str], shelf: Category
) -> None:
    watching = [watch(Product, "name"), watch(Book, "name")]
    book = make_product(7, shelf, Book, isbn="1")
    assert sorted(set(take(told))) == ["book/7", "product/7"]

    Product.objects.get(pk=book.pk).save()
    assert sorted(set(take(told))) == ["book/7", "product/7"]

    Offer.objects.get(pk=book.pk).save()
    assert sorted(set(take(told))) == ["book/7", "product/7"]
    assert watching


def test_row_that_shows_others_is_told_of(
    db: None, told: list[str], shelf: Category
) -> None:
    user = get_user_model().objects.create(username="ada")
    customer = Customer.objects.create(name="Ada", owner=user)
    placed = datetime(2026, 1, 1, tzinfo=UTC)
    order = Order.objects.create(pk=3, customer=customer, placed_at=placed)
    product = make_product(1, shelf)
    watching = watch(Order, "is_paid", "lines")
    line = Line.objects.create(order=order, product=product)
    line.count = 2
    line.save()
    line.delete()

    assert take(told) == ["order/3"] * 3

    silent = watch(Customer, "name")  # which does not show its orders
    order.save()
    assert take(told) == ["order/3"]
    assert watching
    assert silent


def test_row_that_shows_one_other_is_told_of(db: None, told: list[str]) -> None:
    supplier = Supplier.objects.create(code="x")
    delivery = Delivery.objects.create(
        pk=4, supplier=supplier, title="a", day=date(2026, 1, 1)
    )
    watching = watch(Delivery, "title", "invoice")
    Invoice.objects.create(delivery=delivery, total=1).delete()

    assert told == ["delivery/4"] * 2
    assert watching


def test_row_that_is_named_by_another_column_is_told_of(
    db: None, told: list[str]
) -> None:
    supplier = Supplier.objects.create(pk=5, code="x")
    watching = watch(Supplier, "code", "deliveries")
    Delivery.objects.create(supplier=supplier, title="a", day=date(2026, 1, 1))

    assert told == ["supplier/5"]
    assert watching


def test_row_without_an_owner_is_nobodys(db: None, told: list[str]) -> None:
    watching = watch(Category, "name", "children")
    Category.objects.create(pk=1, slug="a", name="A")
    assert take(told) == ["category/1"]

    Category.objects.create(pk=2, slug="b", name="B", parent_id=1)
    assert sorted(take(told)) == ["category/1", "category/2"]
    assert watching


# Relations to several rows


def test_linked_row_is_told_of_on_either_side(
    db: None, told: list[str], shelf: Category
) -> None:
    watching = [watch(Product, "name", "tags"), watch(Tag, "name", "products")]
    product = make_product(1, shelf)
    a, b = Tag.objects.create(name="a"), Tag.objects.create(name="b")
    take(told)

    product.tags.add(a, b)
    assert sorted(set(take(told))) == ["product/1", "tag/a", "tag/b"]
    product.tags.add(a)  # nothing new
    assert take(told) == []
    product.tags.remove(b)
    assert sorted(set(take(told))) == ["product/1", "tag/b"]
    product.tags.set([b])
    assert sorted(set(take(told))) == ["product/1", "tag/a", "tag/b"]
    product.tags.clear()
    assert sorted(set(take(told))) == ["product/1", "tag/b"]
    product.tags.clear()
    assert take(told) == []

    a.products.add(product)
    assert sorted(set(take(told))) == ["product/1", "tag/a"]
    a.products.clear()
    assert sorted(set(take(told))) == ["product/1", "tag/a"]
    assert watching


def test_one_side_of_a_link_may_be_watched(
    db: None, told: list[str], shelf: Category
) -> None:
    watching = watch(Product, "name", "tags")
    product = make_product(1, shelf)
    tag = Tag.objects.create(name="a")
    take(told)
    tag.products.add(product)
    tag.products.clear()

    assert take(told) == ["product/1"] * 2
    assert watching


def test_rows_linked_with_rows_of_their_own_model_are_told_of(
    db: None, told: list[str]
) -> None:
    watching = watch(Supplier, "code", "friends")
    one, two = (Supplier.objects.create(pk=pk, code=f"s{pk}") for pk in (1, 2))
    take(told)
    one.friends.add(two)

    assert sorted(set(take(told))) == ["supplier/1", "supplier/2"]
    assert watching


def test_link_with_something_to_say_is_told_of(
    db: None, told: list[str], shelf: Category
) -> None:
    supplier = Supplier.objects.create(code="x")
    delivery = Delivery.objects.create(
        pk=4, supplier=supplier, title="a", day=date(2026, 1, 1)
    )
    product = make_product(1, shelf)
    watching = [
        watch(Delivery, "title", "products"),
        watch(Product, "name", "deliveries"),
    ]
    item = Item.objects.create(delivery=delivery, product=product, count=1)
    assert sorted(set(take(told))) == ["delivery/4", "product/1"]

    item.delete()
    assert sorted(set(take(told))) == ["delivery/4", "product/1"]

    delivery.products.add(product, through_defaults={"count": 2})
    assert sorted(set(take(told))) == ["delivery/4", "product/1"]
    assert watching


# What sends no signal


def test_site_tells_of_rows_itself(db: None, told: list[str], shelf: Category) -> None:
    watching = [watch(Product, "name"), watch(Offer, "name")]
    make_product(1, shelf)
    make_product(2, shelf)
    take(told)
    rows = Product.objects.order_by("pk")
    rows.update(stock=5)
    assert take(told) == []

    rows_changed(rows)
    assert sorted(take(told)) == ["offer/1", "offer/2", "product/1", "product/2"]

    rows_changed([rows[0]])
    assert sorted(take(told)) == ["offer/1", "product/1"]

    found = list(rows.filter(stock=5))
    rows.update(stock=6)
    rows_changed(found)
    assert len(take(told)) == 4
    assert watching


def test_site_tells_of_rows_that_show_others(
    db: None, told: list[str], shelf: Category
) -> None:
    watching = watch(Category, "name", "products")
    rows = [
        Product(pk=9, name="P", sku="P", price=1, category=shelf),
        Product(name="Q", sku="Q", price=1, category=shelf),
    ]
    Product.objects.bulk_create(rows)
    rows_changed(rows)

    assert take(told) == ["category/1"] * 2
    assert watching


def test_row_without_a_key_is_none(told: list[str]) -> None:
    watching = watch(Tag, "name")
    rows_changed([Tag(pk=None)])

    assert told == []
    assert watching


@pytest.mark.django_db(databases=["default", "archive"])
def test_row_is_told_of_when_its_own_database_commits(told: list[str]) -> None:
    watching = watch(Tag, "name")
    tag = Tag.objects.using("archive").create(name="a")
    rows_changed(Tag.objects.using("archive").all())
    rows_changed([tag])

    assert told == ["tag/a@archive"] * 3
    assert watching


def test_abstract_and_swapped_models_are_in_no_family() -> None:
    # Models that other tests define may be of it, too.
    family = [
        model for model in changes._family(Book) if model.__module__ == Book.__module__
    ]

    assert set(family) == {Book, Product, Offer}
    assert models.Model not in family


# To whom, and when


@pytest.fixture
def site() -> Site:
    site = Site()

    @register(Letter, registry=site)
    class LetterTools(ModelTools):
        fields = ["subject"]
        operations = ["list", "get", "update", "delete"]

    @register(Category, registry=site)
    class CategoryTools(ModelTools):
        fields = ["name", "children"]

        def get_queryset(self, context: Any) -> Any:
            return super().get_queryset(context).exclude(slug=str(context.user))

    return site


@pytest.fixture
def ada(transactional_db: None) -> Any:
    return get_user_model().objects.create_superuser("ada")


@pytest.fixture
def letter(transactional_db: None) -> Letter:
    return Letter.objects.create(subject="Dear")


def uri(row: Any) -> str:
    return f"django://{row._meta.label_lower}/{row.pk}"


async def follow(client: Any, row: Any) -> None:
    """Subscribe to a row in the way of the client's era."""
    if client.revision.value == MODERN:
        await client.listen({"resourceSubscriptions": [uri(row)]})
    else:
        await client.request("resources/subscribe", {"uri": uri(row)})


@both_eras
async def test_watcher_is_told_of_a_commit(
    site: Site, ada: Any, letter: Letter, revision: str
) -> None:
    async with site.client(ada, revision=revision) as client:
        await follow(client, letter)
        letter.subject = "Cheap"
        await letter.asave()
        told = await client.notification(UPDATED)

    assert told["uri"] == uri(letter)


@both_eras
async def test_watcher_is_told_of_what_an_agent_did(
    site: Site, ada: Any, letter: Letter, revision: str
) -> None:
    grace = await get_user_model().objects.acreate_superuser("grace")
    async with (
        site.client(ada, revision=revision) as client,
        site.client(grace) as other,
    ):
        await follow(client, letter)
        values = {"subject": "Far"}
        await other.call_tool("update_letter", {"pk": letter.pk, "values": values})
        await client.notification(UPDATED)
        (content,) = (await client.read_resource(uri(letter)))["contents"]

        assert json.loads(content["text"])["subject"] == "Far"

        await other.call_tool("delete_letter", {"pk": letter.pk})
        await client.notification(UPDATED)
        await refusal(client.read_resource(uri(letter)))


@both_eras
async def test_watcher_hears_nothing_of_what_was_undone(
    site: Site, ada: Any, letter: Letter, revision: str
) -> None:
    def change(fail: bool) -> None:
        with transaction.atomic():
            letter.save()
            rows_changed(Letter.objects.all())
            if fail:
                raise ZeroDivisionError

    async with site.client(ada, revision=revision) as client:
        await follow(client, letter)
        with pytest.raises(ZeroDivisionError):
            await sync_to_async(change)(True)

        assert await silence(client)

        await sync_to_async(change)(False)
        await client.notification(UPDATED)


@both_eras
async def test_watcher_hears_once_of_many_changes(
    site: Site, ada: Any, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seconds: however slow the machine, they are all in time.
    monkeypatch.setattr(audience, "_COLLECTED", 1.0)
    shelf = await Category.objects.acreate(slug="x", name="X")

    def change() -> None:
        with transaction.atomic():
            for number in range(20):
                shelf.save()
                Category.objects.create(slug=f"x{number}", name="X", parent=shelf)
            rows_changed([shelf])

    async with site.client(ada, revision=revision) as client:
        await follow(client, shelf)
        await sync_to_async(change)()
        await client.notification(UPDATED)

        assert await silence(client)


@both_eras
async def test_stranger_watches_nothing(
    site: Site, letter: Letter, revision: str
) -> None:
    stranger = await get_user_model().objects.acreate(username="eve")
    async with site.client(stranger, revision=revision) as client:
        if revision == LEGACY:
            asking = {"uri": uri(letter)}
            there = await refusal(client.request("resources/subscribe", asking))
            asking = {"uri": "django://shop.letter/999"}
            nowhere = await refusal(client.request("resources/subscribe", asking))
            assert (there.code, there.message) == (nowhere.code, nowhere.message)
        else:
            await follow(client, letter)
        await letter.asave()

        assert await silence(client)


@both_eras
async def test_row_that_is_out_of_reach_is_not_watched(
    site: Site, ada: Any, revision: str
) -> None:
    shelf = await Category.objects.acreate(slug="ada", name="Hidden from Ada")
    async with site.client(ada, revision=revision) as client:
        if revision == LEGACY:
            await refusal(client.request("resources/subscribe", {"uri": uri(shelf)}))
        else:
            await follow(client, shelf)
        await shelf.asave()

        assert await silence(client)


@both_eras
async def test_who_lost_a_permission_is_told_nothing_more(
    site: Site, letter: Letter, revision: str
) -> None:
    user = await get_user_model().objects.acreate(username="bob")
    permission = await Permission.objects.aget(codename="view_letter")
    await user.user_permissions.aadd(permission)
    async with site.client(user, revision=revision) as client:
        await follow(client, letter)
        await letter.asave()
        await client.notification(UPDATED)
        await user.user_permissions.aclear()
        await letter.asave()

        # It is told that its lists are others, and in the newer era that it listens
        # to nothing any more.
        await silence(client)
        told = {message.get("method") for message in client.notifications}
        assert UPDATED not in told
