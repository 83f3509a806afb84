"""The newest trade of each instrument, as the snapshot of a joining reader shows it.

A snapshot never runs ahead of the stream. REST and the stream are separate paths, so a trade that
REST has shown (a *seed*) may still come on the stream. Before an instrument's first trade its seed
stands in the snapshot, since nothing else is known. Once a reader has had the seed, the channel
begins behind it: trades up to the seed that the stream then brings precede the beginning, and are
left out. In mid-stream nothing may be left out any more; when REST is asked again there, only a
seed that the stream has passed stands in the snapshot.

Whether a trade precedes a seed follows from their ids, so only venues whose ids ascend have seeds.

The newest trade of an earlier start is no seed: the stream goes on behind it, so that nothing of
the stream precedes it.
"""

from collections.abc import Sequence
from typing import TypeVar

from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.records import Gap, Trade

R = TypeVar("R", bound=Trade | Gap | Quote | BookUpdate | OrderUpdate | FeatureRow)


class Newest:
    """Chooses what a snapshot shows, and which trades precede it."""

    def __init__(self) -> None:
        self._streamed: dict[int, Trade] = {}
        self._seeds: dict[int, Trade] = {}
        self.awaited: dict[int, Trade] = {}
        """Seeds that readers have had, by index, of instruments without a trade since."""
        self._former: dict[int, Trade] = {}
        """The newest trades of instruments that began, before their units changed."""
        self._recalled: dict[int, Trade] = {}
        """The newest trades of an earlier start, and those that were back-filled since."""
        self.preceding = 0
        """How many trades were left out because they precede the instrument's beginning."""

    def seed(self, trades: Sequence[Trade]) -> None:
        """Give the newest trade that REST has of each instrument. A seed that the stream has not
        reached in mid-stream is not used."""
        for trade in trades:
            index = trade.instrument.index
            former = self._former.get(index)
            if index not in self._recalled and (
                former is None or trade.trade_id <= former.trade_id
            ):
                self._seeds[index] = trade

    def recall(self, trades: Sequence[Trade]) -> None:
        """Give the newest trades of an earlier start."""
        for trade in trades:
            self._recalled[trade.instrument.index] = trade

    def following(self, records: Sequence[R]) -> Sequence[R]:
        """Those of the stream's records that do not precede what readers have been shown."""
        return [each for each in records if self._is_begun(each)] if self.awaited else records

    def _is_begun(
        self, record: Trade | Gap | Quote | BookUpdate | OrderUpdate | FeatureRow
    ) -> bool:
        """Whether a trade follows the seed that readers have had of its instrument. Ids that start
        anew do: their times are later."""
        seed = self.awaited.get(record.instrument.index)
        if seed is None or not isinstance(record, Trade):
            return True
        if record.trade_id <= seed.trade_id and record.time_ms <= seed.time_ms:
            self.preceding += 1
            return False
        del self.awaited[record.instrument.index]
        return True

    def streamed(self, trades: Sequence[Trade]) -> None:
        """Note trades that were published, oldest first."""
        for trade in trades:
            self._streamed[trade.instrument.index] = trade

    def back_filled(self, trades: Sequence[Trade]) -> None:
        """Note trades that were back-filled. They are shown of an instrument that goes on from an
        earlier start, until the stream brings a trade."""
        for trade in trades:
            before = self._recalled.get(trade.instrument.index)
            if before is not None and before.time <= trade.time:
                self._recalled[trade.instrument.index] = trade

    def of_stream(self, index: int) -> Trade | None:
        """The newest trade of the stream; None before the first."""
        return self._streamed.get(index) or self._former.get(index)

    def recalled(self, index: int) -> Trade | None:
        """The newest trade of an earlier start, or one that was back-filled since."""
        return self._recalled.get(index)

    def forget(self, index: int) -> None:
        """A price in an old unit means nothing in a new one: show nothing of this instrument."""
        newest = self._streamed.pop(index, None)
        if newest is not None:
            self._former[index] = newest
        self._recalled.pop(index, None)
        self._seeds.pop(index, None)
        self.awaited.pop(index, None)

    def shown(self) -> list[Trade]:
        """The trades for a reader that joins now, in the order of their instruments."""
        self.awaited = {i: each for i, each in self._seeds.items() if i not in self._streamed}
        newest = self._seeds | self._recalled | self._streamed
        return [newest[index] for index in sorted(newest)]
