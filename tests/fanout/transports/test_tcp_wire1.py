"""perp_signal_hft's clients, over real sockets: they decode every trade exactly, whenever they
join, or are disconnected."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.config.secret import Secret
from fanout.errors import ConfigError, UsageError
from fanout.protocol import (
    START,
    EndReason,
    FeedState,
    Header,
    Instrument,
    Loss,
    LossReason,
    Reference,
    Trade,
    encode_event,
)
from fanout.protocol.framing import FrameReader, frame
from fanout.protocol.wire1 import Wire1Decoder, Wire1Header, Wire1Trade
from fanout.transports.tcp import TcpTransport
from fanout.transports.tcp.config import TcpConfig
from fanout.transports.tcp.wire1 import Wire1
from tests.fanout.transports.test_tcp import connected, serving

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
XRP = Instrument(index=1, symbol="XRPUSDT", price_exponent=-4, quantity_exponent=-1)
SHIB = Instrument(index=2, symbol="1000SHIBUSDT", price_exponent=-5, quantity_exponent=0)
PEPE = Instrument(index=0, symbol="1000PEPEUSDT", price_exponent=-7, quantity_exponent=0)
START_MS = 1_700_000_000_000


def channel_of(*instruments: Instrument, log_bytes: int = 50_000_000) -> Channel:
    header = Header(
        epoch_ns=START_MS * 1_000_000,
        next_seq=1,
        venue="test",
        instruments=instruments,
        references=tuple(
            Reference(price=1_000 * (1 + each.index), quantity=5, trade_id=9, time=START_MS)
            for each in instruments
        ),
    )
    return Channel(header, log_bytes=log_bytes, wall_ns=lambda: 0)


def transport(**options: object) -> TcpTransport:
    return TcpTransport(TcpConfig(port=0, wire=1, **options))  # type: ignore[arg-type]


class OldClient:
    """What one of perp_signal_hft's clients makes of what it gets."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._frames = FrameReader()
        self._decoder = Wire1Decoder()
        self.header: Wire1Header | None = None
        self.trades: list[Wire1Trade] = []
        self._is_started = False

    async def read_once(self) -> bool:
        data = bytes(await self._stream.receive_some(65_536))
        self._frames.feed(data)
        while (payload := self._frames.next_payload()) is not None:
            self._take(payload)
        return bool(data)

    def _take(self, payload: bytes) -> None:
        if not self._is_started:
            assert payload == START
            self._is_started = True
        elif self.header is None:
            self.header = self._decoder.header(payload)
        else:
            self.trades.append(self._decoder.trade(payload))

    async def until(self, count: int) -> None:
        while self.header is None or len(self.trades) < count:
            assert await self.read_once(), f"the end came before {count} trades"


@asynccontextmanager
async def old_client(url: str) -> AsyncIterator[OldClient]:
    async with connected(url, receive_buffer=4096) as stream:
        yield OldClient(stream)


def meaning(trade: Trade) -> tuple[int, int, int, int, bool]:
    """A trade in wire 1's units, spelled out from its decimals."""
    return (
        trade.instrument.index,
        trade.time_ms,
        int(trade.price_decimal * 100_000),
        int(trade.quantity_decimal * 100_000),
        trade.buyer_is_maker,
    )


def got(trades: list[Wire1Trade]) -> list[tuple[int, int, int, int, bool]]:
    return [(e.index, e.time_ms, e.price, e.quantity, e.buyer_is_maker) for e in trades]


