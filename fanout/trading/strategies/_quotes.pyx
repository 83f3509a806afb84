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

cdef enum:
    MAX_PARAMETERS = 8
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

cdef struct Shown:
    int64_t bid
    int64_t ask
    int64_t position
    int64_t tick
    int64_t lot
    int64_t quantity_digits
    double price_power
    double mid
    double held


cdef inline bint within(PyObject *number, int64_t *value) noexcept:
    return as_i64(number, value) and -EXACT <= value[0] <= EXACT


cdef bint is_linear(PyObject *kind) noexcept:
    cdef int place
    for place in range(_linears):
        if kind == _linear[place]:
            return True
    return False


cdef bint read(PyObject *view, Shown *shown) noexcept:
    """False if that is for the plain function."""
    cdef PyObject *instrument
    cdef PyObject *bid
    cdef PyObject *ask
    cdef int64_t digits, other, contract, mantissa
    if not IS_EXACTLY(view, VIEW):
        return False
    instrument = SLOT(view, view_instrument)
    bid, ask = SLOT(view, view_bid), SLOT(view, view_ask)
    if instrument == NULL or not IS_EXACTLY(instrument, INSTRUMENT):
        return False
    if bid == NULL or ask == NULL or not IS_EXACTLY(bid, LEVEL) or not IS_EXACTLY(ask, LEVEL):
        return False
    if not (
        within(ITEM(bid, 0), &shown.bid)
        and within(ITEM(ask, 0), &shown.ask)
        and within(SLOT(view, view_position), &shown.position)
        and within(SLOT(instrument, instrument_tick), &shown.tick)
        and within(SLOT(instrument, instrument_lot), &shown.lot)
        and as_i64(SLOT(instrument, instrument_price_exponent), &digits)
        and as_i64(SLOT(instrument, instrument_quantity_exponent), &shown.quantity_digits)
        and as_i64(SLOT(instrument, instrument_contract_exponent), &contract)
        and within(SLOT(instrument, instrument_contract_mantissa), &mantissa)
        and is_linear(SLOT(instrument, instrument_type))
    ):
        return False
    if not (-MAX_DIGITS <= digits <= 0 and -MAX_DIGITS <= contract <= MAX_DIGITS):
        return False
    if not -2 * MAX_DIGITS <= shown.quantity_digits <= MAX_DIGITS:
        return False
    other = shown.quantity_digits + contract
    if not -MAX_DIGITS <= other <= 0:
        return False
    if fabs(<double>shown.position * <double>mantissa) > <double>EXACT:
        return False
    if shown.tick < 0 or shown.lot < 0 or not -EXACT <= shown.bid + shown.ask <= EXACT:
        return False
    shown.tick = shown.tick or 1
    shown.lot = shown.lot or 1
    shown.price_power = POWERS[-digits]
    shown.mid = <double>(shown.bid + shown.ask) / shown.price_power / 2
    shown.held = <double>(shown.position * mantissa) / POWERS[-other]
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
    cdef int64_t lot = shown.lot, position = shown.position
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
    cdef double tick = <double>shown.tick
    cdef double down = floor(bid * shown.price_power / tick + SLACK)
    cdef double up = ceil(ask * shown.price_power / tick - SLACK)
    cdef double most = <double>EXACT
    if not (isfinite(bid) and isfinite(ask) and bid <= ask):
        return False
    if not (fabs(down * tick) <= most and fabs(up * tick) <= most):
        return False
    to.bid, to.ask = <int64_t>down * shown.tick, <int64_t>up * shown.tick
    to.is_lowered = to.bid > shown.ask - shown.tick
    to.is_lifted = to.ask < shown.bid + shown.tick
    if to.is_lowered:
        to.bid = shown.ask - shown.tick
    if to.is_lifted:
        to.ask = shown.bid + shown.tick
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
    return before + _newest if before else _newest


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
    Py_ssize_t quantity
    Py_ssize_t limit
    Py_ssize_t parameters[MAX_PARAMETERS]


cdef struct Settings:
    int64_t quantity
    int64_t limit
    double of[MAX_PARAMETERS]


cdef Form STOIKOV
cdef Form GLFT
cdef Form BASIC
STOIKOV.type = GLFT.type = BASIC.type = NULL
_kept = []


cdef bint learn(Form *form, str module, str name, tuple parameters) except -1:
    """Look at a strategy's class, when it is used first: its module imports this one."""
    cdef int place
    cls = getattr(import_module("fanout.trading.strategies." + module), name)
    for place, each in enumerate(parameters):
        form.parameters[place] = _offset(cls, each)
    form.count = len(parameters)
    form.quantity, form.limit = _offset(cls, b"quantity"), _offset(cls, b"position_limit")
    _kept.append(cls)
    form.type = <PyObject *>cls
    return True


