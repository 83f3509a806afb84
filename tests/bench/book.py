"""Order books: levels applied, prices read, JSON to book, memory.

Workload: the depth of `btcusdt_20240808.gz` (`@depth@0ms`): 6,545 messages with 443,193 levels
after the REST snapshot, which grow the book to some 5,000 levels a side. Each contender starts from
the snapshot, and a sample is one pass over all messages. The contenders take turns, after one
uncounted pass each. The figure is the thread's CPU time. It is not the median but the best of the
rounds, since whatever else the machine does only adds to it. Before the measurement, the stage
checks that all contenders end in the same book. Without the recording the stage takes a synthetic
book of the same shape.

Our books get updates with packed levels, one call of `apply` each. The rivals get the same levels
in the form they take best, made before, so they are spared the unpacking. Each one's file in
`book_rivals` says how it is used:

- a dict and a sorted list of prices a side; sortedcontainers; numpy.
- `order-book`, a C extension; the book of nautilus_trader, in Rust.

Then the same pass with the best prices read after each message; what is read most often, on the
book at the end; and the messages' JSON, to the book and, for comparison, decoded by msgspec alone,
to a struct with lists of pairs of strings.

At last 2,048 books of 1,000 levels a side, in a process of their own: resident memory as loaded,
and after 4,000 changes of each side of each book.

Goals, with the compiled twin: 12 million levels a second, 6 times the plain class and ahead of
every rival; a message applied and its best prices read in 10 us; best bid and ask in 160 ns, ten
levels of each side in 1.7 us, VWAP and imbalance over 20 levels in 0.2 us; from JSON to the book in
half of what msgspec takes to decode; 100 MiB for the 2,048 books.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from itertools import islice, repeat
from typing import Any, Final

import msgspec

from fanout.protocol import OrderBook, Side
from fanout.protocol.book import twin
from fanout.protocol.book_records import BookUpdate, Level
from fanout.protocol.constants import BookFlags
from fanout.venues.binance.depth import read_depth
from fanout.venues.levels import packed_side
from tests.bench.book_rivals.held import Held, Levels, Pairs, Way
from tests.bench.codec_rivals.way import BTCUSDT
from tests.bench.market import book_lines
from tests.bench.measure import WORK_CORE, answer, in_rounds, start
from tests.bench.report import Absent, Row, why_absent

OURS: Final = "fanout, compiled"
PLAIN: Final = "fanout, plain"
RIVALS: Final[dict[str, dict[str, str]]] = {
    "dicts": {},
    "arrays": {},
    "containers": {"sortedcontainers": "pip install sortedcontainers"},
    "extension": {"order_book": "pip install order-book"},
    "nautilus": {
        "nautilus_trader": "pip install nautilus_trader",
        "pytz": "pip install pytz",
    },
}
"""Their modules in `book_rivals`, what those need, and how to get it."""

SMALL_MESSAGES: Final = 300
ROUNDS: Final = 7
READS: Final = 100_000
DEPTH_LEVELS: Final = 20
BOOKS, LEVELS, CHANGES = 2_048, 1_000, 4_000


class _Message(msgspec.Struct, gc=False):
    e: str
    E: int
    T: int
    s: str
    U: int
    u: int
    pu: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _Envelope(msgspec.Struct, gc=False):
    data: _Message


class Market(msgspec.Struct, frozen=True):
    """The recorded or synthetic depth, in the forms in which the contenders take it."""

    snapshot: BookUpdate
    messages: list[bytes]
    updates: list[BookUpdate]
    pairs: list[tuple[Pairs, Pairs]]
    """Of the snapshot and of the messages after it."""
    levels: int
    """In the messages after it."""


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    market = market_of(SMALL_MESSAGES if small else None)
    rounds = 1 if small else ROUNDS
    missing = {name: why_absent(needs) for name, needs in RIVALS.items()}
    ways = rivals(name for name, why in missing.items() if not why)
    require_the_same(market, ways)
    rows: list[Row | Absent] = [
        *_apply_rows(market, ways, rounds),
        *_frame_rows(market, ways, rounds),
        *_read_rows(market, READS // 100 if small else READS, rounds),
        *_text_rows(market, rounds),
        *_memory_rows(BOOKS // 64 if small else BOOKS),
    ]
    if not twin.is_compiled:
        rows.append(Absent(OURS, "fanout.protocol._book is not built, or switched off"))
    return rows + [Absent(name, why) for name, why in missing.items() if why]


def market_of(count: int | None) -> Market:
    """The snapshot, and as many of the messages after it, or all of them. Raises `Unavailable` as
    `book_lines` does."""
    lines = (text for _, text in book_lines())
    snapshot = next(text for text in lines if text.startswith(b'{"lastUpdateId"'))
    depth = (text for text in lines if text.startswith(b'{"stream":"btcusdt@depth@0ms"'))
    messages = list(islice(depth, count))
    updates = [read_depth(each, BTCUSDT).update for each in messages]
    row = json.loads(snapshot)
    whole = BookUpdate(
        BTCUSDT,
        row["lastUpdateId"],
        row["T"],
        packed_side(row["bids"], BTCUSDT, Side.BID),
        packed_side(row["asks"], BTCUSDT, Side.ASK),
        BookFlags.WHOLE,
    )
    pairs = [(_pairs(each.bids), _pairs(each.asks)) for each in (whole, *updates)]
    levels = sum(len(bids) + len(asks) for bids, asks in pairs[1:])
    return Market(whole, messages, updates, pairs, levels)


def _pairs(levels: Sequence[Level]) -> Levels:
    """Plain tuples, which a rival's book may take more quickly."""
    return [(price, quantity) for price, quantity in levels]


