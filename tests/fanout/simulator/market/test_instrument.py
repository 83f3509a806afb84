"""Numbers and spelling: inserted rows, clocks that are off, and tick sizes that change."""

from decimal import Decimal

import msgspec
import pytest

from fanout.simulator.dialects.binance_usdm.table import TABLE
from fanout.simulator.faults import Insert, Relist
from fanout.simulator.market.instrument import Instrument
from fanout.simulator.market.listing import Listing, decimals
from fanout.simulator.market.ticks import ADL, INSURANCE_FUND, MARKET, NOT_A_FILL, Trade
from tests.fanout.simulator.support import LISTING, trade


@pytest.fixture
def instrument() -> Instrument:
    return Instrument(LISTING)


def row(trade_id: int, price: str = "83680.00", quantity: str = "0.001", **fields: int) -> Trade:
    return trade(trade_id, price=price, quantity=quantity, **fields)


def ids(*rows: Trade | None) -> list[int]:
    return [row.trade_id for row in rows if row is not None]


def issued(instrument: Instrument, trade: Trade, offset_ms: int = 0) -> Trade:
    told = instrument.issue(trade, offset_ms)
    assert told is not None
    return told


def test_without_a_fault_a_trade_passes_unchanged(instrument: Instrument) -> None:
    given = row(7)
    assert instrument.issue(given, 0) is given


def test_inserted_rows_take_the_next_ids_and_the_ids_of_later_trades_rise(
    instrument: Instrument,
) -> None:
    instrument.issue(row(7), 0)
    inserted = instrument.insert(Insert("BTCUSDT", count=3), 1_234)
    assert [each.trade_id for each in inserted] == [8, 9, 10]
    assert issued(instrument, row(8)).trade_id == 11
    assert instrument.insert(Insert("BTCUSDT"), 1_234)[0].trade_id == 12
    assert issued(instrument, row(9)).trade_id == 13


def test_rows_inserted_before_the_first_trade_come_before_it(instrument: Instrument) -> None:
    instrument.begin(100)
    instrument.begin(101)
    assert instrument.insert(Insert("BTCUSDT"), 0)[0].trade_id == 100
    assert issued(instrument, row(100)).trade_id == 101


def test_an_na_row_has_neither_price_nor_quantity(instrument: Instrument) -> None:
    (blank,) = instrument.insert(Insert("BTCUSDT"), 1_234)
    assert (blank.kind, blank.price, blank.quantity) == (NOT_A_FILL, "0", "0")
    assert (blank.time_ms, blank.event_ms) == (1_234, 1_234)


@pytest.mark.parametrize("kind", [INSURANCE_FUND, ADL])
def test_a_liquidation_is_far_from_the_last_price_and_on_the_tick_grid(
    instrument: Instrument, kind: str
) -> None:
    instrument.issue(row(1, "50000.00", "0.250"), 0)
    (print_,) = instrument.insert(Insert("BTCUSDT", kind), 0)
    assert (print_.kind, print_.price, print_.quantity) == (kind, "45000.00", "0.250")


def test_the_last_price_is_that_of_a_fill(instrument: Instrument) -> None:
    instrument.issue(row(1, "50000.00"), 0)
    instrument.insert(Insert("BTCUSDT", ADL), 0)
    instrument.issue(trade(2, kind=NOT_A_FILL, price="0", quantity="0"), 0)
    (burst,) = instrument.insert(Insert("BTCUSDT", MARKET), 0)
    assert burst.price == "50000.00"


def test_a_price_is_never_inserted_as_zero() -> None:
    instrument = Instrument(Listing("PENNYUSDT", "0.01", "0.01", "1"))
    assert instrument.insert(Insert("PENNYUSDT", ADL, away=-0.9), 0)[0].price == "0.01"


def test_a_shifted_clock_changes_both_times_and_nothing_else(instrument: Instrument) -> None:
    given = row(7)
    told = issued(instrument, given, -250)
    assert (told.time_ms, told.event_ms) == (given.time_ms - 250, given.event_ms - 250)
    assert msgspec.structs.replace(told, time_ms=1_000, event_ms=1_000) == given


