/* What the compiled twin of `fanout.analytics.features.features` needs from C, beside sums over levels
   (`_bands.h`) and over time (`_windows.h`). Cython does not know integers of 128 bits, so it only
   passes them on, and these functions make and compare them. */

#pragma once

#include "_windows.h"

/* The square of ln(1 + distance), times 2**96: see `fanout.analytics.features.volatility`. */
static inline i128 squared_return(double distance) {
    double logarithm = log1p(distance);
    return (i128)(logarithm * logarithm * 79228162514264337593543950336.0);
}

/* The volatility of a window, and what it was computed from: it changes once a sample. */
typedef struct {
    i128 sum;
    int64_t returns;
    double value;
} Computed;

static inline i128 i128_of(int64_t value) {
    return value;
}

static inline i128 i128_of_u64(uint64_t value) {
    return value;
}

static inline int IS_EQUAL(i128 one, i128 other) {
    return one == other;
}

static inline int is_positive(i128 value) {
    return value > 0;
}

static inline void put_amount(i128 *amounts, int which, i128 value) {
    amounts[which] = value;
}

static inline i128 amount_at(const i128 *amounts, int which) {
    return amounts[which];
}
