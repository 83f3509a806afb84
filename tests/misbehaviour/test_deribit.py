"""Deribit's own faults: access that is refused, channels that do not exist, maintenance, books that
break, limits of connections, and options by the thousand."""

import pytest
import trio
from trio.testing import MockClock

from fanout.clients.books import Books
from fanout.errors import VenueKeyError
from fanout.protocol import FeedState, Quote, Status
from fanout.simulator.dialects import dialect_of, symbols_of
from fanout.simulator.dialects.deribit import requests
from fanout.simulator.faults import (
    Auth,
    Cross,
    Drop,
    Fault,
    Http,
    Insert,
    Maintain,
    Refuse,
    Resnapshot,
    Skip,
    Unchain,
)
from fanout.venues import Credentials
from tests.misbehaviour.scene import Scene, playing

BTC, ETH, USDC = "BTC-PERPETUAL", "ETH-PERPETUAL", "BTC_USDC-PERPETUAL"
KEY = Credentials(id="an id", secret="a secret")


def told(scene: Scene, words: str) -> list[str]:
    """The statuses with these words."""
    return [each.why for each in scene.records if isinstance(each, Status) and words in each.why]


def _states(scene: Scene, symbol: str) -> list[str]:
    """The states of a symbol since it was subscribed to, with their reasons, but for durations."""
    return [
        f"{each.state.name} {each.why}".partition(" after ")[0]
        for each in scene.records
        if isinstance(each, Status) and each.instrument is not None
        if each.instrument.symbol == symbol and each.state is not FeedState.CONNECTING
    ]


async def test_access_that_ends_is_told_and_asked_for_with_growing_pauses(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "LIFE_S", 60)
    async with playing(venue="deribit", rate=2, credentials=KEY, stream="trade") as scene:
        scene.inject(Auth("revoke"))
        refused = "refuses to renew the access"
        await scene.until(lambda: len(told(scene, refused)) == 3)
        pauses = [each.rpartition(" in ")[2] for each in told(scene, refused)]
        assert pauses == ["5 s", "10 s", "20 s"]
        assert not told(scene, "closed the stream"), "what is subscribed goes on"
        scene.inject(Drop())  # a new connection has no access, and takes no less than raw channels
        refused = "refuses the credentials"
        await scene.until(lambda: bool(told(scene, refused)))
        scene.simulator.faults.clear()
        before = len(scene.trades)
        await scene.until(lambda: len(scene.trades) > before + 3 and scene.is_quiet)
    scene.account()


async def test_credentials_that_are_refused_are_told_or_end_the_service(
    autojump_clock: MockClock,
) -> None:
    async with playing(Auth("reject"), venue="deribit", credentials=KEY) as scene:
        (why,) = told(scene, "credentials")
        assert why == (
            "Deribit refuses the credentials (invalid_credentials (13004)): trades and books come "
            "every 100 ms"
        )
    scene.account()
    with pytest.RaisesGroup(VenueKeyError, flatten_subgroups=True, allow_unwrapped=True):
        async with playing(Auth("reject"), venue="deribit", credentials=KEY, stream="trade"):
            pass


async def test_a_channel_that_is_refused_halts_its_symbol_alone(autojump_clock: MockClock) -> None:
    """The first request is refused whole. Of its halves, one has the bad symbol alone."""
    refused = Refuse(BTC, count=2, how="request"), Refuse(ETH, count=2, how="missing")
    async with playing(*refused, venue="deribit", assets=(BTC, ETH, USDC)) as scene:
        await scene.until(lambda: scene.is_quiet)
        whys = {symbol: _states(scene, symbol) for symbol in (BTC, ETH, USDC)}
    refusal = "HALTED the venue refuses it: "
    again = ["STALE subscribing anew: the venue refused it", "LIVE recovered"]
    assert whys == {
        BTC: [refusal + "bad_request (11050)", *again],
        ETH: [refusal + f"Deribit does not subscribe to trades.{ETH}.100ms", *again],
        USDC: ["LIVE first trade"],
    }
    scene.account()


