"""A stream whose taker orders reach as far as an exponential says."""

from random import Random

from fanout.protocol.instrument import Instrument
from fanout.trading.calibrating.arrivals import Arrivals
from tests.fanout.trading.world import BUY, MS, SELL, World

S = 1_000
TICKED = Instrument(
    index=0, symbol="X", price_exponent=-2, quantity_exponent=0, tick=10, base="BASE", quote="QUO"
)
MID = 1_000_000
"""10,000.00, with a spread of two ticks."""


class Planted(World):
    """Taker orders that reach d at the rate a exp(-k d) a second on each side, d in 1.00; the mid
    makes a step of sigma each second."""

    def __init__(
        self,
        a: float,
        k: float,
        sigma: float = 0.0,
        seed: int = 1,
        instrument: Instrument = TICKED,
    ) -> None:
        self.arrivals = Arrivals(instrument.symbol, 1_000 * MS)
        self.random = Random(seed)
        self._a, self._k, self._sigma = a, k, sigma
        self.mid = MID
        super().__init__(instrument, bids=[(MID - 10, 10)], asks=[(MID + 10, 10)])

    def take(self, record: object) -> list:  # type: ignore[type-arg]
        self.arrivals.take(record)  # type: ignore[arg-type]
        return []

    def seconds(self, count: int) -> "Planted":
        for _ in range(count):
            end_ms = self.ms + S
            self._orders(end_ms)
            self.ms = end_ms - 1
            step = 20 * round(self.random.gauss(0, self._sigma * 100) / 20)
            self.mid += step
            self.whole([(self.mid - 10, 10)], [(self.mid + 10, 10)])
        self.arrivals.end()
        return self

    def _orders(self, end_ms: int) -> None:
        while True:
            wait_ms = round(self.random.expovariate(2 * self._a) * S)
            if self.ms + wait_ms >= end_ms - 2:
                return
            self.ms += wait_ms
            distance = self.random.expovariate(self._k) * 100
            is_buy = self.random.random() < 0.5
            # An order that does not reach the best price meets nothing there.
            ticks = int(distance) // 10 * 10
            if ticks >= 10:
                price = self.mid + ticks if is_buy else self.mid - ticks
                self.trade(price, 1, BUY if is_buy else SELL)
