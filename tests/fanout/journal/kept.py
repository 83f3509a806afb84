"""Journals on the disk, written as the service writes them."""

from pathlib import Path

from fanout.channel.channel import Channel
from fanout.channel.past import Past
from fanout.channel.reader import Reader
from fanout.journal.disk import Disk, RealDisk
from fanout.journal.segment import Segment
from fanout.protocol import Header, Request
from fanout.protocol.journal import FileHeader, numbered
from tests.protocol.golden import HEADER
from tests.stand.channels import publish

EPOCH_NS = 1_000


def make_channel(epoch_ns: int = EPOCH_NS, past: Past | None = None) -> Channel:
    header = Header(
        epoch_ns=epoch_ns,
        next_seq=1,
        venue="test",
        channel="test",
        instruments=HEADER.instruments,
        references=HEADER.references,
    )
    return Channel(header, log_bytes=10_000_000, wall_ns=lambda: 0, past=past)


class Keeper:
    """Keeps a channel in a directory, segment by segment."""

    def __init__(
        self, directory: str, channel: Channel, *, disk: Disk | None = None, created_ns: int = 0
    ) -> None:
        self.channel = channel
        epoch_ns = channel.header.epoch_ns
        self.folder = f"{directory}/{channel.name}/{numbered(epoch_ns)}"
        self._epoch_ns = epoch_ns
        self._disk = disk or RealDisk()
        self.begin(created_ns)

    def begin(self, created_ns: int = 0) -> None:
        """Begin a segment."""
        reader = self._reader = Reader(self.channel)
        self.first_seq = self.channel.log.next_seq
        header = FileHeader(
            epoch_ns=self._epoch_ns, first_seq=self.first_seq, created_ns=created_ns
        )
        self.segment = Segment(self._disk, self.folder, header)
        self.segment.open()
        self.segment.append([reader.greeting + reader.start(Request())])
        self.segment.publish()

    def publish(self, *counts: int) -> None:
        """Publish and write a block of each count."""
        for count in counts:
            publish(self.channel, self.channel.log.next_seq, count)
            self.write()

    def write(self) -> None:
        while piece := self._reader.next_piece():
            self.segment.append([piece])

    def seal(self) -> None:
        self.segment.sync()
        self.segment.close()


def write_journal(directory: Path, *counts: int, epoch_ns: int = EPOCH_NS) -> Path:
    """A journal with one segment of blocks with so many trades. Returns the segment's path."""
    keeper = Keeper(str(directory), make_channel(epoch_ns))
    keeper.publish(*counts)
    keeper.seal()
    return Path(keeper.folder) / numbered(1, ".fj")


def files_below(directory: Path) -> dict[str, bytes]:
    """What every file holds, by its path."""
    return {
        str(each.relative_to(directory)): each.read_bytes()
        for each in sorted(directory.rglob("*"))
        if each.is_file()
    }
