"""A shared-memory queue's file, from the writer's side. `shared_file` has all that is not the
queue's own."""

import os
from functools import partial
from typing import Final

from fanout.protocol.queue import QueueWriter
from fanout.protocol.queue_page import MAGIC, PAGE_BYTES
from fanout.protocol.records import Header
from fanout.transports.shared_file import Kind, OwnedFile
from fanout.transports.shared_file import create as create_file

QUEUE: Final = Kind("queue", MAGIC, PAGE_BYTES)

OwnedQueue = OwnedFile[QueueWriter]
"""A queue under its name, and ours to write."""


def create(path: str, *, capacity_bytes: int, header: Header | None) -> OwnedQueue:
    """Make a queue and give it its name. Raises `BindError`, with words on what to do."""
    make = partial(QueueWriter, header=header, pid=os.getpid())
    return create_file(QUEUE, path, capacity_bytes=capacity_bytes, make=make)
