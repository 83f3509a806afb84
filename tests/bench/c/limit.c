/* What the kernel takes to hand pieces to clients, and nothing else: the limit of the stage fan-out.

   limit CLIENTS PIECES

   Says on which port it listens, lets CLIENTS in, says something to each, and waits for a word.
   Then it sends the pieces of a file, each behind its length as u32, to all of them: one
   non-blocking send a client and piece. Whoever's socket does not take it all is waited for when
   the others have theirs. Sockets are tuned as fanout's are. */

#include "common.h"

#include <poll.h>

#define SEND_BUFFER_BYTES (256 * 1024)
#define UNSENT_BYTES (16 * 1024)

struct late {
    int file;
    size_t sent;
};

static int listening(void) {
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        die("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void set(int file, int level, int option, int value) {
    if (setsockopt(file, level, option, &value, sizeof value))
        die("setsockopt");
}

static int accepted(int listener) {
    int file = accept(listener, NULL, NULL);
    if (file < 0)
        die("accept");
    set(file, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES);
    set(file, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES);
    set(file, IPPROTO_TCP, TCP_NODELAY, 1);
    fcntl(file, F_SETFL, O_NONBLOCK);
    return file;
}

static size_t sent(int file, const char *data, size_t size) {
    ssize_t taken = send(file, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0 && errno != EAGAIN)
        die("send");
    return taken < 0 ? 0 : taken;
}

static void catch_up(struct late *late, const char *data, size_t size) {
    while (late->sent < size) {
        struct pollfd room_for = {.fd = late->file, .events = POLLOUT};
        poll(&room_for, 1, -1);
        late->sent += sent(late->file, data + late->sent, size - late->sent);
    }
}

static void broadcast(const int *files, int clients, struct late *late, struct span piece) {
    int behind = 0;
    for (int i = 0; i < clients; i++) {
        size_t taken = sent(files[i], piece.data, piece.size);
        if (taken < piece.size)
            late[behind++] = (struct late){files[i], taken};
    }
    for (int i = 0; i < behind; i++)
        catch_up(&late[i], piece.data, piece.size);
}

int main(int argc, char **argv) {
    if (argc != 3)
        die("arguments");
    int clients = atoi(argv[1]);
    struct span pieces = read_whole(argv[2]);
    int *files = room(clients, sizeof *files);
    struct late *late = room(clients, sizeof *late);
    int listener = listening();
    for (int i = 0; i < clients; i++) {
        files[i] = accepted(listener);
        sent(files[i], "\n", 1);
    }
    await_word();
    for (size_t offset = 0; offset < pieces.size;) {
        uint32_t size;
        memcpy(&size, pieces.data + offset, sizeof size);
        offset += sizeof size;
        broadcast(files, clients, late, (struct span){pieces.data + offset, size});
        offset += size;
    }
    await_word();
    return 0;
}
