"""What the segments of a journal hold, read as its readers read them: the numbers of a segment end
where those of the next one begin."""

import os

from fanout.journal.disk import Disk, RealDisk
from fanout.protocol.book_records import BookUpdate, Quote
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX,
    INDEX_MAGIC,
    SEGMENT,
    Place,
    decode_file_header,
    decode_places,
    number_in,
    numbered,
)
from fanout.protocol.records import Gap, Loss, Record, Status, Trade
from tests.stand.subscriber import Subscriber


class Kept:
    """One epoch of a channel's journal."""

    def __init__(self, directory: str, channel: str, epoch_ns: int, disk: Disk | None = None):
        self.folder = os.path.join(directory, channel, numbered(epoch_ns))
        self._disk = disk or RealDisk()

    def names(self) -> list[str]:
        return self._disk.names(self.folder)

    def segments(self) -> list[int]:
        """By their first numbers."""
        found = (number_in(each, SEGMENT) for each in self.names())
        return [each for each in found if each is not None]

    def frames(self, first_seq: int) -> bytes:
        """A segment without its first 64 bytes, which are right."""
        data = self._contents(numbered(first_seq, SEGMENT))
        assert decode_file_header(data).first_seq == first_seq
        return data[FILE_HEADER_BYTES:]

    def places(self, first_seq: int) -> list[Place]:
        """A segment's index."""
        data = self._contents(numbered(first_seq, INDEX))
        assert decode_file_header(data, INDEX_MAGIC).first_seq == first_seq
        return decode_places(data[FILE_HEADER_BYTES:])

    def records(self, first_seq: int) -> list[Record]:
        """All of a segment's records, those of its head included."""
        return Subscriber().receive(self.frames(first_seq))

    def accounted(self) -> list[int]:
        """The numbers of all records, and those that LOSS names."""
        numbers: list[int] = []
        firsts = self.segments()
        for first_seq, stop in zip(firsts, [*firsts[1:], 2**63], strict=True):
            found = [seq for each in self.records(first_seq) for seq in _numbers(each)]
            numbers += [seq for seq in found if seq < stop]
        return numbers

    def _contents(self, name: str) -> bytes:
        descriptor = self._disk.open(os.path.join(self.folder, name))
        try:
            return self._disk.read(descriptor, 0, self._disk.size(descriptor))
        finally:
            self._disk.close(descriptor)


def _numbers(record: Record) -> range:
    match record:
        case Loss(first_seq=first, last_seq=last):
            return range(first, last + 1)
        case Trade(seq=seq) | Quote(seq=seq) | BookUpdate(seq=seq) if seq:
            return range(seq, seq + 1)
        case Status(seq=seq) | Gap(seq=seq):
            return range(seq, seq + 1)
    return range(0)
