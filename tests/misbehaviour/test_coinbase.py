"""What can go wrong at Coinbase, and what a TCP client is told of it.

The Exchange's trade ids are consecutive, and heartbeats repeat the newest. Advanced Trade numbers
the messages of a connection. Neither numbers the changes of a book. So after each update that a
client gets, its book is one that the exchange had, all levels of it, and none from before the one
that it had then: except at the Exchange after a change that was not sent, until the book is whole
anew.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fanout.clients.books import Book, Books
from fanout.errors import ConfigError
from fanout.protocol import BookUpdate, Quote, Status
from fanout.simulator.faults import (
    Cross,
    Drop,
    Garble,
    Insert,
    Lose,
    Malformed,
    Refuse,
    Resnapshot,
    Skip,
)
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.books import SyntheticBooks
from tests.misbehaviour.scene import Scene, playing

BTC, ETH = "BTC-USD", "ETH-USD"
BOTH = ("coinbase", "coinbase-advanced")
EVERYTHING = ("trades", "quotes", "book")
LOST = [(BTC, "STALE"), (BTC, "LIVE")]
MESSAGES_LOST = [(BTC, "STALE"), ("", "LIVE"), (BTC, "LIVE")]
"""The feed, which goes on, says which number came after which."""
SLOW = {"type": "error", "message": "ErrSlowConsume", "reason": "too slow"}

Sides = tuple[tuple[tuple[int, int], ...], ...]


class Shown:
    """The books that the exchange has shown, in order, and those that a client has built."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._shown: dict[str, list[Sides]] = defaultdict(list)
        flushed, whole = SyntheticBooks._flushed, SyntheticBooks.whole

        def note_update(market: Any, kept: Any, *arguments: Any) -> Any:
            ticks = flushed(market, kept, *arguments)
            self._note(kept)
            return ticks

        def note_whole(market: Any, stream: str) -> Snapshot | None:
            kept = market._books[stream.partition("@")[0]]
            if not kept.batches and not kept.book.is_open:
                self._note(kept)
            return whole(market, stream)

        monkeypatch.setattr(SyntheticBooks, "_flushed", note_update)
        monkeypatch.setattr(SyntheticBooks, "whole", note_whole)

    def _note(self, kept: Any) -> None:
        sides = tuple(kept.book.bids.first()), tuple(kept.book.asks.first())
        if self._shown[kept.symbol][-1:] != [sides]:
            self._shown[kept.symbol].append(sides)

    def strangers(self, scene: Scene) -> list[BookUpdate]:
        """The updates after which a client's book is not the exchange's, or an older one. Every
        quote has the best levels of the book before it."""
        books, newest, strangers = Books(), dict[str, int](), list[BookUpdate]()
        for record in scene.records:
            books.apply(record)  # type: ignore[arg-type]
            if isinstance(record, Quote):
                assert _is_top(record, books[record.symbol])
            if not isinstance(record, BookUpdate) or record.has_more:
                continue
            book = books[record.symbol]
            if not book.is_known:
                continue
            sides: Sides = tuple(map(tuple, book.prices.levels()))
            try:
                newest[record.symbol] = self._shown[record.symbol].index(
                    sides, newest.get(record.symbol, 0)
                )
            except ValueError:
                strangers.append(record)
        assert newest.keys() == set(scene.symbols)
        return strangers


def _is_top(quote: Quote, book: Book) -> bool:
    bid, ask = (quote.bid_price, quote.bid_quantity), (quote.ask_price, quote.ask_quantity)
    return not book.is_known or (book.prices.best_bid, book.prices.best_ask) == (bid, ask)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    return Shown(monkeypatch)


def whys(scene: Scene, words: str = "") -> Iterator[str]:
    """The reasons that statuses gave, of those with these words."""
    for each in scene.records:
        if isinstance(each, Status) and words in each.why:
            yield each.why


async def test_trades_that_were_dropped_before_a_silence_are_found_by_the_heartbeat(
    autojump_clock: MockClock,
) -> None:
    async with playing(venue="coinbase", rate=0.1, count=1) as scene:
        await trio.sleep(2)
        before = len(scene.trades)
        scene.inject(Skip(BTC, count=3))
        scene.inject(Insert(BTC, "MARKET", 3))
        await trio.sleep(3)
        assert scene.told(BTC)[-2:] == [(BTC, 3, "OPEN"), (BTC, 3, "BACK_FILLED")]
        assert [each.back_filled for each in scene.trades[before:]] == [True] * 3
    scene.account()


