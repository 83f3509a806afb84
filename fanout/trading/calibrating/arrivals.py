"""How far taker orders reach from the mid: what a fit of their intensity counts.

A taker order is all trades of one aggressor with one time of the venue: an order that goes through
several prices is several trades. Its *reach* is the distance from the mid just before it to its
farthest price. A quote at a distance of d, first in its queue, would have been hit if d is not
above the reach.

*Just before* is by the venue's clock: the mid of the newest book that the venue made before the
trade. Trades and books come over different ways, so a book that has the trade already may come
first. Where the venue gives no times, it is the mid of the newest book that had come.

Time counts while a paper exchange would fill orders: the book is known, no trade is missing, and
the best prices do not cross. Orders of other times are left out and counted. So are trades that did
not take from the book, and back-filled ones.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, deque
from typing import Final

from fanout.analytics.features.volatility import squared_return
from fanout.clients.outcomes import Received
from fanout.protocol.constants import TradeKind
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from fanout.trading.orders import Latencies
from fanout.trading.paper import PaperExchange
from fanout.trading.settings import ExchangeSettings

BLIND: Final = "while the book or trades were not known"
NO_MID: Final = "without a mid just before them"

MAX_MIDS: Final = 4_096
"""Mids that are remembered for orders whose books are still to come."""

MAX_WAITING: Final = 4_096
"""Orders that wait for the next book. Beyond that the oldest has to do with the newest mid."""

_AGAINST_THE_BOOK: Final = (TradeKind.MARKET, TradeKind.AGGREGATE)

_SETTINGS: Final = ExchangeSettings(latencies=Latencies(acknowledge_ns=0, cancel_ns=0))


class _Order:
    """A taker order. `farthest` is twice its farthest price, `at_ns` when it came, in observed
    time."""

    __slots__ = ("at_ns", "farthest", "is_buy", "time")

    def __init__(self, trade: Trade, at_ns: int) -> None:
        self.time = trade.time
        self.is_buy = not trade.buyer_is_maker
        self.farthest = 2 * trade.price
        self.at_ns = at_ns

    def is_of(self, trade: Trade) -> bool:
        """Whether a trade is another part of it."""
        return trade.time == self.time and self.is_buy is not trade.buyer_is_maker

    def extend(self, trade: Trade) -> None:
        farther = max if self.is_buy else min
        self.farthest = farther(self.farthest, 2 * trade.price)


class Arrivals:
    """The taker orders of one symbol in a stream, and the moves of its mid over `horizon_ns`.

    Distances are in half units of the price, so that a mid is an integer. Times of orders and
    moves are of the observed time, which `observed_ns` is in all.
    """

    def __init__(self, symbol: str, horizon_ns: int) -> None:
        self.horizon_ns = horizon_ns
        self.observed_ns = self.first_ns = self.last_ns = 0
        self.times = array("q")
        self.reaches = array("q")
        """Of each taker order: when it came, and how far it reached. Below 0 where it did not get
        beyond the mid."""
        self.move_times = array("q")
        self.squares: list[int] = []
        """Of each move over the horizon: when it ended, and its square: `squared_return`."""
        self.twice_mids = 0
        """The sum of twice the mids at the ends of the moves."""
        self.spread_ns = 0
        """The spread in units of the price, times the nanoseconds for which it was that."""
        self.left_out: Counter[str] = Counter()
        self._exchange = PaperExchange(_SETTINGS, [symbol])
        self._book = self._exchange.books[symbol]
        self._symbol = symbol
        self._now_ns = 0
        self._twice_mid = self._spread = 0
        """Of the newest book. The mid is 0 while time does not count."""
        self._mids: deque[tuple[int, int]] = deque(maxlen=MAX_MIDS)
        """The venue's times of books, and twice their mids."""
        self._waiting: deque[_Order] = deque()
        self._sample_ns = 0
        """The newest multiple of the horizon that was sampled."""
        self._sampled = 0
        """Twice the mid then, 0 where time did not count since."""

    @property
    def instrument(self) -> Instrument | None:
        """None before the first book."""
        return self._book.instrument

    def take(self, record: Received) -> None:
        """Take the next record of the stream. Every record counts."""
        self._exchange.take(record)
        self._pass_time(self._exchange.now_ns)
        if type(record) is Trade and record.instrument.symbol == self._symbol:
            self._trade(record)
        self._look()

    def end(self) -> None:
        """There are no more records. The last orders have to do with the newest mid."""
        while self._waiting:
            self._note(self._waiting.popleft(), self._twice_mid)

    # Time.

    def _pass_time(self, now_ns: int) -> None:
        before_ns, self._now_ns = self._now_ns, now_ns
        if self._twice_mid:
            passed_ns = now_ns - before_ns
            self._sample(before_ns, now_ns)
            self.observed_ns += passed_ns
            self.spread_ns += self._spread * passed_ns
            self.first_ns = self.first_ns or before_ns
            self.last_ns = now_ns
        else:
            self._sampled = 0

    def _sample(self, before_ns: int, now_ns: int) -> None:
        """Take the samples of the mid at the multiples of the horizon from one record on, up to and
        without the next."""
        step_ns = self.horizon_ns
        if not self._sampled:
            self._sample_ns = (before_ns - 1) // step_ns * step_ns
        while self._sample_ns + step_ns < now_ns:
            self._sample_ns += step_ns
            if self._sampled:
                self.move_times.append(self.observed_ns)
                self.squares.append(squared_return(self._twice_mid, self._sampled))
                self.twice_mids += self._twice_mid
            self._sampled = self._twice_mid

    # Orders.

    def _trade(self, trade: Trade) -> None:
        if trade.back_filled or trade.kind not in _AGAINST_THE_BOOK:
            return
        if not self._twice_mid:
            self.left_out[BLIND] += 1
            return
        for each in reversed(self._waiting):
            if each.is_of(trade):
                each.extend(trade)
                return
        self._waiting.append(_Order(trade, self.observed_ns))
        if not trade.time or not self._book.time or len(self._waiting) > MAX_WAITING:
            self._note(self._waiting.popleft(), self._twice_mid)

    def _look(self) -> None:
        """See whether time counts from now on, and what the mid is."""
        bid, ask = self._book.best_bid, self._book.best_ask
        if self._exchange.frozen_why(self._symbol) or bid is None or ask is None:
            self._lose()
            return
        if bid.price >= ask.price or bid.price + ask.price <= 0:
            self._lose()
            return
        self._twice_mid, self._spread = bid.price + ask.price, ask.price - bid.price
        self._remember(self._book.time, self._twice_mid)

    def _remember(self, time: int, twice_mid: int) -> None:
        mids = self._mids
        if mids and time <= mids[-1][0]:
            mids[-1] = (mids[-1][0], twice_mid)
            return
        mids.append((time, twice_mid))
        while self._waiting and self._waiting[0].time < time:
            order = self._waiting.popleft()
            self._note(order, self._mid_before(order.time))

    def _mid_before(self, time: int) -> int:
        """Twice the mid of the newest book that is older, 0 if none is remembered."""
        at = bisect_left(self._mids, (time, 0))
        return self._mids[at - 1][1] if at else 0

    def _note(self, order: _Order, twice_mid: int) -> None:
        if not twice_mid:
            self.left_out[NO_MID] += 1
            return
        self.times.append(order.at_ns)
        reach = order.farthest - twice_mid
        self.reaches.append(reach if order.is_buy else -reach)

    def _lose(self) -> None:
        self._twice_mid = 0
        self._mids.clear()
        self.left_out[NO_MID] += len(self._waiting)
        self._waiting.clear()
