"""One ring of a directory, for `ConsolidatedClient`: opened, read, given up, opened again."""

import os
from typing import Final

import msgspec

from fanout.protocol.consolidated import DATA, META, TRADE
from fanout.protocol.consolidated_reader import (
    MOST,
    RingReader,
    RingRecord,
    Start,
    Unread,
    Why,
)
from fanout.protocol.consolidated_trade import ConsolidatedTrade, decode_trade
from fanout.protocol.errors import MalformedError, reason

GONE: Final = "its files are gone"
"""Why a ring whose files were removed cannot be read any further than they go."""

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


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
    """A ring cannot be read now. Reported once, until the reason changes."""

    ring: str
    why: str


class Missed(Unread, frozen=True, kw_only=True):
    """Numbers `first_seq` to `last_seq` of a ring, both included, cannot be read. See `Unread`."""

    ring: str


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


class Ring:
    """One ring, opened or not."""

    def __init__(self, name: str, stem: str, start: Start, *, follows: bool) -> None:
        self.name = name
        self.counts = RingCounts()
        self._stem = stem
        self._start = start
        self._follows = follows
        self._files: Files | None = None
        self._reader: RingReader | None = None
        self._until = 0
        """The newest number when it was opened."""
        self._fault = ""
        self._left: tuple[Files, int] | None = None
        """The files that could not be read any more, and the number to go on at in them. They stay
        open, so that no other file can be taken for them."""
        self.is_idle = False
        """Whether the last look found nothing in it."""

    def read(self, wanted: Wanted) -> list[Consolidated]:
        """What there is now, of at most a thousand numbers."""
        found: list[Consolidated] = []
        self.is_idle = True
        if self._reader is None:
            found += self._open()
        if self._reader is not None:
            found += self._read(self._reader, wanted)
        return found

    def close(self) -> None:
        """Give the files back."""
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
            self._files = files = Files(self._stem)
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

    def _go_on(self, files: "Files", reader: RingReader) -> list[Consolidated]:
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

    def _look_after(self, files: "Files", reader: RingReader) -> list[Consolidated]:
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
        return Missed(ring=self.name, **msgspec.structs.asdict(unread))

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


class Files:
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
        """See `RingFiles`."""
        return os.pread(self._meta, size, offset)

    def data(self, offset: int, size: int) -> bytes:
        """See `RingFiles`."""
        return os.pread(self._data, size, offset)

    def are_named(self) -> bool:
        """Whether the names still stand for these files. Raises `OSError`."""
        return all(
            os.path.samestat(os.stat(path), os.fstat(fd))
            for path, fd in zip(self._paths, (self._meta, self._data), strict=True)
        )

    def close(self) -> None:
        """Close both."""
        os.close(self._meta)
        os.close(self._data)
