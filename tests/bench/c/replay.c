/* The venue and all clients, by one clock: the other side of the stage latency.

   replay PORT CLIENTS GREETING READY VENUE SCHEDULE KEPT ARRIVALS [EVERY STAY TURN JOINED]

   Connects the clients to a service, sends each one's GREETING (hex), and says "settled" when READY
   (hex; empty: anything at all) has come back to all. Told to go on it plays the SCHEDULE through
   the descriptor VENUE: pieces, each behind the time at which it is due, u64 ns, and its length,
   u32. It keeps to that whatever becomes of them. What cannot be sent at once goes out as soon as
   it can; nothing that is due later waits for what a client received.

   What comes to each client is noted in ARRIVALS: which one it is (u64), how many bytes it has
   received by now (u64), and when that is, in ns of the schedule (i64). What the first one receives
   goes to KEPT, from its greeting on; of the others the kernel only tells how much there was. It
   ends when everything was sent and nothing has come for a while. It does not sleep, but for a
   millisecond at a time where nothing has come for a tenth of a second and nothing is due for as
   long: before the first piece, behind the last, and in a market that has fallen silent.

   With the last four arguments more clients join while it plays. Time is divided into turns of TURN
   ns. In every second one, a client joins every EVERY ns, reads for STAY ns, and leaves. How many
   bytes each of them received goes to JOINED (u64). */

#include "common.h"

#define QUIET_NS 1000000000LL
#define CALM_NS 10000000LL
#define REST_NS 100000000LL
#define REST_MS 1
#define LEAD_NS 20000000LL
#define KEPT_BYTES (64 * 1024 * 1024)
#define ARRIVALS_A_PIECE 2
#define MORE_ARRIVALS 1000

struct arrival {
    uint64_t client, received;
    int64_t at_ns;
};

struct schedule {
    int venue;
    size_t pieces, next, sent, due;
    int64_t *due_ns;
    size_t *end;
    char *data;
};

struct joins {
    int port;
    struct span greeting;
    int64_t every_ns, stay_ns, turn_ns, next_ns;
    size_t joined, left, room;
    int *file;
    int64_t *leaves_ns;
    uint64_t *received;
};

struct crowd {
    int epoll, clients;
    struct span keep;
    uint64_t *received;
    struct arrival *arrivals;
    size_t count, room;
    struct joins joins;
};

static int64_t start_ns;

static struct schedule schedule_of(int venue, const char *path) {
    struct span whole = read_whole(path);
    struct schedule schedule = {.venue = venue, .data = room(whole.size, 1)};
    size_t most = whole.size / 12, end = 0;
    schedule.due_ns = room(most, sizeof *schedule.due_ns);
    schedule.end = room(most, sizeof *schedule.end);
    for (size_t offset = 0; offset < whole.size;) {
        uint32_t size;
        memcpy(&schedule.due_ns[schedule.pieces], whole.data + offset, 8);
        memcpy(&size, whole.data + offset + 8, 4);
        memcpy(schedule.data + end, whole.data + offset + 12, size);
        offset += 12 + size;
        end += size;
        schedule.end[schedule.pieces++] = end;
    }
    return schedule;
}

/* Send what is due by now, in one write, as far as the socket takes it. */
static void play(struct schedule *schedule, int64_t at_ns) {
    while (schedule->next < schedule->pieces && schedule->due_ns[schedule->next] <= at_ns)
        schedule->due = schedule->end[schedule->next++];
    if (schedule->sent == schedule->due)
        return;
    size_t left = schedule->due - schedule->sent;
    const char *data = schedule->data + schedule->sent;
    ssize_t size = send(schedule->venue, data, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size < 0 && errno != EAGAIN)
        die("the service has left the venue");
    schedule->sent += size > 0 ? size : 0;
}

static int is_played(const struct schedule *schedule) {
    return schedule->next == schedule->pieces && schedule->sent == schedule->due;
}

/* What the service says to its venue is of no interest; that it leaves would be. */
static void drop_words(int venue) {
    char data[4096];
    if (recv(venue, data, sizeof data, MSG_DONTWAIT) == 0)
        die("the service has left the venue");
}

static ssize_t received(struct crowd *crowd, int file, uint32_t client) {
    if (client)
        return recv(file, NULL, 1 << 24, MSG_DONTWAIT | MSG_TRUNC);
    if (crowd->keep.size == KEPT_BYTES)
        die("room for what is received");
    char *end = crowd->keep.data + crowd->keep.size;
    ssize_t size = recv(file, end, KEPT_BYTES - crowd->keep.size, MSG_DONTWAIT);
    crowd->keep.size += size > 0 ? size : 0;
    return size;
}

/* Take what there is for a client. The time of that. */
static int64_t take(struct crowd *crowd, int file, uint32_t client) {
    ssize_t size = received(crowd, file, client);
    int64_t at_ns = now_ns() - start_ns;
    if (size < 0 && errno == EAGAIN)
        return at_ns;
    if (size <= 0)
        die("a client while it received");
    if (crowd->count == crowd->room)
        die("room for arrivals");
    crowd->received[client] += size;
    crowd->arrivals[crowd->count++] = (struct arrival){client, crowd->received[client], at_ns};
    return at_ns;
}

static int64_t end_ns(const struct schedule *schedule) {
    return schedule->pieces ? schedule->due_ns[schedule->pieces - 1] : 0;
}

