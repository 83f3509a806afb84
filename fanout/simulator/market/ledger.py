"""Which ids the exchange has issued, of which kind, and which of them no stream has sent.

Tests account for every id with it: the ids that a consumer received, those reported to it as
missing, and those that are no trade add up to the issued ones. The newest ids of each stream are
kept, as ranges of one kind. A request for older ones is an error, rather than a short answer.

The ids are the market's. A venue may name trades otherwise: `on_wire` has the ids that a client of
`fanout` gets.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from fanout.protocol.errors import CallerError
from fanout.simulator.market.ticks import Tick

AGGREGATE_KIND: Final = "AGGREGATE"


class IdRange(msgspec.Struct, frozen=True):
    """The ids `first_id` to `last_id`, both included, all of one kind (the `X` of their frame)."""

    first_id: int
    last_id: int
    kind: str


class ForgottenError(CallerError):
    """The requested ids are no longer kept."""


class Ledger:
    """The ids of each stream, by the stream's name."""

    def __init__(self, kept_ids: int) -> None:
        self._issued: dict[str, _Ids] = defaultdict(lambda: _Ids(kept_ids))
        self._withheld: dict[str, _Ids] = defaultdict(lambda: _Ids(kept_ids))

    def issue(self, stream: str, new_id: int, kind: str) -> None:
        self._issued[stream].add(new_id, kind)

    def withhold(self, tick: Tick) -> None:
        for trade in tick.trades:
            self._withheld[tick.stream].add(trade.trade_id, trade.kind)
        if tick.aggregate is not None:
            self._withheld[tick.stream].add(tick.aggregate.aggregate_id, AGGREGATE_KIND)

    def issued(self, stream: str, after: int | None) -> tuple[IdRange, ...]:
        return self._issued[stream].ranges(after) if stream in self._issued else ()

    def withheld(self, stream: str, after: int | None) -> tuple[IdRange, ...]:
        return self._withheld[stream].ranges(after) if stream in self._withheld else ()


ToWire = Callable[[int], int]
"""The id of a client for one of the market."""


def on_wire(ranges: Iterable[IdRange], to_wire: ToWire) -> tuple[IdRange, ...]:
    """The ranges with a client's ids, in the order in which they were issued. Where those have no
    order, each id is a range of its own."""
    return tuple(found for each in ranges for found in _on_wire(each, to_wire))


def _on_wire(ids: IdRange, to_wire: ToWire) -> Sequence[IdRange]:
    first_id, last_id = to_wire(ids.first_id), to_wire(ids.last_id)
    if last_id - first_id == ids.last_id - ids.first_id:
        return (IdRange(first_id, last_id, ids.kind),)
    market_ids = range(ids.first_id, ids.last_id + 1)
    return [IdRange(each, each, ids.kind) for each in map(to_wire, market_ids)]


def market_id_of(wire_id: int, issued: Sequence[IdRange], to_wire: ToWire) -> int:
    """The market's id for a client's. Raises `ForgottenError` if it is none of the issued ones."""
    if to_wire(wire_id) == wire_id:
        return wire_id
    for ids in reversed(issued):
        for market_id in range(ids.last_id, ids.first_id - 1, -1):
            if to_wire(market_id) == wire_id:
                return market_id
    raise ForgottenError(f"id {wire_id} is none of those that were issued and are kept")


class _Ids:
    """A sliding window over ids, in the order they came, as ranges of one kind."""

    def __init__(self, kept: int) -> None:
        self._room = kept
        self._ranges: deque[_Growing] = deque()
        self._forgotten: int | None = None

    def add(self, new_id: int, kind: str) -> None:
        newest = self._ranges[-1] if self._ranges else None
        if newest is not None and newest.last_id + 1 == new_id and newest.kind == kind:
            newest.last_id = new_id
        else:
            self._ranges.append(_Growing(new_id, new_id, kind))
        if self._room:
            self._room -= 1
        else:
            self._forget_one()

    def ranges(self, after: int | None) -> tuple[IdRange, ...]:
        if after is None:
            after = -1
        elif self._forgotten is not None and after < self._forgotten:
            raise ForgottenError(
                f"ids after {after} were requested, and ids up to {self._forgotten} are "
                "forgotten: ask more often, or raise kept_ids"
            )
        return tuple(
            IdRange(max(each.first_id, after + 1), each.last_id, each.kind)
            for each in self._ranges
            if each.last_id > after
        )

    def _forget_one(self) -> None:
        oldest = self._ranges[0]
        self._forgotten = oldest.first_id
        oldest.first_id += 1
        if oldest.first_id > oldest.last_id:
            self._ranges.popleft()


class _Growing(msgspec.Struct, gc=False):
    first_id: int
    last_id: int
    kind: str
