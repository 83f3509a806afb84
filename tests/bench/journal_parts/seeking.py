"""Going to a number or a time of a journal, up to the first bytes that can be sent: by a service,
whose readers ask for what is older than its log, and by a client that reads the files itself.

Segments of 256 MiB would take a hundred times the room that a search looks at. So these are sparse:
each has frames for a mebibyte somewhere, and an index as long as if it had them everywhere.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import quantiles
from typing import BinaryIO, Final, NamedTuple, Protocol

import trio
from msgspec.structs import replace

from fanout.clients.journal_files import folder_of
from fanout.journal.disk import RealDisk
from fanout.journal.reading import READERS, JournalPast
from fanout.protocol import START, Position, frame
from fanout.protocol.header import opening
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    PACKED,
    PLACE_EVERY_BYTES,
    Place,
    decode_file_header,
    decode_places,
    encode_places,
    numbered,
)
from fanout.protocol.journal_folder import ChannelFolder
from fanout.protocol.journal_packed import CHUNK_BYTES, Chunk, encode_table
from fanout.protocol.journal_play import Playback, Seen
from fanout.protocol.request import Begin, Moment
from fanout.protocol.zstd import Zstd
from tests.bench.journal_parts.made import BLOCK_NS, EPOCH_NS, Made, forget
from tests.bench.report import Row

SEED: Final = 19
WARM_UP_SEEKS: Final = 500
PRESENT_NS: Final = 2**62
"""The epoch of the service. All that is sought in is from before."""

_OPENING_AT: Final = FILE_HEADER_BYTES + len(frame(START))
_FAR: Final = 10**12
"""More than a segment has, of numbers and of ns."""


def spread(made: Made, folder: Path, segment_bytes: int) -> Made:
    """The same journal in another folder, in segments of this size."""
    chance = random.Random(SEED)
    target = folder / made.folder.parent.name / made.folder.name
    target.mkdir(parents=True)
    for path in made.segments:
        data, index = path.read_bytes(), path.with_suffix(".fi").read_bytes()
        first_seq = decode_file_header(data).first_seq
        head = _OPENING_AT + len(opening(replace(made.header, next_seq=first_seq)))
        begin = CHUNK_BYTES * chance.randrange(1, segment_bytes // CHUNK_BYTES - 1)
        with (target / path.name).open("wb") as file:
            file.write(data[:head])
            file.seek(begin)
            file.write(data[head:])
            file.truncate(segment_bytes)
        steps = range(PLACE_EVERY_BYTES, begin + 1, PLACE_EVERY_BYTES)
        places = [_place(first_seq, 0, at) for at in steps]
        there = decode_places(index[FILE_HEADER_BYTES:])
        places += (replace(each, offset=each.offset + begin - head) for each in there)
        last, end = places[-1], begin - head + len(data)
        steps = range(end, segment_bytes, PLACE_EVERY_BYTES)
        places += (_place(last.seq + _FAR, last.time_ns + _FAR, at) for at in steps)
        name = path.with_suffix(".fi").name
        (target / name).write_bytes(index[:FILE_HEADER_BYTES] + encode_places(places))
    return replace(made, url=f"journal://{folder}/{target.parent.name}", folder=target)


def _place(seq: int, time_ns: int, offset: int) -> Place:
    return Place(seq=seq, time_ns=time_ns, offset=offset, opening=_OPENING_AT)


def packed(made: Made, folder: Path) -> Made:
    """The same journal in another folder, compressed but for the newest segment."""
    target = folder / made.folder.parent.name / made.folder.name
    target.mkdir(parents=True)
    zstd = Zstd()
    packed_nothing = zstd.pack(bytes(CHUNK_BYTES))
    for path in made.segments:
        (target / path.with_suffix(".fi").name).hardlink_to(path.with_suffix(".fi"))
        if path == made.segments[-1]:
            (target / path.name).hardlink_to(path)
            continue
        chunks: list[Chunk] = []
        with path.open("rb") as file, (target / (path.stem + PACKED)).open("wb") as into:
            full = _chunks_with_data(file)
            for number in range(path.stat().st_size // CHUNK_BYTES):
                file.seek(number * CHUNK_BYTES)
                data = zstd.pack(file.read(CHUNK_BYTES)) if number in full else packed_nothing
                into.write(data)
                chunks.append(Chunk(len(data), CHUNK_BYTES))
            into.write(encode_table(chunks))
    return replace(made, url=f"journal://{folder}/{target.parent.name}", folder=target)


def _chunks_with_data(file: BinaryIO) -> set[int]:
    """The chunks of a sparse file that are not holes."""
    found: set[int] = set()
    at = 0
    with suppress(OSError):  # behind the last data
        while True:
            begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            found |= set(range(begin // CHUNK_BYTES, -(-at // CHUNK_BYTES)))
    return found


def _read(path: Path) -> None:
    """Have a file in the system's cache, but for its holes."""
    with path.open("rb") as file:
        for number in _chunks_with_data(file):
            file.seek(number * CHUNK_BYTES)
            file.read(CHUNK_BYTES)


