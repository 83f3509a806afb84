"""The stages' trades: recorded, or synthetic with the statistics of the recordings."""

import json
from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby, islice, pairwise
from pathlib import Path
from statistics import fmean, quantiles

import msgspec
import pytest

from fanout.venues.base import VenueTrade
from fanout.venues.binance import BinanceUsdm
from tests import captures
from tests.bench import market, size
from tests.bench.broadcast import recording
from tests.bench.ingest_rivals import workload
from tests.bench.ingest_rivals.fanout_feed import BEFORE
from tests.bench.synthetic import MARKETS, SEED, Row, synthetic
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
