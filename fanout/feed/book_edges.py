"""The edges of an order book whose snapshot was cut off. Pure.

An edge is the last level of a side that was cut off. Beyond it the book knows only what has changed
since. As the market moves towards it, or levels go, fewer known levels are left before it:

    best bid                             edge
       |  known: all levels are in the book  |  some levels may be missing
       | <------ 500 or more: fine --------> |
       | <-- 20 to 499: narrow, a new snapshot is due
       | <-- below 20: break
"""

from math import inf
from typing import Final, NamedTuple

from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import LEVEL, BookUpdate
from fanout.protocol.constants import Side

EXACT_LEVELS: Final = 20
"""Levels of each side that are exact in every book that is followed: the most that venues send as
the top of a book. Of a shorter snapshot, a quarter."""

NARROW: Final = 1 / 2
"""Part of a snapshot's levels below which a new one is due. The other half is the time for it. A
part, since no snapshot is too short for it: a number could ask again and again."""


class Edge(NamedTuple):
    """Where a snapshot cuts a side off. It is narrow with fewer than `few` known levels, and may be
    wrong with fewer than `least`."""

    side: Side
    price: int
    few: float
    least: int


Edges = tuple[Edge, ...]


class Measure(NamedTuple):
    """How far the edges are: whether the book is narrow, how many bytes of levels may change before
    it may be narrow or wrong, and why it may be wrong, if it may. Most changes need no new measure
    then: a level that changes is at most one that goes."""

    is_narrow: bool
    room: float
    fault: str = ""


def edges_of(snapshot: BookUpdate) -> Edges:
    """A side that is shorter than the other was not cut off."""
    if not snapshot.is_top_only:
        return ()
    bids, asks = snapshot.packed_bids, snapshot.packed_asks
    longest = max(len(bids), len(asks), LEVEL.size)
    return tuple(
        _edge(side, packed)
        for side, packed in ((Side.BID, bids), (Side.ASK, asks))
        if len(packed) == longest
    )


def _edge(side: Side, packed: bytes) -> Edge:
    count = len(packed) // LEVEL.size
    price, _ = LEVEL.unpack_from(packed, len(packed) - LEVEL.size)
    return Edge(side, price, count * NARROW, max(1, min(EXACT_LEVELS, count // 4)))


def measured(book: OrderBook, edges: Edges) -> Measure:
    """Count the levels that a book knows before each edge."""
    is_narrow, room = False, inf
    for side, price, few, least in edges:
        known = book.count_to(side, price)
        if known < least:
            return Measure(True, 0, _at_its_edge(book, side, price, known))
        is_narrow |= known < few
        room = min(room, known - (least if known < few else few))
    return Measure(is_narrow, room * LEVEL.size)


def _at_its_edge(book: OrderBook, side: Side, price: int, known: int) -> str:
    assert book.instrument is not None, "an update was applied to it"
    before = "above" if side is Side.BID else "below"
    shown = book.instrument.price_decimal(price)
    return f"only {known} {side.name.lower()}s are left {before} {shown}, where the snapshot ends"
