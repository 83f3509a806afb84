"""What this machine has to give: ports, shared memory, descriptors, the right processor.

All is tried as the service would, and given back at once. Nothing that exists is touched.
"""

import errno
import os
import platform
import resource
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Final

import trio

from fanout.checks.report import Check, Fault, Name, Subject, time_text
from fanout.config import Config, ShmConfig, TcpConfig
from fanout.errors import BindError, ConfigError
from fanout.net.descriptors import RESERVED_DESCRIPTORS, Descriptors
from fanout.net.listeners import open_listeners
from fanout.protocol.errors import reason
from fanout.protocol.ring_file import UnsupportedMachineError, require_supported_machine
from fanout.protocol.ring_page import PAGE_BYTES
from fanout.transports.shm.queue_file import Holder, holder_of
from fanout.transports.tcp.greeting import load_tls
from fanout.versions import versions

NAME_S: Final = 5.0
"""For the address of a name to listen on."""

_PORT_ADVICE: Final = {
    errno.EADDRINUSE: "something listens there, maybe a fanout: ss -ltnp shows what; stop it, or "
    "take another {flag}",
    errno.EACCES: "ports below 1024 are for root: take another {flag}",
}
_HOST_ADVICE: Final = "no address of this machine: 127.0.0.1 is, and 0.0.0.0 is all of them"

Statvfs = Callable[[str], os.statvfs_result]


async def check_machine(config: Config) -> tuple[Check, ...]:
    """Everything about this machine that the configuration needs."""
    tcp = [each for each in config.transports if isinstance(each, TcpConfig)]
    shm = [each for each in config.transports if isinstance(each, ShmConfig)]
    return (
        check_platform(is_x86_needed=bool(shm)),
        *check_descriptors(tcp),
        *await check_ports(config),
        *(check_certificate(each) for each in tcp if each.tls_cert),
        *check_memory(shm),
        *(check_queue(each) for each in shm),
    )


def check_platform(*, is_x86_needed: bool, machine: str = platform.machine()) -> Check:
    """Which fanout this is, and whether the processor is one that shared memory works on."""
    subject = Subject(Name.MACHINE, f"{platform.system()} {machine}")
    known = versions()
    found = (
        f"fanout {known['fanout']}, wire {known['wire']}, {known['functions']}; "
        f"{platform.python_implementation()} {known['python']}"
    )
    try:
        if is_x86_needed:
            require_supported_machine(machine)
    except UnsupportedMachineError as error:
        return subject.failed(str(error), "serve by tcp on this machine", Fault.MACHINE)
    return subject.passed(found)


def check_descriptors(transports: Iterable[TcpConfig]) -> tuple[Check, ...]:
    """Whether all clients that may come find a descriptor. No row where there are none to come."""
    wanted = sum(each.max_clients for each in transports)
    if not wanted:
        return ()
    subject, room = Subject(Name.DESCRIPTORS, f"{wanted:,} clients"), Descriptors.most()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"ulimit -n is {soft:,}: room for {room:,} clients"
    if room >= wanted:
        return (subject.passed(found),)
    needed = wanted + RESERVED_DESCRIPTORS
    by_whom = "" if hard in (-1, resource.RLIM_INFINITY) or hard >= needed else ", as root,"
    advice = f"ulimit -n {needed}{by_whom} before the start, or --max-clients {room} at the most"
    return (subject.failed(found, advice, Fault.MACHINE),)


async def check_ports(config: Config) -> tuple[Check, ...]:
    """Whether each port can be listened on. All are held until the last is tried: two transports
    may want the same."""
    wanted = [
        (each.host, each.port, "--port")
        for each in config.transports
        if isinstance(each, TcpConfig)
    ]
    if config.http is not None:
        wanted.append((config.http.host, config.http.port, "--http-port"))
    async with AsyncExitStack() as held:
        return tuple([await _check_port(held, *each) for each in wanted])


