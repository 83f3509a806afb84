"""From a channel into a ring of slots: the trades and the orders of one instrument.

    a trade came                      its slot
    an order changed                  its slot
    a whole book came, or a ring      the difference between what the reader was told and the
    that was full has room            channel's book
    the instrument is not LIVE, or    a delete of each order
    the channel has ended
    a program opened the file         each order of the book again

A full ring drops what is newest. Dropped trades are counted, and gone. Dropped changes of orders
are counted, and the book is put right once a quarter of the ring is free.

A value that a slot cannot hold exactly is left out, or rounded if the operator allows it. Both are
counted.

The layout has no place for gaps, losses and states. The newest trade from before a reader joined
has none either: the reader would take it for a new one.
"""

import logging
from collections.abc import Iterable
from typing import Final

from fanout.channel.channel import Channel
from fanout.channel.log import Cursor
from fanout.channel.reader import CHUNK_BYTES
from fanout.protocol.block import decode_block
from fanout.protocol.book_block import decode_orders
from fanout.protocol.book_records import ORDER, Order, OrderUpdate
from fanout.protocol.constants import FrameKind, Side
from fanout.protocol.events import decode_event
from fanout.protocol.framing import payloads_of
from fanout.protocol.instrument import Instrument
from fanout.protocol.orders_book import OrdersBook
from fanout.protocol.records import Header, Loss, Status, Trade
from fanout.protocol.slots import SLOT_COUNT, SlotsWriter
from fanout.transports.slots.making import Counts, SlotMaker
from fanout.transports.slots.told import Told

_LOG = logging.getLogger("fanout")

_AGAIN_FREE: Final = SLOT_COUNT // 4
"""Room at which a book is put right after the ring was full. With less it would be full again at
once."""

QUICK_BYTES: Final = 1024
"""Most that is pushed in the publisher's step, as the log counts it: a frame of some fifty trades,
which takes 0.1 ms."""


