"""A journal of quotes in which the imbalance of the best quantities shows where the mid goes."""

from pathlib import Path
from random import Random

from msgspec.structs import replace

from fanout.protocol import DataKinds, FeedState, Quote, Trade
from tests.clients.test_journal import Folder
from tests.protocol.golden import BTC
from tests.stand.channels import new_channel
from tests.stand.journals import Recorder

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
        self._open(NS, DataKinds.QUOTES)

    def begin(self, epoch_ns: int) -> None:
        """Start the service anew."""
        self._open(epoch_ns, DataKinds.QUOTES)

    def seconds(self, count: int) -> "Market":
        """As many quotes, and their journal."""
        for _ in range(count):
            # A few ms behind the second, so that the row of the next second has it.
            self._quote(self.time_ns + 5_000_000)
            self.time_ns += S
        self.write()
        return self

    def write(self) -> None:
        self._recorder.write()
        self.folder.write()

    def blink(self) -> None:
        """The instrument is not LIVE for a moment, and has a new quote before the next row."""
        self.channel.publish_status(BTC, FeedState.STALE, "quiet")
        self.channel.publish_status(BTC, FeedState.LIVE, "")
        self._quote(self.time_ns - S + 10_000_000)

    def trades_only(self) -> "Market":
        """A channel without prices."""
        self._open(NS, DataKinds.TRADES)
        self.channel.publish([Trade(BTC, 1, 5, 6, 7, False)], received_ns=NS, held_ns=0)
        self.write()
        return self

    def _open(self, epoch_ns: int, data: DataKinds) -> None:
        channel = self.channel = new_channel()
        header = replace(channel.header, epoch_ns=epoch_ns, data=data)
        channel.header = channel.log.context = header
        self._recorder = Recorder(self.folder.files, channel)

    def _quote(self, received_ns: int) -> None:
        imbalance = self._random.uniform(-1, 1)
        bid_quantity = round(500 * (1 + imbalance)) + 1
        self._id += 1
        quote = Quote(
            BTC, self._id, 0, self._price, bid_quantity, self._price + 10, 1_002 - bid_quantity
        )
        self.channel.publish([quote], received_ns=received_ns, held_ns=0)
        step = self._slope * imbalance + self._random.gauss(0, 1)
        self._price += 10 * round(100 * step)
