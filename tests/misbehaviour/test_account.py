"""The account of trades whose ids prove nothing finds what is wrong."""

import pytest
import trio
from trio.testing import MockClock

from fanout.protocol import FeedState, Instrument, Status
from fanout.simulator.faults import Skip
from fanout.venues import VENUES, BinanceUsdm, Continuity
from tests.misbehaviour import scene as scenes
from tests.stand.account import Span, fault_of, fault_of_spans, spans_of
from tests.stand.exchange import Issued

BTC = Instrument(index=0, symbol="BTC", price_exponent=-2, quantity_exponent=-3)
ETH = Instrument(index=1, symbol="ETH", price_exponent=-2, quantity_exponent=-3)
ISSUED = [
    Issued(trade_id, kind, time_ms)
    for trade_id, kind, time_ms in (
        (900, "MARKET", 1_000),
        (17, "MARKET", 2_000),
        (3, "NA", 3_000),
        (555, "MARKET", 4_000),
        (8, "MARKET", 5_000),
    )
]


class Toy(BinanceUsdm):
    """Its trade ids are unique, and prove nothing."""

    name = "toy"
    continuity = Continuity.NOTHING


async def test_a_scene_holds_trades_against_the_exchange_where_ids_prove_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VENUES, "toy", Toy)
    monkeypatch.setitem(scenes.DIALECT_OF, "toy", "binance-usdm")
    async with scenes.playing(venue="toy") as scene:
        await trio.sleep(2)
        scene.inject(Skip(scenes.BTC, 3))  # which nothing can tell
        await trio.sleep(2)
    scene.account()
    lost = [each for each in scene.trades if each.symbol == scenes.BTC][5]
    scene.records.remove(lost)
    with pytest.raises(AssertionError, match=f"no STATUS says so: {lost.trade_id}"):
        scene.hold(scenes.BTC)


@pytest.mark.parametrize(
    ("received", "spans", "fault"),
    [
        ([900, 17, 555, 8], [], ""),
        ([8, 900, 555, 17], [], ""),
        ([17, 555], [], ""),
        ([], [], ""),
        ([17, 8], [], "trades are missing, and no STATUS says so: 555"),
        ([17, 8], [Span(4_001, 9_000)], "trades are missing, and no STATUS says so: 555"),
        ([17, 8], [Span(0, 1), Span(4_000, 4_000)], ""),
        ([900, 8], [Span(3_500, 4_500)], "trades are missing, and no STATUS says so: 17"),
        ([17, 17, 555], [], "trades came twice: 17"),
        ([17, 4, 555], [Span(0, 9_000)], "trades were made up: 4"),
    ],
)
def test_each_trade_came_once_or_in_a_span_that_was_named(
    received: list[int], spans: list[Span], fault: str
) -> None:
    assert fault_of(ISSUED, received, spans) == fault


def test_a_span_is_no_wider_than_its_interruption() -> None:
    issued = [Issued(number, "MARKET", number * 1_000) for number in range(1, 30)]
    received = [*range(1, 10), *range(20, 30)]
    for fair in (Span(9_000, 20_000), Span(7_000, 22_000)):
        assert fault_of_spans(issued, received, [fair]) == ""
    for wide in (Span(0, 20_000), Span(9_000, 10**14)):
        assert "is too wide: " in fault_of_spans(issued, received, [wide])
    many = [Span(9_000, 20_000)] * 6
    assert fault_of_spans(issued, received, many) == "the spans are 66000 ms in all"


def test_many_faults_are_counted() -> None:
    assert fault_of(ISSUED, [*range(30, 37)], []).endswith(": 30, 31, 32, 33, 34 and 2 more")


def test_spans_are_those_that_a_status_of_the_symbol_names() -> None:
    words = (
        "trades between 2026-09-21 14:13:20.000 and 2026-09-21 14:13:21.040 may be missing: REST "
        "reaches back to 2026-09-21 14:13:21.040"
    )

    def said(instrument: Instrument | None, why: str) -> Status:
        return Status(seq=1, instrument=instrument, state=FeedState.LIVE, since_ns=1, why=why)

    statuses = [said(BTC, words), said(ETH, words), said(None, words), said(BTC, "first trade")]
    assert list(spans_of("BTC", statuses)) == [Span(1_790_000_000_000, 1_790_000_001_040)]
