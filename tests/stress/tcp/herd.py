"""The clients of `clients`: those that stall, many to a process, and the one that does not. They
block, and know nothing of trio or of the service."""

import math
import random
import socket
import time
from collections import Counter
from contextlib import suppress
from heapq import heapify, heapreplace
from typing import Any, Final

from fanout.clients.tcp_client import parse_address
from fanout.protocol import LossReason, SlowPolicy, Start, Trade
from tests.stress.tcp.account import PATIENCE_S, READ_BYTES, Account, request

RECEIVE_BUFFERS: Final = (2_048, 4_096, 16_384, 65_536)
MAX_STALL_READ_BYTES: Final = 16_384
STALL_S: Final = (0.01, 5.0)
"""The shortest stall and the longest; as many are of tens of milliseconds as of seconds."""

STUCK_SHARE: Final = 0.2
"""Of the clients, that at some moment stop reading for good."""

DISCONNECT_SHARE: Final = 0.1
"""Of the clients, that ask for END rather than LOSS. They go, and take no more memory."""

TO_THE_END_SHARE: Final = 0.2
"""Of those who are not stuck, that read what is left when the service ends. It takes time."""


def keep_up(pipe: Any) -> None:
    """A process's work: hears where the service is, and reads all the time, to the END. Says what
    it got, and for each block when that was published and how many ns later it was here."""
    host, port, _ = parse_address(pipe.recv())
    account, arrivals = Account(), []
    with socket.create_connection((host, port)) as sock:
        sock.sendall(request())
        received_ns = 0
        while data := sock.recv(READ_BYTES):
            now_ns = time.time_ns()
            is_first = account.next_seq is None
            for each in account.take(data):
                if isinstance(each, Trade) and each.received_ns != received_ns:
                    received_ns = each.received_ns
                    arrivals.append((received_ns, now_ns - received_ns))
            if is_first and account.next_seq:
                pipe.send(account.next_seq - account.numbers)
    assert account.end, "the service said no goodbye"
    pipe.send((account.numbers, account.lost, account.next_seq, arrivals))


def herd(pipe: Any, count: int, span_s: float, seed: int) -> None:
    """A process's work: many clients that join when they hear where, and stall until the next word.
    Says what they got."""
    chance = random.Random(seed)
    pipe.send("ready")
    url = pipe.recv()
    stallers = [Staller(url, chance, span_s) for _ in range(count)]
    due = [(time.monotonic(), index) for index in range(count)]
    heapify(due)
    while not pipe.poll(min(1.0, max(0.0, due[0][0] - time.monotonic()))):
        due_s, index = due[0]
        if due_s <= time.monotonic():
            heapreplace(due, (stallers[index].turn(), index))
    pipe.recv()
    told: Counter[str] = Counter()
    for each in stallers:
        told += summary(each.finish())
    pipe.send(told)


class Staller:
    """A client that stops reading, again and again, maybe for good. What it read is kept, and
    entered in its account later: that takes time, which is to be nobody's delay."""

    def __init__(self, url: str, chance: random.Random, span_s: float) -> None:
        host, port, _ = parse_address(url)
        start = chance.choice(list(Start))
        self._slow = SlowPolicy.SKIP
        if chance.random() < DISCONNECT_SHARE:
            self._slow = SlowPolicy.DISCONNECT
        self._chance = chance
        self._account = Account(start)
        self._read: list[bytes] = []
        self._stuck_s = float("inf")
        if chance.random() < STUCK_SHARE:
            self._stuck_s = time.monotonic() + chance.random() * span_s
        self._is_over = False
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, chance.choice(RECEIVE_BUFFERS))
        self._socket.connect((host, port))
        self._socket.sendall(request(start=start, slow=self._slow))
        self._socket.setblocking(False)

    def turn(self) -> float:
        """Read a little. When to come again."""
        now_s = time.monotonic()
        if self._is_over or now_s > self._stuck_s:
            return float("inf")
        with suppress(BlockingIOError):
            self._take(self._chance.randint(1, MAX_STALL_READ_BYTES))
        stall_s = math.exp(self._chance.uniform(*map(math.log, STALL_S)))
        return now_s + stall_s

    def finish(self) -> Account:
        """Read what is left, or leave it. The account of all that was read."""
        if self._stuck_s == float("inf") and self._chance.random() < TO_THE_END_SHARE:
            self._socket.settimeout(PATIENCE_S)
            while not self._is_over:
                self._take(READ_BYTES)
        self._socket.close()
        for each in self._read:
            self._account.take(each)
        is_lapped = self._account.losses[LossReason.SLOW] > 0
        assert not (is_lapped and self._slow is SlowPolicy.DISCONNECT), "it asked to be let go"
        return self._account

    def _take(self, size: int) -> None:
        try:
            data = self._socket.recv(size)
        except ConnectionError:
            data = b""
        self._is_over = not data
        self._read.append(data)


def summary(account: Account) -> Counter[str]:
    """What one of many got, in words for a sum."""
    told = Counter({"numbers that the others got": account.numbers - account.lost})
    told["numbers that they were told to have lost"] = account.lost
    told["of them fell off the log, and read on"] = int(account.losses[LossReason.SLOW] > 0)
    if account.end:
        told[f"of them read END ({account.end.reason.name})"] = 1
    return told
