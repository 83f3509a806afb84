"""A channel with a book by order that a test changes, served into a ring of slots, and a program
that reads the ring: it reads trades, and builds a book from updates and deletes."""

import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from mmap import mmap
from pathlib import Path

from fanout.channel.channel import Channel
from fanout.protocol import DataKinds, Header, Trade
from fanout.protocol.book_records import OrderUpdate, pack_orders
from fanout.protocol.constants import BookFlags, Side
from fanout.protocol.instrument import Instrument
from fanout.protocol.orders_book import OrdersBook
from fanout.protocol.records import Reference
from fanout.protocol.slots import DELETE, FILE_BYTES, SLOT_COUNT, TRADE, Slot, SlotsReader
from fanout.transports.slots.config import SlotsConfig
from fanout.transports.slots.transport import SlotsTransport
from tests.stand import channels

BTC = Instrument(index=0, symbol="tBTCUSD", price_exponent=-8, quantity_exponent=-8)
ETH = Instrument(index=1, symbol="tETHUSD", price_exponent=-8, quantity_exponent=-8)
ZERO = Reference(price=0, quantity=0, trade_id=0, time=0)
ONE = 10**8
"""A price or a quantity of 1."""

Orders = Mapping[int, tuple[float, float]]
"""Price and quantity of orders by id."""


def channel_of(*instruments: Instrument, log_bytes: int = 1_000_000) -> Channel:
    header = Header(
        epoch_ns=1,
        next_seq=1,
        venue="bitfinex",
        instruments=instruments,
        references=(ZERO,) * len(instruments),
        data=DataKinds.TRADES | DataKinds.BOOK_BY_ORDER,
    )
    return Channel(header, log_bytes=log_bytes, wall_ns=lambda: 0)


def orders_of(book: OrdersBook, side: Side) -> Orders:
    """A side of a book."""
    return {each.order_id: (each.price / ONE, each.quantity / ONE) for each in book.orders(side)}


class Feeder:
    """Changes a book by order as a feed does."""

    def __init__(self, channel: Channel, instrument: Instrument = BTC) -> None:
        self.channel = channel
        self._of = instrument
        self._update_id = 0

    def trade(self, number: int, price: int = ONE, quantity: int = ONE) -> None:
        self.publish(Trade(self._of, number, 1, price, quantity, False))

    def whole(self, bids: Orders, asks: Orders, *, pieces: int = 1) -> None:
        flags = BookFlags.WHOLE
        sides = list(bids.items()), list(asks.items())
        for piece in range(pieces):
            more = BookFlags.MORE if piece < pieces - 1 else BookFlags.NONE
            parts = [dict(side[piece::pieces]) for side in sides]
            self._update(*parts, flags | more)
            flags = BookFlags.NONE

    def change(self, bids: Orders, asks: Orders | None = None) -> None:
        self._update(bids, asks or {}, BookFlags.NONE)

    def _update(self, bids: Orders, asks: Orders, flags: BookFlags) -> None:
        self._update_id += 1
        packed = [
            pack_orders(
                (number, int(price * ONE), int(size * ONE))
                for number, (price, size) in each.items()
            )
            for each in (bids, asks)
        ]
        update = OrderUpdate(self._of, self._update_id, 5, packed[0], packed[1], flags)
        self.book.apply(update)
        self.publish(update)

    def publish(self, *records: Trade | OrderUpdate) -> None:
        self.channel.publish(records, received_ns=1, held_ns=1)

    @property
    def book(self) -> OrdersBook:
        book = self.channel.books.any_of(self._of.index)
        assert isinstance(book, OrdersBook)
        return book


class Program:
    """A program that reads the ring."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._mapped = mmap(file.fileno(), FILE_BYTES)
        self.reader = SlotsReader(self._mapped)
        self.reader.skip()
        self.slots: list[Slot] = []
        self.bids: dict[int, tuple[float, float]] = {}
        self.asks: dict[int, tuple[float, float]] = {}

    def read(self, most: int = 10**9) -> list[Slot]:
        """Read what is there, up to so many slots."""
        read: list[Slot] = []
        while len(read) < most and (slot := self.reader.pop()):
            read.append(slot)
            if slot.status == TRADE:
                continue
            side = self.asks if slot.side is Side.ASK else self.bids
            if slot.action == DELETE:
                side.pop(slot.id, None)
            else:
                side[slot.id] = slot.price / 100, slot.size / 1_000_000
        self.slots += read
        return read

    def close(self) -> None:
        self.reader.release()
        self._mapped.close()

    @property
    def trade_ids(self) -> list[int]:
        return [each.id for each in self.slots if each.status == TRADE]

    def has(self, bids: Orders, asks: Orders) -> bool:
        self.read()
        return (self.bids, self.asks) == (bids, asks)


@contextmanager
def program(directory: Path) -> Iterator[Program]:
    with closing(Program(directory / "hft_ring")) as reading:
        yield reading


def config(directory: Path, **options: object) -> SlotsConfig:
    return SlotsConfig(name="hft_ring", directory=str(directory), **options)  # type: ignore[arg-type]


@asynccontextmanager
async def serving(
    channel: Channel, directory: Path, **options: object
) -> AsyncIterator[SlotsTransport]:
    """A transport that has delivered what there is whenever the test goes on after `settle`."""
    served = SlotsTransport(config(directory, **options))
    async with channels.serving(channel, served):
        yield served


def fill(directory: Path, free: int) -> None:
    """Set the read index back so far that there is room for so many slots."""
    path = directory / "hft_ring"
    with path.open("r+b") as file:
        written = struct.unpack("<Q", file.read(8))[0]
        file.seek(64)
        file.write(struct.pack("<Q", written - SLOT_COUNT + free))


@asynccontextmanager
async def serving_far_on(
    channel: Channel, directory: Path, **options: object
) -> AsyncIterator[SlotsTransport]:
    """A transport whose ring has been written to for long."""
    buffer = bytearray(FILE_BYTES)
    struct.pack_into("<Q56xQ", buffer, 0, 50_000, 50_000)
    (directory / "hft_ring").write_bytes(buffer)
    async with serving(channel, directory, **options) as served:
        yield served
