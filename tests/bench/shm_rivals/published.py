"""From a service's channel to the reader of its queue or its ring: two fresh processes.

    python -m tests.bench.shm_rivals.published WAY DIRECTORY PACED WRITER_CORE READER_CORE

The writer is trio's loop with a log and the transport, `shm` or `ring`. Every 100 µs a frame is
appended to the log and handed on, with the moment inside, as a feed does it with a block that is
encoded. The reader of a queue spins on `ShmClient.pop`, that of a ring on `RingReader.pop`. Prints
as JSON how old each of PACED frames was, in ns.
"""

import json
import os
import socket
import sys
import time
from typing import Final

import trio

from fanout.channel.channel import Channel
from fanout.clients.shm import ShmClient
from fanout.protocol import Header
from fanout.transports.base import Transport
from fanout.transports.ring import RingConfig, RingTransport
from fanout.transports.shm import ShmConfig, ShmTransport
from tests.bench.ring_parts.rings import ring_reader
from tests.bench.shm_rivals.frames import (
    PACE_NS,
    PACED_WARM_UP,
    PADDING,
    PAYLOAD_BYTES,
    Receive,
    pack,
    read_paced,
)
from tests.bench.shm_rivals.pair import exit_code, follow_to_death

READY: Final = b"!"
BYTES: Final = 2**20
TASK_S: Final = 0.01
"""In which the transport's task does what is left to it."""


def main(way: str, directory: str, paced: int, writer_core: int, reader_core: int) -> None:
    mine, theirs = socket.socketpair()
    reader = os.getpid()
    pid = os.fork()
    if not pid:
        mine.close()
        follow_to_death(reader)
        os.sched_setaffinity(0, {writer_core})
        count = PACED_WARM_UP + paced
        os._exit(exit_code(lambda: trio.run(publish, WAYS[way](directory), count, theirs)))
    theirs.close()
    os.sched_setaffinity(0, {reader_core})
    if mine.recv(1) != READY:
        sys.exit("the writer did not begin")
    pop = POPS[way](directory)
    while pop():
        pass  # what a reader gets first
    mine.send(READY)
    ages = read_paced(pop, PACED_WARM_UP + paced)[PACED_WARM_UP:]
    print(json.dumps({"ages": ages, "rate": 0}), flush=True)
    mine.close()
    if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        sys.exit(f"the writer ended with {code}")


def queue(directory: str) -> Transport:
    return ShmTransport(ShmConfig(name="f", directory=directory, capacity_bytes=BYTES))


def queue_pop(directory: str) -> Receive:
    return ShmClient("shm://f", directory=directory).pop


def ring(directory: str) -> Transport:
    config = RingConfig(name="f", directory=directory, capacity_bytes=BYTES, snapshot_s=0)
    return RingTransport(config)


def ring_pop(directory: str) -> Receive:
    return ring_reader(f"{directory}/f", 0).pop


WAYS: Final = {"published_queue": queue, "published_ring": ring}
POPS: Final = {"published_queue": queue_pop, "published_ring": ring_pop}


async def publish(transport: Transport, count: int, reader: socket.socket) -> None:
    header = Header(epoch_ns=1, next_seq=1, venue="bench", instruments=(), references=())
    channel = Channel(header, log_bytes=2**24, wall_ns=time.time_ns)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run, [channel])
        reader.send(READY)
        if reader.recv(1) == READY:
            await write_paced(channel, count)
            await trio.sleep(TASK_S)
        reader.recv(1)  # the reader has it all
        nursery.cancel_scope.cancel()


async def write_paced(channel: Channel, count: int) -> None:
    log, clock = channel.log, time.perf_counter_ns
    due_ns = clock()
    for number in range(count):
        due_ns += PACE_NS
        while (now_ns := clock()) < due_ns:
            await trio.lowlevel.checkpoint()
        log.append(pack(PAYLOAD_BYTES, number, PADDING, now_ns), count=1)
        log.hand_on()


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
