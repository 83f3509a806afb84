"""Every fault of a depth stream and of its snapshots, at the exchange in memory. The reader checks
P8 after every update that it gets."""

import pytest
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.errors import VenueUnreachableError
from fanout.feed.book_sync import BACK_S, WAIT_S
from fanout.feed.books import FIRST_PAUSE_S, LASTING_S, LONGEST_PAUSE_S
from fanout.feed.liveness import FLOOR_S
from fanout.protocol.constants import MAX_BOOK_LEVELS
from fanout.venues.binance.venue import DEPTH_BYTES
from tests.fanout.feed.running import running_feed
from tests.stand.book_reader import ALL, BOOK, BTC, BookReader, Joiner, going, settled
from tests.stand.loopback import BEGAN_MS, Exchange


async def test_a_break_of_the_chain_is_told_and_mended(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        await settled(LASTING_S)
        exchange.change(BTC, {"61800.00": "3.000"}, skip=True)
        exchange.change(BTC, {"61800.00": "4.000"})
        await settled()
        assert reader.is_live()
        assert reader.told() == [
            "CONNECTING",
            "LIVE",
            "STALE",
            "LIVE",
        ]
        assert "changes are missing between update" in reader.why(BTC)[2]
        assert running.feed.stats().anomalies["order book lost"] == 1


async def test_a_quiet_symbol_is_not_live_for_a_moment_if_its_next_change_breaks_the_book(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=BOOK) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        await settled(FLOOR_S + 1)
        assert not reader.is_live()
        assert "quiet for" in reader.why(BTC)[-1]
        exchange.rest_fault = VenueUnreachableError("no route")
        exchange.change(BTC, {"61800.00": "3.000"}, skip=True)
        exchange.change(BTC, {"61800.00": "4.000"})
        await settled()
        reader.read()
        states = reader.told()
        assert states == ["CONNECTING", "LIVE", "STALE", "STALE"]
        assert "changes are missing between update" in reader.why(BTC)[-1]


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_late_change_breaks_the_book_on_one_connection(
    is_whole: bool, autojump_clock: MockClock
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=BOOK) as running:
        reader = BookReader(running)
        if is_whole:
            await going(exchange, reader)
            await settled(LASTING_S)
        exchange.rest_delay_s = 1.0
        exchange.change(BTC, {"61800.10": "2.000"})
        await settled()
        late = exchange.change(BTC, {"61800.00": "3.000"}, skip=True)
        exchange.change(BTC, {"61800.00": "4.000"})
        await settled()
        joiner = Joiner(running)
        assert not reader.is_live()
        exchange.tell_change(late, *exchange.sockets)
        assert not joiner.shows()
        await settled(2.0)
        assert not reader.is_live() or reader.books[BTC].quantity_at(0, 6_180_000) == 4_000
        await settled(2.0)
        assert reader.is_live()
        assert joiner.shows()
        assert Joiner(running).shows()


async def test_a_late_change_is_waited_for_on_the_other_connection(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, FeedConfig(connections=2), data=BOOK) as running:
        await settled(2)
        reader = BookReader(running)
        await going(exchange, reader)
        first, second = exchange.sockets
        for quantity in ("1.000", "2.000", "3.000"):
            early = exchange.change(BTC, {"61800.00": quantity}, skip=True)
            late = exchange.change(BTC, {"61800.00": "0.000"}, skip=True)
            exchange.tell_change(late, first)
            await settled(WAIT_S / 2)
            exchange.tell_change(early, second)
            await settled()
            assert reader.is_live()
            exchange.tell_change(early, first)
            exchange.tell_change(late, second)
            await settled(WAIT_S)
            assert reader.is_live()
            assert Joiner(running).shows()
        assert reader.told() == ["CONNECTING", "LIVE"]


@pytest.mark.parametrize("connections", [1, 2])
async def test_ids_that_go_back_are_told_and_mended(
    connections: int, autojump_clock: MockClock
) -> None:
    exchange = Exchange(BTC)
    config = FeedConfig(connections=connections)
    async with running_feed(exchange, config, data=BOOK) as running:
        await settled(2)
        reader = BookReader(running)
        await going(exchange, reader)
        await settled(LASTING_S)
        exchange.books[BTC].update_id = 1_000
        for second in range(int(BACK_S) + 2):
            exchange.change(BTC, {"61800.10": f"{second + 2}.000"}, T=BEGAN_MS + second + 1)
            await settled(1)
        assert reader.is_live()
        assert Joiner(running).shows()
        whys = reader.why(BTC)[-2:]
        assert [each.split()[0] for each in whys] == ["STALE", "LIVE"]
        assert "update ids went back from 5000000000100 to 1" in whys[0]


async def test_a_snapshot_ahead_of_all_that_was_kept_is_joined(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=BOOK) as running:
        reader = BookReader(running)
        exchange.change(BTC, {"61800.10": "1.000"})
        late = [exchange.change(BTC, {"61800.10": f"{each}.000"}, skip=True) for each in (2, 3)]
        await settled()
        assert reader.is_live(), "the snapshot has what the stream brings later"
        joiner = Joiner(running)
        for each in late:
            exchange.tell_change(each, *exchange.sockets)
            await settled()
            assert reader.is_live()
            assert joiner.shows()
        exchange.change(BTC, {"61800.10": "0.000"})
        await settled()
        assert reader.is_live()
        assert joiner.shows()
        assert running.feed.stats().anomalies == {}


async def test_a_book_of_too_many_levels_is_refused_by_the_name_of_the_limit(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(BTC)
    many = [(f"{price / 100:.2f}", "1.000") for price in range(MAX_BOOK_LEVELS + 1, 0, -1)]
    async with running_feed(exchange, data=BOOK) as running:
        exchange.snapshots[BTC] = [exchange.books[BTC].snapshot() | {"bids": many, "asks": []}]
        exchange.change(BTC)
        await settled()
        assert running.feed.states()[BTC] != "LIVE"
        assert f"more than {MAX_BOOK_LEVELS:,} bids in a book: MAX_BOOK_LEVELS" in caplog.text
        exchange.change(BTC, {"61800.10": "2.000"})
        await settled(4 * FIRST_PAUSE_S)
        assert running.feed.states() == {BTC: "LIVE"}
        assert Joiner(running).shows()


@pytest.mark.parametrize("behind", [1, 3])
async def test_a_snapshot_that_is_too_old_is_asked_for_again(
    behind: int, autojump_clock: MockClock
) -> None:
    exchange = Exchange(BTC)
    old = exchange.books[BTC].snapshot()
    exchange.snapshots[BTC] = [old] * behind
    exchange.books[BTC].change({"61700.00": "1.000"}, {})
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        exchange.change(BTC, {"61800.10": "1.000"})
        await settled()
        assert not reader.is_live()
        await settled(FIRST_PAUSE_S * 2**behind)
        assert reader.is_live()
        assert running.feed.stats().anomalies["whole book that does not fit"] == behind


async def test_a_snapshot_inside_a_change_is_joined(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    book = exchange.books[BTC]
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        inside = {**book.snapshot(), "lastUpdateId": book.update_id + 70}
        exchange.snapshots[BTC] = [{**inside, "bids": [*inside["bids"], ("61800.10", "1.000")]}]  # type: ignore[misc]
        exchange.change(BTC, {"61800.10": "1.000"})
        await settled()
        assert reader.is_live()
        exchange.change(BTC, {"61800.10": "0.000"})
        await settled()
        assert reader.is_live()


async def test_a_crossed_level_breaks_the_book_before_it_is_published(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        await settled(LASTING_S)
        exchange.change(BTC, b=[("61800.50", "1.000")])
        await settled(2 * FIRST_PAUSE_S)
        reader.read()
        assert not any(each.is_crossed for each in reader.books.values())
        assert "is not below the best ask" in reader.why(BTC)[-1]
        exchange.change(BTC, {"61800.00": "1.000"})
        await settled(4 * FIRST_PAUSE_S)
        assert reader.is_live()


async def test_a_book_that_is_cleared_is_published_as_it_is(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        book = exchange.books[BTC]
        exchange.change(BTC, dict.fromkeys(book.bids, "0.000"), dict.fromkeys(book.asks, "0.000"))
        await settled()
        assert reader.is_live()
        assert reader.books[BTC].levels() == ([], [])
        exchange.change(BTC, {"1.00": "1.000"})
        await settled()
        assert reader.is_live()


@pytest.mark.parametrize(
    "odd",
    [
        {"b": [["61800.10", "-1.000"]]},
        {"b": [["a lot", "1.000"]]},
        {"a": [["61800.333", "1.000"]]},
        {"b": [["61800.001", "5.000"]]},
        {"b": 7},
        {"u": "x"},
        {"u": 1},
        {"pad": "x" * DEPTH_BYTES},
        {"b": [["61800.20", "0.000"]], "pad": "x" * DEPTH_BYTES},
    ],
    ids=lambda each: repr(each)[:30],
)
async def test_a_change_that_cannot_be_read_breaks_the_chain(
    odd: dict[str, object], autojump_clock: MockClock
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        await settled(LASTING_S)
        exchange.change(BTC, {"61800.10": "2.000"}, **odd)
        await settled(0)
        assert not reader.is_live(), "at once, before the next change"
        exchange.change(BTC, {"61800.00": "2.000"})
        await settled()
        assert reader.is_live()
        assert reader.told()[-2:] == ["STALE", "LIVE"]
        assert sum(running.feed.stats().anomalies.values()) == 2


async def test_a_change_that_cannot_be_read_is_not_forgotten_while_a_snapshot_is_awaited(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=BOOK) as running:
        reader = BookReader(running)
        exchange.rest_fault = VenueUnreachableError("no route")
        exchange.change(BTC, {"61800.10": "1.000"})
        await settled()
        exchange.snapshots[BTC] = [exchange.books[BTC].snapshot()]
        exchange.change(BTC, {"61800.20": "0.000"}, b=7)
        await settled()
        exchange.rest_fault = None
        await settled(LONGEST_PAUSE_S)
        reader.read()
        states = reader.told()
        assert "LIVE" not in states, "the only snapshot is older than that change"
        exchange.change(BTC, {"61800.10": "2.000"})
        await settled(2 * FIRST_PAUSE_S)
        assert reader.is_live()


async def test_every_other_change_that_cannot_be_read_does_not_use_up_the_rest_budget(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=BOOK) as running:
        reader = BookReader(running)
        asked = len(exchange.requests)
        for number in range(100):
            exchange.change(BTC, {"61800.10": f"{number + 1}.000"})
            await settled(0.1)
            exchange.change(BTC, {"61800.20": f"{number + 1}.000"}, b=7)
            await settled(0.1)
            assert not reader.is_live()
        assert 3 < len(exchange.requests) - asked < 10


async def test_rest_that_fails_is_asked_again(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=BOOK) as running:
        reader = BookReader(running)
        exchange.rest_fault = VenueUnreachableError("no route")
        exchange.change(BTC, {"61800.10": "1.000"})
        await settled(10)
        assert not reader.is_live()
        exchange.rest_fault = None
        for second in range(20):
            exchange.change(BTC, {"61800.10": f"{second + 2}.000"})
            await settled(1)
        assert reader.is_live()


async def test_a_book_whose_stream_is_silent_is_not_live(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    exchange.trade(BTC, skip=True)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        exchange.mute.add("btcusdt@depth@0ms")
        for _ in range(20):
            exchange.change(BTC, {"61800.10": f"{_ + 2}.000"}, skip=True)
            exchange.quote(BTC)
            await settled(1)
        assert not reader.is_live()
        assert "changes of the order book are silent" in reader.why(BTC)[-1]
        exchange.mute.clear()
        await settled(5)
        exchange.change(BTC, {"61800.10": "50.000"})
        await settled(5)
        assert reader.is_live()


async def test_trades_that_are_silent_are_noticed_though_the_book_changes(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    exchange.trade(BTC, skip=True)
    async with running_feed(exchange, FeedConfig(stream="trade"), data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        exchange.trade(BTC)
        exchange.mute.add("btcusdt@trade")
        whys: list[str] = []
        for _ in range(90):
            exchange.change(BTC, {"61800.10": f"{_ + 2}.000"})
            exchange.trade(BTC)
            await settled(1)
            reader.read()
            whys = reader.why(BTC)
            if any("stream is silent" in each for each in whys):
                break
        assert whys[-1].startswith("STALE REST has")
        assert not reader.is_live()
        exchange.mute.clear()
        exchange.trade(BTC)
        await settled(5)
        assert reader.is_live()
