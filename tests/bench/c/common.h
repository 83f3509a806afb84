/* What the C programs of the benchmarks have in common: loopback sockets, the clock, and dying. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 1024
#define STUCK_NS 20000000000LL

struct span {
    char *data;
    size_t size;
};

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "not as it should be");
    exit(1);
}

/* Common to all processes, so that what one sends and another receives can be compared. */
static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline void *room(size_t count, size_t size) {
    void *made = calloc(count ? count : 1, size);
    if (!made)
        die("memory");
    return made;
}

static inline struct span read_whole(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        die(path);
    struct span whole = {.size = ftell(file)};
    whole.data = room(whole.size, 1);
    rewind(file);
    if (fread(whole.data, 1, whole.size, file) != whole.size)
        die(path);
    fclose(file);
    return whole;
}

/* Bytes that travel in an argument, where there is no room for a zero. */
static inline struct span from_hex(const char *digits) {
    struct span bytes = {room(strlen(digits) / 2, 1), strlen(digits) / 2};
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned value;
        if (sscanf(digits + 2 * i, "%2x", &value) != 1)
            die("an argument in hex");
        bytes.data[i] = value;
    }
    return bytes;
}

static inline struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

/* A connection that has said what it has to say, and does not block from then on. */
static inline int connected(int port, struct span greeting) {
    struct sockaddr_in address = loopback(port);
    int yes = 1, client = socket(AF_INET, SOCK_STREAM, 0);
    if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof address))
        die("connect");
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (write(client, greeting.data, greeting.size) != (ssize_t)greeting.size)
        die("greeting");
    fcntl(client, F_SETFL, O_NONBLOCK);
    return client;
}

static inline void watch(int epoll, int file, uint32_t index) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)index << 32 | file};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event))
        die("epoll_ctl");
}

static inline int file_of(const struct epoll_event *event) { return (int)event->data.u64; }

static inline uint32_t index_of(const struct epoll_event *event) { return event->data.u64 >> 32; }

static inline void say(const char *line) {
    puts(line);
    fflush(stdout);
}

/* Wait for a line on stdin: the parent's word to go on. */
static inline void await_word(void) {
    int letter;
    while ((letter = getchar()) != '\n')
        if (letter == EOF)
            exit(0);
}

/* Connect clients, and read until READY (empty: anything at all) has come to each. What comes to
   the one called KEPT is put into KEEP, whose size is moved on. */
static inline void join(int epoll, int port, int clients, struct span greeting, struct span ready,
                        int kept, struct span *keep) {
    struct epoll_event events[EVENTS];
    char data[65536], *is_ready = room(clients, 1);
    for (int i = 0; i < clients; i++)
        watch(epoll, connected(port, greeting), i);
    int64_t began_ns = now_ns();
    for (int missing = clients; missing;) {
        int found = epoll_wait(epoll, events, EVENTS, 100);
        for (int i = 0; i < found; i++) {
            int client = index_of(&events[i]);
            ssize_t size = recv(file_of(&events[i]), data, sizeof data, 0);
            if (size <= 0)
                die("a client that joined");
            if (client == kept && keep) {
                memcpy(keep->data + keep->size, data, size);
                keep->size += size;
            }
            if (!is_ready[client] &&
                (!ready.size || memmem(data, size, ready.data, ready.size))) {
                is_ready[client] = 1;
                missing--;
            }
        }
        if (now_ns() - began_ns > STUCK_NS)
            die("clients that do not get ready");
    }
    free(is_ready);
}
