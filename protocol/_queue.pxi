# The queue: what `push` and `pop` do when there is nothing special about it. Included by
# `_speedups.pyx`.

cdef enum:
    LENGTH_BYTES = 4
    MAX_FRAME_BYTES = 65536
    MAGIC_WORD = 0
    WRITE_WORD = 8
    READ_WORD = 16
    PAGE_BYTES = 462848
    LOOKS = 64

cdef uint64_t MAGIC = queue_page.MAGIC

assert (LENGTH_BYTES, MAX_FRAME_BYTES) == (constants.LENGTH_BYTES, constants.MAX_FRAME_BYTES)
assert (MAGIC_WORD, WRITE_WORD, READ_WORD, PAGE_BYTES) == (
    queue_page.MAGIC_WORD,
    queue_page.WRITE_WORD,
    queue_page.READ_WORD,
    queue_page.PAGE_BYTES,
)

cdef PyTypeObject *QUEUE_END = <PyTypeObject *>queue_page.QueueEnd
cdef Py_ssize_t end_words = offset_of(shared_end.SharedEnd, "_words")
cdef Py_ssize_t end_data = offset_of(shared_end.SharedEnd, "_data")
cdef Py_ssize_t end_position = offset_of(shared_end.SharedEnd, "_position")
cdef Py_ssize_t end_capacity = offset_of(shared_end.SharedEnd, "capacity")
cdef Py_ssize_t writer_room = -1
cdef PyTypeObject *WRITER = NULL  # the class that has it: not there yet when this is imported

cdef struct End:
    # One end of a queue, or of a ring.
    uint64_t *words
    uint8_t *data
    uint64_t capacity
    uint64_t position


cdef inline bint look(PyObject *shared, PyTypeObject *kind, End *end):
    """False for what is no end of that kind, or one that has been released."""
    if not PyObject_TypeCheck(shared, kind):
        return False
    end.words = <uint64_t *>memory_of(SLOT(shared, end_words))
    end.data = <uint8_t *>memory_of(SLOT(shared, end_data))
    return (
        end.words != NULL
        and end.data != NULL
        and as_u64(SLOT(shared, end_capacity), &end.capacity)
        and as_u64(SLOT(shared, end_position), &end.position)
    )


cdef inline bint put(PyObject *queue, Py_ssize_t offset, uint64_t value) except False:
    """Set a slot to a number."""
    cdef PyObject *before = SLOT(queue, offset)
    FILL(queue, offset, PyLong_FromUnsignedLongLong(value))
    Py_DECREF(before)
    return True


cdef object ODD = object()


cdef inline object next_frame(object self, End *end):
    """The payload of the next frame, and the position behind it; None if there is none yet, ODD if
    the plain function has to look."""
    cdef uint64_t unread, start
    cdef uint32_t length
    # A reader that spins sees the next frame from here, and not from the middle of the loop around
    # it: a few hundred nanoseconds sooner.
    for _ in range(LOOKS):
        unread = LOAD(end.words + WRITE_WORD) - end.position
        if unread:
            break
        RELAX()
    else:
        return None
    start = end.position & (end.capacity - 1)
    if unread > end.capacity or start + LENGTH_BYTES > end.capacity:
        return ODD
    memcpy(&length, end.data + start, LENGTH_BYTES)
    start += LENGTH_BYTES
    if not 0 < length <= MAX_FRAME_BYTES or LENGTH_BYTES + length > unread:
        return ODD
    if start + length > end.capacity:
        return ODD
    cdef bytes payload = PyBytes_FromStringAndSize(<char *>end.data + start, length)
    if LOAD(end.words + MAGIC_WORD) != MAGIC:
        return ODD
    end.position += LENGTH_BYTES + length
    put(<PyObject *>self, end_position, end.position)
    return payload


def QueueReader_pop(self):
    """See `fanout.protocol.queue.QueueReader.pop`."""
    cdef End end
    if not look(<PyObject *>self, QUEUE_END, &end):
        return plain("QueueReader_pop")(self)
    payload = next_frame(self, &end)
    if payload is ODD:
        return plain("QueueReader_pop")(self)
    if payload is not None:
        STORE(end.words + READ_WORD, end.position)
    return payload


def QueueReader_take(self):
    """See `fanout.protocol.queue.QueueReader.take`."""
    cdef End end
    if not look(<PyObject *>self, QUEUE_END, &end):
        return plain("QueueReader_take")(self)
    STORE(end.words + READ_WORD, end.position)
    payload = next_frame(self, &end)
    return plain("QueueReader_take")(self) if payload is ODD else payload


def QueueWriter_push(self, frames):
    """See `fanout.protocol.queue.QueueWriter.push`."""
    global writer_room, WRITER
    cdef End end
    cdef uint64_t size, room, start, split
    if WRITER == NULL:
        of = next((each for each in type(self).__mro__ if "_room" in vars(each)), queue_page.QueueEnd)
        writer_room = offset_of(of, "_room")
        WRITER = <PyTypeObject *>of
    if not (
        PyBytes_CheckExact(<PyObject *>frames)
        and writer_room > 0
        and PyObject_TypeCheck(<PyObject *>self, WRITER)
        and look(<PyObject *>self, QUEUE_END, &end)
        and as_u64(SLOT(<PyObject *>self, writer_room), &room)
    ):
        return plain("QueueWriter_push")(self, frames)
    size = PyBytes_GET_SIZE(frames)
    if size > room:
        return plain("QueueWriter_push")(self, frames)
    start = end.position & (end.capacity - 1)
    split = min(size, end.capacity - start)
    memcpy(end.data + start, PyBytes_AS_STRING(frames), split)
    memcpy(end.data, PyBytes_AS_STRING(frames) + split, size - split)
    end.position += size
    STORE(end.words + WRITE_WORD, end.position)  # first of all: the reader waits for it
    put(<PyObject *>self, writer_room, room - size)
    put(<PyObject *>self, end_position, end.position)
    return True