async def test_maintenance_is_told_and_its_trades_are_back_filled(
    autojump_clock: MockClock,
) -> None:
    async with playing(venue="deribit", rate=5, data=("trades", "quotes")) as scene:
        scene.inject(Maintain(for_s=20))
        await trio.sleep(10)
        assert told(scene, "the venue pauses: Deribit began its maintenance")
        assert {each for each in scene.told() if each[1] == "STALE"} == {
            (BTC, "STALE"),
            (ETH, "STALE"),
        }
        await trio.sleep(30)
        await scene.until(lambda: scene.is_quiet)
        assert told(scene, "Deribit ended its maintenance")
        ids = [each.update_id for each in scene.records if isinstance(each, Quote)]
        assert len(ids) > 10
        for symbol in (BTC, ETH):
            assert not scene.lost(symbol)
            assert any(each.back_filled for each in scene.trades if each.symbol == symbol)
    scene.account()


LOST = ["STALE", "LIVE"]
BREAKS: tuple[tuple[Fault, list[str]], ...] = (
    (Skip(BTC, count=3, stream="depth"), LOST),
    (Unchain(BTC), LOST),
    (Unchain(BTC, by=-1_000_000), LOST),
    (Resnapshot(BTC), []),
    (Resnapshot(BTC, resets=True), []),
    (Cross(BTC), LOST),
    (Drop(), ["CONNECTING", "LIVE"]),
)


async def test_a_raw_book_that_breaks_is_sent_anew_and_quotes_are_its_best_levels(
    autojump_clock: MockClock,
) -> None:
    data = ("trades", "quotes", "book")
    async with playing(venue="deribit", rate=1, data=data, credentials=KEY, assets=(BTC,)) as scene:
        for fault, states in BREAKS:
            await scene.until(lambda: scene.is_quiet and scene.are_books_the_exchanges)
            scene.told()
            scene.inject(fault)
            await trio.sleep(8)
            assert [each[-1] for each in scene.told() if each[0] == BTC] == states, fault
        await scene.until(lambda: scene.is_quiet and scene.are_books_the_exchanges)
        newest = [each for each in scene.records if isinstance(each, Quote)][-1]
        assert _best(newest) == _best_of(scene.books)
    scene.account()
    books, quotes = Books(), 0
    for record in scene.records:
        books.apply(record)
        if isinstance(record, Quote) and books[BTC].is_known:
            assert _best(record) == _best_of(books)
            quotes += 1
    assert quotes > 50


def _best(quote: Quote) -> list[tuple[int, int]]:
    return [(quote.bid_price, quote.bid_quantity), (quote.ask_price, quote.ask_quantity)]


def _best_of(books: Books) -> list[tuple[int, int]]:
    return [levels[0] for levels in books[BTC].prices.levels(1)]


async def test_too_many_connections_of_an_address_are_waited_for(
    autojump_clock: MockClock,
) -> None:
    async with playing(venue="deribit", rate=5) as scene:
        scene.inject(Http(429, path="/ws/api/v2", requests=2))
        scene.inject(Drop())
        await scene.until(lambda: bool(told(scene, "429")))
        before = len(scene.trades)
        await scene.until(lambda: len(scene.trades) > before + 50, within_s=600)
        await scene.until(lambda: scene.is_quiet)
    scene.account()


async def test_options_by_the_thousand_are_spread_over_requests_and_connections(
    autojump_clock: MockClock,
) -> None:
    """A connection that sent more than ten requests within a second would be cut."""
    symbols = symbols_of(dialect_of("deribit"), 1_000)
    async with playing(
        venue="deribit", rate=5, assets=symbols, traded=(BTC, ETH), credentials=KEY
    ) as scene:
        await trio.sleep(5)
        for symbol in symbols[::100]:
            scene.inject(Insert(symbol, kind="MARKET"))
        await scene.until(lambda: {each.symbol for each in scene.trades}.issuperset(symbols[::100]))
        assert 4 <= scene.simulator.faults.connections <= 6
        assert not told(scene, "closed the stream")
    scene.account(*symbols[:2])
