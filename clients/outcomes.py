"""How a client reports on its connection.

Besides the service's records a client hands over `Disconnected` and `Restarted`. It remembers each
`Reconnect`, and raises the errors below.
"""

import msgspec

from fanout.protocol.errors import CallerError, PeerError
from fanout.protocol.records import Loss, Record
from fanout.protocol.request import Position


class Disconnected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The connection was lost, or could not be made. The client tries again after `pause_s`."""

    why: str
    pause_s: float


class Restarted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The service restarted. Sequence numbers begin at 1 again, in a new epoch.

    `before` is the next position that the client expected in the old epoch. From a service with a
    journal the client has all records of the old epoch that were kept, and gets the new epoch from
    number 1 on, or a `Loss` of what is gone. Without a journal neither epoch's numbers can tell how
    much the client missed: what the old service still published, and what the venue traded until
    the new one was up.

    A client can be ahead of what the old service had written to disk. Then the new epoch brings
    those trades again, back-filled and under other numbers; their trade ids tell.
    """

    before: Position
    epoch_ns: int


Received = Record | Disconnected | Restarted
"""All that a client hands over."""


class Reconnect(msgspec.Struct, frozen=True, kw_only=True):
    """A reconnect that succeeded after a connection was lost or could not be made.

    `why` is the reason of the first failure, `pause_s` the sum of all pauses, `attempts` their
    number. `lost` is empty if no record was missed. `is_new_epoch` is set if the service had
    restarted.
    """

    why: str
    pause_s: float
    attempts: int
    lost: tuple[Loss, ...]
    is_new_epoch: bool = False


class DisconnectedError(PeerError, ConnectionError):
    """The connection was lost, or could not be made, and the client was made with
    `reconnect=False`."""


class RefusedError(DisconnectedError):
    """The service refuses this client: wrong token, bad request, or too many clients."""


class UnknownChannelError(RefusedError):
    """The service does not serve the channel that was asked for."""


class AddressError(CallerError, ValueError):
    """A URL that is not the address of a service or queue."""


class ForkedError(CallerError, RuntimeError):
    """A client was used in another process than the one that connected it."""


class UnknownSymbolError(CallerError, ValueError):
    """The caller wants a symbol that the service does not serve."""


def without_password(url: str) -> str:
    """A URL as it may be shown: without the user and the password before its host. Its scheme may
    be missing, where somebody has forgotten it."""
    scheme, colon, rest = url.partition("://") if "://" in url else ("", "", url)
    return scheme + colon + rest.rpartition("@")[2]
