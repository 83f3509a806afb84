"""Checks of the journal: its directory can be used, is free, has room and syncs quickly."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from fanout.checks.report import Check, Fault, Name, Subject, room_text, time_text
from fanout.journal.disk import Disk, RealDisk
from fanout.journal.store import lock_holder
from fanout.protocol.errors import reason
from fanout.protocol.journal import MIN_SEGMENT_BYTES
from fanout.transports.journal.config import JournalConfig

SLOW_S: Final = 0.1
"""A sync that takes longer is warned of: records are safe from a power cut that much later."""

PROBE_BYTES: Final = 64 * 1024
PROBE: Final = ".fanout-check"
"""The file that is written and removed."""


def check(configs: Sequence[JournalConfig]) -> tuple[Check, ...]:
    """See `TransportEntry.check`. It may block."""
    return tuple(map(check_journal, configs))


def check_journal(
    config: JournalConfig,
    *,
    disk: Disk | None = None,
    clock_s: Callable[[], float] = time.perf_counter,
) -> Check:
    """Check that a service can keep its journal in the directory. A directory that is missing is
    not made: the one above it is tried in its place."""
    disk = disk or RealDisk()
    subject = Subject(Name.JOURNAL, config.dir)
    folder = _nearest(config.dir)
    try:
        is_there = folder == os.path.abspath(config.dir)
        holder = lock_holder(disk, config.dir) if is_there else None
        if holder is not None:
            advice = "stop it, or give another --dir"
            return subject.failed(f"belongs to {holder}, which is running", advice, Fault.MACHINE)
        free_bytes = disk.free_bytes(folder)
        took_s = _write_probe(disk, os.path.join(folder, PROBE), clock_s)
    except OSError as error:
        advice = f"let this user write in {folder}, or give another --dir"
        return subject.failed(reason(error).lower(), advice, Fault.MACHINE)
    found = f"{room_text(free_bytes)} free, a sync takes {time_text(took_s)}"
    if free_bytes < MIN_SEGMENT_BYTES:
        return subject.failed(found, "make room, or give another --dir", Fault.MACHINE)
    missing = config.keep_bytes - _size_below(config.dir) - free_bytes
    if missing > 0:
        advice = "lower --keep-bytes, make room, or give the --dir of a larger disk"
        found = f"{found}; --keep-bytes takes {room_text(missing)} more"
        return subject.warned(found, advice, took_s=took_s)
    if took_s > SLOW_S:
        advice = "give the --dir of a quicker disk, or a longer --sync"
        return subject.warned(found, advice, took_s=took_s)
    return subject.passed(found, took_s=took_s)


def _nearest(path: str) -> str:
    """The folder itself, or the nearest one above it that is there."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _write_probe(disk: Disk, path: str, clock_s: Callable[[], float]) -> float:
    """Write a file, sync it, and remove it. Returns how long the sync took."""
    with suppress(FileNotFoundError):
        disk.remove(path)  # left by a check that was interrupted
    probe = disk.open(path, make=True)
    try:
        disk.write(probe, 0, [bytes(PROBE_BYTES)])
        begun_s = clock_s()
        disk.sync(probe)
        return clock_s() - begun_s
    finally:
        disk.close(probe)
        disk.remove(path)


def _size_below(directory: str) -> int:
    """What the files of a journal take now."""
    return sum(
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(directory)
        for name in names
    )
