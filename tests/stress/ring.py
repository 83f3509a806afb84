"""The ring under stress: reads that the writer tears, and readers that are stopped and killed.

    python -m tests.stress.ring                    both in their long form; about half an hour
    python -m tests.stress.ring torn 1000000000    one of them, with that many reads
    python -m tests.stress.ring frames 1000000     or frames

`torn`: a writer goes round and round in a tiny ring, as fast as it can, and readers read again and
again where it is about to overwrite. Each frame is a number 25 times over, so that a frame of two
halves shows. Before them a reader does the same that does not look whether its copy was
overwritten: it shows that reads are torn, of which the others must not deliver a single one.

`frames`: a ring of 64 KiB and eight readers, some of them stopped for a while or killed and started
again, at random. Each record is right; and in the end what a reader delivered and what it was told
that it lost is all that was written since it began, each number once.

The suite runs a small dose of both. Each prints a line, and fails by an assertion. The seed is
printed.
"""

import mmap
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Final

import msgspec

from fanout.protocol import PeerError, frame
from fanout.protocol import ring_page as page
from fanout.protocol.constants import LENGTH_BYTES
from fanout.protocol.ring import Lapped, RingReader, RingWriter
from tests.stress.shm import fork

TINY_BYTES: Final = 16 * 1024
SMALL_BYTES: Final = 64 * 1024
READERS: Final = 8
HARMED: Final = 6
"""Of these: every other one is killed, the others are stopped. Two are left alone."""
TORN_READERS: Final = 2
BLIND_READS: Final = 1_000_000

KINDS: Final = 4_096
"""Frames that differ; more than the ring can hold. After so many they come again."""

PAYLOADS: Final = [
    number.to_bytes(8, "little") * (1 + number % 59 + 60 * (number % 61 == 0))
    for number in range(KINDS)
]
"""Of 8 to 952 bytes."""

EDGE_PAYLOADS: Final = [number.to_bytes(8, "little") * 25 for number in range(KINDS)]
EDGE_BYTES: Final = LENGTH_BYTES + 200
"""Of their frames, which lie everywhere across the end of the ring."""
RUN: Final = 16
"""Frames that are read one after the other from the edge on."""

NAP_S: Final = 200e-6
"""Of a reader of `frames` that has read everything."""
LONGEST_REST_S: Final = 0.001
"""Of the writer of `frames`, after a burst."""
LONGEST_CALM_S: Final = 0.02
"""Between two kills or stops, and of a stop."""


class Course(msgspec.Struct):
    """What a reader did."""

    first: int
    """The number that came where it began."""
    next_seq: int
    delivered: int = 0
    lost: int = 0
    """Numbers that it was told it lost."""
    lapped: int = 0
    torn: int = 0
    """Frames that it got and that are not the next one, or that nobody wrote."""


def create(path: Path, capacity_bytes: int) -> RingWriter:
    size = page.DATA_AT + capacity_bytes
    path.write_bytes(bytes(size))
    with path.open("r+b") as file:
        return RingWriter(mmap.mmap(file.fileno(), size), header=None, pid=os.getpid())


def attach(path: Path, slot: int) -> RingReader:
    """A reader that can write to the table only."""
    with path.open("r+b") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        table = mmap.mmap(file.fileno(), page.TABLE_BYTES, offset=page.TABLE_AT)
    return RingReader(whole, table=table, slot=slot, pid=os.getpid())


Pop = Callable[[], bytes | None]


def follow(reader: RingReader, course: Course) -> None:
    """Read until the ring has ended."""
    pop, next_seq, has_ended = reader.pop, course.next_seq, False
    while True:
        try:
            payload = pop()
        except Lapped:
            course.lapped += 1
            next_seq = begin_again(reader, course)
            continue
        if payload is not None:
            assert payload == PAYLOADS[next_seq % KINDS], f"{payload!r} came as {next_seq}"
            course.next_seq = next_seq = next_seq + 1
            course.delivered += 1
            continue
        reader.note(lapped=course.lapped, lost=course.lost)
        if has_ended:
            return  # it had ended before this look
        has_ended = reader.has_ended
        time.sleep(NAP_S)


