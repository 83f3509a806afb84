"""A source, before its feed runs."""

import pytest
from trio.testing import MockClock

from fanout.config import SourceConfig
from fanout.source import Source
from fanout.venues import BinanceUsdm
from tests.fanout.feed.toy import ToyVenue
from tests.stand.loopback import Exchange


@pytest.mark.parametrize(("venue_class", "is_shown"), [(BinanceUsdm, True), (ToyVenue, False)])
async def test_the_first_snapshot_has_rests_newest_trades_if_ids_ascend(
    venue_class: type[BinanceUsdm], is_shown: bool, autojump_clock: MockClock
) -> None:
    exchange = Exchange("BTCUSDT")
    exchange.trade("BTCUSDT")
    source = Source(
        SourceConfig(assets=("BTCUSDT",)),
        venue_class(ws_url="ws://venue", rest_url="http://venue"),
        exchange,  # type: ignore[arg-type]
        retries=False,
        wall_ns=exchange.wall_ns,
    )
    await source.begin()
    source.open(log_bytes=1_000_000, channels=())
    assert bool(source.channel.snapshot()) is is_shown
