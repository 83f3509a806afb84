"""Units that follow the values, at venues that do not list them.

Bitfinex gives its prices five significant digits, and lists no tick size. So the exponent of a
price is a guess from the last price, and some values need a finer one: levels far from the best
price, or all prices once the price has fallen. The units then become finer at once, by a change of
the header in mid-stream, and nothing is lost: a trade or quote is converted in the new units, and a
book begins anew in them.

A venue whose `still_fits` is its own has such units. At all others a value that does not fit is
refused, and the listing says whether the units have changed.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from fanout.feed.announcer import Announcer
from fanout.feed.books import Books
from fanout.feed.roster import Roster
from fanout.feed.sequences import Sequences
from fanout.feed.stream_books import StreamBooks
from fanout.protocol.constants import I64_MAX, U64_MAX
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import from_text
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Reference
from fanout.venues.base import Venue, VenueDefaults

FINEST: Final = -12
"""Finest exponent that a value can bring about. What has more digits is a venue's rounding error,
such as 0.30000000000000004."""

ROOM: Final = 1_000
"""By how much values may exceed the reference, and fit the finer units."""


def follows_values(venue: Venue) -> bool:
    """Whether units of this venue follow the values."""
    return getattr(type(venue), "still_fits", None) is not VenueDefaults.still_fits


class Units:
    """Makes the units of one feed finer."""

    def __init__(
        self,
        venue: Venue,
        roster: Roster,
        sequences: Sequences,
        books: Books | StreamBooks,
        announcer: Announcer,
    ) -> None:
        self.follow_values = follows_values(venue)
        self._roster = roster
        self._sequences = sequences
        self._books = books
        self._announcer = announcer

    def finer(self, symbol: str, values: Iterable[tuple[str, str]]) -> Instrument | None:
        """The instrument in the finer units that these prices and quantities need. None if they do
        not need any, or cannot have them."""
        index = self._roster.index_of(symbol)
        if index is None or not self.follow_values:
            return None
        entry = self._roster[index]
        return None if entry.is_gone else finer(entry.instrument, entry.reference, values)

    def change(self, instrument: Instrument) -> None:
        """Go on in other units, from the next record on. Records in the old units have to be
        published before."""
        entry = self._roster[instrument.index]
        reference = _in_units(entry.reference, entry.instrument, instrument)
        self._roster.put(instrument, reference)
        self._sequences.renew((instrument,))
        self._books.renew((instrument,))
        self._announcer.change([instrument.index])


def finer(
    instrument: Instrument, reference: Reference, values: Iterable[tuple[str, str]]
) -> Instrument | None:
    """The instrument in the finer units that prices and quantities need. None if they do not need
    any, or if values as large as the reference would leave too little room in 64 bits."""
    price_exponent, quantity_exponent = instrument.price_exponent, instrument.quantity_exponent
    for price, quantity in values:
        price_exponent = min(price_exponent, exponent_of(price))
        quantity_exponent = min(quantity_exponent, exponent_of(quantity))
    price_scale = 10 ** (instrument.price_exponent - price_exponent)
    quantity_scale = 10 ** (instrument.quantity_exponent - quantity_exponent)
    if price_scale == quantity_scale == 1:
        return None
    tick, lot = instrument.tick * price_scale, instrument.lot * quantity_scale
    most_price = max(abs(reference.price) * price_scale * ROOM, tick)
    most_quantity = max(reference.quantity * quantity_scale * ROOM, lot)
    if most_price > I64_MAX or most_quantity > U64_MAX:
        return None
    return msgspec.structs.replace(
        instrument,
        price_exponent=price_exponent,
        quantity_exponent=quantity_exponent,
        tick=tick,
        lot=lot,
    )


def exponent_of(text: str) -> int:
    """The exponent that a decimal number needs, not above 0. It is 0 for text that is no number,
    and for one with digits below `FINEST`: such values are refused."""
    try:
        from_text(text, FINEST)
    except NotRepresentableError:
        return 0
    return -len(text.partition(".")[2].rstrip("0"))


def _in_units(reference: Reference, old: Instrument, new: Instrument) -> Reference:
    """A reference in finer units."""
    price = reference.price * 10 ** (old.price_exponent - new.price_exponent)
    quantity = reference.quantity * 10 ** (old.quantity_exponent - new.quantity_exponent)
    return msgspec.structs.replace(reference, price=price, quantity=quantity)
