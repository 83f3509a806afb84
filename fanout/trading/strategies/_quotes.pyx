# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=True
"""Compiled twins of the strategies' `quote` and of `rounding.quotes_of`: what they compute is said
there.

The same operations on doubles in the same order give the same bits. The build forbids the compiler
to fuse a product and a sum (`-ffp-contract=off` in pyproject.toml), which would round once less.

What is out of the ordinary goes to the plain function: a price that is not finite, sides that
cross, a number above 2**53, a subclass with formulas of its own. So all errors are raised there.
"""

from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact, PyFloat_FromDouble
from cpython.long cimport PyLong_FromLongLong
from cpython.object cimport PyObject, PyTypeObject
from libc.math cimport ceil, exp, fabs, floor, isfinite, log1p, sqrt
from libc.stdint cimport int64_t

from importlib import import_module

from fanout.protocol.book_records import Level
from fanout.protocol.constants import InstrumentType
from fanout.protocol.fixedpoint import to_text
from fanout.protocol.instrument import Instrument
from fanout.trading.strategies.base import Quoted, Quotes, View

cdef extern from "_speedups.h":
    Py_ssize_t offset_of(object type, const char *name)
    PyObject *SLOT(PyObject *object, Py_ssize_t offset)
    bint IS_EXACTLY(PyObject *object, PyObject *type)
    bint as_i64(PyObject *number, int64_t *value)

cdef extern from "Python.h":
    object PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t count)

cdef extern from *:
    """
    #define PUT(object, offset, value) (SLOT(object, offset) = Py_NewRef(value))

    /* A pair of integers as a NamedTuple. The collector need not know it: it is part of no cycle. */
    static inline PyObject *pair(PyObject *type, PyObject *first, PyObject *second) {
        PyTupleObject *made = PyObject_GC_NewVar(PyTupleObject, (PyTypeObject *)type, 2);
        if (made != NULL) {
            made->ob_item[0] = Py_NewRef(first);
            made->ob_item[1] = Py_NewRef(second);
        }
        return (PyObject *)made;
    }

    static inline void keep(PyObject **place, PyObject *object) {
        PyObject *before = *place;
        *place = Py_XNewRef(object);
        Py_XDECREF(before);
    }

    #define ITEM(tuple, place) (((PyTupleObject *)(tuple))->ob_item[place])

    /* quantity * room / limit, rounded up to the lot. None is negative, limit and lot are not 0. */
    static inline int64_t shared(int64_t quantity, int64_t room, int64_t limit, int64_t lot) {
        const int64_t small = INT64_C(1) << 31;
        if (quantity < small && room < small && limit < small && lot < small) {
            uint64_t part = (uint64_t)limit * (uint64_t)lot;
            return (int64_t)(((uint64_t)quantity * (uint64_t)room + part - 1) / part) * lot;
        }
        __int128 part = (__int128)limit * lot;
        return (int64_t)(((__int128)quantity * room + part - 1) / part) * lot;
    }
    """
    void PUT(object, Py_ssize_t offset, object value)
    object pair(object type, object first, object second)
    PyObject *ITEM(PyObject *tuple, Py_ssize_t place)
    int64_t shared(int64_t quantity, int64_t room, int64_t limit, int64_t lot) noexcept
    void keep(PyObject **place, PyObject *object) noexcept

cdef enum:
    MAX_PARAMETERS = 5
    MAX_DIGITS = 22  # 10**22 is the largest power of ten that is a double

# Integers up to this are doubles, so that one division of two of them rounds once.
cdef int64_t EXACT = 1 << 53
cdef double SLACK = 1e-9

cdef double[23] POWERS
POWERS = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
          1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22]


cdef Py_ssize_t _offset(object type, bytes name) except -1:
    cdef Py_ssize_t offset = offset_of(type, name)
    assert offset >= 0, "the plain functions are used then"
    return offset


cdef PyObject *VIEW = <PyObject *>View
cdef PyObject *INSTRUMENT = <PyObject *>Instrument
cdef PyObject *LEVEL = <PyObject *>Level

cdef Py_ssize_t view_instrument = _offset(View, b"instrument")
cdef Py_ssize_t view_bid = _offset(View, b"bid")
cdef Py_ssize_t view_ask = _offset(View, b"ask")
cdef Py_ssize_t view_position = _offset(View, b"position")

