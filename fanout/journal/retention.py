"""Removes the oldest segments of a journal, so that it stays within an age and a size.

    choose    which segments go: values in, values out
    prune     removes them, and what belongs to them

The newest segment of a channel never goes. A segment that is being read stays, and all later ones
of its channel, since its reader is to go on to them; but not for ever: a reader that is stuck must
not fill the disk. One whose segment is removed reads it to its end, and then gets a LOSS.

Ages come from clocks, which may have been wrong, or are. A time in the future is not believed. A
clock that goes ahead makes all segments too old at once: the service then waits before it removes
any.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, suppress
from itertools import accumulate
from os.path import join
from typing import Final

import msgspec
from msgspec.structs import replace

from fanout.journal.disk import Disk
from fanout.journal.files import first_seq_of, size_of
from fanout.protocol.errors import PeerError
from fanout.protocol.journal import (
    PACKED,
    SEGMENT,
    numbered,
    segments_in,
)
from fanout.protocol.journal_folder import ChannelFolder, OpenSegment
from fanout.protocol.text import channel_fault

_LOG = logging.getLogger("fanout")

GRACE_NS: Final = 3_600 * 10**9
"""How much older than allowed a segment may grow while it is being read."""

DOUBT_NS: Final = 3_600 * 10**9
"""All segments that are this much too old at once cast doubt on the clock, for as long again."""

_SEGMENTS: Final = (SEGMENT, PACKED)

GRACE_SHARE: Final = 4
"""A journal may grow by one part in so many over its size while its oldest segments are read."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept. With 0 there is no limit."""

    keep_ns: int = 0
    """How long a segment is kept after its last record."""
    keep_bytes: int = 0
    """Size of all segments of all channels together, with their indexes and all else that belongs
    to them."""


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that is complete: a later one of its channel follows. Or what else stands in its
    place: see `_Kept`."""

    channel: str
    epoch_ns: int
    first_seq: int
    size_bytes: int
    """With its index and what else belongs to it."""
    end_ns: int
    """When the next one was begun, as far as is known."""
    ending: str = SEGMENT
    """Of its first file's name."""


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


class _Kept(msgspec.Struct, frozen=True):
    """A segment with all that belongs to it; or the same without the segment, of which a start kept
    the bytes as FIRSTSEQ.torn, or whose removal was cut short."""

    place: tuple[int, int]
    """The epoch and the first number."""
    endings: tuple[str, ...]
    """Of the files' names, that of the segment first if there is one."""
    created_ns: int
    """When the segment was made; 0 if that is not known."""
    size_bytes: int

    @property
    def has_segment(self) -> bool:
        return self.endings[0] in _SEGMENTS

    @property
    def is_foreign(self) -> bool:
        """Whether something else has the name of the segment. Then it stays."""
        return self.has_segment and not self.size_bytes


