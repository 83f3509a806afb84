"""The snapshots of books that REST answers with, and the fault that makes them old.

A book begins with the first request for it, or with the first subscription to one of its streams.
A symbol that does not trade has an empty one.
"""

from typing import Final

import msgspec

from fanout.errors import UsageError
from fanout.simulator.faults import MAX_STANDING, Stale
from fanout.simulator.market.book import Snapshot

NO_BOOK: Final = Snapshot(0, 0, [], [])


class AgedSnapshots:
    """The faults that wait for snapshots of their symbols."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []

    def begin(self, fault: Stale, symbols: tuple[str, ...]) -> None:
        """Each symbol has a count of its own. Raises `UsageError` if `MAX_STANDING` stand."""
        if len(self.standing()) == MAX_STANDING:
            raise UsageError(f"{MAX_STANDING:,} faults of snapshots stand already: clear them")
        self._waiting += [_Waiting(fault, symbol, fault.requests) for symbol in symbols]

    def clear(self) -> None:
        self._waiting.clear()

    def standing(self) -> list[Stale]:
        found = [each.fault for each in self._waiting]
        return [fault for number, fault in enumerate(found) if fault not in found[:number]]

    def age_ms(self, symbol: str) -> int | None:
        """Of the next snapshot, which counts towards the end of its fault."""
        for each in self._waiting:
            if each.symbol == symbol:
                if each.requests_left is not None:
                    each.requests_left -= 1
                if each.requests_left == 0:
                    self._waiting.remove(each)
                return round(each.fault.age_s * 1000)
        return None


class _Waiting(msgspec.Struct):
    fault: Stale
    symbol: str
    requests_left: int | None
