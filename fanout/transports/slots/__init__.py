"""The transport for programs that read bitfinex-feeder's ring: its registry entry.

config     options
check      for `fanout check`
transport  serves one instrument of a channel into a ring, and keeps the ring in order
delivery   what of the channel goes into slots, and when
told       what the reader was told of the book, and how that is put right
making     makes slots, and counts what has none
ring_file  the ring's file: made, owned, left there
openings   notices programs that open the file
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from fanout.transports.registry import TransportEntry
from fanout.transports.slots.config import SlotsConfig

if TYPE_CHECKING:
    from fanout.checks.report import Check
    from fanout.transports.slots.transport import SlotsTransport


def _make(config: SlotsConfig) -> "SlotsTransport":
    from fanout.transports.slots.transport import SlotsTransport

    return SlotsTransport(config)


async def _check(configs: Sequence[SlotsConfig], held: AsyncExitStack) -> Sequence["Check"]:
    from fanout.transports.slots.check import check

    return [check(each) for each in configs]


ENTRY = TransportEntry(
    name="slots",
    config=SlotsConfig,
    make=_make,
    check=_check,
    needs_x86=True,
    help="""Serve one symbol to a program that reads bitfinex-feeder's ring of slots.

    Example: fanout --assets bitfinex:tBTCUSD --data trades,orders slots --name hft_ring --inexact

    The ring holds trades and the orders of a book by order. It has no room for losses and states.
    """,
)

__all__ = ["ENTRY", "SlotsConfig"]
