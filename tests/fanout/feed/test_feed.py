"""The feed against scripted connections, on a virtual clock."""

import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from fanout.channel.channel import Channel
from fanout.config import FeedConfig
from fanout.errors import VenueError, VenueForbiddenError, VenueRefusalError, VenueUnreachableError
from fanout.feed import Feed
from fanout.feed.connection import LONGEST_PAUSE_S
from fanout.feed.market import Market
from fanout.net.budget import Budget
from fanout.net.websocket import Burst
from fanout.protocol import FeedState, Gap, Record, Reference, Status, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues import BinanceUsdm, Request
from tests.protocol.golden import BTC
from tests.stand.channels import new_channel
from tests.stand.subscriber import LogSubscriber

SPACING_S = BinanceUsdm.limits.connect_every_s


def message(trade_id: int, price: str = "61800.30") -> bytes:
    return (
        f'{{"stream":"btcusdt@trade","data":{{"e":"trade","E":1,"T":5,"s":"BTCUSDT",'
        f'"t":{trade_id},"p":"{price}","q":"0.006","X":"MARKET","m":true,"st":1}}}}'
    ).encode()


class Connection:
    """A WebSocket that gives scripted bursts, and then breaks."""

    def __init__(self, bursts: list[list[bytes]]) -> None:
        self._bursts = bursts
        self.sent: list[str] = []

    async def send(self, text: str) -> None:
        self.sent.append(text)

    async def receive(self) -> Burst:
        await trio.lowlevel.checkpoint()
        if not self._bursts:
            raise VenueUnreachableError("the stream broke")
        return Burst(1_000, 2_000, self._bursts.pop(0))


class NoRest:
    """REST that does not answer."""

    def __init__(self) -> None:
        self.budget = Budget(2_400, wall_s=lambda: 0.0)

    async def fetch(self, request: Request, parse: object) -> object:
        return await trio.sleep_forever()


class Desk:
    """A feed over scripted connections, and a reader of what it publishes.

    A connection is a list of bursts, or the error that it is refused with. After the last one
    the feed is cancelled.
    """

    def __init__(self, *connections: list[list[bytes]] | VenueError) -> None:
        self._connections = list(connections)
        self.opened: list[tuple[float, Connection]] = []
        self.publisher: Channel = new_channel()
        self.reader = LogSubscriber(self.publisher)
        self.anomalies = Anomalies(clock=lambda: 0.0)
        self._scope = trio.CancelScope()
        reference = Reference(price=0, quantity=0, trade_id=0, time=0)
        self.feed = Feed(
            BinanceUsdm(ws_url="ws://venue"),
            Market(
                instruments=(BTC,),
                references=(reference,),
                newest=(),
                usual_s=(0.0,),
                longest_s=(0.0,),
            ),
            self.publisher,
            NoRest(),  # type: ignore[arg-type]
            self.anomalies,
            FeedConfig(),
            connect=self._connect,  # type: ignore[arg-type]
            uniform=lambda low, high: high,
            monotonic_ns=lambda: 2_500,
        )

    @asynccontextmanager
    async def _connect(self, url: str) -> AsyncIterator[Connection]:
        assert url == "ws://venue/public/stream"
        if not self._connections:
            self._scope.cancel()
            await trio.sleep_forever()
        script = self._connections.pop(0)
        if isinstance(script, VenueError):
            self.opened.append((trio.current_time(), Connection([])))
            raise type(script)(*script.args)
        connection = Connection(script)
        self.opened.append((trio.current_time(), connection))
        yield connection

    async def run(self) -> list[Record]:
        with self._scope:
            await self.feed.run()
        self.feed.finish()
        return self.reader.records()

    @property
    def pauses(self) -> list[float]:
        times = [time for time, _ in self.opened]
        return [round(later - time, 3) for time, later in itertools.pairwise(times)]


def states(records: list[Record]) -> list[FeedState]:
    return [each.state for each in records if isinstance(each, Status)]


def ids(records: list[Record]) -> list[int]:
    return [each.trade_id for each in records if isinstance(each, Trade)]


async def test_a_burst_becomes_a_block_with_its_times(autojump_clock: MockClock) -> None:
    desk = Desk([[message(1), message(2)], [message(3)]])
    records = await desk.run()
    assert ids(records) == [1, 2, 3]
    assert desk.publisher.blocks == 2
    assert {each.received_ns for each in records if isinstance(each, Trade)} == {1_000}
    assert desk.feed.stats().messages == 3


async def test_a_connection_subscribes_first(autojump_clock: MockClock) -> None:
    desk = Desk([])
    await desk.run()
    assert "btcusdt@trade" in desk.opened[0][1].sent[0]


async def test_readers_receive_the_states_connecting_live_and_down(
    autojump_clock: MockClock,
) -> None:
    records = await Desk([[message(1)]]).run()
    assert states(records) == [
        FeedState.CONNECTING,
        FeedState.CONNECTING,
        FeedState.LIVE,
        FeedState.LIVE,
        FeedState.DOWN,
        FeedState.CONNECTING,
    ]
    (down,) = [each for each in records if getattr(each, "state", None) is FeedState.DOWN]
    assert isinstance(down, Status)
    assert down.why == "the stream broke"


async def test_a_connection_without_a_trade_is_never_called_live(autojump_clock: MockClock) -> None:
    assert FeedState.LIVE not in states(await Desk([[b'{"result":null,"id":1}']]).run())


