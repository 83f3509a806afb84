# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""Compiled twins of the order book and of reading levels from text.

`OrderBook` does what the class of its name does in `fanout.protocol.book`; the levels and the
reason why they are kept as they are stand in `_book.h`. Its errors, and what is rarely asked for,
come from the functions that both classes use, `fanout.protocol.book_common`.

All loops over levels are in C. They call nothing of Python, so no other code sees a book that is
half changed.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int64_t, uint64_t

from fanout.protocol import book_common, constants
from fanout.protocol.constants import BookFlags, Side
from fanout.protocol.book_records import BookUpdate, Level

cdef extern from "_speedups.h":
    Py_ssize_t offset_of(object type, const char *name)
    PyObject *SLOT(PyObject *object, Py_ssize_t offset)
    bint IS_EXACTLY(PyObject *object, PyObject *type)
    bint as_i64(PyObject *number, int64_t *value)
    bint as_u64(PyObject *number, uint64_t *value)
    bint PyBytes_Check(PyObject *object)
    bint PyBytes_CheckExact(PyObject *object)

cdef extern from "_book.h":
    enum:
        CHUNK_LEVELS
        MAX_LEVELS
        LEVEL_BYTES
        MAX_DIGITS
        DONE
        NO_MEMORY
        TOO_DEEP

    ctypedef struct Part:
        i128 quantity
        i128 notional
        int64_t price
        Py_ssize_t levels
        bint is_exact

    ctypedef struct Walk:
        pass

    void levels_clear(Levels *side)
    void levels_free(Levels *side)
    Py_ssize_t levels_bytes(const Levels *side)
    int change_levels(Levels *side, const char *packed, Py_ssize_t count)
    void cut_levels(Levels *side, int64_t key)
    uint64_t quantity_of(const Levels *side, int64_t key)
    Py_ssize_t count_down_to(const Levels *side, int64_t key)
    uint64_t read_u64(const char *at)
    Walk walk_of(const Levels *side)
    bint next_level(Walk *walk, int64_t *price, uint64_t *quantity)
    Part part_of(const Levels *side, Py_ssize_t count)
    Part part_down_to(const Levels *side, int64_t key)
    Part part_swept(const Levels *side, uint64_t wanted)
    i128 total_of(const Levels *side, Py_ssize_t count)
    i128 total_down_to(const Levels *side, int64_t key)
    bint IS_EXACTLY_U64(i128 value, uint64_t other)
    i128 SUM(i128 one, i128 other)
    i128 DIFFERENCE(i128 one, i128 other)
    bint IS_ZERO(i128 value)
    object long_of(i128 value)
    object quotient(i128 dividend, i128 divisor)
    object level_of(PyTypeObject *type, int64_t price, uint64_t quantity)
    object first_levels(const Levels *side, Py_ssize_t count, PyTypeObject *type)
    object pack_first(const Levels *side, Py_ssize_t count)
    const char *read_levels(
        const char *at, const char *end, long price_exponent, long quantity_exponent, bint falling,
        char *packed, Py_ssize_t room, Py_ssize_t *count
    )

cdef enum:
    WHOLE = 1
    MORE = 2
    TOP_ONLY = 4
    UNKNOWN = 0
    FILLING = 1
    PARTIAL = 2
    KNOWN = 3
    BID = 0
    ASK = 1
    LEAST_TEXT = 10  # of a level and its comma

assert (WHOLE, MORE, TOP_ONLY) == (BookFlags.WHOLE, BookFlags.MORE, BookFlags.TOP_ONLY)
assert (BID, ASK, MAX_LEVELS) == (Side.BID, Side.ASK, constants.MAX_BOOK_LEVELS)

cdef PyObject *BOOK_UPDATE = <PyObject *>BookUpdate
cdef PyTypeObject *LEVEL = <PyTypeObject *>Level

cdef Py_ssize_t update_instrument = offset_of(BookUpdate, "instrument")
cdef Py_ssize_t update_update_id = offset_of(BookUpdate, "update_id")
cdef Py_ssize_t update_time = offset_of(BookUpdate, "time")
cdef Py_ssize_t update_packed_bids = offset_of(BookUpdate, "packed_bids")
cdef Py_ssize_t update_packed_asks = offset_of(BookUpdate, "packed_asks")
cdef Py_ssize_t update_flags = offset_of(BookUpdate, "flags")

cdef object ZERO = 0
cdef Levels NO_LEVELS


