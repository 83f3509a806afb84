"""Checks of the rings on disk: the directory can be used, is free, and has room."""

import os
from collections.abc import Callable, Sequence

from fanout.checks.report import Check, Fault, Name, Subject, room_text
from fanout.protocol.consolidated import META
from fanout.protocol.errors import MalformedError, reason
from fanout.transports.consolidate.config import ConsolidateConfig
from fanout.transports.consolidate.ring_file import head_of, writer_of

Statvfs = Callable[[str], os.statvfs_result]


def check(configs: Sequence[ConsolidateConfig]) -> tuple[Check, ...]:
    """See `TransportEntry.check`. It may block."""
    return tuple(map(check_rings, configs))


def check_rings(config: ConsolidateConfig, *, statvfs: Statvfs = os.statvfs) -> Check:
    """Check that a service can keep rings in the directory. How many it will need is not known
    before the venue is asked: there has to be room for one."""
    subject = Subject(Name.RINGS, config.rings)
    folder = _nearest(config.rings)
    try:
        names = os.listdir(config.rings) if os.path.isdir(config.rings) else []
        stems = [os.path.join(config.rings, each[: -len(META)]) for each in names if _is_meta(each)]
        for stem in stems:
            pid = writer_of(stem)
            if pid is not None:
                found = f"{stem} belongs to process {pid}, which is running"
                return subject.failed(found, "stop it, or give another --rings", Fault.MACHINE)
            head = None if config.reinit else head_of(stem)
            if head is not None and head.capacity != config.data_bytes:
                found = f"{stem} has {head.capacity:,} bytes, and --data-bytes is "
                found += f"{config.data_bytes:,}"
                return subject.failed(found, "give what it has, or --reinit", Fault.MACHINE)
        status = statvfs(folder)
    except MalformedError as error:
        advice = "move it away, or give --reinit"
        return subject.failed(f"{stem}{META} is {error}", advice, Fault.MACHINE)
    except OSError as error:
        advice = f"let this user write in {folder}, or give another --rings"
        return subject.failed(reason(error).lower(), advice, Fault.MACHINE)
    if not os.access(folder, os.W_OK | os.X_OK):
        advice = f"let this user write in {folder}, or give another --rings"
        return subject.failed("the directory is not writable", advice, Fault.MACHINE)
    free_bytes = status.f_bavail * status.f_frsize
    wanted_bytes = config.data_bytes + config.slots * 24
    found = f"{room_text(free_bytes)} free, {room_text(wanted_bytes)} needed for each new ring"
    if free_bytes < wanted_bytes and not stems:
        advice = "make room, lower --data-bytes, or give the --rings of a larger disk"
        return subject.failed(found, advice, Fault.MACHINE)
    return subject.passed(f"{found}, {len(stems)} there" if stems else found)


def _is_meta(name: str) -> bool:
    return name.endswith(META) and not name.startswith(".")


def _nearest(path: str) -> str:
    """The folder itself, or the nearest one above it that is there."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path
