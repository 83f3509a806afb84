"""The ring transport: its registry entry, and `RingTransport`.

config      options
check       for `fanout check`
transport   pushes a channel into a ring, and keeps the ring in order
delivery    the frames of the log, and the snapshots between them
readers     who reads the ring, and how far behind
ring_file   the ring's file
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from fanout.transports.registry import TransportEntry
from fanout.transports.ring.config import RingConfig

if TYPE_CHECKING:
    from fanout.checks.report import Check
    from fanout.transports.ring.transport import RingTransport


def __getattr__(name: str) -> Any:
    """`RingTransport`, imported when it is asked for: it brings trio, which clients do not need."""
    if name != "RingTransport":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fanout.transports.ring.transport import RingTransport

    return RingTransport


def _make(config: RingConfig) -> "RingTransport":
    from fanout.transports.ring.transport import RingTransport

    return RingTransport(config)


async def _check(configs: Sequence[RingConfig], held: AsyncExitStack) -> Sequence["Check"]:
    from fanout.transports.ring.check import check

    return check(configs)


ENTRY = TransportEntry(
    name="ring",
    config=RingConfig,
    make=_make,
    check=_check,
    needs_x86=True,
    help="""Serve any number of consumers on this machine, through a ring in shared memory.

    Example: fanout --assets BTCUSDT,ETHUSDT ring --name trades --capacity 16MiB

    The service waits for no consumer and overwrites the oldest records. A consumer that is too slow
    gets a LOSS; one that must not lose anything takes a queue of its own, with shm.
    """,
)

__all__ = ["ENTRY", "RingConfig", "RingTransport"]
