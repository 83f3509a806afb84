"""The venue's end of the socket, the same for every contender: a process of its own that says as
little as it can and has everything it sends ready before it listens.

    python -m tests.bench.ingest_rivals.sender COUNT

It prints its port and serves one connection after the other until it is killed: the handshake, one
request, its answer, `COUNT` messages in one piece, as fast as they are taken, and a goodbye.
"""

import base64
import re
import socket
import sys
from contextlib import suppress
from hashlib import sha1
from typing import Final

from tests.bench.ingest_rivals.workload import ANSWER, texts

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(rb"^sec-websocket-key:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_TEXT: Final = 0x81
"""A whole message, which is text (RFC 6455, 5.2)."""
_CLOSE: Final = b"\x88\x02" + (1_000).to_bytes(2)

TIMEOUT_S: Final = 120.0


def main(count: int) -> None:
    data = b"".join(map(framed, (ANSWER, *texts(count))))
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            # A contender that has failed says so itself; the next one is served all the same.
            with connection, suppress(OSError):
                connection.settimeout(TIMEOUT_S)
                serve(connection, data)


def serve(connection: socket.socket, data: bytes) -> None:
    shake_hands(connection)
    await_request(connection)
    connection.sendall(data)
    if connection.recv(4096):  # whoever has it all has only one thing left to say
        connection.sendall(_CLOSE)


def framed(text: bytes) -> bytes:
    """A message as a server sends it: unmasked."""
    if len(text) < 126:
        return bytes((_TEXT, len(text))) + text
    return bytes((_TEXT, 126)) + len(text).to_bytes(2) + text


def shake_hands(connection: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += _some(connection)
    connection.sendall(handshake_answer(head))


def handshake_answer(head: bytes) -> bytes:
    """What a server answers to a request that opens a WebSocket."""
    key = _KEY.search(head)
    assert key, "a WebSocket client sends a key"
    accept = base64.b64encode(sha1(key[1] + _GUID).digest())
    lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
    return b"\r\n".join((*lines, b"Sec-WebSocket-Accept: " + accept, b"", b""))


def await_request(connection: socket.socket) -> None:
    """One short message of the client's, whatever it says."""
    request = b""
    while len(request) < 2 or len(request) < 6 + (request[1] & 0x7F):
        request += _some(connection)


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(4096)
    if not data:
        raise ConnectionError("the contender is gone")
    return data


if __name__ == "__main__":
    main(int(sys.argv[1]))
