from typing import Any

import pytest
from django.core.exceptions import ValidationError

from mcp_channels.validators import (
    validate_icons,
    validate_names,
    validate_permission,
    validate_rate,
    validate_slugs,
)


@pytest.mark.parametrize("names", [[], ["editors"], ["Editors of the shop", "b"]])
def test_list_of_names_is_accepted(names: Any) -> None:
    validate_names(names)


@pytest.mark.parametrize("names", ["editors", [1], [""], [" "], [None], {"a": 1}, 5])
def test_what_is_no_list_of_names_is_refused(names: Any) -> None:
    with pytest.raises(ValidationError, match="list of names"):
        validate_names(names)


@pytest.mark.parametrize("slugs", [[], [""], ["staff", ""]])
def test_list_of_slugs_is_accepted(slugs: Any) -> None:
    validate_slugs(slugs)


@pytest.mark.parametrize("slugs", ["staff", [5], None])
def test_what_is_no_list_of_slugs_is_refused(slugs: Any) -> None:
    with pytest.raises(ValidationError, match="list of slugs"):
        validate_slugs(slugs)


@pytest.mark.parametrize("rate", ["1/second", "60/minute", "5/hour", "9/day"])
def test_rate_is_accepted(rate: str) -> None:
    validate_rate(rate)


@pytest.mark.parametrize(
    "rate", ["60", "0/minute", "60/fortnight", "60 / minute", "/", "60/minute\n"]
)
def test_what_is_no_rate_is_refused(rate: str) -> None:
    with pytest.raises(ValidationError, match="such as 60/minute"):
        validate_rate(rate)


@pytest.mark.parametrize(
    "icons",
    [
        [],
        [{"src": "https://a.example/a.png", "sizes": ["48x48"]}],
        [{"src": "data:image/png;base64,"}],
    ],
)
def test_icons_are_accepted(icons: Any) -> None:
    validate_icons(icons)


@pytest.mark.parametrize(
    "icons", [{"src": "https://a"}, [{}], [{"src": 5}], [{"src": "http://a.example"}]]
)
def test_what_is_no_icon_is_refused(icons: Any) -> None:
    with pytest.raises(ValidationError):
        validate_icons(icons)


def test_permission_is_accepted() -> None:
    validate_permission("shop.refund")


@pytest.mark.parametrize("permission", ["order", "shop.", "shop.change order", "a.b.c"])
def test_what_is_no_permission_is_refused(permission: str) -> None:
    with pytest.raises(ValidationError, match=r"shop\.change_order"):
        validate_permission(permission)
