"""Snapshots from packets: the opening that a reader joins with, and the newest records and books.

A snapshot's packets may get lost, and may overtake each other. They take no sequence numbers, so
the numbers do not show it.

**The opening** is a header and its instruments. Every INSTRUMENTS frame says which entries it has,
and every packet has the checksum of the whole listing. So it does not matter in which order the
frames come, or in which repetition of the snapshot: the opening is whole once the checksum over all
entries is right.

**The blocks** behind it are passed on in the order of the packets, to readers that need them. A
book in several pieces is of use only without a hole, so after a lost packet its pieces are left out
up to the next book. A reader needs nothing more once it has all packets of one snapshot.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from fanout.protocol.blocks import UPDATE_DECODERS
from fanout.protocol.book_records import BookBlock, OrderBlock
from fanout.protocol.constants import LENGTH_BYTES, FrameKind
from fanout.protocol.header import decode_header
from fanout.protocol.instrument import Instrument
from fanout.protocol.instruments import decode_run
from fanout.protocol.packets import LAST, ListingSums, Packet, frames_of
from fanout.protocol.records import Header, Reference


class PacketOpenings:
    """Collects the frames of openings. A later frame replaces those before."""

    def __init__(self) -> None:
        self._bare: Header | None = None
        self._count = 0
        self._entries: dict[int, tuple[Instrument, Reference]] = {}

    def take(self, packet: Packet) -> Header | None:
        """Take a packet of a snapshot. Returns the header with all its instruments when the packet
        made it whole. Raises `PeerError` for a frame that is not in order."""
        is_any = False
        for whole in frames_of(packet.frames):
            payload = whole[LENGTH_BYTES:]
            if payload[0] == FrameKind.HEADER:
                self._bare, self._count = decode_header(payload)
                is_any = True
            elif payload[0] == FrameKind.INSTRUMENTS:
                first, entries = decode_run(payload)
                self._entries.update(enumerate(entries, first))
                is_any = True
        return self._whole(packet.listing) if is_any else None

    def _whole(self, listing: int) -> Header | None:
        if self._bare is None or not all(index in self._entries for index in range(self._count)):
            return None
        pairs = [self._entries[index] for index in range(self._count)]
        header = replace(
            self._bare,
            instruments=tuple(instrument for instrument, _ in pairs),
            references=tuple(reference for _, reference in pairs),
        )
        # Entries of another listing may be among them.
        return header if ListingSums()(header) == listing else None


class SnapshotBlocks:
    """Which blocks of snapshots a reader gets: those that it needs, and no half books."""

    def __init__(self) -> None:
        self._needs_trades = self._needs_books = False
        self._is_series_whole = False
        """Whether all packets of a snapshot have come, so far."""
        self._is_book_whole = False
        """Whether all packets have come since a whole book began."""

    @property
    def are_needed(self) -> bool:
        return self._needs_trades or self._needs_books

    @property
    def is_under_way(self) -> bool:
        """Whether a snapshot that is needed has begun, and nothing of it is lost."""
        return self._is_series_whole and self.are_needed

    def need_all(self) -> None:
        """The reader has joined."""
        self._needs_trades = self._needs_books = True

    def need_books(self, header: Header) -> None:
        """The reader has lost records."""
        self._needs_books |= header.has_books
        self.lost()

    def need_nothing(self) -> None:
        """The reader has all of a snapshot."""
        self._needs_trades = self._needs_books = False

    def lost(self) -> None:
        """A packet before the next one is missing."""
        self._is_series_whole = self._is_book_whole = False

    def takes(self, payload: bytes, header: Header) -> bool:
        """Whether the reader gets a block flagged snapshot, which was made under `header`. Raises
        `PeerError` for one that is not in order."""
        if payload[0] == FrameKind.TRADES:
            return self._needs_trades
        if not self.are_needed or payload[0] not in UPDATE_DECODERS:
            return False
        block = UPDATE_DECODERS[payload[0]](payload, header)
        if not isinstance(block, BookBlock | OrderBlock):
            return True
        self._is_book_whole |= block.records[0].is_whole
        return self._is_book_whole

    def passed(self, packet: Packet, header: Header | None) -> Iterator[bytes]:
        """The frames of a packet that the reader gets. `header` is the one in force, None if the
        packet is of another place or another listing. Raises `PeerError` for frames that are not in
        order."""
        for whole in frames_of(packet.frames):
            payload = whole[LENGTH_BYTES:]
            if payload[0] == FrameKind.HEADER:
                self._is_series_whole = True
            elif (
                header is not None
                and payload[0] != FrameKind.INSTRUMENTS
                and self.takes(payload, header)
            ):
                yield whole
        if header is None:
            self.lost()
        if packet.flags & LAST and self._is_series_whole:
            self.need_nothing()