async def _check_port(held: AsyncExitStack, host: str, port: int, flag: str) -> Check:
    subject = Subject(Name.PORT, f"{host}:{port}")
    try:
        with trio.fail_after(NAME_S):
            for listener in await open_listeners(host, port):
                held.push_async_callback(listener.aclose)
    except trio.TooSlowError:
        found = f"no address of {host} within {time_text(NAME_S)}"
        return subject.failed(found, _HOST_ADVICE, Fault.MACHINE)
    except BindError as error:
        cause = error.__cause__
        code = cause.errno if isinstance(cause, OSError) else None
        advice = _PORT_ADVICE.get(code or 0, _HOST_ADVICE).format(flag=flag)
        return subject.failed(reason(cause or error).lower(), advice, Fault.MACHINE)
    return subject.passed("any that is free" if port == 0 else "free")


def check_certificate(config: TcpConfig) -> Check:
    """Whether the certificate that clients are shown can be used."""
    subject = Subject(Name.CERTIFICATE, str(config.tls_cert))
    try:
        load_tls(config)
    except ConfigError as error:
        return subject.failed(
            str(error), "give a pair that fits: --tls-cert, --tls-key", Fault.CONFIG
        )
    return subject.passed("it fits its key")


def check_memory(
    transports: Iterable[ShmConfig], *, statvfs: Statvfs = os.statvfs
) -> tuple[Check, ...]:
    """Whether the queues have room, and may be made, in each directory that has some."""
    wanted: dict[str, int] = {}
    for each in transports:
        size_bytes = PAGE_BYTES + each.capacity_bytes
        wanted[each.directory] = wanted.get(each.directory, 0) + size_bytes
    return tuple(_check_room(*each, statvfs) for each in wanted.items())


def _check_room(directory: str, wanted_bytes: int, statvfs: Statvfs) -> Check:
    subject = Subject(Name.MEMORY, directory)
    try:
        status = statvfs(directory)
    except OSError as error:
        advice = "shared memory has to be mounted there; serve by tcp without it"
        return subject.failed(reason(error).lower(), advice, Fault.MACHINE)
    if not os.access(directory, os.W_OK | os.X_OK):
        advice = f"run as a user who may write there, or chmod 1777 {directory} as root"
        return subject.failed("no files can be made there", advice, Fault.MACHINE)
    free_bytes = status.f_bavail * status.f_frsize
    found = f"{_size(free_bytes)} free of {_size(status.f_blocks * status.f_frsize)}"
    if free_bytes < wanted_bytes:
        advice = (
            "a smaller --capacity, files removed there, or more shared memory: "
            f"mount -o remount,size=... {directory}, docker --shm-size"
        )
        found = f"{found}, {_size(wanted_bytes)} needed"
        return subject.failed(found, advice, Fault.MACHINE)
    return subject.passed(f"{found}, {_size(wanted_bytes)} needed, writable")


def check_queue(config: ShmConfig) -> Check:
    """Whether a queue's name can be taken: nobody has it, or one whose writer is gone."""
    subject, path = Subject(Name.QUEUE, config.name), os.path.join(config.directory, config.name)
    advice = f"remove {path}, or take another --name"
    try:
        holder, pid = holder_of(path)
    except OSError as error:
        found = f"the file is there, and not ours: {reason(error).lower()}"
        return subject.failed(found, advice, Fault.MACHINE)
    match holder:
        case Holder.NOBODY:
            return subject.passed("the name is free")
        case Holder.DEAD_WRITER:
            return subject.passed(f"left by process {pid}, which is gone: it is taken over")
        case Holder.WRITER:
            found = f"belongs to process {pid}, which is running"
            advice = "stop it, or take another --name"
        case Holder.STRANGER:
            found = "the file is there, and no queue"
    return subject.failed(found, advice, Fault.MACHINE)


def _size(size_bytes: int) -> str:
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:,.1f} {name}"
    return f"{size_bytes} bytes"
