"""A channel whose books a test changes as a feed does, and the books that a reader keeps."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from fanout.channel.channel import Channel, Published
from fanout.protocol import DataKinds, Loss, OrderBook, Record
from fanout.protocol.book_records import BookUpdate, pack_levels
from fanout.protocol.instrument import Instrument
from tests.protocol.golden import BTC, HEADER
from tests.stand.channels import new_channel

OTHER = HEADER.instruments[1]
ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE


def book_channel(log_bytes: int = 50_000_000) -> Channel:
    channel = new_channel(log_bytes)
    channel.header = channel.log.context = replace(channel.header, data=ALL)
    return channel


class Feeder:
    """Changes the books of a channel as a feed does."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._last_id = 100

    def publish(self, *records: Published) -> None:
        self.channel.publish(records, received_ns=1, held_ns=1)

    def whole(self, instrument: Instrument = BTC, levels: int = 3) -> None:
        self._last_id += 1
        bids = [(1_000 - each, 1 + each) for each in range(levels)]
        asks = [(1_001 + each, 1 + each) for each in range(levels)]
        book = self.channel.books.of(instrument.index)
        book.instrument = instrument
        book.replace(bids, asks, self._last_id, 5)
        self.publish(*book.whole())

    def change(self, bids: Sequence[tuple[int, int]], instrument: Instrument = BTC) -> BookUpdate:
        self._last_id += 1
        update = BookUpdate(instrument, self._last_id, 5, pack_levels(bids), b"")
        self.channel.books.of(instrument.index).apply(update)
        self.publish(update)
        return update


class KeptBooks:
    """The books of a reader that keeps them as WIRE.md says."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.books: dict[int, OrderBook] = {}

    def take(self, records: Iterable[Record]) -> None:
        for each in records:
            if isinstance(each, Loss):
                self.books.clear()
            if isinstance(each, BookUpdate):
                book = self.books.setdefault(each.instrument.index, OrderBook())
                is_new = not book.is_consistent or each.update_id > book.update_id
                if each.is_whole or (is_new and book.update_id):
                    book.apply(each)

    def assert_right(self, *indexes: int) -> None:
        """They are the channel's."""
        for index in indexes:
            assert self.books[index].is_consistent
            assert self.books[index].digest() == self._channel.books.of(index).digest()
