# Blocks of quotes and of book updates. Included by `_speedups.pyx`, behind `_block.pxi`.
#
# Levels and orders go from bytes to bytes: an update has one object for each side.

cdef struct BlockPlaces:
    # Where a block's fields are.
    Py_ssize_t first_seq
    Py_ssize_t received_ns
    Py_ssize_t held_ns
    Py_ssize_t flags
    Py_ssize_t records

cdef struct UpdatePlaces:
    # Where an update's fields are.
    Py_ssize_t instrument
    Py_ssize_t update_id
    Py_ssize_t time
    Py_ssize_t packed_bids
    Py_ssize_t packed_asks
    Py_ssize_t flags
    Py_ssize_t seq
    Py_ssize_t received_ns

cdef struct Form:
    # What the two kinds of updates differ in.
    uint8_t kind
    bint is_by_order
    Py_ssize_t most
    Py_ssize_t packed_bytes
    PyObject *update_type
    PyObject *block_type
    UpdatePlaces update
    BlockPlaces block

cdef struct Base:
    # The quote or update before, of one instrument, or its reference.
    uint64_t update_id
    uint64_t time
    uint64_t price


cdef BlockPlaces block_places(object type, const char *records):
    cdef BlockPlaces places
    places.first_seq = offset_of(type, "first_seq")
    places.received_ns = offset_of(type, "received_ns")
    places.held_ns = offset_of(type, "held_ns")
    places.flags = offset_of(type, "flags")
    places.records = offset_of(type, records)
    return places


cdef UpdatePlaces update_places(object type):
    cdef UpdatePlaces places
    places.instrument = offset_of(type, "instrument")
    places.update_id = offset_of(type, "update_id")
    places.time = offset_of(type, "time")
    places.packed_bids = offset_of(type, "packed_bids")
    places.packed_asks = offset_of(type, "packed_asks")
    places.flags = offset_of(type, "flags")
    places.seq = offset_of(type, "seq")
    places.received_ns = offset_of(type, "received_ns")
    return places


cdef Py_ssize_t least_block_place(BlockPlaces *places):
    return min(
        places.first_seq, places.received_ns, places.held_ns, places.flags, places.records
    )


cdef Py_ssize_t least_place(Form *form):
    """Below 0 if one of the fields is no plain member."""
    return min(
        least_block_place(&form.block), form.update.instrument, form.update.update_id,
        form.update.time, form.update.packed_bids, form.update.packed_asks, form.update.flags,
        form.update.seq, form.update.received_ns,
    )


cdef Form BY_PRICE
BY_PRICE.kind, BY_PRICE.is_by_order = BOOK, False
BY_PRICE.most, BY_PRICE.packed_bytes = MAX_LEVELS, 16
BY_PRICE.update_type, BY_PRICE.block_type = <PyObject *>BookUpdate, <PyObject *>BookBlock
BY_PRICE.update = update_places(BookUpdate)
BY_PRICE.block = block_places(BookBlock, "updates")

cdef Form BY_ORDER
BY_ORDER.kind, BY_ORDER.is_by_order = ORDERS, True
BY_ORDER.most, BY_ORDER.packed_bytes = MAX_ORDERS, 24
BY_ORDER.update_type, BY_ORDER.block_type = <PyObject *>OrderUpdate, <PyObject *>OrderBlock
BY_ORDER.update = update_places(OrderUpdate)
BY_ORDER.block = block_places(OrderBlock, "updates")

cdef BlockPlaces quote_block = block_places(QuoteBlock, "quotes")

cdef tuple BOOK_FLAGS = tuple(BookFlags(bits) for bits in range(ALL_BOOK_FLAGS + 1))


cdef bint know_book(Base *base, PyObject *references, uint16_t index):
    """Begin at an instrument's reference. False if it has none, or a strange one."""
    cdef PyObject *reference
    cdef int64_t price
    if index >= PyTuple_GET_SIZE(references):
        return False
    reference = PyTuple_GET_ITEM(references, index)
    if not (
        IS_EXACTLY(reference, REFERENCE)
        and as_u64(SLOT(reference, reference_update_id), &base.update_id)
        and as_u64(SLOT(reference, reference_time), &base.time)
        and as_i64(SLOT(reference, reference_price), &price)
    ):
        return False
    base.price = <uint64_t>price
    return True


cdef inline PyObject *from_u64(uint64_t value) except NULL:
    return PyLong_FromUnsignedLongLong(value)


