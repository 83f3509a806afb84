"""What every client hands over of quotes and books, whichever way they come. Subclass
`RecordContract`, say how frames reach a client of yours, and inherit the tests."""

from abc import ABC, abstractmethod
from typing import Any

from msgspec.structs import replace

from fanout.clients.books import Books
from fanout.clients.client import Client
from fanout.protocol import BlockFlags, BookFlags, BookUpdate, Loss, Position, Trade, frame
from fanout.protocol.book_block import encode_book, encode_orders
from fanout.protocol.book_records import BookBlock, pack_levels
from fanout.protocol.quote_block import encode_quotes
from tests.protocol.golden import BOOK, BTC, HEADER, LIFE, ORDERS, QUOTES
from tests.protocol.test_session import block, loss

Records = list[Any]

FIRST = QUOTES.first_seq
QUOTE_COUNT, BOOK_COUNT = len(QUOTES.quotes), len(BOOK.updates)


def numbered(records: Any, first_seq: int) -> Records:
    return [replace(each, seq=first_seq + place) for place, each in enumerate(records)]


BOOK_SEQ = FIRST + QUOTE_COUNT
ORDERS_SEQ = BOOK_SEQ + BOOK_COUNT
EXPECTED: Records = [
    *QUOTES.quotes,
    *numbered(BOOK.updates, BOOK_SEQ),
    *numbered(ORDERS.updates, ORDERS_SEQ),
]
"""What the golden blocks hold, one behind the other."""

NEXT_SEQ = FIRST + len(EXPECTED)

STREAM = b"".join(
    frame(each)
    for each in (
        encode_quotes(QUOTES, HEADER),
        encode_book(replace(BOOK, first_seq=BOOK_SEQ), HEADER),
        encode_orders(replace(ORDERS, first_seq=ORDERS_SEQ), HEADER),
    )
)


def book_frame(first_seq: int, *updates: BookUpdate, flags: BlockFlags = BlockFlags.NONE) -> bytes:
    received_ns = 0 if flags else 9
    value = BookBlock(first_seq=first_seq, updates=updates, received_ns=received_ns, flags=flags)
    return frame(encode_book(value, HEADER))


def update(update_id: int, *bids: tuple[int, int], flags: BookFlags = BookFlags.NONE) -> BookUpdate:
    return BookUpdate(BTC, update_id, 5, pack_levels(bids), b"", flags)


class RecordContract(ABC):
    @abstractmethod
    def received(
        self, stream: bytes, count: int, *, with_books: bool = False, **options: Any
    ) -> tuple[Records, Client, Books]:
        """Send `stream` to a client, from number `FIRST` on, and collect `count` records: of the
        client itself, or of its `Books`, which are returned in either case."""

    def test_quotes_and_book_updates_come_in_order_with_their_numbers(self) -> None:
        records, client, _ = self.received(STREAM, len(EXPECTED))
        assert records == EXPECTED
        assert client.statistics.updates == len(EXPECTED)
        assert client.statistics.trades == client.statistics.lost == 0
        assert client.header is not None
        assert client.position == Position(epoch_ns=client.header.epoch_ns, seq=NEXT_SEQ)

    def test_the_position_can_be_within_a_block_of_quotes_or_updates(self) -> None:
        for count in (1, QUOTE_COUNT + 1, len(EXPECTED) - 1):
            records, client, _ = self.received(STREAM, count)
            assert records == EXPECTED[:count]
            assert client.position is not None
            assert client.position.seq == FIRST + count

    def test_quotes_and_book_updates_of_other_symbols_can_be_filtered_out(self) -> None:
        wanted = [each for each in EXPECTED if each.instrument == LIFE]
        records, client, _ = self.received(STREAM, len(wanted), symbols=["币安人生USDT"])
        assert records == wanted
        assert client.statistics.updates == len(EXPECTED)

    def test_whole_books_of_a_snapshot_have_no_numbers_and_are_not_counted(self) -> None:
        whole = update(3, (5, 6), flags=BookFlags.WHOLE)
        stream = book_frame(FIRST, whole, flags=BlockFlags.SNAPSHOT) + block(FIRST)
        (first, trade), client, _ = self.received(stream, 2)
        assert first == whole
        assert isinstance(trade, Trade)
        assert (client.statistics.updates, client.statistics.trades) == (0, 1)

    def test_the_books_of_a_client_follow_its_records(self) -> None:
        stream = (
            book_frame(FIRST, update(5, (10, 1), flags=BookFlags.WHOLE), flags=BlockFlags.SNAPSHOT)
            + book_frame(FIRST, update(5, (10, 9)), update(6, (11, 2)))
            + loss(FIRST + 2, FIRST + 2)
        )
        records, _, books = self.received(stream, 3, with_books=True)
        assert [each.seq for each in records] == [0, FIRST, FIRST + 1]
        book = books["BTCUSDT"]
        assert (book.is_known, book.best_bid, book.update_id) == (True, (11, 2), 6)
        assert book.levels(5) == ([(11, 2), (10, 1)], [])
        records, _, books = self.received(stream, 4, with_books=True)
        assert isinstance(records[-1], Loss)
        assert not books["BTCUSDT"].is_known
        assert books["BTCUSDT"].best_bid is None
