# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""Compiled twin of reading Binance's changes of order books: one pass over a message's bytes.

As in `protocol/_speedups.pyx`: it reads the message as Binance writes it, and leaves whatever is
out of order to the plain function. The text of a `bytes` object ends in a NUL, which no step goes
beyond: each compares one byte before it looks at the next.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memset, strncmp

from fanout.protocol import constants
from fanout.protocol.constants import BookFlags
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.instrument import Instrument
from fanout.venues.values import VenueDepth

cdef extern from "../../protocol/_speedups.h":
    Py_ssize_t offset_of(object type, const char *name)
    PyObject *SLOT(PyObject *object, Py_ssize_t offset)
    void FILL(PyObject *object, Py_ssize_t offset, PyObject *value)
    bint IS_EXACTLY(PyObject *object, PyObject *type)
    bint as_i64(PyObject *number, int64_t *value)

    PyObject *PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t count) except NULL
    PyObject *PyLong_FromUnsignedLongLong(unsigned long long value) except NULL
    PyObject *Py_NewRef(PyObject *object)
    void Py_DECREF(PyObject *object)
    bint PyBytes_CheckExact(PyObject *object)
    bint PyUnicode_CheckExact(PyObject *object)
    bint PyUnicode_IS_COMPACT_ASCII(PyObject *text)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text)
    const char *PyUnicode_DATA "(const char *)PyUnicode_DATA"(PyObject *text)
    PyObject *NONE "Py_None"

cdef extern from "../../protocol/_level_text.h":
    enum:
        LEVEL_BYTES
        MAX_DIGITS
    const char *read_levels(
        const char *at, const char *end, long price_exponent, long quantity_exponent, bint falling,
        char *packed, Py_ssize_t room, Py_ssize_t *count
    )

cdef enum:
    LEAST_TEXT = 10  # of a level and its comma
    MAX_NAME = 2  # letters of a field that we know
    # The fields that we know, as bits.
    EVENT = 1
    EVENT_TIME = 2
    TIME = 4
    SYMBOL = 8
    FIRST_ID = 16
    LAST_ID = 32
    PREVIOUS_ID = 64
    BIDS = 128
    ASKS = 256
    REQUIRED = 1 | 2 | 8 | 16 | 32 | 128 | 256

cdef Py_ssize_t MAX_LEVELS = constants.MAX_BOOK_LEVELS

cdef PyObject *DEPTH = <PyObject *>VenueDepth
cdef PyObject *BOOK_UPDATE = <PyObject *>BookUpdate
cdef PyObject *INSTRUMENT = <PyObject *>Instrument
cdef object ZERO = 0
cdef object NO_FLAGS = BookFlags.NONE
cdef object NOT_RESET = False

cdef Py_ssize_t depth_update = offset_of(VenueDepth, "update")
cdef Py_ssize_t depth_first_id = offset_of(VenueDepth, "first_id")
cdef Py_ssize_t depth_previous_id = offset_of(VenueDepth, "previous_id")
cdef Py_ssize_t depth_resets = offset_of(VenueDepth, "resets")

cdef Py_ssize_t update_instrument = offset_of(BookUpdate, "instrument")
cdef Py_ssize_t update_update_id = offset_of(BookUpdate, "update_id")
cdef Py_ssize_t update_time = offset_of(BookUpdate, "time")
cdef Py_ssize_t update_packed_bids = offset_of(BookUpdate, "packed_bids")
cdef Py_ssize_t update_packed_asks = offset_of(BookUpdate, "packed_asks")
cdef Py_ssize_t update_flags = offset_of(BookUpdate, "flags")
cdef Py_ssize_t update_seq = offset_of(BookUpdate, "seq")
cdef Py_ssize_t update_received_ns = offset_of(BookUpdate, "received_ns")

cdef Py_ssize_t instrument_symbol = offset_of(Instrument, "symbol")
cdef Py_ssize_t instrument_price_exponent = offset_of(Instrument, "price_exponent")
cdef Py_ssize_t instrument_quantity_exponent = offset_of(Instrument, "quantity_exponent")


cdef struct Message:
    uint64_t event_time
    uint64_t time
    uint64_t first_id
    uint64_t last_id
    uint64_t previous_id
    int found
    char *bids
    char *asks
    Py_ssize_t bid_count
    Py_ssize_t ask_count


