/* Sums for the compiled twin of `fanout.analytics.features`: over levels of a book, over windows of
   time, and their quotients. Everything is an integer until the one division at the end, which is
   rounded correctly. */

#pragma once

#include <math.h>

#include "_book.h"

typedef unsigned __int128 u128;

enum {
    MAX_BANDS = 64, /* of four lists of at most 16 values */
    MAX_LENGTHS = 64,
    MAX_WIDTH = 6,
    MAX_SERIES = 65536, /* as MAX_ENTRIES in `settings` */
    FIRST_ROOM = 16,
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

/* See `fanout.analytics.formulas.order_flow`. */
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

/* Sums over windows: see `fanout.analytics.windows.Windows`. One run of entries serves all windows,
   since each window's are the newest ones of the next longer window's.

       times    [ t0 t1 t2 t3 t4 t5 ]      a circle: entry n stands at n modulo its room
                     |     |     |
           first[1] -'     |     '- end
                 first[0] -'                                                                    */

typedef struct {
    int windows, width;
    Py_ssize_t room;
    uint64_t end;
    int64_t whole_ns, cut_ns;
    int why;
    int64_t *lengths_ns; /* of the windows, which rise */
    uint64_t *first;     /* the oldest entry of each */
    i128 *sums;          /* `width` of each */
    int64_t *times;
    i128 *amounts;
} Series;

static int series_begin(Series *series, int windows, int width) {
    memset(series, 0, sizeof *series);
    series->windows = windows;
    series->width = width;
    series->whole_ns = INT64_MAX;
    if (windows == 0) {
        return 1;
    }
    series->lengths_ns = PyMem_Calloc((size_t)windows, sizeof(int64_t));
    series->first = PyMem_Calloc((size_t)windows, sizeof(uint64_t));
    series->sums = PyMem_Calloc((size_t)(windows * width), sizeof(i128));
    return series->lengths_ns != NULL && series->first != NULL && series->sums != NULL;
}

static void series_free(Series *series) {
    PyMem_Free(series->lengths_ns);
    PyMem_Free(series->first);
    PyMem_Free(series->sums);
    PyMem_Free(series->times);
    PyMem_Free(series->amounts);
}

static Py_ssize_t series_bytes(const Series *series) {
    return series->windows * (Py_ssize_t)(16 + series->width * sizeof(i128))
        + series->room * (Py_ssize_t)(sizeof(int64_t) + series->width * sizeof(i128));
}

static inline Py_ssize_t place_in(const Series *series, uint64_t entry) {
    return (Py_ssize_t)(entry & (uint64_t)(series->room - 1));
}

static inline void let_go(Series *series, int window, uint64_t entry) {
    const i128 *amounts = series->amounts + place_in(series, entry) * series->width;
    i128 *sums = series->sums + window * series->width;
    for (int which = 0; which < series->width; which++) {
        sums[which] -= amounts[which];
    }
    series->first[window] = entry + 1;
}

static inline void series_move(Series *series, int64_t now_ns) {
    for (int window = 0; window < series->windows; window++) {
        int64_t start_ns = now_ns - series->lengths_ns[window];
        uint64_t entry = series->first[window];
        while (entry < series->end && series->times[place_in(series, entry)] <= start_ns) {
            let_go(series, window, entry++);
        }
    }
}

/* The room for one more entry beside so many: it doubles when it is full, and halves once a burst is
   over, so that memory follows what is in the windows. */
static inline Py_ssize_t room_for(uint64_t count, Py_ssize_t room) {
    if (count >= (uint64_t)room) {
        return room ? 2 * room : FIRST_ROOM;
    }
    return room > FIRST_ROOM && count < (uint64_t)room / 8 ? room / 2 : room;
}

/* Make room for one more entry. False without memory. */
static int series_room(Series *series) {
    uint64_t oldest = series->first[series->windows - 1];
    uint64_t count = series->end - oldest;
    if (count == MAX_SERIES) {
        series->cut_ns = series->times[place_in(series, oldest)];
        for (int window = 0; window < series->windows; window++) {
            if (series->first[window] == oldest) {
                let_go(series, window, oldest);
            }
        }
        return 1;
    }
    Series other = *series;
    other.room = room_for(count, series->room);
    if (other.room == series->room) {
        return 1;
    }
    other.times = PyMem_Malloc((size_t)other.room * sizeof(int64_t));
    other.amounts = PyMem_Malloc((size_t)(other.room * series->width) * sizeof(i128));
    if (other.times == NULL || other.amounts == NULL) {
        PyMem_Free(other.times);
        PyMem_Free(other.amounts);
        return 0;
    }
    for (uint64_t entry = oldest; entry < series->end; entry++) {
        Py_ssize_t from = place_in(series, entry), to = place_in(&other, entry);
        other.times[to] = series->times[from];
        memcpy(
            other.amounts + to * series->width, series->amounts + from * series->width,
            (size_t)series->width * sizeof(i128)
        );
    }
    PyMem_Free(series->times);
    PyMem_Free(series->amounts);
    *series = other;
    return 1;
}

/* Count these amounts from this moment on. False without memory. */
static int series_add(Series *series, int64_t now_ns, const i128 *added) {
    series_move(series, now_ns);
    if (series->windows == 0) {
        return 1;
    }
    int is_new = series->end == series->first[series->windows - 1]
        || series->times[place_in(series, series->end - 1)] != now_ns;
    if (is_new && !series_room(series)) {
        return 0;
    }
    i128 *amounts
        = series->amounts + place_in(series, series->end - !is_new) * series->width;
    if (is_new) {
        series->times[place_in(series, series->end)] = now_ns;
        memset(amounts, 0, (size_t)series->width * sizeof(i128));
        series->end++;
    }
    for (int which = 0; which < series->width; which++) {
        amounts[which] += added[which];
        for (int window = 0; window < series->windows; window++) {
            series->sums[window * series->width + which] += added[which];
        }
    }
    return 1;
}

/* Why a window has no value, or 0. */
static inline int series_absence(const Series *series, int window, int64_t now_ns, int other) {
    int64_t start_ns = now_ns - series->lengths_ns[window];
    if (start_ns < series->whole_ns) {
        return series->why;
    }
    return start_ns < series->cut_ns ? other : 0;
}

/* Values of some time ago: see `fanout.analytics.windows.Lagged`. */

typedef struct {
    int64_t time_ns;
    double value;
    int why; /* 0 if there is a value */
} Shown;

typedef struct {
    int lags;
    Py_ssize_t room;
    uint64_t end;
    const int64_t *lags_ns; /* which rise */
    uint64_t *next;         /* the sample that each lag shows next */
    Shown *shown;           /* of each lag */
    Shown *samples;
    Shown newest;
} Past;

static int past_begin(Past *past, const int64_t *lags_ns, int lags, int why) {
    memset(past, 0, sizeof *past);
    past->newest.why = why;
    past->lags = lags;
    past->lags_ns = lags_ns;
    if (lags == 0) {
        return 1;
    }
    past->next = PyMem_Calloc((size_t)lags, sizeof(uint64_t));
    past->shown = PyMem_Calloc((size_t)lags, sizeof(Shown));
    if (past->next == NULL || past->shown == NULL) {
        return 0;
    }
    for (int lag = 0; lag < lags; lag++) {
        past->shown[lag] = past->newest;
    }
    return 1;
}

static void past_free(Past *past) {
    PyMem_Free(past->next);
    PyMem_Free(past->shown);
    PyMem_Free(past->samples);
}

static Py_ssize_t past_bytes(const Past *past) {
    return past->lags * (Py_ssize_t)(sizeof(uint64_t) + sizeof(Shown))
        + past->room * (Py_ssize_t)sizeof(Shown);
}

static inline Shown *sample_at(const Past *past, uint64_t sample) {
    return past->samples + (sample & (uint64_t)(past->room - 1));
}

static inline void past_move(Past *past, int64_t now_ns) {
    for (int lag = 0; lag < past->lags; lag++) {
        int64_t until_ns = now_ns - past->lags_ns[lag];
        uint64_t sample = past->next[lag];
        while (sample < past->end && sample_at(past, sample)->time_ns <= until_ns) {
            past->shown[lag] = *sample_at(past, sample++);
        }
        past->next[lag] = sample;
    }
}

static int past_room(Past *past) {
    uint64_t oldest = past->next[past->lags - 1];
    Past other = *past;
    other.room = room_for(past->end - oldest, past->room);
    if (other.room == past->room) {
        return 1;
    }
    other.samples = PyMem_Malloc((size_t)other.room * sizeof(Shown));
    if (other.samples == NULL) {
        return 0;
    }
    for (uint64_t sample = oldest; sample < past->end; sample++) {
        *sample_at(&other, sample) = *sample_at(past, sample);
    }
    PyMem_Free(past->samples);
    *past = other;
    return 1;
}

/* Take a value, which holds from this moment on. False without memory. */
static int past_add(Past *past, int64_t now_ns, double value, int why, int other) {
    if (past->newest.why == why && (why || past->newest.value == value)) {
        return 1;
    }
    past_move(past, now_ns);
    if (past->lags == 0) {
        return 1;
    }
    Shown sample = {now_ns, value, why};
    /* A sample that the shortest lag has shown is not replaced. */
    if (past->next[0] < past->end && sample_at(past, past->end - 1)->time_ns == now_ns) {
        *sample_at(past, past->end - 1) = sample;
    } else {
        if (past->end - past->next[past->lags - 1] >= MAX_SERIES) {
            if (past->newest.why == other) {
                return 1;
            }
            sample.why = other;
        }
        if (!past_room(past)) {
            return 0;
        }
        *sample_at(past, past->end++) = sample;
    }
    past->newest = sample;
    return 1;
}

/* The square of ln(1 + distance), times 2**96: see `fanout.analytics.volatility`. */
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
