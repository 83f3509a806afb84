"""A TCP proxy on loopback that spoils what passes through it, each direction for itself.

It stands between two ends that know nothing of it. How it spoils is changed while bytes flow: each
`Way` is what one direction does at present, of all connections. What a connection has lost is lost,
so a byte that was flipped and an end that was cut off are never undone; what was only held up
arrives when the way is clear again.
"""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import trio

READ_BYTES: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class Way:
    """What one direction does to the bytes that pass."""

    def __init__(self) -> None:
        self.clear()
        self.passed = 0
        """Bytes so far, those that were held up not included."""
        self.flipped = 0

    def clear(self) -> None:
        """Let everything pass as it is, from now on."""
        self.delay_s = 0.0
        self.bytes_per_s = float("inf")
        self.slice_bytes = READ_BYTES
        self.flip_mask = 0
        self.flip_in = 0
        self.flips_left = 0
        self._opened = trio.Event()
        self._opened.set()

    def hold(self) -> None:
        """Be a black hole: nothing passes and nobody is told, until `release`."""
        self._opened = trio.Event()

    def release(self) -> None:
        self._opened.set()

    def flip(self, *, after: int = 0, every: int = 1, count: int = 1, mask: int = 0xFF) -> None:
        """Flip the bits of `mask` in `count` bytes: the one behind `after` others, and then each
        that is `every` further on."""
        self.flip_mask, self.flip_in, self.flips_left = mask, after, count
        self._flip_every = every

    async def wait(self, size: int) -> None:
        """Until so many bytes may pass."""
        await trio.sleep(self.delay_s + size / self.bytes_per_s)
        while not self._opened.is_set():
            await self._opened.wait()

    def spoiled(self, piece: bytes) -> bytes:
        """What comes out."""
        self.passed += len(piece)
        if not self.flips_left:
            return piece
        spoiled = bytearray(piece)
        while self.flips_left and self.flip_in < len(spoiled):
            spoiled[self.flip_in] ^= self.flip_mask
            self.flip_in += self._flip_every
            self.flips_left -= 1
            self.flipped += 1
        if self.flips_left:
            self.flip_in -= len(spoiled)
        return bytes(spoiled)


class Pair:
    """One connection, to either end."""

    def __init__(self, near: trio.SocketStream, far: trio.SocketStream) -> None:
        self.near, self.far = near, far
        self.silenced: set[trio.SocketStream] = set()
        """Ends that were told that nothing more comes: what would is dropped."""

    def reset(self) -> None:
        """Have both ends find the connection broken."""
        for each in (self.near, self.far):
            with suppress(OSError):
                each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.socket.close()

    def half_close(self, stream: trio.SocketStream) -> None:
        self.silenced.add(stream)
        with suppress(OSError):
            stream.socket.shutdown(socket.SHUT_WR)


class Proxy:
    """`up` leads from who connects to the target, `down` back."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.up, self.down = Way(), Way()
        self.target = target
        self.host, self.port = "127.0.0.1", 0
        self.pairs: set[Pair] = set()
        self.accepted = 0
        self.is_refusing = False
        """Whether who comes is reset at once."""

    def url(self, scheme: str) -> str:
        return f"{scheme}://{self.host}:{self.port}"

    def clear(self) -> None:
        """Spoil nothing any more."""
        self.is_refusing = False
        for way in (self.up, self.down):
            way.release()
            way.clear()

    def reset(self) -> None:
        for each in tuple(self.pairs):
            each.reset()

    def half_close_up(self) -> None:
        """Tell the target that who connected has no more to say."""
        for each in self.pairs:
            each.half_close(each.far)

    def half_close_down(self) -> None:
        """Tell who connected that the target has no more to say."""
        for each in self.pairs:
            each.half_close(each.near)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host=self.host)
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, near: trio.SocketStream) -> None:
        self.accepted += 1
        try:
            far = await trio.open_tcp_stream(*self.target)
        except OSError:
            return
        async with far:
            pair = Pair(near, far)
            if self.is_refusing:
                pair.reset()
                return
            self.pairs.add(pair)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_pump, pair, near, far, self.up)
                    nursery.start_soon(_pump, pair, far, near, self.down)
            finally:
                self.pairs.discard(pair)


async def _pump(pair: Pair, source: trio.SocketStream, sink: trio.SocketStream, way: Way) -> None:
    """Hand on what comes, to its end; an end that breaks breaks the other one too."""
    try:
        while data := await source.receive_some(READ_BYTES):
            for piece in _slices(bytes(data), way.slice_bytes):
                await way.wait(len(piece))
                if sink not in pair.silenced:
                    await sink.send_all(way.spoiled(piece))
        if sink not in pair.silenced:
            await sink.send_eof()
    except _GONE:
        pair.reset()


def _slices(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@asynccontextmanager
async def secured(url: str, tls: ssl.SSLContext) -> AsyncIterator[str]:
    """Who listens at `url`, over TLS; gives where."""
    host, _, port = url.rpartition("/")[2].rpartition(":")

    async def serve(near: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(*_GONE):
            async with await trio.open_tcp_stream(host, int(port)) as far, trio.open_nursery() as n:
                n.start_soon(_copy, near, far, n.cancel_scope)
                n.start_soon(_copy, far, near, n.cancel_scope)

    listen = partial(trio.serve_ssl_over_tcp, serve, 0, tls, host=host, https_compatible=True)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(listen)
        yield f"wss://{host}:{listener.transport_listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _copy(source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
    with suppress(*_GONE):
        while data := await source.receive_some(READ_BYTES):
            await sink.send_all(data)
    scope.cancel()


@asynccontextmanager
async def proxying(url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of who listens at `SCHEME://HOST:PORT`."""
    host, _, port = url.rpartition("/")[2].rpartition(":")
    proxy = Proxy((host, int(port)))
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        yield proxy
        nursery.cancel_scope.cancel()
