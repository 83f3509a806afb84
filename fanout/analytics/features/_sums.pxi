# What `_features.h` declares. Included by `_features.pyx`.

cdef extern from "_features.h":
    enum:
        MAX_BANDS
        MAX_SERIES
        BASIS_POINTS

    ctypedef struct Wide:
        i128 high
        i128 low

    ctypedef struct Bands:
        i128 bids
        i128 asks
        Wide notional
        Py_ssize_t bid_levels
        Py_ssize_t ask_levels
        bint is_whole

    ctypedef struct Tops:
        int64_t bid
        int64_t ask
        uint64_t bid_quantity
        uint64_t ask_quantity

    ctypedef struct Walk:
        pass

    ctypedef struct Series:
        int windows
        int64_t whole_ns
        int why
        int64_t *lengths_ns
        i128 *sums

    ctypedef struct Shown:
        double value
        int why

    ctypedef struct Past:
        int lags
        Shown *shown

    ctypedef struct Computed:
        i128 sum
        int64_t returns
        double value

    bint scaled_quotient(i128 dividend, int64_t times, i128 divisor, int64_t per, double *quotient)
    void add_product(Wide *sum, int64_t price, uint64_t quantity)
    bint is_narrow(const Wide *sum, i128 *value)
    void book_bands(
        const Levels *bids, const Levels *asks, i128 twice, bint is_top_only, const int *depths,
        int count, int priced, Bands *bands
    )
    i128 total_of(const Levels *side, Py_ssize_t count)
    Walk walk_of(const Levels *side)
    bint next_level(Walk *walk, int64_t *price, uint64_t *quantity)
    i128 twice_mid(const Tops *tops)
    bint is_same(const Tops *one, const Tops *other)
    i128 order_flow(const Tops *before, const Tops *after)
    Wide crosswise(const Tops *tops)
    bint series_begin(Series *series, int windows, int width)
    void series_free(Series *series)
    Py_ssize_t series_bytes(const Series *series)
    void series_move(Series *series, int64_t now_ns)
    bint series_add(Series *series, int64_t now_ns, const i128 *added)
    int series_absence(const Series *series, int window, int64_t now_ns, int other)
    bint past_begin(Past *past, const int64_t *lags_ns, int lags, int why)
    void past_free(Past *past)
    Py_ssize_t past_bytes(const Past *past)
    void past_move(Past *past, int64_t now_ns)
    bint past_add(Past *past, int64_t now_ns, double value, int why, int other)
    i128 squared_return(double distance)
    i128 i128_of(int64_t value)
    i128 i128_of_u64(uint64_t value)
    bint is_positive(i128 value)
    void put_amount(i128 *amounts, int which, i128 value)
    i128 amount_at(const i128 *amounts, int which)
    i128 SUM(i128 one, i128 other)
    i128 DIFFERENCE(i128 one, i128 other)
    bint IS_ZERO(i128 value)
    bint IS_EQUAL(i128 one, i128 other)
    object long_of(i128 value)
