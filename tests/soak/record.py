"""Records of what was traded, as files, and their comparison.

A record has a line for each trade, in the order in which it was noted.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fanout.compare import Comparison, Fields, Finding, Identity, Report
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header, Reference, Trade

WITHIN_NS: Final = 60 * 10**9
"""The longest that one record may be later than another."""

MS: Final = 10**6


class Noted(NamedTuple):
    """What is said of a trade. Price and quantity are decimal digits, times unix ms."""

    symbol: str
    trade_id: int
    price: str
    quantity: str
    buyer_is_maker: bool
    time_ms: int
    received_ms: int


class Record:
    """A record that is written, and can be read once it is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def add(self, noted: Noted) -> None:
        """Note a trade."""
        print(*noted, file=self._file)

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Trade]:
        """The trades, in units of their own digits."""
        instruments: dict[tuple[str, int, int], Instrument] = {}
        with self._path.open(encoding="utf-8") as lines:
            for line in lines:
                symbol, trade_id, price, quantity, side, time_ms, received_ms = line.split(" ")
                key = symbol, -len(price.partition(".")[2]), -len(quantity.partition(".")[2])
                if key not in instruments:
                    instruments[key] = _instrument(*key)
                yield Trade(
                    instruments[key],
                    int(trade_id),
                    int(time_ms),
                    int(price.replace(".", "")),
                    int(quantity.replace(".", "")),
                    side == "True",
                    received_ns=int(received_ms) * MS,
                )


class MergedRecord:
    """Several records, each in the order of receipt, which are read as one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: list[Record] = []

    def begin(self) -> None:
        """Begin another record: what is added goes there."""
        self.close()
        self._records.append(Record(self._path.with_suffix(f".{len(self._records)}")))

    def add(self, noted: Noted) -> None:
        self._records[-1].add(noted)

    def close(self) -> None:
        for each in self._records[-1:]:
            each.close()

    def __iter__(self) -> Iterator[Trade]:
        """All trades, in the order of receipt."""
        return heapq.merge(*self._records, key=lambda each: each.received_ns)


def compared(
    a: Iterable[Trade], b: Iterable[Trade], symbols: Sequence[str]
) -> tuple[Report, list[Finding]]:
    """What `fanout compare` finds between two records: times to the ms, and no kinds of trades."""
    findings: list[Finding] = []
    comparison = Comparison(
        findings.append,
        identity=Identity.ASCENDING,
        within_ns=WITHIN_NS,
        fields=Fields(time_unit_ns=MS, has_kinds=False),
    )
    header = Header(
        epoch_ns=0,
        next_seq=1,
        venue="sim",
        instruments=tuple(_instrument(each, 0, 0) for each in symbols),
        references=(Reference(price=0, quantity=0, trade_id=0, time=0),) * len(symbols),
    )
    for side in (0, 1):
        comparison.serve(side, header)
    for trade, side in heapq.merge(
        ((each, 0) for each in a), ((each, 1) for each in b), key=lambda each: each[0].received_ns
    ):
        comparison.take(side, trade, trade.received_ns)
    for side in (0, 1):
        comparison.end(side)
    comparison.close()
    return comparison.finish(), findings


def _instrument(symbol: str, price_exponent: int, quantity_exponent: int) -> Instrument:
    return Instrument(
        index=0, symbol=symbol, price_exponent=price_exponent, quantity_exponent=quantity_exponent
    )
