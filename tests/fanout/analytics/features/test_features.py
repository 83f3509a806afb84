"""The worked examples of the definitions, as a stream shows them."""

import pytest

from fanout.analytics import FeatureSettings
from fanout.protocol import BookFlags
from tests.fanout.analytics.features.test_formulas import BESTS
from tests.fanout.analytics.market import BTC, ETH, WHOLE, Scene, Why, book, quote, trade

BIDS = [(10_000, 2), (9_995, 3), (9_980, 9)]
ASKS = [(10_002, 1), (10_010, 4), (10_020, 7)]

OFI = "order_flow_imbalance_1000ms"


def test_a_book_has_the_prices_quantities_and_imbalances_of_the_worked_example() -> None:
    row = Scene().after(book(0, BIDS, ASKS, WHOLE))
    assert row["mid"] == 100.01
    assert row["spread"] == 0.02
    assert row["spread_bps"] == pytest.approx(1.99980, abs=5e-6)
    assert row["wap_10bps"] == 100.027
    assert row["liquidity_imbalance_10bps"] == 0
    assert row["order_book_imbalance"] == 1 / 3
    assert row["microprice"] == pytest.approx(100.0133333, abs=1e-7)
    assert (row["bid_quantity_20bps"], row["ask_quantity_20bps"]) == (5, 12)
    assert (row["bid_quantity_10bps"], row["ask_quantity_10bps"]) == (5, 5)
    assert (row["level_imbalance"], row["level_imbalance_10bps"]) == (0, 0)
    assert row["queue_imbalance_5"] == (14 - 12) / (14 + 12)


def test_the_order_flow_is_the_sum_over_the_window_and_leaves_with_it() -> None:
    scene = Scene()
    scene.take(book(0, [(90, 1)], [(110, 1)], WHOLE), book(1_500, [], [(111, 1)]))
    sums = []
    for at, (before, after) in enumerate(zip([None, *BESTS], BESTS, strict=False)):
        gone = [] if before is None else [(before.bid, 0)]
        gone_asks = [] if before is None else [(before.ask, 0)]
        bids, asks = (
            [*gone, (after.bid, after.bid_quantity)],
            [*gone_asks, (after.ask, after.ask_quantity)],
        )
        sums.append(scene.after(book(2_600 + at, bids, asks))[OFI])
    first = sums[0]
    assert isinstance(first, float)
    assert [each - first for each in sums] == [0, 3, 6, 7, 9, 7, 4]
    assert scene.after(trade(3_600, 1))[OFI] == 4, "the first change is as old as the window"
    assert scene.after(trade(3_605.999, 1))[OFI] == -3
    assert scene.after(trade(3_606, 1))[OFI] == 0


def test_a_lagged_price_is_the_newest_by_then() -> None:
    settings = FeatureSettings(wap_lags_ms=(100, 200, 300))
    scene = Scene(settings)
    for at_ms, price in ((0, 100_00), (90, 100_02), (150, 100_05)):
        bids = [(price - 1, 1)]
        scene.take(book(at_ms, bids, [(price + 1, 1)], WHOLE))
    row = scene.after(trade(260, 1))
    assert row["wap_10bps"] == 100.05
    assert row["wap_10bps_lag_100ms"] == 100.05
    assert row["wap_10bps_lag_200ms"] == 100.00
    assert row["wap_10bps_lag_300ms"] is Why.WARMING_UP


def test_the_flow_of_trades_is_by_quantity_and_by_count_and_empties_with_the_clock() -> None:
    scene = Scene()
    scene.take(trade(0, 9))
    row = scene.after(trade(1_100, 2), trade(1_200, 1, 10_003), trade(1_300, -4, 10_010))
    assert row["trade_flow_imbalance_1000ms"] == -1 / 7
    assert row["tick_flow_imbalance_1000ms"] == 1 / 3
    assert row["vwap_1000ms"] == 100.0614285714285714
    assert row["trade_intensity_1000ms"] == 3
    row = scene.after(book(2_300, BIDS, ASKS, WHOLE))
    for name in ("trade_flow_imbalance", "tick_flow_imbalance", "vwap"):
        assert row[f"{name}_1000ms"] is Why.EMPTY
    assert row["trade_intensity_1000ms"] == 0


