"""Common parsers of Binance's REST interfaces: errors, weights, the time, the rows of a listing.
Pure.

The listing is an object with a list of `symbols`. Rows are parsed one by one, and an unreadable row
is recorded by name, since a row of an unused symbol must not end the service.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Final, TypeVar

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import EXPONENTS, MAX_ASSET_BYTES, MAX_SYMBOL_BYTES, U64_MAX
from fanout.protocol.text import name_fault
from fanout.venues.base import Listed, Listing

BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors of msgspec for invalid JSON; RecursionError is for deep nesting."""

MAX_TIME_MS: Final = 10**13
"""The year 2286. Larger times cannot be formatted."""

_DECIMAL: Final = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?", re.ASCII)
_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})\b")

T = TypeVar("T")


class _Error(msgspec.Struct):
    code: int
    msg: str


class _Time(msgspec.Struct):
    serverTime: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]  # noqa: N815


class Filter(msgspec.Struct):
    """One of a row's `filters`, which hold the steps of price and quantity."""

    filterType: str = ""  # noqa: N815  the venue's name
    tickSize: str = ""  # noqa: N815
    stepSize: str = ""  # noqa: N815


class _Info(msgspec.Struct):
    symbols: list[msgspec.Raw]


class _Named(msgspec.Struct):
    symbol: str


_DECODE_ERROR: Final = msgspec.json.Decoder(_Error)
_DECODE_TIME: Final = msgspec.json.Decoder(_Time)
_DECODE_INFO: Final = msgspec.json.Decoder(_Info)
_DECODE_NAME: Final = msgspec.json.Decoder(_Named)
_DECODE_FILTERS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_DECODE_FILTER: Final = msgspec.json.Decoder(Filter)
_DECODE_TEXT: Final = msgspec.json.Decoder(str)
NO_ROW: Final = msgspec.Raw(b"null")
"""A member of a row that is not there."""


class RowError(Exception):
    """A row of the listing makes no sense; says why."""


def parse_listing(
    body: bytes,
    venue: str,
    decoder: msgspec.json.Decoder[T],
    listed: Callable[[T], Listed],
) -> Listing:
    """`listed` makes a row's meaning, or raises `RowError`."""
    try:
        raw_rows = _DECODE_INFO.decode(body).symbols
    except BROKEN as error:
        raise VenueMessageError("exchangeInfo is not what is documented", error) from error
    listing = Listing(venue, {}, {})
    for place, raw in enumerate(raw_rows):
        try:
            row = listed(decoder.decode(raw))
            _check_symbol(row.symbol)
        except (*BROKEN, RowError) as error:
            listing.odd[_name(raw) or f"row {place}"] = shown(error)
            continue
        _enter(listing, row)
    for symbol in listing.odd:
        listing.rows.pop(symbol, None)
    if raw_rows and not listing.rows and not any(map(_name, raw_rows)):
        raise VenueMessageError("exchangeInfo is not what is documented", "no row can be read")
    return listing


def _check_symbol(symbol: str) -> None:
    """Raises `RowError` for one that no header can carry or no terminal show."""
    size = len(symbol.encode(errors="replace"))
    if not 0 < size <= MAX_SYMBOL_BYTES or not symbol.isprintable():
        raise RowError(f"a symbol of {size} bytes: 1 to {MAX_SYMBOL_BYTES}, printable")


def _enter(listing: Listing, row: Listed) -> None:
    """Enter a row. If a symbol has two different rows, neither counts."""
    if listing.rows.setdefault(row.symbol, row) != row:
        listing.odd[row.symbol] = "two different rows"


def _name(raw: msgspec.Raw) -> str:
    try:
        return shown(_DECODE_NAME.decode(raw).symbol)
    except BROKEN:
        return ""


def readable(filters: msgspec.Raw) -> Iterator[Filter]:
    """Those of a row's filters that can be read."""
    try:
        rows = _DECODE_FILTERS.decode(filters)
    except BROKEN:
        return
    for raw in rows:
        with suppress(*BROKEN):
            yield _DECODE_FILTER.decode(raw)


def steps(filters: Iterable[Filter]) -> tuple[str, str]:
    """The tick size and the step size, as the venue writes them; empty where there is none."""
    by_type = {each.filterType: each for each in filters}
    none = Filter()
    return by_type.get("PRICE_FILTER", none).tickSize, by_type.get("LOT_SIZE", none).stepSize


def in_units(size: str, exponent: int) -> int:
    """A tick or step size in units of 10**exponent. 0, which means unknown, for text that is no
    decimal number and for a size that is no whole number of units."""
    found = _DECIMAL.fullmatch(size)
    if not found:
        return 0
    decimals = found[2] or ""
    whole, rest = divmod(int(found[1] + decimals) * 10 ** max(0, -exponent), 10 ** len(decimals))
    scaled, more = divmod(whole, 10 ** max(0, exponent))
    return scaled if not (rest or more) and scaled <= U64_MAX else 0


def asset(raw: msgspec.Raw) -> str:
    """The name of a base or quote asset; empty, which means unknown, if no header can carry it."""
    try:
        name = _DECODE_TEXT.decode(raw)
    except BROKEN:
        return ""
    return "" if name_fault(name) or len(name.encode()) > MAX_ASSET_BYTES else name


def exponent(precision: int) -> int:
    """Raises `RowError`."""
    if -precision not in EXPONENTS:
        raise RowError(f"precision {precision}")
    return -precision


def parse_time(body: bytes) -> int:
    try:
        return _DECODE_TIME.decode(body).serverTime
    except BROKEN as error:
        raise VenueMessageError("the venue's time is not as documented", error) from error


def used_weight(headers: Mapping[str, str]) -> int | None:
    text = headers.get("x-mbx-used-weight-1m", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def banned_until_ms(body: bytes) -> int | None:
    found = _BANNED_UNTIL.search(explain(body))
    return int(found[1]) if found else None


def explain(body: bytes) -> str:
    try:
        error = _DECODE_ERROR.decode(body)
    except BROKEN:
        return ""
    return f"{shown(error.msg)} ({error.code})"
