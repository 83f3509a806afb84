"""Bitfinex's own faults: maintenance, restarts, lost messages, wrong checksums, units that become
finer, refused channels, and more channels than a connection has."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fanout.clients.books import Books
from fanout.protocol import BookUpdate, Instrument, OrderUpdate, Quote, Status, Trade
from fanout.protocol.book_records import Level
from fanout.simulator.faults import (
    Checksum,
    Cross,
    Decimals,
    Drop,
    Empty,
    Fault,
    Garble,
    Insert,
    Lose,
    Maintain,
    Malformed,
    Mute,
    Refuse,
    Resnapshot,
    Shutdown,
    Skip,
)
from tests.misbehaviour.scene import Scene, playing

BTC, ETH = "tBTCUSD", "tETHUSD"
QUIET = "tTESTBTC:TESTUSD"
CHEAP = "tSHIB:USD"
LEVELS = 100

each_book = pytest.mark.parametrize("kind", ["book", "orders"])


def whys(scene: Scene, symbol: str) -> list[str]:
    """The states of a symbol since it was subscribed to, with their reasons."""
    return [
        f"{each.state.name} {each.why}"
        for each in scene.records
        if isinstance(each, Status) and each.instrument is not None
        if each.instrument.symbol == symbol and each.state.name != "CONNECTING"
    ]


def told(scene: Scene, words: str) -> list[str]:
    return [each.why for each in scene.records if isinstance(each, Status) and words in each.why]


async def comes_back(scene: Scene, after_s: float = 4) -> None:
    await trio.sleep(after_s)
    await scene.until(lambda: scene.is_quiet and scene.are_books_the_exchanges)


@each_book
async def test_maintenance_is_told_and_ends_with_a_new_connection(
    autojump_clock: MockClock, kind: str
) -> None:
    async with playing(venue="bitfinex", rate=2, assets=(QUIET,), data=("trades", kind)) as scene:
        await comes_back(scene)
        scene.inject(Maintain(for_s=20))
        await trio.sleep(10)
        begun = "Bitfinex began its maintenance: Entering in Maintenance mode. Please pause any"
        (lost, paused) = whys(scene, QUIET)[-2:]
        assert lost.startswith(f"STALE {begun}")
        assert paused.startswith(f"STALE the venue pauses: {begun}")
        assert paused.endswith("(20060)")
        assert not scene.books[QUIET].is_known
        await comes_back(scene, after_s=12)
        assert "(20061)" in told(scene, "Bitfinex ended its maintenance")[0]
        assert whys(scene, QUIET)[-1] == "LIVE the order book is whole"
    scene.account()


@each_book
async def test_lost_messages_make_the_book_unknown_and_a_restart_does_not(
    autojump_clock: MockClock, kind: str
) -> None:
    async with playing(venue="bitfinex", rate=2, assets=(QUIET,), data=("trades", kind)) as scene:
        await comes_back(scene)
        scene.inject(Shutdown(within_s=10))
        await comes_back(scene, after_s=12)
        assert "(20051)" in told(scene, "Bitfinex restarts: Stop/Restart")[0]
        assert [each for each in whys(scene, QUIET) if each.startswith("STALE")] == []
        before = len(scene.trades)
        scene.inject(Lose(count=300))  # each trade is two messages, and one of the book
        scene.inject(Insert(QUIET, kind="MARKET", count=100, away=0.001))
        await comes_back(scene, after_s=15)
        filled = sum(each.back_filled for each in scene.trades[before:])
        assert filled == 70, "the answer to the subscription has the other 30"
        lost = "STALE messages are missing: message "
        assert [each.startswith(lost) for each in whys(scene, QUIET)[-2:]] == [True, False]
        assert scene.simulator.faults.connections == 1
    scene.account()


BREAKS: tuple[tuple[Fault, str], ...] = (
    (Checksum(QUIET), "the venue's checksum differs"),
    (Skip(QUIET, count=5, stream="depth"), "the venue's checksum differs"),
    (Cross(QUIET), "is not below the best ask"),
    (Garble(QUIET, how="price", stream="depth"), "value that is no number"),
    (Resnapshot(QUIET), ""),
    (Mute(for_s=40), ""),
    (Malformed('[999,"hb"'), ""),
)


async def test_a_book_that_is_not_the_venues_comes_anew_with_the_reason(
    autojump_clock: MockClock,
) -> None:
    async with playing(
        venue="bitfinex", rate=2, assets=(QUIET,), data=("trades", "book"), checksums=True
    ) as scene:
        for fault, why in BREAKS:
            await comes_back(scene)
            before = len(whys(scene, QUIET))
            scene.inject(fault)
            await comes_back(scene, after_s=12)
            new = [each for each in whys(scene, QUIET)[before:] if each.startswith("STALE")]
            assert bool(new) == bool(why), fault
            assert [each for each in new if why not in each] == []
            if isinstance(fault, Skip):  # the book is wrong until the next checksum
                assert scene.wrong_books
                scene.wrong_books.clear()
            assert scene.wrong_books == [], fault
    scene.account()


@each_book
async def test_after_each_transaction_the_book_is_the_exchanges_and_quotes_are_its_best_levels(
    autojump_clock: MockClock, kind: str
) -> None:
    """A transaction is several messages of one time, of which the last makes the book whole."""
    data = ("trades", "quotes", kind)
    async with playing(venue="bitfinex", rate=3, assets=(QUIET,), data=data) as scene:
        shown = Shown(scene, QUIET)
        for fault in (Lose(count=3), Insert(QUIET, kind="MARKET", count=3), Empty(QUIET), Drop()):
            await comes_back(scene)
            scene.inject(fault)
        await comes_back(scene)
    scene.account()
    books, compared, quotes = Books(), 0, 0
    records = [each for each in scene.records if not isinstance(each, Trade)]
    for record, after in pairwise(records):
        books.apply(record)  # type: ignore[arg-type]
        if not books[QUIET].is_known:
            continue
        best = books[QUIET].prices.levels(1)
        if isinstance(record, Quote):
            assert side_of(record.bid_price, record.bid_quantity) == best[0]
            assert side_of(record.ask_price, record.ask_quantity) == best[1]
            quotes += 1
        if not isinstance(record, BookUpdate | OrderUpdate | Quote):
            continue
        if record.time != getattr(after, "time", None):
            theirs = shown.at.get(record.time - 1)
            if theirs is not None or compared:  # there were some before the first that was noted
                assert levels_of(books, record.instrument) == theirs
                compared += 1
    assert compared > 40
    assert quotes > 20


def side_of(price: int, quantity: int) -> list[Level]:
    return [Level(price, quantity)] if quantity else []


def levels_of(books: Books, of: Instrument) -> list[list[tuple[Decimal, Decimal]]]:
    return [
        [(of.price_decimal(price), of.quantity_decimal(size)) for price, size in levels]
        for levels in books[QUIET].prices.levels()
    ]


class Shown:
    """The best levels of the exchange's book after each of its transactions, by their time."""

    def __init__(self, scene: Scene, symbol: str) -> None:
        self.at: dict[int, list[list[tuple[Decimal, Decimal]]]] = {}
        books: Any = scene.simulator._exchange._engine.books
        book = books._books[symbol].book
        close = book.close

        def close_and_note(time_ms: int) -> object:
            closed = close(time_ms)
            now = book.snapshot(LEVELS)
            self.at[book.time_ms] = [
                [(Decimal(price), Decimal(size)) for price, size in side]
                for side in (now.bids, now.asks)
            ]
            return closed

        book.close = close_and_note


