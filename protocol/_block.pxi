# Blocks, rows and trades. Included by `_speedups.pyx`.

cdef struct Prefix:
    uint16_t count
    uint8_t bits
    uint8_t ordinary
    uint64_t first_seq
    uint64_t received_ns
    uint64_t held_ns

cdef struct Item:
    uint64_t trade_id
    uint64_t time
    uint64_t price  # in two's complement, as deltas want it
    uint64_t quantity
    uint16_t index
    uint8_t kind
    bint is_maker

cdef struct Past:
    # The trade before, of one instrument, or its reference.
    uint64_t trade_id
    uint64_t time
    uint64_t price


cdef bint know(Past *past, PyObject *references, uint16_t index):
    """Begin at an instrument's reference. False if it has none, or a strange one."""
    cdef PyObject *reference
    cdef int64_t price
    if index >= PyTuple_GET_SIZE(references):
        return False
    reference = PyTuple_GET_ITEM(references, index)
    if not (
        IS_EXACTLY(reference, REFERENCE)
        and as_u64(SLOT(reference, reference_trade_id), &past.trade_id)
        and as_u64(SLOT(reference, reference_time), &past.time)
        and as_i64(SLOT(reference, reference_price), &price)
    ):
        return False
    past.price = <uint64_t>price
    return True


cdef inline PyObject *tuple_in(PyObject *header, Py_ssize_t offset):
    cdef PyObject *found = SLOT(header, offset)
    return found if found != NULL and PyTuple_CheckExact(found) else NULL


# Blocks to trades.


cdef inline Py_ssize_t read_varint(const uint8_t *at, const uint8_t *end, uint64_t *value) noexcept:
    """How many bytes it takes; 0 if it is not in order."""
    cdef uint64_t result = 0
    cdef int shift = 0
    cdef const uint8_t *start = at
    while at < end and shift < 7 * MAX_VARINT_BYTES:
        if shift == 63 and at[0] > 1:
            return 0
        result |= <uint64_t>(at[0] & 0x7F) << shift
        if at[0] < 0x80:
            if at[0] == 0 and shift:
                return 0
            value[0] = result
            return at - start + 1
        shift += 7
        at += 1
    return 0


cdef inline uint64_t unzigzag(uint64_t value) noexcept:
    return (value >> 1) ^ (0 - (value & 1))


cdef inline const uint8_t *opened(
    PyObject *payload, uint8_t kind, int most, Prefix *prefix, const uint8_t **end
):
    """Read what a block begins with. Gives the place of its first item, and by `end` that of its
    CRC; NULL if anything about it is out of order."""
    end[0] = NULL
    if not PyBytes_CheckExact(payload):
        return NULL
    return opened_at(
        <const uint8_t *>PyBytes_AS_STRING(<object>payload),
        PyBytes_GET_SIZE(<object>payload),
        kind,
        most,
        prefix,
        end,
    )


cdef inline const uint8_t *opened_at(
    const uint8_t *at,
    Py_ssize_t size,
    uint8_t kind,
    int most,
    Prefix *prefix,
    const uint8_t **end,
):
    """The same for a payload of `size` bytes."""
    cdef uint32_t crc
    cdef Py_ssize_t taken
    end[0] = NULL
    size -= CRC_BYTES
    if size < PREFIX_BYTES:
        return NULL
    end[0] = at + size
    memcpy(&crc, end[0], CRC_BYTES)
    if crc != crc32_of(at, size) or at[0] != kind:
        return NULL
    prefix.bits, prefix.ordinary = at[1], at[2]
    memcpy(&prefix.count, at + 3, 2)
    memcpy(&prefix.first_seq, at + 5, 8)
    memcpy(&prefix.received_ns, at + 13, 8)
    at += PREFIX_BYTES
    if not 1 <= prefix.count <= most:
        return NULL
    if not 1 <= prefix.first_seq <= MAX_SEQ - prefix.count + 1:
        return NULL
    taken = read_varint(at, end[0], &prefix.held_ns)
    return at + taken if taken else NULL


cdef bint parse(PyObject *payload, PyObject *header, Prefix *prefix, Item *items):
    """The trades of a payload. False if anything about it is out of order."""
    if not PyBytes_CheckExact(payload):
        return False
    return parse_at(
        <const uint8_t *>PyBytes_AS_STRING(<object>payload),
        PyBytes_GET_SIZE(<object>payload),
        header,
        prefix,
        items,
    )


