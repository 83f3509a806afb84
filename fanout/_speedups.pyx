# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""Compiled twins of what the service does per trade, per quote and per client.

As in `protocol/_speedups.pyx`: whatever is out of order is left to the plain function.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject, PyTypeObject
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from fanout.protocol.book_records import Quote
from fanout.venues.values import VenueQuote, VenueTrade
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from fanout.protocol.rows import ROW_BYTES

cdef extern from "protocol/_speedups.h":
    Py_ssize_t offset_of(object type, const char *name)
    PyObject *SLOT(PyObject *object, Py_ssize_t offset)
    void FILL(PyObject *object, Py_ssize_t offset, PyObject *value)
    bint IS_EXACTLY(PyObject *object, PyObject *type)
    bint as_i64(PyObject *number, int64_t *value)
    bint as_u64(PyObject *number, uint64_t *value)

    PyObject *PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t count) except NULL
    PyObject *PyLong_FromLongLong(long long value) except NULL
    PyObject *Py_NewRef(PyObject *object)
    void Py_DECREF(PyObject *object)
    bint PyUnicode_CheckExact(PyObject *object)
    bint PyUnicode_IS_COMPACT_ASCII(PyObject *text)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text)
    const char *PyUnicode_DATA "(const char *)PyUnicode_DATA"(PyObject *text)
    PyObject *FALSE "Py_False"

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
    ssize_t send(int descriptor, const void *data, size_t size, int flags)


def plain(name):
    """The function whose twin is called so."""
    from fanout.speedups import twin

    return twin.plain[name]


# Decimal strings to integers.

cdef enum:
    MAX_DIGITS = 18  # what always fits

cdef int64_t TEN[MAX_DIGITS + 1]
for power in range(MAX_DIGITS + 1):
    TEN[power] = 10**power

cdef PyObject *TRADE = <PyObject *>Trade
cdef PyObject *VENUE_TRADE = <PyObject *>VenueTrade
cdef PyObject *QUOTE = <PyObject *>Quote
cdef PyObject *VENUE_QUOTE = <PyObject *>VenueQuote
cdef PyObject *INSTRUMENT = <PyObject *>Instrument
cdef object zero = 0

cdef Py_ssize_t item_trade_id = offset_of(VenueTrade, "trade_id")
cdef Py_ssize_t item_time = offset_of(VenueTrade, "time")
cdef Py_ssize_t item_price = offset_of(VenueTrade, "price")
cdef Py_ssize_t item_quantity = offset_of(VenueTrade, "quantity")
cdef Py_ssize_t item_buyer_is_maker = offset_of(VenueTrade, "buyer_is_maker")
cdef Py_ssize_t item_kind = offset_of(VenueTrade, "kind")

cdef Py_ssize_t item_quote_update_id = offset_of(VenueQuote, "update_id")
cdef Py_ssize_t item_quote_time = offset_of(VenueQuote, "time")
cdef Py_ssize_t item_bid_price = offset_of(VenueQuote, "bid_price")
cdef Py_ssize_t item_bid_quantity = offset_of(VenueQuote, "bid_quantity")
cdef Py_ssize_t item_ask_price = offset_of(VenueQuote, "ask_price")
cdef Py_ssize_t item_ask_quantity = offset_of(VenueQuote, "ask_quantity")

cdef Py_ssize_t price_exponent = offset_of(Instrument, "price_exponent")
cdef Py_ssize_t quantity_exponent = offset_of(Instrument, "quantity_exponent")

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


cdef bint from_text(PyObject *text, PyObject *exponent, int64_t *value):
    """See `fanout.protocol.fixedpoint.from_text`. False for whatever is not quite ordinary."""
    cdef const char *at
    cdef const char *end
    cdef int64_t power, digits = 0
    cdef Py_ssize_t point = 0, count = 0
    if not (PyUnicode_CheckExact(text) and PyUnicode_IS_COMPACT_ASCII(text)):
        return False
    at = PyUnicode_DATA(text)
    end = at + PyUnicode_GET_LENGTH(text)
    while at < end and c'0' <= at[0] <= c'9' and count < MAX_DIGITS:
        digits = 10 * digits + (at[0] - c'0')
        at, count = at + 1, count + 1
    if not count:
        return False
    if at < end and at[0] == c'.':
        at, point = at + 1, count
        while at < end and c'0' <= at[0] <= c'9' and count < MAX_DIGITS:
            digits = 10 * digits + (at[0] - c'0')
            at, count = at + 1, count + 1
        if count == point:
            return False
        point = count - point
    if at < end or not as_i64(exponent, &power):
        return False
    power += point
    if power == 0:
        value[0] = digits
    elif 0 < power <= MAX_DIGITS and digits % TEN[power] == 0:
        value[0] = digits // TEN[power]
    elif -MAX_DIGITS <= power < 0 and count - power <= MAX_DIGITS:
        value[0] = digits * TEN[-power]
    else:
        return False
    return True


