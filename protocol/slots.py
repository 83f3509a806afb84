"""The fixed ring of slots that programs written for bitfinex-feeder read.

One file of 524,416 bytes with one writer and one reader. The layout is another program's, so
nothing can be added to it. It has no magic, no version, no sequence numbers and no times. It has no
symbol, so a ring holds one instrument.

     byte
        0  write index    u64, slots that were written so far; the writer's
       64  read index     u64, slots that were read so far; the reader's
      128  slots          16,384 of 32 bytes; number n is at 128 + n % 16,384 * 32

A slot is `<QQqbbbB4x`:

        0  id             u64, of the trade or of the order
        8  size           u64, in millionths
       16  price          i64, in hundredths
       24  side           0 bid or buy, 1 ask or sell
       25  action         0 update, 1 delete
       26  status         0 book, 1 trade
       27  zeros

The side of a trade is its aggressor's. An update says all there is of an order, be it new or
changed. A delete has price 0 and size 1, as Bitfinex's own row of a removed order, `[ID, 0, 1]`.

The indices only grow. Their difference is what the reader has yet to read, and the ring is full
when that is 16,384. A reader that starts sets its index to the writer's, and reads what comes then.
The file outlives both, so a writer finds the indices of an earlier run in it: see
`SlotsWriter.mend`.

The writer stores a slot before the index that counts it. On x86-64 a reader sees them in this
order, as in `queue`. Whatever a reader stores as its index, the writer never waits for it and never
writes outside of the ring.

Values are exact or refused. An encoder that may round says how often it did.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from fanout.protocol.constants import I64_MAX, I64_MIN, U64_MAX, Side
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import to_text
from fanout.protocol.instrument import Instrument
from fanout.protocol.queue_page import WORD_BYTES
from fanout.protocol.records import Trade
from fanout.protocol.shared_end import Buffer

PRICE_DECIMALS: Final = 2
SIZE_DECIMALS: Final = 6

SLOT_COUNT: Final = 16_384
HEAD_BYTES: Final = 128
WRITE_WORD: Final = 0
READ_WORD: Final = 8

UPDATE: Final = 0
DELETE: Final = 1

BOOK: Final = 0
TRADE: Final = 1

_SLOT: Final = Struct("<QQqbbbB4x")
SLOT_BYTES: Final = _SLOT.size
FILE_BYTES: Final = HEAD_BYTES + SLOT_COUNT * SLOT_BYTES
assert (SLOT_BYTES, FILE_BYTES, READ_WORD * WORD_BYTES) == (32, 524_416, 64)

_INDEX_LIMIT: Final = 2**63
"""No index of a ring that was ever in use: 30,000 slots a second take ten million years."""

_DELETE_SIZE: Final = 10**SIZE_DECIMALS
_NEVER_WRITTEN: Final = bytes(SLOT_BYTES)


class Slot(NamedTuple):
    """What a slot says. `size` is in millionths, `price` in hundredths."""

    id: int
    size: int
    price: int
    side: Side
    action: int
    status: int


def decode_slot(data: bytes) -> Slot:
    """The slot in 32 bytes. A side other than 0 is the ask's."""
    order_id, size, price, side, action, status, _ = _SLOT.unpack(data)
    return Slot(order_id, size, price, Side.ASK if side else Side.BID, action, status)


def delete_slot(order_id: int, side: Side) -> bytes:
    """The slot that removes an order from the book."""
    return _SLOT.pack(order_id, _DELETE_SIZE, 0, side.value, DELETE, BOOK, 0)