cdef plain():
    from fanout.venues.binance.depth import twin

    return twin.plain["read_depth"]


cdef const char *plain_text(const char *at) noexcept:
    """The quote that ends a string of ASCII without escapes; NULL for another."""
    while c' ' <= at[0] <= c'~' and at[0] != c'"' and at[0] != c'\\':
        at += 1
    return at if at[0] == c'"' else NULL


cdef const char *number(const char *at, uint64_t *value) noexcept:
    """What follows a whole number as JSON has it; NULL for another."""
    cdef const char *start = at
    value[0] = 0
    while c'0' <= at[0] <= c'9':
        value[0] = 10 * value[0] + <uint64_t>(at[0] - c'0')
        at += 1
    if at == start or at - start > MAX_DIGITS or (start[0] == c'0' and at - start > 1):
        return NULL
    return at


cdef int field_of(const char *name, Py_ssize_t size) noexcept:
    """The bit of a field's name; 0 for one that is not read."""
    if size == 1:
        if name[0] == c'b':
            return BIDS
        if name[0] == c'a':
            return ASKS
        if name[0] == c'E':
            return EVENT_TIME
        if name[0] == c'T':
            return TIME
        if name[0] == c'U':
            return FIRST_ID
        if name[0] == c'u':
            return LAST_ID
        if name[0] == c'e':
            return EVENT
        if name[0] == c's':
            return SYMBOL
    if size == 2 and name[0] == c'p' and name[1] == c'u':
        return PREVIOUS_ID
    return 0


cdef bint is_text(const char *start, const char *end, const char *text, Py_ssize_t size) noexcept:
    return end - start == size and memcmp(start, text, size) == 0


cdef const char *read_field(
    const char *at, const char *last, Message *message, const char *symbol, Py_ssize_t symbol_size,
    long price, long quantity, Py_ssize_t room
) noexcept:
    """What follows a name and its value, of which `at` is the first quote; NULL if not ordinary."""
    cdef const char *start = at + 1
    cdef const char *end
    cdef uint64_t ignored
    cdef int field
    if at[0] != c'"':
        return NULL
    end = plain_text(start)
    if end == NULL or end[1] != c':':
        return NULL
    field = field_of(start, end - start)
    at = end + 2
    if field & message.found:
        return NULL
    message.found |= field
    if field == BIDS:
        return read_levels(
            at, last, price, quantity, True, message.bids, room, &message.bid_count
        )
    if field == ASKS:
        return read_levels(
            at, last, price, quantity, False, message.asks, room, &message.ask_count
        )
    if field == EVENT_TIME:
        return number(at, &message.event_time)
    if field == TIME:
        return number(at, &message.time)
    if field == FIRST_ID:
        return number(at, &message.first_id)
    if field == LAST_ID:
        return number(at, &message.last_id)
    if field == PREVIOUS_ID:
        return number(at, &message.previous_id)
    if at[0] != c'"' and not field:
        return number(at, &ignored)
    if at[0] != c'"':
        return NULL
    start = at + 1
    end = plain_text(start)
    if end == NULL:
        return NULL
    if field == EVENT and not is_text(start, end, "depthUpdate", 11):
        return NULL
    if field == SYMBOL and not is_text(start, end, symbol, symbol_size):
        return NULL
    return end + 1


cdef bint read_message(
    const char *at, Py_ssize_t size, Message *message, const char *symbol, Py_ssize_t symbol_size,
    long price, long quantity, Py_ssize_t room
) noexcept:
    cdef const char *end = at + size
    if strncmp(at, '{"stream":"', 11) != 0:
        return False
    at = plain_text(at + 11)
    if at == NULL or strncmp(at, '","data":{', 10) != 0:
        return False
    at += 9
    while True:
        at = read_field(at + 1, end, message, symbol, symbol_size, price, quantity, room)
        if at == NULL:
            return False
        if at[0] != c',':
            break
    return (
        at[0] == c'}'
        and at[1] == c'}'
        and at + 2 == end
        and message.found & REQUIRED == REQUIRED
        and message.first_id <= message.last_id
    )


