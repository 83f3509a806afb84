"""Books as clients see them: streams, snapshots and faults.

The reader here is written from Binance's documents, with a dict for each side. It shares nothing
with the simulator, which records its own book at every update.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from itertools import islice, pairwise
from typing import Any

import pytest
import trio
from trio_websocket import WebSocketConnection

from fanout.errors import UsageError
from fanout.simulator import Simulator
from fanout.simulator.dialects import dialect_of, symbols_of
from fanout.simulator.faults import Cross, Deepen, Delay, Empty, Garble, Skip, Stale, Unchain
from fanout.simulator.market.book import Book
from fanout.simulator.market.books import Moment, SyntheticBooks, Ticks
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.ticks import BookRules
from tests.captures import capture_path
from tests.fanout.simulator.support import capture_of, connect, data, rest, start

Side = dict[Decimal, Decimal]
State = tuple[Side, Side]
USDM = "/public/stream?streams="
SPOT = "/stream?streams="
QUOTE_FIELDS = ["e", "u", "s", "ps", "b", "B", "a", "A", "T", "E", "st"]
DEPTH_FIELDS = ["e", "E", "T", "s", "ps", "U", "u", "pu", "b", "a", "st"]


def side_of(rows: list[list[str]]) -> Side:
    return {Decimal(price): Decimal(quantity) for price, quantity in rows}


def decimals(row: tuple[str, str]) -> tuple[Decimal, Decimal]:
    price, quantity = row
    return Decimal(price), Decimal(quantity)


class Reader:
    """A book from depth alone, and from a snapshot."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.bids, self.asks = side_of(snapshot["bids"]), side_of(snapshot["asks"])
        self.last_id: int = snapshot["lastUpdateId"]

    @property
    def state(self) -> State:
        return dict(self.bids), dict(self.asks)

    @property
    def is_crossed(self) -> bool:
        return bool(self.bids and self.asks) and max(self.bids) >= min(self.asks)

    def apply(self, update: dict[str, Any]) -> None:
        for side, rows in ((self.bids, update["b"]), (self.asks, update["a"])):
            for price, quantity in side_of(rows).items():
                side[price] = quantity
                if not quantity:
                    del side[price]
        self.last_id = update["u"]

    def is_old(self, update: dict[str, Any]) -> bool:
        """As documented for futures; for spot, where `pu` is missing, one more is old."""
        if "pu" in update:
            return bool(update["u"] < self.last_id)
        return bool(update["u"] <= self.last_id)

    def joins(self, update: dict[str, Any]) -> bool:
        if "pu" not in update:
            return bool(update["U"] <= self.last_id + 1 <= update["u"])
        documented = update["U"] <= self.last_id <= update["u"]
        return bool(documented or update["pu"] == self.last_id)


def follows(update: dict[str, Any], last_id: int) -> bool:
    if "pu" in update:
        assert update["U"] > update["pu"] + 1
        return bool(update["pu"] == last_id)
    return bool(update["U"] == last_id + 1)


