"""The configuration of the rings on disk, and their options."""

from typing import Annotated, Final

from fanout.config import TransportConfig
from fanout.config.options import Kind, Option
from fanout.errors import UsageError
from fanout.protocol.consolidated import MAX_CAPACITY_BYTES, MAX_SLOTS
from fanout.protocol.consolidated_trade import SHORTEST_RECORD_BYTES

MIN_DATA_BYTES: Final = 1024 * 1024
"""A batch of trades, which is stored before it counts, has to be a small part of a ring."""

MIN_INDEX_SLOTS: Final = 128
"""Twice the trades of a batch."""
MAX_CHUNK_SYMBOLS: Final = 100_000


class ConsolidateConfig(TransportConfig, frozen=True, kw_only=True):
    """A directory of rings, each with the newest trades of a chunk of symbols."""

    rings: Annotated[str, Option("Directory of the rings, which is made if it is missing.")]
    chunk_symbols: Annotated[int, Option("How many symbols share a ring.")] = 400
    data_bytes: Annotated[
        int,
        Option(
            "Room for the trades of a ring: bytes, or KiB, MiB, GiB.",
            flag="--data-bytes",
            kind=Kind.SIZE,
        ),
    ] = 512 * 1024 * 1024
    index_slots: Annotated[
        int,
        Option(
            "Trades that the index of a ring covers, and so how far back a reader can go. 0: as "
            "many as its data can have."
        ),
    ] = 0
    reinit: Annotated[
        bool, Option("Begin rings anew that are there already. What they hold is lost.")
    ] = False

    def __post_init__(self) -> None:
        if not self.rings or "\0" in self.rings:
            raise UsageError(f"--rings {self.rings[:40]!r}: no directory")
        if not 1 <= self.chunk_symbols <= MAX_CHUNK_SYMBOLS:
            raise UsageError(
                f"--chunk-symbols {self.chunk_symbols:,}: from 1 to {MAX_CHUNK_SYMBOLS:,}"
            )
        if not MIN_DATA_BYTES <= self.data_bytes <= MAX_CAPACITY_BYTES:
            raise UsageError(
                f"--data-bytes {self.data_bytes:,}: from {MIN_DATA_BYTES:,} to "
                f"{MAX_CAPACITY_BYTES:,}"
            )
        if self.index_slots and not MIN_INDEX_SLOTS <= self.index_slots <= MAX_SLOTS:
            raise UsageError(
                f"--index-slots {self.index_slots:,}: from {MIN_INDEX_SLOTS:,} to {MAX_SLOTS:,}"
            )

    @property
    def slots(self) -> int:
        """The slots of a new ring."""
        return self.index_slots or self.data_bytes // SHORTEST_RECORD_BYTES

    @property
    def claim(self) -> str:
        """See `TransportConfig.claim`."""
        return "the directory of rings"
