"""The order book of one synthetic instrument, and the orders that change it.

A *transaction* is what one party does at one moment: makers add and cancel orders, or one taker's
order sweeps levels. The venue's fastest stream sends a transaction as one update. Makers act before
a sweep too: they move the touch to its first price, and leave on each level that it sweeps exactly
what it takes. So the sweep's own update lowers each level by the quantity of its trades, and
changes nothing else.

    makers:  place, cancel ... close | prepare, close |              | place, cancel ...
    taker:                                            | take, close  |
    sent:                     update           update   trades  update

The newest transactions are kept with what they changed, for snapshots of any age. Each change is
two integers in an array, some 16 bytes.
"""

import random
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import msgspec

from fanout.simulator.market.levels import Level, Levels
from fanout.simulator.market.listing import Listing, decimals

USUAL_LEVELS: Final = 500
"""A side has about so many. A snapshot of 1,000 levels then holds the whole book."""
LEAST_LEVELS: Final = 10
KEPT_TRANSACTIONS: Final = 1_000
LOT_NOTIONAL: Final = 3_000.0
MOST_QUANTITY: Final = 2**63
"""That makers leave at a level, since a client has 64 bits for it. Some hundred orders reach it
where a coin of a millionth has eight decimals."""
NEAR: Final = -2.0  # exponent of the power law of distances: most orders are near the touch
FARTHEST: Final = 2_000  # ticks from the other side, for orders of makers
MAX_ID_STEP: Final = 8  # ids that a change uses, where they are not contiguous
MAX_ID_GAP: Final = 200
MAX_FIRST_ID: Final = 10**12  # ids of trades may have 19 digits, and ids of books have 64 bits


class Fill(NamedTuple):
    """A part of a sweep, in units of the last decimals."""

    price: int
    quantity: int


class Change(NamedTuple):
    is_bid: bool
    price: int
    before: int


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """The ids of its changes. `previous_id` is the last id of the transaction before."""

    time_ms: int
    first_id: int
    last_id: int
    previous_id: int
    changes: tuple[Change, ...]


class _Kept(msgspec.Struct, frozen=True, gc=False):
    """A past transaction. `undo` has a price and the quantity before, for each change in turn; the
    price of an ask is negative."""

    time_ms: int
    previous_id: int
    undo: Sequence[int]


class Snapshot(msgspec.Struct, frozen=True):
    """Levels from the best outwards, as the venue spells them. A recording may have it `raw`.

    `number` is that of the stream's last update, if the book is as of that one.
    """

    last_id: int
    time_ms: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    raw: bytes | None = None
    number: int = 0


class Units:
    """The integers of an instrument's prices and quantities, and their spelling."""

    def __init__(self, listing: Listing) -> None:
        self._places = listing.price_precision, listing.quantity_precision
        self.tick = integer(listing.tick_size)
        self.step = integer(listing.step_size)
        self.most = MOST_QUANTITY // self.step * self.step

    def spelled(self, price: int, quantity: int) -> tuple[str, str]:
        places, quantity_places = self._places
        return _spelled(price, places), _spelled(quantity, quantity_places)

    def fill(self, price: str, quantity: str) -> Fill | None:
        """None unless both are above zero, with as many decimals as the units."""
        if (decimals(price), decimals(quantity)) != self._places:
            return None
        if not (price.replace(".", "").isdecimal() and quantity.replace(".", "").isdecimal()):
            return None
        fill = Fill(integer(price), integer(quantity))
        return fill if fill.price and fill.quantity else None


def integer(text: str) -> int:
    return int(text.replace(".", ""))


def _spelled(value: int, places: int) -> str:
    if not places:
        return str(value)
    whole, part = divmod(value, 10**places)
    return f"{whole}.{part:0{places}d}"


