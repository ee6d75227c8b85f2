"""Writes: all or nothing, in reach, and told of without a word too much."""

import base64
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import DataError, OperationalError, connection
from django.http import Http404
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings as DjangoSettings

from mcp_channels import ModelTools, ToolError
from mcp_channels.modeltools.write import refusing, writing
from tests.shop.counter import Anybody, Counter
from tests.shop.models import (
    Book,
    Category,
    Coupon,
    Customer,
    Letter,
    Line,
    Offer,
    Order,
    Product,
    Remark,
    Tag,
)

pytestmark = pytest.mark.django_db

BULK = ["bulk_create", "bulk_update", "bulk_delete"]
ALL = ["list", "get", "create", "update", "delete", *BULK]


@pytest.fixture
def ada(db: None) -> Any:
    return get_user_model().objects.create_superuser("ada")


@pytest.fixture
def grace(db: None) -> Any:
    return get_user_model().objects.create_superuser("grace")


@pytest.fixture
def counter(ada: Any) -> Counter:
    counter = Counter(ada)
    counter.expose(Category, fields=["slug", "name", "parent"], operations=ALL)
    return counter


@pytest.fixture
def books(db: None) -> Category:
    return Category.objects.create(slug="books", name="Books")


@pytest.fixture
def atlas(books: Category) -> Product:
    return Product.objects.create(
        name="Atlas", sku="A1", price=Decimal("12.50"), category=books
    )


def own(self: Any, context: Any) -> Any:
    """Return the rows of whoever asks, as a get_queryset()."""
    return ModelTools.get_queryset(self, context).filter(owner=context.user.pk)


