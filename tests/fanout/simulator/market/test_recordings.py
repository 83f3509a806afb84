"""Recordings of venues unlike Binance: arrays, numbered channels, requests, books on the stream."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from wsproto.events import TextMessage

from fanout.errors import ConfigError
from fanout.simulator.config import SimulatorConfig
from fanout.simulator.dialects import DIALECTS
from fanout.simulator.exchange import Exchange
from fanout.simulator.faults import Insert
from fanout.simulator.market.capture import Capture, survey
from fanout.simulator.market.clock import Clock
from fanout.simulator.market.history import History
from fanout.simulator.market.ledger import IdRange
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.reader import (
    Found,
    ReaderDefaults,
    Recorded,
    RecordedLevels,
    RecordedMessage,
    RecordedPast,
)
from fanout.simulator.market.ticks import MARKET, TRADE, Trade
from tests.captures import capture_path
from tests.fanout.simulator.support import USDM, trade, write_capture
from tests.fanout.simulator.toy import Toy
from tests.fanout.simulator.toy_client import ToyClient
from tests.stand.callers import RawClient
from tests.stand.memory import MemoryServer

DEPTH = "depth@0ms"
SEVEN_PAIRS = "venues/bitfinex_p0_trades_7pairs_seq_20210417.gz"
FIVE_SYMBOLS = "venues/binance_usdm_aggtrade_bookticker_depth_5sym_20210405.gz"


class ChannelReader(ReaderDefaults):
    """Of Bitfinex: channels have numbers, which a payload has no more, and no sequence number."""

    def __init__(self) -> None:
        self.channels: dict[int, tuple[str, str]] = {}
        self.requests: list[bytes] = []

    def sent(self, frame: bytes) -> None:
        self.requests.append(frame)

    def read(self, frame: bytes) -> Sequence[Found]:
        assert self.requests, "the client speaks first"
        item: Any = json.loads(frame, parse_float=str)
        if isinstance(item, dict):
            if item["event"] == "subscribed":
                self.channels[item["chanId"]] = item["channel"], item["symbol"]
            return ()
        channel, symbol = self.channels.get(item[0], ("", ""))
        payload = json.dumps(item[1:-1]).encode()
        if "hb" in item:
            return ()
        if channel == "book":
            return (RecordedMessage(symbol, DEPTH, payload),)
        if channel != "trades" or item[1] == "tu":
            return ()
        if item[1] == "te":
            return (Recorded(self._trade(symbol, item[2]), payload),)
        rows = tuple(self._trade(symbol, row) for row in item[1])
        return (RecordedPast(symbol, TRADE, rows, payload),)

    def levels(self, payload: bytes) -> RecordedLevels:
        (rows,) = json.loads(payload, parse_float=str)
        is_whole = bool(rows) and isinstance(rows[0], list)
        bids: list[tuple[str, str]] = []
        asks: list[tuple[str, str]] = []
        for price, count, amount in rows if is_whole else [rows]:
            side = asks if str(amount).startswith("-") else bids
            quantity = str(amount).removeprefix("-") if count else "0"
            side.append((plain(price), plain(quantity)))
        return RecordedLevels(0, bids, asks, is_whole=is_whole)

    def _trade(self, symbol: str, row: list[Any]) -> Trade:
        quantity = plain(row[2]).removeprefix("-")
        return trade(row[0], symbol=symbol, time_ms=row[1], price=plain(row[3]), quantity=quantity)


def plain(number: Any) -> str:
    return format(Decimal(str(number)), "f")


class BatchReader(ReaderDefaults):
    """A frame is a list of ids for each symbol: several messages, each of several trades."""

    def read(self, frame: bytes) -> Sequence[Found]:
        found = []
        for symbol, ids in json.loads(frame).items():
            first, *others = (trade(number, symbol=symbol) for number in ids)
            found.append(Recorded(first, json.dumps(ids).encode(), tuple(others)))
        return found

    def levels(self, payload: bytes) -> RecordedLevels:
        raise ValueError("there are none")

    def described(self, listing: Listing) -> Listing:
        return Listing(listing.symbol, listing.price, "0.50", listing.step_size)


def channels(path: Path, *frames: str) -> Capture:
    head = (
        '> {"event":"subscribe"}',
        *(
            f'{{"event":"subscribed","chanId":{number},"channel":"{name}","symbol":"tA:B"}}'
            for number, name in enumerate(("book", "trades"), 1)
        ),
    )
    path.write_text("".join(f"{n} {frame}\n" for n, frame in enumerate((*head, *frames))))
    return survey((path,), ChannelReader, {})


def test_a_market_without_trades_has_the_units_of_its_levels(tmp_path: Path) -> None:
    capture = channels(
        tmp_path / "capture",
        "[1,[[10,2,1.5],[11.25,1,-0.001]],1]",
        '[1,"hb",2]',
        "[1,[9.5,0,1],3]",
    )
    (listing,) = capture.listings
    assert (listing.symbol, listing.tick_size, listing.step_size) == ("tA:B", "0.01", "0.001")
    first, second = capture.ticks(0)
    assert first.stream == second.stream == "tA:B@depth@0ms"
    assert (first.recorded, second.recorded) == (
        b'[[[10, 2, "1.5"], ["11.25", 1, "-0.001"]]]',
        b'[["9.5", 0, 1]]',
    )


def test_a_file_without_a_trade_or_a_level_has_nothing_to_replay(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no line holds a trade or a level of this venue"):
        channels(tmp_path / "capture", '[1,"hb",2]', "[1,[],3]")


def test_levels_make_the_units_of_trades_finer(tmp_path: Path) -> None:
    capture = channels(
        tmp_path / "capture", '[2,"te",[7,5,-1,10.5],1]', "[1,[[10,1,1.25],[10.125,1,1]],2]"
    )
    (listing,) = capture.listings
    assert (listing.tick_size, listing.step_size, listing.price) == ("0.001", "0.01", "10.5")


def test_the_past_is_what_the_venue_sent_on_subscribing(tmp_path: Path) -> None:
    capture = channels(
        tmp_path / "capture",
        "[2,[[8,4,1,10],[7,3,-1,11],[5,2,1,12]],1]",
        '[2,"te",[8,4,1,10],2]',
        "[2,[[9,5,1,10],[7,3,-1,11]],3]",
    )
    history = History(["tA:B"], 99)
    capture.prime(history, 0)
    assert [row.trade_id for row in history.newest("tA:B", 99)] == [5, 7]
    sent = list(capture.ticks(0))
    assert [len(each.trades) for each in sent] == [0, 1, 0]
    assert {each.stream for each in sent} == {"tA:B@trade"}
    assert all(each.recorded for each in sent)


def test_a_greeting_has_the_book_of_its_stream_as_the_replay_has_left_it() -> None:
    path = capture_path(SEVEN_PAIRS)
    capture = survey((path,), ChannelReader, {})
    books, late = capture.recorded_books, survey((path,), ChannelReader, {})
    streams = [f"{listing.symbol}@{DEPTH}" for listing in capture.listings]
    assert [books.whole(stream) for stream in streams] == [None] * len(streams)
    sides: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    for tick, again in zip(capture.ticks(0), late.ticks(0), strict=True):
        assert tick == again
        books.replayed(tick)
        if tick.stream in streams:
            (rows,) = json.loads(tick.recorded or b"", parse_float=str)
            build(sides.setdefault(tick.stream, ({}, {})), rows)
    assert len(sides) == 7
    for stream, levels in sides.items():
        for found in (books.whole(stream), late.recorded_books.whole(stream)):
            assert found is not None
            for side, rows in zip(levels, (found.bids, found.asks), strict=True):
                assert {Decimal(p): Decimal(q) for p, q in rows} == {
                    Decimal(p): Decimal(q) for p, q in side.items()
                }
            prices = [Decimal(price) for price, _ in found.bids]
            assert prices == sorted(prices, reverse=True)


def build(sides: tuple[dict[str, str], dict[str, str]], rows: list[Any]) -> None:
    if isinstance(rows[0], list):
        for side in sides:
            side.clear()
    for price, count, amount in rows if isinstance(rows[0], list) else [rows]:
        side = sides[str(amount).startswith("-")]
        side.pop(str(price), None)
        if count:
            side[str(price)] = str(amount).removeprefix("-")


def batches(path: Path, *frames: str) -> Capture:
    path.write_text("".join(f"{n} {frame}\n" for n, frame in enumerate(frames)))
    return survey((path,), BatchReader, {})


def test_a_frame_may_hold_several_messages_and_a_message_several_trades(tmp_path: Path) -> None:
    capture = batches(tmp_path / "capture", '{"A":[1,2],"B":[7]}', '{"A":[3]}')
    assert [listing.tick_size for listing in capture.listings] == ["0.50", "0.50"]
    found = [(each.stream, [row.trade_id for row in each.trades]) for each in capture.ticks(0)]
    assert found == [("A@trade", [1, 2]), ("B@trade", [7]), ("A@trade", [3])]


async def test_a_recorded_message_of_several_trades_is_issued_whole(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    capture = batches(tmp_path / "capture", '{"BTCUSDT":[5,6]}', '{"BTCUSDT":[7,8]}')
    exchange = Exchange(capture, Clock(0), SimulatorConfig())
    client = RawClient(MemoryServer(nursery, exchange.serve).connect())
    await client.shake_hands("/public/ws/btcusdt@trade")
    await exchange.play(None)
    event = await client.event()
    assert isinstance(event, TextMessage)
    assert event.data == "[5, 6]"
    assert exchange.issued("BTCUSDT") == (IdRange(5, 8, MARKET),)
    engine = exchange._engine
    exchange.faults.inject(Insert("BTCUSDT", MARKET))
    again = engine.issue(next(iter(capture.ticks(0))))
    assert again is not None
    assert again.recorded is None
    assert [row.trade_id for row in again.trades] == [6, 7]


def test_recorded_aggregates_are_played_and_none_are_made() -> None:
    capture = survey((capture_path(FIVE_SYMBOLS),), USDM.reader, USDM.table)
    assert len(capture.aggregated) == len(capture.listings) == 5
    sent = [each for each in capture.ticks(0) if each.aggregate is not None]
    assert len(sent) > 500
    assert all(b'"aggTrade"' in (each.recorded or b"") for each in sent)


async def test_a_personal_dialect_numbers_recorded_messages_for_each_connection(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy()
    monkeypatch.setitem(DIALECTS, "toy", toy)
    path = write_capture(tmp_path / "capture", (1, trade(5)), (2, trade(6)))
    capture = survey((path,), toy.reader, toy.table)
    exchange = Exchange(capture, Clock(0), SimulatorConfig(dialect="toy"))
    clients = []
    for requests in (("sub btcusdt@trade",), ("sub btcusdt@trade", "sub btcusdt@trade")):
        raw = RawClient(MemoryServer(nursery, exchange.serve).connect())
        await raw.shake_hands("/ws")
        clients.append(ToyClient(raw))
        nursery.start_soon(clients[-1].listen)
        for request in requests:
            await raw.send(TextMessage(data=request))
    await trio.testing.wait_all_tasks_blocked()
    await exchange.play(None)
    await trio.testing.wait_all_tasks_blocked()
    recorded = [tick.recorded or b"" for tick in capture.ticks(0)]
    for client in clients:
        assert client.numbers == list(range(1, len(client.numbers) + 1))
        payloads = [text.split(" ", 2)[2].encode() for text in client.heard[-2:]]
        assert payloads == recorded
    assert len(clients[1].numbers) > len(clients[0].numbers) > len(recorded)
