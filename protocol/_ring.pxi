# The ring: what `push` and `pop` do when there is nothing special about it. Included by
# `_speedups.pyx`.

cdef enum:
    INTENT_WORD = 8
    NEXT_SEQ_WORD = 9
    TAIL_WORD = 10
    LANDMARK_BITS = 6
    STEP_BYTES = 16384

cdef uint64_t RING_MAGIC = ring_page.MAGIC

assert (1 << LANDMARK_BITS, STEP_BYTES) == (ring_page.LANDMARKS, ring_page.STEP_BYTES)
assert (MAGIC_WORD, INTENT_WORD, NEXT_SEQ_WORD, TAIL_WORD) == (
    ring_page.MAGIC_WORD,
    ring_page.INTENT_WORD,
    ring_page.NEXT_SEQ_WORD,
    ring_page.TAIL_WORD,
)

cdef PyTypeObject *RING_END = <PyTypeObject *>ring_page.RingEnd
cdef PyTypeObject *RING_WRITER = NULL  # not there yet when this is imported


def RingReader_pop(self):
    """See `fanout.protocol.ring.RingReader.pop`."""
    cdef End end
    cdef uint64_t unread, start
    cdef uint32_t length
    if not look(<PyObject *>self, RING_END, &end):
        return plain("RingReader_pop")(self)
    unread = LOAD(end.words + TAIL_WORD) - end.position
    if not unread:
        return None
    start = end.position & (end.capacity - 1)
    if start + LENGTH_BYTES > end.capacity:
        return plain("RingReader_pop")(self)
    memcpy(&length, end.data + start, LENGTH_BYTES)
    start += LENGTH_BYTES
    if (
        not 0 < length <= MAX_FRAME_BYTES
        or LENGTH_BYTES + length > unread
        or start + length > end.capacity
    ):
        return plain("RingReader_pop")(self)
    cdef bytes payload = PyBytes_FromStringAndSize(<char *>end.data + start, length)
    FENCE()
    if (
        LOAD(end.words + INTENT_WORD) - end.position > end.capacity
        or LOAD(end.words + MAGIC_WORD) != RING_MAGIC
    ):
        return plain("RingReader_pop")(self)
    put(<PyObject *>self, end_position, end.position + LENGTH_BYTES + length)
    return payload


def RingWriter_push(self, frames, next_seq):
    """See `fanout.protocol.ring.RingWriter.push`."""
    global RING_WRITER
    cdef End end
    cdef uint64_t size, seq, start, split, stride
    if RING_WRITER == NULL:
        from fanout.protocol.ring import RingWriter

        RING_WRITER = <PyTypeObject *>RingWriter
    if not (
        PyBytes_CheckExact(<PyObject *>frames)
        and look(<PyObject *>self, RING_WRITER, &end)
        and as_u64(<PyObject *>next_seq, &seq)
    ):
        return plain("RingWriter_push")(self, frames, next_seq)
    size = PyBytes_GET_SIZE(frames)
    if size > end.capacity >> 2 or size > STEP_BYTES:
        return plain("RingWriter_push")(self, frames, next_seq)
    STORE(end.words + INTENT_WORD, end.position + size)
    FENCE()
    stride = (end.capacity >> LANDMARK_BITS) - 1
    if (end.position & stride) + size > stride:
        self._set_landmark()
    start = end.position & (end.capacity - 1)
    split = min(size, end.capacity - start)
    memcpy(end.data + start, PyBytes_AS_STRING(frames), split)
    memcpy(end.data, PyBytes_AS_STRING(frames) + split, size - split)
    STORE(end.words + NEXT_SEQ_WORD, seq)
    STORE(end.words + TAIL_WORD, end.position + size)
    put(<PyObject *>self, end_position, end.position + size)
