/* Sums over windows of time, and values of some time ago, for the compiled twin of
   `fanout.analytics.features.features`. Both keep their entries in a circle that grows and shrinks. */

#pragma once

#include "_bands.h"

enum {
    MAX_SERIES = 65536, /* as MAX_ENTRIES in `settings` */
    FIRST_ROOM = 16,
};

/* Sums over windows: see `fanout.analytics.features.windows.Windows`. One run of entries serves all windows,
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

/* Values of some time ago: see `fanout.analytics.features.windows.Lagged`. */

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
