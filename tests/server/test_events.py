from typing import Any

import pytest

from mcp_channels import AccessChanged, PrimitivesChanged, ResourceUpdated


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
