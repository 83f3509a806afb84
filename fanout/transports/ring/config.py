"""The configuration of the ring transport, and its options."""

from typing import Annotated

from fanout.config import TransportConfig
from fanout.config.options import Kind, Option
from fanout.config.ranges import check_range
from fanout.errors import UsageError
from fanout.protocol.errors import LimitExceededError
from fanout.protocol.queue_file import DIRECTORY, name_fault
from fanout.protocol.queue_page import check_capacity
from fanout.protocol.ring_page import SESSION_BYTES


class RingConfig(TransportConfig, frozen=True, kw_only=True):
    """A ring in shared memory, for any number of readers."""

    name: Annotated[str, Option("Name of the ring, under /dev/shm.")]
    capacity_bytes: Annotated[
        int,
        Option(
            "Room for the newest frames, a power of two: bytes, or KiB, MiB, GiB.", kind=Kind.SIZE
        ),
    ] = 16 * 1024 * 1024
    channel: Annotated[str, Option("Channel to serve, instead of the first.")] = ""
    snapshot_s: Annotated[
        float,
        Option(
            "Seconds between snapshots for readers that cannot ask for one, since they may not "
            "write to the ring; 0: only when a reader asks.",
            flag="--snapshot-s",
        ),
    ] = 10.0
    directory: str = DIRECTORY

    def __post_init__(self) -> None:
        fault = name_fault(self.name)
        if fault:
            raise UsageError(f"--name {self.name[:40]!r}: {fault}")
        try:
            check_capacity(self.capacity_bytes)
        except LimitExceededError as error:
            raise UsageError(f"--capacity: {error}") from error
        if self.capacity_bytes < SESSION_BYTES:
            raise UsageError(
                f"--capacity {self.capacity_bytes:,}: at least {SESSION_BYTES:,} bytes"
            )
        check_range("--snapshot-s", self.snapshot_s, 0, 86_400)

    def claims(self, channels: int) -> tuple[str, ...]:
        """See `TransportConfig.claims`."""
        return (f"ring {self.name}",)
