"""What becomes of a client's connection: what it hands over beside the service's records, what it
remembers, and what it raises."""

import msgspec

from fanout.protocol.errors import CallerError, PeerError
from fanout.protocol.records import Loss, Record
from fanout.protocol.request import Position


class Disconnected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The connection is gone, or could not be made. Another attempt follows after `pause_s`."""

    why: str
    pause_s: float


class Restarted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The service was started anew, and numbers begin at 1 again, in another epoch.

    `before` is the place that was due in the old one. What the service published there until it
    ended, and what the venue traded until it was up again, nobody can tell in numbers of either.
    """

    before: Position
    epoch_ns: int


Received = Record | Disconnected | Restarted
"""What a client hands over."""


class Reconnect(msgspec.Struct, frozen=True, kw_only=True):
    """A connection was lost, or was not to be had, and made in the end: why, how long the pauses
    were together, how many attempts it took, and what was lost by it (empty: nothing).
    `is_new_epoch`: to a service that had been started anew."""

    why: str
    pause_s: float
    attempts: int
    lost: tuple[Loss, ...]
    is_new_epoch: bool = False


class DisconnectedError(PeerError, ConnectionError):
    """The connection is gone, or could not be made, and the client was told not to reconnect."""


class RefusedError(DisconnectedError):
    """The service does not serve this client: its token, its request, or no place for it."""


class UnknownChannelError(RefusedError):
    """The service does not serve the channel that was asked for."""


class AddressError(CallerError, ValueError):
    """Not an address of a service."""


class ForkedError(CallerError, RuntimeError):
    """A client was used in another process than the one that connected it."""


class UnknownSymbolError(CallerError, ValueError):
    """A symbol was asked for that is not served there."""
