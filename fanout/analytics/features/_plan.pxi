# The settings, as numbers. Included by `_features.pyx`.

cdef struct List:
    int count
    int at[MAX_VALUES]  # of each value its place among all bands, or all windows


cdef class _Plan:
    """The settings, as numbers. One serves all instruments with equal settings."""

    cdef object settings
    cdef int depths[MAX_BANDS]
    cdef int depth_count
    cdef int priced  # bands up to the widest one of which a price is wanted
    cdef List quantity, wap, liquidity, level
    cdef int queue[MAX_VALUES]
    cdef int queue_count
    cdef int64_t lags_ns[MAX_VALUES]
    cdef int lag_count
    cdef int64_t flow_ns[MAX_VALUES]
    cdef int flow_count
    cdef int64_t volatility_ns[MAX_VALUES]
    cdef int volatility_count
    cdef int64_t sample_ns
    cdef int64_t trade_ms[4 * MAX_VALUES]
    cdef int trade_count
    cdef List trade_flow, vwap, intensity
    cdef int book_columns, columns

    def __cinit__(self, settings):
        cdef int at
        self.settings = settings
        depths = sorted({
            *settings.quantity_bps, *settings.wap_bps, *settings.liquidity_bps, *settings.level_bps
        })
        places(&self.quantity, settings.quantity_bps, depths)
        places(&self.wap, settings.wap_bps, depths)
        places(&self.liquidity, settings.liquidity_bps, depths)
        places(&self.level, settings.level_bps, depths)
        self.depth_count = <int>len(depths)
        for at, depth in enumerate(depths):
            self.depths[at] = depth
        self.priced = self.wap.at[self.wap.count - 1] + 1 if self.wap.count else 0
        self.queue_count = counted(settings.queue_levels)
        for at, levels in enumerate(settings.queue_levels):
            self.queue[at] = levels
        self.lag_count = nanoseconds(self.lags_ns, settings.wap_lags_ms)
        self.flow_count = nanoseconds(self.flow_ns, settings.order_flow_ms)
        self.volatility_count = nanoseconds(self.volatility_ns, settings.volatility_ms)
        self.sample_ns = settings.volatility_sample_ms * NS_PER_MS
        windows = sorted({*settings.trade_flow_ms, *settings.vwap_ms, *settings.intensity_ms})
        places(&self.trade_flow, settings.trade_flow_ms, windows)
        places(&self.vwap, settings.vwap_ms, windows)
        places(&self.intensity, settings.intensity_ms, windows)
        self.trade_count = <int>len(windows)
        for at, window_ms in enumerate(windows):
            self.trade_ms[at] = window_ms
        self.book_columns = <int>len(settings.book_columns)
        self.columns = <int>len(settings.columns)
        assert self.columns <= MAX_ROW, "the settings see to it"


cdef int places(List *of, values, among) except -1:
    of.count = counted(values)
    for at, value in enumerate(values):
        of.at[<int>at] = among.index(value)


cdef int nanoseconds(int64_t *lengths_ns, values_ms) except -1:
    counted(values_ms)
    for at, value_ms in enumerate(values_ms):
        lengths_ns[<int>at] = value_ms * NS_PER_MS
    return <int>len(values_ms)


cdef int counted(values) except -1:
    """The number of values. `FeatureSettings` has no more than there is room for."""
    if len(values) > MAX_VALUES:
        raise ValueError(f"{len(values)} values in one list, more than {MAX_VALUES}")
    return <int>len(values)


cdef _Plan newest_plan = None


cdef _Plan plan_of(settings):
    global newest_plan
    if newest_plan is None or newest_plan.settings != settings:
        newest_plan = _Plan(settings)
    return newest_plan
