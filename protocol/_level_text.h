/* Levels of a book as venues write them in JSON, [["61800.20","2.507"],...], and packed as
   `BookUpdate` holds them. */

#pragma once

#include <stdint.h>
#include <string.h>

#include <Python.h>

enum { LEVEL_BYTES = 16 };

static inline uint64_t read_u64(const char *at) {
    uint64_t word;
    memcpy(&word, at, 8);
#if PY_BIG_ENDIAN
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline void write_u64(char *at, uint64_t word) {
#if PY_BIG_ENDIAN
    word = __builtin_bswap64(word);
#endif
    memcpy(at, &word, 8);
}

enum { MAX_DIGITS = 18 }; /* what always fits */

static const uint64_t TEN[MAX_DIGITS + 1] = {
    1ull,
    10ull,
    100ull,
    1000ull,
    10000ull,
    100000ull,
    1000000ull,
    10000000ull,
    100000000ull,
    1000000000ull,
    10000000000ull,
    100000000000ull,
    1000000000000ull,
    10000000000000ull,
    100000000000000ull,
    1000000000000000ull,
    10000000000000000ull,
    100000000000000000ull,
    1000000000000000000ull,
};

/* Read digits, with at most one point between them, as an integer at 10**exponent. The text ends in
   a NUL. Gives what follows; NULL for what is not ordinary. Eight digits at a time by arithmetic on
   a word took a third longer: the branches of these loops are predicted well. */
static inline const char *read_decimal(const char *at, long exponent, uint64_t *value) {
    uint64_t digits = 0;
    unsigned digit;
    const char *start = at;
    while ((digit = (unsigned)(unsigned char)*at - '0') <= 9) {
        digits = 10 * digits + digit;
        at++;
    }
    long count = at - start, fraction = 0;
    if (count == 0 || count > MAX_DIGITS) {
        return NULL;
    }
    if (*at == '.') {
        start = ++at;
        while ((digit = (unsigned)(unsigned char)*at - '0') <= 9) {
            digits = 10 * digits + digit;
            at++;
        }
        fraction = at - start;
        if (fraction == 0 || fraction > MAX_DIGITS - count) {
            return NULL;
        }
    }
    long surplus = fraction + exponent;
    if (surplus > 0) {
        if (surplus > MAX_DIGITS || digits % TEN[surplus]) {
            return NULL;
        }
        digits /= TEN[surplus];
    } else if (surplus < 0) {
        if (count + fraction - surplus > MAX_DIGITS) {
            return NULL;
        }
        digits *= TEN[-surplus];
    }
    *value = digits;
    return at;
}

/* How a price of up to 8 characters was written, since the next one is likely to be written so too.
   Then arithmetic on one word gives its digits, and the next level does not wait for them: that
   saves a quarter. It does not pay for quantities, whose lengths vary. */
typedef struct {
    int length; /* of the text; 0: there was none */
    int shift;  /* that brings its last character to the end of a word */
    int point;  /* bits below the point */
    uint64_t below, above, empty;
} Layout;

static inline void learn(Layout *layout, const char *at, Py_ssize_t length, long exponent) {
    layout->length = 0;
#if PY_LITTLE_ENDIAN
    if (length <= 8 && exponent < 0 && length + exponent > 1 && at[length + exponent - 1] == '.') {
        layout->length = (int)length;
        layout->shift = 64 - 8 * (int)length;
        layout->point = 8 * (7 + (int)exponent);
        layout->below = ((uint64_t)1 << layout->point) - 1;
        layout->above = ~(layout->below << 8 | 0xFF);
        layout->empty = 0x3030303030303030u & (((uint64_t)1 << (layout->shift + 8)) - 1);
    }
#endif
}

/* The number at `at`, if it is written so, and 8 bytes can be read there. */
static inline int is_like(const Layout *layout, const char *at, uint64_t *value) {
    uint64_t word = read_u64(at) << layout->shift;
    if ((word >> layout->point & 0xFF) != '.') {
        return 0;
    }
    word = (word & layout->above) | (word & layout->below) << 8 | layout->empty;
    if (((word + 0x4646464646464646u) | (word - 0x3030303030303030u)) & 0x8080808080808080u) {
        return 0;
    }
    word -= 0x3030303030303030u;
    word = word * 10 + (word >> 8); /* pairs of digits, then fours, then eight */
    *value = ((word & 0x000000FF000000FFu) * 0x000F424000000064u
              + (word >> 16 & 0x000000FF000000FFu) * 0x0000271000000001u)
        >> 32;
    return 1;
}

/* A price and the quote behind it. Gives where that is; NULL for what is not ordinary. */
static inline const char *read_price(const char *at, const char *end, long exponent, Layout *layout,
                                     uint64_t *value) {
    if (layout->length && end - at > 8 && at[layout->length] == '"'
        && is_like(layout, at, value)) {
        return at + layout->length;
    }
    const char *behind = read_decimal(at, exponent, value);
    if (behind == NULL || *behind != '"') {
        return NULL;
    }
    learn(layout, at, behind - at, exponent);
    return behind;
}

/* Read `[["price","quantity"],...]` and write the levels packed, from the best outwards, if they
   stand in either order. Gives what follows; NULL for what is not ordinary, or for more than `room`
   levels. The text ends in a NUL, at `end`. */
static inline const char *read_levels(const char *at, const char *end, long price_exponent,
                                      long quantity_exponent, int falling, char *packed,
                                      Py_ssize_t room, Py_ssize_t *count) {
    Layout layout = {0};
    uint64_t price, before = 0, quantity;
    int rises = 0;
    Py_ssize_t read = 0;
    *count = 0;
    if (*at++ != '[') {
        return NULL;
    }
    if (*at == ']') {
        return at + 1;
    }
    for (;; at++) {
        if (read == room || at[0] != '[' || at[1] != '"') {
            return NULL;
        }
        at = read_price(at + 2, end, price_exponent, &layout, &price);
        if (at == NULL || at[1] != ',' || at[2] != '"') {
            return NULL;
        }
        at = read_decimal(at + 3, quantity_exponent, &quantity);
        if (at == NULL || at[0] != '"' || at[1] != ']') {
            return NULL;
        }
        at += 2;
        if (read == 1) {
            rises = price > before;
        }
        if (read && (price == before || rises != (price > before))) {
            return NULL;
        }
        before = price;
        write_u64(packed + read * LEVEL_BYTES, price);
        write_u64(packed + read * LEVEL_BYTES + 8, quantity);
        read++;
        if (*at != ',') {
            break;
        }
    }
    if (*at != ']') {
        return NULL;
    }
    if (read > 1 && rises == falling) {
        char level[LEVEL_BYTES];
        char *low = packed, *high = packed + (read - 1) * LEVEL_BYTES;
        for (; low < high; low += LEVEL_BYTES, high -= LEVEL_BYTES) {
            memcpy(level, low, LEVEL_BYTES);
            memcpy(low, high, LEVEL_BYTES);
            memcpy(high, level, LEVEL_BYTES);
        }
    }
    *count = read;
    return at + 1;
}
