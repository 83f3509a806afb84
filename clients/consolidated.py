"""A client that reads a consolidator's rings: a directory, and all trades in it.

    for each in ConsolidatedClient("rings:///var/lib/fanout/rings"):
        match each:
            case ConsolidatedTrade():
                print(each.asset, each.px, each.sz)
            case Missed(why=why, count=count):
                ...                      numbers of a ring that it cannot read, and why

The rings of a directory are read one after another, so that the trades of one ring are in order and
those of two are not. What is handed over accounts for each number of each ring: trades, records of
another kind, and `Missed`. A ring that cannot be opened is reported, and tried again with each
look; rings that are new are read from their oldest record on.

Files are read by system calls. So a file that is cut short or overwritten cannot end the process,
and a ring on another machine's disk can be read over a network file system.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import Final, Self

import msgspec

from fanout.clients.outcomes import AddressError
from fanout.protocol.consolidated import DATA, META, TRADE, channel_of
from fanout.protocol.consolidated_reader import (
    MOST,
    RingReader,
    RingRecord,
    Start,
    Unread,
    Why,
)
from fanout.protocol.consolidated_trade import ConsolidatedTrade, decode_trade
from fanout.protocol.errors import MalformedError, PeerError, reason

__all__ = [
    "Consolidated",
    "ConsolidatedClient",
    "ConsolidatedTrade",
    "Missed",
    "OtherRecord",
    "RingFault",
    "RingOpened",
    "RingsError",
    "Start",
    "Wanted",
    "Why",
]

SCHEME: Final = "rings://"

GONE: Final = "its files are gone"
"""Why a ring whose files were removed cannot be read any further than they go."""

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class RingsError(PeerError):
    """There are no rings in the directory, or none can be read."""


class RingOpened(msgspec.Struct, frozen=True, kw_only=True):
    """A ring can be read. It goes back to number `oldest_seq`, one more than `newest_seq` if it is
    empty, and the client goes on at `next_seq`. `is_short` says that its index covers less than its
    data."""

    ring: str
    oldest_seq: int
    newest_seq: int
    next_seq: int
    is_short: bool


class RingFault(msgspec.Struct, frozen=True, kw_only=True):
    """A ring cannot be read now. Told once, until the reason changes."""

    ring: str
    why: str


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers `first_seq` to `last_seq` of a ring, both included, cannot be read. See `Unread`."""

    ring: str
    first_seq: int
    last_seq: int
    why: Why
    detail: str = ""

    @property
    def count(self) -> int:
        """How many numbers."""
        return self.last_seq - self.first_seq + 1


class OtherRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is in order, and of another kind: 0 is a book snapshot."""

    ring: str
    seq: int
    kind: int


Consolidated = ConsolidatedTrade | OtherRecord | Missed | RingFault | RingOpened
"""All that the client hands over."""


class Wanted(msgspec.Struct, frozen=True):
    """Which trades are handed over: all, where nothing is named."""

    symbols: frozenset[str] = frozenset()
    exchanges: frozenset[str] = frozenset()

    def has(self, trade: ConsolidatedTrade) -> bool:
        """Whether it is one of them."""
        is_symbol = not self.symbols or trade.asset in self.symbols
        return is_symbol and (not self.exchanges or trade.exchange in self.exchanges)


class RingCounts(msgspec.Struct):
    """What was read of a ring."""

    trades: int = 0
    others: int = 0
    missed: dict[Why, int] = msgspec.field(default_factory=dict)
    """Numbers that could not be read, by reason."""
    first_seq: int | None = None
    last_seq: int = 0

    @property
    def faults(self) -> int:
        """Records that are there and wrong: not those that were overwritten meanwhile."""
        return self.missed.get(Why.DAMAGED, 0) + self.missed.get(Why.OTHER, 0)


class ConsolidatedClient:
    """Reads all rings of a directory. Not for several threads at once."""

    def __init__(
        self,
        url: str,
        *,
        start: Start = Start.LIVE,
        symbols: Collection[str] = (),
        exchanges: Collection[str] = (),
        follow: bool = True,
        poll_s: float = 0.1,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`url` is `rings://DIR`, or DIR; with `/CHANNEL` behind it for the rings of one channel,
        whose files begin with that word. Without `follow` it ends with what is there when it
        opens a ring. Raises `AddressError`."""
        self.url = url
        self.wanted = Wanted(frozenset(symbols), frozenset(exchanges))
        """May be replaced at any time."""
        self._directory = url.removeprefix(SCHEME)
        self._channel = ""
        if not self._directory or "://" in self._directory or "\0" in self._directory:
            raise AddressError(f"{url[:60]!r} is no directory of rings: rings://DIR")
        self._start = start
        self._follows = follow
        self._poll_s = poll_s
        self._sleep = sleep
        self._rings: dict[str, _Ring] = {}
        self._has_looked = False

    @property
    def counts(self) -> dict[str, RingCounts]:
        """What was read, by ring."""
        return {name: each.counts for name, each in self._rings.items()}

    def __iter__(self) -> Iterator[Consolidated]:
        """Everything, as it comes. Raises `RingsError` if there are no rings at the start."""
        for found in self.looks():
            yield from found

    def looks(self) -> Iterator[list[Consolidated]]:
        """The same, look by look, also where one finds nothing that is wanted."""
        while True:
            yield self.poll()
            if self.is_idle:
                if not self._follows:
                    return
                self._sleep(self._poll_s)

    @property
    def is_idle(self) -> bool:
        """Whether the last look came to the end of every ring."""
        return all(each.is_idle for each in self._rings.values())

    def poll(self) -> list[Consolidated]:
        """What there is now, of at most a thousand numbers of each ring. Raises `RingsError` at the
        first look if there are no rings."""
        return [one for ring in self.look() for one in self.read(ring)]

    def look(self) -> tuple[str, ...]:
        """Look for rings that are new. Gives the names of all. Raises as `poll` does."""
        self._look()
        return tuple(self._rings)

    def read(self, ring: str) -> list[Consolidated]:
        """What there is now of one ring that `look` named, of at most a thousand numbers."""
        return self._rings[ring].read(self.wanted)

    def close(self) -> None:
        """Give the files back."""
        for each in self._rings.values():
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _look(self) -> None:
        """Look for rings that are new."""
        if self._has_looked and not self._follows:
            return
        try:
            if not self._has_looked:
                self._find_channel()
            names = [
                each[: -len(META)]
                for each in os.listdir(self._directory)
                if _is_meta(each) and self._channel in ("", channel_of(each))
            ]
        except OSError as error:
            if self._has_looked:
                return  # each ring reports that it is gone
            raise RingsError(f"no rings in {self._directory}: {reason(error).lower()}") from error
        if not names and not self._has_looked:
            raise RingsError(f"no rings in {self._directory}: it has no file *{META}")
        for name in sorted(set(names) - self._rings.keys()):
            start = Start.OLDEST if self._has_looked else self._start
            stem = os.path.join(self._directory, name)
            self._rings[name] = _Ring(name, stem, start, follows=self._follows)
        self._has_looked = True

    def _find_channel(self) -> None:
        """Take the end of the address for a channel, if it names rings and no directory. Raises
        `OSError`."""
        directory, _, channel = self._directory.rpartition("/")
        if os.path.isdir(self._directory) or not os.path.isdir(directory or "."):
            return
        if any(channel_of(each) == channel for each in os.listdir(directory or ".")):
            self._directory, self._channel = directory or ".", channel


