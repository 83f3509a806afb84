"""What the best prices of simulated exchanges have to be, by the exchanges' own books.

Each exchange's book-keeping gives the best levels after every change, as fractions, with the time.
`fault_of` holds an `Nbbo` against them:

- What it has of a venue that counts, the exchange had, not before what was found there last. While
  nothing is wrong with the venue, the exchange had it within the limit of age.
- Best bid and ask, venue, mid, spread, locked and crossed follow from these, by fractions.
- A venue counts, if nothing is wrong with it and its book changed lately.

How large a contract is stands here by hand, not by what the service says.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from fractions import Fraction
from time import time
from typing import Any, Final

import msgspec

from fanout.analytics.nbbo.best_prices import BestPrices
from fanout.analytics.nbbo.nbbo import Nbbo, Why
from fanout.simulator import Simulator
from fanout.simulator.market.listing import Listing, decimals
from tests.stand.raw_book import LEVEL
from tests.stand.shown_books import ShownBooks

Top = tuple[Fraction, Fraction, Fraction, Fraction]
"""Best bid, its quantity, best ask, its quantity, in the base and the quote; 0, 0 for no level."""

MAX_STALE_MS: Final = 3_000
LATE_S: Final = 1.5
"""So long a change may take from the exchange to here, on a machine with other work."""
MOST_STATES: Final = 50_000

CONTRACTS: Final = {
    "BTC-USDT-SWAP": Fraction(1, 100),
    "ETH-USDT-SWAP": Fraction(1, 10),
    "SOL-USDT-SWAP": Fraction(1),
}
"""Sizes of contracts, in the base. Others are of 1."""


class State(msgspec.Struct, frozen=True):
    """The best levels from a moment on."""

    since_s: float
    top: Top


class ExchangeTops(ShownBooks):
    """The best levels of an exchange's books, and when they changed."""

    def __init__(self, simulator: Simulator, symbols: Sequence[str]) -> None:
        """To be made before the market opens."""
        self.states: dict[str, deque[State]] = {each: deque(maxlen=MOST_STATES) for each in symbols}
        self.changes: dict[str, deque[float]] = {each: deque(maxlen=100) for each in symbols}
        """Times of the newest changes of each book, at whatever level."""
        self._packed: dict[str, tuple[bytes, bytes]] = {}
        super().__init__(simulator, symbols, symbols)

    def _note(self, listing: Listing, last_id: int, bids: bytearray, asks: bytearray) -> None:
        symbol, packed, now_s = listing.symbol, (bytes(bids), bytes(asks)), time()
        if self._packed.get(symbol) == packed:
            return
        self._packed[symbol] = packed
        self.changes[symbol].append(now_s)
        units = (
            Fraction(1, 10 ** decimals(listing.tick_size)),
            Fraction(1, 10 ** decimals(listing.step_size)) * CONTRACTS.get(symbol, 1),
        )
        top = (*_best(bids, units), *_best(asks, units))
        states = self.states[symbol]
        if not states or states[-1].top != top:
            states.append(State(now_s, top))


def _best(side: bytearray, units: tuple[Fraction, Fraction]) -> tuple[Fraction, Fraction]:
    if not side:
        return Fraction(0), Fraction(0)
    price, quantity = LEVEL.unpack_from(side)
    return price * units[0], quantity * units[1]


class Exchange:
    """A venue as the oracle sees it."""

    def __init__(self, name: str, tops: ExchangeTops) -> None:
        self.name = name
        self.tops = tops
        self.is_concerned = True
        """Whether something is wrong with it, or was until lately."""
        self.is_silent_from_s: float | None = None
        """From when on nothing can come from it."""
        self._found: dict[str, float] = {}
        """Since when the exchange had what was found last, by symbol."""

    def fault_of(self, symbol: str, top: Top, now_s: float) -> str:
        """What is wrong with the best levels that the venue is said to have now."""
        states = self.tops.states[symbol]
        silent_s = 0.0 if self.is_silent_from_s is None else now_s - self.is_silent_from_s
        if silent_s > MAX_STALE_MS / 1_000 + LATE_S:
            return f"{self.name} counts for {symbol}, and nothing came for {silent_s:.1f} s"
        until_s, found = now_s, None
        for each in reversed(states):
            if each.top == top:
                found = each
                break
            until_s = each.since_s
        if found is None:
            return f"{self.name} never had {_shown(top)} for {symbol}"
        if found.since_s < self._found.get(symbol, 0.0) and until_s < self._found[symbol]:
            return f"{self.name} had {_shown(top)} for {symbol} before what it had later"
        self._found[symbol] = found.since_s
        old_s = now_s - until_s
        if not self.is_concerned and old_s > MAX_STALE_MS / 1_000 + LATE_S:
            return f"{self.name} had {_shown(top)} for {symbol} until {old_s:.1f} s ago"
        return ""

    def must_count(self, symbol: str, now_s: float) -> bool:
        """Whether the book changed so lately that it cannot be stale, and so long ago that this has
        come here; and is not crossed in itself."""
        between = (now_s - MAX_STALE_MS / 1_000 + 0.2, now_s - LATE_S)
        is_due = any(between[0] < each < between[1] for each in self.tops.changes[symbol])
        tops = [each.top for each in list(self.tops.states[symbol])[-20:]]
        is_usable = all(top[1] and top[3] and top[0] < top[2] for top in tops)
        return not self.is_concerned and is_due and is_usable


