"""From a venue's words to records: symbols to instruments, decimal strings to integers, and an
eye on the ids.

Trade ids of an instrument follow each other without a hole, so an id says what happened to the
trades before it. One that was seen is dropped and counted. One further on leaves a hole, which
becomes an open `Gap` in front of it. One out of a known hole is late, and news; when it fills the
hole, another `Gap` says so. Ids that the venue spent without a trade count like all others.
"""

import logging
from collections.abc import Iterable
from typing import Final

from fanout.anomalies import Anomalies
from fanout.venues.base import SpentId, VenueTrade
from protocol.block import is_representable
from protocol.constants import U64_MAX, GapState
from protocol.errors import NotRepresentableError
from protocol.fixedpoint import from_text
from protocol.records import Gap, Instrument, Trade

MAX_HOLES: Final = 64
"""Holes remembered per instrument. The oldest is forgotten first: it stays open."""

_Hole = tuple[int, int]


class Continuity:
    """The ids of one instrument: which were seen, which are missing."""

    def __init__(self) -> None:
        self._next_id: int | None = None
        self._holes: list[_Hole] = []

    def is_new(self, trade_id: int) -> bool:
        """Whether an id has not been seen."""
        if self._next_id is None or trade_id >= self._next_id:
            return True
        return self._hole_of(trade_id) is not None

    def take(self, trade_id: int) -> tuple[_Hole, GapState] | None:
        """Note an id that is new. Gives the hole that it opens in front of it, or fills."""
        expected = self._next_id
        if expected is not None and trade_id < expected:
            return self._fill(trade_id)
        self._next_id = trade_id + 1
        if expected is None or trade_id == expected:
            return None
        hole = (expected, trade_id - 1)
        self._holes.append(hole)
        del self._holes[:-MAX_HOLES]
        return hole, GapState.OPEN

    def _fill(self, trade_id: int) -> tuple[_Hole, GapState] | None:
        hole = self._hole_of(trade_id)
        assert hole is not None, "only new ids are taken"
        first, last = hole
        rest = [(first, trade_id - 1), (trade_id + 1, last)]
        place = self._holes.index(hole)
        self._holes[place : place + 1] = [each for each in rest if each[0] <= each[1]]
        del self._holes[:-MAX_HOLES]
        return (hole, GapState.BACK_FILLED) if first == last else None

    def _hole_of(self, trade_id: int) -> _Hole | None:
        return next((each for each in self._holes if each[0] <= trade_id <= each[1]), None)


class Normaliser:
    """Venue trades in, trades and gaps out, in the order in which a reader should see them."""

    def __init__(self, instruments: Iterable[Instrument], anomalies: Anomalies) -> None:
        self._instruments = {each.symbol: each for each in instruments}
        self._continuity = {symbol: Continuity() for symbol in self._instruments}
        self._anomalies = anomalies

    def take(self, item: VenueTrade | SpentId, out: list[Trade | Gap]) -> None:
        """Append what `item` means to `out`: nothing, a trade, a gap, or both.

        A value that cannot be represented is refused: said in the log, counted, and its id left
        as a hole. Gaps have the number 0 until they are published.
        """
        instrument = self._instruments.get(item.symbol)
        if instrument is None:
            self._anomalies.note("trade of a symbol that was not subscribed", item.symbol)
            return
        if not 0 <= item.trade_id <= U64_MAX:
            self._anomalies.note("trade id out of range", f"{item.symbol} {item.trade_id}")
            return
        continuity = self._continuity[item.symbol]
        if not continuity.is_new(item.trade_id):
            self._anomalies.note("trade id seen before", f"{item.symbol} {item.trade_id}")
            return
        trade = None
        if type(item) is VenueTrade:
            trade = self._trade(item, instrument)
            if trade is None:
                return
        noticed = continuity.take(item.trade_id)
        if noticed is not None and noticed[1] is GapState.OPEN:
            out.append(_gap(instrument, *noticed))
        if trade is not None:
            out.append(trade)
        if noticed is not None and noticed[1] is GapState.BACK_FILLED:
            out.append(_gap(instrument, *noticed))

    def _trade(self, item: VenueTrade, instrument: Instrument) -> Trade | None:
        try:
            return to_trade(item, instrument)
        except NotRepresentableError as error:
            self._anomalies.note("trade refused", error, level=logging.ERROR)
            return None


def to_trade(item: VenueTrade, instrument: Instrument) -> Trade:
    """The trade in integers. Raises `NotRepresentableError`, naming the symbol and the value."""
    try:
        trade = Trade(
            instrument,
            item.trade_id,
            item.time,
            from_text(item.price, instrument.price_exponent),
            from_text(item.quantity, instrument.quantity_exponent),
            item.buyer_is_maker,
            item.kind,
        )
    except NotRepresentableError as error:
        raise NotRepresentableError(f"{item.symbol} trade {item.trade_id}: {error}") from error
    if trade.quantity <= 0:
        # Rows that are no trades have been seen with a zero quantity, under one name so far.
        raise NotRepresentableError(
            f"{item.symbol} trade {item.trade_id}: quantity {item.quantity} is not above 0"
        )
    if not is_representable(trade):
        raise NotRepresentableError(
            f"{item.symbol} trade {item.trade_id}: time {item.time}, price {item.price}, "
            f"quantity {item.quantity} do not all fit 64 bits"
        )
    return trade


def _gap(instrument: Instrument, hole: _Hole, state: GapState) -> Gap:
    why = "not in the stream" if state is GapState.OPEN else "arrived late"
    return Gap(
        seq=0, instrument=instrument, first_id=hole[0], last_id=hole[1], state=state, why=why
    )