def set_owner(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
    obj.owner = context.user
    ModelTools.save_model(self, context, obj, form, change)


@pytest.fixture
def customers(ada: Any) -> Counter:
    counter = Counter(ada)
    counter.expose(
        Customer,
        fields=["name", "email"],
        operations=ALL,
        get_queryset=own,
        save_model=set_owner,
    )
    return counter


# Reach


@pytest.mark.parametrize("name", ["update_customer", "delete_customer"])
def test_row_of_somebody_else_is_one_that_does_not_exist(
    customers: Counter, grace: Any, name: str
) -> None:
    theirs = Customer.objects.create(name="Theirs", owner=grace)
    missing = "00000000-0000-4000-8000-000000000000"
    more = {"values": {"name": "Mine"}} if name == "update_customer" else {}
    said = customers.refusal(name, pk=str(theirs.pk), **more)

    assert said == f'There is no customer "{theirs.pk}".'
    assert customers.refusal(name, pk=missing, **more) == (
        said.replace(str(theirs.pk), missing)
    )
    assert Customer.objects.get().name == "Theirs"


def test_row_is_not_slipped_to_somebody_else(
    customers: Counter, ada: Any, grace: Any
) -> None:
    mine = Customer.objects.create(name="Mine", owner=ada)
    counter = Counter(ada)
    counter.expose(get_user_model(), fields=["username"])
    counter.expose(Customer, fields=["name", "owner"], get_queryset=own, operations=ALL)
    said = counter.refusal(
        "update_customer", pk=str(mine.pk), values={"owner": grace.pk}
    )

    assert said == "values: it would be out of your own reach."

    said = counter.refusal(
        "bulk_create_customers", rows=[{"name": "New", "owner": grace.pk}]
    )
    assert said == "rows[0]: it would be out of your own reach."
    assert Customer.objects.get().owner == ada


def test_row_is_not_put_where_its_permission_hides_it(atlas: Product, ada: Any) -> None:
    counter = Counter(ada)

    def has_view_permission(self: Any, context: Any, obj: Any = None) -> bool:
        return obj is None or obj.state != "gone"

    counter.expose(
        Product, fields=["name", "state"], has_view_permission=has_view_permission
    )
    said = counter.refusal("update_product", pk=atlas.pk, values={"state": "gone"})

    assert said == "values: it would be out of your own reach."
    atlas.refresh_from_db()
    assert atlas.state == "draft"


def test_row_that_may_not_be_changed_or_deleted_is_named(
    atlas: Product, ada: Any
) -> None:
    def refuse(self: Any, context: Any, obj: Any = None) -> bool:
        return obj is None

    counter = Counter(ada)
    counter.expose(
        Product,
        fields=["name"],
        operations=ALL,
        has_change_permission=refuse,
        has_delete_permission=refuse,
    )
    key = atlas.pk
    changed = "You may not change product 'Atlas'."
    deleted = "You may not delete product 'Atlas'."

    assert counter.refusal("update_product", pk=key, values={"name": "B"}) == changed
    assert counter.refusal("delete_product", pk=key) == deleted
    assert counter.refusal("bulk_delete_products", pks=[key]) == f"pks[0]: {deleted}"
    rows = [{"pk": key, "values": {"name": "B"}}]
    assert counter.refusal("bulk_update_products", rows=rows) == f"rows[0]: {changed}"
    assert Product.objects.get().name == "Atlas"


def test_chosen_key_is_not_that_of_a_row_which_nobody_sees(ada: Any) -> None:
    """A save would take it for a change of that row."""
    Coupon.objects.create(code="SPRING", percent=50, is_deleted=True)
    counter = Counter(ada)
    counter.expose(Coupon, fields=["code", "percent"])
    said = counter.refusal("create_coupon", values={"code": "SPRING", "percent": 1})

    assert said.startswith("values: It does not go together with other rows")
    coupon = Coupon._base_manager.get()
    assert (coupon.percent, coupon.is_deleted) == (50, True)


# Versions


def test_row_that_was_changed_meanwhile_is_left_alone(
    counter: Counter, books: Category
) -> None:
    read = counter.call("get_category", pk=books.pk)
    Category.objects.update(name="Maps")
    stale = {"pk": books.pk, "version": read["version"]}
    reason = "category 'Maps' was changed since you read it. Read it again."

    assert counter.refusal("update_category", **stale, values={"slug": "x"}) == reason
    assert counter.refusal("delete_category", **stale) == reason
    rows = [{**stale, "values": {"slug": "x"}}]
    said = counter.refusal("bulk_update_categories", rows=rows)
    assert said == f"rows[0]: {reason}"
    assert Category.objects.get().slug == "books"


def test_version_that_was_read_is_good_for_one_change(
    counter: Counter, books: Category
) -> None:
    first = counter.call("get_category", pk=books.pk)["version"]
    second = counter.call(
        "update_category", pk=books.pk, values={"name": "Maps"}, version=first
    )["version"]

    assert counter.refusal("update_category", pk=books.pk, values={}, version=first)
    assert counter.call("get_category", pk=books.pk)["version"] == second
    assert counter.call("delete_category", pk=books.pk, version=second) == {
        "deleted": ["Maps"]
    }


def test_version_tells_of_what_is_shown_alone(atlas: Product, ada: Any) -> None:
    counter = Counter(ada)
    counter.expose(Product, fields=["name", "category", "tags"])
    before = counter.call("get_product", pk=atlas.pk)["version"]
    atlas.tags.add(Tag.objects.create(name="a"))
    Product.objects.update(internal_note="Secret")

    assert counter.call("get_product", pk=atlas.pk)["version"] == before

    Product.objects.update(category=Category.objects.create(slug="b", name="B"))
    assert counter.call("get_product", pk=atlas.pk)["version"] != before


def test_version_cannot_be_computed_by_others(
    counter: Counter, books: Category, settings: DjangoSettings
) -> None:
    before = counter.call("get_category", pk=books.pk)["version"]
    settings.SECRET_KEY = "another"

    assert counter.call("get_category", pk=books.pk)["version"] != before


# What a site refuses


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (ToolError("Not today."), "Not today."),
        (PermissionDenied("of Jo's"), "You may not do that."),
        (Http404("/secret"), "Something that it needs does not exist."),
        (ValidationError("No."), "{place}: No."),
        (ValidationError(["One.", "Two."]), "{place}: One.\n{place}: Two."),
        (ValidationError({"name": "Bad %(x)s."}), "{place}.name: Bad %(x)s."),
        (
            ValidationError("Bad %(x)s.", params={"x": "luck"}),
            "{place}: Bad luck.",
        ),
        (
            ValidationError({"internal_note": "Not so."}),
            "{place}: The values do not go together, or not with those of another row.",
        ),
    ],
)
@pytest.mark.parametrize("method", ["save_model", "delete_model"])
def test_what_a_site_refuses_is_not_done(
    atlas: Product, ada: Any, method: str, refusal: Exception, said: str
) -> None:
    def refuse(self: Any, context: Any, obj: Any, *args: Any, **kwargs: Any) -> None:
        Tag.objects.create(name="trace")
        if method == "save_model":
            ModelTools.save_model(self, context, obj, *args, **kwargs)
        else:
            ModelTools.delete_model(self, context, obj)
        raise refusal

    counter = Counter(ada)
    counter.expose(Product, fields=["name"], **{method: refuse})
    if method == "save_model":
        found = counter.refusal("update_product", pk=atlas.pk, values={"name": "B"})
    else:
        found = counter.refusal("delete_product", pk=atlas.pk)

    place = "values" if method == "save_model" else "pk"
    assert found == said.format(place=place)
    assert Product.objects.get().name == "Atlas"
    assert not Tag.objects.exists()
    assert not LogEntry.objects.exists()


