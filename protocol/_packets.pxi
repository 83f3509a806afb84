# The frames of a packet: `check_frames` in C. Included by `_speedups.pyx`, behind `_journal.pxi`.

cdef enum:
    INSTRUMENTS = 0x25

assert INSTRUMENTS == FrameKind.INSTRUMENTS


def check_frames(data, at, count, due, is_snapshot):
    cdef const uint8_t *bytes_
    cdef const uint8_t *body
    cdef uint64_t offset, size, left, next_seq, seq, records, at_ns
    cdef uint64_t listings = 0
    cdef uint64_t special = 0
    cdef uint32_t length, crc
    cdef uint8_t kind
    cdef bint is_apart
    if not (
        PyBytes_CheckExact(<PyObject *>data)
        and as_u64(<PyObject *>at, &offset)
        and as_u64(<PyObject *>count, &left)
        and as_u64(<PyObject *>due, &next_seq)
        and type(is_snapshot) is bool
    ):
        return plain("check_frames")(data, at, count, due, is_snapshot)
    is_apart = is_snapshot
    bytes_ = <const uint8_t *>PyBytes_AS_STRING(data)
    size = PyBytes_GET_SIZE(data)
    while left:
        left -= 1
        if offset > size or size - offset < LENGTH_BYTES:
            break
        memcpy(&length, bytes_ + offset, LENGTH_BYTES)
        offset += LENGTH_BYTES
        if length <= CRC_BYTES or length > size - offset:
            break
        body = bytes_ + offset
        offset += length
        length -= CRC_BYTES
        memcpy(&crc, body + length, CRC_BYTES)
        if crc != crc32_of(body, length):
            break
        if not numbers_of(body, length, &seq, &records, &at_ns):
            break
        kind = body[0]
        if FIRST_NUMBERED <= kind <= LAST_NUMBERED and not records:
            if not 1 <= word_at(body + 5) <= MAX_SEQ:
                break
        if is_apart:
            if records or kind == HEARTBEAT or kind == END:
                break
            continue
        if kind == HEADER_KIND or (seq and seq != next_seq):
            break
        listings += kind == INSTRUMENTS
        special += kind == LOSS or kind == END
        next_seq += records
    else:
        if offset == size and (listings == 0 or listings == <uint64_t>count):
            return next_seq, listings, special
    return plain("check_frames")(data, at, count, due, is_snapshot)
