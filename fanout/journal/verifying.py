"""Checks a segment of a journal from its first byte to its last, and how segments follow each
other.

    check_segment    one file: its name, each length, CRC and number, its headers, its index
    follow           all segments of a channel: a segment's numbers end where the next one's begin
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec
from msgspec.structs import replace

from fanout.journal.findings import Finding, FindingKind, HeaderCheck, IndexCheck
from fanout.journal.survey import WINDOW_BYTES, ReadAt, damage
from fanout.protocol.errors import PeerError
from fanout.protocol.journal import FILE_HEADER_BYTES, decode_file_header
from fanout.protocol.journal_scan import Fault, scan

MOST_FINDINGS: Final = 1_000
MOST_OF_HEADERS: Final = 100_000
"""How many findings the frames of a segment may have, and its headers and LOSS. What is behind them
is not looked at."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that was checked."""

    epoch_ns: int
    first_seq: int
    next_seq: int
    """The number that is due at its end."""
    size_bytes: int
    frames: int = 0
    time_ns: int = 0
    """The latest time of its frames; 0 if there is none."""
    is_ended: bool = False
    """Whether it ends with END."""
    findings: tuple[Finding, ...] = ()

    @property
    def is_right(self) -> bool:
        return not any(each.kind.is_fault for each in self.findings)


def check_segment(
    read: ReadAt, size: int, index: bytes, *, channel: str, epoch_ns: int, first_seq: int
) -> Checked:
    """Check a file of `size` bytes whose place in the journal says what it is. Raises what `read`
    raises."""
    try:
        found = decode_file_header(read(0, FILE_HEADER_BYTES))
    except PeerError as error:
        return unreadable(epoch_ns=epoch_ns, first_seq=first_seq, size=size, why=str(error))
    if (found.epoch_ns, found.first_seq) != (epoch_ns, first_seq):
        why = f"it begins epoch {found.epoch_ns} at number {found.first_seq}, unlike its name"
        return unreadable(epoch_ns=epoch_ns, first_seq=first_seq, size=size, why=why)
    index_check = IndexCheck(index, epoch_ns, first_seq)
    walk = _Walk(read, size, HeaderCheck(channel, epoch_ns), index_check, first_seq)
    walk.run()
    return Checked(
        epoch_ns=epoch_ns,
        first_seq=first_seq,
        next_seq=walk.next_seq,
        size_bytes=size,
        frames=walk.frames,
        time_ns=walk.time_ns,
        is_ended=walk.headers.is_ended,
        findings=(*walk.findings, *walk.headers.findings, *index_check.findings),
    )


def unreadable(*, epoch_ns: int, first_seq: int, size: int, why: str) -> Checked:
    """What is known of a segment that cannot be looked through."""
    return Checked(
        epoch_ns=epoch_ns,
        first_seq=first_seq,
        next_seq=first_seq,
        size_bytes=size,
        findings=(Finding(kind=FindingKind.FILE, why=why),),
    )


