"""What can go wrong at Bybit, and what a TCP client is told of it.

Trade ids have no order there, so each trade has come once, or lies in a span that a STATUS names.
A book has 200 levels a side, and after each update that a client gets it is one that the exchange
had, all levels of it, and none from before the one that it had then. So is each quote.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, Literal

import pytest
import trio
from trio.testing import MockClock

from fanout.clients.books import Books
from fanout.errors import VenueForbiddenError
from fanout.protocol import BookUpdate, Quote, Status
from fanout.simulator.faults import (
    Drop,
    Garble,
    Http,
    Insert,
    Mute,
    Refuse,
    Resnapshot,
    Skip,
    Stall,
    Unchain,
)
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.books import SyntheticBooks
from tests.misbehaviour.scene import BTC, ETH, Scene, Short, playing
from tests.misbehaviour.test_streams import LOST_AND_FOUND

LEVELS: Final = 200
PEPE: Final = "1000PEPEUSDT"
EVERYTHING: Final = ("trades", "quotes", "book")
RECENT: Final = "/v5/market/recent-trade"
COUNTRY: Final = (
    "<html>The Amazon CloudFront distribution is configured to block access from your country."
)

Sides = tuple[tuple[tuple[int, int], ...], ...]


class Shown:
    """What the exchange showed of its quotes and of the best levels of its books, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._books: dict[str, list[Sides]] = defaultdict(list)
        self._quotes: dict[str, list[Sides]] = defaultdict(list)
        flushed, quoted = SyntheticBooks._flushed, SyntheticBooks._quoted
        whole, best = SyntheticBooks.whole, SyntheticBooks.best

        def note_update(market: Any, kept: Any, *arguments: Any) -> Any:
            ticks = flushed(market, kept, *arguments)
            self._note(self._books, kept, LEVELS)
            return ticks

        def note_quote(market: Any, kept: Any, *arguments: Any) -> Any:
            self._note(self._quotes, kept, 1)
            return quoted(market, kept, *arguments)

        def note_whole(market: Any, stream: str) -> Snapshot | None:
            kept = market._books[stream.partition("@")[0]]
            if not kept.batches and not kept.book.is_open:
                self._note(self._books, kept, LEVELS)
            return whole(market, stream)

        def note_best(market: Any, symbol: str) -> Any:
            found = best(market, symbol)
            if found is not None:
                self._quotes[symbol].append(
                    tuple((_whole(side),) for side in (found.bid, found.ask))
                )
            return found

        monkeypatch.setattr(SyntheticBooks, "best", note_best)
        monkeypatch.setattr(SyntheticBooks, "_flushed", note_update)
        monkeypatch.setattr(SyntheticBooks, "_quoted", note_quote)
        monkeypatch.setattr(SyntheticBooks, "whole", note_whole)

    @staticmethod
    def _note(noted: dict[str, list[Sides]], kept: Any, count: int) -> None:
        sides = tuple(kept.book.bids.first(count)), tuple(kept.book.asks.first(count))
        noted[kept.symbol].append(sides)

    def hold(self, scene: Scene) -> None:
        """Hold the quotes and books that a client got against it."""
        books, newest = Books(), dict[tuple[type, str], int]()
        sides: Sides
        for record in scene.records:
            books.apply(record)  # type: ignore[arg-type]
            if isinstance(record, Quote):
                bid, ask = (
                    (record.bid_price, record.bid_quantity),
                    (record.ask_price, record.ask_quantity),
                )
                sides, noted = ((bid,), (ask,)), self._quotes[record.symbol]
            elif isinstance(record, BookUpdate) and books[record.symbol].is_known:
                if record.has_more:
                    continue
                levels = books[record.symbol].prices.levels()
                sides, noted = tuple(map(tuple, levels)), self._books[record.symbol]
            else:
                continue
            of = type(record), record.symbol
            try:
                newest[of] = noted.index(sides, newest.get(of, 0))
            except ValueError:
                pytest.fail(f"{record!r} is not the exchange's, or from before the one before")
        assert {symbol for _, symbol in newest} == set(scene.symbols)
        assert min(newest.values()) > 50


def _whole(level: tuple[str, str]) -> tuple[int, int]:
    """A level in the units of its last decimals."""
    price, quantity = (int(text.replace(".", "")) for text in level)
    return price, quantity


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    return Shown(monkeypatch)


def whys(scene: Scene, symbol: str = BTC) -> Iterator[str]:
    """The words about a symbol."""
    for each in scene.records:
        if isinstance(each, Status) and each.instrument and each.instrument.symbol == symbol:
            yield each.why


async def test_books_and_quotes_are_the_exchanges_whatever_happens_to_them(
    autojump_clock: MockClock, shown: Shown
) -> None:
    lost = [(PEPE, "STALE"), (PEPE, "LIVE")]
    async with playing(venue="bybit", data=EVERYTHING, assets=(PEPE,), rate=5) as scene:
        for fault, told in (
            (Unchain(PEPE), lost),
            (Resnapshot(PEPE), []),
            (Resnapshot(PEPE, resets=True), []),
            (Skip(PEPE, stream="depth"), lost),
            (Resnapshot(PEPE, resets=True), []),
        ):
            await trio.sleep(2)
            scene.told()
            scene.inject(fault)
            before = len(scene.records)
            await trio.sleep(4)
            assert scene.told() == told, fault
            assert any(isinstance(each, Quote) for each in scene.records[before:])
            await scene.until(lambda: scene.are_books_the_exchanges)
        assert "changes are missing between update" in [*whys(scene, PEPE)][-4]
        ids = [each.update_id for each in scene.records if isinstance(each, BookUpdate)]
        assert ids == sorted(ids)
    scene.account()
    shown.hold(scene)


