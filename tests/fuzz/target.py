"""What a target is, and what all of them need."""

import random
import re
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar
from zlib import crc32

import msgspec
import trio
from trio.abc import Clock
from trio.testing import MockClock

from fanout.protocol import PeerError

T = TypeVar("T")

MAX_BYTES: Final = 16 * 1024
"""Longest input that is tried: longer than every limit of what comes in pieces of its own."""


MOST_WORDS: Final = 1_000
"""Longest message of an error, in characters: it is a line, made to be shown."""

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Something that parses. `refusals` are the only errors that it may end with.

    Called with n bytes it allocates at most `most_per_byte` * n + `most_besides` bytes at any one
    time. What a trade or a row takes as an object is dozens of times what it takes on the wire.
    """

    run: Callable[[bytes], None]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]
    most_per_byte: int = 200
    most_besides: int = 512 * 1024

    def __call__(self, data: bytes) -> bool:
        """Whether the input is understood. Raises what is a fault."""
        try:
            self.run(data)
        except self.refusals as error:
            text = str(error)
            assert len(text) <= MOST_WORDS, f"{len(text):,} characters: {text[:200]}"
            assert not _CONTROLS.search(text), f"not fit for a terminal: {text!r}"
            return False
        return True


def slices(data: bytes) -> list[bytes]:
    """Data in pieces, some of a byte and some long, cut where the data itself decides."""
    chance = random.Random(crc32(data))
    pieces, at = [], 0
    while at < len(data):
        end = at + chance.choice((1, 2, 3, 5, 60, 1_000, 5_000))
        pieces.append(data[at:end])
        at = end
    return pieces


def outcome_of(call: Callable[..., T], *arguments: Any) -> T | tuple[type[PeerError], str]:
    """What a call gives, or its refusal as a value: two ways to the same thing can be compared."""
    try:
        return call(*arguments)
    except PeerError as error:
        return type(error), str(error)


def run(function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
    """The result of a coroutine, in a virtual time that does not wait."""
    return run_on(MockClock(autojump_threshold=0), function, *arguments)


def run_on(
    clock: Clock | None, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any
) -> T:
    """The result of a coroutine; `clock` None takes the real one. An error that comes out of
    nurseries comes without their groups."""
    try:
        return trio.run(function, *arguments, clock=clock)
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None


class Pieces(trio.abc.Stream):
    """A stream that brings these pieces and ends; what is sent to it is kept. Good for a socket
    that is read, too."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces[::-1]
        self.sent = bytearray()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.recv(max_bytes)

    def recv(self, max_bytes: int | None = None) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop()
        if max_bytes is not None and len(piece) > max_bytes:
            self._pieces.append(piece[max_bytes:])
            piece = piece[:max_bytes]
        return piece

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += data

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None: ...
    async def aclose(self) -> None: ...