class SlotEncoder:
    """Makes the slots of one instrument."""

    def __init__(self, instrument: Instrument, *, is_exact: bool = True) -> None:
        """Unless `is_exact`, values with more digits than fit are rounded to the nearest, ties to
        the even one, and no size becomes 0."""
        self.instrument = instrument
        self.rounded = 0
        """How many prices and sizes were rounded."""
        self._is_exact = is_exact

    def trade(self, trade: Trade) -> bytes:
        """The slot of a trade. Raises `NotRepresentableError`."""
        side = Side.ASK if trade.buyer_is_maker else Side.BID
        return self._slot(trade.trade_id, trade.price, trade.quantity, side, TRADE)

    def order(self, order_id: int, price: int, quantity: int, side: Side) -> bytes:
        """The slot of an order, with a price and a quantity at the instrument's exponents. Raises
        `NotRepresentableError`."""
        return self._slot(order_id, price, quantity, side, BOOK)

    def _slot(self, number: int, price: int, quantity: int, side: Side, status: int) -> bytes:
        of, rounded = self.instrument, self.rounded
        try:
            cents = self._scaled(price, of.price_exponent, PRICE_DECIMALS, "price")
            size = self._scaled(quantity, of.quantity_exponent, SIZE_DECIMALS, "size")
            if quantity and not size:
                size = 1
            if not (I64_MIN <= cents <= I64_MAX and 0 <= size <= U64_MAX):
                raise NotRepresentableError(
                    f"{of.symbol} {number}: price {of.price_text(price)} or size "
                    f"{of.quantity_text(quantity)} does not fit the 64 bits of a slot"
                )
        except NotRepresentableError:
            self.rounded = rounded
            raise
        return _SLOT.pack(number, size, cents, side.value, UPDATE, status, 0)

    def _scaled(self, value: int, exponent: int, decimals: int, what: str) -> int:
        shift = exponent + decimals
        if shift >= 0:
            return value * int(10**shift)
        unit = int(10**-shift)
        scaled, rest = divmod(value, unit)
        if not rest:
            return scaled
        if self._is_exact:
            raise NotRepresentableError(
                f"{what} {to_text(value, exponent)} of {self.instrument.symbol}: a slot has room "
                f"for {decimals} decimals"
            )
        self.rounded += 1
        is_odd = bool(scaled & 1)
        return scaled + (2 * rest > unit or (2 * rest == unit and is_odd))


class SlotsEnd:
    """The part that both ends have: views of the indices and of the slots."""

    def __init__(self, buffer: Buffer) -> None:
        """`buffer` is the whole file, or memory of its size."""
        with memoryview(buffer) as whole:
            assert len(whole) == FILE_BYTES, "the caller maps a file of the layout's size"
            self._head = whole[:HEAD_BYTES]
            self._words = self._head.cast("Q")
            self._slots = whole[HEAD_BYTES:]

    def release(self) -> None:
        """Let go of the buffer, so that it can be closed. Nothing works after that."""
        for view in (self._words, self._head, self._slots):
            view.release()

    def _at(self, position: int) -> bytes:
        start = position % SLOT_COUNT * SLOT_BYTES
        return self._slots[start : start + SLOT_BYTES].tobytes()


class SlotsWriter(SlotsEnd):
    """The end that writes. It never waits: a ring that is full refuses the slot."""

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        self.position = self._words[WRITE_WORD]
        """The write index."""

    @property
    def read_position(self) -> int:
        """The read index, as the reader says it."""
        return self._words[READ_WORD]

    @property
    def unread(self) -> int:
        """How many slots the reader has yet to read. More than there are of a reader that set its
        index back: it has to read up to the writer first."""
        return max(self.position - self._words[READ_WORD], 0)

    @property
    def free(self) -> int:
        """How many slots there is room for."""
        return max(SLOT_COUNT - self.unread, 0)

    def mend(self) -> bool:
        """Make sense of indices that contradict each other, which an earlier run or a reader may
        have left. Whether that was needed.

        A reader that is ahead of the writer waits for the writer to come there. So the writer goes
        on at the reader's index. Indices that nobody can have counted to become 0.
        """
        read = self._words[READ_WORD]
        if read <= self.position < _INDEX_LIMIT:
            return False
        if max(read, self.position) >= _INDEX_LIMIT:
            read = self._words[READ_WORD] = 0
        self.position = self._words[WRITE_WORD] = read
        return True

    def push(self, slot: bytes) -> bool:
        """Write a slot. False if the ring is full."""
        position = self.position
        if position - self._words[READ_WORD] >= SLOT_COUNT:
            return False
        start = position % SLOT_COUNT * SLOT_BYTES
        self._slots[start : start + SLOT_BYTES] = slot
        self._words[WRITE_WORD] = self.position = position + 1
        return True

    def kept(self) -> Iterator[bytes]:
        """The slots that are still in the ring, read or not, from the oldest on. A place that was
        never written, in a ring whose index was mended, is left out."""
        for position in range(max(self.position - SLOT_COUNT, 0), self.position):
            slot = self._at(position)
            if slot != _NEVER_WRITTEN:
                yield slot


class SlotsReader(SlotsEnd):
    """The end that reads, from where the read index stands."""

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        self.position = self._words[READ_WORD]

    def skip(self) -> None:
        """Go on with what is written from now on, as readers do that start."""
        self._words[READ_WORD] = self.position = self._words[WRITE_WORD]

    def pop(self) -> Slot | None:
        """The next slot; None if the writer has not come further."""
        position = self.position
        if position >= self._words[WRITE_WORD]:
            return None
        slot = decode_slot(self._at(position))
        self._words[READ_WORD] = self.position = position + 1
        return slot
