"""Both ends of each way: what is made before there are two processes, and then in each of them.

Everything is imported where it is needed, so that a way brings nothing into the processes of
another. Rivals get their best: see `tests.bench.shm` for what that is.
"""

import os
import time
from collections.abc import Callable
from itertools import count
from typing import Any, Final, NamedTuple

from tests.bench.ring_parts.rings import new_ring, ring_reader
from tests.bench.shm_rivals.frames import FRAME_BYTES, Receive, Send

QUEUE_BYTES: Final = 2**20
RING_BYTES: Final = 2**24
QUEUE_FRAMES: Final = 4_096
"""Of room in a rival's queue that is counted in frames."""

_KEPT: Final[list[object]] = []
"""What has to live as long as the process, and whose ends do not hold it."""


class Ends(NamedTuple):
    """`make_send` is called in the writing process, `make_receive` in the reading one, after it."""

    make_send: Callable[[], Send]
    make_receive: Callable[[], Receive]
    length_bytes: int = 0
    """Of each frame, that the receiving end takes off."""
    rest_s: float = 0.0
    """What the writer has to sleep after a frame that is not part of a flood."""


def _queue_writer(directory: str) -> Send:
    from fanout.transports.shm.queue_file import create

    return create(f"{directory}/q", capacity_bytes=QUEUE_BYTES, header=None).writer.push


def queue(directory: str) -> Ends:
    """Ours, as a program has it."""

    def make_receive() -> Receive:
        from fanout.clients.shm import ShmClient

        client = ShmClient("shm://q", directory=directory)
        assert client.pop() is None, "nothing is written before both ends are ready"
        return client.pop

    return Ends(lambda: _queue_writer(directory), make_receive, length_bytes=4)


def bare_queue(directory: str) -> Ends:
    """Ours, without the client that looks after it."""

    def make_receive() -> Receive:
        from fanout.clients.shm_file import attach

        attached = attach(f"{directory}/q", now_s=time.monotonic())
        _KEPT.append(attached)
        return attached.reader.pop

    return Ends(lambda: _queue_writer(directory), make_receive, length_bytes=4)


def ring(directory: str) -> Ends:
    """Ours that many read, without a client. Its writer overwrites: the ring has to be longer than
    what is sent before the reader has begun."""
    writer = new_ring(f"{directory}/r", RING_BYTES)
    numbers = count(2)

    def make_send() -> Send:
        return lambda frame: writer.push(frame, next(numbers))

    return Ends(make_send, lambda: ring_reader(f"{directory}/r", 0).pop, length_bytes=4)


def tcp(directory: str) -> Ends:
    """A connection on loopback: one send a frame, and a reader that blocks."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    receive = ours.recv
    return Ends(lambda: theirs.sendall, lambda: lambda: receive(FRAME_BYTES, socket.MSG_WAITALL))


def pipe(directory: str) -> Ends:
    import multiprocessing

    reader, writer = multiprocessing.Pipe(duplex=False)
    return Ends(lambda: writer.send_bytes, lambda: reader.recv_bytes)


def multiprocessing_queue(directory: str) -> Ends:
    import multiprocessing

    between: multiprocessing.Queue[bytes] = multiprocessing.Queue()
    # A thread of the writer's does the sending. It needs its turn, which a writer that spins from
    # frame to frame would not give it for 5 ms.
    return Ends(lambda: between.put, lambda: between.get, rest_s=20e-6)


def socket_pair(directory: str, *, spin: bool = False) -> Ends:
    import socket

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    receive = ours.recv

    def wait() -> bytes:
        return receive(FRAME_BYTES)

    def look() -> bytes:
        while True:
            try:
                return receive(FRAME_BYTES)
            except BlockingIOError:
                continue

    ours.setblocking(not spin)
    return Ends(lambda: theirs.send, lambda: look if spin else wait)


def spinning_socket_pair(directory: str) -> Ends:
    return socket_pair(directory, spin=True)


def zeromq(directory: str) -> Ends:
    import zmq

    def end(kind: int) -> Any:
        made = zmq.Context().socket(kind)
        made.set_hwm(QUEUE_FRAMES)
        return made

    def make_send() -> Send:
        writer = end(zmq.PUSH)
        writer.bind(f"ipc://{directory}/z")
        return writer.send  # type: ignore[no-any-return]

    def make_receive() -> Receive:
        reader = end(zmq.PULL)
        reader.connect(f"ipc://{directory}/z")
        return reader.recv  # type: ignore[no-any-return]

    return Ends(make_send, make_receive)


def iceoryx(directory: str) -> Ends:
    import ctypes

    import iceoryx2 as iox

    data_type = ctypes.c_uint8 * FRAME_BYTES

    class Frame(ctypes.Structure):
        _fields_ = (("data", data_type),)

    def service() -> Any:
        iox.set_log_level(iox.LogLevel.Fatal)
        config = iox.config.default()
        config.global_cfg.root_path = iox.Path.new(f"{directory}/")
        config.global_cfg.prefix = iox.FileName.new(f"{os.path.basename(directory)}_")
        node = iox.NodeBuilder.new().config(config).create(iox.ServiceType.Ipc)
        _KEPT.append(node)
        builder = node.service_builder(iox.ServiceName.new("frames")).publish_subscribe(Frame)
        builder = builder.enable_safe_overflow(False).subscriber_max_buffer_size(QUEUE_FRAMES)
        return builder.max_publishers(1).max_subscribers(1).open_or_create()

    def make_send() -> Send:
        wait_for_room = iox.BackpressureStrategy.RetryUntilDelivered
        publisher = service().publisher_builder().backpressure_strategy(wait_for_room).create()
        loan, copy = publisher.loan_uninit, ctypes.memmove

        def send(frame: bytes) -> None:
            sample = loan()
            copy(sample.payload_ptr, frame, FRAME_BYTES)
            sample.assume_init().send()

        return send

    def make_receive() -> Receive:
        take = service().subscriber_builder().buffer_size(QUEUE_FRAMES).create().receive
        view = data_type.from_address

        def receive() -> bytes | None:
            sample = take()
            return None if sample is None else bytes(view(sample.payload_ptr))

        return receive

    return Ends(make_send, make_receive)


WAYS: Final[dict[str, Callable[[str], Ends]]] = {
    each.__name__: each
    for each in (
        queue,
        bare_queue,
        ring,
        tcp,
        pipe,
        multiprocessing_queue,
        socket_pair,
        spinning_socket_pair,
        zeromq,
        iceoryx,
    )
}
