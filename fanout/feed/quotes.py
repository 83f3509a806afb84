"""The quotes of one feed. A quote that is not newer than the one before it is dropped.

With several connections each brings the same quotes, and the first to bring one counts. Update ids
tell which is newer.
"""

import msgspec

from fanout.feed.normalise import to_quote
from fanout.feed.roster import Roster
from fanout.protocol.book_records import Quote
from fanout.protocol.constants import U64_MAX
from fanout.protocol.errors import NotRepresentableError
from fanout.stats.anomalies import Anomalies
from fanout.venues.values import VenueQuote


class QuoteTally(msgspec.Struct):
    """Counts of one instrument's quotes. `old` ones were not newer than the one before."""

    last_id: int = -1
    quotes: int = 0
    old: int = 0


class Quotes:
    """Numbers and converts quotes, by the index of their instrument."""

    def __init__(self, roster: Roster, anomalies: Anomalies) -> None:
        self._roster = roster
        self._anomalies = anomalies
        self._tallies: dict[int, QuoteTally] = {}

    def tally(self, index: int) -> QuoteTally:
        found = self._tallies.get(index)
        if found is None:
            found = self._tallies[index] = QuoteTally()
        return found

    def restart(self, indexes: tuple[int, ...]) -> None:
        """Take whatever quote comes first, on a new connection or of a symbol that is listed
        again: the venue's ids may begin anew."""
        for index in indexes:
            self.tally(index).last_id = -1

    def drop(self, index: int) -> None:
        """Drop the quotes that still come of an instrument that is delisted: no id is above this
        one, until `restart`."""
        self.tally(index).last_id = U64_MAX

    def take(self, item: VenueQuote) -> Quote | None:
        """The quote to publish; None for one that is not newer, or of no instrument. Raises
        `NotRepresentableError` for values that fit no field."""
        instrument = self._roster.units.get(item.symbol)
        if instrument is None:
            self._anomalies.note("quote of a symbol that was not subscribed", item.symbol)
            return None
        tally = self.tally(instrument.index)
        if item.update_id <= tally.last_id and not item.resets:
            tally.old += 1
            return None
        try:
            quote = to_quote(item, instrument)
        except NotRepresentableError as error:
            self._anomalies.note("quote refused", error)
            raise
        tally.last_id = item.update_id
        tally.quotes += 1
        return quote
