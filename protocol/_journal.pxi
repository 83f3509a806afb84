# The frames of a journal: `scan` in C. Included by `_speedups.pyx`.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

cdef enum:
    HEADER_KIND = 0x02
    STATUS = 0x20
    GAP = 0x21
    LOSS = 0x22
    HEARTBEAT = 0x23
    END = 0x24
    FIRST_NUMBERED = 0x10
    LAST_NUMBERED = 0x1F
    START_BYTES = 5
    LONG_BYTES = 65536  # from here on other threads run meanwhile

cdef const uint8_t *START = b"START"

assert (HEADER_KIND, STATUS, GAP, LOSS, HEARTBEAT, END) == (
    FrameKind.HEADER,
    FrameKind.STATUS,
    FrameKind.GAP,
    FrameKind.LOSS,
    FrameKind.HEARTBEAT,
    FrameKind.END,
)
assert range(FIRST_NUMBERED, LAST_NUMBERED + 1) == constants.NUMBERED_KINDS
assert START[:START_BYTES] == constants.START

# As `journal_scan.Fault`, and that a frame is to be marked. That module imports this one, so that
# its types are asked for at the first call.
cdef enum:
    NO_FAULT = 0
    CUT = 1
    BAD_LENGTH = 2
    BAD_CRC = 3
    MALFORMED = 4
    BEHIND = 5
    AHEAD = 6
    MARKED = 7

cdef object Mark = None
cdef object Scan = None
cdef tuple FAULTS = ()

cdef struct Walk:
    const uint8_t *data
    uint64_t size
    uint64_t offset
    uint64_t stop
    uint64_t next_seq
    uint64_t time_ns
    uint64_t until_seq
    uint64_t until_ns
    bint is_timed  # whether there is an `until_ns`
    uint64_t frames
    uint64_t marked  # offset of the frame that is to be marked
    uint64_t marked_seq


cdef inline uint64_t word_at(const uint8_t *at) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, at, 8)
    return word


cdef inline bint numbers_of(
    const uint8_t *body, uint64_t size, uint64_t *seq, uint64_t *count, uint64_t *at_ns
) noexcept nogil:
    """A frame's number, how many it takes and its time; a number of 0 if it has none. False for one
    that is malformed."""
    cdef uint8_t kind = body[0]
    cdef uint16_t records
    seq[0] = count[0] = at_ns[0] = 0
    if FIRST_NUMBERED <= kind <= LAST_NUMBERED:
        if size < PREFIX_BYTES:
            return False
        memcpy(&records, body + 3, 2)
        if body[1] & SNAPSHOT or not records:
            return records != 0
        count[0], seq[0], at_ns[0] = records, word_at(body + 5), word_at(body + 13)
    elif kind == STATUS:
        if size < 20:
            return False
        count[0], seq[0], at_ns[0] = 1, word_at(body + 1), word_at(body + 12)
    elif kind == GAP:
        if size < 9:
            return False
        count[0], seq[0] = 1, word_at(body + 1)
    elif kind == LOSS:
        if size < 17 or word_at(body + 9) < word_at(body + 1):
            return False
        seq[0] = word_at(body + 1)
        if word_at(body + 9) > MAX_SEQ:  # the count does not wrap around
            return False
        count[0] = word_at(body + 9) - seq[0] + 1
    elif kind == HEARTBEAT:
        if size < 17:
            return False
        seq[0], at_ns[0] = word_at(body + 1), word_at(body + 9)
    elif kind == HEADER_KIND:
        if size < 18:
            return False
        seq[0] = word_at(body + 10)
    elif kind == END:
        if size < 9:
            return False
        seq[0] = word_at(body + 1) + 1
    else:
        return True
    return 1 <= seq[0] <= MAX_SEQ and (count[0] == 0 or count[0] - 1 <= MAX_SEQ - seq[0])