cdef class OrderBook:
    """See `fanout.protocol.book.OrderBook`."""

    # Its attributes are in `_book.pxd`, for other compiled twins.

    def __cinit__(self, instrument=None):
        self.asks.flip = -1
        self.instrument = instrument
        self.update_id = self.time = ZERO

    def __dealloc__(self):
        levels_free(&self.bids)
        levels_free(&self.asks)

    def __sizeof__(self):
        return (
            object.__sizeof__(self) + levels_bytes(&self.bids) + levels_bytes(&self.asks)
        )

    def __repr__(self):
        return book_common.repr_of(self)

    def __copy__(self):
        return book_common.copy_of(self)

    def __deepcopy__(self, _):
        return book_common.copy_of(self)

    def __reduce__(self):
        from fanout.protocol.book import new_book  # that module imports this one

        return new_book, (), self.__getstate__()

    def __getstate__(self):
        return (
            self.instrument, self.state, pack_first(&self.bids, MAX_LEVELS),
            pack_first(&self.asks, MAX_LEVELS), self.update_id, self.time, self.is_top_only,
        )

    def __setstate__(self, state):
        self.instrument, its_state, bids, asks, update_id, time, is_top_only = state
        self.replace(bids, asks, update_id, time)
        self.state = its_state
        self.is_top_only = is_top_only

    cpdef clear(self):
        """Make the book unknown."""
        levels_clear(&self.bids)
        levels_clear(&self.asks)
        self.state = UNKNOWN
        self.update_id = self.time = ZERO
        self.is_top_only = False

    cdef int change(self, Levels *levels, PyObject *packed, int side) except -1:
        cdef int result
        if not PyBytes_Check(packed) or PyBytes_GET_SIZE(<object>packed) % LEVEL_BYTES:
            self.clear()
            raise book_common.not_levels(<object>packed)
        result = change_levels(
            levels,
            PyBytes_AS_STRING(<object>packed),
            PyBytes_GET_SIZE(<object>packed) // LEVEL_BYTES,
        )
        if result == DONE:
            return 0
        self.clear()
        if result == TOO_DEEP:
            raise book_common.too_deep(Side(side))
        raise MemoryError

    cdef void cut(self, Levels *levels, PyObject *packed) noexcept:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(<object>packed)
        if size:
            cut_levels(
                levels,
                <int64_t>read_u64(PyBytes_AS_STRING(<object>packed) + size - LEVEL_BYTES)
                ^ levels.flip,
            )

    def apply(self, update):
        """Apply the next update. See `fanout.protocol.book.OrderBook.apply`."""
        cdef PyObject *said = <PyObject *>update
        cdef uint64_t flags
        if not IS_EXACTLY(said, BOOK_UPDATE) or not is_filled(said):
            # One of another type is turned into one of this type first.
            return self.apply(BookUpdate(
                update.instrument, update.update_id, update.time, update.packed_bids,
                update.packed_asks, update.flags
            ))
        if SLOT(said, update_instrument) != <PyObject *>self.instrument:
            book_common.meet(self, update.instrument)
        if not as_u64(SLOT(said, update_flags), &flags):
            flags = int(update.flags) & (WHOLE | MORE | TOP_ONLY)
        if flags & WHOLE:
            self.clear()
            self.state = FILLING
        elif self.state == UNKNOWN:
            raise book_common.unknown(update)
        self.change(&self.bids, SLOT(said, update_packed_bids), BID)
        self.change(&self.asks, SLOT(said, update_packed_asks), ASK)
        if flags & TOP_ONLY:
            self.cut(&self.bids, SLOT(said, update_packed_bids))
            self.cut(&self.asks, SLOT(said, update_packed_asks))
            self.is_top_only = True
        self.update_id = <object>SLOT(said, update_update_id)
        self.time = <object>SLOT(said, update_time)
        if not flags & MORE:
            self.state = KNOWN
        elif self.state == KNOWN:
            self.state = PARTIAL

    def replace(self, bids, asks, update_id, time):
        """Make this the whole book. See `fanout.protocol.book.OrderBook.replace`."""
        self.clear()
        bids = book_common.as_packed(bids)
        asks = book_common.as_packed(asks)
        self.change(&self.bids, <PyObject *>bids, BID)
        self.change(&self.asks, <PyObject *>asks, ASK)
        self.update_id = update_id
        self.time = time
        self.state = KNOWN

    @property
    def is_known(self):
        """Whether a whole book has come."""
        return self.state >= PARTIAL

    @property
    def is_consistent(self):
        """Whether the book is known, and no update of it is to be continued."""
        return self.state == KNOWN

    @property
    def is_crossed(self):
        """Whether the best bid is as high as the best ask, or higher."""
        cdef int64_t bid, ask
        cdef uint64_t quantity
        cdef Walk bids = walk_of(self.shown(BID))
        cdef Walk asks = walk_of(self.shown(ASK))
        return (
            next_level(&bids, &bid, &quantity) and next_level(&asks, &ask, &quantity) and bid >= ask
        )

    @property
    def best_bid(self):
        """The highest bid, None if there is none."""
        return best_of(self.shown(BID))

    @property
    def best_ask(self):
        """The lowest ask, None if there is none."""
        return best_of(self.shown(ASK))

    @property
    def bid_count(self):
        """How many levels the bids have."""
        return self.shown(BID).levels

    @property
    def ask_count(self):
        """How many levels the asks have."""
        return self.shown(ASK).levels

    def levels(self, count=MAX_LEVELS):
        """The first bids and the first asks, from the best outwards."""
        cdef Py_ssize_t most = counted(count)
        return (
            first_levels(self.shown(BID), most, LEVEL), first_levels(self.shown(ASK), most, LEVEL)
        )

    def packed(self, count=MAX_LEVELS):
        """The same, packed as in `BookUpdate`; `numpy.frombuffer` reads that too."""
        cdef Py_ssize_t most = counted(count)
        return pack_first(self.shown(BID), most), pack_first(self.shown(ASK), most)

    def quantity_at(self, side, price):
        """The quantity at one price, 0 if there is no level."""
        cdef const Levels *levels = self.of(side)
        cdef int64_t number
        price = PyNumber_Index(price)
        if not as_i64(<PyObject *>price, &number):
            return 0
        return quantity_of(levels, number ^ levels.flip)

    def count_to(self, side, price):
        """How many levels there are from the best to a price, which is included."""
        cdef const Levels *levels = self.of(side)
        cdef int64_t number
        price = PyNumber_Index(price)
        if as_i64(<PyObject *>price, &number):
            return count_down_to(levels, number ^ levels.flip)
        return levels.levels if is_beyond(levels, price) else 0

    def quantity_to(self, side, price):
        """The quantity from the best level to a price, which is included."""
        cdef const Levels *levels = self.of(side)
        cdef int64_t number
        price = PyNumber_Index(price)
        if not as_i64(<PyObject *>price, &number):
            return self.depth_to(side, price).quantity
        return long_of(total_down_to(levels, number ^ levels.flip))

    def depth(self, side, count):
        """The first `count` levels."""
        cdef const Levels *levels = self.of(side)
        cdef Part part = part_of(levels, counted(count))
        return shown_part(&part, levels, None)

    def depth_to(self, side, price):
        """The levels from the best to a price, which is included."""
        cdef const Levels *levels = self.of(side)
        cdef Part part
        cdef int64_t number
        price = PyNumber_Index(price)
        if as_i64(<PyObject *>price, &number):
            part = part_down_to(levels, number ^ levels.flip)
        else:
            part = part_of(levels, MAX_LEVELS if is_beyond(levels, price) else 0)
        return shown_part(&part, levels, None)

    def sweep(self, side, quantity):
        """What an order of this quantity would take. See `fanout.protocol.book.OrderBook.sweep`."""
        cdef const Levels *levels = self.of(side)
        cdef Part part
        cdef uint64_t wanted
        quantity = PyNumber_Index(quantity)
        if not as_u64(<PyObject *>quantity, &wanted):
            book_common.not_negative(quantity, "of quantity")
            return book_common.sweep_of(first_levels(levels, MAX_LEVELS, LEVEL), quantity)
        part = part_swept(levels, wanted)
        return shown_part(&part, levels, quantity)

    def vwap(self, side, quantity):
        """The average price of `sweep`. See `fanout.protocol.book.OrderBook.vwap`."""
        cdef Part part
        cdef uint64_t wanted
        quantity = PyNumber_Index(quantity)
        if as_u64(<PyObject *>quantity, &wanted):
            part = part_swept(self.of(side), wanted)
            if wanted == 0 or not IS_EXACTLY_U64(part.quantity, wanted):
                return None
            if part.is_exact:
                return quotient(part.notional, part.quantity)
        taken = self.sweep(side, quantity)
        return taken.vwap if taken.quantity == quantity else None

    def imbalance(self, count):
        """Bids less asks, divided by both. See `fanout.protocol.book.OrderBook.imbalance`."""
        cdef Py_ssize_t most = counted(count)
        cdef i128 bids = total_of(self.shown(BID), most)
        cdef i128 asks = total_of(self.shown(ASK), most)
        if IS_ZERO(SUM(bids, asks)):
            return None
        return quotient(DIFFERENCE(bids, asks), SUM(bids, asks))

    def digest(self):
        """A number for the levels. See `fanout.protocol.book.OrderBook.digest`."""
        return book_common.digest_of(self)

    def whole(self):
        """The whole book as updates. See `fanout.protocol.book.OrderBook.whole`."""
        return list(self.pieces())

    def pieces(self):
        """The updates of `whole`, one by one. See `fanout.protocol.book.OrderBook.pieces`."""
        return book_common.pieces_of(self, *self.packed())

    cdef const Levels *shown(self, int side) noexcept:
        if self.state < PARTIAL:
            return &NO_LEVELS
        return &self.asks if side == ASK else &self.bids

    cdef const Levels *of(self, side) except NULL:
        cdef int64_t number
        if not as_i64(<PyObject *>side, &number) or not BID <= number <= ASK:
            raise book_common.no_side(side)
        return self.shown(<int>number)


