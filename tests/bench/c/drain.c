/* Any number of clients that read and forget: the receiving side of the stage fan-out.

   drain PORT CLIENTS GREETING READY BYTES KEPT FILE [PUBLICATION OPENING WINDOW]

   Connects, sends each client's GREETING (hex), and says "settled" when READY (hex; empty: anything
   at all) has come back to all. Told to go on it says "counting", and counts what comes to each
   until all have BYTES. It never sleeps, so that nobody has to wake it. What client KEPT receives goes to FILE, to be looked into;
   of the others the kernel only tells how much there was.

   With a PUBLICATION it is the publisher as well: pieces, each behind its length as u32, go out
   over one more connection, which begins with OPENING (hex), one write a piece, and never more than
   WINDOW pieces, of average length, ahead of what the average client has received. */

#include "common.h"

#define QUIET_NS 20000000LL
#define SLACK_BYTES 65536

struct crowd {
    int epoll, clients, kept;
    int64_t expected, total, unfinished;
    int64_t *received;
    struct span keep;
};

struct publisher {
    int file;
    struct span pieces;
    size_t offset, end, window_bytes;
};

struct clocked {
    int64_t ns, bytes;
};

static int64_t take(struct crowd *crowd, int file, int index) {
    int64_t had = crowd->received[index];
    ssize_t size;
    if (index == crowd->kept) {
        size_t left = crowd->keep.size - had;
        if (!left)
            die("more bytes than were sent");
        size = recv(file, crowd->keep.data + had, left, MSG_DONTWAIT);
    } else {
        size = recv(file, NULL, 1 << 24, MSG_DONTWAIT | MSG_TRUNC);
    }
    if (size < 0 && errno == EAGAIN)
        return 0;
    if (size <= 0)
        die("a client while it received");
    crowd->received[index] = had + size;
    crowd->total += size;
    if (had < crowd->expected && had + size >= crowd->expected)
        crowd->unfinished--;
    return size;
}

/* Take what is there, without waiting. How much that was. */
static int64_t look(struct crowd *crowd) {
    struct epoll_event events[EVENTS];
    int64_t before = crowd->total;
    int found = epoll_wait(crowd->epoll, events, EVENTS, 0);
    for (int i = 0; i < found; i++)
        take(crowd, file_of(&events[i]), index_of(&events[i]));
    return crowd->total - before;
}

static void next_piece(struct publisher *publisher) {
    uint32_t size;
    memcpy(&size, publisher->pieces.data + publisher->offset, sizeof size);
    publisher->offset += sizeof size;
    publisher->end = publisher->offset + size;
}

/* Publish a piece, or what is left of one, if the window and the socket have room for it. */
static void publish(struct publisher *publisher, const struct crowd *crowd) {
    if (publisher->offset == publisher->end) {
        double part = (double)crowd->total / (crowd->expected * crowd->clients);
        if (publisher->end == publisher->pieces.size ||
            publisher->end >= part * publisher->pieces.size + publisher->window_bytes)
            return;
        next_piece(publisher);
    }
    size_t left = publisher->end - publisher->offset;
    const char *data = publisher->pieces.data + publisher->offset;
    ssize_t size = send(publisher->file, data, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size < 0 && errno != EAGAIN)
        die("publishing");
    publisher->offset += size > 0 ? size : 0;
}

static struct publisher publisher_of(int port, char **arguments) {
    struct publisher publisher = {
        .file = connected(port, from_hex(arguments[1])),
        .pieces = read_whole(arguments[0]),
    };
    size_t count = 0;
    struct publisher walk = publisher;
    for (; walk.offset < walk.pieces.size; walk.offset = walk.end) {
        next_piece(&walk);
        count++;
    }
    publisher.window_bytes = publisher.pieces.size / count * atoi(arguments[2]);
    return publisher;
}

/* Until everybody has everything. What that took is reported from a twentieth of all bytes on, when
   everybody is warm; from the very start if most of them came in one go. */
static struct clocked count(struct crowd *crowd, struct publisher *publisher) {
    int64_t all = crowd->expected * crowd->clients, moved_ns = now_ns();
    struct clocked start = {.ns = moved_ns};
    int is_warm = 0;
    while (crowd->unfinished) {
        if (publisher)
            publish(publisher, crowd);
        if (look(crowd))
            moved_ns = now_ns();
        else if (now_ns() - moved_ns > STUCK_NS)
            die("bytes that do not come");
        if (!is_warm && crowd->total * 20 >= all) {
            is_warm = 1;
            if (crowd->total * 2 < all)
                start = (struct clocked){now_ns(), crowd->total};
        }
    }
    return (struct clocked){now_ns() - start.ns, crowd->total - start.bytes};
}

/* What nobody expected may still be on its way. */
static void await_quiet(struct crowd *crowd) {
    for (int64_t moved_ns = now_ns(); now_ns() - moved_ns < QUIET_NS;)
        if (look(crowd))
            moved_ns = now_ns();
}

static void report(const struct crowd *crowd, struct clocked clocked, const char *path) {
    FILE *file = fopen(path, "wb");
    size_t size = crowd->received[crowd->kept];
    if (!file || fwrite(crowd->keep.data, 1, size, file) != size || fclose(file))
        die(path);
    printf("{\"clocked_ns\": %ld, \"clocked_bytes\": %ld, \"received_bytes\": [",
           clocked.ns, clocked.bytes);
    for (int i = 0; i < crowd->clients; i++)
        printf("%s%ld", i ? ", " : "", crowd->received[i]);
    say("]}");
}

int main(int argc, char **argv) {
    if (argc != 8 && argc != 11)
        die("arguments");
    int port = atoi(argv[1]);
    struct crowd crowd = {
        .epoll = epoll_create1(0),
        .clients = atoi(argv[2]),
        .unfinished = atoi(argv[2]),
        .expected = atoll(argv[5]),
        .kept = atoi(argv[6]),
    };
    struct span greeting = from_hex(argv[3]), ready = from_hex(argv[4]);
    crowd.received = room(crowd.clients, sizeof *crowd.received);
    crowd.keep = (struct span){room(crowd.expected + SLACK_BYTES, 1), crowd.expected + SLACK_BYTES};
    join(crowd.epoll, port, crowd.clients, greeting, ready, 0, NULL);
    struct publisher publisher = {0};
    if (argc == 11)
        publisher = publisher_of(port, argv + 8);
    say("settled");
    await_word();
    say("counting");
    struct clocked clocked = count(&crowd, argc == 11 ? &publisher : NULL);
    await_quiet(&crowd);
    report(&crowd, clocked, argv[7]);
    return 0;
}