class Way(Protocol):
    """Who seeks. What it has read before it remembers."""

    async def find(self, place: Begin) -> tuple[int, "Took"]:
        """The number that is due at a place, and how long it took to get there."""
        ...


class Took(NamedTuple):
    """Wall time, and CPU time of all threads."""

    wall_ms: float
    cpu_ms: float


class _Watch:
    def __init__(self) -> None:
        self._began_ns = time.perf_counter_ns()
        self._cpu_ns = time.process_time_ns()

    def took(self) -> Took:
        cpu_ns = time.process_time_ns() - self._cpu_ns
        return Took((time.perf_counter_ns() - self._began_ns) / 1e6, cpu_ns / 1e6)


class ByService:
    """As a service does it for its readers, in a thread."""

    def __init__(self, made: Made) -> None:
        (made.folder.parent / numbered(PRESENT_NS)).mkdir(exist_ok=True)
        folder = ChannelFolder(RealDisk(), str(made.folder.parent))
        self._past = JournalPast(folder, EPOCH_NS, trio.CapacityLimiter(READERS))

    async def find(self, place: Begin) -> tuple[int, Took]:
        watch = _Watch()
        passage = await self._past.find(place, epoch_ns=PRESENT_NS)
        took = watch.took()
        assert passage is not None, "the journal has it"
        await passage.aclose()
        return passage.next_seq, took


class ByClient:
    """As a client of a journal does it."""

    def __init__(self, made: Made) -> None:
        self._folder, self._seen = folder_of(made.url), Seen()

    async def find(self, place: Begin) -> tuple[int, Took]:
        watch = _Watch()
        playback = Playback(self._folder, self._seen)
        playback.begin(place)
        took = watch.took()
        playback.close()
        return playback.next_seq, took


def seeking(made: Made, name: str, *, cold: int, warm: int, is_judged: bool) -> Iterator[Row]:
    """How long it takes. Cold: all files were taken out of the system's cache before each search,
    and nothing is remembered. Warm: all of them are in there, and after other searches."""
    for way, who in ((ByService, "a service"), (ByClient, "a client")):
        first, later = trio.run(_seek, made, way, cold, warm)
        row, warm_ms = f"{name}, {who}", [each.wall_ms for each in later]
        yield _p99(f"{row}, cold, p99", [each.wall_ms for each in first], at_most=5)
        yield _p99(f"{row}, warm, p99", warm_ms, at_most=0.2 if is_judged else None)
        yield _p99(f"{row}, warm, p99 of the CPU time", [each.cpu_ms for each in later])
        yield Row(name=f"{row}, warm, median", value=quantiles(warm_ms, n=2)[0], unit="ms")


async def _seek(
    made: Made, way: Callable[[Made], Way], cold: int, warm: int
) -> tuple[list[Took], list[Took]]:
    chance = random.Random(SEED)
    files = list(made.folder.iterdir())
    first, later = list[Took](), list[Took]()
    for number in range(cold):
        forget(files)
        first.append(await _sought(made, way(made), chance, number))
    for each in files:
        _read(each)
    one = way(made)
    for number in range(WARM_UP_SEEKS + warm):
        later.append(await _sought(made, one, chance, number))
    return first, later[WARM_UP_SEEKS:]


async def _sought(made: Made, way: Way, chance: random.Random, number: int) -> Took:
    """Go to a number or a time in turns. Raises `ValueError` if another place was found."""
    if number % 2:
        wanted = chance.randrange(1, made.trades)
        place: Begin = Position(epoch_ns=EPOCH_NS, seq=wanted)
    else:
        block = chance.randrange(made.blocks)
        wanted = made.seq_of(block)
        place = Moment(time_ns=EPOCH_NS + (block + 1) * BLOCK_NS - chance.randrange(BLOCK_NS))
    found, took = await way.find(place)
    if found != wanted:
        raise ValueError(f"{place}: {found} was found, and not {wanted}")
    return took


def _p99(name: str, values_ms: list[float], at_most: float | None = None) -> Row:
    return Row(name=name, value=quantiles(values_ms, n=100)[98], unit="ms", at_most=at_most)
