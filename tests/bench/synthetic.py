"""Synthetic trades with the statistics of the recordings, as the frames that a venue sends.

They are seeded: every run on every machine measures the same bytes. `test_market.py` compares their
statistics with those of the recordings.

The unit is the *sweep*: one order that fills against several resting ones, so that several trades
share a millisecond and an aggressor. Sizes of sweeps, pauses between them, quantities and price
steps are drawn from quantiles that were measured in the recordings. Drawn independently of each
other, they would never make a burst of a thousand trades in 100 ms. So a hidden activity rises and
falls in the course of the market. While it is high, pauses are short and sweeps are large. Both
symbols follow the same activity, and so are busy at the same time.
"""

from bisect import bisect_right
from collections.abc import Iterator
from math import sqrt
from random import Random
from statistics import NormalDist
from typing import Final

import msgspec

SEED: Final = 18

Row = tuple[int, bytes]
"""When a frame was received, in unix ns, and its text."""

SHARES: Final = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)
"""The shares at which all quantiles below were measured."""

Quantiles = tuple[int, ...]

RECEIVED_GAPS_NS: Final = (
    *(400, 500, 600, 700, 800, 1_000, 1_300, 1_600, 2_100, 3_100),
    *(6_200, 200_000, 900_000, 1_100_000, 1_300_000, 1_500_000),
)
"""Between two frames of one sweep."""

OPENING_MS: Final = 1_723_161_256_322
CLOCK_NS: Final = -1_270_000_000
"""By how much the recorder's clock was ahead of the venue's."""

MEMORY: Final = 0.95
"""How much of the activity lasts from one sweep to the next."""
HURRY: Final = 0.75
"""How closely short pauses follow the activity: 0 not at all, 1 entirely."""
WEIGHT: Final = 0.5
"""How closely large sweeps follow it."""

SIDE_CHANGES: Final = 0.36
"""The share of sweeps whose aggressor is on the other side than the one before."""
LATE_EVENTS: Final = 0.22
"""The share of sweeps whose event time is a millisecond after the trade time."""
BAND: Final = 0.002
"""How far the price moves from the first one before it turns back, as a share of it."""


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """What the recording of one symbol holds. Prices and quantities are in units of their last
    decimal."""

    trades: int
    sweeps: int
    first_id: int
    first_price: int
    tick: int
    sizes: Quantiles
    """Trades of a sweep."""
    pauses_ms: Quantiles
    """Between two sweeps."""
    quantities: Quantiles
    steps_inside: Quantiles
    """Price steps from trade to trade inside a sweep, without their sign."""
    steps_between: Quantiles
    """Price steps from a sweep to the next."""


MARKETS: Final = {
    "BTCUSDT": Market(
        trades=21_313,
        sweeps=5_260,
        first_id=5_266_583_935,
        first_price=6_180_030,
        tick=10,
        sizes=(1, 1, 1, 1, 1, 1, 1, 2, 3, 7, 12, 26, 45, 72, 315, 348),
        pauses_ms=(1, 1, 2, 7, 16, 29, 47, 72, 109, 181, 252, 353, 427, 504, 759, 1_199),
        quantities=(1, 2, 2, 4, 8, 16, 30, 56, 110, 265, 486, 800, 1_146, 1_965, 5_900, 46_000),
        steps_inside=(0, 0, 0, 0, 0, 0, 0, 10, 10, 30, 60, 110, 180, 200, 497, 2_600),
        steps_between=(0, 0, 0, 0, 0, 0, 10, 10, 10, 30, 100, 200, 380, 504, 1_097, 2_330),
    ),
    "ETHUSDT": Market(
        trades=14_076,
        sweeps=3_479,
        first_id=4_308_068_523,
        first_price=268_162,
        tick=1,
        sizes=(1, 1, 1, 1, 1, 1, 2, 3, 5, 8, 13, 23, 35, 67, 131, 228),
        pauses_ms=(1, 1, 3, 9, 21, 40, 67, 106, 162, 270, 392, 548, 685, 918, 1_264, 1_528),
        quantities=(
            *(1, 8, 10, 14, 20, 71, 153, 344, 746, 1_600),
            *(3_065, 5_958, 8_459, 11_186, 19_893, 265_081),
        ),
        steps_inside=(0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 6, 8, 16, 29),
        steps_between=(0, 0, 0, 0, 0, 1, 1, 1, 1, 4, 8, 17, 23, 29, 39, 52),
    ),
}
MOST_SWEEPS: Final = max(each.sweeps for each in MARKETS.values())


