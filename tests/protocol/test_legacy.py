import pytest

from mcp_channels.protocol.legacy import Batch, Handshake, Peer, allows_batches
from mcp_channels.protocol.types import ClientCapabilities
from mcp_channels.protocol.versions import HANDSHAKE_REVISIONS, Revision

NOBODY = Peer(ClientCapabilities())


# The handshake


def test_server_chooses_what_to_log_until_it_is_told() -> None:
    handshake = Handshake(Revision.V2025_06_18, NOBODY)

    assert handshake.log_level == "info"
    assert not handshake.is_complete


def test_peer_need_not_say_who_it_is() -> None:
    assert NOBODY.info is None


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
def test_batches_are_for_one_revision(revision: Revision) -> None:
    allowed = allows_batches(Handshake(revision, NOBODY))

    assert allowed is (revision is Revision.V2025_03_26)


def test_batches_need_a_handshake() -> None:
    assert not allows_batches(None)


# Batches


def test_answers_leave_together_after_the_last() -> None:
    batch = Batch()
    batch.expect()
    batch.expect()

    assert batch.seal() is None
    assert batch.add('{"id":2}') is None
    assert batch.add('{"id":1}') == '[{"id":2},{"id":1}]'


def test_nothing_leaves_while_the_batch_is_still_read() -> None:
    batch = Batch()
    batch.expect()

    assert batch.add('{"id":1}') is None

    batch.expect()

    assert batch.add('{"id":2}') is None
    assert batch.seal() == '[{"id":1},{"id":2}]'


def test_cancelled_answer_is_left_out() -> None:
    batch = Batch()
    batch.expect()
    batch.expect()
    batch.seal()

    assert batch.add('{"id":1}') is None
    assert batch.add(None) == '[{"id":1}]'


def test_nothing_is_sent_when_all_were_cancelled() -> None:
    batch = Batch()
    batch.expect()
    batch.seal()

    assert batch.add(None) is None


def test_nothing_is_sent_when_nothing_was_asked() -> None:
    assert Batch().seal() is None
