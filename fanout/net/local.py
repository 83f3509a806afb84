"""HTTP over a socket in a directory, for those who may write there.

The path of a socket has 107 bytes at most, and that of a directory may be longer. So a socket is
named through the open directory, as `/proc/self/fd/N/NAME`.
"""

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import trio

TIMEOUT_S: Final = 5.0
"""Time limit for an answer."""

MAX_BODY_BYTES: Final = 16 * 1024 * 1024


@contextmanager
def _through(directory: Path, name: str) -> Iterator[str]:
    """A short path of a name in a directory. Raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


async def listen_in(directory: Path, name: str) -> trio.SocketListener:
    """Listen on a socket in a directory. One that an earlier process has left there is replaced, so
    the caller has to hold the directory's lock. Raises `OSError`."""
    listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            os.unlink(directory / name)
        with _through(directory, name) as path:
            await listening.bind(path)
        os.chmod(directory / name, 0o600)
        listening.listen()
    except BaseException:
        listening.close()
        raise
    return trio.SocketListener(listening)


class _LocalConnection(http.client.HTTPConnection):
    def __init__(self, directory: Path, name: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._place = directory, name

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        with _through(*self._place) as path:
            self.sock.connect(path)


def ask_in(directory: Path, name: str, target: str) -> bytes:
    """The body of the answer to a GET. Raises `OSError`, and `http.client.HTTPException`."""
    connection = _LocalConnection(directory, name)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.read(MAX_BODY_BYTES)
    finally:
        connection.close()