class NbboOracle:
    """Compares, counts, and collects complaints."""

    def __init__(self, exchanges: Mapping[str, Exchange]) -> None:
        self._exchanges = exchanges
        self.compared = 0
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []

    def judge(self, prices: BestPrices) -> None:
        """Hold the best prices of an asset against the exchanges' books."""
        now_s, nbbo = time(), prices.best
        self.compared += 1
        tops: list[tuple[str, Top]] = []
        for place, (name, why) in enumerate(zip(nbbo.venues, nbbo.whys, strict=True)):
            exchange, symbol = self._exchanges[name], prices.venues[place].instrument.symbol
            self.counts[f"{why.value}"] += 1
            if why is Why.FRESH:
                top = _top_of(prices, nbbo, place)
                tops.append((name, top))
                self._complain(nbbo, exchange.fault_of(symbol, top, now_s))
            elif exchange.must_count(symbol, now_s):
                self._complain(nbbo, f"{name} is {why.value}, and nothing is wrong with it")
        self._count(nbbo)
        found, expected = _found(nbbo), _expected(tops)
        if found != expected:
            self._complain(nbbo, f"{found} is shown, and {expected} is right")

    def _complain(self, nbbo: Nbbo, fault: str) -> None:
        if fault:
            self.complaints.append(f"{nbbo.asset}: {fault}")

    def _count(self, nbbo: Nbbo) -> None:
        self.counts["states without a bid or an ask"] += nbbo.spread is None
        self.counts["states that are locked"] += nbbo.is_locked
        self.counts["states that are crossed"] += nbbo.crossed_by > 0
        self.counts[f"states with {nbbo.fresh} venues"] += 1


def _top_of(prices: BestPrices, nbbo: Nbbo, place: int) -> Top:
    bid, ask = prices.top(place)
    return (
        *((_price(nbbo, bid.price), _quantity(nbbo, bid.quantity)) if bid else _NO_LEVEL),
        *((_price(nbbo, ask.price), _quantity(nbbo, ask.quantity)) if ask else _NO_LEVEL),
    )


_NO_LEVEL: Final = (Fraction(0), Fraction(0))


def _price(nbbo: Nbbo, price: int) -> Fraction:
    return price * Fraction(10) ** nbbo.price_exponent


def _quantity(nbbo: Nbbo, quantity: int) -> Fraction:
    return quantity * Fraction(10) ** nbbo.quantity_exponent


def _expected(tops: Sequence[tuple[str, Top]]) -> dict[str, Any]:
    """The best prices of venues in their order, by definition."""
    bid = ask = None
    for name, (bid_price, bid_quantity, ask_price, ask_quantity) in tops:
        if bid_quantity and (bid is None or bid_price > bid[0]):
            bid = (bid_price, bid_quantity, name)
        if ask_quantity and (ask is None or ask_price < ask[0]):
            ask = (ask_price, ask_quantity, name)
    if bid is None or ask is None:
        return {"bid": bid, "ask": ask, "mid": None, "crossed": None, "locked": False}
    crossed = (bid[0] - ask[0], min(bid[1], ask[1])) if bid[0] > ask[0] else None
    mid = (bid[0] + ask[0]) / 2
    return {"bid": bid, "ask": ask, "mid": mid, "crossed": crossed, "locked": bid[0] == ask[0]}


def _found(nbbo: Nbbo) -> dict[str, Any]:
    bid, ask = (
        (_price(nbbo, each.price), _quantity(nbbo, each.quantity), each.venue) if each else None
        for each in (nbbo.bid, nbbo.ask)
    )
    by, quantity = nbbo.crossed_by, nbbo.crossed_quantity
    mid = nbbo.mid_decimal
    return {
        "bid": bid,
        "ask": ask,
        "mid": None if mid is None else Fraction(mid),
        "crossed": (_price(nbbo, by), _quantity(nbbo, quantity)) if by else None,
        "locked": nbbo.is_locked,
    }


def _shown(top: Top) -> str:
    return " ".join(f"{float(each):g}" for each in top)
