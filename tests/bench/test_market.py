"""The stages' trades and books: recorded, or synthetic with the statistics of the recordings."""

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby, islice, pairwise
from pathlib import Path
from statistics import fmean, quantiles

import msgspec
import pytest

from fanout.protocol import OrderBook
from fanout.venues.binance import BinanceUsdm
from fanout.venues.values import VenueTrade
from tests import captures
from tests.bench import book, depth, market, size
from tests.bench.broadcast import recording
from tests.bench.ingest_rivals import workload
from tests.bench.ingest_rivals.fanout_feed import BEFORE
from tests.bench.synthetic import MARKETS, SEED, Row, synthetic
from tests.bench.synthetic_book import MESSAGES, SNAPSHOT_LEVELS, synthetic_book
from tests.captures import capture_path

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Statistics(msgspec.Struct, frozen=True):
    """Of the trades of one symbol."""

    share_with_company: float
    """Of trades whose millisecond another trade has."""
    most_in_100_ms: int
    most_in_a_second: int
    span_s: float
    text_bytes: float
    share_of_still_prices: float
    steps: tuple[float, ...]
    """The 9th and 19th twentieth of price steps that are not 0, in units of the last decimal."""
    quantities: tuple[float, ...]
    """The quartiles."""


def most_within(times: Sequence[int], span: int) -> int:
    return max(bisect_left(times, each + span) - place for place, each in enumerate(times))


class BookStatistics(msgspec.Struct, frozen=True):
    """Of the REST snapshot of one symbol, and of the updates and quotes after it. Distances are in
    ticks from the best price of the side."""

    snapshot_levels: tuple[int, int]
    snapshot_gap: float
    """The mean, between levels that follow each other."""
    updates: int
    levels: int
    share_in_bids: float
    sizes: tuple[float, ...]
    """The deciles of the levels of an update."""
    share_new: float
    share_removed: float
    share_removed_before: float
    """Of levels: removed by the venue and not in the book."""
    distances: tuple[float, ...]
    """The quartiles of all levels."""
    removed_distances: tuple[float, ...]
    quantities: tuple[float, ...]
    """The quartiles of levels that are not removed."""
    text_bytes: float
    span_s: float
    id_steps: tuple[float, ...]
    levels_at_the_end: tuple[int, int]
    quotes: int
    quote_bytes: float
    share_of_still_bids: float
    share_of_narrow_spreads: float


class Followed:
    """A book in ticks, and what the updates have done to it."""

    def __init__(self, snapshot: dict[str, list[list[str]]]) -> None:
        self.sides = [dict(map(level_of, snapshot[name])) for name in ("bids", "asks")]
        self._bests = [max(self.sides[0]), min(self.sides[1])]
        self.counts = dict.fromkeys(("new", "changed", "removed", "removed before"), 0)
        self.distances: list[int] = []
        self.removed_distances: list[int] = []
        self.quantities: list[int] = []

    def apply(self, update: "Update") -> None:
        for place, levels in enumerate((update.b, update.a)):
            best = self._apply(self.sides[place], self._bests[place], 1 - 2 * place, levels)
            self._bests[place] = best

    def _apply(self, side: dict[int, int], best: int, sign: int, levels: "Levels") -> int:
        """`sign` is 1 for bids and -1 for asks. The best price afterwards: a search through all
        prices takes as long as the levels, so there is one only if the best level was removed."""
        best_then = best
        new = removed = removed_before = 0
        for price_text, quantity_text in levels:
            price, quantity = ticks(price_text), thousandths(quantity_text)
            is_there = price in side
            self.distances.append(abs(best - price))
            if quantity:
                new += not is_there
                self.quantities.append(quantity)
                side[price] = quantity
                if (price - best_then) * sign > 0:
                    best_then = price
            elif is_there:
                removed += 1
                self.removed_distances.append(abs(best - price))
                del side[price]
            else:
                removed_before += 1
        self.counts["new"] += new
        self.counts["removed"] += removed
        self.counts["removed before"] += removed_before
        self.counts["changed"] += len(levels) - new - removed - removed_before
        return best_then if best_then in side else sign * max(sign * price for price in side)

    def share(self, kind: str) -> float:
        return self.counts[kind] / sum(self.counts.values())


