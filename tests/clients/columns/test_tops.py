import numpy as np
import pytest
from msgspec.structs import replace

from fanout.clients.columns import tops_in
from fanout.clients.outcomes import Disconnected, Received
from fanout.protocol import BookFlags, BookUpdate, Loss, LossReason, Trade, pack_levels
from tests.protocol.golden import BTC, LIFE

LOSS = Loss(first_seq=1, last_seq=2, reason=LossReason.SLOW)
TRADE = Trade(BTC, 1, 2, 3, 4, False, seq=9)


def update(
    update_id: int,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    flags: BookFlags = BookFlags.NONE,
) -> BookUpdate:
    packed = pack_levels(bids), pack_levels(asks)
    return BookUpdate(BTC, update_id, 100 + update_id, *packed, flags, update_id, 7)


FIRST = update(1, [(10, 5), (9, 1)], [(11, 2)], BookFlags.WHOLE)
FAR = update(2, [(1, 1)], [])
NEAR = update(3, [(10, 0)], [(12, 3)])


def test_a_row_is_a_change_of_the_first_levels() -> None:
    other = replace(FIRST, instrument=LIFE)
    tops = tops_in([NEAR, FIRST, TRADE, other, FAR, NEAR], "BTCUSDT", 2)
    assert tops.update_id.tolist() == [1, 3]
    assert tops.time.tolist() == [101, 103]
    assert tops.seq.tolist() == [1, 3]
    assert tops.received_ns.tolist() == [7, 7]
    assert tops.bid_prices.tolist() == [[10, 9], [9, 1]]
    assert tops.bid_quantities.tolist() == [[5, 1], [1, 1]]
    assert tops.ask_prices.tolist() == [[11, 0], [11, 12]]
    assert tops.ask_quantities.tolist() == [[2, 0], [2, 3]]
    assert (tops.price_exponent.tolist(), tops.quantity_exponent.tolist()) == ([-2] * 2, [-3] * 2)


def test_rows_behind_a_time_in_which_the_book_was_unknown_are_marked() -> None:
    tops = tops_in([FIRST, NEAR, LOSS, FAR, FIRST, NEAR], "BTCUSDT")
    assert tops.update_id.tolist() == [1, 3, 1, 3]
    assert tops.follows_gap.tolist() == [True, False, True, False]
    assert tops.bid_prices.shape == (4, 10)


AWAY = Disconnected(why="cut", pause_s=0.1)
PART = update(4, [(10, 0)], [], BookFlags.MORE)
REST = update(4, [], [(12, 3)])
SNAPSHOT = replace(FIRST, seq=0, update_id=4)


@pytest.mark.parametrize(
    ("records", "follows_gap"),
    [
        ([FIRST, PART, TRADE, REST], [True, False]),
        ([FIRST, AWAY, NEAR], [True, False]),
        ([FIRST, AWAY, TRADE, NEAR], [True, False]),
        ([FIRST, PART, AWAY, REST], [True, False]),
        ([FIRST, AWAY, TRADE, FAR], [True]),
        ([FIRST, AWAY, LOSS, FIRST, NEAR], [True, True, False]),
        ([FIRST, PART, LOSS, REST, FIRST], [True, True]),
        ([FIRST, NEAR, AWAY, SNAPSHOT], [True, False, True]),
    ],
)
def test_parts_of_an_update_and_a_reconnect_without_a_loss_are_no_gap(
    records: list[Received], follows_gap: list[bool]
) -> None:
    assert tops_in(records, "BTCUSDT", 2).follows_gap.tolist() == follows_gap


def test_floats_are_the_nearest_and_nan_where_no_level_is() -> None:
    tops = tops_in([FIRST], "BTCUSDT", 2)
    assert tops.floats("bid_prices").tolist() == [[0.1, 0.09]]
    asks, quantities = tops.floats("ask_prices"), tops.floats("ask_quantities")
    assert (asks[0, 0], quantities[0, 0]) == (0.11, 0.002)
    assert np.isnan([asks[0, 1], quantities[0, 1]]).all()


def test_without_a_book_there_are_no_rows() -> None:
    tops = tops_in([TRADE, NEAR], "BTCUSDT", 3)
    assert tops.bid_prices.shape == tops.floats("ask_quantities").shape == (0, 3)
