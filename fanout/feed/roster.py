"""The instruments of a feed, by index, with their current units.

An index belongs to one symbol as long as the service runs. A delisted instrument keeps its index
and is marked `is_gone`.
"""

from collections.abc import Iterator, Sequence

import msgspec

from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Reference

NO_REFERENCE = Reference(price=0, quantity=0, trade_id=0, time=0)
"""The reference of an instrument without known trades. A reference is only the start of the deltas,
so any value is valid."""


class Entry(msgspec.Struct):
    """An instrument and its reference, the start of its deltas."""

    instrument: Instrument
    reference: Reference
    is_gone: bool = False


class Roster:
    """The list of instruments. It never shrinks."""

    def __init__(self, instruments: Sequence[Instrument], references: Sequence[Reference]) -> None:
        self._entries: list[Entry] = []
        self._index: dict[str, int] = {}
        self.units: dict[str, Instrument] = {}
        """The instruments by their symbols, with their current units."""
        for instrument, reference in zip(instruments, references, strict=True):
            self.put(instrument, reference)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __getitem__(self, index: int) -> Entry:
        return self._entries[index]

    def index_of(self, symbol: str) -> int | None:
        return self._index.get(symbol)

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        return tuple(each.instrument for each in self._entries)

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple(each.reference for each in self._entries)

    @property
    def served(self) -> tuple[Instrument, ...]:
        """Those that are not delisted."""
        return tuple(each.instrument for each in self._entries if not each.is_gone)

    @property
    def gone(self) -> frozenset[int]:
        """Indexes of the delisted instruments."""
        return frozenset(each.instrument.index for each in self._entries if each.is_gone)

    def put(self, instrument: Instrument, reference: Reference) -> None:
        """Append an instrument, or change the one with its index."""
        assert instrument.index <= len(self._entries), "indexes are consecutive"
        self.units[instrument.symbol] = instrument
        if instrument.index == len(self._entries):
            self._entries.append(Entry(instrument, reference))
            self._index[instrument.symbol] = instrument.index
            return
        entry = self._entries[instrument.index]
        assert entry.instrument.symbol == instrument.symbol, "an index belongs to one symbol"
        entry.instrument, entry.reference = instrument, reference
