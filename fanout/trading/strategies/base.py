"""The interface of a strategy: three methods, and the values that go in and out.

    class Mine:
        def quote(self, view: View) -> Quotes | None: ...
        def filled(self, fill: Fill) -> None: ...
        def stopped(self, why: str) -> None: ...

`quote` is asked when the best prices, the position or the trust in the feed have changed. None, or
a side without quotes, means that nothing is to work there. A strategy sends no orders itself: the
desk compares what works with what is wanted, and asks the limits.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple, Protocol

import msgspec
from msgspec.structs import fields, force_setattr

from fanout.protocol.book_records import Level
from fanout.protocol.fixedpoint import to_float
from fanout.protocol.instrument import Instrument
from fanout.trading.errors import LimitsError
from fanout.trading.reports import Fill


class View(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a strategy sees. `bid` and `ask` are the best levels, `position` is that of the lead
    model, all at the instrument's exponents."""

    time_ns: int
    instrument: Instrument
    bid: Level
    ask: Level
    position: int

    @property
    def mid(self) -> float:
        """The middle of best bid and ask, in units of the quote currency."""
        return to_float(self.bid.price + self.ask.price, self.instrument.price_exponent) / 2

    @property
    def held(self) -> float:
        """The position in units of the base; that of an inverse contract is worth them at the
        mid."""
        instrument = self.instrument
        exponent = instrument.quantity_exponent + instrument.contract_exponent
        size = to_float(self.position * instrument.contract_mantissa, exponent)
        return size / self.mid if instrument.type.is_inverse else size


class Quoted(NamedTuple):
    """A price and a quantity to work there, at the instrument's exponents."""

    price: int
    quantity: int


class Quotes(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a strategy wants to work, from the best price outwards, and its reasons.

    `fair_value` is the price around which it quotes, `skew` how far the position moved it, both in
    units of the quote currency. `clamps` say what was changed by rounding and by bounds.
    """

    bids: tuple[Quoted, ...]
    asks: tuple[Quoted, ...]
    fair_value: float
    skew: float
    clamps: tuple[str, ...] = ()


class Strategy(Protocol):
    """A strategy. See the module."""

    def quote(self, view: View) -> Quotes | None:
        """What is to work now."""

    def filled(self, fill: Fill) -> None:
        """An order of the lead model was filled."""

    def stopped(self, why: str) -> None:
        """The kill switch was pulled: nothing works any more."""


class Stateless(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy whose quotes follow from the view alone.

    It quotes `quantity` on each side, and holds at most `position_limit`; both are at the
    instrument's exponent.
    """

    quantity: int
    position_limit: int

    def __post_init__(self) -> None:
        """Raises `LimitsError` for a setting that is not finite or not above 0. An integer where a
        double is meant becomes one, so that every formula computes with doubles."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name not in self.may_be_zero and not (math.isfinite(value) and value > 0):
                raise LimitsError(f"{name} is {value}; it has to be finite and above 0")
        for field in fields(self):
            if field.type is float:
                force_setattr(self, field.name, float(getattr(self, field.name)))

    may_be_zero: ClassVar[tuple[str, ...]] = ()
    """Settings that the strategy itself looks at."""

    def filled(self, fill: Fill) -> None:
        """Nothing: the position is in the view."""

    def stopped(self, why: str) -> None:
        """Nothing to undo."""