class Book:
    """One instrument's book, filled around `price`. `is_contiguous` says that each change takes the
    next id; otherwise ids have gaps, in and between transactions."""

    def __init__(
        self, listing: Listing, price: str, dice: random.Random, *, is_contiguous: bool
    ) -> None:
        self.bids, self.asks = Levels(1), Levels(-1)
        self.dice = dice
        self._is_contiguous = is_contiguous
        self._open: list[Change] = []
        self._kept: deque[_Kept] = deque(maxlen=KEPT_TRANSACTIONS)
        self.time_ms = 0
        self._first_id = 0
        self._closed_id = self.last_id = 1_000_000 + 10 * (listing.first_trade_id % MAX_FIRST_ID)
        self.begin(listing, price)
        self._open.clear()
        self._closed_id = self.last_id

    def begin(self, listing: Listing, price: str) -> None:
        """Fill an empty book, in the units of the listing."""
        self.listing = listing
        self._kept.clear()
        self.units = units = Units(listing)
        self._touch = max(units.tick, integer(price) // units.tick * units.tick)
        self._lot = max(1.0, LOT_NOTIONAL / float(price) / float(listing.step_size))
        self._extend(self.bids, self._touch, USUAL_LEVELS, sparse=True)
        self._extend(self.asks, self._touch + units.tick, USUAL_LEVELS, sparse=True)

    # Makers -----------------------------------------------------------------------------------

    def move(self, changes: int) -> None:
        """Makers place orders and cancel others."""
        for _ in range(changes):
            self._move()

    def prepare(self, fills: Sequence[Fill], *, buys: bool) -> None:
        """Makers put the levels in place that a sweep takes. Without need it changes nothing."""
        taken, other = self._sides(buys)
        first, sign, tick = fills[0].price, other.sign, self.units.tick
        for price in other.better_than(first - sign):
            self._set(other, price, 0)
        best, behind = other.best(), first - sign * tick
        if behind > 0 and (best is None or best.price != behind):
            self._set(other, behind, self._lots())
        for price in taken.better_than(first):
            self._set(taken, price, 0)
        self._fit(taken, _by_price(fills))
        self._touch = first

    def _fit(self, taken: Levels, levels: list[Fill]) -> None:
        before: int | None = None
        for price, needed in levels:
            if before is not None:
                better = taken.better_than(price)
                for skipped in better[: better.index(before)]:
                    self._set(taken, skipped, 0)
            found = taken.quantities.get(price, 0)
            is_last = price == levels[-1].price
            if found < needed or (found > needed and not is_last):
                more = self._lots() if is_last and self.dice.random() < 0.9 else 0
                self._set(taken, price, needed + more)
            before = price

    @property
    def is_open(self) -> bool:
        """Whether something has changed since the last transaction."""
        return bool(self._open)

    def remove_all(self) -> None:
        for levels in (self.bids, self.asks):
            for price, _ in levels.first():
                self._set(levels, price, 0)

    def deepen(self, levels: int) -> None:
        """Add so many levels to each side, beyond its last one. Bids end above zero."""
        for side in (self.bids, self.asks):
            last = side.price_at(-1) if len(side) else self._touch
            self._extend(side, last - side.sign * self.units.tick, levels, sparse=False)

    # A taker ----------------------------------------------------------------------------------

    def take(self, fills: Sequence[Fill], *, buys: bool) -> None:
        """A sweep, for which `prepare` has been called."""
        taken, _ = self._sides(buys)
        for price, quantity in _by_price(fills):
            self._set(taken, price, taken.quantities[price] - quantity)

    # Updates and snapshots --------------------------------------------------------------------

    def close(self, time_ms: int) -> Transaction | None:
        """End the transaction. None if nothing has changed."""
        if not self._open:
            return None
        self.time_ms = time_ms
        changes = tuple(self._open)
        closed = Transaction(time_ms, self._first_id, self.last_id, self._closed_id, changes)
        self._open.clear()
        self._closed_id = self.last_id
        self._kept.append(_Kept(time_ms, closed.previous_id, _packed(changes)))
        return closed

    def jump(self, by: int) -> None:
        """Continue with other ids, between two transactions. The chain of updates is broken."""
        assert not self._open, "the transaction is closed"
        self._closed_id = self.last_id = max(0, self.last_id + by)
        self._kept.clear()

    def begin_ids_anew(self) -> None:
        """Continue at 1, between two transactions. The next one still names the one before."""
        assert not self._open, "the transaction is closed"
        self.last_id = 1
        self._kept.clear()

    def snapshot(self, limit: int, until_ms: int | None = None) -> Snapshot:
        """The first levels now, or as they were at a time, as far back as transactions are kept.

        Now includes changes of a transaction that is not closed: the next update contains the id.
        """
        if until_ms is None:
            return self._shown(self.bids, self.asks, limit, self.last_id, self.time_ms)
        bids, asks = self.bids.copy(), self.asks.copy()
        last_id, time_ms = self._closed_id, self.time_ms
        undone = [_packed(self._open)]
        for each in reversed(self._kept):
            if each.time_ms <= until_ms:
                break
            undone.append(each.undo)
            last_id, time_ms = each.previous_id, until_ms
        for undo in undone:
            for place in range(len(undo) - 2, -1, -2):
                price, before = undo[place], undo[place + 1]
                (bids if price > 0 else asks).put(abs(price), before)
        return self._shown(bids, asks, limit, last_id, time_ms)

    def whole(
        self,
        before: Mapping[tuple[bool, int], int] | None = None,
        last_id: int | None = None,
        *,
        limit: int | None = None,
    ) -> Snapshot:
        """All levels after the last transaction, or the first `limit` of each side; or after the
        one with `last_id`, if `before` has the sides and prices that have changed since, and their
        quantities then."""
        bids, asks = self.bids.copy(), self.asks.copy()
        for is_bid, price, quantity in reversed(self._open):
            (bids if is_bid else asks).put(price, quantity)
        for (is_bid, price), quantity in (before or {}).items():
            (bids if is_bid else asks).put(price, quantity)
        last_id = self._closed_id if last_id is None else last_id
        return self._shown(bids, asks, limit, last_id, self.time_ms)

    def spelled(self, levels: list[Level]) -> list[tuple[str, str]]:
        spell = self.units.spelled
        return [spell(price, quantity) for price, quantity in levels]

    def _shown(
        self, bids: Levels, asks: Levels, limit: int | None, last_id: int, time_ms: int
    ) -> Snapshot:
        bid_levels, ask_levels = (self.spelled(side.first(limit)) for side in (bids, asks))
        return Snapshot(last_id, time_ms, bid_levels, ask_levels)

    def _sides(self, buys: bool) -> tuple[Levels, Levels]:
        return (self.asks, self.bids) if buys else (self.bids, self.asks)

    def _set(self, levels: Levels, price: int, quantity: int) -> None:
        before = levels.quantities.get(price, 0)
        if quantity == before:
            return
        levels.put(price, quantity)
        steps = 1
        if not self._is_contiguous:
            steps += int(self.dice.random() * MAX_ID_STEP)
        if not self._open:
            if not self._is_contiguous:
                self.last_id += 1 + int(self.dice.random() * MAX_ID_GAP)
            self._first_id = self.last_id + 1
        self.last_id += steps
        self._open.append(Change(levels.sign > 0, price, before))

    def _move(self) -> None:
        random_ = self.dice.random
        side, other = self._sides(random_() < 0.5)
        chance = 0.5 + (USUAL_LEVELS - len(side)) / USUAL_LEVELS
        if random_() < chance or len(side) < LEAST_LEVELS:
            self._place(side, other, random_() or 1.0)
        else:
            self._cancel(side, random_())

    def _place(self, side: Levels, other: Levels, chance: float) -> None:
        best, tick = other.best(), self.units.tick
        base = best.price if best is not None else self._touch + side.sign * tick
        away = 1 + int(chance**NEAR - 1) % FARTHEST
        price = base - side.sign * away * tick
        if price > 0:
            quantity = side.quantities.get(price, 0) + self._lots()
            self._set(side, price, min(quantity, self.units.most))

    def _cancel(self, side: Levels, chance: float) -> None:
        """Mostly near the touch. A side with too many levels loses its last ones as well."""
        is_last = len(side) > USUAL_LEVELS and chance < 0.2
        price = side.price_at(-1 if is_last else int(len(side) * chance**3))
        halved = 0.2 <= chance < 0.5
        left = side.quantities[price] // self.units.step // 2 if halved else 0
        self._set(side, price, left * self.units.step)

    def _lots(self) -> int:
        return (1 + int(self._lot * self.dice.expovariate(1.0))) * self.units.step

    def _extend(self, side: Levels, price: int, count: int, *, sparse: bool) -> None:
        for number in range(count):
            if price <= 0:
                return
            self._set(side, price, self._lots())
            ticks = 1 + int(self.dice.random() * number / 50) if sparse else 1
            price -= side.sign * ticks * self.units.tick


def _packed(changes: Iterable[Change]) -> Sequence[int]:
    """Changes as `_Kept` has them. A fault may trade more than 64 bits hold; such a transaction is
    a tuple."""
    integers = tuple(
        value
        for is_bid, price, before in changes
        for value in (price if is_bid else -price, before)
    )
    try:
        return array("q", integers)
    except OverflowError:
        return integers


def sweeps_of(fills: Sequence[Fill], *, buys: bool) -> Iterator[list[Fill]]:
    """The fills in parts whose prices only go one way, as those of one order do."""
    part: list[Fill] = []
    for fill in fills:
        if part and (fill.price - part[-1].price) * (1 if buys else -1) < 0:
            yield part
            part = []
        part.append(fill)
    if part:
        yield part


def _by_price(fills: Sequence[Fill]) -> list[Fill]:
    runs = groupby(fills, key=lambda fill: fill.price)
    return [Fill(price, sum(fill.quantity for fill in run)) for price, run in runs]
