"""What a writer and a reader of a ring do to each other: every interleaving, for small sizes.

The writer looks at nothing that a reader does. So one run of it, recorded store by store, is all
that can happen on its side. A reader is run again and again: before each of its loads some more of
those stores are made, in all ways that there are. Stores and loads of a core keep their order, as
on x86-64; a frame is copied in several pieces, on either side.

    stores   intent   piece  piece  piece   next seq   tail   intent   piece ...
    loads    tail   length   piece  piece   intent

At a load only the values matter that its place in memory has from now on. Each is taken at the
first moment at which it is there, since every later moment leaves fewer ways to go on. A test
compares this with all moments one by one, where that is feasible.

What is shown has to fail for a writer that exchanges two stores, and for a reader that exchanges
two loads.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, Final, TypeVar

import pytest

from fanout.protocol import PeerError, frame, ring
from fanout.protocol import ring_page as page
from fanout.protocol.constants import U64_MAX
from fanout.protocol.ring import Lapped, RingReader, RingWriter
from fanout.protocol.speedups import PLAIN

T = TypeVar("T")

CAPACITY: Final = 4096
LANDMARKS: Final = 4

SIZES: Final = (1024, 512) * 8
"""Of the frames. The sixth begins where the first was, and is shorter."""

POSITIONS: Final = (0, *accumulate(SIZES))
"""Where each of them begins, counted from the start of the ring."""

FRAME_PIECES: Final = (0, 4, 512)
"""Where the data area is divided into what is stored and loaded at once, again and again."""

PAGE_PIECES: Final = (0, 8)

Pieces = tuple[int, ...]
Store = tuple[int, bytes]


class WrongError(Exception):
    """Something that must not happen, whatever the interleaving."""


def payload(seq: int) -> bytes:
    """Of frame `seq`, counted from 1. No other frame has one of its pieces."""
    return bytes([seq]) * (SIZES[seq - 1] - 4)


def pieces(start: int, stop: int, cuts: Pieces) -> Iterator[tuple[int, int]]:
    """The pieces of a range of memory."""
    while start < stop:
        within = start % cuts[-1]
        end = min(start - within + cuts[bisect_right(cuts, within)], stop)
        yield start, end
        start = end


class Recorder:
    """Memory of a writer whose stores are recorded. It begins at `base` of the file."""

    def __init__(self, view: memoryview, stores: list[Store], base: int, cuts: Pieces) -> None:
        self.view = view
        self.stores = stores
        self.base = base
        self.cuts = cuts

    def __getitem__(self, at: Any) -> Any:
        return self.view[at]

    def __setitem__(self, at: Any, value: Any) -> None:
        self.view[at] = value
        if isinstance(at, int):
            self.stores.append((at * 8, value.to_bytes(8, "little")))
            return
        first = at.start or 0
        for start, stop in pieces(first, first + len(value), self.cuts):
            self.stores.append((self.base + start, bytes(value[start - first : stop - first])))


class Recording:
    """A ring in a buffer, whose writer's stores are recorded from `begin` on."""

    def __init__(self, start: int = 0, before: int = 0) -> None:
        buffer = bytearray(page.DATA_AT + CAPACITY)
        self.writer: Any = RingWriter(buffer, header=None, pid=1, start=start)
        self.views = (self.writer._words, self.writer._page, self.writer._data)
        self.runs: list[list[Store]] = []
        self.seq = 0
        self.push(before)
        self.runs.clear()
        self.before = bytes(buffer)

    def step(self, act: Callable[[], object]) -> None:
        """Record what is stored while `act` runs."""
        words, whole, data = self.views
        run: list[Store] = []
        self.runs.append(run)
        self.writer._words = Recorder(words, run, 0, PAGE_PIECES)
        self.writer._page = Recorder(whole, run, 0, PAGE_PIECES)
        self.writer._data = Recorder(data, run, page.DATA_AT, FRAME_PIECES)
        act()

    def push(self, count: int) -> "Recording":
        """Push the next frames."""
        for _ in range(count):
            self.seq += 1
            self.step(self._push_next)
        return self

    def _push_next(self) -> None:
        PLAIN["RingWriter_push"](self.writer, frame(payload(self.seq)), self.seq + 1)

    def history(self) -> "History":
        return History(self.before, [each for run in self.runs for each in run])