cdef bint parse_at(
    const uint8_t *at, Py_ssize_t size, PyObject *header, Prefix *prefix, Item *items
):
    """The same for a payload of `size` bytes."""
    cdef const uint8_t *end
    cdef PyObject *references
    cdef Py_ssize_t taken, place, number, known
    cdef uint64_t deltas[4]
    cdef Past pasts[MAX_INSTRUMENTS]
    cdef uint8_t is_known[MAX_INSTRUMENTS]
    cdef Past *past
    cdef Item *item
    cdef uint8_t head
    if not IS_EXACTLY(header, HEADER):
        return False
    references = tuple_in(header, header_references)
    at = opened_at(at, size, TRADES, MAX_TRADES, prefix, &end)
    if references == NULL or at == NULL:
        return False
    known = min(PyTuple_GET_SIZE(references), MAX_INSTRUMENTS)
    memset(is_known, False, known)
    for number in range(prefix.count):
        item = &items[number]
        if at >= end:
            return False
        head = at[0]
        item.index, item.is_maker, item.kind = head & LOW_INDEX, head >= MAKER, prefix.ordinary
        at += 1
        if head & (ESCAPE | MORE):
            if head & ESCAPE:
                if at >= end:
                    return False
                item.kind = at[0]
                at += 1
            if head & MORE:
                # One byte holds all the higher bits that there can be, and 0 is not minimal.
                if at >= end or not 1 <= at[0] <= MAX_HIGH_INDEX:
                    return False
                item.index |= <uint16_t>at[0] << LOW_INDEX_BITS
                at += 1
        if item.index >= known:
            return False
        past = &pasts[item.index]
        if not is_known[item.index]:
            if not know(past, references, item.index):
                return False
            is_known[item.index] = True
        for place in range(4):
            taken = read_varint(at, end, &deltas[place])
            if not taken:
                return False
            at += taken
        past.trade_id += 1 + unzigzag(deltas[0])
        past.time += unzigzag(deltas[1])
        past.price += unzigzag(deltas[2])
        item.trade_id, item.time, item.price = past.trade_id, past.time, past.price
        item.quantity = deltas[3]
    return True


def decode_block(payload, header):
    """See `fanout.protocol.block.decode_block`."""
    cdef Prefix prefix
    cdef Item items[MAX_TRADES]
    cdef PyObject *instruments
    cdef Py_ssize_t place
    cdef object trade
    if not parse(<PyObject *>payload, <PyObject *>header, &prefix, items):
        return plain("decode_block")(payload, header)
    instruments = tuple_in(<PyObject *>header, header_instruments)
    if instruments == NULL:
        return plain("decode_block")(payload, header)
    for place in range(prefix.count):
        if items[place].index >= PyTuple_GET_SIZE(instruments):
            return plain("decode_block")(payload, header)
    cdef object received = <object>prefix.received_ns
    cdef list trades = PyList_New(prefix.count)
    for place in range(prefix.count):
        trade = trade_of(&items[place], &prefix, place, instruments, received)
        Py_INCREF(trade)
        PyList_SET_ITEM(trades, place, trade)
    return block_of(&prefix, trades, received)


cdef object trade_of(
    Item *item, Prefix *prefix, Py_ssize_t place, PyObject *instruments, object received_ns
):
    cdef PyObject *made = PyType_GenericAlloc(<PyTypeObject *>TRADE, 0)
    cdef object trade = <object>made
    Py_DECREF(made)
    cdef uint64_t seq = 0 if prefix.bits & SNAPSHOT else prefix.first_seq + place
    cdef PyObject *back_filled = TRUE if prefix.bits & BACK_FILLED else FALSE
    FILL(made, trade_instrument, Py_NewRef(PyTuple_GET_ITEM(instruments, item.index)))
    FILL(made, trade_trade_id, PyLong_FromUnsignedLongLong(item.trade_id))
    FILL(made, trade_time, PyLong_FromUnsignedLongLong(item.time))
    FILL(made, trade_price, PyLong_FromLongLong(<int64_t>item.price))
    FILL(made, trade_quantity, PyLong_FromUnsignedLongLong(item.quantity))
    FILL(made, trade_buyer_is_maker, Py_NewRef(TRUE if item.is_maker else FALSE))
    FILL(made, trade_kind, Py_NewRef(PyTuple_GET_ITEM(<PyObject *>KINDS, item.kind)))
    FILL(made, trade_seq, PyLong_FromUnsignedLongLong(seq))
    FILL(made, trade_received_ns, Py_NewRef(<PyObject *>received_ns))
    FILL(made, trade_back_filled, Py_NewRef(back_filled))
    return trade


