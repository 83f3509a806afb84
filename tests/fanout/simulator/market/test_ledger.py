"""Accounting: ranges of ids, what is forgotten, and that nobody is told half the truth."""

import pytest

from fanout.simulator.market.ledger import ForgottenError, IdRange, Ledger
from fanout.simulator.market.ticks import MARKET, NOT_A_FILL
from tests.fanout.simulator.support import covered, tick, trade

STREAM = "BTCUSDT@trade"


def ledger_of(*kinds: str, kept: int = 100) -> Ledger:
    """Ids from 1, of these kinds."""
    ledger = Ledger(kept)
    for trade_id, kind in enumerate(kinds, 1):
        ledger.issue(STREAM, trade_id, kind)
    return ledger


def test_ids_of_a_kind_in_a_row_are_one_range() -> None:
    ledger = ledger_of(MARKET, MARKET, NOT_A_FILL, MARKET)
    assert ledger.issued(STREAM, None) == (
        IdRange(1, 2, MARKET),
        IdRange(3, 3, NOT_A_FILL),
        IdRange(4, 4, MARKET),
    )


def test_a_hole_between_ids_is_a_hole_between_ranges() -> None:
    ledger = ledger_of()
    for trade_id in (5, 6, 9):
        ledger.issue(STREAM, trade_id, MARKET)
    assert ledger.issued(STREAM, None) == (IdRange(5, 6, MARKET), IdRange(9, 9, MARKET))


@pytest.mark.parametrize("after", range(6))
def test_with_after_only_higher_ids_are_returned(after: int) -> None:
    ledger = ledger_of(MARKET, MARKET, NOT_A_FILL, MARKET, MARKET)
    assert covered(*ledger.issued(STREAM, after)) == list(range(after + 1, 6))


def test_an_unknown_stream_has_issued_nothing() -> None:
    assert ledger_of().issued(STREAM, 5) == ()
    assert ledger_of().withheld(STREAM, None) == ()


def test_withheld_ids_are_kept_apart_from_issued_ones() -> None:
    ledger = ledger_of(MARKET, MARKET)
    ledger.withhold(tick(trade(2)))
    assert ledger.withheld(STREAM, None) == (IdRange(2, 2, MARKET),)


def test_only_the_newest_ids_are_kept() -> None:
    ledger = ledger_of(*[MARKET] * 25, kept=10)
    assert ledger.issued(STREAM, None) == (IdRange(16, 25, MARKET),)


def test_ranges_of_one_are_forgotten_one_by_one() -> None:
    ledger = ledger_of(*[MARKET, NOT_A_FILL] * 10, kept=3)
    assert covered(*ledger.issued(STREAM, None)) == [18, 19, 20]


def test_a_query_for_forgotten_ids_is_an_error_and_not_a_short_answer() -> None:
    ledger = ledger_of(*[MARKET] * 25, kept=10)
    assert covered(*ledger.issued(STREAM, 15)) == list(range(16, 26))
    with pytest.raises(ForgottenError, match=r"after 14 .* up to 15"):
        ledger.issued(STREAM, 14)
