"""The numbers of a synthetic market, for one symbol: columns of trades, chunk after chunk.

The unit is the sweep: one marketable order that meets several resting ones, and so several trades
with one millisecond and one aggressor, walking away from the touch tick by tick. Sweep sizes follow
a power law, cut off at `MAX_SWEEP`. Its exponent is chosen so that about 84 % of the trades share
their millisecond with another, which is what captures of BTCUSDT show; hundreds in one millisecond
then come by themselves. Between sweeps the touch takes a random walk, folded into a band around
the listed price, so that it may run for ever in constant memory.
"""

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fanout.simulator.market.listing import Listing
from fanout.simulator.market.ticks import ADL, INSURANCE_FUND, Kinds

CHUNK_SWEEPS: Final = 512

SWEEP_EXPONENT: Final = 1.28
MAX_SWEEP: Final = 1_000
MEAN_SWEEP: Final = sum(size**-SWEEP_EXPONENT for size in range(1, MAX_SWEEP + 1))

BAND: Final = 0.05  # how far the touch strays from the listed price, to either side
TICK_PROBABILITY: Final = 0.25  # that a trade of a sweep is a tick further than the one before
MAX_SWEEP_MOVE: Final = 0.002  # of the price: what the largest sweeps move it, on average
OFF_MARKET: Final = 0.1  # how far from the market liquidations are taken over

MEDIAN_NOTIONAL: Final = 150.0
QUANTITY_SIGMA: Final = 1.7
MAX_QUANTITY_STEPS: Final = 10_000_000

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Chunk(NamedTuple):
    """Columns, a row per trade. Times are milliseconds on the generator's own clock."""

    time_ms: Ints
    beyond_us: Ints
    event_ms: Ints
    price_ticks: Ints
    quantity_steps: Ints
    kind: Ints
    buyer_is_maker: Bools


def chunks(
    listing: Listing, rate: float, seed: tuple[int, ...], kinds: Kinds, sweeps: int = CHUNK_SWEEPS
) -> Iterator[Chunk]:
    """Endless; the same for the same arguments. `rate` is in trades per second. A chunk has so many
    `sweeps`."""
    random = np.random.default_rng(seed)
    off_market = [name in (INSURANCE_FUND, ADL) for name in kinds.names]
    price = float(listing.price) / float(listing.tick_size)
    lot = MEDIAN_NOTIONAL / float(listing.price) / float(listing.step_size)
    gap_ms = 1000 * MEAN_SWEEP / rate
    clock_ms, walked = 0.0, 0
    while True:
        sizes = _sweep_sizes(random, sweeps)
        times = clock_ms + np.cumsum(random.exponential(gap_ms, sweeps))
        sells = random.random(sweeps) < 0.5
        depths = _depths(random, sizes, MAX_SWEEP_MOVE * price)
        path = walked + np.cumsum(_impacts(random, sizes, sells, depths))
        prices = _prices(sizes, sells, depths, _fold(path, price * BAND) + round(price))
        kind = random.choice(len(kinds.names), size=len(prices), p=kinds.shares)
        prices = _off_market(random, prices, np.array(off_market)[kind])
        yield _chunk(random, sizes, times, sells, prices, kind, lot)
        clock_ms, walked = float(times[-1]), int(path[-1])


def _sweep_sizes(random: np.random.Generator, count: int) -> Ints:
    uniform = 1.0 - random.random(count)  # (0, 1]: zero has no power
    sizes = np.minimum(uniform ** (-1 / SWEEP_EXPONENT), MAX_SWEEP)
    return sizes.astype(np.int64)


def _depths(random: np.random.Generator, sizes: Ints, largest_move: float) -> Ints:
    """Per trade, how many ticks from the touch: never falling within a sweep, zero at its start."""
    starts = np.cumsum(sizes) - sizes
    probability = np.minimum(TICK_PROBABILITY, largest_move / sizes)
    steps = (random.random(int(sizes.sum())) < np.repeat(probability, sizes)).astype(np.int64)
    steps[starts] = 0
    climbed: Ints = np.cumsum(steps)
    depths: Ints = climbed - np.repeat(climbed[starts], sizes)
    return depths


def _impacts(random: np.random.Generator, sizes: Ints, sells: Bools, depths: Ints) -> Ints:
    """Per sweep, how far it leaves the touch moved: half its depth, and some noise."""
    deepest = depths[np.cumsum(sizes) - 1]
    noise = random.integers(-1, 2, len(sizes))
    impacts: Ints = np.where(sells, -1, 1) * (deepest // 2) + noise
    return impacts


def _fold(path: Ints, band_ticks: float) -> Ints:
    """Reflect a walk at the walls of -band..band, as often as it takes."""
    band = max(1, int(band_ticks))
    return band - np.abs((path + band) % (4 * band) - 2 * band)


def _prices(sizes: Ints, sells: Bools, depths: Ints, touches: Ints) -> Ints:
    """Per trade: sells walk down from the touch, buys walk up from one tick above it."""
    away = np.where(sells, -1, 1).astype(np.int64)
    return np.repeat(touches + ~sells, sizes) + np.repeat(away, sizes) * depths


def _chunk(
    random: np.random.Generator,
    sizes: Ints,
    times: NDArray[np.float64],
    sells: Bools,
    prices: Ints,
    kind: Ints,
    lot: float,
) -> Chunk:
    whole_ms = times.astype(np.int64)
    time_ms = np.repeat(whole_ms, sizes)
    return Chunk(
        time_ms=time_ms,
        beyond_us=np.repeat(((times - whole_ms) * 1000).astype(np.int64), sizes),
        event_ms=time_ms + np.repeat(random.integers(0, 2, len(sizes)), sizes),
        price_ticks=prices,
        quantity_steps=_quantities(random, len(prices), lot),
        kind=kind,
        buyer_is_maker=np.repeat(sells, sizes),
    )


def _off_market(random: np.random.Generator, prices: Ints, is_off: Bools) -> Ints:
    away = random.uniform(1 - OFF_MARKET, 1 + OFF_MARKET, len(prices))
    return np.where(is_off, np.rint(prices * away), prices).astype(np.int64)


def _quantities(random: np.random.Generator, count: int, lot: float) -> Ints:
    steps = random.lognormal(math.log(max(lot, 1.5)), QUANTITY_SIGMA, count)
    return np.clip(steps, 1, MAX_QUANTITY_STEPS).astype(np.int64)
