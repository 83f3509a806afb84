# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=True
"""Compiled twin of `Features`: see `fanout.analytics.features.features` for what it computes, and
`fanout.analytics.features.book_features`, `windows`, `trade_features` and `volatility` for how.

All sums are integers of 128 bits, or two of them (`_features.h`). What does not fit is divided as
Python's integers are.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.float cimport PyFloat_FromDouble
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.math cimport sqrt
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from fanout.protocol._book cimport Levels, OrderBook, i128

from fanout.analytics.features import settings as limits
from fanout.analytics.features.formulas import BPS, Best
from fanout.analytics.features.units import Units
from fanout.analytics.features.volatility import SCALE
from fanout.protocol.constants import MAX_COLUMNS, Absence
from fanout.protocol.feature_rows import FeatureRow

include "_sums.pxi"

cdef enum:
    FIRST_KNOWN = 2  # state of a book: from it on it shows its levels
    MAX_VALUES = 16  # of a list of the settings
    MAX_ROW = 256  # as MAX_COLUMNS
    FIXED = 7  # columns before those of the lists
    BOUGHT = 0
    SOLD = 1
    BUYS = 2
    SELLS = 3
    NOTIONAL_HIGH = 4
    NOTIONAL_LOW = 5
    TRADE_AMOUNTS = 6
    WARMING_UP = 1
    NO_BOOK = 2
    LOST = 3
    NOT_LIVE = 4
    ONE_SIDED = 5
    CROSSED = 6
    TOO_SHALLOW = 7
    EMPTY = 8
    NOT_FITTED = 9
    OTHER = 255

cdef int64_t NEVER = 2**63 - 1
cdef int64_t NS_PER_MS = limits.NS_PER_MS
cdef object NS_PER_S = 10**9

assert (MAX_VALUES, MAX_SERIES, BASIS_POINTS) == (limits.MAX_VALUES, limits.MAX_ENTRIES, BPS)
assert MAX_BANDS >= 4 * MAX_VALUES
assert SCALE == 2**96
assert (MAX_ROW, FIXED) == (MAX_COLUMNS, len(limits.FIXED_COLUMNS))
assert [each.value for each in Absence][1:] == [
    WARMING_UP, NO_BOOK, LOST, NOT_LIVE, ONE_SIDED, CROSSED, TOO_SHALLOW, EMPTY, NOT_FITTED, OTHER
]


include "_plan.pxi"


cdef int after(int why) noexcept:
    """Why a window is absent that reaches into a time without a book, once there is one again."""
    if why == NO_BOOK:
        return WARMING_UP
    return LOST if why == NOT_LIVE else why


cdef class Features:
    """See `fanout.analytics.features.features.Features`."""

    cdef public object instrument
    cdef readonly Py_ssize_t starts
    cdef _Plan plan
    cdef object fit
    cdef int64_t price, price_per, quantity, quantity_per
    # The newest book: its values, and why they are absent.
    cdef double *values
    cdef uint8_t *absences
    cdef int why
    cdef bint has_best, has_tops
    cdef Tops best   # what the next change is held against
    cdef Tops tops   # of the newest book
    cdef int hole
    cdef Series flow
    cdef Series trades
    cdef bint has_trades
    cdef int trades_why
    cdef Past *lagged
    cdef int lagged_count  # as in the plan, which the garbage collector may take away first
    # The volatility. Mids are twice their value, and 0 where they are absent.
    cdef Series returns
    cdef int64_t next_ns
    cdef i128 sampled
    cdef i128 shown
    cdef int shown_why
    cdef Computed *computed

    def __cinit__(self, settings, instrument, *, fit=None):
        cdef int at
        cdef _Plan plan = plan_of(settings)
        self.plan = plan
        self.instrument = instrument
        self.fit = None if fit is None else fit.for_instrument(instrument)
        units = Units(instrument)
        self.price, self.price_per = units.price, units.price_per
        self.quantity, self.quantity_per = units.quantity, units.quantity_per
        self.hole = WARMING_UP
        self.shown_why = NO_BOOK
        self.values = <double *>PyMem_Calloc(plan.book_columns, sizeof(double))
        self.absences = <uint8_t *>PyMem_Calloc(plan.book_columns, 1)
        self.lagged = <Past *>PyMem_Calloc(plan.wap.count, sizeof(Past))
        self.lagged_count = plan.wap.count if self.lagged != NULL else 0
        self.computed = <Computed *>PyMem_Calloc(plan.volatility_count, sizeof(Computed))
        if not (
            self.values != NULL and self.absences != NULL
            and self.lagged != NULL and self.computed != NULL
            and series_begin(&self.flow, plan.flow_count, 1)
            and series_begin(&self.returns, plan.volatility_count, 1)
            and series_begin(&self.trades, plan.trade_count, TRADE_AMOUNTS)
        ):
            raise MemoryError
        for at in range(plan.wap.count):
            if not past_begin(&self.lagged[at], plan.lags_ns, plan.lag_count, WARMING_UP):
                raise MemoryError
        for at in range(plan.flow_count):
            self.flow.lengths_ns[at] = plan.flow_ns[at]
        for at in range(plan.volatility_count):
            # A return lies in a window if it begins there. So its end is in one that is shorter.
            self.returns.lengths_ns[at] = plan.volatility_ns[at] - plan.sample_ns + 1
        for at in range(plan.trade_count):
            self.trades.lengths_ns[at] = plan.trade_ms[at] * NS_PER_MS
        self.flow.why = self.returns.why = self.trades.why = WARMING_UP
        self.lose(NO_BOOK)

    def __dealloc__(self):
        cdef int at
        series_free(&self.flow)
        series_free(&self.returns)
        series_free(&self.trades)
        for at in range(self.lagged_count):
            past_free(&self.lagged[at])
        PyMem_Free(self.lagged)
        PyMem_Free(self.computed)
        PyMem_Free(self.values)
        PyMem_Free(self.absences)

    def __sizeof__(self):
        cdef int at
        cdef Py_ssize_t size = object.__sizeof__(self) + 9 * self.plan.book_columns
        for series in range(self.plan.wap.count):
            size += sizeof(Past) + past_bytes(&self.lagged[<int>series])
        return (
            size + series_bytes(&self.flow) + series_bytes(&self.returns)
            + series_bytes(&self.trades)
        )

    @property
    def best(self):
        """See `fanout.analytics.features.features.Features.best`."""
        return best_of(&self.best) if self.has_best else None

    def begin(self, int64_t now_ns):
        """See `fanout.analytics.features.features.Features.begin`."""
        self.next_ns = self.returns.whole_ns = up_to(now_ns, self.plan.sample_ns)
        self.show(now_ns)

    def take_book(
        self,
        int64_t now_ns,
        OrderBook prices not None,
        *,
        bint is_anew=False,
        bint is_ahead=False,
    ):
        """See `fanout.analytics.features.features.Features.take_book`."""
        cdef i128 flow
        self.take(prices)
        if not self.has_tops:
            self.break_off(ONE_SIDED)
        else:
            if is_anew or is_ahead or not self.has_best:
                self.starts += 1
                self.flow.whole_ns = now_ns
                if not self.has_best:
                    self.flow.why = self.hole
                elif is_anew:
                    self.flow.why = LOST
            elif not is_same(&self.best, &self.tops):
                flow = order_flow(&self.best, &self.tops)
                if not series_add(&self.flow, now_ns, &flow):
                    raise MemoryError
            self.best = self.tops
            self.has_best = True
        self.show(now_ns)

    def lose_book(self, int64_t now_ns, int why):
        """See `fanout.analytics.features.features.Features.lose_book`."""
        self.break_off(after(why))
        self.hide_book(now_ns, why)

    def hide_book(self, int64_t now_ns, int why):
        """See `fanout.analytics.features.features.Features.hide_book`."""
        self.lose(why)
        self.show(now_ns)

    def take_trade(self, int64_t now_ns, trade):
        """See `fanout.analytics.features.features.Features.take_trade`."""
        cdef i128 amounts[TRADE_AMOUNTS]
        cdef int64_t price = trade.price
        cdef uint64_t quantity = trade.quantity
        cdef bint is_sell = trade.buyer_is_maker
        cdef Wide notional
        memset(&notional, 0, sizeof(notional))
        memset(amounts, 0, sizeof(amounts))
        add_product(&notional, price, quantity)
        put_amount(amounts, SOLD if is_sell else BOUGHT, i128_of_u64(quantity))
        put_amount(amounts, SELLS if is_sell else BUYS, i128_of(1))
        put_amount(amounts, NOTIONAL_HIGH, notional.high)
        put_amount(amounts, NOTIONAL_LOW, notional.low)
        if not series_add(&self.trades, now_ns, amounts):
            raise MemoryError

    def lose_trades(self, int why):
        """See `fanout.analytics.features.trade_features.TradeFeatures.lose`."""
        self.trades_why = why

    def resume_trades(self, int64_t since_ns, int why):
        """See `fanout.analytics.features.trade_features.TradeFeatures.resume`."""
        self.trades_why = 0
        self.trades.whole_ns = since_ns
        self.trades.why = why

    def expect_trades(self):
        """See `fanout.analytics.features.features.Features.expect_trades`."""
        self.has_trades = True

    def row(self, int64_t now_ns):
        """See `fanout.analytics.features.features.Features.row`."""
        cdef _Plan plan = self.plan
        cdef double values[MAX_ROW]
        cdef uint8_t codes[MAX_ROW]
        cdef int at, count = plan.book_columns
        memcpy(values, self.values, count * sizeof(double))
        memcpy(codes, self.absences, count)
        count = self.put_lagged(now_ns, values, codes, count)
        count = self.put_flow(now_ns, values, codes, count)
        count = self.put_volatility(now_ns, values, codes, count)
        count = self.put_trades(now_ns, values, codes, count)
        assert count == plan.columns, "each column has its value"
        row = PyTuple_New(count)
        for at in range(count):
            value = None if codes[at] else PyFloat_FromDouble(values[at])
            Py_INCREF(value)
            PyTuple_SET_ITEM(row, at, value)
        absences = PyBytes_FromStringAndSize(<char *>codes, count)
        return FeatureRow(self.instrument, now_ns, row, absences)

    cdef int lose(self, int why) except -1:
        """All values of the book are absent from now on."""
        memset(self.absences, why, self.plan.book_columns)
        self.has_tops = False
        self.why = why

    cdef int take(self, OrderBook prices) except -1:
        """Take a book that is known and consistent, as it is now."""
        cdef Walk bids = walk_of(&prices.bids)
        cdef Walk asks = walk_of(&prices.asks)
        cdef Tops tops
        if prices.state < FIRST_KNOWN or not (
            next_level(&bids, &tops.bid, &tops.bid_quantity)
            and next_level(&asks, &tops.ask, &tops.ask_quantity)
        ):
            self.lose(ONE_SIDED)
            return 0
        if tops.bid >= tops.ask:
            self.lose(CROSSED)
        else:
            self.why = 0
            self.compute(prices, &tops)
        self.tops = tops
        self.has_tops = True
        return 0

    cdef int compute(self, OrderBook prices, const Tops *tops) except -1:
        """The values of a book that is not crossed, in the order of the columns."""
        cdef _Plan plan = self.plan
        cdef Bands bands[MAX_BANDS]
        cdef Bands *band
        cdef i128 twice = twice_mid(tops)
        cdef i128 both = SUM(i128_of_u64(tops.bid_quantity), i128_of_u64(tops.ask_quantity))
        cdef i128 spread = DIFFERENCE(i128_of(tops.ask), i128_of(tops.bid))
        cdef bint has_mid = is_positive(twice)
        cdef Wide across = crosswise(tops)
        cdef int at, column = 0
        column = self.put(column, twice, self.price, i128_of(2), self.price_per, True)
        column = self.put(column, spread, self.price, i128_of(1), self.price_per, True)
        column = self.put(
            column, spread, 2 * BASIS_POINTS, twice if has_mid else i128_of(0), 1, True
        )
        column = self.put_imbalance(
            column, i128_of_u64(tops.bid_quantity), i128_of_u64(tops.ask_quantity), True
        )
        column = self.put_price(column, &across, both, True)
        column = self.put_stoikov(column, tops)
        column = self.put_imbalance(
            column, i128_of(prices.bids.levels), i128_of(prices.asks.levels), not prices.is_top_only
        )
        if has_mid:
            book_bands(
                &prices.bids, &prices.asks, twice, prices.is_top_only, plan.depths,
                plan.depth_count, plan.priced, bands
            )
            for at in range(plan.quantity.count):
                band = &bands[plan.quantity.at[at]]
                column = self.put_quantity(column, band.bids, band.is_whole)
                column = self.put_quantity(column, band.asks, band.is_whole)
            for at in range(plan.wap.count):
                band = &bands[plan.wap.at[at]]
                column = self.put_price(
                    column, &band.notional, SUM(band.bids, band.asks), band.is_whole
                )
            for at in range(plan.liquidity.count):
                band = &bands[plan.liquidity.at[at]]
                column = self.put_imbalance(column, band.bids, band.asks, band.is_whole)
            for at in range(plan.level.count):
                band = &bands[plan.level.at[at]]
                column = self.put_imbalance(
                    column, i128_of(band.bid_levels), i128_of(band.ask_levels), band.is_whole
                )
        else:  # no band without a positive mid
            while column < plan.book_columns - plan.queue_count:
                self.absences[column] = EMPTY
                column += 1
        for at in range(plan.queue_count):
            column = self.put_imbalance(
                column,
                total_of(&prices.bids, plan.queue[at]),
                total_of(&prices.asks, plan.queue[at]),
                not prices.is_top_only
                or min(prices.bids.levels, prices.asks.levels) >= plan.queue[at],
            )
        assert column == plan.book_columns, "each column has its value"
        return 0

    cdef int put(
        self, int column, i128 dividend, int64_t times, i128 divisor, int64_t per, bint is_known
    ) except -1:
        """The value of a column, (dividend * times) / (divisor * per). Returns the next column."""
        if not is_known:
            self.absences[column] = TOO_SHALLOW
        elif IS_ZERO(divisor):
            self.absences[column] = EMPTY
        else:
            self.values[column] = quotient_of(dividend, times, divisor, per)
            self.absences[column] = 0
        return column + 1

    cdef int put_quantity(self, int column, i128 quantity, bint is_known) except -1:
        return self.put(column, quantity, self.quantity, i128_of(1), self.quantity_per, is_known)

    cdef int put_imbalance(self, int column, i128 bids, i128 asks, bint is_known) except -1:
        return self.put(column, DIFFERENCE(bids, asks), 1, SUM(bids, asks), 1, is_known)

    cdef int put_price(
        self, int column, const Wide *notional, i128 quantity, bint is_known
    ) except -1:
        """The value of a column that is an average price."""
        if not is_known or IS_ZERO(quantity):
            return self.put(column, quantity, 1, quantity, 1, is_known)
        self.values[column] = wide_quotient(notional, self.price, quantity, self.price_per)
        self.absences[column] = 0
        return column + 1

    cdef int put_stoikov(self, int column, const Tops *tops) except -1:
        adjustment = None if self.fit is None else self.fit.adjustment_of(best_of(tops))
        if adjustment is None:
            self.absences[column] = NOT_FITTED
        else:
            tick = self.fit.tick * self.price / self.price_per
            self.values[column] = self.values[0] + adjustment * tick
            self.absences[column] = 0
        return column + 1

    cdef void break_off(self, int why) noexcept:
        """The best prices are not known from now on."""
        if self.has_best or self.hole != WARMING_UP:
            self.hole = why
        self.has_best = False
        self.flow.whole_ns = NEVER

    cdef int show(self, int64_t now_ns) except -1:
        """Take samples of the book as it is from now on."""
        cdef int at, first = FIXED + 2 * self.plan.quantity.count
        cdef i128 twice = i128_of(0)
        for at in range(self.plan.wap.count):
            if not past_add(
                &self.lagged[at], now_ns, self.values[first + at], self.absences[first + at], OTHER
            ):
                raise MemoryError
        if now_ns > self.next_ns:
            self.move_returns(now_ns)
        if self.has_tops and not self.why:
            twice = twice_mid(&self.tops)
        self.shown = twice if is_positive(twice) else i128_of(0)
        self.shown_why = after(self.why) or EMPTY
        return 0

    cdef int move_returns(self, int64_t now_ns) except -1:
        """See `fanout.analytics.features.volatility.Volatility.move`."""
        cdef int64_t due_ns = self.next_ns
        cdef i128 square
        if now_ns > due_ns and self.plan.volatility_count:
            self.next_ns = up_to(now_ns, self.plan.sample_ns)
            if IS_ZERO(self.shown):
                self.returns.whole_ns = self.next_ns
                self.returns.why = self.shown_why
            elif not IS_ZERO(self.sampled) and not IS_EQUAL(self.shown, self.sampled):
                square = squared_return(distance_of(self.shown, self.sampled))
                if not series_add(&self.returns, due_ns, &square):
                    raise MemoryError
            self.sampled = self.shown
        series_move(&self.returns, now_ns)
        return 0

    cdef int put_lagged(self, int64_t now_ns, double *values, uint8_t *codes, int count) noexcept:
        cdef int at, lag
        for at in range(self.plan.wap.count):
            past_move(&self.lagged[at], now_ns)
            for lag in range(self.plan.lag_count):
                values[count] = self.lagged[at].shown[lag].value
                codes[count] = <uint8_t>self.lagged[at].shown[lag].why
                count += 1
        return count

    cdef int put_flow(
        self, int64_t now_ns, double *values, uint8_t *codes, int count
    ) except -1:
        cdef int at, why
        series_move(&self.flow, now_ns)
        for at in range(self.plan.flow_count):
            why = self.why or series_absence(&self.flow, at, now_ns, OTHER)
            if not why:
                values[count] = quotient_of(
                    self.flow.sums[at], self.quantity, i128_of(1), self.quantity_per
                )
            codes[count] = <uint8_t>why
            count += 1
        return count

    cdef int put_volatility(
        self, int64_t now_ns, double *values, uint8_t *codes, int count
    ) except -1:
        cdef int at, why
        self.move_returns(now_ns)
        for at in range(self.plan.volatility_count):
            why = self.why or series_absence(&self.returns, at, now_ns, OTHER)
            if not why:
                values[count] = self.volatility(at, now_ns)
            codes[count] = <uint8_t>why
            count += 1
        return count

    cdef double volatility(self, int at, int64_t now_ns) except? -1:
        """See `fanout.analytics.features.volatility.Volatility.value`."""
        cdef int64_t step_ns = self.plan.sample_ns
        cdef int64_t first = up_to(now_ns - self.plan.volatility_ns[at], step_ns) // step_ns
        cdef Computed *computed = &self.computed[at]
        cdef int64_t returns = self.next_ns // step_ns - 1 - first
        if computed.returns != returns or not IS_EQUAL(computed.sum, self.returns.sums[at]):
            computed.sum = self.returns.sums[at]
            computed.returns = returns
            total = long_of(computed.sum) * NS_PER_S
            computed.value = sqrt(total / (SCALE * returns * step_ns))
        return computed.value

    cdef int put_trades(
        self, int64_t now_ns, double *values, uint8_t *codes, int count
    ) except -1:
        cdef _Plan plan = self.plan
        cdef Wide notional
        cdef int at, which, window
        cdef const i128 *sums
        cdef i128 bought, sold
        series_move(&self.trades, now_ns)
        for which in (BOUGHT, BUYS):
            for at in range(plan.trade_flow.count):
                window = plan.trade_flow.at[at]
                sums = &self.trades.sums[window * TRADE_AMOUNTS]
                bought, sold = amount_at(sums, which), amount_at(sums, which + 1)
                codes[count] = self.trade_why(window, now_ns, SUM(bought, sold))
                if not codes[count]:
                    values[count] = quotient_of(
                        DIFFERENCE(bought, sold), 1, SUM(bought, sold), 1
                    )
                count += 1
        for at in range(plan.vwap.count):
            window = plan.vwap.at[at]
            sums = &self.trades.sums[window * TRADE_AMOUNTS]
            bought = SUM(amount_at(sums, BOUGHT), amount_at(sums, SOLD))
            codes[count] = self.trade_why(window, now_ns, bought)
            if not codes[count]:
                notional.high = amount_at(sums, NOTIONAL_HIGH)
                notional.low = amount_at(sums, NOTIONAL_LOW)
                values[count] = wide_quotient(&notional, self.price, bought, self.price_per)
            count += 1
        for at in range(plan.intensity.count):
            window = plan.intensity.at[at]
            sums = &self.trades.sums[window * TRADE_AMOUNTS]
            bought = SUM(amount_at(sums, BUYS), amount_at(sums, SELLS))
            codes[count] = self.trade_why(window, now_ns, i128_of(1))
            if not codes[count]:
                values[count] = quotient_of(bought, 1_000, i128_of(plan.trade_ms[window]), 1)
            count += 1
        return count

    cdef uint8_t trade_why(self, int window, int64_t now_ns, i128 divisor) noexcept:
        """Why a value of the trades is absent, or 0."""
        cdef int why = self.trades_why
        if not why:
            if not self.has_trades:
                why = WARMING_UP
            else:
                why = series_absence(&self.trades, window, now_ns, OTHER)
        return <uint8_t>(why or (EMPTY if IS_ZERO(divisor) else 0))


cdef best_of(const Tops *tops):
    return Best(tops.bid, tops.bid_quantity, tops.ask, tops.ask_quantity)


cdef int64_t up_to(int64_t time_ns, int64_t step_ns) noexcept:
    """The first multiple of a step that is not before a time."""
    return (time_ns + step_ns - 1) // step_ns * step_ns


cdef double distance_of(i128 one, i128 other) except? -1:
    """The distance of two positive numbers, in parts of the lower one."""
    if is_positive(DIFFERENCE(one, other)):
        return quotient_of(DIFFERENCE(one, other), 1, other, 1)
    return quotient_of(DIFFERENCE(other, one), 1, one, 1)


cdef double quotient_of(i128 dividend, int64_t times, i128 divisor, int64_t per) except? -1:
    """(dividend * times) / (divisor * per), rounded correctly. The divisor is positive."""
    cdef double quotient
    if scaled_quotient(dividend, times, divisor, per, &quotient):
        return quotient
    return long_of(dividend) * times / (long_of(divisor) * per)


cdef double wide_quotient(const Wide *dividend, int64_t times, i128 divisor, int64_t per) except? -1:
    """The same of a sum of products."""
    cdef i128 narrow
    if is_narrow(dividend, &narrow):
        return quotient_of(narrow, times, divisor, per)
    whole = (long_of(dividend.high) << 64) + long_of(dividend.low)
    return whole * times / (long_of(divisor) * per)
