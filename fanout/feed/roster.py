"""The instruments of a feed, by index, in the units that they have now.

An index belongs to one symbol as long as the service runs. An instrument that the venue delists
keeps its index and is `gone`.
"""

from collections.abc import Iterator, Sequence

import msgspec

from fanout.protocol.records import Instrument, Reference

NO_REFERENCE = Reference(price=0, quantity=0, trade_id=0, time=0)
"""Of an instrument whose recent trades are not known. A reference is only where deltas start, and
any will do."""


class Entry(msgspec.Struct):
    """An instrument, and where its deltas start."""

    instrument: Instrument
    reference: Reference
    is_gone: bool = False


class Roster:
    """Grows, and never shrinks."""

    def __init__(self, instruments: Sequence[Instrument], references: Sequence[Reference]) -> None:
        self._entries: list[Entry] = []
        self._index: dict[str, int] = {}
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

    def put(self, instrument: Instrument, reference: Reference) -> None:
        """Add an instrument at the end, or change the one with its index."""
        assert instrument.index <= len(self._entries), "instruments are added one behind the other"
        if instrument.index == len(self._entries):
            self._entries.append(Entry(instrument, reference))
            self._index[instrument.symbol] = instrument.index
            return
        entry = self._entries[instrument.index]
        assert entry.instrument.symbol == instrument.symbol, "an index belongs to one symbol"
        entry.instrument, entry.reference = instrument, reference