class _Walk:
    """The frames of one segment: where it is, and what was found so far."""

    def __init__(
        self, read: ReadAt, size: int, headers: HeaderCheck, index: IndexCheck, first_seq: int
    ) -> None:
        self._read = read
        self._size = size
        self._index = index
        self._offset = FILE_HEADER_BYTES
        self.headers = headers
        self.next_seq = first_seq
        self.time_ns = 0
        self.frames = 0
        self.findings: list[Finding] = []

    def run(self) -> None:
        while self._offset < self._size:
            window = self._read(self._offset, WINDOW_BYTES)
            if not window:
                break  # somebody made it shorter
            if self._is_full:
                why = "too much is wrong: the rest is not looked at"
                where = {"offset": self._offset, "size": self._size - self._offset}
                self.findings.append(Finding(kind=FindingKind.FILE, why=why, **where))
                break
            self._look_through(window, self._offset)
        self.headers.end(self._offset)
        self._index.end(self._offset, self.headers.changes)

    @property
    def _is_full(self) -> bool:
        of_headers = len(self.headers.findings)
        return len(self.findings) >= MOST_FINDINGS or of_headers >= MOST_OF_HEADERS

    def _look_through(self, window: bytes, base: int) -> None:
        """Check the frames of a window, up to the last one that is whole in it."""
        end = base + len(window)
        while self._offset < end:
            place = self._index.next_place(self._offset)
            stop = end if place is None else min(end, place.offset)
            found = scan(window, self._offset - base, self.next_seq, self.time_ns, stop=stop - base)
            self.headers.take(window, base, found.marks)
            self._offset, self.next_seq = base + found.offset, found.next_seq
            self.time_ns, self.frames = found.time_ns, self.frames + found.frames
            if found.fault is Fault.NONE:
                if place and self._offset >= place.offset:
                    self._index.check(
                        self._offset, self.next_seq, self.time_ns, self.headers.opening
                    )
            elif found.fault is Fault.CUT and end < self._size and len(window) == WINDOW_BYTES:
                return  # it is whole in the next window
            elif found.fault in (Fault.AHEAD, Fault.BEHIND):
                self._jump(window, self._offset - base)
            else:
                self._pass(found.fault)

    def _jump(self, window: bytes, at: int) -> None:
        """Go on at a frame that has another number than the one that is due."""
        # The scan stops before the first number, so this is the number of the frame.
        due, seq = self.next_seq, scan(window, at, 0, 0, stop=at + 1, until_seq=1).next_seq
        kind, why = FindingKind.MISSING, "no LOSS reports them"
        first, last = due, seq - 1
        if seq < due:
            kind, why = FindingKind.REPEATED, f"number {seq} comes where {due} is due"
            first, last = seq, due - 1
        self.findings.append(
            Finding(kind=kind, why=why, offset=self._offset, first_seq=first, last_seq=last)
        )
        self.next_seq = seq

    def _pass(self, fault: Fault) -> None:
        """Go on behind a frame that is damaged."""
        at, hole = self._offset, damage(self._read, self._size, self._offset, self.next_seq)
        if hole is None:
            self.findings.append(
                Finding(
                    kind=FindingKind.TORN,
                    why=f"{_WHY[fault]}, and no right frame comes behind it",
                    offset=at,
                    size=self._size - at,
                )
            )
            self._offset = self._size
            return
        self._offset = at + hole.size
        self.next_seq = hole.last_seq + 1
        has_numbers = hole.first_seq <= hole.last_seq
        self.findings.append(
            Finding(
                kind=FindingKind.DAMAGED,
                why=_WHY[fault],
                offset=at,
                size=hole.size,
                first_seq=hole.first_seq if has_numbers else None,
                last_seq=hole.last_seq if has_numbers else None,
            )
        )


_WHY: Final = {
    Fault.CUT: "a frame is not whole",
    Fault.LENGTH: "a frame has an impossible length",
    Fault.CRC: "the CRC of a frame does not match",
    Fault.MALFORMED: "a frame is too short for its kind, or its number is out of range",
}


def follow(segments: Sequence[Checked], *, is_open: bool = False) -> list[Checked]:
    """All segments of a channel in their order, with what shows only beside the next one. The last
    one `is_open` if a service may be writing it."""
    joined = [_beside(each, following) for each, following in pairwise(segments)]
    for last in segments[-1:]:
        findings = [
            each
            for each in last.findings
            if not (is_open and each.kind in (FindingKind.TORN, FindingKind.SHORT))
        ]
        joined.append(replace(last, findings=tuple(findings)))
    return joined


def _beside(segment: Checked, following: Checked) -> Checked:
    if segment.epoch_ns != following.epoch_ns:
        return segment
    findings = list(segment.findings)
    due, first = segment.next_seq, following.first_seq
    if due < first:
        why = "the next segment begins behind them"
        findings.append(
            Finding(kind=FindingKind.MISSING, why=why, first_seq=due, last_seq=first - 1)
        )
    else:
        # Its writer knew of a failed disk, and went on in the next one.
        findings = [each for each in findings if each.kind is not FindingKind.TORN]
    if due > first:
        why = "the next segment has them as well, and counts"
        findings.append(Finding(kind=FindingKind.ANEW, why=why, first_seq=first, last_seq=due - 1))
    return replace(segment, findings=tuple(findings))