class Delivery:
    """Pushes one instrument of a channel into a ring."""

    def __init__(
        self,
        writer: SlotsWriter,
        channel: Channel,
        counts: Counts,
        *,
        at: Cursor[Header],
        symbol: str,
        is_exact: bool = True,
    ) -> None:
        """Begins at the cursor, and moves it. Without a symbol it takes the channel's only
        instrument."""
        self._writer = writer
        self._channel = channel
        self._counts = counts
        self._symbol = symbol
        self._is_exact = is_exact
        self._header: Header | None = None
        self._maker: SlotMaker | None = None
        """None until the header has the instrument."""
        self._at = at
        self._told = Told(writer)
        self._is_behind = True
        """Whether what the reader was told may differ from the book."""
        self._was_full = False
        """Whether it does because the ring had no room."""
        self._awaits_more = False
        """Whether the last update of the book is to be continued."""
        self._has_book = False
        """Whether the channel had a book when the reader was put right last."""
        self._use(channel.header)

    @property
    def position(self) -> int:
        """Where in the log the next frame is."""
        return self._at.position

    @property
    def has_instrument(self) -> bool:
        """Whether the channel has the instrument."""
        return self._maker is not None

    def age_ns(self, position: int) -> int:
        """For how long the frame at a position has been in the log."""
        return self._channel.log.age_ns(position)

    def take(self) -> bool:
        """Push what is new, if it is little and the reader's book is right before and behind it.
        False if `deliver` has to do the rest."""
        log, at = self._channel.log, self._at
        if not self._is_behind and log.unread_bytes(at) <= QUICK_BYTES:
            self._push_news()
        return at.position == log.end and not self._is_behind

    def deliver(self) -> None:
        """Push what is new, up to about `CHUNK_BYTES` of the log."""
        self._push_news()
        if self._at.position == self._channel.log.end:
            self._put_right()

    def _push_news(self) -> None:
        log, at, size = self._channel.log, self._at, 0
        while at.position != log.end and size < CHUNK_BYTES:
            self._skip_what_is_gone()
            entry = log.entry(at.position)
            self._use(entry.context)
            for payload in payloads_of(entry.frame):
                self._take(payload, entry.context)
            size += len(entry.frame)
            at.position, at.next_seq = at.position + 1, entry.next_seq

    def show_book(self) -> None:
        """Tell the reader each order of the book again, with the next `deliver`."""
        self._told.repeat()
        self._is_behind = True

    def finish(self) -> None:
        """Delete all orders, as far as there is room: nothing more will come."""
        self._told.delete_all_but({})

    def _skip_what_is_gone(self) -> None:
        """Go on at the oldest entry of the log, if that is newer than the next one."""
        log, at = self._channel.log, self._at
        if at.position < log.oldest:
            at.position = log.oldest
            self._counts.lost += log.entry(at.position).first_seq - at.next_seq
            self._is_behind, self._awaits_more = True, False

    def _use(self, header: Header) -> None:
        """Take the instrument from a header, if it has it."""
        if header is self._header:
            return
        self._header = header
        found = instrument_in(header, self._symbol)
        if found is not None and (self._maker is None or found != self._maker.instrument):
            self._symbol = found.symbol
            self._maker = SlotMaker(found, self._counts, is_exact=self._is_exact)
            self._is_behind = True

    def _take(self, payload: bytes, header: Header) -> None:
        """Push what a frame of the log has of the instrument."""
        if self._maker is None:
            return
        index = self._maker.instrument.index
        match payload[0]:
            case FrameKind.TRADES:
                block = decode_block(payload, header)
                if not block.is_snapshot:
                    trades = block.trades
                    self._push_trades(each for each in trades if each.instrument.index == index)
            case FrameKind.ORDERS:
                for update in decode_orders(payload, header).updates:
                    if update.instrument.index == index:
                        self._push_update(update)
            case FrameKind.STATUS | FrameKind.LOSS:
                self._take_event(payload, header)

    def _take_event(self, payload: bytes, header: Header) -> None:
        """Note that the book may be shown no longer, or again."""
        event = decode_event(payload, header)
        if isinstance(event, Loss):
            self._counts.lost += event.count
        if isinstance(event, Loss | Status):
            self._is_behind, self._awaits_more = True, False

    def _push_trades(self, trades: Iterable[Trade]) -> None:
        assert self._maker is not None, "there is an instrument"
        for trade in trades:
            slot = self._maker.trade(trade)
            if slot is None:
                continue
            if self._writer.push(slot):
                self._counts.trades += 1
                self._maker.note_written()
            else:
                self._drop(1)

    def _push_update(self, update: OrderUpdate) -> None:
        """Push the orders of an update. One that is part of a whole book or of a longer update has
        to wait for the rest, and comes with the difference."""
        assert self._maker is not None, "there is an instrument"
        self._awaits_more = update.has_more
        if update.is_whole or update.has_more or not (update.seq and self._has_book):
            self._is_behind = True
        sides = ((Side.BID, update.packed_bids), (Side.ASK, update.packed_asks))
        if self._is_behind:
            if self._waits_for_room():
                self._drop(sum(len(packed) for _, packed in sides) // ORDER.size)
            return
        for side, packed in sides:
            for fields in ORDER.iter_unpack(packed):
                if not self._told.tell(Order(*fields), side, self._maker):
                    self._is_behind = self._was_full = True
                    self._drop(1)

    def _waits_for_room(self) -> bool:
        return self._was_full and self._writer.free < _AGAIN_FREE

    def _put_right(self) -> None:
        """Bring the reader from what it was told to the book, if these may differ."""
        if not self._is_behind or self._awaits_more or self._waits_for_room():
            return
        book, maker = self._book(), self._maker
        self._has_book = book is not None
        if book is None or maker is None:
            is_told = self._told.delete_all_but({})
        elif book.is_consistent:
            orders = {each.order_id: (each, side) for side in Side for each in book.orders(side)}
            is_told = self._told.tell_book(orders, maker)
        else:
            return
        self._is_behind = self._was_full = not is_told

    def _book(self) -> OrdersBook | None:
        """The channel's book, None if it is unknown or by price."""
        if self._maker is None:
            return None
        book = self._channel.books.shown(self._maker.instrument.index, self._channel.header)
        return book if isinstance(book, OrdersBook) else None

    def _drop(self, count: int) -> None:
        if not self._counts.dropped:
            _LOG.warning(
                "ring of slots: its reader leaves %s slots unread, and there is no room; what is "
                "newest is dropped until it goes on. The status counts it",
                f"{self._writer.unread:,}",
            )
        self._counts.dropped += count


def instrument_in(header: Header, symbol: str) -> Instrument | None:
    """The instrument of that symbol; the only one for an empty symbol. None if there is none."""
    if symbol:
        return next((each for each in header.instruments if each.symbol == symbol), None)
    return header.instruments[0] if len(header.instruments) == 1 else None
