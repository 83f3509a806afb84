"""A journal read in bulk gives what a client gives, record by record."""

from collections.abc import Sequence
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from fanout.clients.columns import TRADE, labelled, levels_in, orders_in, quotes_in
from fanout.clients.columns.journal import JournalRows, Piece, TradeRows, read_journal
from fanout.clients.journal import JournalClient, JournalError
from fanout.clients.outcomes import Restarted
from fanout.protocol import (
    EndReason,
    FeedState,
    Loss,
    LossReason,
    Moment,
    Position,
    Quote,
    Reference,
    Trade,
    TradeKind,
    frame,
)
from fanout.protocol.book_records import BookUpdate, OrderUpdate, pack_levels, pack_orders
from fanout.protocol.framing import seal
from fanout.protocol.rows import rows_from
from tests.clients.test_journal import Folder
from tests.protocol.golden import BTC, HEADER
from tests.protocol.test_journal_play import Story, block_at

LIFE = HEADER.instruments[1]
OTHERS = (
    Quote(BTC, 9, 5, 6, 7, 8, 9),
    BookUpdate(BTC, 9, 5, pack_levels([(6, 7)]), b""),
    OrderUpdate(BTC, 9, 5, pack_orders([(1, 6, 7)]), b""),
)


def trades(story: Story, count: int = 3, at_ns: int = 1, **changes: Any) -> None:
    first = story.channel.log.next_seq
    made = [Trade(BTC, first + each, 5, 6, 7, False) for each in range(count)]
    made = [*made[1:], replace(made[0], **changes)]
    story.channel.publish(made, received_ns=at_ns, held_ns=1)
    story.recorder.write()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Two epochs with everything that a channel can have, and a damaged block: numbers 16 to 18."""
    folder = Folder(tmp_path / "journal")
    story = folder.story(1)
    trades(story, at_ns=10)
    trades(story, at_ns=20, kind=TradeKind.ADL, back_filled=True, instrument=LIFE)
    story.channel.publish(OTHERS[:1], received_ns=20, held_ns=1)
    story.channel.publish_status(BTC, FeedState.LIVE, "")
    story.recorder.heartbeat(25)
    trades(story, at_ns=30)
    story.rotate(30)
    trades(story, at_ns=40)
    trades(story, at_ns=50)
    finer = replace(BTC, price_exponent=-4)
    story.channel.change([finer], [Reference(price=5, quantity=1, trade_id=2, time=3)])
    trades(story, at_ns=60, instrument=finer)
    story.channel.publish(OTHERS[1:], received_ns=60, held_ns=1)
    story.channel.end(EndReason.SHUTDOWN, retry_ms=3, why="stopped")
    story.recorder.write()
    damaged = story.segment(12)
    damaged.data[block_at(damaged, 15)[0] + 20] ^= 1
    later = folder.story(2)
    trades(later, at_ns=70)
    folder.write()
    return folder


def values(records: Sequence[object]) -> list[object]:
    """Records, with each trade as the values of its row."""
    found = list[object]()
    for each in records:
        if isinstance(each, TradeRows):
            found += each.rows.tolist()
        elif isinstance(each, Trade):
            found += np.frombuffer(rows_from([each]), TRADE).tolist()
        else:
            found.append(each)
    return found


@pytest.mark.parametrize(
    "wanted",
    [{}, {"symbols": ["BTCUSDT"]}, {"symbols": [LIFE.symbol]}, {"market_only": True}],
    ids=str,
)
def test_it_gives_what_a_client_gives(folder: Folder, wanted: dict[str, Any]) -> None:
    with JournalClient(folder.url, **wanted) as client, JournalRows(folder.url, **wanted) as rows:
        assert values(list(rows)) == values(list(client))
        assert rows.statistics == client.statistics
        assert rows.position == client.position
        assert not rows.is_any_ready


def test_the_position_is_that_before_the_rows_that_were_not_handed_over(folder: Folder) -> None:
    with JournalRows(folder.url) as client:
        client.connect()
        for each in client:
            position = client.position
            if isinstance(each, TradeRows) and client.is_any_ready:
                assert position == Position(epoch_ns=1, seq=each.first_seq + len(each))
        assert client.position == Position(epoch_ns=2, seq=4)


def test_rows_have_labels_and_can_be_cut(folder: Folder) -> None:
    rows = next(each for each in JournalRows(folder.url) if isinstance(each, TradeRows))
    first = rows.until(2)
    assert (len(rows), len(first), first.first_seq) == (6, 2, 1)
    assert first.labelled["epoch_ns"].tolist() == [1, 1]
    assert first.labelled["symbol"].tolist() == ["BTCUSDT", "BTCUSDT"]


def test_a_piece_has_its_rows_and_all_else(folder: Folder) -> None:
    pieces = list(read_journal(folder.url))
    numbers = [seq for piece in pieces for seq in piece.trades["seq"].tolist()]
    assert numbers == [*range(1, 7), *range(9, 15), *range(18, 21), 1, 2, 3]
    assert [piece.header.epoch_ns for piece in pieces if len(piece.trades)][-1] == 2
    assert [each for piece in pieces for each in piece.losses] == [
        Loss(first_seq=15, last_seq=17, reason=LossReason.DAMAGED)
    ]
    prices = {exponent for piece in pieces for exponent in exponents(piece)}
    assert prices == {BTC.price_exponent, LIFE.price_exponent, -4}
    assert sum(len(piece.quotes) for piece in pieces) == 1
    assert sum(len(piece.levels) for piece in pieces) == 1
    assert sum(len(piece.orders) for piece in pieces) == 1
    last = pieces[-1]
    assert isinstance(last.records[0], Restarted)
    assert (last.quotes == quotes_in(last.records, last.header)).all()
    assert (last.levels == levels_in(last.records, last.header)).all()
    assert (last.orders == orders_in(last.records, last.header)).all()


def exponents(piece: Piece) -> list[int]:
    found: list[int] = labelled(piece.trades, piece.header)["price_exponent"].tolist()
    return found


@pytest.mark.parametrize(
    ("stop", "last"),
    [
        (Position(epoch_ns=1, seq=1), []),
        (Position(epoch_ns=1, seq=5), [3, 4]),
        (Position(epoch_ns=1, seq=7), [3, 4, 5, 6]),
        (Position(epoch_ns=1, seq=8), [3, 4, 5, 6, 7]),
        (Position(epoch_ns=1, seq=16), [3, 4, 5, 6, 7, 8, *range(9, 15)]),
        (Position(epoch_ns=2, seq=2), [*range(3, 9), *range(9, 15), *range(18, 23), 1]),
        (Moment(time_ns=10), []),
        (Moment(time_ns=20), [3]),
        (Moment(time_ns=60), [*range(3, 9), *range(9, 15)]),
    ],
    ids=str,
)
def test_a_part_ends_before_a_number_or_a_time(
    folder: Folder, stop: Position | Moment, last: list[int]
) -> None:
    start = Position(epoch_ns=1, seq=3)
    found = list[int]()
    for piece in read_journal(folder.url, start=start, stop=stop):
        found += piece.trades["seq"].tolist()
        found += [seq for each in piece.records if (seq := getattr(each, "seq", 0))]
    assert sorted(found) == sorted(last)


def test_it_ends_before_an_epoch(folder: Folder) -> None:
    pieces = read_journal(folder.url, start=Position(epoch_ns=2, seq=1), stop=Moment(time_ns=71))
    assert [len(each.trades) for each in pieces] == [3]
    stop = Position(epoch_ns=1, seq=99)
    assert not list(read_journal(folder.url, start=Position(epoch_ns=2, seq=1), stop=stop))


def test_a_piece_has_one_header(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    story = folder.story()
    trades(story)
    finer = replace(BTC, price_exponent=-4)
    story.channel.change([finer], [Reference(price=5, quantity=1, trade_id=2, time=3)])
    trades(story, count=2, instrument=finer)
    trades(story, count=2, instrument=finer)
    folder.write()
    pieces = list(read_journal(folder.url))
    assert [exponents(each) for each in pieces] == [[BTC.price_exponent] * 3, [-4] * 4]


def test_what_is_no_journal_is_an_error(tmp_path: Path) -> None:
    pieces = read_journal(f"journal://{tmp_path}/none")
    with pytest.raises(JournalError):
        next(pieces)


def test_records_before_a_frame_that_cannot_be_read_are_handed_over(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    story = folder.story()
    trades(story)
    trades(story)
    story.recorder.segment.data += frame(seal(pack("<BBBHQQ", 0x10, 0, 0, 3, 7, 1)))
    folder.write()
    client, found = JournalRows(folder.url), list[object]()
    with pytest.raises(JournalError, match="varint"):
        found.extend(client)
    assert len(values(found)) == 6
    assert client.position == Position(epoch_ns=1, seq=7)
