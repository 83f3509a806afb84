"""Checks of what lies in shared memory: room for it, and its name."""

import os
from collections.abc import Callable, Iterable

from fanout.checks.report import Check, Fault, Name, Subject, room_text
from fanout.protocol.errors import reason
from fanout.transports.shared_file import Holder, Kind, holder_of

Statvfs = Callable[[str], os.statvfs_result]


def check_room(
    wanted: Iterable[tuple[str, int]], *, statvfs: Statvfs = os.statvfs
) -> tuple[Check, ...]:
    """Check that each directory is writable and has room for all files that are to be made there.
    `wanted` has the directory and the size in bytes of each file."""
    sums: dict[str, int] = {}
    for directory, size_bytes in wanted:
        sums[directory] = sums.get(directory, 0) + size_bytes
    return tuple(_check_room(*each, statvfs) for each in sums.items())


def _check_room(directory: str, wanted_bytes: int, statvfs: Statvfs) -> Check:
    subject = Subject(Name.MEMORY, directory)
    try:
        status = statvfs(directory)
    except OSError as error:
        advice = "mount shared memory there, or serve by tcp"
        return subject.failed(reason(error).lower(), advice, Fault.MACHINE)
    if not os.access(directory, os.W_OK | os.X_OK):
        advice = f"run as a user with write permission, or chmod 1777 {directory} as root"
        return subject.failed("the directory is not writable", advice, Fault.MACHINE)
    free_bytes = status.f_bavail * status.f_frsize
    found = f"{room_text(free_bytes)} free of {room_text(status.f_blocks * status.f_frsize)}"
    if free_bytes < wanted_bytes:
        advice = (
            "lower --capacity, remove files there, or enlarge the shared memory: "
            f"mount -o remount,size=... {directory}, docker --shm-size"
        )
        found = f"{found}, {room_text(wanted_bytes)} needed"
        return subject.failed(found, advice, Fault.MACHINE)
    return subject.passed(f"{found}, {room_text(wanted_bytes)} needed, writable")


def check_name(subject: Subject, kind: Kind, path: str) -> Check:
    """Check that a name is free, or belongs to a file of this kind whose writer has ended."""
    advice = f"remove {path}, or take another --name"
    try:
        holder, pid = holder_of(kind, path)
    except OSError as error:
        found = f"the file exists and is not ours: {reason(error).lower()}"
        return subject.failed(found, advice, Fault.MACHINE)
    match holder:
        case Holder.NOBODY:
            return subject.passed("the name is free")
        case Holder.DEAD_WRITER:
            return subject.passed(f"process {pid} left it and has ended: the service takes it over")
        case Holder.WRITER:
            found = f"belongs to process {pid}, which is running"
            advice = "stop it, or take another --name"
        case Holder.STRANGER:
            found = f"the file exists and is no {kind.noun}"
    return subject.failed(found, advice, Fault.MACHINE)
