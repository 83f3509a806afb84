"""Aggregates: what is summed up, what is left out, and when it is told."""

import json
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Any

from fanout.simulator.dialects.binance_usdm.table import TABLE
from fanout.simulator.market.aggregate import Aggregator, with_aggregates
from fanout.simulator.market.synthetic import SyntheticMarket
from fanout.simulator.market.ticks import NOT_A_FILL, RPI, Tick, Trade
from tests.fanout.simulator.support import USDM, payload, tick, trade

NS_PER_MS = 1_000_000


def played(rows: Iterable[Trade]) -> list[Tick]:
    return aggregated(tick(row, row.time_ms * NS_PER_MS) for row in rows)


def aggregated(ticks: Iterable[Tick]) -> list[Tick]:
    aggregator, found = Aggregator(), []
    for each in with_aggregates(ticks, aggregator):
        found.append(each)
        if each.trade is not None:
            aggregator.add(each.due_ns, each.trade)
    return found


def aggregates(*rows: Trade) -> list[dict[str, Any]]:
    return [json.loads(payload(each)) for each in played(rows) if each.trade is None]


def at(time_ms: int, trade_id: int = 1, **fields: Any) -> Trade:
    return trade(trade_id, time_ms=time_ms, event_ms=time_ms, **fields)


def test_fills_of_one_price_and_side_in_one_interval_are_one_aggregate() -> None:
    (found,) = aggregates(
        at(1_000, 5, quantity="0.001"), at(1_040, 6, quantity="0.020"), at(1_099, 7)
    )
    assert (found["q"], found["nq"], found["f"], found["l"]) == ("0.022", "0.022", 5, 7)
    assert (found["e"], found["s"], found["T"], found["m"]) == ("aggTrade", "BTCUSDT", 1_000, False)


def test_another_price_another_side_and_another_interval_begin_another() -> None:
    rows = [at(1_000, 1), at(1_001, 2, price="1.00"), at(1_002, 3, price="1.00")]
    rows += [
        at(1_003, 4, price="1.00", buyer_is_maker=True),
        at(1_100, 5, price="1.00", buyer_is_maker=True),
    ]
    assert [(row["f"], row["l"]) for row in aggregates(*rows)] == [(1, 1), (2, 3), (4, 4), (5, 5)]


def test_a_price_that_comes_back_does_not_make_ranges_overlap() -> None:
    rows = [at(1_000, 1), at(1_001, 2, price="1.00"), at(1_002, 3)]
    assert [(row["f"], row["l"]) for row in aggregates(*rows)] == [(1, 1), (2, 2), (3, 3)]


def test_rpi_fills_count_in_the_quantity_but_not_in_the_normal_one() -> None:
    (found,) = aggregates(at(1_000, 1, quantity="0.005"), at(1_001, 2, quantity="0.003", kind=RPI))
    assert (found["q"], found["nq"]) == ("0.008", "0.005")


def test_an_aggregate_of_rpi_fills_alone_has_a_normal_quantity_of_zero() -> None:
    (found,) = aggregates(at(1_000, quantity="0.005", kind=RPI))
    assert (found["q"], found["nq"]) == ("0.005", "0.000")


def test_rows_that_are_no_fills_leave_holes() -> None:
    blank = at(1_050, 2, kind=NOT_A_FILL, price="0", quantity="0")
    found = aggregates(at(1_000, 1), blank, at(1_150, 3))
    assert [(row["f"], row["l"]) for row in found] == [(1, 1), (3, 3)]


def test_symbols_are_kept_apart() -> None:
    rows = [at(1_000, 1), at(1_000, 1, symbol="ETHUSDT"), at(1_001, 2)]
    found = {(row["s"], row["f"], row["l"]) for row in aggregates(*rows)}
    assert found == {("BTCUSDT", 1, 2), ("ETHUSDT", 1, 1)}


def test_an_aggregate_is_due_after_its_interval_and_among_the_trades_in_order() -> None:
    ticks = played([at(1_099, 1), at(1_240, 2), at(1_260, 3)])
    assert [(each.due_ns // NS_PER_MS, each.stream[8:]) for each in ticks] == [
        (1_099, "trade"),
        (1_240, "trade"),
        (1_249, "aggTrade"),
        (1_260, "trade"),
        (1_390, "aggTrade"),
    ]


def test_a_fill_received_too_late_for_its_aggregate_makes_another() -> None:
    late = tick(at(1_050, 2), due_ns=1_200 * NS_PER_MS)
    ticks = aggregated([tick(at(1_000, 1), due_ns=1_000 * NS_PER_MS), late])
    found = [json.loads(payload(each)) for each in ticks if each.trade is None]
    assert [(row["f"], row["l"]) for row in found] == [(1, 1), (2, 2)]


def test_aggregate_ids_are_contiguous_per_symbol() -> None:
    found = aggregates(*(at(1_000 + 100 * number, number) for number in range(5)))
    assert all(after["a"] == before["a"] + 1 for before, after in pairwise(found))


def test_a_synthetic_market_loses_no_quantity_in_aggregation() -> None:
    source = SyntheticMarket((TABLE["1000PEPEUSDT"],), 100.0, 1, USDM.kinds)
    rows = [each.trade for each in islice(source.ticks(0), 3_000) if each.trade is not None]
    found = aggregates(*rows)
    fills = [row for row in rows if row.is_fill]
    assert sum(int(row["q"]) for row in found) == sum(int(row.quantity) for row in fills)
    assert all(before["l"] < after["f"] for before, after in pairwise(found))
    assert all(row["E"] >= row["T"] + 100 for row in found)
    assert len(found) < len(fills)