def rivals(names: Any) -> list[Way]:
    modules = [import_module(f"tests.bench.book_rivals.{each}") for each in names]
    return [way for each in modules for way in each.WAYS]


def our_books() -> dict[str, Callable[..., OrderBook]]:
    """The plain class, and its twin if that is in use."""
    plain: Callable[..., OrderBook] = twin.plain["OrderBook"]
    return {OURS: OrderBook, PLAIN: plain} if twin.is_compiled else {PLAIN: plain}


def started(make: Callable[..., OrderBook], market: Market) -> OrderBook:
    book = make(BTCUSDT)
    book.apply(market.snapshot)
    return book


def require_the_same(market: Market, ways: Sequence[Way]) -> None:
    """Raises `ValueError` if a contender does not end in the book of the others."""
    ends: dict[str, tuple[Levels, Levels]] = {}
    for way in ways:
        held = way.make()
        for message in way.given(market.pairs):
            held.apply(*message)
        ends[way.name] = held.levels()
    for name, make in our_books().items():
        book = started(make, market)
        for update in market.updates:
            book.apply(update)
        bids, asks = book.levels()
        ends[name] = _pairs(bids), _pairs(asks)
    for name, end in ends.items():
        if end != ends[PLAIN]:
            raise ValueError(f"{name} ends in another book than {PLAIN}")


def best(name: str, samples: Sequence[float], unit: str, **goal: float) -> Row:
    """The row of the best sample: the lowest, or the highest where there is a goal of at least."""
    value = max(samples) if "at_least" in goal else min(samples)
    return Row(name=name, value=value, unit=unit, low=min(samples), high=max(samples), **goal)


def ratio(name: str, value: float, **goal: float) -> Row:
    """The row of how many times as long something takes."""
    return Row(name=name, value=value, unit="times", **goal)


def _apply_rows(market: Market, ways: Sequence[Way], rounds: int) -> list[Row]:
    passes: dict[str, Callable[[], float]] = {
        name: partial(_our_pass_ns, make, market) for name, make in our_books().items()
    }
    passes |= {way.name: partial(_rival_pass_ns, way, way.given(market.pairs)) for way in ways}
    samples = in_rounds(passes, rounds)
    rows = [
        best(f"apply: {name}", [each / market.levels for each in times], "ns/level")
        for name, times in samples.items()
    ]
    if OURS in samples:
        ours = samples[OURS]
        rates = [market.levels / each * 1e9 for each in ours]
        rows.append(best(f"apply: {OURS}, in a second", rates, "levels/s", at_least=12e6))
        fastest = {name: min(times) / min(ours) for name, times in samples.items() if name != OURS}
        plain = fastest.pop(PLAIN)
        nearest = min(fastest, key=lambda name: fastest[name])
        rows.append(ratio(f"apply: {PLAIN} / {OURS}", plain, at_least=6))
        rows.append(ratio(f"apply: {nearest} / {OURS}", fastest[nearest], at_least=1))
    return rows


def _frame_rows(market: Market, ways: Sequence[Way], rounds: int) -> list[Row]:
    passes: dict[str, Callable[[], float]] = {
        name: partial(_our_frames_ns, make, market) for name, make in our_books().items()
    }
    passes |= {way.name: partial(_rival_frames_ns, way, way.given(market.pairs)) for way in ways}
    goals = {OURS: {"at_most": 10.0}}
    return [
        best(
            f"a message of {market.levels / len(market.messages):.0f} levels, best prices read: "
            f"{name}",
            [each / len(market.messages) / 1e3 for each in times],
            "us",
            **goals.get(name, {}),
        )
        for name, times in in_rounds(passes, min(rounds, 3)).items()
    ]


