"""What a reader that joins gets from `Wholes`."""

from typing import Any

import pytest
from msgspec.structs import replace

from fanout.clients.books import Books
from fanout.clients.outcomes import Disconnected, Restarted
from fanout.clients.wholes import Wholes
from fanout.protocol import (
    START,
    BookFlags,
    BookUpdate,
    FeedState,
    Header,
    Loss,
    LossReason,
    OrderUpdate,
    Position,
    Quote,
    Record,
    Snapshot,
    Status,
    SubscriberSession,
    Trade,
    pack_levels,
    pack_orders,
)
from fanout.protocol.constants import MAX_BLOCK_LEVELS
from fanout.protocol.framing import frame
from fanout.protocol.header import opening
from tests.protocol.golden import BTC, FEATURES, HEADER, LIFE, ROWS_HEADER

NEXT_SEQ = 77
AWAY = Disconnected(why="cut", pause_s=0.1)
ANEW = Restarted(before=Position(epoch_ns=1, seq=2), epoch_ns=2)
LOSS = Loss(first_seq=2, last_seq=3, reason=LossReason.SLOW)


def trade(trade_id: int, **others: Any) -> Trade:
    return Trade(
        others.pop("instrument", BTC), trade_id, 1_000 + trade_id, 3, 4, False, seq=1, **others
    )


def quote(update_id: int, seq: int = 1) -> Quote:
    return Quote(BTC, update_id, 5, 10, 1, 11, 2, seq)


def whole(
    update_id: int = 1,
    bids: list[tuple[int, int]] | None = None,
    flags: BookFlags = BookFlags.WHOLE,
    instrument: Any = BTC,
) -> BookUpdate:
    packed = pack_levels(bids or [(10, 5)]), pack_levels([(11, 2)])
    return BookUpdate(instrument, update_id, 7, *packed, flags, seq=1)


def status(state: FeedState) -> Status:
    return Status(seq=9, instrument=BTC, state=state, since_ns=1)


def wholes_after(*records: Any) -> Wholes:
    wholes = Wholes()
    for each in records:
        wholes.apply(each)
    return wholes


def joined(wholes: Wholes, header: Header = HEADER) -> list[Record]:
    """The records of a reader that joins at `NEXT_SEQ`."""
    session = SubscriberSession()
    session.receive(frame(START) + opening(replace(header, next_seq=NEXT_SEQ)))
    for each in wholes.frames(header, NEXT_SEQ):
        session.receive(each)
    records = []
    while (some := session.next_records()) is not None:
        records += some
    assert session.next_seq == NEXT_SEQ, "a snapshot takes no numbers"
    return records


def test_nothing_is_shown_of_what_has_not_come() -> None:
    assert joined(Wholes()) == []


def test_a_reader_that_joins_gets_the_newest_trade_and_quote_and_the_book() -> None:
    other = trade(3, instrument=LIFE)
    wholes = wholes_after(trade(1), trade(2), other, quote(7), quote(8), whole(), whole(4))
    trades, its_quote, book = joined(wholes)
    assert isinstance(trades, Snapshot)
    assert [each.trade_id for each in trades.trades] == [2, 3]
    assert isinstance(its_quote, Quote)
    assert (its_quote.update_id, its_quote.seq) == (8, 0)
    assert isinstance(book, BookUpdate)
    assert (book.update_id, book.is_whole, book.seq, book.bids) == (4, True, 0, [(10, 5)])


def test_a_reader_that_joins_gets_the_newest_row_of_each_instrument() -> None:
    first, of_life, newest = (replace(each, seq=5) for each in FEATURES.rows)
    wholes = wholes_after(first, of_life, newest)
    shown = [replace(each, seq=0, received_ns=0) for each in (newest, of_life)]
    assert joined(wholes, ROWS_HEADER) == shown
    wholes.apply(LOSS)
    assert joined(wholes, ROWS_HEADER) == []


def test_a_snapshot_stands_for_what_came_before_it() -> None:
    wholes = wholes_after(Snapshot(trades=(trade(5),)), quote(7, seq=0))
    assert [type(each) for each in joined(wholes)] == [Snapshot, Quote]


