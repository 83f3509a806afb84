"""The names and the small files in an epoch's folder of a journal.

FIRSTSEQ.fj, .fj.zst   a segment, and one that was compressed
FIRSTSEQ.fi .fs .torn  its index, its state, and its cut-off end
"""

from collections.abc import Sequence
from contextlib import suppress
from errno import EIO
from os.path import dirname
from typing import Final

from fanout.journal.disk import Disk
from fanout.protocol.journal import INDEX, PACKED, PART, SEGMENT, TORN, number_in

STATE: Final = ".fs"


def first_seq_of(name: str) -> int | None:
    """The first number of the segment that a file in an epoch's folder belongs to, None for names
    that no journal gives."""
    whole, torn, turn = name.partition(TORN)
    if torn and (not turn or (turn[0] == "." and turn[1:].isdecimal())):
        return number_in(whole) or None
    found = (number_in(name, each) for each in (SEGMENT, PACKED, INDEX, STATE))
    return next((each for each in found if each), None)


def size_of(disk: Disk, path: str) -> int:
    """Raises `OSError`."""
    descriptor = disk.open(path)
    try:
        return disk.size(descriptor)
    finally:
        disk.close(descriptor)


def write_all(disk: Disk, descriptor: int, offset: int, pieces: Sequence[bytes]) -> None:
    """Write all pieces one behind the other, in as many calls as it takes. Raises `OSError`."""
    taken = disk.write(descriptor, offset, pieces)
    while taken < sum(map(len, pieces)):
        if not taken:
            raise OSError(EIO, "the disk took nothing")
        offset += taken
        pieces = _rest(pieces, taken)
        taken = disk.write(descriptor, offset, pieces)


def _rest(pieces: Sequence[bytes], taken: int) -> list[bytes]:
    """What is left of pieces of which so many bytes were written."""
    rest = list(pieces)
    while len(rest[0]) <= taken:
        taken -= len(rest.pop(0))
    rest[0] = rest[0][taken:]
    return rest


def write_whole(disk: Disk, path: str, data: bytes, *, syncs: bool = True) -> None:
    """Write a small file so that its name stands for all of it, also after a crash: under another
    name first. It takes the place of one that has the name. Raises `OSError`."""
    with suppress(FileNotFoundError):
        disk.remove(path + PART)
    part = disk.open(path + PART, make=True)
    try:
        write_all(disk, part, 0, [data])
        if syncs:
            disk.sync(part)
    finally:
        disk.close(part)
    disk.rename(path + PART, path)
    if syncs:
        disk.sync_folder(dirname(path))
