"""The receivers of the stage multicast. All but the last are in a process of their own, which reads
what comes and forgets it. The last one notes how old each block is when it has it: the service
sends to the others before. It prints the ages, in µs."""

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from struct import Struct

from fanout.clients.multicast_socket import join
from fanout.protocol import frame
from fanout.protocol.constants import LENGTH_BYTES, FrameKind
from fanout.protocol.framing import FrameReader
from fanout.protocol.group import parse_group
from fanout.protocol.packets import PACKET_HEADER_BYTES, frames_of
from fanout.protocol.request import Request, encode_request

_RECEIVED_NS = Struct("<Q")
_RECEIVED_AT = 13
"""Where a block says when its records came: see `fanout.protocol.runs`."""


def received_ns(payload: bytes) -> int | None:
    """None for what is no block of trades, and for a snapshot, which does not say."""
    if payload[0] != FrameKind.TRADES:
        return None
    return int(_RECEIVED_NS.unpack_from(payload, _RECEIVED_AT)[0]) or None


def drain(sockets: list[socket.socket]) -> int:
    """Read all that comes to these, in a process of low priority. Gives its pid."""
    pid = os.fork()
    if pid:
        return pid
    os.nice(10)
    poll = select.epoll()
    by_fd = {each.fileno(): each for each in sockets}
    for fd, each in by_fd.items():
        each.setblocking(False)
        poll.register(fd, select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            try:
                by_fd[fd].recv(65_536)
            except BlockingIOError:
                continue


def over_tcp(url: str, clients: int) -> tuple[list[socket.socket], Iterator[bytes]]:
    host, _, port = url.removeprefix("tcp://").partition(":")
    sockets = [socket.create_connection((host, int(port))) for _ in range(clients)]
    for each in sockets:
        each.sendall(frame(encode_request(Request())))
    return sockets, _payloads(sockets[-1])


def _payloads(sock: socket.socket) -> Iterator[bytes]:
    frames = FrameReader()
    while data := sock.recv(65_536):
        frames.feed(data)
        yield from iter(frames.next_payload, None)


def from_group(url: str, clients: int) -> tuple[list[socket.socket], Iterator[bytes]]:
    group = parse_group(url.removeprefix("multicast://"))
    sockets = [join(group, interface="127.0.0.1", buffer_bytes=4 << 20) for _ in range(clients)]
    sockets[-1].setblocking(True)
    return sockets, _packed(sockets[-1])


def _packed(sock: socket.socket) -> Iterator[bytes]:
    while True:
        for whole in frames_of(sock.recv(65_536)[PACKET_HEADER_BYTES:]):
            yield whole[LENGTH_BYTES:]


def main() -> None:
    url, clients, blocks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sockets, payloads = (over_tcp if url.startswith("tcp") else from_group)(url, clients)
    sockets[-1].settimeout(30)
    pid = drain(sockets[:-1])
    try:
        print("ready", flush=True)
        ages_us: list[float] = []
        for payload in payloads:
            made_ns = received_ns(payload)
            if made_ns is not None:
                ages_us.append((time.time_ns() - made_ns) / 1000)
                if len(ages_us) == blocks:
                    break
        print(json.dumps(ages_us), flush=True)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
