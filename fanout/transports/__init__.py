"""The transports, and the registry that holds one entry for each.

Importing this package is cheap: an entry's factory and check import what they need.
"""

from fanout.transports import consolidate, journal, multicast, ring, shm, slots, tcp
from fanout.transports.registry import (
    TRANSPORTS,
    TransportEntry,
    entry_of,
    make_transport,
    register,
)

register(tcp.ENTRY)
register(shm.ENTRY)
register(ring.ENTRY)
register(journal.ENTRY)
register(multicast.ENTRY)
register(slots.ENTRY)
register(consolidate.ENTRY)

__all__ = ["TRANSPORTS", "TransportEntry", "entry_of", "make_transport", "register"]