Levels = list[tuple[str, str]]


class Update(msgspec.Struct):
    u: int
    T: int
    b: Levels
    a: Levels


class BestPrices(msgspec.Struct):
    b: str
    B: str
    a: str
    A: str


class OfUpdate(msgspec.Struct):
    data: Update


class OfBestPrices(msgspec.Struct):
    data: BestPrices


@cache
def ticks(price: str) -> int:
    return int(price.replace(".", "")) // 10


@cache
def thousandths(quantity: str) -> int:
    return int(quantity.replace(".", ""))


def level_of(texts: Sequence[str]) -> tuple[int, int]:
    """In ticks of 0.1 and in thousandths."""
    price, quantity = texts
    return ticks(price), thousandths(quantity)


def book_statistics_of(rows: Iterable[Row]) -> BookStatistics:
    lines = (text for _, text in rows)
    snapshot = json.loads(next(text for text in lines if text.startswith(b'{"lastUpdateId"')))
    texts = [text for text in lines if not market.is_of("BTCUSDT", text)]
    depth_texts = [text for text in texts if b"depth@0ms" in text[:40]]
    quote_texts = [text for text in texts if b"bookTicker" in text[:40]]
    updates = [msgspec.json.decode(text, type=OfUpdate).data for text in depth_texts]
    quotes = [msgspec.json.decode(text, type=OfBestPrices).data for text in quote_texts]
    followed = Followed(snapshot)
    for update in updates:
        followed.apply(update)
    of_bids, of_asks = (sum(len(getattr(each, side)) for each in updates) for side in "ba")
    first_bids = [level_of(each)[0] for each in snapshot["bids"]]
    bids = [level_of((each.b, each.B))[0] for each in quotes]
    asks = [level_of((each.a, each.A))[0] for each in quotes]
    spreads = [ask - bid for bid, ask in zip(bids, asks, strict=True)]
    ids = [each.u for each in updates]
    return BookStatistics(
        snapshot_levels=(len(snapshot["bids"]), len(snapshot["asks"])),
        snapshot_gap=(first_bids[0] - first_bids[-1]) / (len(first_bids) - 1),
        updates=len(updates),
        levels=of_bids + of_asks,
        share_in_bids=of_bids / (of_bids + of_asks),
        sizes=tuple(quantiles([len(each.b) + len(each.a) for each in updates], n=10)),
        share_new=followed.share("new"),
        share_removed=followed.share("removed"),
        share_removed_before=followed.share("removed before"),
        distances=tuple(quantiles(followed.distances, n=4)),
        removed_distances=tuple(quantiles(followed.removed_distances, n=4)),
        quantities=tuple(quantiles(followed.quantities, n=4)),
        text_bytes=fmean(map(len, depth_texts)),
        span_s=(updates[-1].T - updates[0].T) / 1_000,
        id_steps=tuple(quantiles([later - earlier for earlier, later in pairwise(ids)], n=4)),
        levels_at_the_end=(len(followed.sides[0]), len(followed.sides[1])),
        quotes=len(quotes),
        quote_bytes=fmean(map(len, quote_texts)),
        share_of_still_bids=sum(one == other for one, other in pairwise(bids)) / len(bids),
        share_of_narrow_spreads=spreads.count(1) / len(spreads),
    )


def statistics_of(rows: Sequence[Row]) -> Statistics:
    trades = [json.loads(text)["data"] for _, text in rows]
    received = [at_ns for at_ns, _ in rows]
    sweeps = [len(list(each)) for _, each in groupby(trades, lambda trade: trade["T"])]
    prices = [round(float(each["p"]) * 100) for each in trades]
    steps = [abs(later - earlier) for earlier, later in pairwise(prices)]
    moves = quantiles([each for each in steps if each], n=20)
    return Statistics(
        share_with_company=1 - sweeps.count(1) / len(trades),
        most_in_100_ms=most_within(received, NS_PER_S // 10),
        most_in_a_second=most_within(received, NS_PER_S),
        span_s=(received[-1] - received[0]) / NS_PER_S,
        text_bytes=fmean(len(text) for _, text in rows),
        share_of_still_prices=steps.count(0) / len(steps),
        steps=(moves[9], moves[18]),
        quantities=tuple(quantiles([float(each["q"]) for each in trades], n=4)),
    )


@pytest.fixture
def no_captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "DATA", tmp_path)
    monkeypatch.delenv("FANOUT_REQUIRE_CAPTURES", raising=False)


