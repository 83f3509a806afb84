"""A journal of quotes in which the imbalance of the best quantities shows where the mid goes."""

from pathlib import Path
from random import Random

from msgspec.structs import replace

from fanout.protocol import DataKinds, FeedState, Quote, Trade
from tests.clients.test_journal import Folder
from tests.protocol.golden import BTC
from tests.protocol.test_journal_play import Story

NS = 1_795_219_200_000_000_000
"""2026-11-21, midnight."""

S = 1_000_000_000


class Market:
    """Quotes each second: the heavier side is, with noise, where the mid goes within the second."""

    def __init__(self, path: Path, *, slope: float = 0.5, seed: int = 1) -> None:
        self.folder = Folder(path, "quotes")
        self.url = f"journal://{path}"
        self._random = Random(seed)
        self._slope = slope
        self._price = 10_000_000
        self._id = 0
        self.time_ns = NS
        self.begin(NS)

    def begin(self, epoch_ns: int) -> None:
        """Start the service anew."""
        self._story: Story = self.folder.story(epoch_ns)
        channel = self.channel = self._story.channel
        channel.header = channel.log.context = replace(channel.header, data=DataKinds.QUOTES)

    def seconds(self, count: int) -> "Market":
        """As many quotes, and their journal."""
        for _ in range(count):
            self._quote()
            self.time_ns += S
        self.write()
        return self

    def write(self) -> None:
        self._story.recorder.write()
        self.folder.write()

    def down_and_live(self) -> None:
        """The instrument is not LIVE for a moment between two rows."""
        self.channel.publish_status(BTC, FeedState.STALE, "quiet")
        self.channel.publish_status(BTC, FeedState.LIVE, "")

    def trades_only(self) -> "Market":
        """A channel without prices."""
        channel = self.channel
        channel.header = channel.log.context = replace(channel.header, data=DataKinds.TRADES)
        channel.publish([Trade(BTC, 1, 5, 6, 7, False)], received_ns=NS, held_ns=0)
        self.write()
        return self

    def _quote(self) -> None:
        imbalance = self._random.uniform(-1, 1)
        bid_quantity = round(500 * (1 + imbalance)) + 1
        self._id += 1
        quote = Quote(
            BTC, self._id, 0, self._price, bid_quantity, self._price + 10, 1_002 - bid_quantity
        )
        # A few ms behind the second, so that the row of the next second has it.
        self.channel.publish([quote], received_ns=self.time_ns + 5_000_000, held_ns=0)
        step = self._slope * imbalance + self._random.gauss(0, 1)
        self._price += 10 * round(100 * step)
