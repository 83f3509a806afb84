"""The venue: the recorded trades over a WebSocket at a steady rate, again and again, with ids that
go on.

    python -m tests.bench.memory_parts.venue TRADES_A_SECOND

Prints its port, and serves one connection.
"""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from tests.bench.ingest_rivals.sender import await_request, framed, shake_hands
from tests.bench.ingest_rivals.workload import ANSWER, texts
from tests.bench.memory_parts.dialogue import limit_life, say

PIECES_A_SECOND: Final = 100


def main(rate: int) -> None:
    limit_life()
    messages = map(framed, texts(sys.maxsize))
    with socket.create_server(("127.0.0.1", 0)) as server:
        say(server.getsockname()[1])
        connection, _ = server.accept()
        with connection, suppress(OSError):  # the service is gone: that is the end
            shake_hands(connection)
            await_request(connection)
            connection.sendall(framed(ANSWER))
            send(connection, messages, rate // PIECES_A_SECOND)


def send(connection: socket.socket, messages: Iterator[bytes], piece: int) -> None:
    due_s = time.monotonic()
    while True:
        connection.sendall(b"".join(islice(messages, piece)))
        due_s += 1 / PIECES_A_SECOND
        time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main(int(sys.argv[1]))
