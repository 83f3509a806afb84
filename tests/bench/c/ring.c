/* A ring in C between two processes: the limit of the stage shm.

   ring PACED PACED_WARM_UP FLOOD FLOOD_WARM_UP WRITER_CORE READER_CORE

   The frames, the pace and the two cores are those of every other way (see shm_rivals/frames.py).
   A frame is copied into the ring and the write cursor stored; the reader, which spins, copies it
   out. Prints as JSON how old each of PACED frames was, in ns, and how many frames a second went
   through in a flood of FLOOD, but for those that warmed up. */

#include "common.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define CAPACITY (1 << 20)
#define PACE_NS 100000
#define LINE_BYTES 64

struct __attribute__((packed)) frame {
    uint32_t length;
    uint64_t number;
    char padding[80];
    int64_t sent_ns;
};

_Static_assert(sizeof(struct frame) == 100, "as long as everybody's");

/* A cursor, and its end's own copies of both, which only that end touches. */
struct end {
    _Alignas(LINE_BYTES) _Atomic uint64_t cursor;
    _Alignas(LINE_BYTES) uint64_t own, other;
};

struct ring {
    struct end writer, reader;
    _Alignas(LINE_BYTES) char data[CAPACITY];
};

static void pin(int core) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    if (sched_setaffinity(0, sizeof cores, &cores))
        die("pin");
}

static void copy_in(struct ring *ring, uint64_t cursor, const void *from, size_t size) {
    size_t start = cursor % CAPACITY, first = CAPACITY - start < size ? CAPACITY - start : size;
    memcpy(ring->data + start, from, first);
    memcpy(ring->data, (const char *)from + first, size - first);
}

static void copy_out(struct ring *ring, uint64_t cursor, void *to, size_t size) {
    size_t start = cursor % CAPACITY, first = CAPACITY - start < size ? CAPACITY - start : size;
    memcpy(to, ring->data + start, first);
    memcpy((char *)to + first, ring->data, size - first);
}

static inline int push(struct ring *ring, const struct frame *frame) {
    struct end *end = &ring->writer;
    if (end->own + sizeof *frame - end->other > CAPACITY) {
        end->other = atomic_load_explicit(&ring->reader.cursor, memory_order_acquire);
        if (end->own + sizeof *frame - end->other > CAPACITY)
            return 0;
    }
    copy_in(ring, end->own, frame, sizeof *frame);
    end->own += sizeof *frame;
    atomic_store_explicit(&end->cursor, end->own, memory_order_release);
    return 1;
}

/* The read cursor is stored when nothing is known to be left: a store a frame would take its cache
   line to and fro each time, and the writer has no use for it before its ring is full. */
static inline int pop(struct ring *ring, struct frame *frame) {
    struct end *end = &ring->reader;
    if (end->other == end->own) {
        if (atomic_load_explicit(&end->cursor, memory_order_relaxed) != end->own)
            atomic_store_explicit(&end->cursor, end->own, memory_order_release);
        end->other = atomic_load_explicit(&ring->writer.cursor, memory_order_acquire);
        if (end->other == end->own)
            return 0;
    }
    copy_out(ring, end->own, &frame->length, sizeof frame->length);
    if (frame->length != sizeof *frame - sizeof frame->length)
        die("a length");
    copy_out(ring, end->own + sizeof frame->length, &frame->number, frame->length);
    end->own += sizeof *frame;
    return 1;
}

static struct frame numbered(uint64_t number) {
    struct frame frame = {.length = sizeof frame - sizeof frame.length, .number = number};
    for (size_t i = 0; i < sizeof frame.padding; i++)
        frame.padding[i] = i;
    return frame;
}

static void write_all(struct ring *ring, uint64_t paced, uint64_t flood) {
    struct frame frame = numbered(0);
    int64_t due_ns = now_ns();
    for (; frame.number < paced; frame.number++) {
        due_ns += PACE_NS;
        while ((frame.sent_ns = now_ns()) < due_ns)
            ;
        if (!push(ring, &frame))
            die("a ring that is full");
    }
    frame.sent_ns = 0;
    for (frame.number = 0; frame.number < flood; frame.number++)
        while (!push(ring, &frame))
            ;
}

static inline void await_frame(struct ring *ring, struct frame *frame) {
    while (!pop(ring, frame))
        ;
}

static void require_same(const struct frame *frame, const struct frame *expected) {
    if (memcmp(frame, expected, sizeof *frame))
        die("a frame");
}

static void read_paced(struct ring *ring, uint64_t count, uint64_t warm_up) {
    int64_t *ages = room(count, sizeof *ages);
    struct frame frame, expected = numbered(0);
    for (; expected.number < count; expected.number++) {
        await_frame(ring, &frame);
        ages[expected.number] = now_ns() - frame.sent_ns;
        expected.sent_ns = frame.sent_ns;
        require_same(&frame, &expected);
    }
    for (uint64_t i = warm_up; i < count; i++)
        printf("%s%ld", i > warm_up ? ", " : "", ages[i]);
}

static double read_flood(struct ring *ring, uint64_t count, uint64_t warm_up) {
    struct frame frame, expected = numbered(0);
    int64_t began_ns = 0;
    for (; expected.number < count; expected.number++) {
        if (expected.number == warm_up)
            began_ns = now_ns();
        await_frame(ring, &frame);
        require_same(&frame, &expected);
    }
    return (count - warm_up) * 1e9 / (now_ns() - began_ns);
}

int main(int count, char **words) {
    long values[6];
    if (count != 7)
        die("six arguments");
    for (int i = 0; i < 6; i++)
        values[i] = atol(words[i + 1]);
    struct ring *ring = mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (ring == MAP_FAILED)
        die("mmap");
    pid_t writer = fork();
    if (writer < 0)
        die("fork");
    if (!writer) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(values[4]);
        write_all(ring, values[0], values[2]);
        return 0;
    }
    int status;
    pin(values[5]);
    printf("{\"ages\": [");
    read_paced(ring, values[0], values[1]);
    printf("], \"rate\": %.0f}\n", read_flood(ring, values[2], values[3]));
    if (waitpid(writer, &status, 0) < 0 || status)
        die("the writer");
    return 0;
}