def read_depth(message, instrument):
    """See `fanout.venues.binance.depth.read_depth`."""
    cdef PyObject *units = <PyObject *>instrument
    cdef PyObject *symbol
    cdef int64_t price, quantity
    cdef Py_ssize_t size, room
    cdef Message said
    cdef char[8192] usual  # enough for what comes; more is asked for where it is not
    if not (
        PyBytes_CheckExact(<PyObject *>message)
        and IS_EXACTLY(units, INSTRUMENT)
        and as_i64(SLOT(units, instrument_price_exponent), &price)
        and as_i64(SLOT(units, instrument_quantity_exponent), &quantity)
        and -MAX_DIGITS <= price <= MAX_DIGITS
        and -MAX_DIGITS <= quantity <= MAX_DIGITS
    ):
        return plain()(message, instrument)
    symbol = SLOT(units, instrument_symbol)
    if not (PyUnicode_CheckExact(symbol) and PyUnicode_IS_COMPACT_ASCII(symbol)):
        return plain()(message, instrument)
    size = PyBytes_GET_SIZE(message)
    room = min(size // LEAST_TEXT + 1, MAX_LEVELS)
    memset(&said, 0, sizeof(Message))
    said.bids = usual
    if 2 * room * LEVEL_BYTES > <Py_ssize_t>sizeof(usual):
        said.bids = <char *>PyMem_Malloc(2 * room * LEVEL_BYTES)
        if said.bids == NULL:
            raise MemoryError
    said.asks = said.bids + room * LEVEL_BYTES
    try:
        if read_message(
            PyBytes_AS_STRING(message), size, &said, PyUnicode_DATA(symbol),
            PyUnicode_GET_LENGTH(symbol), <long>price, <long>quantity, room
        ):
            return made(&said, units)
    finally:
        if said.bids != usual:
            PyMem_Free(said.bids)
    return plain()(message, instrument)


cdef made(Message *said, PyObject *instrument):
    cdef object bids = PyBytes_FromStringAndSize(said.bids, said.bid_count * LEVEL_BYTES)
    cdef object asks = PyBytes_FromStringAndSize(said.asks, said.ask_count * LEVEL_BYTES)
    cdef PyObject *update = PyType_GenericAlloc(<PyTypeObject *>BOOK_UPDATE, 0)
    cdef object held = <object>update
    Py_DECREF(update)
    cdef PyObject *depth = PyType_GenericAlloc(<PyTypeObject *>DEPTH, 0)
    cdef object result = <object>depth
    Py_DECREF(depth)
    cdef uint64_t time = said.time if said.found & TIME else said.event_time
    FILL(update, update_instrument, Py_NewRef(instrument))
    FILL(update, update_update_id, PyLong_FromUnsignedLongLong(said.last_id))
    FILL(update, update_time, PyLong_FromUnsignedLongLong(time))
    FILL(update, update_packed_bids, Py_NewRef(<PyObject *>bids))
    FILL(update, update_packed_asks, Py_NewRef(<PyObject *>asks))
    FILL(update, update_flags, Py_NewRef(<PyObject *>NO_FLAGS))
    FILL(update, update_seq, Py_NewRef(<PyObject *>ZERO))
    FILL(update, update_received_ns, Py_NewRef(<PyObject *>ZERO))
    FILL(depth, depth_update, Py_NewRef(update))
    FILL(depth, depth_first_id, PyLong_FromUnsignedLongLong(said.first_id))
    if said.found & PREVIOUS_ID:
        FILL(depth, depth_previous_id, PyLong_FromUnsignedLongLong(said.previous_id))
    else:
        FILL(depth, depth_previous_id, Py_NewRef(NONE))
    FILL(depth, depth_resets, Py_NewRef(<PyObject *>NOT_RESET))
    return result


def _proof():
    units = Instrument(index=0, symbol="X", price_exponent=-1, quantity_exponent=0)
    found = read_depth(
        b'{"stream":"","data":{"e":"depthUpdate","E":1,"s":"X","U":2,"u":3,"pu":4,"T":5,'
        b'"b":[["0.1","7"]],"a":[]}}', units
    )
    packed = b"\1" + bytes(7) + b"\7" + bytes(7)
    return found == VenueDepth(BookUpdate(units, 3, 5, packed, b""), 2, 4)

if min(
    depth_update, depth_first_id, depth_previous_id, depth_resets, update_instrument,
    update_update_id, update_time, update_packed_bids, update_packed_asks, update_flags, update_seq,
    update_received_ns, instrument_symbol, instrument_price_exponent, instrument_quantity_exponent,
) < 0 or not _proof():
    raise ImportError("records are not laid out as the compiled twins expect")