cdef bint is_filled(PyObject *update) noexcept:
    """Whether all its fields are set, which `object.__new__` does not do."""
    return (
        SLOT(update, update_instrument) != NULL
        and SLOT(update, update_update_id) != NULL
        and SLOT(update, update_time) != NULL
        and SLOT(update, update_packed_bids) != NULL
        and SLOT(update, update_packed_asks) != NULL
        and SLOT(update, update_flags) != NULL
    )


cdef bint is_beyond(const Levels *side, price) except -1:
    """Whether a price that does not fit 64 bits is beyond all levels. Else it is before the best."""
    return (price < 0) == (side.flip == 0)


cdef best_of(const Levels *side):
    cdef int64_t price
    cdef uint64_t quantity
    cdef Walk walk = walk_of(side)
    if not next_level(&walk, &price, &quantity):
        return None
    return level_of(LEVEL, price, quantity)


cdef Py_ssize_t counted(count) except -1:
    cdef int64_t number
    count = PyNumber_Index(count)
    if as_i64(<PyObject *>count, &number) and 0 <= number <= MAX_LEVELS:
        return <Py_ssize_t>number
    book_common.not_negative(count, "levels")
    return MAX_LEVELS


cdef shown_part(Part *part, const Levels *levels, swept):
    """A part as Python has it; `swept` is the quantity that was asked for, if it was."""
    if part.is_exact:
        return book_common.Depth(
            long_of(part.quantity), long_of(part.notional), part.price if part.levels else None
        )
    found = first_levels(levels, part.levels, LEVEL)
    return book_common.depth_of(found) if swept is None else book_common.sweep_of(found, swept)