cdef Py_ssize_t instrument_price_exponent = _offset(Instrument, b"price_exponent")
cdef Py_ssize_t instrument_quantity_exponent = _offset(Instrument, b"quantity_exponent")
cdef Py_ssize_t instrument_tick = _offset(Instrument, b"tick")
cdef Py_ssize_t instrument_lot = _offset(Instrument, b"lot")
cdef Py_ssize_t instrument_type = _offset(Instrument, b"type")
cdef Py_ssize_t instrument_contract_mantissa = _offset(Instrument, b"contract_mantissa")
cdef Py_ssize_t instrument_contract_exponent = _offset(Instrument, b"contract_exponent")

# The types whose positions are in the base. They are compared by identity, and live for ever.
cdef PyObject *_linear[16]
cdef int _linears = 0
for _type in InstrumentType:
    if not _type.is_inverse:
        assert _linears < 16, "there is no room for more"
        _linear[_linears] = <PyObject *>_type
        _linears += 1

cdef Py_ssize_t quotes_bids = _offset(Quotes, b"bids")
cdef Py_ssize_t quotes_asks = _offset(Quotes, b"asks")
cdef Py_ssize_t quotes_fair_value = _offset(Quotes, b"fair_value")
cdef Py_ssize_t quotes_skew = _offset(Quotes, b"skew")
cdef Py_ssize_t quotes_clamps = _offset(Quotes, b"clamps")

assert Quoted._fields == ("price", "quantity"), "they are made as tuples of two"

cdef str LOWERED = "post-only lowers the bid below the best ask"
cdef str LIFTED = "post-only lifts the ask above the best bid"


cdef object plain(str name):
    from fanout.trading.strategies.speedups import twin

    return twin.plain[name]


# What the view shows.

cdef struct Units:
    int64_t tick
    int64_t lot
    int64_t quantity_digits
    double price_power
    double contract
    double base_power


cdef struct Shown:
    int64_t bid
    int64_t ask
    int64_t position
    int64_t quantity_digits
    double mid
    double held


# The newest instrument and, below, the newest strategy of each kind are frozen, and taken apart
# once: that took a quarter of a call. They are recognised by their addresses, which nothing else
# can have while a reference is kept. The collector does not see it, and so never frees them.
# Objects are made only behind the last look at this: that may run the collector, and other calls.
cdef PyObject *_instrument = NULL
cdef Units units


cdef inline bint within(PyObject *number, int64_t *value) noexcept:
    return as_i64(number, value) and -EXACT <= value[0] <= EXACT


cdef bint is_linear(PyObject *kind) noexcept:
    cdef int place
    for place in range(_linears):
        if kind == _linear[place]:
            return True
    return False


cdef bint learn_units(PyObject *instrument) noexcept:
    """False if the instrument is for the plain function."""
    global _instrument
    cdef int64_t tick, lot, digits, quantity_digits, contract, mantissa, other
    if instrument == NULL or not IS_EXACTLY(instrument, INSTRUMENT):
        return False
    if not (
        within(SLOT(instrument, instrument_tick), &tick)
        and within(SLOT(instrument, instrument_lot), &lot)
        and as_i64(SLOT(instrument, instrument_price_exponent), &digits)
        and as_i64(SLOT(instrument, instrument_quantity_exponent), &quantity_digits)
        and as_i64(SLOT(instrument, instrument_contract_exponent), &contract)
        and within(SLOT(instrument, instrument_contract_mantissa), &mantissa)
        and is_linear(SLOT(instrument, instrument_type))
    ):
        return False
    if not (-MAX_DIGITS <= digits <= 0 and -MAX_DIGITS <= contract <= MAX_DIGITS):
        return False
    if not -2 * MAX_DIGITS <= quantity_digits <= MAX_DIGITS:
        return False
    other = quantity_digits + contract
    if not -MAX_DIGITS <= other <= 0 or tick < 0 or lot < 0 or mantissa <= 0:
        return False
    units.tick, units.lot = tick or 1, lot or 1
    units.quantity_digits = quantity_digits
    units.price_power, units.base_power = POWERS[-digits], POWERS[-other]
    units.contract = <double>mantissa
    keep(&_instrument, instrument)
    return True


