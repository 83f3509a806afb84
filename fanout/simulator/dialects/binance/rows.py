"""Rows of a listing, with the quirks that faults gave them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from fanout.simulator.market.listing import Listing, Quirk, unit

Row = dict[str, Any]


def odd_rows(
    listings: Iterable[Listing],
    quirks: Mapping[str, tuple[Quirk, ...]],
    row_of: Callable[[Listing], Row],
) -> list[Row]:
    return [row for each in listings for row in _rows(each, quirks.get(each.symbol, ()), row_of)]


def _rows(
    listing: Listing, quirks: tuple[Quirk, ...], row_of: Callable[[Listing], Row]
) -> list[Row]:
    rows = [row_of(listing)]
    if "twice" in quirks:
        rows.append(row_of(listing))
    if "conflict" in quirks:
        tick, step = unit(listing.price_precision + 1), unit(listing.quantity_precision + 1)
        rows.append(row_of(msgspec.structs.replace(listing, tick_size=tick, step_size=step)))
    for row in rows:
        if "null-type" in quirks:
            row["contractType"] = None
        if "no-filters" in quirks:
            row["filters"] = []
    return rows