def test_what_only_the_database_knows_is_a_refusal(
    atlas: Product, ada: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody was faster, between the check and the write."""

    def save_model(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
        obj.sku = "A1"
        obj.save()

    counter = Counter(ada)
    counter.expose(Category, fields=["name"])
    counter.expose(Product, fields=["name", "category", "price"], save_model=save_model)
    values = {"name": "B", "category": atlas.category_id, "price": "1"}
    with caplog.at_level(logging.WARNING, "mcp_channels"):
        said = counter.refusal("create_product", values=values)

    assert said == (
        "values: It does not go together with other rows: something that must be "
        "unique is taken, or something that it refers to is gone."
    )
    # The site's developer may have forgotten a column.
    assert "django.db.utils.IntegrityError" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_what_is_checked_at_the_commit_is_a_refusal_too(
    atlas: Product, ada: Any
) -> None:
    def save_model(self: Any, context: Any, obj: Any, form: Any, change: bool) -> None:
        obj.save()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM shop_category")

    counter = Counter(ada)
    counter.expose(Product, fields=["name"], save_model=save_model)
    said = counter.refusal("update_product", pk=atlas.pk, values={"name": "B"})

    assert said.startswith("It does not go together with other rows")
    assert Product.objects.get().name == "Atlas"


def failing(error: Exception, cause: Any = None) -> Callable[[], None]:
    def fail() -> None:
        error.__cause__ = cause
        raise error

    return fail


class Driver(Exception):
    """What a driver of a database raises."""

    def __init__(self, **attributes: str) -> None:
        vars(self).update(attributes)


@pytest.mark.parametrize(
    "cause",
    [
        Driver(sqlstate="40001"),
        Driver(sqlstate="40P01"),
        Driver(sqlstate="55P03"),
        Driver(sqlite_errorname="SQLITE_BUSY_SNAPSHOT"),
    ],
)
def test_writers_in_each_others_way_may_try_again(cause: Driver) -> None:
    with (
        pytest.raises(ToolError, match="is changing the same rows"),
        writing("default"),
    ):
        failing(OperationalError("secret"), cause)()


@pytest.mark.parametrize("cause", [None, Driver(), Driver(sqlstate="08006")])
def test_database_that_is_gone_is_a_fault(cause: Any) -> None:
    with pytest.raises(OperationalError), writing("default"):
        failing(OperationalError("no server"), cause)()


def test_writing_keeps_what_was_written() -> None:
    with writing("default"):
        Tag.objects.create(name="a")

    assert Tag.objects.exists()


def test_refusing_lets_the_rest_through() -> None:
    with pytest.raises(ZeroDivisionError), refusing():
        _ = 1 / 0
    with refusing():
        pass


def test_value_that_the_database_refuses_is_named(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(self: Any, **kwargs: Any) -> None:
        raise DataError("value too long for type character varying(50)")

    monkeypatch.setattr(Category, "save", save)
    said = counter.refusal("create_category", values={"slug": "a", "name": "A"})

    assert said == "values: A value does not fit into the database."


# Deleting what has something


@pytest.fixture
def order(ada: Any, atlas: Product) -> Order:
    customer = Customer.objects.create(name="Ada", owner=ada)
    order = Order.objects.create(
        customer=customer, placed_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    Line.objects.create(order=order, product=atlas)
    return order


def test_row_that_others_need_stays(counter: Counter, atlas: Product) -> None:
    said = counter.refusal("delete_category", pk=atlas.category_id)

    assert said == "category 'Books' cannot be deleted: other rows need it."
    assert counter.refusal("bulk_delete_categories", pks=[atlas.category_id]) == (
        f"pks[0]: {said}"
    )
    assert Category.objects.exists()


def test_what_belongs_to_a_row_goes_with_it(order: Order, ada: Any) -> None:
    """Also what nobody said anything of."""
    counter = Counter(ada)
    counter.expose(Order, fields=["is_paid"])
    counter.call("delete_order", pk=order.pk)

    assert not Line.objects.exists()


REFUSED = "order 'Order {}' cannot be deleted: you may not delete what belongs to it."


@pytest.mark.parametrize("operations", [["list"], ["list", "get"]])
@pytest.mark.parametrize(
    "options",
    [
        {"has_delete_permission": lambda self, context, obj=None: False},
        {"has_delete_permission": lambda self, context, obj=None: obj is None},
        {"get_queryset": lambda self, context: Line.objects.none()},
    ],
)
def test_row_stays_if_what_belongs_to_it_must(
    order: Order, ada: Any, options: dict[str, Any], operations: list[str]
) -> None:
    """With signals and without: they decide how Django deletes."""
    counter = Counter(ada)
    counter.expose(Line, fields=["count"], operations=operations, **options)
    counter.expose(Order, fields=["is_paid"])
    said = counter.refusal("delete_order", pk=order.pk)

    assert said == REFUSED.format(order.pk)
    assert Line.objects.exists()

    Line.objects.all().delete()
    assert counter.call("delete_order", pk=order.pk) == {
        "deleted": [f"Order {order.pk}"]
    }


def test_row_goes_if_what_belongs_to_it_may(order: Order, ada: Any) -> None:
    counter = Counter(ada)
    counter.expose(Line, fields=["count"])
    counter.expose(Order, fields=["is_paid"])
    counter.call("delete_order", pk=order.pk)

    assert not Line.objects.exists()


@pytest.mark.parametrize("really", [True, False])
def test_row_that_is_only_marked_takes_nothing_along(
    order: Order, ada: Any, really: bool
) -> None:
    def delete_model(self: Any, context: Any, obj: Any) -> None:
        if really:
            obj.delete()
        else:
            Order.objects.filter(pk=obj.pk).update(is_paid=True)

    counter = Counter(ada)
    counter.expose(Line, fields=["count"], has_delete_permission=lambda *a, **k: False)
    counter.expose(Order, fields=["is_paid"], delete_model=delete_model)
    if really:
        said = counter.refusal("delete_order", pk=order.pk)
        assert said == REFUSED.format(order.pk)
    else:
        counter.call("delete_order", pk=order.pk)

    assert Line.objects.exists()
    assert Order.objects.get().is_paid is not really


def test_row_may_delete_itself_in_its_own_way(ada: Any) -> None:
    letter = Letter.objects.create(subject="Hello")
    counter = Counter(ada)
    counter.expose(Letter, fields=["subject"])
    counter.call("delete_letter", pk=letter.pk)

    assert counter.call("list_letters")["rows"] == []
    assert Letter._base_manager.get().is_deleted


def test_row_of_a_child_goes_with_its_part_of_the_parent(
    books: Category, ada: Any
) -> None:
    book = Book.objects.create(name="B", sku="B", price=1, category=books, isbn="1")
    counter = Counter(ada)
    counter.expose(
        Product, fields=["name"], has_delete_permission=lambda *a, **k: False
    )
    counter.expose(Book, fields=["name", "isbn"])
    counter.call("delete_book", pk=book.pk)

    assert not Product.objects.exists()


# Children and proxies


def test_row_of_a_child_is_written_to_both_tables(books: Category, ada: Any) -> None:
    counter = Counter(ada)
    counter.expose(Category, fields=["name"])
    counter.expose(Book, fields=["name", "sku", "price", "category", "isbn"])
    values = {"name": "B", "sku": "B", "price": "1", "category": books.pk}
    made = counter.call("create_book", values={**values, "isbn": "1"})
    counter.call("update_book", pk=made["row"]["pk"], values={"isbn": "2", "name": "C"})

    book = Book.objects.get()
    assert (book.name, book.isbn, book.sku) == ("C", "2", "B")


def test_row_of_a_proxy_is_written(atlas: Product, ada: Any) -> None:
    counter = Counter(ada)
    counter.expose(Offer, fields=["name"])
    counter.call("update_offer", pk=atlas.pk, values={"name": "B"})

    atlas.refresh_from_db()
    assert atlas.name == "B"
    assert LogEntry.objects.get().content_type.model == "offer"


# Several rows


def test_several_rows_are_written_all_or_none(counter: Counter) -> None:
    rows = [{"slug": "a", "name": "A"}, {"slug": "b", "name": "B"}]
    said = counter.refusal(
        "bulk_create_categories", rows=[*rows, {"slug": "a", "name": "C"}]
    )

    assert said == "rows[2].slug: Category with this Slug already exists."
    assert not Category.objects.exists()
    assert not LogEntry.objects.exists()

    a, b = counter.call("bulk_create_categories", rows=rows)["pks"]
    changes = [
        {"pk": a, "values": {"name": "AA"}},
        {"pk": b, "values": {"name": "B" * 51}},
    ]
    said = counter.refusal("bulk_update_categories", rows=changes)
    assert said.startswith("rows[1].values.name: ")
    assert "AA" not in Category.objects.values_list("name", flat=True)

    said = counter.refusal("bulk_delete_categories", pks=[a, 99])
    assert said == "pks[1]: There is no category 99."
    assert Category.objects.count() == 2

    assert counter.call("bulk_delete_categories", pks=[a, b]) == {"deleted": ["A", "B"]}
    assert not Category.objects.exists()


# The history


def history() -> list[tuple[Any, ...]]:
    return [
        (one.user.username, one.action_flag, one.object_repr, one.change_message)
        for one in LogEntry.objects.order_by("pk")
    ]


def test_history_tells_who_did_what(counter: Counter) -> None:
    made = counter.call("create_category", values={"slug": "a", "name": "A"})
    key = made["row"]["pk"]
    counter.call("update_category", pk=key, values={"slug": "b", "name": "B"})
    counter.call("update_category", pk=key, values={"slug": "b", "name": "C"})
    counter.call("update_category", pk=key, values={"slug": "b"})
    counter.call("delete_category", pk=key)

    assert history() == [
        ("ada", ADDITION, "A", "MCP"),
        ("ada", CHANGE, "B", "MCP: changed slug and name"),
        ("ada", CHANGE, "C", "MCP: changed name"),
        ("ada", CHANGE, "C", "MCP: changed nothing"),
        ("ada", DELETION, "C", "MCP"),
    ]
    entry = LogEntry.objects.first()
    assert entry is not None
    assert (entry.object_id, entry.content_type.model) == (str(key), "category")
    assert entry.get_change_message() == "MCP"


def test_history_holds_no_values(ada: Any) -> None:
    counter = Counter(ada)
    counter.expose(
        Customer,
        fields=["name", "api_token"],
        get_queryset=own,
        save_model=set_owner,
    )
    made = counter.call("create_customer", values={"name": "A", "api_token": "hush1"})
    counter.call("update_customer", pk=made["row"]["pk"], values={"api_token": "hush2"})

    assert history()[1][3] == "MCP: changed api_token"
    assert "hush" not in str(list(LogEntry.objects.values()))


def test_history_of_several_rows_takes_one_query(counter: Counter) -> None:
    rows = [{"slug": f"s{n}", "name": "N"} for n in range(5)]
    with CaptureQueriesContext(connection) as queries:
        counter.call("bulk_create_categories", rows=rows)

    inserts = [one for one in queries if "django_admin_log" in one["sql"]]
    assert len(inserts) == 1
    assert LogEntry.objects.count() == 5


@pytest.mark.parametrize("user", [None, Anybody()])
def test_history_has_nothing_of_whom_the_database_does_not_know(user: Any) -> None:
    def allow(self: Any, context: Any, obj: Any = None) -> bool:
        return True

    counter = Counter().as_user(user)
    names = [f"has_{name}_permission" for name in ("view", "add", "change", "delete")]
    counter.expose(Tag, fields=["name"], **dict.fromkeys(names, allow))
    counter.call("create_tag", values={"name": "a"})

    assert Tag.objects.exists()
    assert not LogEntry.objects.exists()


def test_history_is_for_sites_with_the_admin(
    counter: Counter, settings: DjangoSettings
) -> None:
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "django.contrib.admin"
    ]
    counter.call("create_category", values={"slug": "a", "name": "A"})

    assert Category.objects.exists()
    assert not LogEntry.objects.exists()


# Files


@pytest.fixture
def remarks(ada: Any, tmp_path: Path, settings: DjangoSettings) -> Counter:
    settings.MEDIA_ROOT = tmp_path
    counter = Counter(ada)
    counter.expose(
        Remark, fields=["text", "file", "content_type", "object_id"], operations=ALL
    )
    return counter


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def upload(name: str) -> dict[str, str]:
    return {"filename": name, "data": base64.b64encode(b"x").decode()}


def test_file_of_a_row_that_there_will_not_be_is_deleted(
    remarks: Counter, tmp_path: Path
) -> None:
    kind = {"content_type": 1, "object_id": "1"}
    rows: list[Any] = [
        {**kind, "text": "a", "file": upload("a.txt")},
        {**kind, "text": "b", "file": upload("b.txt")},
        {**kind, "text": " "},
    ]
    assert remarks.refusal("bulk_create_remarks", rows=rows) == (
        "rows[2].text: This field is required."
    )
    assert files(tmp_path) == set()

    remarks.call("bulk_create_remarks", rows=rows[:2])
    assert files(tmp_path) == {"a.txt", "b.txt"}


def test_file_that_cannot_be_deleted_is_left(
    remarks: Counter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def delete(self: Any, name: str) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(FileSystemStorage, "delete", delete)
    kind = {"content_type": 1, "object_id": "1"}
    rows = [{**kind, "text": "a", "file": upload("a.txt")}, {**kind, "text": " "}]

    assert remarks.refusal("bulk_create_remarks", rows=rows) == (
        "rows[1].text: This field is required."
    )
    assert "read-only" in caplog.text


def test_file_that_a_row_keeps_is_not_deleted(remarks: Counter, tmp_path: Path) -> None:
    remark = Remark(
        content_type_id=1, object_id="1", text="a", file=ContentFile(b"1", "old.txt")
    )
    remark.save()
    for file in (upload("new.txt"), None):
        rows = [
            {"pk": remark.pk, "values": {"file": file}},
            {"pk": remark.pk, "values": {"text": " "}},
        ]
        assert remarks.refusal("bulk_update_remarks", rows=rows)

    remark.refresh_from_db()
    assert files(tmp_path) == {"old.txt"}
    assert remark.file.name == "remarks/old.txt"


# Databases


class Archive:
    """A router that keeps tags in another database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "archive" if model is Tag else None

    db_for_write = db_for_read

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True


@pytest.fixture
def archived(settings: DjangoSettings) -> None:
    settings.DATABASE_ROUTERS = [Archive()]


@pytest.mark.django_db(databases=["default", "archive"])
@pytest.mark.parametrize("how", ["router", "queryset"])
def test_rows_are_written_where_they_are_read(
    ada: Any, how: str, request: pytest.FixtureRequest
) -> None:
    options: dict[str, Any] = {}
    if how == "router":
        request.getfixturevalue("archived")
    else:
        options["get_queryset"] = lambda self, context: Category.objects.using(
            "archive"
        )
    model: Any = Tag if how == "router" else Category
    counter = Counter(ada)
    fields = ["name"] if how == "router" else ["name", "slug", "parent"]
    counter.expose(model, fields=fields, operations=ALL, **options)
    name = model._meta.model_name
    plural = "tags" if how == "router" else "categories"
    values = {"name": "a"} if how == "router" else {"name": "a", "slug": "a"}

    made = counter.call(f"create_{name}", values=values)
    key = made["row"]["pk"]

    assert model.objects.using("archive").get().pk == key
    assert not model.objects.using("default").exists()

    if how == "queryset":
        Category.objects.using("default").create(pk=key, slug="not", name="this")
        second = counter.call(
            f"create_{name}", values={"name": "b", "slug": "b", "parent": key}
        )
        assert second["row"]["parent"]["pk"] == key
        counter.call(f"update_{name}", pk=key, values={"name": "c"})
        counter.call(f"delete_{name}", pk=second["row"]["pk"])
        assert Category.objects.using("archive").get().name == "c"
        assert Category.objects.using("default").get().name == "this"

    said = counter.refusal(
        f"bulk_create_{plural}", rows=[{**values, "name": "new"}] * 2
    )
    assert said.startswith("rows[")
    assert model.objects.using("archive").count() == 1
    # The history is where the admin looks for it.
    assert LogEntry.objects.using("default").count() > 0


# Locks


def test_row_is_locked_with_the_table_of_its_parent(
    books: Category, ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book.objects.create(name="B", sku="B", price=1, category=books, isbn="1")
    monkeypatch.setattr(connection.features, "has_select_for_update", True)
    monkeypatch.setattr(connection.ops, "for_update_sql", lambda **options: "-- locked")
    counter = Counter(ada)
    counter.expose(Book, fields=["name"], operations=ALL)
    with CaptureQueriesContext(connection) as queries:
        counter.call("update_book", pk=book.pk, values={"name": "C"})
        counter.call("delete_book", pk=book.pk)

    locked = [one["sql"] for one in queries if "-- locked" in one["sql"]]
    assert len(locked) == 2
    for sql in locked:
        assert '"shop_book"' in sql
        assert '"shop_product"' in sql


def test_key_that_no_row_could_have_is_not_asked_for(
    ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some databases would be offended."""
    monkeypatch.setattr(connection.features, "has_select_for_update", True)
    monkeypatch.setattr(connection.ops, "for_update_sql", lambda **options: "-- locked")
    counter = Counter(ada)
    counter.expose(Coupon, fields=["percent"])
    with CaptureQueriesContext(connection) as queries:
        said = counter.refusal("update_coupon", pk="a\0", values={"percent": 1})
        assert counter.refusal("delete_coupon", pk="a\0") == said

    assert said == 'There is no coupon "a\\u0000".'
    assert not [one for one in queries if "shop_coupon" in one["sql"]]