def _read_rows(market: Market, reads: int, rounds: int) -> list[Row]:
    goals = {"best bid and ask": 160, "ten levels a side": 1_700, "VWAP": 200, "imbalance": 200}
    rows = []
    for name, make in our_books().items():
        book = started(make, market)
        for update in market.updates:
            book.apply(update)
        quantity = book.depth(Side.ASK, DEPTH_LEVELS).quantity
        ways: dict[str, Callable[[], float]] = {
            "best bid and ask": partial(_best_ns, book, reads),
            "ten levels a side": partial(_calls_ns, book.levels, (10,), reads),
            "VWAP": partial(_calls_ns, book.vwap, (Side.ASK, quantity), reads),
            "imbalance": partial(_calls_ns, book.imbalance, (DEPTH_LEVELS,), reads),
        }
        for what, times in in_rounds(ways, rounds).items():
            over = f" over {DEPTH_LEVELS} levels" if what in ("VWAP", "imbalance") else ""
            goal = {"at_most": float(goals[what])} if name == OURS else {}
            rows.append(best(f"{what}{over}: {name}", times, "ns", **goal))
    return rows


def _text_rows(market: Market, rounds: int) -> list[Row]:
    decode = msgspec.json.Decoder(_Envelope).decode
    passes: dict[str, Callable[[], float]] = {
        "JSON decoded by msgspec": partial(_decode_ns, decode, market),
        "JSON to the book: fanout": partial(_text_ns, market),
    }
    samples = in_rounds(passes, rounds)
    rows = [
        best(name, [each / market.levels for each in times], "ns/level")
        for name, times in samples.items()
    ]
    theirs, ours = (min(each) for each in samples.values())
    goal = {"at_most": 0.5} if twin.is_compiled else {}
    rows.append(ratio("JSON to the book: fanout / JSON decoded by msgspec", ours / theirs, **goal))
    return rows


def _memory_rows(books: int) -> list[Row]:
    child = start("tests.bench.book_rivals.many", books, LEVELS, CHANGES, core=WORK_CORE)
    found = answer(child)
    goal = {"at_most": 100.0} if twin.is_compiled else {}
    return [
        Row(
            name=f"{books:,} books of {LEVELS:,} levels a side",
            value=found["loaded"],
            unit="MiB",
            **goal,
        ),
        Row(
            name=f"the same after {CHANGES:,} changes a side, {found['levels']:,.0f} levels each",
            value=found["changed"],
            unit="MiB",
            **goal,
        ),
    ]


def _our_pass_ns(make: Callable[..., OrderBook], market: Market) -> float:
    apply = started(make, market).apply
    began_ns = time.thread_time_ns()
    for update in market.updates:
        apply(update)
    return time.thread_time_ns() - began_ns


def _rival_pass_ns(way: Way, messages: list[tuple[Any, ...]]) -> float:
    apply = way.make().apply
    apply(*messages[0])
    later = messages[1:]
    began_ns = time.thread_time_ns()
    for message in later:
        apply(*message)
    return time.thread_time_ns() - began_ns


def _our_frames_ns(make: Callable[..., OrderBook], market: Market) -> float:
    book = started(make, market)
    began_ns = time.thread_time_ns()
    for update in market.updates:
        book.apply(update)
        _ = book.best_bid
        _ = book.best_ask
    return time.thread_time_ns() - began_ns


def _rival_frames_ns(way: Way, messages: list[tuple[Any, ...]]) -> float:
    book: Held = way.make()
    book.apply(*messages[0])
    later = messages[1:]
    began_ns = time.thread_time_ns()
    for message in later:
        book.apply(*message)
        book.best()
    return time.thread_time_ns() - began_ns


def _best_ns(book: OrderBook, reads: int) -> float:
    began_ns = time.thread_time_ns()
    for _ in repeat(None, reads):
        _ = book.best_bid
        _ = book.best_ask
    return (time.thread_time_ns() - began_ns) / reads


def _calls_ns(method: Callable[..., object], arguments: tuple[object, ...], reads: int) -> float:
    began_ns = time.thread_time_ns()
    for _ in repeat(None, reads):
        method(*arguments)
    return (time.thread_time_ns() - began_ns) / reads


def _decode_ns(decode: Callable[[bytes], object], market: Market) -> float:
    began_ns = time.thread_time_ns()
    for message in market.messages:
        decode(message)
    return time.thread_time_ns() - began_ns


def _text_ns(market: Market) -> float:
    apply = started(OrderBook, market).apply
    began_ns = time.thread_time_ns()
    for message in market.messages:
        apply(read_depth(message, BTCUSDT).update)
    return time.thread_time_ns() - began_ns
