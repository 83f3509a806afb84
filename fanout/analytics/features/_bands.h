/* Sums over the levels of a book, and quotients, for the compiled twin of
   `fanout.analytics.features.features`. Everything is an integer until the one division at the end, which is
   rounded correctly. */

#pragma once

#include <math.h>

#include "_book.h"

typedef unsigned __int128 u128;

enum {
    MAX_BANDS = 64, /* of four lists of at most 16 values */
    BASIS_POINTS = 10000,
};

/* Quotients. */

static inline int bits_of(u128 value) {
    uint64_t high = (uint64_t)(value >> 64);
    if (high) {
        return 128 - __builtin_clzll(high);
    }
    return (uint64_t)value ? 64 - __builtin_clzll((uint64_t)value) : 0;
}

/* The correctly rounded quotient, of which the divisor is positive. False if it takes more than 128
   bits, and then the caller divides Python's integers. */
static int divided(i128 dividend, i128 divisor, double *quotient) {
    const i128 exact = (i128)1 << 53;
    if (-exact <= dividend && dividend <= exact && divisor <= exact) {
        *quotient = (double)(int64_t)dividend / (double)(int64_t)divisor;
        return 1;
    }
    if (dividend == 0) { /* of which there is nothing to shift */
        *quotient = 0.0;
        return 1;
    }
    u128 size = dividend < 0 ? -(u128)dividend : (u128)dividend;
    int bits = bits_of(size), by = bits_of((u128)divisor);
    int shift = bits - by < 56 ? 56 - (bits - by) : 0;
    if (bits + shift > 128 || bits + shift - by > 63) {
        return 0;
    }
    /* 55 bits or more, and one that is set if anything is left over: that rounds like all of them. */
    u128 scaled = size << shift;
    uint64_t whole = (uint64_t)(scaled / (u128)divisor);
    whole |= scaled % (u128)divisor != 0;
    double result = ldexp((double)whole, -shift);
    *quotient = dividend < 0 ? -result : result;
    return 1;
}

/* (dividend * times) / (divisor * per), likewise. */
static int scaled_quotient(
    i128 dividend, int64_t times, i128 divisor, int64_t per, double *quotient
) {
    return !__builtin_mul_overflow(dividend, (i128)times, &dividend)
        && !__builtin_mul_overflow(divisor, (i128)per, &divisor)
        && divided(dividend, divisor, quotient);
}

/* A sum of products of a price and a quantity. Each product has 127 bits, so it is kept in two
   halves, of which a hundred thousand can be added up: high * 2**64 + low. */
typedef struct {
    i128 high, low;
} Wide;

static inline void add_product(Wide *sum, int64_t price, uint64_t quantity) {
    i128 product = (i128)price * (i128)quantity;
    sum->low += (uint64_t)product;
    sum->high += product >> 64;
}

static inline void add_wide(Wide *sum, const Wide *other) {
    sum->low += other->low;
    sum->high += other->high;
}

static inline int is_narrow(const Wide *sum, i128 *value) {
    i128 high = sum->high + (sum->low >> 64);
    if (high != (i128)(int64_t)high) {
        return 0;
    }
    *value = (i128)(((u128)high << 64) | (uint64_t)sum->low);
    return 1;
}

/* Bands around the mid. */

typedef struct {
    i128 quantity;
    Wide notional;
    Py_ssize_t levels;
    int is_whole;
} Band;

typedef struct {
    i128 bids, asks;
    Wide notional;
    Py_ssize_t bid_levels, ask_levels;
    int is_whole;
} Bands;

/* Add all levels of a chunk. The products of 64 quantities below 2**56 fit 127 bits together. */
static inline void add_chunk_levels(Band *sum, const Chunk *chunk, int64_t flip, int is_priced) {
    uint64_t seen = 0, low = 0, high = 0;
    i128 notional = 0;
    for (Py_ssize_t place = 0; place < chunk->count; place++) {
        uint64_t quantity = chunk->quantities[place];
        seen |= quantity;
        low += (uint32_t)quantity;
        high += quantity >> 32;
    }
    sum->quantity += ((i128)high << 32) + low;
    sum->levels += chunk->count;
    if (!is_priced) {
        return;
    }
    if (seen >> 56) {
        for (Py_ssize_t place = 0; place < chunk->count; place++) {
            add_product(&sum->notional, chunk->keys[place] ^ flip, chunk->quantities[place]);
        }
        return;
    }
    for (Py_ssize_t place = 0; place < chunk->count; place++) {
        notional += (i128)(chunk->keys[place] ^ flip) * (int64_t)chunk->quantities[place];
    }
    sum->notional.low += (uint64_t)notional;
    sum->notional.high += notional >> 64;
}

