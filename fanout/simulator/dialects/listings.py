"""Rows and pages of a venue's listing."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from fanout.simulator.market.listing import Listing, Quirk, unit

Row = dict[str, Any]


class Page(NamedTuple):
    """`cursor` asks for the next page; None after the last one."""

    listings: list[Listing]
    cursor: str | None


def page_of(listings: Mapping[str, Listing], limit: int, cursor: str | None) -> Page:
    """A page of the listing in the order of its symbols. A cursor is the symbol that the page
    before ends with, so a change of the listing loses none of the other rows."""
    symbols = sorted(listings)
    start = bisect_right(symbols, cursor or "")
    found = symbols[start : start + limit]
    is_last = start + limit >= len(symbols)
    return Page([listings[symbol] for symbol in found], None if is_last else found[-1])


def odd_rows(
    listings: Iterable[Listing],
    quirks: Mapping[str, tuple[Quirk, ...]],
    row_of: Callable[[Listing], Row],
    changes: Mapping[Quirk, Row],
) -> list[Row]:
    """The rows of a listing, with the quirks that faults gave them. `changes` has the fields that a
    quirk replaces in a row."""
    return [
        row
        for each in listings
        for row in _rows(each, quirks.get(each.symbol, ()), row_of, changes)
    ]


def _rows(
    listing: Listing,
    quirks: tuple[Quirk, ...],
    row_of: Callable[[Listing], Row],
    changes: Mapping[Quirk, Row],
) -> list[Row]:
    rows = [row_of(listing)]
    if "twice" in quirks:
        rows.append(row_of(listing))
    if "conflict" in quirks:
        tick, step = unit(listing.price_precision + 1), unit(listing.quantity_precision + 1)
        rows.append(row_of(msgspec.structs.replace(listing, tick_size=tick, step_size=step)))
    for row in rows:
        for quirk in quirks:
            row.update(changes.get(quirk, {}))
    return rows
