"""The intensity of taker orders: the A, k and sigma of Avellaneda-Stoikov and of GLFT.

A quote at a distance d from the mid, first in its queue, is hit at the rate

    lambda(d) = A exp(-k d)        a second, on each side

The fit counts the taker orders that reach at least d: N(d), over T seconds and both sides
(`arrivals`). With levels d0 < d1 < ... < dJ that are w apart, the orders of each band between two
levels, and those beyond the last, are independent and Poisson. The maximum of their likelihood has
a closed form. Prices are on ticks, so w is a whole number of them:

    p = (N(d1) + ... + N(dJ)) / (N(d0) + ... + N(dJ-1))
    k = -ln(p) / w
    A = N(d0) / (2 T) exp(k d0)

Of the orders that reach one level, p is the part that reaches the next. The errors of that
likelihood are `k_error_poisson` = sqrt((1 - p) / (p M)) / w with the divisor M of p, and for A, by
the delta method, A sqrt(1 / N(d0) + d0^2 var(k)). Taker orders come in bursts, so these are too
small. `a_error` and `k_error` are those of a jackknife: the observed time is cut into `BLOCKS`
blocks, and the fit is made without each of them in turn.

The levels begin one tick behind the touch, the mean half spread, unless they are given. Most orders
take only what is at the touch: they say nothing of the decay behind it, and would bend the fit. So
a quote at the touch is hit more often than A and k have it: `touch_per_second`. They end where
`FAR_PART` of those orders reach.

Chi-square compares the orders of the bands with the fit. Its probability is that of a fit at
least as bad if lambda were exponential.

Sigma is the volatility of the mid in price per square root of a second: that of
`fanout.analytics.features.volatility` over all samples, times the mean mid.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from math import erfc, exp, log, sqrt
from typing import Final

import msgspec

from fanout.analytics.errors import FitError
from fanout.analytics.features.volatility import SCALE
from fanout.analytics.fits.fit_errors import TooFewRowsError
from fanout.analytics.fits.made import MadeFor, MadeFrom, Origin
from fanout.trading.calibrating.arrivals import Arrivals
from fanout.trading.calibrating.calibration import Calibration, Level

MIN_ORDERS: Final = 200
"""Fewest taker orders that have to reach the first level: k is then known to about 7 %."""

FAR_PART: Final = Fraction(1, 20)
"""The part of the orders at the first level that reaches the last, unless that is given."""

MIN_MOVES: Final = 30
"""Fewest moves of the mid for sigma: it is then known to about 13 %."""

MAX_BANDS: Final = 20
"""Most bands between levels."""

BLOCKS: Final = 20
"""Blocks of the jackknife."""

_MIN_EXPECTED: Final = 5
"""Fewest orders that a band of chi-square has by the fit. Smaller ones are put together."""

_Numbers = tuple[float, float, float]


def calibrate(
    arrivals: Arrivals,
    *,
    made_for: MadeFor,
    origin: Origin,
    nearest: int | None = None,
    farthest: int | None = None,
) -> Calibration:
    """Fit all that has arrived. `nearest` and `farthest` are the first and the last distance, in
    half units of the price. Raises `FitError`, and `TooFewRowsError`, which says how much is
    needed."""
    instrument = arrivals.instrument
    if instrument is None or not arrivals.observed_ns:
        raise TooFewRowsError("no time with a known book: give a journal with books and trades")
    _require_moves(arrivals)
    unit = Fraction(10) ** instrument.price_exponent / 2
    tick = instrument.tick or 1
    touch = _touch(arrivals, tick)
    levels = _levels(
        arrivals, tick, unit, touch + 2 * tick if nearest is None else nearest, farthest
    )
    blocks = _Blocks(arrivals, levels)
    whole = blocks.without(None)
    distances = [float(each * unit) for each in levels]
    a, k, sigma = _estimate(whole, distances, unit)
    errors = _jackknife(blocks, distances, unit)
    by_poisson = _poisson_errors(whole.orders, distances, a)
    chi_square, freedom = _chi_square(whole.orders)
    return Calibration(
        made_for=made_for,
        a=a,
        a_error=errors[0],
        a_error_poisson=by_poisson[0],
        k=k,
        k_error=errors[1],
        k_error_poisson=by_poisson[1],
        sigma=sigma,
        sigma_error=errors[2],
        sigma_horizon_ns=arrivals.horizon_ns,
        spread=float(Fraction(arrivals.spread_ns, arrivals.observed_ns) * 2 * unit),
        touch_per_second=_reaching(sorted(arrivals.reaches), touch) / whole.both_sides_s,
        observed_s=float(Fraction(arrivals.observed_ns, 10**9)),
        levels=tuple(
            Level(
                distance=distance,
                orders=orders,
                per_second=orders / whole.both_sides_s,
                fitted=a * exp(-k * distance),
            )
            for distance, orders in zip(distances, whole.orders, strict=True)
        ),
        chi_square=chi_square,
        freedom=freedom,
        probability=_probability(chi_square, freedom),
        made_from=MadeFrom(
            **msgspec.structs.asdict(origin),
            first_ns=arrivals.first_ns,
            last_ns=arrivals.last_ns,
            rows=len(arrivals.reaches),
            left_out=dict(+arrivals.left_out),
        ),
    )


def _require_moves(arrivals: Arrivals) -> None:
    if len(arrivals.squares) < MIN_MOVES:
        raise TooFewRowsError(
            f"{len(arrivals.squares)} moves of the mid over {arrivals.horizon_ns / 1e9:g} s, and "
            f"{MIN_MOVES} are needed for sigma: give more records, or a shorter horizon"
        )
    if not any(arrivals.squares):
        raise FitError("the mid never moved, so sigma is 0: give more records")


# Levels.


def _touch(arrivals: Arrivals, tick: int) -> int:
    """The mean half spread in half units, to the nearest half tick, which is `tick` of them."""
    return max(round(Fraction(arrivals.spread_ns, arrivals.observed_ns * tick)), 1) * tick


def _levels(
    arrivals: Arrivals, tick: int, unit: Fraction, nearest: int, farthest: int | None
) -> list[int]:
    """The distances, in half units."""
    reaches = sorted(arrivals.reaches)
    reaching = _reaching(reaches, nearest)
    if reaching < MIN_ORDERS:
        raise TooFewRowsError(
            f"{reaching:,} of {len(reaches):,} taker orders reached {float(nearest * unit):g} from "
            f"the mid, and {MIN_ORDERS:,} are needed: give more records, or a nearer distance"
        )
    if farthest is None:
        farthest = reaches[-max(int(reaching * FAR_PART), 1)]
    whole_tick = 2 * tick
    width = -(-(farthest - nearest) // (MAX_BANDS * whole_tick)) * whole_tick
    levels = list(range(nearest, farthest + 1, width)) if width > 0 else []
    if len(levels) < 3:
        raise FitError(
            f"from {float(nearest * unit):g} to {float(farthest * unit):g} there are "
            f"{len(levels)} distances a tick apart, and 3 are needed to see a decay: give "
            "more records, or other distances"
        )
    return levels


def _reaching(reaches: Sequence[int], level: int) -> int:
    """How many of the sorted reaches are the level or above."""
    return len(reaches) - bisect_right(reaches, level - 1)


# Estimates.


class _Counts(msgspec.Struct, frozen=True):
    """What was counted: the orders that reached each level, the time of both sides in seconds, the
    moves of the mid, the sum of their squares, and that of twice the mids."""

    orders: list[int]
    both_sides_s: float
    moves: int
    squares: int
    twice_mids: float
    horizon_ns: int


class _Blocks:
    """The counts of the whole time, and of each block of it."""

    def __init__(self, arrivals: Arrivals, levels: Sequence[int]) -> None:
        self._arrivals = arrivals
        self._reaches: list[list[int]] = [[] for _ in range(BLOCKS)]
        for at_ns, reach in zip(arrivals.times, arrivals.reaches, strict=True):
            self._reaches[self._block(at_ns)].append(reach)
        self._orders = [self._counted(sorted(each), levels) for each in self._reaches]
        self._squares, self._moves = [0] * BLOCKS, [0] * BLOCKS
        for at_ns, square in zip(arrivals.move_times, arrivals.squares, strict=True):
            self._squares[self._block(at_ns)] += square
            self._moves[self._block(at_ns)] += 1

    def _block(self, at_ns: int) -> int:
        return min(at_ns * BLOCKS // self._arrivals.observed_ns, BLOCKS - 1)

    def _counted(self, reaches: Sequence[int], levels: Sequence[int]) -> list[int]:
        return [_reaching(reaches, each) for each in levels]

    def without(self, block: int | None) -> _Counts:
        """The counts of all blocks but one, or of all."""
        kept = [each for each in range(BLOCKS) if each != block]
        arrivals = self._arrivals
        return _Counts(
            orders=[sum(each) for each in zip(*(self._orders[at] for at in kept), strict=True)],
            both_sides_s=2 * arrivals.observed_ns * len(kept) / (BLOCKS * 10**9),
            moves=sum(self._moves[at] for at in kept),
            squares=sum(self._squares[at] for at in kept),
            twice_mids=arrivals.twice_mids / len(arrivals.squares),
            horizon_ns=arrivals.horizon_ns,
        )


def _estimate(counts: _Counts, distances: Sequence[float], unit: Fraction) -> _Numbers:
    """A, k and sigma. Raises `FitError` where there is no decay."""
    orders, width = counts.orders, distances[1] - distances[0]
    further, all_of_them = sum(orders[1:]), sum(orders[:-1])
    if not 0 < further < all_of_them or not counts.moves:
        raise FitError(
            f"of {orders[0]:,} taker orders that reached {distances[0]:g} from the mid, "
            f"{orders[-1]:,} reached {distances[-1]:g} too: no decay can be fitted"
        )
    k = log(all_of_them / further) / width
    a = orders[0] / counts.both_sides_s * exp(k * distances[0])
    variance = counts.squares * 10**9 / (SCALE * counts.moves * counts.horizon_ns)
    return a, k, sqrt(variance) * counts.twice_mids * float(unit)


def _jackknife(blocks: _Blocks, distances: Sequence[float], unit: Fraction) -> _Numbers:
    """The standard errors of A, k and sigma, from the fits without a block each."""
    fits = [_estimate(blocks.without(each), distances, unit) for each in range(BLOCKS)]
    a, k, sigma = zip(*fits, strict=True)
    return _spread(a), _spread(k), _spread(sigma)


def _spread(values: Sequence[float]) -> float:
    mean = sum(values) / BLOCKS
    return sqrt((BLOCKS - 1) / BLOCKS * sum((each - mean) ** 2 for each in values))


def _poisson_errors(
    orders: Sequence[int], distances: Sequence[float], a: float
) -> tuple[float, float]:
    """The standard errors of A and k by the likelihood."""
    further, all_of_them = sum(orders[1:]), sum(orders[:-1])
    p = further / all_of_them
    k_error = sqrt((1 - p) / (p * all_of_them)) / (distances[1] - distances[0])
    return a * sqrt(1 / orders[0] + (distances[0] * k_error) ** 2), k_error


# Goodness of fit.


def _chi_square(orders: Sequence[int]) -> tuple[float, int]:
    """Chi-square of the bands, and its degrees of freedom: bands less 2, for A and k."""
    p = sum(orders[1:]) / sum(orders[:-1])
    bands: list[tuple[int, float]] = []
    for at, count in enumerate(orders[:-1]):
        bands.append((count - orders[at + 1], orders[0] * p**at * (1 - p)))
    bands.append((orders[-1], orders[0] * p ** (len(orders) - 1)))
    while len(bands) > 1 and min(bands[-1][1], bands[-2][1]) < _MIN_EXPECTED:
        (seen, expected), (other, others) = bands.pop(), bands.pop()
        bands.append((seen + other, expected + others))
    total = sum((seen - expected) ** 2 / expected for seen, expected in bands)
    return total, max(len(bands) - 2, 0)


def _probability(chi_square: float, freedom: int) -> float | None:
    """Of a chi-square at least as large, by the approximation of Wilson and Hilferty."""
    if not freedom:
        return None
    part = 2 / (9 * freedom)
    z = ((chi_square / freedom) ** (1 / 3) - (1 - part)) / sqrt(part)
    return erfc(z / sqrt(2)) / 2
