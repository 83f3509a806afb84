"""The head of a connection's first request, read by hand, to tell a WebSocket from REST.

Both protocols share one port. So the listener reads the head, decides, and passes the bytes on:
`Replayed` is a stream that returns them again before it reads more. This file limits the size of a
head, and the listener the time. No other part of HTTP is parsed here.
"""

import re
from http import HTTPStatus
from typing import Final

import msgspec
import trio

from fanout.protocol.errors import PeerError
from fanout.simulator.connection.http import phrase

# Measured 2026-08-08: a URL of 16,338 bytes connects, one of 16,886 bytes gets a 414.
MAX_REQUEST_LINE_BYTES: Final = 16_384
MAX_HEAD_BYTES: Final = 32_768
LINGER_S: Final = 1.0  # for a refused client to read why

_END: Final = re.compile(rb"\r?\n\r?\n")
_UPGRADE: Final = re.compile(rb"^upgrade:[ \t]*websocket[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_NON_ASCII: Final = re.compile(rb"[\x80-\xff]")


class RefusedError(PeerError):
    """The head is refused. `status` is the answer, and `words` are its body."""

    def __init__(self, status: int, retry_after_s: int | None = None, words: str = "") -> None:
        super().__init__(f"{status} {phrase(status)}")
        self.status = status
        self.words = words
        self.retry_after_s = retry_after_s


class Head(msgspec.Struct, frozen=True):
    """`raw` is all that was read. Other characters than ASCII in its request line are escaped."""

    target: str
    is_websocket: bool
    raw: bytes


async def read_head(stream: trio.abc.ReceiveStream) -> Head | None:
    """Read up to the blank line. None if the client leaves first. Raises `RefusedError`."""
    raw = bytearray()
    while not _END.search(raw):
        _check(raw)
        data = await stream.receive_some(MAX_HEAD_BYTES)
        if not data:
            return None
        raw += data
    _check(raw[: _first_line_end(raw)])
    return _parse(bytes(raw))


async def refuse(stream: trio.abc.HalfCloseableStream, error: RefusedError) -> None:
    """Send the status, and wait for the client to leave: closing a socket that has unread bytes
    would discard the answer."""
    try:
        with trio.move_on_after(LINGER_S):
            await stream.send_all(_refusal(error))
            await stream.send_eof()
            while await stream.receive_some():
                pass
    except trio.BrokenResourceError:
        pass  # gone already


class Replayed(trio.abc.HalfCloseableStream):
    """A stream that first returns the bytes already read, and lets several tasks send.

    trio-websocket and the task that sends market data both write here. A lock keeps their frames
    whole. A task that is cancelled while it sends leaves half a frame, which ends the connection.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, already_read: bytes) -> None:
        self._stream = stream
        self._already_read = already_read
        self._sending = trio.StrictFIFOLock()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._already_read:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        data = self._already_read[:max_bytes]
        self._already_read = self._already_read[len(data) :]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._sending:
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        async with self._sending:
            await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        async with self._sending:
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _refusal(error: RefusedError) -> bytes:
    """A whole answer, after which the connection ends."""
    lines = [f"HTTP/1.1 {error.status} {phrase(error.status)}", "Connection: close"]
    if error.retry_after_s is not None:
        lines.append(f"Retry-After: {error.retry_after_s}")
    if error.words:
        lines.append("Content-Type: text/plain")
    return "\r\n".join([*lines, f"Content-Length: {len(error.words)}", "", error.words]).encode()


def _first_line_end(raw: bytes | bytearray) -> int:
    end = raw.find(b"\n")
    return end if end >= 0 else len(raw)


def _check(raw: bytes | bytearray) -> None:
    if raw and not raw[:1].isupper():  # no HTTP method: TLS, or another protocol
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    if _first_line_end(raw) > MAX_REQUEST_LINE_BYTES:
        raise RefusedError(HTTPStatus.REQUEST_URI_TOO_LONG)
    if len(raw) > MAX_HEAD_BYTES:
        raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


def _parse(raw: bytes) -> Head:
    end = _first_line_end(raw)
    # The exchange accepts raw UTF-8 in a URL. The HTTP parsers used here need it escaped.
    line = _NON_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), raw[:end])
    words = line.split()
    target = words[1].decode() if len(words) == 3 else ""
    headers = _END.split(raw[end:], maxsplit=1)[0]
    return Head(target, _UPGRADE.search(headers + b"\n") is not None, line + raw[end:])