def packed_levels(text, start, price_exponent, quantity_exponent, side):
    """See `fanout.protocol.level_text.packed_levels`."""
    cdef int64_t first, price_power, quantity_power, falling
    cdef Py_ssize_t size, room, count = 0
    cdef const char *begin
    cdef const char *end
    cdef char *packed
    if not (
        PyBytes_CheckExact(<PyObject *>text)
        and as_i64(<PyObject *>start, &first)
        and as_i64(<PyObject *>price_exponent, &price_power)
        and as_i64(<PyObject *>quantity_exponent, &quantity_power)
        and as_i64(<PyObject *>side, &falling)
        and -MAX_DIGITS <= price_power <= MAX_DIGITS
        and -MAX_DIGITS <= quantity_power <= MAX_DIGITS
    ):
        return None
    size = PyBytes_GET_SIZE(text)
    if not 0 <= first < size:
        return None
    room = min((size - first) // LEAST_TEXT + 1, MAX_LEVELS)
    packed = <char *>PyMem_Malloc(room * LEVEL_BYTES)
    if packed == NULL:
        raise MemoryError
    try:
        begin = PyBytes_AS_STRING(text)
        end = read_levels(
            begin + first, begin + size, <long>price_power, <long>quantity_power, falling == BID,
            packed, room, &count
        )
        if end == NULL:
            return None
        return PyBytes_FromStringAndSize(packed, count * LEVEL_BYTES), end - begin
    finally:
        PyMem_Free(packed)


if min(
    update_instrument, update_update_id, update_time, update_packed_bids, update_packed_asks,
    update_flags,
) < 0:
    raise ImportError("records are not laid out as the compiled twins expect")
