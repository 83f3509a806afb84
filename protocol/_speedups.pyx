# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""Compiled twins of the functions that do the work per trade and per frame.

Each does what the function of its name does in `fanout.protocol.block`, `fanout.protocol.rows`,
`fanout.protocol.quote_block`, `fanout.protocol.book_block`, `fanout.protocol.queue`,
`fanout.protocol.ring`, `fanout.protocol.packets` or `fanout.protocol.journal_scan`, for arguments
and bytes that are in order. Whatever is out of order it leaves to that one: so there is one place
for every check's words, and a twin has nothing to say of its own. What it must not do is take
something that the plain function refuses.

Fields of records and of slotted objects are read and filled at their offsets, as CPython's own
member descriptors do it; called by name, ten of them would cost as much as all the rest. The
offsets are asked for at import, and proven by a record that is compared with one made as usual.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fanout.protocol import constants, queue_page, ring_page, shared_end
from fanout.protocol.book_records import (
    BookBlock,
    BookUpdate,
    OrderBlock,
    OrderUpdate,
    Quote,
    QuoteBlock,
)
from fanout.protocol.constants import BlockFlags, BookFlags, FrameKind, TradeKind
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Block, Header, Reference, Trade

cdef extern from "_speedups.h":
    Py_ssize_t offset_of(object type, const char *name)
    PyObject *SLOT(PyObject *object, Py_ssize_t offset)
    void FILL(PyObject *object, Py_ssize_t offset, PyObject *value)
    bint IS_EXACTLY(PyObject *object, PyObject *type)
    bint as_i64(PyObject *number, int64_t *value)
    bint as_u64(PyObject *number, uint64_t *value)
    char *memory_of(PyObject *view)
    uint64_t LOAD(uint64_t *word)
    void FENCE()
    void RELAX()
    void STORE(uint64_t *word, uint64_t value)
    void fill_crc_table()
    uint32_t crc32_of(const uint8_t *data, Py_ssize_t size) noexcept nogil
    uint32_t crc32_by_tables(const uint8_t *data, Py_ssize_t size)

    PyObject *PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t count) except NULL
    PyObject *PyLong_FromLongLong(long long value) except NULL
    PyObject *PyLong_FromUnsignedLongLong(unsigned long long value) except NULL
    PyObject *Py_NewRef(PyObject *object)
    void Py_DECREF(PyObject *object)
    bint PyObject_TypeCheck(PyObject *object, PyTypeObject *type)
    bint PyBytes_CheckExact(PyObject *object)
    bint PyList_CheckExact(PyObject *object)
    bint PyTuple_CheckExact(PyObject *object)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *tuple)
    PyObject *PyTuple_GET_ITEM(PyObject *tuple, Py_ssize_t index)
    Py_ssize_t PySequence_Fast_GET_SIZE(PyObject *sequence)
    PyObject *PySequence_Fast_GET_ITEM(PyObject *sequence, Py_ssize_t index)
    PyObject *TRUE "Py_True"
    PyObject *FALSE "Py_False"


def plain(name):
    """The function whose twin is called so."""
    from fanout.protocol.speedups import twin

    return twin.plain[name]