def test_a_finer_tick_size_gives_prices_more_decimals_and_some_use_them(
    instrument: Instrument,
) -> None:
    listing = instrument.relist(Relist("BTCUSDT", tick_size="0.001"))
    assert (listing.price_precision, listing.quantity_precision) == (3, 3)
    prices = [issued(instrument, row(n, time_ms=n)).price for n in range(1, 200)]
    assert all(decimals(price) == 3 for price in prices)
    assert all(0 <= Decimal(price) - 83_680 < Decimal("0.10") for price in prices)
    assert len({price[-1] for price in prices}) == 10


def test_fills_of_one_millisecond_and_price_keep_one_price(instrument: Instrument) -> None:
    instrument.relist(Relist("BTCUSDT", tick_size="0.001"))
    assert len({issued(instrument, row(n)).price for n in range(1, 50)}) == 1


def test_a_coarser_tick_size_rounds_and_drops_decimals(instrument: Instrument) -> None:
    instrument.relist(Relist("BTCUSDT", tick_size="5", step_size="0.01"))
    told = issued(instrument, row(1, "83683.10", "0.001"))
    assert (told.price, told.quantity) == ("83685", "0.01")


def test_a_listing_may_change_twice(instrument: Instrument) -> None:
    instrument.relist(Relist("BTCUSDT", tick_size="0.001"))
    instrument.relist(Relist("BTCUSDT", tick_size="0.10", status="SETTLING"))
    assert instrument.listing == msgspec.structs.replace(LISTING, status="SETTLING")
    instrument.relist(Relist("BTCUSDT", status="TRADING"))
    assert instrument.issue(row(1), 0) == row(1)


@pytest.mark.parametrize("status", ["SETTLING", "CLOSE", "PENDING_TRADING"])
def test_trades_in_a_halt_are_dropped_and_take_no_ids(instrument: Instrument, status: str) -> None:
    instrument.issue(row(7), 0)
    instrument.relist(Relist("BTCUSDT", status=status))
    assert [instrument.issue(row(n), 0) for n in (8, 9)] == [None, None]
    instrument.relist(Relist("BTCUSDT", status="TRADING"))
    assert ids(instrument.issue(row(10), 0)) == [8]


def test_a_delisted_symbol_does_not_trade_until_it_is_listed_again(
    instrument: Instrument,
) -> None:
    instrument.delist()
    assert instrument.issue(row(7), 0) is None
    instrument.relist(Relist("BTCUSDT"))
    assert ids(instrument.issue(row(8), 0)) == [7]


@pytest.mark.parametrize("next_id", [1, 9, 2**53])
def test_ids_continue_from_a_given_id(instrument: Instrument, next_id: int) -> None:
    instrument.issue(row(7), 0)
    instrument.renumber(next_id)
    assert ids(instrument.issue(row(8), 0), instrument.issue(row(9), 0)) == [next_id, next_id + 1]
    assert ids(*instrument.insert(Insert("BTCUSDT"), 0)) == [next_id + 2]


def test_the_first_id_can_be_set(instrument: Instrument) -> None:
    instrument.begin(100)
    instrument.renumber(5)
    assert ids(instrument.issue(row(100), 0)) == [5]


def test_an_na_row_is_not_respelled(instrument: Instrument) -> None:
    instrument.relist(Relist("BTCUSDT", tick_size="0.001", step_size="0.0001"))
    blank = trade(1, kind=NOT_A_FILL, price="0", quantity="0")
    assert instrument.issue(blank, 0) == blank
    assert instrument.insert(Insert("BTCUSDT"), 0)[0].price == "0"


@pytest.mark.parametrize("listing", TABLE.values(), ids=lambda listing: listing.symbol)
def test_every_symbol_can_be_liquidated_and_listed_finer(listing: Listing) -> None:
    instrument = Instrument(listing)
    (print_,) = instrument.insert(Insert(listing.symbol, ADL), 0)
    assert decimals(print_.price) == listing.price_precision
    finer = f"0.{'1':0>{listing.price_precision + 1}}"
    instrument.relist(Relist(listing.symbol, tick_size=finer))
    told = issued(instrument, trade(1, symbol=listing.symbol, price=listing.price, time_ms=7))
    assert decimals(told.price) == listing.price_precision + 1
    assert told.price[-1] != "0"