async def test_the_feed_reconnects_without_end_with_growing_pauses_up_to_a_cap(
    autojump_clock: MockClock,
) -> None:
    desk = Desk(*[VenueUnreachableError("no route")] * 12)
    await desk.run()
    assert desk.pauses[:4] == [SPACING_S, SPACING_S, 2.0, 4.0]
    assert desk.pauses[-1] == LONGEST_PAUSE_S


async def test_pauses_are_short_again_only_after_trades(autojump_clock: MockClock) -> None:
    refused = VenueUnreachableError("no route")
    desk = Desk(
        refused, refused, [], [[b'{"result":null,"id":1}']], [[message(1)]], refused, refused
    )
    await desk.run()
    assert desk.pauses == [SPACING_S, SPACING_S, 2.0, 4.0, SPACING_S, SPACING_S]


async def test_trades_missed_between_two_connections_are_a_gap_to_the_trade(
    autojump_clock: MockClock,
) -> None:
    records = await Desk([[message(5)]], [[message(9)]]).run()
    gaps = [each for each in records if isinstance(each, Gap)]
    assert [(each.first_id, each.last_id, each.state.name) for each in gaps] == [
        (6, 8, "OPEN"),
        (6, 8, "UNRECOVERABLE"),
    ]
    assert ids(records) == [5, 9]


async def test_trades_of_both_connections_are_published_once(autojump_clock: MockClock) -> None:
    assert ids(await Desk([[message(5), message(6)]], [[message(6), message(7)]]).run()) == [
        5,
        6,
        7,
    ]


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"[]",
        b"[" * 10_000,
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown"}}',
        message(2)[:-5],
        message(1).replace(b"61800.30", b"x"),
    ],
    ids=lambda each: repr(each[:20]),
)
async def test_an_unreadable_message_is_counted_logged_once_and_dropped(
    autojump_clock: MockClock, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk([[message(1), junk, junk, message(2)], [junk, message(3)]])
    assert ids(await desk.run()) == [1, 2, 3]
    assert sum(desk.anomalies.counts.values()) == 3
    lines = [each for each in caplog.records if "connecting again" not in each.message]
    # A trade refused for its price has an id that was seen: then there is nothing to tell.
    assert len([each for each in lines if each.levelno >= logging.WARNING]) <= 1
    assert all(len(each.message) < 400 for each in lines)


async def test_an_oversized_message_is_not_parsed(autojump_clock: MockClock) -> None:
    desk = Desk([[message(1), message(2) + b" " * BinanceUsdm.limits.message_bytes, message(3)]])
    assert ids(await desk.run()) == [1, 3]
    assert desk.anomalies.counts == {"message too long": 1}


@pytest.mark.parametrize("row", ['"X":"NA"', '"X":"MARKET"'])
@pytest.mark.parametrize("trade_id", [-5, 2**64, 10**30])
async def test_an_id_beyond_64_bits_is_dropped(
    autojump_clock: MockClock, row: str, trade_id: int
) -> None:
    odd = message(trade_id).replace(b'"X":"MARKET"', row.encode())
    assert ids(await Desk([[odd, message(1), odd, message(2)]]).run()) == [1, 2]


async def test_foreign_text_is_logged_in_one_line_without_control_characters(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    evil = "A\\u001b[31m\\nfanout: error: pwned" + "x" * 9_000
    odd = message(1).replace(b'"s":"BTCUSDT"', f'"s":"{evil}"'.encode())
    await Desk([[odd]]).run()
    (line,) = [each.message for each in caplog.records if "not subscribed" in each.message]
    assert line.isprintable()
    assert len(line) < 400


async def test_an_unrepresentable_trade_is_reported_and_never_published_wrong(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk([[message(1), message(2, price="61800.305"), message(3)]])
    records = await desk.run()
    assert ids(records) == [1, 3]
    gaps = [each for each in records if isinstance(each, Gap)]
    assert [(each.first_id, each.last_id, each.state.name) for each in gaps] == [
        (2, 2, "OPEN"),
        (2, 2, "UNRECOVERABLE"),
    ]
    (error,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "BTCUSDT trade 2: '61800.305'" in error.message


async def test_a_refused_subscription_ends_the_connection_after_its_trades(
    autojump_clock: MockClock,
) -> None:
    refusal = b'{"error":{"code":4,"msg":"Too many subscriptions"},"id":1}'
    desk = Desk([[message(1), refusal, message(2)]], [[message(3)]])
    records = await desk.run()
    assert ids(records) == [1, 3]
    (down, _) = [each for each in records if getattr(each, "state", None) is FeedState.DOWN]
    assert isinstance(down, Status)
    assert "Too many subscriptions (4)" in down.why


async def test_a_forbidden_first_connection_ends_the_feed(autojump_clock: MockClock) -> None:
    with pytest.raises(VenueForbiddenError, match="451"):
        await Desk(VenueForbiddenError("HTTP 451")).run()


async def test_a_later_forbidden_connection_is_retried(autojump_clock: MockClock) -> None:
    desk = Desk([[message(1)]], VenueForbiddenError("HTTP 451"), [[message(2)]])
    assert ids(await desk.run()) == [1, 2]


def test_a_refusal_is_a_venue_error() -> None:
    assert issubclass(VenueRefusalError, VenueError)