def crc32s(bytes data):
    """The CRC in the way that this CPU takes, and by tables, which others take: for a test."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    return crc32_of(at, len(data)), crc32_by_tables(at, len(data))


# What the wire says, as C has it.

cdef enum:
    PREFIX_BYTES = 21
    CRC_BYTES = 4
    MAX_TRADES = 1024
    MAX_TRADE_BYTES = 43
    MAX_VARINT_BYTES = 10
    MAX_QUOTES = 1024
    MAX_QUOTE_BYTES = 62
    MAX_UPDATES = 512
    MAX_UPDATE_BYTES = 27
    MAX_LEVELS = 2048
    MAX_LEVEL_BYTES = 20
    MAX_ORDERS = 1536
    MAX_ORDER_BYTES = 30
    MAX_BOOK_PAYLOAD_BYTES = 35 + 512 * 27 + 1536 * 30
    TRADES = 0x10
    QUOTES = 0x11
    BOOK = 0x12
    ORDERS = 0x13
    BACK_FILLED = 0x01
    SNAPSHOT = 0x02
    MAKER = 0x80
    ESCAPE = 0x40
    HAS_FLAGS = 0x40
    ALL_BOOK_FLAGS = 0x07
    MORE = 0x20
    LOW_INDEX = 0x1F
    LOW_INDEX_BITS = 5
    MAX_INSTRUMENTS = 1024
    MAX_HIGH_INDEX = 31

cdef uint64_t MAX_SEQ = constants.MAX_SEQ

assert (MAX_TRADES, MAX_TRADE_BYTES, CRC_BYTES, MAX_VARINT_BYTES) == (
    constants.MAX_BLOCK_TRADES,
    constants.MAX_TRADE_BYTES,
    constants.CRC_BYTES,
    constants.MAX_VARINT_BYTES,
)
assert (MAX_QUOTES, MAX_QUOTE_BYTES, MAX_UPDATES, MAX_UPDATE_BYTES) == (
    constants.MAX_BLOCK_QUOTES,
    constants.MAX_QUOTE_BYTES,
    constants.MAX_BLOCK_UPDATES,
    constants.MAX_UPDATE_BYTES,
)
assert (MAX_LEVELS, MAX_LEVEL_BYTES, MAX_ORDERS, MAX_ORDER_BYTES) == (
    constants.MAX_BLOCK_LEVELS,
    constants.MAX_LEVEL_BYTES,
    constants.MAX_BLOCK_ORDERS,
    constants.MAX_ORDER_BYTES,
)
assert MAX_BOOK_PAYLOAD_BYTES == (
    PREFIX_BYTES + MAX_VARINT_BYTES + MAX_UPDATES * MAX_UPDATE_BYTES
    + max(MAX_LEVELS * MAX_LEVEL_BYTES, MAX_ORDERS * MAX_ORDER_BYTES) + CRC_BYTES
)
assert (TRADES, QUOTES, BOOK, ORDERS, BACK_FILLED, SNAPSHOT) == (
    FrameKind.TRADES,
    FrameKind.QUOTES,
    FrameKind.BOOK,
    FrameKind.ORDERS,
    BlockFlags.BACK_FILLED,
    BlockFlags.SNAPSHOT,
)
assert (HAS_FLAGS, ALL_BOOK_FLAGS) == (
    constants.BOOK_FLAGS_BIT,
    BookFlags.WHOLE | BookFlags.MORE | BookFlags.TOP_ONLY,
)
assert (MAKER, ESCAPE, MORE, LOW_INDEX, LOW_INDEX_BITS, MAX_INSTRUMENTS) == (
    constants.MAKER_BIT,
    constants.ESCAPE_BIT,
    constants.MORE_BIT,
    constants.LOW_INDEX,
    constants.LOW_INDEX_BITS,
    constants.MAX_INSTRUMENTS,
)
assert MAX_HIGH_INDEX == MAX_INSTRUMENTS - 1 >> LOW_INDEX_BITS

cdef tuple KINDS = tuple(TradeKind(code) for code in range(256))
cdef tuple FLAGS = tuple(BlockFlags(bits & 0x03) for bits in range(256))

cdef uint8_t[256] KIND_CODES
for code in range(256):
    KIND_CODES[code] = KINDS[code]

fill_crc_table()

# Types, and where their fields are.

cdef PyObject *TRADE = <PyObject *>Trade
cdef PyObject *BLOCK = <PyObject *>Block
cdef PyObject *QUOTE = <PyObject *>Quote
cdef PyObject *QUOTE_BLOCK = <PyObject *>QuoteBlock
cdef PyObject *HEADER = <PyObject *>Header
cdef PyObject *INSTRUMENT = <PyObject *>Instrument
cdef PyObject *REFERENCE = <PyObject *>Reference
cdef PyObject *TRADE_KIND = <PyObject *>TradeKind

cdef Py_ssize_t trade_instrument = offset_of(Trade, "instrument")
cdef Py_ssize_t trade_trade_id = offset_of(Trade, "trade_id")
cdef Py_ssize_t trade_time = offset_of(Trade, "time")
cdef Py_ssize_t trade_price = offset_of(Trade, "price")
cdef Py_ssize_t trade_quantity = offset_of(Trade, "quantity")
cdef Py_ssize_t trade_buyer_is_maker = offset_of(Trade, "buyer_is_maker")
cdef Py_ssize_t trade_kind = offset_of(Trade, "kind")
cdef Py_ssize_t trade_seq = offset_of(Trade, "seq")
cdef Py_ssize_t trade_received_ns = offset_of(Trade, "received_ns")
cdef Py_ssize_t trade_back_filled = offset_of(Trade, "back_filled")

cdef Py_ssize_t quote_instrument = offset_of(Quote, "instrument")
cdef Py_ssize_t quote_update_id = offset_of(Quote, "update_id")
cdef Py_ssize_t quote_time = offset_of(Quote, "time")
cdef Py_ssize_t quote_bid_price = offset_of(Quote, "bid_price")
cdef Py_ssize_t quote_bid_quantity = offset_of(Quote, "bid_quantity")
cdef Py_ssize_t quote_ask_price = offset_of(Quote, "ask_price")
cdef Py_ssize_t quote_ask_quantity = offset_of(Quote, "ask_quantity")
cdef Py_ssize_t quote_seq = offset_of(Quote, "seq")
cdef Py_ssize_t quote_received_ns = offset_of(Quote, "received_ns")

cdef Py_ssize_t block_first_seq = offset_of(Block, "first_seq")
cdef Py_ssize_t block_trades = offset_of(Block, "trades")
cdef Py_ssize_t block_received_ns = offset_of(Block, "received_ns")
cdef Py_ssize_t block_held_ns = offset_of(Block, "held_ns")
cdef Py_ssize_t block_flags = offset_of(Block, "flags")

cdef Py_ssize_t header_instruments = offset_of(Header, "instruments")
cdef Py_ssize_t header_references = offset_of(Header, "references")

cdef Py_ssize_t instrument_index = offset_of(Instrument, "index")

cdef Py_ssize_t reference_price = offset_of(Reference, "price")
cdef Py_ssize_t reference_trade_id = offset_of(Reference, "trade_id")
cdef Py_ssize_t reference_time = offset_of(Reference, "time")
cdef Py_ssize_t reference_update_id = offset_of(Reference, "update_id")

include "_block.pxi"
include "_books.pxi"
include "_queue.pxi"
include "_ring.pxi"
include "_journal.pxi"
include "_packets.pxi"


# What is relied upon above, or this module is not there: fields are members, and a record that is
# filled at its offsets equals one that is made as usual.

def _proof():
    cdef Prefix prefix
    cdef Item item
    prefix.count, prefix.bits, prefix.first_seq = 1, BACK_FILLED, 8
    prefix.received_ns, prefix.held_ns = 9, 10
    item.trade_id, item.time, item.price, item.quantity = 1, 2, <uint64_t>-3, 4
    item.index, item.kind, item.is_maker = 0, 1, True
    instrument = Instrument(index=0, symbol="X", price_exponent=0, quantity_exponent=0)
    cdef tuple instruments = (instrument,)
    trade = trade_of(&item, &prefix, 0, <PyObject *>instruments, 9)
    block = block_of(&prefix, [trade], 9)
    kind = TradeKind(1)
    as_usual = Trade(instrument, 1, 2, -3, 4, True, kind, 8, 9, True)
    flags = BlockFlags.BACK_FILLED
    return trade == as_usual and block == Block(
        first_seq=8, trades=[as_usual], received_ns=9, held_ns=10, flags=flags
    ) and _book_proof(&prefix, instrument)


cdef bint _book_proof(Prefix *prefix, object instrument):
    cdef Base base
    cdef uint64_t fields[6]
    cdef PyObject *place = <PyObject *>instrument
    base.update_id, base.time, base.price = 1, 2, <uint64_t>-3
    fields[3], fields[4], fields[5] = 2, 5, 6
    common = {"first_seq": 8, "received_ns": 9, "held_ns": 10, "flags": BlockFlags.BACK_FILLED}
    quote = quote_of(&base, fields, prefix, 0, place, 9)
    update = update_of(&base, 1, b"bids", b"asks", prefix, 0, place, 9, &BY_PRICE)
    orders = update_of(&base, 1, b"bids", b"asks", prefix, 0, place, 9, &BY_ORDER)
    sides = (instrument, 1, 2, b"bids", b"asks", BookFlags.WHOLE, 8, 9)
    return (
        quote == Quote(instrument, 1, 2, -3, 5, -2, 6, 8, 9)
        and update == BookUpdate(*sides)
        and orders == OrderUpdate(*sides)
        and block_with(QUOTE_BLOCK, &quote_block, prefix, [quote], 9)
        == QuoteBlock(quotes=[quote], **common)
        and block_with(BY_PRICE.block_type, &BY_PRICE.block, prefix, [update], 9)
        == BookBlock(updates=[update], **common)
        and block_with(BY_ORDER.block_type, &BY_ORDER.block, prefix, [orders], 9)
        == OrderBlock(updates=[orders], **common)
    )

if min(
    trade_instrument, trade_trade_id, trade_time, trade_price, trade_quantity, trade_kind,
    trade_buyer_is_maker, trade_seq, trade_received_ns, trade_back_filled,
    quote_instrument, quote_update_id, quote_time, quote_bid_price, quote_bid_quantity,
    quote_ask_price, quote_ask_quantity, quote_seq, quote_received_ns,
    block_first_seq, block_trades, block_received_ns, block_held_ns, block_flags,
    header_instruments, header_references, instrument_index,
    reference_price, reference_trade_id, reference_time, reference_update_id,
    end_words, end_data, end_position, end_capacity,
    least_block_place(&quote_block), least_place(&BY_PRICE), least_place(&BY_ORDER),
) < 0 or not _proof():
    raise ImportError("records are not laid out as the compiled twins expect")