cdef bint read(PyObject *view, Shown *shown) noexcept:
    """False if that is for the plain function."""
    cdef PyObject *instrument
    cdef PyObject *bid
    cdef PyObject *ask
    cdef double size
    if not IS_EXACTLY(view, VIEW):
        return False
    instrument = SLOT(view, view_instrument)
    bid, ask = SLOT(view, view_bid), SLOT(view, view_ask)
    if bid == NULL or ask == NULL or not IS_EXACTLY(bid, LEVEL) or not IS_EXACTLY(ask, LEVEL):
        return False
    if not (
        within(ITEM(bid, 0), &shown.bid)
        and within(ITEM(ask, 0), &shown.ask)
        and within(SLOT(view, view_position), &shown.position)
        and -EXACT <= shown.bid + shown.ask <= EXACT
    ):
        return False
    if instrument != _instrument and not learn_units(instrument):
        return False
    size = <double>shown.position * units.contract
    if not fabs(size) < <double>EXACT:
        return False
    shown.quantity_digits = units.quantity_digits
    shown.mid = <double>(shown.bid + shown.ask) / units.price_power / 2
    shown.held = size / units.base_power
    return True


# From prices to quotes.

cdef struct Rounded:
    int64_t bid
    int64_t ask
    int64_t buying
    int64_t selling
    bint is_lowered
    bint is_lifted
    bint is_shrunk


cdef inline int64_t in_lots(int64_t quantity, int64_t lot) noexcept:
    return quantity if lot == 1 else quantity // lot * lot


cdef bint sized(const Shown *shown, int64_t quantity, int64_t limit, Rounded *to) noexcept:
    cdef int64_t lot = units.lot, position = shown.position
    cdef int64_t size = -position if position < 0 else position
    cdef int64_t room = limit - size if limit > size else 0
    cdef int64_t whole, increasing, reducing
    if quantity < 0 or quantity > EXACT or limit <= 0 or limit > EXACT:
        return False
    whole = in_lots(quantity, lot)
    increasing = min(shared(quantity, room, limit, lot), whole, in_lots(room, lot))
    reducing = min(whole, in_lots(limit + size, lot))
    to.is_shrunk = increasing != whole
    if position >= 0:
        to.buying, to.selling = increasing, reducing
    else:
        to.buying, to.selling = reducing, increasing
    return True


cdef bint rounded(
    const Shown *shown, double bid, double ask, int64_t quantity, int64_t limit, Rounded *to
) noexcept:
    """False if that is for the plain function, and its errors."""
    cdef double tick = <double>units.tick
    cdef double down = floor(bid * units.price_power / tick + SLACK)
    cdef double up = ceil(ask * units.price_power / tick - SLACK)
    cdef double most = <double>EXACT
    if not (isfinite(bid) and isfinite(ask) and bid <= ask):
        return False
    if not (fabs(down * tick) <= most and fabs(up * tick) <= most):
        return False
    to.bid, to.ask = <int64_t>down * units.tick, <int64_t>up * units.tick
    to.is_lowered = to.bid > shown.ask - units.tick
    to.is_lifted = to.ask < shown.bid + units.tick
    if to.is_lowered:
        to.bid = shown.ask - units.tick
    if to.is_lifted:
        to.ask = shown.bid + units.tick
    return sized(shown, quantity, limit, to)


cdef tuple one(int64_t price, int64_t quantity):
    """A side with one quote."""
    return (pair(Quoted, PyLong_FromLongLong(price), PyLong_FromLongLong(quantity)),)


# The newest clamps of a quote that had none of its own. They stay the same until the next fill, and
# to make their text takes as long as all the rest.
cdef tuple _newest = ()
cdef int64_t _newest_position = 0
cdef int64_t _newest_digits = 0
cdef int _newest_kind = 0


cdef tuple clamps_of(const Shown *shown, const Rounded *to, tuple before):
    global _newest, _newest_position, _newest_digits, _newest_kind
    cdef int kind = to.is_lowered | to.is_lifted << 1 | to.is_shrunk << 2
    if not kind:
        return before
    if (
        kind != _newest_kind
        or shown.position != _newest_position
        or shown.quantity_digits != _newest_digits
    ):
        _newest = texts_of(shown, to)
        _newest_kind, _newest_position = kind, shown.position
        _newest_digits = shown.quantity_digits
    newest = _newest
    return before + newest if before else newest