cdef object block_of(Prefix *prefix, list trades, object received_ns):
    cdef PyObject *made = PyType_GenericAlloc(<PyTypeObject *>BLOCK, 0)
    cdef object block = <object>made
    Py_DECREF(made)
    FILL(made, block_first_seq, PyLong_FromUnsignedLongLong(prefix.first_seq))
    FILL(made, block_trades, Py_NewRef(<PyObject *>trades))
    FILL(made, block_received_ns, Py_NewRef(<PyObject *>received_ns))
    FILL(made, block_held_ns, PyLong_FromUnsignedLongLong(prefix.held_ns))
    FILL(made, block_flags, Py_NewRef(PyTuple_GET_ITEM(<PyObject *>FLAGS, prefix.bits)))
    return block


# Blocks to rows of memory, without a Python object a trade.

cdef packed struct Row:
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

assert sizeof(Row) == 56


cdef char *put_rows(char *at, Prefix *prefix, Item *items):
    """Write a block's trades as rows. Gives the place behind them."""
    cdef Row row
    cdef Py_ssize_t place
    memset(&row, 0, sizeof(Row))
    row.received_ns = prefix.received_ns
    row.back_filled = prefix.bits & BACK_FILLED
    for place in range(prefix.count):
        row.seq = 0 if prefix.bits & SNAPSHOT else prefix.first_seq + place
        row.trade_id, row.time = items[place].trade_id, items[place].time
        row.price, row.quantity = <int64_t>items[place].price, items[place].quantity
        row.index, row.kind = items[place].index, KIND_CODES[items[place].kind]
        row.buyer_is_maker = items[place].is_maker
        memcpy(at, &row, sizeof(Row))
        at += sizeof(Row)
    return at


cdef Py_ssize_t trades_in(PyObject *payload):
    """How many trades a payload says it has; not more than a block may have."""
    cdef uint16_t count
    if not PyBytes_CheckExact(payload) or PyBytes_GET_SIZE(<object>payload) < PREFIX_BYTES:
        return 0
    memcpy(&count, PyBytes_AS_STRING(<object>payload) + 3, 2)
    return min(count, MAX_TRADES)


def rows_of(payloads, header):
    """See `fanout.protocol.rows.rows_of`."""
    cdef Prefix prefix
    cdef Item items[MAX_TRADES]
    cdef PyObject *blocks = <PyObject *>payloads
    cdef Py_ssize_t number, trades = 0
    cdef char *at
    if not (PyList_CheckExact(blocks) or PyTuple_CheckExact(blocks)):
        payloads = list(payloads)
        blocks = <PyObject *>payloads
    # Room for all of them at once: to grow would be to copy, a dozen times.
    for number in range(PySequence_Fast_GET_SIZE(blocks)):
        trades += trades_in(PySequence_Fast_GET_ITEM(blocks, number))
    cdef object rows = bytearray()
    PyByteArray_Resize(rows, trades * <Py_ssize_t>sizeof(Row))
    at = PyByteArray_AS_STRING(rows)
    for number in range(PySequence_Fast_GET_SIZE(blocks)):
        if not parse(
            PySequence_Fast_GET_ITEM(blocks, number), <PyObject *>header, &prefix, items
        ):
            return plain("rows_of")(payloads, header)
        at = put_rows(at, &prefix, items)
    return rows


cdef const uint8_t *due_block(
    const uint8_t *at, const uint8_t *end, uint64_t seq, uint32_t *size, uint16_t *count
):
    """The payload in the frame at a place, if that seems to be the block of trades with the number
    `seq`; NULL for another frame."""
    if end - at < LENGTH_BYTES + PREFIX_BYTES:
        return NULL
    memcpy(size, at, LENGTH_BYTES)
    at += LENGTH_BYTES
    if not PREFIX_BYTES <= size[0] <= end - at or size[0] > MAX_FRAME_BYTES:
        return NULL
    memcpy(count, at + 3, 2)
    if at[0] != TRADES or at[1] & SNAPSHOT or word_at(at + 5) != seq:
        return NULL
    # A trade takes a byte and four varints, so that the room for rows is within bounds.
    return at if 5 * <uint32_t>count[0] <= size[0] else NULL


