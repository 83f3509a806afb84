"""The quotes of one feed. A quote that is not newer than the one before it is dropped.

With several connections each brings the same quotes, and the first to bring one counts. Update ids
tell which is newer.

A venue may begin its ids anew. Its quote says so, or only lower ids come for a while. Another
connection then goes on with the old ids for a moment, which are higher than the new ones. Its
quotes are dropped until it begins anew too, or is the only connection that is left.
"""

from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from fanout.feed.connection import Connection
from fanout.feed.normalise import to_quote
from fanout.feed.roster import Roster
from fanout.protocol.book_records import Quote
from fanout.protocol.constants import U64_MAX
from fanout.protocol.errors import NotRepresentableError
from fanout.stats.anomalies import Anomalies
from fanout.venues.values import VenueQuote

BACK_S: Final = 5.0
"""How long only quotes with lower ids may come that are newer by the venue's clock. After that its
ids went back. Lower ids alone prove nothing: a connection may lag behind another."""


class QuoteTally(msgspec.Struct):
    """Counts of one instrument's quotes. `old` ones were not newer than the one before, which has
    `last_id` and `time`.

    `behind` are the connections that go on with the ids from before the venue began anew.
    `back_since_s` is when the first lower id came since the quote with the number `back_since`.
    """

    last_id: int = -1
    quotes: int = 0
    old: int = 0
    time: int = 0
    is_dropped: bool = False
    behind: AbstractSet[Connection] = frozenset()
    back_since: int = -1
    back_since_s: float = 0.0

    def is_newer(
        self,
        item: VenueQuote,
        now_s: float,
        connection: Connection,
        open_: AbstractSet[Connection],
    ) -> bool:
        """Whether a quote is newer than the one before, if ids alone may not tell."""
        if self.is_dropped:
            return False
        if self.behind:
            self.behind = self.behind & open_
        if connection not in self.behind:
            if item.resets:
                self.behind = open_ - {connection}
                return True
        elif item.resets:
            self.behind -= {connection}  # another one brought this before
        elif open_ <= {connection}:
            self.behind = frozenset()
        else:
            return False
        return item.update_id > self.last_id or self._went_back(item, now_s)

    def _went_back(self, item: VenueQuote, now_s: float) -> bool:
        if item.update_id == self.last_id or item.time <= self.time:
            return False
        if self.back_since != self.quotes:
            self.back_since, self.back_since_s = self.quotes, now_s
        return now_s - self.back_since_s > BACK_S


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
            tally = self.tally(index)
            tally.last_id, tally.time = -1, 0
            tally.is_dropped, tally.behind = False, frozenset()

    def drop(self, index: int) -> None:
        """Drop the quotes that still come of an instrument that is delisted: no id is above this
        one, until `restart`."""
        tally = self.tally(index)
        tally.last_id, tally.is_dropped = U64_MAX, True

    def take(
        self,
        item: VenueQuote,
        now_s: float,
        connection: Connection,
        open_: AbstractSet[Connection],
    ) -> Quote | None:
        """The quote to publish; None for one that is not newer, or of no instrument. `open_` are
        the connections that bring quotes of the instrument, `connection` among them. Raises
        `NotRepresentableError` for values that fit no field."""
        instrument = self._roster.units.get(item.symbol)
        if instrument is None:
            self._anomalies.note("quote of a symbol that was not subscribed", item.symbol)
            return None
        tally = self.tally(instrument.index)
        if (item.update_id <= tally.last_id or tally.behind) and not tally.is_newer(
            item, now_s, connection, open_
        ):
            tally.old += 1
            return None
        try:
            quote = to_quote(item, instrument)
        except NotRepresentableError as error:
            self._anomalies.note("quote refused", error)
            raise
        tally.last_id = item.update_id
        tally.time = item.time
        tally.quotes += 1
        return quote
