"""A ring's file, from the writer's side. `shared_file` has all that is not the ring's own."""

import os
from functools import partial
from typing import Final

from fanout.protocol.records import Header
from fanout.protocol.ring import RingWriter
from fanout.protocol.ring_page import DATA_AT, MAGIC
from fanout.transports.shared_file import Kind, OwnedFile
from fanout.transports.shared_file import create as create_file

RING: Final = Kind("ring", MAGIC, DATA_AT, mode=0o644)
"""Whoever the umask lets may read it. A reader that may not write to it reads all the same."""

OwnedRing = OwnedFile[RingWriter]
"""A ring under its name, and ours to write."""


def create(path: str, *, capacity_bytes: int, header: Header | None) -> OwnedRing:
    """Make a ring and give it its name. Raises `BindError`, with words on what to do."""
    make = partial(RingWriter, header=header, pid=os.getpid())
    return create_file(RING, path, capacity_bytes=capacity_bytes, make=make)
