"""Send strings from a producer to a consumer process, through the queue of `fanout.protocol`.

    python examples/shm_queue.py

It works in any memory that two processes share. Here that is an anonymous mapping, which the
child process inherits. `fanout shm` makes queues with names, to which any reader can attach.
"""

import mmap
import os

from fanout.protocol import frame
from fanout.protocol.queue import QueueReader, QueueWriter
from fanout.protocol.queue_page import PAGE_BYTES

WORDS = ("one writer", "one reader", "no lock", "größer als ASCII", "the end")


def produce(writer: QueueWriter) -> None:
    for word in WORDS * 1_000:
        while not writer.push(frame(word.encode())):
            os.sched_yield()  # the queue is full: the consumer is behind


def consume(reader: QueueReader) -> None:
    received: list[str] = []
    while len(received) < len(WORDS) * 1_000:
        if (payload := reader.pop()) is not None:
            received.append(payload.decode())
    print(f"{len(received)} strings, in order: {received == list(WORDS) * 1_000}")


if __name__ == "__main__":
    shared = mmap.mmap(-1, PAGE_BYTES + 4096)
    queue = QueueWriter(shared, header=None, pid=os.getpid())
    if os.fork():
        produce(queue)
        os.wait()
    else:
        consume(QueueReader(shared, pid=os.getpid()))