@pytest.mark.parametrize("kind", ["quotes", "book", "orders"])
async def test_units_become_finer_in_mid_stream_and_nothing_is_lost(
    autojump_clock: MockClock, kind: str
) -> None:
    async with playing(venue="bitfinex", rate=2, assets=(CHEAP,), data=("trades", kind)) as scene:
        await trio.sleep(2)
        scene.inject(Decimals(CHEAP, price=12))
        await trio.sleep(4)
        await scene.until(lambda: scene.is_quiet)
        assert kind == "quotes" or scene.are_books_the_exchanges
        scene.wrong_books.clear()  # what the old units still removed was noted in the new ones
        await trio.sleep(2)
    scene.account()
    exponents = [each.instrument.price_exponent for each in scene.trades]
    assert sorted(set(exponents)) == [-12, -11]
    assert exponents == sorted(exponents, reverse=True)
    states = [each.partition(" ")[0] for each in whys(scene, CHEAP)]
    assert states == ["LIVE", "STALE", "LIVE"]
    assert scene.trades[-1].instrument.symbol == CHEAP


async def test_a_channel_that_is_refused_halts_its_symbol_for_a_while(
    autojump_clock: MockClock,
) -> None:
    async with playing(Refuse(BTC), venue="bitfinex", rate=5) as scene:
        await scene.until(lambda: scene.is_quiet)
    assert whys(scene, BTC)[:2] == [
        "HALTED the venue refuses it: symbol: invalid (10300)",
        "STALE subscribing anew: the venue refused it",
    ]
    assert [each for each in whys(scene, ETH) if "refuse" in each] == []
    scene.account()


async def test_the_26th_channel_is_on_another_connection(autojump_clock: MockClock) -> None:
    """A connection has 25. The venue would refuse one more."""
    async with playing(venue="bitfinex", rate=2, count=26, traded=(BTC,)) as scene:
        await trio.sleep(4)
        assert scene.simulator.faults.connections == 2
    assert told(scene, "refuse") == []
    scene.account(BTC)
