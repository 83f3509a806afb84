"""The shared-memory transport: its registry entry, and `ShmTransport`.

config      options
check       for `fanout check`
transport   pushes a channel into a queue, and keeps the queue in order
delivery    what fits, and LOSS for what does not
queue_file  the queue's file: made, owned, removed
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from fanout.transports.registry import TransportEntry
from fanout.transports.shm.config import ShmConfig

if TYPE_CHECKING:
    from fanout.checks.report import Check
    from fanout.transports.shm.transport import ShmTransport


def __getattr__(name: str) -> Any:
    """`ShmTransport`, imported when it is asked for: it brings trio, which clients do not need."""
    if name != "ShmTransport":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fanout.transports.shm.transport import ShmTransport

    return ShmTransport


def _make(config: ShmConfig) -> "ShmTransport":
    from fanout.transports.shm.transport import ShmTransport

    return ShmTransport(config)


async def _check(configs: Sequence[ShmConfig], held: AsyncExitStack) -> Sequence["Check"]:
    from fanout.transports.shm.check import check

    return check(configs)


ENTRY = TransportEntry(
    name="shm",
    config=ShmConfig,
    make=_make,
    check=_check,
    needs_x86=True,
    help="""Serve trades to one consumer on this machine, through a queue in shared memory.

    Example: fanout --assets BTCUSDT,ETHUSDT shm --name trade_queue --capacity 1MiB

    Each consumer takes a queue of its own: fanout shm --name a shm --name b
    """,
)

__all__ = ["ENTRY", "ShmConfig", "ShmTransport"]