def to_trade(item, instrument):
    """See `fanout.feed.normalise.to_trade`."""
    cdef PyObject *said = <PyObject *>item
    cdef PyObject *units = <PyObject *>instrument
    cdef int64_t price, quantity
    cdef uint64_t number
    cdef PyObject *made
    if not (
        IS_EXACTLY(said, VENUE_TRADE)
        and IS_EXACTLY(units, INSTRUMENT)
        and from_text(SLOT(said, item_price), SLOT(units, price_exponent), &price)
        and from_text(SLOT(said, item_quantity), SLOT(units, quantity_exponent), &quantity)
        and quantity > 0
        and as_u64(SLOT(said, item_trade_id), &number)
        and as_u64(SLOT(said, item_time), &number)
    ):
        return plain("to_trade")(item, instrument)
    made = PyType_GenericAlloc(<PyTypeObject *>TRADE, 0)
    cdef object trade = <object>made
    Py_DECREF(made)
    FILL(made, trade_instrument, Py_NewRef(units))
    FILL(made, trade_trade_id, Py_NewRef(SLOT(said, item_trade_id)))
    FILL(made, trade_time, Py_NewRef(SLOT(said, item_time)))
    FILL(made, trade_price, PyLong_FromLongLong(price))
    FILL(made, trade_quantity, PyLong_FromLongLong(quantity))
    FILL(made, trade_buyer_is_maker, Py_NewRef(SLOT(said, item_buyer_is_maker)))
    FILL(made, trade_kind, Py_NewRef(SLOT(said, item_kind)))
    FILL(made, trade_seq, Py_NewRef(<PyObject *>zero))
    FILL(made, trade_received_ns, Py_NewRef(<PyObject *>zero))
    FILL(made, trade_back_filled, Py_NewRef(FALSE))
    return trade


def to_quote(item, instrument):
    """See `fanout.feed.normalise.to_quote`."""
    cdef PyObject *said = <PyObject *>item
    cdef PyObject *units = <PyObject *>instrument
    cdef int64_t bid, bid_quantity, ask, ask_quantity
    cdef uint64_t number
    cdef PyObject *made
    if not (
        IS_EXACTLY(said, VENUE_QUOTE)
        and IS_EXACTLY(units, INSTRUMENT)
        and from_text(SLOT(said, item_bid_price), SLOT(units, price_exponent), &bid)
        and from_text(SLOT(said, item_ask_price), SLOT(units, price_exponent), &ask)
        and from_text(SLOT(said, item_bid_quantity), SLOT(units, quantity_exponent), &bid_quantity)
        and from_text(SLOT(said, item_ask_quantity), SLOT(units, quantity_exponent), &ask_quantity)
        and as_u64(SLOT(said, item_quote_update_id), &number)
        and as_u64(SLOT(said, item_quote_time), &number)
    ):
        return plain("to_quote")(item, instrument)
    if bid_quantity == 0:
        bid = ask
    elif ask_quantity == 0:
        ask = bid
    made = PyType_GenericAlloc(<PyTypeObject *>QUOTE, 0)
    cdef object quote = <object>made
    Py_DECREF(made)
    FILL(made, quote_instrument, Py_NewRef(units))
    FILL(made, quote_update_id, Py_NewRef(SLOT(said, item_quote_update_id)))
    FILL(made, quote_time, Py_NewRef(SLOT(said, item_quote_time)))
    FILL(made, quote_bid_price, PyLong_FromLongLong(bid))
    FILL(made, quote_bid_quantity, PyLong_FromLongLong(bid_quantity))
    FILL(made, quote_ask_price, PyLong_FromLongLong(ask))
    FILL(made, quote_ask_quantity, PyLong_FromLongLong(ask_quantity))
    FILL(made, quote_seq, Py_NewRef(<PyObject *>zero))
    FILL(made, quote_received_ns, Py_NewRef(<PyObject *>zero))
    return quote


