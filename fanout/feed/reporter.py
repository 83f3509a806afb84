"""What is said of a feed, its instruments and their gaps: to readers in-band, and to people in the
log. A gap that is told is to be closed, so whoever does that hears of it here."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fanout.channel.publisher import Publisher
from fanout.feed.back_fill import BackFill
from fanout.feed.liveness import Change
from fanout.feed.units import Units
from fanout.feed.watch import Watch
from fanout.protocol.constants import BlockFlags, FeedState, GapState
from fanout.protocol.records import Gap, Trade

_LOG = logging.getLogger("fanout")

_SAID: Final = {
    GapState.OPEN: "are missing",
    GapState.BACK_FILLED: "are back-filled",
    GapState.UNRECOVERABLE: "are lost",
    GapState.NO_TRADE: "are none",
}
"""For the log."""


class Reporter:
    """Tells readers and the log; knows what was last said of the feed as a whole."""

    def __init__(
        self, publisher: Publisher, units: Units, watch: Watch, *, wall_ns: Callable[[], int]
    ) -> None:
        """`wall_ns` gives unix ns."""
        self.state = FeedState.DOWN
        """Of the feed."""
        self.back_fills: list[BackFill] = []
        """All that close gaps."""
        self._publisher = publisher
        self._units = units
        self._watch = watch
        self._wall_ns = wall_ns

    def turn(self, state: FeedState, why: str) -> None:
        """The feed is in another state."""
        self.state = state
        self._publisher.publish_status(None, state, why)

    def say(self, changes: Iterable[Change]) -> None:
        """Instruments are in other states."""
        for each in changes:
            instrument = self._units.instruments[each.index]
            self._publisher.publish_status(instrument, each.state, each.why)
            level = logging.DEBUG if each.state is FeedState.CONNECTING else logging.INFO
            _LOG.log(level, "%s is %s: %s", instrument.symbol, each.state.name, each.why)
            self._watch.wake()

    def gaps(self, gaps: Sequence[Gap]) -> None:
        """Gaps came about, or were closed."""
        self._publisher.publish(gaps, received_ns=0, held_ns=0)
        self.see_to(gaps)

    def back_filled(self, records: Sequence[Trade | Gap]) -> None:
        """The venue's records had these."""
        self._publisher.publish(
            records, received_ns=self._wall_ns(), held_ns=0, flags=BlockFlags.BACK_FILLED
        )
        self.see_to([each for each in records if type(each) is Gap])

    def see_to(self, gaps: Sequence[Gap]) -> None:
        """Log gaps that were published, and have them closed."""
        for each in gaps:
            is_bad = each.state in (GapState.OPEN, GapState.UNRECOVERABLE)
            _LOG.log(
                logging.WARNING if is_bad else logging.INFO,
                "%s trades %d to %d %s: %s",
                each.instrument.symbol,
                each.first_id,
                each.last_id,
                _SAID.get(each.state, each.state.name),
                each.why,
            )
        if gaps:
            for back_fill in self.back_fills:
                back_fill.ask()
