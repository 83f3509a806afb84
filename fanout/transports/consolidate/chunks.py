"""Which symbols share a ring: DIR/chunks.json.

    {"binance": [["1000SATSUSDT", "AAVEUSDT", ...], ["ZECUSDT", ...]], "deribit": [[...]]}

For each channel its chunks, in order, with the symbols of each. A symbol keeps its chunk for ever,
whatever is listed beside it later: a reader finds all its trades in one ring. Symbols that are new
go where there is room, in their order, and then into another chunk.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from fanout.errors import BindError
from fanout.protocol.errors import reason
from fanout.transports.consolidate.ring_file import has_locked

NAME: Final = "chunks.json"
MAX_BYTES: Final = 16 * 1024 * 1024

PATIENCE_S: Final = 2.0
"""How long another service may hold the lock. It needs some ms."""

LOOK_S: Final = 0.01

Chunks = dict[str, list[list[str]]]


def assigned(directory: str, channel: str, symbols: Iterable[str], most: int) -> dict[str, int]:
    """The chunk of each symbol that the channel has or had. What is new is assigned, and kept. May
    block. Raises `BindError`."""
    try:
        with _locked(directory):
            chunks = _read(directory)
            mine = chunks.setdefault(channel, [])
            if _assign(mine, symbols, most):
                _write(directory, chunks)
    except OSError as error:
        raise BindError(f"cannot keep {os.path.join(directory, NAME)}: {reason(error)}") from error
    return {symbol: number for number, chunk in enumerate(mine) for symbol in chunk}


def _assign(chunks: list[list[str]], symbols: Iterable[str], most: int) -> bool:
    """Assign what has no chunk yet. Whether there was any."""
    known = {each for chunk in chunks for each in chunk}
    new = sorted(set(symbols) - known)
    at = 0
    for each in new:
        while at < len(chunks) and len(chunks[at]) >= most:
            at += 1
        if at == len(chunks):
            chunks.append([])
        chunks[at].append(each)
    return bool(new)


def _read(directory: str) -> Chunks:
    path = os.path.join(directory, NAME)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    try:
        chunks = msgspec.json.decode(data, type=Chunks)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BindError(f"{path}: {error}: mend it, or move it away with its rings") from error
    for channel, mine in chunks.items():
        symbols = [each for chunk in mine for each in chunk]
        if len(symbols) != len(set(symbols)):
            raise BindError(f"{path}: a symbol of {channel} has two chunks: leave it in one")
    return chunks


def _write(directory: str, chunks: Chunks) -> None:
    """Under another name first: a reader, or the next start, never finds half of it."""
    path = os.path.join(directory, NAME)
    text = msgspec.json.format(msgspec.json.encode(chunks), indent=1)
    with open(f"{path}.new", "wb") as file:
        file.write(text + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Two services may keep rings of different channels in one directory. Raises `BindError` if
    another process holds the lock for long."""
    path = os.path.join(directory, f".{NAME}.lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        give_up_s = time.monotonic() + PATIENCE_S
        while not has_locked(fd, fcntl.LOCK_EX):
            if time.monotonic() > give_up_s:
                raise BindError(f"another process holds {path}: stop it, or give another --rings")
            time.sleep(LOOK_S)
        yield
    finally:
        os.close(fd)