class States:
    """The market's own book at each update, by stream and update id."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], tuple[dict[int, int], dict[int, int], Listing]] = {}

    def note(self, stream: str, book: Book) -> None:
        sides = dict(book.bids.quantities), dict(book.asks.quantities)
        self._found[stream, book.last_id] = *sides, book.listing

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._found)

    def __getitem__(self, key: tuple[str, int]) -> State:
        bids, asks, listing = self._found[key]
        places = listing.price_precision, listing.quantity_precision
        return _in_decimals(bids, *places), _in_decimals(asks, *places)


def _in_decimals(side: dict[int, int], places: int, quantity_places: int) -> Side:
    return {
        Decimal(price).scaleb(-places): Decimal(quantity).scaleb(-quantity_places)
        for price, quantity in side.items()
    }


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> States:
    found = States()
    flushed = SyntheticBooks._flushed

    def noted(self: SyntheticBooks, kept: Any, interval_ms: int, at: Moment) -> Ticks:
        ticks = flushed(self, kept, interval_ms, at)
        for tick in ticks:
            assert tick.depth is not None
            assert tick.depth.last_id == kept.book.last_id
            found.note(tick.stream, kept.book)
        return ticks

    monkeypatch.setattr(SyntheticBooks, "_flushed", noted)
    return found


async def snapshot(simulator: Simulator, dialect: str = "binance-usdm", limit: int = 1_000) -> Any:
    path = "/fapi/v1/depth" if dialect == "binance-usdm" else "/api/v3/depth"
    async with rest(simulator) as http:
        return (await http.request(f"{path}?symbol=BTCUSDT&limit={limit}")).body


async def updates(client: WebSocketConnection, count: int) -> list[dict[str, Any]]:
    return [(await data(client))["data"] for _ in range(count)]


Scene = Callable[[Simulator, WebSocketConnection], Awaitable[None]]


async def play(
    scene: Scene, *names: str, dialect: str = "binance-usdm", at_once: bool = True, **config: Any
) -> None:
    """Run a market of BTCUSDT as fast as the client reads. It opens at once, or when released."""
    root = USDM if dialect == "binance-usdm" else SPOT
    target = root + "/".join(f"btcusdt@{name}" for name in names)
    config = {"symbols": ("BTCUSDT",), "speed": None, "seed": 3} | config
    async with trio.open_nursery() as nursery:
        simulator = await start(nursery, dialect=dialect, hold=not at_once, **config)
        async with connect(simulator, target, within_s=50) as client:
            await scene(simulator, client)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", [1, 2])
async def test_depth_loses_exactly_what_trades_take(seed: int) -> None:
    counts: dict[str, int] = defaultdict(int)

    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        reader = Reader(await snapshot(simulator))
        simulator.release()
        taken: list[tuple[str, Decimal, Decimal]] = []
        for _ in range(6_000):
            message = (await data(client))["data"]
            if message["e"] == "trade":
                if message["X"] == "MARKET":
                    side = "bids" if message["m"] else "asks"
                    taken.append((side, Decimal(message["p"]), Decimal(message["q"])))
                continue
            if not counts["updates"] and not taken:
                assert reader.joins(message)
            before = reader.state
            reader.apply(message)
            assert not reader.is_crossed
            counts["updates"] += 1
            if not taken:
                continue
            counts["sweeps"] += 1
            expected: dict[str, Side] = {"bids": dict(before[0]), "asks": dict(before[1])}
            for name, price, quantity in taken:
                best = max(expected["bids"]) if name == "bids" else min(expected["asks"])
                assert price == best, "a trade takes the best level"
                expected[name][price] -= quantity
                assert expected[name][price] >= 0
                if not expected[name][price]:
                    del expected[name][price]
            assert reader.state == (expected["bids"], expected["asks"])
            taken.clear()

    await play(scene, "trade", "depth@0ms", at_once=False, seed=seed)
    assert counts["sweeps"] > 400
    assert counts["updates"] > counts["sweeps"] + 100


STREAMS = [
    ("binance-usdm", "depth@0ms", 0, 300),
    ("binance-usdm", "depth@100ms", 100, 200),
    ("binance-usdm", "depth", 250, 100),
    ("binance-usdm", "depth@500ms", 500, 60),
    ("binance-spot", "depth@100ms", 100, 200),
    ("binance-spot", "depth", 1_000, 40),
]


@pytest.mark.parametrize(("dialect", "name", "interval_ms", "count"), STREAMS)
async def test_a_reader_by_the_documents_has_the_markets_book_at_every_update(
    states: States, dialect: str, name: str, interval_ms: int, count: int
) -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        buffered = await updates(client, 10)
        reader = Reader(await snapshot(simulator, dialect))
        while reader.is_old(buffered[-1]):
            buffered += await updates(client, 1)
        buffered += await updates(client, count)
        current = [update for update in buffered if not reader.is_old(update)]
        assert reader.joins(current[0])
        for number, update in enumerate(current):
            assert not number or follows(update, reader.last_id)
            reader.apply(update)
            assert reader.state == states[f"BTCUSDT@depth@{interval_ms}ms", update["u"]]
            assert not reader.is_crossed
        times = [update["E"] for update in current]
        assert all(later - earlier >= interval_ms for earlier, later in pairwise(times))

    # Twenty trades an update, whatever its interval.
    await play(scene, name, dialect=dialect, rate=min(200.0, 20_000 / max(1, interval_ms)))


async def test_snapshots_lie_inside_an_update_or_where_one_ends() -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        events = await updates(client, 5)
        inside = ends = 0
        while not (inside and ends):
            last_id = (await snapshot(simulator, limit=5))["lastUpdateId"]
            events = events[-1:]
            while events[-1]["u"] <= last_id:
                events += await updates(client, 1)
            is_inside = any(each["U"] <= last_id < each["u"] for each in events)
            is_end = any(each["pu"] == last_id for each in events)
            assert is_inside != is_end
            inside, ends = inside + is_inside, ends + is_end
            assert inside + ends < 100

    await play(scene, "depth@0ms")


async def test_a_quote_has_the_best_levels_of_the_update_with_its_id(
    states: States,
) -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        quotes = [each for each in await updates(client, 600) if each["e"] == "bookTicker"]
        assert len(quotes) > 100
        for quote in quotes[:-1]:
            bids, asks = states["BTCUSDT@depth@0ms", quote["u"]]
            bid, ask = max(bids), min(asks)
            assert (Decimal(quote["b"]), Decimal(quote["B"])) == (bid, bids[bid])
            assert (Decimal(quote["a"]), Decimal(quote["A"])) == (ask, asks[ask])
        assert all(one["u"] < other["u"] for one, other in pairwise(quotes))

    await play(scene, "bookTicker", "depth@0ms")


async def test_the_handle_has_the_book_after_the_newest_update(
    states: States,
) -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        for _ in range(20):
            await updates(client, 5)
            found = simulator.book("BTCUSDT", 10_000)
            assert found.last_id == max(update_id for _, update_id in states)
            bids, asks = states["BTCUSDT@depth@0ms", found.last_id]
            assert (dict(map(decimals, found.bids)), dict(map(decimals, found.asks))) == (
                bids,
                asks,
            )
            await snapshot(simulator)  # makers begin to act
        with pytest.raises(UsageError):
            simulator.book("NOSUCHUSDT")

    await play(scene, "depth@0ms")


async def test_messages_are_spelled_as_recorded_in_production() -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        found = {each["e"]: each for each in await updates(client, 100)}
        assert list(found["bookTicker"]) == [
            "e",
            "u",
            "s",
            "ps",
            "b",
            "B",
            "a",
            "A",
            "T",
            "E",
            "st",
        ]
        assert list(found["depthUpdate"]) == [
            "e",
            "E",
            "T",
            "s",
            "ps",
            "U",
            "u",
            "pu",
            "b",
            "a",
            "st",
        ]
        bids = [Decimal(price) for price, _ in found["depthUpdate"]["b"]]
        assert bids == sorted(bids)
        assert list(await snapshot(simulator)) == ["lastUpdateId", "E", "T", "bids", "asks"]

    await play(scene, "bookTicker", "depth@0ms")


async def test_messages_of_spot_are_spelled_as_recorded() -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        found = {each.get("e", "quote"): each for each in await updates(client, 100)}
        assert list(found["quote"]) == ["u", "s", "b", "B", "a", "A"]
        assert list(found["depthUpdate"]) == ["e", "E", "s", "U", "u", "b", "a"]
        bids = [Decimal(price) for price, _ in found["depthUpdate"]["b"]]
        assert bids == sorted(bids, reverse=True)
        assert all(len(price.partition(".")[2]) == 8 for price, _ in found["depthUpdate"]["b"])
        assert list(await snapshot(simulator, "binance-spot")) == ["lastUpdateId", "bids", "asks"]

    await play(scene, "bookTicker", "depth@100ms", dialect="binance-spot")


@pytest.mark.parametrize(
    ("dialect", "path", "weights"),
    [
        (
            "binance-usdm",
            "/fapi/v1/depth",
            {"": 10, "5": 2, "50": 2, "100": 5, "500": 10, "1000": 20},
        ),
        (
            "binance-spot",
            "/api/v3/depth",
            {"": 5, "1": 5, "100": 5, "101": 25, "1000": 50, "5000": 250, "9999": 250},
        ),
    ],
)
async def test_a_snapshot_has_the_documented_weight_and_no_more_levels_than_asked_for(
    dialect: str, path: str, weights: dict[str, int]
) -> None:
    async with trio.open_nursery() as nursery:
        simulator = await start(nursery, dialect=dialect, symbols=("BTCUSDT",), hold=True)
        used = 0
        for limit, weight in weights.items():
            target = f"{path}?symbol=BTCUSDT" + (f"&limit={limit}" if limit else "")
            async with rest(simulator) as http:
                answer = await http.request(target)
            assert int(answer.headers["x-mbx-used-weight-1m"]) == used + weight
            used += weight
            most = int(limit or (500 if dialect == "binance-usdm" else 100))
            assert len(answer.body["bids"]) == min(most, len(answer.body["bids"]))
            assert len(answer.body["asks"]) >= min(most, 400)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("symbol=BTCUSDT&limit=7", -4021, "7 is not valid depth limit"),
        ("symbol=BTCUSDT&limit=5000", -4021, "5000 is not valid depth limit"),
        (
            "symbol=BTCUSDT&limit=x",
            -1130,
            "Data sent for parameter 'limit' is not valid.",
        ),
        ("symbol=NOSUCH&limit=5", -1121, "Invalid symbol."),
    ],
)
async def test_an_invalid_request_for_a_book_is_refused(
    query: str, code: int, message: str
) -> None:
    async with trio.open_nursery() as nursery:
        simulator = await start(nursery, symbols=("BTCUSDT",), hold=True)
        async with rest(simulator) as http:
            answer = await http.request(f"/fapi/v1/depth?{query}")
        assert (answer.status, answer.body) == (400, {"code": code, "msg": message})
        nursery.cancel_scope.cancel()


async def test_a_symbol_that_does_not_trade_has_an_empty_book() -> None:
    async with trio.open_nursery() as nursery:
        simulator = await start(nursery, symbols=("BTCUSDT",), hold=True)
        async with rest(simulator) as http:
            answer = await http.request("/fapi/v1/depth?symbol=LUNAUSDT")
        assert (answer.body["bids"], answer.body["asks"]) == ([], [])
        nursery.cancel_scope.cancel()


def breaks(events: list[dict[str, Any]]) -> int:
    return sum(not follows(later, earlier["u"]) for earlier, later in pairwise(events))


async def up_to_a_break(client: WebSocketConnection, events: list[dict[str, Any]]) -> None:
    """The market may be some updates ahead of its reader."""
    while follows(events[-1], events[-2]["u"]):
        events += await updates(client, 1)
        assert len(events) < 1_000


async def test_a_skipped_update_breaks_the_chain_once() -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        events = await updates(client, 20)
        simulator.faults.inject(Skip("BTCUSDT", stream="depth"))
        await up_to_a_break(client, events)
        assert breaks(events + await updates(client, 50)) == 1

    await play(scene, "depth@0ms", speed=4.0)


async def test_a_delayed_update_comes_after_the_next_one() -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        simulator.faults.inject(Delay("BTCUSDT", stream="depth", by=1))
        events = await updates(client, 20)
        while not breaks(events):
            events += await updates(client, 1)
        events += await updates(client, 20)
        (late,) = (n for n, (one, other) in enumerate(pairwise(events)) if other["u"] < one["u"])
        events[late], events[late + 1] = events[late + 1], events[late]
        assert not breaks(events)

    await play(scene, "depth@0ms", speed=4.0)


@pytest.mark.parametrize("by", [1, 1_000_000, -1_000_000])
@pytest.mark.parametrize(("dialect", "name"), [STREAMS[0][:2], STREAMS[1][:2], STREAMS[4][:2]])
async def test_ids_that_jump_break_the_chain_and_nothing_else(
    states: States, dialect: str, name: str, by: int
) -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        reader = Reader(await snapshot(simulator, dialect))
        simulator.release()
        events = await updates(client, 20)
        simulator.faults.inject(Unchain("BTCUSDT", by))
        await up_to_a_break(client, events)
        events += await updates(client, 20)
        assert breaks(events) == 1
        (place,) = (n for n, (a, b) in enumerate(pairwise(events)) if not follows(b, a["u"]))
        assert (events[place + 1]["u"] < events[place]["u"]) == (by < 0)
        for update in events:
            reader.apply(update)
        interval = "depth@0ms" if name == "depth@0ms" else "depth@100ms"
        assert reader.state == states[f"BTCUSDT@{interval}", events[-1]["u"]]

    await play(scene, name, dialect=dialect, at_once=False, speed=4.0)


async def test_a_stale_snapshot_is_the_book_of_some_seconds_ago(
    states: States,
) -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        await updates(client, 1_000)
        simulator.faults.inject(Stale("BTCUSDT", age_s=4.0, requests=2))
        for _ in range(2):
            old = Reader(await snapshot(simulator))
            # The market is ahead of the client, by what the sockets hold.
            newest_id = max(update_id for _, update_id in states)
            assert old.last_id < newest_id
            assert old.state == states["BTCUSDT@depth@0ms", old.last_id]
        new = Reader(await snapshot(simulator))
        assert new.last_id >= newest_id
        assert simulator.faults.standing == ()

    await play(scene, "depth@0ms")


async def test_a_crossed_level_is_on_the_stream_and_not_in_snapshots() -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        reader = Reader(await snapshot(simulator))
        simulator.release()
        simulator.faults.inject(Cross("BTCUSDT"))
        (update,) = await updates(client, 1)
        reader.apply(update)
        assert reader.is_crossed
        assert not Reader(await snapshot(simulator)).is_crossed

    await play(scene, "depth@0ms", at_once=False)


async def test_an_emptied_book_fills_again() -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        reader = Reader(await snapshot(simulator))
        simulator.faults.inject(Empty("BTCUSDT"))
        (update,) = await updates(client, 1)
        assert update["b"]
        assert update["a"]
        reader.apply(update)
        assert reader.state == ({}, {})
        simulator.release()
        for update in await updates(client, 1_500):
            reader.apply(update)
            assert not reader.is_crossed
        assert min(map(len, reader.state)) > 150

    await play(scene, "depth@0ms", at_once=False)


async def test_a_deepened_book_has_levels_that_no_snapshot_shows() -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        reader = Reader(await snapshot(simulator))
        simulator.faults.inject(Deepen("BTCUSDT", levels=1_500))
        (update,) = await updates(client, 1)
        reader.apply(update)
        assert [len(update["b"]), len(update["a"])] == [1_500, 1_500]
        assert min(map(len, reader.state)) > 1_800
        found = await snapshot(simulator)
        assert [len(found["bids"]), len(found["asks"])] == [1_000, 1_000]

    await play(scene, "depth@0ms", at_once=False)


async def test_an_update_with_a_negative_quantity_is_otherwise_whole() -> None:
    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        simulator.faults.inject(Garble("BTCUSDT", how="negative", stream="depth"))
        rows = [row for each in await updates(client, 500) for row in (*each["b"], *each["a"])]
        assert sum(quantity.startswith("-") for _, quantity in rows) == 1

    await play(scene, "depth@0ms")


async def test_without_a_subscription_to_a_book_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []
    monkeypatch.setattr(SyntheticBooks, "start", lambda *given: started.append("book"))

    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        assert all(each["e"] == "trade" for each in await updates(client, 500))

    await play(scene, "trade", "depth@250ms")
    assert started == []


@pytest.mark.parametrize("fault", [Unchain(), Empty(), Deepen(), Cross(), Stale()])
async def test_the_books_of_a_recording_cannot_change(tmp_path: Any, fault: Any) -> None:
    async with trio.open_nursery() as nursery:
        simulator = await start(nursery, captures=(capture_of(tmp_path / "capture", 3),))
        with pytest.raises(UsageError, match="the books of a recording cannot change"):
            simulator.faults.inject(fault)
        nursery.cancel_scope.cancel()


async def test_a_replay_sends_recorded_books_and_answers_with_the_recorded_snapshot() -> None:
    path = capture_path("btcusdt_20240808.gz")
    with gzip.open(path) as file:
        lines = [line.partition(b" ")[2].strip() for line in islice(file, 1_500)]
    frames = [line.decode() for line in lines if line.startswith(b'{"stream"')]
    (body,) = (json.loads(line) for line in lines if line.startswith(b'{"lastUpdateId"'))

    async def scene(simulator: Simulator, client: WebSocketConnection) -> None:
        assert await snapshot(simulator) == body
        simulator.release()
        for frame in frames:
            assert await client.get_message() == frame
        later = await snapshot(simulator)
        assert later["lastUpdateId"] > body["lastUpdateId"]
        assert len(later["bids"]) == 1_000

    names = "trade", "bookTicker", "depth@0ms"
    await play(scene, *names, at_once=False, captures=(path,))


@pytest.mark.parametrize("dialect", ["bitfinex", "coinbase", "coinbase-advanced"])
async def test_the_ids_of_books_without_ids_cannot_jump(dialect: str) -> None:
    async with trio.open_nursery() as nursery:
        symbols = symbols_of(dialect_of(dialect), 1)
        simulator = await start(nursery, dialect=dialect, symbols=symbols)
        with pytest.raises(UsageError, match="have no update ids; use skip with stream=depth"):
            simulator.faults.inject(Unchain())
        nursery.cancel_scope.cancel()


async def test_ids_cannot_jump_by_zero() -> None:
    async with trio.open_nursery() as nursery:
        simulator = await start(nursery, symbols=("BTCUSDT",))
        with pytest.raises(UsageError, match="by is 0"):
            simulator.faults.inject(Unchain(by=0))
        nursery.cancel_scope.cancel()


def test_a_stream_that_shows_the_best_levels_tells_which_come_and_go() -> None:
    symbol, count = "BTCUSDT", 20
    rules = BookRules(is_contiguous=False, intervals_ms=(100,), levels=count)
    books = SyntheticBooks(rules, 7, lambda stream: True, lambda: 0)
    books.start(Listing(symbol, "100.00", "0.01", "0.001", weight=40), "100.00", Moment(0, 0))
    stream, sides, number, compared = f"{symbol}@depth@100ms", list[dict[str, str]](), 0, 0
    for turn in range(300):
        now_ns = turn * 20_000_000
        for depth in filter(None, (tick.depth for tick in books.due(now_ns))):
            for side, rows in zip(sides, (depth.bids, depth.asks), strict=False):
                for price, quantity in rows:
                    side[price] = quantity
                    if not quantity.strip("0."):
                        del side[price]
            number = depth.number if sides else 0
        whole = books.whole(stream)
        assert whole is not None
        shown = [dict(whole.bids[:count]), dict(whole.asks[:count])]
        if turn == 10:  # in the middle of an update
            sides, number = shown, whole.number
        elif sides:
            assert (sides, number) == (shown, whole.number)
            compared += 1
        if turn % 7 == 0:  # the price moves through the levels
            at, row = Moment(now_ns, turn * 20), (f"{100 + turn % 41 / 100:.2f}", "0.010")
            books.before(symbol, [row], buys=True, at=at)
            books.after(symbol, [row], buys=True, at=at)
    assert compared == 289
    assert number > 40
