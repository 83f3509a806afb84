"""The configuration of the ring of slots, and its options."""

from typing import Annotated

from fanout.config import TransportConfig
from fanout.config.options import Option
from fanout.errors import UsageError
from fanout.protocol.queue_file import DIRECTORY, name_fault


class SlotsConfig(TransportConfig, frozen=True, kw_only=True):
    """A ring of slots for one instrument. Its file stays there when the service ends."""

    name: Annotated[str, Option("Name of the ring, under /dev/shm.")]
    symbol: Annotated[str, Option("Symbol to serve. Needed where the channel has several.")] = ""
    channel: Annotated[str, Option("Channel to serve, instead of the first.")] = ""
    inexact: Annotated[
        bool,
        Option("Round prices to 2 decimals and sizes to 6, instead of leaving out what has more."),
    ] = False
    snapshot_s: Annotated[
        float,
        Option(
            "Repeat the whole book every so many seconds. 0 repeats it for each program that opens "
            "the file, and no more.",
            flag="--snapshot-s",
        ),
    ] = 0.0
    directory: str = DIRECTORY

    def __post_init__(self) -> None:
        fault = name_fault(self.name)
        if fault:
            raise UsageError(f"--name {self.name[:40]!r}: {fault}")
        if not 0 <= self.snapshot_s < float("inf"):
            raise UsageError(f"--snapshot-s {self.snapshot_s}: 0 or a number of seconds is needed")

    def claims(self, channels: int) -> tuple[str, ...]:
        """See `TransportConfig.claims`."""
        return (f"ring {self.name}",)
