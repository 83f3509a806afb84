"""The check of a ring of slots: its name, and room for a new file."""

import os
from collections.abc import Callable

from fanout.checks.report import Check, Fault, Name, Subject, room_text
from fanout.errors import BindError
from fanout.protocol.errors import reason
from fanout.protocol.slots import FILE_BYTES
from fanout.transports.slots.config import SlotsConfig
from fanout.transports.slots.ring_file import writer_of

Statvfs = Callable[[str], os.statvfs_result]


def check(config: SlotsConfig, *, statvfs: Statvfs = os.statvfs) -> Check:
    """Check that the name is free, or a ring that no process of ours writes, and that there is room
    for a new one."""
    subject, path = Subject(Name.SLOTS, config.name), os.path.join(config.directory, config.name)
    try:
        is_written = writer_of(path)
        status = statvfs(config.directory)
    except BindError:
        found, advice = "the file exists and is no ring", f"remove {path}, or take another --name"
        return subject.failed(found, advice, Fault.MACHINE)
    except OSError as error:
        advice = f"make {path} a file of this user, or take another --name"
        return subject.failed(reason(error).lower(), advice, Fault.MACHINE)
    if is_written:
        found = "belongs to another process, which is running"
        return subject.failed(found, "stop it, or take another --name", Fault.MACHINE)
    if is_written is not None:
        return subject.passed("an earlier run left it: the service goes on in it")
    free_bytes = status.f_bavail * status.f_frsize
    found = f"{room_text(free_bytes)} free, {room_text(FILE_BYTES)} needed"
    if not os.access(config.directory, os.W_OK | os.X_OK):
        advice = f"run as a user with write permission, or chmod 1777 {config.directory} as root"
        return subject.failed("the directory is not writable", advice, Fault.MACHINE)
    if free_bytes < FILE_BYTES:
        return subject.failed(found, "enlarge the shared memory: docker --shm-size", Fault.MACHINE)
    return subject.passed(f"the name is free, {found}")