cdef object block_with(
    PyObject *type, BlockPlaces *places, Prefix *prefix, list records, object received_ns
):
    cdef PyObject *made = PyType_GenericAlloc(<PyTypeObject *>type, 0)
    cdef object block = <object>made
    Py_DECREF(made)
    FILL(made, places.first_seq, from_u64(prefix.first_seq))
    FILL(made, places.records, Py_NewRef(<PyObject *>records))
    FILL(made, places.received_ns, Py_NewRef(<PyObject *>received_ns))
    FILL(made, places.held_ns, from_u64(prefix.held_ns))
    FILL(made, places.flags, Py_NewRef(PyTuple_GET_ITEM(<PyObject *>FLAGS, prefix.bits)))
    return block


cdef inline const uint8_t *read_index(
    const uint8_t *at, const uint8_t *end, uint8_t head, Py_ssize_t known, uint16_t *index
):
    """The index in an item's head, of which more may follow. NULL if it is not in order."""
    index[0] = head & LOW_INDEX
    if head & MORE:
        # One byte holds all the higher bits that there can be, and 0 is not minimal.
        if at >= end or not 1 <= at[0] <= MAX_HIGH_INDEX:
            return NULL
        index[0] |= <uint16_t>at[0] << LOW_INDEX_BITS
        at += 1
    return at if index[0] < known else NULL


# Blocks to quotes.


def decode_quotes(payload, header):
    """See `fanout.protocol.quote_block.decode_quotes`."""
    quotes_block = quotes_in(<PyObject *>payload, <PyObject *>header)
    return plain("decode_quotes")(payload, header) if quotes_block is None else quotes_block


cdef object quotes_in(PyObject *payload, PyObject *header):
    """The block of quotes in a payload. None if anything about it is out of order."""
    cdef Prefix prefix
    cdef Base bases[MAX_INSTRUMENTS]
    cdef uint8_t is_known[MAX_INSTRUMENTS]
    cdef Base *base
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef PyObject *references
    cdef PyObject *instruments
    cdef Py_ssize_t number, place, taken, known
    cdef uint64_t fields[6]
    cdef uint16_t index
    cdef object quote
    if not IS_EXACTLY(header, HEADER):
        return None
    references = tuple_in(header, header_references)
    instruments = tuple_in(header, header_instruments)
    at = opened(payload, QUOTES, MAX_QUOTES, &prefix, &end)
    if references == NULL or instruments == NULL or at == NULL:
        return None
    known = min(PyTuple_GET_SIZE(references), PyTuple_GET_SIZE(instruments), MAX_INSTRUMENTS)
    memset(is_known, False, known)
    cdef object received_ns = <object>prefix.received_ns
    cdef list quotes = PyList_New(prefix.count)
    for number in range(prefix.count):
        if at >= end:
            return None
        at = read_index(at + 1, end, at[0], known, &index)
        if at == NULL:
            return None
        base = &bases[index]
        if not is_known[index]:
            if not know_book(base, references, index):
                return None
            is_known[index] = True
        for place in range(6):
            taken = read_varint(at, end, &fields[place])
            if not taken:
                return None
            at += taken
        base.update_id += unzigzag(fields[0])
        base.time += unzigzag(fields[1])
        base.price += unzigzag(fields[2])
        quote = quote_of(base, fields, &prefix, number, PyTuple_GET_ITEM(instruments, index),
                         received_ns)
        Py_INCREF(quote)
        PyList_SET_ITEM(quotes, number, quote)
    return block_with(QUOTE_BLOCK, &quote_block, &prefix, quotes, received_ns)


cdef object quote_of(
    Base *base, uint64_t *fields, Prefix *prefix, Py_ssize_t place, PyObject *instrument,
    object received_ns
):
    cdef PyObject *made = PyType_GenericAlloc(<PyTypeObject *>QUOTE, 0)
    cdef object quote = <object>made
    Py_DECREF(made)
    cdef uint64_t seq = 0 if prefix.bits & SNAPSHOT else prefix.first_seq + place
    cdef int64_t ask_price = <int64_t>(base.price + unzigzag(fields[3]))
    FILL(made, quote_instrument, Py_NewRef(instrument))
    FILL(made, quote_update_id, from_u64(base.update_id))
    FILL(made, quote_time, from_u64(base.time))
    FILL(made, quote_bid_price, PyLong_FromLongLong(<int64_t>base.price))
    FILL(made, quote_bid_quantity, from_u64(fields[4]))
    FILL(made, quote_ask_price, PyLong_FromLongLong(ask_price))
    FILL(made, quote_ask_quantity, from_u64(fields[5]))
    FILL(made, quote_seq, from_u64(seq))
    FILL(made, quote_received_ns, Py_NewRef(<PyObject *>received_ns))
    return quote


