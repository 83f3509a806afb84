"""One writer and several readers of the same frames.

    python -m tests.bench.ring_parts.crowd WAY READERS FRAMES DIRECTORY WRITER_CORE READER_CORE

The frames of 200 bytes leave in bursts of twenty, a millisecond apart. Prints as JSON how long the
writer took for a frame, in ns. It fails unless each reader got all frames, each right.
"""

import ctypes
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import Any, Final

from tests.bench.ring_parts.rings import new_ring, ring_reader

_FRAME: Final = Struct("<IQ188s")
FRAME_BYTES: Final = _FRAME.size
PADDING: Final = bytes(range(188))
CAPACITY_BYTES: Final = 2**24
BURST: Final = 20
REST_NS: Final = 1_000_000
ROOM_FRAMES: Final = 8_192
_PR_SET_PDEATHSIG: Final = 1

Send = Callable[[bytes], object]
Receive = Callable[[], bytes | None]
"""Gives a frame, with its length or without, or None."""
Way = Callable[[str, int], tuple[Callable[[], Send], Callable[[int], Receive]]]
"""From a directory and the number of readers: what makes the writer's end, and then a reader's."""


def ring(directory: str, readers: int) -> tuple[Callable[[], Send], Callable[[int], Receive]]:
    writer = new_ring(f"{directory}/r", CAPACITY_BYTES)

    def send(frame: bytes) -> None:
        writer.push(frame, 2)

    return lambda: send, lambda number: ring_reader(f"{directory}/r", number).pop


def queue(directory: str, readers: int) -> tuple[Callable[[], Send], Callable[[int], Receive]]:
    """A queue for each reader."""
    from fanout.clients.shm_file import attach
    from fanout.transports.shm.queue_file import create

    queues = [
        create(f"{directory}/q{number}", capacity_bytes=CAPACITY_BYTES, header=None)
        for number in range(readers)
    ]
    pushes = [each.writer.push for each in queues]
    kept = []

    def send(frame: bytes) -> None:
        for push in pushes:
            if not push(frame):
                raise RuntimeError("a queue is full")

    def receive(number: int) -> Receive:
        kept.append(attach(f"{directory}/q{number}", now_s=time.monotonic()))
        return kept[-1].reader.pop

    return lambda: send, receive


def tcp(directory: str, readers: int) -> tuple[Callable[[], Send], Callable[[int], Receive]]:
    """A connection for each reader, and a send a frame for each."""
    import socket

    ours, theirs = [], []
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(readers):
            ours.append(socket.create_connection(server.getsockname()))
            theirs.append(server.accept()[0])
    for each in theirs:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sends = [each.sendall for each in theirs]

    def send(frame: bytes) -> None:
        for each in sends:
            each(frame)

    def receive(number: int) -> Receive:
        return partial(ours[number].recv, FRAME_BYTES, socket.MSG_WAITALL)

    return lambda: send, receive


def iceoryx(directory: str, readers: int) -> tuple[Callable[[], Send], Callable[[int], Receive]]:
    import iceoryx2 as iox

    data_type = ctypes.c_uint8 * FRAME_BYTES
    kept: list[Any] = []

    class Frame(ctypes.Structure):
        _fields_ = (("data", data_type),)

    def service() -> Any:
        iox.set_log_level(iox.LogLevel.Fatal)
        config = iox.config.default()
        config.global_cfg.root_path = iox.Path.new(f"{directory}/")
        config.global_cfg.prefix = iox.FileName.new(f"{os.path.basename(directory)}_")
        node = iox.NodeBuilder.new().config(config).create(iox.ServiceType.Ipc)
        kept.append(node)
        builder = node.service_builder(iox.ServiceName.new("frames")).publish_subscribe(Frame)
        builder = builder.enable_safe_overflow(False).subscriber_max_buffer_size(ROOM_FRAMES)
        return builder.max_publishers(1).max_subscribers(readers).max_nodes(20).open_or_create()

    def make_send() -> Send:
        wait_for_room = iox.BackpressureStrategy.RetryUntilDelivered
        publisher = service().publisher_builder().backpressure_strategy(wait_for_room).create()
        loan, copy = publisher.loan_uninit, ctypes.memmove

        def send(frame: bytes) -> None:
            sample = loan()
            copy(sample.payload_ptr, frame, FRAME_BYTES)
            sample.assume_init().send()

        return send

    def make_receive(number: int) -> Receive:
        take = service().subscriber_builder().buffer_size(ROOM_FRAMES).create().receive
        view = data_type.from_address

        def receive() -> bytes | None:
            sample = take()
            return None if sample is None else bytes(view(sample.payload_ptr))

        return receive

    return make_send, make_receive


WAYS: Final[dict[str, Way]] = {each.__name__: each for each in (ring, queue, tcp, iceoryx)}


def framed(number: int) -> bytes:
    return _FRAME.pack(FRAME_BYTES - 4, number, PADDING)


def main(way: str, readers: int, frames: int, directory: str, writer: int, core: int) -> None:
    make_send, make_receive = WAYS[way](directory, readers)
    (ready, told), (go, may) = os.pipe(), os.pipe()
    parent = os.getpid()

    def work(number: int) -> None:
        os.sched_setaffinity(0, {core})
        os.read(go, 1)  # the writer has its end
        receive = make_receive(number)
        os.write(told, b"!")
        read(receive, frames)

    children = [_forked(partial(work, number), parent) for number in range(readers)]
    os.sched_setaffinity(0, {writer})
    send = make_send()
    os.write(may, b"!" * readers)
    for _ in range(readers):
        os.read(ready, 1)
    took_ns = write(send, frames)
    ends = [os.waitpid(each, 0)[1] for each in children]
    if any(ends):
        sys.exit("a reader failed")
    print(took_ns / frames)


def read(receive: Receive, frames: int) -> None:
    """Raises `RuntimeError` unless all frames come, each right and once."""
    for expected in map(framed, range(frames)):
        while (frame := receive()) is None:
            os.sched_yield()
        if frame[-FRAME_BYTES + 4 :] != expected[4:]:
            raise RuntimeError(f"{frame!r} came where {expected!r} was due")


def write(send: Send, frames: int) -> int:
    """How long all sends took together, in ns."""
    clock, took_ns = time.perf_counter_ns, 0
    due_ns = clock()
    for first in range(0, frames, BURST):
        burst = [framed(number) for number in range(first, min(first + BURST, frames))]
        due_ns += REST_NS
        while clock() < due_ns:
            pass
        began_ns = clock()
        for each in burst:
            send(each)
        took_ns += clock() - began_ns
    return took_ns


def _forked(work: Callable[[], None], parent: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(1)
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    way, readers, frames, directory, writer, core = sys.argv[1:]
    main(way, int(readers), int(frames), directory, int(writer), int(core))
