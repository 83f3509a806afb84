"""Bitfinex's messages as JSON, and their numbers as text. Pure.

    {"event":"subscribed","channel":"trades","chanId":19111,"symbol":"tBTCUSD","pair":"BTCUSD"}
    [19111,"te",[401597395,1574694478808,0.005,7245.3],739,1574694478810]

Events are objects. All data is in arrays: the number of the channel, the content, and behind it the
message's number and time, if the connection asked for these. "Message (JSON array) lengths should
never be hardcoded", says https://docs.bitfinex.com/docs/ws-general, so a longer array is good.

Prices and amounts are JSON numbers, some in exponent form. The decoder keeps their digits.

A few numbers show that the venue took them through a double: 1.7023900800000002 (recorded in 2021,
in tickers). They are refused, since nobody can know their true digits. Amounts have up to eight
decimals. Prices have more of them only below 0.0001, and then five significant digits. Above that
they can have eight decimals and many digits: 230802.51800581.
"""

from typing import Any, Final

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.venues.numbers import BROKEN, plain

DECIMALS: Final = 8

MAX_DIGITS: Final = 18
"""Most digits of a whole number. The largest amount recorded has eight."""

_LONG: Final = DECIMALS + 2
"""A number that is no longer than this has no more than eight decimals, unless it has an
exponent."""


class Number(str):
    """The digits of a number with a point or an exponent. Other strings are no numbers."""

    __slots__ = ()


class Event(msgspec.Struct):
    """Any event. Each has some of these fields. Those of any type are not worth losing an
    announcement for."""

    event: str
    channel: str = ""
    symbol: str = ""
    pair: str = ""
    code: int | None = None
    msg: Any = None
    version: Any = None
    platform: Any = None
    status: Any = None
    flags: Any = None
    chanId: int | None = None  # noqa: N815  the venue's name

    @property
    def words(self) -> str:
        """The venue's words, and its code."""
        said = "" if self.msg is None else shown(self.msg)
        return f"{said or 'no reason given'} ({self.code})"


_decode = msgspec.json.Decoder(float_hook=Number).decode


def decode(message: bytes) -> Any:
    """The values of a message, with each number as an int or a `Number`. Raises
    `VenueMessageError`."""
    try:
        return _decode(message)
    except BROKEN as error:
        raise VenueMessageError("message is not JSON", f"{error}: {message[:80]!r}") from None


def event_of(value: dict[str, Any]) -> Event:
    """Raises `VenueMessageError`."""
    try:
        return msgspec.convert(value, Event)
    except BROKEN as error:
        raise VenueMessageError("message of the wrong shape", error) from error


def request(event: str, **fields: object) -> str:
    return msgspec.json.encode({"event": event, **fields}).decode()


def price_text(value: object) -> str:
    """A price without an exponent. Raises `VenueMessageError` for other values."""
    text = _text(value)
    if len(text) > _LONG and _has_more_decimals(text) and len(text.lstrip("-0.")) > DECIMALS:
        raise VenueMessageError("price with the digits of a double", shown(text))
    return text


def amount_text(value: object) -> str:
    """An amount without an exponent, with its sign. Raises `VenueMessageError` for other values."""
    text = _text(value)
    if len(text) > _LONG and _has_more_decimals(text):
        raise VenueMessageError("amount with more than eight decimals", shown(text))
    return text


def _text(value: object) -> str:
    if type(value) is Number:
        return plain(value) if "e" in value or "E" in value else str(value)
    if type(value) is int and -(10**MAX_DIGITS) < value < 10**MAX_DIGITS:
        return str(value)
    raise VenueMessageError("value that is no number", shown(repr(value)[:80]))


def _has_more_decimals(text: str) -> bool:
    return len(text.partition(".")[2].rstrip("0")) > DECIMALS