@pytest.mark.parametrize("symbol", market.SYMBOLS)
def test_synthetic_trades_have_the_statistics_of_the_recording(symbol: str) -> None:
    capture_path(market.recording_of(symbol))
    rows = market.recorded(symbol)
    assert MARKETS[symbol].trades == len(rows)
    assert MARKETS[symbol].first_id == json.loads(rows[0][1])["data"]["t"]
    real, ours = statistics_of(rows), statistics_of(list(synthetic(symbol)))
    assert ours.share_with_company == pytest.approx(real.share_with_company, abs=0.03)
    assert ours.most_in_100_ms == pytest.approx(real.most_in_100_ms, rel=0.2)
    assert ours.most_in_a_second == pytest.approx(real.most_in_a_second, rel=0.2)
    assert ours.span_s == pytest.approx(real.span_s, rel=0.2)
    assert ours.text_bytes == pytest.approx(real.text_bytes, rel=0.01)
    assert ours.share_of_still_prices == pytest.approx(real.share_of_still_prices, abs=0.05)
    assert ours.steps == pytest.approx(real.steps, rel=0.35)
    assert ours.quantities == pytest.approx(real.quantities, rel=0.2)


def test_both_symbols_are_busy_at_the_same_time_as_in_the_recordings() -> None:
    for symbol in market.SYMBOLS:
        capture_path(market.recording_of(symbol))
    real, ours = (
        most_within(sorted(at_ns for each in market.SYMBOLS for at_ns, _ in of(each)), NS_PER_S)
        for of in (market.recorded, synthetic)
    )
    assert ours == pytest.approx(real, rel=0.25)


