"""Checks of the shared-memory transport: room in memory, and the names of the queues."""

import os
from collections.abc import Iterable, Sequence

from fanout.checks.report import Check, Name, Subject
from fanout.protocol.queue_page import PAGE_BYTES
from fanout.transports.shared_check import Statvfs, check_name, check_room
from fanout.transports.shm.config import ShmConfig
from fanout.transports.shm.queue_file import QUEUE


def check(configs: Sequence[ShmConfig]) -> tuple[Check, ...]:
    """See `TransportEntry.check`."""
    return (*check_memory(configs), *(check_queue(each) for each in configs))


def check_memory(
    transports: Iterable[ShmConfig], *, statvfs: Statvfs = os.statvfs
) -> tuple[Check, ...]:
    """Check that each queue directory is writable and has room for all its queues."""
    wanted = [(each.directory, PAGE_BYTES + each.capacity_bytes) for each in transports]
    return check_room(wanted, statvfs=statvfs)


def check_queue(config: ShmConfig) -> Check:
    """Check that a queue's name is free, or belongs to a queue whose writer has ended."""
    path = os.path.join(config.directory, config.name)
    return check_name(Subject(Name.QUEUE, config.name), QUEUE, path)