class _Sweep(msgspec.Struct, frozen=True):
    time_ms: int
    size: int
    is_sale: bool


def synthetic(symbol: str, seed: int = SEED) -> Iterator[Row]:
    """As many trades as the recording of a symbol has; the same trades for the same seed."""
    market = MARKETS[symbol]
    random = Random(f"{seed} {symbol}")
    trade_id, price, received_ns = market.first_id, market.first_price, 0
    for sweep in _sweeps(market, random, seed):
        event_ms = sweep.time_ms + (random.random() < LATE_EVENTS)
        received_ns = max(received_ns, event_ms * 1_000_000 + CLOCK_NS)
        for place in range(sweep.size):
            price = _moved(market, price, random, sweep, is_inside=place > 0)
            quantity = round(drawn(market.quantities, random.random()))
            yield received_ns, _text(symbol, trade_id, event_ms, sweep, price, quantity)
            received_ns += round(drawn(RECEIVED_GAPS_NS, random.random()))
            trade_id += 1


def _sweeps(market: Market, random: Random, seed: int) -> Iterator[_Sweep]:
    time_ms, left, is_sale = OPENING_MS, market.trades, True
    for level in _activity(market, seed):
        size = min(left, round(drawn(market.sizes, _following(level, WEIGHT, random))))
        yield _Sweep(time_ms, size, is_sale)
        left -= size
        if not left:
            return
        time_ms += round(drawn(market.pauses_ms, 1 - _following(level, HURRY, random)))
        is_sale ^= random.random() < SIDE_CHANGES


def _activity(market: Market, seed: int) -> Iterator[float]:
    """A level for each sweep, near the one before: normally distributed, around 0, with variance 1.
    All markets go through the same levels in the same time; one with fewer sweeps skips some."""
    random = Random(seed)
    level, place = random.gauss(), 0.0
    while True:
        yield level
        place += MOST_SWEEPS / market.sweeps
        while place >= 1:
            level = MEMORY * level + sqrt(1 - MEMORY**2) * random.gauss()
            place -= 1


def _following(level: float, closely: float, random: Random) -> float:
    """A share, uniform from 0 to 1 over the whole market, and large while the level is high."""
    mixed = closely * level + sqrt(1 - closely**2) * random.gauss()
    return NormalDist().cdf(mixed)


def drawn(quantiles: Quantiles, share: float) -> float:
    """The value at this share of all values."""
    place = min(bisect_right(SHARES, share), len(SHARES) - 1)
    low, high = quantiles[place - 1], quantiles[place]
    return low + (high - low) * (share - SHARES[place - 1]) / (SHARES[place] - SHARES[place - 1])


def _moved(market: Market, price: int, random: Random, sweep: _Sweep, *, is_inside: bool) -> int:
    """The next price. A sweep moves it away from the resting orders that it has used up."""
    steps = market.steps_inside if is_inside else market.steps_between
    step = round(drawn(steps, random.random()) / market.tick) * market.tick
    strayed = price - market.first_price
    if abs(strayed) > BAND * market.first_price:
        is_down = strayed > 0
    else:
        is_down = sweep.is_sale if is_inside else random.random() < 0.5
    return price - step if is_down else price + step


def _text(
    symbol: str, trade_id: int, event_ms: int, sweep: _Sweep, price: int, quantity: int
) -> bytes:
    """A frame of the venue's combined stream, to the byte as the venue spells it."""
    whole, cents = divmod(price, 100)
    units, thousandths = divmod(quantity, 1_000)
    return (
        f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":{event_ms},'
        f'"T":{sweep.time_ms},"s":"{symbol}","t":{trade_id},"p":"{whole}.{cents:02}",'
        f'"q":"{units}.{thousandths:03}","X":"MARKET","m":{str(sweep.is_sale).lower()}}}}}'
    ).encode()
