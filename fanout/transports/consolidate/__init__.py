"""A whole venue on disk, in rings: the registry entry, and `ConsolidateTransport`.

config     options
check      for `fanout check`
transport  one task that reads all channels, and hands what it reads to the writing thread
worker     the thread: decodes, and writes trades and metrics
keeping    the trades of one channel, by ring
kept_ring  one ring: what waits for it, and what is counted
chunks     which symbols share a ring: DIR/chunks.json
ring_file  a ring's files: made, continued, locked, written
metrics    DIR/metrics.csv
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from fanout.transports.consolidate.config import ConsolidateConfig
from fanout.transports.registry import TransportEntry

if TYPE_CHECKING:
    from fanout.checks.report import Check
    from fanout.transports.consolidate.transport import ConsolidateTransport


def _make(config: ConsolidateConfig) -> "ConsolidateTransport":
    from fanout.transports.consolidate.transport import ConsolidateTransport

    return ConsolidateTransport(config)


async def _check(configs: Sequence[ConsolidateConfig], held: AsyncExitStack) -> Sequence["Check"]:
    import trio

    from fanout.transports.consolidate.check import check

    return await trio.to_thread.run_sync(check, configs)


ENTRY = TransportEntry(
    name="consolidate",
    config=ConsolidateConfig,
    make=_make,
    check=_check,
    help="""Keep the newest trades of all channels in rings on disk, in chunks of symbols.

    Read them with fanout rings tail, csv and verify, each with DIR.

    Example: fanout --assets all consolidate --rings /var/lib/fanout/rings

    The rings have the layout of a market data consolidator, with trades as JSON.
    """,
)

__all__ = ["ENTRY", "ConsolidateConfig"]