async def test_a_lost_change_of_the_exchanges_book_shows_only_when_the_book_is_whole_anew(
    autojump_clock: MockClock, shown: Shown
) -> None:
    """The only scene in which a LIVE book is not the exchange's. A connection that replaces another
    one, here because it is about to be closed, brings the whole book."""
    async with playing(venue="coinbase", rate=1, data=EVERYTHING, count=1) as scene:
        await trio.sleep(1)
        scene.told()
        scene.inject(Skip(BTC, count=1, stream="depth"))
        await trio.sleep(1)
        assert scene.told() == [], "nothing tells of it"
        scene.inject(Malformed(json.dumps(SLOW)))
        await trio.sleep(5)
        assert scene.told() == [("", "LIVE")], "the reason of the replacement"
        assert "ErrSlowConsume" in [*whys(scene)][-1]
        came = len(scene.records)
        await trio.sleep(1)
        strangers = shown.strangers(scene)
        assert strangers, "the book was not the exchange's"
        assert scene.wrong_books
        scene.wrong_books.clear()
        assert strangers[0].seq < strangers[-1].seq < scene.records[came].seq  # type: ignore[attr-defined]
        await scene.until(lambda: scene.are_books_the_exchanges)
    scene.account()


@pytest.mark.parametrize("venue", BOTH)
async def test_books_are_the_exchanges_whatever_else_happens_to_them(
    autojump_clock: MockClock, shown: Shown, venue: str
) -> None:
    async with playing(venue=venue, rate=4, data=EVERYTHING, count=1) as scene:
        for fault, told in (
            (Garble(BTC, stream="depth"), LOST if venue == "coinbase" else MESSAGES_LOST),
            (Resnapshot(BTC), []),
            (Cross(BTC), LOST),
        ):
            await trio.sleep(1)
            scene.told()
            scene.inject(fault)
            await trio.sleep(2)
            assert scene.told() == told, fault
            await scene.until(lambda: scene.are_books_the_exchanges)
    assert shown.strangers(scene) == [], "a change that crosses the book is not published"
    scene.account()


async def test_a_hole_in_the_numbers_of_messages_costs_no_trade_and_books_begin_anew(
    autojump_clock: MockClock, shown: Shown
) -> None:
    async with playing(venue="coinbase-advanced", rate=5, data=EVERYTHING, count=1) as scene:
        await trio.sleep(1)
        scene.told()
        before = len(scene.trades)
        scene.inject(Lose(count=100))
        scene.inject(Insert(BTC, "MARKET", 100, away=0.001))
        await trio.sleep(14)
        filled = sum(each.back_filled for each in scene.trades[before:])
        assert filled >= 95, "the answer to the subscription has 50"
        assert scene.told(BTC) == MESSAGES_LOST, "the connection is replaced in time"
        assert all("sequence_num" in why for why in whys(scene, "messages are missing"))
        assert scene.are_books_the_exchanges
    assert shown.strangers(scene) == []
    scene.account()


async def test_an_unreadable_trade_of_advanced_trade_is_taken_from_rest(
    autojump_clock: MockClock,
) -> None:
    async with playing(venue="coinbase-advanced", rate=4, count=1) as scene:
        scene.told()
        scene.inject(Garble(BTC, count=2, how="price"))
        await trio.sleep(12)
        assert scene.told() == []
        assert any(each.back_filled for each in scene.trades)
    scene.account()


@pytest.mark.parametrize(("venue", "missing"), [("coinbase", 2_500), ("coinbase-advanced", 1_200)])
async def test_an_outage_costs_no_more_than_rest_does_not_reach(
    autojump_clock: MockClock, venue: str, missing: int
) -> None:
    async with playing(venue=venue, rate=4, count=1) as scene:
        await trio.sleep(1)
        scene.inject(Drop(how="cut"))
        scene.inject(Insert(BTC, "MARKET", missing, away=0.001))
        await trio.sleep(12)
        await scene.until(lambda: scene.is_quiet)
        filled = sum(each.back_filled for each in scene.trades)
        said = list(whys(scene, "may be missing"))
        if venue == "coinbase":
            assert (scene.lost(BTC), said) == (0, [])
            assert filled >= missing
        else:
            assert len(said) == 1
            assert "REST reaches back to" in said[0]
            assert 900 < filled <= 1_000
    scene.account()


@pytest.mark.parametrize("venue", BOTH)
async def test_refusals_halt_a_symbol_alone_and_reasons_are_told(
    autojump_clock: MockClock, venue: str
) -> None:
    async with playing(venue=venue, rate=2) as scene:
        scene.told()
        scene.inject(Refuse(ETH, how="request", count=4))
        scene.inject(Drop())
        await trio.sleep(8)
        assert (ETH, "HALTED") in scene.told(ETH)
        assert any("refuses it" in each for each in whys(scene, "valid"))
    scene.account(BTC)


async def test_heartbeats_keep_a_quiet_connection_and_an_alias_is_refused(
    autojump_clock: MockClock,
) -> None:
    async with playing(venue="coinbase-advanced", rate=0.3, count=1) as scene:
        await trio.sleep(100)
        assert ("", "DOWN") not in scene.told()
    scene.account()
    alias = pytest.RaisesExc(ConfigError, match="BTC-USDC is an alias of BTC-USD")
    with pytest.RaisesGroup(alias, flatten_subgroups=True, allow_unwrapped=True):
        market = {"symbols": (BTC,)}
        async with playing(venue="coinbase-advanced", market=market, assets=("BTC-USDC",)):
            pass