# The same bytes to many sockets.

cdef struct Shortfall:
    Py_ssize_t place
    Py_ssize_t taken


cdef Py_ssize_t send_all(
    const int *descriptors, Py_ssize_t count, const char *data, Py_ssize_t size, Shortfall *missed
) noexcept nogil:
    """Send, and note who did not take all. Gives how many those are."""
    cdef Py_ssize_t place, taken, found = 0
    for place in range(count):
        while True:
            taken = send(descriptors[place], data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            if taken >= 0 or errno != EINTR:
                break
        if taken < 0 and errno == EAGAIN:
            taken = 0
        if taken < size:
            missed[found].place, missed[found].taken = place, taken
            found += 1
    return found


def send_to_each(descriptors, bytes data not None):
    """See `fanout.transports.tcp.sending.send_to_each`."""
    cdef Py_buffer view
    cdef Shortfall *missed
    cdef const char *start = data
    cdef Py_ssize_t size = len(data), count, found, place
    cdef list told = []
    PyObject_GetBuffer(descriptors, &view, PyBUF_SIMPLE)
    count = view.len // <Py_ssize_t>sizeof(int)
    missed = <Shortfall *>PyMem_Malloc(count * sizeof(Shortfall) + 1)
    try:
        if missed == NULL:
            raise MemoryError
        with nogil:
            found = send_all(<const int *>view.buf, count, start, size, missed)
        for place in range(found):
            told.append((missed[place].place, missed[place].taken))
    finally:
        PyMem_Free(missed)
        PyBuffer_Release(&view)
    return told


# Rows to lines of text.

cdef packed struct Row:
    # As `fanout.protocol.rows.FIELDS` has it.
    uint64_t seq
    uint64_t trade_id
    uint64_t time
    int64_t price
    uint64_t quantity
    uint64_t received_ns
    uint16_t index
    uint8_t kind
    uint8_t buyer_is_maker
    uint8_t back_filled
    uint8_t reserved[3]

assert sizeof(Row) == ROW_BYTES

cdef enum:
    U64_DIGITS = 20
    MOST_EXPONENT = 18  # beyond it the plain function writes
    NUMBER_CHARS = 48  # a sign, the digits, a point, and the zeros that an exponent may bring
    NUMBERS = 6
    BETWEEN = 7
    MS_EXPONENT = 3

cdef struct Label:
    const char *symbol
    Py_ssize_t symbol_size
    int price
    int quantity
    int time


cdef inline char *put(char *at, const char *text, Py_ssize_t size) noexcept:
    memcpy(at, text, size)
    return at + size


cdef inline char *put_object(char *at, object text):
    return put(at, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef inline char *put_bool(char *at, bint value) noexcept:
    return put(at, "true", 4) if value else put(at, "false", 5)


cdef inline char *put_number(char *at, uint64_t value, int least) noexcept:
    """In decimal, with at least so many digits."""
    cdef char digits[NUMBER_CHARS]
    cdef int place = NUMBER_CHARS
    while value or least > 0:
        place -= 1
        digits[place] = <char>(48 + value % 10)
        value //= 10
        least -= 1
    return put(at, digits + place, NUMBER_CHARS - place)


cdef inline char *put_scaled(char *at, uint64_t value, int exponent) noexcept:
    """value * 10**exponent, as `to_text` writes it."""
    cdef char *behind
    if exponent >= 0:
        at = put_number(at, value, 1)
        if value:
            memset(at, 48, exponent)
            at += exponent
        return at
    behind = put_number(at, value, 1 - exponent)
    memmove(behind + exponent + 1, behind + exponent, -exponent)
    behind[exponent] = 46
    return behind + 1


cdef bint in_ms(uint64_t *time, int exponent) noexcept:
    """Make unix ms of a time. False if they do not fit."""
    cdef int shift = exponent + MS_EXPONENT
    if shift < 0:
        time[0] //= <uint64_t>TEN[-shift]
    elif time[0] > <uint64_t>TEN[MAX_DIGITS] // <uint64_t>TEN[shift]:
        return False
    else:
        time[0] *= <uint64_t>TEN[shift]
    return True


cdef Py_ssize_t longest(tuple texts) except -1:
    return max([len(<bytes?>each) for each in texts], default=0)


def trade_lines(rows, form):
    """See `fanout.cli.lines.trade_lines`."""
    cdef tuple symbols = form.symbols, kinds = form.kinds, between = form.between
    cdef tuple exponents = form.exponents
    cdef Py_ssize_t count = len(symbols), number, most, longest_row
    cdef const Row *row
    cdef Py_buffer view
    cdef Label *labels
    cdef char *at
    cdef uint64_t time, size
    if len(kinds) != 256 or len(between) != BETWEEN or len(exponents) != count:
        return plain("trade_lines")(rows, form)
    most = max([max(map(abs, each)) for each in exponents], default=0)
    if most > MOST_EXPONENT or len(rows) % <Py_ssize_t>sizeof(Row):
        return plain("trade_lines")(rows, form)
    longest_row = longest(symbols) + longest(kinds) + sum(map(len, between)) + 10
    longest_row += NUMBERS * NUMBER_CHARS
    labels = <Label *>PyMem_Malloc(count * sizeof(Label) + 1)
    if labels == NULL:
        raise MemoryError
    cdef object text = bytearray()
    cdef bint is_whole = True
    PyObject_GetBuffer(rows, &view, PyBUF_SIMPLE)
    try:
        for number in range(count):
            labels[number].symbol = PyBytes_AS_STRING(symbols[number])
            labels[number].symbol_size = len(symbols[number])
            labels[number].price, labels[number].quantity, labels[number].time = exponents[number]
        PyByteArray_Resize(text, view.len // <Py_ssize_t>sizeof(Row) * longest_row)
        at = PyByteArray_AS_STRING(text)
        for number in range(view.len // <Py_ssize_t>sizeof(Row)):
            row = <const Row *>view.buf + number
            time = row.time
            if row.index >= count or not in_ms(&time, labels[row.index].time):
                is_whole = False
                break
            at = put_number(put_object(at, between[0]), row.seq, 1)
            at = put(at, labels[row.index].symbol, labels[row.index].symbol_size)
            at = put_number(put_object(put_number(at, row.trade_id, 1), between[1]), time, 1)
            at = put_object(at, between[2])
            if row.price < 0:
                at = put(at, "-", 1)
            size = <uint64_t>row.price
            at = put_scaled(at, 0 - size if row.price < 0 else size, labels[row.index].price)
            at = put_object(at, between[3])
            at = put_scaled(at, row.quantity, labels[row.index].quantity)
            at = put_bool(put_object(at, between[4]), row.buyer_is_maker)
            at = put_number(put_object(at, kinds[row.kind]), row.received_ns, 1)
            at = put_bool(put_object(at, between[5]), row.back_filled)
            at = put_object(at, between[6])
        size = <uint64_t>(at - PyByteArray_AS_STRING(text))
    finally:
        PyMem_Free(labels)
        PyBuffer_Release(&view)
    if not is_whole:
        return plain("trade_lines")(rows, form)
    return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(text), <Py_ssize_t>size)


def _proof():
    units = Instrument(index=0, symbol="X", price_exponent=-1, quantity_exponent=0)
    item = VenueTrade("X", 1, 2, "0.3", "4", True, None)
    quoted = VenueQuote("X", 1, 2, "0.3", "4", "0.5", "6")
    return (
        to_trade(item, units) == Trade(units, 1, 2, 3, 4, True, None)
        and to_quote(quoted, units) == Quote(units, 1, 2, 3, 4, 5, 6)
    )

if min(
    item_trade_id, item_time, item_price, item_quantity, item_buyer_is_maker, item_kind,
    item_quote_update_id, item_quote_time,
    item_bid_price, item_bid_quantity, item_ask_price, item_ask_quantity,
    price_exponent, quantity_exponent,
    trade_instrument, trade_trade_id, trade_time, trade_price, trade_quantity, trade_kind,
    trade_buyer_is_maker, trade_seq, trade_received_ns, trade_back_filled,
    quote_instrument, quote_update_id, quote_time, quote_bid_price, quote_bid_quantity,
    quote_ask_price, quote_ask_quantity, quote_seq, quote_received_ns,
) < 0 or not _proof():
    raise ImportError("records are not laid out as the compiled twins expect")