def test_a_burst_has_more_than_a_thousand_trades_in_100_ms() -> None:
    received = [at_ns for at_ns, _ in synthetic("BTCUSDT")]
    assert most_within(received, NS_PER_S // 10) > 1_000


def test_a_seed_gives_the_same_bytes_and_another_seed_gives_others() -> None:
    first = list(islice(synthetic("ETHUSDT"), 500))
    assert first == list(islice(synthetic("ETHUSDT", SEED), 500))
    assert first != list(islice(synthetic("ETHUSDT", SEED + 1), 500))


@pytest.mark.parametrize("symbol", market.SYMBOLS)
def test_the_venue_parses_every_synthetic_frame_and_ids_follow_each_other(symbol: str) -> None:
    rows = list(synthetic(symbol))
    parsed = list(map(BinanceUsdm().parse, (text for _, text in rows)))
    trades = [each for each in parsed if isinstance(each, VenueTrade)]
    assert len(trades) == len(rows) == MARKETS[symbol].trades
    first = trades[0].trade_id
    assert [each.trade_id for each in trades] == list(range(first, first + len(trades)))
    assert first == int(BEFORE[symbol]["id"]) + 1
    assert {each.symbol for each in trades} == {symbol}
    assert all(one <= other for (one, _), (other, _) in pairwise(rows))


@pytest.mark.usefixtures("no_captures")
def test_without_recordings_every_stage_has_synthetic_trades() -> None:
    expected = [text for _, text in synthetic("BTCUSDT")]
    assert [text for _, text in market.frames("BTCUSDT")] == expected
    sent = [each for each in workload.texts(2_000) if market.is_of("BTCUSDT", each)]
    assert sent == expected[: len(sent)]
    assert len(recording.recorded()) == sum(each.trades for each in MARKETS.values())
    assert size.run(small=False)[0].met


@pytest.mark.usefixtures("no_captures")
def test_the_report_names_what_is_synthetic_and_why(tmp_path: Path) -> None:
    assert market.origin() == (
        f"synthetic, seed {SEED}: no btcusdt_20240808.gz, ethusdt_20240808.gz in {tmp_path}"
    )
    (tmp_path / "btcusdt_20240808.gz").touch()
    assert market.origin() == f"synthetic, seed {SEED}: no ethusdt_20240808.gz in {tmp_path}"
    (tmp_path / "ethusdt_20240808.gz").touch()
    assert market.origin() == "recorded"


@pytest.mark.long
def test_a_synthetic_book_has_the_statistics_of_the_recording() -> None:
    capture_path(market.recording_of("BTCUSDT"))
    real = book_statistics_of(market.recorded_lines("BTCUSDT"))
    ours = book_statistics_of(synthetic_book())
    assert ours.updates == real.updates == MESSAGES
    assert ours.snapshot_levels == real.snapshot_levels == (SNAPSHOT_LEVELS, SNAPSHOT_LEVELS)
    assert ours.snapshot_gap == pytest.approx(real.snapshot_gap, rel=0.2)
    assert ours.levels == pytest.approx(real.levels, rel=0.1)
    assert ours.share_in_bids == pytest.approx(real.share_in_bids, abs=0.03)
    assert ours.sizes == pytest.approx(real.sizes, rel=0.1)
    assert ours.share_new == pytest.approx(real.share_new, abs=0.02)
    assert ours.share_removed == pytest.approx(real.share_removed, abs=0.02)
    assert ours.share_removed_before == pytest.approx(real.share_removed_before, abs=0.01)
    assert ours.distances == pytest.approx(real.distances, rel=0.35)
    assert ours.removed_distances == pytest.approx(real.removed_distances, rel=0.35)
    assert ours.quantities == pytest.approx(real.quantities, rel=0.35)
    assert ours.text_bytes == pytest.approx(real.text_bytes, rel=0.1)
    assert ours.span_s == pytest.approx(real.span_s, rel=0.1)
    assert ours.id_steps == pytest.approx(real.id_steps, rel=0.1)
    assert ours.levels_at_the_end == pytest.approx(real.levels_at_the_end, rel=0.2)
    assert ours.quotes == pytest.approx(real.quotes, rel=0.1)
    assert ours.quote_bytes == pytest.approx(real.quote_bytes, rel=0.01)
    assert ours.share_of_still_bids == pytest.approx(real.share_of_still_bids, abs=0.02)
    assert ours.share_of_narrow_spreads == pytest.approx(real.share_of_narrow_spreads, abs=0.02)


def test_a_seed_gives_the_same_book_and_another_seed_gives_another() -> None:
    first = list(islice(synthetic_book(), 500))
    assert first == list(islice(synthetic_book(SEED), 500))
    assert first != list(islice(synthetic_book(SEED + 1), 500))


@pytest.mark.usefixtures("no_captures")
def test_the_updates_of_a_synthetic_book_chain_and_keep_it_from_crossing() -> None:
    whole = book.market_of(300)
    last_id = whole.snapshot.update_id
    followed = OrderBook(book.BTCUSDT)
    followed.apply(whole.snapshot)
    for text, update in zip(whole.messages, whole.updates, strict=True):
        data = json.loads(text)["data"]
        assert data["pu"] == last_id < data["U"] <= data["u"]
        last_id = data["u"]
        followed.apply(update)
        bid, ask = followed.best_bid, followed.best_ask
        assert bid
        assert ask
        assert bid.price < ask.price


def test_synthetic_lines_stand_in_the_order_of_reception_and_of_update_ids() -> None:
    rows = list(islice(synthetic_book(), 3_000))
    assert all(one <= other for (one, _), (other, _) in pairwise(rows))
    ids = [json.loads(text)["data"]["u"] for _, text in rows[1:]]
    assert ids == sorted(ids)


@pytest.mark.usefixtures("no_captures")
def test_without_recordings_the_stages_of_books_have_a_synthetic_one() -> None:
    lines = list(islice(synthetic_book(), 200))
    updates = [text for _, text in lines if b"@depth@0ms" in text[:40]]
    quotes = [text for _, text in lines if b"@bookTicker" in text[:40]]
    assert book.market_of(len(updates)).messages == updates
    assert [each.text for each in islice(depth.update_blocks(), len(updates))] == updates
    assert [each.text for each in islice(depth.quote_blocks(), len(quotes))] == quotes