cdef bint settings_of(const Form *form, PyObject *strategy, Settings *settings) noexcept:
    """False for a subclass, which may have other formulas, and for settings that are no doubles."""
    cdef PyObject *value
    cdef int place
    if not IS_EXACTLY(strategy, form.type):
        return False
    for place in range(form.count):
        value = SLOT(strategy, form.parameters[place])
        if value == NULL or not PyFloat_CheckExact(<object>value):
            return False
        settings.of[place] = PyFloat_AS_DOUBLE(<object>value)
    return as_i64(SLOT(strategy, form.quantity), &settings.quantity) and as_i64(
        SLOT(strategy, form.limit), &settings.limit
    )


def AvellanedaStoikov_quote(self, view):
    """See `AvellanedaStoikov.quote`."""
    cdef Settings settings
    cdef Shown shown
    cdef Rounded to
    cdef double gamma, sigma, k, tau, risk, spread, reservation, skew
    if STOIKOV.type == NULL:
        learn(
            &STOIKOV,
            "avellaneda_stoikov",
            "AvellanedaStoikov",
            (b"gamma", b"sigma", b"k", b"tau"),
        )
    if settings_of(&STOIKOV, <PyObject *>self, &settings) and read(<PyObject *>view, &shown):
        gamma, sigma, k, tau = settings.of[0], settings.of[1], settings.of[2], settings.of[3]
        risk = gamma * (sigma * sigma) * tau
        spread = risk + 2 / gamma * log1p(gamma / k)
        reservation = shown.mid - shown.held * risk
        skew = -shown.held * risk
        if rounded(
            &shown,
            reservation - spread / 2,
            reservation + spread / 2,
            settings.quantity,
            settings.limit,
            &to,
        ):
            return made(
                &shown, &to, PyFloat_FromDouble(shown.mid + skew), PyFloat_FromDouble(skew), ()
            )
    return plain("AvellanedaStoikov_quote")(self, view)


def Glft_quote(self, view):
    """See `Glft.quote`."""
    cdef Settings settings
    cdef Shown shown
    cdef Rounded to
    cdef double gamma, sigma, k, a, delta, size, decay, c1, c2, half, skew, bid, ask
    if GLFT.type == NULL:
        learn(&GLFT, "glft", "Glft", (b"gamma", b"sigma", b"k", b"a", b"delta"))
    if settings_of(&GLFT, <PyObject *>self, &settings) and read(<PyObject *>view, &shown):
        gamma, sigma, k = settings.of[0], settings.of[1], settings.of[2]
        a, delta = settings.of[3], settings.of[4]
        size = gamma * delta
        decay = log1p(size / k)
        c1 = decay / size
        c2 = sqrt(gamma / (2 * a * delta * k) * exp((k / size + 1) * decay))
        half = c1 + delta / 2 * c2 * sigma
        skew = c2 * sigma * shown.held
        bid, ask = half + skew, half - skew
        skew = (ask - bid) / 2
        if rounded(
            &shown,
            shown.mid - bid,
            shown.mid + ask,
            settings.quantity,
            settings.limit,
            &to,
        ):
            return made(
                &shown, &to, PyFloat_FromDouble(shown.mid + skew), PyFloat_FromDouble(skew), ()
            )
    return plain("Glft_quote")(self, view)


def Basic_quote(self, view):
    """See `Basic.quote`."""
    cdef Settings settings
    cdef Shown shown
    cdef Rounded to
    cdef double wanted, spread, skew
    if BASIC.type == NULL:
        learn(
            &BASIC, "basic", "Basic", (b"spread_bps", b"min_spread", b"max_spread", b"skew_bps")
        )
    if (
        settings_of(&BASIC, <PyObject *>self, &settings)
        and 0 < settings.limit <= EXACT
        and read(<PyObject *>view, &shown)
    ):
        wanted = shown.mid * settings.of[0] / 10_000
        spread = min(max(wanted, settings.of[1]), settings.of[2])
        skew = (
            -shown.mid
            * settings.of[3]
            / 10_000
            * (<double>shown.position / <double>settings.limit)
        )
        if rounded(
            &shown,
            shown.mid + skew - spread / 2,
            shown.mid + skew + spread / 2,
            settings.quantity,
            settings.limit,
            &to,
        ):
            return made(
                &shown,
                &to,
                PyFloat_FromDouble(shown.mid + skew),
                PyFloat_FromDouble(skew),
                () if spread == wanted else bounded(wanted, spread),
            )
    return plain("Basic_quote")(self, view)


cdef tuple bounded(double wanted, double spread):
    return (f"the spread of {wanted:g} is bounded to {spread:g}",)
