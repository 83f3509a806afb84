"""A blocking client for a ring in shared memory, which any number of programs read at once.

    from fanout.clients.ring import RingClient
    from fanout.protocol import Trade

    with RingClient("ring://trades") as client:
        for record in client:
            if isinstance(record, Trade):
                print(record.symbol, record.price_text, record.quantity_text)

Iterating gives the same records as `fanout.clients.tcp`. The service waits for no reader. One that
does not keep up is *lapped*: it gets a `Loss` with the exact range, and goes on at newer records.
When the service ends, dies or restarts, the client hands over a `Disconnected`, names the reason in
`outcome`, and attaches again.
"""

from typing import Unpack

from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Reconnect,
    RefusedError,
    Restarted,
)
from fanout.clients.ring_client import RingClientBase, RingOptions
from fanout.clients.ring_file import AttachedRing, RingError
from fanout.clients.shared_client import BlockingSharedClient, Wait
from fanout.clients.shared_file import Outcome
from fanout.protocol.request import Position

__all__ = [
    "AddressError",
    "Disconnected",
    "DisconnectedError",
    "Outcome",
    "Position",
    "Reconnect",
    "RefusedError",
    "Restarted",
    "RingClient",
    "RingError",
    "Wait",
]


class RingClient(RingClientBase, BlockingSharedClient[AttachedRing]):
    """A subscriber to a ring. Iterate over it; it attaches by itself.

    See `fanout.clients.ring_client.RingClientBase` for parameters and errors. `close` ends the
    iteration, also from another thread.
    """

    def __init__(
        self, url: str, *, wait: Wait = Wait.SLEEP, **options: Unpack[RingOptions]
    ) -> None:
        super().__init__(url, **options)
        self._wait = wait