# Blocks to book updates.


def decode_book(payload, header):
    """See `fanout.protocol.book_block.decode_book`."""
    block = updates_in(<PyObject *>payload, <PyObject *>header, &BY_PRICE)
    return plain("decode_book")(payload, header) if block is None else block


def decode_orders(payload, header):
    """See `fanout.protocol.book_block.decode_orders`."""
    block = updates_in(<PyObject *>payload, <PyObject *>header, &BY_ORDER)
    return plain("decode_orders")(payload, header) if block is None else block


cdef object updates_in(PyObject *payload, PyObject *header, Form *form):
    """The block of updates in a payload. None if anything about it is out of order."""
    cdef Prefix prefix
    cdef Base bases[MAX_INSTRUMENTS]
    cdef uint8_t is_known[MAX_INSTRUMENTS]
    cdef Base *base
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef PyObject *references
    cdef PyObject *instruments
    cdef Py_ssize_t number, place, taken, known, left = form.most
    cdef uint64_t fields[4]
    cdef uint16_t index
    cdef uint8_t head, bits
    cdef object update, bids, asks
    if not IS_EXACTLY(header, HEADER):
        return None
    references = tuple_in(header, header_references)
    instruments = tuple_in(header, header_instruments)
    at = opened(payload, form.kind, MAX_UPDATES, &prefix, &end)
    if references == NULL or instruments == NULL or at == NULL:
        return None
    known = min(PyTuple_GET_SIZE(references), PyTuple_GET_SIZE(instruments), MAX_INSTRUMENTS)
    memset(is_known, False, known)
    cdef object received_ns = <object>prefix.received_ns
    cdef list updates = PyList_New(prefix.count)
    for number in range(prefix.count):
        if at >= end:
            return None
        head, bits = at[0], 0
        at += 1
        if head & HAS_FLAGS:
            if at >= end:
                return None
            bits = at[0] & ALL_BOOK_FLAGS
            at += 1
        at = read_index(at, end, head, known, &index)
        if at == NULL:
            return None
        base = &bases[index]
        if not is_known[index]:
            if not know_book(base, references, index):
                return None
            is_known[index] = True
        for place in range(4):
            taken = read_varint(at, end, &fields[place])
            if not taken:
                return None
            at += taken
        base.update_id += unzigzag(fields[0])
        base.time += unzigzag(fields[1])
        if fields[2] > <uint64_t>left or fields[3] > <uint64_t>left - fields[2]:
            return None
        left -= <Py_ssize_t>(fields[2] + fields[3])
        bids = side_in(&at, end, <Py_ssize_t>fields[2], base.price, True, form)
        if bids is None:
            return None
        asks = side_in(&at, end, <Py_ssize_t>fields[3], base.price, False, form)
        if asks is None:
            return None
        update = update_of(base, bits, bids, asks, &prefix, number,
                           PyTuple_GET_ITEM(instruments, index), received_ns, form)
        Py_INCREF(update)
        PyList_SET_ITEM(updates, number, update)
    return block_with(form.block_type, &form.block, &prefix, updates, received_ns)


cdef object side_in(
    const uint8_t **at, const uint8_t *end, Py_ssize_t count, uint64_t price, bint is_falling,
    Form *form
):
    """A side's levels or orders in their packed form. None if anything is out of order."""
    cdef object packed = PyBytes_FromStringAndSize(NULL, count * form.packed_bytes)
    cdef char *to = PyBytes_AS_STRING(packed)
    cdef const uint8_t *here
    if form.is_by_order:
        here = unpack_orders(at[0], end, count, price, to)
    else:
        here = unpack_levels(at[0], end, count, price, is_falling, to)
    if here == NULL:
        return None
    at[0] = here
    return packed


cdef const uint8_t *unpack_levels(
    const uint8_t *at, const uint8_t *end, Py_ssize_t count, uint64_t price, bint is_falling,
    char *to
) noexcept:
    cdef Py_ssize_t place, taken
    cdef uint64_t delta, quantity
    cdef int64_t last = 0, next_price
    for place in range(count):
        taken = read_varint(at, end, &delta)
        if not taken:
            return NULL
        at += taken
        taken = read_varint(at, end, &quantity)
        if not taken:
            return NULL
        at += taken
        price += unzigzag(delta)
        next_price = <int64_t>price
        if place and (next_price >= last if is_falling else next_price <= last):
            return NULL
        last = next_price
        memcpy(to, &price, 8)
        memcpy(to + 8, &quantity, 8)
        to += 16
    return at


