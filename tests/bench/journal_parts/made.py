"""Journals for the stage `journal`: the market's trades, over and over, as a service keeps them."""

import os
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from fanout.feed.market import reference_of
from fanout.journal.disk import RealDisk
from fanout.journal.segment import Segment
from fanout.protocol import START, Block, Header, Trade, encode_block, frame
from fanout.protocol.constants import DataKinds
from fanout.protocol.header import opening
from fanout.protocol.journal import FileHeader, numbered
from fanout.venues.binance.venue import RECENT_TRADES
from tests.bench.codec import HELD_NS, recorded_trades
from tests.bench.codec_rivals.way import INSTRUMENTS

EPOCH_NS: Final = 1_000_000_000
CHANNEL: Final = "bench"
BLOCK_NS: Final = 1_000_000
"""From one block to the next."""
TRADES_A_BLOCK: Final = 30
"""They take some 200 bytes."""
PIECE_BYTES: Final = 64 * 1024
"""How much the service writes at once when it is busy."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A journal that was written."""

    url: str
    folder: Path
    """That of the epoch."""
    header: Header
    trades: int
    wire_bytes: int
    """What the same frames take on a connection, with one header."""
    blocks: int
    market: int
    """How many trades the market has. They come over and over."""

    @property
    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("*.fj"))

    @property
    def bytes_on_disk(self) -> int:
        return sum(each.stat().st_size for each in self.folder.iterdir())

    def seq_of(self, block: int) -> int:
        """The first number of a block. The first block is 0."""
        turn, at = divmod(block, -(-self.market // TRADES_A_BLOCK))
        return 1 + turn * self.market + at * TRADES_A_BLOCK


def market_trades() -> list[Trade]:
    """The trades of the market, once."""
    return list(recorded_trades())


def header_of(trades: Sequence[Trade]) -> Header:
    return Header(
        epoch_ns=EPOCH_NS,
        next_seq=1,
        venue="binance-usdm",
        channel=CHANNEL,
        data=DataKinds.TRADES,
        instruments=INSTRUMENTS,
        references=(reference_of(trades[:RECENT_TRADES]),),
    )


def frames_of(trades: Sequence[Trade], header: Header, blocks: int) -> Iterator[tuple[int, bytes]]:
    """So many blocks, each as the number of its first trade and its frame. The trades begin anew
    when they are over, and the time of reception goes on: a block a millisecond."""
    runs = [trades[at : at + TRADES_A_BLOCK] for at in range(0, len(trades), TRADES_A_BLOCK)]
    seq = 1
    for number in range(blocks):
        run = runs[number % len(runs)]
        block = Block(
            first_seq=seq,
            trades=list(run),
            received_ns=EPOCH_NS + (number + 1) * BLOCK_NS,
            held_ns=HELD_NS,
        )
        yield seq, frame(encode_block(block, header))
        seq += len(run)


def made(folder: Path, trades: Sequence[Trade], *, blocks: int, segments: int = 1) -> Made:
    """Write a journal of so many blocks in a folder, in segments of the same size."""
    header = header_of(trades)
    epoch = folder / CHANNEL / numbered(EPOCH_NS)
    disk, wire_bytes, due = RealDisk(), len(opening(header)), 1
    frames, size = frames_of(trades, header, blocks), -(-blocks // segments)
    for number in count():
        run = list(islice(frames, size))
        if not run:
            break
        first_seq = run[0][0]
        created_ns = EPOCH_NS + number * size * BLOCK_NS
        segment = Segment(
            disk,
            str(epoch),
            FileHeader(epoch_ns=EPOCH_NS, first_seq=first_seq, created_ns=created_ns),
            syncs=False,
        )
        segment.open()
        segment.append([frame(START) + opening(replace(header, next_seq=first_seq))])
        segment.publish()
        for piece in _pieces(each for _, each in run):
            segment.append([piece])
            wire_bytes += len(piece)
        segment.close()
        due = segment.next_seq
    return Made(
        url=f"journal://{folder}/{CHANNEL}",
        folder=epoch,
        header=header,
        trades=due - 1,
        wire_bytes=wire_bytes,
        blocks=blocks,
        market=len(trades),
    )


def _pieces(frames: Iterator[bytes]) -> Iterator[bytes]:
    piece = bytearray()
    for each in frames:
        piece += each
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def forget(paths: Sequence[Path]) -> None:
    """Take files out of the cache of the system."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
