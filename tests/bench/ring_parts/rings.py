"""A ring in a file, for both of its ends, without a service and without a client."""

import mmap
import os

from fanout.protocol import ring_page as page
from fanout.protocol.ring import RingReader, RingWriter


def new_ring(path: str, capacity_bytes: int) -> RingWriter:
    """A new ring at `path`, all of whose memory is there."""
    size = page.DATA_AT + capacity_bytes
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.posix_fallocate(fd, 0, size)
    mapped = mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    os.close(fd)
    return RingWriter(mapped, header=None, pid=os.getpid())


def ring_reader(path: str, slot: int) -> RingReader:
    """A reader at the oldest place, which has an entry in the table."""
    fd = os.open(path, os.O_RDWR)
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
    whole = mmap.mmap(fd, 0, flags=flags, prot=mmap.PROT_READ)
    table = mmap.mmap(fd, page.TABLE_BYTES, flags=flags, offset=page.TABLE_AT)
    os.close(fd)
    reader = RingReader(whole, table=table, slot=slot, pid=os.getpid())
    reader.begin_oldest()
    return reader
