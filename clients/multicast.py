"""A blocking client for multicast: no event loop, no thread, standard library and `protocol` only.

    from fanout.clients.multicast import MulticastClient
    from fanout.protocol import Trade

    with MulticastClient("multicast://239.10.1.1:9100", recovery="tcp://10.0.0.5:9000") as client:
        for record in client:
            if isinstance(record, Trade):
                print(record.symbol, record.price_text, record.quantity_text)

Iterating gives the same records as `fanout.clients.tcp`. The client takes each record from the line
that brings it first, and asks over TCP for what no line brings. Without `recovery` that is a
`Loss`.
"""

from typing import Final

from fanout.clients.client import BlockingClient
from fanout.clients.connecting import addresses_of
from fanout.clients.multicast_client import GroupClient
from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Reconnect,
    RefusedError,
    Restarted,
    UnknownChannelError,
    UnknownSymbolError,
)
from fanout.protocol.errors import PeerError
from fanout.protocol.request import Moment, Position

__all__ = [
    "AddressError",
    "Disconnected",
    "DisconnectedError",
    "Moment",
    "MulticastClient",
    "Position",
    "Reconnect",
    "RefusedError",
    "Restarted",
    "UnknownChannelError",
    "UnknownSymbolError",
]

CLOSE_S: Final = 0.1
"""How soon a client notices that another thread closed it."""


class MulticastClient(GroupClient, BlockingClient):
    """A subscriber to a multicast group. Iterate over it; it joins by itself.

    See `fanout.clients.multicast_client.GroupClient` for parameters and errors. `close` ends the
    iteration, also from another thread.
    """

    def _step(self) -> None:
        try:
            if self._lines is None:
                if self._is_closed_within(self._subscription.state.pause_s):
                    return
                addresses = addresses_of(*self._service) if self._service is not None else ()
                self._begin()
                self._open(addresses)
                self._settle()
                return
            self._begin()
            is_any = self._turn()
            self._settle()
        except (OSError, PeerError) as error:
            self._lost(error)
            return
        if not is_any:
            assert self._receivers is not None, "the client has joined"
            self._receivers.wait(min(self._wait_s(), CLOSE_S))
