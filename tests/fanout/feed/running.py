"""A feed that runs at the exchange in memory, and what it has published."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from fanout.channel.channel import Channel
from fanout.config import FeedConfig
from fanout.feed import Feed
from fanout.feed.market import Market, ask_market
from fanout.protocol import DataKinds, Gap, GapState, Header, Record, Status, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues import BinanceUsdm, Credentials
from tests.stand.kept_past import KeptPast
from tests.stand.loopback import Exchange
from tests.stand.subscriber import LogSubscriber


class RunningFeed:
    """A feed at an exchange, and a subscriber to what it publishes."""

    def __init__(self, exchange: Exchange, feed: Feed, publisher: Channel, market: Market) -> None:
        self.exchange = exchange
        self.feed = feed
        self.publisher = publisher
        self.market = market
        self._subscriber = LogSubscriber(publisher)
        self.records: list[Record] = []

    def read(self) -> list[Record]:
        """What was published since the last time."""
        new = self._subscriber.records()
        self.records += new
        return new

    def told(self) -> list[object]:
        """What was published since the last time, in short: ids of trades, with a + behind those
        that were filled in; (first, last, state) of gaps; (symbol, state) of statuses."""
        return [_short(each) for each in self.read()]

    def accounted(self, symbol: str) -> tuple[list[int], list[int], list[int]]:
        """All ids that came as trades, that were told as missing, and what became of those."""
        self.read()
        of = [each for each in self.records if getattr(each, "symbol", "") == symbol]
        trades = [each.trade_id for each in of if isinstance(each, Trade)]
        gaps = [
            each
            for each in self.records
            if isinstance(each, Gap) and each.instrument.symbol == symbol
        ]
        opened = [i for each in gaps if each.state is GapState.OPEN for i in _ids(each)]
        closed = [i for each in gaps if each.state is not GapState.OPEN for i in _ids(each)]
        return trades, opened, closed


def _ids(gap: Gap) -> range:
    return range(gap.first_id, gap.last_id + 1)


def _short(record: Record) -> object:
    match record:
        case Trade(trade_id=trade_id, back_filled=back_filled):
            short = trade_id % 1_000_000
            return f"{short}+" if back_filled else short
        case Gap(first_id=first, last_id=last, state=state):
            return (first % 1_000_000, last % 1_000_000, state.name)
        case Status(instrument=instrument, state=state):
            return (instrument.symbol if instrument else "", state.name)
        case _:
            return record


@asynccontextmanager
async def running_feed(
    exchange: Exchange,
    config: FeedConfig | None = None,
    *,
    api_key: str | None = None,
    patterns: tuple[str, ...] = (),
    venue_class: type[BinanceUsdm] = BinanceUsdm,
    log_bytes: int = 16 * 1024 * 1024,
    data: DataKinds = DataKinds.TRADES,
    past: KeptPast | None = None,
) -> AsyncIterator[RunningFeed]:
    """A feed that runs until the end of the block. It raises what the feed does. With a `past` it
    goes on from there."""
    config = config or FeedConfig()
    stream = "aggTrade" if config.stream == "aggTrade" else "trade"
    venue = venue_class(
        stream=stream,
        ws_url="ws://venue",
        rest_url="http://venue",
        credentials=Credentials(secret=api_key) if api_key else None,
        data=data,
    )
    market = await ask_market(exchange, venue, patterns or tuple(exchange.rows))  # type: ignore[arg-type]
    header = Header(
        epoch_ns=1,
        next_seq=1,
        venue=venue.name,
        instruments=market.instruments,
        references=market.references,
        data=data,
    )
    memory = past.memory if past else None
    publisher = Channel(header, log_bytes=log_bytes, wall_ns=exchange.wall_ns, past=past)
    feed = Feed(
        venue,
        market,
        publisher,
        exchange,  # type: ignore[arg-type]
        Anomalies(clock=trio.current_time),
        config,
        connect=exchange.connect,  # type: ignore[arg-type]
        memory=memory,
        uniform=lambda low, high: high,
        wall_ns=exchange.wall_ns,
        monotonic_ns=lambda: 2_500,
    )
    running = RunningFeed(exchange, feed, publisher, market)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        await trio.testing.wait_all_tasks_blocked()
        yield running
        nursery.cancel_scope.cancel()
