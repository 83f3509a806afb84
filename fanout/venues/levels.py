"""Levels of a book as pairs of decimal strings, packed. Pure.

`fanout.protocol.level_text` reads the ordinary form of an array of levels in one pass. This is for
everything else: levels in no order, or with more fields than two, or written as numbers.
"""

from collections.abc import Iterable

from fanout.errors import VenueUnitsError, shown
from fanout.protocol.book_records import pack_levels
from fanout.protocol.constants import Side
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import from_text
from fanout.protocol.instrument import Instrument


def packed_side(pairs: Iterable[tuple[str, str]], instrument: Instrument, side: Side) -> bytes:
    """Levels of one side, each a price and a quantity, packed from the best outwards. If a price
    comes twice, the later quantity counts. Raises `VenueUnitsError`."""
    pairs = tuple(pairs)
    try:
        levels = {
            from_text(price, instrument.price_exponent): from_text(
                quantity, instrument.quantity_exponent
            )
            for price, quantity in pairs
        }
        return pack_levels(sorted(levels.items(), reverse=side == Side.BID))
    except NotRepresentableError as error:
        detail = f"{instrument.symbol}: {shown(error)}"
        raise VenueUnitsError(
            "depth with a level that cannot be", detail, symbol=instrument.symbol, values=pairs
        ) from error