/* What one side has down to each of these keys, which fall. Notionals are summed for the first
   `priced` of them. A book that shows only its top is not known beyond its last level. */
static void side_bands(
    const Levels *side, const int64_t *keys, int count, int priced, int is_top_only, Band *bands
) {
    Band sum = {0, {0, 0}, 0, 1};
    int band = 0;
    for (Py_ssize_t at = side->used; at > 0; at--) {
        const Chunk *chunk = side->chunks[at - 1];
        if (chunk->keys[0] >= keys[band]) {
            add_chunk_levels(&sum, chunk, side->flip, band < priced);
            continue;
        }
        for (Py_ssize_t place = chunk->count; place > 0; place--) {
            int64_t key = chunk->keys[place - 1];
            while (key < keys[band]) {
                bands[band] = sum;
                if (++band == count) {
                    return;
                }
            }
            uint64_t quantity = chunk->quantities[place - 1];
            sum.quantity += quantity;
            sum.levels++;
            if (band < priced) {
                add_product(&sum.notional, key ^ side->flip, quantity);
            }
        }
    }
    for (; band < count; band++) {
        sum.is_whole
            = !is_top_only || !sum.levels || side->chunks[0]->keys[0] <= keys[band];
        bands[band] = sum;
    }
}

/* The bands of a book with a positive mid. `depths` are in basis points, and rise. */
static void book_bands(
    const Levels *bids, const Levels *asks, i128 twice_mid, int is_top_only, const int *depths,
    int count, int priced, Bands *bands
) {
    int64_t lows[MAX_BANDS], highs[MAX_BANDS];
    Band below[MAX_BANDS], above[MAX_BANDS];
    if (count <= 0) {
        return;
    }
    for (int at = 0; at < count; at++) {
        i128 whole = 2 * BASIS_POINTS;
        i128 low = (twice_mid * (BASIS_POINTS - depths[at]) + whole - 1) / whole;
        i128 high = twice_mid * (BASIS_POINTS + depths[at]) / whole;
        lows[at] = (int64_t)low ^ bids->flip; /* below the best bid, so it fits */
        highs[at] = (high > INT64_MAX ? INT64_MAX : (int64_t)high) ^ asks->flip;
    }
    side_bands(bids, lows, count, priced, is_top_only, below);
    side_bands(asks, highs, count, priced, is_top_only, above);
    for (int at = 0; at < count; at++) {
        bands[at].bids = below[at].quantity;
        bands[at].asks = above[at].quantity;
        bands[at].notional = below[at].notional;
        add_wide(&bands[at].notional, &above[at].notional);
        bands[at].bid_levels = below[at].levels;
        bands[at].ask_levels = above[at].levels;
        bands[at].is_whole = below[at].is_whole && above[at].is_whole;
    }
}

/* The best prices. */

typedef struct {
    int64_t bid, ask;
    uint64_t bid_quantity, ask_quantity;
} Tops;

static inline i128 twice_mid(const Tops *tops) {
    return (i128)tops->bid + tops->ask;
}

static inline int is_same(const Tops *one, const Tops *other) {
    return one->bid == other->bid && one->ask == other->ask
        && one->bid_quantity == other->bid_quantity && one->ask_quantity == other->ask_quantity;
}

/* See `fanout.analytics.features.formulas.order_flow`. */
static inline i128 order_flow(const Tops *before, const Tops *after) {
    i128 flow = 0;
    if (after->bid >= before->bid) {
        flow += after->bid_quantity;
    }
    if (after->bid <= before->bid) {
        flow -= before->bid_quantity;
    }
    if (after->ask <= before->ask) {
        flow -= after->ask_quantity;
    }
    if (after->ask >= before->ask) {
        flow += before->ask_quantity;
    }
    return flow;
}

/* Both fit the halves of a product of 127 bits, or fewer. */
static inline Wide crosswise(const Tops *tops) {
    Wide sum = {0, 0};
    add_product(&sum, tops->bid, tops->ask_quantity);
    add_product(&sum, tops->ask, tops->bid_quantity);
    return sum;
}
