"""Decoding blocks into numpy columns.

Workload: the 21,313 trades of `btcusdt_20240808.gz`, decoded into one numpy array with a column for
each field. Trades received within one millisecond share a block. A sample is one pass over all
trades; the contenders take turns. The figure uses the thread's CPU time: nothing here waits.

fanout checks each block's CRC, undoes its deltas and writes rows, with the plain functions and with
their compiled twin. For comparison, the same trades as fixed records of 56 bytes without a
checksum, in as many pieces:

- struct: `iter_unpack` to tuples, and an array of those.
- memory: the pieces joined and viewed in place by `numpy.frombuffer`. Nothing is decoded. It shows
  the least that four times as many bytes cost.

Before the measurement, the stage compares all arrays value by value.

Goal: 10 million trades a second with the compiled twin.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby, islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanout.clients.columns import TRADE, trades_of
from fanout.feed.market import reference_of
from fanout.protocol import Block, Header, Trade, encode_block
from fanout.protocol.rows import ROW, rows_of
from fanout.protocol.speedups import IS_COMPILED, twin
from fanout.venues.binance.venue import RECENT_TRADES
from tests.bench.codec import HELD_NS, recorded_trades
from tests.bench.codec_rivals.way import INSTRUMENTS
from tests.bench.measure import in_rounds
from tests.bench.report import Absent, Row, figure

NS_PER_MS: Final = 1_000_000
SMALL_TRADES: Final = 2_000
ROUNDS: Final = 15
GOAL: Final = 10e6

Array = NDArray[Any]


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
    blocks = blocks_of(trades)
    payloads = [encode_block(each, header) for each in blocks]
    records = [b"".join(map(record_of, numbered(each))) for each in blocks]
    ways: dict[str, Callable[[], Array]] = {
        "fanout, compiled": partial(trades_of, payloads, header),
        "fanout, plain": partial(plain, payloads, header),
        "struct, from fixed records": partial(by_struct, records),
        "memory, of fixed records": partial(by_memory, records),
    }
    rows: list[Row | Absent] = []
    if not IS_COMPILED:
        del ways["fanout, compiled"]
        rows.append(
            Absent("fanout, compiled", "fanout.protocol._speedups is not built, or switched off")
        )
    require_the_same(ways)
    passes = {name: partial(rate, way, len(trades)) for name, way in ways.items()}
    for name, rates in in_rounds(passes, 1 if small else ROUNDS).items():
        goal = GOAL if name == "fanout, compiled" else None
        rows.append(figure(name, rates, "trades/s", at_least=goal))
    return rows


def blocks_of(trades: Sequence[Trade]) -> list[Block]:
    """A block for what was received within a millisecond."""
    runs = [list(run) for _, run in groupby(trades, lambda each: each.received_ns // NS_PER_MS)]
    blocks, seq = [], 1
    for run in runs:
        received_ns = run[0].received_ns
        blocks.append(Block(first_seq=seq, trades=run, received_ns=received_ns, held_ns=HELD_NS))
        seq += len(run)
    return blocks


def numbered(block: Block) -> list[tuple[int, ...]]:
    return [
        (
            block.first_seq + place,
            each.trade_id,
            each.time,
            each.price,
            each.quantity,
            block.received_ns,
            each.instrument.index,
            each.kind,
            each.buyer_is_maker,
            each.back_filled,
        )
        for place, each in enumerate(block.trades)
    ]


def record_of(values: tuple[int, ...]) -> bytes:
    return ROW.pack(*values)


def plain(payloads: Sequence[bytes], header: Header) -> Array:
    return np.frombuffer(twin.plain[rows_of.__name__](payloads, header), TRADE)


def by_struct(records: Sequence[bytes]) -> Array:
    rows = [row for piece in records for row in ROW.iter_unpack(piece)]
    return np.array(rows, TRADE)


def by_memory(records: Sequence[bytes]) -> Array:
    return np.frombuffer(b"".join(records), TRADE)


def require_the_same(ways: dict[str, Callable[[], Array]]) -> None:
    """Raises `ValueError` if an array is not what the others are."""
    expected = by_values(ways["memory, of fixed records"]())
    for name, way in ways.items():
        if by_values(way()) != expected:
            raise ValueError(f"{name}: not the trades that were recorded")


def by_values(array: Array) -> list[tuple[object, ...]]:
    values: list[tuple[object, ...]] = array.tolist()
    return values


def rate(way: Callable[[], Array], trades: int) -> float:
    began_ns = time.thread_time_ns()
    way()
    return trades / (time.thread_time_ns() - began_ns) * 1e9
