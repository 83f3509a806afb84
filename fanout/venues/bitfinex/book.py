"""Bitfinex's order books, by price (P0) and by order (R0), and their checksum. Pure.

    P0  [PRICE, COUNT, AMOUNT]    [7254.7,3,3.3]                 COUNT 0 removes the level
    R0  [ORDER_ID, PRICE, AMOUNT] [34753002978,7294.7,1.543]     PRICE 0 removes the order

An amount above zero is a bid, and one below is an ask, also where something is removed. The first
message of a channel is an array of rows, the whole book. Each message after it has one row.

A book has the best 100 levels or orders of each side. The venue removes what leaves these and sends
what enters them, so within them the book is exact at any time.

The venue does not number the updates of a book. The dialogue counts them.
https://docs.bitfinex.com/reference/ws-public-books, .../ws-public-raw-books
"""

from collections.abc import Iterable
from itertools import chain, zip_longest
from struct import error as StructError  # noqa: N812
from typing import Any, Final
from zlib import crc32

from fanout.errors import VenueMessageError, VenueUnitsError, shown
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import (
    LEVEL,
    BookUpdate,
    Level,
    OrderUpdate,
    pack_orders,
)
from fanout.protocol.constants import U64_MAX, BookFlags, Side
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import from_text
from fanout.protocol.instrument import Instrument
from fanout.venues.bitfinex.messages import amount_text, price_text
from fanout.venues.levels import packed_side

CHECKED_LEVELS: Final = 25
_WHOLE: Final = BookFlags.WHOLE | BookFlags.TOP_ONLY

Row = tuple[bool, str, str]
"""A level or an order: whether it is a bid, the price, and the quantity, "0" to remove it."""


def is_whole(rows: Any) -> bool:
    """Whether the content of a message is a whole book. An empty book is one too."""
    return type(rows) is list and (not rows or type(rows[0]) is list)


def read_whole(rows: Any, instrument: Instrument, number: int, time: int) -> BookUpdate:
    """A whole book by price. Raises `VenueMessageError`."""
    levels = [_level(row) for row in rows]
    if any(quantity == "0" for _, _, quantity in levels):
        raise VenueMessageError("depth of the wrong shape", "a removal in a whole book")
    bids = [(price, quantity) for is_bid, price, quantity in levels if is_bid]
    asks = [(price, quantity) for is_bid, price, quantity in levels if not is_bid]
    return BookUpdate(
        instrument,
        number,
        time,
        packed_side(bids, instrument, Side.BID),
        packed_side(asks, instrument, Side.ASK),
        _WHOLE,
    )


def read_change(row: Any, instrument: Instrument, number: int, time: int) -> BookUpdate:
    """A change of one level. Raises `VenueMessageError`."""
    is_bid, price, quantity = _level(row)
    try:
        packed = LEVEL.pack(
            from_text(price, instrument.price_exponent),
            from_text(quantity, instrument.quantity_exponent),
        )
    except (NotRepresentableError, StructError):
        # It says so in words, with the values for finer units. To pack every level so costs 1.5 us.
        packed = packed_side(((price, quantity),), instrument, Side.BID)
    if is_bid:
        return BookUpdate(instrument, number, time, packed, b"")
    return BookUpdate(instrument, number, time, b"", packed)


def _level(row: Any) -> Row:
    if type(row) is not list or len(row) < 3:
        raise VenueMessageError("depth of the wrong shape", shown(repr(row)[:80]))
    count = row[1]
    if type(count) is not int or count < 0:
        raise VenueMessageError("depth of the wrong shape", f"count {shown(repr(count)[:80])}")
    is_bid, quantity = _signed(row[2])
    return is_bid, price_text(row[0]), quantity if count else "0"


def _signed(value: Any) -> tuple[bool, str]:
    amount = amount_text(value)
    if not amount.strip("-0."):
        raise VenueMessageError("depth of the wrong shape", "amount 0 is on neither side")
    return (False, amount[1:]) if amount.startswith("-") else (True, amount)


def read_orders(
    rows: Iterable[Any], instrument: Instrument, number: int, time: int, *, whole: bool
) -> OrderUpdate:
    """A whole book by order, or changes of it, in the order of the venue. Raises
    `VenueMessageError`."""
    texts = [_order(row) for row in rows]
    if whole and any(quantity == "0" for _, _, _, quantity in texts):
        raise VenueMessageError("depth of the wrong shape", "a removal in a whole book")
    bids: list[tuple[int, int, int]] = []
    asks: list[tuple[int, int, int]] = []
    try:
        for is_bid, order_id, price, quantity in texts:
            ticks = from_text(price, instrument.price_exponent)
            size = from_text(quantity, instrument.quantity_exponent)
            (bids if is_bid else asks).append((order_id, ticks, size))
        packed = pack_orders(bids), pack_orders(asks)
    except NotRepresentableError as error:
        raise VenueUnitsError(
            "depth with an order that cannot be",
            f"{instrument.symbol}: {shown(error)}",
            symbol=instrument.symbol,
            values=tuple((price, quantity) for _, _, price, quantity in texts),
        ) from error
    flags = _WHOLE if whole else BookFlags.NONE
    return OrderUpdate(instrument, number, time, *packed, flags)


def _order(row: Any) -> tuple[bool, int, str, str]:
    """Whether it is a bid, its id, its price and its quantity, "0" to remove it."""
    if type(row) is not list or len(row) < 3:
        raise VenueMessageError("depth of the wrong shape", shown(repr(row)[:80]))
    order_id = row[0]
    if type(order_id) is not int or not 0 <= order_id <= U64_MAX:
        raise VenueMessageError("depth of the wrong shape", f"order {shown(repr(order_id)[:80])}")
    is_bid, quantity = _signed(row[2])
    price = price_text(row[1])
    return is_bid, order_id, price, quantity if price.strip("-0.") else "0"


def checksum(book: OrderBook) -> int:
    """The venue's checksum of a book by price: CRC-32 of the best 25 levels of each side, as a
    signed number. The levels stand in turns, price and amount, and amounts of asks are negative.
    https://docs.bitfinex.com/docs/ws-websocket-checksum

    The numbers are written as JavaScript does it. The documentation does not say so. Other clients
    do it, and the one recorded checksum needs it.
    """
    instrument = book.instrument
    assert instrument is not None, "a book that is known has its instrument"
    bids, asks = book.levels(CHECKED_LEVELS)
    texts = zip_longest(_texts(bids, instrument, ""), _texts(asks, instrument, "-"))
    number = crc32(":".join(each for each in chain(*texts) if each).encode())
    return number - 2**32 if number >= 2**31 else number


def _texts(levels: list[Level], instrument: Instrument, sign: str) -> list[str]:
    price_exponent, quantity_exponent = instrument.price_exponent, instrument.quantity_exponent
    return [
        f"{script_text(price, price_exponent)}:{sign}{script_text(quantity, quantity_exponent)}"
        for price, quantity in levels
    ]


def script_text(mantissa: int, exponent: int) -> str:
    """A number of up to 21 digits as JavaScript writes it: without zeros behind the last digit, and
    with an exponent below 0.000001."""
    if not mantissa:
        return "0"
    sign = "-" if mantissa < 0 else ""
    text = str(abs(mantissa))
    digits = text.rstrip("0")
    exponent += len(text) - len(digits)
    if exponent >= 0:
        return sign + digits + "0" * exponent
    power = len(digits) + exponent - 1
    if power < -6:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{rest}e{power}"
    digits = digits.rjust(1 - exponent, "0")
    return f"{sign}{digits[:exponent]}.{digits[exponent:]}"
