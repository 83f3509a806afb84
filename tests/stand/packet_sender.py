"""A channel that goes out in packets and answers over TCP, without sockets; and a network of two
lines between it and `Lines`, which loses, doubles, reorders and damages them."""

import random
from collections.abc import Iterator

from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.channel.reader import Reader
from fanout.protocol import (
    BookUpdate,
    EndReason,
    FeedState,
    Line,
    Packer,
    Quote,
    Record,
    Request,
    Trade,
    on_line,
    pack_levels,
)
from fanout.protocol.records import End
from fanout.protocol.request import Begin
from tests.protocol.golden import BTC, LIFE
from tests.stand.book_channel import book_channel
from tests.stand.channels import new_channel
from tests.stand.subscriber import LogSubscriber

EVERYTHING = 10**9


class Sender:
    """Publishes made-up records, and packs them."""

    def __init__(
        self,
        *,
        has_books: bool = False,
        packet_bytes: int = 600,
        number: int = 0,
        log_bytes: int = 50_000_000,
        epoch_ns: int = 1,
    ) -> None:
        self.channel = self._new_channel(log_bytes, epoch_ns, has_books=has_books)
        self.packer = Packer(self.channel.header, packet_bytes=packet_bytes, number=number)
        self.digests: dict[tuple[int, int], int] = {}
        """Of each book after each update, by index and update id."""
        self._log = LogSubscriber(self.channel)
        self.sent: dict[int, Record] = {}
        """All records that were published, by number."""
        self._cursor = self.channel.log.live()
        self._next_id = 100

    @staticmethod
    def _new_channel(log_bytes: int, epoch_ns: int, *, has_books: bool) -> Channel:
        channel = book_channel(log_bytes) if has_books else new_channel(log_bytes)
        channel.header = channel.log.context = replace(channel.header, epoch_ns=epoch_ns)
        return channel

    # What is published.

    def trades(self, count: int = 1) -> list[bytes]:
        """The packets with a block of trades."""
        made = []
        for _ in range(count):
            instrument = (BTC, LIFE)[self._next_id % 2]
            made.append(Trade(instrument, self._next_id, 5, 6 + self._next_id % 7, 7, False))
            self._next_id += 1
        self.channel.publish(made, received_ns=1, held_ns=1)
        return self.packets()

    def quotes(self, count: int = 1) -> list[bytes]:
        """The packets with a block of quotes."""
        made = [Quote(BTC, self._next_id + each, 5, 6, 7, 8, 9) for each in range(count)]
        self._next_id += count
        self.channel.publish(made, received_ns=1, held_ns=1)
        return self.packets()

    def status(self) -> list[bytes]:
        """The packets with a STATUS that leaves the books alone."""
        self.channel.publish_status(LIFE, FeedState.LIVE, "it is")
        return self.packets()

    def change(self) -> list[bytes]:
        """The packets that change the references and the lot of an instrument."""
        index = self._next_id % 2
        header = self.channel.header
        reference = header.references[index]
        self._next_id += 1
        self.channel.change(
            [replace(header.instruments[index], lot=self._next_id)],
            [replace(reference, price=reference.price + 1_000, time=reference.time + 1)],
        )
        return self.packets()

    def whole_book(self, levels: int = 3, index: int = 0) -> list[bytes]:
        """The packets with a numbered whole book."""
        self._next_id += 1
        book = self.channel.books.of(index)
        book.instrument = self.channel.header.instruments[index]
        bids = [(1_000_000 - 997 * each, 1 + each) for each in range(levels)]
        asks = [(1_000_001 + 997 * each, 1 + each) for each in range(levels)]
        book.replace(bids, asks, self._next_id, 5)
        return self._publish_book(index, *book.whole())

    def book_change(self, index: int = 0) -> list[bytes]:
        """The packets with a book update."""
        self._next_id += 1
        bids = [(1_000_000 - 997 * (self._next_id % 5), self._next_id % 3)]
        book = self.channel.books.of(index)
        update = BookUpdate(
            self.channel.header.instruments[index], self._next_id, 5, pack_levels(bids), b""
        )
        book.apply(update)
        return self._publish_book(index, update)

    def _publish_book(self, index: int, *updates: BookUpdate) -> list[bytes]:
        book = self.channel.books.of(index)
        self.digests[index, book.update_id] = book.digest()
        self.channel.publish(updates, received_ns=1, held_ns=1)
        return self.packets()

    # What goes out.

    def packets(self) -> list[bytes]:
        """The packets with what was published since the last time."""
        for each in self._log.records():
            seq = getattr(each, "seq", 0)
            if seq:
                self.sent[seq] = each
        data = self.channel.log.read(self._cursor, EVERYTHING)
        assert isinstance(data, bytes), "the log is long enough"
        return self.packer.pack(data, 1)

    def snapshot(self) -> list[bytes]:
        """The packets of a snapshot."""
        blocks = [self.channel.snapshot()]
        blocks += [b"".join(self._pieces(index)) for index in self.channel.books.indexes()]
        blocks = [each for each in blocks if each]
        made = self.packer.opening(1, is_last=not blocks)
        for each in blocks:
            made += self.packer.snapshot(each, 1, is_last=each is blocks[-1])
        return made

    def _pieces(self, index: int) -> Iterator[bytes]:
        book = self.channel.books.snapshot(index, self.channel.header)
        place = 0
        while book is not None:
            yield book.piece(place, self.channel.log.next_seq)
            if book.is_last(place):
                return
            place += 1

    def heartbeat(self) -> list[bytes]:
        return [self.packer.heartbeat(1)]

    def end(self) -> list[bytes]:
        """The END twice, without which nobody believes it."""
        last_seq = self.channel.log.next_seq - 1
        end = End(reason=EndReason.SHUTDOWN, last_seq=last_seq, retry_ms=1, why="over")
        return [self.packer.end(end, 1) for _ in range(2)]

    def answer(self, begin: Begin) -> bytes:
        """What the service sends over TCP to a reader that asks for this, up to a HEARTBEAT."""
        reader = Reader(self.channel)
        pieces = [reader.greeting, reader.start(Request(start=begin))]
        while not reader.is_over and (piece := reader.next_piece()):
            pieces.append(piece)
        return b"".join(pieces) + (b"" if reader.is_over else self.channel.heartbeat(1))


class Network:
    """Two lines. Each loses, doubles and delays packets by chance, each for itself."""

    def __init__(self, chance: random.Random, share: float) -> None:
        """`share` is how many packets meet each kind of mishap."""
        self._chance = chance
        self._share = share
        self._waiting: list[tuple[int, Line, bytes]] = []
        self._step = 0

    def send(self, packets: list[bytes]) -> list[tuple[Line, bytes]]:
        """What arrives now."""
        self._step += 1
        for line in Line:
            for each in packets:
                self._waiting += self._fates(line, on_line(each, line))
        now = [each for each in self._waiting if each[0] <= self._step]
        self._waiting = [each for each in self._waiting if each[0] > self._step]
        now.sort(key=lambda each: each[0])
        return [(line, data) for _, line, data in now]

    def _fates(self, line: Line, data: bytes) -> Iterator[tuple[int, Line, bytes]]:
        chance, share = self._chance, self._share
        if chance.random() < share:
            return
        for _ in range(1 + (chance.random() < share)):
            late = chance.randrange(1, 5) if chance.random() < share else 0
            yield self._step + late, line, self._damaged(data)

    def _damaged(self, data: bytes) -> bytes:
        chance = self._chance
        if chance.random() >= self._share / 4:
            return data
        place = chance.randrange(len(data))
        if chance.random() < 0.3:
            return data[:place]
        return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
