"""The features of a journal as arrays: the rows that a stream gives, one for one."""

from pathlib import Path

import numpy as np
import pytest

from fanout.analytics import FeatureSettings, columns, rows_in
from fanout.analytics.columns import feature_batches, features_of
from fanout.clients.columns import to_arrow
from fanout.clients.journal import JournalClient, JournalError
from fanout.protocol import Moment, Trade
from fanout.protocol.book_records import BookUpdate, pack_levels
from fanout.protocol.constants import Absence, BookFlags, EndReason
from tests.clients.test_journal import Folder
from tests.protocol.golden import BTC
from tests.protocol.test_journal_play import Story

SETTINGS = FeatureSettings()
SECOND = 10**9


def books(story: Story, *, begin_ns: int) -> None:
    """A whole book, and then a change and a trade each second."""
    channel = story.channel
    whole = BookUpdate(BTC, 1, 0, pack_levels([(100, 5)]), pack_levels([(101, 4)]), BookFlags.WHOLE)
    channel.publish([whole], received_ns=begin_ns, held_ns=0)
    for each in range(2, 8):
        change = BookUpdate(BTC, each, 0, pack_levels([(100, each)]), b"")
        trade = Trade(BTC, each, 5, 101, 2, False)
        channel.publish([change, trade], received_ns=begin_ns + each * SECOND, held_ns=0)
    story.recorder.write()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Two epochs."""
    folder = Folder(tmp_path / "journal")
    story = folder.story(1)
    books(story, begin_ns=10 * SECOND)
    story.channel.end(EndReason.SHUTDOWN, retry_ms=3, why="stopped")
    story.recorder.write()
    books(folder.story(2), begin_ns=30 * SECOND)
    folder.write()
    return folder


def test_a_row_of_the_array_is_a_row_of_the_stream(folder: Folder) -> None:
    with JournalClient(folder.url) as client:
        wanted = [*rows_in(client, SETTINGS)]
    rows = features_of(folder.url, SETTINGS)
    assert len(rows) == len(wanted) == 26
    for found, row in zip(rows, wanted, strict=True):
        assert (found["time_ns"], found["symbol"]) == (row.time_ns, row.symbol)
        assert bytes(found["absences"]) == row.absences
        for name, value in zip(SETTINGS.columns, row.values, strict=True):
            assert found[name] == value or (value is None and np.isnan(found[name]))
    assert [*np.unique(rows["epoch_ns"])] == [1, 2]
    assert (rows["mid"] == 1.005).all()


def test_batches_are_the_same_in_pieces(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = features_of(folder.url, SETTINGS)
    monkeypatch.setattr(columns, "BATCH_ROWS", 4)
    pieces = [*feature_batches(folder.url, SETTINGS)]
    assert len(pieces) > 4
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


def test_a_part_of_a_journal_is_read(folder: Folder) -> None:
    start = Moment(time_ns=31 * SECOND)
    rows = features_of(folder.url, SETTINGS, start=start, stop_ns=35 * SECOND)
    assert rows["time_ns"].tolist() == [each * SECOND for each in (32, 32, 33, 33, 34, 34)]


def test_records_that_are_at_hand_are_taken_with_their_header(folder: Folder) -> None:
    with JournalClient(folder.url) as client:
        header = client.connect()
        records = [*client]
    rows = features_of(records, SETTINGS, header=header, every_ns=SECOND)
    assert len(rows) > 20
    assert (rows["time_ns"] % SECOND == 0).all()
    assert len(features_of((), SETTINGS)) == 0
    assert features_of((), SETTINGS).dtype.names[2:4] == ("mid", "spread")  # type: ignore[index]


def test_the_rows_become_arrow_with_the_reasons(folder: Folder) -> None:
    table = to_arrow(features_of(folder.url, SETTINGS))
    assert table["volatility_60000ms"].null_count == table.num_rows
    reason = table["absences"][0].as_py()["volatility_60000ms"]
    assert Absence[reason] is Absence.WARMING_UP


def test_a_journal_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError):
        features_of(f"journal://{tmp_path}/none", SETTINGS)
