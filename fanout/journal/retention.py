"""Removes the oldest segments of a journal, so that it stays within an age and a size.

    choose    which segments go: values in, values out
    prune     removes them, and what belongs to them

The newest segment of a channel never goes. A segment that is being read stays, and all later ones
of its channel, since its reader is to go on to them; but not for ever: a reader that is stuck must
not fill the disk. One whose segment is removed reads it to its end, and then gets a LOSS.
"""

import logging
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from itertools import pairwise
from os.path import join
from typing import Final

import msgspec

from fanout.journal.disk import Disk
from fanout.journal.folder import ChannelFolder, KeptSegment, first_seq_of
from fanout.protocol.errors import PeerError
from fanout.protocol.journal import FILE_HEADER_BYTES, PACKED, SEGMENT, decode_file_header
from fanout.protocol.text import channel_fault

_LOG = logging.getLogger("fanout")

GRACE_NS: Final = 3_600 * 10**9
"""How much older than allowed a segment may grow while it is being read."""

GRACE_SHARE: Final = 4
"""A journal may grow by one part in so many over its size while its oldest segments are read."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept. With 0 there is no limit."""

    keep_ns: int = 0
    """How long a segment is kept after its last record."""
    keep_bytes: int = 0
    """Size of all segments of all channels together."""


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that is complete: a later one of its channel follows."""

    channel: str
    epoch_ns: int
    first_seq: int
    size_bytes: int
    """With its index and what else belongs to it."""
    end_ns: int
    """When the next one was begun, or later."""
    ending: str = SEGMENT
    """Of its file's name."""


def choose(
    segments: Sequence[Sealed],
    limits: Limits,
    *,
    now_ns: int,
    more_bytes: int = 0,
    held: Collection[Sealed] = (),
) -> list[Sealed]:
    """The segments to remove, the oldest first. `segments` has those of each channel in order.

    `more_bytes` is the size of what is kept besides. `held` are those that are being read.
    """
    size_bytes = more_bytes + sum(each.size_bytes for each in segments)
    settled: set[str] = set()
    gone: list[Sealed] = []
    for each in sorted(segments, key=lambda each: each.end_ns):
        if each.channel in settled:
            continue
        if _is_over(limits, now_ns - each.end_ns, size_bytes, is_held=each in held):
            gone.append(each)
            size_bytes -= each.size_bytes
        else:
            settled.add(each.channel)
    return gone