def rows_at(frames, offset, next_seq, header):
    """See `fanout.protocol.rows.rows_at`."""
    cdef Prefix prefix
    cdef Item items[MAX_TRADES]
    cdef const uint8_t *payload
    cdef const uint8_t *begin
    cdef const uint8_t *start
    cdef const uint8_t *end
    cdef uint64_t place, first, seq
    cdef uint32_t size
    cdef uint16_t count
    cdef Py_ssize_t blocks = 0
    cdef char *at
    if not (
        PyBytes_CheckExact(<PyObject *>frames)
        and as_u64(<PyObject *>offset, &place)
        and as_u64(<PyObject *>next_seq, &first)
        and place <= <uint64_t>len(frames)
        and first <= MAX_SEQ
    ):
        return plain("rows_at")(frames, offset, next_seq, header)
    begin = <const uint8_t *>PyBytes_AS_STRING(frames)
    end = begin + PyBytes_GET_SIZE(frames)
    # Room for all of them at once: to grow would be to copy, a dozen times.
    start, seq = begin + place, first
    while (payload := due_block(start, end, seq, &size, &count)) != NULL:
        start, seq = payload + size, seq + count
    cdef object rows = bytearray()
    PyByteArray_Resize(rows, <Py_ssize_t>(seq - first) * <Py_ssize_t>sizeof(Row))
    at = PyByteArray_AS_STRING(rows)
    start, seq = begin + place, first
    while (payload := due_block(start, end, seq, &size, &count)) != NULL:
        if not parse_at(payload, size, <PyObject *>header, &prefix, items):
            break
        at = put_rows(at, &prefix, items)
        start, seq, blocks = payload + size, seq + count, blocks + 1
    PyByteArray_Resize(rows, <Py_ssize_t>(seq - first) * <Py_ssize_t>sizeof(Row))
    if payload == NULL:
        return rows, start - begin, blocks
    more, behind, others = plain("rows_at")(frames, start - begin, seq, header)
    return rows + more, behind, blocks + others


# Trades to blocks.


cdef inline uint8_t *put_varint(uint8_t *at, uint64_t value) noexcept:
    while value > 0x7F:
        at[0] = <uint8_t>(value & 0x7F | 0x80)
        value >>= 7
        at += 1
    at[0] = <uint8_t>value
    return at + 1


cdef inline uint64_t zigzag(uint64_t value) noexcept:
    return (value << 1) ^ (0 - (value >> 63))


cdef bint read_trade(PyObject *trade, Item *item, PyObject *kind):
    """A trade's fields; `kind` is the block's ordinary one, as the object that it is. False if one
    of them is strange."""
    cdef int64_t index, price, code
    cdef PyObject *instrument
    cdef PyObject *maker
    cdef PyObject *own_kind
    if not IS_EXACTLY(trade, TRADE):
        return False
    instrument = SLOT(trade, trade_instrument)
    maker = SLOT(trade, trade_buyer_is_maker)
    own_kind = SLOT(trade, trade_kind)
    if not IS_EXACTLY(instrument, INSTRUMENT) or not (maker == TRUE or maker == FALSE):
        return False
    if not as_i64(SLOT(instrument, instrument_index), &index):
        return False
    if not 0 <= index < MAX_INSTRUMENTS:
        return False
    item.index, item.is_maker = <uint16_t>index, maker == TRUE
    if own_kind != kind:
        if not IS_EXACTLY(own_kind, TRADE_KIND) or not as_i64(own_kind, &code):
            return False
        item.kind = <uint8_t>code
    if not (
        as_u64(SLOT(trade, trade_trade_id), &item.trade_id)
        and as_u64(SLOT(trade, trade_time), &item.time)
        and as_i64(SLOT(trade, trade_price), &price)
        and as_u64(SLOT(trade, trade_quantity), &item.quantity)
    ):
        return False
    item.price = <uint64_t>price
    return True


