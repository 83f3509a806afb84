"""Bitfinex's trades: rows of the stream and of REST. Pure.

    [ID, MTS, AMOUNT, PRICE]    [401597395,1574694478808,0.005,7245.3]

An amount above zero was bought by the taker, and one below was sold. Ids ascend for each pair, and
not by one, so they prove nothing about trades in between.
https://docs.bitfinex.com/reference/ws-public-trades
"""

from typing import Any

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import U64_MAX, TradeKind
from fanout.venues.bitfinex.messages import amount_text, price_text
from fanout.venues.times import MAX_TIME_MS
from fanout.venues.values import VenueTrade


def read_trade(row: Any, symbol: str, *, is_past: bool = False) -> VenueTrade:
    """Raises `VenueMessageError`."""
    if type(row) is not list or len(row) < 4:
        raise VenueMessageError("trade of the wrong shape", shown(repr(row)[:80]))
    time = row[1]
    if not _is_time(time):
        raise VenueMessageError("trade of the wrong shape", f"time {shown(repr(time)[:80])}")
    amount = amount_text(row[2])
    if not amount.strip("-0."):
        raise VenueMessageError("trade of the wrong shape", "amount 0")
    sold = amount.startswith("-")
    return VenueTrade(
        symbol,
        _id_of(row),
        time,
        price_text(row[3]),
        amount[1:] if sold else amount,
        sold,
        TradeKind.MARKET,
        is_past=is_past,
    )


def unreadable(row: Any, symbol: str, *, is_past: bool = False) -> VenueTrade:
    """A trade that cannot be read, with empty values, which fit no field. So it counts as missing.
    Its time is 0 if that is unreadable. Raises `VenueMessageError` if its id is."""
    number = _id_of(row)
    time = row[1] if len(row) > 1 and _is_time(row[1]) else 0
    return VenueTrade(symbol, number, time, "", "", False, TradeKind.OTHER, is_past=is_past)


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_TIME_MS


def _id_of(row: Any) -> int:
    if type(row) is list and row:
        number = row[0]
        if type(number) is int and 0 <= number <= U64_MAX:
            return number
    raise VenueMessageError("trade of the wrong shape", f"id in {shown(repr(row)[:80])}")
