"""A TCP connection to a host with several addresses, for a program without an event loop.

A name often has an IPv6 and an IPv4 address, and one of them may lead nowhere: packets to it
vanish, and an attempt takes minutes to fail. So the addresses are tried in turn, the next one as
soon as the one before fails or 250 ms later, and the first that answers wins (RFC 8305, "happy
eyeballs"). asyncio and trio do the same by themselves.
"""

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, Final

STAGGER_S: Final = 0.25
"""Pause before the next address is tried beside those that have not answered yet."""

Address = tuple[socket.AddressFamily, Any]


def connect(
    host: str, port: int, *, timeout_s: float, is_over: Callable[[], bool] = lambda: False
) -> socket.socket:
    """A connection, not blocking. Raises `OSError`: the last address's, or `TimeoutError`.

    `is_over` is polled several times a second; once it is true, `TimeoutError` is raised. The
    system resolves the name, and its own timeouts apply to that.
    """
    attempt = _Attempt(addresses_of(host, port))
    try:
        return attempt.run(time.monotonic() + timeout_s, is_over)
    finally:
        attempt.close()


def addresses_of(host: str, port: int) -> list[Address]:
    """The addresses of a host. IPv6 and IPv4 alternate, the one that the system prefers first."""
    found = [(each[0], each[4]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    first = [each for each in found if each[0] == found[0][0]]
    others = [each for each in found if each[0] != found[0][0]]
    pairs = zip_longest(first, others)
    return [each for pair in pairs for each in pair if each is not None]


class _Attempt:
    """A race of connections, one to each address."""

    def __init__(self, addresses: list[Address]) -> None:
        self._left: Iterator[Address] = iter(addresses)
        self._pending: dict[int, socket.socket] = {}
        self._poll = select.poll()
        self._error: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")

    def run(self, deadline_s: float, is_over: Callable[[], bool]) -> socket.socket:
        """Raises `OSError`."""
        is_more = self._start_next()
        while self._pending or is_more:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or is_over():
                raise TimeoutError
            if (winner := self._winner(min(STAGGER_S, left_s))) is not None:
                return winner
            is_more = is_more and self._start_next()
        raise self._error

    def _start_next(self) -> bool:
        """Start connecting to the next address; False if there is none."""
        for family, address in self._left:
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:  # a family that this machine does not have
                self._error = error
                continue
            self._pending[sock.fileno()] = sock
            sock.setblocking(False)
            number = sock.connect_ex(address)
            if number in (0, errno.EINPROGRESS):
                self._poll.register(sock, select.POLLOUT)
                return True
            self._failed(sock, number)
        return False

    def _winner(self, timeout_s: float) -> socket.socket | None:
        """The first socket that connects in time; None if none does, or as soon as one fails."""
        for fd, _ in self._poll.poll(timeout_s * 1000):
            sock = self._pending[fd]
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._poll.unregister(fd)
            if number == 0:
                return self._pending.pop(fd)
            self._failed(sock, number)
        return None

    def _failed(self, sock: socket.socket, number: int) -> None:
        self._error = OSError(number, os.strerror(number))
        self._pending.pop(sock.fileno()).close()

    def close(self) -> None:
        """Close all but the winner."""
        for each in self._pending.values():
            each.close()
