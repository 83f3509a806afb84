"""Stoikov's microprice: the mid to be expected, once the mid has changed many times.

The state of a market is its spread, in ticks, and its imbalance I = qb / (qb + qa), in buckets of
equal width. Each change of the best prices or quantities is a step from one state to another, with
or without a change of the mid. From a state x, of all steps,

    Q[x][y]   the share that leads to y, without a change of the mid
    T[x][y]   the share that leads to y, with one
    RK[x]     the mean change of the mid, in ticks

    G1 = (1 - Q)^-1 RK        the change to be expected from the first change of the mid
    B  = (1 - Q)^-1 T         the state after it
    G* = G1 + B G1 + B^2 G1 + ...       what the microprice is above the mid, in ticks

Changes of the mid count in full, however large: where the ticks are small against the usual change,
the microprice can be many of them from the mid. The sum has a limit, since each step is counted
together with its mirror image: bids and asks exchanged, and the mid's change reversed.

Source: Sasha Stoikov, The micro-price: a high-frequency estimator of future prices, Quantitative
Finance 18 (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec
from msgspec.structs import replace

from fanout.analytics.errors import FitError
from fanout.analytics.features.formulas import Best
from fanout.analytics.fits.fit_file import VERSION, fit_in, fit_text, require_version
from fanout.protocol.constants import EXPONENTS, I64_MAX
from fanout.protocol.instrument import Instrument

Matrix = Sequence[Sequence[float]]

MAX_STATES: Final = 100
"""Most states of a fit: spreads times buckets. A fit takes time with the cube of it."""

MAX_ADJUSTMENT: Final = 1e9
"""Limit of what the microprice is away from the mid, in ticks. Keeps every sum finite."""

_MOST_TERMS: Final = 20_000
"""Most terms of the sum. If it has no limit by then, it has none."""

_NEGLIGIBLE: Final = 1e-12
"""A term so small, in parts of the largest G1, that the rest of the sum does not matter. Rounding
leaves some 1e-15 of it that never gets smaller, since the rows of B add up to 1."""


def adjustments(q: Matrix, t: Matrix, rk: Sequence[float]) -> list[float]:
    """G* in ticks, for each state, from Q, T and RK. Raises `FitError` if it does not exist: from a
    state the mid never changes, or the expected changes do not cancel out in the long run."""
    count = len(rk)
    inverse = [
        [float(row == column) - q[row][column] for column in range(count)] for row in range(count)
    ]
    right = [[rk[row], *t[row]] for row in range(count)]
    solved = _solved(inverse, right)
    term = [row[0] for row in solved]
    b = [row[1:] for row in solved]
    negligible = _NEGLIGIBLE * max(map(abs, term))
    total = list(term)
    for _ in range(_MOST_TERMS):
        term = [sum(map(_product, row, term)) for row in b]
        if max(map(abs, term)) <= negligible:
            return total
        total = [before + each for before, each in zip(total, term, strict=True)]
    raise FitError(
        f"the microprice has no limit after {_MOST_TERMS:,} terms: the states do not lead to each "
        "other, so give more observations or fewer states"
    )


def _product(left: float, right: float) -> float:
    return left * right


def _solved(matrix: list[list[float]], right: list[list[float]]) -> list[list[float]]:
    """The matrix x for which `matrix` x = `right`, by Gaussian elimination with pivots."""
    rows = [left + its_right for left, its_right in zip(matrix, right, strict=True)]
    count = len(rows)
    for at in range(count):
        pivot = max(range(at, count), key=lambda row: abs(rows[row][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        if abs(rows[at][at]) < 1e-12:
            raise FitError(
                "there are states from which the mid never changes: give more observations or "
                "fewer states"
            )
        _eliminate(rows, at)
    return [row[count:] for row in rows]


def _eliminate(rows: list[list[float]], at: int) -> None:
    factor = rows[at][at]
    pivot = rows[at] = [each / factor for each in rows[at]]
    for row, values in enumerate(rows):
        if row != at and (its := values[at]):
            rows[row] = [each - its * by for each, by in zip(values, pivot, strict=True)]


class MicropriceFit(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="stoikov microprice",
):
    """Stoikov's microprice of one instrument, and what it was made from.

    `ticks[s][i]` is what the microprice is above the mid, in ticks, at a spread of s + 1 ticks, or
    more in the last row, and in bucket i of the imbalance; None where nothing was observed. `tick`
    is in units of `price_exponent`. `epochs_ns` are the epochs of the records, `first_ns` and
    `last_ns` the receive times of the first and the last one that counted, `fitted_ns` when it was
    made: all unix ns. `observations` is the number of steps.
    """

    version: int = VERSION
    symbol: str
    venue: str
    price_exponent: int
    tick: int
    epochs_ns: tuple[int, ...]
    first_ns: int
    last_ns: int
    fitted_ns: int
    observations: int
    ticks: tuple[tuple[float | None, ...], ...]

    def __post_init__(self) -> None:
        require_version(self.version)
        widths = {len(row) for row in self.ticks}
        if not 1 <= self.tick <= I64_MAX or len(widths) != 1 or 0 in widths:
            raise FitError(
                f"the microprice of {self.symbol} has a tick of {self.tick} and rows of "
                f"{sorted(widths)} values: a fit has a tick of 1 or more, and rows of equal length"
            )
        if self.price_exponent not in EXPONENTS:
            raise FitError(
                f"the microprice of {self.symbol} has a price exponent of {self.price_exponent}: "
                f"exponents are {EXPONENTS[0]} to {EXPONENTS[-1]}"
            )
        for each in chain.from_iterable(self.ticks):
            if each is not None and not abs(each) <= MAX_ADJUSTMENT:  # not a number is refused, too
                raise FitError(
                    f"the microprice of {self.symbol} is {each} ticks above the mid, beyond "
                    f"{MAX_ADJUSTMENT:,.0f}: fit it anew"
                )

    def adjustment_of(self, best: Best) -> float | None:
        """What the microprice is above the mid, in ticks. None for a state that has no fit."""
        spread, bucket = state_of(best, self.tick, len(self.ticks), len(self.ticks[0]))
        return self.ticks[spread][bucket]

    def require(self, instrument: Instrument) -> None:
        """Raises `FitError` unless it is a fit for this instrument: of its symbol and its tick, or
        any tick if the instrument's is unknown."""
        self.for_instrument(instrument)

    def for_instrument(self, instrument: Instrument) -> MicropriceFit:
        """The same fit, with its tick in the units of this instrument. Raises as `require`."""
        exponent = instrument.price_exponent
        shift = self.price_exponent - exponent
        tick, rest = self.tick * 10 ** max(shift, 0), 0
        if shift < 0:
            tick, rest = divmod(tick, 10**-shift)
        if instrument.symbol != self.symbol or rest or instrument.tick not in (0, tick):
            raise FitError(
                f"the microprice was fitted for {self.symbol} with a tick of "
                f"{self.tick}e{self.price_exponent}, and the stream has {instrument.symbol} with "
                f"{instrument.tick}e{exponent}: fit it for this one"
            )
        return replace(self, tick=tick, price_exponent=exponent)

    def to_json(self) -> bytes:
        """As a file keeps it, for people too."""
        return fit_text(self)

    @classmethod
    def from_json(cls, text: bytes, name: str = "the file") -> MicropriceFit:
        """The fit in a file. Raises `FitFileError`, which begins with `name`, for anything else."""
        return fit_in(text, cls, name, "fit of a microprice")


def state_of(best: Best, tick: int, spreads: int, buckets: int) -> tuple[int, int]:
    """The row and the bucket of a state, both from 0."""
    bid, bid_quantity, ask, ask_quantity = best
    spread = max(1, min((ask - bid) // tick, spreads)) - 1
    return spread, min(bid_quantity * buckets // (bid_quantity + ask_quantity), buckets - 1)
