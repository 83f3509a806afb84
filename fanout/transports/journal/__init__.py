"""The journal as a transport: its registry entry, and `JournalTransport`.

config      options
check       for `fanout check`
transport   one task that reads all channels and hands what it reads to the writing threads
keeping     one channel of it: its place in the log, and its segments
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from fanout.transports.journal.config import JournalConfig
from fanout.transports.registry import TransportEntry

if TYPE_CHECKING:
    from fanout.checks.report import Check
    from fanout.transports.journal.transport import JournalTransport


def _make(config: JournalConfig) -> "JournalTransport":
    from fanout.transports.journal.transport import JournalTransport

    return JournalTransport(config)


async def _check(configs: Sequence[JournalConfig], held: AsyncExitStack) -> Sequence["Check"]:
    import trio

    from fanout.transports.journal.check import check

    return await trio.to_thread.run_sync(check, configs)


ENTRY = TransportEntry(
    name="journal",
    config=JournalConfig,
    make=_make,
    check=_check,
    help="""Keep all channels on disk, as their readers get them.

    What is there already: fanout journal ls, verify, index and prune, each with DIR.

    Example: fanout --assets BTCUSDT,ETHUSDT tcp --port 9000 journal --dir /var/lib/fanout --keep 7d
    """,
)

__all__ = ["ENTRY", "JournalConfig"]