cdef tuple texts_of(const Shown *shown, const Rounded *to):
    cdef list texts = []
    if to.is_lowered:
        texts.append(LOWERED)
    if to.is_lifted:
        texts.append(LIFTED)
    if to.is_shrunk:
        held = to_text(shown.position, shown.quantity_digits)
        texts.append(f"the position of {held} shrinks one side")
    return tuple(texts)


cdef object made(
    const Shown *shown, const Rounded *to, object fair_value, object skew, tuple clamps
):
    cdef object quotes = PyType_GenericAlloc(<PyTypeObject *>Quotes, 0)
    PUT(quotes, quotes_bids, one(to.bid, to.buying) if to.buying and to.bid > 0 else ())
    PUT(quotes, quotes_asks, one(to.ask, to.selling) if to.selling else ())
    PUT(quotes, quotes_fair_value, fair_value)
    PUT(quotes, quotes_skew, skew)
    PUT(quotes, quotes_clamps, clamps_of(shown, to, clamps))
    return quotes


def quotes_of(
    view, *, bid, ask, fair_value, skew, quantity, position_limit, clamps=()
):
    """See `rounding.quotes_of`."""
    cdef Shown shown
    cdef Rounded to
    cdef int64_t size, limit
    if (
        PyFloat_CheckExact(bid)
        and PyFloat_CheckExact(ask)
        and type(clamps) is tuple
        and as_i64(<PyObject *>quantity, &size)
        and as_i64(<PyObject *>position_limit, &limit)
        and read(<PyObject *>view, &shown)
        and rounded(&shown, PyFloat_AS_DOUBLE(bid), PyFloat_AS_DOUBLE(ask), size, limit, &to)
    ):
        return made(&shown, &to, fair_value, skew, clamps)
    return plain("quotes_of")(
        view,
        bid=bid,
        ask=ask,
        fair_value=fair_value,
        skew=skew,
        quantity=quantity,
        position_limit=position_limit,
        clamps=clamps,
    )


# The strategies.

cdef struct Form:
    PyObject *type
    int count
    Py_ssize_t quantity_at
    Py_ssize_t limit_at
    Py_ssize_t at[MAX_PARAMETERS]
    PyObject *strategy  # the newest; what follows is of its settings alone
    int64_t quantity
    int64_t limit
    double of[MAX_PARAMETERS]
    double half  # half of the spread
    double skew  # how far a unit of position moves the quotes


cdef Form STOIKOV
cdef Form GLFT
cdef Form BASIC
STOIKOV.type = GLFT.type = BASIC.type = NULL
STOIKOV.strategy = GLFT.strategy = BASIC.strategy = NULL


cdef bint learn_type(Form *form, tuple names) except -1:
    """Look at a strategy's class, when it is used first: its module imports this one."""
    cdef int place
    module, name, *parameters = names
    cls = getattr(import_module("fanout.trading.strategies." + module), name)
    for place, each in enumerate(parameters):
        form.at[place] = _offset(cls, each)
    form.count = len(parameters)
    form.quantity_at, form.limit_at = _offset(cls, b"quantity"), _offset(cls, b"position_limit")
    keep(&form.type, <PyObject *>cls)
    return True


cdef bint learn(Form *form, PyObject *strategy, tuple names) except -1:
    """Read the settings. False for a subclass, which may have other formulas, and for settings that
    are no doubles."""
    cdef PyObject *value
    cdef int place
    if form.type == NULL:
        learn_type(form, names)
    if not IS_EXACTLY(strategy, form.type):
        return False
    keep(&form.strategy, NULL)
    for place in range(form.count):
        value = SLOT(strategy, form.at[place])
        if value == NULL or not PyFloat_CheckExact(<object>value):
            return False
        form.of[place] = PyFloat_AS_DOUBLE(<object>value)
    if not (
        as_i64(SLOT(strategy, form.quantity_at), &form.quantity)
        and as_i64(SLOT(strategy, form.limit_at), &form.limit)
    ):
        return False
    keep(&form.strategy, strategy)
    return True