def begin_again(reader: RingReader, course: Course) -> int:
    """Go on at another place, now and then at the oldest. Gives the number that comes there."""
    begin = reader.begin_live if course.lapped % 4 else reader.begin_oldest
    while True:
        with suppress(Lapped):
            place = begin()
            course.lost += place.next_seq - course.next_seq
            course.next_seq = place.next_seq
            return place.next_seq


def hover(reader: RingReader, course: Course, count: int, pop: Pop) -> None:
    """Read at least `count` frames where the writer is about to overwrite them, and until it has
    done so once."""
    expected, ahead = EDGE_PAYLOADS * 2, cycle((0, 1, 2, 4, 8, 16))
    while course.delivered < count or not course.lapped:
        _, tail = reader.pulse
        first = (tail - reader.capacity) // EDGE_BYTES + 1 + next(ahead)
        if first < 0:
            continue  # the ring is not full yet
        reader.return_to(first * EDGE_BYTES)
        try:
            for each in expected[first % KINDS : first % KINDS + RUN]:
                if pop() != each:
                    course.torn += 1
                    break
        except Lapped:
            course.lapped += 1
        else:
            course.delivered += RUN


def pop_without_looking(reader: RingReader) -> bytes | None:
    """`pop`, but the copy is not checked. Raises `Lapped` for what cannot be a frame."""
    try:
        size = reader._frame_size(reader._copy(LENGTH_BYTES), reader.unread_bytes)
    except PeerError as error:
        raise Lapped from error
    payload = reader._copy(size)[LENGTH_BYTES:]
    reader.return_to(reader.position + size)
    return payload


def following(path: Path, slot: int, answer: int) -> Callable[[], None]:
    """The work of a reader's process in `frames`, which writes its course to a pipe."""

    def work() -> None:
        reader = attach(path, slot)
        course = Course(first=0, next_seq=0)
        course.first = begin_again(reader, course)
        course.lost = 0
        follow(reader, course)
        os.write(answer, msgspec.json.encode(course) + b"\n")

    return work


def hovering(path: Path, count: int, answer: int, *, looks: bool) -> Callable[[], None]:
    """The work of a reader's process in `torn`, which writes its course to a pipe."""

    def work() -> None:
        reader, course = attach(path, 0), Course(first=0, next_seq=0)
        hover(reader, course, count, reader.pop if looks else lambda: pop_without_looking(reader))
        os.write(answer, msgspec.json.encode(course) + b"\n")

    return work


def courses(pipe: int, answer: int, count: int) -> list[Course]:
    """What so many readers wrote to the pipe, whose other end is closed here: then it is known if
    one of them failed."""
    os.close(answer)
    with open(pipe) as answers:
        found = [msgspec.json.decode(line, type=Course) for line in answers]
    assert len(found) == count, "a reader failed"
    return found


def write_for_ever(path: Path, told: int) -> None:
    """The work of a writer that does not rest."""
    writer = create(path, TINY_BYTES)
    os.write(told, b"!")
    frames, push, seq = [frame(each) for each in EDGE_PAYLOADS], writer.push, 0
    while True:
        push(frames[seq % KINDS], seq + 2)
        seq += 1


