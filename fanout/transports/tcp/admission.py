"""Admission of clients: limits on their number, on their number per address, and on their rate.

Limits keep a crowd from starving the rest. Excess clients are refused at once with a retry delay,
never queued. Where the service requires a token, only a client that has sent it counts against
these limits. Until then it counts against those of the *hall*, which are smaller.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from fanout.net.descriptors import Descriptors

FULL_RETRY_MS: Final = 5_000
"""Retry delay for a client that a full service refuses."""

RUSH_RETRY_MS: Final = 1_000
"""Retry delay for a client that exceeds the rate."""

HALL_PLACES: Final = 128
"""Most clients at once that have yet to send their token."""

HALL_PLACES_PER_ADDRESS: Final = 16

IP6_PREFIX_BITS: Final = 64
"""Clients of one IPv6 network of this size count as one address: one host has a whole network."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a client is refused, and after which delay it may try again."""

    why: str
    retry_ms: int


class Places:
    """A count of clients, with a limit on all and one per address."""

    def __init__(self, most: int, most_per_address: int, who: str) -> None:
        """`most_per_address` 0 sets no limit. `who` names the clients in messages."""
        self._most = most
        self._most_per_address = most_per_address
        self._who = who
        self._present: Counter[str] = Counter()
        self.count = 0

    def enter(self, host: str) -> Refusal | None:
        """Count a client of an address, or return why not. Each counted client has to `leave`."""
        address = _counted_as(host)
        if self.count >= self._most:
            return Refusal(
                f"the service is full: at most {self._most:,} {self._who}", FULL_RETRY_MS
            )
        if self._most_per_address and self._present[address] >= self._most_per_address:
            most = f"{self._most_per_address:,} {self._who}"
            return Refusal(f"the service is full: at most {most} from one address", FULL_RETRY_MS)
        self._present[address] += 1
        self.count += 1
        return None

    def leave(self, host: str) -> None:
        address = _counted_as(host)
        self._present[address] -= 1
        if not self._present[address]:
            del self._present[address]
        self.count -= 1


class Admission:
    """The limits of a service: the rate of connections, its clients, and its hall."""

    def __init__(
        self,
        *,
        max_clients: int,
        max_per_address: int,
        accept_rate: float,
        clock: Callable[[], float],
    ) -> None:
        """`accept_rate` is in clients a second, and also the size of a burst. `max_per_address` 0
        sets no limit. `clock` gives monotonic seconds."""
        self.places = Places(max_clients, max_per_address, "clients at once")
        self.hall = Places(HALL_PLACES, HALL_PLACES_PER_ADDRESS, "clients without their token")
        self.count = 0
        """Connections that have arrived and not departed."""
        self._accept_rate = accept_rate
        self._clock = clock
        self._room = accept_rate
        """How many clients may connect now without exceeding the rate."""
        self._counted_s = clock()

    def arrive(self) -> Refusal | None:
        """Count a new connection, or return why not: it exceeds the rate, or the process's limit
        of descriptors. Each counted connection has to `depart`."""
        now_s = self._clock()
        self._room += (now_s - self._counted_s) * self._accept_rate
        self._room, self._counted_s = min(self._room, self._accept_rate), now_s
        if self._room < 1:
            why = f"too many new clients: at most {self._accept_rate:,g} connections a second"
            return Refusal(why, RUSH_RETRY_MS)
        self._room -= 1
        if Descriptors.taken >= Descriptors.most():
            return Refusal("the service is full: it is out of descriptors", FULL_RETRY_MS)
        Descriptors.taken += 1
        self.count += 1
        return None

    def depart(self) -> None:
        Descriptors.taken -= 1
        self.count -= 1


def _counted_as(host: str) -> str:
    """The key under which an address counts."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IP6_PREFIX_BITS), strict=False))