class _Ring:
    """One ring, opened or not."""

    def __init__(self, name: str, stem: str, start: Start, *, follows: bool) -> None:
        self.name = name
        self.counts = RingCounts()
        self._stem = stem
        self._start = start
        self._follows = follows
        self._files: _Files | None = None
        self._reader: RingReader | None = None
        self._until = 0
        """The newest number when it was opened."""
        self._fault = ""
        self._left: tuple[_Files, int] | None = None
        """The files that could not be read any more, and the number to go on at in them. They stay
        open, so that no other file can be taken for them."""
        self.is_idle = False
        """Whether the last look found nothing in it."""

    def read(self, wanted: Wanted) -> list[Consolidated]:
        found: list[Consolidated] = []
        self.is_idle = True
        if self._reader is None:
            found += self._open()
        if self._reader is not None:
            found += self._read(self._reader, wanted)
        return found

    def close(self) -> None:
        self._leave()
        self._forget()

    def _leave(self) -> None:
        """Close the files that are read."""
        self._reader = None
        if self._files is not None:
            self._files.close()
            self._files = None

    def _forget(self) -> None:
        """Close the files that could not be read any more."""
        if self._left is not None:
            self._left[0].close()
            self._left = None

    def _open(self) -> list[Consolidated]:
        try:
            self._files = files = _Files(self._stem)
            self._reader = reader = RingReader(files, start=self._start)
            found = self._go_on(files, reader)
        except (OSError, MalformedError) as error:
            return self._fail(error)
        self._forget()
        self._fault = ""
        self._start = Start.OLDEST  # whatever is opened later is to be read whole
        head = reader.head
        self._until = head.seq
        opened = RingOpened(
            ring=self.name,
            oldest_seq=reader.oldest_seq,
            newest_seq=head.seq,
            next_seq=reader.next_seq,
            is_short=1 < reader.oldest_seq == head.oldest_slot,
        )
        return [*found, opened]

    def _go_on(self, files: "_Files", reader: RingReader) -> list[Consolidated]:
        """In files that could not be read for a while, go on behind what was read of them. Gives
        what is missed."""
        if self._left is None:
            return []
        before, seq = self._left
        if not os.path.samestat(files.stat, before.stat) or reader.head.seq + 1 < seq:
            return [self._missed(Unread(seq, seq - 1, Why.ANEW))]
        reader.next_seq = max(seq, reader.oldest_seq)
        if reader.next_seq == seq:
            return []
        return [self._missed(Unread(seq, reader.next_seq - 1, Why.LAPPED))]

    def _read(self, reader: RingReader, wanted: Wanted) -> list[Consolidated]:
        most = MOST if self._follows else min(MOST, self._until - reader.next_seq + 1)
        if most <= 0:
            return []
        try:
            read = reader.read(most)
        except (OSError, MalformedError) as error:
            return self._fail(error)
        self.is_idle = not read
        found = [one for each in read if (one := self._taken(each, wanted)) is not None]
        if not read and self._files is not None:
            found += self._look_after(self._files, reader)
        return found

    def _look_after(self, files: "_Files", reader: RingReader) -> list[Consolidated]:
        """See whether the names still stand for the files, which were read to their end."""
        try:
            are_ours = files.are_named()
        except FileNotFoundError:
            if self._fault == GONE:
                return []
            self._fault = GONE
            return [RingFault(ring=self.name, why=GONE)]
        except OSError as error:
            return self._fail(error)
        self._fault = ""
        if are_ours:
            return []
        self._leave()
        return [self._missed(Unread(reader.next_seq, reader.next_seq - 1, Why.ANEW))]

    def _taken(self, each: RingRecord | Unread, wanted: Wanted) -> Consolidated | None:
        counts = self.counts
        if isinstance(each, Unread):
            return self._missed(each)
        if counts.first_seq is None:
            counts.first_seq = each.seq
        counts.last_seq = each.seq
        if each.kind != TRADE:
            counts.others += 1
            return OtherRecord(ring=self.name, seq=each.seq, kind=each.kind)
        try:
            trade = decode_trade(each.payload)
        except MalformedError as error:
            return self._missed(Unread(each.seq, each.seq, Why.OTHER, str(error)))
        counts.trades += 1
        return trade if wanted.has(trade) else None

    def _missed(self, unread: Unread) -> Missed:
        missed = self.counts.missed
        missed[unread.why] = missed.get(unread.why, 0) + unread.count
        return Missed(
            ring=self.name,
            first_seq=unread.first_seq,
            last_seq=unread.last_seq,
            why=unread.why,
            detail=unread.detail,
        )

    def _fail(self, error: Exception) -> list[Consolidated]:
        """Give up the files until the next look."""
        if self._reader is not None and self._files is not None and self._left is None:
            self._left = self._files, self._reader.next_seq
            self._reader = self._files = None
        self._leave()
        why = reason(error).lower() if isinstance(error, OSError) else str(error)
        if why == self._fault:
            return []
        self._fault = why
        return [RingFault(ring=self.name, why=why)]


class _Files:
    """The two files of a ring. See `RingFiles`."""

    def __init__(self, stem: str) -> None:
        """Raises `OSError`."""
        self._paths = (stem + META, stem + DATA)
        self._meta = os.open(self._paths[0], _FLAGS)
        try:
            self._data = os.open(self._paths[1], _FLAGS)
        except BaseException:
            os.close(self._meta)
            raise

    @property
    def stat(self) -> os.stat_result:
        """Which files these are."""
        return os.fstat(self._meta)

    def meta(self, offset: int, size: int) -> bytes:
        return os.pread(self._meta, size, offset)

    def data(self, offset: int, size: int) -> bytes:
        return os.pread(self._data, size, offset)

    def are_named(self) -> bool:
        """Whether the names still stand for these files. Raises `OSError`."""
        return all(
            os.path.samestat(os.stat(path), os.fstat(fd))
            for path, fd in zip(self._paths, (self._meta, self._data), strict=True)
        )

    def close(self) -> None:
        os.close(self._meta)
        os.close(self._data)


def _is_meta(name: str) -> bool:
    return name.endswith(META) and not name.startswith(".")