cdef bint read_prefix(PyObject *block, PyObject *trades, Prefix *prefix, PyObject *kind):
    cdef int64_t bits, code
    cdef Py_ssize_t count = PySequence_Fast_GET_SIZE(trades)
    if not (1 <= count <= MAX_TRADES and IS_EXACTLY(kind, TRADE_KIND) and as_i64(kind, &code)):
        return False
    if not (as_i64(SLOT(block, block_flags), &bits) and 0 <= bits <= 0xFF):
        return False
    prefix.count, prefix.bits, prefix.ordinary = <uint16_t>count, <uint8_t>bits, <uint8_t>code
    return (
        as_u64(SLOT(block, block_first_seq), &prefix.first_seq)
        and 1 <= prefix.first_seq <= MAX_SEQ - <uint64_t>count + 1
        and as_u64(SLOT(block, block_received_ns), &prefix.received_ns)
        and as_u64(SLOT(block, block_held_ns), &prefix.held_ns)
    )


cdef inline uint8_t *put_long_head(
    uint8_t *at, uint8_t head, Item *item, uint8_t ordinary
) noexcept:
    """Write the head of a trade of another kind, or of an instrument beyond the first 32."""
    cdef uint8_t *start = at
    at += 1
    if item.kind != ordinary:
        head |= ESCAPE
        at[0] = item.kind
        at += 1
    if item.index > LOW_INDEX:
        head |= MORE
        at[0] = <uint8_t>(item.index >> LOW_INDEX_BITS)
        at += 1
    start[0] = head
    return at


cdef uint8_t *put_block(uint8_t *at, PyObject *block, PyObject *header):
    """Write a block's payload but for its CRC. Gives the place behind it; NULL if anything about
    the block is out of order."""
    cdef PyObject *trades
    cdef PyObject *references
    cdef PyObject *kind
    cdef Prefix prefix
    cdef Item item
    cdef Past pasts[MAX_INSTRUMENTS]
    cdef uint8_t is_known[MAX_INSTRUMENTS]
    cdef Past *past
    cdef Py_ssize_t place, known
    cdef uint8_t head
    if not (IS_EXACTLY(block, BLOCK) and IS_EXACTLY(header, HEADER)):
        return NULL
    references = tuple_in(header, header_references)
    trades = SLOT(block, block_trades)
    if references == NULL or not (PyList_CheckExact(trades) or PyTuple_CheckExact(trades)):
        return NULL
    if not PySequence_Fast_GET_SIZE(trades) or not IS_EXACTLY(
        PySequence_Fast_GET_ITEM(trades, 0), TRADE
    ):
        return NULL
    kind = SLOT(PySequence_Fast_GET_ITEM(trades, 0), trade_kind)
    if not read_prefix(block, trades, &prefix, kind):
        return NULL
    at[0], at[1], at[2] = TRADES, prefix.bits, prefix.ordinary
    memcpy(at + 3, &prefix.count, 2)
    memcpy(at + 5, &prefix.first_seq, 8)
    memcpy(at + 13, &prefix.received_ns, 8)
    at = put_varint(at + PREFIX_BYTES, prefix.held_ns)
    known = min(PyTuple_GET_SIZE(references), MAX_INSTRUMENTS)
    memset(is_known, False, known)
    for place in range(prefix.count):
        item.kind = prefix.ordinary
        if not read_trade(PySequence_Fast_GET_ITEM(trades, place), &item, kind):
            return NULL
        if item.index >= known:
            return NULL
        past = &pasts[item.index]
        if not is_known[item.index]:
            if not know(past, references, item.index):
                return NULL
            is_known[item.index] = True
        head = item.index & LOW_INDEX
        if item.is_maker:
            head |= MAKER
        if item.kind == prefix.ordinary and item.index <= LOW_INDEX:
            at[0] = head
            at += 1
        else:
            at = put_long_head(at, head, &item, prefix.ordinary)
        at = put_varint(at, zigzag(item.trade_id - past.trade_id - 1))
        at = put_varint(at, zigzag(item.time - past.time))
        at = put_varint(at, zigzag(item.price - past.price))
        at = put_varint(at, item.quantity)
        past.trade_id, past.time, past.price = item.trade_id, item.time, item.price
    return at


def encode_block(block, header):
    """See `fanout.protocol.block.encode_block`."""
    cdef uint8_t payload[PREFIX_BYTES + MAX_VARINT_BYTES + MAX_TRADES * MAX_TRADE_BYTES + CRC_BYTES]
    cdef uint8_t *end = put_block(payload, <PyObject *>block, <PyObject *>header)
    cdef uint32_t crc
    if end == NULL:
        return plain("encode_block")(block, header)
    crc = crc32_of(payload, end - payload)
    memcpy(end, &crc, CRC_BYTES)
    return PyBytes_FromStringAndSize(<char *>payload, end - payload + CRC_BYTES)