class Retention:
    """Keeps a journal within its limits. For one thread at a time."""

    def __init__(self, disk: Disk, directory: str, limits: Limits) -> None:
        self._disk = disk
        self._directory = directory
        self._limits = limits
        self._known: dict[str, tuple[int, int]] = {}
        """When a segment was made, 0 for other files, and the size of the file, by path: each is
        opened once."""
        self._doubted_ns: int | None = None
        """When the clock was doubted."""
        self._is_future_told = False
        """Whether a segment from the future was warned of."""

    def prune(
        self,
        now_ns: int,
        *,
        spares_readers: bool = False,
        is_trial: bool = False,
        doubts_clock: bool = False,
    ) -> list[Sealed]:
        """Remove what is too old or too much. Returns what was removed. Raises `OSError`.

        With `spares_readers` what is being read stays however old it is. A trial removes nothing.
        With `doubts_clock` segments that all became too old at once stay for an hour.
        """
        limits = self._limits
        if limits == Limits():
            return []
        segments, more_bytes = self._look(now_ns, is_trial=is_trial)
        if doubts_clock and self._is_doubtful(segments, now_ns):
            limits = replace(limits, keep_ns=0)
        removed: list[Sealed] = []
        held: set[Sealed] = set()
        while chosen := choose(segments, limits, now_ns=now_ns, more_bytes=more_bytes, held=held):
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

    def _is_doubtful(self, segments: Sequence[Sealed], now_ns: int) -> bool:
        """Whether the clock may have gone ahead. It is doubted once."""
        keep_ns = self._limits.keep_ns
        ages = [now_ns - each.end_ns for each in segments]
        if keep_ns and ages and min(ages) > keep_ns + DOUBT_NS and self._doubted_ns is None:
            self._doubted_ns = now_ns
            _LOG.warning(
                "journal: all %d complete segments are older than --keep: the clock may be wrong, "
                "so they stay for another hour",
                len(segments),
            )
        since_ns = self._doubted_ns
        return since_ns is not None and since_ns <= now_ns < since_ns + DOUBT_NS

    def _look(self, now_ns: int, *, is_trial: bool) -> tuple[list[Sealed], int]:
        """The segments that are complete, and the size of the newest ones."""
        sealed: list[Sealed] = []
        more_bytes = 0
        for name in self._disk.names(self._directory):
            if channel_fault(name):
                continue
            with suppress(NotADirectoryError):
                found, newest_bytes = self._look_at(name, now_ns, is_trial=is_trial)
                sealed += found
                more_bytes += newest_bytes
        return sealed, more_bytes

    def _look_at(self, channel: str, now_ns: int, *, is_trial: bool) -> tuple[list[Sealed], int]:
        folder = self._folder(channel)
        names = {each: self._disk.names(folder.epoch_path(each)) for each in folder.epochs()}
        kept = [one for each in names for one in self._kept_in(folder, each, names[each])]
        if not kept:
            return [], 0
        newest = max((at for at, each in enumerate(kept) if each.has_segment), default=0)
        if not is_trial:
            for epoch_ns, found in names.items():
                if epoch_ns < kept[newest].place[0] and not found:
                    self._disk.remove_folder(folder.epoch_path(epoch_ns))
        if self._limits.keep_ns:
            self._warn_of_future(folder, kept, now_ns)
        for ending in kept[newest].endings:  # they grow
            self._known.pop(folder.file_path(*kept[newest].place, ending), None)
        ends = _ends([each.created_ns for each in kept[: newest + 1]], now_ns)
        sealed = [
            Sealed(
                channel=channel,
                epoch_ns=each.place[0],
                first_seq=each.place[1],
                size_bytes=each.size_bytes,
                end_ns=end_ns,
                ending=each.endings[0],
            )
            for each, end_ns in zip(kept, ends, strict=False)
            if not each.is_foreign
        ]
        return sealed, sum(each.size_bytes for each in kept[newest:])

    def _warn_of_future(self, folder: ChannelFolder, kept: Sequence[_Kept], now_ns: int) -> None:
        ahead = [each for each in kept if each.created_ns > now_ns + DOUBT_NS]
        if ahead and not self._is_future_told:
            self._is_future_told = True
            path = folder.file_path(*ahead[0].place, ahead[0].endings[0])
            _LOG.warning("%s: made in the future: the clock is or was wrong", path)

    def _kept_in(
        self, folder: ChannelFolder, epoch_ns: int, names: Sequence[str]
    ) -> Iterator[_Kept]:
        """What an epoch's folder has, in order."""
        found = {first_seq: [ending] for first_seq, ending in segments_in(names).items()}
        for name in names:
            first_seq = first_seq_of(name)
            if first_seq and not name.endswith(_SEGMENTS):
                found.setdefault(first_seq, []).append(name.removeprefix(numbered(first_seq)))
        for first_seq, endings in sorted(found.items()):
            facts = [self._facts(folder, epoch_ns, first_seq, each) for each in endings]
            created_ns, size_bytes = facts[0]
            if size_bytes or endings[0] not in _SEGMENTS:
                size_bytes = sum(each for _, each in facts)
            yield _Kept((epoch_ns, first_seq), tuple(endings), created_ns, size_bytes)

    def _facts(
        self, folder: ChannelFolder, epoch_ns: int, first_seq: int, ending: str
    ) -> tuple[int, int]:
        """When a segment was made, and the size of its file; zeros for what cannot be opened. Of
        other files the size only."""
        path = folder.file_path(epoch_ns, first_seq, ending)
        if path not in self._known:
            with suppress(OSError):
                if ending in _SEGMENTS:
                    with closing(folder.open(epoch_ns, first_seq)) as segment:
                        self._known[path] = _created_ns(segment), segment.file_bytes()
                else:
                    self._known[path] = 0, size_of(self._disk, path)
        return self._known.get(path, (0, 0))

    def _remove(self, segment: Sealed, *, is_held: bool, is_trial: bool) -> bool:
        """Remove a segment's file. False if it is being read and is not known to be held. A trial
        only finds that out."""
        folder = self._folder(segment.channel)
        path = folder.file_path(segment.epoch_ns, segment.first_seq, segment.ending)
        with suppress(FileNotFoundError):  # somebody else removed it
            descriptor = self._disk.open_to_read(path) if is_trial else self._disk.open(path)
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
        for ending in _SEGMENTS:
            self._known.pop(folder.file_path(segment.epoch_ns, segment.first_seq, ending), None)
        return True

    def _remove_rests(self, removed: Sequence[Sealed]) -> None:
        """Remove what belongs to segments that are gone. Once for each folder: one of them may have
        thousands of names. If this is cut short, what is left goes next time."""
        gone: dict[tuple[str, int], set[int]] = {}
        for each in removed:
            gone.setdefault((each.channel, each.epoch_ns), set()).add(each.first_seq)
        for (channel, epoch_ns), seqs in gone.items():
            self._remove_rest(self._folder(channel), epoch_ns, seqs)

    def _remove_rest(self, folder: ChannelFolder, epoch_ns: int, seqs: Collection[int]) -> None:
        """Remove the files of segments that are gone, and the folder if it is empty then."""
        path = folder.epoch_path(epoch_ns)
        for name in self._disk.names(path):
            if first_seq_of(name) in seqs:
                self._disk.remove(join(path, name))
                self._known.pop(join(path, name), None)
        if not self._disk.names(path):
            self._disk.remove_folder(path)

    def _folder(self, channel: str) -> ChannelFolder:
        return ChannelFolder(self._disk, join(self._directory, channel))


def _ends(created_ns: Sequence[int], now_ns: int) -> list[int]:
    """When each segment of a channel but the newest one ended, from when each was made: at the
    latest when a later one was made. A time that is still to come is unknown, and so is 0. No end
    is before that of an earlier segment: a clock that was set back makes nothing older."""
    ends = list[int]()
    following_ns = now_ns
    for each in reversed(created_ns[1:]):
        following_ns = each if 0 < each <= now_ns else following_ns
        ends.append(following_ns)
    return list(accumulate(reversed(ends), max))


def _created_ns(segment: OpenSegment) -> int:
    try:
        return segment.created_ns()
    except (OSError, PeerError):
        return 0
