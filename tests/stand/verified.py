"""A journal as `fanout journal verify` finds it, without a process."""

from pathlib import Path

from fanout.journal.browsing import addresses, channels, check, is_written
from fanout.journal.disk import RealDisk
from fanout.journal.findings import FindingKind
from fanout.journal.verifying import Checked, follow


def verified(directory: Path) -> dict[str, list[Checked]]:
    """The segments of each channel."""
    disk, path = RealDisk(), str(directory)
    is_open = is_written(disk, path)
    return {
        channel: follow(
            [found for each in addresses(disk, path, channel) if (found := check(each))],
            is_open=is_open,
        )
        for channel in channels(disk, path)
    }


def faults_of(segments: list[Checked]) -> list[str]:
    """What is wrong with them, in words."""
    return [
        f"{segment.epoch_ns}/{segment.first_seq}: {each}"
        for segment in segments
        for each in segment.findings
        if each.kind.is_fault
    ]


def lost_in(segments: list[Checked]) -> int:
    """How many numbers their LOSS frames name."""
    return sum(
        each.last_seq - each.first_seq + 1
        for segment in segments
        for each in segment.findings
        if each.kind is FindingKind.LOST
        and each.first_seq is not None
        and each.last_seq is not None
    )
