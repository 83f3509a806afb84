"""A journal at rest: its size, checking it, and reading it in bulk."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from struct import Struct
from zlib import crc32

from fanout.cli.formats import json_line
from fanout.clients.columns.journal import read_journal
from fanout.clients.journal_files import folder_of
from fanout.journal.verifying import check_segment
from fanout.protocol import Trade
from fanout.protocol.journal import FILE_HEADER_BYTES, number_in
from fanout.protocol.journal_play import Playback
from fanout.protocol.request import Start
from fanout.protocol.speedups import IS_COMPILED
from tests.bench.journal_parts.made import EPOCH_NS, Made
from tests.bench.measure import in_rounds, ratios
from tests.bench.report import Absent, Row, figure

_FRAME = Struct("<I")
_BLOCK = Struct("<xBxHQ")


def sizes(made: Made, trades: list[Trade]) -> Iterator[Row]:
    """How many bytes the files take."""
    on_disk = made.bytes_on_disk
    sample = trades[:1_000]
    record = sum(len(json_line(each, EPOCH_NS)) + 1 for each in sample) / len(sample)
    yield Row(
        name="bytes on disk / on the wire",
        value=on_disk / made.wire_bytes,
        unit="times",
        at_most=1.02,
    )
    yield Row(name="bytes a trade on disk", value=on_disk / made.trades, unit="bytes")
    yield Row(
        name="a JSON record / a trade on disk",
        value=record * made.trades / on_disk,
        unit="times",
        at_least=20,
    )


def checking(made: Made, rounds: int) -> Iterator[Row | Absent]:
    """How fast the files are verified and read in bulk, in bytes of frames by CPU time."""
    size = sum(each.stat().st_size for each in made.segments)
    ways: dict[str, Callable[[], int]] = {
        "a plain loop with zlib": partial(_by_loop, made),
        "verify": partial(_verified, made),
        "bulk reading, frames": partial(_read, made),
        "bulk reading, rows": partial(_rows, made),
    }
    rates = in_rounds({name: partial(_rate, way, size) for name, way in ways.items()}, rounds)
    for name, found in rates.items():
        is_judged = IS_COMPILED and name in ("verify", "bulk reading, frames")
        yield figure(name, found, "GB/s", at_least=1.0 if is_judged else None)
    for name in ("verify", "bulk reading, frames") if IS_COMPILED else ():
        times = ratios(rates[name], rates["a plain loop with zlib"])
        yield figure(f"{name} / a plain loop with zlib", times, "times", at_least=5)
    trades = [rate * 1e9 / size * made.trades for rate in rates["bulk reading, rows"]]
    yield figure("bulk reading, rows", trades, "trades/s")
    if not IS_COMPILED:
        yield Absent("the compiled twin", "fanout.protocol._speedups is not built")


def _rate(way: Callable[[], int], size: int) -> float:
    began_ns = time.thread_time_ns()
    if way() == 0:
        raise ValueError("nothing was found")
    return size / (time.thread_time_ns() - began_ns)


def _verified(made: Made) -> int:
    frames = 0
    for path in made.segments:
        first_seq = number_in(path.name, ".fj")
        assert first_seq is not None, "it is named as a segment"
        descriptor = os.open(path, os.O_RDONLY)
        try:
            checked = check_segment(
                lambda offset, size, descriptor=descriptor: os.pread(descriptor, size, offset),
                os.fstat(descriptor).st_size,
                path.with_suffix(".fi").read_bytes(),
                channel=made.header.channel,
                epoch_ns=EPOCH_NS,
                first_seq=first_seq,
            )
        finally:
            os.close(descriptor)
        if not checked.is_right:
            raise ValueError(f"{path}: {checked.findings[0]}")
        frames += checked.frames
    return frames


def _read(made: Made) -> int:
    playback, read = Playback(folder_of(made.url)), 0
    if playback.begin(Start.OLDEST):
        while data := playback.read():
            read += len(data)
    playback.close()
    if playback.next_seq != made.trades + 1:
        raise ValueError(f"{playback.next_seq - 1:,} trades of {made.trades:,} were read")
    return read


def _rows(made: Made) -> int:
    trades = sum(len(piece.trades) for piece in read_journal(made.url))
    if trades != made.trades:
        raise ValueError(f"{trades:,} trades of {made.trades:,} were read")
    return trades


def _by_loop(made: Made) -> int:
    """What a reader has to do at least, in plain Python: length, CRC and number of each frame."""
    frames, due = 0, 1
    for path in made.segments:
        data = path.read_bytes()
        view, at = memoryview(data), FILE_HEADER_BYTES
        while at < len(data):
            (length,) = _FRAME.unpack_from(data, at)
            begin, at = at + _FRAME.size, at + _FRAME.size + length
            if data[begin] != 0x10:
                continue
            body = view[begin : at - _FRAME.size]
            if crc32(body) != _FRAME.unpack_from(data, at - _FRAME.size)[0]:
                raise ValueError("a CRC does not match")
            _, count, seq = _BLOCK.unpack_from(body)
            if seq != due:
                raise ValueError(f"number {seq} comes where {due} is due")
            due, frames = due + count, frames + 1
    return frames
