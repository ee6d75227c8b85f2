"""The operations that write, as an agent calls them."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.shop.counter import Anybody, Counter
from tests.shop.models import Category, Tag

pytestmark = pytest.mark.django_db

WRITE = ["create", "update", "delete", "bulk_create", "bulk_update", "bulk_delete"]
ALL = ["list", "get", *WRITE]


@pytest.fixture
def counter() -> Counter:
    counter = Counter()
    counter.expose(
        Category,
        fields=["slug", "name", "parent"],
        operations=ALL,
        description="A shelf.",
        max_bulk=2,
    )
    return counter


def test_row_is_created_changed_and_deleted(counter: Counter) -> None:
    made = counter.call("create_category", values={"slug": "a", "name": "A"})
    key = made["row"]["pk"]

    assert made == {
        "row": {"pk": key, "slug": "a", "name": "A", "parent": None},
        "version": made["version"],
        "uri": f"django://shop.category/{key}",
    }
    assert counter.call("get_category", pk=key) == made

    changed = counter.call("update_category", pk=key, values={"name": "B"})
    assert changed["row"] == {**made["row"], "name": "B"}
    assert changed["version"] != made["version"]
    assert counter.call("get_category", pk=key) == changed

    assert counter.call("delete_category", pk=key) == {"deleted": ["B"]}
    assert counter.refusal("get_category", pk=key) == f"There is no category {key}."


def test_several_rows_are_created_changed_and_deleted(counter: Counter) -> None:
    rows = [{"slug": "a", "name": "A"}, {"slug": "b", "name": "B"}]
    keys = counter.call("bulk_create_categories", rows=rows)["pks"]

    assert list(Category.objects.order_by("slug").values_list("pk", flat=True)) == keys

    read = counter.call("get_category", pk=keys[0])
    changes = [
        {"pk": keys[0], "values": {"name": "C"}, "version": read["version"]},
        {"pk": keys[1], "values": {"parent": keys[0]}},
    ]
    assert counter.call("bulk_update_categories", rows=changes) == {"pks": keys}
    assert Category.objects.get(pk=keys[1]).parent == Category.objects.get(name="C")

    assert counter.call("bulk_delete_categories", pks=[keys[1]]) == {"deleted": ["B"]}


@pytest.mark.parametrize(
    ("tool", "argument", "item"),
    [
        ("bulk_create_categories", "rows", {"slug": "a", "name": "A"}),
        ("bulk_update_categories", "rows", {"pk": 1, "values": {}}),
        ("bulk_delete_categories", "pks", 1),
    ],
)
def test_several_rows_are_one_at_least_and_not_too_many(
    counter: Counter, tool: str, argument: str, item: Any
) -> None:
    none = counter.refusal(tool, **{argument: []})
    many = counter.refusal(tool, **{argument: [item] * 3})
    two = counter.refusal(tool, **{argument: [item] * 2})

    assert none.startswith(f"{argument}: ")
    assert many.startswith(f"{argument}: ")
    assert two.startswith(f"{argument}[")


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        (
            "create_category",
            {"values": {"slug": "a", "name": "A", "id": 7}},
            "values.id: unknown argument; known are slug, name, parent",
        ),
        (
            "create_category",
            {"values": {"slug": "a"}},
            "values.name: required, but missing",
        ),
        ("create_category", {}, "values: required, but missing"),
        ("update_category", {"pk": 1}, "values: required, but missing"),
        ("update_category", {"values": {}}, "pk: required, but missing"),
        ("delete_category", {}, "pk: required, but missing"),
        (
            "bulk_create_categories",
            {"rows": [{"slug": "a", "name": "A"}, {"name": "B"}]},
            "rows[1].slug: required, but missing",
        ),
        (
            "bulk_update_categories",
            {"rows": [{"values": {}}]},
            "rows[0].pk: required, but missing",
        ),
    ],
)
def test_what_is_wrong_with_the_arguments_is_said(
    counter: Counter, tool: str, arguments: Any, said: str
) -> None:
    assert counter.refusal(tool, **arguments).startswith(said)


def test_row_that_is_too_large_to_show_is_written_all_the_same() -> None:
    """An error would be read as if nothing had been done."""
    counter = Counter()
    counter.expose(Category, fields=["slug", "name"], operations=ALL, max_bytes=50)
    made = counter.call("create_category", values={"slug": "a", "name": "A" * 50})
    key = Category.objects.get().pk

    assert made["row"] == {"pk": key}
    assert made["version"]

    changed = counter.call("update_category", pk=key, values={"slug": "b"})
    assert changed["row"] == {"pk": key}
    assert Category.objects.get().slug == "b"


def test_row_that_cannot_be_read_has_no_uri() -> None:
    counter = Counter()
    counter.expose(Category, fields=["slug", "name"], operations=WRITE)
    made = counter.call("create_category", values={"slug": "a", "name": "A"})

    assert set(made) == {"row", "version"}


def test_what_cannot_be_shown_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    exposure = counter.expose(Tag, fields=["name"])

    def version(instance: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(exposure.writer, "version", version)
    with pytest.raises(ZeroDivisionError):
        counter.call("create_tag", values={"name": "a"})

    assert not Tag.objects.exists()


def test_writes_take_the_same_queries_however_many_rows_there_are(
    counter: Counter,
) -> None:
    counts = []
    for number in range(2):
        values = {"slug": f"s{number}", "name": "N"}
        with CaptureQueriesContext(connection) as queries:
            counter.call("create_category", values=values)
        counts.append(len(queries))
        Category.objects.bulk_create(
            Category(slug=f"m{number}{n}", name="M") for n in range(20)
        )

    assert counts[0] == counts[1] <= 8


def test_tools_are_for_those_who_may() -> None:
    registry = Counter()
    registry.expose(Category, fields=["name"], operations=ALL)
    seen = {
        action: {
            name.partition("_categor")[0]
            for name in Counter(
                Anybody("shop.view_category", f"shop.{action}_category"),
                registry.registry,
            ).tools
        }
        - {"describe_models"}
        for action in ("view", "add", "change", "delete")
    }
    read = {"list", "get"}

    assert seen == {
        "view": read,
        "add": {*read, "create", "bulk_create"},
        "change": {*read, "update", "bulk_update"},
        "delete": {*read, "delete", "bulk_delete"},
    }


def test_tools_say_what_they_are_for(counter: Counter) -> None:
    texts = {
        name: tool.definition.description
        for name, tool in counter.tools.items()
        if name.partition("_")[0] not in ("list", "get", "describe")
    }

    assert texts == {
        "create_category": "Create one category. A shelf.",
        "update_category": (
            "Change one category. Fields that are left out stay as they are. A shelf."
        ),
        "delete_category": "Delete one category, and what belongs to it. A shelf.",
        "bulk_create_categories": (
            "Create several categories, all or none of them. Returns their keys. A "
            "shelf."
        ),
        "bulk_update_categories": (
            "Change several categories, all or none of them. A shelf."
        ),
        "bulk_delete_categories": (
            "Delete several categories, all or none of them. A shelf."
        ),
    }
