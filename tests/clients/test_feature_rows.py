"""Rows of features from clients, whichever way they come."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.clients.columns import features_in
from fanout.clients.columns.journal import read_journal
from fanout.clients.journal import JournalClient
from fanout.clients.ring import RingClient
from fanout.clients.shm import ShmClient
from fanout.clients.tcp import TcpClient
from fanout.protocol import (
    START,
    BlockFlags,
    FeatureRow,
    Loss,
    LossReason,
    Position,
    encode_event,
    encode_features,
    frame,
    opening,
)
from fanout.transports.ring.ring_file import create
from fanout.transports.shm.queue_file import create as create_queue
from tests.clients.test_journal import Folder
from tests.contracts.client import serving
from tests.protocol.golden import FEATURES, ROWS_HEADER
from tests.stand.journals import Recorder
from tests.stand.row_channel import publish_rows, row_channel

BLOCK = frame(encode_features(FEATURES, ROWS_HEADER))
SNAPSHOT = frame(
    encode_features(replace(FEATURES, received_ns=0, flags=BlockFlags.SNAPSHOT), ROWS_HEADER)
)
NEXT = replace(FEATURES, first_seq=1_006)
LOST = Loss(first_seq=1_004, last_seq=1_005, reason=LossReason.SLOW)
STREAM = (SNAPSHOT, BLOCK, frame(encode_event(LOST)), frame(encode_features(NEXT, ROWS_HEADER)))


def as_expected() -> list[Any]:
    shown = [replace(each, seq=0, received_ns=0) for each in FEATURES.rows]
    later = [replace(each, seq=each.seq + 5) for each in FEATURES.rows]
    return [*shown, *FEATURES.rows, LOST, *later]


def test_over_tcp_a_late_client_gets_a_snapshot_then_rows_and_is_told_what_it_lost() -> None:
    begun = frame(START) + opening(ROWS_HEADER)
    with (
        serving(begun + b"".join(STREAM), silent=True) as service,
        TcpClient(service.url) as client,
    ):
        assert [next(client) for _ in range(10)] == as_expected()
        assert client.header == ROWS_HEADER
        assert client.statistics.updates == 6
        assert client.statistics.lost == 2


def test_a_client_can_stop_within_a_block_and_wants_symbols_alone() -> None:
    begun = frame(START) + opening(ROWS_HEADER)
    with serving(begun + BLOCK, silent=True) as service, TcpClient(service.url) as client:
        assert next(client) == FEATURES.rows[0]
        assert client.position is not None
        assert client.position.seq == 1_002
    wanted = ["币安人生USDT"]
    with (
        serving(begun + BLOCK, silent=True) as service,
        TcpClient(service.url, symbols=wanted) as client,
    ):
        assert next(client) == FEATURES.rows[1]


def test_through_a_queue(tmp_path: Path) -> None:
    queue = create_queue(str(tmp_path / "q"), capacity_bytes=2**16, header=ROWS_HEADER)
    for each in STREAM:
        assert queue.writer.push(each)
    with ShmClient("shm://q", directory=str(tmp_path)) as client:
        assert [next(client) for _ in range(10)] == as_expected()
    queue.close(keep=False)


def test_through_a_ring(tmp_path: Path) -> None:
    ring = create(str(tmp_path / "r"), capacity_bytes=2**17, header=ROWS_HEADER)
    for each, due in zip(STREAM[1:], (1_004, 1_006, 1_009), strict=True):
        ring.writer.push(each, due)
    start = Position(epoch_ns=ROWS_HEADER.epoch_ns, seq=1_001)
    with RingClient("ring://r", directory=str(tmp_path), start=start) as client:
        assert [next(client) for _ in range(7)] == as_expected()[3:]
        assert client.header is not None
        assert client.header.columns == ROWS_HEADER.columns
    ring.close(keep=False)


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Folder, list[FeatureRow]]:
    """A journal of rows in two segments."""
    folder, channel = Folder(tmp_path / "journal", "features"), row_channel()
    recorder = Recorder(folder.files, channel)
    sent = _published(channel, recorder, 0)
    recorder.begin(5)
    sent += _published(channel, recorder, 7)
    folder.write()
    return folder, sent


def _published(channel: Channel, recorder: Recorder, first: int) -> list[FeatureRow]:
    sent = publish_rows(channel, first, 7)
    recorder.write()
    return sent


def test_a_journal_has_them_record_by_record_and_in_bulk(
    kept: tuple[Folder, list[FeatureRow]],
) -> None:
    folder, sent = kept
    with JournalClient(folder.url, start="oldest", follow=False) as client:
        assert [each for each in client if isinstance(each, FeatureRow)] == sent
    pieces = list(read_journal(folder.url))
    found = [row for piece in pieces for row in piece.features.tolist()]
    assert repr(found) == repr(features_in(sent, pieces[0].header).tolist())
