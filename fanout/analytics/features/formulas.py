"""The formulas of the features, as pure functions of integers. A notebook can use them alone.

Prices are integers `bid` and `ask`, with `bid < ask`; quantities are positive integers. A price
that results is in the unit of the given prices, and may lie between two of them. Twice the mid,
`bid + ask`, is an integer, so no step rounds but the last: one division of two integers, which
Python rounds correctly. Where there is nothing to divide by, the result is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

BPS: Final = 10_000
"""Basis points in one."""


class Best(NamedTuple):
    """The best bid and the best ask of a book: prices and quantities, as integers."""

    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int


def mid(bid: int, ask: int) -> float:
    """The middle of the spread, in units of the price."""
    return (bid + ask) / 2


def spread_bps(bid: int, ask: int) -> float | None:
    """10^4 (a - b) / m: the spread in basis points of the mid. None unless the mid is positive."""
    twice = bid + ask
    return 2 * BPS * (ask - bid) / twice if twice > 0 else None


def band(bid: int, ask: int, depth_bps: int) -> tuple[int, int]:
    """The lowest and the highest price p of the band B(d): those with |p - m| <= m d / 10^4."""
    twice = bid + ask
    low = -(-twice * (BPS - depth_bps) // (2 * BPS))
    high = twice * (BPS + depth_bps) // (2 * BPS)
    return low, high


def is_in_band(price: int, bid: int, ask: int, depth_bps: int) -> bool:
    """Whether a price is in B(d). As `band`, which gives all such prices."""
    twice = bid + ask
    return abs(2 * price - twice) * BPS <= twice * depth_bps


def wap(levels: Iterable[tuple[int, int]]) -> float | None:
    """The sum of p q over the sum of q: the average price, weighted by the quantities of all given
    levels (pairs of price and quantity), of both sides. None without quantity."""
    notional = quantity = 0
    for price, its_quantity in levels:
        notional += price * its_quantity
        quantity += its_quantity
    return notional / quantity if quantity else None


vwap = wap
"""The same of trades, as pairs of price and quantity."""


def imbalance(bids: int, asks: int) -> float | None:
    """(B - A) / (B + A), from -1, only asks, to 1, only bids. None if both are 0.

    Of the best quantities it is the order-book imbalance; of the quantities in a band, the
    liquidity imbalance; of those of the first levels, the queue imbalance; of the numbers of
    levels, the level imbalance; of what was bought and sold, the trade-flow imbalance; of the
    numbers of such trades, the tick-flow imbalance.
    """
    return (bids - asks) / (bids + asks) if bids + asks else None


def order_flow(before: Best, after: Best) -> int:
    """What one change of the best prices adds to the order-flow imbalance, in units of quantity:

    e = 1[b >= b'] qb - 1[b <= b'] qb' - 1[a <= a'] qa + 1[a >= a'] qa'

    Primes are of `before`. Source: Cont, Kukanov and Stoikov, The Price Impact of Order Book
    Events, Journal of Financial Econometrics 12 (2014), equation 4.
    """
    flow = 0
    if after.bid >= before.bid:
        flow += after.bid_quantity
    if after.bid <= before.bid:
        flow -= before.bid_quantity
    if after.ask <= before.ask:
        flow -= after.ask_quantity
    if after.ask >= before.ask:
        flow += before.ask_quantity
    return flow


def microprice(best: Best) -> float | None:
    """(b qa + a qb) / (qa + qb): the mid, drawn to the side with less quantity."""
    bid, bid_quantity, ask, ask_quantity = best
    quantity = bid_quantity + ask_quantity
    return (bid * ask_quantity + ask * bid_quantity) / quantity if quantity else None