def market(count: int, seed: int = 1) -> list[Trade]:
    """Trades of three symbols, of which one begins late."""
    chance = random.Random(seed)
    trades = []
    for number in range(count):
        of = chance.choice([BTC, XRP] if number < count // 2 else [BTC, XRP, SHIB])
        trades.append(
            Trade(
                of,
                number + 10,
                START_MS + 7 * number + chance.randint(-3, 3),
                chance.randint(1, 9_999_999),
                chance.randint(1, 99_999),
                chance.random() < 0.5,
            )
        )
    return trades


async def test_a_client_that_joins_at_any_time_decodes_every_trade_exactly() -> None:
    channel, trades = channel_of(BTC, XRP, SHIB), market(600)
    joined: list[OldClient] = []

    async def read(*, task_status: trio.TaskStatus[None]) -> None:
        async with old_client(url) as client:
            await client.until(0)
            joined.append(client)
            task_status.started()
            while got(client.trades[-1:]) != [meaning(trades[-1])]:
                assert await client.read_once()

    async with serving(channel, transport()) as url, trio.open_nursery() as nursery:
        for first in range(0, 600, 60):
            await nursery.start(read)
            channel.publish(trades[first : first + 60], received_ns=1, held_ns=1)
    possible = [as_joined(trades, behind) for behind in range(0, 600, 60)]
    places = [possible.index(got(client.trades)) for client in joined]
    assert places == sorted(places)
    assert len(set(places)) > 1


def as_joined(trades: list[Trade], behind: int) -> list[tuple[int, int, int, int, bool]]:
    """What one decodes that joins behind so many trades: the newest of each asset, and the rest."""
    newest = {each.instrument.index: each for each in trades[:behind]}
    return [meaning(each) for each in [newest[index] for index in sorted(newest)] + trades[behind:]]


async def test_a_header_has_the_prices_of_the_moment() -> None:
    channel = channel_of(BTC, XRP)
    channel.seed([Trade(BTC, 10, START_MS, 4_500_010, 7, True)])
    async with serving(channel, transport()) as url, old_client(url) as client:
        await client.until(1)
        assert client.header is not None
        assert client.header.symbols == ("BTCUSDT", "XRPUSDT")
        assert client.header.reference_ms == START_MS
        assert client.header.prices == (4_500_010_000, 20_000)
        assert got(client.trades) == [(0, START_MS, 4_500_010_000, 700, True)]


async def test_an_event_is_no_trade_and_nothing_else_is_sent() -> None:
    channel, trades = channel_of(BTC, XRP, SHIB), market(5)
    async with serving(channel, transport()) as url, old_client(url) as client:
        await client.until(0)
        for each in trades:
            channel.publish([each], received_ns=1, held_ns=1)
            channel.publish_status(None, FeedState.LIVE, "test")
        channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
        while await client.read_once():
            pass
        assert got(client.trades) == [meaning(each) for each in trades]


async def test_a_lapped_client_is_disconnected() -> None:
    channel, trades = channel_of(BTC, XRP, SHIB, log_bytes=60_000), market(60_000)
    async with (
        serving(channel, transport()) as url,
        old_client(url) as slow,
        old_client(url) as quick,
    ):
        await slow.until(0)
        await quick.until(0)
        for first in range(0, len(trades), 500):
            channel.publish(trades[first : first + 500], received_ns=1, held_ns=1)
            await quick.until(first + 500)
        while await slow.read_once():
            pass
        assert got(quick.trades) == [meaning(each) for each in trades]
        assert got(slow.trades) == [meaning(each) for each in trades[: len(slow.trades)]]
        assert len(slow.trades) < len(trades)


async def test_all_clients_are_disconnected_when_trades_are_gone_before_wire_1_has_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel, trades = channel_of(BTC, XRP, SHIB, log_bytes=20_000), market(20_000)
    async with serving(channel, transport()) as url:
        async with old_client(url) as client:
            await client.until(0)
            for first in range(0, len(trades), 100):
                channel.publish(trades[first : first + 100], received_ns=1, held_ns=1)
            while await client.read_once():
                pass
            assert len(client.trades) < len(trades)
        async with old_client(url) as client:
            await client.until(3)
            channel.publish(market(3, seed=2), received_ns=1, held_ns=1)
            await client.until(6)
            assert got(client.trades[3:]) == [meaning(each) for each in market(3, seed=2)]
    assert "it cannot say what is lost" in caplog.text


async def test_clients_of_wire_1_keep_their_unit_when_the_tick_changes() -> None:
    channel = channel_of(BTC, XRP)
    async with serving(channel, transport()) as url, old_client(url) as client:
        await client.until(0)
        channel.publish([Trade(BTC, 10, START_MS, 4_500_010, 7, True)], received_ns=1, held_ns=1)
        finer = replace(BTC, price_exponent=-3)
        channel.change((finer, XRP), channel.header.references)
        after = Trade(finer, 11, START_MS + 1, 45_000_105, 7, True)
        channel.publish([after], received_ns=1, held_ns=1)
        await client.until(2)
        assert [each.price for each in client.trades] == [4_500_010_000, 4_500_010_500]


def test_more_decimals_than_wire_1_has_are_refused_with_advice() -> None:
    with pytest.raises(ConfigError, match=r"1000PEPEUSDT has 7 decimals, .* take --wire 2"):
        Wire1(channel_of(PEPE))


async def test_more_decimals_are_refused_before_anything_listens() -> None:
    with pytest.raises(ConfigError, match="take --wire 2"):
        await transport().run([channel_of(PEPE)])


async def test_more_decimals_in_mid_stream_end_its_clients_and_not_the_service(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = channel_of(BTC, XRP)
    async with serving(channel, transport()) as url:
        async with old_client(url) as client:
            await client.until(0)
            finer = replace(BTC, price_exponent=-7)
            channel.change((finer, XRP), channel.header.references)
            too_fine = Trade(finer, 11, START_MS + 1, 45_000_105, 7, True)
            channel.publish([too_fine], received_ns=1, held_ns=1)
            while await client.read_once():
                pass
            assert client.trades == []
        async with old_client(url) as client:
            await client.until(0)
            fits = Trade(XRP, 12, START_MS + 2, 100, 7, True)
            channel.publish([fits], received_ns=1, held_ns=1)
            await client.until(1)
            assert got(client.trades) == [meaning(fits)]
    assert "it cannot say what is lost" in caplog.text


async def test_trades_that_a_replayed_journal_lacks_end_its_clients() -> None:
    channel = channel_of(BTC, XRP)
    lost = Loss(first_seq=1, last_seq=3, reason=LossReason.DAMAGED)
    async with serving(channel, transport()) as url, old_client(url) as client:
        await client.until(0)
        channel.relay(frame(encode_event(lost)), 3)
        while await client.read_once():
            pass
        assert client.trades == []


def test_a_token_with_wire_1_is_refused() -> None:
    with pytest.raises(UsageError, match="--wire 1 has no place for a token"):
        transport(token=Secret("x"))


async def test_ages_include_the_conversion_to_wire_1() -> None:
    channel, served = channel_of(BTC, XRP), transport()
    async with serving(channel, served) as url, old_client(url) as client:
        await client.until(0)
        trade = Trade(BTC, 10, START_MS, 4_500_010, 7, True)
        channel.publish([trade], received_ns=1, held_ns=250_000_000)
        await client.until(1)
        send = served.stats().send
    assert send is not None
    assert send.max_ns >= 250_000_000
