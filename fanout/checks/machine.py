"""Checks of this machine: processor, file descriptors, ports, certificates, shared memory.

Each check opens its resource in the same way as the service, and releases it at once. Existing
files, queues and rings stay untouched.
"""

import platform
from contextlib import AsyncExitStack

from fanout.checks.ports import check_port
from fanout.checks.report import Check, Fault, Name, Subject
from fanout.config import Config
from fanout.protocol.queue_file import UnsupportedMachineError, require_supported_machine
from fanout.transports import TRANSPORTS, entry_of
from fanout.versions import versions

_ORDER = [each.value for each in Name]


async def check_machine(config: Config) -> tuple[Check, ...]:
    """Everything about this machine that the configuration needs, in the order of `Name`."""
    is_x86_needed = any(entry_of(each).needs_x86 for each in config.transports)
    rows = [check_platform(is_x86_needed=is_x86_needed)]
    async with AsyncExitStack() as held:
        for entry in TRANSPORTS.values():
            configs = [each for each in config.transports if entry_of(each) is entry]
            if configs:
                rows += await entry.check(configs, held)
        if config.http is not None:
            http = config.http
            rows.append(await check_port(held, http.host, http.port, "--http-port"))
    return tuple(sorted(rows, key=_place))


def _place(check: Check) -> int:
    return _ORDER.index(check.name) if check.name in _ORDER else len(_ORDER)


def check_platform(*, is_x86_needed: bool, machine: str = platform.machine()) -> Check:
    """Report the versions, and whether the processor supports queues and rings in shared memory."""
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
