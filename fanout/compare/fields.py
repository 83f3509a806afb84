"""What of two trades is compared, and whether it is equal."""

from typing import Final

import msgspec

from fanout.protocol.fixedpoint import to_text
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that both streams have. The venue's times are compared in units of `time_unit_ns`,
    and kinds of trades only with `has_kinds`."""

    time_unit_ns: int = 1
    has_kinds: bool = True

    def time(self, trade: Trade) -> int:
        """The venue's time of a trade, in the unit of the comparison."""
        scale: int = 10 ** (trade.instrument.time_exponent + 9)
        return trade.time * scale // self.time_unit_ns

    def content(self, trade: Trade) -> tuple[object, ...]:
        """What is equal for two trades of one time, price, quantity and side."""
        of = trade.instrument
        return (
            self.time(trade),
            _shortest(trade.price, of.price_exponent),
            _shortest(trade.quantity, of.quantity_exponent),
            trade.buyer_is_maker,
        )

    def differing(self, a: Trade, b: Trade) -> list[tuple[str, str, str]]:
        """The fields in which two trades differ, with both values as text."""
        of_a, of_b = a.instrument, b.instrument
        if _is_plainly_equal(a, b, of_a, of_b):
            return []
        found = []
        if self.time(a) != self.time(b):
            texts = to_text(a.time, of_a.time_exponent), to_text(b.time, of_b.time_exponent)
            found.append(("time", *texts))
        found += [
            (field, to_text(ours, exponent_a), to_text(theirs, exponent_b))
            for field, ours, exponent_a, theirs, exponent_b in (
                ("price", a.price, of_a.price_exponent, b.price, of_b.price_exponent),
                (
                    *("quantity", a.quantity, of_a.quantity_exponent),
                    *(b.quantity, of_b.quantity_exponent),
                ),
            )
            if not same(ours, exponent_a, theirs, exponent_b)
        ]
        if a.buyer_is_maker != b.buyer_is_maker:
            found.append(("side", _side(a), _side(b)))
        if self.has_kinds and a.kind != b.kind:
            found.append(("kind", a.kind.name, b.kind.name))
        return found


EXACT: Final = Fields()
"""All fields, to the digit."""


def same(a: int, exponent_a: int, b: int, exponent_b: int) -> bool:
    """Whether two numbers with their exponents are equal."""
    if exponent_a == exponent_b:
        return a == b
    least = min(exponent_a, exponent_b)
    in_a: int = a * 10 ** (exponent_a - least)
    in_b: int = b * 10 ** (exponent_b - least)
    return in_a == in_b


def _shortest(value: int, exponent: int) -> tuple[int, int]:
    """The same number in as few digits as possible."""
    while value and value % 10 == 0:
        value, exponent = value // 10, exponent + 1
    return value, exponent if value else 0


def _is_plainly_equal(a: Trade, b: Trade, of_a: Instrument, of_b: Instrument) -> bool:
    return (
        a.price == b.price
        and a.quantity == b.quantity
        and a.time == b.time
        and a.buyer_is_maker == b.buyer_is_maker
        and a.kind == b.kind
        and of_a.price_exponent == of_b.price_exponent
        and of_a.quantity_exponent == of_b.quantity_exponent
        and of_a.time_exponent == of_b.time_exponent
    )


def _side(trade: Trade) -> str:
    return "sell" if trade.buyer_is_maker else "buy"
