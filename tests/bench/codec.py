"""Encoding and decoding trades.

Workload: the 21,313 trades of `btcusdt_20240808.gz` in blocks of 1, of 16 and of 256, with the
header's reference as the service makes it. A sample is one pass over all trades. The contenders
take turns, after one uncounted pass each, with the garbage collector enabled as in a service. The
figure is the thread's CPU time per trade: nothing here waits, and other load on the machine does
not count.

fanout encodes and decodes a block's payload, CRC included, with the plain functions and with their
compiled twins. The rivals handle the same values in the same process. None of them has a checksum,
and none checks a value's range. Each one's file in `codec_rivals` says how it is used, and which
faster ways it offers:

- `struct`: records of 34 bytes, decoded to the same `Trade` objects, and to bare tuples for
  comparison.
- msgpack by msgspec, of its own structs of seven fields.
- protobuf, in two schemas, decoded to the same `Trade` objects, and parsed alone for comparison.
- DBN, decoding only, to tuples of the fields it has room for, and unread for comparison.

Before the measurement, the stage checks that each contender decodes exactly the trades it encoded.
A contender that loses or changes a value fails the stage.

Goals: the compiled twins take at most 250 ns a trade in each direction and block size, and less
than every rival that does the same work; the plain functions take at most 5,000 ns.

Blocks of 1 are where goals are missed, or met by a little. Each trade pays for the beginning of a
block and its CRC, which msgpack does not have. To encode one, the compiled twin reads fields at
their offsets in memory, writes the payload on the stack, takes the CRC sixteen bytes at a time, and
makes one object: that is about as quick as msgpack, and not quicker in every round. The plain
decoder reads values of one or two bytes without the general varint reader, which made a level of a
book a third quicker. The checks of a block's fields and length stay, since a reader trusts nobody.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import islice, repeat
from statistics import median
from typing import Any, Final

import msgspec

from fanout.feed.market import reference_of
from fanout.feed.normalise import to_trade
from fanout.protocol import Block, Header, Trade
from fanout.protocol.block import decode_block, encode_block
from fanout.protocol.speedups import IS_COMPILED, PLAIN
from fanout.venues.binance import BinanceUsdm
from fanout.venues.binance.venue import RECENT_TRADES
from fanout.venues.values import VenueTrade
from tests.bench.codec_rivals.way import BTCUSDT, INSTRUMENTS, Values, Way, values_of
from tests.bench.market import frames
from tests.bench.measure import in_rounds, ratios
from tests.bench.report import Absent, Row, figure, why_absent

DIRECTIONS: Final = ("encode", "decode")
SIZES: Final = (1, 16, 256)
SMALL_TRADES: Final = 1_024
ROUNDS: Final = 15
HELD_NS: Final = 100_000

OURS: Final = "fanout, compiled"
RIVALS: Final[dict[str, dict[str, str]]] = {
    "records": {},
    "msgpack": {},
    "protobuf": {"google.protobuf": "pip install protobuf"},
    "dbn": {"databento_dbn": "pip install databento-dbn"},
}
"""Their modules in `codec_rivals`, what those need, and how to get it."""


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    trades = list(islice(recorded_trades(), SMALL_TRADES if small else None))
    header = Header(
        epoch_ns=1,
        next_seq=1,
        venue="binance-usdm",
        instruments=INSTRUMENTS,
        references=(reference_of(trades[:RECENT_TRADES]),),
    )
    missing = {name: why_absent(needs) for name, needs in RIVALS.items()}
    ways = [*ours(header), *rivals(name for name, why in missing.items() if not why)]
    rows: list[Row | Absent] = []
    for direction in DIRECTIONS:
        for size in SIZES:
            rows += _rows(ways, direction, blocks_of(trades, size), 1 if small else ROUNDS)
    if not IS_COMPILED:
        rows.append(Absent(OURS, "fanout.protocol._speedups is not built, or switched off"))
    return rows + [Absent(name, why) for name, why in missing.items() if why]


def recorded_trades() -> Iterator[Trade]:
    venue = BinanceUsdm()
    for received_ns, text in frames(BTCUSDT.symbol):
        item = venue.parse(text)
        assert isinstance(item, VenueTrade), "all frames are trades"
        yield msgspec.structs.replace(to_trade(item, BTCUSDT), received_ns=received_ns)


def blocks_of(trades: Sequence[Trade], size: int) -> list[Block]:
    """Whole blocks of that size; what is left over is left out."""
    starts = range(0, len(trades) - size + 1, size)
    return [
        Block(
            first_seq=start + 1,
            trades=trades[start : start + size],
            received_ns=trades[start].received_ns,
            held_ns=HELD_NS,
        )
        for start in starts
    ]


def ours(header: Header) -> list[Way]:
    """The plain functions, and the twins if they are in use."""
    plain = Way(
        name="fanout, plain",
        encode=PLAIN["encode_block"],
        decode=PLAIN["decode_block"],
        beside=(header,),
        values=lambda block: values_of(block.trades),
        compared=False,
        at_most_ns=5_000,
    )
    if not IS_COMPILED:
        return [plain]
    compiled = msgspec.structs.replace(
        plain, name=OURS, encode=encode_block, decode=decode_block, at_most_ns=250
    )
    return [compiled, plain]


def rivals(names: Iterable[str]) -> list[Way]:
    modules = [import_module(f"tests.bench.codec_rivals.{each}") for each in names]
    return [way for each in modules for way in each.WAYS]


def _rows(ways: list[Way], direction: str, blocks: list[Block], rounds: int) -> Iterator[Row]:
    """One direction with blocks of one size."""
    size = len(blocks[0].trades)
    shown = [way for way in ways if direction in way.shows]
    passes = {way.name: partial(_pass_ns, *prepared(way, direction, blocks)) for way in shown}
    samples = in_rounds(passes, rounds)
    per_trade = {
        name: [each / size / len(blocks) for each in times] for name, times in samples.items()
    }
    what = f"{direction}, blocks of {size}"
    for way in shown:
        ns = per_trade[way.name]
        yield figure(f"{what}: {way.name}", ns, "ns/trade", at_most=way.at_most_ns)
    if OURS in per_trade:
        against = {
            way.name: ratios(per_trade[way.name], per_trade[OURS]) for way in shown if way.compared
        }
        nearest = min(against, key=lambda name: median(against[name]))
        yield figure(f"{what}: {nearest} / {OURS}", against[nearest], "times", at_least=1)


def prepared(
    way: Way, direction: str, blocks: list[Block]
) -> tuple[Callable[..., object], list[Any], tuple[object, ...]]:
    """What to call with what. Raises `ValueError` if a way changes what it is given."""
    given = [way.given(each) for each in blocks]
    encoded = [way.encode(each, *way.beside) for each in given]
    for block, data in zip(blocks, encoded, strict=True):
        decoded = way.values(way.decode(data, *way.beside))
        if decoded != [way.kept(each) for each in _expected(block)]:
            raise ValueError(
                f"{way.name} changes trades: block {block.first_seq} becomes {decoded}"
            )
    if direction == "encode":
        return way.encode, given, way.beside
    return way.decode, encoded, way.beside


def _expected(block: Block) -> list[Values]:
    return [
        (*values[:-2], seq, block.received_ns)
        for seq, values in enumerate(values_of(block.trades), block.first_seq)
    ]


def _pass_ns(
    function: Callable[..., object], inputs: list[Any], beside: tuple[object, ...]
) -> float:
    # The quickest loop there is: a `for` would add 30 ns to each call, and blocks of one make one
    # call a trade.
    calls = map(function, inputs, *map(repeat, beside))
    started_ns = time.thread_time_ns()
    deque(calls, maxlen=0)
    return time.thread_time_ns() - started_ns
