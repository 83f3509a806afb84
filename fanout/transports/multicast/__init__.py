"""The multicast transport: its registry entry, and `MulticastTransport`.

config     options
check      for `fanout check`
transport  groups and sockets; one carrier for each channel
carrier    a channel's packets: what is published, heartbeats, snapshots, the END
hftp       packets in another layout
pace       how many packets may be sent at once
sockets    one for each channel and line
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from fanout.transports.multicast.config import MulticastConfig
from fanout.transports.registry import TransportEntry

if TYPE_CHECKING:
    from fanout.checks.report import Check
    from fanout.transports.multicast.transport import MulticastTransport


def __getattr__(name: str) -> Any:
    """`MulticastTransport`, imported when it is asked for: it brings trio, which clients do not
    need."""
    if name != "MulticastTransport":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fanout.transports.multicast.transport import MulticastTransport

    return MulticastTransport


def _make(config: MulticastConfig) -> "MulticastTransport":
    from fanout.transports.multicast.transport import MulticastTransport

    return MulticastTransport(config)


async def _check(configs: Sequence[MulticastConfig], held: AsyncExitStack) -> Sequence["Check"]:
    from fanout.transports.multicast.check import check

    return check(configs)


ENTRY = TransportEntry(
    name="multicast",
    config=MulticastConfig,
    make=_make,
    check=_check,
    help="""Send trades to a multicast group, once for all receivers on the network.

    Example: fanout --assets BTCUSDT,ETHUSDT multicast --group 239.10.1.1:9100 tcp --port 9000

    Receivers ask tcp for what they lost: fanout tail multicast://239.10.1.1:9100
    --recovery tcp://HOST:9000
    """,
)

__all__ = ["ENTRY", "MulticastConfig", "MulticastTransport"]
