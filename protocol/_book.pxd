"""What other compiled twins know of the compiled order book: its levels, and its state.

They include `_book.h` for what can be done with levels, so they need its folder among the include
directories.
"""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t

cdef extern from "_book.h":
    ctypedef int i128  # known to the C compiler alone; only passed on and compared with 0

    ctypedef struct Levels:
        Py_ssize_t levels
        int64_t flip


cdef class OrderBook:
    cdef Levels bids
    cdef Levels asks
    cdef int state
    cdef public object instrument
    cdef public object update_id
    cdef public object time
    cdef public bint is_top_only

    cpdef clear(self)
    cdef int change(self, Levels *levels, PyObject *packed, int side) except -1
    cdef void cut(self, Levels *levels, PyObject *packed) noexcept
    cdef const Levels *shown(self, int side) noexcept
    cdef const Levels *of(self, side) except NULL
