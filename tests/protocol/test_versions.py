import pytest
from mcp_types import version as reference

from mcp_channels.protocol.versions import (
    HANDSHAKE_REVISIONS,
    LATEST_HANDSHAKE,
    MODERN_REVISIONS,
    Era,
    Revision,
    negotiate,
)

V2025_11_25 = Revision.V2025_11_25


def test_revisions_are_those_of_the_reference() -> None:
    assert tuple(r.value for r in HANDSHAKE_REVISIONS) == (
        reference.HANDSHAKE_PROTOCOL_VERSIONS
    )
    assert tuple(r.value for r in MODERN_REVISIONS) == (
        reference.MODERN_PROTOCOL_VERSIONS
    )
    assert LATEST_HANDSHAKE.value == reference.LATEST_HANDSHAKE_VERSION


def test_every_revision_has_its_era() -> None:
    assert [*HANDSHAKE_REVISIONS, *MODERN_REVISIONS] == list(Revision)
    assert {revision.era for revision in HANDSHAKE_REVISIONS} == {Era.LEGACY}
    assert {revision.era for revision in MODERN_REVISIONS} == {Era.MODERN}


def test_ranks_follow_time() -> None:
    by_date = sorted(Revision, key=lambda revision: revision.value)

    assert sorted(Revision, key=lambda revision: revision.rank) == by_date
    assert len({revision.rank for revision in Revision}) == len(Revision)


@pytest.mark.parametrize("revision", Revision)
def test_revision_is_found_by_its_text(revision: Revision) -> None:
    assert Revision.find(revision.value) is revision


@pytest.mark.parametrize(
    "value", ["", "2025-06-1", "2025-06-18 ", "V2025_06_18", "1.0", None, 2025, True]
)
def test_anything_else_names_no_revision(value: object) -> None:
    assert Revision.find(value) is None


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
def test_handshake_revision_is_agreed_on(revision: Revision) -> None:
    assert negotiate(revision.value) is revision


@pytest.mark.parametrize("requested", ["2026-07-28", "2099-01-01", "1.0.0", ""])
def test_unknown_or_modern_revision_is_answered_with_the_newest(requested: str) -> None:
    assert negotiate(requested) is V2025_11_25