def torn(path: Path, count: int, seed: int) -> str:
    """Reads right before the writer comes round."""
    started, told = os.pipe()
    writer = fork(lambda: write_for_ever(path, told))
    os.read(started, 1)
    pipe, answer = os.pipe()
    blind = fork(hovering(path, min(count // 20, BLIND_READS), answer, looks=False))
    (blindly,) = courses(pipe, answer, 1)
    began_s = time.perf_counter()
    pipe, answer = os.pipe()
    work = hovering(path, count // TORN_READERS, answer, looks=True)
    readers = [fork(work) for _ in range(TORN_READERS)]
    found = courses(pipe, answer, TORN_READERS)
    took_s = time.perf_counter() - began_s
    ends = [os.waitpid(pid, 0)[1] for pid in (blind, *readers)]
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    assert not any(ends), ends
    assert not sum(each.torn for each in found), found
    reads, lapped = sum(each.delivered for each in found), sum(each.lapped for each in found)
    return (
        f"{reads:,} reads, none torn; {lapped:,} laps noticed; without looking "
        f"{blindly.torn:,} of {blindly.torn + blindly.delivered:,} were torn; {took_s:.0f} s"
    )


def write_all(path: Path, count: int, chance: random.Random, told: int, go: int) -> None:
    """The work of a writer that writes `count` frames in bursts, and ends when it may."""
    writer = create(path, SMALL_BYTES)
    os.write(told, b"!")
    seq = 1
    while seq <= count:
        for _ in range(min(chance.randint(1, 400), count + 1 - seq)):
            writer.push(frame(PAYLOADS[seq % KINDS]), seq + 1)
            seq += 1
        time.sleep(chance.random() * LONGEST_REST_S)
    os.write(told, b"!")
    os.read(go, 1)
    writer.end()


def frames(path: Path, count: int, seed: int) -> str:
    """Eight readers, some of which are stopped and killed."""
    chance = random.Random(seed)
    (heard, told), (go, may) = os.pipe(), os.pipe()
    writer = fork(lambda: write_all(path, count, chance, told, go))
    os.read(heard, 1)
    pipe, answer = os.pipe()
    work = [following(path, slot, answer) for slot in range(READERS)]
    readers = [fork(each) for each in work]
    kills, stops = 0, 0
    while not select.select([heard], [], [], chance.random() * LONGEST_CALM_S)[0]:
        slot = chance.randrange(HARMED)
        if slot % 2:
            os.kill(readers[slot], signal.SIGSTOP)
            time.sleep(chance.random() * LONGEST_CALM_S)
            os.kill(readers[slot], signal.SIGCONT)
            stops += 1
        else:
            os.kill(readers[slot], signal.SIGKILL)
            status = os.waitpid(readers[slot], 0)[1]
            assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "it had failed before"
            readers[slot] = fork(work[slot])
            kills += 1
    os.write(may, b"!")
    found = courses(pipe, answer, READERS)
    assert not any(os.waitpid(pid, 0)[1] for pid in (*readers, writer)), found
    for each in found:
        assert each.next_seq == count + 1, each
        assert each.delivered + each.lost == count + 1 - each.first, each
    told_lost = sorted((each.lapped, each.lost) for each in found)
    assert told_lost == sorted(listed(path)), "the table says the same"
    delivered, lapped = sum(each.delivered for each in found), sum(each.lapped for each in found)
    return (
        f"{delivered:,} delivered and {sum(each.lost for each in found):,} lost by {READERS} "
        f"readers: all that was written; {lapped:,} laps, {kills} kills, {stops} stops"
    )


def listed(path: Path) -> list[tuple[int, int]]:
    """How many times each reader in the table was lapped, and how many numbers it lost."""
    table = path.read_bytes()[page.TABLE_AT : page.DATA_AT]
    words = memoryview(table).cast("Q").tolist()
    entries = [words[at : at + page.READER_WORDS] for at in range(0, len(words), page.READER_WORDS)]
    return [(each[page.LAPPED_WORD], each[page.LOST_WORD]) for each in entries if each[0]]


STRESSES: Final[dict[str, tuple[Callable[[Path, int, int], str], int]]] = {
    "torn": (torn, 1_000_000_000),
    "frames": (frames, 1_000_000),
}


def main(arguments: list[str]) -> None:
    names = arguments[:1] or list(STRESSES)
    for name in names:
        stress, count = STRESSES[name]
        count = int(arguments[1]) if arguments[1:] else count
        seed = int(arguments[2]) if arguments[2:] else random.randrange(10**6)
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            said = stress(Path(directory, "ring"), count, seed)
        print(f"{name} {count} (seed {seed}): {said}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