cdef const uint8_t *unpack_orders(
    const uint8_t *at, const uint8_t *end, Py_ssize_t count, uint64_t price, char *to
) noexcept:
    cdef Py_ssize_t number, place, taken
    cdef uint64_t fields[3]
    cdef uint64_t order_id = 0
    for number in range(count):
        for place in range(3):
            taken = read_varint(at, end, &fields[place])
            if not taken:
                return NULL
            at += taken
        order_id += unzigzag(fields[0])
        price += unzigzag(fields[1])
        memcpy(to, &order_id, 8)
        memcpy(to + 8, &price, 8)
        memcpy(to + 16, &fields[2], 8)
        to += 24
    return at


cdef object update_of(
    Base *base, uint8_t bits, object bids, object asks, Prefix *prefix, Py_ssize_t place,
    PyObject *instrument, object received_ns, Form *form
):
    cdef PyObject *made = PyType_GenericAlloc(<PyTypeObject *>form.update_type, 0)
    cdef object update = <object>made
    Py_DECREF(made)
    cdef UpdatePlaces *places = &form.update
    cdef uint64_t seq = 0 if prefix.bits & SNAPSHOT else prefix.first_seq + place
    FILL(made, places.instrument, Py_NewRef(instrument))
    FILL(made, places.update_id, from_u64(base.update_id))
    FILL(made, places.time, from_u64(base.time))
    FILL(made, places.packed_bids, Py_NewRef(<PyObject *>bids))
    FILL(made, places.packed_asks, Py_NewRef(<PyObject *>asks))
    FILL(made, places.flags, Py_NewRef(PyTuple_GET_ITEM(<PyObject *>BOOK_FLAGS, bits)))
    FILL(made, places.seq, from_u64(seq))
    FILL(made, places.received_ns, Py_NewRef(<PyObject *>received_ns))
    return update


# Quotes and book updates to blocks.


cdef PyObject *records_of(PyObject *block, PyObject *type, BlockPlaces *places, Py_ssize_t most):
    """A block's list or tuple of records. NULL if it is something else, or too long."""
    cdef PyObject *records
    if not IS_EXACTLY(block, type):
        return NULL
    records = SLOT(block, places.records)
    if records == NULL or not (PyList_CheckExact(records) or PyTuple_CheckExact(records)):
        return NULL
    return records if 1 <= PySequence_Fast_GET_SIZE(records) <= most else NULL


cdef uint8_t *put_prefix(
    uint8_t *at, uint8_t kind, PyObject *block, BlockPlaces *places, Py_ssize_t count
):
    """Write what a block begins with. NULL if it is out of order."""
    cdef Prefix prefix
    cdef int64_t bits
    prefix.count = <uint16_t>count
    if not (
        as_i64(SLOT(block, places.flags), &bits)
        and 0 <= bits <= 0xFF
        and as_u64(SLOT(block, places.first_seq), &prefix.first_seq)
        and 1 <= prefix.first_seq <= MAX_SEQ - <uint64_t>count + 1
        and as_u64(SLOT(block, places.received_ns), &prefix.received_ns)
        and as_u64(SLOT(block, places.held_ns), &prefix.held_ns)
    ):
        return NULL
    at[0], at[1], at[2] = kind, <uint8_t>bits, 0
    memcpy(at + 3, &prefix.count, 2)
    memcpy(at + 5, &prefix.first_seq, 8)
    memcpy(at + 13, &prefix.received_ns, 8)
    return put_varint(at + PREFIX_BYTES, prefix.held_ns)


cdef bint index_of(PyObject *instrument, Py_ssize_t known, uint16_t *index):
    """An instrument's index. False if it is not in the header, or strange."""
    cdef int64_t value
    if not IS_EXACTLY(instrument, INSTRUMENT):
        return False
    if not (as_i64(SLOT(instrument, instrument_index), &value) and 0 <= value < known):
        return False
    index[0] = <uint16_t>value
    return True


cdef bytes sealed(uint8_t *payload, uint8_t *end):
    """The payload up to `end`, with its CRC."""
    cdef uint32_t crc = crc32_of(payload, end - payload)
    memcpy(end, &crc, CRC_BYTES)
    return PyBytes_FromStringAndSize(<char *>payload, end - payload + CRC_BYTES)


