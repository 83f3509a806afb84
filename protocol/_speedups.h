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

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() ((void)0)
#endif

/* CRC-32 as zlib has it, eight bytes at a time: a call to zlib through Python costs more than
   the sum over a small block. */
static uint32_t crc_table[8][256];

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
}

static inline uint32_t crc32_of(const uint8_t *data, Py_ssize_t size) {
    uint32_t crc = 0xFFFFFFFFu;
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
    return ~crc;
}
