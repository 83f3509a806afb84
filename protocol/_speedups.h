/* What the compiled twins need of CPython, of the compiler, and of arithmetic. */

#include <string.h>

#include <Python.h>
#include <structmember.h>

/* Where an attribute is in its object; -1 if it is no plain member. */
static inline Py_ssize_t offset_of(PyObject *type, const char *name) {
    PyObject *found = PyObject_GetAttrString(type, name);
    Py_ssize_t offset = -1;
    if (found == NULL) {
        PyErr_Clear();
        return -1;
    }
    if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type == T_OBJECT_EX) {
            offset = member->offset;
        }
    }
    Py_DECREF(found);
    return offset;
}

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))
#define IS_EXACTLY(object, type) Py_IS_TYPE((PyObject *)(object), (PyTypeObject *)(type))
#define FILL(object, offset, value) (SLOT(object, offset) = (PyObject *)(value))

/* A Python integer as 64 bits, signed or not. False, and no exception, if it does not fit. */
static inline int as_i64(PyObject *number, int64_t *value) {
    int overflow;
    if (number == NULL || !PyLong_Check(number)) {
        return 0;
    }
    *value = PyLong_AsLongLongAndOverflow(number, &overflow);
    return !overflow;
}

static inline int as_u64(PyObject *number, uint64_t *value) {
    int64_t low;
    if (as_i64(number, &low)) {
        *value = (uint64_t)low;
        return low >= 0;
    }
    if (number == NULL || !PyLong_Check(number)) {
        return 0;
    }
    *value = PyLong_AsUnsignedLongLong(number);
    if (*value == (uint64_t)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return 1;
}

/* The memory behind a view; NULL if it has been released. */
static inline char *memory_of(PyObject *view) {
    if (view == NULL || !PyMemoryView_Check(view)) {
        return NULL;
    }
    if (((PyMemoryViewObject *)view)->flags & _Py_MEMORYVIEW_RELEASED) {
        return NULL;
    }
    return (char *)PyMemoryView_GET_BUFFER(view)->buf;
}

#define LOAD(word) __atomic_load_n(word, __ATOMIC_ACQUIRE)
#define STORE(word, value) __atomic_store_n(word, value, __ATOMIC_RELEASE)
/* Loads and stores before it come before those after it, but for a load after a store. No
   instruction on x86-64: it keeps the compiler from moving them. */
#define FENCE() __atomic_thread_fence(__ATOMIC_ACQ_REL)

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() ((void)0)
#endif

/* CRC-32 as zlib has it. A call to zlib through Python costs more than the sum over a small block.

   By tables it takes eight bytes at a time. CPUs that multiply without carries take sixteen: a
   block of 16 bytes times x^128 modulo the polynomial is added to the next one, and so on to the
   last ("folding"). The CRC of what is left is that of the whole. */
static uint32_t crc_table[8][256];
static int crc_folds;

static inline void fill_crc_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        }
        crc_table[0][byte] = crc;
    }
    for (int byte = 0; byte < 256; byte++) {
        for (int step = 1; step < 8; step++) {
            uint32_t before = crc_table[step - 1][byte];
            crc_table[step][byte] = before >> 8 ^ crc_table[0][before & 0xFF];
        }
    }
#if defined(__x86_64__) && defined(__GNUC__)
    crc_folds = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("ssse3");
#endif
}

/* Without the inversions before and after. */
static inline uint32_t crc32_of_more(uint32_t crc, const uint8_t *data, Py_ssize_t size) {
    for (; size >= 8; size -= 8, data += 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        word ^= crc;
        crc = crc_table[7][word & 0xFF] ^ crc_table[6][word >> 8 & 0xFF]
            ^ crc_table[5][word >> 16 & 0xFF] ^ crc_table[4][word >> 24 & 0xFF]
            ^ crc_table[3][word >> 32 & 0xFF] ^ crc_table[2][word >> 40 & 0xFF]
            ^ crc_table[1][word >> 48 & 0xFF] ^ crc_table[0][word >> 56];
    }
    while (size--) {
        crc = crc >> 8 ^ crc_table[0][(crc ^ *data++) & 0xFF];
    }
    return crc;
}

static inline uint32_t crc32_by_tables(const uint8_t *data, Py_ssize_t size) {
    return ~crc32_of_more(0xFFFFFFFFu, data, size);
}

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define FOLDING __attribute__((target("pclmul,ssse3")))

/* Powers of x modulo the polynomial, bits in reverse: those that carry the low and the high half of
   a block over 16 and over 64 bytes. */
#define OVER_16 _mm_set_epi64x(0x0ccaa009e, 0x1751997d0)
#define OVER_64 _mm_set_epi64x(0x1c6e41596, 0x154442bd4)

FOLDING static inline __m128i block_at(const uint8_t *data) {
    return _mm_loadu_si128((const __m128i *)data);
}

FOLDING static inline __m128i folded(__m128i block, __m128i over, __m128i next) {
    __m128i low = _mm_clmulepi64_si128(block, over, 0x00);
    __m128i high = _mm_clmulepi64_si128(block, over, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* Of at least 16 bytes. */
FOLDING static uint32_t crc32_by_folding(const uint8_t *data, Py_ssize_t size) {
    /* Zeros in front change nothing. So the odd bytes make a first block with zeros before them,
       and whole blocks follow. The inversion of the first four bytes moves along. */
    static const uint8_t shifts[48] = {
        128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
        128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
    };
    Py_ssize_t odd = size % 16, blocks = size / 16 - 1;
    __m128i inverts = _mm_cvtsi32_si128(-1);
    __m128i first = _mm_xor_si128(block_at(data), inverts);
    __m128i block = _mm_shuffle_epi8(first, block_at(shifts + odd));
    __m128i rest_inverts = _mm_shuffle_epi8(inverts, block_at(shifts + 16 + odd));
    uint8_t last[16];
    data += odd;
    block = folded(block, OVER_16, _mm_xor_si128(block_at(data), rest_inverts));
    data += 16;
    if (blocks >= 7) {
        /* Four at a time: a multiplication takes longer than it takes to begin the next. */
        __m128i second = block_at(data), third = block_at(data + 16), fourth = block_at(data + 32);
        for (data += 48, blocks -= 3; blocks >= 4; data += 64, blocks -= 4) {
            block = folded(block, OVER_64, block_at(data));
            second = folded(second, OVER_64, block_at(data + 16));
            third = folded(third, OVER_64, block_at(data + 32));
            fourth = folded(fourth, OVER_64, block_at(data + 48));
        }
        second = folded(block, OVER_16, second);
        third = folded(second, OVER_16, third);
        block = folded(third, OVER_16, fourth);
    }
    for (; blocks; blocks--, data += 16) {
        block = folded(block, OVER_16, block_at(data));
    }
    _mm_storeu_si128((__m128i *)last, block);
    return ~crc32_of_more(0, last, 16);
}

static inline uint32_t crc32_of(const uint8_t *data, Py_ssize_t size) {
    return crc_folds && size >= 32 ? crc32_by_folding(data, size) : crc32_by_tables(data, size);
}

#else

static inline uint32_t crc32_of(const uint8_t *data, Py_ssize_t size) {
    return crc32_by_tables(data, size);
}

#endif