def encode_quotes(block, header):
    """See `fanout.protocol.quote_block.encode_quotes`."""
    cdef uint8_t payload[PREFIX_BYTES + MAX_VARINT_BYTES + MAX_QUOTES * MAX_QUOTE_BYTES + CRC_BYTES]
    cdef uint8_t *end = put_quotes(payload, <PyObject *>block, <PyObject *>header)
    return plain("encode_quotes")(block, header) if end == NULL else sealed(payload, end)


cdef uint8_t *put_quotes(uint8_t *at, PyObject *block, PyObject *header):
    """Write a block's payload but for its CRC. Gives the place behind it; NULL if anything about
    the block is out of order."""
    cdef PyObject *quotes
    cdef PyObject *quote
    cdef PyObject *references
    cdef Base bases[MAX_INSTRUMENTS]
    cdef uint8_t is_known[MAX_INSTRUMENTS]
    cdef Base *base
    cdef Base new
    cdef uint64_t bid_quantity, ask_quantity
    cdef int64_t bid_price, ask_price
    cdef uint16_t index
    cdef Py_ssize_t place, known
    if not IS_EXACTLY(header, HEADER):
        return NULL
    references = tuple_in(header, header_references)
    quotes = records_of(block, QUOTE_BLOCK, &quote_block, MAX_QUOTES)
    if references == NULL or quotes == NULL:
        return NULL
    at = put_prefix(at, QUOTES, block, &quote_block, PySequence_Fast_GET_SIZE(quotes))
    if at == NULL:
        return NULL
    known = min(PyTuple_GET_SIZE(references), MAX_INSTRUMENTS)
    memset(is_known, False, known)
    for place in range(PySequence_Fast_GET_SIZE(quotes)):
        quote = PySequence_Fast_GET_ITEM(quotes, place)
        if not IS_EXACTLY(quote, QUOTE):
            return NULL
        if not index_of(SLOT(quote, quote_instrument), known, &index):
            return NULL
        base = &bases[index]
        if not is_known[index]:
            if not know_book(base, references, index):
                return NULL
            is_known[index] = True
        if not (
            as_u64(SLOT(quote, quote_update_id), &new.update_id)
            and as_u64(SLOT(quote, quote_time), &new.time)
            and as_i64(SLOT(quote, quote_bid_price), &bid_price)
            and as_u64(SLOT(quote, quote_bid_quantity), &bid_quantity)
            and as_i64(SLOT(quote, quote_ask_price), &ask_price)
            and as_u64(SLOT(quote, quote_ask_quantity), &ask_quantity)
        ):
            return NULL
        new.price = <uint64_t>bid_price
        at = put_index(at, index, 0, 0)
        at = put_varint(at, zigzag(new.update_id - base.update_id))
        at = put_varint(at, zigzag(new.time - base.time))
        at = put_varint(at, zigzag(new.price - base.price))
        at = put_varint(at, zigzag(<uint64_t>ask_price - new.price))
        at = put_varint(at, bid_quantity)
        at = put_varint(at, ask_quantity)
        base[0] = new
    return at


cdef inline uint8_t *put_index(uint8_t *at, uint16_t index, uint8_t own, uint8_t flags) noexcept:
    """Write an item's head: the bits of the kind's own, the flags that they announce if there are
    any, and the index."""
    at[0] = <uint8_t>(index & LOW_INDEX) | own
    if index > LOW_INDEX:
        at[0] |= MORE
    at += 1
    if flags:
        at[0] = flags
        at += 1
    if index > LOW_INDEX:
        at[0] = <uint8_t>(index >> LOW_INDEX_BITS)
        at += 1
    return at


def encode_book(block, header):
    """See `fanout.protocol.book_block.encode_book`."""
    cdef uint8_t payload[MAX_BOOK_PAYLOAD_BYTES]
    cdef uint8_t *end = put_updates(payload, <PyObject *>block, <PyObject *>header, &BY_PRICE)
    return plain("encode_book")(block, header) if end == NULL else sealed(payload, end)


def encode_orders(block, header):
    """See `fanout.protocol.book_block.encode_orders`."""
    cdef uint8_t payload[MAX_BOOK_PAYLOAD_BYTES]
    cdef uint8_t *end = put_updates(payload, <PyObject *>block, <PyObject *>header, &BY_ORDER)
    return plain("encode_orders")(block, header) if end == NULL else sealed(payload, end)


