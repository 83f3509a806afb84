"""Rows of Binance's listing. Each market adds its own fields and the source of its exponents. Pure.

The listing is an object with a list of `symbols`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from fanout.errors import VenueMessageError
from fanout.venues.numbers import BROKEN
from fanout.venues.rows import ABSENT, named, parse_rows
from fanout.venues.values import Listed, Listing

TRADING: Final = "TRADING"
"""The status of an instrument that trades."""


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


_DECODE_INFO: Final = msgspec.json.Decoder(_Info)
_DECODE_FILTERS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_DECODE_FILTER: Final = msgspec.json.Decoder(Filter)


def parse_listing(
    bodies: Iterable[bytes],
    venue: str,
    decoder: msgspec.json.Decoder[AnyRow],
    listed: Callable[[AnyRow], Listed],
) -> Listing:
    """`listed` makes a row's meaning, or raises `RowError`."""
    try:
        rows = [raw for body in bodies for raw in _DECODE_INFO.decode(body).symbols]
    except BROKEN as error:
        raise VenueMessageError("exchangeInfo is not what is documented", error) from error
    return parse_rows(rows, venue, lambda raw: listed(decoder.decode(raw)), named("symbol"))


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
