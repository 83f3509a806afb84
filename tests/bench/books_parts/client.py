"""A client that keeps the books of its channel, as a user writes it.

    python -m tests.bench.books_parts.client URL LAST_SEQ

Prints "ready" once it is connected, and when the record with the number LAST_SEQ has come, a line
of JSON: its CPU seconds since then, the time of the last record by the machine's monotonic clock,
how many records came, and how many books are known.
"""

import sys
import time

import msgspec

from fanout.clients.books import Books
from fanout.clients.tcp import TcpClient
from tests.bench.memory_parts.dialogue import limit_life, say


class Report(msgspec.Struct, frozen=True):
    cpu_s: float
    ended_s: float
    records: int
    known: int


def main(url: str, last_seq: int) -> None:
    limit_life()
    with TcpClient(url, reconnect=False) as client:
        books, records = Books(client), 0
        print("ready", flush=True)
        cpu_s = time.process_time()
        for record in books:
            records += 1
            if getattr(record, "seq", 0) >= last_seq:
                break
        report = Report(time.process_time() - cpu_s, time.monotonic(), records, len(books.known))
    say(msgspec.to_builtins(report))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