@pytest.mark.parametrize(("back_filled_id", "expected"), [(1, 5), (9, 9)])
def test_a_back_filled_trade_stands_only_if_it_is_the_newest(
    back_filled_id: int, expected: int
) -> None:
    wholes = wholes_after(trade(5), trade(back_filled_id, back_filled=True))
    (trades,) = joined(wholes)
    assert isinstance(trades, Snapshot)
    assert [each.trade_id for each in trades.trades] == [expected]


def test_a_back_filled_trade_stands_where_none_is_known() -> None:
    assert len(joined(wholes_after(trade(1, back_filled=True)))) == 1


@pytest.mark.parametrize("disturbance", [LOSS, ANEW], ids=["loss", "restarted"])
def test_after_a_loss_only_the_newest_trades_are_shown(disturbance: Any) -> None:
    wholes = wholes_after(trade(1), quote(7), whole(), disturbance)
    assert [type(each) for each in joined(wholes)] == [Snapshot]
    wholes.apply(quote(9))
    wholes.apply(whole(9))
    assert [type(each) for each in joined(wholes)] == [Snapshot, Quote, BookUpdate]


def test_a_book_of_an_instrument_that_is_not_live_is_left_out() -> None:
    wholes = wholes_after(whole(), status(FeedState.STALE))
    assert (joined(wholes), wholes.is_amid) == ([], False)
    wholes.apply(status(FeedState.LIVE))
    assert len(joined(wholes)) == 1


@pytest.mark.parametrize("last", [whole(2, flags=BookFlags.MORE), AWAY], ids=["more", "away"])
def test_a_book_that_waits_for_the_rest_is_left_out_and_tells_so(last: Any) -> None:
    wholes = wholes_after(whole())
    assert not wholes.is_amid
    wholes.apply(last)
    assert (joined(wholes), wholes.is_amid) == ([], True)
    wholes.apply(whole(3, flags=BookFlags.NONE))
    assert (len(joined(wholes)), wholes.is_amid) == (1, False)


@pytest.mark.parametrize("unit", ["price_exponent", "quantity_exponent", "time_exponent"])
def test_what_is_in_other_units_than_the_headers_is_left_out(unit: str) -> None:
    wholes = wholes_after(trade(1), quote(7), whole())
    changed = replace(BTC, **{unit: -8})
    assert joined(wholes, replace(HEADER, instruments=(changed, LIFE))) == []


def test_what_the_header_does_not_have_is_left_out_and_an_index_may_change() -> None:
    wholes = wholes_after(trade(1), quote(7), whole(), trade(2, instrument=LIFE))
    moved = replace(BTC, index=1), replace(LIFE, index=0)
    header = replace(HEADER, instruments=moved[::-1])
    trades, *others = joined(wholes, header)
    assert isinstance(trades, Snapshot)
    assert [each.instrument for each in trades.trades] == list(moved[::-1])
    assert [each.instrument for each in others] == [moved[0]] * 2  # type: ignore[union-attr]
    bare = replace(HEADER, instruments=(moved[1],), references=HEADER.references[:1])
    (trades,) = joined(wholes, bare)
    assert isinstance(trades, Snapshot)
    assert [each.symbol for each in trades.trades] == [LIFE.symbol]


def test_a_deep_book_comes_in_pieces_and_is_the_same_at_the_reader() -> None:
    bids = [(20_000 - each, 1 + each % 7) for each in range(MAX_BLOCK_LEVELS + 500)]
    records = joined(wholes_after(whole(3, bids)))
    assert len(records) == 2
    books = Books()
    for each in records:
        books.apply(each)
    assert books["BTCUSDT"].levels()[0] == bids


def test_a_book_by_order_keeps_its_orders() -> None:
    packed = pack_orders([(700, 10, 5), (701, 10, 6)]), pack_orders([(702, 11, 2)])
    wholes = wholes_after(OrderUpdate(BTC, 3, 7, *packed, BookFlags.WHOLE, seq=1))
    (book,) = joined(wholes)
    assert isinstance(book, OrderUpdate)
    assert book.bids == [(700, 10, 5), (701, 10, 6)]