static struct joins joins_of(char **argv, int64_t until_ns, int port, struct span greeting) {
    struct joins joins = {
        .port = port,
        .greeting = greeting,
        .every_ns = atoll(argv[0]),
        .stay_ns = atoll(argv[1]),
        .turn_ns = atoll(argv[2]),
    };
    joins.next_ns = joins.turn_ns;
    joins.room = until_ns / joins.every_ns + 1;
    joins.file = room(joins.room, sizeof *joins.file);
    joins.leaves_ns = room(joins.room, sizeof *joins.leaves_ns);
    joins.received = room(joins.room, sizeof *joins.received);
    return joins;
}

/* Let the next client join, and those leave that have stayed long enough. */
static void change(struct crowd *crowd, const struct schedule *schedule, int64_t at_ns) {
    struct joins *joins = &crowd->joins;
    while (joins->left < joins->joined && joins->leaves_ns[joins->left] <= at_ns)
        close(joins->file[joins->left++]);
    if (at_ns < joins->next_ns || joins->joined == joins->room || at_ns >= end_ns(schedule))
        return;
    int file = connected(joins->port, joins->greeting);
    joins->file[joins->joined] = file;
    joins->leaves_ns[joins->joined] = at_ns + joins->stay_ns;
    watch(crowd->epoll, file, crowd->clients + 1 + joins->joined++);
    joins->next_ns += joins->every_ns;
    if (joins->next_ns / joins->turn_ns % 2 == 0)
        joins->next_ns = (joins->next_ns / joins->turn_ns + 1) * joins->turn_ns;
}

static void drain(struct joins *joins, int file, uint32_t index) {
    ssize_t size = recv(file, NULL, 1 << 24, MSG_DONTWAIT | MSG_TRUNC);
    if (size == 0)
        die("a client that joined while it was played");
    joins->received[index] += size > 0 ? size : 0;
}

/* Whether nothing is due for a while. */
static int is_resting(const struct schedule *schedule, int64_t at_ns) {
    return schedule->sent == schedule->due &&
           (schedule->next == schedule->pieces ||
            schedule->due_ns[schedule->next] - at_ns > REST_NS);
}

/* One turn through those for whom something has come. Whether there were any. */
static int look(struct crowd *crowd, struct schedule *schedule, int wait_ms) {
    struct epoll_event events[EVENTS];
    int found = epoll_wait(crowd->epoll, events, EVENTS, wait_ms);
    play(schedule, now_ns() - start_ns);
    if (crowd->joins.every_ns)
        change(crowd, schedule, now_ns() - start_ns);
    for (int i = 0; i < found; i++) {
        if ((int)index_of(&events[i]) == crowd->clients)
            drop_words(schedule->venue);
        else if ((int)index_of(&events[i]) > crowd->clients)
            drain(&crowd->joins, file_of(&events[i]), index_of(&events[i]) - crowd->clients - 1);
        else
            play(schedule, take(crowd, file_of(&events[i]), index_of(&events[i])));
    }
    return found > 0;
}

/* Until nothing has come for so long after all was sent. */
static void run(struct crowd *crowd, struct schedule *schedule, int64_t quiet_ns) {
    int64_t moved_ns = now_ns(), came_ns = moved_ns;
    while (!is_played(schedule) || now_ns() - moved_ns < quiet_ns) {
        int64_t at_ns = now_ns();
        int rests = at_ns - came_ns > REST_NS && is_resting(schedule, at_ns - start_ns);
        if (look(crowd, schedule, rests ? REST_MS : 0))
            moved_ns = came_ns = now_ns();
        else if (!is_played(schedule))
            moved_ns = now_ns();
    }
}

static void write_whole(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file))
        die(path);
}

int main(int argc, char **argv) {
    if (argc != 9 && argc != 13)
        die("arguments");
    struct crowd crowd = {.epoll = epoll_create1(0), .clients = atoi(argv[2])};
    struct schedule schedule = schedule_of(atoi(argv[5]), argv[6]), nothing = {0};
    size_t joined;
    crowd.keep.data = room(KEPT_BYTES, 1);
    crowd.received = room(crowd.clients, sizeof *crowd.received);
    crowd.room = crowd.clients * (schedule.pieces * ARRIVALS_A_PIECE + MORE_ARRIVALS);
    crowd.arrivals = room(crowd.room, sizeof *crowd.arrivals);
    memset(crowd.arrivals, 1, crowd.room * sizeof *crowd.arrivals); /* no page is missing later */
    join(crowd.epoll, atoi(argv[1]), crowd.clients, from_hex(argv[3]), from_hex(argv[4]), 0,
         &crowd.keep);
    say("settled");
    await_word();
    run(&crowd, &nothing, CALM_NS);
    joined = crowd.keep.size;
    crowd.count = 0;
    memset(crowd.received, 0, crowd.clients * sizeof *crowd.received);
    watch(crowd.epoll, schedule.venue, crowd.clients);
    if (argc == 13)
        crowd.joins =
            joins_of(argv + 9, end_ns(&schedule), atoi(argv[1]), from_hex(argv[3]));
    start_ns = now_ns() + LEAD_NS;
    run(&crowd, &schedule, QUIET_NS);
    write_whole(argv[7], crowd.keep.data, crowd.keep.size);
    write_whole(argv[8], crowd.arrivals, crowd.count * sizeof *crowd.arrivals);
    if (argc == 13)
        write_whole(argv[12], crowd.joins.received, crowd.joins.joined * sizeof(uint64_t));
    printf("%zu\n", joined);
    return 0;
}
