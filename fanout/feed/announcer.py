"""Publishes and logs a feed's events: states, gaps, and changes of instruments.

It holds the last published state of the feed. No other module changes the channel's instruments.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Final

import trio

from fanout.channel.channel import Channel
from fanout.config.assets import FEW_SYMBOLS
from fanout.feed.liveness import Change
from fanout.feed.roster import Roster
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import BlockFlags, FeedState, GapState
from fanout.protocol.records import Gap, Trade

_LOG = logging.getLogger("fanout")

_SAID: Final = {
    GapState.OPEN: "are missing",
    GapState.BACK_FILLED: "are back-filled",
    GapState.UNRECOVERABLE: "are lost",
    GapState.NO_TRADE: "were never trades",
}
"""Words of the log for each state of a gap."""


class Announcer:
    """Publishes the events of one feed to its channel."""

    def __init__(self, channel: Channel, roster: Roster, *, wall_ns: Callable[[], int]) -> None:
        """`wall_ns` gives unix ns."""
        self.state = FeedState.DOWN
        """The state of the feed as a whole."""
        self._noted = ("", -inf)
        """The event of the last `note`, and when that was."""
        self._channel = channel
        self._roster = roster
        self._wall_ns = wall_ns

    def turn(self, state: FeedState, why: str) -> None:
        """Publish a new state of the feed."""
        self.state = state
        self._channel.publish_status(None, state, why)

    def note(self, words: str, *, again_s: float = inf, event: str = "") -> bool:
        """Publish words with the feed's state, which stays as it is. False without publishing if
        they were the last ones, less than `again_s` ago: each connection may bring them. Words of
        the same `event` count as the same."""
        now_s, event = trio.current_time(), event or words
        noted, noted_s = self._noted
        if event == noted and now_s < noted_s + again_s:
            return False
        self._noted = event, now_s
        self._channel.publish_status(None, self.state, words)
        return True

    def say(self, changes: Iterable[Change]) -> None:
        """Publish and log new states of instruments."""
        for each in changes:
            instrument = self._roster[each.index].instrument
            self._channel.publish_status(instrument, each.state, each.why)
            _LOG.log(
                self._level(each.state),
                "%s is %s: %s",
                instrument.symbol,
                each.state.name,
                each.why,
            )

    def _level(self, state: FeedState) -> int:
        """How loudly to log the state of one instrument. Of many instruments there are always some
        that are quiet, and some that trade again."""
        is_usual = state in (FeedState.LIVE, FeedState.STALE) and len(self._roster) > FEW_SYMBOLS
        is_minor = state is FeedState.CONNECTING or is_usual
        return logging.DEBUG if is_minor else logging.INFO

    def gaps(self, gaps: Sequence[Gap]) -> None:
        """Publish and log gaps that opened or closed."""
        if gaps:
            self._channel.publish(gaps, received_ns=0, held_ns=0)
            self.log_gaps(gaps)

    def back_filled(self, records: Sequence[Trade | Gap]) -> None:
        """Publish trades that were back-filled over REST, and the gaps that they close."""
        self._channel.publish(
            records, received_ns=self._wall_ns(), held_ns=0, flags=BlockFlags.BACK_FILLED
        )
        self.log_gaps([each for each in records if type(each) is Gap])

    def whole_book(self, updates: Sequence[BookUpdate | OrderUpdate | Quote]) -> None:
        """Publish a whole book, and the quote that follows from it, which no single read brought:
        it is made from an answer of REST and what the stream brought since, or is the copy of
        another connection."""
        self._channel.publish(updates, received_ns=self._wall_ns(), held_ns=0)

    def log_gaps(self, gaps: Sequence[Gap]) -> None:
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

    def change(self, indexes: Sequence[int]) -> None:
        """Publish instruments that are new or changed. They apply from the next record on."""
        entries = [self._roster[index] for index in sorted(indexes)]
        self._channel.change(
            [each.instrument for each in entries], [each.reference for each in entries]
        )
