"""A source, before its feed runs."""

import pytest
import trio
from trio.testing import MockClock

from fanout.channel.memory import Memory, Remembered
from fanout.config import SourceConfig
from fanout.errors import VenueUnreachableError
from fanout.protocol import Gap, Instrument, Snapshot, Trade
from fanout.source import LONGEST_PAUSE_S, Source
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


async def begun(
    exchange: Exchange, venue_class: type[BinanceUsdm] = BinanceUsdm, *, retries: bool = False
) -> Source:
    """A source that has asked what the exchange lists."""
    source = Source(
        SourceConfig(assets=tuple(exchange.rows)),
        venue_class(ws_url="ws://127.0.0.1:9", rest_url="http://venue"),
        exchange,  # type: ignore[arg-type]
        retries=retries,
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


async def test_a_source_that_learns_its_market_later_goes_on_there_too(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange("BTCUSDT")
    exchange.trade("BTCUSDT", "MARKET", "MARKET", "MARKET")
    exchange.rest_fault = VenueUnreachableError("no answer from REST")
    source = await begun(exchange, retries=True)
    unit = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
    known = Remembered(Trade(unit, 8_000_000_000, 5, 6, 7, True), 8_000_000_001)
    memory = Memory(epoch_ns=1, next_seq=1, time_ns=2, symbols={"BTCUSDT": known})
    source.open(log_bytes=1_000_000, channels=(), past=KeptPast(memory))
    assert source.channel.memory().symbols == memory.symbols, "it is kept until then"
    reader = LogSubscriber(source.channel)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run)
        await trio.testing.wait_all_tasks_blocked()
        exchange.rest_fault = None
        await trio.sleep(LONGEST_PAUSE_S)
        nursery.cancel_scope.cancel()
    records = [each for each in reader.records() if isinstance(each, Trade | Gap)]
    assert [each.state.name for each in records if isinstance(each, Gap)] == ["OPEN", "BACK_FILLED"]
    ids = [each.trade_id for each in records if isinstance(each, Trade)]
    assert ids == [8_000_000_001, 8_000_000_002]
