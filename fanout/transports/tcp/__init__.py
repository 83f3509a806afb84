"""The TCP transport: its registry entry, and `TcpTransport`.

config       options
check        for `fanout check`
transport    listens; one broadcaster for each channel
admission    limits on clients
acceptor     from an accepted connection to a client that is served, or refused
greeting     TLS, and the client's request
broadcaster  sends a channel's new frames to all of its clients
connection   one client: its socket, and when to give it up
wire2        a channel's frames as they are
wire1        the same trades for the clients of perp_signal_hft
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from fanout.transports.registry import TransportEntry
from fanout.transports.tcp.config import TcpConfig

if TYPE_CHECKING:
    from fanout.checks.report import Check
    from fanout.transports.tcp.transport import TcpTransport


def __getattr__(name: str) -> Any:
    """`TcpTransport`, imported when it is asked for: it brings trio, which clients do not need."""
    if name != "TcpTransport":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fanout.transports.tcp.transport import TcpTransport

    return TcpTransport


def _make(config: TcpConfig) -> "TcpTransport":
    from fanout.transports.tcp.transport import TcpTransport

    return TcpTransport(config)


async def _check(configs: Sequence[TcpConfig], held: AsyncExitStack) -> Sequence["Check"]:
    from fanout.transports.tcp.check import check

    return await check(configs, held)


ENTRY = TransportEntry(
    name="tcp",
    config=TcpConfig,
    make=_make,
    check=_check,
    help="""Serve trades to any number of TCP clients.

    Example: fanout --assets BTCUSDT,ETHUSDT tcp --port 9000
    """,
)

__all__ = ["ENTRY", "TcpConfig", "TcpTransport"]
