"""A connection to a service over TCP that never waits, for a client that receives multicast.

The client waits for its groups and for this connection at once. So connecting, TLS, the request and
reading are steps here, and each is taken when the socket is ready. `events` are the `epoll` events
that the connection waits for.
"""

import errno
import os
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from select import EPOLLIN, EPOLLOUT
from typing import Final

from fanout.clients.connecting import Address
from fanout.clients.tcp_client import READ_BYTES, tls_failure

_UNDER_WAY: Final = (0, errno.EINPROGRESS)


class Recovery:
    """One connection, from its first address to its last byte."""

    def __init__(
        self,
        addresses: Sequence[Address],
        hello: bytes,
        *,
        host: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`hello` is sent first of all. The addresses are tried in turn. `host` is the name that a
        TLS certificate has to have. Raises `OSError` if no address can be tried."""
        self.socket: socket.socket
        self.events = EPOLLOUT
        """The `epoll` events that it waits for."""
        self._addresses = list(addresses)
        self._unsent = hello
        self._host = host
        self._tls = tls
        self._is_connected = False
        self._is_secured = tls is None
        self._secured: ssl.SSLSocket | None = None
        self._error: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
        self._start_next()

    def _start_next(self) -> None:
        """Begin with the next address. Raises `OSError` if there is none."""
        while self._addresses:
            family, address = self._addresses.pop(0)
            try:
                self.socket = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:  # a family that this machine does not have
                self._error = error
                continue
            self.socket.setblocking(False)
            number = self.socket.connect_ex(address)
            if number in _UNDER_WAY:
                return
            self._fail(number)
        raise self._error

    def _fail(self, number: int) -> None:
        self._error = OSError(number, os.strerror(number))
        self.socket.close()

    def read(self) -> bytes | None:
        """The bytes that have come; none at the end of the stream, None if there are none yet.
        Raises `OSError`, and `DisconnectedError` where TLS fails."""
        if not self._connect() or not self._secure() or not self._send():
            return None
        self.events = EPOLLIN
        try:
            return self.socket.recv(READ_BYTES)
        except ssl.SSLWantWriteError:
            self.events = EPOLLOUT
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        return None

    def _connect(self) -> bool:
        if self._is_connected:
            return True
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._fail(number)
            self._start_next()
            return False
        with suppress(OSError):  # it has no peer yet
            self.socket.getpeername()
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._is_connected = True
        return self._is_connected

    def _secure(self) -> bool:
        if self._is_secured:
            return True
        assert self._tls is not None, "without TLS it is secured from the start"
        try:
            if self._secured is None:
                self.socket = self._secured = self._tls.wrap_socket(
                    self.socket, server_hostname=self._host, do_handshake_on_connect=False
                )
            self._secured.do_handshake()
        except ssl.SSLWantReadError:
            self.events = EPOLLIN
            return False
        except ssl.SSLWantWriteError:
            self.events = EPOLLOUT
            return False
        except (OSError, ValueError) as error:
            raise tls_failure(error) from error
        self._is_secured = True
        return True

    def _send(self) -> bool:
        """Whether the request has been sent."""
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self.events = EPOLLOUT
                return False
            self._unsent = self._unsent[sent:]
        return True

    def close(self) -> None:
        """End the connection."""
        with suppress(OSError):  # it is gone already
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
        self.socket.close()

    def close_copy(self) -> None:
        """Close this process's copy of a connection that belongs to another."""
        self.socket.close()
