"""Checks of the TCP transport: file descriptors, ports, the certificate."""

import resource
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack

from fanout.checks.ports import check_port
from fanout.checks.report import Check, Fault, Name, Subject
from fanout.errors import ConfigError
from fanout.net.descriptors import RESERVED_DESCRIPTORS, Descriptors
from fanout.transports.tcp.config import TcpConfig
from fanout.transports.tcp.greeting import load_tls


async def check(configs: Sequence[TcpConfig], held: AsyncExitStack) -> tuple[Check, ...]:
    """See `TransportEntry.check`."""
    return (
        *check_descriptors(configs),
        *[await check_port(held, each.host, each.port, "--port") for each in configs],
        *(check_certificate(each) for each in configs if each.tls_cert),
    )


def check_descriptors(transports: Iterable[TcpConfig]) -> tuple[Check, ...]:
    """Check that `ulimit -n` allows the configured number of clients. No row without a limit."""
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


def check_certificate(config: TcpConfig) -> Check:
    """Check that the service can load the TLS certificate that it presents to clients."""
    subject = Subject(Name.CERTIFICATE, str(config.tls_cert))
    try:
        load_tls(config)
    except ConfigError as error:
        return subject.failed(
            str(error), "give a matching pair: --tls-cert, --tls-key", Fault.CONFIG
        )
    return subject.passed("it matches its key")