def test_a_record_of_another_symbol_moves_the_clock() -> None:
    scene = Scene()
    scene.take(trade(0, 1), trade(1_500, 2))
    scene.take(book(2_500, BIDS, ASKS, WHOLE, of=ETH))
    row = scene.stream.row(BTC.symbol)
    assert row is not None
    assert row.values[scene.stream.columns.index("trade_intensity_1000ms")] == 0


def test_the_volatility_is_that_of_the_samples_in_the_window() -> None:
    scene = Scene(FeatureSettings(volatility_ms=(4_000,), volatility_sample_ms=1_000))
    for second, price in enumerate((10_000, 10_010, 10_000, 10_000, 10_020, 10_020)):
        row = scene.after(quote(second * 1_000 + 1, (price - 1, 1), (price + 1, 1)))
    # Samples at 2 to 5 s: the prices 10 010, 10 000, 10 000 and 10 020, of 2 001 ms and so on.
    squares = 0.00099950033**2 + 0 + 0.00199800266**2
    assert row["volatility_4000ms"] == pytest.approx((squares / 3) ** 0.5, rel=1e-7)


def test_quotes_are_a_book_of_one_level_beyond_which_nothing_is_known() -> None:
    scene = Scene(FeatureSettings(queue_levels=(1, 2), quantity_bps=(1, 10)))
    row = scene.after(quote(0, (10_000, 3), (10_004, 1)))
    assert (row["mid"], row["order_book_imbalance"], row["queue_imbalance_1"]) == (100.02, 0.5, 0.5)
    assert (row["bid_quantity_1bps"], row["bid_quantity_10bps"]) == (0, Why.TOO_SHALLOW)
    for name in ("level_imbalance", "wap_10bps", "queue_imbalance_2"):
        assert row[name] is Why.TOO_SHALLOW


def test_a_book_beats_quotes_once_it_has_come() -> None:
    scene = Scene()
    scene.take(quote(0, (10_000, 3), (10_004, 1)))
    row = scene.after(book(100, BIDS, ASKS, WHOLE), quote(200, (9_000, 3), (9_004, 1)))
    assert (row["mid"], row[OFI]) == (100.01, Why.LOST)


@pytest.mark.parametrize(
    ("bids", "asks", "why"),
    [
        ([], ASKS, Why.ONE_SIDED),
        (BIDS, [], Why.ONE_SIDED),
        ([], [], Why.ONE_SIDED),
        ([(10_002, 1)], ASKS, Why.CROSSED),
        ([(10_003, 1)], ASKS, Why.CROSSED),
    ],
)
def test_a_book_without_a_price_between_its_sides_has_no_features(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], why: Why
) -> None:
    scene = Scene()
    row = scene.after(book(0, bids, asks, WHOLE))
    assert {row[name] for name in scene.settings.book_columns} == {why}
    assert row[OFI] is why
    assert row["volatility_2000ms"] is why


def test_the_edge_of_a_band_is_in_it_and_a_book_that_ends_there_is_deep_enough() -> None:
    top = WHOLE | BookFlags.TOP_ONLY
    scene = Scene(FeatureSettings(quantity_bps=(9, 10, 11)))
    exact = scene.after(book(1, [(9_990, 2)], [(10_010, 4)], top))
    assert (exact["bid_quantity_10bps"], exact["ask_quantity_10bps"]) == (2, 4)
    assert exact["bid_quantity_11bps"] is Why.TOO_SHALLOW
    assert (exact["bid_quantity_9bps"], exact["wap_10bps"]) == (0, 60_020 / 600)


def test_a_mid_that_is_not_positive_has_no_band_and_no_basis_points() -> None:
    row = Scene().after(book(0, [(-5, 1)], [(5, 1)], WHOLE))
    assert (row["mid"], row["spread"], row["microprice"]) == (0, 0.1, 0)
    for name in ("spread_bps", "wap_10bps", "bid_quantity_20bps", "liquidity_imbalance_10bps"):
        assert row[name] is Why.EMPTY


def test_a_narrow_band_between_the_best_prices_has_no_average() -> None:
    row = Scene(FeatureSettings(wap_bps=(1,), liquidity_bps=(1,), level_bps=(1,))).after(
        book(0, [(9_000, 1)], [(11_000, 1)], WHOLE)
    )
    for name in ("wap_1bps", "liquidity_imbalance_1bps", "level_imbalance_1bps"):
        assert row[name] is Why.EMPTY
