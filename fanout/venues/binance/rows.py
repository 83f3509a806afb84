"""Rows of Binance's listing. Each market adds its own fields and the source of its exponents. Pure.

The listing is an object with a list of `symbols`. Rows are parsed one by one, and an unreadable row
is recorded by name, since a row of an unused symbol must not end the service.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import EXPONENTS, MAX_ASSET_BYTES, MAX_SYMBOL_BYTES, U64_MAX
from fanout.protocol.text import name_fault
from fanout.venues.numbers import BROKEN
from fanout.venues.values import Listed, Listing

TRADING: Final = "TRADING"
"""The status of an instrument that trades."""

ABSENT: Final = msgspec.Raw(b"null")
"""The value of a field that a row does not have."""

_DECIMAL: Final = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?", re.ASCII)


class Row(msgspec.Struct, kw_only=True):
    """The fields that the rows of all markets have. An unreadable asset leaves a row readable."""

    symbol: str
    status: str
    baseAsset: msgspec.Raw = ABSENT  # noqa: N815  the venue's name
    quoteAsset: msgspec.Raw = ABSENT  # noqa: N815


AnyRow = TypeVar("AnyRow", bound=Row)


class Filter(msgspec.Struct):
    """One of a row's `filters`, which hold the steps of price and quantity."""

    filterType: str = ""  # noqa: N815  the venue's name
    tickSize: str = ""  # noqa: N815
    stepSize: str = ""  # noqa: N815


class _Info(msgspec.Struct):
    symbols: list[msgspec.Raw]


class _Named(msgspec.Struct):
    symbol: str


_DECODE_INFO: Final = msgspec.json.Decoder(_Info)
_DECODE_NAME: Final = msgspec.json.Decoder(_Named)
_DECODE_FILTERS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_DECODE_FILTER: Final = msgspec.json.Decoder(Filter)
_DECODE_TEXT: Final = msgspec.json.Decoder(str)


class RowError(Exception):
    """A row of the listing makes no sense; says why."""


def parse_listing(
    bodies: Iterable[bytes],
    venue: str,
    decoder: msgspec.json.Decoder[AnyRow],
    listed: Callable[[AnyRow], Listed],
) -> Listing:
    """`listed` makes a row's meaning, or raises `RowError`."""
    try:
        raw_rows = [raw for body in bodies for raw in _DECODE_INFO.decode(body).symbols]
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
