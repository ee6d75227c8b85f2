from typing import Any, get_args

import pytest

from mcp_channels import AccessChanged, PrimitivesChanged, ResourceUpdated
from mcp_channels.server.events import (
    Event,
    EverythingChanged,
    decode_event,
    encode_event,
)


def test_events_are_equal_when_they_say_the_same() -> None:
    assert ResourceUpdated("shop://a") == ResourceUpdated("shop://a")
    assert len({PrimitivesChanged("tools"), PrimitivesChanged("tools")}) == 1
    assert AccessChanged("user", "5") == AccessChanged("user", "5")
    assert AccessChanged("user", "5") != AccessChanged("token", "5")
    assert AccessChanged("everybody") == AccessChanged("everybody", "")


@pytest.mark.parametrize("kind", ["tool", "", "roots", None])
def test_kind_that_has_no_list_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="is none of tools, prompts, resources"):
        PrimitivesChanged(kind)


@pytest.mark.parametrize("subject", ["users", "", None])
def test_subject_that_nobody_knows_is_refused(subject: Any) -> None:
    with pytest.raises(ValueError, match="is none of user, token, session, policy"):
        AccessChanged(subject, "5")


@pytest.mark.parametrize("uri", [None, 5, b"shop://a"])
def test_uri_is_text(uri: Any) -> None:
    with pytest.raises(TypeError, match="is no URI: it must be a string"):
        ResourceUpdated(uri)


@pytest.mark.parametrize(
    "event",
    [
        PrimitivesChanged("prompts"),
        ResourceUpdated("shop://ärger/\N{SNOWMAN}"),
        AccessChanged("token", "5"),
        EverythingChanged(),
    ],
)
def test_event_is_the_same_in_another_process(event: Event) -> None:
    assert decode_event(encode_event(event)) == event


def test_every_event_can_be_encoded() -> None:
    # Whoever adds one adds it above, too.
    assert len(get_args(Event)) == 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"5",
        b'{"type":"SomethingNew"}',
        b'{"type":"ResourceUpdated"}',
        b'{"type":"ResourceUpdated","uri":5}',
        b'{"type":"PrimitivesChanged","kind":"roots"}',
        b'{"type":"AccessChanged","subject":"nobody"}',
    ],
)
def test_what_is_no_event_here_is_none(data: bytes) -> None:
    assert decode_event(data) is None


def test_newer_event_may_say_more() -> None:
    data = b'{"type":"ResourceUpdated","uri":"a:b","by":"ada"}'

    assert decode_event(data) == ResourceUpdated("a:b")


def test_equal_news_merge() -> None:
    assert ResourceUpdated("a:b").merges_with == ResourceUpdated("a:b").merges_with
    assert ResourceUpdated("a:b").merges_with != ResourceUpdated("a:c").merges_with