cdef tuple STOIKOV_NAMES = (
    "avellaneda_stoikov", "AvellanedaStoikov", b"gamma", b"sigma", b"k", b"tau"
)
cdef tuple GLFT_NAMES = ("glft", "Glft", b"gamma", b"sigma", b"k", b"a", b"delta")
cdef tuple BASIC_NAMES = ("basic", "Basic", b"spread_bps", b"min_spread", b"max_spread", b"skew_bps")


cdef bint learn_stoikov(PyObject *strategy) except -1:
    cdef double gamma, sigma, k, tau
    if not learn(&STOIKOV, strategy, STOIKOV_NAMES):
        return False
    gamma, sigma, k, tau = STOIKOV.of[0], STOIKOV.of[1], STOIKOV.of[2], STOIKOV.of[3]
    STOIKOV.skew = gamma * (sigma * sigma) * tau
    STOIKOV.half = (STOIKOV.skew + 2 / gamma * log1p(gamma / k)) / 2
    return True


def AvellanedaStoikov_quote(self, view):
    """See `AvellanedaStoikov.quote`."""
    cdef Shown shown
    cdef Rounded to
    cdef double reservation, skew
    cdef PyObject *strategy = <PyObject *>self
    if (strategy == STOIKOV.strategy or learn_stoikov(strategy)) and read(<PyObject *>view, &shown):
        skew = -shown.held * STOIKOV.skew
        reservation = shown.mid + skew
        if rounded(
            &shown,
            reservation - STOIKOV.half,
            reservation + STOIKOV.half,
            STOIKOV.quantity,
            STOIKOV.limit,
            &to,
        ):
            return made(&shown, &to, reservation, skew, ())
    return plain("AvellanedaStoikov_quote")(self, view)


cdef bint learn_glft(PyObject *strategy) except -1:
    cdef double gamma, sigma, k, a, delta, size, decay, c1, c2
    if not learn(&GLFT, strategy, GLFT_NAMES):
        return False
    gamma, sigma, k, a, delta = GLFT.of[0], GLFT.of[1], GLFT.of[2], GLFT.of[3], GLFT.of[4]
    size = gamma * delta
    decay = log1p(size / k)
    c1 = decay / size
    c2 = sqrt(gamma / (2 * a * delta * k) * exp((k / size + 1) * decay))
    GLFT.half = c1 + delta / 2 * c2 * sigma
    GLFT.skew = c2 * sigma
    return True


def Glft_quote(self, view):
    """See `Glft.quote`."""
    cdef Shown shown
    cdef Rounded to
    cdef double skew, bid, ask
    cdef PyObject *strategy = <PyObject *>self
    if (strategy == GLFT.strategy or learn_glft(strategy)) and read(<PyObject *>view, &shown):
        skew = GLFT.skew * shown.held
        bid, ask = GLFT.half + skew, GLFT.half - skew
        skew = (ask - bid) / 2
        if rounded(
            &shown, shown.mid - bid, shown.mid + ask, GLFT.quantity, GLFT.limit, &to
        ):
            return made(&shown, &to, shown.mid + skew, skew, ())
    return plain("Glft_quote")(self, view)


def Basic_quote(self, view):
    """See `Basic.quote`."""
    cdef Shown shown
    cdef Rounded to
    cdef double wanted, spread, skew, fair_value
    cdef PyObject *strategy = <PyObject *>self
    if (
        (strategy == BASIC.strategy or learn(&BASIC, strategy, BASIC_NAMES))
        and 0 < BASIC.limit <= EXACT
        and read(<PyObject *>view, &shown)
    ):
        wanted = shown.mid * BASIC.of[0] / 10_000
        spread = min(max(wanted, BASIC.of[1]), BASIC.of[2])
        skew = (
            -shown.mid
            * BASIC.of[3]
            / 10_000
            * (<double>shown.position / <double>BASIC.limit)
        )
        fair_value = shown.mid + skew
        if rounded(
            &shown,
            fair_value - spread / 2,
            fair_value + spread / 2,
            BASIC.quantity,
            BASIC.limit,
            &to,
        ):
            clamps = () if spread == wanted else bounded(wanted, spread)
            return made(&shown, &to, fair_value, skew, clamps)
    return plain("Basic_quote")(self, view)


cdef tuple bounded(double wanted, double spread):
    return (f"the spread of {wanted:g} is bounded to {spread:g}",)