class History:
    """A ring before a recorded run, and the values that each place of its memory has by and by."""

    def __init__(self, before: bytes, stores: list[Store]) -> None:
        self.before = before
        self.end = len(stores)
        self.values: dict[int, tuple[list[int], list[bytes]]] = {}
        for time, (at, value) in enumerate(stores, start=1):
            times, values = self.values.setdefault(at, ([0], [before[at : at + len(value)]]))
            times.append(time)
            values.append(value)

    def value(self, at: int, size: int, now: int) -> bytes:
        times, values = self.values.get(at, ([0], [self.before[at : at + size]]))
        return values[bisect_right(times, now) - 1]

    def word(self, word: int, now: int) -> int:
        return int.from_bytes(self.value(word * 8, 8, now), "little")

    def coming(self, at: int, now: int) -> list[int]:
        """The moments from now on at which this place has each of its values for the first time."""
        if at not in self.values:
            return [now]
        times, values = self.values[at]
        first = bisect_right(times, now) - 1
        seen: dict[bytes, int] = {}
        for time, value in zip(times[first:], values[first:], strict=True):
            seen.setdefault(value, max(time, now))
        return list(seen.values())


class Course:
    """The memory that a reader sees while a recorded writer goes on, in one of all ways."""

    def __init__(self, history: History, path: list[int], since: int, *, each_moment: bool) -> None:
        self.history = history
        self.now = since
        self.choices: list[tuple[int, int]] = []
        """At each load, which of how many moments it took."""
        self._path = path
        self._each_moment = each_moment

    def load(self, at: int, size: int) -> bytes:
        history = self.history
        if self._each_moment and at in history.values:
            moments = list(range(self.now, history.end + 1))
        else:
            moments = history.coming(at, self.now)
        step = len(self.choices)
        choice = self._path[step] if step < len(self._path) else 0
        self.choices.append((choice, len(moments)))
        self.now = moments[choice]
        return history.value(at, size, self.now)


class Loads:
    """Memory from `base` on, as a reader loads it: words by number, bytes by range."""

    def __init__(self, course: Course, base: int, size: int, cuts: Pieces) -> None:
        self.course = course
        self.base = base
        self.size = size
        self.cuts = cuts

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, int):
            return int.from_bytes(self.course.load(at * 8, 8), "little")
        found = [
            self.course.load(self.base + start, stop - start)
            for start, stop in pieces(at.start or 0, min(at.stop, self.size), self.cuts)
        ]
        return memoryview(b"".join(found))


