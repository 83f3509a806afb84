/* One side of an order book: levels in sorted chunks.

   Levels are sorted by a key: the price of a bid, the bitwise complement of an ask's price, which
   falls as the price rises and cannot overflow. The best level of either side is the last.

       highs    [  93,      97,        99 ]      the last key of each chunk
       chunks   [ 90 91 93 | 95 97 | 98 99 ]     64 levels each at most, none empty

   A change finds its chunk from the one before it, since the levels of an update are sorted too,
   and most of them lie close together. Within a chunk the search has no branch to mispredict, and
   to insert or remove a level moves at most 1 KiB. On recorded depth that takes 22 ns a level. One
   sorted array took 149 ns. An array of price ticks around the best price took 60 ns: a third of
   the levels are further away than 4,096 ticks, and it needs a price step, which this does not.

   Chunks that have become sparse are merged, and full ones share with their neighbours, so in a
   large book a level takes 35 bytes at the most, and 24 after many random changes. */

#pragma once

#include "_level_text.h"

typedef __int128 i128;

enum {
    CHUNK_LEVELS = 64,
    SPARSE_LEVELS = 32,
    MERGED_LEVELS = 62,
    ROOMY_LEVELS = 60, /* a chunk with no more takes levels from a full neighbour */
    MAX_LEVELS = 100000,
    STEPS = 4, /* how many chunks to look at one by one before a binary search */
};

typedef struct {
    Py_ssize_t count;
    int64_t keys[CHUNK_LEVELS];
    uint64_t quantities[CHUNK_LEVELS];
} Chunk;

typedef struct {
    Chunk **chunks;
    int64_t *highs;
    Py_ssize_t used, room; /* chunks, and the room for their addresses */
    Py_ssize_t near;       /* the chunk of the last change; 0 without chunks */
    Py_ssize_t levels;
    int64_t flip; /* a key is price ^ flip: 0 for bids, -1 for asks */
} Levels;

enum { DONE = 0, NO_MEMORY = -1, TOO_DEEP = -2 };

static void levels_clear(Levels *side) {
    for (Py_ssize_t at = 0; at < side->used; at++) {
        PyMem_Free(side->chunks[at]);
    }
    side->used = side->near = side->levels = 0;
}

static void levels_free(Levels *side) {
    levels_clear(side);
    PyMem_Free(side->chunks);
    PyMem_Free(side->highs);
    side->chunks = NULL;
    side->highs = NULL;
    side->room = 0;
}

static Py_ssize_t levels_bytes(const Levels *side) {
    return side->used * (Py_ssize_t)sizeof(Chunk)
        + side->room * (Py_ssize_t)(sizeof(Chunk *) + sizeof(int64_t));
}

static inline void fill_behind(Chunk *chunk, Py_ssize_t end) {
    for (Py_ssize_t place = chunk->count; place < end; place++) {
        chunk->keys[place] = INT64_MAX;
    }
}

/* An empty chunk at a place; NULL without memory. The caller fills it and sets its high. */
static Chunk *add_chunk(Levels *side, Py_ssize_t at) {
    if (side->used == side->room) {
        Py_ssize_t room = side->room + side->room / 4 + 4;
        Chunk **chunks = PyMem_Realloc(side->chunks, (size_t)room * sizeof(Chunk *));
        if (chunks == NULL) {
            return NULL;
        }
        side->chunks = chunks;
        int64_t *highs = PyMem_Realloc(side->highs, (size_t)room * sizeof(int64_t));
        if (highs == NULL) {
            return NULL;
        }
        side->highs = highs;
        side->room = room;
    }
    Chunk *chunk = PyMem_Malloc(sizeof(Chunk));
    if (chunk == NULL) {
        return NULL;
    }
    size_t behind = (size_t)(side->used - at);
    memmove(side->chunks + at + 1, side->chunks + at, behind * sizeof(Chunk *));
    memmove(side->highs + at + 1, side->highs + at, behind * sizeof(int64_t));
    chunk->count = 0;
    fill_behind(chunk, CHUNK_LEVELS);
    side->chunks[at] = chunk;
    side->used++;
    return chunk;
}

