"""Blocks of trades, made before the measurement, as each kind of server takes and delivers them.

A *piece* is what is given to a server at once. In a file each stands behind its length.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Final

import msgspec

from fanout.channel.channel import Channel
from fanout.feed.market import reference_of
from fanout.feed.normalise import to_trade
from fanout.protocol import Header, Instrument, Trade
from fanout.protocol.constants import LENGTH_BYTES, InstrumentType
from fanout.venues.binance import BinanceUsdm
from fanout.venues.values import VenueTrade
from tests.bench.broadcast.brokers import Broker
from tests.bench.ingest_rivals.workload import texts
from tests.bench.market import PRICE_DECIMALS, QUANTITY_DECIMALS, SYMBOLS

NS_PER_MS: Final = 1_000_000
HELD_NS: Final = 100_000
LOG_BYTES: Final = 2**30
"""Room for everything."""

LENGTH: Final = Struct("<I")

INSTRUMENTS: Final = tuple(
    Instrument(
        index=index,
        symbol=symbol,
        price_exponent=-PRICE_DECIMALS,
        quantity_exponent=-QUANTITY_DECIMALS,
        type=InstrumentType.LINEAR_PERPETUAL,
    )
    for index, symbol in enumerate(SYMBOLS)
)


class Broadcast(msgspec.Struct, frozen=True):
    """What a server is given, piece by piece, and what each of its clients gets, in all."""

    pieces: list[bytes]
    received: bytes


def recorded(count: int) -> list[Trade]:
    """Trades of both symbols in the order in which they were received. Raises `Unavailable` as
    `market.frames` does."""
    instruments = dict(zip(SYMBOLS, INSTRUMENTS, strict=True))
    items = map(BinanceUsdm().parse, texts(count))
    return [to_trade(each, instruments[each.symbol]) for each in items if type(each) is VenueTrade]


def new_publisher(trades: Sequence[Trade]) -> Channel:
    """One whose references are made of the first of these, as a service's are of recent ones."""
    by_symbol = [[each for each in trades if each.instrument is one] for one in INSTRUMENTS]
    header = Header(
        epoch_ns=1,
        next_seq=1,
        venue="binance-usdm",
        instruments=INSTRUMENTS,
        references=tuple(reference_of(each[:500]) for each in by_symbol),
    )
    return Channel(header, log_bytes=LOG_BYTES, wall_ns=lambda: 0)


def blocks(trades: Sequence[Trade], size: int) -> list[bytes]:
    """The frames in which a publisher puts these, `size` trades in each."""
    publisher = new_publisher(trades)
    cursor = publisher.log.live()
    frames = []
    for run in runs(trades, size):
        received_ns = run[-1].time_ms * NS_PER_MS
        publisher.publish(run, received_ns=received_ns, held_ns=HELD_NS)
        frame = publisher.log.read(cursor, limit_bytes=1)
        assert isinstance(frame, bytes), "the log holds all of it"
        frames.append(frame)
    return frames


def runs(items: Sequence[Trade], size: int) -> Iterator[Sequence[Trade]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def as_frames(frames: list[bytes]) -> Broadcast:
    """For servers that hand on what they are given."""
    return Broadcast(frames, b"".join(frames))


def as_messages(broker: Broker, frames: Sequence[bytes], a_piece: int) -> Broadcast:
    """For a broker, which has its own way to say how long a message is: a message a block, and
    `a_piece` of them at once."""
    payloads = [each[LENGTH_BYTES:] for each in frames]
    published = list(map(broker.publish, payloads))
    pieces = [b"".join(published[i : i + a_piece]) for i in range(0, len(published), a_piece)]
    return Broadcast(pieces, b"".join(map(broker.deliver, payloads)))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> Path:
    path.write_bytes(b"".join(LENGTH.pack(len(each)) + each for each in pieces))
    return path


def read_pieces(path: Path) -> list[bytes]:
    data, offset, pieces = path.read_bytes(), 0, []
    while offset < len(data):
        (size,) = LENGTH.unpack_from(data, offset)
        offset += LENGTH.size + size
        pieces.append(data[offset - size : offset])
    return pieces
