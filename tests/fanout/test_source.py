"""A source, before its feed runs."""

import pytest
import trio
from trio.testing import MockClock

from fanout.channel.memory import Memory, Remembered
from fanout.config import SourceConfig
from fanout.protocol import Instrument, Snapshot, Trade
from fanout.source import Source
from fanout.venues import BinanceUsdm
from tests.fanout.feed.toy import ToyVenue
from tests.stand.kept_past import KeptPast
from tests.stand.loopback import Exchange
from tests.stand.subscriber import LogSubscriber


@pytest.mark.parametrize(("venue_class", "is_shown"), [(BinanceUsdm, True), (ToyVenue, False)])
async def test_the_first_snapshot_has_rests_newest_trades_if_ids_ascend(
    venue_class: type[BinanceUsdm], is_shown: bool, autojump_clock: MockClock
) -> None:
    exchange = Exchange("BTCUSDT")
    exchange.trade("BTCUSDT")
    source = await begun(exchange, venue_class)
    source.open(log_bytes=1_000_000, channels=())
    assert bool(source.channel.snapshot()) is is_shown


async def begun(exchange: Exchange, venue_class: type[BinanceUsdm] = BinanceUsdm) -> Source:
    """A source that knows what the exchange lists."""
    source = Source(
        SourceConfig(assets=tuple(exchange.rows)),
        venue_class(ws_url="ws://venue", rest_url="http://venue"),
        exchange,  # type: ignore[arg-type]
        retries=False,
        wall_ns=exchange.wall_ns,
    )
    await source.begin()
    return source


async def test_behind_an_earlier_start_the_first_snapshot_is_that_of_its_end(
    autojump_clock: MockClock,
) -> None:
    """REST's newest trades would hide those of the stream that are still to come. A trade in other
    units, or of a symbol that is not served any more, is not shown."""
    exchange = Exchange("BTCUSDT", "ETHUSDT", "XRPUSDT")
    for each in exchange.rows:
        exchange.trade(each)
    old = [
        Trade(Instrument(index=9, symbol=symbol, price_exponent=price, quantity_exponent=-3), *of)
        for symbol, price, *of in (
            ("BTCUSDT", -2, 7_999_999_990, 6, 7, 8, True),
            ("ETHUSDT", -7, 5, 6, 7, 8, True),
            ("OLDUSDT", -2, 5, 6, 7, 8, True),
        )
    ]
    known = {each.symbol: Remembered(each, each.trade_id + 1) for each in old}
    past = KeptPast(Memory(epoch_ns=exchange.wall_ns(), next_seq=1, time_ns=2, symbols=known))
    source = await begun(exchange)
    source.open(log_bytes=1_000_000, channels=(), past=past)
    (snapshot,) = LogSubscriber(source.channel).records()
    assert isinstance(snapshot, Snapshot)
    shown = [(each.symbol, each.trade_id) for each in snapshot.trades]
    assert shown == [("BTCUSDT", 7_999_999_990), ("XRPUSDT", 8_000_000_000)]
    assert source.channel.header.epoch_ns > past.newest_epoch_ns
    exchange.rest_delay_s = 60  # so that it does not connect
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run)
        await trio.testing.wait_all_tasks_blocked()
        assert source.feed is not None
        assert past.memory is None, "a second feed begins as ever"
        nursery.cancel_scope.cancel()
