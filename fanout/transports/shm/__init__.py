"""The shared-memory transport. `ShmTransport` is all that others need."""

from fanout.transports.shm.transport import ShmTransport

__all__ = ["ShmTransport"]
