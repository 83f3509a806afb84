/* Prints what `fanout ... slots --name hft_ring` writes.
       cc -O2 -o slots_reader examples/slots_reader.c && ./slots_reader /dev/shm/hft_ring */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

struct slot { uint64_t id, size; int64_t price; int8_t side, action, status; };
struct index { _Atomic uint64_t count; char unused[56]; };
struct ring { struct index written, read; struct slot slots[16384]; };
_Static_assert(sizeof(struct ring) == 524416, "the size of the file");

int main(int count, char **arguments) {
    const char *path = count > 1 ? arguments[1] : "/dev/shm/hft_ring";
    int file = open(path, O_RDWR);
    if (file < 0) { perror(path); return 1; }
    struct ring *ring = mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (ring == MAP_FAILED) { perror(path); return 1; }
    /* Skip what is there: the whole book is written again for us, a quarter of a second later. */
    for (uint64_t next = ring->read.count = ring->written.count;;) {
        if (next >= ring->written.count) { fflush(stdout); usleep(100); continue; }
        struct slot slot = ring->slots[next % 16384];
        ring->read.count = ++next; /* from here on the slot may be overwritten */
        const char *kind = slot.status ? "trade" : slot.action ? "delete" : "order";
        const char *side = slot.status ? (slot.side ? "sell" : "buy") : slot.side ? "ask" : "bid";
        printf("%s %s %" PRIu64 " %.6f @ %.2f\n", kind, side, slot.id, slot.size / 1e6,
               slot.price / 1e2);
    }
}