cdef uint8_t *put_updates(uint8_t *at, PyObject *block, PyObject *header, Form *form):
    """Write a block's payload but for its CRC. Gives the place behind it; NULL if anything about
    the block is out of order."""
    cdef PyObject *updates
    cdef PyObject *update
    cdef PyObject *references
    cdef PyObject *sides[2]
    cdef UpdatePlaces *places = &form.update
    cdef Base bases[MAX_INSTRUMENTS]
    cdef uint8_t is_known[MAX_INSTRUMENTS]
    cdef Base *base
    cdef uint64_t update_id, time
    cdef int64_t bits
    cdef uint16_t index
    cdef uint8_t flags
    cdef Py_ssize_t place, side, known, left = form.most
    cdef Py_ssize_t counts[2]
    if not IS_EXACTLY(header, HEADER):
        return NULL
    references = tuple_in(header, header_references)
    updates = records_of(block, form.block_type, &form.block, MAX_UPDATES)
    if references == NULL or updates == NULL:
        return NULL
    at = put_prefix(at, form.kind, block, &form.block, PySequence_Fast_GET_SIZE(updates))
    if at == NULL:
        return NULL
    known = min(PyTuple_GET_SIZE(references), MAX_INSTRUMENTS)
    memset(is_known, False, known)
    for place in range(PySequence_Fast_GET_SIZE(updates)):
        update = PySequence_Fast_GET_ITEM(updates, place)
        if not IS_EXACTLY(update, form.update_type):
            return NULL
        if not index_of(SLOT(update, places.instrument), known, &index):
            return NULL
        base = &bases[index]
        if not is_known[index]:
            if not know_book(base, references, index):
                return NULL
            is_known[index] = True
        if not (
            as_u64(SLOT(update, places.update_id), &update_id)
            and as_u64(SLOT(update, places.time), &time)
            and as_i64(SLOT(update, places.flags), &bits)
        ):
            return NULL
        sides[0], sides[1] = SLOT(update, places.packed_bids), SLOT(update, places.packed_asks)
        for side in range(2):
            if sides[side] == NULL or not PyBytes_CheckExact(sides[side]):
                return NULL
            counts[side] = PyBytes_GET_SIZE(<object>sides[side])
            if counts[side] % form.packed_bytes:
                return NULL
            counts[side] //= form.packed_bytes
            left -= counts[side]
            if left < 0:
                return NULL
        flags = <uint8_t>(bits & ALL_BOOK_FLAGS)
        at = put_index(at, index, HAS_FLAGS if flags else 0, flags)
        at = put_varint(at, zigzag(update_id - base.update_id))
        at = put_varint(at, zigzag(time - base.time))
        at = put_varint(at, <uint64_t>counts[0])
        at = put_varint(at, <uint64_t>counts[1])
        base.update_id, base.time = update_id, time
        for side in range(2):
            if form.is_by_order:
                at = put_orders(at, sides[side], counts[side], base.price)
            else:
                at = put_levels(at, sides[side], counts[side], base.price, side == 0)
            if at == NULL:
                return NULL
    return at


cdef uint8_t *put_levels(
    uint8_t *at, PyObject *packed, Py_ssize_t count, uint64_t price, bint is_falling
):
    """Write a side's levels. NULL if they do not stand from the best outwards."""
    cdef const char *source = PyBytes_AS_STRING(<object>packed)
    cdef Py_ssize_t place
    cdef int64_t next_price, last = 0
    cdef uint64_t quantity
    for place in range(count):
        memcpy(&next_price, source, 8)
        memcpy(&quantity, source + 8, 8)
        if place and (next_price >= last if is_falling else next_price <= last):
            return NULL
        at = put_varint(at, zigzag(<uint64_t>next_price - price))
        at = put_varint(at, quantity)
        price, last = <uint64_t>next_price, next_price
        source += 16
    return at


cdef uint8_t *put_orders(uint8_t *at, PyObject *packed, Py_ssize_t count, uint64_t price):
    """Write a side's orders."""
    cdef const char *source = PyBytes_AS_STRING(<object>packed)
    cdef Py_ssize_t place
    cdef uint64_t next_id, next_price, quantity, order_id = 0
    for place in range(count):
        memcpy(&next_id, source, 8)
        memcpy(&next_price, source + 8, 8)
        memcpy(&quantity, source + 16, 8)
        at = put_varint(at, zigzag(next_id - order_id))
        at = put_varint(at, zigzag(next_price - price))
        at = put_varint(at, quantity)
        order_id, price = next_id, next_price
        source += 24
    return at
