"""What the reader of a ring of slots was told of a book by order, and how it is put right.

The layout has no word for "unknown". So a book that changed behind the reader's back is told as the
difference: a delete of each order that is gone, and an update of each that is new or different.
"""

from collections.abc import Mapping

from fanout.protocol.book_records import Order
from fanout.protocol.constants import Side
from fanout.protocol.slots import BOOK, UPDATE, SlotsWriter, decode_slot, delete_slot
from fanout.transports.slots.making import SlotMaker

Book = Mapping[int, tuple[Order, Side]]
"""Orders and their sides, by order id."""


class Told:
    """The orders of a book as the reader has them, if it read everything in the ring."""

    def __init__(self, writer: SlotsWriter) -> None:
        """Begins with what a reader that came through an earlier run may have: the last slot of
        each order that is still in the ring, unless it is a delete."""
        self._writer = writer
        self._slots: dict[int, bytes] = {}
        """The slot that was written last of each order, by order id."""
        for data in writer.kept():
            slot = decode_slot(data)
            if slot.status == BOOK:
                self._slots.pop(slot.id, None)
                if slot.action == UPDATE:
                    self._slots[slot.id] = data
        self._again = set(self._slots)
        """The orders that are told again, also where nothing changed."""

    def repeat(self) -> None:
        """Have the next difference tell each order again, for a reader that knows none."""
        self._again = set(self._slots)

    def tell(self, order: Order, side: Side, maker: SlotMaker) -> bool:
        """Tell an order as it is now. An order that has no slot is deleted, if the reader knows an
        earlier state of it. False if there is no room."""
        order_id = order.order_id
        slot = maker.order(order, side) if order.quantity else None
        if slot is None:
            return order_id not in self._slots or self._delete(order_id)
        if self._slots.get(order_id) == slot and order_id not in self._again:
            return True
        if not self._writer.push(slot):
            return False
        maker.note_written()
        self._slots[order_id] = slot
        self._again.discard(order_id)
        return True

    def tell_book(self, book: Book, maker: SlotMaker) -> bool:
        """Tell the difference to a book. False if there is no room for all of it."""
        return self.delete_all_but(book) and all(
            self.tell(order, side, maker) for order, side in book.values()
        )

    def delete_all_but(self, book: Book) -> bool:
        """Delete the orders that a book does not have. False if there is no room for all of it."""
        gone = [each for each in self._slots if each not in book]
        return all(map(self._delete, gone))

    def _delete(self, order_id: int) -> bool:
        side = decode_slot(self._slots[order_id]).side
        if not self._writer.push(delete_slot(order_id, side)):
            return False
        del self._slots[order_id]
        self._again.discard(order_id)
        return True