cdef int walk_on(Walk *walk) noexcept nogil:
    """Go on behind frames to where there are no more to go by, or behind one to be marked."""
    cdef uint64_t begin, end, seq, count, at_ns
    cdef uint32_t length, crc
    cdef const uint8_t *body
    cdef uint8_t kind
    while walk.offset < walk.stop:
        begin = walk.offset + LENGTH_BYTES
        if begin > walk.size:
            return CUT
        memcpy(&length, walk.data + walk.offset, LENGTH_BYTES)
        if not 0 < length <= MAX_FRAME_BYTES:
            return BAD_LENGTH
        end = begin + length
        if end > walk.size:
            return CUT
        body = walk.data + begin
        if length == START_BYTES and memcmp(body, START, START_BYTES) == 0:
            seq = count = at_ns = 0
        else:
            if length <= CRC_BYTES:
                return MALFORMED
            length -= CRC_BYTES
            memcpy(&crc, body + length, CRC_BYTES)
            if crc != crc32_of(body, length):
                return BAD_CRC
            if not numbers_of(body, length, &seq, &count, &at_ns):
                return MALFORMED
        if seq:
            if walk.next_seq == 0:
                walk.next_seq = seq
            if seq != walk.next_seq:
                return BEHIND if seq < walk.next_seq else AHEAD
            if seq + count > walk.until_seq:
                return NO_FAULT
        if walk.is_timed and at_ns >= walk.until_ns:
            return NO_FAULT
        kind = body[0]
        walk.marked, walk.marked_seq = walk.offset, walk.next_seq
        walk.offset, walk.frames = end, walk.frames + 1
        walk.next_seq += count
        if at_ns > walk.time_ns:
            walk.time_ns = at_ns
        if not (FIRST_NUMBERED <= kind <= LAST_NUMBERED or kind in (STATUS, GAP, HEARTBEAT)):
            return MARKED
    return NO_FAULT


cdef list walked(Walk *walk, int *fault):
    """The marks of a whole scan."""
    cdef list marks = []
    while True:
        if walk.offset < walk.stop and walk.stop - walk.offset >= LONG_BYTES:
            with nogil:
                fault[0] = walk_on(walk)
        else:
            fault[0] = walk_on(walk)
        if fault[0] != MARKED:
            return marks
        marks.append(
            Mark(walk.marked, walk.data[walk.marked + LENGTH_BYTES], walk.marked_seq)
        )


cdef bint know_journal_types() except False:
    global Mark, Scan, FAULTS
    if not FAULTS:
        from fanout.protocol import journal_scan

        Mark, Scan, FAULTS = journal_scan.Mark, journal_scan.Scan, tuple(journal_scan.Fault)
        assert [each.name for each in FAULTS] == [
            "NONE", "CUT", "LENGTH", "CRC", "MALFORMED", "BEHIND", "AHEAD"
        ]
    return True


cdef inline bint at_most(object number, uint64_t *value, bint *is_less):
    """A number that may be beyond 64 bits, which stands for none."""
    is_less[0] = as_u64(<PyObject *>number, value)
    return is_less[0] or (type(number) is int and number > 0)


def scan(
    data, offset, next_seq, time_ns, *, stop, until_seq=constants.MAX_SEQ + 1, until_ns=2**64
):
    cdef Py_buffer view
    cdef Walk walk
    cdef int fault = NO_FAULT
    cdef bint is_in_order
    know_journal_types()
    walk.frames = walk.marked = walk.marked_seq = 0
    is_in_order = (
        as_u64(<PyObject *>offset, &walk.offset)
        and as_u64(<PyObject *>next_seq, &walk.next_seq)
        and as_u64(<PyObject *>time_ns, &walk.time_ns)
        and as_u64(<PyObject *>stop, &walk.stop)
        and as_u64(<PyObject *>until_seq, &walk.until_seq)
        and at_most(until_ns, &walk.until_ns, &walk.is_timed)
        and walk.next_seq <= MAX_SEQ + 1
        and walk.offset <= MAX_SEQ
    )
    if is_in_order:
        try:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        except (BufferError, TypeError):
            is_in_order = False
    if not is_in_order:
        return plain("scan")(
            data, offset, next_seq, time_ns, stop=stop, until_seq=until_seq, until_ns=until_ns
        )
    try:
        walk.data, walk.size = <const uint8_t *>view.buf, view.len
        marks = walked(&walk, &fault)
    finally:
        PyBuffer_Release(&view)
    return Scan(
        walk.offset, walk.next_seq, walk.time_ns, walk.frames, tuple(marks), FAULTS[fault]
    )
