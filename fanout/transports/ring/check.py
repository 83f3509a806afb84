"""Checks of the ring transport: room in memory, and the names of the rings."""

import os
from collections.abc import Sequence

from fanout.checks.report import Check, Name, Subject
from fanout.protocol.ring_page import DATA_AT
from fanout.transports.ring.config import RingConfig
from fanout.transports.ring.ring_file import RING
from fanout.transports.shared_check import check_name, check_room


def check(configs: Sequence[RingConfig]) -> tuple[Check, ...]:
    """See `TransportEntry.check`."""
    wanted = [(each.directory, DATA_AT + each.capacity_bytes) for each in configs]
    return (*check_room(wanted), *(check_ring(each) for each in configs))


def check_ring(config: RingConfig) -> Check:
    """Check that a ring's name is free, or belongs to a ring whose writer has ended."""
    path = os.path.join(config.directory, config.name)
    return check_name(Subject(Name.RING, config.name), RING, path)
