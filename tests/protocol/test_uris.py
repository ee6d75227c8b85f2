"""URI templates take URIs apart as they put them together, and nothing else."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_channels.protocol.uris import InvalidTemplate, URITemplate

# What no value may be, because it leads somewhere else.
FORBIDDEN = ("\0", "\\", "/")


def match(template: str, uri: str) -> dict[str, str] | None:
    return URITemplate(template).match(uri)


# Every operator of RFC 6570, level 3, with what it makes of what.
EVERY_OPERATOR: list[tuple[str, str, dict[str, str]]] = [
    ("x://o/{a}", "x://o/1", {"a": "1"}),
    ("x://o/{a}", "x://o/", {"a": ""}),
    ("x://o/{a,b}", "x://o/1,2", {"a": "1", "b": "2"}),
    ("x://o/{a}/{b}", "x://o/1/2", {"a": "1", "b": "2"}),
    ("x://{+path}", "x://a/b/c", {"path": "a/b/c"}),
    ("x://{path*}", "x://a/b/c", {"path": "a/b/c"}),
    ("x://o{/path*}", "x://o/a/b", {"path": "a/b"}),
    ("x://{+path}/{name}", "x://a/b/c", {"path": "a/b", "name": "c"}),
    ("x://o{#part}", "x://o#a/b?c", {"part": "a/b?c"}),
    ("x://o{#a,b}", "x://o#1,2", {"a": "1", "b": "2"}),
    ("x://host{.a,b}", "x://host.1.2", {"a": "1", "b": "2"}),
    ("x://o{/a,b}", "x://o/1/2", {"a": "1", "b": "2"}),
    ("x://o{;a,b}", "x://o;a=1;b=2", {"a": "1", "b": "2"}),
    ("x://o{?a,b}", "x://o?a=1&b=2", {"a": "1", "b": "2"}),
    ("x://o?fixed=1{&a,b}", "x://o?fixed=1&a=1&b=2", {"a": "1", "b": "2"}),
    ("x://o{?a}{&b}", "x://o?a=1&b=2", {"a": "1", "b": "2"}),
    ("x://o{?a*}", "x://o?a=1", {"a": "1"}),
    ("x://no/variables", "x://no/variables", {}),
    ("x://o.{a}+", "x://o.1+", {"a": "1"}),
]


@pytest.mark.parametrize(("template", "uri", "values"), EVERY_OPERATOR)
def test_operator_matches_and_expands(
    template: str, uri: str, values: dict[str, str]
) -> None:
    made = URITemplate(template)

    assert made.match(uri) == values
    assert made.expand(values) == uri
    assert made.variables == tuple(values)


TEMPLATES = [template for template, _, values in EVERY_OPERATOR if values] + [
    "x://{name}.{ending}",
    "x://{a}-{b}-{c}",
    "x://{+path}-{name}",
    "x://{a}-{+path}",
    "x://{+path}/v-{name}",
    "x://{year}T{hour}",
]


@given(data=st.data(), template=st.sampled_from(TEMPLATES))
def test_what_is_expanded_is_matched(data: Any, template: str) -> None:
    made = URITemplate(template)
    text = st.text(st.characters(exclude_categories=["Cs"])).filter(
        lambda value: (
            not any(character in value for character in FORBIDDEN) and value != ".."
        )
    )
    values = {name: data.draw(text) for name in made.variables}
    # The first of a template like `{a}-{+path}` takes in all it can.
    if template == "x://{a}-{+path}":
        values["path"] = values["path"].replace("-", "")

    assert made.match(made.expand(values)) == values


@given(data=st.data())
def test_path_with_slashes_is_matched_when_expanded(data: Any) -> None:
    segment = st.text("ab.%?# é").filter(lambda value: value != "..")
    path = "/".join(data.draw(st.lists(segment, min_size=1)))
    for template in ("x://{+path}", "x://{path*}", "x://o{/path*}", "x://o{?path}"):
        made = URITemplate(template)

        assert made.match(made.expand({"path": path})) == {"path": path}


@given(st.text())
def test_any_text_matches_or_does_not(uri: str) -> None:
    for template in TEMPLATES:
        for text in (uri, template.partition("{")[0] + uri):
            values = match(template, text)

            assert values is None or not any(
                "\0" in value or "\\" in value or ".." in value.split("/")
                for value in values.values()
            )


@given(st.text("{}+#./;?&,*ab1- "))
def test_any_text_is_a_template_or_is_refused_with_itself(text: str) -> None:
    try:
        made = URITemplate(text)
    except InvalidTemplate as exc:
        assert repr(text) in str(exc)
    else:
        assert made.template == text
        made.match(made.expand(dict.fromkeys(made.variables, "1")))


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("x://o/{a}", "x://o/1/2"),
        ("x://o/{a}", "x://o/1?b"),
        ("x://o/{a}", "x://o/1#b"),
        ("x://o/{a}", "x://o"),
        ("x://o/{a}", "X://o/1"),
        ("x://o/{a}", " x://o/1"),
        ("x://o/{a}", "x://o/1/"),
        ("x://o/{a}/", "x://o/1/\n"),
        ("x://o.x/{a}", "x://oyx/1"),
        ("x://{a,b}", "x://1,2,3"),
        ("x://{+path}", "x://a?b"),
        ("x://{path*}", "x://a#b"),
        ("x://h{.a}", "x://h.1.2"),
        ("x://o{;a}", "x://o;b=1"),
        ("x://o{?a}", "x://o?b=1"),
        ("x://o{?a}", "x://o?a=1&b=2"),
        ("x://o{?a}", "x://o?a=1#c"),
        ("x://o{?a}", "x://o?xa=1"),
        ("x://o{?a}", "x://o?"),
    ],
)
def test_other_uri_does_not_match(template: str, uri: str) -> None:
    assert match(template, uri) is None


def test_query_may_come_in_any_order_and_lack_parts() -> None:
    template = "x://o{?a,b,c}"

    assert match(template, "x://o?c=3&a=1") == {"a": "1", "c": "3"}
    assert match(template, "x://o") == {}
    assert match(template, "x://o?b=") == {"b": ""}
    assert match(template, "x://o?a=1&a=2") == {"a": "2"}


def test_value_of_a_query_is_not_taken_for_another() -> None:
    assert match("x://o{?a,b}", "x://o?a=1?b=2") == {"a": "1?b=2"}


def test_missing_values_are_left_out() -> None:
    template = URITemplate("x://o{/a}{?b,c}")

    assert template.expand({}) == "x://o"
    assert template.expand({"c": "3", "other": "4"}) == "x://o?c=3"


def test_values_that_touch_are_taken_apart_at_the_last_possible_place() -> None:
    assert match("x://{name}.{ending}", "x://archive.tar.gz") == {
        "name": "archive.tar",
        "ending": "gz",
    }


# What a value may hide


def test_value_is_decoded_once() -> None:
    assert match("x://{a}", "x://caf%C3%A9%20%26") == {"a": "café &"}
    assert match("x://{a}", "x://%2541") == {"a": "%41"}
    # What would be a slash if it were decoded again.
    assert match("x://{a}", "x://%252F") == {"a": "%2F"}
    assert match("x://{a}", "x://%252e%252e") == {"a": "%2e%2e"}


@pytest.mark.parametrize("template", ["x://{a}", "x://{+a}", "x://{a*}", "x://o{/a*}"])
@pytest.mark.parametrize(
    "value",
    [
        "..",
        "%2e%2e",
        "%2E.",
        "a%2Fb",
        "a%2fb",
        "..%2F..%2Fetc",
        "a%5Cb",
        "a%5cb",
        "a\\b",
        "a%00b",
        "a\0b",
        "%ff",
        "%C3",
    ],
)
def test_value_that_leads_elsewhere_is_refused(template: str, value: str) -> None:
    assert URITemplate(template).match(template.partition("{")[0] + value) is None


@pytest.mark.parametrize("path", ["../a", "a/../b", "a/..", "a/%2e%2e/b"])
def test_way_up_is_refused_in_a_path(path: str) -> None:
    assert match("x://{+path}", f"x://{path}") is None
    assert match("x://{path*}", f"x://{path}") is None


def test_dots_that_lead_nowhere_are_let_in() -> None:
    assert match("x://{+path}", "x://a/.../..b/c..") == {"path": "a/.../..b/c.."}


def test_slash_in_a_query_means_nothing() -> None:
    assert match("x://o{?a}", "x://o?a=b%2Fc") == {"a": "b/c"}
    assert match("x://o{?a}", "x://o?a=b/c") == {"a": "b/c"}
    assert match("x://o{?a}", "x://o?a=..%2Fc") is None


# Time

HOSTILE = ["-", "/", ".", ",", "a-", ";a=", "&a=1", "?a=", "%", "a.b-c,", "\n"]


@pytest.mark.parametrize(
    "template",
    [*TEMPLATES, "x://{a}-{b}-{c}-{d}-{e}", "x://{+p}{?a,b,c,d}", "x://{a,b,c,d}"],
)
def test_no_hostile_uri_takes_long(template: str) -> None:
    made = URITemplate(template)
    start = time.monotonic()
    for part in HOSTILE:
        for ending in ("", "#", "?", "\0"):
            made.match("x://" + part * (4_096 // len(part) - 4) + ending)
            made.match("x://o?a=1" + part * (4_096 // len(part) - 4) + ending)
            made.match("x://" + part * 1_000_000 + ending)

    assert time.monotonic() - start < 5


def test_longest_uri_is_matched_and_a_longer_one_is_not() -> None:
    uri = "x://".ljust(4_096, "a")

    assert match("x://{a}", uri) == {"a": uri[4:]}
    assert match("x://{a}", uri + "a") is None


# Templates


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("x://{a", "a brace without its other"),
        ("x://a}", "a brace without its other"),
        ("x://{{a}}", "a brace without its other"),
        ("x://{}", "is no expression"),
        ("x://{+}", "is no expression"),
        ("x://{a:3}", "is no expression"),
        ("x://{a,}", "is no expression"),
        ("x://{a b}", "is no expression"),
        ("x://{1a}", "is no expression"),
        ("x://{a.b}", "is no expression"),
        ("x://{!a}", "is no expression"),
        ("x://{ä}", "is no expression"),
        ("x://{a}/{a}", "names a variable twice"),
        ("x://{a,a}", "names a variable twice"),
        ("x://{a}{b}", "nothing tells where 'a' ends"),
        ("x://{a}2{b}", "nothing tells where 'a' ends"),
        ("x://{a}%20{b}", "nothing tells where 'a' ends"),
        ("x://{a}{+b}", "nothing tells where 'a' ends"),
        ("x://{+a}/x/{+b}", "more than one variable that may hold slashes"),
        ("x://{+a,b}", "more than one variable that may hold slashes"),
        ("x://{a*}/{b*}", "more than one variable that may hold slashes"),
    ],
)
def test_template_that_cannot_be_matched_is_refused(template: str, reason: str) -> None:
    with pytest.raises(InvalidTemplate, match=reason):
        URITemplate(template)
