"""More clients than there are descriptors for."""

import socket
import time
from typing import Final

from fanout.clients.tcp_client import parse_address
from fanout.net.descriptors import RESERVED_DESCRIPTORS
from fanout.protocol import EndReason
from fanout.transports.tcp.admission import FULL_RETRY_MS
from fanout.transports.tcp.config import TcpConfig
from tests.bench.report import Row
from tests.stress.tcp.account import PATIENCE_S, READ_BYTES, Account, request
from tests.stress.tcp.service import ANY_RATE, serve
from tests.stress.tcp.visits import SETTLE_S
from tests.stress.tcp.worker import Worker

PLACES: Final = 64
DESCRIPTORS: Final = RESERVED_DESCRIPTORS + PLACES


def run(count: int, seed: int, *, small: bool) -> list[Row]:
    """So many come; half of those who are served leave, and others take their places."""
    config = TcpConfig(port=0, accept_rate=ANY_RATE)
    with Worker(serve, config, 2**20, seed, DESCRIPTORS) as service:
        url = service.hear()
        service.say("publish")
        service.hear()
        callers = [Caller(url) for _ in range(count)]
        served = [each for each in callers if each.is_served()]
        assert len(served) == PLACES, f"{len(served)} of {count} were served, not {PLACES}"
        leaving, staying = served[: PLACES // 2], served[PLACES // 2 :]
        for each in callers:
            if each not in staying:
                each.close()
        newcomers = [call_until_served(url) for _ in leaving]
        for each in (*newcomers, *staying):
            each.read_on()
            each.close()
        service.say("end")
        service.hear()
        service.finish()
    return [
        Row(name="clients that came", value=count, unit=""),
        Row(name="were served", value=len(served), unit=""),
        Row(name="were told that there is no place", value=count - len(served), unit=""),
        Row(name="came when others had left, and were served", value=len(newcomers), unit=""),
    ]


class Caller:
    """A client that blocks."""

    def __init__(self, url: str) -> None:
        host, port, _ = parse_address(url)
        self._account = Account()
        self._socket = socket.create_connection((host, port), PATIENCE_S)
        self._socket.sendall(request())

    def is_served(self) -> bool:
        """Read until it is known. Who is not has to be told that there is no place."""
        while not (self._account.trades or self._account.end):
            self._read()
        end = self._account.end
        assert end is None or (end.reason, end.retry_ms) == (EndReason.FULL, FULL_RETRY_MS), end
        return end is None

    def read_on(self) -> None:
        """Read ten more trades."""
        enough = self._account.trades + 10
        while self._account.trades < enough:
            self._read()

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        data = self._socket.recv(READ_BYTES)
        assert data, "the service closed"
        self._account.take(data)


def call_until_served(url: str) -> Caller:
    """Come back, as who found no place does, until there is one."""
    until_s = time.monotonic() + SETTLE_S
    while time.monotonic() < until_s:
        caller = Caller(url)
        if caller.is_served():
            return caller
        caller.close()
    raise AssertionError(f"no place within {SETTLE_S:g} s, though others have left")