static void drop_chunk(Levels *side, Py_ssize_t at) {
    PyMem_Free(side->chunks[at]);
    side->used--;
    size_t behind = (size_t)(side->used - at);
    memmove(side->chunks + at, side->chunks + at + 1, behind * sizeof(Chunk *));
    memmove(side->highs + at, side->highs + at + 1, behind * sizeof(int64_t));
    if (side->near >= side->used) {
        side->near = side->used ? side->used - 1 : 0;
    }
}

/* The first chunk whose high is not below the key, else the last. There is at least one chunk. */
static inline Py_ssize_t chunk_of(const Levels *side, int64_t key) {
    const int64_t *highs = side->highs;
    Py_ssize_t at = side->near, last = side->used - 1, low, high;
    if (highs[at] < key) {
        for (int step = 0; step < STEPS; step++) {
            if (at == last || highs[++at] >= key) {
                return at;
            }
        }
        low = at, high = last;
    } else {
        for (int step = 0; step < STEPS; step++) {
            if (at == 0 || highs[at - 1] < key) {
                return at;
            }
            at--;
        }
        low = 0, high = at;
    }
    while (low < high) { /* the first of low to high that is not below, else high */
        Py_ssize_t middle = low + (high - low) / 2;
        if (highs[middle] < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* How many of a chunk's keys are below the key: two steps of eight comparisons that do not wait for
   each other. Behind the last key stand keys that are below none. */
static inline Py_ssize_t place_of(const Chunk *chunk, int64_t key) {
    const int64_t *keys = chunk->keys;
    Py_ssize_t eighth = 0, place = 0;
    for (int step = 1; step < CHUNK_LEVELS / 8; step++) {
        eighth += keys[8 * step - 1] < key;
    }
    keys += 8 * eighth;
    for (int step = 0; step < 8; step++) {
        place += keys[step] < key;
    }
    return 8 * eighth + place;
}

static inline void open_gap(Chunk *chunk, Py_ssize_t place) {
    size_t behind = (size_t)(chunk->count - place);
    memmove(chunk->keys + place + 1, chunk->keys + place, behind * 8);
    memmove(chunk->quantities + place + 1, chunk->quantities + place, behind * 8);
    chunk->count++;
}

static void move_levels(Chunk *to, Py_ssize_t place, const Chunk *from, Py_ssize_t first,
                        Py_ssize_t count) {
    memcpy(to->keys + place, from->keys + first, (size_t)count * 8);
    memcpy(to->quantities + place, from->quantities + first, (size_t)count * 8);
}

/* Move half of the room in a neighbour's chunk over to a full one. False if there is too little. */
static int share_with_neighbour(Levels *side, Py_ssize_t at) {
    Chunk *full = side->chunks[at];
    if (at + 1 < side->used && side->chunks[at + 1]->count <= ROOMY_LEVELS) {
        Chunk *next = side->chunks[at + 1];
        Py_ssize_t moved = (CHUNK_LEVELS - next->count) / 2;
        memmove(next->keys + moved, next->keys, (size_t)next->count * 8);
        memmove(next->quantities + moved, next->quantities, (size_t)next->count * 8);
        move_levels(next, 0, full, CHUNK_LEVELS - moved, moved);
        next->count += moved;
        full->count -= moved;
        fill_behind(full, CHUNK_LEVELS);
        side->highs[at] = full->keys[full->count - 1];
        return 1;
    }
    if (at > 0 && side->chunks[at - 1]->count <= ROOMY_LEVELS) {
        Chunk *before = side->chunks[at - 1];
        Py_ssize_t moved = (CHUNK_LEVELS - before->count) / 2;
        move_levels(before, before->count, full, 0, moved);
        before->count += moved;
        full->count -= moved;
        memmove(full->keys, full->keys + moved, (size_t)full->count * 8);
        memmove(full->quantities, full->quantities + moved, (size_t)full->count * 8);
        fill_behind(full, CHUNK_LEVELS);
        side->highs[at - 1] = before->keys[before->count - 1];
        return 1;
    }
    return 0;
}

/* Put a level into a full chunk's place, by way of another chunk. */
static int insert_into_full(Levels *side, Py_ssize_t at, Py_ssize_t place, int64_t key,
                            uint64_t quantity) {
    int is_first = at == 0 && place == 0;
    int is_last = at == side->used - 1 && place == CHUNK_LEVELS;
    Chunk *added = add_chunk(side, is_first ? at : at + 1);
    if (added == NULL) {
        return NO_MEMORY;
    }
    Chunk *chunk = added;
    if (is_first) {
        place = 0;
    } else if (is_last) {
        at++;
        place = 0;
    } else {
        Chunk *full = side->chunks[at];
        Py_ssize_t half = CHUNK_LEVELS / 2;
        move_levels(added, 0, full, half, CHUNK_LEVELS - half);
        added->count = CHUNK_LEVELS - half;
        full->count = half;
        fill_behind(full, CHUNK_LEVELS);
        side->highs[at + 1] = added->keys[added->count - 1];
        side->highs[at] = full->keys[half - 1];
        if (place > half) {
            at++;
            place -= half;
        } else {
            chunk = full;
        }
    }
    open_gap(chunk, place);
    chunk->keys[place] = key;
    chunk->quantities[place] = quantity;
    side->highs[at] = chunk->keys[chunk->count - 1];
    side->near = at;
    side->levels++;
    return DONE;
}

static void merge_with_next(Levels *side, Py_ssize_t at) {
    Chunk *chunk = side->chunks[at], *next = side->chunks[at + 1];
    move_levels(chunk, chunk->count, next, 0, next->count);
    chunk->count += next->count;
    side->highs[at] = side->highs[at + 1];
    drop_chunk(side, at + 1);
    side->near = at;
}

static void remove_level(Levels *side, Py_ssize_t at, Py_ssize_t place) {
    Chunk *chunk = side->chunks[at];
    size_t behind = (size_t)(--chunk->count - place);
    memmove(chunk->keys + place, chunk->keys + place + 1, behind * 8);
    memmove(chunk->quantities + place, chunk->quantities + place + 1, behind * 8);
    chunk->keys[chunk->count] = INT64_MAX;
    side->levels--;
    if (chunk->count == 0) {
        drop_chunk(side, at);
        return;
    }
    side->highs[at] = chunk->keys[chunk->count - 1];
    if (chunk->count < SPARSE_LEVELS) {
        if (at + 1 < side->used && chunk->count + side->chunks[at + 1]->count <= MERGED_LEVELS) {
            merge_with_next(side, at);
        } else if (at > 0 && chunk->count + side->chunks[at - 1]->count <= MERGED_LEVELS) {
            merge_with_next(side, at - 1);
        }
    }
}

static inline int set_level(Levels *side, int64_t key, uint64_t quantity) {
    if (side->used == 0) {
        if (quantity == 0) {
            return DONE;
        }
        Chunk *chunk = add_chunk(side, 0);
        if (chunk == NULL) {
            return NO_MEMORY;
        }
        chunk->count = 1;
        chunk->keys[0] = side->highs[0] = key;
        chunk->quantities[0] = quantity;
        side->near = 0;
        side->levels = 1;
        return DONE;
    }
    Py_ssize_t at = side->near = chunk_of(side, key);
    Chunk *chunk = side->chunks[at];
    Py_ssize_t place = place_of(chunk, key);
    if (place < chunk->count && chunk->keys[place] == key) {
        if (quantity) {
            chunk->quantities[place] = quantity;
        } else {
            remove_level(side, at, place);
        }
        return DONE;
    }
    if (quantity == 0) {
        return DONE;
    }
    if (side->levels == MAX_LEVELS) {
        return TOO_DEEP;
    }
    if (chunk->count == CHUNK_LEVELS) {
        if (!share_with_neighbour(side, at)) {
            return insert_into_full(side, at, place, key, quantity);
        }
        at = side->near = chunk_of(side, key); /* and there is room now */
        chunk = side->chunks[at];
        place = place_of(chunk, key);
    }
    open_gap(chunk, place);
    chunk->keys[place] = key;
    chunk->quantities[place] = quantity;
    side->highs[at] = chunk->keys[chunk->count - 1];
    side->levels++;
    return DONE;
}

/* Set `count` packed levels, in their order. */
static int change_levels(Levels *side, const char *packed, Py_ssize_t count) {
    int result = DONE;
    for (; count && result == DONE; count--, packed += LEVEL_BYTES) {
        int64_t key = (int64_t)read_u64(packed) ^ side->flip;
        result = set_level(side, key, read_u64(packed + 8));
    }
    return result;
}

/* Forget all levels whose keys are below this one. */
static void cut_levels(Levels *side, int64_t key) {
    while (side->used && side->highs[0] < key) {
        side->levels -= side->chunks[0]->count;
        drop_chunk(side, 0);
    }
    if (side->used) {
        Chunk *chunk = side->chunks[0];
        Py_ssize_t place = place_of(chunk, key);
        chunk->count -= place;
        side->levels -= place;
        memmove(chunk->keys, chunk->keys + place, (size_t)chunk->count * 8);
        memmove(chunk->quantities, chunk->quantities + place, (size_t)chunk->count * 8);
        fill_behind(chunk, chunk->count + place);
    }
}

static uint64_t quantity_of(const Levels *side, int64_t key) {
    if (side->used == 0) {
        return 0;
    }
    const Chunk *chunk = side->chunks[chunk_of(side, key)];
    Py_ssize_t place = place_of(chunk, key);
    return place < chunk->count && chunk->keys[place] == key ? chunk->quantities[place] : 0;
}

/* How many levels have this key or a higher one. */
static Py_ssize_t count_down_to(const Levels *side, int64_t key) {
    Py_ssize_t count = 0;
    for (Py_ssize_t at = side->used; at > 0 && side->highs[at - 1] >= key; at--) {
        const Chunk *chunk = side->chunks[at - 1];
        count += chunk->count;
        if (at == 1 || side->highs[at - 2] < key) {
            return count - place_of(chunk, key);
        }
    }
    return count;
}

/* A walk from the best level outwards. */

typedef struct {
    const Levels *side;
    const Chunk *chunk;
    Py_ssize_t at, place; /* `place` is one beyond the next level in the chunk */
} Walk;

static inline Walk walk_of(const Levels *side) {
    Walk walk = {side, NULL, side->used, 0};
    return walk;
}

static inline int next_level(Walk *walk, int64_t *price, uint64_t *quantity) {
    if (walk->place == 0) {
        if (walk->at == 0) {
            return 0;
        }
        walk->chunk = walk->side->chunks[--walk->at];
        walk->place = walk->chunk->count; /* no chunk is empty */
    }
    walk->place--;
    *price = walk->chunk->keys[walk->place] ^ walk->side->flip;
    *quantity = walk->chunk->quantities[walk->place];
    return 1;
}

typedef struct {
    i128 quantity, notional;
    int64_t price;
    Py_ssize_t levels;
    int is_exact; /* whether the notional fits */
} Part;

static inline void take(Part *part, int64_t price, uint64_t quantity) {
    i128 notional = (i128)price * (i128)quantity; /* less than 2**127 either way */
    part->quantity += quantity;
    if (__builtin_add_overflow(part->notional, notional, &part->notional)) {
        part->is_exact = 0;
    }
    part->price = price;
    part->levels++;
}

static Part part_of(const Levels *side, Py_ssize_t count) {
    Part part = {0, 0, 0, 0, 1};
    Walk walk = walk_of(side);
    int64_t price;
    uint64_t quantity;
    while (part.levels < count && next_level(&walk, &price, &quantity)) {
        take(&part, price, quantity);
    }
    return part;
}

static Part part_down_to(const Levels *side, int64_t key) {
    Part part = {0, 0, 0, 0, 1};
    Walk walk = walk_of(side);
    int64_t price;
    uint64_t quantity;
    while (next_level(&walk, &price, &quantity) && (price ^ side->flip) >= key) {
        take(&part, price, quantity);
    }
    return part;
}

static Part part_swept(const Levels *side, uint64_t wanted) {
    Part part = {0, 0, 0, 0, 1};
    Walk walk = walk_of(side);
    int64_t price;
    uint64_t quantity;
    while (wanted && next_level(&walk, &price, &quantity)) {
        uint64_t taken = quantity < wanted ? quantity : wanted;
        take(&part, price, taken);
        wanted -= taken;
    }
    return part;
}

static i128 total_of(const Levels *side, Py_ssize_t count) {
    i128 total = 0;
    for (Py_ssize_t at = side->used; at > 0 && count > 0; at--) {
        const Chunk *chunk = side->chunks[at - 1];
        Py_ssize_t first = chunk->count > count ? chunk->count - count : 0;
        for (Py_ssize_t place = first; place < chunk->count; place++) {
            total += chunk->quantities[place];
        }
        count -= chunk->count - first;
    }
    return total;
}

static i128 total_down_to(const Levels *side, int64_t key) {
    i128 total = 0;
    for (Py_ssize_t at = side->used; at > 0; at--) {
        const Chunk *chunk = side->chunks[at - 1];
        Py_ssize_t first = chunk->keys[0] < key ? place_of(chunk, key) : 0;
        for (Py_ssize_t place = first; place < chunk->count; place++) {
            total += chunk->quantities[place];
        }
        if (first) {
            break;
        }
    }
    return total;
}

/* Cython takes an i128 for an int, so it leaves arithmetic to these. */

static inline i128 SUM(i128 one, i128 other) {
    return one + other;
}

static inline i128 DIFFERENCE(i128 one, i128 other) {
    return one - other;
}

static inline int IS_ZERO(i128 value) {
    return value == 0;
}

static inline int IS_EXACTLY_U64(i128 value, uint64_t other) {
    return value == (i128)other;
}

/* What Python gets. */

static PyObject *long_of(i128 value) {
    if (value == (i128)(int64_t)value) {
        return PyLong_FromLongLong((int64_t)value);
    }
    PyObject *result = NULL;
    PyObject *high = PyLong_FromLongLong((int64_t)(value >> 64));
    PyObject *low = PyLong_FromUnsignedLongLong((uint64_t)value);
    PyObject *shift = PyLong_FromLong(64);
    PyObject *shifted = high && low && shift ? PyNumber_Lshift(high, shift) : NULL;
    if (shifted != NULL) {
        result = PyNumber_Or(shifted, low);
    }
    Py_XDECREF(high);
    Py_XDECREF(low);
    Py_XDECREF(shift);
    Py_XDECREF(shifted);
    return result;
}

/* The correctly rounded quotient, of which the divisor is not 0. */
static PyObject *quotient(i128 dividend, i128 divisor) {
    const i128 exact = (i128)1 << 53;
    if (-exact <= dividend && dividend <= exact && -exact <= divisor && divisor <= exact) {
        return PyFloat_FromDouble((double)(int64_t)dividend / (double)(int64_t)divisor);
    }
    PyObject *one = long_of(dividend), *other = long_of(divisor), *result = NULL;
    if (one != NULL && other != NULL) {
        result = PyNumber_TrueDivide(one, other);
    }
    Py_XDECREF(one);
    Py_XDECREF(other);
    return result;
}

/* A named tuple of two, made as its type makes it. From 3.14 on a tuple has more than its items, so
   there it is made by way of a tuple. */
static PyObject *level_of(PyTypeObject *type, int64_t price, uint64_t quantity) {
    PyObject *one = PyLong_FromLongLong(price);
    PyObject *two = PyLong_FromUnsignedLongLong(quantity);
    PyObject *level = NULL;
    if (one != NULL && two != NULL) {
#if PY_VERSION_HEX < 0x030E0000
        level = type->tp_alloc(type, 2);
        if (level != NULL) {
            PyTuple_SET_ITEM(level, 0, one);
            PyTuple_SET_ITEM(level, 1, two);
            return level;
        }
#else
        PyObject *arguments = Py_BuildValue("((OO))", one, two);
        if (arguments != NULL) {
            level = PyTuple_Type.tp_new(type, arguments, NULL);
            Py_DECREF(arguments);
        }
#endif
    }
    Py_XDECREF(one);
    Py_XDECREF(two);
    return level;
}

static PyObject *first_levels(const Levels *side, Py_ssize_t count, PyTypeObject *type) {
    if (count > side->levels) {
        count = side->levels;
    }
    PyObject *list = PyList_New(count);
    if (list == NULL) {
        return NULL;
    }
    Walk walk = walk_of(side);
    int64_t price;
    uint64_t quantity;
    for (Py_ssize_t place = 0; place < count && next_level(&walk, &price, &quantity); place++) {
        PyObject *level = level_of(type, price, quantity);
        if (level == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, place, level);
    }
    return list;
}

static PyObject *pack_first(const Levels *side, Py_ssize_t count) {
    if (count > side->levels) {
        count = side->levels;
    }
    PyObject *packed = PyBytes_FromStringAndSize(NULL, count * LEVEL_BYTES);
    if (packed == NULL) {
        return NULL;
    }
    char *at = PyBytes_AS_STRING(packed);
    Walk walk = walk_of(side);
    int64_t price;
    uint64_t quantity;
    for (; count && next_level(&walk, &price, &quantity); count--, at += LEVEL_BYTES) {
        write_u64(at, (uint64_t)price);
        write_u64(at + 8, quantity);
    }
    return packed;
}