async def test_on_two_connections_each_trade_comes_once_and_no_book_is_lost(
    autojump_clock: MockClock, shown: Shown
) -> None:
    async with playing(
        venue="bybit", data=EVERYTHING, assets=(PEPE,), rate=8, connections=2
    ) as scene:
        await trio.sleep(3)
        scene.told()
        scene.inject(Stall(for_s=4, which="oldest"))
        await trio.sleep(7)
        scene.inject(Resnapshot(PEPE, resets=True))
        await trio.sleep(2)
        scene.inject(Unchain(PEPE))
        await trio.sleep(2)
        assert scene.told() == [(PEPE, "STALE"), (PEPE, "LIVE")], "both miss the same change"
        scene.inject(Drop(which="oldest"))
        await trio.sleep(8)
        assert scene.told() == []
        await scene.until(lambda: scene.are_books_the_exchanges)
        assert scene.lost(PEPE) == 0
    scene.account()
    shown.hold(scene)


@pytest.mark.parametrize(("venue", "reach"), [("bybit", 1_000), ("bybit-spot", 60)])
async def test_after_an_outage_the_newest_trades_are_back_filled_and_the_others_named(
    autojump_clock: MockClock, venue: str, reach: int
) -> None:
    named: Short = (BTC, "CONNECTING")
    async with playing(venue=venue, rate=5, count=1) as scene:
        for count, more in ((reach - 20, []), (reach + 20, [named])):
            await trio.sleep(1)
            scene.told()
            scene.inject(Drop(how="cut"))
            scene.inject(Insert(BTC, "MARKET", count, away=0.001))
            await trio.sleep(8)
            assert scene.told() == [*LOST_AND_FOUND[:3], *more, *LOST_AND_FOUND[3:]]
        (said,) = (why for why in whys(scene) if "may be missing" in why)
        assert "REST reaches back to" in said
        assert sum(each.back_filled for each in scene.trades) >= 2 * reach - 40
    scene.account()


async def test_a_refused_symbol_is_halted_and_takes_no_other_with_it(
    autojump_clock: MockClock,
) -> None:
    """The good topics of the refused request are subscribed, so those that are asked for again are
    refused too, as known already."""
    async with playing(venue="bybit", data=("trades", "book"), rate=5) as scene:
        scene.told()
        scene.inject(Refuse(ETH, how="request", count=3))
        scene.inject(Drop())
        await trio.sleep(8)
        told = scene.told()
        assert [each for each in told if each[0] == ETH] == [(ETH, "CONNECTING"), (ETH, "HALTED")]
        assert "Invalid symbol :[ETHUSDT]" in [*whys(scene, ETH)][-1]
        assert [each for each in told if each[0] == BTC] == [(BTC, "CONNECTING"), (BTC, "LIVE")]
    scene.account()


async def test_403_is_a_limit_that_passes_or_a_country_that_is_refused(
    autojump_clock: MockClock,
) -> None:
    with pytest.RaisesGroup(VenueForbiddenError, flatten_subgroups=True):
        async with playing(Http(status=403, body=COUNTRY), venue="bybit"):
            pass
    async with playing(venue="bybit", rate=1, count=1) as scene:
        scene.inject(Http(status=403, path=RECENT))
        scene.inject(Drop(how="cut"))
        scene.inject(Insert(BTC, "MARKET", 3, away=0.001))
        await trio.sleep(610)
        (why, _) = (why for why in whys(scene) if "may be missing" in why)
        assert "HTTP 403, too many requests from this address: access too frequent" in why
        assert not any(each.back_filled for each in scene.trades)
        scene.inject(Drop(how="cut"))
        scene.inject(Insert(BTC, "MARKET", 3, away=0.001))
        await trio.sleep(10)
        assert sum(each.back_filled for each in scene.trades) == 3
    scene.account()


async def test_a_quiet_connection_is_kept_though_pings_get_no_answer(
    autojump_clock: MockClock,
) -> None:
    async with playing(venue="bybit", rate=0.1, count=1) as scene:
        scene.inject(Mute())
        await trio.sleep(660)  # ten minutes without a message of the client end a connection
        assert ("", "DOWN") not in scene.told()
    scene.account()


@pytest.mark.parametrize("how", ["cut", "types", "price"])
async def test_an_unreadable_trade_is_taken_from_rest(
    autojump_clock: MockClock, how: Literal["cut", "types", "price"]
) -> None:
    async with playing(venue="bybit", rate=4, count=1) as scene:
        scene.inject(Garble(BTC, count=2, how=how, stream="trade"))
        await trio.sleep(12)
        assert sum(each.back_filled for each in scene.trades) >= 2
        assert not [why for why in whys(scene) if "may be missing" in why]
    scene.account()