def _is_over(limits: Limits, age_ns: int, size_bytes: int, *, is_held: bool) -> bool:
    keep_ns, keep_bytes = limits.keep_ns, limits.keep_bytes
    is_old = 0 < keep_ns < age_ns - is_held * GRACE_NS
    is_much = 0 < keep_bytes < size_bytes - is_held * (keep_bytes // GRACE_SHARE)
    return is_old or is_much


class Retention:
    """Keeps a journal within its limits. For one thread at a time."""

    def __init__(self, disk: Disk, directory: str, limits: Limits) -> None:
        self._disk = disk
        self._directory = directory
        self._limits = limits
        self._known: dict[str, tuple[int, int]] = {}
        """When a segment was made, and the size of its file, by path: each is opened once."""

    def prune(
        self, now_ns: int, *, spares_readers: bool = False, is_trial: bool = False
    ) -> list[Sealed]:
        """Remove what is too old or too much. Returns what was removed. Raises `OSError`.

        With `spares_readers` what is being read stays however old it is. A trial removes nothing.
        """
        if self._limits == Limits():
            return []
        segments, more_bytes = self._look(is_trial=is_trial)
        removed: list[Sealed] = []
        held: set[Sealed] = set()
        while chosen := choose(
            segments, self._limits, now_ns=now_ns, more_bytes=more_bytes, held=held
        ):
            for each in chosen:
                if not self._remove(each, is_held=each in held, is_trial=is_trial):
                    held.add(each)
                    if spares_readers:
                        stay = [one for one in segments if one.channel == each.channel]
                        more_bytes += sum(one.size_bytes for one in stay)
                        segments = [one for one in segments if one not in stay]
                    break  # those behind it stay for its reader, and others may have to go
                segments.remove(each)
                removed.append(each)
        if not is_trial:
            self._remove_rests(removed)
        return removed

    def _look(self, *, is_trial: bool) -> tuple[list[Sealed], int]:
        """The segments that are complete, and the size of the newest ones."""
        sealed: list[Sealed] = []
        more_bytes = 0
        for name in self._disk.names(self._directory):
            if channel_fault(name):
                continue
            with suppress(NotADirectoryError):
                found, newest_bytes = self._look_at(name, is_trial=is_trial)
                sealed += found
                more_bytes += newest_bytes
        return sealed, more_bytes

    def _look_at(self, channel: str, *, is_trial: bool) -> tuple[list[Sealed], int]:
        folder = self._folder(channel)
        epochs = folder.epochs()
        order = [
            (epoch, seq, ending)
            for epoch in epochs
            for seq, ending in folder.endings(epoch).items()
        ]
        sealed: list[Sealed] = []
        end_ns = 0
        for (epoch_ns, first_seq, ending), following in pairwise(order):
            created_ns, size_bytes = self._facts(folder, epoch_ns, first_seq, ending)
            followed_ns, _ = self._facts(folder, *following)
            end_ns = max(end_ns, followed_ns or created_ns)
            if size_bytes:
                sealed.append(
                    Sealed(
                        channel=channel,
                        epoch_ns=epoch_ns,
                        first_seq=first_seq,
                        size_bytes=size_bytes,
                        end_ns=end_ns,
                        ending=ending,
                    )
                )
        if not order:
            return [], 0
        if not is_trial:
            self._sweep(folder, epochs, order[0][:2])
        _, newest_bytes = self._facts(folder, *order[-1])
        self._known.pop(folder.file_path(*order[-1]), None)  # it grows
        return sealed, newest_bytes

    def _facts(
        self, folder: ChannelFolder, epoch_ns: int, first_seq: int, ending: str
    ) -> tuple[int, int]:
        """When a segment was made, and the size of its file; zeros for what is none."""
        known = self._known.get(folder.file_path(epoch_ns, first_seq, ending))
        if known is None:
            try:
                segment = folder.open(epoch_ns, first_seq)
            except OSError:
                return 0, 0
            with closing(segment):
                known = self._known[segment.path] = _created_ns(segment), segment.file_bytes()
        return known

    def _remove(self, segment: Sealed, *, is_held: bool, is_trial: bool) -> bool:
        """Remove a segment's file. False if it is being read and is not known to be held. A trial
        only finds that out."""
        folder = self._folder(segment.channel)
        path = folder.file_path(segment.epoch_ns, segment.first_seq, segment.ending)
        with suppress(FileNotFoundError):  # somebody else removed it
            descriptor = self._disk.open(path)
            try:
                if not self._disk.lock(descriptor) and not is_held:
                    return False
                if is_trial:
                    return True
                self._disk.remove(path)
            finally:
                self._disk.close(descriptor)
        if is_held:
            _LOG.warning("%s: removed while it was being read, to stay within the limits", path)
        for ending in (SEGMENT, PACKED):
            self._known.pop(folder.file_path(segment.epoch_ns, segment.first_seq, ending), None)
        return True

    def _remove_rests(self, removed: Sequence[Sealed]) -> None:
        """Remove what belongs to segments that are gone. Once for each folder: one of them may have
        thousands of names. If this is cut short, the next look sweeps it away."""
        gone: dict[tuple[str, int], set[int]] = {}
        for each in removed:
            gone.setdefault((each.channel, each.epoch_ns), set()).add(each.first_seq)
        for (channel, epoch_ns), seqs in gone.items():
            self._remove_rest(self._folder(channel), epoch_ns, seqs)

    def _sweep(self, folder: ChannelFolder, epochs: Sequence[int], oldest: tuple[int, int]) -> None:
        """Remove what is left of segments before the oldest one, if removing them was cut short."""
        for epoch_ns in epochs:
            if epoch_ns <= oldest[0]:
                names = self._disk.names(folder.epoch_path(epoch_ns))
                found = {seq for seq in map(first_seq_of, names) if seq}
                left = {seq for seq in found if (epoch_ns, seq) < oldest}
                if left or not names:
                    self._remove_rest(folder, epoch_ns, left)

    def _remove_rest(self, folder: ChannelFolder, epoch_ns: int, seqs: Collection[int]) -> None:
        """Remove the files of segments that are gone, and the folder if it is empty then."""
        path = folder.epoch_path(epoch_ns)
        for name in self._disk.names(path):
            if first_seq_of(name) in seqs:
                self._disk.remove(join(path, name))
        if not self._disk.names(path):
            self._disk.remove_folder(path)

    def _folder(self, channel: str) -> ChannelFolder:
        return ChannelFolder(self._disk, join(self._directory, channel))


def _created_ns(segment: KeptSegment) -> int:
    try:
        return decode_file_header(segment.read(0, FILE_HEADER_BYTES)).created_ns
    except (OSError, PeerError):
        return 0
