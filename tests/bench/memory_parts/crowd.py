"""Clients that come, read a while, and go.

    python -m tests.bench.memory_parts.crowd SERVICE_PORT

Told to `join N`, so many connect; it says so when all have been greeted, and reads on. Told to
`leave`, those who are still there close, and it says how many bytes it has read so far. It ends
with its input.

Of ten clients six stay to the end, and the first of them looks whether every number comes once and
in its turn, or is told as lost; two go at a moment of their own; one begins with the oldest trade
there is; one stops reading when it has been greeted, and leaves unread what the kernel holds for
it.
"""

import os
import random
import selectors
import socket
import sys
from struct import Struct
from typing import Final

from fanout.protocol import (
    FrameKind,
    Gap,
    Header,
    Loss,
    Request,
    Start,
    Status,
    decode_event,
    encode_request,
    frame,
)
from fanout.protocol.constants import START, BlockFlags
from fanout.protocol.framing import FrameReader, unseal
from fanout.protocol.header import Gathering
from tests.bench.memory_parts.dialogue import limit_life, say

READ_BYTES: Final = 256 * 1024
MOST_BYTES: Final = 2 * 1024 * 1024
"""That one reads who goes at a moment of its own."""

KINDS: Final = (
    *("witness", "goes", "stays", "from oldest", "stays"),
    *("stuck", "stays", "goes", "stays", "stays"),
)
_BLOCK: Final = Struct("<xBxHQ")
"""Flags, count and first number of a block."""


class NotServedError(Exception):
    """A client did not get what it is due."""


class Client:
    """One client. It checks its greeting; a witness checks all that follows, too."""

    def __init__(self, sock: socket.socket, kind: str, most_bytes: int = sys.maxsize) -> None:
        """`most_bytes` is what it reads before it goes."""
        self.socket = sock
        self.kind = kind
        self.header: Header | None = None
        self.received = 0
        self.is_reading = True
        self._most_bytes = most_bytes
        self._frames = FrameReader()
        self._is_started = False
        self._gathering: Gathering | None = None
        self._next_seq = 0

    def read(self) -> bool:
        """Read once; False if it wants no more. Raises `NotServedError`."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise NotServedError(f"a client that {self.kind} was left alone")
        self.received += len(data)
        if self.header is None or self.kind == "witness":
            self.check(data)
        return self.header is None or (self.kind != "stuck" and self.received < self._most_bytes)

    def check(self, data: bytes) -> None:
        self._frames.feed(data)
        while (payload := self._frames.next_payload()) is not None:
            if self.header is not None:
                if self.kind == "witness":
                    self._count(payload, self.header)
            elif self._is_started:
                self._greet(payload)
            elif payload == START:
                self._is_started = True
            else:
                raise NotServedError(f"a client was greeted with {payload!r}")

    def _greet(self, payload: bytes) -> None:
        if self._gathering is None:
            self._gathering = Gathering.begin(payload)
        else:
            self._gathering = self._gathering.add(payload)
        if self._gathering.is_complete:
            self.header = self._gathering.header
            self._next_seq = self.header.next_seq

    def _count(self, payload: bytes, header: Header) -> None:
        first, count = numbers(payload, header)
        if count and first != self._next_seq:
            raise NotServedError(f"number {first} came where {self._next_seq} was due")
        self._next_seq += count


def numbers(payload: bytes, header: Header) -> tuple[int, int]:
    """The first number of a frame, and how many it takes. Raises `NotServedError` for what only
    comes to who was not served."""
    unseal(payload)
    if payload[0] == FrameKind.TRADES:
        flags, count, first = _BLOCK.unpack_from(payload)
        return first, 0 if flags & BlockFlags.SNAPSHOT else count
    if payload[0] == FrameKind.HEARTBEAT:
        return 0, 0
    match event := decode_event(payload, header):
        case Status(seq=seq) | Gap(seq=seq):
            return seq, 1
        case Loss(first_seq=first, count=count):
            return first, count
    raise NotServedError(f"a client that reads all the time was told {event}")


class Crowd:
    """Those who are there now."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._chance = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        self._present: list[Client] = []
        self._received = 0

    def run(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Read what has come; False at the end of the input."""
        for key, _ in self._selector.select():
            if key.data is not None:
                self._read(key.data)
            elif not (words := os.read(sys.stdin.fileno(), 4096).decode().split()):
                return False
            else:
                say(self._act(words))
        return True

    def _read(self, client: Client) -> None:
        if client.is_reading and not client.read():
            self._stop(client)
            if client.kind == "goes":
                client.socket.close()

    def _stop(self, client: Client) -> None:
        self._selector.unregister(client.socket)
        client.is_reading = False

    def _act(self, words: list[str]) -> int:
        match words:
            case ["join", count]:
                return self._join(int(count))
            case ["leave"]:
                return self._leave()
        raise ValueError(f"{words} means nothing here")

    def _join(self, count: int) -> int:
        for number in range(count):
            client = self._connected(KINDS[number % len(KINDS)])
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            self._present.append(client)
        while any(each.header is None for each in self._present):
            self._turn()
        return count

    def _connected(self, kind: str) -> Client:
        sock = socket.create_connection(("127.0.0.1", self._port))
        if kind == "from oldest":
            sock.sendall(frame(encode_request(Request(start=Start.OLDEST))))
        if kind == "goes":
            return Client(sock, kind, self._chance.randrange(MOST_BYTES))
        return Client(sock, kind)

    def _leave(self) -> int:
        for each in self._present:
            if each.is_reading:
                self._stop(each)
            each.socket.close()
            self._received += each.received
        self._present.clear()
        return self._received


if __name__ == "__main__":
    limit_life()
    Crowd(int(sys.argv[1]), seed=1).run()