def ways(
    history: History,
    act: Callable[[RingReader], T],
    *,
    position: int = 0,
    since: int = 0,
    each_moment: bool = False,
) -> Iterator[tuple[T, Course]]:
    """What `act` gives, for a reader at `position` from the moment `since` on, in all ways."""
    reader: Any = RingReader(bytearray(history.before))
    path: list[int] = []
    while True:
        course = Course(history, path, since, each_moment=each_moment)
        reader._words = reader._page = Loads(course, 0, page.PAGE_BYTES, PAGE_PIECES)
        reader._data = Loads(course, page.DATA_AT, CAPACITY, FRAME_PIECES)
        reader._position = position
        yield act(reader), course
        choices = course.choices
        while choices and choices[-1][0] + 1 == choices[-1][1]:
            choices.pop()
        if not choices:
            return
        path = [choice for choice, _ in choices]
        path[-1] += 1


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few landmarks, few tries, and lengths that are loaded like everything else."""
    monkeypatch.setattr(page, "LANDMARK_WORDS", page.LANDMARK_WORDS[:LANDMARKS])
    monkeypatch.setattr(page, "LANDMARKS", LANDMARKS)
    monkeypatch.setattr(page, "TRIES", 2)

    def unpack_length(data: Any, at: int) -> tuple[int]:
        return (int.from_bytes(data[at : at + 4].tobytes(), "little"),)

    monkeypatch.setattr(ring, "_unpack_length", unpack_length)


Pop = Callable[[RingReader], bytes | None]
Begin = Callable[[RingReader], Any]


def pop(reader: RingReader) -> bytes | None:
    found: bytes | None = PLAIN["RingReader_pop"](reader)
    return found


def read(reader: RingReader) -> bytes | None:
    """The next frame by `read`."""
    return reader.read(1)[4:] or None


def outcome(take: Pop, reader: RingReader) -> bytes | str | None:
    try:
        return take(reader)
    except Lapped:
        return "lapped"
    except PeerError as error:
        raise WrongError(f"the reader blames the writer: {error}") from error


def check_pop(history: History, start: int = 0, seq: int = 1, take: Pop = pop) -> set[str]:
    """A reader at frame `seq` gets that frame, or nothing yet, or is lapped when the writer has
    begun to overwrite it. Gives which of these happened. Raises `WrongError`."""
    position = start + POSITIONS[seq - 1] & U64_MAX
    seen = set()
    for found, course in ways(history, lambda reader: outcome(take, reader), position=position):
        if found == "lapped":
            ahead = history.word(page.INTENT_WORD, course.now) - position & U64_MAX
            if ahead <= CAPACITY:
                raise WrongError("lapped before the writer came round")
        elif found not in (None, payload(seq)):
            raise WrongError(f"frame {seq} is wrong: {found!r}")
        seen.add(found if isinstance(found, str) else "frame" if found else "nothing")
    return seen


BEGINS: Final[dict[str, Begin]] = {
    "live": RingReader.begin_live,
    "oldest": RingReader.begin_oldest,
    "middle": RingReader.begin_middle,
    "before": lambda reader: reader.begin_before(4),
}


def check_begin(history: History, begin: Begin, start: int = 0) -> int:
    """Each place that a reader finds has the number that comes there, and the frame there is right.
    Gives how many places were found. Raises `WrongError`."""

    def begin_and_pop(reader: RingReader) -> tuple[int, int, bytes | str | None] | None:
        try:
            place = begin(reader)
        except Lapped:
            return None
        return place and (place.position, place.next_seq, outcome(pop, reader))

    places = set()
    for found, _ in ways(history, begin_and_pop):
        if found is None:
            continue
        position, seq, there = found
        if position - start & U64_MAX != POSITIONS[seq - 1]:
            raise WrongError(f"number {seq} at {position:,}")
        if there not in (None, "lapped", payload(seq)):
            raise WrongError(f"frame {seq} is wrong: {there!r}")
        places.add(position)
    return len(places)


def check_session(history: History, steps: int) -> int:
    """What a reader delivers and what it is told that it lost is all up to where it is, each number
    once. Gives how many different courses that took. Raises `WrongError`."""

    def session(reader: RingReader) -> tuple[str, ...]:
        next_seq, course = 1, []
        for _ in range(steps):
            found = outcome(pop, reader)
            if found == "lapped":
                place = BEGINS["oldest"](reader)
                if place.next_seq <= next_seq:
                    raise WrongError(f"{next_seq} is lost, and there")
                course.append(f"lost to {place.next_seq - 1}")
                next_seq = place.next_seq
            elif found is not None:
                if found != payload(next_seq):
                    raise WrongError(f"frame {next_seq} is wrong: {found!r}")
                course.append(f"{next_seq}")
                next_seq += 1
        return tuple(course)

    return len({course for course, _ in ways(history, session)})


@pytest.mark.parametrize("take", [pop, read])
@pytest.mark.parametrize("start", [0, 3_584, 2**64 - 512])
def test_a_frame_is_right_or_it_was_overwritten(start: int, take: Pop) -> None:
    history = Recording(start).push(9).history()
    assert check_pop(history, start, take=take) == {"frame", "nothing", "lapped"}
    history = Recording(start, before=4).push(6).history()
    for seq in (1, 2, 3):
        assert check_pop(history, start, seq, take) == {"frame", "lapped"}


RUNS: Final = ((0, 3), (5, 2))
"""Frames before, and frames while the reader looks for a place: in an empty ring, and where the
landmarks are set for the second time."""


PLACES: Final = {"live": (4, 4), "oldest": (1, 2), "middle": (3, 4), "before": (2, 1)}


@pytest.mark.parametrize("name", BEGINS)
def test_a_place_has_the_number_that_comes_there(name: str) -> None:
    found = [
        check_begin(Recording(before=before).push(count).history(), BEGINS[name])
        for before, count in RUNS
    ]
    assert tuple(found) == PLACES[name]
    start = 2**64 - 1_536
    assert check_begin(Recording(start, before=6).push(1).history(), BEGINS[name], start) >= 1


def test_what_is_delivered_and_what_is_lost_is_all() -> None:
    assert check_session(Recording(before=4).push(3).history(), steps=3) >= 3


def test_the_first_moments_show_all_that_every_moment_shows() -> None:
    history = Recording(before=4).push(2).history()
    found = [
        {each for each, _ in ways(history, lambda reader: outcome(pop, reader), each_moment=every)}
        for every in (False, True)
    ]
    assert found == [{payload(1), "lapped"}] * 2


def test_a_snapshot_is_found_whole() -> None:
    recording = Recording(before=2)
    for _ in range(2):
        recording.step(recording.writer.begin_snapshot)
        recording.push(1)
        recording.step(recording.writer.end_snapshot)
    found = check_begin(recording.history(), RingReader.begin_snapshot)
    assert found == 2


def snapshots_one_behind_the_other() -> Recording:
    """A frame, a snapshot of one frame, another one, and a frame."""
    recording = Recording().push(1)
    for _ in range(2):
        recording.step(recording.writer.begin_snapshot)
        recording.push(1)
        recording.step(recording.writer.end_snapshot)
    return recording.push(1)


def check_passed(history: History, seq: int) -> set[bool]:
    """A frame that a reader takes for none of a snapshot is none. Raises `WrongError`."""

    def act(reader: RingReader) -> tuple[bytes | None, bool]:
        position = reader.position
        return pop(reader), reader.has_passed_snapshots(position)

    position, seen = POSITIONS[seq - 1], set()
    times = range(history.end + 1)
    since = next(each for each in times if history.word(page.TAIL_WORD, each) >= position)
    for (found, has_passed), _ in ways(history, act, position=position, since=since):
        if found is not None and has_passed and seq in (2, 3):
            raise WrongError(f"frame {seq} is of a snapshot")
        seen.add(has_passed)
    return seen


def test_a_frame_of_a_snapshot_is_taken_for_one() -> None:
    recording = snapshots_one_behind_the_other()
    history = recording.history()
    assert [check_passed(history, seq) for seq in (1, 2, 3, 4)] == [{True, False}] * 4
    # A writer that stores the end of a snapshot after it says that none is being written.
    ends = [run for run in recording.runs if run[-1][0] == page.SNAPSHOT_STATE_WORD * 8]
    for run in ends:
        if len(run) > 1:
            run.insert(0, run.pop())
    with pytest.raises(WrongError, match="frame 2"):
        check_passed(recording.history(), 2)


HEADERS: Final = [bytes([number]) * 16 for number in range(1, 4)]


@pytest.mark.parametrize("position", [100, 150, 200, 250, 300])
def test_a_header_is_the_one_that_counts_there_or_gone(position: int) -> None:
    """Header k counts from 100 k on. A reader knows of a position once the writer was there."""
    recording = Recording()
    ends = []
    for number, header in enumerate(HEADERS, start=1):
        words, whole = recording.views[:2]
        run: list[Store] = []
        recording.runs.append(run)
        page.write_header(
            Recorder(whole, run, 0, PAGE_PIECES),  # type: ignore[arg-type]
            Recorder(words, run, 0, PAGE_PIECES),  # type: ignore[arg-type]
            number % 2,
            header,
            100 * number,
        )
        ends.append(sum(map(len, recording.runs)))
    counts = position // 100
    right = {None, HEADERS[counts - 1]} | ({HEADERS[counts - 2]} if position % 100 == 0 else set())

    def act(reader: RingReader) -> bytes | None:
        return page.read_header(reader._page, reader._words, position)

    # The writer comes to a position that is where a header counts from before it writes that one.
    since = ends[counts - 1] if position % 100 else ends[counts - 2] if counts > 1 else 0
    found = {each for each, _ in ways(recording.history(), act, since=since)}
    assert found <= right | ({b""} if counts == 1 else set())
    assert HEADERS[counts - 1] in found


def place_of(run: list[Store], word: int) -> int:
    """Where in a run the writer stores this word last."""
    return max(step for step, (at, _) in enumerate(run) if at == word * 8)


def first_piece(run: list[Store]) -> int:
    return min(step for step, (at, _) in enumerate(run) if at >= page.DATA_AT)


def last_piece(run: list[Store]) -> int:
    return max(step for step, (at, _) in enumerate(run) if at >= page.DATA_AT)


def landmark(run: list[Store], step: int) -> int:
    """The first (0), second or third store of the landmark that is set in this run."""
    words = range(page.LANDMARK_WORDS.start * 8, page.LANDMARK_WORDS.stop * 8 + 8)
    return [each for each, (at, _) in enumerate(run) if at in words][step]


Places = Callable[[list[Store]], tuple[int, int]]

EXCHANGES: Final[dict[str, Places]] = {
    "the intent after a piece": lambda run: (place_of(run, page.INTENT_WORD), first_piece(run)),
    "the tail before a piece": lambda run: (last_piece(run), place_of(run, page.TAIL_WORD)),
    "the number after the tail": lambda run: (
        place_of(run, page.NEXT_SEQ_WORD),
        place_of(run, page.TAIL_WORD),
    ),
    "the number in place of the intent": lambda run: (
        place_of(run, page.INTENT_WORD),
        place_of(run, page.NEXT_SEQ_WORD),
    ),
    "a landmark's number before its position": lambda run: (landmark(run, 1), landmark(run, 2)),
    "a landmark's position before it is unset": lambda run: (landmark(run, 0), landmark(run, 1)),
}


def exchanged(recording: Recording, places: Places) -> History:
    """What a writer stores that exchanges two of its stores in each push."""
    stores = []
    for run in recording.runs:
        mixed = run.copy()
        try:
            one, other = places(run)
        except IndexError:
            pass  # this push sets no landmark
        else:
            mixed[one], mixed[other] = mixed[other], mixed[one]
        stores += mixed
    return History(recording.before, stores)


@pytest.mark.parametrize("name", EXCHANGES)
def test_a_writer_that_exchanges_two_stores_is_found_out(name: str) -> None:
    def check_all() -> None:
        check_pop(exchanged(Recording().push(8), EXCHANGES[name]))
        for before, count in RUNS:
            history = exchanged(Recording(before=before).push(count), EXCHANGES[name])
            for begin in BEGINS.values():
                check_begin(history, begin)

    with pytest.raises(WrongError):
        check_all()


def pop_that_looks_first(reader: Any) -> bytes | None:
    """`pop`, but it loads the intent before it copies."""
    if reader._is_overwritten(reader._position):
        raise Lapped
    if not (unread := reader.unread_bytes):
        return None
    size = reader._frame_size(reader._copy(4), unread)
    data: bytes = reader._copy(size)[4:]
    return data


def begin_live_from_the_number(reader: Any) -> ring.Place | None:
    """`begin_live`, but it loads the number before the tail."""
    seq, tail = reader._words[page.NEXT_SEQ_WORD], reader._words[page.TAIL_WORD]
    if reader._words[page.INTENT_WORD] != tail:
        return None
    reader._position = tail
    return ring.Place(tail, seq, None)


def begin_live_without_the_intent(reader: Any) -> ring.Place:
    """`begin_live`, but it trusts that number and tail belong together."""
    tail, seq = reader._words[page.TAIL_WORD], reader._words[page.NEXT_SEQ_WORD]
    reader._position = tail
    return ring.Place(tail, seq, None)


def test_a_reader_that_loads_in_another_order_is_found_out() -> None:
    history = Recording(before=5).push(3).history()
    with pytest.raises(WrongError):
        check_pop(history, take=pop_that_looks_first)
    for begin in (begin_live_from_the_number, begin_live_without_the_intent):
        with pytest.raises(WrongError):
            check_begin(history, begin)
