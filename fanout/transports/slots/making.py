"""Makes slots, and counts what has none and what was rounded."""

import logging

import msgspec

from fanout.protocol.book_records import Order
from fanout.protocol.constants import Side
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from fanout.protocol.slots import SlotEncoder

_LOG = logging.getLogger("fanout")


class Counts(msgspec.Struct):
    """What became of trades and of changes of orders."""

    trades: int = 0
    """Written to the ring."""
    dropped: int = 0
    """The ring had no room."""
    refused: int = 0
    """More decimals or bits than a slot has. An order counts each time it is tried."""
    rounded: int = 0
    """Prices and sizes that were rounded, in slots that were written."""
    lost: int = 0
    """Sequence numbers that the channel lost, or that left its log too early."""


class SlotMaker:
    """Makes the slots of an instrument."""

    def __init__(self, instrument: Instrument, counts: Counts, *, is_exact: bool) -> None:
        self.instrument = instrument
        self._encoder = SlotEncoder(instrument, is_exact=is_exact)
        self._counts = counts
        self._rounded = 0
        """Prices and sizes that were rounded up to the slot that was made last."""

    def trade(self, trade: Trade) -> bytes | None:
        """The slot of a trade; None, and counted, if it has none."""
        self._rounded = self._encoder.rounded
        try:
            return self._encoder.trade(trade)
        except NotRepresentableError as error:
            self._refuse(error)
            return None

    def order(self, order: Order, side: Side) -> bytes | None:
        """The slot of an order; None, and counted, if it has none."""
        self._rounded = self._encoder.rounded
        try:
            return self._encoder.order(*order, side)
        except NotRepresentableError as error:
            self._refuse(error)
            return None

    def note_written(self) -> None:
        """Count what was rounded in the slot that was made last, since it was written."""
        self._counts.rounded += self._encoder.rounded - self._rounded

    def _refuse(self, error: NotRepresentableError) -> None:
        if not self._counts.refused:
            _LOG.error(
                "ring of slots: left out: %s; with --inexact values are rounded. The status counts "
                "the others",
                error,
            )
        self._counts.refused += 1
