"""The synthetic market: its statistics in broad bands, and that a seed decides everything."""

from collections import Counter, defaultdict
from itertools import islice, pairwise

import pytest

from fanout.simulator.dialects.binance_usdm.table import TABLE
from fanout.simulator.market.history import History
from fanout.simulator.market.synthetic import SyntheticMarket
from fanout.simulator.market.ticks import Tick, Trade
from tests.fanout.simulator.support import USDM, payload

ORIGIN_MS = 1_790_000_000_000
COUNT = 60_000


def market(*symbols: str, rate: float = 200.0, seed: int = 0) -> SyntheticMarket:
    return SyntheticMarket(tuple(TABLE[s] for s in symbols or TABLE), rate, seed, USDM.kinds)


def ticks(source: SyntheticMarket, count: int, origin_ms: int = ORIGIN_MS) -> list[Tick]:
    return list(islice(source.ticks(origin_ms), count))


def trades(of: list[Tick]) -> list[Trade]:
    return [tick.trade for tick in of if tick.trade is not None]


@pytest.fixture(scope="module")
def played() -> list[Tick]:
    return ticks(market(), COUNT)


@pytest.fixture(scope="module")
def rows(played: list[Tick]) -> list[Trade]:
    return trades(played)


def test_the_same_seed_gives_the_same_rows() -> None:
    assert ticks(market(seed=5), 5_000) == ticks(market(seed=5), 5_000)


def test_another_seed_gives_other_rows() -> None:
    assert ticks(market(seed=5), 100) != ticks(market(seed=6), 100)


def test_another_origin_moves_the_times_and_nothing_else() -> None:
    early, late = (trades(ticks(market(), 1_000, origin_ms)) for origin_ms in (0, ORIGIN_MS))
    assert [row.price for row in early] == [row.price for row in late]
    assert [row.time_ms + ORIGIN_MS for row in early] == [row.time_ms for row in late]


def test_trades_come_in_order_of_time(played: list[Tick]) -> None:
    assert played[0].due_ns >= 0
    assert all(before.due_ns <= after.due_ns for before, after in pairwise(played))


def test_the_time_of_a_trade_is_when_it_is_due(played: list[Tick], rows: list[Trade]) -> None:
    due_ms = [ORIGIN_MS + tick.due_ns // 1_000_000 for tick in played]
    assert due_ms == [row.time_ms for row in rows]
    assert {row.event_ms - row.time_ms for row in rows} == {0, 1}


def test_the_rate_is_about_what_was_asked_for(played: list[Tick]) -> None:
    seconds = played[-1].due_ns / 1e9
    assert 150 < COUNT / seconds < 260


def test_every_symbol_trades_and_the_heavy_ones_most(rows: list[Trade]) -> None:
    counts = Counter(row.symbol for row in rows)
    assert counts.keys() == TABLE.keys()
    assert counts["BTCUSDT"] > 5 * counts["UNIUSDT"]


def test_most_trades_share_their_millisecond(rows: list[Trade]) -> None:
    together = Counter((row.symbol, row.time_ms) for row in rows)
    shared = sum(count for count in together.values() if count > 1)
    assert 0.78 < shared / len(rows) < 0.90
    assert max(together.values()) >= 200


def test_all_kinds_of_rows_share_one_numbering(rows: list[Trade]) -> None:
    ids: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        ids[row.symbol].append(row.trade_id)
    for symbol, of_symbol in ids.items():
        assert of_symbol == list(range(of_symbol[0], of_symbol[0] + len(of_symbol)))
        assert of_symbol[0] > TABLE[symbol].first_trade_id


def test_some_ids_are_over_32_bits_and_one_is_small() -> None:
    first_ids = [listing.first_trade_id for listing in TABLE.values()]
    assert sum(first_id > 2**32 for first_id in first_ids) > 3
    assert min(first_ids) < 1_000_000


def test_the_kinds_have_their_shares(rows: list[Trade]) -> None:
    share = {kind: count / len(rows) for kind, count in Counter(r.kind for r in rows).items()}
    assert 0.002 < share["NA"] < 0.005
    assert 0.02 < share["RPI"] < 0.05
    assert 0 < share["INSURANCE_FUND"] < 0.001
    assert share.get("ADL", 0) < 0.0005
    assert share["MARKET"] > 0.94


def test_only_an_na_row_has_zeros(rows: list[Trade]) -> None:
    for row in rows:
        assert ((row.price, row.quantity) == ("0", "0")) == (row.kind == "NA")


def test_prices_lie_on_the_tick_grid_with_all_their_decimals(rows: list[Trade]) -> None:
    for row in rows:
        if row.kind != "NA":
            listing = TABLE[row.symbol]
            assert len(row.price.partition(".")[2]) == listing.price_precision
            units, tick = (int(text.replace(".", "")) for text in (row.price, listing.tick_size))
            assert units % tick == 0


def test_quantities_lie_on_the_step_grid_and_have_a_heavy_tail(rows: list[Trade]) -> None:
    bitcoin = [r.quantity for r in rows if r.symbol == "BTCUSDT" and r.kind != "NA"]
    assert all(len(text.partition(".")[2]) == 3 and float(text) > 0 for text in bitcoin)
    sizes = sorted(map(float, bitcoin))
    assert sizes[-1] > 50 * sizes[len(sizes) // 2]


def test_market_prices_stay_near_the_listed_price(rows: list[Trade]) -> None:
    for row in rows:
        if row.kind in ("MARKET", "RPI"):
            assert abs(float(row.price) / float(TABLE[row.symbol].price) - 1) < 0.08


def test_liquidations_may_be_a_tenth_off_the_market_and_no_more(rows: list[Trade]) -> None:
    off = [r for r in rows if r.kind in ("INSURANCE_FUND", "ADL")]
    for row in off:
        assert float(row.price) == pytest.approx(float(TABLE[row.symbol].price), rel=0.18)
    assert any(
        float(row.price) != pytest.approx(float(TABLE[row.symbol].price), rel=0.03) for row in off
    )


def test_a_sweep_walks_one_way_with_one_aggressor(rows: list[Trade]) -> None:
    sweeps: dict[int, list[Trade]] = defaultdict(list)
    for row in rows:
        if row.symbol == "BTCUSDT" and row.kind in ("MARKET", "RPI"):
            sweeps[row.time_ms].append(row)
    largest = max(sweeps.values(), key=len)
    assert len({row.buyer_is_maker for row in largest}) == 1
    prices = [float(row.price) for row in largest]
    assert prices == sorted(prices, reverse=largest[0].buyer_is_maker)
    assert len(set(prices)) > 10


def test_the_past_ends_where_the_stream_begins() -> None:
    history = History(TABLE, 1_000)
    source = market("BTCUSDT")
    source.prime(history, ORIGIN_MS)
    past, (first,) = history.newest("BTCUSDT", 1000), trades(ticks(source, 1))
    assert len(past) == 1000
    assert past[-1].time_ms <= ORIGIN_MS <= first.time_ms
    assert 1 <= first.trade_id - past[-1].trade_id <= 5


def test_a_payload_is_spelled_as_recorded_in_production() -> None:
    (first,) = ticks(market("币安人生USDT"), 1)
    row = first.trade
    assert row is not None
    assert first.stream == "币安人生USDT@trade"
    assert payload(first).decode() == (
        f'{{"e":"trade","E":{row.event_ms},"T":{row.time_ms},"s":"币安人生USDT",'
        f'"t":{row.trade_id},"p":"{row.price}","q":"{row.quantity}","X":"{row.kind}",'
        f'"m":{str(row.buyer_is_maker).lower()},"st":1}}'
    )
