"""Compares a new listing with a feed's roster. Pure: a roster and a listing in, changes out.

No fault of a listing may end the service or cause a wrong price. A listing that is empty or lacks
most of the served symbols is ignored. An unreadable row does not change its instrument.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from fanout.errors import ConfigError
from fanout.feed.listing import resolve
from fanout.feed.roster import Roster
from fanout.protocol.constants import MAX_INSTRUMENTS
from fanout.protocol.instrument import Instrument
from fanout.venues.base import VenueDefaults
from fanout.venues.values import Listed, Listing

_LISTED_UNITS: Final = VenueDefaults().still_fits
"""An instrument keeps its units only if they are the listed ones."""

BELIEVED_FROM: Final = 10
"""From this number of instruments on, a listing that lacks half of them is ignored."""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that a listing brings.

    Instruments that joined, that have `other_units`, that have the same units and `other_terms`
    (tick, lot, ...), and that are `back` after they had left.
    Instruments that `left` or are `halted`, by index, with the reason. `odd` has the anomalies, by
    kind, with details.
    """

    joined: tuple[Instrument, ...] = ()
    other_units: tuple[Instrument, ...] = ()
    other_terms: tuple[Instrument, ...] = ()
    back: tuple[Instrument, ...] = ()
    left: dict[int, str] = {}
    halted: dict[int, str] = {}
    odd: tuple[tuple[str, str], ...] = ()


def compare(
    roster: Roster,
    listing: Listing,
    patterns: Sequence[str],
    still_fits: Callable[[Instrument, Listed], bool] = _LISTED_UNITS,
) -> Changes:
    """Compare `roster`, which serves `patterns`, with a new listing. `still_fits` is the venue's:
    whether an instrument may keep its units."""
    fault = _implausible(roster, listing)
    if fault:
        return Changes(odd=(("listing not believed", fault),))
    joined, odd = _joined(roster, listing, patterns)
    other_units, other_terms, back, left, halted = [], [], [], {}, {}
    for entry in roster:
        instrument = entry.instrument
        index, symbol = instrument.index, instrument.symbol
        row = listing.rows.get(symbol)
        if symbol in listing.odd:
            odd.append(("odd row in the listing", f"{symbol}: {listing.odd[symbol]}"))
        elif row is None:
            if not entry.is_gone:
                left[index] = f"delisted: {listing.fault(symbol)}"
        elif row.fault is not None:
            halted[index] = f"{symbol} {row.fault}"
        elif entry.is_gone:
            back.append(row.instrument(index))
        elif not still_fits(instrument, row):
            other_units.append(row.instrument(index))
        elif instrument != (same := _in_units_of(instrument, row)):
            other_terms.append(same)
    return Changes(
        joined=joined,
        other_units=tuple(other_units),
        other_terms=tuple(other_terms),
        back=tuple(back),
        left=left,
        halted=halted,
        odd=tuple(odd),
    )


def _in_units_of(instrument: Instrument, row: Listed) -> Instrument:
    """The row in the units of an instrument, which are as fine or finer."""
    listed = row.instrument(instrument.index)
    price_digits = listed.price_exponent - instrument.price_exponent
    quantity_digits = listed.quantity_exponent - instrument.quantity_exponent
    if not price_digits and not quantity_digits:
        return listed
    assert price_digits >= 0 <= quantity_digits, "a venue does not keep units that are too coarse"
    return msgspec.structs.replace(
        listed,
        price_exponent=instrument.price_exponent,
        quantity_exponent=instrument.quantity_exponent,
        tick=listed.tick * 10**price_digits,
        lot=listed.lot * 10**quantity_digits,
    )


def _implausible(roster: Roster, listing: Listing) -> str | None:
    served = [each.instrument.symbol for each in roster if not each.is_gone]
    if not listing.rows:
        return "it is empty"
    known = sum(symbol in listing.rows or symbol in listing.odd for symbol in served)
    if len(served) >= BELIEVED_FROM and known < len(served) / 2:
        return f"it lacks {len(served) - known:,} of {len(served):,} symbols that are served"
    return None


def _joined(
    roster: Roster, listing: Listing, patterns: Sequence[str]
) -> tuple[tuple[Instrument, ...], list[tuple[str, str]]]:
    try:
        wanted = resolve(patterns, listing)
    except ConfigError as error:
        return (), [("listing does not fit what was asked for", str(error))]
    new = [
        symbol
        for symbol in wanted
        if roster.index_of(symbol) is None and listing.fault(symbol) is None
    ]
    room = MAX_INSTRUMENTS - len(roster)
    joined = tuple(
        listing.instrument(symbol, len(roster) + place) for place, symbol in enumerate(new[:room])
    )
    if len(new) <= room:
        return joined, []
    left_out = ", ".join(new[room : room + 5])
    return joined, [("no room for new symbols", f"{len(new) - room:,} are left out: {left_out}")]
