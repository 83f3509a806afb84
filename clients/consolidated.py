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

from fanout.clients.consolidated_ring import (
    Consolidated,
    Missed,
    OtherRecord,
    Ring,
    RingCounts,
    RingFault,
    RingOpened,
    Wanted,
)
from fanout.clients.outcomes import AddressError
from fanout.protocol.consolidated import META, channel_of
from fanout.protocol.consolidated_reader import Start, Why
from fanout.protocol.consolidated_trade import ConsolidatedTrade
from fanout.protocol.errors import PeerError, reason

__all__ = [
    "Consolidated",
    "ConsolidatedClient",
    "ConsolidatedTrade",
    "Missed",
    "OtherRecord",
    "RingCounts",
    "RingFault",
    "RingOpened",
    "RingsError",
    "Start",
    "Wanted",
    "Why",
]

SCHEME: Final = "rings://"


class RingsError(PeerError):
    """There are no rings in the directory, or none can be read."""


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
        self._rings: dict[str, Ring] = {}
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
            self._rings[name] = Ring(name, stem, start, follows=self._follows)
        self._has_looked = True

    def _find_channel(self) -> None:
        """Take the end of the address for a channel, if it names rings and no directory. Raises
        `OSError`."""
        directory, _, channel = self._directory.rpartition("/")
        if os.path.isdir(self._directory) or not os.path.isdir(directory or "."):
            return
        if any(channel_of(each) == channel for each in os.listdir(directory or ".")):
            self._directory, self._channel = directory or ".", channel


def _is_meta(name: str) -> bool:
    return name.endswith(META) and not name.startswith(".")
