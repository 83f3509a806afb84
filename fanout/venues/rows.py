"""Rows of a venue's listing, read one by one. Pure.

An unreadable row is recorded by name and hides no other row, since a row of an unused symbol must
not end the service.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import EXPONENTS, MAX_ASSET_BYTES, MAX_SYMBOL_BYTES, U64_MAX
from fanout.protocol.text import name_fault
from fanout.venues.numbers import BROKEN
from fanout.venues.values import Listed, Listing

Row = TypeVar("Row")

ABSENT: Final = msgspec.Raw(b"null")
"""The value of a field that a row does not have."""

_DECIMAL: Final = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?", re.ASCII)
_DECODE_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DECODE_TEXT: Final = msgspec.json.Decoder(str)


class RowError(Exception):
    """A row of the listing makes no sense; says why."""


def parse_rows(
    rows: Sequence[Row],
    venue: str,
    listed: Callable[[Row], Listed],
    name: Callable[[Row], str],
) -> Listing:
    """The listing of a venue.

    `listed` makes a row's meaning, or raises `RowError` or one of `BROKEN`. `name` is the symbol of
    a row, also of one that is unreadable otherwise; empty if it is unreadable itself. Raises
    `VenueMessageError` if there are rows, and not even the name of one is readable.
    """
    listing = Listing(venue, {}, {})
    for place, raw in enumerate(rows):
        try:
            row = listed(raw)
            _check_symbol(row.symbol)
        except (*BROKEN, RowError) as error:
            listing.odd[name(raw) or f"row {place}"] = shown(error)
            continue
        _enter(listing, row)
    for symbol in listing.odd:
        listing.rows.pop(symbol, None)
    if rows and not listing.rows and not any(map(name, rows)):
        raise VenueMessageError("listing is not as documented", "no row can be read")
    return listing


def named(field: str) -> Callable[[msgspec.Raw], str]:
    """A `name` for `parse_rows`: the text in this field of a row that is an object."""

    def name(raw: msgspec.Raw) -> str:
        try:
            return shown(_DECODE_TEXT.decode(_DECODE_FIELDS.decode(raw).get(field, ABSENT)))
        except BROKEN:
            return ""

    return name


def _check_symbol(symbol: str) -> None:
    """Raises `RowError` for one that no header can carry or no terminal show."""
    size = len(symbol.encode(errors="replace"))
    if not 0 < size <= MAX_SYMBOL_BYTES or not symbol.isprintable():
        raise RowError(f"a symbol of {size} bytes: 1 to {MAX_SYMBOL_BYTES}, printable")


def _enter(listing: Listing, row: Listed) -> None:
    """Enter a row. If a symbol has two different rows, neither counts."""
    if listing.rows.setdefault(row.symbol, row) != row:
        listing.odd[row.symbol] = "two different rows"


def exponent(decimals: int) -> int:
    """The exponent of numbers with so many decimals. Raises `RowError`."""
    if -decimals not in EXPONENTS:
        raise RowError(f"precision {decimals}")
    return -decimals


def exponent_of(step: str) -> int:
    """The exponent of a tick or lot size, by the decimals that are written: that of "0.10" is -2.
    Raises `RowError` for text that is no decimal number, and for 0."""
    found = _DECIMAL.fullmatch(step)
    if not found or not step.strip("0."):
        raise RowError(f"step {shown(step)}")
    return exponent(len(found[2] or ""))


def in_units(size: str, exponent: int) -> int:
    """A tick or lot size in units of 10**exponent. 0, which means unknown, for text that is no
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
