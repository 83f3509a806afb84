"""Shows what a journal has, and what a check of it found."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from fanout.cli.figures import size
from fanout.journal.browsing import Address, KeptEpoch
from fanout.journal.findings import Finding, FindingKind
from fanout.journal.verifying import Checked

HEAD: Final = ("CHANNEL", "EPOCH", "SEGMENTS", "FIRST", "LAST", "FROM", "TO", "BYTES", "STATE")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The object that `--json` prints for each segment that was checked."""

    file: str
    channel: str
    epoch_ns: int
    first_seq: int
    last_seq: int
    frames: int
    time_ns: int
    size_bytes: int
    ok: bool
    findings: tuple[Finding, ...]


def row_of(epoch: KeptEpoch) -> tuple[str, ...]:
    return (
        epoch.channel,
        str(epoch.epoch_ns),
        str(epoch.segments),
        f"{epoch.first_seq:,}",
        f"{epoch.last_seq:,}" if epoch.last_seq >= epoch.first_seq else "-",
        _moment(epoch.created_ns),
        _moment(epoch.time_ns),
        size(epoch.size_bytes),
        epoch.state,
    )


def _moment(time_ns: int) -> str:
    """UTC, to the second."""
    if not time_ns:
        return "-"
    try:
        return f"{datetime.fromtimestamp(time_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError):  # beyond the year 9999
        return str(time_ns)


def shown(address: Address, checked: Checked) -> Shown:
    return Shown(
        file=address.path,
        channel=address.channel,
        epoch_ns=checked.epoch_ns,
        first_seq=checked.first_seq,
        last_seq=checked.next_seq - 1,
        frames=checked.frames,
        time_ns=checked.time_ns,
        size_bytes=checked.size_bytes,
        ok=checked.is_right,
        findings=checked.findings,
    )


def finding_lines(address: Address, checked: Checked) -> Iterator[str]:
    """A line for each finding of a segment."""
    for each in checked.findings:
        place = "" if each.offset is None else f" at {each.offset:,}"
        length = "" if each.size is None else f", {each.size:,} bytes"
        yield f"{address.path}: {_NAMES[each.kind]}{place}{length}: {each.why}{_numbers(each)}"


_NAMES: Final = {each: each.value for each in FindingKind} | {
    FindingKind.FILE: "no segment",
    FindingKind.SHORT: "index",
    FindingKind.TORN: "torn end",
}


def _numbers(finding: Finding) -> str:
    if finding.first_seq is None or finding.last_seq is None:
        return ""
    if finding.first_seq == finding.last_seq:
        return f": number {finding.first_seq:,}"
    return f": numbers {finding.first_seq:,} to {finding.last_seq:,}"


def total_line(channel: str, checked: Sequence[Checked]) -> str:
    faults = sum(each.kind.is_fault for one in checked for each in one.findings)
    verdict = "right" if not faults else f"{faults:,} fault" + ("s" if faults > 1 else "")
    frames = sum(each.frames for each in checked)
    total = size(sum(each.size_bytes for each in checked))
    count = f"{len(checked):,} segment" + ("s" if len(checked) > 1 else "")
    return f"{channel}: {count}, {frames:,} frames, {total}: {verdict}"
