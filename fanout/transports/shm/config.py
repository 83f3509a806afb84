"""The configuration of the shared-memory transport, and its options."""

from typing import Annotated

from fanout.config import TransportConfig
from fanout.config.options import Kind, Option
from fanout.errors import UsageError
from fanout.protocol.errors import LimitExceededError
from fanout.protocol.queue_file import DIRECTORY, name_fault
from fanout.protocol.queue_page import check_capacity


class ShmConfig(TransportConfig, frozen=True, kw_only=True):
    """A queue in shared memory. `keep` leaves its file when the service ends."""

    name: Annotated[str, Option("Name of the queue, under /dev/shm.")]
    capacity_bytes: Annotated[
        int,
        Option("Room for unread frames, a power of two: bytes, or KiB, MiB, GiB.", kind=Kind.SIZE),
    ] = 1024 * 1024
    keep: Annotated[bool, Option("Leave the queue there at the end.")] = False
    channel: Annotated[str, Option("Channel to serve, instead of the first.")] = ""
    directory: str = DIRECTORY

    def __post_init__(self) -> None:
        fault = name_fault(self.name)
        if fault:
            raise UsageError(f"--name {self.name[:40]!r}: {fault}")
        try:
            check_capacity(self.capacity_bytes)
        except LimitExceededError as error:
            raise UsageError(f"--capacity: {error}") from error

    def claims(self, channels: int) -> tuple[str, ...]:
        """See `TransportConfig.claims`."""
        return (f"queue {self.name}",)
